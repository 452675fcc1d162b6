use burn::prelude::*;
use rayon::prelude::*;

use super::convolution::{Window, plane_sums};
use super::math::dot;
use super::record::{Function, Values, into_values, slice};
use crate::simd::vectorised;

/// A convolution of each channel by itself: x `[batch, channels, height, width]`, weight
/// `[channels, 1, rows, columns]`, bias `[channels]`.
#[derive(Clone, Debug)]
pub struct Depthwise(pub Window);

impl Depthwise {
    /// Calls `each` with the input's and output's rows that a kernel's element joins: the element,
    /// the input's row from its first place on, and the output's range.
    #[inline(always)]
    fn joins(
        &self,
        size: [usize; 2],
        out: [usize; 2],
        mut each: impl FnMut(usize, std::ops::Range<usize>, std::ops::Range<usize>),
    ) {
        let [rows, columns] = self.0.kernel;
        for row in 0..out[0] {
            for down in 0..rows {
                let Some(at) = self.0.meets(0, row, down, size[0]) else { continue };
                for across in 0..columns {
                    let ([left, right], start) = self.0.inside(across, size[1], out[1]);
                    let from = at * size[1] + start.min(size[1]);
                    each(
                        down * columns + across,
                        from..(at + 1) * size[1],
                        row * out[1] + left..row * out[1] + right,
                    );
                }
            }
        }
    }
}

impl Function<3> for Depthwise {
    const INFERENCE: bool = false;

    fn forward(&self, [x, weight, bias]: [Values; 3]) -> TensorData {
        let [batch, channels, height, width] = x.shape.dims();
        let size = [height, width];
        let out = self.0.out(size);
        let (elements, stride) = (self.0.kernel[0] * self.0.kernel[1], self.0.stride[1]);
        let (weight, bias) = (slice(&weight), slice(&bias));
        let mut y = vec![0.0; batch * channels * out[0] * out[1]];
        let planes = y.par_chunks_exact_mut((out[0] * out[1]).max(1));
        let planes = planes.zip(slice(&x).par_chunks_exact((height * width).max(1))).enumerate();
        planes.for_each(|(index, (to, from))| {
            let channel = index % channels;
            let weight = &weight[channel * elements..][..elements];
            vectorised(
                #[inline(always)]
                || {
                    to.fill(bias[channel]);
                    self.joins(size, out, |element, input, output| {
                        let (from, to, weight) = (&from[input], &mut to[output], weight[element]);
                        if stride == 1 {
                            to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
                        } else {
                            let from = from.iter().step_by(stride);
                            to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
                        }
                    });
                },
            );
        });
        TensorData::new(y, [batch, channels, out[0], out[1]])
    }

    fn backward(
        &self,
        [x, weight, _]: [Values; 3],
        gradient: TensorData,
        _: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let [batch, channels, height, width] = x.shape.dims();
        let size = [height, width];
        let out = self.0.out(size);
        let (elements, stride) = (self.0.kernel[0] * self.0.kernel[1], self.0.stride[1]);
        let weight = slice(&weight);
        let gradient = into_values(gradient);
        let mut to_x = vec![0.0; slice(&x).len()];
        let mut partial = vec![0.0; batch * channels * elements];
        let planes = to_x
            .par_chunks_exact_mut((height * width).max(1))
            .zip(slice(&x).par_chunks_exact((height * width).max(1)))
            .zip(gradient.par_chunks_exact((out[0] * out[1]).max(1)))
            .zip(partial.par_chunks_exact_mut(elements.max(1)))
            .enumerate();
        planes.for_each(|(index, (((to_x, x), gradient), to_weight))| {
            let weight = &weight[index % channels * elements..][..elements];
            vectorised(
                #[inline(always)]
                || {
                    self.joins(size, out, |element, input, output| {
                        let gradient = &gradient[output];
                        let (x, to_x) = (&x[input.clone()], &mut to_x[input]);
                        let weight = weight[element];
                        if stride == 1 {
                            to_weight[element] += dot(&x[..gradient.len()], gradient);
                            to_x.iter_mut().zip(gradient).for_each(|(to, g)| *to += weight * g);
                        } else {
                            let seen = x.iter().step_by(stride).zip(gradient);
                            to_weight[element] += seen.map(|(x, g)| x * g).sum::<f32>();
                            let to_x = to_x.iter_mut().step_by(stride).zip(gradient);
                            to_x.for_each(|(to, g)| *to += weight * g);
                        }
                    });
                },
            );
        });
        let mut by_weight = vec![0.0; channels * elements];
        for picture in partial.chunks_exact(by_weight.len().max(1)) {
            by_weight.iter_mut().zip(picture).for_each(|(total, part)| *total += part);
        }
        let by_bias = plane_sums(&gradient, channels, out[0] * out[1]);
        [Some(to_x), Some(by_weight), Some(by_bias)]
    }
}
