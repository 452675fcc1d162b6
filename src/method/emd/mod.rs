//! Exact earth mover's distance between sets of feature vectors, with uniform weights and squared
//! Euclidean cost: what `ot.emd2(ones(n) / n, ones(m) / m, ot.dist(a, b))` of Python Optimal
//! Transport gives.
//!
//! The transport problem is solved by a network simplex ([`simplex`]) on costs rounded to whole
//! numbers, 22 bits deep ([`cost`]), so that its optimum is certified without any tolerance. The
//! distance is then what that plan costs exactly. It is never below the true distance, and above
//! it by no more than about 2⁻²¹ of the largest squared distance that the sizes of the sets allow:
//! for sets of features less than a millionth of the distance (measured: 1e-9), but no longer
//! negligible where two sets are thousands of times closer to each other than they are wide.

mod cost;
mod nearest;
#[cfg(test)]
mod properties;
mod shortlist;
mod simplex;
mod sinkhorn;
mod start;
#[cfg(test)]
pub(super) mod test_points;
#[cfg(test)]
mod tests;

use cost::{CostMatrix, CostRows, squared_distance};
pub use nearest::{Nearest, nearest};
use shortlist::{Arc, shortlist};
use simplex::{Outcome, Shipment, Simplex, dual_bound, row_minima};
pub use sinkhorn::sinkhorn;

/// With fewer rows than this it is not worth the while to solve for some of them first.
const COARSE_FROM: usize = 512;
/// One row and one column in so many are part of that first, smaller problem.
const COARSE_STEP: usize = 2;

/// The earth mover's distance between `a` and `b`, sets of vectors of `dim` numbers one after the
/// other: the least mean squared distance at which all of `a`, each vector with the same weight,
/// can be moved onto `b`. `None` if a set is empty or `dim` is 0.
pub fn emd(a: &[f32], b: &[f32], dim: usize) -> Option<f64> {
    distance(a, b, dim, None)
}

/// [`emd`] if it is below `bound`, and `None` if it is not (or if a set is empty), which often
/// takes much less work to find out.
pub fn emd_below(a: &[f32], b: &[f32], dim: usize, bound: f64) -> Option<f64> {
    if emd_lower_bound(a, b, dim)? >= bound {
        return None;
    }
    distance(a, b, dim, Some(bound)).filter(|&distance| distance < bound)
}

/// The squared distance between the means of `a` and `b`, which [`emd`] is never below (Jensen's
/// inequality). `None` if a set is empty or `dim` is 0.
pub fn emd_lower_bound(a: &[f32], b: &[f32], dim: usize) -> Option<f64> {
    let (a, b) = (mean(a, dim)?, mean(b, dim)?);
    // Less what `f64` sums may be off by, so that it stays a lower bound.
    let squares = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2));
    Some(squares.sum::<f64>() * (1.0 - 1e-12))
}

/// Mean of a set of vectors.
fn mean(points: &[f32], dim: usize) -> Option<Vec<f64>> {
    let count = count(points, dim)?;
    let mut mean = vec![0.0; dim];
    for point in points.chunks_exact(dim) {
        for (sum, &value) in mean.iter_mut().zip(point) {
            *sum += f64::from(value);
        }
    }
    mean.iter_mut().for_each(|sum| *sum /= count as f64);
    Some(mean)
}

/// Whole vectors in `points`, if there are any.
fn count(points: &[f32], dim: usize) -> Option<usize> {
    points.len().checked_div(dim).filter(|&count| count > 0)
}

fn distance(a: &[f32], b: &[f32], dim: usize, bound: Option<f64>) -> Option<f64> {
    let (n, m) = (count(a, dim)?, count(b, dim)?);
    let (a, b) = (&a[..n * dim], &b[..m * dim]);
    // With a single vector on one side there is only one plan.
    if n == 1 || m == 1 {
        let (one, many) = if n == 1 { (a, b) } else { (b, a) };
        let total: f64 = many.chunks_exact(dim).map(|point| squared_distance(one, point)).sum();
        return Some(total / n.max(m) as f64);
    }
    let mut matrix = CostMatrix::new(a, b, dim);
    loop {
        let costs = matrix.all();
        let prices = first_prices(costs);
        let limit = bound.unwrap_or(f64::INFINITY) / matrix.quantum() + matrix.error();
        match prices.and_then(|prices| solve(costs, &prices, || limit)) {
            Ok(Some(plan)) => return Some(plan.cost(|i| &a[i * dim..][..dim], b, dim)),
            Ok(None) => return None,
            Err(Overflow) => matrix.coarsen(),
        }
    }
}

/// Costs too fine for the potentials that came up.
#[derive(Debug)]
struct Overflow;

/// An optimal plan.
struct Plan {
    shipments: Vec<Shipment>,
    /// Units shipped in all.
    total: u64,
    /// Column prices (duals, negated), in units of cost.
    prices: Vec<i32>,
    /// Row duals, in units of cost.
    #[cfg_attr(not(test), expect(dead_code, reason = "part of the certificate that tests check"))]
    row_duals: Vec<i32>,
}

impl Plan {
    /// The mean squared distance that the plan moves things by, from the points themselves.
    fn cost<'p>(&self, row: impl Fn(usize) -> &'p [f32], columns: &[f32], dim: usize) -> f64 {
        let one = |s: &Shipment| {
            let column = &columns[s.column as usize * dim..][..dim];
            f64::from(s.units) * squared_distance(row(s.row as usize), column)
        };
        self.shipments.iter().map(one).sum::<f64>() / self.total as f64
    }
}

/// Column prices to start from. For many rows the problem is solved for half of the rows and half of
/// the columns first, which gives nearly the right prices at a fraction of the work.
fn first_prices(costs: CostRows<'_>) -> Result<Vec<i32>, Overflow> {
    if costs.rows() < COARSE_FROM {
        return Ok(start::least_costs(costs));
    }
    let half = costs.thinned(COARSE_STEP);
    let prices = first_prices(half.all())?;
    let (mut simplex, mut shortlist) = basis(half.all(), &prices)?;
    match simplex.solve(&mut shortlist, || f64::INFINITY) {
        Outcome::Overflow => Err(Overflow),
        _ => Ok(start::prices_for(simplex.row_duals(), COARSE_STEP, costs)),
    }
}

/// A basis to start from, and the shortlist it was made with.
fn basis<'a>(costs: CostRows<'a>, prices: &[i32]) -> Result<(Simplex<'a>, Vec<Arc>), Overflow> {
    // Every row supplies as many units as there are columns, and the other way round; what both
    // numbers have in common is left out.
    let (n, m) = (costs.rows() as u32, costs.columns() as u32);
    let common = gcd(n, m);
    let duals: Vec<i32> = row_minima(costs, prices).into_iter().map(|least| least.0).collect();
    let shortlist = shortlist(costs, prices, &duals);
    let shipments = start::ship(costs, m / common, n / common, prices, &duals, &shortlist);
    let simplex = Simplex::new(costs, &shipments, &duals).ok_or(Overflow)?;
    Ok((simplex, shortlist))
}

/// The best plan, found from a basis that suits `prices`; nothing if it costs more than `limit`
/// (in units of cost), which may fall meanwhile.
fn solve(
    costs: CostRows<'_>,
    prices: &[i32],
    limit: impl Fn() -> f64,
) -> Result<Option<Plan>, Overflow> {
    if dual_bound(&row_minima(costs, prices), prices) > limit() {
        return Ok(None);
    }
    let (mut simplex, mut shortlist) = basis(costs, prices)?;
    match simplex.solve(&mut shortlist, limit) {
        Outcome::Overflow => Err(Overflow),
        Outcome::NotBelow => Ok(None),
        Outcome::Optimal => {
            let shipments = simplex.shipments();
            let total = shipments.iter().map(|s| u64::from(s.units)).sum();
            let prices = simplex.prices().to_vec();
            Ok(Some(Plan { shipments, total, prices, row_duals: simplex.row_duals().to_vec() }))
        }
    }
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
