//! The arcs that are most likely to carry flow.

use rayon::prelude::*;

use super::cost::CostRows;

/// About as many columns of each row are on the list.
const COLUMNS: usize = 16;
/// At least as many rows of each column are.
const ROWS: usize = 4;
/// Rows that one task looks at.
pub(super) const ROWS_A_TASK: usize = 64;

/// An arc of the transport problem.
#[derive(Clone, Copy)]
pub(super) struct Arc {
    pub row: u32,
    pub column: u32,
    pub cost: i32,
}

impl Arc {
    pub fn new(costs: CostRows<'_>, row: usize, column: usize) -> Self {
        Self { row: row as u32, column: column as u32, cost: costs.at(row, column) }
    }
}

/// The cheapest arcs of every row and every column under column prices (which are added to the costs)
/// and the row duals that suit them. Columns count too, so that none stays dear for want of rows that
/// know it.
pub(super) fn shortlist(costs: CostRows<'_>, prices: &[i32], duals: &[i32]) -> Vec<Arc> {
    let tasks = (0..costs.rows()).into_par_iter().step_by(ROWS_A_TASK);
    let of_rows = tasks.map(|from| {
        let rows = from..(from + ROWS_A_TASK).min(costs.rows());
        let mut arcs = Vec::with_capacity(rows.len() * COLUMNS * 2);
        let mut chosen = vec![0; costs.columns() + 1];
        for row in rows {
            let count = columns_of(costs.row(row), prices, &mut chosen);
            arcs.extend(chosen[..count].iter().map(|&column| Arc::new(costs, row, column)));
        }
        arcs
    });
    let mut arcs = of_rows.collect::<Vec<_>>().concat();
    let mut listed = vec![0; costs.columns()];
    arcs.iter().for_each(|arc| listed[arc.column as usize] += 1);
    for column in (0..costs.columns()).filter(|&column| listed[column] < ROWS) {
        let above = |row: usize| (costs.at(row, column) - duals[row], row);
        let rows = cheapest((0..costs.rows()).map(above).collect(), ROWS);
        arcs.extend(rows.map(|row| Arc::new(costs, row, column)));
    }
    arcs
}

/// Puts the cheapest columns of a row into `chosen` and tells how many: as many as are not above what
/// a sample says is the right limit.
fn columns_of(costs: &[i32], prices: &[i32], chosen: &mut [usize]) -> usize {
    let sampled = (0..costs.len()).step_by((costs.len() / 256).max(1));
    let mut sample: Vec<i32> = sampled.map(|column| costs[column] + prices[column]).collect();
    let rank = (COLUMNS * sample.len() / costs.len()).min(sample.len() - 1);
    let (_, &mut limit, _) = sample.select_nth_unstable(rank);
    let mut count = 0;
    for (column, (&cost, &price)) in costs.iter().zip(prices).enumerate() {
        chosen[count] = column;
        count += usize::from(cost + price <= limit);
    }
    count
}

/// Puts the `count` cheapest arcs of a row under `prices` on a shortlist.
pub(super) fn list_cheapest(
    costs: CostRows<'_>,
    prices: &[i32],
    row: usize,
    count: usize,
    shortlist: &mut Vec<Arc>,
) {
    let sums = costs.row(row).iter().zip(prices).map(|(&cost, &price)| cost + price);
    let columns = cheapest(sums.zip(0..).collect(), count);
    shortlist.extend(columns.map(|column| Arc::new(costs, row, column)));
}

/// The places of the `count` least values, in no order.
fn cheapest(mut values: Vec<(i32, usize)>, count: usize) -> impl Iterator<Item = usize> {
    if count < values.len() {
        values.select_nth_unstable(count);
        values.truncate(count);
    }
    values.into_iter().map(|(_, place)| place)
}
