use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::sam::SamError;
use crate::weights::WeightsError;

/// What can go wrong while a model is trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// Settings that contradict each other, the model or the data.
    #[error("{0}")]
    Settings(String),
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The model fails.
    #[error(transparent)]
    Model(#[from] SamError),
    /// The weights that training starts from cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The folder holds the state of another run.
    #[error(
        "{} holds a run with other settings or data: {}; give another --out, or the settings and \
         data that it was begun with", folder.display(), differences.join(", ")
    )]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// What differs, each as `name: then, now`.
        differences: Vec<String>,
    },
    /// A state file is damaged.
    #[error("cannot go on from {}: {reason}; remove it to begin anew", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The loss or a gradient is no number any more.
    #[error(
        "step {step}: {what} is not finite, on the pictures {}; the last good weights are in {}; \
         a smaller --lr or --clip 1 may help", pictures.join(", "), folder.display()
    )]
    NonFinite {
        /// The optimiser's step, counted from 1.
        step: u64,
        /// The loss, or the gradient.
        what: &'static str,
        /// The pictures of the step.
        pictures: Vec<String>,
        /// The run's folder.
        folder: PathBuf,
    },
    /// A file of the run cannot be written or read.
    #[error("cannot use {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl FinetuneError {
    pub(super) fn file(path: &std::path::Path, error: impl ToString) -> Self {
        Self::File { path: path.to_path_buf(), reason: error.to_string() }
    }
}
