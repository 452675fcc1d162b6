use std::path::PathBuf;

use super::Architecture;

/// What can go wrong with models, weights and devices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SamError {
    /// Not one of the names in [`Architecture::ALL`].
    #[error("unknown architecture '{0}'; known are {known}", known = known())]
    UnknownArchitecture(String),
    /// Not `auto`, `cpu`, `cuda` or `cuda:N`.
    #[error("unknown device '{0}'; known are auto, cpu, cuda and cuda:N")]
    UnknownDevice(String),
    /// A device does not work.
    #[error("device {device} cannot be used: {reason}; --device cpu always works")]
    Device {
        /// The device asked for.
        device: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A weights file is missing, unreadable, truncated or of an unknown format.
    #[error("cannot read weights from {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tensors fit no known architecture.
    #[error(
        "{} holds no model that this program knows: {reason}; known are {}",
        path.display(),
        known()
    )]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// What was looked for and not found.
        reason: String,
    },
    /// The tensors do not fit the architecture.
    #[error("{} does not fit {architecture}:{}", path.display(), list(missing, unexpected, misshapen))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The architecture given or recognised.
        architecture: Architecture,
        /// Names of tensors that the model needs and the file lacks.
        missing: Vec<String>,
        /// Names of tensors that the model does not know.
        unexpected: Vec<String>,
        /// Names of tensors of another shape, with both shapes.
        misshapen: Vec<String>,
    },
    /// A weights file could not be written.
    #[error("cannot write weights to {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An adapter that cannot be used.
    #[error("cannot use the adapter {}: {reason}", path.display())]
    Adapter {
        /// The adapter's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An input size that the architecture cannot take.
    #[error(
        "{architecture} cannot take an input of {side} pixels; {}",
        if architecture.takes_any_size() { "give a multiple of 64 from 128 to 1024".to_owned() }
        else { format!("its input is always {} pixels", architecture.input_side()) }
    )]
    InputSize {
        /// The architecture.
        architecture: Architecture,
        /// Side of the input asked for, in pixels.
        side: u32,
    },
    /// A prompt that the model cannot take.
    #[error("unusable prompt: {0}")]
    Prompt(String),
    /// The device gave up during a computation.
    #[error("the device failed: {0}")]
    Compute(String),
}

fn known() -> String {
    Architecture::ALL.map(Architecture::name).join(", ")
}

fn list(missing: &[String], unexpected: &[String], misshapen: &[String]) -> String {
    let mut text = String::new();
    for (kind, names) in
        [("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)]
    {
        if !names.is_empty() {
            text.push_str(&format!("\n  {} {kind}:", names.len()));
            for name in names {
                text.push_str(&format!("\n    {name}"));
            }
        }
    }
    text
}
