//! Own CPU kernels for what the CPU backend does on one thread, value by value or by way of copies.
//! Each replaces a few plain Burn operations, computes the same up to rounding, and is tested
//! against them. On any other backend, and under automatic differentiation, the plain operations run.

mod activation;
mod attention;
mod layout;
mod math;
mod norm;

use std::any::{Any, TypeId};

use burn::prelude::*;
use burn::tensor::DType;
use burn::{Dispatch, DispatchDevice};
use rayon::prelude::*;

pub use activation::gelu;
pub use attention::{attention, attention_of_heads, attention_of_qkv, split_heads};
pub use layout::{merge_windows, partition_windows, transpose};
pub use norm::{layer_norm, layer_norm_2d};

/// Values that one task works on: 64 KiB, so that a task's data stay in the cache.
const CHUNK: usize = 16 * 1024;

/// Runs a kernel over a tensor's values, in chunks of so many, on all cores. The tensor comes back as it is
/// if it does not lie in this machine's memory as single precision. Its buffer is taken over, not
/// copied, if nobody else holds it.
fn in_place<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    chunk: usize,
    kernel: impl Fn(&mut [f32]) + Sync + Send,
) -> Result<Tensor<B, D>, Tensor<B, D>> {
    let device = x.device();
    if !is_host::<B>(&device) || x.dtype() != DType::F32 {
        return Err(x);
    }
    let mut data = x.into_data();
    if let Ok(values) = data.as_mut_slice::<f32>() {
        values.par_chunks_mut(chunk).for_each(kernel);
    }
    Ok(Tensor::from_data(data, &device))
}

/// Whether a device is this machine's processor, without automatic differentiation.
fn is_host<B: Backend>(device: &B::Device) -> bool {
    // `Training` has the same devices.
    let device: &dyn Any = device;
    TypeId::of::<B>() == TypeId::of::<Dispatch>()
        && matches!(device.downcast_ref::<DispatchDevice>(), Some(DispatchDevice::Flex(_)))
}

/// Whether a tensor lies in this machine's memory as single precision, without automatic
/// differentiation.
fn is_on_host<B: Backend, const D: usize>(x: &Tensor<B, D>) -> bool {
    is_host::<B>(&x.device()) && x.dtype() == DType::F32
}

/// The values of single-precision data.
fn values(data: &TensorData) -> &[f32] {
    data.as_slice().unwrap_or_default()
}

#[cfg(test)]
mod testing {
    use burn::prelude::*;
    use burn::{Dispatch, DispatchDevice};

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

    /// The largest difference of two tensors.
    pub fn difference<const D: usize>(a: Tensor<Dispatch, D>, b: Tensor<Dispatch, D>) -> f32 {
        assert_eq!(a.dims(), b.dims());
        (a - b).abs().max().into_scalar()
    }
}
