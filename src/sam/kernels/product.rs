//! Matrix products of parts of slices.

use std::ops::Range;

use gemm::Parallelism;

/// A matrix in memory.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    pub values: &'a [f32],
    pub row_step: usize,
    pub column_step: usize,
}

impl<'a> Matrix<'a> {
    pub fn new(values: &'a [f32], row_step: usize, column_step: usize) -> Self {
        Self { values, row_step, column_step }
    }

    /// Rows of contiguous values.
    pub fn of_rows(values: &'a [f32], columns: usize) -> Self {
        Self::new(values, columns, 1)
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { row_step: self.column_step, column_step: self.row_step, ..self }
    }

    /// Copies some columns, times `scale`, each row into one of `to`.
    pub fn copy_columns<'b>(
        &self,
        columns: Range<usize>,
        scale: f32,
        to: impl Iterator<Item = &'b mut [f32]>,
    ) {
        let first = columns.start * self.column_step;
        for (row, to) in to.enumerate() {
            let from = &self.values[row * self.row_step + first..];
            match self.column_step {
                1 => to
                    .iter_mut()
                    .zip(&from[..columns.len()])
                    .for_each(|(to, from)| *to = scale * from),
                step => to
                    .iter_mut()
                    .zip(from.iter().step_by(step).take(columns.len()))
                    .for_each(|(to, from)| *to = scale * from),
            }
        }
    }

    /// Whether all of so many rows and columns lie in memory.
    pub fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row_step + (columns - 1) * self.column_step < self.values.len()
    }
}

/// Where a product goes: rows of contiguous values.
pub struct Target<'a> {
    pub values: &'a mut [f32],
    pub row_step: usize,
    /// Added to what is there, or else in its place.
    pub add: bool,
}

/// All cores for one product.
pub fn all_cores() -> Parallelism {
    Parallelism::Rayon(0)
}

/// `to` becomes scale * `left` (rows x inner) * `right` (inner x columns).
pub fn product(
    left: Matrix,
    right: Matrix,
    [rows, inner, columns]: [usize; 3],
    scale: f32,
    to: Target,
    parallelism: Parallelism,
) {
    if rows == 0 || inner == 0 || columns == 0 {
        return;
    }
    assert!(left.holds(rows, inner) && right.holds(inner, columns));
    assert!((rows - 1) * to.row_step + columns <= to.values.len() && columns <= to.row_step);
    // SAFETY: all three matrices were just checked to lie within their slices.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            to.values.as_mut_ptr(),
            1,
            to.row_step as isize,
            to.add,
            left.values.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.values.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
