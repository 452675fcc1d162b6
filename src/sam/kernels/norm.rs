use burn::prelude::*;
use rayon::prelude::*;

use super::math::{dot, lanes};
use super::record::{
    Function, SUMMED, Values, added, into_values, owned, primitive, run, slice, tensor,
};
use super::{CHUNK, in_chunks};
use crate::simd::vectorised;

/// Normalisation over the last dimension.
pub fn layer_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, D> {
    let inputs = [primitive(x), primitive(weight), primitive(bias)];
    run(LayerNorm { epsilon: epsilon as f32 }, inputs).unwrap_or_else(|[x, weight, bias]| {
        plain_layer_norm(tensor::<B, D>(x), tensor(weight), tensor(bias), epsilon)
    })
}

#[derive(Clone, Debug)]
struct LayerNorm {
    epsilon: f32,
}

impl LayerNorm {
    /// Takes the mean from a row. Returns what brings the rest to variance 1.
    #[inline(always)]
    fn centre(&self, row: &mut [f32]) -> f32 {
        let width = row.len() as f32;
        let mean = lanes(row, 0.0, |v| v, |a, b| a + b) / width;
        row.iter_mut().for_each(|v| *v -= mean);
        let squares = lanes(row, 0.0, |v| v * v, |a, b| a + b);
        1.0 / (squares / width + self.epsilon).sqrt()
    }
}

/// Layer normalisation of rows in place, on one core.
pub fn normalise_rows(values: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    let norm = LayerNorm { epsilon };
    vectorised(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(scale.len().max(1)) {
                let factor = norm.centre(row);
                for ((v, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                    *v = *v * factor * scale + shift;
                }
            }
        },
    );
}

impl Function<3> for LayerNorm {
    fn forward(&self, [x, scale, shift]: [Values; 3]) -> TensorData {
        let (scale, shift) = (slice(&scale), slice(&shift));
        let width = scale.len().max(1);
        in_chunks(owned(x), (CHUNK / width).max(1) * width, |chunk| {
            normalise_rows(chunk, scale, shift, self.epsilon);
        })
    }

    fn backward(
        &self,
        [x, scale, _]: [Values; 3],
        gradient: TensorData,
        _: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let scale = slice(&scale);
        let width = scale.len().max(1);
        let chunk = (CHUNK / width).max(1) * width;
        let mut gradient = into_values(gradient);
        let nothing = || [vec![0.0f32; width], vec![0.0f32; width]];
        let [by_scale, by_shift] = gradient
            .par_chunks_mut(chunk)
            .zip(slice(&x).par_chunks(chunk))
            .fold_chunks(SUMMED, nothing, |[mut by_scale, mut by_shift], (gradient, x)| {
                vectorised(
                    #[inline(always)]
                    || {
                        let mut normal = vec![0.0f32; width];
                        let rows = gradient.chunks_exact_mut(width).zip(x.chunks_exact(width));
                        for (gradient, x) in rows {
                            normal.copy_from_slice(x);
                            let factor = self.centre(&mut normal);
                            normal.iter_mut().for_each(|v| *v *= factor);
                            for ((sum, g), n) in by_scale.iter_mut().zip(&*gradient).zip(&normal) {
                                *sum += g * n;
                            }
                            by_shift.iter_mut().zip(&*gradient).for_each(|(sum, g)| *sum += g);
                            gradient.iter_mut().zip(scale).for_each(|(g, scale)| *g *= scale);
                            let mean = lanes(gradient, 0.0, |v| v, |a, b| a + b) / width as f32;
                            let along = dot(gradient, &normal) / width as f32;
                            for (g, n) in gradient.iter_mut().zip(&normal) {
                                *g = factor * (*g - mean - n * along);
                            }
                        }
                    },
                );
                [by_scale, by_shift]
            })
            .collect::<Vec<_>>()
            .into_iter()
            .reduce(|[a, b], [c, d]| [added(a, c), added(b, d)])
            .unwrap_or_else(nothing);
        [Some(gradient), Some(by_scale), Some(by_shift)]
    }
}

fn plain_layer_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = centred.clone().square().mean_dim(D - 1);
    centred / (variance + epsilon).sqrt() * weight.unsqueeze() + bias.unsqueeze()
}

/// Normalisation over the channels of `[batch, channels, height, width]`.
pub fn layer_norm_2d<B: Backend>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, 4> {
    let inputs = [primitive(x), primitive(weight), primitive(bias)];
    run(LayerNorm2d { epsilon: epsilon as f32 }, inputs).unwrap_or_else(|[x, weight, bias]| {
        plain_layer_norm_2d(tensor(x), tensor(weight), tensor(bias), epsilon)
    })
}

#[derive(Clone, Debug)]
struct LayerNorm2d {
    epsilon: f32,
}

/// Places whose statistics are computed at a time.
const BLOCK: usize = 256;

impl Function<3> for LayerNorm2d {
    fn forward(&self, [x, scale, shift]: [Values; 3]) -> TensorData {
        let (scale, shift) = (slice(&scale), slice(&shift));
        let [_, channels, height, width] = x.shape.dims();
        let places = height * width;
        let mut data = owned(x);
        if let Ok(all) = data.as_mut_slice::<f32>() {
            for picture in all.chunks_exact_mut((channels * places).max(1)) {
                let (means, factors) = statistics(picture, places, channels, self.epsilon);
                picture.par_chunks_exact_mut(places).zip(scale).zip(shift).for_each(
                    |((plane, scale), shift)| {
                        vectorised(
                            #[inline(always)]
                            || {
                                for ((v, mean), factor) in
                                    plane.iter_mut().zip(&means).zip(&factors)
                                {
                                    *v = (*v - mean) * factor * scale + shift;
                                }
                            },
                        );
                    },
                );
            }
        }
        data
    }

    fn backward(
        &self,
        [x, scale, _]: [Values; 3],
        gradient: TensorData,
        _: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let scale = slice(&scale);
        let [_, channels, height, width] = x.shape.dims();
        let (places, count) = (height * width, channels as f32);
        let mut gradient = into_values(gradient);
        let (mut by_scale, mut by_shift) = (vec![0.0; channels], vec![0.0; channels]);
        let size = (channels * places).max(1);
        for (gradient, x) in gradient.chunks_exact_mut(size).zip(slice(&x).chunks_exact(size)) {
            let (means, factors) = statistics(x, places, channels, self.epsilon);
            // Of each place: the mean of the scaled gradients, and the same weighted by the
            // normalised values.
            let (mut mean, mut along) = (vec![0.0f32; places], vec![0.0f32; places]);
            let blocks = mean.par_chunks_mut(BLOCK).zip(along.par_chunks_mut(BLOCK)).enumerate();
            blocks.for_each(|(block, (mean, along))| {
                vectorised(
                    #[inline(always)]
                    || {
                        let from = block * BLOCK;
                        let range = from..from + mean.len();
                        let planes = gradient.chunks_exact(places).zip(x.chunks_exact(places));
                        for ((gradient, x), scale) in planes.zip(scale) {
                            let rows = gradient[range.clone()].iter().zip(&x[range.clone()]);
                            let all = rows.zip(&means[range.clone()]).zip(&factors[range.clone()]);
                            for ((((g, x), m), f), (mean, along)) in
                                all.zip(mean.iter_mut().zip(along.iter_mut()))
                            {
                                let g = g * scale / count;
                                *mean += g;
                                *along += g * (x - m) * f;
                            }
                        }
                    },
                );
            });
            let sums = by_scale.par_iter_mut().zip(by_shift.par_iter_mut()).zip(scale);
            let planes = gradient.par_chunks_exact_mut(places).zip(x.par_chunks_exact(places));
            sums.zip(planes).for_each(|(((by_scale, by_shift), scale), (gradient, x))| {
                vectorised(
                    #[inline(always)]
                    || {
                        let mut normal = x.to_vec();
                        for ((n, mean), factor) in normal.iter_mut().zip(&means).zip(&factors) {
                            *n = (*n - mean) * factor;
                        }
                        *by_scale += dot(gradient, &normal);
                        *by_shift += lanes(gradient, 0.0, |v| v, |a, b| a + b);
                        let place = mean.iter().zip(&along).zip(&factors);
                        for ((g, n), ((mean, along), factor)) in
                            gradient.iter_mut().zip(&normal).zip(place)
                        {
                            *g = factor * (*g * scale - mean - n * along);
                        }
                    },
                );
            });
        }
        [Some(gradient), Some(by_scale), Some(by_shift)]
    }
}

/// The mean of each place's channels, and what brings them to variance 1.
fn statistics(
    picture: &[f32],
    places: usize,
    channels: usize,
    epsilon: f32,
) -> (Vec<f32>, Vec<f32>) {
    let channels = channels as f32;
    let mut means = vec![0.0f32; places];
    let mut factors = vec![0.0f32; places];
    means.par_chunks_mut(BLOCK).zip(factors.par_chunks_mut(BLOCK)).enumerate().for_each(
        |(block, (means, factors))| {
            vectorised(
                #[inline(always)]
                || {
                    let planes = || picture.chunks_exact(places).map(|p| &p[block * BLOCK..]);
                    for plane in planes() {
                        means.iter_mut().zip(plane).for_each(|(mean, v)| *mean += v);
                    }
                    means.iter_mut().for_each(|mean| *mean /= channels);
                    for plane in planes() {
                        for ((factor, mean), v) in factors.iter_mut().zip(&*means).zip(plane) {
                            *factor += (v - mean) * (v - mean);
                        }
                    }
                    factors.iter_mut().for_each(|f| *f = 1.0 / (*f / channels + epsilon).sqrt());
                },
            );
        },
    );
    (means, factors)
}

fn plain_layer_norm_2d<B: Backend>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, 4> {
    let [_, channels, _, _] = x.dims();
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    let normal = centred / (variance + epsilon).sqrt();
    let shape = [1, channels, 1, 1];
    normal * weight.reshape(shape) + bias.reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{device, difference, noise, same_gradients};
    use super::*;

    #[test]
    fn the_gradients_of_layer_norms_are_burns() {
        let channel = |count: usize| noise([count, 1]).reshape([1, count, 1, 1]);
        let inputs = [noise([2, 48, 9, 31]) + 1.0, channel(48), channel(48)];
        same_gradients(
            inputs,
            |[x, scale, shift]| layer_norm_2d(x, scale.flatten(0, 3), shift.flatten(0, 3), 1e-6),
            |[x, a, b]| plain_layer_norm_2d(x, a.flatten(0, 3), b.flatten(0, 3), 1e-6),
        );
        same_gradients(
            [noise([2, 48, 9, 31]) + 1.0, channel(31), channel(31)],
            |[x, scale, shift]| layer_norm(x, scale.flatten(0, 3), shift.flatten(0, 3), 1e-5),
            |[x, a, b]| plain_layer_norm(x, a.flatten(0, 3), b.flatten(0, 3), 1e-5),
        );
    }

    #[test]
    fn layer_norms_are_burns() {
        let x = noise([2, 48, 9, 31]) + 1.0;
        let channel = |count: usize, from: f32| {
            let values: Vec<f32> = (0..count).map(|i| from + i as f32 / 50.0).collect();
            Tensor::<burn::Dispatch, 1>::from_floats(values.as_slice(), &device())
        };
        let (scale, shift) = (channel(48, 0.5), channel(48, -0.2));
        let own = layer_norm_2d(x.clone(), scale.clone(), shift.clone(), 1e-6);
        let plain = plain_layer_norm_2d(x.clone(), scale, shift, 1e-6);
        assert!(difference(own, plain) < 1e-5);

        let (scale, shift) = (channel(31, 0.5), channel(31, -0.2));
        let own = layer_norm(x.clone(), scale.clone(), shift.clone(), 1e-5);
        let plain = plain_layer_norm(x, scale, shift, 1e-5);
        assert!(difference(own, plain) < 1e-5);
    }
}
