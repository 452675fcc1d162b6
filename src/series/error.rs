use std::path::PathBuf;

use crate::image::ImageError;
use crate::method::MethodError;
use crate::stream::StreamError;

/// What can be wrong with volumes and with what is marked in them. No message holds anything that a
/// DICOM file says of its patient; files are told by their names.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is damaged, or of a kind that is not read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There are no slices.
    #[error("{} holds no DICOM images, no NIfTI file and no pictures", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
    /// A folder holds several series.
    #[error(
        "{} holds {count} series; choose one with --series N:\n{list}", path.display()
    )]
    SeveralSeries {
        /// The folder.
        path: PathBuf,
        /// How many.
        count: usize,
        /// Each with its number, kind and size.
        list: String,
    },
    /// There is no series of that number.
    #[error("{} has no series {number}:\n{list}", path.display())]
    NoSuchSeries {
        /// The folder.
        path: PathBuf,
        /// The number asked for.
        number: usize,
        /// Each with its number, kind and size.
        list: String,
    },
    /// The slices do not make a volume.
    #[error("{}: {reason}", path.display())]
    Geometry {
        /// The first slice that does not fit.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A volume needs more memory than there is.
    #[error(
        "{} needs {} MiB of memory, and {} MiB are free; cut the volume, or free some",
        path.display(), needed >> 20, free >> 20
    )]
    Memory {
        /// The file.
        path: PathBuf,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that there are.
        free: u64,
    },
    /// Several objects are marked, or none of that name.
    #[error("{}: {reason}; choose one with --roi NAME or --roi NUMBER: {names}", path.display())]
    Roi {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// The objects' numbers and names.
        names: String,
    },
    /// A mask does not belong to the volume.
    #[error("{}: {reason}", path.display())]
    Mask {
        /// The mask's file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A picture or its mask cannot be read or made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A video, or a series of pictures, cannot be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A slice cannot be a reference, or the model failed.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl SeriesError {
    /// A damaged or unfit file.
    pub(super) fn file(path: &std::path::Path, reason: impl Into<String>) -> Self {
        Self::File { path: path.to_path_buf(), reason: reason.into() }
    }

    /// A mask that does not fit.
    pub(super) fn mask(path: &std::path::Path, reason: impl Into<String>) -> Self {
        Self::Mask { path: path.to_path_buf(), reason: reason.into() }
    }

    /// A file that cannot be written.
    pub(super) fn write(path: &std::path::Path, reason: impl std::fmt::Display) -> Self {
        Self::Write { path: path.to_path_buf(), reason: reason.to_string() }
    }
}
