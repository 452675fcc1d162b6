use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;

use crate::sam::config::EMBEDDING_DIM;
use crate::sam::kernels::convolution;
use crate::sam::kernels::grid::Grid;
use crate::sam::kernels::panels::Finish;
use crate::sam::kernels::tiles::{Convolution, Norm};
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

    pub fn on_host(&self) -> HostNeck {
        HostNeck {
            layers: [&self.conv1, &self.conv2].map(Convolution::new),
            norms: [self.norm1.on_host(), self.norm2.on_host()],
        }
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = self.norm1.forward(convolution(&self.conv1, x));
        self.norm2.forward(convolution(&self.conv2, x))
    }
}

/// The neck on the processor.
#[derive(Debug)]
pub struct HostNeck {
    layers: [Convolution; 2],
    norms: [Norm; 2],
}

impl HostNeck {
    pub fn forward(&self, x: &Grid) -> Grid {
        let ([first, second], [one, two]) = (&self.layers, &self.norms);
        let x = first.forward(x, Finish::Store, |patches| one.forward(patches));
        second.forward(&x, Finish::Store, |patches| two.forward(patches))
    }
}
