//! The gate's limits, learnt from the reference alone: how far the features of the object are from
//! the reference's when it is seen a little differently, and how far those of anything else are.

use std::sync::Arc;

use super::emd::emd;
use super::gate::stability;
use super::grid::{gather, patches_of_annotation, patches_of_logits};
use super::{GateLimits, MethodConfig, MethodError, Reference, Tracker, View};
use crate::image::{Annotation, Frame, Mask, PixelBox};
use crate::metrics::dice;
use crate::sam::{EMBEDDING_DIM, Sam};

/// Share of a side that a crop keeps.
const CROP: f64 = 0.85;
/// Dice from which on the method has found the object in a changed view of the reference.
const FOUND: f64 = 0.7;
/// How far apart in cells the places are at which the background is probed.
const PROBES: usize = 5;
/// The limit of the distance lies so far from the object's largest to the background's smallest, on a
/// scale of logarithms: the first where the second distance is less than `CLEAR[0]` times the first,
/// the second where it is more than `CLEAR[1]` times.
const SHARE: [f64; 2] = [0.35, 0.6];
const CLEAR: [f64; 2] = [2.0, 4.0];
/// What the limits ask of a mask at most and at least: predicted IoU and stability vary more from
/// frame to frame than a few views of one picture show.
const IOU_RANGE: [f32; 2] = [0.5, 0.85];
const STABILITY_RANGE: [f32; 2] = [0.6, 0.85];

/// What the reference told about results with the object and without it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Calibration {
    /// What a result must reach.
    pub limits: GateLimits,
    /// Distances of the object in changed views of the reference.
    pub present: Vec<f64>,
    /// Distances of what is not the object: of the result in a part of the reference without it,
    /// and of its shape laid over the background.
    pub absent: Vec<f64>,
}

/// Looks for the object in crops of each annotated picture, mirrored and in other light, and in a
/// part of it that does not show the object. `pictures` are those that `reference` was made of.
///
/// # Errors
/// [`MethodError::Stopped`] once `go_on` says no, which is asked for each view; the model's, if the
/// device fails.
pub fn calibrate(
    sam: &Arc<Sam>,
    pictures: &[(&Frame, &Annotation)],
    reference: &Reference,
    config: &MethodConfig,
    go_on: &dyn Fn() -> bool,
) -> Result<Calibration, MethodError> {
    let tracker = Tracker::new(Arc::clone(sam), reference.clone(), config.clone())?;
    let patches = reference.compared(config);
    let distance = |features: &[f32]| emd(&patches, features, EMBEDDING_DIM);
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    let (mut iou, mut steady): (Option<f32>, Option<f32>) = (None, None);
    for (frame, annotation) in pictures {
        let mask = annotation.mask();
        for change in changes(&mask) {
            if !go_on() {
                return Err(MethodError::Stopped);
            }
            let truth = change.apply_to(&mask)?;
            let view = View::new(sam, &change.apply(frame)?)?;
            let on = patches_of_annotation(
                &Annotation::from(&truth),
                view.embedding.letterbox(),
                view.embedding.grid(),
            )?;
            present.extend(distance(&gather(view.compared(config), &on, EMBEDDING_DIM)));
            let found = tracker.search(&view, None, None)?;
            let logits = found.prediction.logits.values();
            if dice(&view.logits.mask(logits)?, &truth).is_some_and(|dice| dice >= FOUND) {
                present.push(found.distance);
                let least =
                    |known: Option<f32>, value: f32| Some(known.map_or(value, |k| k.min(value)));
                iou = least(iou, found.prediction.predicted_iou);
                steady = least(steady, stability(logits));
            }
        }
        if !go_on() {
            return Err(MethodError::Stopped);
        }
        let view = View::new(sam, frame)?;
        absent.extend(background(&view, annotation, config)?.iter().filter_map(|f| distance(f)));
        if let Some(area) = largest_part_without(&mask) {
            let picture = Change { area, mirrored: false, gain: 1.0 }.apply(frame)?;
            let view = View::new(sam, &picture)?;
            let found = tracker.search(&view, None, None)?;
            let on = patches_of_logits(&found.prediction.logits, view.embedding.grid());
            if on.contains(&true) {
                absent.push(found.distance);
            }
        }
    }
    let limits = GateLimits {
        distance: between(&present, &absent),
        predicted_iou: below(iou, IOU_RANGE),
        stability: below(steady, STABILITY_RANGE),
    };
    Ok(Calibration { limits, present, absent })
}

/// A little below the least of the right masks; the lowest limit if no view gave a right one.
fn below(least: Option<f32>, [low, high]: [f32; 2]) -> f32 {
    least.map_or(low, |least| (least - 0.1).clamp(low, high))
}

/// The distance up to which a result shows the object.
fn between(present: &[f64], absent: &[f64]) -> f64 {
    let farthest = present.iter().copied().fold(0.0, f64::max);
    let nearest = absent.iter().copied().fold(f64::INFINITY, f64::min);
    if !nearest.is_finite() {
        return 2.0 * farthest;
    }
    // Distances are squares, so that what lies between them is a geometric mean. It lies nearer to the
    // object's own: something like the object may be elsewhere than in the reference picture. Features
    // that tell the object from its surroundings clearly, as those of weights trained on such objects,
    // leave it more room: in other frames it looks less alike than in changed views of one.
    let [from, to] = CLEAR.map(f64::ln);
    let clear = ((nearest / farthest).ln() - from) / (to - from);
    let share = SHARE[0] + (SHARE[1] - SHARE[0]) * clear.clamp(0.0, 1.0);
    (farthest.powf(1.0 - share) * nearest.powf(share)).max(farthest.min(nearest))
}

/// A part of a picture, perhaps mirrored, in other light.
struct Change {
    area: PixelBox,
    mirrored: bool,
    gain: f32,
}

impl Change {
    fn size(&self) -> (u32, u32) {
        (self.area.x1 - self.area.x0 + 1, self.area.y1 - self.area.y0 + 1)
    }

    /// The place in the old picture of each pixel of the new one, row by row.
    fn places(&self, width: u32) -> impl Iterator<Item = usize> {
        let area = self.area;
        (area.y0..=area.y1).flat_map(move |y| {
            (area.x0..=area.x1).map(move |x| {
                let x = if self.mirrored { area.x0 + area.x1 - x } else { x };
                y as usize * width as usize + x as usize
            })
        })
    }

    fn apply(&self, frame: &Frame) -> Result<Frame, MethodError> {
        let (width, height) = self.size();
        let light = |value: u8| (f32::from(value) * self.gain) as u8;
        let rgb = self
            .places(frame.width())
            .flat_map(|place| frame.rgb()[place * 3..][..3].iter().map(|&v| light(v)))
            .collect();
        Ok(Frame::new(width, height, rgb)?)
    }

    fn apply_to(&self, mask: &Mask) -> Result<Mask, MethodError> {
        let (width, height) = self.size();
        let on = self.places(mask.width()).map(|place| mask.data()[place]).collect();
        Ok(Mask::new(width, height, on)?)
    }
}

/// The changed views: a crop from each of two opposite sides that keeps as much of the object as it
/// can, mirrored, and the whole in less light.
fn changes(mask: &Mask) -> Vec<Change> {
    let (width, height) = (mask.width(), mask.height());
    let whole = PixelBox { x0: 0, y0: 0, x1: width - 1, y1: height - 1 };
    let object = mask.bounding_box().unwrap_or(whole);
    let keep = |side: u32| ((f64::from(side) * CROP) as u32).clamp(1, side);
    // As far to a side as the object allows, but never farther than the picture.
    let span = |side: u32, low: u32, high: u32, far: bool| {
        let length = keep(side);
        let most = side - length;
        let start = if far { most.min(low) } else { (high + 1).saturating_sub(length).min(most) };
        (start, start + length - 1)
    };
    let crop = |far: bool| {
        let (x0, x1) = span(width, object.x0, object.x1, far);
        let (y0, y1) = span(height, object.y0, object.y1, !far);
        PixelBox { x0, y0, x1, y1 }
    };
    vec![
        Change { area: crop(false), mirrored: true, gain: 1.0 },
        Change { area: crop(true), mirrored: false, gain: 1.25 },
        Change { area: whole, mirrored: true, gain: 0.7 },
    ]
}

/// The largest part of the picture beside the object's box, if it is large enough to stand for a
/// picture.
fn largest_part_without(mask: &Mask) -> Option<PixelBox> {
    let (width, height) = (mask.width(), mask.height());
    let object = mask.bounding_box()?;
    let (right, bottom) = (width - 1, height - 1);
    let parts = [
        (object.x0 > 0).then(|| PixelBox { x0: 0, y0: 0, x1: object.x0 - 1, y1: bottom }),
        (object.x1 < right).then(|| PixelBox { x0: object.x1 + 1, y0: 0, x1: right, y1: bottom }),
        (object.y0 > 0).then(|| PixelBox { x0: 0, y0: 0, x1: right, y1: object.y0 - 1 }),
        (object.y1 < bottom).then(|| PixelBox { x0: 0, y0: object.y1 + 1, x1: right, y1: bottom }),
    ];
    let sides = |b: &PixelBox| (b.x1 - b.x0 + 1, b.y1 - b.y0 + 1);
    let area = |b: &PixelBox| u64::from(sides(b).0) * u64::from(sides(b).1);
    parts
        .into_iter()
        .flatten()
        .filter(|b| sides(b).0 * 4 >= width && sides(b).1 * 4 >= height)
        .max_by_key(area)
}

/// The features under the object's shape, laid over the background at a few places.
fn background(
    view: &View,
    annotation: &Annotation,
    config: &MethodConfig,
) -> Result<Vec<Vec<f32>>, MethodError> {
    let grid = view.embedding.grid();
    let on = patches_of_annotation(annotation, view.embedding.letterbox(), grid)?;
    let [columns, rows] = grid;
    let shape: Vec<[usize; 2]> =
        (0..on.len()).filter(|&i| on[i]).map(|i| [i % columns, i / columns]).collect();
    let least = |axis: usize| shape.iter().map(|p| p[axis]).min().unwrap_or(0);
    let most = |axis: usize| shape.iter().map(|p| p[axis]).max().unwrap_or(0);
    let (width, height) = (most(0) + 1 - least(0), most(1) + 1 - least(1));
    // Only where the picture is, not its padding.
    let letterbox = view.embedding.letterbox();
    let inside = |axis: usize, cells: usize| {
        cells * letterbox.scaled()[axis] as usize / letterbox.canvas()[axis] as usize
    };
    let (across, down) = (inside(0, columns), inside(1, rows));
    let mut sets = Vec::new();
    for probe in 0..PROBES * PROBES {
        let place = |index: usize, room: usize| room * index / (PROBES - 1);
        let left = place(probe % PROBES, across.saturating_sub(width));
        let top = place(probe / PROBES, down.saturating_sub(height));
        let laid: Vec<usize> = shape
            .iter()
            .map(|[x, y]| (y - least(1) + top) * columns + x - least(0) + left)
            .filter(|&i| i < on.len())
            .collect();
        let covered = laid.iter().filter(|&&i| on[i]).count();
        if laid.is_empty() || covered > 0 {
            continue;
        }
        let features =
            laid.iter().flat_map(|&i| &view.compared(config)[i * EMBEDDING_DIM..][..EMBEDDING_DIM]);
        sets.push(features.copied().collect());
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn the_clearer_the_object_the_more_room_it_has() {
        let room = |nearest: f64| between(&[0.5, 1.0], &[nearest, 20.0]);
        let rooms = [1.5, 2.0, 3.0, 4.0, 8.0].map(room);
        assert!(rooms.is_sorted_by(|a, b| a < b), "{rooms:?}");
        assert!((rooms[1] - 2f64.powf(0.35)).abs() < 1e-9 && rooms[4] < 8.0, "{rooms:?}");
        // What is not told apart leaves the object its own distances, unless something else is nearer.
        assert!(room(0.9) <= 1.0 && room(0.9) >= 0.9);
        assert_eq!(between(&[1.0], &[]), 2.0);
    }
}
