//! What the profiles for video add: the moved mask as a candidate, the gate, smaller pictures.

use std::sync::Arc;
use std::time::Duration;

use super::super::{
    MethodConfig, MethodError, PresenceModel, PresenceWeights, Profile, Reference, State, Tracker,
    View,
};
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

/// The shipped weights, which know polyps, at a small input.
fn polyp() -> Arc<Sam> {
    let path = crate::weights::find_weights("polyp").expect("shipped");
    let sam = Sam::load(&path, None, &cpu()).expect("whole weights");
    Arc::new(sam.with_trimmed_input(256).expect("MobileSAM takes any size"))
}

#[test]
fn a_polyp_in_view_is_told_from_one_that_left() {
    let (sam, clip) = (polyp(), clip());
    let config = Profile::Live.config();
    let (frame, truth) = shown(&clip, 0);
    let annotation = Annotation::from(&truth);
    let reference = Reference::new(&sam, &frame, &annotation, &config).expect("a good reference");
    let model = PresenceModel::of(&sam).expect("good constants");
    let tracker = Tracker::new(sam, reference, config).expect("good settings");
    let mut tracker = tracker.with_presence(model);
    let at = |index: u32| Some(Duration::from_millis(100 * u64::from(index)));
    let given = tracker.step_annotated(&frame, &truth, at(0)).expect("sizes agree");
    assert!(given.mask == truth && given.state() == Some(State::Tracking));
    let mut step = |index| {
        let (frame, truth) = shown(&clip, index);
        let track = tracker.step_at(&frame, at(index)).expect("the CPU works");
        let dice = dice(&track.mask, &truth).expect("sizes agree");
        println!("{index}: {:?}, Dice {dice:.3}", track.presence);
        assert_eq!(track.hidden.is_some(), track.state() != Some(State::Tracking));
        (track.state(), track.mask.area(), dice)
    };
    let (state, _, found) = step(20);
    assert_eq!(state, Some(State::Tracking));
    assert!(found > 0.8, "Dice {found}");
    for index in [60, 61, 62] {
        let (state, area, _) = step(index);
        assert!(state != Some(State::Tracking) && area == 0, "{index}: {state:?}");
    }
    let (state, _, found) = step(100);
    assert_eq!(state, Some(State::Tracking), "it is found again");
    assert!(found > 0.8, "Dice {found}");
}

#[test]
fn an_annotated_mask_of_another_size_is_refused() {
    let (sam, clip) = (polyp(), clip());
    let (frame, truth) = shown(&clip, 0);
    let config = Profile::Live.config();
    let annotation = Annotation::from(&truth);
    let reference = Reference::new(&sam, &frame, &annotation, &config).expect("good");
    let mut tracker = Tracker::new(sam, reference, config).expect("good settings");
    let error = tracker.step_annotated(&frame, &mask(9, 9, |x, _| x > 3), None);
    assert!(matches!(error, Err(MethodError::MaskSize { .. })));
}

#[test]
fn confident_views_are_kept_as_references_and_never_too_many() {
    let (sam, clip) = (polyp(), clip());
    let (frame, truth) = shown(&clip, 0);
    let annotation = Annotation::from(&truth);
    let steps = |memory: bool| {
        let config = MethodConfig { memory, n: 1..=2, ..Profile::Live.config() };
        let reference = Reference::new(&sam, &frame, &annotation, &config).expect("good");
        let tracker = Tracker::new(Arc::clone(&sam), reference, config).expect("good settings");
        // A model of presence to which all is sure.
        let sure = PresenceWeights { intercept: 9.0, ..PresenceWeights::default() };
        let mut tracker = tracker.with_presence(PresenceModel { own: sure, parts: sure });
        let mut most = 0;
        for second in 1..30 {
            let time = Some(Duration::from_secs(second));
            tracker.step_at(&shown(&clip, 1).0, time).expect("the CPU works");
            most = most.max(tracker.exemplar_count());
        }
        most
    };
    assert_eq!(steps(false), 1);
    assert_eq!(steps(true), 1 + 4);
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
    let config = MethodConfig {
        search_every: 3,
        temporal: false,
        own_mask: false,
        ..Profile::Live.config()
    };
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
