//! The rivals, the floor and the ceiling; several references; the weighed choice.

use super::super::{Approach, Follower, MethodConfig, MethodError, Profile, Reference, Tracker};
use super::fixture::{mobile_sam, picture};
use super::{annotation, config, mask};
use crate::image::Annotation;
use crate::metrics::dice;

#[test]
fn names_are_read_back() {
    for approach in Approach::ALL {
        assert_eq!(approach.name().parse::<Approach>().expect("a name"), approach);
    }
    let error = "sam".parse::<Approach>().expect_err("no such approach").to_string();
    assert!(error.contains("'sam'") && error.contains("oracle-box"), "{error}");
}

#[test]
fn the_first_mask_stays_and_is_scaled() {
    let Some(sam) = mobile_sam() else { return };
    let given = [(picture("picture1"), annotation("picture1_mask"))];
    let config = config(1..=1);
    let mut follower = Follower::new(&sam, Approach::FirstMask, &given, &config).expect("good");
    let mut step = |width, height| {
        let rgb = vec![9; width as usize * height as usize * 3];
        let frame = crate::image::Frame::new(width, height, rgb).expect("sizes agree");
        follower.step(&frame, None).expect("no model is needed").mask
    };
    let truth = given[0].1.mask();
    assert_eq!(step(truth.width(), truth.height()), truth);
    assert_eq!(step(60, 50), truth.resized(60, 50).expect("a size"));
    let none = Follower::new(&sam, Approach::FirstMask, &[], &config).expect_err("no mask");
    assert!(matches!(none, MethodError::NoReference), "{none}");
}

#[test]
fn the_oracle_needs_the_truth_and_uses_it() {
    let Some(sam) = mobile_sam() else { return };
    let frame = picture("picture2");
    let truth = annotation("picture2_mask").mask();
    let mut oracle =
        Follower::new(&sam, Approach::OracleBox, &[], &config(1..=1)).expect("no reference needed");
    let found = oracle.step(&frame, Some(&truth)).expect("the CPU works");
    assert!(dice(&found.mask, &truth).expect("sizes agree") > 0.8);
    let missing = oracle.step(&frame, None).expect_err("no truth");
    assert!(matches!(missing, MethodError::NoTruth), "{missing}");
    let other = oracle.step(&frame, Some(&mask(9, 9, |x, _| x > 3))).expect_err("another size");
    assert!(matches!(other, MethodError::MaskSize { .. }), "{other}");
    let empty = mask(frame.width(), frame.height(), |_, _| false);
    assert_eq!(oracle.step(&frame, Some(&empty)).expect("nothing there").mask, empty);
}

#[test]
fn the_rivals_find_the_blob() {
    let Some(sam) = mobile_sam() else { return };
    let given = [(picture("picture1"), annotation("picture1_mask"))];
    let truth = annotation("picture2_mask").mask();
    let settings = MethodConfig::default();
    for (approach, least) in [(Approach::Persam, 0.5), (Approach::PersamF, 0.5)] {
        let mut follower = Follower::new(&sam, approach, &given, &settings).expect("good");
        let track = follower.step(&picture("picture2"), None).expect("the CPU works");
        let dice = dice(&track.mask, &truth).expect("sizes agree");
        println!("{approach}: Dice {dice:.3}");
        assert!(dice > least, "{approach}: Dice {dice}");
        // One point on the object and one beside it.
        assert_eq!(track.points.iter().map(|p| p.positive).collect::<Vec<_>>(), [true, false]);
    }
}

#[test]
fn each_reference_keeps_its_own_features_and_the_nearest_one_counts() {
    let Some(sam) = mobile_sam() else { return };
    let settings = config(1..=2);
    let one = sam.encode(&picture("picture1")).expect("the CPU works");
    let two = sam.encode(&picture("picture2")).expect("the CPU works");
    let (first, second) = (annotation("picture1_mask"), annotation("picture2_mask"));
    let of = |pictures: &[_]| Reference::from_several(&sam, pictures, &settings).expect("good");
    let alone = [of(&[(&one, &first)]), of(&[(&two, &second)])];
    let both = of(&[(&one, &first), (&two, &second)]);
    let counts = alone.each_ref().map(Reference::patch_count);
    assert_eq!(both.patch_count(), counts.iter().sum::<usize>());
    assert_eq!((both.frame_count(), both.contradicting()), (2, vec![]));
    // On an annotated frame, two references give what its own one gives.
    for (place, (name, own)) in ["picture1", "picture2"].into_iter().zip(&alone).enumerate() {
        let step = |reference: &Reference| {
            let tracker = Tracker::new(sam.clone(), reference.clone(), settings.clone());
            tracker.expect("good").step(&picture(name)).expect("the CPU works")
        };
        let (own, both) = (step(own), step(&both));
        assert!(own.mask == both.mask && own.distance >= both.distance, "{place}");
    }
    let none = Reference::from_several(&sam, &[], &settings).expect_err("no picture");
    assert!(matches!(none, MethodError::NoReference), "{none}");
}

#[test]
fn a_reference_that_marks_the_background_contradicts_the_others() {
    let Some(sam) = mobile_sam() else { return };
    let settings = config(1..=2);
    let embedding = sam.encode(&picture("picture1")).expect("the CPU works");
    let right = annotation("picture1_mask");
    let area = right.mask().bounding_box().expect("an object");
    let corner = mask(right.width(), right.height(), |x, y| {
        let far = area.x0.max(area.y0) > 40;
        if far { x < 30 && y < 30 } else { x + 30 > right.width() && y + 30 > right.height() }
    });
    let wrong = Annotation::from(&corner);
    let pictures = [(&embedding, &right), (&embedding, &right), (&embedding, &wrong)];
    let reference = Reference::from_several(&sam, &pictures, &settings).expect("good");
    assert_eq!(reference.contradicting(), [2]);
}

#[test]
fn padding_is_no_background_unless_published() {
    let Some(sam) = mobile_sam() else { return };
    let embedding = sam.encode(&picture("picture1")).expect("the CPU works");
    let truth = annotation("picture1_mask");
    let negative = |padding| {
        let settings = MethodConfig { padding, ..config(1..=1) };
        let reference = Reference::from_embedding(&sam, &embedding, &truth, &settings);
        reference.expect("good").exemplars[0].negative[0].vectors.clone()
    };
    assert_ne!(negative(true), negative(false));
    assert!(MethodConfig::default().padding && !Profile::Video.config().padding);
}

#[test]
fn a_model_that_knows_no_such_object_is_not_asked_for_its_own_mask() {
    // These weights never saw such blobs: their own mask of the reference is poor, and the parts win.
    let Some(sam) = mobile_sam() else { return };
    let settings = Profile::Accurate.config();
    let reference =
        Reference::new(&sam, &picture("picture1"), &annotation("picture1_mask"), &settings);
    let mut tracker = Tracker::new(sam, reference.expect("good"), settings).expect("good");
    let track = tracker.step(&picture("picture2")).expect("the CPU works");
    let truth = annotation("picture2_mask").mask();
    let dice = dice(&track.mask, &truth).expect("sizes agree");
    println!("accurate: Dice {dice:.3}, n {}, of {}", track.n, track.candidates);
    assert!(dice > 0.5 && track.n > 0, "Dice {dice}, n {}", track.n);
}
