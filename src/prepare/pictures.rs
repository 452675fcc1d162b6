use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Download, Place, PrepareError, Prepared};
use crate::dataset::{Dataset, Sample, has_layout, pairs};
use crate::image::{Foreground, Frame, ImageError};

/// Pictures with their masks.
#[derive(Debug)]
pub(super) struct Pictures {
    download: Download,
    /// Names below the folders of pictures and masks, without an ending.
    samples: Vec<(PathBuf, Sample)>,
}

/// Folders in the downloaded archive that may lie around the known ones.
const AROUND: usize = 2;
/// Entries of a folder that an error lists.
const LISTED: usize = 8;

impl Pictures {
    pub fn find(download: Download, folder: &Path) -> Result<Self, PrepareError> {
        let folder = &within(folder, AROUND).ok_or_else(|| nothing(folder))?;
        let samples = if download == Download::CvcClinicDb {
            let mut samples = Vec::new();
            for sequence in Dataset::CvcClinicDb.read(folder)? {
                // Frames in one folder are cut by their numbers; videos have a folder each.
                let name = Path::new(&sequence.name);
                let place = |sample: &Sample| match sample.image.parent() {
                    Some(folder) if folder.ends_with(name) => name.join(&sample.name),
                    _ => PathBuf::from(&sample.name),
                };
                samples.extend(sequence.samples.into_iter().map(|s| (place(&s), s)));
            }
            samples
        } else {
            let samples = pairs(folder, Foreground::AboveMiddle)?;
            samples.into_iter().map(|s| (PathBuf::from(&s.name), s)).collect()
        };
        Ok(Self { download, samples })
    }

    pub fn count(&self) -> usize {
        self.samples.len()
    }

    pub fn names(&self, take: &mut dyn FnMut(&str)) {
        self.samples.iter().for_each(|(name, _)| take(&name.to_string_lossy()));
    }

    pub fn prepare(&self, unit: usize, out: &Path) -> Result<Prepared, PrepareError> {
        let (name, sample) = &self.samples[unit];
        let ending = sample.image.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let as_it_is = matches!(ending.as_str(), "png" | "jpg" | "jpeg");
        let place = Place::new(out, name, if as_it_is { &ending } else { "png" });
        if place.is_there() {
            return Ok(Prepared { there: 1, ..Prepared::default() });
        }
        let unit = format!("picture {}", name.display());
        let wrong = |reason: String| PrepareError::Unit { unit: unit.clone(), reason };
        let (frame, annotation) = sample.read().map_err(|error| wrong(error.to_string()))?;
        place.make_folders()?;
        let of_image = |error: ImageError| PrepareError::image(&unit, error);
        // First what can still turn out unreadable.
        if self.download == Download::CvcClinicDb {
            // The levels are kept: the method resizes them before they are cut.
            Frame::open(&sample.mask).and_then(|f| f.save_png(&place.mask)).map_err(of_image)?;
        } else {
            annotation.mask().save_png(&place.mask).map_err(of_image)?;
        }
        if as_it_is {
            let bytes = std::fs::read(&sample.image).map_err(|error| wrong(error.to_string()))?;
            crate::atomic::write(&place.image, |file| file.write_all(&bytes))
                .map_err(|error| PrepareError::write(&place.image, error))?;
        } else {
            frame.save_png(&place.image).map_err(of_image)?;
        }
        Ok(Prepared { written: 1, ..Prepared::default() })
    }
}

/// The folder with pictures and masks: this one, or the only one in it.
fn within(folder: &Path, depth: usize) -> Option<PathBuf> {
    if has_layout(folder) {
        return Some(folder.to_path_buf());
    }
    let entries = folder.read_dir().ok().filter(|_| depth > 0)?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir());
    let mut found = paths.filter_map(|path| within(&path, depth - 1));
    found.next().filter(|_| found.next().is_none())
}

fn nothing(folder: &Path) -> PrepareError {
    let mut names: Vec<String> = match folder.read_dir() {
        Ok(entries) => {
            let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
            names.map(|name| name.to_string_lossy().into_owned()).collect()
        }
        Err(error) => {
            let reason = error.to_string();
            return PrepareError::Layout { path: folder.to_path_buf(), reason };
        }
    };
    names.sort_by(|a, b| alphanumeric_sort::compare_str(a, b));
    let count = names.len();
    names.truncate(LISTED);
    let found = match count {
        0 => "nothing".to_owned(),
        _ if count > LISTED => format!("{} and {} more", names.join(", "), count - LISTED),
        _ => names.join(", "),
    };
    let reason = format!(
        "expected the unpacked data set, one folder with pictures and one with masks in it: `images` \
         and `masks` (Kvasir-SEG), `Original` and `Ground Truth` (CVC-ClinicDB); found {found}"
    );
    PrepareError::Layout { path: folder.to_path_buf(), reason }
}
