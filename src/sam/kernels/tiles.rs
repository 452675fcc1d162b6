//! Layers on pictures of patches, `[rows, columns, channels]`, in steps whose values stay in a core's
//! cache: what lies between two layers never becomes a tensor of its own. For inference on the
//! processor; the Burn modules from whose weights they are made are their tests.

use std::ops::Range;

use burn::nn::Linear;
use burn::nn::conv::{Conv2d, ConvTranspose2d};
use burn::prelude::*;
use rayon::prelude::*;

use super::filter::{Depthwise, Filtered};
use super::grid::{Band, Grid, values_of};
use super::norm::normalise_rows;
use super::panels::{Finish, Panels, Target};
use super::product::Matrix;

/// Hidden channels, or a convolution's inputs, that are worked on at a time, so that they and their
/// weights stay in the cache.
const SLICE: usize = 256;

/// Rows times a weight `[in, out]`, plus a bias.
#[derive(Debug)]
pub struct Affine(Panels);

impl Affine {
    pub fn of_linear<B: Backend>(layer: &Linear<B>) -> Self {
        let bias = layer.bias.as_ref().map(|bias| bias.val());
        Self::new(layer.weight.val(), bias)
    }

    /// What a convolution does to a patch's neighbourhood, `[kernel rows, kernel columns, in]`.
    pub fn of_convolution<B: Backend>(layer: &Conv2d<B>) -> Self {
        let [out, into, rows, columns] = layer.weight.dims();
        let weight = layer.weight.val().permute([2, 3, 1, 0]);
        let bias = layer.bias.as_ref().map(|bias| bias.val());
        Self::new(weight.reshape([into * rows * columns, out]), bias)
    }

    /// What a transposed convolution whose stride is its kernel makes of a patch,
    /// `[kernel rows, kernel columns, out]`.
    pub fn of_transposed_convolution<B: Backend>(layer: &ConvTranspose2d<B>) -> Self {
        let [into, out, rows, columns] = layer.weight.dims();
        let weight = layer.weight.val().permute([0, 2, 3, 1]);
        let bias = layer.bias.as_ref().map(|bias| bias.val().repeat_dim(0, rows * columns));
        Self::new(weight.reshape([into, rows * columns * out]), bias)
    }

    fn new<B: Backend>(weight: Tensor<B, 2>, bias: Option<Tensor<B, 1>>) -> Self {
        let [into, out] = weight.dims();
        let (weight, bias) = (values_of(weight), bias.map(values_of).unwrap_or_default());
        Self(Panels::new(Matrix::of_rows(&weight, out), [into, out], &bias))
    }

    pub fn out(&self) -> usize {
        self.0.out()
    }

    pub fn inputs(&self) -> usize {
        self.0.inputs()
    }

    /// `[n, in]` to `[n, out]`, on all cores.
    pub fn of(&self, from: &[f32]) -> Vec<f32> {
        self.0.product_by_columns(Matrix::of_rows(from, self.inputs()), from.len() / self.inputs())
    }

    /// Some of the columns for rows of all inputs; `to` is `[n, columns]`. On one core.
    fn columns(&self, columns: Range<usize>, from: &[f32], to: &mut [f32], finish: Finish) {
        let (left, rows) = (Matrix::of_rows(from, self.inputs()), from.len() / self.inputs());
        let to = Target { values: to, step: columns.len(), finish };
        self.0.part(0..self.inputs(), columns, left, rows, to);
    }

    /// What some of the inputs, `[n, inputs]`, give to all columns; with the first, the bias. On one
    /// core.
    fn share(&self, inputs: Range<usize>, from: &[f32], to: &mut [f32], finish: Finish) {
        let (left, rows) = (Matrix::of_rows(from, inputs.len()), from.len() / inputs.len());
        let to = Target { values: to, step: self.out(), finish };
        self.0.part(inputs, 0..self.out(), left, rows, to);
    }

    /// `[n, in]` to `[n, out]`, on one core.
    pub fn forward(&self, from: &[f32], to: &mut [f32], finish: Finish) {
        let (left, rows) = (Matrix::of_rows(from, self.inputs()), from.len() / self.inputs());
        self.0.product(left, rows, Target { values: to, step: self.out(), finish });
    }
}

/// Layer normalisation of every patch.
#[derive(Debug)]
pub struct Norm {
    scale: Vec<f32>,
    shift: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    pub fn new<B: Backend>(scale: Tensor<B, 1>, shift: Tensor<B, 1>, epsilon: f64) -> Self {
        Self { scale: values_of(scale), shift: values_of(shift), epsilon: epsilon as f32 }
    }

    pub fn forward(&self, values: &mut [f32]) {
        normalise_rows(values, &self.scale, &self.shift, self.epsilon);
    }
}

/// A convolution over all channels, padded by half its kernel.
#[derive(Debug)]
pub struct Convolution {
    weight: Affine,
    biased: bool,
    kernel: usize,
    stride: usize,
}

impl Convolution {
    pub fn new<B: Backend>(layer: &Conv2d<B>) -> Self {
        let ([kernel, _], [stride, _]) = (layer.kernel_size, layer.stride);
        let biased = layer.bias.is_some();
        Self { weight: Affine::of_convolution(layer), biased, kernel, stride }
    }

    /// `then` works on some patches of the result.
    pub fn forward(&self, x: &Grid, finish: Finish, then: impl Fn(&mut [f32]) + Sync) -> Grid {
        let size = [x.rows, x.columns].map(|side| (side - 1) / self.stride + 1);
        let mut y = Grid::zeros([size[0], size[1], self.weight.out()]);
        // Few inputs are gathered; many are taken from where they are.
        let in_place = x.channels >= SLICE && self.stride == 1 && !self.biased;
        let gathered = !in_place || finish != Finish::Store;
        y.bands(64).for_each(|band| {
            match gathered {
                true => {
                    let inner = self.weight.inputs();
                    let mut seen = vec![0.0; band.rows * size[1] * inner];
                    for (place, seen) in seen.chunks_exact_mut(inner).enumerate() {
                        self.look(x, [band.first + place / size[1], place % size[1]], seen);
                    }
                    self.weight.forward(&seen, band.values, finish);
                }
                false => {
                    let rows = band.values.chunks_exact_mut(size[1] * self.weight.out());
                    for (row, to) in rows.enumerate() {
                        self.add_taps(x, band.first + row, to);
                    }
                }
            }
            then(band.values);
        });
        y
    }

    /// Adds to a row of results, tap by tap.
    fn add_taps(&self, x: &Grid, row: usize, to: &mut [f32]) {
        let (pad, out) = (self.kernel / 2, self.weight.out());
        for tap in 0..self.kernel * self.kernel {
            let (down, across) = (tap / self.kernel, tap % self.kernel);
            let Some(at) = (row + down).checked_sub(pad).filter(|&at| at < x.rows) else {
                continue;
            };
            // Results whose tap lies inside, from the first one's on.
            let from = pad.saturating_sub(across);
            let seen = [from + across - pad, (x.columns + across - pad).min(x.columns)];
            let count = seen[1] - seen[0];
            let inputs = tap * x.channels..(tap + 1) * x.channels;
            let to = &mut to[from * out..][..count * out];
            self.weight.share(inputs, x.run(at, seen), to, Finish::Add);
        }
    }

    /// Copies what the kernel sees at a place of the result.
    fn look(&self, x: &Grid, [row, column]: [usize; 2], seen: &mut [f32]) {
        let pad = self.kernel / 2;
        let line = self.kernel * x.channels;
        // The columns that lie inside.
        let start = column * self.stride;
        let from = start.saturating_sub(pad);
        let to = (start + self.kernel - pad).min(x.columns);
        let offset = (from + pad - start) * x.channels;
        for (down, seen) in seen.chunks_exact_mut(line).enumerate() {
            let Some(at) = (row * self.stride + down).checked_sub(pad).filter(|&at| at < x.rows)
            else {
                continue;
            };
            let run = x.run(at, [from, to]);
            seen[offset..offset + run.len()].copy_from_slice(run);
        }
    }
}

/// Widen, depthwise 3 x 3, narrow; GELU after the first two.
#[derive(Debug)]
pub struct Inverted {
    pub widen: Affine,
    pub depthwise: Depthwise,
    pub narrow: Affine,
    /// Whether the input is added to the result, and GELU taken of the sum.
    pub residual: bool,
}

impl Inverted {
    /// Rows and columns of results that are worked on between two exchanges of the cache.
    const STEP: usize = 4;
    const STRIP: usize = 64;

    pub fn forward(&self, x: &Grid) -> Grid {
        let stride = self.depthwise.stride;
        let [rows, columns] = [x.rows, x.columns].map(|side| (side - 1) / stride + 1);
        let mut y = Grid::zeros([rows, columns, self.narrow.out()]);
        // Rows that follow each other on one core: two bands see a row more each than one would.
        let band = (rows / (2 * rayon::current_num_threads())).clamp(8, 64);
        y.bands(band * columns).for_each(|mut band| {
            let mut room = [const { Vec::new() }; 2];
            for from in (0..columns).step_by(Self::STRIP) {
                let strip = [from, (from + Self::STRIP).min(columns)];
                if self.residual {
                    for row in 0..band.rows {
                        let to = &mut band.values[(row * columns + from) * x.channels..];
                        let x = x.run(band.first + row, strip);
                        to[..x.len()].copy_from_slice(x);
                    }
                }
                for hidden in slices(self.widen.out(), SLICE / 4) {
                    self.strip(x, columns, strip, hidden, &mut band, &mut room);
                }
            }
        });
        y
    }

    /// What some of the hidden channels give to the columns `strip` of a band of results, each
    /// `columns` wide.
    fn strip(
        &self,
        x: &Grid,
        columns: usize,
        strip: [usize; 2],
        hidden: Range<usize>,
        band: &mut Band,
        [wide, filtered]: &mut [Vec<f32>; 2],
    ) {
        let (stride, out) = (self.depthwise.stride, self.narrow.out());
        let finish = match (self.residual, hidden.start == 0, hidden.end == self.widen.out()) {
            (true, _, true) => Finish::AddGelu,
            (false, true, _) => Finish::Store,
            _ => Finish::Add,
        };
        let width = strip[1] - strip[0];
        // What the strip sees: columns, and rows of results before them.
        let seen = [(strip[0] * stride).saturating_sub(1), (strip[1] * stride + 1).min(x.columns)];
        let line = (seen[1] - seen[0]) * hidden.len();
        wide.clear();
        let mut known = [0usize; 2];
        for step in (0..band.rows).step_by(Self::STEP) {
            let count = Self::STEP.min(band.rows - step);
            let top = band.first + step;
            let needed =
                [(top * stride).saturating_sub(1), ((top + count - 1) * stride + 2).min(x.rows)];
            // Rows that the last step made are kept.
            let kept = known[1].saturating_sub(needed[0]);
            let begin = wide.len() - kept * line;
            wide.copy_within(begin.., 0);
            wide.resize((needed[1] - needed[0]) * line, 0.0);
            let new = (needed[0] + kept..needed[1]).zip(wide[kept * line..].chunks_exact_mut(line));
            new.for_each(|(row, to)| {
                self.widen.columns(hidden.clone(), x.run(row, seen), to, Finish::Gelu);
            });
            known = needed;

            filtered.resize(width * hidden.len(), 0.0);
            for row in step..step + count {
                let rows = std::array::from_fn(|down| {
                    let at = ((band.first + row) * stride + down).checked_sub(needed[0] + 1)?;
                    wide.get(at * line..(at + 1) * line)
                });
                let to = Filtered { values: filtered, channels: hidden.clone() };
                self.depthwise.row(rows, seen[0], strip[0], to, Finish::Gelu);
                let start = (row * columns + strip[0]) * out;
                let to = &mut band.values[start..start + width * out];
                self.narrow.share(hidden.clone(), filtered, to, finish);
            }
        }
    }
}

/// Ranges of so many, and of the rest.
fn slices(all: usize, each: usize) -> impl Iterator<Item = Range<usize>> {
    (0..all).step_by(each).map(move |from| from..all.min(from + each))
}

/// Normalisation, widen, GELU, narrow; added to what came in.
#[derive(Debug)]
pub struct Mlp {
    pub norm: Norm,
    pub widen: Affine,
    pub narrow: Affine,
}

impl Mlp {
    /// Adds to patches, on one core.
    pub fn forward(&self, patches: &mut [f32]) {
        let mut normal = patches.to_vec();
        self.norm.forward(&mut normal);
        let count = patches.len() / self.narrow.out();
        let mut some = Vec::new();
        for hidden in slices(self.widen.out(), SLICE) {
            some.resize(count * hidden.len(), 0.0);
            self.widen.columns(hidden.clone(), &normal, &mut some, Finish::Gelu);
            self.narrow.share(hidden, &some, patches, Finish::Add);
        }
    }
}
