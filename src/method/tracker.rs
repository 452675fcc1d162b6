use std::sync::Arc;
use std::time::{Duration, Instant};

use super::candidates::{Candidate, Unprompted, cascades, part_aware, temporal};
use super::grid::patches_of_logits;
use super::memory::Memory;
use super::presence::stability;
use super::reference::check_size;
use super::retrieval::{overlap, retrieve};
use super::{
    Evidence, MethodConfig, MethodError, Presence, PresenceFilter, PresenceModel, Reference, State,
    View,
};
use crate::image::{Frame, Mask, MaskPatch};
use crate::motion::{Affine, GreyPicture, estimate, warp};
use crate::sam::{PointPrompt, Prediction, Sam};

/// Follows one annotated object from picture to picture. As published, each step depends on the
/// reference and its picture alone; with [`MethodConfig::temporal`] also on the mask before, and with
/// a presence decision on whether the object was in view. Memory does not grow with the number of steps.
#[derive(Debug)]
pub struct Tracker {
    sam: Arc<Sam>,
    reference: Reference,
    config: MethodConfig,
    presence: Option<PresenceFilter>,
    /// Confident views since.
    memory: Memory,
    /// Who won, while the object was in view.
    winner: Option<Winner>,
    /// The last picture in which the object was found, for [`Tracker::step`].
    last: Option<(GreyPicture, MaskPatch)>,
}

/// The parts that won last.
#[derive(Clone, Copy, Debug)]
struct Winner {
    /// n and m.
    parts: [usize; 2],
    /// Steps since all candidates competed.
    steps: usize,
}

/// What one step found.
#[derive(Clone, Debug)]
pub struct Track {
    /// The object, at the picture's size. Empty if no candidate marked anything, or if the object was
    /// decided not to be in view.
    pub mask: Mask,
    /// What was found and is not shown because the object was decided not to be in view.
    pub hidden: Option<Mask>,
    /// Number of positive parts of the chosen candidate; 0 for one that comes of no parts, as the
    /// moved mask of the frame before.
    pub n: usize,
    /// Number of negative parts of the chosen candidate; 0 in the PerSeg variant.
    pub m: usize,
    /// The chosen candidate's point prompts.
    pub points: Vec<PointPrompt>,
    /// Earth mover's distance between the features of the nearest annotated frame and the mask's; `None`
    /// if the mask covers no patch or there is no reference to compare with.
    pub distance: Option<f64>,
    /// What the model thinks of the mask: its IoU with the object.
    pub predicted_iou: f32,
    /// The chosen mask's object score: over 0 where the model finds the object in the image. `None` of
    /// weights without one.
    pub object_score: Option<f32>,
    /// IoU of the mask's logits cut a little above and a little below 0.
    pub stability: f32,
    /// Whether the object is in view; `None` where that is not decided.
    pub presence: Option<Presence>,
    /// Number of candidates that competed.
    pub candidates: usize,
    /// Where the time went.
    pub times: StageTimes,
}

impl Track {
    /// Of a mask that no model made.
    pub(super) fn of_mask(mask: Mask) -> Self {
        Self {
            mask,
            hidden: None,
            n: 0,
            m: 0,
            points: Vec::new(),
            distance: None,
            predicted_iou: 0.0,
            object_score: None,
            stability: 0.0,
            presence: None,
            candidates: 1,
            times: StageTimes::default(),
        }
    }

    /// Whether the object is in view; `None` where that is not decided.
    pub fn state(&self) -> Option<State> {
        self.presence.map(|presence| presence.state)
    }
}

/// Wall time of the stages of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageTimes {
    /// Scaling and normalising the picture.
    pub preprocess: Duration,
    /// The picture's way to the device.
    pub upload: Duration,
    /// Image encoder, and its features' way back.
    pub encode: Duration,
    /// Similarity maps and points, and the last mask's way to this picture.
    pub prompts: Duration,
    /// All candidates' decoder passes: their first, second and third.
    pub passes: [Duration; 3],
    /// Earth mover's distances.
    pub retrieval: Duration,
    /// The chosen mask at the picture's size.
    pub restore: Duration,
}

impl StageTimes {
    /// Stage by stage.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            preprocess: self.preprocess + other.preprocess,
            upload: self.upload + other.upload,
            encode: self.encode + other.encode,
            prompts: self.prompts + other.prompts,
            passes: std::array::from_fn(|pass| self.passes[pass] + other.passes[pass]),
            retrieval: self.retrieval + other.retrieval,
            restore: self.restore + other.restore,
        }
    }

    /// All decoder passes.
    pub fn decode(&self) -> Duration {
        self.passes.iter().sum()
    }

    /// The sum of all stages.
    pub fn total(&self) -> Duration {
        let before = self.preprocess + self.upload + self.encode + self.prompts;
        before + self.decode() + self.retrieval + self.restore
    }
}

/// The best candidate of a picture.
pub(super) struct Found {
    pub candidate: Candidate,
    pub prediction: Prediction,
    pub distance: Option<f64>,
    /// The model's first answer without a prompt, if that was asked for.
    unprompted: Option<Unprompted>,
    /// IoU of its patches with those expected, if any are.
    agreement: Option<f64>,
    candidates: usize,
    times: StageTimes,
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
        let memory = Memory::default();
        Ok(Self { sam, reference, config, presence: None, memory, winner: None, last: None })
    }

    /// The same tracker, which decides in every frame whether the object is in view and empties the
    /// masks where it is not.
    pub fn with_presence(self, model: PresenceModel) -> Self {
        Self { presence: Some(PresenceFilter::new(model)), ..self }
    }

    /// Compares with another reference from now on; whether the object is in view goes on as it is.
    pub fn refer_to(&mut self, reference: Reference) {
        self.reference = reference;
        self.memory = Memory::default();
    }

    /// Frames that the object is compared with: annotated ones, and confident views since.
    #[cfg(test)]
    pub(super) fn exemplar_count(&self) -> usize {
        self.reference.frame_count()
    }

    /// Finds the object in a frame of any size, of which it is not known when it was taken.
    ///
    /// # Errors
    /// The model's, if the device fails.
    pub fn step(&mut self, frame: &Frame) -> Result<Track, MethodError> {
        self.step_at(frame, None)
    }

    /// [`Tracker::step`] for a frame that was taken at `time`, counted from any beginning: what was
    /// known of the frames just before counts in whether the object is in view.
    ///
    /// # Errors
    /// The same.
    pub fn step_at(&mut self, frame: &Frame, time: Option<Duration>) -> Result<Track, MethodError> {
        let view = View::new(&self.sam, frame)?.at(time);
        self.step_seen(frame, &view)
    }

    /// Takes up a frame whose object was annotated: its mask is the result, and where the object is
    /// known to be for the next step.
    ///
    /// # Errors
    /// [`MethodError::MaskSize`] for a mask of another size.
    pub fn step_annotated(
        &mut self,
        frame: &Frame,
        mask: &Mask,
        time: Option<Duration>,
    ) -> Result<Track, MethodError> {
        check_size(frame.width(), frame.height(), [mask.width(), mask.height()])?;
        let presence = self.presence.as_mut().map(|presence| presence.confirm(time));
        if self.config.temporal {
            let grey = GreyPicture::of_frame(frame);
            self.last = MaskPatch::of(mask).map(|patch| (grey, patch));
        }
        Ok(Track { presence, predicted_iou: 1.0, stability: 1.0, ..Track::of_mask(mask.clone()) })
    }

    /// [`Tracker::step_at`] for a frame whose view is at hand.
    pub(super) fn step_seen(&mut self, frame: &Frame, view: &View) -> Result<Track, MethodError> {
        if !self.config.temporal {
            return self.step_in(view, None);
        }
        let mut clock = Clock::start();
        let grey = GreyPicture::of_frame(frame);
        let moved = self.last.as_ref().and_then(|(last, patch)| {
            let motion = estimate(last, &grey, patch);
            let affine = if motion.trusted() { motion.affine } else { Affine::IDENTITY };
            warp(patch, &affine, frame.width(), frame.height())?
                .to_mask(frame.width(), frame.height())
        });
        let motion = clock.lap();
        let mut track = self.step_in(view, moved.as_ref())?;
        track.times.prompts += motion;
        self.last = MaskPatch::of(&track.mask).map(|patch| (grey, patch));
        Ok(track)
    }

    /// [`Tracker::step_at`] in a frame that was encoded already, perhaps for several objects. `moved`
    /// is where the last mask has moved to in this frame, as far as that is known: one more
    /// candidate if [`MethodConfig::temporal`] is set.
    ///
    /// # Errors
    /// The same.
    pub fn step_in(&mut self, view: &View, moved: Option<&Mask>) -> Result<Track, MethodError> {
        let winner = self.winner.filter(|winner| winner.steps + 1 < self.config.search_every);
        let found = self.search(view, moved, winner.map(|winner| winner.parts))?;
        let track = self.judge(view, found)?;
        if self.config.memory {
            let (sam, config) = (&self.sam, &self.config);
            self.memory.consider(sam, view, &track, config, &mut self.reference)?;
        }
        self.winner = self.next_winner(&track, winner);
        Ok(track)
    }

    /// Who competes next; `None` for all.
    fn next_winner(&self, track: &Track, winner: Option<Winner>) -> Option<Winner> {
        let in_view = track.presence.is_none_or(|presence| presence.state == State::Tracking);
        if !in_view || track.mask.area() == 0 {
            return None;
        }
        // A candidate without parts says nothing of which parts serve best.
        let parts = match (track.n, self.winner) {
            (0, Some(winner)) => winner.parts,
            (0, None) => return None,
            (n, _) => [n, track.m],
        };
        Some(Winner { parts, steps: winner.map_or(0, |winner| winner.steps + 1) })
    }

    /// What was found as a result at the frame's size, once it is decided whether the object is in
    /// view.
    pub(super) fn judge(&mut self, view: &View, found: Found) -> Result<Track, MethodError> {
        let mut clock = Clock::start();
        let logits = found.prediction.logits.values();
        let mut mask = view.logits.mask(logits)?;
        let stability = stability(logits);
        let (unprompted, agreement) = (found.unprompted, found.agreement);
        let reference = &self.reference;
        let presence = self.presence.as_mut().map(|presence| {
            let chosen = &found.prediction;
            let evidence = Evidence::new(view, reference, chosen, &mask, unprompted, agreement);
            presence.judge(evidence, view.time)
        });
        let mut hidden = None;
        if presence.is_some_and(|presence| presence.state != State::Tracking) {
            let empty = Mask::new(mask.width(), mask.height(), vec![false; mask.data().len()])?;
            hidden = Some(std::mem::replace(&mut mask, empty));
        }
        Ok(Track {
            mask,
            hidden,
            n: found.candidate.n,
            m: found.candidate.m,
            points: found.candidate.points,
            distance: found.distance,
            predicted_iou: found.prediction.predicted_iou,
            object_score: found.prediction.object_score,
            stability,
            presence,
            candidates: found.candidates,
            times: StageTimes { restore: clock.lap(), ..found.times }.plus(view.times()),
        })
    }

    /// The candidates of a picture that do not depend on the mask before; of the part-aware ones `only`
    /// that one, if any.
    pub(super) fn candidates(&self, view: &View, only: Option<[usize; 2]>) -> Vec<Candidate> {
        let mut candidates = match self.reference.nearest(view) {
            Some(exemplar) => part_aware(view, exemplar, &self.config, only),
            None => Vec::new(),
        };
        if self.config.own_mask {
            candidates.push(Candidate::own());
        }
        candidates
    }

    /// All candidates, and the one that the retrieval chooses.
    pub(super) fn search(
        &self,
        view: &View,
        moved: Option<&Mask>,
        only: Option<[usize; 2]>,
    ) -> Result<Found, MethodError> {
        let mut clock = Clock::start();
        let mut candidates = self.candidates(view, only);
        let moved = moved.filter(|_| self.config.temporal);
        let prior = moved.map(|moved| temporal(view, moved)).transpose()?.flatten();
        let expected = prior.as_ref().and_then(Candidate::prior_logits);
        let expected = expected.map(|logits| patches_of_logits(logits, view.embedding.grid()));
        candidates.extend(prior);
        let prompts = clock.lap();
        let found = self.compete(view, candidates, expected.as_deref())?;
        Ok(Found { times: StageTimes { prompts, ..found.times }, ..found })
    }

    /// The masks of candidates, and the one that the retrieval chooses. There must be one at least.
    pub(super) fn compete(
        &self,
        view: &View,
        mut candidates: Vec<Candidate>,
        expected: Option<&[bool]>,
    ) -> Result<Found, MethodError> {
        let mut passes = [Duration::ZERO; 3];
        let (reference, config) = (&self.reference, &self.config);
        let (mut predictions, unprompted) =
            cascades(&self.sam, view, &candidates, config, &mut passes)?;

        let mut clock = Clock::start();
        let (index, distance) =
            retrieve(view, reference, &candidates, &predictions, expected, config);
        let agreement = expected.map(|expected| {
            let grid = view.embedding.grid();
            let on = patches_of_logits(&predictions[index].logits, grid);
            overlap(on.into_iter(), expected)
        });
        let times = StageTimes { passes, retrieval: clock.lap(), ..StageTimes::default() };
        let count = candidates.len();
        Ok(Found {
            candidate: candidates.swap_remove(index),
            prediction: predictions.swap_remove(index),
            distance,
            unprompted,
            agreement,
            candidates: count,
            times,
        })
    }
}

/// A stopwatch of stages.
pub(super) struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start or the last lap.
    pub fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.0;
        self.0 = now;
        lap
    }
}
