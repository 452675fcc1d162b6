//! Copies between memory layouts, by whole runs of values.

use burn::prelude::*;
use rayon::prelude::*;

use super::{is_on_host, values};

/// `[batch, rows, columns]` to `[batch, columns, rows]`, contiguous.
pub fn transpose<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    // Side of the squares that are turned at a time, so that both sides stay in the cache.
    const SQUARE: usize = 16;
    if !is_on_host(&x) {
        return x.swap_dims(1, 2);
    }
    let device = x.device();
    let [batch, rows, columns] = x.dims();
    let data = x.into_data();
    let from = values(&data);
    let mut to = vec![0.0; from.len()];
    let matrix = (rows * columns).max(1);
    for (from, to) in from.chunks_exact(matrix).zip(to.chunks_exact_mut(matrix)) {
        to.par_chunks_mut(SQUARE * rows).enumerate().for_each(|(band, to)| {
            for top in (0..rows).step_by(SQUARE) {
                let bottom = (top + SQUARE).min(rows);
                for (offset, line) in to.chunks_exact_mut(rows).enumerate() {
                    let column = band * SQUARE + offset;
                    for (row, slot) in (top..bottom).zip(&mut line[top..bottom]) {
                        *slot = from[row * columns + column];
                    }
                }
            }
        });
    }
    Tensor::from_data(TensorData::new(to, [batch, columns, rows]), &device)
}

/// Patches of `[batch, height, width, channels]` to windows of
/// `[batch * windows, side, side, channels]`, with zeros to the right and below where the windows
/// reach beyond the picture.
pub fn partition_windows<B: Backend>(x: Tensor<B, 4>, side: usize) -> Tensor<B, 4> {
    let [batch, height, width, channels] = x.dims();
    if height == side && width == side {
        return x;
    }
    if !is_on_host(&x) {
        return plain_partition(x, side);
    }
    let device = x.device();
    let (down, across) = (height.div_ceil(side), width.div_ceil(side));
    let count = batch * down * across;
    let data = x.into_data();
    let from = values(&data);
    let mut to = vec![0.0; count * side * side * channels];
    to.par_chunks_mut((side * side * channels).max(1)).enumerate().for_each(|(window, to)| {
        let (picture, place) = (window / (down * across), window % (down * across));
        let (top, left) = (place / across * side, place % across * side);
        let run = side.min(width - left) * channels;
        for (row, to) in (top..height.min(top + side)).zip(to.chunks_exact_mut(side * channels)) {
            let start = ((picture * height + row) * width + left) * channels;
            to[..run].copy_from_slice(&from[start..start + run]);
        }
    });
    Tensor::from_data(TensorData::new(to, [count, side, side, channels]), &device)
}

/// The inverse of [`partition_windows`], for a picture of `[batch, height, width]` patches.
pub fn merge_windows<B: Backend>(x: Tensor<B, 4>, size: [usize; 3]) -> Tensor<B, 4> {
    let [batch, height, width] = size;
    let [_, side, _, channels] = x.dims();
    if height == side && width == side {
        return x;
    }
    if !is_on_host(&x) {
        return plain_merge(x, size);
    }
    let device = x.device();
    let (down, across) = (height.div_ceil(side), width.div_ceil(side));
    let data = x.into_data();
    let from = values(&data);
    let mut to = vec![0.0; batch * height * width * channels];
    to.par_chunks_mut((width * channels).max(1)).enumerate().for_each(|(line, to)| {
        let (picture, row) = (line / height, line % height);
        for (column, to) in to.chunks_mut(side * channels).enumerate() {
            let window = (picture * down + row / side) * across + column;
            let start = (window * side + row % side) * side * channels;
            to.copy_from_slice(&from[start..start + to.len()]);
        }
    });
    Tensor::from_data(TensorData::new(to, [batch, height, width, channels]), &device)
}

fn plain_partition<B: Backend>(x: Tensor<B, 4>, side: usize) -> Tensor<B, 4> {
    let [batch, height, width, channels] = x.dims();
    let (down, across) = (height.div_ceil(side), width.div_ceil(side));
    // Padding is counted from the last dimension, which must be the width for it.
    let padding = (0, across * side - width, 0, down * side - height);
    x.permute([0, 3, 1, 2])
        .pad(padding, 0.0)
        .permute([0, 2, 3, 1])
        .reshape([batch, down, side, across, side, channels])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([batch * down * across, side, side, channels])
}

fn plain_merge<B: Backend>(x: Tensor<B, 4>, [batch, height, width]: [usize; 3]) -> Tensor<B, 4> {
    let [_, side, _, channels] = x.dims();
    let (down, across) = (height.div_ceil(side), width.div_ceil(side));
    x.reshape([batch, down, across, side, side, channels])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([batch, down * side, across * side, channels])
        .slice([0..batch, 0..height, 0..width, 0..channels])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{difference, noise};
    use super::*;

    #[test]
    fn transposing_is_burns() {
        for shape in [[2, 37, 50], [1, 16, 16], [3, 1, 5]] {
            let x = noise(shape);
            assert_eq!(difference(transpose(x.clone()), x.swap_dims(1, 2)), 0.0);
        }
    }

    #[test]
    fn windows_are_burns_and_come_back() {
        for (height, width, side) in [(64, 64, 14), (20, 33, 7), (14, 14, 14), (3, 5, 7)] {
            let x = noise([2, height, width, 6]);
            let windows = partition_windows(x.clone(), side);
            let plain = plain_partition(x.clone(), side);
            assert_eq!(difference(windows.clone(), plain), 0.0);
            let size = [2, height, width];
            assert_eq!(difference(merge_windows(windows.clone(), size), x), 0.0);
            let plain = plain_merge(windows.clone(), size);
            assert_eq!(difference(merge_windows(windows, size), plain), 0.0);
        }
    }
}
