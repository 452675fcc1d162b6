//! Kinds of files that readers get wrong, against what FFmpeg and Pillow read from them: see
//! tests/fixtures/make_video.py.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;
use crate::stream::open_source;

/// What FFmpeg reads.
#[derive(Debug, Deserialize)]
struct Values {
    #[serde(default)]
    sizes: Vec<[u32; 2]>,
    #[serde(default)]
    times: Vec<f64>,
    #[serde(default)]
    field_order: String,
    /// Mean red, green and blue of a frame.
    #[serde(default)]
    mean: serde_json::Value,
    #[serde(default)]
    planes_sha256: Vec<String>,
}

impl Values {
    fn means(&self) -> Vec<[f64; 3]> {
        serde_json::from_value(self.mean.clone()).expect("means of three channels")
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/video").join(name)
}

fn values(name: &str) -> Values {
    let text = std::fs::read_to_string(fixture("values.json")).expect("the fixture is there");
    let mut all: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(all.remove(name).expect("values of the file")).expect("values")
}

fn mean(frame: &Frame) -> [f64; 3] {
    let (pixels, _) = frame.rgb().as_chunks::<3>();
    let sum = |c: usize| pixels.iter().map(|pixel| f64::from(pixel[c])).sum::<f64>();
    [0, 1, 2].map(|c| sum(c) / pixels.len() as f64)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Count, sizes, times and colours are FFmpeg's, and all of the file is there. Returns what was read.
fn agrees(name: &str) -> (SourceInfo, Vec<Picture>, EndReport) {
    let (info, pictures, report) = super::read(&fixture(name));
    let expected = values(name);
    assert!(report.is_complete(), "{name}: {report:?}");
    let sizes: Vec<_> = pictures.iter().map(|p| [p.frame.width(), p.frame.height()]).collect();
    assert_eq!(sizes, expected.sizes, "{name}");
    if !expected.mean.is_null() {
        for (picture, expected) in pictures.iter().zip(expected.means()) {
            let found = mean(&picture.frame);
            let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 3.0);
            assert!(near, "{name} frame {}: {found:?}, not {expected:?}", picture.index);
        }
    }
    (info, pictures, report)
}

/// Times are FFmpeg's, counted from `origin` seconds.
fn assert_times_of(name: &str, pictures: &[Picture], origin: f64) {
    for (picture, time) in pictures.iter().zip(values(name).times) {
        let found = picture.pts.as_secs_f64();
        assert!((found - (time - origin)).abs() < 0.002, "{name}: {found}, not {time} - {origin}");
    }
}

#[test]
fn what_is_8_bits_in_420_is_the_decoders_own_bytes() {
    let names = [
        "fields-h264.mp4",
        "fields-h264-bottom.mkv",
        "fields-ffv1.mkv",
        "full.mp4",
        "full.mov",
        "full.mkv",
        "plain.mp4",
        "two.mkv",
        "two.mp4",
        "thumb.mp4",
        "late-video.mp4",
        "late.mkv",
        "clock.ts",
        "live.webm",
        "whole.avi",
    ];
    for name in names {
        let (_, pictures, _) = super::read(&fixture(name));
        let expected = values(name).planes_sha256;
        assert_eq!(pictures.len(), expected.len(), "{name}");
        for (picture, expected) in pictures.iter().zip(expected) {
            let yuv = picture.yuv420().unwrap();
            assert_eq!(sha256(yuv.data()), expected, "{name} frame {}", picture.index);
        }
    }
}

#[test]
fn fields_are_kept_apart_from_file_to_file() {
    let dir = tempfile::tempdir().unwrap();
    for (name, interlacing) in [
        ("fields-h264.mp4", Interlacing::TopFieldFirst),
        ("fields-h264-bottom.mkv", Interlacing::BottomFieldFirst),
        ("fields-mpeg2.ts", Interlacing::TopFieldFirst),
        ("fields-ffv1.mkv", Interlacing::TopFieldFirst),
        ("fields-422.mkv", Interlacing::TopFieldFirst),
        ("plain.mp4", Interlacing::Progressive),
    ] {
        let (info, pictures, _) = agrees(name);
        let order = values(name).field_order;
        assert_eq!(order == "progressive", interlacing == Interlacing::Progressive, "{order}");
        assert_eq!(info.interlacing, interlacing, "{name}");
        // The rows of two fields, which any mixing would bring nearer to each other.
        let frame = &pictures[0].frame;
        let row = |y| f64::from(pixel(frame, 48, y)[1]);
        let steps: Vec<f64> = (28..44).map(|y| (row(y + 1) - row(y)).abs()).collect();
        assert!(steps.iter().all(|step| *step > 90.0), "{name}: {steps:?}");

        for output in ["o.mkv", "o.mp4", "lossless.mkv"] {
            let path = dir.path().join(format!("{name}-{output}"));
            let lossless = output.starts_with("lossless");
            let options = WriterOptions { lossless, ..WriterOptions::like(&info) };
            let mut writer = VideoWriter::create(&path, options).unwrap();
            for picture in &pictures {
                let yuv = picture.yuv420().unwrap();
                writer.write(yuv, picture.pts, picture.duration).unwrap();
            }
            writer.finish().unwrap();
            let (again, copies, _) = super::read(&path);
            assert_eq!(again.interlacing, interlacing, "{}", path.display());
            if lossless {
                let same =
                    |(a, b): (&Picture, &Picture)| a.yuv420().unwrap() == b.yuv420().unwrap();
                assert!(pictures.iter().zip(&copies).all(same), "{}", path.display());
            }
        }
    }
}

#[test]
fn the_range_of_values_is_the_streams_whatever_the_container_leaves_out() {
    for name in ["full.mp4", "full.mov", "full.mkv"] {
        let (info, ..) = agrees(name);
        assert_eq!(info.color.range, ColorRange::Full, "{name}");
    }
}

#[test]
fn grey_keeps_its_levels() {
    for name in ["grey.mkv", "grey16.mkv", "grey-raw.avi", "grey-png.mov"] {
        let (info, pictures, _) = agrees(name);
        assert_eq!(info.color.range, ColorRange::Full, "{name}");
        for (picture, expected) in pictures.iter().zip(values(name).means()) {
            let yuv = picture.yuv420().unwrap();
            let [y, cb, cr] = yuv.planes();
            let luma = y.iter().map(|v| f64::from(*v)).sum::<f64>() / y.len() as f64;
            assert!((luma - expected[0]).abs() < 0.6, "{name}: {luma}, not {expected:?}");
            assert!(cb.iter().chain(cr).all(|v| *v == 128), "{name}");
            assert!((mean(&yuv.to_frame())[0] - expected[0]).abs() < 0.6, "{name}");
        }
    }
}

#[test]
fn whole_chroma_is_kept() {
    let (_, pictures, _) = agrees("444.avi");
    // Columns of red and of grey in turn, which a chroma value for two of them would mix.
    let found = pixel(&pictures[0].frame, 31, 10);
    assert!(near(found, [200, 30, 30], 6), "{found:?}");
    let beside = pixel(&pictures[0].frame, 32, 10);
    assert!(near(beside, [40, 40, 40], 6), "{beside:?}");
}

#[test]
fn the_default_track_is_taken_and_the_others_are_named() {
    for name in ["two.mkv", "two.mp4", "thumb.mp4"] {
        let (_, pictures, report) = agrees(name);
        assert_eq!(pictures.len(), 6, "{name}");
        assert_eq!(report.undecoded, 0, "{name}");
        let named =
            report.warnings.iter().any(|w| w.contains("2 video tracks") && w.contains("--track"));
        assert!(named, "{name}: {report:?}");

        let options = SourceOptions { track: Some(0), ..SourceOptions::default() };
        match VideoReader::open_with(&fixture(name), &options) {
            Ok(first) => assert!(first.info().width < 64, "{name}: {:?}", first.info()),
            // qtdemux makes a tag of a single JPEG.
            Err(error) => {
                assert!(name == "thumb.mp4" && error.to_string().contains("track 0"), "{error}");
            }
        }
        let options = SourceOptions { track: Some(2), ..SourceOptions::default() };
        let error = VideoReader::open_with(&fixture(name), &options).unwrap_err();
        assert!(matches!(error, StreamError::NoTrack { number: 2, .. }), "{error}");
        assert!(error.to_string().contains("64x48"), "{error}");
    }
}

#[test]
fn lengths_count_from_the_first_frame() {
    for name in ["late-video.mp4", "late.mkv"] {
        let (_, pictures, report) = agrees(name);
        assert_times_of(name, &pictures, 0.0);
        println!("{name}: {report:?}");
        assert!(report.expected.is_none_or(|expected| expected == 6), "{report:?}");
    }
}

#[test]
fn times_of_transport_streams_count_from_the_first_frame() {
    let start = values("clock.ts").times[0];
    let (_, pictures, report) = agrees("clock.ts");
    assert_times_of("clock.ts", &pictures, start);
    assert_eq!(report.expected, None, "an estimate is no promise: {report:?}");
}

#[test]
fn an_avi_is_as_long_as_its_header_says_whatever_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(fixture("whole.avi")).unwrap();
    let index = whole.windows(4).rposition(|w| w == b"idx1").unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let size = word(&whole, index + 4) as usize;
    let mut half = whole[..index + 8 + size / 2].to_vec();
    half[index + 4..index + 8].copy_from_slice(&(size as u32 / 2).to_le_bytes());
    let length = half.len() as u32 - 8;
    half[4..8].copy_from_slice(&length.to_le_bytes());
    let mut shifted = whole.clone();
    for entry in (index + 8..index + 8 + size).step_by(16) {
        let moved = word(&shifted, entry + 8) + 1234;
        shifted[entry + 8..entry + 12].copy_from_slice(&moved.to_le_bytes());
    }
    let (_, expected, _) = agrees("whole.avi");
    for (name, bytes) in [("half.avi", half), ("shifted.avi", shifted)] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (_, pictures, report) = super::read(&path);
        assert_eq!(pictures.len(), 6, "{name}");
        assert!(report.is_complete(), "{name}: {report:?}");
        assert_eq!(report.expected, Some(6));
        assert!(report.warnings.iter().any(|w| w.contains("index")), "{name}: {report:?}");
        for (a, b) in pictures.iter().zip(&expected) {
            assert_eq!((a.frame.rgb(), a.pts), (b.frame.rgb(), b.pts), "{name}");
        }
    }
    // The header tells more than there is, and nothing else does.
    let mut more = whole.clone();
    let at = more.windows(4).position(|w| w == b"strh").unwrap() + 8 + 32;
    more[at..at + 4].copy_from_slice(&9u32.to_le_bytes());
    let path = dir.path().join("more.avi");
    std::fs::write(&path, more).unwrap();
    let (_, pictures, report) = super::read(&path);
    assert_eq!((pictures.len(), report.expected), (6, Some(9)));
    assert!(report.problems.iter().any(|p| p.contains("9 frames")), "{report:?}");
}

#[test]
fn bare_jpegs_are_counted_as_they_are() {
    let (_, pictures, report) = agrees("bare.mjpeg");
    assert_eq!((pictures.len(), report.undecoded), (6, 0), "{report:?}");
}

#[test]
fn an_estimated_length_is_not_expected() {
    let (_, pictures, report) = agrees("live.webm");
    assert_eq!((pictures.len(), report.expected), (6, None), "{report:?}");
    assert!(report.warnings.iter().any(|w| w.contains("never closed")), "{report:?}");
}

#[test]
fn matrices_turn_and_mirror_by_their_signs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.mp4");
    let bytes = std::fs::read(fixture("plain.mp4")).unwrap();
    let at = bytes.windows(4).position(|w| w == b"tkhd").unwrap() + 44;
    // Where the red corner, which is stored at the upper left, is shown.
    let (left, right, top, bottom) = (0.2, 0.8, 0.2, 0.8);
    for ([a, b, c, d], quarter, [x, y], ignored) in [
        ([1.0, 0.0, 0.0, 1.0], false, [left, top], false),
        ([0.5, 0.0, 0.0, 0.5], false, [left, top], true),
        ([1.0667, 0.0, 0.0, 1.0], false, [left, top], true),
        ([-1.0, 0.0, 0.0, -1.0], false, [right, bottom], false),
        ([-0.5, 0.0, 0.0, 1.0], false, [right, top], true),
        ([1.0, 0.0, 0.0, -1.0], false, [left, bottom], false),
        ([0.0, 1.0, -1.0, 0.0], true, [right, top], false),
        ([0.0, 2.0, -2.0, 0.0], true, [right, top], true),
        ([0.0, -1.0, 1.0, 0.0], true, [left, bottom], false),
        ([0.0, 1.0, 1.0, 0.0], true, [left, top], false),
        ([0.0, -1.0, -1.0, 0.0], true, [right, bottom], false),
    ] {
        let mut bytes = bytes.clone();
        for (place, value) in [(0, a), (4, b), (12, c), (16, d)] {
            let value = (value * 65536.0) as i32;
            bytes[at + place..at + place + 4].copy_from_slice(&value.to_be_bytes());
        }
        std::fs::write(&path, &bytes).unwrap();
        let (info, pictures, report) = super::read(&path);
        let name = format!("{a} {b} {c} {d}");
        let (width, height) = if quarter { (H, W) } else { (W, H) };
        assert_eq!((info.width, info.height), (width, height), "{name}");
        let place = |side: u32, part: f64| (f64::from(side) * part) as u32;
        for frame in [&pictures[0].frame, &pictures[0].yuv420().unwrap().to_frame()] {
            let found = pixel(frame, place(width, x), place(height, y));
            assert!(near(found, [200, 30, 30], 12), "{name}: {found:?}");
        }
        let told = report.warnings.iter().any(|w| w.contains("matrix"));
        assert_eq!(told, ignored, "{name}: {report:?}");
    }
}

#[test]
fn high_dynamic_range_becomes_ordinary_video_and_is_told() {
    let (info, pictures, report) = super::read(&fixture("pq.mp4"));
    assert_eq!(pictures.len(), 6);
    assert!(report.warnings.iter().any(|w| w.contains("HDR (PQ)")), "{report:?}");
    assert_eq!(info.color, Color::usual(48));
    // Values of 40 to 190 of 255, taken for PQ, are 0.4 to 6000 cd/m2: black to white, in this order.
    let levels: Vec<u8> = pictures.iter().map(|p| pixel(&p.frame, 48, 10)[1]).collect();
    assert!(levels.is_sorted() && levels[0] < 40 && levels[5] > 240, "{levels:?}");
    let yuv = pictures[2].yuv420().unwrap();
    assert!(near(pixel(&yuv.to_frame(), 48, 10), pixel(&pictures[2].frame, 48, 10), 4));
}

#[test]
fn sizes_that_change_are_told_by_the_writer() {
    let (info, pictures, _) = agrees("sizes.webm");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("o.mkv");
    let mut writer = VideoWriter::create(&path, WriterOptions::like(&info)).unwrap();
    let written = pictures
        .iter()
        .map(|p| writer.write(p.yuv420().unwrap(), p.pts, p.duration))
        .find_map(Result::err);
    assert!(matches!(written, Some(StreamError::FrameSize { frame: 3, .. })), "{written:?}");
}

#[test]
fn animations_are_read_frame_by_frame_whatever_their_names() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["film.gif", "film.png", "film.webp"] {
        // As somebody may have named it.
        let path = dir.path().join(format!("{name}.mp4"));
        std::fs::copy(fixture(name), &path).unwrap();
        let mut source = open_source(&path, &SourceOptions::default()).unwrap();
        let mut frames = Vec::new();
        while let Some(picture) = source.next_picture().unwrap() {
            frames.push(picture);
        }
        let report = source.end_report();
        assert!(report.is_complete(), "{name}: {report:?}");
        assert_eq!((frames.len(), report.expected), (6, Some(6)), "{name}");
        assert_times(&frames, &steady(6));
        let expected = values(name);
        for (index, picture) in frames.iter().enumerate() {
            let expected = match name {
                // Pillow's mean is that of four channels.
                "film.webp" => [103.75, 61.25, 61.25].map(|mean| mean + 13.125 * index as f64),
                _ => expected.means()[index],
            };
            let found = mean(&picture.frame);
            let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1.5);
            assert!(near, "{name} frame {index}: {found:?}, not {expected:?}");
        }
    }
}
