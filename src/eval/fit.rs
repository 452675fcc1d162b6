//! The constants of presence, fitted to annotated images.

use std::sync::Arc;

use serde::Serialize;

use super::EvalError;
use crate::augment::{Augmentation, Random, augment, without_object};
use crate::image::{Annotation, Frame, Mask};
use crate::method::{
    Evidence, MethodConfig, MethodError, PresenceModel, PresenceWeights, Profile, Reference,
    Tracker, check_annotation,
};
use crate::metrics::{dice, separation};
use crate::sam::Sam;

/// Dice from which on a mask counts as being on the object.
const ON_THE_OBJECT: f64 = 0.5;
/// Changed views of an annotated image, with the object and without it.
const VIEWS: usize = 3;
const VIEWS_WITHOUT: usize = 3;
/// Weight of the squared constants against one mean observation.
const RIDGE: f64 = 0.01;
/// Steps of Newton's method.
const STEPS: usize = 40;

/// An image to learn from.
#[derive(Clone, Debug)]
pub struct FitImage {
    /// The image.
    pub frame: Frame,
    /// Its object; empty if it shows none.
    pub mask: Mask,
    /// Images of the same object have the same number: they are each other's later frames.
    pub object: usize,
}

/// What was fitted, and to how much.
#[derive(Clone, Debug, Serialize)]
pub struct FittedPresence {
    /// The constants.
    pub model: PresenceModel,
    /// Frames that were judged, and of them those whose mask was on the object.
    pub frames: usize,
    /// See [`FittedPresence::frames`].
    pub present: usize,
    /// Chance that a frame with its mask on the object is held more probable than one without, by
    /// constants fitted to the other images (five parts).
    pub separation: Option<f64>,
    /// Share of the frames with a mask on the object that count as in view, likewise.
    pub shown: f64,
    /// Share of the others that do.
    pub shown_wrong: f64,
}

/// One judged frame.
#[derive(Clone, Copy)]
struct Observation {
    /// Which image was the reference.
    image: usize,
    evidence: Evidence,
    present: bool,
}

/// Fits the constants: each image that shows an object is a reference in turn; what is found in changed
/// views of it, in views without the object, in other images of the same object and in those without
/// any is judged by its true mask. `report` hears after each image how many are done; `None` once
/// `go_on` says no.
///
/// # Errors
/// [`EvalError::Method`] if the model fails; [`EvalError::Unfit`] if there are no images with an object
/// or too few of either kind to tell them apart.
pub fn fit_presence(
    sam: &Arc<Sam>,
    images: &[FitImage],
    seed: u64,
    report: &dyn Fn(usize),
    go_on: &dyn Fn() -> bool,
) -> Result<Option<FittedPresence>, EvalError> {
    let config = MethodConfig { temporal: false, memory: false, ..Profile::Accurate.config() };
    let (mut with_own, mut of_parts) = (Vec::new(), Vec::new());
    for (place, image) in images.iter().enumerate() {
        if !go_on() {
            return Ok(None);
        }
        let random = Random::at(seed, &[0xf17, place as u64]);
        for (own_mask, observations) in [(true, &mut with_own), (false, &mut of_parts)] {
            let config = MethodConfig { own_mask, ..config.clone() };
            let found = observe(sam, images, place, image, &config, random.clone());
            observations.extend(found.map_err(|error| EvalError::Method {
                frame: format!("image {place}"),
                source: Box::new(error),
            })?);
        }
        report(place + 1);
    }
    let own = fitted(&with_own, true)?;
    let parts = fitted(&of_parts, false)?;
    Ok(Some(checked(PresenceModel { own, parts }, &with_own)?))
}

/// What is found in all frames that the image is the reference of.
fn observe(
    sam: &Arc<Sam>,
    images: &[FitImage],
    place: usize,
    image: &FitImage,
    config: &MethodConfig,
    mut random: Random,
) -> Result<Vec<Observation>, MethodError> {
    let annotation = Annotation::from(&image.mask);
    if check_annotation(&image.frame, &annotation).is_err() {
        return Ok(Vec::new());
    }
    let reference = match Reference::new(sam, &image.frame, &annotation, config) {
        Err(MethodError::MaskVanishes { .. } | MethodError::TooFewPatches { .. }) => {
            return Ok(Vec::new());
        }
        reference => reference?,
    };
    let side = sam.input_side();
    let mut frames: Vec<(Frame, Mask)> = Vec::new();
    let changed = |frame: &Frame, mask: &Mask, random: &mut Random| {
        augment(Augmentation::Scopes, frame, mask, side, random)
    };
    for _ in 0..VIEWS {
        frames.push(changed(&image.frame, &image.mask, &mut random)?);
    }
    for _ in 0..VIEWS_WITHOUT {
        if let Some(made) = without_object(&image.frame, &image.mask, &mut random) {
            let (frame, mask) = made?;
            frames.push(changed(&frame, &mask, &mut random)?);
        }
    }
    let others = images.iter().enumerate().filter(|(other, _)| *other != place);
    let same = others.clone().filter(|(_, other)| other.object == image.object);
    frames.extend(same.map(|(_, other)| (other.frame.clone(), other.mask.clone())));
    // One image that shows no object, and one of another that does not show it any more.
    let absent: Vec<&FitImage> =
        others.clone().map(|(_, other)| other).filter(|other| other.mask.area() == 0).collect();
    if let Some(absent) = absent.get(random.below(absent.len())) {
        frames.push((absent.frame.clone(), absent.mask.clone()));
    }
    let others: Vec<&FitImage> =
        others.map(|(_, other)| other).filter(|other| other.object != image.object).collect();
    if let Some(other) = others.get(random.below(others.len()))
        && let Some(made) = without_object(&other.frame, &other.mask, &mut random)
    {
        frames.push(made?);
    }
    let mut observations = Vec::new();
    let any = PresenceModel::DEFAULT;
    let mut tracker = Tracker::new(Arc::clone(sam), reference, config.clone())?.with_presence(any);
    for (frame, truth) in frames {
        let track = tracker.step(&frame)?;
        let found = track.hidden.as_ref().unwrap_or(&track.mask);
        let dice = if truth.area() > 0 { dice(found, &truth).unwrap_or(0.0) } else { 0.0 };
        if let Some(evidence) = track.presence.and_then(|presence| presence.evidence) {
            observations.push(Observation {
                image: place,
                evidence,
                present: dice >= ON_THE_OBJECT,
            });
        }
    }
    Ok(observations)
}

/// Number of values of the evidence, and the intercept.
const TERMS: usize = 6;

/// A logistic regression with a small ridge, on values of mean 0 and variance 1, both kinds counting
/// alike however many there are of each.
fn fitted(observations: &[Observation], own: bool) -> Result<PresenceWeights, EvalError> {
    let rows: Vec<([f64; 5], bool)> = observations
        .iter()
        .filter_map(|o| Some((PresenceWeights::values(&o.evidence)?, o.present)))
        .collect();
    let counts = [true, false].map(|kind| rows.iter().filter(|(_, p)| *p == kind).count());
    if counts.iter().any(|count| *count < 2 * TERMS) {
        return Err(EvalError::Unfit {
            reason: format!(
                "{} frames with a mask on the object and {} without: at least {} of each are needed",
                counts[0],
                counts[1],
                2 * TERMS
            ),
        });
    }
    let number = rows.len() as f64;
    let mean: [f64; 5] =
        std::array::from_fn(|term| rows.iter().map(|(v, _)| v[term]).sum::<f64>() / number);
    let spread: [f64; 5] = std::array::from_fn(|term| {
        let squares = rows.iter().map(|(v, _)| (v[term] - mean[term]).powi(2)).sum::<f64>();
        (squares / number).sqrt()
    });
    // A value that never differs says nothing; the model's own answer counts only where it is asked.
    let used: [bool; 5] = std::array::from_fn(|term| spread[term] > 1e-9 && (own || term != 1));
    let scaled = |values: &[f64; 5]| -> [f64; TERMS] {
        std::array::from_fn(|term| match term.checked_sub(1) {
            None => 1.0,
            Some(term) if used[term] => (values[term] - mean[term]) / spread[term],
            Some(_) => 0.0,
        })
    };
    let each = counts.map(|count| 0.5 / count as f64);
    let mut beta = nalgebra::SVector::<f64, TERMS>::zeros();
    for _ in 0..STEPS {
        let mut gradient = nalgebra::SVector::<f64, TERMS>::zeros();
        let mut curvature = nalgebra::SMatrix::<f64, TERMS, TERMS>::zeros();
        for (values, present) in &rows {
            let x = nalgebra::SVector::<f64, TERMS>::from(scaled(values));
            let p = 1.0 / (1.0 + (-beta.dot(&x)).exp());
            let weight = if *present { each[0] } else { each[1] };
            gradient += x * (weight * (f64::from(u8::from(*present)) - p));
            curvature += x * x.transpose() * (weight * p * (1.0 - p));
        }
        for term in 0..TERMS {
            // The intercept is not drawn to 0, only kept from running away.
            let ridge = if term == 0 { 1e-6 } else { RIDGE };
            gradient[term] -= ridge * beta[term];
            curvature[(term, term)] += ridge;
        }
        let Some(step) = curvature.lu().solve(&gradient) else { break };
        beta += step;
        if step.norm() < 1e-9 {
            break;
        }
    }
    let of = |term: usize| if used[term] { beta[term + 1] / spread[term] } else { 0.0 };
    let constants: [f64; 5] = std::array::from_fn(of);
    let shift: f64 = constants.iter().zip(mean).map(|(c, mean)| c * mean).sum();
    let [contrast, own_iou, object_score, border, shrunk] = constants;
    Ok(PresenceWeights {
        intercept: beta[0] - shift,
        contrast,
        own_iou,
        object_score,
        border,
        shrunk,
    })
}

/// Judges by constants that are fitted to other images.
fn checked(
    model: PresenceModel,
    observations: &[Observation],
) -> Result<FittedPresence, EvalError> {
    const PARTS: usize = 5;
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for part in 0..PARTS {
        let (held, rest): (Vec<Observation>, Vec<Observation>) =
            observations.iter().partition(|o| o.image % PARTS == part);
        let Ok(own) = fitted(&rest, true) else { continue };
        let judge = PresenceModel { own, ..model };
        for o in held {
            let log_odds = judge.log_odds(&o.evidence);
            if o.present { on.push(-log_odds) } else { off.push(-log_odds) }
        }
    }
    let shown = |values: &[f64]| {
        values.iter().filter(|v| **v < 0.0).count() as f64 / values.len().max(1) as f64
    };
    Ok(FittedPresence {
        model,
        frames: observations.len(),
        present: observations.iter().filter(|o| o.present).count(),
        separation: separation(&on, &off),
        shown: shown(&on),
        shown_wrong: shown(&off),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(image: usize, present: bool, random: &mut Random) -> Observation {
        let mut near = |mean: f32| f64::from(mean + random.between(-0.5, 0.5));
        let (contrast, border) = if present { (near(1.2), 0.0) } else { (near(0.0), near(0.6)) };
        let evidence = Evidence {
            contrast: Some(contrast),
            own_iou: Some(near(0.5) as f32),
            object_score: None,
            border,
            shrunk: 0.0,
            agreement: None,
        };
        Observation { image, evidence, present }
    }

    #[test]
    fn what_tells_the_kinds_apart_is_found_and_what_does_not_is_not() {
        let mut random = Random::at(3, &[]);
        let observations: Vec<Observation> =
            (0..200).map(|i| made(i / 4, i % 3 == 0, &mut random)).collect();
        let own = fitted(&observations, true).expect("enough");
        assert!(own.contrast > 1.0 && own.border < -1.0, "{own:?}");
        assert!(own.own_iou.abs() < 0.3 * own.contrast && own.object_score == 0.0, "{own:?}");
        let parts = fitted(&observations, false).expect("enough");
        assert_eq!(parts.own_iou, 0.0);
        let found = checked(PresenceModel { own, parts }, &observations).expect("judged");
        assert!(found.shown > 0.95 && found.shown_wrong < 0.05, "{found:?}");
        assert!(found.separation.is_some_and(|auc| auc > 0.98));
        assert_eq!((found.frames, found.present), (200, 67));
    }

    #[test]
    fn too_few_of_a_kind_are_refused() {
        let mut random = Random::at(4, &[]);
        let observations: Vec<Observation> = (0..40).map(|i| made(i, i > 2, &mut random)).collect();
        let error = fitted(&observations, true).expect_err("three are too few").to_string();
        assert!(error.contains("37 frames with") && error.contains("3 without"), "{error}");
    }
}
