mod contours;
mod files;
mod greys;
mod nifti;
mod placement;
mod places;
mod recording;
mod segmentation;

use std::path::{Path, PathBuf};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use dicom_object::meta::FileMetaTableBuilder;
use tempfile::TempDir;

use super::dicom::elements::{decimals, item, put, sequence, short};
use super::*;
use crate::image::{Foreground, Mask};

const COLUMNS: u16 = 20;
const ROWS: u16 = 16;
/// What no output and no message may hold.
const PLANTED: [&str; 5] = ["Planted^Name", "PLANTED-ID", "19010203", "19990909", "ACC-77"];

/// A made CT slice; its values are 100 times its number.
struct Made {
    number: usize,
    series: &'static str,
    position: [f64; 3],
    orientation: [f64; 6],
    photometric: &'static str,
}

impl Made {
    fn new(number: usize) -> Self {
        Self {
            number,
            series: "1.2.3",
            position: [-10.0, -20.0, 30.0 + 2.5 * number as f64],
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            photometric: "MONOCHROME2",
        }
    }

    fn instance(&self) -> String {
        format!("{}.{}", self.series, self.number + 1)
    }

    fn write(&self, folder: &Path) -> PathBuf {
        let value = 1000 + 100 * self.number as u16;
        let mut pixels = vec![value; usize::from(COLUMNS) * usize::from(ROWS)];
        pixels[0] = 1000;
        let object = item([
            put(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            put(tags::SOP_INSTANCE_UID, VR::UI, &self.instance()),
            put(tags::PATIENT_NAME, VR::PN, PLANTED[0]),
            put(tags::PATIENT_ID, VR::LO, PLANTED[1]),
            put(tags::PATIENT_BIRTH_DATE, VR::DA, PLANTED[2]),
            put(tags::STUDY_DATE, VR::DA, PLANTED[3]),
            put(tags::ACCESSION_NUMBER, VR::SH, PLANTED[4]),
            put(tags::STUDY_INSTANCE_UID, VR::UI, "1.2"),
            put(tags::SERIES_INSTANCE_UID, VR::UI, self.series),
            put(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.9"),
            put(tags::MODALITY, VR::CS, "CT"),
            // The order of the files' numbers is not the order of their places.
            put(tags::INSTANCE_NUMBER, VR::IS, &(99 - self.number).to_string()),
            decimals(tags::IMAGE_POSITION_PATIENT, &self.position),
            decimals(tags::IMAGE_ORIENTATION_PATIENT, &self.orientation),
            decimals(tags::PIXEL_SPACING, &[0.5, 0.8]),
            decimals(tags::RESCALE_SLOPE, &[1.0]),
            decimals(tags::RESCALE_INTERCEPT, &[-1000.0]),
            short(tags::ROWS, ROWS),
            short(tags::COLUMNS, COLUMNS),
            short(tags::SAMPLES_PER_PIXEL, 1),
            short(tags::BITS_ALLOCATED, 16),
            short(tags::BITS_STORED, 16),
            short(tags::HIGH_BIT, 15),
            short(tags::PIXEL_REPRESENTATION, 0),
            put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, self.photometric),
            DataElement::new(
                tags::PIXEL_DATA,
                VR::OW,
                PrimitiveValue::U16(pixels.into_iter().collect()),
            ),
        ]);
        let path = folder.join(format!("{}-{}.dcm", 99 - self.number, self.series));
        save(object, &path);
        path
    }
}

fn save(object: InMemDicomObject, path: &Path) {
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    object.with_meta(meta).unwrap().write_to_file(path).unwrap();
}

/// A series of slices, each of which may be changed.
fn series(count: usize, change: impl Fn(&mut Made)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..count {
        let mut made = Made::new(number);
        change(&mut made);
        made.write(folder.path());
    }
    folder
}

/// All of -1000 to 1000 from black to white.
fn options() -> VolumeOptions {
    VolumeOptions {
        window: Window::Values { centre: 0.0, width: 2000.0 },
        ..VolumeOptions::default()
    }
}

fn open(path: &Path) -> Result<Volume, SeriesError> {
    Volume::open(path, &options())
}

fn message<T: std::fmt::Debug>(result: Result<T, SeriesError>) -> String {
    let message = result.expect_err("an error").to_string();
    for planted in PLANTED {
        assert!(!message.contains(planted), "{message}");
    }
    message
}

fn level(volume: &Volume, slice: usize) -> u8 {
    volume.frame(slice).unwrap().rgb()[3 * 25]
}

/// A contour's corners in columns and rows on a slice, as a structure set.
fn contour(folder: &Path, corners: &[[f64; 2]], slice: f64, frame: &str) -> PathBuf {
    let points: Vec<f64> = corners
        .iter()
        .flat_map(|[c, r]| [-10.0 + 0.8 * c, -20.0 + 0.5 * r, 30.0 + 2.5 * slice])
        .collect();
    let roi = item([
        put(tags::ROI_NUMBER, VR::IS, "4"),
        put(tags::ROI_NAME, VR::LO, "GTV"),
        put(tags::REFERENCED_FRAME_OF_REFERENCE_UID, VR::UI, frame),
    ]);
    let drawn = item([
        put(tags::CONTOUR_GEOMETRIC_TYPE, VR::CS, "CLOSED_PLANAR"),
        decimals(tags::CONTOUR_DATA, &points),
    ]);
    let contours = item([
        put(tags::REFERENCED_ROI_NUMBER, VR::IS, "4"),
        sequence(tags::CONTOUR_SEQUENCE, vec![drawn]),
    ]);
    let object = item([
        put(tags::SOP_CLASS_UID, VR::UI, uids::RT_STRUCTURE_SET_STORAGE),
        put(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.999"),
        put(tags::PATIENT_NAME, VR::PN, PLANTED[0]),
        sequence(tags::STRUCTURE_SET_ROI_SEQUENCE, vec![roi]),
        sequence(tags::ROI_CONTOUR_SEQUENCE, vec![contours]),
    ]);
    let path = folder.join("contours.dcm");
    save(object, &path);
    path
}

const SQUARE: [[f64; 2]; 4] = [[2.5, 3.5], [7.5, 3.5], [7.5, 9.5], [2.5, 9.5]];

fn masks_of(path: &Path, volume: &Volume) -> Result<Vec<Option<Mask>>, SeriesError> {
    marks_of(path, volume).map(|marks| marks.masks)
}

fn marks_of(path: &Path, volume: &Volume) -> Result<Marks, SeriesError> {
    open_masks(path, volume, None, Foreground::AboveMiddle)
}

/// A file that a script beside it made.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/volumes").join(name)
}

/// What other programs read of the files of a folder.
fn expected(folder: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(fixture(folder).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Numbers of a list.
fn floats(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Masks of runs of 0 and 1 in turns.
fn masks_of_runs(value: &serde_json::Value, [width, height]: [u32; 2]) -> Vec<Option<Mask>> {
    let mask = |runs: &serde_json::Value| {
        let runs = runs.as_array()?;
        let of = |(index, run): (usize, &serde_json::Value)| {
            vec![index % 2 == 1; run.as_u64().unwrap() as usize]
        };
        Some(Mask::new(width, height, runs.iter().enumerate().flat_map(of).collect()).unwrap())
    };
    value.as_array().unwrap().iter().map(mask).collect()
}

/// Whether masks are those that are expected; where they are not, in words.
#[track_caller]
fn assert_masks(found: &[Option<Mask>], expected: &[Option<Mask>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (slice, (found, expected)) in found.iter().zip(expected).enumerate() {
        let data =
            |mask: &Option<Mask>| mask.as_ref().map(|m| m.data().to_vec()).unwrap_or_default();
        let [found, expected] = [data(found), data(expected)];
        let area = |data: &[bool]| data.iter().filter(|on| **on).count();
        let both = found.iter().zip(&expected).filter(|(a, b)| **a && **b).count();
        let areas = [area(&found), area(&expected), both];
        assert!(found == expected, "{what}, slice {slice}: {areas:?} found, expected, both");
    }
}

/// Masks with a rectangle on some slices.
fn rectangles(volume: &Volume, slices: &[usize]) -> Vec<Option<Mask>> {
    let [width, height] = volume.size();
    let mask = |slice: usize| {
        let on = |x: u32, y: u32| (3..9).contains(&x) && (2..5 + slice as u32).contains(&y);
        let data = (0..height).flat_map(|y| (0..width).map(move |x| on(x, y))).collect();
        Mask::new(width, height, data).unwrap()
    };
    volume.range().map(|slice| slices.contains(&slice).then(|| mask(slice))).collect()
}

#[test]
fn slices_are_ordered_by_place_rescaled_and_windowed() {
    let folder = series(5, |_| {});
    let volume = open(folder.path()).unwrap();
    assert_eq!((volume.size(), volume.slices()), ([20, 16], 5));
    assert_eq!(volume.spacing().unwrap().map(|v| (v * 1e6).round() / 1e6), [0.8, 0.5, 2.5]);
    assert!((volume.voxel_millilitres(2).unwrap() - 0.001).abs() < 1e-9);
    // 0, 100, ... 400 HU in a window of -1000 to 1000.
    for slice in 0..5 {
        let expected = 255.0 * (0.5 + slice as f64 / 20.0);
        assert!((f64::from(level(&volume, slice)) - expected).abs() < 1.6, "{slice}");
    }
    assert!(volume.warnings().is_empty());
}

#[test]
fn monochrome1_is_white_where_values_are_small() {
    let plain = level(&open(series(2, |_| {}).path()).unwrap(), 1);
    let folder = series(2, |made| made.photometric = "MONOCHROME1");
    let turned = level(&open(folder.path()).unwrap(), 1);
    assert!(plain.abs_diff(255 - turned) <= 1, "{plain} {turned}");
    assert!(plain > turned);
}

#[test]
fn what_is_no_volume_is_told_with_the_files_name() {
    let missing = series(6, |made| {
        if made.number >= 3 {
            made.position[2] += 5.0;
        }
    });
    let text = message(open(missing.path()));
    assert!(text.contains("2 slices are missing") && text.contains("96-1.2.3.dcm"), "{text}");

    let double = series(4, |made| {
        if made.number == 3 {
            made.position[2] -= 2.5;
        }
    });
    let text = message(open(double.path()));
    assert!(text.contains("lies where") && text.contains("96-1.2.3.dcm"), "{text}");

    let turned = series(4, |made| {
        if made.number == 0 {
            made.orientation = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0];
        }
    });
    let text = message(open(turned.path()));
    assert!(text.contains("another direction") && text.contains("99-1.2.3.dcm"), "{text}");

    let aside = series(4, |made| {
        if made.number == 2 {
            made.position[0] += 30.0;
        }
    });
    assert!(message(open(aside.path())).contains("30.0 mm beside the line"));

    let several = series(6, |made| {
        if made.number % 2 == 0 {
            made.series = "1.2.4";
        }
    });
    let text = message(open(several.path()));
    assert!(text.contains("2 series") && text.contains("2: CT, 3 slices of 20 x 16"), "{text}");
    assert!(!text.contains("1.2.4"), "{text}");
    let chosen = VolumeOptions { series: Some(2), ..options() };
    // Every second slice of another series is no gap.
    assert_eq!(Volume::open(several.path(), &chosen).unwrap().slices(), 3);
    let beyond = VolumeOptions { series: Some(3), ..options() };
    assert!(message(Volume::open(several.path(), &beyond)).contains("no series 3"));
}

#[test]
fn a_tilted_gantry_is_followed_and_told() {
    let folder = series(5, |made| made.position[1] += 0.4 * made.number as f64);
    let volume = open(folder.path()).unwrap();
    assert!(volume.warnings()[0].contains("tilted by 9.1 degrees"), "{:?}", volume.warnings());
    // Shifted slices enclose no other volume.
    assert!((volume.voxel_millilitres(2).unwrap() - 0.001).abs() < 1e-9);
}

#[test]
fn contours_become_masks_on_their_slice() {
    let folder = series(5, |_| {});
    let volume = open(folder.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let masks = masks_of(&contour(out.path(), &SQUARE, 2.0, "1.2.9"), &volume).unwrap();
    let mask = masks[2].as_ref().unwrap();
    assert_eq!(mask.area(), 5 * 6);
    assert_eq!(mask.bounding_box().map(|b| [b.x0, b.y0, b.x1, b.y1]), Some([3, 4, 7, 9]));
    assert_eq!(masks.iter().flatten().count(), 1);
}

#[test]
fn contours_of_which_none_fits_are_an_error_with_the_reasons() {
    let folder = series(5, |_| {});
    let volume = open(folder.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let text = |corners: &[[f64; 2]], slice, frame| {
        message(masks_of(&contour(out.path(), corners, slice, frame), &volume))
    };
    assert!(text(&SQUARE, 2.0, "9.9").contains("another frame of reference"));
    assert!(text(&SQUARE, 7.0, "1.2.9").contains("1 lie above or below all slices"));
    let beside = [[82.0, 2.0], [90.0, 2.0], [89.0, 9.0]];
    assert!(text(&beside, 2.0, "1.2.9").contains("1 lie beside the images"));
    assert!(text(&[[2.0, 2.0], [3.0, 2.0]], 2.0, "1.2.9").contains("fewer than three points"));
    let path = contour(out.path(), &SQUARE, 2.0, "1.2.9");
    let text = message(open_masks(&path, &volume, Some("PTV"), Foreground::AboveZero));
    assert!(text.contains("4 (GTV)"), "{text}");
    assert!(open_masks(&path, &volume, Some("GTV"), Foreground::AboveZero).is_ok());
    assert!(open_masks(&path, &volume, Some("4"), Foreground::AboveZero).is_ok());
}

fn segmentation(keep_identifiers: bool) -> SegmentationOptions {
    SegmentationOptions { label: "polyp".into(), keep_identifiers }
}

#[test]
fn a_segmentation_is_read_back_and_names_nobody() {
    let folder = series(5, |_| {});
    let volume = open(folder.path()).unwrap();
    let masks = rectangles(&volume, &[1, 2, 4]);
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("seg.dcm");
    write_segmentation(&path, &volume, &masks, &segmentation(false)).unwrap();
    assert_eq!(masks_of(&path, &volume).unwrap(), masks);
    let bytes = std::fs::read(&path).unwrap();
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!PLANTED.iter().any(|planted| holds(&bytes, planted)));
    // The images that are marked, and no others.
    assert!(holds(&bytes, "1.2.3.2") && holds(&bytes, "1.2.3.5") && !holds(&bytes, "1.2.3.1\0"));

    write_segmentation(&path, &volume, &masks, &segmentation(true)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(PLANTED.iter().all(|planted| holds(&bytes, planted)));
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);

    // Nothing found is a segmentation without a marked pixel.
    write_segmentation(&path, &volume, &vec![None; 5], &segmentation(false)).unwrap();
    assert!(message(masks_of(&path, &volume)).contains("marks nothing"));
}

#[test]
fn a_segmentation_of_other_images_is_refused() {
    let folder = series(5, |_| {});
    let volume = open(folder.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("seg.dcm");
    write_segmentation(&path, &volume, &rectangles(&volume, &[1]), &segmentation(false)).unwrap();
    let other = series(5, |made| {
        made.series = "1.2.4";
        made.position[2] += 100.0;
    });
    let other = open(other.path()).unwrap();
    let text = message(masks_of(&path, &other));
    assert!(text.contains("marks nothing") && text.contains("1 of the 1 planes"), "{text}");
    // Other images in the same places are marked by place.
    let copy = series(5, |made| made.series = "1.2.5");
    assert!(masks_of(&path, &open(copy.path()).unwrap()).unwrap()[1].is_some());
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let folder = series(2, |_| {});
    let whole = Made::new(0).write(folder.path());
    let bytes = std::fs::read(&whole).unwrap();
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("bad.dcm");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        // Whatever comes of it, it is no panic, and no error names the patient.
        let frame = open(&path).and_then(|volume| volume.frame(0));
        if let Err(error) = frame {
            let text = error.to_string();
            assert!(!PLANTED.iter().any(|planted| text.contains(planted)), "{text}");
            assert!(text.contains("bad.dcm"), "{text}");
        }
    };
    for length in (0..bytes.len()).step_by(23) {
        read(&bytes[..length]);
    }
    // Lengths and numbers that lie: each byte of the head set to 255 and to 0.
    for place in (132..bytes.len().min(1100)).step_by(5) {
        for value in [0, 255] {
            let mut bytes = bytes.clone();
            bytes[place] = value;
            read(&bytes);
        }
    }
}

#[test]
fn a_multi_frame_file_is_a_volume_of_its_frames() {
    let folder = tempfile::tempdir().unwrap();
    let frames = |count: usize| {
        (0..count).map(|frame| {
            let position = [-10.0, -20.0, 30.0 - 3.0 * frame as f64];
            item([sequence(
                tags::PLANE_POSITION_SEQUENCE,
                vec![item([decimals(tags::IMAGE_POSITION_PATIENT, &position)])],
            )])
        })
    };
    let shared = item([
        sequence(
            tags::PLANE_ORIENTATION_SEQUENCE,
            vec![item([decimals(
                tags::IMAGE_ORIENTATION_PATIENT,
                &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            )])],
        ),
        sequence(
            tags::PIXEL_MEASURES_SEQUENCE,
            vec![item([decimals(tags::PIXEL_SPACING, &[1.0, 1.0])])],
        ),
        sequence(
            tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
            vec![item([
                decimals(tags::RESCALE_SLOPE, &[2.0]),
                decimals(tags::RESCALE_INTERCEPT, &[-1000.0]),
            ])],
        ),
    ]);
    let values: Vec<u16> = (0..3u16).flat_map(|frame| vec![100 * frame; 64]).collect();
    let elements: Vec<InMemElement> = vec![
        put(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2.1"),
        put(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.77"),
        put(tags::STUDY_INSTANCE_UID, VR::UI, "1.2"),
        put(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3"),
        put(tags::MODALITY, VR::CS, "CT"),
        put(tags::NUMBER_OF_FRAMES, VR::IS, "3"),
        sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]),
        sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames(3).collect()),
        short(tags::ROWS, 8),
        short(tags::COLUMNS, 8),
        short(tags::SAMPLES_PER_PIXEL, 1),
        short(tags::BITS_ALLOCATED, 16),
        short(tags::BITS_STORED, 16),
        short(tags::HIGH_BIT, 15),
        short(tags::PIXEL_REPRESENTATION, 0),
        put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        DataElement::new(
            tags::PIXEL_DATA,
            VR::OW,
            PrimitiveValue::U16(values.into_iter().collect()),
        ),
    ];
    save(item(elements), &folder.path().join("frames.dcm"));
    let volume = open(folder.path()).unwrap();
    assert_eq!(volume.slices(), 3);
    // The file's last frame is the lowest; 200, 100, 0 stored are -600, -800, -1000.
    let levels: Vec<u8> = volume.range().map(|slice| level(&volume, slice)).collect();
    assert!(levels[0] > levels[1] && levels[1] > levels[2] && levels[2] <= 1, "{levels:?}");
    let masks = rectangles(&volume, &[0, 2]);
    let path = folder.path().join("seg.dcm");
    let whole: Vec<Option<Mask>> = masks.clone();
    write_segmentation(&path, &volume, &whole, &segmentation(false)).unwrap();
    assert_eq!(masks_of(&path, &volume).unwrap(), masks);
}
