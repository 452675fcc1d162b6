//! Which of several sets is nearest to a reference.

use std::slice;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::cost::{CostMatrix, CostRows, column_min};
use super::shortlist::ROWS_A_TASK;
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
/// closer the better they suit it. Those of the smaller problems that every candidate begins with are
/// mostly close enough to drop two or three of five; of the others as many are solved at a time as
/// there are threads, and given up as soon as their bound is above what another one has found.
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

/// The candidates that nobody has begun to solve, and the nearest of those that are solved.
struct Race {
    waiting: Vec<Set>,
    best: Option<Nearest>,
}

impl Race {
    /// Takes out the most promising candidate: what is found then drops most of the others.
    fn next(&mut self) -> Option<Set> {
        if let Some(best) = self.best {
            self.waiting.retain(|set| set.bound <= best.distance);
        }
        let bound = |&place: &usize| self.waiting[place].bound;
        let next = (0..self.waiting.len()).min_by(|i, j| bound(i).total_cmp(&bound(j)))?;
        Some(self.waiting.swap_remove(next))
    }

    fn finish(&mut self, index: usize, distance: f64) {
        if self.best.is_none_or(|best| (distance, index) < (best.distance, best.index)) {
            self.best = Some(Nearest { index, distance });
        }
    }
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
    let prices: Vec<Vec<i32>> = sets.iter().map(|set| set.prices.clone()).collect();
    for (prices, duals) in prices.iter().zip(row_duals(all, &prices)) {
        raise_bounds(matrix, prices, &duals, &mut sets);
    }
    // As many at a time as there are threads. Who is first does not change what is found: a plan
    // depends on nothing but its candidate, and none is given up that could be the nearest.
    let workers = rayon::current_num_threads().min(sets.len());
    let race = Mutex::new(Race { waiting: sets, best: None });
    let race = || race.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = || {
        let distance = race().best.map_or(f64::INFINITY, |best| best.distance);
        distance / matrix.quantum() + matrix.error()
    };
    let work = |_| {
        loop {
            let next = race().next();
            let Some(set) = next else { return Ok(()) };
            let plan = solve(all.choose(&set.rows), &set.prices, limit)?;
            let Some(plan) = plan else { continue };
            let point = |i: usize| &points[set.rows[i] as usize * dim..][..dim];
            race().finish(set.index, plan.cost(point, reference, dim));
            for duals in row_duals(all, slice::from_ref(&plan.prices)) {
                raise_bounds(matrix, &plan.prices, &duals, &mut race().waiting);
            }
        }
    };
    (0..workers).into_par_iter().try_for_each(work)?;
    let best = race().best;
    Ok(best)
}

/// The best dual of every row of the matrix under each of some column prices.
fn row_duals(all: CostRows<'_>, prices: &[Vec<i32>]) -> Vec<Vec<i32>> {
    let rows = (0..all.rows()).into_par_iter().with_min_len(ROWS_A_TASK);
    let of = |row| prices.iter().map(move |prices| column_min(all.row(row), prices).0);
    let duals: Vec<i32> = rows.flat_map_iter(of).collect();
    let of = |place| duals.iter().copied().skip(place).step_by(prices.len()).collect();
    (0..prices.len()).map(of).collect()
}

/// Works out the dual bound of every set for column prices and the row duals that suit them.
fn raise_bounds(matrix: &CostMatrix, prices: &[i32], duals: &[i32], sets: &mut [Set]) {
    let columns: i64 = prices.iter().map(|&price| i64::from(price)).sum();
    for set in sets {
        let rows: i64 = set.rows.iter().map(|&row| i64::from(duals[row as usize])).sum();
        let bound = rows as f64 / set.rows.len() as f64 - columns as f64 / prices.len() as f64;
        set.bound = set.bound.max((bound - matrix.error()) * matrix.quantum());
    }
}
