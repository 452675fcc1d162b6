use std::sync::Arc;
use std::time::{Duration, Instant};

use super::emd::nearest;
use super::grid::patches_of_logits;
use super::similarity::{
    attention_weights, least_similar, mean_map, most_similar, normalised, similarity_map,
};
use super::{MethodConfig, MethodError, Reference, Variant};
use crate::image::{Frame, Letterbox, Mask, Restore};
use crate::sam::{
    EMBEDDING_DIM, EMBEDDING_SIDE, Embedding, LOGITS_SIDE, MaskOutput, PointPrompt, Prediction,
    Prompt, Sam, TargetGuidance,
};

/// The distance of a candidate whose mask covers no patch, as in the published code.
const NO_PATCH_DISTANCE: f64 = 999_999.0;

/// Follows one annotated object from picture to picture. Each step depends on the reference and its
/// picture alone, and memory does not grow with the number of steps.
#[derive(Debug)]
pub struct Tracker {
    sam: Arc<Sam>,
    reference: Reference,
    config: MethodConfig,
    /// The semantic half of PerSAM's guidance, where the variant uses it.
    mean: Vec<f32>,
    geometry: Option<Geometry>,
}

/// The ways back from the model's maps to pictures of one size.
#[derive(Debug)]
struct Geometry {
    letterbox: Letterbox,
    similarity: Restore,
    logits: Restore,
}

/// What one step found.
#[derive(Clone, Debug)]
pub struct Track {
    /// The object, at the picture's size. Empty if no candidate marked anything.
    pub mask: Mask,
    /// Number of positive parts of the chosen candidate.
    pub n: usize,
    /// Number of negative parts of the chosen candidate; 0 in the PerSeg variant.
    pub m: usize,
    /// The chosen candidate's point prompts.
    pub points: Vec<PointPrompt>,
    /// Earth mover's distance between the reference's features and the mask's, 999999 if the mask
    /// covers no patch.
    pub distance: f64,
    /// What the model thinks of the mask: its IoU with the object.
    pub predicted_iou: f32,
    /// Number of candidates that competed.
    pub candidates: usize,
    /// Where the time went.
    pub times: StageTimes,
}

/// Wall time of the stages of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageTimes {
    /// Preprocessing and image encoder.
    pub encode: Duration,
    /// Similarity maps and points.
    pub prompts: Duration,
    /// All decoder passes.
    pub decode: Duration,
    /// Earth mover's distances.
    pub retrieval: Duration,
    /// The chosen mask at the picture's size.
    pub restore: Duration,
}

impl StageTimes {
    /// The sum of all stages.
    pub fn total(&self) -> Duration {
        self.encode + self.prompts + self.decode + self.retrieval + self.restore
    }
}

/// A set of prompts that competes with others, and what came of it.
struct Candidate {
    n: usize,
    m: usize,
    points: Vec<PointPrompt>,
    attention: Option<Vec<f32>>,
}

impl Tracker {
    /// # Errors
    /// [`MethodError::Parts`] for unusable settings.
    pub fn new(
        sam: Arc<Sam>,
        reference: Reference,
        config: MethodConfig,
    ) -> Result<Self, MethodError> {
        config.validate()?;
        let mean = reference.mean();
        Ok(Self { sam, reference, config, mean, geometry: None })
    }

    /// Finds the object in a picture of any size.
    ///
    /// # Errors
    /// The model's, if the device fails.
    pub fn step(&mut self, frame: &Frame) -> Result<Track, MethodError> {
        let mut clock = Clock::start();
        let embedding = self.sam.encode(frame)?;
        let features = embedding.patches()?;
        let encode = clock.lap();

        let geometry = match self.geometry.take() {
            Some(known) if known.letterbox == *embedding.letterbox() => known,
            _ => Geometry::new(embedding.letterbox()),
        };
        let candidates = self.candidates(&normalised(&features, EMBEDDING_DIM), &geometry);
        let prompts = clock.lap();

        let mut predictions = candidates
            .iter()
            .map(|candidate| self.cascade(&embedding, candidate, &geometry))
            .collect::<Result<Vec<_>, _>>()?;
        let decode = clock.lap();

        let (index, distance) = self.retrieve(&features, &predictions);
        let retrieval = clock.lap();

        let prediction = predictions.swap_remove(index);
        let mask = geometry.logits.mask(prediction.logits.values())?;
        let restore = clock.lap();
        self.geometry = Some(geometry);
        let chosen = &candidates[index];
        Ok(Track {
            mask,
            n: chosen.n,
            m: chosen.m,
            points: chosen.points.clone(),
            distance,
            predicted_iou: prediction.predicted_iou,
            candidates: candidates.len(),
            times: StageTimes { encode, prompts, decode, retrieval, restore },
        })
    }

    /// Every (n, m) with its points (paper's section 3.2, "part-aware prompt"). A candidate with the
    /// points of an earlier one would give the same mask and lose the tie: it is left out.
    fn candidates(&self, patches: &[f32], geometry: &Geometry) -> Vec<Candidate> {
        let map = |part: &[f32]| similarity_map(part, patches);
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut add = |candidate: Candidate| {
            if !candidates
                .iter()
                .any(|c| c.points == candidate.points && c.attention == candidate.attention)
            {
                candidates.push(candidate);
            }
        };
        let negative: Vec<(usize, Vec<PointPrompt>)> = match self.config.variant {
            Variant::PerSeg => Vec::new(),
            Variant::Medical => self
                .reference
                .negative
                .iter()
                .map(|parts| {
                    let points = parts
                        .vectors
                        .chunks_exact(EMBEDDING_DIM)
                        .map(|part| most_similar(&map(part), &geometry.similarity, false))
                        .collect();
                    (parts.count, points)
                })
                .collect(),
        };
        for parts in &self.reference.positive {
            let maps: Vec<Vec<f32>> = parts.vectors.chunks_exact(EMBEDDING_DIM).map(map).collect();
            let positive: Vec<PointPrompt> =
                maps.iter().map(|m| most_similar(m, &geometry.similarity, true)).collect();
            match self.config.variant {
                Variant::Medical => {
                    for (m, points) in &negative {
                        let points = positive.iter().chain(points).copied().collect();
                        add(Candidate { n: parts.count, m: *m, points, attention: None });
                    }
                }
                Variant::PerSeg => {
                    let mean = mean_map(&maps);
                    let mut points = positive;
                    points.push(least_similar(&mean, &geometry.similarity));
                    let size = geometry.letterbox.original();
                    let attention = attention_weights(&mean, &geometry.similarity, size);
                    let attention = Some(attention);
                    add(Candidate { n: parts.count, m: 0, points, attention });
                }
            }
        }
        candidates
    }

    /// Three decoder passes: points; points and the first mask; points, the second mask and its box
    /// (Zhang et al., "Personalize Segment Anything Model with One Shot", cascaded refinement).
    fn cascade(
        &self,
        embedding: &Embedding,
        candidate: &Candidate,
        geometry: &Geometry,
    ) -> Result<Prediction, MethodError> {
        let refined = match self.config.variant {
            Variant::Medical => MaskOutput::Single,
            Variant::PerSeg => MaskOutput::Multi,
        };
        let guidance = candidate
            .attention
            .clone()
            .map(|attention| TargetGuidance { attention, semantic: self.mean.clone() });
        let pass = |prompt: Prompt, output| -> Result<Prediction, MethodError> {
            best_of(self.sam.predict(embedding, &prompt, output)?)
        };
        let points = candidate.points.as_slice();
        let guided = Prompt { points, guidance: guidance.as_ref(), ..Prompt::default() };
        let first = pass(guided, MaskOutput::Single)?;
        let again = Prompt { points, mask: Some(&first.logits), ..Prompt::default() };
        let second = pass(again, refined)?;
        let bounding_box = geometry
            .logits
            .bounding_box(second.logits.values())
            .map(|b| [b.x0 as f32, b.y0 as f32, b.x1 as f32, b.y1 as f32]);
        let boxed =
            Prompt { points, mask: Some(&second.logits), bounding_box, ..Prompt::default() };
        pass(boxed, refined)
    }

    /// Distribution-based retrieval (paper's section 3.3): the candidate whose features are nearest
    /// to the reference's, the first among equals, and their distance.
    fn retrieve(&self, features: &[f32], predictions: &[Prediction]) -> (usize, f64) {
        let covered: Vec<Vec<u32>> = predictions
            .iter()
            .map(|p| (0..).zip(patches_of_logits(&p.logits)).filter(|p| p.1).map(|p| p.0).collect())
            .collect();
        match nearest(&self.reference.patches, features, EMBEDDING_DIM, &covered) {
            Some(found) => (found.index, found.distance),
            None => (0, NO_PATCH_DISTANCE),
        }
    }
}

impl Geometry {
    fn new(letterbox: &Letterbox) -> Self {
        Self {
            // The published code makes similarity maps four times finer before SAM's own way back.
            similarity: letterbox.restore(EMBEDDING_SIDE, Some(4 * EMBEDDING_SIDE)),
            logits: letterbox.restore(LOGITS_SIDE, None),
            letterbox: letterbox.clone(),
        }
    }
}

/// The mask of largest predicted IoU, the first among equals.
fn best_of(predictions: Vec<Prediction>) -> Result<Prediction, MethodError> {
    predictions
        .into_iter()
        .reduce(|best, next| if next.predicted_iou > best.predicted_iou { next } else { best })
        .ok_or_else(|| crate::sam::SamError::Compute("the decoder gave no mask".to_owned()).into())
}

struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start or the last lap.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.0;
        self.0 = now;
        lap
    }
}
