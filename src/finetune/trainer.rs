use burn::Dispatch;
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{AdamW, AdamWConfig, GradientsAccumulator, GradientsParams, Optimizer};
use burn::prelude::*;

use super::average::Average;
use super::batch::{Batch, InputKind};
use super::features::{FeatureCache, FrozenEncoder};
use super::learner::Learner;
use super::loss::{Loss, Truth, loss};
use super::prompts::{FirstPrompt, correcting_points, mask_alone};
use super::{FinetuneError, FinetuneOptions, TrainedPart};
use crate::augment::Random;
use crate::sam::{
    DecoderOutput, Device, MaskOutput, Model, SamError, Token, Training, guarded, to_patches,
};

pub type AdamWOfLearner = OptimizerAdaptor<AdamW, Learner<Training>, Training>;

/// The model being trained and its optimiser.
pub struct Trainer {
    pub learner: Learner<Training>,
    pub optimizer: AdamWOfLearner,
    pub kind: InputKind,
    /// The average of the weights over steps, if one is kept.
    pub average: Option<Average>,
    device: Device,
    options: FinetuneOptions,
    /// The encoder in its quick form, if it does not learn.
    frozen: Option<FrozenEncoder>,
}

/// What a step's losses were: means over its pictures and passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepLosses {
    /// What was minimised.
    pub loss: f32,
    /// Dice loss.
    pub dice: f32,
    /// Focal loss, before its weight of 20.
    pub focal: f32,
    /// Mean squared error of the predicted IoU.
    pub iou_error: f32,
    /// Cross entropy of the object score; 0 without one.
    #[serde(default)]
    pub object: f32,
    /// IoU after the first pass.
    pub first_iou: f32,
    /// IoU after the last pass.
    pub last_iou: f32,
    /// Euclidean norm of the gradient, before it is clipped.
    pub gradient: f32,
}

/// Why a step was not taken.
pub enum StepError {
    NonFinite(&'static str),
    Model(SamError),
    Run(FinetuneError),
}

impl From<SamError> for StepError {
    fn from(error: SamError) -> Self {
        Self::Model(error)
    }
}

impl Trainer {
    pub fn new(
        model: Model<Training>,
        kind: InputKind,
        device: &Device,
        options: &FinetuneOptions,
    ) -> Self {
        let optimizer =
            AdamWConfig::new().with_weight_decay(options.weight_decay).with_epsilon(1e-8).init();
        let frozen = match options.part {
            TrainedPart::Full | TrainedPart::Lora => None,
            TrainedPart::Decoder => {
                Some(FrozenEncoder { encoder: model.image_encoder.valid().fused(), cache: None })
            }
        };
        let learner = Learner::new(model, options, device.inner());
        let average = (options.average > 0.0).then(|| Average::new(&learner, options.average));
        let (device, options) = (device.clone(), options.clone());
        Self { learner, optimizer, kind, average, device, options, frozen }
    }

    /// Keeps the features of an encoder that does not learn.
    pub fn keep_features(&mut self, cache: FeatureCache) {
        if let Some(frozen) = &mut self.frozen {
            frozen.cache = Some(cache);
        }
    }

    /// One step of the optimiser, counted from 0, at a learning rate. A step whose loss or gradient
    /// is not finite changes nothing.
    pub fn step(
        &mut self,
        batches: &[Batch],
        step: u64,
        rate: f64,
    ) -> Result<StepLosses, StepError> {
        let mut gradients = GradientsAccumulator::new();
        let mut losses = StepLosses::default();
        let share = 1.0 / batches.len().max(1) as f32;
        for (place, batch) in (0u64..).zip(batches) {
            let random = Random::at(self.options.seed, &[0x9a55, step, place]);
            let part = guarded(|| self.batch(batch, random, share, &mut gradients))??;
            losses.add(&part, share);
        }
        if !losses.loss.is_finite() {
            return Err(StepError::NonFinite("the loss"));
        }
        let mut gradients = gradients.grads();
        let norm = guarded(|| norm(&self.learner, &gradients))??;
        if !norm.is_finite() {
            return Err(StepError::NonFinite("the gradient"));
        }
        losses.gradient = norm;
        guarded(|| {
            if let Some(most) = self.options.clip.filter(|&most| norm > most) {
                gradients = scaled(&self.learner, gradients, most / norm);
            }
            self.learner = self.optimizer.step(rate, self.learner.clone(), gradients);
            if let Some(average) = &mut self.average {
                average.take(&self.learner, step + 1);
            }
        })?;
        Ok(losses)
    }

    /// All passes of one batch.
    fn batch(
        &self,
        batch: &Batch,
        mut random: Random,
        share: f32,
        gradients: &mut GradientsAccumulator<Learner<Training>>,
    ) -> Result<StepLosses, StepError> {
        let device = self.device.inner();
        let pictures = batch.names.len();
        let ([width, height], [columns, rows]) = (batch.canvas, batch.map);
        let features = match &self.frozen {
            Some(frozen) => Tensor::from_inner(frozen.features(batch, device)?),
            None => {
                let pixels = TensorData::new(batch.pixels.clone(), [pictures, 3, height, width]);
                to_patches(
                    self.learner.adapted().image_encoder.forward(Tensor::from_data(pixels, device)),
                )
            }
        };
        let flat = |values: &Vec<f32>| {
            let values = TensorData::new(values.clone(), [pictures, rows * columns]);
            Tensor::<Training, 2>::from_data(values, device)
        };
        let column = |values: Vec<f32>| {
            Tensor::<Training, 2>::from_data(TensorData::new(values, [pictures, 1]), device)
        };
        let first = FirstPrompt::draw(self.options.no_prompt_share, &mut random);
        let number = |yes: bool| f32::from(u8::from(yes));
        let counts = |&present: &bool| number(present || first == FirstPrompt::Nothing);
        let truth = Truth {
            object: flat(&batch.object),
            inside: flat(&batch.inside),
            counts: column(batch.present.iter().map(counts).collect()),
            present: column(batch.present.iter().copied().map(number).collect()),
        };

        let passes = self.options.passes;
        let weight = share / passes as f32;
        let mask_only = 1 + random.below(passes.saturating_sub(2));
        let mut losses = StepLosses::default();
        let mut sum: Option<Tensor<Training, 1>> = None;
        let mut before: Option<(Tensor<Training, 4>, Vec<f32>)> = None;
        let mut image = features;
        for pass in 0..passes {
            let tokens = match &before {
                None => first.tokens(batch, self.kind.cell(), &mut random),
                Some(_) if mask_alone(pass, passes, mask_only) => vec![Vec::new(); pictures],
                Some((_, logits)) => {
                    correcting_points(batch, logits, self.kind.cell(), &mut random)
                }
            };
            let mask = before.take().map(|(logits, _)| logits);
            let decoded = self.decode(&image, &tokens, mask, [columns, rows]);
            let logits = decoded.logits.clone();
            let found = loss(decoded, &truth);
            losses.note(&found, pass, passes)?;
            if pass + 1 < passes {
                let logits = logits.detach();
                let values = to_floats(logits.clone())?;
                before = Some((logits, values));
            }
            let part = found.total.mul_scalar(weight);
            if self.options.attached && self.frozen.is_none() {
                sum = Some(match sum {
                    Some(sum) => sum + part,
                    None => part,
                });
            } else {
                let found = GradientsParams::from_grads(part.backward(), &self.learner);
                gradients.accumulate(&self.learner, found);
                image = image.detach();
            }
        }
        if let Some(sum) = sum {
            let found = GradientsParams::from_grads(sum.backward(), &self.learner);
            gradients.accumulate(&self.learner, found);
        }
        Ok(losses)
    }

    /// One pass of prompt encoder and mask decoder.
    fn decode(
        &self,
        image: &Tensor<Training, 3>,
        tokens: &[Vec<Token>],
        mask: Option<Tensor<Training, 4>>,
        map: [usize; 2],
    ) -> DecoderOutput<Training> {
        let grid = map.map(|side| side / 4);
        let side = (self.kind.side / self.kind.architecture.stride()) as usize;
        let Model { prompt_encoder: encoder, mask_decoder, .. } = &self.learner.model;
        mask_decoder.forward(
            grid,
            image.clone(),
            encoder.dense_pe(grid, side),
            encoder.sparse(tokens, self.kind.side),
            encoder.dense(mask),
            MaskOutput::Single,
            None,
        )
    }

    /// Where the model is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What has been learnt so far and is worth keeping: the average, if there is one.
    pub fn learnt(&self) -> Learner<Dispatch> {
        self.average.as_ref().map_or_else(|| self.learner.valid(), |a| a.learner.clone())
    }

    /// The same as a model, for inference.
    pub fn for_inference(&self) -> Model<Dispatch> {
        self.learnt().adapted()
    }
}

impl StepLosses {
    /// Adds a pass.
    fn note(&mut self, loss: &Loss<Training>, pass: usize, passes: usize) -> Result<(), SamError> {
        let scalar = |tensor: &Tensor<Training, 1>| -> Result<f32, SamError> {
            Ok(to_floats(tensor.clone())?.first().copied().unwrap_or(f32::NAN))
        };
        let share = 1.0 / passes as f32;
        self.loss += scalar(&loss.total)? * share;
        self.dice += scalar(&loss.dice)? * share;
        self.focal += scalar(&loss.focal)? * share;
        self.iou_error += scalar(&loss.iou_error)? * share;
        self.object += scalar(&loss.object)? * share;
        let iou = scalar(&loss.iou)?;
        if pass == 0 {
            self.first_iou = iou;
        }
        self.last_iou = iou;
        Ok(())
    }

    /// Adds a batch's losses.
    fn add(&mut self, part: &Self, share: f32) {
        self.loss += part.loss * share;
        self.dice += part.dice * share;
        self.focal += part.focal * share;
        self.iou_error += part.iou_error * share;
        self.object += part.object * share;
        self.first_iou += part.first_iou * share;
        self.last_iou += part.last_iou * share;
    }
}

fn to_floats<const D: usize>(tensor: Tensor<Training, D>) -> Result<Vec<f32>, SamError> {
    let data = tensor.into_data().convert::<f32>();
    data.into_vec().map_err(|e| SamError::Compute(format!("{e:?}")))
}

/// Euclidean norm of all gradients together.
fn norm(learner: &Learner<Training>, gradients: &GradientsParams) -> Result<f32, SamError> {
    struct Squares<'a>(&'a GradientsParams, Vec<Tensor<Dispatch, 1>>);
    impl ModuleVisitor<Training> for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Training, D>>) {
            if let Some(gradient) = self.0.get::<Dispatch, D>(param.id) {
                self.1.push(gradient.square().sum());
            }
        }
    }
    let mut squares = Squares(gradients, Vec::new());
    learner.visit(&mut squares);
    if squares.1.is_empty() {
        return Err(SamError::Compute("no parameter has a gradient".to_owned()));
    }
    let sum = Tensor::cat(squares.1, 0).sum().sqrt().into_data().convert::<f32>();
    let sum: Vec<f32> = sum.into_vec().map_err(|e| SamError::Compute(format!("{e:?}")))?;
    Ok(sum.first().copied().unwrap_or(f32::NAN))
}

/// The gradients times a factor.
fn scaled(learner: &Learner<Training>, gradients: GradientsParams, factor: f32) -> GradientsParams {
    struct Scale(GradientsParams, GradientsParams, f32);
    impl ModuleVisitor<Training> for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Training, D>>) {
            if let Some(gradient) = self.0.remove::<Dispatch, D>(param.id) {
                self.1.register::<Dispatch, D>(param.id, gradient.mul_scalar(self.2));
            }
        }
    }
    let mut scale = Scale(gradients, GradientsParams::new(), factor);
    learner.visit(&mut scale);
    scale.1
}

impl StepError {
    /// With what the user needs to know.
    pub fn of(self, step: u64, batches: &[Batch], folder: &std::path::Path) -> FinetuneError {
        match self {
            Self::Model(error) => error.into(),
            Self::Run(error) => error,
            Self::NonFinite(what) => FinetuneError::NonFinite {
                step: step + 1,
                what,
                pictures: batches.iter().flat_map(|batch| batch.names.clone()).collect(),
                folder: folder.to_path_buf(),
            },
        }
    }
}
