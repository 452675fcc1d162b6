//! Depthwise convolutions of rows of patches.

use std::ops::Range;

use burn::nn::conv::Conv2d;
use burn::prelude::*;
use pulp::{Arch, Simd, WithSimd};

use super::grid::values_of;
use super::math::gelu_lanes;
use super::panels::Finish;

/// Channels of a depthwise convolution come in so many.
const CHANNELS: usize = 16;

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
        let channels = layer.weight.dims()[0];
        let weight = values_of(layer.weight.val().reshape([channels, 9]).transpose());
        let bias = layer.bias.as_ref().map_or_else(|| vec![0.0; channels], |b| values_of(b.val()));
        Self { weight, bias, stride: layer.stride[0] }
    }

    /// A row of results from column `first` on, from the three rows that it sees of the same channels
    /// (`None` outside the picture, but for the middle one), which begin at column `start`.
    pub fn row(
        &self,
        seen: [Option<&[f32]>; 3],
        start: usize,
        first: usize,
        to: Filtered,
        finish: Finish,
    ) {
        let [above, Some(middle), below] = seen else { return };
        let Filtered { values: to, channels } = to;
        assert!(channels.len().is_multiple_of(CHANNELS) && channels.end <= self.bias.len());
        let there = [above.is_some(), true, below.is_some()];
        let seen = [above.unwrap_or(middle), middle, below.unwrap_or(middle)];
        // Where the first result's taps begin, which for the picture's first column is outside.
        let begin = (first * self.stride) as isize - 1 - start as isize;
        Arch::new().dispatch(Filter { layer: self, channels, seen, there, begin, to, finish });
    }
}

/// A row of some of a depthwise convolution's channels, `[columns, channels]`.
pub struct Filtered<'a> {
    pub values: &'a mut [f32],
    pub channels: Range<usize>,
}

struct Filter<'a> {
    layer: &'a Depthwise,
    channels: Range<usize>,
    seen: [&'a [f32]; 3],
    there: [bool; 3],
    begin: isize,
    to: &'a mut [f32],
    finish: Finish,
}

impl WithSimd for Filter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Depthwise { weight, bias, stride } = self.layer;
        let (lanes, channels) = (S::F32_LANES, self.channels.len());
        let width = self.seen.iter().map(|row| row.len() / channels).min().unwrap_or(0) as isize;
        let load = |values: &[f32], at: usize| S::as_simd_f32s(&values[at..at + lanes]).0[0];
        // A channel's nine weights stay in registers.
        for channel in (0..channels).step_by(lanes) {
            let own = self.channels.start + channel;
            let start = load(bias, own);
            let weights: [[S::f32s; 3]; 3] = std::array::from_fn(|down| {
                std::array::from_fn(|across| match self.there[down] {
                    true => load(weight, (3 * down + across) * bias.len() + own),
                    false => simd.splat_f32s(0.0),
                })
            });
            for (column, to) in self.to.chunks_exact_mut(channels).enumerate() {
                let at = self.begin + (column * stride) as isize;
                let mut sum = start;
                if at >= 0 && at + 3 <= width {
                    let begin = at as usize * channels + channel;
                    for (seen, weights) in self.seen.iter().zip(&weights) {
                        for (across, &weight) in weights.iter().enumerate() {
                            // SAFETY: every row holds `width` columns of so many channels, a multiple
                            // of a register's, and the taps' three are among them.
                            let tap = unsafe {
                                let tap = seen.as_ptr().add(begin + across * channels);
                                tap.cast::<S::f32s>().read_unaligned()
                            };
                            sum = simd.mul_add_e_f32s(tap, weight, sum);
                        }
                    }
                } else {
                    for (seen, weights) in self.seen.iter().zip(&weights) {
                        for (at, &weight) in (at..).zip(weights) {
                            if (0..width).contains(&at) {
                                let tap = load(seen, at as usize * channels + channel);
                                sum = simd.mul_add_e_f32s(tap, weight, sum);
                            }
                        }
                    }
                }
                if self.finish == Finish::Gelu {
                    sum = gelu_lanes(simd, sum);
                }
                S::as_mut_simd_f32s(&mut to[channel..channel + lanes]).0[0] = sum;
            }
        }
    }
}
