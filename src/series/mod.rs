//! Volumes: ordered slices of a body, as DICOM series, NIfTI files and stacks of pictures hold them,
//! and the objects marked in them.
//!
//! All places are in millimetres of DICOM's patient coordinates: to the left, to the back, to the head.
//! Of a patient's data only what is needed is read, and nothing of it is in an error's words.

mod dicom;
mod error;
mod geometry;
mod masks;
mod nifti;
mod pairing;
mod placing;
mod references;
#[cfg(test)]
mod tests;
mod volume;
mod window;

use std::path::Path;

use crate::stream::{Source, SourceOptions, open_source};

pub use dicom::{
    Archive, ArchivedImages, ArchivedPatient, SegmentationOptions, write_segmentation,
};
pub use error::SeriesError;
pub use masks::{marked_voxels, open_masks};
pub use nifti::write_nifti;
pub use pairing::{Pairing, pair};
pub use placing::Marks;
pub use references::References;
pub use volume::{Axis, Volume, VolumeOptions};
pub use window::Window;

/// Opens pictures in the order of time: a DICOM video (MPEG-2, H.264, HEVC), a DICOM file of several
/// frames in colour or with times that have no place in the patient, or else what [`open_source`] opens.
///
/// # Errors
/// [`SeriesError`] for a DICOM file that cannot be read, [`SeriesError::Stream`] as [`open_source`].
pub fn open_recording(path: &Path, options: &SourceOptions) -> Result<Source, SeriesError> {
    match dicom::is_recording(path) {
        true => dicom::open_recording(path, options),
        false => Ok(open_source(path, options)?),
    }
}
