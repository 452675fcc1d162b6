//! Layers on pictures of patches, `[rows, columns, channels]`, in steps whose values stay in a core's
//! cache: what lies between two layers never becomes a tensor of its own. For inference on the
//! processor; the Burn modules from whose weights they are made are their tests.

use burn::nn::Linear;
use burn::nn::conv::{Conv2d, ConvTranspose2d};
use burn::prelude::*;
use gemm::Parallelism;
use rayon::prelude::*;

use super::activation::gelu_slice;
use super::layout::transposed;
use super::norm::normalise_rows;
use super::product::{Matrix, Target, all_cores, product};

/// Channels that a depthwise convolution sums up at a time.
const LANES: usize = 32;

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

/// Rows times a weight `[in, out]`, plus a bias.
#[derive(Debug)]
pub struct Affine {
    weight: Vec<f32>,
    bias: Vec<f32>,
    into: usize,
}

impl Affine {
    pub fn of_linear<B: Backend>(layer: &Linear<B>) -> Self {
        let [into, out] = layer.weight.dims();
        let bias = layer.bias.as_ref().map_or_else(|| vec![0.0; out], |b| values_of(b.val()));
        Self { weight: values_of(layer.weight.val()), bias, into }
    }

    /// What a convolution does to a patch's neighbourhood, `[kernel rows, kernel columns, in]`.
    pub fn of_convolution<B: Backend>(layer: &Conv2d<B>) -> Self {
        let [out, into, rows, columns] = layer.weight.dims();
        let bias = layer.bias.as_ref().map_or_else(|| vec![0.0; out], |b| values_of(b.val()));
        let into = into * rows * columns;
        let weight = layer.weight.val().permute([2, 3, 1, 0]).reshape([into, out]);
        Self { weight: values_of(weight), bias, into }
    }

    /// What a transposed convolution whose stride is its kernel makes of a patch,
    /// `[kernel rows, kernel columns, out]`.
    pub fn of_transposed_convolution<B: Backend>(layer: &ConvTranspose2d<B>) -> Self {
        let [into, out, rows, columns] = layer.weight.dims();
        let bias = layer.bias.as_ref().map_or_else(|| vec![0.0; out], |b| values_of(b.val()));
        let weight = layer.weight.val().permute([0, 2, 3, 1]).reshape([into, rows * columns * out]);
        Self { weight: values_of(weight), bias: bias.repeat(rows * columns), into }
    }

    pub fn out(&self) -> usize {
        self.bias.len()
    }

    pub fn inputs(&self) -> usize {
        self.into
    }

    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Some of the weight's columns, `[in, columns]`.
    pub fn columns(&self, first: usize) -> Matrix<'_> {
        Matrix::new(&self.weight[first..], self.out(), 1)
    }

    /// The weight's rows from one on, `[rows, out]`.
    pub fn rows(&self, first: usize) -> Matrix<'_> {
        Matrix::of_rows(&self.weight[first * self.out()..], self.out())
    }

    /// `[n, in]` to `[n, out]`, on all cores.
    pub fn of(&self, from: &[f32]) -> Vec<f32> {
        let mut to = vec![0.0; from.len() / self.into * self.out()];
        self.apply(from, &mut to, all_cores());
        to
    }

    /// `[n, in]` to `[n, out]`, on one core.
    pub fn forward(&self, from: &[f32], to: &mut [f32]) {
        self.apply(from, to, Parallelism::None);
    }

    fn apply(&self, from: &[f32], to: &mut [f32], parallelism: Parallelism) {
        let (into, out) = (self.into, self.out());
        to.chunks_exact_mut(out).for_each(|row| row.copy_from_slice(&self.bias));
        let target = Target { values: to, row_step: out, add: true };
        let (left, right) = (Matrix::of_rows(from, into), Matrix::of_rows(&self.weight, out));
        product(left, right, [from.len() / into, into, out], 1.0, target, parallelism);
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
    kernel: usize,
    stride: usize,
}

impl Convolution {
    pub fn new<B: Backend>(layer: &Conv2d<B>) -> Self {
        let ([kernel, _], [stride, _]) = (layer.kernel_size, layer.stride);
        Self { weight: Affine::of_convolution(layer), kernel, stride }
    }

    /// `then` works on some patches of the result.
    pub fn forward(&self, x: &Grid, then: impl Fn(&mut [f32]) + Sync) -> Grid {
        let size = [x.rows, x.columns].map(|side| (side - 1) / self.stride + 1);
        let mut y = Grid::zeros([size[0], size[1], self.weight.out()]);
        y.bands(64).for_each(|band| {
            let inner = self.weight.into;
            let mut seen = vec![0.0; band.rows * size[1] * inner];
            for (place, seen) in seen.chunks_exact_mut(inner).enumerate() {
                self.look(x, [band.first + place / size[1], place % size[1]], seen);
            }
            self.weight.forward(&seen, band.values);
            then(band.values);
        });
        y
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

/// A 3 x 3 convolution of each channel by itself, padded by one.
#[derive(Debug)]
pub struct Depthwise {
    /// `[9, channels]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    pub stride: usize,
}

impl Depthwise {
    pub fn new<B: Backend>(layer: &Conv2d<B>) -> Self {
        let Affine { weight, .. } = Affine::of_convolution(layer);
        let channels = layer.weight.dims()[0];
        let bias = layer.bias.as_ref().map_or_else(|| vec![0.0; channels], |b| values_of(b.val()));
        Self { weight, bias, stride: layer.stride[0] }
    }

    /// A row of results from column `first` on, from the three rows that it sees (`None` outside the
    /// picture), which begin at column `start`.
    pub fn row(&self, seen: [Option<&[f32]>; 3], start: usize, first: usize, to: &mut [f32]) {
        let channels = self.bias.len();
        let (bias, _) = self.bias.as_chunks::<LANES>();
        let weights: [[&[[f32; LANES]]; 3]; 3] = std::array::from_fn(|down| {
            std::array::from_fn(|across| {
                self.weight[(3 * down + across) * channels..][..channels].as_chunks().0
            })
        });
        pulp::Arch::new().dispatch(|| {
            for (column, to) in to.chunks_exact_mut(channels).enumerate() {
                let taps: [[Option<&[[f32; LANES]]>; 3]; 3] = seen.map(|row| {
                    std::array::from_fn(|across| {
                        let at = (first + column) * self.stride + across;
                        let from = at.checked_sub(start + 1)? * channels;
                        Some(row?.get(from..from + channels)?.as_chunks().0)
                    })
                });
                for (lane, to) in to.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    let mut sum = bias[lane];
                    for (taps, weights) in taps.iter().zip(&weights) {
                        for (tap, weight) in taps.iter().zip(weights) {
                            let Some(tap) = tap else { continue };
                            let (tap, weight) = (&tap[lane], &weight[lane]);
                            for i in 0..LANES {
                                sum[i] += tap[i] * weight[i];
                            }
                        }
                    }
                    *to = sum;
                }
            }
        });
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
    /// Rows of results that follow each other on one core.
    const BAND: usize = 16;

    pub fn forward(&self, x: &Grid) -> Grid {
        let stride = self.depthwise.stride;
        let [rows, columns] = [x.rows, x.columns].map(|side| (side - 1) / stride + 1);
        let mut y = Grid::zeros([rows, columns, self.narrow.out()]);
        y.bands(Self::BAND * columns).for_each(|band| {
            for from in (0..columns).step_by(Self::STRIP) {
                self.strip(
                    x,
                    columns,
                    [from, (from + Self::STRIP).min(columns)],
                    &band.first,
                    band.rows,
                    band.values,
                );
            }
        });
        y
    }

    /// The columns `strip` of a band of results, each `columns` wide.
    fn strip(
        &self,
        x: &Grid,
        columns: usize,
        strip: [usize; 2],
        first: &usize,
        rows: usize,
        to: &mut [f32],
    ) {
        let (stride, hidden, out) = (self.depthwise.stride, self.widen.out(), self.narrow.out());
        let width = strip[1] - strip[0];
        // What the strip sees: columns, and rows of results before them.
        let seen = [(strip[0] * stride).saturating_sub(1), (strip[1] * stride + 1).min(x.columns)];
        let line = (seen[1] - seen[0]) * hidden;
        let (mut wide, mut known) = (Vec::<f32>::new(), [0usize; 2]);
        let mut inputs = Vec::new();
        let (mut filtered, mut narrow) = (Vec::new(), Vec::new());
        for step in (0..rows).step_by(Self::STEP) {
            let count = Self::STEP.min(rows - step);
            let top = first + step;
            let needed =
                [(top * stride).saturating_sub(1), ((top + count - 1) * stride + 2).min(x.rows)];
            // Rows that the last step made are kept.
            let kept = known[1].saturating_sub(needed[0]);
            let begin = wide.len() - kept * line;
            wide.copy_within(begin.., 0);
            inputs.clear();
            (needed[0] + kept..needed[1])
                .for_each(|row| inputs.extend_from_slice(x.run(row, seen)));
            wide.resize((needed[1] - needed[0]) * line, 0.0);
            let made = &mut wide[kept * line..];
            self.widen.forward(&inputs, made);
            gelu_slice(made);
            known = needed;

            filtered.resize(count * width * hidden, 0.0);
            for (row, filtered) in filtered.chunks_exact_mut(width * hidden).enumerate() {
                let rows = std::array::from_fn(|down| {
                    let at = ((top + row) * stride + down).checked_sub(needed[0] + 1)?;
                    wide.get(at * line..(at + 1) * line)
                });
                self.depthwise.row(rows, seen[0], strip[0], filtered);
            }
            gelu_slice(&mut filtered);
            narrow.resize(count * width * out, 0.0);
            self.narrow.forward(&filtered, &mut narrow);
            for (row, narrow) in narrow.chunks_exact_mut(width * out).enumerate() {
                if self.residual {
                    let x = x.run(top + row, strip);
                    narrow.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
                    gelu_slice(narrow);
                }
                let start = ((step + row) * columns + strip[0]) * out;
                to[start..start + narrow.len()].copy_from_slice(narrow);
            }
        }
    }
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
        let mut hidden = vec![0.0; patches.len() / self.narrow.out() * self.widen.out()];
        self.widen.forward(&normal, &mut hidden);
        gelu_slice(&mut hidden);
        self.narrow.forward(&hidden, &mut normal);
        patches.iter_mut().zip(&normal).for_each(|(sum, value)| *sum += value);
    }
}
