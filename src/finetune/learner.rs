use burn::DispatchDevice;
use burn::module::Module;
use burn::prelude::*;

use super::{FinetuneOptions, TrainedPart};
use crate::augment::Random;
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
        if !options.object_score {
            model.mask_decoder.pred_obj_score_head = None;
        } else if model.mask_decoder.pred_obj_score_head.is_none() {
            let mut random = Random::at(options.seed, &[0x0b1e]);
            let draw = move || random.between(-1.0, 1.0);
            model.mask_decoder = model.mask_decoder.with_new_object_score(draw);
        }
        let adapts = options.part == TrainedPart::Lora;
        let lora = adapts.then(|| Lora::new(&model, options.lora, options.seed, device));
        Self { model, lora }.marked()
    }

    /// Marks what learns. Burn marks all that it reads from a record.
    pub fn marked(self) -> Self {
        let mut model = self.model.with_gradients();
        if self.lora.is_some() {
            model.image_encoder = model.image_encoder.no_grad();
        }
        Self { model, lora: self.lora }
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
