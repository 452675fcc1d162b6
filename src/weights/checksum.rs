//! Checksums of files, computed once for each.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::WeightsError;
use super::folders::variable;

/// Most bytes of the file with remembered checksums, and most of them.
const LARGEST: u64 = 1 << 20;
const MOST: usize = 256;

/// A file that was changed this short a time ago may change again without another time.
const SETTLED: Duration = Duration::from_secs(2);

/// The sha256 of a file, in hexadecimal.
///
/// # Errors
/// [`WeightsError::File`].
pub fn sha256(path: &Path) -> Result<String, WeightsError> {
    let mut file = File::open(path).map_err(|e| WeightsError::file(path, e))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).map_err(|e| WeightsError::file(path, e))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// [`sha256`], or what it was when the file had the same size and times: remembered in the user's cache
/// folder. Without one it is computed.
///
/// # Errors
/// [`WeightsError::File`].
pub fn remembered_sha256(path: &Path) -> Result<String, WeightsError> {
    remembered_in(cache_file().as_deref(), path)
}

/// A file as it was when its checksum was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    stamp: String,
    sha256: String,
}

fn cache_file() -> Option<PathBuf> {
    let cache = variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .filter(|folder| folder.is_absolute())?;
    Some(cache.join("p2sam").join("checksums.json"))
}

fn remembered_in(cache: Option<&Path>, path: &Path) -> Result<String, WeightsError> {
    let metadata = path.metadata().map_err(|e| WeightsError::file(path, e))?;
    let stamp = stamp(&metadata);
    let key = path.canonicalize().ok().and_then(|path| path.to_str().map(str::to_owned));
    let (Some(cache), Some(key), Some(stamp)) = (cache, key, stamp) else { return sha256(path) };
    let mut all = read(cache);
    if let Some(known) = all.get(&key).filter(|known| known.stamp == stamp) {
        return Ok(known.sha256.clone());
    }
    let sum = sha256(path)?;
    let settled = metadata.modified().is_ok_and(|changed| {
        SystemTime::now().duration_since(changed).is_ok_and(|since| since > SETTLED)
    });
    if settled {
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(key, Known { stamp, sha256: sum.clone() });
        // Without room for it, it is computed again next time.
        if let Err(error) = write(cache, &all) {
            log::debug!("cannot remember a checksum in {}: {error}", cache.display());
        }
    }
    Ok(sum)
}

/// Size and times, of which one changes with the file.
fn stamp(file: &Metadata) -> Option<String> {
    let modified = file.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let plain = format!("{} {}", file.len(), modified.as_nanos());
    #[cfg(unix)]
    {
        // Unlike the time of its contents, this one cannot be set.
        use std::os::unix::fs::MetadataExt;
        Some(format!("{plain} {}.{} {}", file.ctime(), file.ctime_nsec(), file.ino()))
    }
    #[cfg(not(unix))]
    Some(plain)
}

/// What is remembered; nothing if that cannot be read.
fn read(cache: &Path) -> BTreeMap<String, Known> {
    let fits = cache.metadata().is_ok_and(|file| file.is_file() && file.len() <= LARGEST);
    let text = fits.then(|| std::fs::read(cache).ok()).flatten().unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write(cache: &Path, all: &BTreeMap<String, Known>) -> std::io::Result<()> {
    if let Some(folder) = cache.parent() {
        std::fs::create_dir_all(folder)?;
    }
    crate::atomic::write(cache, |file| serde_json::to_writer(file, all).map_err(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_old(path: &Path) {
        let file = File::options().write(true).open(path).expect("a file");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("settable");
    }

    #[test]
    fn a_checksum_is_computed_once_and_again_after_a_change() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, cache) = (folder.path().join("weights"), folder.path().join("c/sums.json"));
        std::fs::write(&path, b"some weights").expect("writable");
        made_old(&path);
        let sum = remembered_in(Some(&cache), &path).expect("readable");
        assert_eq!(sum, sha256(&path).expect("readable"));
        // What is remembered is believed.
        let text = std::fs::read_to_string(&cache).expect("remembered");
        std::fs::write(&cache, text.replace(&sum, "another sum")).expect("writable");
        assert_eq!(remembered_in(Some(&cache), &path).expect("readable"), "another sum");
        // The same size and the same time of its contents, but another file.
        std::fs::write(&path, b"same weights").expect("writable");
        made_old(&path);
        let changed = remembered_in(Some(&cache), &path).expect("readable");
        assert_eq!(changed, sha256(&path).expect("readable"));
        assert_ne!(changed, sum);
    }

    #[test]
    fn a_new_file_and_a_broken_memory_are_no_obstacle() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, cache) = (folder.path().join("weights"), folder.path().join("sums.json"));
        std::fs::write(&path, b"some weights").expect("writable");
        let sum = sha256(&path).expect("readable");
        assert_eq!(remembered_in(Some(&cache), &path).expect("readable"), sum);
        assert!(!cache.exists(), "it may still be written to");
        made_old(&path);
        std::fs::write(&cache, b"{ no JSON").expect("writable");
        assert_eq!(remembered_in(Some(&cache), &path).expect("readable"), sum);
        assert_eq!(remembered_in(None, &path).expect("readable"), sum);
        assert!(read(&cache).len() == 1);
        let nowhere = Path::new("/dev/null/sums.json");
        assert_eq!(remembered_in(Some(nowhere), &path).expect("readable"), sum);
    }
}
