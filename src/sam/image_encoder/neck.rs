use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;

use crate::sam::config::EMBEDDING_DIM;
use crate::sam::kernels::convolution;
use crate::sam::layers::LayerNorm2d;

/// Two convolutions that bring an encoder's channels to the embedding's 256.
#[derive(Module, Debug)]
pub struct Neck<B: Backend> {
    conv1: Conv2d<B>,
    norm1: LayerNorm2d<B>,
    conv2: Conv2d<B>,
    norm2: LayerNorm2d<B>,
}

impl<B: Backend> Neck<B> {
    pub fn new(dim: usize, device: &B::Device) -> Self {
        Self {
            conv1: Conv2dConfig::new([dim, EMBEDDING_DIM], [1, 1]).with_bias(false).init(device),
            norm1: LayerNorm2d::new(EMBEDDING_DIM, device),
            conv2: Conv2dConfig::new([EMBEDDING_DIM, EMBEDDING_DIM], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_bias(false)
                .init(device),
            norm2: LayerNorm2d::new(EMBEDDING_DIM, device),
        }
    }

    /// In their order.
    pub fn layers(&self) -> (&Conv2d<B>, &LayerNorm2d<B>, &Conv2d<B>, &LayerNorm2d<B>) {
        (&self.conv1, &self.norm1, &self.conv2, &self.norm2)
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = self.norm1.forward(convolution(&self.conv1, x));
        self.norm2.forward(convolution(&self.conv2, x))
    }
}
