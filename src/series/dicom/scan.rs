use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::{head, is_file};
use super::header::{Header, Kind, Slice, kind};
use crate::series::SeriesError;

/// Folders within folders that are looked into.
pub const DEPTH: usize = 8;

/// Whether a file is DICOM, or a folder has such a file in it.
pub fn is_dicom(path: &Path) -> bool {
    if path.is_dir() {
        let mut found = false;
        let _ = walk(path, DEPTH, &mut |file| {
            found = is_file(file);
            !found
        });
        return found;
    }
    is_file(path)
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
    // What has no place and no number goes by its name: 2 before 10.
    paths.sort_by(|a, b| alphanumeric_sort::compare_path(a, b));
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

/// All DICOM files that a path names, in the natural order of their names.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, SeriesError> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    walk(path, DEPTH, &mut |file| {
        if is_file(file) {
            files.push(file.to_path_buf());
        }
        true
    })?;
    Ok(files)
}

/// The slices of the only series among files, or of the one of that number, from 1. `path` is what
/// the files are told by together. Only the series that is chosen needs to be a volume.
pub fn series(
    path: &Path,
    files: &[PathBuf],
    number: Option<usize>,
) -> Result<(Header, Vec<Slice>), SeriesError> {
    let mut all: BTreeMap<(Option<i64>, String), (Header, Vec<Slice>)> = BTreeMap::new();
    for file in files {
        if let Kind::Images(header, slices) = kind(&*head(file)?, file) {
            let key = (header.number, header.series.clone());
            let entry = all.entry(key).or_insert_with(|| (*header, Vec::new()));
            entry.1.extend(slices);
        }
    }
    let count = all.len();
    let path = path.to_path_buf();
    let list = || {
        let lines = all.values().enumerate().map(|(index, (header, slices))| {
            let ([columns, rows], modality) = (header.size, &header.modality);
            let mixed = match slices.iter().any(|slice| slice.size != header.size) {
                true => " and of other sizes",
                false => "",
            };
            let slices = slices.len();
            format!("  {}: {modality}, {slices} slices of {columns} x {rows}{mixed}", index + 1)
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
