//! The promptable model: a picture to an embedding, prompts to masks. One file a part, named as in
//! the published `segment_anything` package.

mod adapter;
mod checkpoint;
mod config;
mod device;
mod embedding;
mod error;
mod host_decoder;
mod image_encoder;
mod kernels;
mod layers;
mod lora;
mod mask_decoder;
mod model;
mod preprocess;
mod prompt;
mod prompt_encoder;
#[cfg(test)]
mod tests;
mod transformer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::Dispatch;
use burn::prelude::*;

pub use adapter::{AdapterInfo, Base, adapter_info};
pub use checkpoint::{Copies, LoadOptions, Metadata, WeightsFormat, WeightsInfo, convert, inspect};
pub use config::{Architecture, EMBEDDING_DIM, EMBEDDING_SIDE, LOGITS_SIDE, Normalisation};
pub use device::{Device, DeviceChoice};
pub use embedding::Embedding;
use embedding::Patches;
pub use error::SamError;
pub use mask_decoder::MaskOutput;
pub(crate) use mask_decoder::{DecoderOutput, OBJECT_SCORE};

use crate::image::{Frame, Letterbox, Mask};
pub(crate) use adapter::{load_adapted, save_adapter};
pub(crate) use checkpoint::{load_unfused, save_native, tensors_of};
use host_decoder::{Decoded, HostDecoder, HostPrompt, Image};
pub(crate) use image_encoder::ImageEncoder;
pub(crate) use layers::to_patches;
pub(crate) use lora::Lora;
pub use lora::LoraConfig;
pub(crate) use model::{Model, Training};
pub(crate) use preprocess::pixels;
use prompt::tokens;
pub use prompt::{Logits, PointPrompt, Prediction, Prompt, TargetGuidance};
pub(crate) use prompt_encoder::{Token, TokenKind};
#[cfg(test)]
pub(crate) use tests::fixture::mobile_weights;

/// A loaded model on its device.
#[derive(Debug)]
pub struct Sam {
    model: Model<Dispatch>,
    architecture: Architecture,
    normalisation: Normalisation,
    device: Device,
    /// Side of the square input in pixels.
    input_side: u32,
    /// Whether the padding below and to the right of a picture is cut off.
    trimmed: bool,
    /// What the weights say of themselves.
    metadata: Metadata,
    /// The encoding of every patch's place for the last grid: pictures mostly are of one size.
    places: Mutex<Option<([usize; 2], Patches)>>,
    /// What is worth knowing of how the weights were read.
    note: Option<String>,
}

/// A picture scaled and normalised for the model.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// `[channel][row][column]`.
    values: Vec<f32>,
    letterbox: Letterbox,
}

/// The same on the model's device.
#[derive(Clone, Debug)]
pub struct Input {
    /// `[1, 3, height, width]`.
    pixels: Tensor<Dispatch, 4>,
    letterbox: Letterbox,
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
        Self::load_with(path, &LoadOptions { architecture, checkpoint_key: None }, device)
    }

    /// [`Sam::load`] with a choice among the copies of the model that a training program's file may hold.
    ///
    /// # Errors
    /// The same.
    pub fn load_with(
        path: &Path,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, SamError> {
        let loaded = checkpoint::load(path, options, device)?;
        let note = match options.checkpoint_key {
            None => loaded.copies.note().map(|note| format!("{}: {note}", path.display())),
            Some(_) => None,
        };
        if let Some(note) = &note {
            log::warn!("{note}");
        }
        let metadata = checkpoint::read_metadata(path)?;
        let sam = Self::from_model(loaded.model.fused(), loaded.architecture, device);
        Ok(Self { note, metadata, ..sam })
    }

    /// Reads weights and merges an adapter into them, which must have been made for them.
    ///
    /// # Errors
    /// Those of [`Sam::load`], and [`SamError::Adapter`].
    pub fn load_adapted(base: &Base, adapter: &Path, device: &Device) -> Result<Self, SamError> {
        let (model, architecture) = load_adapted(base, adapter, device)?;
        let metadata = checkpoint::read_metadata(adapter)?;
        Ok(Self { metadata, ..Self::from_model(model.fused(), architecture, device) })
    }

    /// A model that is already on its device.
    pub(crate) fn of_model(
        model: Model<Dispatch>,
        architecture: Architecture,
        normalisation: Normalisation,
        device: &Device,
    ) -> Self {
        Self { normalisation, ..Self::from_model(model, architecture, device) }
    }

    fn from_model(model: Model<Dispatch>, architecture: Architecture, device: &Device) -> Self {
        Self {
            model,
            architecture,
            normalisation: architecture.normalisation(),
            device: device.clone(),
            input_side: architecture.input_side(),
            trimmed: false,
            metadata: Metadata::new(),
            places: Mutex::new(None),
            note: None,
        }
    }

    /// What a user should know of how the weights were read: that another copy of the model was left.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The same model with pictures scaled to another size, and without the padding that fills them
    /// to a square: quicker, and no longer what was published.
    ///
    /// # Errors
    /// [`SamError::InputSize`] for a size that the architecture cannot take; only MobileSAM takes
    /// another than its own.
    pub fn with_trimmed_input(self, side: u32) -> Result<Self, SamError> {
        let architecture = self.architecture;
        let usable = architecture.takes_any_size()
            && side.is_multiple_of(64)
            && (128..=architecture.input_side()).contains(&side);
        if !usable {
            return Err(SamError::InputSize { architecture, side });
        }
        Ok(Self { input_side: side, trimmed: true, places: Mutex::new(None), ..self })
    }

    /// Side of the square input in pixels.
    pub fn input_side(&self) -> u32 {
        self.input_side
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

    /// Whether the weights know absence: predictions then have an object score.
    pub fn has_object_score(&self) -> bool {
        self.model.mask_decoder.pred_obj_score_head.is_some()
    }

    /// What the weights say of themselves (safetensors files): data, licence, constants that belong to
    /// them.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
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
        self.encode_input(self.upload(self.preprocess(frame))?)
    }

    /// [`Sam::encode`]'s first step, on the processor: the picture scaled and normalised.
    pub fn preprocess(&self, frame: &Frame) -> Pixels {
        let stride = self.architecture.stride();
        let mut letterbox = Letterbox::new(frame.width(), frame.height(), self.input_side);
        if self.trimmed {
            letterbox = letterbox.trimmed(2 * stride);
        }
        Pixels { values: pixels(frame, &letterbox, self.normalisation), letterbox }
    }

    /// The second step: the picture's way to the device.
    ///
    /// # Errors
    /// [`SamError::Compute`] if the device fails.
    pub fn upload(&self, pixels: Pixels) -> Result<Input, SamError> {
        let Pixels { values, letterbox } = pixels;
        let [width, height] = letterbox.canvas().map(|side| side as usize);
        let data = TensorData::new(values, [1, 3, height, width]);
        let pixels = guarded(|| Tensor::from_data(data, self.device.inner()))?;
        Ok(Input { pixels, letterbox })
    }

    /// The third step: the image encoder itself.
    ///
    /// # Errors
    /// [`SamError::Compute`] if the device fails.
    pub fn encode_input(&self, input: Input) -> Result<Embedding, SamError> {
        let Input { pixels, letterbox } = input;
        let stride = self.architecture.stride();
        let grid = letterbox.canvas().map(|side| (side / stride) as usize);
        let (features, image_pe) = guarded(|| {
            let features = layers::to_patches(self.model.image_encoder.forward(pixels));
            (Patches::new(features), self.image_pe(grid))
        })?;
        Ok(Embedding { features, image_pe, grid, letterbox })
    }

    fn image_pe(&self, grid: [usize; 2]) -> Patches {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, places)) = &*places
            && *known == grid
        {
            return places.clone();
        }
        let side = (self.input_side / self.architecture.stride()) as usize;
        let made = Patches::new(self.model.prompt_encoder.dense_pe(grid, side));
        *places = Some((grid, made.clone()));
        made
    }

    /// Runs the prompt encoder and the mask decoder once. A prompt without points, box and mask is
    /// allowed: the model then segments what it was fine-tuned for.
    ///
    /// # Errors
    /// [`SamError::Prompt`] for coordinates that are no numbers, a mask or guidance of a wrong size,
    /// [`SamError::Compute`] if the device fails.
    pub fn predict(
        &self,
        embedding: &Embedding,
        prompt: &Prompt,
        output: MaskOutput,
    ) -> Result<Vec<Prediction>, SamError> {
        let all = self.predict_all(embedding, &[(prompt.clone(), output)])?;
        Ok(all.into_iter().next().unwrap_or_default())
    }

    /// [`Sam::predict`] for some prompts at once, in their order.
    ///
    /// # Errors
    /// The same.
    pub fn predict_all(
        &self,
        embedding: &Embedding,
        prompts: &[(Prompt, MaskOutput)],
    ) -> Result<Vec<Vec<Prediction>>, SamError> {
        let size = embedding.logits_size();
        let wrong = prompts.iter().filter_map(|(p, _)| p.mask).find(|mask| mask.size != size);
        if let Some(mask) = wrong {
            return Err(SamError::Prompt(format!(
                "a mask of {:?} logits for a picture that has {size:?}",
                mask.size
            )));
        }
        let guided = prompts.iter().any(|(prompt, _)| prompt.guidance.is_some());
        let decoded = match &self.model.host_decoder {
            Some(decoder) if !guided => self.decode_on_host(decoder, embedding, prompts)?,
            _ => prompts
                .iter()
                .map(|(prompt, output)| self.decode(embedding, prompt, *output))
                .collect::<Result<_, _>>()?,
        };
        let mut values = decoded
            .iter()
            .flat_map(|decoded| decoded.iou.iter().chain(&decoded.object).chain(&decoded.logits));
        if !values.all(|value| value.is_finite()) {
            // It would be an empty mask.
            let reason = "its output is no number: these weights do not work with this input";
            return Err(SamError::Compute(reason.to_owned()));
        }
        let predictions = |Decoded { logits, iou, object }: Decoded| {
            let masks = logits.chunks_exact(size[0] * size[1]).zip(iou);
            let prediction = |(values, predicted_iou): (&[f32], f32)| Prediction {
                logits: Logits { values: values.to_vec(), size },
                predicted_iou,
                object_score: object,
            };
            masks.map(prediction).collect()
        };
        Ok(decoded.into_iter().map(predictions).collect())
    }

    /// A pass by own kernels.
    fn decode_on_host(
        &self,
        decoder: &HostDecoder,
        embedding: &Embedding,
        prompts: &[(Prompt, MaskOutput)],
    ) -> Result<Vec<Decoded>, SamError> {
        let mut told = Vec::with_capacity(prompts.len());
        for (prompt, output) in prompts {
            let tokens = tokens(prompt, &embedding.letterbox)?;
            let tokens = guarded(|| self.model.prompt_encoder.sparse(&[tokens], self.input_side))?;
            told.push(HostPrompt {
                tokens: tokens.map(to_vec).transpose()?.unwrap_or_default(),
                mask: prompt.mask.map(Logits::values),
                wanted: output.tokens(),
            });
        }
        let image = Image {
            features: embedding.features.values()?,
            places: embedding.image_pe.values()?,
            columns: embedding.grid[0],
        };
        guarded(|| decoder.forward(image, &told))
    }

    /// A pass by Burn's operations.
    fn decode(
        &self,
        embedding: &Embedding,
        prompt: &Prompt,
        output: MaskOutput,
    ) -> Result<Decoded, SamError> {
        let tokens = tokens(prompt, &embedding.letterbox)?;
        let guidance =
            prompt.guidance.map(|g| self.guidance(g, embedding.patch_count())).transpose()?;
        let [width, height] = embedding.logits_size();
        guarded(|| {
            let device = self.device.inner();
            let mask = prompt.mask.map(|logits| {
                let values = TensorData::new(logits.values.clone(), [1, 1, height, width]);
                Tensor::from_data(values, device)
            });
            let found = self.model.mask_decoder.forward(
                embedding.grid,
                embedding.features.tensor.clone(),
                embedding.image_pe.tensor.clone(),
                self.model.prompt_encoder.sparse(&[tokens], self.input_side),
                self.model.prompt_encoder.dense(mask),
                output,
                guidance.as_ref(),
            );
            let object = found.object.map(to_vec).transpose()?;
            Ok(Decoded {
                logits: to_vec(found.logits)?,
                iou: to_vec(found.iou)?,
                object: object.and_then(|score| score.first().copied()),
            })
        })?
    }

    /// The mask that the model finds most probable for points or a box (left, top, right, bottom) in
    /// the picture's pixels, at the picture's size, and its predicted IoU.
    ///
    /// # Errors
    /// As [`Sam::predict`].
    pub fn segment(
        &self,
        embedding: &Embedding,
        points: &[PointPrompt],
        bounding_box: Option<[f32; 4]>,
    ) -> Result<(Mask, f32), SamError> {
        // A single point may mean a part or the whole: SAM then offers three masks.
        let ambiguous = bounding_box.is_none() && points.len() == 1;
        let output = if ambiguous { MaskOutput::Multi } else { MaskOutput::Single };
        let best = self
            .predict(embedding, &Prompt { points, bounding_box, ..Prompt::default() }, output)?
            .into_iter()
            .max_by(|a, b| a.predicted_iou.total_cmp(&b.predicted_iou))
            .ok_or_else(|| SamError::Compute("the decoder gave no mask".to_owned()))?;
        let restore = embedding.letterbox().restore(best.logits.size(), 1);
        let mask = restore.mask(best.logits.values());
        Ok((mask.map_err(|e| SamError::Compute(e.to_string()))?, best.predicted_iou))
    }

    fn guidance(
        &self,
        guidance: &TargetGuidance,
        patches: usize,
    ) -> Result<transformer::Guidance<Dispatch>, SamError> {
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

/// Runs a computation whose backend reports failure by panicking.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, SamError> {
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
