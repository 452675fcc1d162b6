//! Layers that several parts of the model share.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;

use super::kernels::tiles::Norm;
use super::kernels::{gelu, layer_norm, layer_norm_2d, linear, transpose};

/// Layer normalisation over the last dimension.
#[derive(Module, Debug)]
pub struct ChannelNorm<B: Backend> {
    weight: Param<Tensor<B, 1>>,
    bias: Param<Tensor<B, 1>>,
    epsilon: f64,
}

impl<B: Backend> ChannelNorm<B> {
    pub fn new(channels: usize, epsilon: f64, device: &B::Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([channels], device)),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
            epsilon,
        }
    }

    pub fn on_host(&self) -> Norm {
        Norm::new(self.weight.val(), self.bias.val(), self.epsilon)
    }

    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        layer_norm(x, self.weight.val(), self.bias.val(), self.epsilon)
    }
}

/// Layer normalisation over the channels of `[batch, channels, height, width]`.
#[derive(Module, Debug)]
pub struct LayerNorm2d<B: Backend> {
    weight: Param<Tensor<B, 1>>,
    bias: Param<Tensor<B, 1>>,
}

impl<B: Backend> LayerNorm2d<B> {
    const EPSILON: f64 = 1e-6;

    pub fn new(channels: usize, device: &B::Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([channels], device)),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
        }
    }

    pub fn on_host(&self) -> Norm {
        Norm::new(self.weight.val(), self.bias.val(), Self::EPSILON)
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        layer_norm_2d(x, self.weight.val(), self.bias.val(), Self::EPSILON)
    }
}

/// `[batch, channels, height, width]` to `[batch, height * width, channels]`, contiguous.
pub fn to_patches<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 3> {
    transpose(x.flatten(2, 3))
}

/// Two linear layers with an activation between, as in a transformer block.
#[derive(Module, Debug)]
pub struct MlpBlock<B: Backend> {
    pub(super) lin1: Linear<B>,
    pub(super) lin2: Linear<B>,
    /// GELU, or else ReLU.
    gelu: bool,
}

impl<B: Backend> MlpBlock<B> {
    pub fn new(dim: usize, hidden: usize, gelu: bool, device: &B::Device) -> Self {
        Self {
            lin1: LinearConfig::new(dim, hidden).init(device),
            lin2: LinearConfig::new(hidden, dim).init(device),
            gelu,
        }
    }

    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let hidden = linear(&self.lin1, x);
        linear(&self.lin2, if self.gelu { gelu(hidden) } else { relu(hidden) })
    }
}

/// Three linear layers with ReLU between: the decoder's hypernetworks and its IoU head.
#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    pub(super) layers: Vec<Linear<B>>,
}

impl<B: Backend> Mlp<B> {
    pub fn new(sizes: [usize; 4], device: &B::Device) -> Self {
        let layers = sizes.windows(2).map(|s| LinearConfig::new(s[0], s[1]).init(device)).collect();
        Self { layers }
    }

    pub fn forward<const D: usize>(&self, mut x: Tensor<B, D>) -> Tensor<B, D> {
        for (index, layer) in self.layers.iter().enumerate() {
            x = linear(layer, x);
            if index + 1 < self.layers.len() {
                x = relu(x);
            }
        }
        x
    }
}
