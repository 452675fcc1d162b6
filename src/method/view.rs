use std::time::Duration;

use super::similarity::normalised;
use super::tracker::Clock;
use super::{MethodConfig, MethodError, StageTimes};
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
    /// When it was taken, if that is known.
    pub(super) time: Option<Duration>,
    /// What its making took.
    pub(super) times: StageTimes,
}

impl View {
    /// Runs the image encoder on a picture of any size.
    ///
    /// # Errors
    /// The model's, if the device fails.
    pub fn new(sam: &Sam, frame: &Frame) -> Result<Self, MethodError> {
        let mut clock = Clock::start();
        let pixels = sam.preprocess(frame);
        let preprocess = clock.lap();
        let input = sam.upload(pixels)?;
        let upload = clock.lap();
        let view = Self::of_embedding(sam.encode_input(input)?)?;
        let times = StageTimes { preprocess, upload, encode: clock.lap(), ..StageTimes::default() };
        Ok(Self { times, ..view })
    }

    /// The same view, of a frame that was taken at `time`, counted from any beginning.
    pub fn at(self, time: Option<Duration>) -> Self {
        Self { time, ..self }
    }

    /// A view of what was encoded at some other time.
    pub(super) fn of_embedding(embedding: Embedding) -> Result<Self, MethodError> {
        let features = embedding.patches()?;
        let letterbox = embedding.letterbox();
        Ok(Self {
            normalised: normalised(&features, EMBEDDING_DIM),
            // The published code makes similarity maps four times finer before SAM's own way back.
            similarity: letterbox.restore(embedding.grid(), 4),
            logits: letterbox.restore(embedding.logits_size(), 1),
            features,
            embedding,
            time: None,
            times: StageTimes::default(),
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

    /// What its making took.
    pub fn times(&self) -> StageTimes {
        self.times
    }

    /// Width and height of the picture in pixels.
    pub fn size(&self) -> [u32; 2] {
        self.embedding.letterbox().original()
    }
}
