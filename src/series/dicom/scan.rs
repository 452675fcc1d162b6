use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions};

use super::Slice;
use super::header::{Header, Kind, kind};
use super::lengths;
use crate::memory::free_memory;
use crate::quiet::quietly;
use crate::series::SeriesError;

/// Folders within folders that are looked into.
pub const DEPTH: usize = 8;

/// Whether a file is DICOM, or a folder has such a file in it.
pub fn is_dicom(path: &Path) -> bool {
    if path.is_dir() {
        let mut found = false;
        let _ = walk(path, DEPTH, &mut |file| {
            found = has_preamble(file);
            !found
        });
        return found;
    }
    has_preamble(path)
}

/// DICOM PS3.10: four letters after 128 bytes.
pub fn has_preamble(path: &Path) -> bool {
    let other = ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "mp4", "mkv", "avi", "mov"];
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if other.contains(&extension.as_str()) {
        return false;
    }
    let mut start = [0; 132];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start[128..] == *b"DICM"
}

/// Every file below a folder in the order of the names, until `visit` says no.
pub fn walk(
    folder: &Path,
    depth: usize,
    visit: &mut dyn FnMut(&Path) -> bool,
) -> Result<bool, SeriesError> {
    let failed = |source| SeriesError::Read { path: folder.to_path_buf(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>().map_err(failed)?;
    paths.sort();
    for path in paths {
        // A link to a folder may lead round in circles.
        let go_on = if path.is_dir() {
            depth == 0 || path.is_symlink() || walk(&path, depth - 1, visit)?
        } else {
            visit(&path)
        };
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All DICOM files that a path names.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, SeriesError> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    walk(path, DEPTH, &mut |file| {
        if has_preamble(file) {
            files.push(file.to_path_buf());
        }
        true
    })?;
    Ok(files)
}

/// A whole file, if there is memory for it.
pub fn open(path: &Path) -> Result<DefaultDicomObject, SeriesError> {
    check_memory(path)?;
    read(path, OpenFileOptions::new(), true)
}

/// A file up to its pixels.
pub fn head(path: &Path) -> Result<DefaultDicomObject, SeriesError> {
    read(path, OpenFileOptions::new().read_until(tags::PIXEL_DATA), false)
}

/// Whether a file fits into memory.
pub fn check_memory(path: &Path) -> Result<(), SeriesError> {
    let read = |source| SeriesError::Read { path: path.to_path_buf(), source };
    let needed = std::fs::metadata(path).map_err(read)?.len();
    match free_memory().filter(|free| needed > *free) {
        Some(free) => Err(SeriesError::Memory { path: path.to_path_buf(), needed, free }),
        None => Ok(()),
    }
}

/// Reasons of the reader are not passed on: they may hold values of the file.
fn read(
    path: &Path,
    options: OpenFileOptions,
    whole: bool,
) -> Result<DefaultDicomObject, SeriesError> {
    if let Err(source) = File::open(path) {
        return Err(SeriesError::Read { path: path.to_path_buf(), source });
    }
    let open = || lengths::fit(path, whole).then(|| options.open_file(path).ok()).flatten();
    quietly(open).flatten().ok_or_else(|| {
        SeriesError::file(path, "not readable as DICOM: it is cut off, damaged, or something else")
    })
}

/// The slices of the only series among files, or of the one of that number, from 1. `path` is what
/// the files are told by together.
pub fn series(
    path: &Path,
    files: &[PathBuf],
    number: Option<usize>,
) -> Result<(Header, Vec<Slice>), SeriesError> {
    let mut all: BTreeMap<(Option<i64>, String), (Header, Vec<Slice>)> = BTreeMap::new();
    for file in files {
        if let Kind::Images(header, slices) = kind(&*head(file)?, file) {
            let key = (header.number, header.series.clone());
            let entry = all.entry(key).or_insert_with(|| ((*header).clone(), Vec::new()));
            check_same(&entry.0, &header, file)?;
            entry.1.extend(slices);
        }
    }
    let count = all.len();
    let path = path.to_path_buf();
    let list = || {
        let lines = all.values().enumerate().map(|(index, (header, slices))| {
            let ([columns, rows], modality) = (header.size, &header.modality);
            format!("  {}: {modality}, {} slices of {columns} x {rows}", index + 1, slices.len())
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let index = match (number, count) {
        (_, 0) => return Err(SeriesError::Nothing { path }),
        (None, 1) => 0,
        (None, _) => return Err(SeriesError::SeveralSeries { path, count, list: list() }),
        (Some(number), _) if (1..=count).contains(&number) => number - 1,
        (Some(number), _) => return Err(SeriesError::NoSuchSeries { path, number, list: list() }),
    };
    all.into_values().nth(index).ok_or(SeriesError::Nothing { path })
}

/// Whether a file continues a series.
fn check_same(series: &Header, own: &Header, file: &Path) -> Result<(), SeriesError> {
    let wrong = |reason: String| Err(SeriesError::Geometry { path: file.to_path_buf(), reason });
    if own.size != series.size {
        let ([columns, rows], [c, r]) = (own.size, series.size);
        return wrong(format!(
            "{columns} x {rows} pixels, and the slices of its series before it {c} x {r}"
        ));
    }
    let turned = match (own.orientation, series.orientation) {
        (Some(own), Some(first)) => own.iter().zip(&first).any(|(a, b)| (a - b).abs() > 1e-3),
        (None, None) => false,
        _ => true,
    };
    if turned {
        return wrong(
            "lies in another direction than the slices of its series before it (a localiser?); move \
             it to a folder of its own"
                .into(),
        );
    }
    let spaced = match (own.spacing, series.spacing) {
        (Some(own), Some(first)) => own.iter().zip(&first).any(|(a, b)| (a - b).abs() > 1e-3 * b),
        (None, None) => false,
        _ => true,
    };
    if spaced {
        return wrong("its pixels have another size than those of its series before it".into());
    }
    Ok(())
}

/// The segmentation or structure set that a path names: a file, or the only one in a folder.
pub fn marks(path: &Path) -> Result<PathBuf, SeriesError> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let mut marks = Vec::new();
    for file in files(path)? {
        if matches!(kind(&*head(&file)?, &file), Kind::Marks) {
            marks.push(file);
        }
    }
    let count = marks.len();
    let only = marks.pop().filter(|_| count == 1);
    only.ok_or_else(|| {
        let reason = match count {
            0 => "holds no DICOM segmentation and no RT structure set".to_owned(),
            _ => format!("holds {count} segmentations and structure sets; name one file"),
        };
        SeriesError::mask(path, reason)
    })
}
