use burn::DispatchDevice;
use burn::module::Module;
use burn::prelude::*;

use super::{FinetuneOptions, TrainedPart};
use crate::sam::{Lora, Model, Training};

/// All that may learn: the model, and LoRA's matrices beside its image encoder if it is adapted.
#[derive(Module, Debug)]
pub struct Learner<B: Backend> {
    pub model: Model<B>,
    pub lora: Option<Lora<B>>,
}

impl Learner<Training> {
    /// What learns of a model.
    pub fn new(
        mut model: Model<Training>,
        options: &FinetuneOptions,
        device: &DispatchDevice,
    ) -> Self {
        if options.part != TrainedPart::Lora {
            return Self { model, lora: None };
        }
        let lora = Lora::new(&model, options.lora, options.seed, device);
        model.image_encoder = model.image_encoder.no_grad();
        Self { model, lora: Some(lora) }
    }
}

impl<B: Backend> Learner<B> {
    /// The model with the matrices in its weights.
    pub fn adapted(&self) -> Model<B> {
        match &self.lora {
            Some(lora) => lora.applied(&self.model),
            None => self.model.clone(),
        }
    }
}
