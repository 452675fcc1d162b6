//! Own CPU kernels for what the CPU backend does on one thread, value by value or by way of copies.
//! Each replaces a few plain Burn operations, computes the same up to rounding, and is tested
//! against them. So are their backward passes, which [`record`] puts into the graph of automatic
//! differentiation. On any other backend the plain operations run.

mod activation;
mod attention;
mod attention_gradients;
mod convolution;
mod depthwise;
pub mod filter;
pub mod grid;
mod layout;
mod linear;
pub mod math;
mod norm;
pub mod panels;
pub mod product;
#[cfg(test)]
mod properties;
mod record;
pub mod sight;
pub mod tiles;
mod upscaling;

use std::any::{Any, TypeId};

use burn::prelude::*;
use burn::{Dispatch, DispatchDevice};
use rayon::prelude::*;

pub use activation::{gelu, gelu_slice};
pub use attention::{
    attention, attention_of_heads, attention_of_qkv, exponentials, split_heads, token_attention,
};
pub use convolution::{convolution, convolution_by};
pub use layout::{merge_windows, partition_windows, transpose};
pub use linear::linear;
pub use norm::{layer_norm, layer_norm_2d};
pub use upscaling::transposed_convolution;

/// Values that one task works on: 64 KiB, so that a task's data stay in the cache.
const CHUNK: usize = 16 * 1024;

/// Runs a kernel over values, in chunks of so many, on all cores.
fn in_chunks(
    mut data: TensorData,
    chunk: usize,
    kernel: impl Fn(&mut [f32]) + Sync + Send,
) -> TensorData {
    if let Ok(values) = data.as_mut_slice::<f32>() {
        values.par_chunks_mut(chunk).for_each(kernel);
    }
    data
}

/// Whether a device is this machine's processor, without automatic differentiation.
pub fn is_host<B: Backend>(device: &B::Device) -> bool {
    // `Training` has the same devices.
    let device: &dyn Any = device;
    TypeId::of::<B>() == TypeId::of::<Dispatch>()
        && matches!(device.downcast_ref::<DispatchDevice>(), Some(DispatchDevice::Flex(_)))
}

/// The values of single-precision data.
fn values(data: &TensorData) -> &[f32] {
    data.as_slice().unwrap_or_default()
}

#[cfg(test)]
pub mod testing {
    use burn::prelude::*;
    use burn::{Dispatch, DispatchDevice};

    use crate::sam::Training;

    /// The processor, where the kernels run.
    pub fn device() -> DispatchDevice {
        DispatchDevice::Flex(Default::default())
    }

    /// A tensor of values without a pattern, about -3 to 3.
    pub fn noise<const D: usize>(shape: [usize; D]) -> Tensor<Dispatch, D> {
        let wave = |i: usize| ((i * 7919 % 1009) as f32 / 100.0).sin() * 3.0;
        let values: Vec<f32> = (0..shape.iter().product()).map(wave).collect();
        Tensor::from_data(TensorData::new(values, shape), &device())
    }

    /// Whether two functions have the same value and the same gradients, the second by plain
    /// operations.
    pub fn same_gradients<const D: usize, const E: usize, const N: usize>(
        inputs: [Tensor<Dispatch, D>; N],
        own: impl Fn([Tensor<Training, D>; N]) -> Tensor<Training, E>,
        plain: impl Fn([Tensor<Training, D>; N]) -> Tensor<Training, E>,
    ) {
        let tracked =
            || inputs.clone().map(|x| Tensor::<Training, D>::from_inner(x).require_grad());
        let gradients = |inputs: [Tensor<Training, D>; N], output: Tensor<Training, E>| {
            // Each element of the output weighs differently.
            let weights = Tensor::from_inner(noise(output.dims()));
            let gradients = (output * weights).sum().backward();
            inputs.map(|x| x.grad(&gradients).expect("a gradient"))
        };
        let (ours, theirs) = (tracked(), tracked());
        let (output, expected) = (own(ours.clone()), plain(theirs.clone()));
        assert!(apart(output.clone().inner(), expected.clone().inner()) < 1e-5, "values differ");
        let (ours, theirs) = (gradients(ours, output), gradients(theirs, expected));
        for (index, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
            let error = apart(ours, theirs);
            assert!(error < 1e-4, "the gradient by input {index} is off by {error:.1e}");
        }
    }

    /// The norm of the difference over the norm of the second.
    fn apart<const D: usize>(a: Tensor<Dispatch, D>, b: Tensor<Dispatch, D>) -> f32 {
        assert_eq!(a.dims(), b.dims());
        let norm = |x: Tensor<Dispatch, D>| x.square().sum().sqrt().into_scalar();
        norm(a - b.clone()) / norm(b)
    }

    /// The largest difference of two tensors.
    pub fn difference<const D: usize>(a: Tensor<Dispatch, D>, b: Tensor<Dispatch, D>) -> f32 {
        assert_eq!(a.dims(), b.dims());
        (a - b).abs().max().into_scalar()
    }
}
