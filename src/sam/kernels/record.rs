//! Kernels with own backward passes, recorded in the graph of automatic differentiation.

use std::any::{Any, TypeId};
use std::array::from_fn;
use std::fmt::Debug;
use std::sync::Arc;

use burn::Dispatch;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::prelude::*;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{DType, TensorMetadata, TensorPrimitive};

use super::{is_host, values};
use crate::sam::Training;

/// A tensor's values and shape, shared by the graph and the kernels.
pub type Values = Arc<TensorData>;

/// A function of `N` tensors in this machine's memory, single precision, to one.
pub trait Function<const N: usize>: Clone + Debug + Send + Sync + 'static {
    /// Whether it also replaces the plain operation where nothing is learnt.
    const INFERENCE: bool = true;

    /// What it computes.
    fn forward(&self, inputs: [Values; N]) -> TensorData;

    /// From the gradient of a loss by what `forward` returned, the gradients by the inputs, in their
    /// shapes. Those that are not wanted may be left out.
    fn backward(
        &self,
        inputs: [Values; N],
        gradient: TensorData,
        wanted: [bool; N],
    ) -> [Option<Vec<f32>>; N];
}

/// Runs a function where it can run. The inputs come back if they do not lie in this machine's memory
/// as single precision, or the backend is neither the plain one nor that of training.
pub fn run<B: Backend, F: Function<N>, const N: usize, const D: usize>(
    function: F,
    inputs: [FloatTensor<B>; N],
) -> Result<Tensor<B, D>, [FloatTensor<B>; N]> {
    let training = is_training::<B>();
    if !(training || F::INFERENCE && TypeId::of::<B>() == TypeId::of::<Dispatch>()) {
        return Err(inputs);
    }
    // The same tensors under the name of their type: the buffers must not be held twice below.
    if let Some(own) = same::<_, [FloatTensor<Training>; N]>(&inputs) {
        if !own.iter().all(|tensor| lies_here(&tensor.primitive)) {
            return Err(inputs);
        }
        drop(inputs);
        let nodes = own.each_ref().map(|tensor| tensor.node.clone());
        let device = Training::float_device(&own[0]);
        let inputs = own.map(|tensor| read(tensor.primitive));
        let run = |inputs| from_data(function.forward(inputs), &device);
        let prepared = Recorded(function.clone()).prepare::<NoCheckpointing>(nodes);
        let output = match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let output = run(inputs.clone());
                prepared.finish(inputs, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(run(inputs)),
        };
        return Ok(under_its_name(output));
    }
    match same::<_, [FloatTensor<Dispatch>; N]>(&inputs) {
        Some(own) if own.iter().all(lies_here) => {
            drop(inputs);
            let device = Dispatch::float_device(&own[0]);
            Ok(under_its_name(from_data(function.forward(own.map(read)), &device)))
        }
        _ => Err(inputs),
    }
}

/// Whether a backend is that of training.
pub fn is_training<B: Backend>() -> bool {
    TypeId::of::<B>() == TypeId::of::<Training>()
}

/// A tensor's primitive, of any rank.
pub fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// A tensor of a primitive.
pub fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// Single-precision values to change in place: taken over if nobody else holds them.
pub fn owned(values: Values) -> TensorData {
    Arc::unwrap_or_clone(values)
}

fn lies_here(tensor: &FloatTensor<Dispatch>) -> bool {
    tensor.dtype() == DType::F32 && is_host::<Dispatch>(&Dispatch::float_device(tensor))
}

fn read(tensor: FloatTensor<Dispatch>) -> Values {
    Arc::new(self::tensor::<Dispatch, 1>(tensor).into_data())
}

fn from_data(data: TensorData, device: &burn::DispatchDevice) -> FloatTensor<Dispatch> {
    Dispatch::float_from_data(data, device)
}

/// A value under another name of its type, if that is one.
fn same<A: Any, T: Any + Clone>(value: &A) -> Option<T> {
    let value: &dyn Any = value;
    value.downcast_ref::<T>().cloned()
}

/// A tensor of the backend that a generic caller was found to work on.
fn under_its_name<A: Any, B: Backend, const D: usize>(output: A) -> Tensor<B, D> {
    match same::<A, FloatTensor<B>>(&output) {
        Some(primitive) => tensor(primitive),
        None => unreachable!("the inputs were of this backend"),
    }
}

/// The backward pass of a function in Burn's graph.
#[derive(Debug)]
struct Recorded<F>(F);

impl<F: Function<N>, const N: usize> Backward<Dispatch, N> for Recorded<F> {
    type State = [Values; N];

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Dispatch>(&ops.node);
        let device = Dispatch::float_device(&gradient);
        let gradient = owned(read(gradient));
        let wanted = from_fn(|index| ops.parents[index].is_some());
        let shapes = ops.state.each_ref().map(|input| input.shape.clone());
        let found = self.0.backward(ops.state, gradient, wanted);
        for ((parent, found), shape) in ops.parents.into_iter().zip(found).zip(shapes) {
            if let (Some(parent), Some(found)) = (parent, found) {
                debug_assert_eq!(found.len(), shape.num_elements());
                let found = from_data(TensorData::new(found, shape), &device);
                gradients.register::<Dispatch>(parent.id, found);
            }
        }
    }
}

/// The gradient's values, to change in place.
pub fn into_values(data: TensorData) -> Vec<f32> {
    data.into_vec().unwrap_or_default()
}

/// Adds up rows of values, `[rows, width]` to `[width]`. The order is the same at every call, not as
/// in rayon's `reduce`: training that goes on must round as training in one go does.
pub fn column_sums(data: &[f32], width: usize) -> Vec<f32> {
    use rayon::prelude::*;
    let rows = (super::CHUNK / width.max(1)).max(1);
    let parts: Vec<Vec<f32>> = data
        .par_chunks(rows * width.max(1))
        .map(|rows| {
            let mut sums = vec![0.0; width];
            for row in rows.chunks_exact(width) {
                sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
            }
            sums
        })
        .collect();
    parts.into_iter().fold(vec![0.0; width], added)
}

/// Adds two vectors.
pub fn added(mut a: Vec<f32>, b: Vec<f32>) -> Vec<f32> {
    a.iter_mut().zip(&b).for_each(|(a, b)| *a += b);
    a
}

/// Values of an input.
pub fn slice(input: &Values) -> &[f32] {
    values(input)
}
