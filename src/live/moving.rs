use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::history::Passed;
use crate::image::{Mask, MaskPatch};
use crate::motion::{Affine, GreyPicture, estimate_with, warp};

/// Longest time between two pictures that motion is estimated over.
const LONGEST_HOP: Duration = Duration::from_millis(500);
/// A mask of which less than this share of its first picture's pixels can be seen has left: the rest
/// of it is beyond the picture's edge or behind the black border of an endoscope's view.
const LEAST_VISIBLE: f64 = 0.15;
/// Most places of a mask that are remembered.
const PLACES: usize = 256;

/// What a hop from one picture to another came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// The mask moved along.
    Moved,
    /// The motion is not to be trusted; the mask stayed.
    Untrusted,
    /// The mask left the picture.
    Left,
}

/// A mask of the model on its way through the pictures.
#[derive(Clone, Debug)]
pub(super) struct Moving {
    /// As the model gave it.
    source: Arc<MaskPatch>,
    /// How many small pixels of it can be seen in the picture that the model saw.
    visible: usize,
    /// The picture's time that the model saw.
    pub(super) source_pts: Duration,
    /// From the source to where the mask is now. The source is moved anew each time, so that
    /// rounding does not add up.
    affine: Affine,
    /// Where the mask is now.
    pub(super) patch: Arc<MaskPatch>,
    /// The last picture in which that was right.
    pub(super) at: Arc<Passed>,
    /// The motion was lost after that picture.
    pub(super) broken: bool,
    /// Since when a later result doubts this mask.
    pub(super) doubted_at: Option<Duration>,
    /// Frame numbers and where the mask was in them.
    places: VecDeque<(u64, Affine)>,
}

impl Moving {
    /// A mask in the picture that it was computed from.
    pub(super) fn new(source: MaskPatch, at: Arc<Passed>) -> Self {
        let source = Arc::new(source);
        Self {
            visible: at.grey.visible(&source),
            patch: source.clone(),
            source,
            source_pts: at.pts,
            affine: Affine::IDENTITY,
            broken: false,
            doubted_at: None,
            places: VecDeque::from([(at.number, Affine::IDENTITY)]),
            at,
        }
    }

    /// Moves the mask on to a later picture, following about `points` points.
    pub(super) fn hop(&mut self, to: &Arc<Passed>, points: usize) -> Hop {
        if to.pts.saturating_sub(self.at.pts) > LONGEST_HOP {
            return Hop::Untrusted;
        }
        let motion = estimate_with(&self.at.grey, &to.grey, &self.patch, points);
        if !motion.trusted() {
            return Hop::Untrusted;
        }
        let affine = self.affine.then(&motion.affine);
        let [width, height] = size(&to.grey);
        let Some(patch) = warp(&self.source, &affine, width, height) else { return Hop::Left };
        if (to.grey.visible(&patch) as f64) < LEAST_VISIBLE * self.visible as f64 {
            return Hop::Left;
        }
        self.affine = affine;
        self.patch = Arc::new(patch);
        self.at = to.clone();
        if self.places.len() >= PLACES {
            self.places.pop_front();
        }
        self.places.push_back((to.number, affine));
        Hop::Moved
    }

    /// How the mask got to a picture; between two places where it is known, a share of both.
    pub(super) fn way_to(&self, number: u64) -> Option<Way> {
        let after = self.places.partition_point(|(at, _)| *at < number);
        let before = after.checked_sub(1).and_then(|place| self.places.get(place));
        let affine = match (before, self.places.get(after)) {
            (_, Some((at, affine))) if *at == number => *affine,
            (Some((before, from)), Some((at, to))) => {
                from.between(to, (number - before) as f64 / (at - before) as f64)
            }
            (Some((_, last)), None) if !self.broken => *last,
            _ => return None,
        };
        Some(Way { source: self.source.clone(), affine, size: size(&self.at.grey) })
    }
}

fn size(grey: &GreyPicture) -> [u32; 2] {
    [grey.width(), grey.height()]
}

/// A mask and where it is to go.
#[derive(Debug)]
pub(super) struct Way {
    source: Arc<MaskPatch>,
    affine: Affine,
    size: [u32; 2],
}

impl Way {
    /// The mask there, at the picture's size.
    pub(super) fn mask(&self) -> Option<Mask> {
        let [width, height] = self.size;
        warp(&self.source, &self.affine, width, height)?.to_mask(width, height)
    }
}
