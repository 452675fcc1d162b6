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
mod references;
#[cfg(test)]
mod tests;
mod volume;
mod window;

pub use dicom::{
    Archive, ArchivedImages, ArchivedPatient, SegmentationOptions, write_segmentation,
};
pub use error::SeriesError;
pub use masks::{marked_voxels, open_masks};
pub use nifti::write_nifti;
pub use pairing::{Pairing, pair};
pub use references::References;
pub use volume::{Axis, Volume, VolumeOptions};
pub use window::Window;
