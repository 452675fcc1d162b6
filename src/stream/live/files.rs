//! Names of a recording's files, and the space that its disk has.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::{RecordOptions, Side};

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
