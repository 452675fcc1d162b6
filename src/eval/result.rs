use serde::{Deserialize, Serialize};

use super::Measure;
use crate::image::{CocoRle, Mask};
use crate::method::{State, Track};
use crate::metrics::{Overlap, boundary_f};
use crate::sam::PointPrompt;

/// What a method made of one picture, and how well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameResult {
    /// The picture's name within its sequence.
    pub frame: String,
    /// Name of its reference.
    pub reference: String,
    /// Whether its score counts.
    pub scored: bool,
    /// Dice.
    pub dice: f64,
    /// Intersection over union (J).
    pub iou: f64,
    /// Boundary F1 (F).
    pub boundary_f: f64,
    /// The pixel counts behind them.
    pub overlap: Overlap,
    /// Number of positive parts of the chosen candidate.
    pub n: usize,
    /// Number of negative parts.
    pub m: usize,
    /// Its points.
    pub points: Vec<PointPrompt>,
    /// Its distance to the reference, if there is one.
    pub distance: Option<f64>,
    /// What the model thinks of the mask.
    pub predicted_iou: f32,
    /// IoU of the mask's logits cut a little above and a little below 0.
    pub stability: f32,
    /// Whether the object is in view, if that is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Probability of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    /// Over 0 where the model finds the object in the image, of weights with such a score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_score: Option<f32>,
    /// Dice coefficient of what was found, shown or not.
    pub found_dice: f64,
    /// When the picture was taken, in seconds, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<f64>,
    /// Milliseconds that the picture took.
    pub milliseconds: f64,
    /// The mask.
    pub mask: CocoRle,
}

impl FrameResult {
    /// Scores a track against the truth. `None` if the sizes differ.
    pub fn new(
        frame: &str,
        reference: &str,
        scored: bool,
        time: Option<f64>,
        track: &Track,
        truth: &Mask,
    ) -> Option<Self> {
        let overlap = Overlap::of(&track.mask, truth)?;
        let found = track.hidden.as_ref().unwrap_or(&track.mask);
        Some(Self {
            frame: frame.to_owned(),
            reference: reference.to_owned(),
            scored,
            dice: overlap.dice(),
            iou: overlap.iou(),
            boundary_f: boundary_f(&track.mask, truth)?,
            overlap,
            n: track.n,
            m: track.m,
            points: track.points.clone(),
            distance: track.distance,
            predicted_iou: track.predicted_iou,
            stability: track.stability,
            state: track.state().map(State::name).map(str::to_owned),
            probability: track.presence.map(|presence| presence.probability),
            object_score: track.object_score,
            found_dice: Overlap::of(found, truth)?.dice(),
            time,
            milliseconds: (track.times.total().as_secs_f64() * 1e6).round() / 1e3,
            mask: CocoRle::new(&track.mask),
        })
    }

    /// Whether the object is in the picture.
    pub fn is_present(&self) -> bool {
        self.overlap.truth > 0
    }

    /// Whether something is marked.
    pub fn is_marked(&self) -> bool {
        self.overlap.union > self.overlap.truth || self.overlap.intersection > 0
    }

    /// The score of this picture alone.
    pub fn score(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Dice | Measure::Stacks => self.dice,
            Measure::Sums => self.iou,
            Measure::Contours => f64::midpoint(self.iou, self.boundary_f),
        }
    }
}

/// What a method made of one sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequenceResult {
    /// The method's name.
    pub method: String,
    /// The sequence's name.
    pub sequence: String,
    /// What the sequence belongs to; see [`Sequence::group`](crate::Sequence::group).
    pub group: String,
    /// Digest of the names and contents of the files it was made of.
    pub data: String,
    /// Its pictures.
    pub frames: Vec<FrameResult>,
    /// References that could not be used, and why. Their pictures are missing.
    pub problems: Vec<String>,
}

impl SequenceResult {
    /// The pictures whose scores count and that show the object.
    pub fn scored(&self) -> impl Iterator<Item = &FrameResult> {
        self.judged().filter(|frame| frame.is_present())
    }

    /// The pictures by which it is judged whether the object is in view, with it and without it.
    pub fn judged(&self) -> impl Iterator<Item = &FrameResult> {
        self.frames.iter().filter(|frame| frame.scored)
    }
}
