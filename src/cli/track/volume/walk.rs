use std::sync::Arc;

use anyhow::Context;
use indicatif::ProgressBar;
use p2sam::{Mask, MethodConfig, PresenceModel, References, Sam, Track, Tracker, View, Volume};

use super::interrupt;

/// A way through the slices.
pub struct Walk<'a> {
    pub sam: &'a Arc<Sam>,
    pub target: &'a Volume,
    pub references: &'a References<'a>,
    /// By place in the range.
    pub pairs: &'a [usize],
    pub config: &'a MethodConfig,
    pub presence: Option<PresenceModel>,
    /// What is annotated on the target itself.
    pub own: Option<&'a [Option<Mask>]>,
    pub bar: ProgressBar,
    pub tracks: Vec<Option<Track>>,
    /// The range's first slice.
    pub start: usize,
}

impl Walk<'_> {
    /// Every slice, unless the user stops it.
    pub fn all(&mut self, propagate: bool) -> anyhow::Result<()> {
        let count = self.pairs.len();
        if !propagate {
            return self.along((0..count).collect(), None);
        }
        // The middle one of the slices that the largest annotation serves.
        let largest = self.references.largest();
        let served: Vec<usize> =
            (0..count).filter(|place| Some(self.pairs[*place]) == largest).collect();
        let middle = served.get(served.len() / 2).copied().unwrap_or(count / 2);
        self.along((middle..count).collect(), None)?;
        self.along((0..middle).rev().collect(), Some(middle))
    }

    /// The mask of a slice: annotated, or found.
    fn known(&self, place: usize) -> Option<Mask> {
        let own = self.own.and_then(|masks| masks[self.start + place].clone());
        let found = || Some(self.tracks[place].as_ref()?.mask.clone());
        own.or_else(found).filter(|mask| mask.area() > 0)
    }

    fn along(&mut self, places: Vec<usize>, mut before: Option<usize>) -> anyhow::Result<()> {
        let mut tracker: Option<Tracker> = None;
        for place in places {
            if interrupt::requested() {
                return Ok(());
            }
            let reference = self
                .references
                .get(self.pairs[place])
                .context("an annotated slice was not made ready")?
                .clone();
            let tracker = match &mut tracker {
                Some(tracker) => {
                    tracker.refer_to(reference);
                    tracker
                }
                empty => {
                    let new = Tracker::new(Arc::clone(self.sam), reference, self.config.clone())?;
                    empty.insert(match self.presence {
                        Some(model) => new.with_presence(model),
                        None => new,
                    })
                }
            };
            let slice = self.start + place;
            let view = View::new(self.sam, &self.target.frame(slice)?)?;
            let moved = before.and_then(|before| self.known(before));
            let track = tracker.step_in(&view, moved.as_ref());
            self.tracks[place] = Some(track.with_context(|| format!("slice {slice}"))?);
            before = Some(place);
            self.bar.inc(1);
        }
        Ok(())
    }
}
