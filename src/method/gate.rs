//! Whether the object is in view.

/// Whether an object is in view, as the gate sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
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
}

/// What a result must reach.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct GateLimits {
    /// Largest retrieval distance.
    pub distance: f64,
    /// Smallest predicted IoU.
    pub predicted_iou: f32,
    /// Smallest stability.
    pub stability: f32,
}

/// What the gate judges a result by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// Retrieval distance of the chosen candidate.
    pub distance: f64,
    /// What the model thinks of the mask.
    pub predicted_iou: f32,
    /// See [`stability`].
    pub stability: f32,
    /// IoU of the mask's patches with those where the last mask has moved to; `None` if that is not
    /// known.
    pub agreement: Option<f64>,
}

/// While an object is tracked and a result lies where it is expected, the limits are wider by this.
const HYSTERESIS: f64 = 1.25;
/// Agreement from which on a result lies where the object is expected.
const EXPECTED: f64 = 0.3;
/// Doubtful results in a row after which an object is lost.
const PATIENCE: u32 = 2;

/// Lets results pass that show the object, and remembers whether it is in view.
#[derive(Clone, Debug)]
pub struct Gate {
    limits: GateLimits,
    state: State,
    doubts: u32,
}

impl Gate {
    /// A gate for an object not yet seen.
    pub fn new(limits: GateLimits) -> Self {
        Self { limits, state: State::Searching, doubts: 0 }
    }

    /// The state after the last result.
    pub fn state(&self) -> State {
        self.state
    }

    /// What a result must reach now. One that lies somewhere else than expected must convince as much
    /// as if the object had been lost.
    pub fn limits(&self, evidence: &Evidence) -> GateLimits {
        let tracked = matches!(self.state, State::Tracking | State::Uncertain);
        if !tracked || evidence.agreement.is_none_or(|agreement| agreement < EXPECTED) {
            return self.limits;
        }
        GateLimits {
            distance: self.limits.distance * HYSTERESIS,
            predicted_iou: self.limits.predicted_iou / HYSTERESIS as f32,
            stability: self.limits.stability / HYSTERESIS as f32,
        }
    }

    /// Judges a result. Its mask is to be shown only if this says [`State::Tracking`].
    pub fn judge(&mut self, evidence: &Evidence) -> State {
        let limits = self.limits(evidence);
        let passes = evidence.distance <= limits.distance
            && evidence.predicted_iou >= limits.predicted_iou
            && evidence.stability >= limits.stability;
        self.doubts = if passes { 0 } else { self.doubts + 1 };
        self.state = match self.state {
            _ if passes => State::Tracking,
            State::Searching => State::Searching,
            State::Lost => State::Lost,
            State::Tracking | State::Uncertain if self.doubts >= PATIENCE => State::Lost,
            State::Tracking | State::Uncertain => State::Uncertain,
        };
        self.state
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

    const LIMITS: GateLimits = GateLimits { distance: 1.0, predicted_iou: 0.6, stability: 0.7 };

    fn evidence(distance: f64) -> Evidence {
        Evidence { distance, predicted_iou: 0.9, stability: 0.95, agreement: Some(0.8) }
    }

    #[test]
    fn an_object_never_seen_is_searched_for_not_lost() {
        let mut gate = Gate::new(LIMITS);
        for _ in 0..5 {
            assert_eq!(gate.judge(&evidence(2.0)), State::Searching);
        }
        assert_eq!(gate.judge(&evidence(0.9)), State::Tracking);
    }

    #[test]
    fn one_doubtful_result_does_not_lose_it_and_two_do() {
        let mut gate = Gate::new(LIMITS);
        assert_eq!(gate.judge(&evidence(0.5)), State::Tracking);
        assert_eq!(gate.judge(&evidence(3.0)), State::Uncertain);
        assert_eq!(gate.judge(&evidence(0.5)), State::Tracking);
        assert_eq!(gate.judge(&evidence(3.0)), State::Uncertain);
        assert_eq!(gate.judge(&evidence(3.0)), State::Lost);
    }

    #[test]
    fn a_lost_object_must_convince_more_than_a_tracked_one() {
        let mut gate = Gate::new(LIMITS);
        assert_eq!(gate.judge(&evidence(1.2)), State::Searching);
        assert_eq!(gate.judge(&evidence(0.5)), State::Tracking);
        assert_eq!(gate.judge(&evidence(1.2)), State::Tracking);
        gate.judge(&evidence(9.0));
        assert_eq!(gate.judge(&evidence(9.0)), State::Lost);
        assert_eq!(gate.judge(&evidence(1.2)), State::Lost);
        assert_eq!(gate.judge(&evidence(0.8)), State::Tracking);
    }

    #[test]
    fn a_jump_to_another_place_must_convince_more() {
        let jump = |distance, agreement| Evidence { agreement, ..evidence(distance) };
        for agreement in [Some(0.0), None] {
            let mut gate = Gate::new(LIMITS);
            gate.judge(&evidence(0.5));
            assert_eq!(gate.judge(&jump(1.2, agreement)), State::Uncertain);
            assert_eq!(gate.judge(&jump(0.9, agreement)), State::Tracking);
        }
    }

    #[test]
    fn every_limit_counts_and_nan_never_passes() {
        for bad in [
            Evidence { predicted_iou: 0.3, ..evidence(0.5) },
            Evidence { stability: 0.2, ..evidence(0.5) },
            Evidence { predicted_iou: f32::NAN, ..evidence(0.5) },
            evidence(f64::NAN),
        ] {
            assert_eq!(Gate::new(LIMITS).judge(&bad), State::Searching, "{bad:?}");
        }
    }

    #[test]
    fn stability_is_the_iou_of_two_cuts() {
        assert_eq!(stability(&[5.0, 5.0, -5.0]), 1.0);
        assert_eq!(stability(&[5.0, 0.5, -0.5, -5.0]), 1.0 / 3.0);
        assert_eq!(stability(&[-5.0]), 0.0);
    }
}
