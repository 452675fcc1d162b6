//! Data sets as they are downloaded, to the layouts that [`Dataset`](crate::Dataset) and
//! [`pairs`](crate::pairs) read: `images/` and `masks/` with files of the same names.
//!
//! What is one object's or one person's is a unit: a patient, or a picture with its mask. A unit that
//! cannot be prepared leaves nothing behind and keeps no other from it. No name, number, date or
//! identifier of a patient is in a written file's name or in an error's words, unless that is asked
//! for: patients and visits are counted instead.

mod error;
mod patients;
mod pictures;
mod private;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use glob::{MatchOptions, Pattern};
use sha2::{Digest, Sha256};

use crate::series::Window;
use patients::Patients;
use pictures::Pictures;

pub use error::PrepareError;

/// The data sets whose downloads are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Download {
    /// NSCLC-Radiomics: one CT of each patient, DICOM with structure sets and segmentations. Slices
    /// with the tumour become `PATIENT_SLICE` pairs for training.
    NsclcRadiomics,
    /// 4D-Lung: several visits of each patient, ten phases of breath each, DICOM with structure sets.
    /// Slices with the tumour become `PATIENT/VISIT/SLICE`.
    FourDLung,
    /// Kvasir-SEG: `images` and `masks`, JPEG. Masks become PNG of two levels.
    KvasirSeg,
    /// CVC-ClinicDB: `Original` and `Ground Truth`, TIFF or PNG, numbered 1 to 612.
    CvcClinicDb,
}

/// What may be chosen. Patterns know `*` and `?`, upper and lower case are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareOptions {
    /// The grey window of CT slices.
    pub window: Window,
    /// Names of the object in structure sets and segmentations, the preferred one first.
    pub roi: Vec<NamePattern>,
    /// Where several series of a visit are marked: how the wanted one is called.
    pub phase: NamePattern,
    /// Call patients and visits by their numbers and dates, and files in errors by all of their paths.
    pub keep_identifiers: bool,
}

/// A pattern of a name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamePattern(Pattern);

/// What a unit came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Pictures written, each with its mask.
    pub written: usize,
    /// Pictures that were there already.
    pub there: usize,
    /// Visits with pictures; 0 of pictures without patients.
    pub visits: usize,
    /// Visits without anything marked, which are left out.
    pub unmarked: usize,
    /// What is worth knowing before the masks are trusted.
    pub warnings: Vec<String>,
}

/// A download that was looked through.
#[derive(Debug)]
pub struct Preparation {
    content: Content,
    fingerprint: String,
}

#[derive(Debug)]
enum Content {
    Patients(Patients),
    Pictures(Pictures),
}

impl Preparation {
    /// Looks through a downloaded data set. Of DICOM all headers are read; `None` if `go_on`, which is
    /// asked before each, said no.
    ///
    /// # Errors
    /// [`PrepareError::Layout`] if the folder holds something else, with what was expected and what was
    /// found; [`PrepareError::Dataset`] with every picture without a mask and every mask without a
    /// picture.
    pub fn find(
        download: Download,
        folder: &Path,
        options: &PrepareOptions,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Self>, PrepareError> {
        let content = match download {
            Download::KvasirSeg | Download::CvcClinicDb => {
                Content::Pictures(Pictures::find(download, folder)?)
            }
            Download::NsclcRadiomics | Download::FourDLung => {
                match Patients::find(download, folder, options, go_on)? {
                    Some(patients) => Content::Patients(patients),
                    None => return Ok(None),
                }
            }
        };
        let mut hasher = Sha256::new();
        match &content {
            Content::Patients(patients) => patients.names(&mut |name| hash(&mut hasher, name)),
            Content::Pictures(pictures) => pictures.names(&mut |name| hash(&mut hasher, name)),
        }
        let fingerprint = hasher.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
        Ok(Some(Self { content, fingerprint }))
    }

    /// Number of units.
    pub fn units(&self) -> usize {
        match &self.content {
            Content::Patients(patients) => patients.count(),
            Content::Pictures(pictures) => pictures.count(),
        }
    }

    /// What a unit is, in the plural.
    pub fn unit_name(&self) -> &'static str {
        match &self.content {
            Content::Patients(_) => "patients",
            Content::Pictures(_) => "pictures",
        }
    }

    /// Checksum of what the units are and of their order: as long as it is the same, the same number
    /// is the same patient.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What could not be attributed to a unit, in words.
    pub fn problems(&self) -> Vec<String> {
        match &self.content {
            Content::Patients(patients) => patients.problems(),
            Content::Pictures(_) => Vec::new(),
        }
    }

    /// Writes a unit's pictures and masks below `out`, as far as they are not there already; each file
    /// whole or not at all.
    ///
    /// # Errors
    /// [`PrepareError::Unit`] if the unit cannot be prepared: what was written of it is removed.
    /// [`PrepareError::Write`] if a file cannot be written.
    pub fn prepare(&self, unit: usize, out: &Path) -> Result<Prepared, PrepareError> {
        match &self.content {
            Content::Patients(patients) => patients.prepare(unit, out),
            Content::Pictures(pictures) => pictures.prepare(unit, out),
        }
    }
}

fn hash(hasher: &mut Sha256, name: &str) {
    hasher.update(name);
    hasher.update([0]);
}

/// Where a picture and its mask go.
struct Place {
    image: PathBuf,
    mask: PathBuf,
}

impl Place {
    /// `name` may hold folders; both files end in `.png` unless the picture has another ending.
    fn new(out: &Path, name: &Path, ending: &str) -> Self {
        let of = |kind: &str, ending: &str| {
            let mut path = out.join(kind).join(name).into_os_string();
            path.push(".");
            path.push(ending);
            PathBuf::from(path)
        };
        Self { image: of("images", ending), mask: of("masks", "png") }
    }

    fn files(&self) -> [&Path; 2] {
        [&self.image, &self.mask]
    }

    fn is_there(&self) -> bool {
        self.files().iter().all(|path| path.is_file())
    }

    fn make_folders(&self) -> Result<(), PrepareError> {
        for folder in self.files().into_iter().filter_map(Path::parent) {
            std::fs::create_dir_all(folder).map_err(|error| PrepareError::write(folder, error))?;
        }
        Ok(())
    }
}

impl Download {
    /// Every data set.
    pub const ALL: [Self; 4] =
        [Self::NsclcRadiomics, Self::FourDLung, Self::KvasirSeg, Self::CvcClinicDb];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::NsclcRadiomics => "nsclc-radiomics",
            Self::FourDLung => "4d-lung",
            Self::KvasirSeg => "kvasir-seg",
            Self::CvcClinicDb => "cvc-clinicdb",
        }
    }

    /// Whether it is DICOM, so that the options mean something.
    pub fn is_dicom(self) -> bool {
        matches!(self, Self::NsclcRadiomics | Self::FourDLung)
    }

    /// What is chosen unless it is told: soft tissue, the gross tumour of the authors' names, and of
    /// 4D-Lung the first phase of breath.
    pub fn options(self) -> PrepareOptions {
        let any = |names: &[&str]| names.iter().filter_map(|name| name.parse().ok()).collect();
        let (roi, phase) = match self {
            Self::FourDLung => (any(&["Tumor_c00", "Tumor*", "GTV*"]), "* 0.0%*"),
            _ => (any(&["GTV-1", "GTV*1", "GTV"]), "*"),
        };
        PrepareOptions {
            window: Window::SOFT_TISSUE,
            roi,
            phase: phase.parse().unwrap_or_default(),
            keep_identifiers: false,
        }
    }
}

impl fmt::Display for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Download {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|download| download.name() == name);
        found.ok_or_else(|| format!("unknown data set '{name}'; known are {known}"))
    }
}

impl NamePattern {
    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        let options = MatchOptions { case_sensitive: false, ..MatchOptions::default() };
        self.0.matches_with(name, options)
    }
}

/// Every name.
impl Default for NamePattern {
    fn default() -> Self {
        Self(Pattern::default())
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Pattern::new(text).map(Self).map_err(|error| format!("'{text}' is no pattern: {error}"))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}
