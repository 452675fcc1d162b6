//! The matrix of squared Euclidean costs, as whole numbers.
//!
//! Costs come from an `f32` matrix product, `|x|² + |y|² - 2 x·y`, of points that are centred and
//! scaled so that no cost exceeds 2²², and are rounded to whole numbers, which the simplex can add
//! up without any error. Rounding can change which of two almost equal plans is chosen, never the
//! accuracy of what a plan is said to cost: that is evaluated anew from the points.

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use crate::simd::vectorised;

/// No cost is above this.
pub(super) const LARGEST: i32 = 1 << 22;
/// Adding and taking away this rounds an `f32` below 2²² to the nearest whole number.
const ROUNDER: f32 = 12_582_912.0;

/// Rows of the matrix that one task makes.
const ROW_BLOCK: usize = 256;

/// Squared distances between all points of two sets, rounded to multiples of [`Self::quantum`].
pub(super) struct CostMatrix {
    data: Vec<i32>,
    rows: usize,
    columns: usize,
    /// Squared distance that one unit of cost stands for.
    quantum: f64,
    /// How far a cost may be from the exact squared distance, in units of cost.
    error: f64,
}

impl CostMatrix {
    /// `x` is rows x `dim`, `y` is columns x `dim`; neither is empty.
    pub fn new(x: &[f32], y: &[f32], dim: usize) -> Self {
        let (rows, columns) = (x.len() / dim, y.len() / dim);
        // Distances do not change when both sets are shifted; norms shrink, and rounding with them.
        let mut centre = vec![0.0f64; dim];
        for point in y.chunks_exact(dim) {
            for (sum, &value) in centre.iter_mut().zip(point) {
                *sum += f64::from(value);
            }
        }
        let centre: Vec<f32> = centre.iter().map(|sum| (sum / columns as f64) as f32).collect();
        let largest = |set: &[f32]| {
            set.chunks_exact(dim)
                .map(|p| squared_distance(p, &centre))
                .fold(0.0f64, f64::max)
                .sqrt()
        };
        let bound = (largest(x) + largest(y)).powi(2);
        let scale = if bound > 0.0 { 0.999 * f64::from(LARGEST) / bound } else { 1.0 };
        // Kept where neither it nor its square leaves the range of its type.
        let root = scale.sqrt().min(1e30) as f32;
        let prepare = |set: &[f32]| -> (Vec<f32>, Vec<f32>) {
            let mut points = Vec::with_capacity(set.len());
            for point in set.chunks_exact(dim) {
                points.extend(point.iter().zip(&centre).map(|(&p, &c)| (p - c) * root));
            }
            let norms = points.chunks_exact(dim).map(squared_norm).collect();
            (points, norms)
        };
        let (x, x_norms) = prepare(x);
        let (y, y_norms) = prepare(y);
        let mut data = vec![0.0f32; rows * columns];
        let blocks = data.par_chunks_mut(ROW_BLOCK * columns);
        blocks.zip(x.par_chunks(ROW_BLOCK * dim)).zip(x_norms.par_chunks(ROW_BLOCK)).for_each(
            |((block, x), norms)| {
                product(x, &y, dim, block);
                whole_costs(block, norms, &y_norms);
            },
        );
        let data = data.into_iter().map(|cost| cost.to_bits() as i32).collect();
        let scale = f64::from(root).powi(2);
        // A few units for rounding costs and points; the rest bounds what `f32` sums may lose.
        let error = 4.0 + f64::from(LARGEST) * dim as f64 * f64::from(f32::EPSILON);
        Self { data, rows, columns, quantum: 1.0 / scale, error }
    }

    /// Squared distance that one unit of cost stands for.
    pub fn quantum(&self) -> f64 {
        self.quantum
    }

    /// How far a cost may be from the exact squared distance, in units of cost.
    pub fn error(&self) -> f64 {
        self.error
    }

    /// Divides all costs by 256, at the loss of as much precision.
    pub fn coarsen(&mut self) {
        self.data.iter_mut().for_each(|cost| *cost >>= 8);
        self.quantum *= 256.0;
        self.error = self.error / 256.0 + 1.0;
    }

    /// The costs of all rows.
    pub fn all(&self) -> CostRows<'_> {
        CostRows { matrix: self, chosen: None }
    }
}

/// Some rows of a [`CostMatrix`].
#[derive(Clone, Copy)]
pub(super) struct CostRows<'a> {
    matrix: &'a CostMatrix,
    chosen: Option<&'a [u32]>,
}

impl<'a> CostRows<'a> {
    /// Some rows of the same matrix, by their number in it.
    pub fn choose<'b>(&self, rows: &'b [u32]) -> CostRows<'b>
    where
        'a: 'b,
    {
        CostRows { matrix: self.matrix, chosen: Some(rows) }
    }

    /// Number in the matrix of row `i`.
    pub fn index(&self, i: usize) -> usize {
        self.chosen.map_or(i, |chosen| chosen[i] as usize)
    }

    pub fn rows(&self) -> usize {
        self.chosen.map_or(self.matrix.rows, <[u32]>::len)
    }

    pub fn columns(&self) -> usize {
        self.matrix.columns
    }

    /// The costs from row `i` to every column.
    #[inline]
    pub fn row(&self, i: usize) -> &'a [i32] {
        let i = self.index(i);
        &self.matrix.data[i * self.matrix.columns..(i + 1) * self.matrix.columns]
    }

    /// Every `step`-th row's costs to every `step`-th column.
    pub fn thinned(&self, step: usize) -> CostMatrix {
        let (rows, columns) = (self.rows().div_ceil(step), self.columns().div_ceil(step));
        let mut data = vec![0; rows * columns];
        for (i, thin) in data.chunks_exact_mut(columns).enumerate() {
            for (thin, costs) in thin.iter_mut().zip(self.row(i * step).chunks(step)) {
                *thin = costs[0];
            }
        }
        CostMatrix { data, rows, columns, ..*self.matrix }
    }

    /// One cost.
    #[inline]
    pub fn at(&self, row: usize, column: usize) -> i32 {
        self.row(row)[column]
    }
}

/// Turns products `-2 x·y` into rounded squared distances, given the squared norms. A whole number
/// is left in each place as the bits of an `i32`.
fn whole_costs(products: &mut [f32], row_norms: &[f32], column_norms: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (row, &norm) in products.chunks_exact_mut(column_norms.len()).zip(row_norms) {
                for (cost, &other) in row.iter_mut().zip(column_norms) {
                    let exact = *cost + (norm + other);
                    let exact = if exact > 0.0 { exact } else { 0.0 };
                    let whole = (exact + ROUNDER).to_bits() as i32 - ROUNDER.to_bits() as i32;
                    *cost = f32::from_bits(whole as u32);
                }
            }
        },
    );
}

/// `dst = -2 x yᵗ`, row by row.
fn product(x: &[f32], y: &[f32], dim: usize, dst: &mut [f32]) {
    let (rows, columns) = (x.len() / dim, y.len() / dim);
    assert!(x.len() == rows * dim && y.len() == columns * dim && dst.len() == rows * columns);
    // SAFETY: the three slices are as long as the sizes and strides say (asserted above), and the
    // destination is borrowed mutably, so it overlaps neither source.
    unsafe {
        gemm(
            rows,
            columns,
            dim,
            dst.as_mut_ptr(),
            1,
            columns as isize,
            false,
            x.as_ptr(),
            1,
            dim as isize,
            y.as_ptr(),
            dim as isize,
            1,
            0.0,
            -2.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Squared length of a vector, summed in `f64`.
fn squared_norm(x: &[f32]) -> f32 {
    let mut lanes = [0.0f64; 8];
    let chunks = x.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&v| f64::from(v).powi(2)).sum();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(v) * f64::from(v);
        }
    }
    (lanes.iter().sum::<f64>() + rest) as f32
}

/// Squared Euclidean distance of two vectors of one length, in `f64`.
pub(super) fn squared_distance(x: &[f32], y: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let square = |a: f32, b: f32| (f64::from(a) - f64::from(b)).powi(2);
    let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(&a, &b)| square(a, b)).sum();
    for (a, b) in xs.zip(ys) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += square(a, b);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Elements that [`column_min`] looks at before it notes where the least was.
const BLOCK: usize = 256;

/// The least `costs[j] + prices[j]`, and the first `j` that has it.
#[inline]
pub(super) fn column_min(costs: &[i32], prices: &[i32]) -> (i32, usize) {
    vectorised(
        #[inline(always)]
        || {
            let (mut best, mut at) = (i32::MAX, 0);
            for (k, (c, p)) in costs.chunks(BLOCK).zip(prices.chunks(BLOCK)).enumerate() {
                let least = least_sum(c, p);
                if least < best {
                    (best, at) = (least, k * BLOCK);
                }
            }
            let here = costs[at..].iter().zip(&prices[at..]).position(|(&c, &p)| c + p == best);
            (best, at + here.unwrap_or(0))
        },
    )
}

#[inline(always)]
fn least_sum(costs: &[i32], prices: &[i32]) -> i32 {
    let mut lanes = [i32::MAX; 64];
    let (cs, ps) = (costs.chunks_exact(64), prices.chunks_exact(64));
    let rest = cs.remainder().iter().zip(ps.remainder()).map(|(&c, &p)| c + p);
    let rest = rest.fold(i32::MAX, i32::min);
    for (c, p) in cs.zip(ps) {
        for i in 0..64 {
            lanes[i] = lanes[i].min(c[i] + p[i]);
        }
    }
    lanes.into_iter().fold(rest, i32::min)
}
