//! Names of a recording's files, and the space that its disk has.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::results::{self, Results};
use super::{RecordOptions, Side};

/// Bytes that a file needs at least, whatever is to stay free.
const LEAST_SPACE: u64 = 8 << 20;

/// By how much more space must be there to go on than to stop, at most.
const MARGIN: u64 = 64 << 20;

/// The folder that `prefix` lies in.
pub(super) fn folder(prefix: &Path) -> &Path {
    match prefix.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Bytes that a user may still write to a folder's disk.
pub(super) fn free(folder: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

impl RecordOptions {
    /// Bytes that may still be written where the files go; `None` if that cannot be told.
    pub fn free_bytes(&self) -> Option<u64> {
        free(folder(&self.prefix)).ok()
    }
}

/// The file of a segment.
pub(super) fn file(prefix: &Path, side: Side, number: u32) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(format!("-{}-{number:05}.mkv", side.name()));
    name.into()
}

/// Makes the file of a segment, of the first number from `next` on that no file has. Nothing that is
/// there is ever opened, whoever made it and when.
///
/// # Errors
/// The system's.
pub(super) fn create(
    prefix: &Path,
    side: Side,
    next: u32,
) -> std::io::Result<(File, PathBuf, u32)> {
    for number in next..=u32::MAX {
        let path = file(prefix, side, number);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(made) => return Ok((made, path, number)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, "no number is left for another file"))
}

/// The number behind those of all files that are there.
pub(super) fn next_number(prefix: &Path) -> std::io::Result<u32> {
    let name = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut next = 0;
    for entry in std::fs::read_dir(folder(prefix))? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        let number = [Side::Clean, Side::Overlay].into_iter().find_map(|side| {
            let rest = file.strip_prefix(&name)?.strip_prefix(&format!("-{}-", side.name()))?;
            rest.strip_suffix(".mkv")?.parse::<u32>().ok()
        });
        next = next.max(number.map_or(0, |number| number.saturating_add(1)));
    }
    Ok(next)
}

/// Where a recording goes.
pub(super) struct Place {
    pub(super) results: Result<Results, String>,
    pub(super) next: u32,
    /// Why there is no space, at the start.
    pub(super) full: Option<String>,
}

impl Place {
    /// Looks for space and opens the results.
    ///
    /// # Errors
    /// In words, why nothing can be recorded here now. With [`RecordOptions::wait`] only if waiting
    /// does not help: there is no folder, or another recording has the prefix.
    pub(super) fn open(options: &RecordOptions) -> Result<Self, String> {
        let folder = folder(&options.prefix);
        let left = free(folder)
            .map_err(|e| format!("{}: {e}; make the folder or name another", folder.display()))?;
        let full = (left < needed(options, false)).then(|| {
            format!(
                "{} MB are free on the disk of {}, but {} are to stay free; free some space or \
                 record elsewhere",
                left / 1_000_000,
                folder.display(),
                needed(options, false) / 1_000_000
            )
        });
        if let Some(reason) = full.as_ref().filter(|_| !options.wait) {
            return Err(reason.clone());
        }
        let opened = Results::open(&options.prefix);
        let results = match opened {
            Err(e) if !options.wait || e.kind() == ErrorKind::ResourceBusy => {
                return Err(format!("{}: {e}", results::path(&options.prefix).display()));
            }
            opened => opened.map_err(|e| e.to_string()),
        };
        // Files are made exclusively: a wrong number costs time only.
        let next = next_number(&options.prefix).unwrap_or(0);
        Ok(Self { results, next, full })
    }
}

/// Bytes that must be free to record; to record again, some more.
pub(super) fn needed(options: &RecordOptions, again: bool) -> u64 {
    let least = options.min_free.max(LEAST_SPACE);
    if again { least.saturating_add((least / 8).min(MARGIN)) } else { least }
}
