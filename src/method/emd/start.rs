//! A first basis that is close to the best one.

use super::cost::{CostRows, column_min};
use super::shortlist::Shortlist;
use super::simplex::Shipment;

/// Column prices for when nothing is known: minus the least cost in every column, so that columns
/// which are dear for everyone are taken in time.
pub(super) fn least_costs(costs: CostRows<'_>) -> Vec<i32> {
    let mut prices = vec![i32::MAX; costs.columns()];
    for i in 0..costs.rows() {
        for (price, &cost) in prices.iter_mut().zip(costs.row(i)) {
            *price = cost.min(*price);
        }
    }
    prices.iter_mut().for_each(|price| *price = -*price);
    prices
}

/// Feasible shipments whose arcs form a forest (each but the last of a piece uses up its row or
/// its column), and a dual for every row. `prices` (one a column) are added to the costs.
///
/// Arcs are taken in the order of what they cost more than the cheapest of their row: those of the
/// shortlist first, then for each row what is still to be had.
pub(super) fn ship(
    costs: CostRows<'_>,
    supply: u32,
    demand: u32,
    prices: &[i32],
    shortlist: &Shortlist,
) -> (Vec<Shipment>, Vec<i32>) {
    let (rows, columns) = (costs.rows(), costs.columns());
    let row_duals: Vec<i32> = (0..rows).map(|i| column_min(costs.row(i), prices).0).collect();
    let mut left = vec![supply; rows];
    let mut wanted = vec![demand; columns];
    let mut open = prices.to_vec();
    let mut shipments = Vec::with_capacity(rows + columns);
    let mut take = |row: usize, column: usize, open: &mut [i32]| {
        let units = left[row].min(wanted[column]);
        if units > 0 {
            shipments.push(Shipment { row: row as u32, column: column as u32, units });
            left[row] -= units;
            wanted[column] -= units;
            if wanted[column] == 0 {
                // A column that is full is priced out.
                open[column] = i32::MAX / 2;
            }
        }
        (units, left[row])
    };

    let mut arcs = Vec::new();
    let mut owners = Vec::new();
    for (row, &dual) in row_duals.iter().enumerate() {
        let costs = costs.row(row);
        for &column in shortlist.row(row) {
            let above = costs[column as usize] + prices[column as usize] - dual;
            // The order of the cost, then of the place on the list, in one number.
            arcs.push((above as u64) << 32 | owners.len() as u64);
            owners.push((row as u32, column));
        }
    }
    arcs.sort_unstable();
    for arc in arcs {
        let (row, column) = owners[arc as u32 as usize];
        take(row as usize, column as usize, &mut open);
    }
    for row in 0..rows {
        loop {
            let (_, column) = column_min(costs.row(row), &open);
            let (units, left) = take(row, column, &mut open);
            if units == 0 || left == 0 {
                break;
            }
        }
    }
    (shipments, row_duals)
}
