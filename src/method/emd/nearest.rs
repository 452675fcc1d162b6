//! Which of several sets is nearest to a reference.

use rayon::prelude::*;

use super::cost::{CostMatrix, CostRows, column_min};
use super::{Overflow, count, first_prices, solve};

/// The set that [`nearest`] chose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// Its place among the candidates.
    pub index: usize,
    /// Its distance from the reference, as [`emd`](super::emd) gives it.
    pub distance: f64,
}

/// The candidate with the smallest earth mover's distance from `reference`, the first of those if
/// there are several. Reference and pool are vectors of `dim` numbers one after the other; a
/// candidate is a list of vectors of the pool, by number and each once. Empty candidates are left
/// out; `None` if no candidate is left, the reference is empty, or a number is beyond the pool.
///
/// This gives what [`emd`](super::emd) of every candidate would, in less time: squared distances
/// are worked out once for the vectors that any candidate has, and a candidate is dropped as soon
/// as its distance is proved to be larger than one already found. The proof is the dual bound: any
/// column prices, with the best row duals they allow, bound the distance of any candidate, and the
/// closer the better they suit it. Those of the small problem that every candidate begins with are
/// mostly close enough to leave one or two to be solved in full.
pub fn nearest(
    reference: &[f32],
    pool: &[f32],
    dim: usize,
    candidates: &[Vec<u32>],
) -> Option<Nearest> {
    let size = count(reference, dim)?;
    let reference = &reference[..size * dim];
    let pool_size = count(pool, dim)?;
    // The vectors in use, and where each is in the cost matrix.
    let mut place = vec![u32::MAX; pool_size];
    let mut used = Vec::new();
    for &point in candidates.iter().flatten() {
        let place = place.get_mut(point as usize)?;
        if *place == u32::MAX {
            *place = used.len() as u32;
            used.push(point);
        }
    }
    // Neighbours in the pool are neighbours in the matrix.
    used.sort_unstable();
    for (i, &point) in used.iter().enumerate() {
        place[point as usize] = i as u32;
    }
    let mut points = Vec::with_capacity(used.len() * dim);
    for &point in &used {
        points.extend_from_slice(&pool[point as usize * dim..][..dim]);
    }
    let mut sets: Vec<Set> = Vec::with_capacity(candidates.len());
    for (index, candidate) in candidates.iter().enumerate() {
        let mut rows: Vec<u32> = candidate.iter().map(|&point| place[point as usize]).collect();
        rows.sort_unstable();
        // Of equal candidates the first is the one to choose.
        if !rows.is_empty() && sets.iter().all(|set| set.rows != rows) {
            sets.push(Set { index, rows, prices: Vec::new(), bound: f64::NEG_INFINITY });
        }
    }
    if sets.is_empty() {
        return None;
    }
    let mut matrix = CostMatrix::new(&points, reference, dim);
    loop {
        match search(&matrix, &points, reference, dim, sets.clone()) {
            Ok(nearest) => return nearest,
            Err(Overflow) => matrix.coarsen(),
        }
    }
}

/// A candidate that has not been dropped.
#[derive(Clone)]
struct Set {
    index: usize,
    /// Its rows in the cost matrix.
    rows: Vec<u32>,
    /// Column prices that suit it.
    prices: Vec<i32>,
    /// A lower bound of its distance.
    bound: f64,
}

fn search(
    matrix: &CostMatrix,
    points: &[f32],
    reference: &[f32],
    dim: usize,
    mut sets: Vec<Set>,
) -> Result<Option<Nearest>, Overflow> {
    let all = matrix.all();
    sets.par_iter_mut().try_for_each(|set| {
        set.prices = first_prices(all.choose(&set.rows))?;
        Ok(())
    })?;
    for i in 0..sets.len() {
        let prices = sets[i].prices.clone();
        raise_bounds(all, &prices, matrix, &mut sets);
    }
    let mut best: Option<Nearest> = None;
    loop {
        // The most promising first: what is found then drops most of the others.
        let next = (0..sets.len()).min_by(|&i, &j| sets[i].bound.total_cmp(&sets[j].bound));
        let Some(next) = next else { return Ok(best) };
        let set = sets.swap_remove(next);
        let limit = best.map(|best| best.distance / matrix.quantum() + matrix.error());
        let Some(plan) = solve(all.choose(&set.rows), &set.prices, limit)? else { continue };
        let point = |i: usize| &points[set.rows[i] as usize * dim..][..dim];
        let distance = plan.cost(point, reference, dim);
        let better = |best: Nearest| (distance, set.index) < (best.distance, best.index);
        let nearest = match best {
            Some(best) if !better(best) => best,
            _ => Nearest { index: set.index, distance },
        };
        raise_bounds(all, &plan.prices, matrix, &mut sets);
        sets.retain(|set| set.bound <= nearest.distance);
        best = Some(nearest);
    }
}

/// Works out the dual bound of every set for the given column prices.
fn raise_bounds(all: CostRows<'_>, prices: &[i32], matrix: &CostMatrix, sets: &mut [Set]) {
    let duals: Vec<i32> =
        (0..all.rows()).into_par_iter().map(|i| column_min(all.row(i), prices).0).collect();
    let columns: i64 = prices.iter().map(|&price| i64::from(price)).sum();
    for set in sets {
        let rows: i64 = set.rows.iter().map(|&row| i64::from(duals[row as usize])).sum();
        let bound = rows as f64 / set.rows.len() as f64 - columns as f64 / prices.len() as f64;
        set.bound = set.bound.max((bound - matrix.error()) * matrix.quantum());
    }
}
