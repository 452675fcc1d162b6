//! The whole method against PyTorch (tests/fixtures/sam/README.md), and what it does with
//! references and pictures of every kind.

mod approaches;
mod choice;
#[allow(clippy::duplicate_mod, reason = "the model's tests use it too")]
#[path = "../../sam/tests/fixture.rs"]
mod fixture;
mod published;
mod references;
mod video;

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::{MethodConfig, Reference, Track, Tracker, Variant};
use crate::image::{Annotation, Foreground, Frame, Mask};
use crate::metrics::{dice, iou};
use crate::sam::PointPrompt;
use fixture::{file, json, mask_of_runs, mobile_sam, picture};

#[derive(Deserialize)]
struct Method {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    reference: String,
    mask: String,
    frame: String,
    chosen: [usize; 2],
    candidates: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    n: usize,
    m: usize,
    points: Vec<[f32; 2]>,
    labels: Vec<u8>,
    distance: f64,
    mask_runs: Vec<usize>,
}

fn annotation(name: &str) -> Annotation {
    let path = file(&format!("{name}.png"));
    Annotation::open(&path, Foreground::AboveMiddle).expect("the mask is there")
}

fn config(n: RangeInclusive<usize>) -> MethodConfig {
    MethodConfig { n, ..MethodConfig::default() }
}

fn prompts(points: &[[f32; 2]], labels: &[u8]) -> Vec<PointPrompt> {
    let point = |(&[x, y], &label): (&[f32; 2], &u8)| PointPrompt { x, y, positive: label == 1 };
    points.iter().zip(labels).map(point).collect()
}

/// A tracker of picture 1's blob. `None` where there are no weights.
fn tracker(config: MethodConfig) -> Option<Tracker> {
    let sam = mobile_sam()?;
    let reference =
        Reference::new(&sam, &picture("picture1"), &annotation("picture1_mask"), &config);
    let reference = reference.expect("a good reference");
    Some(Tracker::new(sam, reference, config).expect("good settings"))
}

/// A track without its times.
fn content(track: &Track) -> impl PartialEq + std::fmt::Debug + use<> {
    let Track { mask, n, m, points, distance, predicted_iou, candidates, .. } = track.clone();
    (mask, [n, m, candidates], points, distance.map(f64::to_bits), predicted_iou.to_bits())
}

#[test]
fn the_whole_method_agrees_with_pytorch() {
    let Some(sam) = mobile_sam() else { return };
    let facts: Method = json("method.json");
    assert_eq!(facts.runs.len(), 2);
    for run in facts.runs {
        let (reference, frame) = (picture(&run.reference), picture(&run.frame));
        let annotation = annotation(&run.mask);
        for parts in [1..=5, 1..=1] {
            let chosen = if parts == (1..=1) { [1, 1] } else { run.chosen };
            let name = format!("{}, n {parts:?}", run.mask);
            let config = config(parts);
            let reference = Reference::new(&sam, &reference, &annotation, &config).expect("good");
            let mut tracker = Tracker::new(sam.clone(), reference, config).expect("good settings");
            let track = tracker.step(&frame).expect("the CPU works");
            let expected = run.candidates.iter().find(|c| [c.n, c.m] == chosen);
            let expected = expected.expect("the chosen candidate is listed");
            let mask = mask_of_runs([frame.height(), frame.width()], &expected.mask_runs);
            let iou = iou(&track.mask, &mask).expect("sizes agree");
            let distance = track.distance.expect("it covers patches");
            let apart = (distance / expected.distance - 1.0).abs();
            println!("{name}: chosen {}, distance off by {apart:.2e}, IoU {iou:.5}", track.n);
            assert_eq!([track.n, track.m], chosen, "{name}");
            assert_eq!(track.points, prompts(&expected.points, &expected.labels), "{name}");
            assert!(apart <= 1e-3, "{name}: distance {distance}");
            assert!(iou >= 0.99, "{name}: IoU {iou}");
        }
    }
}

#[test]
fn the_perseg_variant_finds_the_blob() {
    let config = MethodConfig { variant: Variant::PerSeg, ..config(1..=3) };
    let Some(mut tracker) = tracker(config) else { return };
    let track = tracker.step(&picture("picture2")).expect("the CPU works");
    let truth = annotation("picture2_mask").mask();
    let dice = dice(&track.mask, &truth).expect("sizes agree");
    println!("PerSeg: Dice {dice:.4}, n {}, points {:?}", track.n, track.points);
    assert!(dice > 0.5, "Dice {dice}");
    assert_eq!(track.m, 0);
    assert_eq!(track.points.len(), track.n + 1);
    assert_eq!(track.points.iter().filter(|p| !p.positive).count(), 1);
}

#[test]
fn a_step_depends_on_its_picture_alone() {
    let Some(mut tracker) = tracker(config(1..=2)) else { return };
    let (one, two) = (picture("picture1"), picture("picture2"));
    let mut step = |frame: &Frame| content(&tracker.step(frame).expect("the CPU works"));
    let (first, other, again) = (step(&two), step(&one), step(&two));
    assert_eq!(first, again);
    assert_ne!(first, other);
    // Nor does it depend on the tracker.
    let mut fresh = self::tracker(config(1..=2)).expect("there are weights");
    assert_eq!(first, content(&fresh.step(&two).expect("the CPU works")));
}

#[test]
fn pictures_may_be_of_any_size() {
    let Some(mut tracker) = tracker(config(1..=1)) else { return };
    for (width, height) in [(1, 1), (33, 17), (1, 700), (3840, 2160), (251, 333)] {
        let pixel = |i: usize| [(i % 251) as u8, (i / width % 241) as u8, 90];
        let rgb = (0..width * height).flat_map(pixel).collect();
        let frame = Frame::new(width as u32, height as u32, rgb).expect("sizes agree");
        let track = tracker.step(&frame).expect("any size will do");
        assert_eq!((track.mask.width(), track.mask.height()), (width as u32, height as u32));
        assert_eq!(track.points.len(), 2);
        for point in &track.points {
            let inside = point.x < width as f32 && point.y < height as f32;
            assert!(inside && point.x >= 0.0 && point.y >= 0.0, "{point:?}");
        }
        assert!(track.distance.is_none_or(f64::is_finite) && track.predicted_iou.is_finite());
    }
}

#[test]
fn the_reference_finds_itself() {
    let Some(mut tracker) = tracker(config(1..=5)) else { return };
    let track = tracker.step(&picture("picture1")).expect("the CPU works");
    let dice = dice(&track.mask, &annotation("picture1_mask").mask()).expect("sizes agree");
    println!("the reference in itself: Dice {dice:.4}, distance {:.4?}", track.distance);
    assert!(dice > 0.95, "Dice {dice}");
}

/// A mask that is on where `on` says.
fn mask(width: u32, height: u32, on: impl Fn(u32, u32) -> bool) -> Mask {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    Mask::new(width, height, places.map(|(x, y)| on(x, y)).collect()).expect("sizes agree")
}
