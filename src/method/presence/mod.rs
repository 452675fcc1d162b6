//! Whether the object is in view: decided from the frame at hand, by how much more the mask looks like
//! the reference's object than like its own surroundings, and by what the model itself says.

mod evidence;
mod model;

use std::time::Duration;

use serde::Serialize;

pub use evidence::Evidence;
pub(super) use evidence::thinned;
pub use model::{PRESENCE, PresenceModel, PresenceWeights};

/// Log-odds beyond these are as sure as any.
const SURE: f64 = 4.0;

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
    use super::evidence::{border, dilated};
    use super::*;
    use crate::image::Mask;

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
