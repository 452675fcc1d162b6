//! Confident views of the object as further exemplars of it: what helps to find it again.

use std::time::Duration;

use super::reference::Exemplar;
use super::{MethodConfig, MethodError, Reference, State, Track, View};
use crate::image::Annotation;
use crate::sam::Sam;

/// Most views that are kept.
const MOST: usize = 4;
/// Least time from one to the next.
const APART: Duration = Duration::from_secs(3);
/// How long an object must have been in view without a doubt before a view of it is taken.
const SETTLED: Duration = Duration::from_secs(1);
/// What a view must reach.
const PROBABILITY: f32 = 0.95;
const PREDICTED_IOU: f32 = 0.85;
/// Logarithm of how many times nearer to the reference than to its surroundings.
const CONTRAST: f64 = 0.7;

/// Which views were taken. They lie behind the annotated ones in the reference, and the oldest of
/// them makes room for the next; an annotated one never does.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    taken: usize,
    last: Option<Duration>,
    /// Since when the object has been in view without a doubt.
    since: Option<Duration>,
}

impl Memory {
    /// Takes up a frame's view if it is worth it. Frames without a time are not: it cannot be told
    /// how far apart they are.
    pub fn consider(
        &mut self,
        sam: &Sam,
        view: &View,
        track: &Track,
        config: &MethodConfig,
        reference: &mut Reference,
    ) -> Result<(), MethodError> {
        let (Some(time), Some(presence)) = (view.time, track.presence) else { return Ok(()) };
        if presence.state != State::Tracking {
            self.since = None;
            return Ok(());
        }
        let since = *self.since.get_or_insert(time);
        let contrast = presence.evidence.and_then(|evidence| evidence.contrast);
        let apart = |from: Duration, least: Duration| time.saturating_sub(from) >= least;
        let worthy = presence.probability >= PROBABILITY
            && track.predicted_iou >= PREDICTED_IOU
            && contrast.is_some_and(|contrast| contrast >= CONTRAST)
            && apart(since, SETTLED)
            && self.last.is_none_or(|last| apart(last, APART));
        if !worthy {
            return Ok(());
        }
        let annotation = Annotation::from(&track.mask);
        let exemplar = match Exemplar::new(sam, view.embedding(), &annotation, config) {
            Ok(exemplar) => exemplar,
            // Too small for parts: not worth keeping.
            Err(MethodError::MaskVanishes { .. } | MethodError::TooFewPatches { .. }) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if self.taken == MOST {
            let first = reference.exemplars.len().saturating_sub(MOST);
            reference.exemplars.remove(first);
            self.taken -= 1;
        }
        reference.exemplars.push(exemplar);
        self.taken += 1;
        self.last = Some(time);
        Ok(())
    }
}
