use std::sync::Arc;

use burn::Dispatch;
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::prelude::*;

use super::config::{Architecture, VitConfig};
use super::host_decoder::HostDecoder;
use super::image_encoder::ImageEncoder;
use super::kernels::is_host;
use super::mask_decoder::{MaskDecoder, OBJECT_SCORE};
use super::prompt_encoder::PromptEncoder;

/// The backend of training: automatic differentiation around the backend whose device is chosen at
/// run time. Its devices are the plain ones, never `DispatchDevice::autodiff`: only this way around
/// can operations have own backward passes.
pub(crate) type Training = Autodiff<Dispatch>;

/// The three parts, as in the published checkpoints.
#[derive(Module, Debug)]
pub struct Model<B: Backend> {
    pub image_encoder: ImageEncoder<B>,
    pub prompt_encoder: PromptEncoder<B>,
    pub mask_decoder: MaskDecoder<B>,
    /// The prompt encoder's masks and the mask decoder on the processor, once it is fused.
    #[module(skip)]
    pub host_decoder: Option<Arc<HostDecoder>>,
}

impl<B: Backend> Model<B> {
    /// A model with uninitialised weights. `vit` overrides the sizes of a plain ViT.
    pub fn new(architecture: Architecture, vit: Option<&VitConfig>, device: &B::Device) -> Self {
        Self {
            image_encoder: ImageEncoder::new(architecture, vit, device),
            prompt_encoder: PromptEncoder::new(device),
            mask_decoder: MaskDecoder::new(device),
            host_decoder: None,
        }
    }

    /// [`Model::new`] with an object score if a file with tensors of these names has one.
    pub fn for_tensors<'a>(
        architecture: Architecture,
        names: impl IntoIterator<Item = &'a String>,
        device: &B::Device,
    ) -> Self {
        let mut model = Self::new(architecture, None, device);
        if names.into_iter().any(|name| name.starts_with(OBJECT_SCORE)) {
            model.mask_decoder = model.mask_decoder.with_object_score();
        }
        model
    }

    /// Which parameters are learnt: all but the statistics of batch normalisations and the
    /// frequencies of the position encoding, which are drawn once for a model's life. Burn marks all
    /// that it reads from a record as learnt: to be called again then.
    pub fn with_gradients(mut self) -> Self {
        self = self.map(&mut Learnt { fixed: false });
        self.prompt_encoder = self.prompt_encoder.with_fixed_frequencies();
        self
    }

    /// The same model with batch normalisations folded into convolutions and, on the processor, with
    /// weights in the order in which its own kernels need them: quicker, and what is computed stays
    /// the same up to rounding.
    pub fn fused(self) -> Self {
        let device = self.mask_decoder.device();
        let host_decoder = is_host::<B>(&device)
            .then(|| Arc::new(HostDecoder::new(&self.prompt_encoder, &self.mask_decoder)));
        Self { image_encoder: self.image_encoder.fused(), host_decoder, ..self }
    }
}

/// Marks what is learnt.
struct Learnt {
    /// Within the statistics of a batch normalisation.
    fixed: bool,
}

impl<B: Backend> ModuleMapper<B> for Learnt {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.fixed = name.starts_with("running_");
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.fixed = false;
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.set_require_grad(!self.fixed)
    }
}

impl Model<Dispatch> {
    /// The same model, to be trained. It must not be fused.
    pub fn for_training(self) -> Model<Training> {
        Model::<Training>::from_inner(self).with_gradients()
    }
}
