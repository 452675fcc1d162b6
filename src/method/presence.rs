//! Whether the object is in view: decided from the frame at hand, by how much more the mask looks like
//! the reference's object than like its own surroundings, and by what the model itself says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::emd::emd;
use super::grid::{gather, patches_of_logits};
use super::{MethodError, Reference, View};
use crate::image::Mask;
use crate::sam::{EMBEDDING_DIM, Prediction, Sam};

/// Whether an object is in view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not found since it was added.
    #[default]
    Searching,
    /// In view; its mask is trusted.
    Tracking,
    /// The last result was doubtful; the mask before it is held and fades.
    Uncertain,
    /// Out of view; nothing is drawn.
    Lost,
}

impl State {
    /// The state's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Tracking => "tracking",
            Self::Uncertain => "uncertain",
            Self::Lost => "lost",
        }
    }

    /// The state in plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Tracking => "in view",
            Self::Uncertain => "not sure",
            Self::Searching | Self::Lost => "not in view",
        }
    }
}

/// What speaks for the object's being in view in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// Logarithm of how many times nearer the mask's patches are to the reference's object than to
    /// those around the mask, by earth mover's distances of features of length 1. `None` if the mask
    /// covers no patch, or all of them.
    pub contrast: Option<f64>,
    /// Predicted IoU of the model's mask without a prompt; `None` where it was not asked.
    pub own_iou: Option<f32>,
    /// Object score without a prompt, of weights that have one; else that of the mask.
    pub object_score: Option<f32>,
    /// Share of the frame's outermost pixels that the mask covers.
    pub border: f64,
    /// How much smaller a share of the frame the mask covers than the reference's does: 0, or the
    /// logarithm of the ratio of the two plus 1 if that is less.
    pub shrunk: f64,
    /// IoU of the mask's patches with those where the last mask has moved to; `None` if that is not
    /// known.
    pub agreement: Option<f64>,
}

/// Patches around a mask: from the second step beyond it to this one.
const RING: usize = 3;
/// Most patches of a set whose distance is taken; larger sets are thinned evenly.
const MOST_PATCHES: usize = 256;
/// Smallest distance to the reference that is told from 0.
const LEAST_DISTANCE: f64 = 1e-3;
/// Log-odds beyond these are as sure as any.
const SURE: f64 = 4.0;

impl Evidence {
    /// Of the chosen mask of a frame, at the model's resolution and at the frame's. `own` is the
    /// model's first answer without a prompt.
    pub(super) fn new(
        view: &View,
        reference: &Reference,
        chosen: &Prediction,
        mask: &Mask,
        own: Option<(f32, Option<f32>)>,
        agreement: Option<f64>,
    ) -> Self {
        let share = mask.area() as f64 / mask.data().len().max(1) as f64;
        let known = reference.area_share();
        Self {
            contrast: contrast(view, reference, chosen),
            own_iou: own.map(|(iou, _)| iou),
            object_score: own.map_or(chosen.object_score, |(_, score)| score),
            border: border(mask),
            shrunk: match share > 0.0 && known > 0.0 {
                true => ((share / known).ln() + 1.0).min(0.0),
                false => 0.0,
            },
            agreement,
        }
    }
}

/// See [`Evidence::contrast`].
fn contrast(view: &View, reference: &Reference, chosen: &Prediction) -> Option<f64> {
    let grid = view.embedding.grid();
    let inside: Vec<bool> = view.embedding.inside().collect();
    let mut on = patches_of_logits(&chosen.logits, grid);
    on.iter_mut().zip(&inside).for_each(|(on, inside)| *on &= inside);
    let near = dilated(&on, grid[0], 1);
    let far = dilated(&near, grid[0], RING - 1);
    let ring = |place: usize| far[place] && !near[place] && inside[place];
    let mut around: Vec<bool> = (0..on.len()).map(ring).collect();
    if !around.contains(&true) {
        around = on.iter().zip(&inside).map(|(on, inside)| !on && *inside).collect();
    }
    let features = |chosen: &[bool]| gather(&view.normalised, &thinned(chosen), EMBEDDING_DIM);
    let (mask, around) = (features(&on), features(&around));
    let object = reference.distance_of_lengths_1(&mask)?;
    let surroundings = emd(&mask, &around, EMBEDDING_DIM)?;
    Some((surroundings.max(LEAST_DISTANCE) / object.max(LEAST_DISTANCE)).ln())
}

/// The set without some of its patches, evenly, if there are too many.
pub(super) fn thinned(chosen: &[bool]) -> Vec<bool> {
    let count = chosen.iter().filter(|on| **on).count();
    let step = count.div_ceil(MOST_PATCHES).max(1);
    let mut seen = 0;
    chosen
        .iter()
        .map(|&on| {
            seen += usize::from(on);
            on && (seen - 1) % step == 0
        })
        .collect()
}

/// The set and what lies within so many steps of it, across and down.
fn dilated(set: &[bool], columns: usize, steps: usize) -> Vec<bool> {
    let mut set = set.to_vec();
    for _ in 0..steps {
        let old = set.clone();
        let at = |place: Option<usize>| place.and_then(|p| old.get(p).copied()).unwrap_or(false);
        for (place, on) in set.iter_mut().enumerate() {
            let column = place % columns.max(1);
            *on = *on
                || column > 0 && at(place.checked_sub(1))
                || column + 1 < columns && at(Some(place + 1))
                || at(place.checked_sub(columns))
                || at(Some(place + columns));
        }
    }
    set
}

/// Share of the outermost pixels that a mask covers.
fn border(mask: &Mask) -> f64 {
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    let outermost = |place: &usize| {
        let (x, y) = (place % width, place / width);
        x == 0 || y == 0 || x + 1 == width || y + 1 == height
    };
    let places = (0..width * height).filter(outermost);
    let (on, all) = places
        .fold((0usize, 0usize), |(on, all), place| (on + usize::from(mask.data()[place]), all + 1));
    on as f64 / all.max(1) as f64
}

/// How evidence is weighed: a logistic regression. Its constants belong to weights, in whose metadata
/// they lie; `p2sam weights presence` fits them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceModel {
    /// Where the model's own mask is asked for.
    pub own: PresenceWeights,
    /// Where it is not: `own_iou` does not count.
    pub parts: PresenceWeights,
}

/// Log-odds for each unit of the evidence of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceWeights {
    /// Added to the sum.
    pub intercept: f64,
    /// See [`Evidence::contrast`].
    pub contrast: f64,
    /// See [`Evidence::own_iou`].
    #[serde(default)]
    pub own_iou: f64,
    /// See [`Evidence::object_score`].
    #[serde(default)]
    pub object_score: f64,
    /// See [`Evidence::border`].
    #[serde(default)]
    pub border: f64,
    /// See [`Evidence::shrunk`].
    #[serde(default)]
    pub shrunk: f64,
}

/// Object scores beyond these say no more.
const CLEAR_SCORE: f32 = 8.0;

impl PresenceWeights {
    /// The values that the weights multiply, without the intercept's.
    pub(crate) fn values(evidence: &Evidence) -> Option<[f64; 5]> {
        let score = evidence.object_score.unwrap_or(0.0).clamp(-CLEAR_SCORE, CLEAR_SCORE);
        Some([
            evidence.contrast?,
            f64::from(evidence.own_iou.unwrap_or(0.0).max(-1.0)),
            f64::from(score),
            evidence.border,
            evidence.shrunk,
        ])
    }

    fn log_odds(&self, evidence: &Evidence) -> f64 {
        let Some(values) = Self::values(evidence) else { return -SURE };
        let weights = [self.contrast, self.own_iou, self.object_score, self.border, self.shrunk];
        let sum: f64 = weights.iter().zip(values).map(|(weight, value)| weight * value).sum();
        let sum = self.intercept + sum;
        if sum.is_finite() { sum.clamp(-SURE, SURE) } else { -SURE }
    }
}

/// The name of the constants in the metadata of weights.
pub const PRESENCE: &str = "presence";

impl PresenceModel {
    /// For weights that bring none: the shapes of the rule measured on several sets, for any object.
    pub const DEFAULT: Self = Self {
        own: PresenceWeights {
            intercept: -2.0,
            contrast: 5.0,
            own_iou: 3.75,
            object_score: 0.0,
            border: -30.0,
            shrunk: 6.0,
        },
        parts: PresenceWeights {
            intercept: -0.9,
            contrast: 5.0,
            own_iou: 0.0,
            object_score: 0.0,
            border: 0.0,
            shrunk: 5.25,
        },
    };

    /// The constants that a model's weights bring, or the default.
    ///
    /// # Errors
    /// [`MethodError::PresenceModel`] for constants that cannot be read.
    pub fn of(sam: &Sam) -> Result<Self, MethodError> {
        match sam.metadata().get(PRESENCE) {
            Some(text) => Self::read(text),
            None => Ok(Self::DEFAULT),
        }
    }

    /// Reads constants as they lie in metadata: JSON.
    ///
    /// # Errors
    /// [`MethodError::PresenceModel`].
    pub fn read(text: &str) -> Result<Self, MethodError> {
        let model: Self = serde_json::from_str(text)
            .map_err(|e| MethodError::PresenceModel { reason: e.to_string() })?;
        let finite = |w: &PresenceWeights| {
            [w.intercept, w.contrast, w.own_iou, w.object_score, w.border, w.shrunk]
                .iter()
                .all(|value| value.is_finite())
        };
        match finite(&model.own) && finite(&model.parts) {
            true => Ok(model),
            false => Err(MethodError::PresenceModel { reason: "a value is not finite".to_owned() }),
        }
    }

    /// Log-odds of the object's being in view, from -4 to 4, from one frame alone.
    pub fn log_odds(&self, evidence: &Evidence) -> f64 {
        match evidence.own_iou {
            Some(_) => self.own.log_odds(evidence),
            None => self.parts.log_odds(evidence),
        }
    }
}

/// The decision about one frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Presence {
    /// Probability that the object is in view and the mask is on it, 0 to 1, from this frame and those
    /// just before.
    pub probability: f32,
    /// What is made of it.
    pub state: State,
    /// What it was made from; `None` for an annotated frame.
    pub evidence: Option<Evidence>,
}

/// Seconds in which what was known of earlier frames fades to a third: 0.8 of it is left after a frame
/// at 25 frames a second.
const FADES: f64 = 0.18;
/// What speaks for an object that is in view and lies where it is expected.
const EXPECTED_BONUS: f64 = 1.5;
/// Agreement from which on a result lies where the object is expected.
const EXPECTED: f64 = 0.3;
/// Log-odds below which an object that was in view is lost.
const LOST: f64 = -1.0;
/// Log-odds of one frame alone below which its mask is not shown whatever was known before.
const AGAINST: f64 = -1.0;

/// Decides frame by frame, and remembers.
#[derive(Clone, Debug)]
pub struct PresenceFilter {
    model: PresenceModel,
    state: State,
    log_odds: f64,
    /// When the last frame was, if that is known.
    time: Option<Duration>,
}

impl PresenceFilter {
    /// For an object not yet seen.
    pub fn new(model: PresenceModel) -> Self {
        Self { model, state: State::Searching, log_odds: 0.0, time: None }
    }

    /// The state after the last frame.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes up a frame whose object was annotated.
    pub fn confirm(&mut self, time: Option<Duration>) -> Presence {
        self.log_odds = SURE;
        self.time = time;
        self.state = State::Tracking;
        Presence { probability: 1.0, state: self.state, evidence: None }
    }

    /// Takes up a frame's evidence. `time` is when it was taken; without it the frame is judged alone.
    pub fn judge(&mut self, evidence: Evidence, time: Option<Duration>) -> Presence {
        let tracked = matches!(self.state, State::Tracking | State::Uncertain);
        let expected = tracked && evidence.agreement.is_some_and(|a| a >= EXPECTED);
        let bonus = if expected { EXPECTED_BONUS } else { 0.0 };
        let now = (self.model.log_odds(&evidence) + bonus).clamp(-SURE, SURE);
        let kept = match (self.time, time) {
            (Some(before), Some(time)) => {
                let seconds = time.saturating_sub(before).as_secs_f64();
                (-seconds / FADES).exp()
            }
            _ => 0.0,
        };
        self.time = time;
        self.log_odds = kept * self.log_odds + (1.0 - kept) * now;
        self.state = if self.log_odds > 0.0 && now > AGAINST {
            State::Tracking
        } else if tracked && self.log_odds > LOST {
            State::Uncertain
        } else if self.state == State::Searching {
            State::Searching
        } else {
            State::Lost
        };
        let probability = (1.0 / (1.0 + (-self.log_odds).exp())) as f32;
        Presence { probability, state: self.state, evidence: Some(evidence) }
    }
}

/// How little a mask depends on where its logits are cut: IoU of the cuts a little above and a
/// little below 0 (Kirillov et al. 2023, "stability score"). 0 for an empty mask.
pub fn stability(logits: &[f32]) -> f32 {
    const OFFSET: f32 = 1.0;
    let above = |cut: f32| logits.iter().filter(|v| **v > cut).count();
    match above(-OFFSET) {
        0 => 0.0,
        union => above(OFFSET) as f32 / union as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(contrast: f64) -> Evidence {
        Evidence {
            contrast: Some(contrast),
            own_iou: None,
            object_score: None,
            border: 0.0,
            shrunk: 0.0,
            agreement: None,
        }
    }

    fn filter() -> PresenceFilter {
        PresenceFilter::new(PresenceModel::DEFAULT)
    }

    fn at(frame: u64) -> Option<Duration> {
        Some(Duration::from_millis(40 * frame))
    }

    #[test]
    fn frames_without_a_time_are_judged_alone() {
        let mut filter = filter();
        assert_eq!(filter.judge(evidence(-0.5), None).state, State::Searching);
        assert_eq!(filter.judge(evidence(1.0), None).state, State::Tracking);
        assert_eq!(filter.judge(evidence(-0.5), None).state, State::Lost);
        let sure = filter.judge(evidence(9.0), None);
        assert!(sure.probability > 0.98 && sure.state == State::Tracking);
    }

    #[test]
    fn a_blurred_frame_is_bridged_and_an_absent_object_is_not() {
        let mut filter = filter();
        filter.confirm(at(0));
        // A little below the limit for two frames.
        for frame in 1..3 {
            assert_eq!(filter.judge(evidence(0.1), at(frame)).state, State::Tracking, "{frame}");
        }
        assert_eq!(filter.judge(evidence(0.8), at(3)).state, State::Tracking);
        // Clearly not the object: nothing is shown from the first frame on.
        let states: Vec<State> =
            (4..14).map(|frame| filter.judge(evidence(-2.0), at(frame)).state).collect();
        assert_eq!(states[0], State::Uncertain);
        assert_eq!(states[9], State::Lost);
        assert!(!states.contains(&State::Tracking));
        // And it is back within four frames.
        let back =
            (14..).find(|&frame| filter.judge(evidence(2.0), at(frame)).state == State::Tracking);
        assert!(back.is_some_and(|frame| frame < 18), "{back:?}");
    }

    #[test]
    fn after_seconds_nothing_is_left_of_what_was() {
        let mut filter = filter();
        filter.confirm(at(0));
        assert_eq!(filter.judge(evidence(0.1), at(50)).state, State::Uncertain);
        assert_eq!(filter.judge(evidence(-0.2), at(100)).state, State::Lost);
    }

    #[test]
    fn what_lies_where_it_is_expected_needs_less() {
        let expected = |agreement| Evidence { agreement: Some(agreement), ..evidence(0.0) };
        let mut filter = filter();
        filter.judge(evidence(1.0), None);
        assert_eq!(filter.judge(expected(0.8), None).state, State::Tracking);
        assert_eq!(filter.judge(expected(0.1), None).state, State::Uncertain);
    }

    #[test]
    fn no_mask_is_no_object() {
        let nothing = Evidence { contrast: None, own_iou: Some(0.9), ..evidence(0.0) };
        assert_eq!(PresenceModel::DEFAULT.log_odds(&nothing), -SURE);
        let nan = Evidence { contrast: Some(f64::NAN), ..evidence(0.0) };
        assert_eq!(PresenceModel::DEFAULT.log_odds(&nan), -SURE);
    }

    #[test]
    fn constants_are_read_back_and_checked() {
        let text = serde_json::to_string(&PresenceModel::DEFAULT).expect("JSON");
        assert_eq!(PresenceModel::read(&text).expect("constants"), PresenceModel::DEFAULT);
        for wrong in ["", "{}", "{\"own\":{\"intercept\":1}}", &text.replace("5.0", "1e999")] {
            assert!(PresenceModel::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_set_grows_by_steps_and_not_around_the_edge() {
        let mut set = vec![false; 20];
        set[9] = true;
        let grown: Vec<usize> = dilated(&set, 5, 1)
            .iter()
            .enumerate()
            .filter_map(|(place, on)| on.then_some(place))
            .collect();
        assert_eq!(grown, [4, 8, 9, 14]);
        assert_eq!(dilated(&set, 5, 2).iter().filter(|on| **on).count(), 8);
    }

    #[test]
    fn borders_and_thinning() {
        let data = (0..12).map(|place| place < 4).collect();
        let mask = Mask::new(4, 3, data).expect("sizes agree");
        assert_eq!(border(&mask), 0.4);
        let many = thinned(&vec![true; 1000]);
        assert!(many.iter().filter(|on| **on).count() == 250);
        assert_eq!(thinned(&[true, false, true]), [true, false, true]);
    }

    #[test]
    fn a_stable_mask_does_not_depend_on_the_cut() {
        assert_eq!(stability(&[8.0, -8.0]), 1.0);
        assert_eq!(stability(&[8.0, 0.5, -0.5, -8.0]), 1.0 / 3.0);
        assert_eq!(stability(&[-8.0]), 0.0);
    }
}
