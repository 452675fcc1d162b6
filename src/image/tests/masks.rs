//! Masks of one object and of several.

use std::collections::BTreeMap;

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use super::super::*;
use super::files::{Values, fixture, values};

fn area(path: &Path, foreground: Foreground) -> usize {
    Mask::open(path, foreground).unwrap().area()
}

#[test]
fn label_masks_are_listed_and_each_object_can_be_chosen() {
    for (name, listed, chosen) in [
        (
            "mask-labels.png",
            "0 (2208 pixels), 5 (576 pixels), 6 (96 pixels), 255 (192 pixels)",
            vec![
                (Foreground::Value(5), 576),
                (Foreground::Value(6), 96),
                (Foreground::Value(255), 192),
            ],
        ),
        (
            "mask-palette.png",
            "0 = #000000 (2400 pixels), 1 = #800000 (576 pixels), 2 = #008000 (96 pixels)",
            vec![
                (Foreground::Value(1), 576),
                (Foreground::Color([0, 128, 0]), 96),
                (Foreground::AboveZero, 672),
            ],
        ),
        (
            "mask-int32.tif",
            "0 (2400 pixels), 1 (576 pixels), 2 (96 pixels)",
            vec![(Foreground::Value(2), 96), (Foreground::AboveZero, 672)],
        ),
    ] {
        let error = Mask::open(&fixture(name), Foreground::default()).unwrap_err();
        assert!(matches!(error, ImageError::Labels { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(listed) && text.contains("--object"), "{text}");
        // The same counts as Pillow's.
        let counts = |v: &Values| v.counts.clone();
        let expected: BTreeMap<String, usize> = counts(&values(name));
        for (foreground, pixels) in chosen {
            assert_eq!(area(&fixture(name), foreground), pixels, "{name} {foreground:?}");
            if let Foreground::Value(value) = foreground {
                assert_eq!(expected[&value.to_string()], pixels, "{name}");
            }
        }
        let error = Mask::open(&fixture(name), Foreground::Value(7)).unwrap_err();
        assert!(matches!(error, ImageError::NoSuchObject { .. }), "{error}");
        assert!(error.to_string().contains("576 pixels"), "{error}");
    }
    // Whoever wants the cut has it.
    assert_eq!(area(&fixture("mask-labels.png"), Foreground::Threshold), 192);
}

#[test]
fn soft_edges_and_noise_are_no_labels() {
    for name in ["mask-soft.png", "mask-jpeg.jpg"] {
        let expected = values(name).above_middle.unwrap();
        let found = area(&fixture(name), Foreground::default());
        assert!(found.abs_diff(expected) <= 4, "{name}: {found}, not {expected}");
    }
}

#[test]
fn alpha_is_the_mask_where_colours_are_none() {
    for name in ["mask-alpha-black.png", "mask-alpha-white.png", "mask-cut-out.png"] {
        let annotation = Annotation::open(&fixture(name), Foreground::default()).unwrap();
        assert!(annotation.is_of_alpha() && !annotation.looks_like_a_picture(), "{name}");
        assert_eq!(annotation.mask().area(), values(name).above_middle.unwrap(), "{name}");
        assert_eq!(area(&fixture(name), Foreground::AboveZero), 576, "{name}");
    }
}

const WIDTH: u32 = 96;
const HEIGHT: u32 = 64;

/// Writes a mask and reads it as the only object.
fn read(image: &DynamicImage, name: &str) -> Result<Mask, ImageError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    image.save(&path).unwrap();
    Mask::open(&path, Foreground::default())
}

fn grey(level: impl Fn(u32, u32) -> u8) -> DynamicImage {
    DynamicImage::ImageLuma8(GrayImage::from_fn(WIDTH, HEIGHT, |x, y| Luma([level(x, y)])))
}

fn rgb(color: impl Fn(u32, u32) -> [u8; 3]) -> DynamicImage {
    DynamicImage::ImageRgb8(RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb(color(x, y))))
}

/// Distance from the middle, in pixels.
fn away(x: u32, y: u32) -> f32 {
    (x as f32 - 48.0).hypot(y as f32 - 32.0)
}

#[test]
fn what_is_one_object_is_read_as_one() {
    let inside = |x, y| away(x, y) < 20.0;
    let one: Vec<(&str, DynamicImage)> = vec![
        ("two levels", grey(|x, y| if inside(x, y) { 7 } else { 3 })),
        (
            "a blurred edge",
            grey(|x, y| ((25.0 - away(x, y)) / 10.0).clamp(0.0, 1.0).mul_add(255.0, 0.0) as u8),
        ),
        ("a map of distances", grey(|x, y| (255.0 - away(x, y) * 4.0).max(0.0) as u8)),
        (
            "noise",
            grey(|x, y| {
                let noise = (x * 7 + y * 13) % 5;
                if inside(x, y) { 255 - noise as u8 } else { noise as u8 }
            }),
        ),
        (
            "noise in blocks",
            grey(|x, y| {
                let noise = (x / 8 * 3 + y / 8 * 5) % 12;
                if inside(x, y) { 255 - noise as u8 } else { noise as u8 }
            }),
        ),
        ("one colour", rgb(|x, y| if inside(x, y) { [200, 30, 30] } else { [0; 3] })),
        (
            "a soft colour",
            rgb(|x, y| {
                let level = ((22.0 - away(x, y)) / 4.0).clamp(0.0, 1.0);
                [(200.0 * level) as u8, (30.0 * level) as u8, 0]
            }),
        ),
    ];
    for (name, image) in one {
        let mask = read(&image, "m.png").unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            (900..1500).contains(&mask.area()) || name.contains("distances"),
            "{name}: {}",
            mask.area()
        );
    }
}

#[test]
fn what_is_several_objects_is_never_cut() {
    let left = |x, y| x < 30 && y < 30;
    let right = |x, y| x > 60 && y > 30;
    let several: Vec<(&str, &str, DynamicImage)> = vec![
        (
            "three levels",
            "m.png",
            grey(|x, y| {
                if left(x, y) {
                    128
                } else if right(x, y) {
                    255
                } else {
                    0
                }
            }),
        ),
        (
            "0 1 2",
            "m.png",
            grey(|x, y| {
                if left(x, y) {
                    1
                } else if right(x, y) {
                    2
                } else {
                    0
                }
            }),
        ),
        (
            "an object and a thin border of 255",
            "m.png",
            grey(|x, y| match away(x, y) {
                d if d < 20.0 => 1,
                d if d < 21.0 => 255,
                _ => 0,
            }),
        ),
        (
            "an object in colour and a thin border in another",
            "m.png",
            rgb(|x, y| match away(x, y) {
                d if d < 20.0 => [128, 0, 0],
                d if d < 21.0 => [224, 224, 192],
                _ => [0; 3],
            }),
        ),
        (
            "a small third",
            "m.png",
            grey(|x, y| {
                if left(x, y) {
                    1
                } else if (70..72).contains(&x) && (40..42).contains(&y) {
                    2
                } else {
                    0
                }
            }),
        ),
        (
            "forty cells",
            "m.png",
            grey(|x, y| {
                let cell = (x / 12 * 5 + y / 12) as u8;
                if x % 12 < 9 && y % 12 < 9 { 1 + cell } else { 0 }
            }),
        ),
        (
            "three levels with compression noise",
            "m.jpg",
            grey(|x, y| {
                if left(x, y) {
                    120
                } else if right(x, y) {
                    250
                } else {
                    5
                }
            }),
        ),
        (
            "red and green on black",
            "m.png",
            rgb(|x, y| {
                if left(x, y) {
                    [255, 0, 0]
                } else if right(x, y) {
                    [0, 255, 0]
                } else {
                    [0; 3]
                }
            }),
        ),
        (
            "red on white, of which neither is darker",
            "m.png",
            rgb(|x, y| if left(x, y) { [255, 0, 0] } else { [255; 3] }),
        ),
    ];
    for (name, file, image) in several {
        let error = read(&image, file).err();
        assert!(matches!(error, Some(ImageError::Labels { .. })), "{name}: {error:?}");
    }
}

#[test]
fn uploads_follow_the_same_rule() {
    let png = |image: &DynamicImage| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let size = (WIDTH, HEIGHT);
    let labels = png(&grey(|x, _| (x / 32) as u8));
    let error = Annotation::from_png(&labels, size, Foreground::default()).unwrap_err();
    assert!(error.to_string().contains("several objects"), "{error}");
    assert_eq!(
        Annotation::from_png(&labels, size, Foreground::Value(2)).unwrap().mask().area(),
        2048
    );
    let error = Annotation::from_png(&labels, (1, 1), Foreground::default()).unwrap_err();
    assert!(error.to_string().contains("96 x 64"), "{error}");
    let error = Annotation::from_png(b"no picture", size, Foreground::default()).unwrap_err();
    assert!(error.to_string().contains("PNG"), "{error}");
}
