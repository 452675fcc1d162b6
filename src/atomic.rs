//! Output files that appear whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Result, Write};
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
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.part-");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    // The mode of an ordinary new file, less the umask, in place of an owner-only temporary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Flushes a finished temporary file to disk and gives it its final name.
pub(crate) fn publish(temporary: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    temporary.as_file().sync_all()?;
    temporary.persist(path).map(drop).map_err(|e| e.error)
}
