use burn::prelude::*;
use rayon::prelude::*;

use super::math::lanes;
use super::{CHUNK, in_place, is_on_host, values};

/// Normalisation over the last dimension.
pub fn layer_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, D> {
    let [width] = weight.dims();
    if !is_on_host(&x) || width == 0 {
        return plain_layer_norm(x, weight, bias, epsilon);
    }
    let (scale, shift) = (weight.to_data(), bias.to_data());
    let (scale, shift) = (values(&scale), values(&shift));
    let normalise = |chunk: &mut [f32]| {
        pulp::Arch::new().dispatch(|| {
            for row in chunk.chunks_exact_mut(width) {
                let mean = lanes(row, 0.0, |v| v, |a, b| a + b) / width as f32;
                row.iter_mut().for_each(|v| *v -= mean);
                let squares = lanes(row, 0.0, |v| v * v, |a, b| a + b);
                let factor = 1.0 / (squares / width as f32 + epsilon as f32).sqrt();
                for ((v, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                    *v = *v * factor * scale + shift;
                }
            }
        });
    };
    in_place(x, (CHUNK / width).max(1) * width, normalise)
        .unwrap_or_else(|x| plain_layer_norm(x, weight, bias, epsilon))
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
    let device = x.device();
    let [batch, channels, height, width] = x.dims();
    if !is_on_host(&x) {
        return plain_layer_norm_2d(x, weight, bias, epsilon);
    }
    let places = height * width;
    let (weight, bias) = (weight.into_data(), bias.into_data());
    let mut data = x.into_data();
    if let Ok(all) = data.as_mut_slice::<f32>() {
        for picture in all.chunks_exact_mut((channels * places).max(1)) {
            normalise_channels(picture, places, values(&weight), values(&bias), epsilon as f32);
        }
    }
    Tensor::from_data(
        TensorData { shape: [batch, channels, height, width].into(), ..data },
        &device,
    )
}

/// Each place's channels to mean 0 and variance 1, then scaled and shifted by channel.
fn normalise_channels(
    picture: &mut [f32],
    places: usize,
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
) {
    const BLOCK: usize = 256;
    let channels = weight.len() as f32;
    let mut means = vec![0.0f32; places];
    let mut factors = vec![0.0f32; places];
    means.par_chunks_mut(BLOCK).zip(factors.par_chunks_mut(BLOCK)).enumerate().for_each(
        |(block, (means, factors))| {
            pulp::Arch::new().dispatch(|| {
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
            });
        },
    );
    picture.par_chunks_exact_mut(places).zip(weight).zip(bias).for_each(
        |((plane, weight), bias)| {
            pulp::Arch::new().dispatch(|| {
                for ((v, mean), factor) in plane.iter_mut().zip(&means).zip(&factors) {
                    *v = (*v - mean) * factor * weight + bias;
                }
            });
        },
    );
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
    use super::super::testing::{device, difference, noise};
    use super::*;

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
