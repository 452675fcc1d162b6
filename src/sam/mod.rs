//! The promptable model: a picture to an embedding, prompts to masks. One file a part, named as in
//! the published `segment_anything` package.

mod checkpoint;
mod config;
mod device;
mod error;
mod image_encoder;
mod kernels;
mod layers;
mod mask_decoder;
mod model;
mod preprocess;
mod prompt_encoder;
#[cfg(test)]
mod tests;
mod transformer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn::Dispatch;
use burn::prelude::*;

pub use checkpoint::{WeightsFormat, WeightsInfo, convert, inspect};
pub use config::{Architecture, EMBEDDING_DIM, EMBEDDING_SIDE, LOGITS_SIDE, Normalisation};
pub use device::{Device, DeviceChoice};
pub use error::SamError;
pub use mask_decoder::MaskOutput;

use crate::image::{Frame, Letterbox};
use model::Model;
use prompt_encoder::{Token, TokenKind};

/// A loaded model on its device.
#[derive(Debug)]
pub struct Sam {
    model: Model<Dispatch>,
    architecture: Architecture,
    normalisation: Normalisation,
    device: Device,
    /// The encoding of every patch's place, the same for every picture.
    image_pe: Tensor<Dispatch, 3>,
}

/// What the image encoder makes of a picture: 64 x 64 patches of 256 values.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[1, patches, 256]`, patches row by row.
    features: Tensor<Dispatch, 3>,
    letterbox: Letterbox,
}

/// A point on the object or beside it, in the picture's pixels.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PointPrompt {
    /// Column.
    pub x: f32,
    /// Row.
    pub y: f32,
    /// On the object, or else beside it.
    pub positive: bool,
}

/// What a pass of the mask decoder is told.
#[derive(Clone, Debug, Default)]
pub struct Prompt<'a> {
    /// Points.
    pub points: &'a [PointPrompt],
    /// A box in the picture's pixels: left, top, right, bottom.
    pub bounding_box: Option<[f32; 4]>,
    /// A mask as low-resolution logits, usually of an earlier pass.
    pub mask: Option<&'a Logits>,
    /// PerSAM's guidance.
    pub guidance: Option<&'a TargetGuidance>,
}

/// PerSAM's two additions to a decoder pass (Zhang et al., "Personalize Segment Anything Model with
/// One Shot", section 3.2).
#[derive(Clone, Debug)]
pub struct TargetGuidance {
    /// Target-guided attention: a weight in 0..1 for each of the 64 x 64 patches.
    pub attention: Vec<f32>,
    /// Target-semantic prompting: the object's mean feature, 256 values.
    pub semantic: Vec<f32>,
}

/// Low-resolution mask logits, 256 x 256, row by row; above 0 is the object.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits(Vec<f32>);

/// One mask of a decoder pass.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The mask.
    pub logits: Logits,
    /// What the model thinks of it: its IoU with the object.
    pub predicted_iou: f32,
}

impl Sam {
    /// Reads weights onto a device. The architecture is recognised unless given.
    ///
    /// # Errors
    /// [`SamError::Read`], [`SamError::Unrecognised`] or [`SamError::Mismatch`], with the file.
    pub fn load(
        path: &Path,
        architecture: Option<Architecture>,
        device: &Device,
    ) -> Result<Self, SamError> {
        let (model, architecture) = checkpoint::load(path, architecture, device)?;
        Ok(Self::from_model(model, architecture, device))
    }

    fn from_model(model: Model<Dispatch>, architecture: Architecture, device: &Device) -> Self {
        let image_pe = model.prompt_encoder.dense_pe();
        let normalisation = architecture.normalisation();
        Self { model, architecture, normalisation, device: device.clone(), image_pe }
    }

    /// The same model with another normalisation of pixel values (MedSAM's ViT checkpoints need
    /// [`Normalisation::MinMax`], and no tensor tells).
    pub fn with_normalisation(self, normalisation: Normalisation) -> Self {
        Self { normalisation, ..self }
    }

    /// The model's architecture.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The device the model is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Runs the image encoder.
    ///
    /// # Errors
    /// [`SamError::Compute`] if the device fails.
    pub fn encode(&self, frame: &Frame) -> Result<Embedding, SamError> {
        let side = self.architecture.input_side();
        let letterbox = Letterbox::new(frame.width(), frame.height(), side);
        let features = guarded(|| {
            let device = self.device.inner();
            let pixels = preprocess::preprocess(frame, &letterbox, self.normalisation, device);
            layers::to_patches(self.model.image_encoder.forward(pixels))
        })?;
        Ok(Embedding { features, letterbox })
    }

    /// Runs the prompt encoder and the mask decoder once. A prompt without points, box and mask is
    /// allowed: the model then segments what it was fine-tuned for.
    ///
    /// # Errors
    /// [`SamError::Prompt`] for coordinates that are no numbers or guidance of a wrong length,
    /// [`SamError::Compute`] if the device fails.
    pub fn predict(
        &self,
        embedding: &Embedding,
        prompt: &Prompt,
        output: MaskOutput,
    ) -> Result<Vec<Prediction>, SamError> {
        let tokens = tokens(prompt, &embedding.letterbox)?;
        let guidance = prompt.guidance.map(|g| self.guidance(g)).transpose()?;
        let (values, iou) = guarded(|| {
            let device = self.device.inner();
            let side = LOGITS_SIDE;
            let mask = prompt.mask.map(|logits| {
                Tensor::from_data(TensorData::new(logits.0.clone(), [1, 1, side, side]), device)
            });
            let (logits, iou) = self.model.mask_decoder.forward(
                embedding.features.clone(),
                self.image_pe.clone(),
                self.model.prompt_encoder.sparse(&[tokens]),
                self.model.prompt_encoder.dense(mask),
                output,
                guidance.as_ref(),
            );
            (to_vec(logits), to_vec(iou))
        })?;
        let (values, iou) = (values?, iou?);
        let predictions = values
            .chunks_exact(LOGITS_SIDE * LOGITS_SIDE)
            .zip(iou)
            .map(|(logits, predicted_iou)| Prediction {
                logits: Logits(logits.to_vec()),
                predicted_iou,
            })
            .collect();
        Ok(predictions)
    }

    fn guidance(
        &self,
        guidance: &TargetGuidance,
    ) -> Result<transformer::Guidance<Dispatch>, SamError> {
        let patches = EMBEDDING_SIDE * EMBEDDING_SIDE;
        if guidance.attention.len() != patches || guidance.semantic.len() != EMBEDDING_DIM {
            return Err(SamError::Prompt(format!(
                "guidance needs {patches} attention weights and a feature of {EMBEDDING_DIM} \
                 values, not {} and {}",
                guidance.attention.len(),
                guidance.semantic.len()
            )));
        }
        let device = self.device.inner();
        let attention = TensorData::new(guidance.attention.clone(), [1, 1, 1, patches]);
        let semantic = TensorData::new(guidance.semantic.clone(), [1, 1, EMBEDDING_DIM]);
        guarded(|| transformer::Guidance {
            attention: Tensor::from_data(attention, device),
            semantic: Tensor::from_data(semantic, device),
        })
    }
}

impl Embedding {
    /// How the picture lies in the model's input.
    pub fn letterbox(&self) -> &Letterbox {
        &self.letterbox
    }

    /// The patches' features, `[64 * 64][256]`, patches row by row.
    ///
    /// # Errors
    /// [`SamError::Compute`] if the device fails.
    pub fn patches(&self) -> Result<Vec<f32>, SamError> {
        guarded(|| to_vec(self.features.clone()))?
    }
}

impl Logits {
    /// The values, 256 x 256.
    pub fn values(&self) -> &[f32] {
        &self.0
    }
}

/// Prompt tokens in the published order: points, the padding that stands for a missing box, box.
fn tokens(prompt: &Prompt, letterbox: &Letterbox) -> Result<Vec<Token>, SamError> {
    let place = |x: f32, y: f32, kind: TokenKind| {
        if x.is_finite() && y.is_finite() {
            let [x, y] = letterbox.to_input(x, y);
            Ok(Token { x, y, kind })
        } else {
            Err(SamError::Prompt(format!("({x}, {y}) is no place in a picture")))
        }
    };
    let mut tokens = Vec::with_capacity(prompt.points.len() + 2);
    for point in prompt.points {
        let kind = if point.positive { TokenKind::Positive } else { TokenKind::Negative };
        tokens.push(place(point.x, point.y, kind)?);
    }
    if let Some([x0, y0, x1, y1]) = prompt.bounding_box {
        tokens.push(place(x0, y0, TokenKind::TopLeft)?);
        tokens.push(place(x1, y1, TokenKind::BottomRight)?);
    } else if !tokens.is_empty() {
        tokens.push(Token { x: 0.0, y: 0.0, kind: TokenKind::Padding });
    }
    Ok(tokens)
}

/// Runs a computation whose backend reports failure by panicking.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, SamError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        SamError::Compute(text.to_owned())
    })
}

fn to_vec<const D: usize>(tensor: Tensor<Dispatch, D>) -> Result<Vec<f32>, SamError> {
    tensor.into_data().convert::<f32>().into_vec().map_err(|e| SamError::Compute(format!("{e:?}")))
}
