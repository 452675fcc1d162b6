//! What is known of a job that fills a folder: a file in it says what was asked for and whether it is
//! done.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// In a job's folder.
const RECORD: &str = "job.json";
const LOCK: &str = "job.lock";

/// How far a job is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Begun. If nobody holds its lock, whoever worked on it was stopped.
    Begun,
    /// All is written.
    Done,
    /// All is written, but frames are missing or damaged.
    Incomplete,
}

/// The record of a job.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    state: State,
    /// What decides on the results: the job and all settings.
    task: Value,
}

/// A job's folder, held by this process alone.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    task: Value,
    /// Its lock ends with it.
    _lock: File,
}

/// What a job's folder says.
#[derive(Debug)]
pub enum Found {
    /// There is something to do.
    Open(Ledger),
    /// It was done before.
    Finished(State),
}

impl Ledger {
    /// Takes a job's folder, which is made if it is not there. `is_finished` says in which states
    /// nothing is left to do.
    ///
    /// # Errors
    /// If another process is at it, or it holds other results: of other settings, or of no job.
    pub fn open(
        folder: &Path,
        task: Value,
        is_finished: fn(State) -> bool,
    ) -> anyhow::Result<Found> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        // Before anything is put into what may be somebody's folder.
        if !folder.join(RECORD).exists() {
            check_empty(folder)?;
        }
        let place = folder.join(LOCK);
        let lock =
            File::create(&place).with_context(|| format!("cannot write {}", place.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another process works on {}", folder.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", place.display()));
            }
        }
        let ledger = Self { folder: folder.to_path_buf(), task, _lock: lock };
        match ledger.read()? {
            Some(record) if record.task != ledger.task => {
                let differ = differences(&record.task, &ledger.task).join(", ");
                bail!(
                    "{} holds results of another task ({differ}); name another output",
                    folder.display()
                )
            }
            Some(Record { state, .. }) if is_finished(state) => {
                let _ = std::fs::remove_file(place);
                Ok(Found::Finished(state))
            }
            Some(_) => {
                clear(&ledger.folder)?;
                ledger.write(State::Begun)?;
                Ok(Found::Open(ledger))
            }
            None => {
                check_empty(folder)?;
                ledger.write(State::Begun)?;
                Ok(Found::Open(ledger))
            }
        }
    }

    /// Tells that the job has come to its end.
    pub fn finish(self, state: State) -> anyhow::Result<()> {
        self.write(state)?;
        // Not before: whoever holds the removed file's lock meanwhile must find the record.
        let _ = std::fs::remove_file(self.folder.join(LOCK));
        Ok(())
    }

    fn read(&self) -> anyhow::Result<Option<Record>> {
        let path = self.folder.join(RECORD);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is no record of a job", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn write(&self, state: State) -> anyhow::Result<()> {
        let path = self.folder.join(RECORD);
        let record = Record { state, task: self.task.clone() };
        p2sam::write_whole(&path, |file| Ok(serde_json::to_writer_pretty(file, &record)?))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Nothing that somebody else made is written over.
fn check_empty(folder: &Path) -> anyhow::Result<()> {
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        // The record may just be written.
        let own = name == LOCK || name.to_string_lossy().starts_with(&format!(".{RECORD}.part-"));
        if !own {
            bail!(
                "{} holds {}, which was not made here; name another output",
                folder.display(),
                name.display()
            );
        }
    }
    Ok(())
}

/// Removes what a process that was killed had not finished.
fn clear(folder: &Path) -> anyhow::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_unfinished = name.starts_with('.') && name.contains(".part-");
        let what = || format!("cannot remove {}", entry.path().display());
        match entry.file_type()?.is_dir() {
            true if is_unfinished => std::fs::remove_dir_all(entry.path()).with_context(what)?,
            true => clear(&entry.path())?,
            false if is_unfinished => std::fs::remove_file(entry.path()).with_context(what)?,
            false => {}
        }
    }
    Ok(())
}

/// Names of what differs.
fn differences(a: &Value, b: &Value) -> Vec<String> {
    match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
        }
        _ => Vec::new(),
    }
}
