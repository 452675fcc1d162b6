use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{EvalError, SequenceResult};
use crate::dataset::Sequence;

/// All that results depend on besides the data, as names and values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(pub BTreeMap<String, String>);

impl Settings {
    /// What differs from other settings, in words.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let of = |map: &BTreeMap<String, String>, name: &str| {
            map.get(name).cloned().unwrap_or_else(|| "nothing".to_owned())
        };
        names
            .into_iter()
            .filter(|name| self.0.get(*name) != other.0.get(*name))
            .map(|name| format!("{name} {} there, {} now", of(&self.0, name), of(&other.0, name)))
            .collect()
    }
}

/// A folder of results: `settings.json`, and for each method and sequence one file that is written
/// whole. A run that was stopped goes on from there, and runs of parts of a data set are merged.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

const SETTINGS: &str = "settings.json";

impl Store {
    /// Makes the folder, or takes one up that was made with the same settings.
    ///
    /// # Errors
    /// [`EvalError::Settings`] if it holds results of other settings, [`EvalError::File`].
    pub fn open(folder: &Path, settings: &Settings) -> Result<Self, EvalError> {
        std::fs::create_dir_all(folder).map_err(|e| file("write", folder, e))?;
        let store = Self { folder: folder.to_path_buf() };
        let path = folder.join(SETTINGS);
        if !path.exists() {
            write(&path, settings)?;
            return Ok(store);
        }
        let differences = read::<Settings>(&path)?.differences(settings);
        if differences.is_empty() {
            return Ok(store);
        }
        Err(EvalError::Settings { path: folder.to_path_buf(), differences })
    }

    /// The settings and all results of a folder.
    ///
    /// # Errors
    /// [`EvalError::File`].
    pub fn read(folder: &Path) -> Result<(Settings, Vec<SequenceResult>), EvalError> {
        let settings = read(&folder.join(SETTINGS))?;
        let list = |folder: &Path| -> Result<Vec<PathBuf>, EvalError> {
            let entries = std::fs::read_dir(folder).map_err(|e| file("read", folder, e))?;
            let mut paths = Vec::new();
            for entry in entries {
                let path = entry.map_err(|e| file("read", folder, e))?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                // What a killed run was writing is hidden.
                if !name.starts_with('.') {
                    paths.push(path);
                }
            }
            paths.sort_by(|a, b| alphanumeric_sort::compare_path(a, b));
            Ok(paths)
        };
        let mut results = Vec::new();
        for method in list(folder)?.iter().filter(|path| path.is_dir()) {
            for path in list(method)?.iter().filter(|p| p.extension().is_some_and(|e| e == "json"))
            {
                results.push(read(path)?);
            }
        }
        Ok((settings, results))
    }

    /// A result that is there already.
    ///
    /// # Errors
    /// [`EvalError::Changed`] if it was made of other data, [`EvalError::File`].
    pub fn get(
        &self,
        method: &str,
        sequence: &Sequence,
        data: &str,
    ) -> Result<Option<SequenceResult>, EvalError> {
        let path = self.path(method, &sequence.name);
        if !path.exists() {
            return Ok(None);
        }
        let result: SequenceResult = read(&path)?;
        if result.data == data {
            return Ok(Some(result));
        }
        Err(EvalError::Changed { path })
    }

    /// Adds a result.
    ///
    /// # Errors
    /// [`EvalError::File`].
    pub fn put(&self, result: &SequenceResult) -> Result<(), EvalError> {
        let path = self.path(&result.method, &result.sequence);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| file("write", folder, e))?;
        }
        write(&path, result)
    }

    fn path(&self, method: &str, sequence: &str) -> PathBuf {
        // A name of several folders becomes one file, and no two names the same.
        let name = sequence.replace('%', "%25").replace('/', "%2F");
        self.folder.join(method).join(format!("{name}.json"))
    }
}

/// Digest of the names and lengths of the files that a sequence is made of, and of what is segmented
/// by which reference.
///
/// # Errors
/// [`EvalError::File`] if a file is gone.
pub fn digest(sequence: &Sequence) -> Result<String, EvalError> {
    let mut hasher = Sha256::new();
    for target in &sequence.targets {
        hasher.update(format!("{} {} {};", target.sample, target.reference, target.scored));
    }
    for sample in &sequence.samples {
        hasher.update(format!("{} {:?}", sample.name, sample.foreground));
        for path in [&sample.image, &sample.mask] {
            let length = std::fs::metadata(path).map_err(|e| file("read", path, e))?.len();
            hasher.update(format!(" {length};"));
        }
    }
    Ok(hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn file(verb: &'static str, path: &Path, error: impl ToString) -> EvalError {
    EvalError::File { verb, path: path.to_path_buf(), reason: error.to_string() }
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), EvalError> {
    crate::atomic::write(path, |file| {
        serde_json::to_writer(&mut *file, value)?;
        file.write_all(b"\n")
    })
    .map_err(|e| file("write", path, e))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, EvalError> {
    let bytes = std::fs::read(path).map_err(|e| file("read", path, e))?;
    serde_json::from_slice(&bytes).map_err(|e| file("read", path, e))
}
