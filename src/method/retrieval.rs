//! Which of the candidates is the object.

use std::borrow::Cow;

use super::candidates::Candidate;
use super::emd::{emd, emd_below, emd_lower_bound, nearest, sinkhorn};
use super::grid::{gather, patches_of_logits};
use super::similarity::normalised;
use super::{MethodConfig, Reference, Retrieval, View};
use crate::sam::{EMBEDDING_DIM, Prediction};

/// By how much the distance of a candidate is lowered that lies just where the last mask has moved.
const CONTINUITY: f64 = 0.3;

/// The largest squared distance of two features of length 1, for a candidate without any.
const FARTHEST: f64 = 4.0;
/// Squared distances of features of length 1 below this are all alike: rounding.
const NEAREST: f64 = 1e-3;
/// What the evidence of [`Retrieval::Weighed`] counts beside predicted IoU. Chosen on warped copies
/// of training pictures that were held out and on everyday video; `tests/choice.rs` scores them.
const AGREEMENT: f64 = 0.25;
const DISTANCE: f64 = 0.2;
const OWN_MASK: f64 = 0.5;
/// What a candidate's agreement counts with where the last mask has moved to.
const EXPECTED: f64 = 0.15;

/// The index of the chosen candidate and its distance from the nearest exemplar, which for every
/// choice but that by normalised features is that of raw features; `None` if its mask covers no patch
/// (999999 in the published code). `expected` are the patches where the last mask has moved to.
pub fn retrieve(
    view: &View,
    reference: &Reference,
    candidates: &[Candidate],
    predictions: &[Prediction],
    expected: Option<&[bool]>,
    config: &MethodConfig,
) -> (usize, Option<f64>) {
    let features = view.compared(config);
    let covered = |p: &Prediction| patches_of_logits(&p.logits, view.embedding.grid());
    let on = |p: &Prediction| gather(features, &covered(p), EMBEDDING_DIM);
    let exemplars: Vec<Cow<[f32]>> =
        reference.exemplars.iter().map(|exemplar| exemplar.compared(config)).collect();
    let least = |features: &[f32], distance: fn(&[f32], &[f32], usize) -> Option<f64>| {
        let distances = exemplars.iter().filter_map(|e| distance(e, features, EMBEDDING_DIM));
        distances.reduce(f64::min)
    };
    let smallest = |distance: fn(&[f32], &[f32], usize) -> Option<f64>| {
        best(predictions.iter().map(|p| -least(&on(p), distance).unwrap_or(f64::INFINITY)))
    };
    let index = match config.retrieval {
        Retrieval::Emd => match expected {
            Some(expected) => {
                return near(&exemplars, predictions, expected, &on, &covered);
            }
            None => {
                let covered: Vec<Vec<u32>> = predictions
                    .iter()
                    .map(|p| (0..).zip(covered(p)).filter(|p| p.1).map(|p| p.0).collect())
                    .collect();
                let found = exemplars
                    .iter()
                    .filter_map(|e| nearest(e, features, EMBEDDING_DIM, &covered))
                    .reduce(|best, next| if next.distance < best.distance { next } else { best });
                return found.map_or((0, None), |found| (found.index, Some(found.distance)));
            }
        },
        Retrieval::Sinkhorn => smallest(sinkhorn),
        Retrieval::Centroid => smallest(emd_lower_bound),
        Retrieval::PredictedIou => best(predictions.iter().map(|p| f64::from(p.predicted_iou))),
        Retrieval::Weighed => {
            let support = support(view, reference, candidates, predictions);
            best(support.iter().zip(predictions).map(|(support, prediction)| {
                let continuity = expected
                    .map_or(0.0, |expected| overlap(covered(prediction).into_iter(), expected));
                support.total() + EXPECTED * continuity
            }))
        }
    };
    (index, predictions.get(index).and_then(|p| least(&on(p), emd)))
}

/// The place of the largest value, the first among equals.
fn best(values: impl IntoIterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.into_iter().enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

/// The smallest earth mover's distance with a bonus for continuity: distances count less the better
/// a candidate agrees with the patches where the object is expected. Returns the chosen one's own
/// distance.
fn near(
    exemplars: &[Cow<[f32]>],
    predictions: &[Prediction],
    expected: &[bool],
    on: &impl Fn(&Prediction) -> Vec<f32>,
    covered: &impl Fn(&Prediction) -> Vec<bool>,
) -> (usize, Option<f64>) {
    let mut best = (0, None, f64::INFINITY);
    for (index, prediction) in predictions.iter().enumerate() {
        let weight = 1.0 - CONTINUITY * overlap(covered(prediction).into_iter(), expected);
        for exemplar in exemplars {
            let most = best.2 / weight;
            if let Some(distance) = emd_below(exemplar, &on(prediction), EMBEDDING_DIM, most) {
                best = (index, Some(distance), distance * weight);
            }
        }
    }
    (best.0, best.1)
}

/// What speaks for a candidate, in units of IoU.
pub struct Support {
    /// What the model thinks of its mask.
    pub predicted_iou: f64,
    /// Mean IoU with the other candidates.
    pub agreement: f64,
    /// Logarithm of how many times farther than the nearest candidate it is from the reference.
    pub farther: f64,
    /// For the model's own mask: how well that of the reference was, the more the farther even the
    /// nearest candidate is. 0 for the others.
    pub own_mask: f64,
}

impl Support {
    /// All together.
    pub fn total(&self) -> f64 {
        self.predicted_iou + AGREEMENT * self.agreement - DISTANCE * self.farther
            + OWN_MASK * self.own_mask
    }
}

/// What speaks for each candidate. Distances are between features of length 1.
pub fn support(
    view: &View,
    reference: &Reference,
    candidates: &[Candidate],
    predictions: &[Prediction],
) -> Vec<Support> {
    let exemplars: Vec<Vec<f32>> =
        reference.exemplars.iter().map(|e| normalised(&e.patches, EMBEDDING_DIM)).collect();
    let own_mask = reference.nearest(view).map_or(0.0, |exemplar| exemplar.own_mask);
    let distances: Vec<f64> = predictions
        .iter()
        .map(|p| {
            let on = patches_of_logits(&p.logits, view.embedding.grid());
            let features = gather(&view.normalised, &on, EMBEDDING_DIM);
            let distances = exemplars.iter().filter_map(|e| emd(e, &features, EMBEDDING_DIM));
            distances.reduce(f64::min).unwrap_or(FARTHEST).max(NEAREST)
        })
        .collect();
    let least = distances.iter().copied().fold(FARTHEST, f64::min);
    let masks: Vec<Vec<bool>> =
        predictions.iter().map(|p| p.logits.values().iter().map(|v| *v > 0.0).collect()).collect();
    let agreement = |index: usize| {
        let others = masks.iter().enumerate().filter(|(other, _)| *other != index);
        let sum: f64 = others.map(|(_, other)| overlap(masks[index].iter().copied(), other)).sum();
        sum / (masks.len() - 1).max(1) as f64
    };
    let of = |(index, candidate): (usize, &Candidate)| Support {
        predicted_iou: f64::from(predictions[index].predicted_iou),
        agreement: agreement(index),
        farther: (distances[index] / least).ln(),
        own_mask: if candidate.is_own() { own_mask * least } else { 0.0 },
    };
    candidates.iter().enumerate().map(of).collect()
}

/// IoU of two sets of patches or pixels; 0 if both are empty.
pub fn overlap(a: impl Iterator<Item = bool> + Clone, b: &[bool]) -> f64 {
    let pairs = a.zip(b.iter().copied());
    match pairs.clone().filter(|(a, b)| *a || *b).count() {
        0 => 0.0,
        union => pairs.filter(|(a, b)| *a && *b).count() as f64 / union as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_best_and_nan_never_is() {
        assert_eq!(best([0.5, 0.9, 0.9]), 1);
        assert_eq!(best([f64::NAN, 0.1]), 1);
        assert_eq!(best([]), 0);
    }

    #[test]
    fn overlap_is_iou() {
        let a = [true, true, false, false];
        assert_eq!(overlap(a.into_iter(), &[false, true, true, false]), 1.0 / 3.0);
        assert_eq!(overlap([false; 4].into_iter(), &[false; 4]), 0.0);
    }
}
