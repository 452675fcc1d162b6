//! Output files that appear whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Error, ErrorKind, Result, Write};
use std::path::Path;

/// Writes a file under a temporary name in its own folder, flushes it to disk and renames it.
/// On an error nothing is left behind and an older file of that name stays as it was.
///
/// # Errors
/// The system's, or those of `fill`.
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> Result<()>) -> Result<()> {
    let temporary = temporary_beside(path)?;
    let mut writer = BufWriter::new(temporary.as_file());
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    publish(temporary, path)
}

/// An empty temporary file in the folder of `path`; dropping it removes it.
pub(crate) fn temporary_beside(path: &Path) -> Result<tempfile::NamedTempFile> {
    if path.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, "it is a folder"));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        let reason = format!("the folder {} does not exist", folder.display());
        return Err(Error::new(ErrorKind::NotFound, reason));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.part-");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    // The mode of an ordinary new file, less the umask, in place of an owner-only temporary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // The system's own words, without the temporary name that nobody asked for.
    builder.tempfile_in(folder).map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.source()).map(ToString::to_string);
        inner.map_or(error.kind().into(), |reason| Error::new(error.kind(), reason))
    })
}

/// Whether a file of that name can be begun: its folder exists and can be written to, and the name
/// is not a folder's.
///
/// # Errors
/// The system's.
pub fn can_write(path: &Path) -> Result<()> {
    temporary_beside(path).map(drop)
}

/// Flushes a finished temporary file to disk and gives it its final name.
pub(crate) fn publish(temporary: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    temporary.as_file().sync_all()?;
    temporary.persist(path).map(drop).map_err(|e| e.error)
}
