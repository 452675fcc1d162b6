use std::time::Duration;

use dicom_core::value::PixelFragmentSequence;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use super::segmentation::rle;
use super::*;
use crate::image::Frame;
use crate::stream::{EndReport, Picture, Source, SourceOptions};

const SIDE: u16 = 8;
const PIXELS: usize = 64;

/// The colour of a frame.
fn colour(frame: usize) -> [u8; 3] {
    [200, 30, 20 + 40 * frame as u8]
}

/// BT.601 over the full range, as DICOM's YBR_FULL.
fn ybr([r, g, b]: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = [r, g, b].map(f64::from);
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    [y, 128.0 + (b - y) * 0.564, 128.0 + (r - y) * 0.713].map(|v| v.round().clamp(0.0, 255.0) as u8)
}

/// Frames as a file of the kind that endoscopes write, without a place.
struct Frames {
    photometric: &'static str,
    planar: u16,
    frames: usize,
    syntax: &'static str,
    pixels: InMemElement,
    more: Vec<InMemElement>,
}

impl Frames {
    fn new(photometric: &'static str, pixels: Vec<u8>) -> Self {
        let pixels = PrimitiveValue::U8(pixels.into());
        Self {
            photometric,
            planar: 0,
            frames: 3,
            syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN,
            pixels: DataElement::new(tags::PIXEL_DATA, VR::OB, pixels),
            more: Vec::new(),
        }
    }

    /// Three frames in RGB.
    fn rgb(more: Vec<InMemElement>) -> Self {
        let pixels = (0..3).flat_map(|frame| [colour(frame); PIXELS].concat()).collect();
        Self { more, ..Self::new("RGB", pixels) }
    }

    fn write(self, path: &Path) {
        let samples = if self.photometric.starts_with("PALETTE") { 1 } else { 3 };
        let elements = vec![
            put(tags::SOP_CLASS_UID, VR::UI, uids::VL_ENDOSCOPIC_IMAGE_STORAGE),
            put(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4"),
            put(tags::PATIENT_NAME, VR::PN, PLANTED[0]),
            put(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3"),
            put(tags::MODALITY, VR::CS, "ES"),
            put(tags::NUMBER_OF_FRAMES, VR::IS, &self.frames.to_string()),
            put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, self.photometric),
            short(tags::PLANAR_CONFIGURATION, self.planar),
            short(tags::ROWS, SIDE),
            short(tags::COLUMNS, SIDE),
            short(tags::SAMPLES_PER_PIXEL, samples),
            short(tags::BITS_ALLOCATED, 8),
            short(tags::BITS_STORED, 8),
            short(tags::HIGH_BIT, 7),
            short(tags::PIXEL_REPRESENTATION, 0),
            self.pixels,
        ];
        let meta = FileMetaTableBuilder::new().transfer_syntax(self.syntax);
        item(elements.into_iter().chain(self.more))
            .with_meta(meta)
            .unwrap()
            .write_to_file(path)
            .unwrap();
    }

    /// What is read of it.
    fn read(self) -> Result<(Vec<Picture>, EndReport, Source), SeriesError> {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("frames.dcm");
        self.write(&path);
        assert!(!Volume::is_volume(&path));
        let mut source = open_recording(&path, &SourceOptions::default())?;
        let mut pictures = Vec::new();
        loop {
            match source.next_picture() {
                Ok(Some(picture)) => pictures.push(picture),
                Ok(None) => break,
                // Told in the report.
                Err(_) => {}
            }
        }
        let report = source.end_report();
        Ok((pictures, report, source))
    }
}

fn assert_colours(pictures: &[Picture], tolerance: u8) {
    assert_eq!(pictures.len(), 3);
    for (index, picture) in pictures.iter().enumerate() {
        for pixel in picture.frame.rgb().chunks_exact(3) {
            let near = pixel.iter().zip(colour(index)).all(|(a, b)| a.abs_diff(b) <= tolerance);
            assert!(near, "frame {index}: {pixel:?}, not {:?}", colour(index));
        }
    }
}

fn jpeg(frame: usize) -> Vec<u8> {
    let (side, pixels) = (SIDE.into(), [colour(frame); PIXELS].concat());
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.encode(&pixels, side, side, ExtendedColorType::Rgb8).unwrap();
    // Fragments have an even length.
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

#[test]
fn frames_in_colour_play_in_their_order() {
    let of_all = |of: fn(usize) -> Vec<u8>| (0..3).flat_map(of).collect::<Vec<u8>>();
    let (pictures, report, source) = Frames::rgb(Vec::new()).read().unwrap();
    assert_colours(&pictures, 0);
    assert!(report.is_complete() && report.expected == Some(3), "{report:?}");
    assert_eq!(source.info().frame_rate, Some((25, 1)));

    let planes = of_all(|frame| colour(frame).map(|level| [level; PIXELS]).concat());
    let planes = Frames { planar: 1, ..Frames::new("RGB", planes) };
    assert_colours(&planes.read().unwrap().0, 0);
    let full = of_all(|frame| [ybr(colour(frame)); PIXELS].concat());
    assert_colours(&Frames::new("YBR_FULL", full).read().unwrap().0, 3);
    let planes = of_all(|frame| ybr(colour(frame)).map(|level| [level; PIXELS]).concat());
    let planes = Frames { planar: 1, ..Frames::new("YBR_FULL", planes) };
    assert_colours(&planes.read().unwrap().0, 3);
    let halved = of_all(|frame| {
        let [y, blue, red] = ybr(colour(frame));
        [[y, y, blue, red]; PIXELS / 2].concat()
    });
    assert_colours(&Frames::new("YBR_FULL_422", halved).read().unwrap().0, 3);

    // In runs; the three planes of a frame one behind the other.
    let runs: Vec<Vec<u8>> =
        (0..3).map(|f| rle(&ybr(colour(f)).map(|level| vec![level; PIXELS]))).collect();
    let runs = Frames {
        syntax: uids::RLE_LOSSLESS,
        pixels: DataElement::new(
            tags::PIXEL_DATA,
            VR::OB,
            PixelFragmentSequence::new_fragments(runs),
        ),
        ..Frames::new("YBR_FULL", Vec::new())
    };
    assert_colours(&runs.read().unwrap().0, 3);

    // Words in place of bytes, as of implicit value representations.
    let mut words = Frames::rgb(Vec::new());
    let bytes = words.pixels.to_bytes().unwrap().to_vec();
    let values = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
    words.pixels = DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(values));
    words.syntax = uids::IMPLICIT_VR_LITTLE_ENDIAN;
    assert_colours(&words.read().unwrap().0, 0);
}

#[test]
fn jpeg_frames_play_and_a_damaged_one_is_told_and_left_out() {
    let of = |fragments: Vec<Vec<u8>>| {
        let pixels = PixelFragmentSequence::new_fragments(fragments);
        Frames {
            syntax: uids::JPEG_BASELINE8_BIT,
            pixels: DataElement::new(tags::PIXEL_DATA, VR::OB, pixels),
            ..Frames::new("YBR_FULL_422", Vec::new())
        }
    };
    let fragments: Vec<Vec<u8>> = (0..3).map(jpeg).collect();
    assert_colours(&of(fragments.clone()).read().unwrap().0, 6);
    let mut damaged = fragments;
    damaged[1] = vec![7; 60];
    let (pictures, report, _) = of(damaged).read().unwrap();
    assert_eq!(pictures.iter().map(|picture| picture.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!((report.decoded, report.expected), (2, Some(3)));
    assert!(report.problems[0].contains("frame 1 of"), "{report:?}");
}

#[test]
fn times_are_those_that_the_file_tells() {
    let times = |more| {
        let (pictures, _, source) = Frames::rgb(more).read().unwrap();
        let starts: Vec<u128> = pictures.iter().map(|picture| picture.pts.as_millis()).collect();
        (starts, source.info().frame_rate, source.info().duration)
    };
    let whole = |milliseconds| Some(Duration::from_millis(milliseconds));
    let time = decimals(tags::FRAME_TIME, &[100.0]);
    let cine = put(tags::CINE_RATE, VR::IS, "50");
    let shown = put(tags::RECOMMENDED_DISPLAY_FRAME_RATE, VR::IS, "5");
    assert_eq!(times(vec![time, cine.clone()]), (vec![0, 100, 200], Some((10, 1)), whole(300)));
    assert_eq!(times(vec![cine]), (vec![0, 20, 40], Some((50, 1)), whole(60)));
    assert_eq!(times(vec![shown]), (vec![0, 200, 400], Some((5, 1)), whole(600)));
    let vector = decimals(tags::FRAME_TIME_VECTOR, &[0.0, 40.0, 500.0]);
    assert_eq!(times(vec![vector]), (vec![0, 40, 540], None, whole(1040)));
    // What makes no sense is as if it were not there.
    let vector = decimals(tags::FRAME_TIME_VECTOR, &[0.0, -40.0, 500.0]);
    assert_eq!(times(vec![vector]).0, [0, 40, 80]);
}

#[test]
fn what_cannot_play_is_told() {
    let palette = Frames::new("PALETTE COLOR", vec![0; 3 * PIXELS]);
    let timed = Frames { more: vec![decimals(tags::FRAME_TIME, &[40.0])], ..palette };
    let text = timed.read().map(|_| ()).expect_err("an error").to_string();
    assert!(text.contains("frames.dcm") && text.contains("palette"), "{text}");
    let cut = Frames { frames: 4, ..Frames::rgb(Vec::new()) };
    let (pictures, report, _) = cut.read().unwrap();
    assert_eq!((pictures.len(), report.expected), (3, Some(4)));
    assert!(!report.is_complete());
    let none = Frames::new("RGB", Vec::new());
    let text = none.read().map(|_| ()).expect_err("an error").to_string();
    assert!(text.contains("frame 0 of") && !text.contains(PLANTED[0]), "{text}");
}

#[test]
fn stills_without_a_place_go_by_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    for (name, number) in [("a.dcm", 2), ("b.dcm", 0), ("c.dcm", 1)] {
        let more = vec![
            put(tags::INSTANCE_NUMBER, VR::IS, &number.to_string()),
            put(tags::SOP_INSTANCE_UID, VR::UI, &format!("1.2.3.{number}")),
        ];
        let pixels = [colour(number); PIXELS].concat();
        Frames { frames: 1, more, ..Frames::new("RGB", pixels) }.write(&folder.path().join(name));
    }
    let volume = open(folder.path()).unwrap();
    let frames: Vec<Frame> = volume.range().map(|slice| volume.frame(slice).unwrap()).collect();
    let first: Vec<[u8; 3]> =
        frames.iter().map(|frame| [frame.rgb()[0], frame.rgb()[1], frame.rgb()[2]]).collect();
    assert_eq!(first, [colour(0), colour(1), colour(2)]);
    assert!(volume.spacing().is_none());
}
