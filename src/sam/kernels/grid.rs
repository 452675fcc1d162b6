//! Pictures of patches, by bands of rows and by windows.

use std::borrow::Cow;

use burn::prelude::*;
use rayon::prelude::*;

use super::layout::transposed;
use crate::simd::vectorised;

/// A picture of patches, `[rows, columns, channels]`.
#[derive(Clone, Debug)]
pub struct Grid {
    pub values: Vec<f32>,
    pub rows: usize,
    pub columns: usize,
    pub channels: usize,
}

impl Grid {
    pub fn zeros([rows, columns, channels]: [usize; 3]) -> Self {
        Self { values: vec![0.0; rows * columns * channels], rows, columns, channels }
    }

    /// From `[channels, rows, columns]`.
    pub fn of_planes(planes: &[f32], [channels, rows, columns]: [usize; 3]) -> Self {
        Self { values: transposed(planes, channels, rows * columns), rows, columns, channels }
    }

    /// To `[channels, rows, columns]`.
    pub fn into_planes(self) -> Vec<f32> {
        transposed(&self.values, self.rows * self.columns, self.channels)
    }

    /// Patches side by side in a row.
    pub fn run(&self, row: usize, [from, to]: [usize; 2]) -> &[f32] {
        let start = row * self.columns;
        &self.values[(start + from) * self.channels..(start + to) * self.channels]
    }

    /// Rows of at least so many patches, to be worked on in parallel.
    pub fn bands(&mut self, patches: usize) -> impl IndexedParallelIterator<Item = Band<'_>> {
        let (columns, channels) = (self.columns, self.channels);
        let rows = patches.div_ceil(columns.max(1)).max(1);
        let bands = self.values.par_chunks_mut((rows * columns * channels).max(1)).enumerate();
        bands.map(move |(index, values)| Band {
            first: index * rows,
            rows: values.len() / (columns * channels).max(1),
            values,
        })
    }
}

/// Some rows of a grid.
pub struct Band<'a> {
    pub first: usize,
    pub rows: usize,
    pub values: &'a mut [f32],
}

/// A tensor's values.
pub fn values_of<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().into_vec().unwrap_or_default()
}

/// Applies what makes `[channels, rows, columns]` of `[channels, height, width]` to every picture.
pub fn on_pictures<B: Backend>(
    pictures: Tensor<B, 4>,
    make: impl Fn(&[f32], [usize; 2]) -> (Vec<f32>, [usize; 3]),
) -> Tensor<B, 4> {
    let ([count, channels, height, width], device) = (pictures.dims(), pictures.device());
    let pixels = values_of(pictures);
    let (mut values, mut shape) = (Vec::new(), [0; 3]);
    for pixels in pixels.chunks_exact((channels * height * width).max(1)) {
        let (made, [channels, rows, columns]) = make(pixels, [height, width]);
        values.extend(made);
        shape = [channels, rows, columns];
    }
    let [channels, rows, columns] = shape;
    Tensor::from_data(TensorData::new(values, [count, channels, rows, columns]), &device)
}

/// What `work` makes of each window's patches, windows row by row. It gets those that lie in the
/// picture, `[rows, columns, channels]`, and how many rows and columns these are.
pub fn windows(
    x: &Grid,
    side: usize,
    work: impl Fn(&mut [f32], [usize; 2]) + Sync,
) -> Vec<Vec<f32>> {
    let across = x.columns.div_ceil(side);
    let count = across * x.rows.div_ceil(side);
    let window = |window: usize| {
        let (top, left) = (window / across * side, window % across * side);
        let (bottom, right) = (x.rows.min(top + side), x.columns.min(left + side));
        let mut patches = Vec::with_capacity((bottom - top) * (right - left) * x.channels);
        (top..bottom).for_each(|row| patches.extend_from_slice(x.run(row, [left, right])));
        work(&mut patches, [bottom - top, right - left]);
        patches
    };
    (0..count).into_par_iter().map(window).collect()
}

/// All places of a window, `[side, side, width]`: what there is, in rows of so many `columns`, and what
/// lies `beyond` the picture.
pub fn filled<'a>(
    inside: &'a [f32],
    columns: usize,
    side: usize,
    beyond: &[f32],
) -> Cow<'a, [f32]> {
    let width = beyond.len();
    if inside.len() == side * side * width {
        return inside.into();
    }
    let mut all = beyond.repeat(side * side);
    let rows = all.chunks_exact_mut(side * width).zip(inside.chunks_exact(columns * width));
    rows.for_each(|(to, from)| to[..from.len()].copy_from_slice(from));
    all.into()
}

/// Adds windows to a picture.
pub fn add_windows(x: &mut Grid, side: usize, windows: &[Vec<f32>]) {
    let (columns, channels) = (x.columns, x.channels);
    let across = columns.div_ceil(side);
    x.bands(side * columns).for_each(|band| {
        let windows = &windows[band.first / side * across..][..across];
        for (window, patches) in windows.iter().enumerate() {
            let left = window * side;
            let run = side.min(columns - left) * channels;
            let rows = band.values.chunks_exact_mut(columns * channels);
            for (to, from) in rows.zip(patches.chunks_exact(run)) {
                add(&mut to[left * channels..][..run], from);
            }
        }
    });
}

/// Adds values to others.
pub fn add(to: &mut [f32], values: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            to.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        },
    );
}
