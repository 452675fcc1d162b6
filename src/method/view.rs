use std::time::{Duration, Instant};

use super::similarity::normalised;
use super::{MethodConfig, MethodError};
use crate::image::{Frame, Restore};
use crate::sam::{EMBEDDING_DIM, Embedding, Sam};

/// A picture as the method sees it. It is made once, however many objects are looked for in it.
#[derive(Debug)]
pub struct View {
    pub(super) embedding: Embedding,
    /// Raw features, `[patches][256]`.
    pub(super) features: Vec<f32>,
    /// The same, each patch of length 1.
    pub(super) normalised: Vec<f32>,
    /// The way of similarity maps back to the picture.
    pub(super) similarity: Restore,
    /// The way of mask logits back to the picture.
    pub(super) logits: Restore,
    pub(super) encode: Duration,
}

impl View {
    /// Runs the image encoder on a picture of any size.
    ///
    /// # Errors
    /// The model's, if the device fails.
    pub fn new(sam: &Sam, frame: &Frame) -> Result<Self, MethodError> {
        let start = Instant::now();
        let view = Self::of_embedding(sam.encode(frame)?, Duration::ZERO)?;
        Ok(Self { encode: start.elapsed(), ..view })
    }

    /// A view of what took `encode` to make.
    pub(super) fn of_embedding(
        embedding: Embedding,
        encode: Duration,
    ) -> Result<Self, MethodError> {
        let features = embedding.patches()?;
        let letterbox = embedding.letterbox();
        Ok(Self {
            normalised: normalised(&features, EMBEDDING_DIM),
            // The published code makes similarity maps four times finer before SAM's own way back.
            similarity: letterbox.restore(embedding.grid(), 4),
            logits: letterbox.restore(embedding.logits_size(), 1),
            features,
            embedding,
            encode,
        })
    }

    /// The image encoder's output.
    pub fn embedding(&self) -> &Embedding {
        &self.embedding
    }

    /// The features as distances compare them: raw or, if set so, of length 1.
    pub(super) fn compared(&self, config: &MethodConfig) -> &[f32] {
        if config.normalised { &self.normalised } else { &self.features }
    }

    /// How long the image encoder took.
    pub fn encode_time(&self) -> Duration {
        self.encode
    }

    /// Width and height of the picture in pixels.
    pub fn size(&self) -> [u32; 2] {
        self.embedding.letterbox().original()
    }
}
