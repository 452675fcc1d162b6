//! Copies between memory layouts, by whole runs of values.

use burn::prelude::*;
use rayon::prelude::*;

use super::record::{Function, Values, primitive, run, slice, tensor};
use super::values;

/// `[batch, rows, columns]` to `[batch, columns, rows]`, contiguous.
pub fn transpose<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    run(Transpose, [primitive(x)]).unwrap_or_else(|[x]| tensor::<B, 3>(x).swap_dims(1, 2))
}

#[derive(Clone, Debug)]
struct Transpose;

impl Function<1> for Transpose {
    fn forward(&self, [x]: [Values; 1]) -> TensorData {
        let [batch, rows, columns] = x.shape.dims();
        TensorData::new(transposed(slice(&x), rows, columns), [batch, columns, rows])
    }

    fn backward(
        &self,
        [x]: [Values; 1],
        gradient: TensorData,
        _: [bool; 1],
    ) -> [Option<Vec<f32>>; 1] {
        let [_, rows, columns] = x.shape.dims();
        [Some(transposed(values(&gradient), columns, rows))]
    }
}

/// `[rows, columns]` to `[columns, rows]`.
pub fn transposed(from: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    // Side of the squares that are turned at a time, so that both sides stay in the cache.
    const SQUARE: usize = 16;
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
    to
}

/// Patches of `[batch, height, width, channels]` to windows of
/// `[batch * windows, side, side, channels]`, with zeros to the right and below where the windows
/// reach beyond the picture.
pub fn partition_windows<B: Backend>(x: Tensor<B, 4>, side: usize) -> Tensor<B, 4> {
    let windows = Windows::of(x.dims(), side);
    if windows.is_whole() {
        return x;
    }
    run(Partition(windows), [primitive(x)])
        .unwrap_or_else(|[x]| plain_partition(tensor::<B, 4>(x), side))
}

/// The inverse of [`partition_windows`], for a picture of `[batch, height, width]` patches.
pub fn merge_windows<B: Backend>(x: Tensor<B, 4>, size: [usize; 3]) -> Tensor<B, 4> {
    let ([batch, height, width], [_, side, _, channels]) = (size, x.dims());
    let windows = Windows::of([batch, height, width, channels], side);
    if windows.is_whole() {
        return x;
    }
    run(Merge(windows), [primitive(x)]).unwrap_or_else(|[x]| plain_merge(tensor::<B, 4>(x), size))
}

/// How pictures of patches are cut into windows.
#[derive(Clone, Debug)]
struct Windows {
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    side: usize,
    /// Windows below and beside each other.
    grid: [usize; 2],
}

impl Windows {
    fn of([batch, height, width, channels]: [usize; 4], side: usize) -> Self {
        let grid = [height.div_ceil(side), width.div_ceil(side)];
        Self { batch, height, width, channels, side, grid }
    }

    /// Whether a picture is one window.
    fn is_whole(&self) -> bool {
        self.height == self.side && self.width == self.side
    }

    fn partition(&self, from: &[f32]) -> Vec<f32> {
        let Self { batch, height, width, channels, side, grid: [down, across] } = *self;
        let mut to = vec![0.0; batch * down * across * side * side * channels];
        to.par_chunks_mut((side * side * channels).max(1)).enumerate().for_each(|(window, to)| {
            let (picture, place) = (window / (down * across), window % (down * across));
            let (top, left) = (place / across * side, place % across * side);
            let run = side.min(width - left) * channels;
            let rows = (top..height.min(top + side)).zip(to.chunks_exact_mut(side * channels));
            for (row, to) in rows {
                let start = ((picture * height + row) * width + left) * channels;
                to[..run].copy_from_slice(&from[start..start + run]);
            }
        });
        to
    }

    fn merge(&self, from: &[f32]) -> Vec<f32> {
        let Self { batch, height, width, channels, side, grid: [down, across] } = *self;
        let mut to = vec![0.0; batch * height * width * channels];
        to.par_chunks_mut((width * channels).max(1)).enumerate().for_each(|(line, to)| {
            let (picture, row) = (line / height, line % height);
            for (column, to) in to.chunks_mut(side * channels).enumerate() {
                let window = (picture * down + row / side) * across + column;
                let start = (window * side + row % side) * side * channels;
                to.copy_from_slice(&from[start..start + to.len()]);
            }
        });
        to
    }
}

/// Each of the two is the other's backward pass: padding gets no gradient.
#[derive(Clone, Debug)]
struct Partition(Windows);

#[derive(Clone, Debug)]
struct Merge(Windows);

impl Function<1> for Partition {
    fn forward(&self, [x]: [Values; 1]) -> TensorData {
        let Windows { batch, channels, side, grid: [down, across], .. } = self.0;
        let shape = [batch * down * across, side, side, channels];
        TensorData::new(self.0.partition(slice(&x)), shape)
    }

    fn backward(
        &self,
        _: [Values; 1],
        gradient: TensorData,
        _: [bool; 1],
    ) -> [Option<Vec<f32>>; 1] {
        [Some(self.0.merge(values(&gradient)))]
    }
}

impl Function<1> for Merge {
    fn forward(&self, [x]: [Values; 1]) -> TensorData {
        let Windows { batch, height, width, channels, .. } = self.0;
        TensorData::new(self.0.merge(slice(&x)), [batch, height, width, channels])
    }

    fn backward(
        &self,
        _: [Values; 1],
        gradient: TensorData,
        _: [bool; 1],
    ) -> [Option<Vec<f32>>; 1] {
        [Some(self.0.partition(values(&gradient)))]
    }
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
    use super::super::testing::{difference, noise, same_gradients};
    use super::*;

    #[test]
    fn gradients_of_layouts_are_burns() {
        same_gradients([noise([2, 37, 50])], |[x]| transpose(x), |[x]| x.swap_dims(1, 2));
        let picture = noise([2, 20, 33, 6]);
        let windows = noise([30, 7, 7, 6]);
        same_gradients([picture], |[x]| partition_windows(x, 7), |[x]| plain_partition(x, 7));
        let size = [2, 20, 33];
        same_gradients([windows], |[x]| merge_windows(x, size), |[x]| plain_merge(x, size));
    }

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
