//! A first basis that is close to the best one.

use super::cost::{CostRows, column_min};
use super::shortlist::Arc;
use super::simplex::Shipment;
use crate::simd::vectorised;

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

/// The least column prices under which no cost is below its row's dual. There are duals for every
/// `step`-th row.
pub(super) fn prices_for(row_duals: &[i32], step: usize, costs: CostRows<'_>) -> Vec<i32> {
    let mut prices = vec![i32::MIN; costs.columns()];
    vectorised(
        #[inline(always)]
        || {
            for (i, &dual) in row_duals.iter().enumerate() {
                for (price, &cost) in prices.iter_mut().zip(costs.row(i * step)) {
                    *price = (dual - cost).max(*price);
                }
            }
        },
    );
    prices
}

/// Feasible shipments whose arcs form a forest (each but the last of a piece uses up its row or
/// its column), for column prices and the row duals that suit them.
///
/// Arcs are taken in the order of what they cost more than the cheapest of their row: those of the
/// shortlist first, then for each row what is still to be had.
pub(super) fn ship(
    costs: CostRows<'_>,
    supply: u32,
    demand: u32,
    prices: &[i32],
    row_duals: &[i32],
    shortlist: &[Arc],
) -> Vec<Shipment> {
    let (rows, columns) = (costs.rows(), costs.columns());
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

    // The order of the cost, then of the place on the list, in one number.
    let above = |arc: &Arc| arc.cost + prices[arc.column as usize] - row_duals[arc.row as usize];
    let mut order: Vec<u64> =
        (0..).zip(shortlist).map(|(place, arc)| (above(arc) as u64) << 32 | place).collect();
    order.sort_unstable();
    for place in order {
        let arc = shortlist[place as u32 as usize];
        take(arc.row as usize, arc.column as usize, &mut open);
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
    shipments
}
