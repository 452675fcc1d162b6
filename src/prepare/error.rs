use std::path::{Path, PathBuf};

use crate::dataset::DatasetError;
use crate::image::ImageError;
use crate::series::SeriesError;

/// What can be wrong with a download, or while it is prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The folder holds something else.
    #[error("{}: {reason}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What was expected, and what was found.
        reason: String,
    },
    /// Pictures and masks that do not pair.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A folder cannot be read.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// A patient, or a picture with its mask, that cannot be prepared.
    #[error("{unit}: {reason}")]
    Unit {
        /// Which one.
        unit: String,
        /// What is wrong, with the file's name.
        reason: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl PrepareError {
    pub(super) fn write(path: &Path, error: impl std::fmt::Display) -> Self {
        Self::Write { path: path.to_path_buf(), reason: error.to_string() }
    }

    /// Of a picture or mask of a unit.
    pub(super) fn image(unit: &str, error: ImageError) -> Self {
        match error {
            ImageError::Write { path, reason } => Self::Write { path, reason },
            other => Self::Unit { unit: unit.to_owned(), reason: other.to_string() },
        }
    }
}
