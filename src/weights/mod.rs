//! The weights this program knows: where they come from, where they lie, whether they are whole.

mod fetch;

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::sam::Architecture;

pub use fetch::fetch;

/// The weights used unless others are asked for.
pub const DEFAULT_WEIGHTS: &str = "mobile-sam";

/// What can go wrong with the catalog's weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Neither a file nor a name in the catalog.
    #[error(
        "'{name}' is neither a file nor weights that the catalog knows; known are {known} \
         (`p2sam weights list`)"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The catalog's names.
        known: String,
    },
    /// Known, but not on this machine.
    #[error("weights '{name}' are not at {}; {how}", path.display())]
    Absent {
        /// The catalog's name.
        name: String,
        /// Where they should lie.
        path: PathBuf,
        /// How to get them.
        how: String,
    },
    /// The file's contents are not those that the catalog names.
    #[error(
        "{} has the wrong contents: its sha256 is {found}, not {expected}; remove it and fetch it \
         again",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// What the catalog says.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A file could not be read or written.
    #[error("cannot use {}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The package manager did not deliver.
    #[error("cannot fetch weights '{name}': {reason}")]
    Fetch {
        /// The catalog's name.
        name: String,
        /// What went wrong and what to do.
        reason: String,
    },
}

impl WeightsError {
    fn file(path: &Path, error: impl ToString) -> Self {
        Self::File { path: path.to_path_buf(), reason: error.to_string() }
    }
}

/// Weights of the catalog.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// The name used on the command line.
    pub name: String,
    architecture: String,
    /// File name within the weights folder.
    pub file: String,
    /// Checksum of the file, where this project has seen it.
    pub sha256: Option<String>,
    /// Licence of the weights.
    pub licence: String,
    /// What they are.
    pub description: String,
    package: Option<Package>,
}

/// The Python package that carries a weights file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    requirement: String,
    options: Vec<String>,
    member: String,
}

#[derive(Deserialize)]
struct Catalog {
    weights: Vec<CatalogEntry>,
}

impl CatalogEntry {
    /// The model's architecture.
    pub fn architecture(&self) -> Option<Architecture> {
        self.architecture.parse().ok()
    }

    /// Whether `p2sam weights fetch` can get them.
    pub fn is_fetchable(&self) -> bool {
        self.package.is_some()
    }

    /// Compares a file with the catalog's checksum.
    ///
    /// # Errors
    /// [`WeightsError::File`] and [`WeightsError::Checksum`].
    pub fn verify(&self, path: &Path) -> Result<(), WeightsError> {
        let found = sha256(path)?;
        match &self.sha256 {
            Some(expected) if *expected != found => Err(WeightsError::Checksum {
                path: path.to_path_buf(),
                expected: expected.clone(),
                found,
            }),
            _ => Ok(()),
        }
    }
}

/// Every entry of `weights/catalog.toml`, which is built into the program.
pub fn catalog() -> Vec<CatalogEntry> {
    // A test reads the same text: it is well-formed in every build that was tested.
    toml::from_str::<Catalog>(include_str!("../../weights/catalog.toml"))
        .map(|catalog| catalog.weights)
        .unwrap_or_default()
}

/// The entry of a name.
///
/// # Errors
/// [`WeightsError::Unknown`].
pub fn catalog_entry(name: &str) -> Result<CatalogEntry, WeightsError> {
    let entries = catalog();
    let known = || entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", ");
    entries
        .iter()
        .find(|e| e.name == name)
        .cloned()
        .ok_or_else(|| WeightsError::Unknown { name: name.to_owned(), known: known() })
}

/// The folder of fetched weights: `P2SAM_WEIGHTS` if set, `weights/` where the catalog lies beside
/// (a checkout), otherwise the user's data folder.
pub fn weights_folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("P2SAM_WEIGHTS") {
        return folder;
    }
    let checkout = PathBuf::from("weights");
    if checkout.join("catalog.toml").is_file() {
        return checkout;
    }
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map_or(checkout, |data| data.join("p2sam").join("weights"))
}

/// The file that a user's `--weights` means: a path, or a name of the catalog that was fetched.
///
/// # Errors
/// [`WeightsError::Unknown`] and [`WeightsError::Absent`], which says how to get them.
pub fn find_weights(name_or_path: &str) -> Result<PathBuf, WeightsError> {
    let path = Path::new(name_or_path);
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    let entry = catalog_entry(name_or_path)?;
    let path = weights_folder().join(&entry.file);
    if path.is_file() {
        return Ok(path);
    }
    let how = if entry.is_fetchable() {
        format!("run `p2sam weights fetch {}`", entry.name)
    } else {
        "no package carries them: put the file there, or name it with --weights FILE".to_owned()
    };
    Err(WeightsError::Absent { name: entry.name, path, how })
}

/// The catalog's file of that sha256, which an adapter names as its base.
///
/// # Errors
/// [`WeightsError::Unknown`] if the catalog knows none, [`WeightsError::Absent`] and
/// [`WeightsError::Checksum`] if it is not here, or not whole.
pub fn find_base(base_sha256: &str) -> Result<PathBuf, WeightsError> {
    let entries = catalog();
    let known = || entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", ");
    let entry =
        entries.iter().find(|e| e.sha256.as_deref() == Some(base_sha256)).ok_or_else(|| {
            WeightsError::Unknown {
                name: format!("the base of sha256 {base_sha256}"),
                known: known(),
            }
        })?;
    let path = find_weights(&entry.name)?;
    entry.verify(&path)?;
    Ok(path)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_well_formed() {
        let text = include_str!("../../weights/catalog.toml");
        let catalog: Catalog = toml::from_str(text).expect("the catalog is TOML");
        assert!(catalog.weights.iter().any(|e| e.name == DEFAULT_WEIGHTS && e.is_fetchable()));
        for entry in &catalog.weights {
            assert!(entry.architecture().is_some(), "{}: unknown architecture", entry.name);
            if entry.is_fetchable() {
                assert_eq!(entry.sha256.as_ref().map(String::len), Some(64), "{}", entry.name);
            }
        }
    }

    #[test]
    fn wrong_contents_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("mobile_sam.pt");
        std::fs::write(&path, b"not the weights").expect("writable");
        let entry = catalog_entry("mobile-sam").expect("known");
        assert!(matches!(entry.verify(&path), Err(WeightsError::Checksum { .. })));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = find_weights("no-such-model").expect_err("unknown").to_string();
        assert!(message.contains("mobile-sam"), "{message}");
    }
}
