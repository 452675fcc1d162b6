//! The files of a run beside its state: weights and the log.

use std::io::Write;
use std::path::Path;

use burn::Dispatch;
use burn_store::{BurnpackStore, ModuleSnapshot};

use super::FinetuneError;
use super::run::MetricsLine;
use crate::sam::{Architecture, Model};

/// Writes weights in this program's own format.
pub fn save_weights(
    path: &Path,
    model: &Model<Dispatch>,
    architecture: Architecture,
    half: bool,
) -> Result<(), FinetuneError> {
    let fail = |e: String| FinetuneError::file(path, e);
    let temporary = crate::atomic::temporary_beside(path).map_err(|e| fail(e.to_string()))?;
    let mut store = BurnpackStore::from_file(temporary.path())
        .auto_extension(false)
        .overwrite(true)
        .metadata("architecture", architecture.name());
    if half {
        store = store.with_to_adapter(burn_store::HalfPrecisionAdapter::new());
    }
    model.save_into(&mut store).map_err(|e| fail(e.to_string()))?;
    crate::atomic::publish(temporary, path).map_err(|e| fail(e.to_string()))
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
