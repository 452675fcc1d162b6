//! The files of a run beside its state: weights and the log.

use std::io::Write;
use std::path::Path;

use super::learner::Learner;
use super::run::MetricsLine;
use super::trainer::Trainer;
use super::{FinetuneError, FinetuneOptions, TrainedPart};
use crate::sam::{Base, Metadata, SamError, save_adapter, tensors_of};

/// Writes what was learnt, as an adapter of the weights that training started from.
pub fn save_learnt(
    path: &Path,
    trainer: &Trainer,
    options: &FinetuneOptions,
    base: &Base,
    metadata: &Metadata,
) -> Result<(), FinetuneError> {
    let Learner { model, lora } = trainer.learnt();
    let mut tensors = tensors_of(&model).map_err(SamError::Compute)?;
    if options.part != TrainedPart::Full {
        tensors.retain(|name, _| !name.starts_with("image_encoder."));
    }
    let architecture = trainer.kind.architecture;
    save_adapter(path, architecture, base, tensors, lora.as_ref(), options.half, metadata)?;
    Ok(())
}

/// Appends a line to the log.
pub fn log(path: &Path, line: &MetricsLine) -> Result<(), FinetuneError> {
    let fail = |e: std::io::Error| FinetuneError::file(path, e);
    let mut text = serde_json::to_string(line).map_err(|e| FinetuneError::file(path, e))?;
    text.push('\n');
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)
}

/// Drops the lines of steps after `step`: they will be taken again.
pub fn rewind_log(path: &Path, step: u64) -> Result<(), FinetuneError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(FinetuneError::file(path, e)),
    };
    let kept = text.lines().filter(|line| {
        serde_json::from_str::<MetricsLine>(line).is_ok_and(|line| line.step() <= step)
    });
    crate::atomic::write(path, |file| {
        kept.into_iter().try_for_each(|line| writeln!(file, "{line}"))
    })
    .map_err(|e| FinetuneError::file(path, e))
}
