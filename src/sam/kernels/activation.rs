use burn::prelude::*;

use super::math::exp_negative;
use super::{CHUNK, in_place};

/// Gaussian error linear unit, x times the normal distribution's share below x.
pub fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    match in_place(x, CHUNK, gelu_slice) {
        Ok(y) => y,
        Err(x) => burn::tensor::activation::gelu(x),
    }
}

fn gelu_slice(values: &mut [f32]) {
    pulp::Arch::new().dispatch(|| {
        for value in values {
            *value = gelu_value(*value);
        }
    });
}

/// The error function by Abramowitz & Stegun 7.1.26, whose error is at most 1.5e-7.
#[inline(always)]
fn gelu_value(x: f32) -> f32 {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + P * z);
    let poly = t * (A[0] + t * (A[1] + t * (A[2] + t * (A[3] + t * A[4]))));
    let tail = poly * exp_negative(-z * z);
    // 1 + erf is the tail itself below zero: no digits are lost where the result is small.
    let twice_share = if x < 0.0 { tail } else { 2.0 - tail };
    0.5 * x * twice_share
}

#[cfg(test)]
mod tests {
    use super::super::testing::device;
    use super::*;

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
