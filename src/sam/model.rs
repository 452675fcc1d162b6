use burn::module::Module;
use burn::prelude::*;

use super::config::{Architecture, VitConfig};
use super::image_encoder::ImageEncoder;
use super::mask_decoder::MaskDecoder;
use super::prompt_encoder::PromptEncoder;

/// The three parts, as in the published checkpoints.
#[derive(Module, Debug)]
pub struct Model<B: Backend> {
    pub image_encoder: ImageEncoder<B>,
    pub prompt_encoder: PromptEncoder<B>,
    pub mask_decoder: MaskDecoder<B>,
}

impl<B: Backend> Model<B> {
    /// A model with uninitialised weights. `vit` overrides the sizes of a plain ViT.
    pub fn new(architecture: Architecture, vit: Option<&VitConfig>, device: &B::Device) -> Self {
        Self {
            image_encoder: ImageEncoder::new(architecture, vit, device),
            prompt_encoder: PromptEncoder::new(device),
            mask_decoder: MaskDecoder::new(device),
        }
    }

    /// The same model with batch normalisations folded into convolutions: quicker, and what is
    /// computed stays the same up to rounding.
    pub fn fused(self) -> Self {
        Self { image_encoder: self.image_encoder.fused(), ..self }
    }
}
