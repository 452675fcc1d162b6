//! Files of several images, of more than 8 bits, turned, and of sizes that nobody has.

use std::collections::BTreeMap;

use image::metadata::Orientation;

use super::super::*;

/// What Pillow reads.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Values {
    #[serde(default)]
    pub images: usize,
    #[serde(default)]
    pub mean: serde_json::Value,
    #[serde(default)]
    pub above_middle: Option<usize>,
    #[serde(default)]
    pub counts: BTreeMap<String, usize>,
}

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/video").join(name)
}

pub(super) fn values(name: &str) -> Values {
    let text = std::fs::read_to_string(fixture("values.json")).expect("the fixture is there");
    let mut all: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(all.remove(name).expect("values of the file")).expect("values")
}

fn mean(frame: &Frame) -> f64 {
    frame.rgb().iter().map(|value| f64::from(*value)).sum::<f64>() / frame.rgb().len() as f64
}

fn means(name: &str) -> Vec<f64> {
    serde_json::from_value(values(name).mean).expect("means")
}

#[test]
fn every_page_of_a_tiff_is_read_and_none_alone() {
    let path = fixture("pages.tif");
    let pages = Pages::open(&path).unwrap().expect("several images");
    assert_eq!(pages.count(), values("pages.tif").images);
    for (index, expected) in means("pages.tif").into_iter().enumerate() {
        let (frame, clips) = pages.frame(index).unwrap();
        assert!((mean(&frame) - expected).abs() < 0.01 && !clips, "page {index}");
    }
    // In any order.
    let (again, _) = pages.frame(1).unwrap();
    assert!((mean(&again) - means("pages.tif")[1]).abs() < 0.01);
    for error in [Frame::open(&path).err(), Mask::open(&path, Foreground::default()).err()] {
        let error = error.expect("several images are no single one");
        assert!(matches!(error, ImageError::Several { count: Some(6), .. }), "{error}");
        assert!(error.to_string().contains("6 images"), "{error}");
    }
    for name in ["film.gif", "film.png", "film.webp"] {
        let error = Frame::open(&fixture(name)).unwrap_err();
        assert!(matches!(error, ImageError::Several { .. }), "{name}: {error}");
    }
}

#[test]
fn portable_maps_one_behind_the_other_are_several() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pgm");
    std::fs::write(&path, b"P5 2 1 255\n\x01\x02").unwrap();
    assert_eq!(Frame::open(&path).unwrap().rgb(), [1, 1, 1, 2, 2, 2]);
    std::fs::write(&path, b"P5 2 1 255\n\x01\x02P5 2 1 255\n\x03\x04").unwrap();
    let error = Frame::open(&path).unwrap_err();
    assert!(matches!(error, ImageError::Several { .. }), "{error}");
}

#[test]
fn deep_images_are_shown_by_what_they_hold_and_it_is_told() {
    // 12 bits in 16: Pillow's mean over 4095, times 255.
    let (frame, notes) = Frame::open_with_notes(&fixture("deep.png")).unwrap();
    let expected = means("deep.png")[0] / 4095.0 * 255.0;
    assert!((mean(&frame) - expected).abs() < 0.5, "{} {expected}", mean(&frame));
    assert!(notes[0].contains("4095 as white"), "{notes:?}");
    // Floats from 0 to 1.
    let (frame, notes) = Frame::open_with_notes(&fixture("float.tif")).unwrap();
    assert!((mean(&frame) - means("float.tif")[0] * 255.0).abs() < 0.5, "{}", mean(&frame));
    assert!(notes[0].contains("1 as white"), "{notes:?}");
    // 8 bits are what they are.
    let (_, notes) = Frame::open_with_notes(&fixture("turned.jpg")).unwrap();
    assert!(notes.iter().all(|note| !note.contains("white")), "{notes:?}");
}

#[test]
fn levels_of_a_series_are_those_of_all_its_images() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, value: u16| {
        let path = dir.path().join(name);
        let image = image::ImageBuffer::from_pixel(4, 4, image::Luma([value]));
        image::DynamicImage::ImageLuma16(image).save(&path).unwrap();
        path
    };
    let (dark, bright) = (write("0.png", 200), write("1.png", 4000));
    let of = |path: &Path| Levels::of_file(path).unwrap().0;
    let both = of(&dark).with(of(&bright));
    assert_eq!(
        Frame::open_at(&dark, both).unwrap(),
        (Frame::new(4, 4, vec![12; 48]).unwrap(), false)
    );
    assert_eq!(Frame::open_at(&bright, both).unwrap().0.rgb()[0], 249);
    // A later image that holds more is clipped, and that is known.
    let (clipped, clips) = Frame::open_at(&bright, of(&dark)).unwrap();
    assert!(clips && clipped.rgb()[0] == 255);
    // All 16 bits are used as before.
    let full = write("2.png", 40_000);
    assert_eq!(Frame::open(&full).unwrap().rgb()[0], 156);
    assert_eq!(of(&full).words(), None);
}

#[test]
fn a_tiff_of_one_bit_with_white_as_zero_is_as_pillow_reads_it() {
    let frame = Frame::open(&fixture("white-is-zero.tif")).unwrap();
    assert_eq!(mean(&frame), means("white-is-zero.tif")[0] * 255.0);
    // The upper left field is black.
    assert_eq!(frame.rgb()[0], 0);
}

#[test]
fn a_turned_photograph_is_put_upright_and_that_is_told() {
    let (frame, notes) = Frame::open_with_notes(&fixture("turned.jpg")).unwrap();
    assert!((mean(&frame) - means("turned.jpg")[0]).abs() < 1.0);
    assert!(frame.rgb()[(8 * 64 + 8) * 3] > 180, "the red corner is at the upper left");
    assert!(notes[0].contains("upside down"), "{notes:?}");
    let decoded = super::super::file::read(&fixture("turned.jpg")).unwrap();
    assert_eq!(decoded.orientation, Orientation::Rotate180);
}

/// A PNG that ends behind its head.
fn declared(width: u32, height: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    drop(encoder.write_header().unwrap());
    file
}

/// A whole PNG of 8 x 8 pixels with so many chunks of packed text, of 32 MiB each.
fn with_texts(count: usize) -> Vec<u8> {
    use png::text_metadata::{EncodableTextChunk, ZTXtChunk};
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 8, 8);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[[0u8; 32], [255; 32]].concat()).unwrap();
    drop(writer);
    let mut chunk = Vec::new();
    ZTXtChunk::new("Comment", "a".repeat(32 << 20)).encode(&mut chunk).unwrap();
    let data = file.windows(4).position(|w| w == b"IDAT").unwrap() - 4;
    [&file[..data], &chunk.repeat(count), &file[data..]].concat()
}

#[test]
fn sizes_and_packed_text_take_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.png");
    std::fs::write(&path, declared(60_000, 60_000)).unwrap();
    let error = Frame::open(&path).unwrap_err().to_string();
    assert!(error.contains("60000 x 60000") && error.contains("scale it down"), "{error}");
    // Within the limit, but not with so few bytes.
    std::fs::write(&path, declared(10_000, 10_000)).unwrap();
    let error = Frame::open(&path).unwrap_err().to_string();
    assert!(error.contains("10000 x 10000"), "{error}");

    let file = with_texts(12);
    assert!(file.len() < 8 << 20, "{} bytes", file.len());
    let before = crate::memory::peak_memory().unwrap_or(0);
    let annotation = Annotation::from_png(&file, (8, 8), Foreground::default()).unwrap();
    assert_eq!(annotation.mask().area(), 32);
    std::fs::write(&path, &file).unwrap();
    assert_eq!(Frame::open(&path).unwrap().width(), 8);
    assert_eq!(Mask::open(&path, Foreground::default()).unwrap().area(), 32);
    let grown = crate::memory::peak_memory().unwrap_or(0).saturating_sub(before);
    // They would be 384 MiB; other tests run beside this one.
    assert!(grown < 256 << 20, "{grown} bytes");
}
