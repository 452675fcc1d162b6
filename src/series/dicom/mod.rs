//! DICOM: series of images, and the objects that segmentations and structure sets mark in them.

mod archive;
mod charset;
mod codestream;
mod contours;
mod decoding;
pub(super) mod elements;
mod file;
mod header;
mod nuclear;
mod order;
mod pixels;
mod read_segmentation;
mod recording;
mod scan;
mod structure_set;
#[cfg(feature = "gstreamer")]
mod video;
mod write_segmentation;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dicom_dictionary_std::uids;

use super::geometry::Geometry;
use super::placing::Marks;
use super::window::GreyWindow;
use super::{SeriesError, Volume, VolumeOptions};
use header::{Header, Slice};

pub use archive::{Archive, ArchivedImages, ArchivedPatient};
pub(super) use recording::{is_recording, open_recording};
pub(super) use scan::{files, is_dicom};
pub use write_segmentation::{SegmentationOptions, write_segmentation};

/// A series of images in the order of their places.
pub(super) struct DicomSeries {
    /// What all slices share.
    header: Header,
    slices: Vec<Slice>,
    window: GreyWindow,
    /// The file read last: of a multi-frame file all slices come from it.
    opened: Mutex<Option<(PathBuf, Arc<pixels::Pixels>)>>,
}

impl std::fmt::Debug for DicomSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DicomSeries").field("slices", &self.slices.len()).finish_non_exhaustive()
    }
}

impl DicomSeries {
    /// Opens the only series among files, or the one chosen; with it come where it lies and what is worth
    /// knowing before its slices are trusted.
    pub fn open(
        path: &Path,
        files: &[PathBuf],
        options: &VolumeOptions,
    ) -> Result<(Self, Option<Geometry>, Vec<String>), SeriesError> {
        let (header, slices) = scan::series(path, files, options.series)?;
        let mut warnings = Vec::new();
        let (slices, geometry) = order::ordered(&header, slices, &mut warnings)?;
        let opened = Mutex::new(None);
        let window = GreyWindow::exact(0.0, 1.0);
        let mut series = Self { header, slices, window, opened };
        series.window = series.choose_window(options.window)?;
        Ok((series, geometry, warnings))
    }

    /// Columns and rows.
    pub fn size(&self) -> [u32; 2] {
        self.header.size
    }

    /// Number of slices.
    pub fn slices(&self) -> usize {
        self.slices.len()
    }

    /// Whether places in both mean the same.
    pub fn shares_frame_of_reference(&self, other: &Self) -> bool {
        let (a, b) = (&self.header.frame_of_reference, &other.header.frame_of_reference);
        a.is_some() && a == b
    }

    /// Which slice an instance and its frame (from 1) are.
    fn slice_of(&self, sop_instance: &str, frame: Option<u32>) -> Option<usize> {
        self.slices.iter().position(|slice| {
            slice.sop_instance == sop_instance && frame.is_none_or(|frame| frame == slice.frame + 1)
        })
    }
}

/// What a segmentation or structure set, or the only one in a folder, marks on a volume's slices.
pub(super) fn masks(path: &Path, volume: &Volume, roi: Option<&str>) -> Result<Marks, SeriesError> {
    let file = scan::marks(path)?;
    let object = file::open(&file)?;
    let class = elements::text(&object, dicom_dictionary_std::tags::SOP_CLASS_UID);
    match class.as_deref() {
        Some(uids::RT_STRUCTURE_SET_STORAGE) => structure_set::masks(&file, &object, volume, roi),
        Some(uids::SEGMENTATION_STORAGE | uids::LABEL_MAP_SEGMENTATION_STORAGE) => {
            read_segmentation::masks(&file, &object, volume, roi)
        }
        _ => Err(SeriesError::mask(&file, "neither a DICOM segmentation nor an RT structure set")),
    }
}

/// Whether marks in a frame of reference may be put on a volume by place: not if the volume says that it is
/// in another one.
fn check_frame_of_reference(
    path: &Path,
    marks: Option<&str>,
    volume: &Volume,
    warnings: &mut Vec<String>,
) -> Result<(), SeriesError> {
    let super::volume::Content::Dicom(series) = &volume.content else {
        warnings.push(
            "whether it was drawn in the volume's coordinates cannot be told, as the volume is no DICOM \
             series"
                .into(),
        );
        return Ok(());
    };
    match (marks, series.header.frame_of_reference.as_deref()) {
        (Some(drawn), Some(own)) if drawn != own => {
            let reason = "was drawn in another frame of reference than the images are in; give the \
                          images that it was drawn on";
            Err(SeriesError::mask(path, reason))
        }
        _ => Ok(()),
    }
}

/// One of the objects that a file marks: by its number or its name, or the only one.
fn choose(path: &Path, objects: &[(i64, String)], roi: Option<&str>) -> Result<i64, SeriesError> {
    let wrong = |reason: &str| {
        let names: Vec<_> =
            objects.iter().map(|(number, name)| format!("{number} ({name})")).collect();
        SeriesError::Roi {
            path: path.to_path_buf(),
            reason: reason.to_owned(),
            names: names.join(", "),
        }
    };
    let Some(roi) = roi else {
        return match objects {
            [] => Err(SeriesError::mask(path, "marks no object")),
            [(number, _)] => Ok(*number),
            _ => Err(wrong("marks several objects")),
        };
    };
    let named: Vec<_> = objects.iter().filter(|(_, name)| name == roi).collect();
    match (named.as_slice(), roi.parse::<i64>()) {
        ([(number, _)], _) => Ok(*number),
        ([], Ok(number)) if objects.iter().any(|object| object.0 == number) => Ok(number),
        ([], _) => Err(wrong("has no such object")),
        _ => Err(wrong("has several objects of that name")),
    }
}
