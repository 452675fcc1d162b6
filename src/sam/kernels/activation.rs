use burn::prelude::*;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::math::{exp_negative, gelu_lanes};
use super::record::{Function, Values, into_values, owned, primitive, run, slice, tensor};
use super::{CHUNK, in_chunks};
use crate::simd::vectorised;

/// Gaussian error linear unit, x times the normal distribution's share below x.
pub fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    run(Gelu, [primitive(x)])
        .unwrap_or_else(|[x]| burn::tensor::activation::gelu(tensor::<B, D>(x)))
}

#[derive(Clone, Debug)]
struct Gelu;

impl Function<1> for Gelu {
    fn forward(&self, [x]: [Values; 1]) -> TensorData {
        in_chunks(owned(x), CHUNK, gelu_slice)
    }

    fn backward(
        &self,
        [x]: [Values; 1],
        gradient: TensorData,
        _: [bool; 1],
    ) -> [Option<Vec<f32>>; 1] {
        let mut gradient = into_values(gradient);
        let chunks = gradient.par_chunks_mut(CHUNK).zip(slice(&x).par_chunks(CHUNK));
        chunks.for_each(|(gradient, x)| {
            vectorised(
                #[inline(always)]
                || {
                    for (gradient, &x) in gradient.iter_mut().zip(x) {
                        *gradient *= gelu_slope(x);
                    }
                },
            );
        });
        [Some(gradient)]
    }
}

/// [`gelu`] in place, on one core.
pub fn gelu_slice(values: &mut [f32]) {
    struct Slice<'a>(&'a mut [f32]);
    impl WithSimd for Slice<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (lanes, rest) = S::as_mut_simd_f32s(self.0);
            lanes.iter_mut().for_each(|value| *value = gelu_lanes(simd, *value));
            let value = gelu_lanes(simd, simd.partial_load_f32s(rest));
            simd.partial_store_f32s(rest, value);
        }
    }
    Arch::new().dispatch(Slice(values));
}

/// The derivative of GELU: the share below x, and x times the density at x.
#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    // 1 / sqrt(2 pi).
    const DENSITY: f32 = 0.398_942_3;
    let (share, exponential) = share_below(x);
    share + x * DENSITY * exponential
}

/// The normal distribution's share below x and exp(-x^2 / 2), with the error function by Abramowitz & Stegun 7.1.26, whose error is at most 1.5e-7.
#[inline(always)]
fn share_below(x: f32) -> (f32, f32) {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + P * z);
    let poly = t * (A[0] + t * (A[1] + t * (A[2] + t * (A[3] + t * A[4]))));
    let exponential = exp_negative(-z * z);
    let tail = poly * exponential;
    // 1 + erf is the tail itself below zero: no digits are lost where the result is small.
    let twice_share = if x < 0.0 { tail } else { 2.0 - tail };
    (0.5 * twice_share, exponential)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{device, noise, same_gradients};
    use super::*;

    #[test]
    fn the_gradient_of_gelu_is_burns() {
        same_gradients([noise([40, 1000])], |[x]| gelu(x), |[x]| burn::tensor::activation::gelu(x));
    }

    #[test]
    fn gelu_is_burns() {
        let values: Vec<f32> = (-4000..4000).map(|i| i as f32 / 250.0).collect();
        let x = Tensor::<burn::Dispatch, 1>::from_floats(values.as_slice(), &device());
        let plain = burn::tensor::activation::gelu(x.clone()).into_data();
        let own = gelu(x).into_data();
        let plain = plain.as_slice::<f32>().expect("floats");
        let own = own.as_slice::<f32>().expect("floats");
        for ((x, a), b) in values.iter().zip(plain).zip(own) {
            assert!((a - b).abs() <= 1e-6 * x.abs().max(1.0), "gelu({x}): {a} and {b}");
        }
    }
}
