//! What the profiles for video add: the moved mask as a candidate, the gate, smaller pictures.

use std::sync::Arc;

use super::super::{MethodConfig, Profile, Reference, State, Tracker, View, calibrate};
use super::fixture::{cpu, mobile_weights, picture};
use super::{annotation, mask};
use crate::image::{Annotation, Frame, Mask};
use crate::metrics::dice;
use crate::phantom::{Phantom, PhantomOptions};
use crate::sam::{Sam, SamError};

/// Pictures of the synthetic polyp: in view at 0 and 20, out of view at 60 of 120.
fn clip() -> Phantom {
    let options = PhantomOptions {
        width: 320,
        height: 180,
        frames: 120,
        frames_per_second: 10.0,
        ..PhantomOptions::default()
    };
    Phantom::new(options).expect("sizes are in range")
}

/// A model of the test's own. `None` where there are no weights.
fn own_sam() -> Option<Sam> {
    Some(Sam::load(&mobile_weights()?, None, &cpu()).expect("the published weights load"))
}

fn small_sam() -> Option<Arc<Sam>> {
    Some(Arc::new(own_sam()?.with_trimmed_input(512).expect("MobileSAM takes any size")))
}

fn shown(clip: &Phantom, index: u32) -> (Frame, Mask) {
    let shown = clip.render(index).expect("the clip can be rendered");
    (shown.frame, shown.mask)
}

#[test]
fn the_gate_tells_a_polyp_in_view_from_one_that_left() {
    let Some(sam) = small_sam() else { return };
    let clip = clip();
    let config = Profile::Live.config();
    let (frame, truth) = shown(&clip, 0);
    let truth = Annotation::from(&truth);
    let reference = Reference::new(&sam, &frame, &truth, &config).expect("a good reference");
    let calibration =
        calibrate(&sam, &[(&frame, &truth)], &reference, &config, &|| true).expect("the CPU works");
    println!("{calibration:?}");
    let farthest = calibration.present.iter().copied().fold(0.0, f64::max);
    let nearest = calibration.absent.iter().copied().fold(f64::INFINITY, f64::min);
    assert!((farthest..nearest).contains(&calibration.limits.distance));

    let tracker = Tracker::new(sam, reference, config).expect("good settings");
    let mut tracker = tracker.with_gate(calibration.limits);
    let mut step = |index| {
        let (frame, truth) = shown(&clip, index);
        let track = tracker.step(&frame).expect("the CPU works");
        let dice = dice(&track.mask, &truth).expect("sizes agree");
        println!("{index}: {:?}, distance {:.3}, Dice {dice:.3}", track.state, track.distance);
        (track.state, track.mask.area(), dice)
    };
    let (state, _, found) = step(20);
    assert_eq!(state, Some(State::Tracking));
    assert!(found > 0.85, "Dice {found}");
    let (first, second) = (step(60), step(61));
    assert_eq!((first.0, first.1), (Some(State::Uncertain), 0));
    assert_eq!((second.0, second.1), (Some(State::Lost), 0));
    let (state, _, found) = step(100);
    assert_eq!(state, Some(State::Tracking), "it is found again");
    assert!(found > 0.85, "Dice {found}");
}

#[test]
fn limits_are_learnt_on_the_distances_that_are_judged() {
    let Some(sam) = small_sam() else { return };
    let clip = clip();
    let config = MethodConfig { n: 1..=1, normalised: true, ..Profile::Live.config() };
    let shown = [0, 20].map(|index| shown(&clip, index));
    let truth = shown.clone().map(|(_, truth)| Annotation::from(&truth));
    let embeddings = shown.clone().map(|(frame, _)| sam.encode(&frame).expect("the CPU works"));
    let limits = |count: usize| {
        let pairs: Vec<_> = embeddings.iter().zip(&truth).take(count).collect();
        let reference = Reference::pooled(&sam, &pairs, &config).expect("a good reference");
        let frames = shown.iter().map(|(frame, _)| frame);
        let pictures: Vec<_> = frames.zip(&truth).take(count).collect();
        calibrate(&sam, &pictures, &reference, &config, &|| true).expect("the CPU works")
    };
    let (one, two) = (limits(1), limits(2));
    println!("{one:?}\n{two:?}");
    // Squared distances of features of length 1.
    for distance in one.present.iter().chain(&one.absent) {
        assert!((0.0..=4.0).contains(distance), "{distance}");
    }
    assert!(two.present.len() > one.present.len() && two.absent.len() > one.absent.len());
    let reference = Reference::new(&sam, &shown[0].0, &truth[0], &config).expect("good");
    let tracker = Tracker::new(sam.clone(), reference, config.clone()).expect("good settings");
    let track = tracker.with_gate(one.limits).step(&shown[1].0).expect("the CPU works");
    assert_eq!(track.state, Some(State::Tracking), "distance {}", track.distance);
}

#[test]
fn the_moved_mask_competes_and_only_if_it_fits() {
    let Some(sam) = small_sam() else { return };
    let clip = clip();
    let config = MethodConfig { search_every: 1, ..Profile::Live.config() };
    let (frame, truth) = shown(&clip, 0);
    let annotation = Annotation::from(&truth);
    let reference = Reference::new(&sam, &frame, &annotation, &config).expect("good");
    let mut tracker =
        Tracker::new(Arc::clone(&sam), reference.clone(), config.clone()).expect("good settings");
    let (frame, truth) = shown(&clip, 2);
    let view = View::new(&sam, &frame).expect("the CPU works");
    let mut candidates = |moved: Option<&Mask>| {
        let track = tracker.step_in(&view, moved).expect("the CPU works");
        assert!(dice(&track.mask, &truth).is_some_and(|dice| dice > 0.85));
        track.candidates
    };
    let alone = candidates(None);
    assert_eq!(candidates(Some(&truth)), alone + 1);
    // Of another size, or gone from the picture.
    assert_eq!(candidates(Some(&mask(16, 9, |x, _| x > 4))), alone);
    assert_eq!(candidates(Some(&mask(320, 180, |_, _| false))), alone);
    // The published method takes none.
    let paper = Profile::Paper.config();
    let mut paper = Tracker::new(sam, reference, paper).expect("good settings");
    let step = |paper: &mut Tracker, moved| paper.step_in(&view, moved).expect("the CPU works");
    let (with, without) = (step(&mut paper, Some(&truth)), step(&mut paper, None));
    assert_eq!((with.candidates, with.mask), (without.candidates, without.mask));
}

#[test]
fn between_two_searches_the_winner_alone_competes() {
    let Some(sam) = small_sam() else { return };
    let clip = clip();
    let config = MethodConfig { search_every: 3, temporal: false, ..Profile::Live.config() };
    let (frame, truth) = shown(&clip, 0);
    let annotation = Annotation::from(&truth);
    let reference = Reference::new(&sam, &frame, &annotation, &config).expect("good");
    let mut tracker = Tracker::new(sam, reference, config).expect("good settings");
    let mut step = |index| tracker.step(&shown(&clip, index).0).expect("the CPU works");
    let tracks: Vec<_> = (1..=4).map(&mut step).collect();
    let counts: Vec<usize> = tracks.iter().map(|track| track.candidates).collect();
    assert!(counts[0] > 1 && counts[3] > 1, "{counts:?}");
    assert_eq!(counts[1..3], [1, 1]);
    assert_eq!((tracks[1].n, tracks[2].n), (tracks[0].n, tracks[0].n));
}

#[test]
fn pictures_without_padding_give_nearly_the_same_mask() {
    let Some(sam) = own_sam() else { return };
    let frame = picture("picture1");
    let segment = |sam: &Sam| {
        let embedding = sam.encode(&frame).expect("the CPU works");
        let truth = annotation("picture1_mask").mask();
        let b = truth.bounding_box().expect("an object");
        let corners = [b.x0, b.y0, b.x1, b.y1].map(|v| v as f32);
        let (mask, _) = sam.segment(&embedding, &[], Some(corners)).expect("the CPU works");
        (embedding.grid(), mask)
    };
    let (grid, square) = segment(&sam);
    assert_eq!(grid, [64, 64]);
    let (grid, trimmed) = segment(&sam.with_trimmed_input(1024).expect("its own size"));
    assert_eq!(grid, [64, 48]);
    let agreement = dice(&square, &trimmed).expect("sizes agree");
    println!("trimmed against square: Dice {agreement:.4}");
    assert!(agreement > 0.97, "Dice {agreement}");
}

#[test]
fn only_usable_input_sizes_are_taken() {
    for side in [0, 64, 500, 1088] {
        let Some(sam) = own_sam() else { return };
        let error = sam.with_trimmed_input(side).expect_err("no such size");
        assert!(matches!(error, SamError::InputSize { .. }), "{error}");
        assert!(error.to_string().contains("multiple of 64"), "{error}");
    }
}
