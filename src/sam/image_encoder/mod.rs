//! Image encoders: a picture of `[1, 3, side, side]` to an embedding of `[1, 256, 64, 64]`.

mod neck;
mod tiny_vit;
mod vit;

use burn::module::Module;
use burn::prelude::*;

use super::config::{Architecture, VitConfig};
use tiny_vit::TinyVit;
use vit::Vit;

/// The image encoder of an architecture.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum ImageEncoder<B: Backend> {
    Vit(Vit<B>),
    TinyVit(TinyVit<B>),
}

impl<B: Backend> ImageEncoder<B> {
    /// An encoder with uninitialised weights. `vit` overrides the sizes of a plain ViT.
    pub fn new(architecture: Architecture, vit: Option<&VitConfig>, device: &B::Device) -> Self {
        match vit.cloned().or_else(|| architecture.vit()) {
            Some(config) => Self::Vit(Vit::new(&config, device)),
            None => Self::TinyVit(TinyVit::new(architecture != Architecture::LiteMedSam, device)),
        }
    }

    /// `[batch, 3, height, width]` to `[batch, 256, rows, columns]`. A plain ViT takes its own size
    /// only.
    pub fn forward(&self, pixels: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            Self::Vit(encoder) => encoder.forward(pixels),
            Self::TinyVit(encoder) => encoder.forward(pixels),
        }
    }

    /// The same encoder for inference: every batch normalisation folded into the convolution before it,
    /// and on the processor with weights in the order in which they are needed.
    pub fn fused(self) -> Self {
        match self {
            Self::Vit(encoder) => Self::Vit(encoder.fused()),
            Self::TinyVit(encoder) => Self::TinyVit(encoder.fused()),
        }
    }
}
