use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::image::ImageError;
use crate::method::MethodError;

/// What can go wrong with an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The method failed on a picture.
    #[error("{frame}: {source}")]
    Method {
        /// Sequence and picture.
        frame: String,
        /// What failed.
        source: Box<MethodError>,
    },
    /// Data that constants cannot be fitted to.
    #[error("presence cannot be fitted: {reason}")]
    Unfit {
        /// Why, with numbers.
        reason: String,
    },
    /// The data.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A picture.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A result file or folder cannot be read or written.
    #[error("cannot {verb} {}: {reason}", path.display())]
    File {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A folder holds the results of another run.
    #[error(
        "{} holds results of other settings: {}; name another folder",
        path.display(),
        differences.join(", ")
    )]
    Settings {
        /// The folder.
        path: PathBuf,
        /// What differs, both values.
        differences: Vec<String>,
    },
    /// The data have changed since a sequence was evaluated.
    #[error(
        "{} was made of other pictures or masks than the data set has now; \
         name another folder, or remove the file",
        path.display()
    )]
    Changed {
        /// The result file.
        path: PathBuf,
    },
    /// Two folders to merge hold the same sequence.
    #[error("the sequence {sequence} of {method} is in two folders, with different results")]
    Twice {
        /// The sequence.
        sequence: String,
        /// The method's name.
        method: String,
    },
}
