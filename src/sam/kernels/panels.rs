//! Products whose right side lies as a core's registers need it, and whose results are finished in the
//! registers. [`product`](super::product) lays both sides out anew in every call, which for tiles that
//! lie in the cache takes as long as the product itself.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::math::gelu_lanes;
use super::product::Matrix;

/// Columns of a panel: two of the widest registers.
const WIDTH: usize = 32;
/// Most rows whose sums lie in registers together, where there are 32 of these and where there are fewer.
const ROWS: usize = 12;
const FEW_ROWS: usize = 6;
/// Bytes of a line of the cache.
const CACHE_LINE: usize = 64;

/// What becomes of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Store,
    /// Its GELU is stored.
    Gelu,
    /// It is added to what is there.
    Add,
    /// The GELU of that.
    AddGelu,
}

/// Where products go: rows a step after one another.
pub struct Target<'a> {
    pub values: &'a mut [f32],
    pub step: usize,
    pub finish: Finish,
}

/// A matrix `[in, out]` and a row that is added to its products, in panels of columns.
#[derive(Clone, Debug, Default)]
pub struct Panels {
    /// `[panels][1 + in][32]`: the added row, then the matrix; zeros beyond the last column.
    values: Vec<f32>,
    /// Where that begins.
    start: usize,
    inputs: usize,
    out: usize,
}

impl Panels {
    /// `added` is empty for zeros.
    pub fn new(matrix: Matrix, sizes: [usize; 2], added: &[f32]) -> Self {
        let mut panels = Self::default();
        panels.lay(matrix, sizes, 1.0, added);
        panels
    }

    /// Lays out another matrix, times `scale`, in the same memory.
    pub fn lay(&mut self, matrix: Matrix, [inputs, out]: [usize; 2], scale: f32, added: &[f32]) {
        (self.inputs, self.out) = (inputs, out);
        let panel = (1 + inputs) * WIDTH;
        let size = out.div_ceil(WIDTH) * panel;
        self.values.clear();
        self.values.resize(size + CACHE_LINE / size_of::<f32>(), 0.0);
        self.start = self.values.as_ptr().align_offset(CACHE_LINE).min(self.values.len() - size);
        let panels = self.values[self.start..][..size].chunks_exact_mut(panel);
        for (index, lines) in panels.enumerate() {
            let columns = index * WIDTH..out.min((index + 1) * WIDTH);
            if let Some(added) = added.get(columns.clone()) {
                lines[..added.len()].copy_from_slice(added);
            }
            matrix.copy_columns(columns, scale, lines[WIDTH..].chunks_exact_mut(WIDTH));
        }
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn out(&self) -> usize {
        self.out
    }

    /// `left` is `[rows, in]`, `to` `[rows, out]`; on one core.
    pub fn product(&self, left: Matrix, rows: usize, to: Target) {
        self.part(0..self.inputs, 0..self.out, left, rows, to);
    }

    /// The product of some of the inputs, `[rows, inputs]`, for some of the columns, of which the first
    /// begins a panel: `[rows, columns]`. What is added to products is added with the first input.
    pub fn part(
        &self,
        inputs: Range<usize>,
        columns: Range<usize>,
        left: Matrix,
        rows: usize,
        to: Target,
    ) {
        assert!(columns.start.is_multiple_of(WIDTH) && columns.end <= self.out);
        assert!(inputs.end <= self.inputs);
        let panel = (1 + self.inputs) * WIDTH;
        let added = inputs.start == 0;
        let line = inputs.start + usize::from(!added);
        let start = self.start + columns.start / WIDTH * panel + line * WIDTH;
        let (values, columns) = (&self.values[start..], columns.len());
        let right = Right { values, panel, line: WIDTH, added, columns };
        multiply(left, [rows, inputs.len()], right, to);
    }

    /// The same for few rows, on all cores: each takes some of the columns.
    pub fn product_by_columns(&self, left: Matrix, rows: usize) -> Vec<f32> {
        let panels = self.out.div_ceil(WIDTH);
        let each = panels.div_ceil(rayon::current_num_threads()).max(1);
        let parts: Vec<(usize, Vec<f32>)> = (0..panels.div_ceil(each))
            .into_par_iter()
            .map(|part| {
                let columns = part * each * WIDTH..self.out.min((part + 1) * each * WIDTH);
                let step = columns.len();
                let mut values = vec![0.0; rows * step];
                let to = Target { values: &mut values, step, finish: Finish::Store };
                self.part(0..self.inputs, columns, left, rows, to);
                (step, values)
            })
            .collect();
        let mut values = Vec::with_capacity(rows * self.out);
        for row in 0..rows {
            let parts = parts.iter().map(|(step, values)| &values[row * step..][..*step]);
            parts.for_each(|part| values.extend_from_slice(part));
        }
        values
    }
}

/// `left`, `[rows, inner]`, times rows of `[inner, columns]` as they lie, a step after one another;
/// on one core. The columns must fill panels.
pub fn product_with_rows(
    left: Matrix,
    [rows, inner, columns]: [usize; 3],
    values: &[f32],
    step: usize,
    to: Target,
) {
    assert!(columns.is_multiple_of(WIDTH));
    let right = Right { values, panel: WIDTH, line: step, added: false, columns };
    multiply(left, [rows, inner], right, to);
}

/// Panels in memory: the first values of two panels, and those of two of a panel's lines, are so far
/// apart.
struct Right<'a> {
    values: &'a [f32],
    panel: usize,
    line: usize,
    /// Whether the first line is added to the products.
    added: bool,
    columns: usize,
}

fn multiply(left: Matrix, [rows, inner]: [usize; 2], right: Right, to: Target) {
    if rows == 0 || right.columns == 0 {
        return;
    }
    let lines = inner + usize::from(right.added);
    assert!(inner > 0 && left.holds(rows, inner));
    let last = (right.columns.div_ceil(WIDTH) - 1) * right.panel + (lines - 1) * right.line;
    assert!(last + WIDTH <= right.values.len());
    assert!((rows - 1) * to.step + right.columns <= to.values.len() && right.columns <= to.step);
    Arch::new().dispatch(Multiply { left, rows, inner, right, to });
}

/// A product whose sides lie within their slices.
struct Multiply<'a> {
    left: Matrix<'a>,
    rows: usize,
    inner: usize,
    right: Right<'a>,
    to: Target<'a>,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let most = if S::REGISTER_COUNT >= 32 { ROWS } else { FEW_ROWS };
        // As many rows in each block.
        let blocks = self.rows.div_ceil(most);
        let (each, longer) = (self.rows / blocks, self.rows % blocks);
        let mut sums = [[simd.splat_f32s(0.0); 2]; ROWS];
        // Columns whose sums lie in registers together: a panel's, or a part of them.
        let wide = 2 * S::F32_LANES;
        for first in (0..self.right.columns).step_by(wide) {
            let mut row = 0;
            for block in 0..blocks {
                let sums = &mut sums[..each + usize::from(block < longer)];
                self.sums(simd, row, first, sums);
                self.finish(simd, row, first, sums);
                row += sums.len();
            }
        }
    }
}

impl Multiply<'_> {
    /// The sums of some rows from a column on.
    #[inline(always)]
    fn sums<S: Simd>(&self, simd: S, row: usize, first: usize, to: &mut [[S::f32s; 2]]) {
        match to.len() {
            1 => self.block::<S, 1>(simd, row, first, to),
            2 => self.block::<S, 2>(simd, row, first, to),
            3 => self.block::<S, 3>(simd, row, first, to),
            4 => self.block::<S, 4>(simd, row, first, to),
            5 => self.block::<S, 5>(simd, row, first, to),
            6 => self.block::<S, 6>(simd, row, first, to),
            7 => self.block::<S, 7>(simd, row, first, to),
            8 => self.block::<S, 8>(simd, row, first, to),
            9 => self.block::<S, 9>(simd, row, first, to),
            10 => self.block::<S, 10>(simd, row, first, to),
            11 => self.block::<S, 11>(simd, row, first, to),
            _ => self.block::<S, 12>(simd, row, first, to),
        }
    }

    #[inline(always)]
    fn block<S: Simd, const COUNT: usize>(
        &self,
        simd: S,
        row: usize,
        first: usize,
        to: &mut [[S::f32s; 2]],
    ) {
        let (left, right) = (&self.left, &self.right);
        let start = first / WIDTH * right.panel + first % WIDTH;
        let zero = simd.splat_f32s(0.0);
        // All in registers.
        let mut sums = [[zero; 2]; COUNT];
        // SAFETY: `multiply` has checked that the left side holds so many rows and the right side all
        // lines of all panels in full; `first` is less than the columns.
        unsafe {
            let mut line = right.values.as_ptr().add(start);
            let load =
                |line: *const f32| -> [S::f32s; 2] { line.cast::<[S::f32s; 2]>().read_unaligned() };
            if right.added {
                sums = [load(line); COUNT];
                line = line.add(right.line);
            }
            let mut value = left.values.as_ptr().add(row * left.row_step);
            for _ in 0..self.inner {
                let weights = load(line);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let value = simd.splat_f32s(*value.add(row * left.row_step));
                    sums[0] = simd.mul_add_e_f32s(value, weights[0], sums[0]);
                    sums[1] = simd.mul_add_e_f32s(value, weights[1], sums[1]);
                }
                line = line.wrapping_add(right.line);
                value = value.wrapping_add(left.column_step);
            }
        }
        to.iter_mut().zip(sums).for_each(|(to, sums)| *to = sums);
    }

    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, row: usize, first: usize, sums: &[[S::f32s; 2]]) {
        let columns = (self.right.columns - first).min(2 * S::F32_LANES);
        let Target { values, step, finish } = &mut self.to;
        let to = values[row * *step + first..].chunks_mut(*step).map(|to| &mut to[..columns]);
        let to = sums.iter().zip(to);
        match finish {
            Finish::Store => put(
                simd,
                to,
                #[inline(always)]
                |_, sum| sum,
            ),
            Finish::Gelu => put(
                simd,
                to,
                #[inline(always)]
                |_, sum| gelu_lanes(simd, sum),
            ),
            Finish::Add => put(
                simd,
                to,
                #[inline(always)]
                |there, sum| simd.add_f32s(sum, there),
            ),
            Finish::AddGelu => {
                put(
                    simd,
                    to,
                    #[inline(always)]
                    |there, sum| gelu_lanes(simd, simd.add_f32s(sum, there)),
                );
            }
        }
    }
}

/// Puts what `last` makes of the values that are there and of rows' sums.
#[inline(always)]
fn put<'a, S: Simd>(
    simd: S,
    rows: impl Iterator<Item = (&'a [S::f32s; 2], &'a mut [f32])>,
    last: impl Fn(S::f32s, S::f32s) -> S::f32s,
) {
    for (sums, to) in rows {
        let (full, rest) = S::as_mut_simd_f32s(to);
        full.iter_mut().zip(sums).for_each(|(to, &sum)| *to = last(*to, sum));
        if !rest.is_empty() {
            let value = last(simd.partial_load_f32s(rest), sums[full.len()]);
            simd.partial_store_f32s(rest, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use gemm::Parallelism;

    use super::super::product;
    use super::*;

    fn noise(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed) % 1009) as f32 / 504.0 - 1.0).collect()
    }

    #[test]
    fn products_of_any_sizes_are_the_plain_ones() {
        for [rows, inner, out] in [[1, 1, 1], [5, 3, 31], [12, 64, 32], [49, 32, 65], [13, 100, 96]]
        {
            let (left, right) = (noise(rows * inner, 1), noise(inner * out, 2));
            let (added, there) = (noise(out, 3), noise(rows * out, 4));
            let mut plain = added.repeat(rows);
            let target = product::Target { values: &mut plain, row_step: out, add: true };
            let (a, b) = (Matrix::of_rows(&left, inner), Matrix::of_rows(&right, out));
            product::product(a, b, [rows, inner, out], 1.0, target, Parallelism::None);
            let panels = Panels::new(b, [inner, out], &added);
            let gelu = |mut values: Vec<f32>| {
                super::super::gelu_slice(&mut values);
                values
            };
            let sum: Vec<f32> = plain.iter().zip(&there).map(|(a, b)| a + b).collect();
            let expected = [
                (Finish::Store, plain.clone()),
                (Finish::Gelu, gelu(plain.clone())),
                (Finish::Add, sum.clone()),
                (Finish::AddGelu, gelu(sum)),
            ];
            let same = |got: &[f32], want: &[f32]| {
                let apart = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(
                    got.len() == want.len() && apart < 1e-5,
                    "{rows} x {inner} x {out}: {apart}"
                );
            };
            for (finish, expected) in expected {
                let mut values = there.clone();
                panels.product(a, rows, Target { values: &mut values, step: out, finish });
                same(&values, &expected);
            }
            same(&panels.product_by_columns(a, rows), &plain);
            // The left side column by column, and the right side's rows as they lie.
            let across: Vec<f32> =
                (0..rows * inner).map(|i| left[i % rows * inner + i / rows]).collect();
            let across = Matrix::of_rows(&across, rows).transposed();
            let mut values = vec![0.0; rows * out];
            let finish = Finish::Store;
            panels.product(across, rows, Target { values: &mut values, step: out, finish });
            same(&values, &plain);
            if out.is_multiple_of(WIDTH) {
                let mut values = added.repeat(rows);
                let to = Target { values: &mut values, step: out, finish: Finish::Add };
                product_with_rows(a, [rows, inner, out], &right, out, to);
                same(&values, &plain);
            }
        }
    }
}
