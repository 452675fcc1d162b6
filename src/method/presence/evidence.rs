//! What speaks for an object's being in view in one frame.

use serde::Serialize;

use crate::image::Mask;
use crate::method::emd::emd;
use crate::method::grid::{gather, patches_of_logits};
use crate::method::{Reference, View};
use crate::sam::{EMBEDDING_DIM, Prediction};

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

impl Evidence {
    /// Of the chosen mask of a frame, at the model's resolution and at the frame's. `own` is the
    /// model's first answer without a prompt.
    pub(in crate::method) fn new(
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
pub(in crate::method) fn thinned(chosen: &[bool]) -> Vec<bool> {
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
pub(super) fn dilated(set: &[bool], columns: usize, steps: usize) -> Vec<bool> {
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
pub(super) fn border(mask: &Mask) -> f64 {
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
