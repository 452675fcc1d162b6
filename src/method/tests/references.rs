//! References that cannot work are told apart, each with what to do about it.

use super::super::{MethodConfig, MethodError, Reference, Tracker};
use super::fixture::{mobile_sam, picture};
use super::{annotation, config, mask};
use crate::image::{Annotation, Frame, Mask};

/// The error of a reference of picture 1 or, for other masks, of a plain picture of their size.
fn refused(mask: &Mask, settings: &MethodConfig) -> Option<MethodError> {
    let frame = plain(mask.width(), mask.height());
    refused_with(&frame, mask, settings)
}

fn refused_with(frame: &Frame, mask: &Mask, settings: &MethodConfig) -> Option<MethodError> {
    let sam = mobile_sam()?;
    let outcome = Reference::new(&sam, frame, &Annotation::from(mask), settings);
    Some(outcome.expect_err("this reference cannot work"))
}

fn plain(width: u32, height: u32) -> Frame {
    let rgb = vec![120; width as usize * height as usize * 3];
    Frame::new(width, height, rgb).expect("sizes agree")
}

fn tells(error: &MethodError, words: &[&str]) {
    let text = error.to_string();
    println!("{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
}

#[test]
fn a_mask_of_another_size() {
    let turned = mask(288, 384, |x, y| x < 100 && y < 100);
    let Some(error) = refused_with(&picture("picture1"), &turned, &config(1..=1)) else { return };
    let MethodError::MaskSize { mask_width, mask_height, width, height } = error else {
        panic!("{error}")
    };
    assert_eq!([mask_width, mask_height, width, height], [288, 384, 384, 288]);
    tells(&error, &["288 x 384", "384 x 288"]);
}

#[test]
fn an_empty_mask() {
    let Some(error) = refused(&mask(60, 40, |_, _| false), &config(1..=1)) else { return };
    assert!(matches!(error, MethodError::EmptyMask), "{error}");
    tells(&error, &["empty"]);
}

#[test]
fn a_full_mask() {
    let Some(error) = refused(&mask(60, 40, |_, _| true), &config(1..=1)) else { return };
    assert!(matches!(error, MethodError::FullMask), "{error}");
    tells(&error, &["whole picture", "inverted"]);
}

#[test]
fn an_object_between_the_patches() {
    // At the corner of four patches, far from the places where the mask is looked at.
    let dot = mask(4000, 3000, |x, y| (x, y) == (625, 625));
    let Some(error) = refused(&dot, &config(1..=1)) else { return };
    let MethodError::MaskVanishes { grid, area, width, height } = error else { panic!("{error}") };
    assert_eq!((grid, area, width, height), ([64, 64], 1, 4000, 3000));
    tells(&error, &["1 pixels", "4000 x 3000", "64 x 64"]);
}

#[test]
fn fewer_patches_than_parts() {
    // 2 x 2 patches of 6 pixels, and 32 parts asked for.
    let square = mask(384, 288, |x, y| (96..108).contains(&x) && (96..108).contains(&y));
    let Some(error) = refused(&square, &config(32..=32)) else { return };
    let MethodError::TooFewPatches { foreground, background, n, m } = error else {
        panic!("{error}")
    };
    assert_eq!((foreground, background, n, m), (4, 64 * 64 - 4, 32, 1));
    tells(&error, &["4 object", "32 positive"]);
}

#[test]
fn more_parts_than_patches_are_left_out() {
    let square = mask(384, 288, |x, y| (96..108).contains(&x) && (96..108).contains(&y));
    let Some(sam) = mobile_sam() else { return };
    let (frame, settings) = (picture("picture1"), config(1..=32));
    let reference = Reference::new(&sam, &frame, &Annotation::from(&square), &settings);
    let reference = reference.expect("one part fits");
    assert_eq!(reference.patch_count(), 4);
    let track = Tracker::new(sam, reference, settings).expect("good").step(&frame);
    assert!((1..=4).contains(&track.expect("the CPU works").candidates));
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
fn ranges_of_parts() {
    let Some(sam) = mobile_sam() else { return };
    let frame = picture("picture1");
    let good = Reference::new(&sam, &frame, &annotation("picture1_mask"), &config(1..=1));
    let good = good.expect("a good reference");
    let of_m = |m| MethodConfig { m, ..MethodConfig::default() };
    for (settings, name, from, to) in [
        (config(0..=3), "n", 0, 3),
        (config(4..=2), "n", 4, 2),
        (config(1..=33), "n", 1, 33),
        (of_m(0..=1), "m", 0, 1),
        (of_m(2..=1), "m", 2, 1),
    ] {
        let reference = Reference::new(&sam, &frame, &annotation("picture1_mask"), &settings);
        let tracker = Tracker::new(sam.clone(), good.clone(), settings);
        let errors = [reference.expect_err("no range"), tracker.expect_err("no range")];
        for error in errors {
            tells(&error, &[&format!("{name} from {from} to {to}"), "1 to 32"]);
            let MethodError::Parts { name: of, from: start, to: end, most: 32 } = error else {
                panic!("{error}")
            };
            assert_eq!((of, start, end), (name, from, to));
        }
    }
}

#[test]
fn a_tiny_picture_can_be_a_reference() {
    let Some(sam) = mobile_sam() else { return };
    let frame = plain(33, 17);
    let blob = mask(33, 17, |x, y| (8..20).contains(&x) && (4..12).contains(&y));
    let reference = Reference::new(&sam, &frame, &Annotation::from(&blob), &config(1..=2));
    let reference = reference.expect("a good reference");
    let track = Tracker::new(sam, reference, config(1..=2)).expect("good").step(&frame);
    assert_eq!(track.expect("the CPU works").mask.data().len(), 33 * 17);
}
