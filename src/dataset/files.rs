use std::path::{Path, PathBuf};

use super::DatasetError;

/// Extensions of picture and mask files.
const EXTENSIONS: [&str; 10] =
    ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "pgm", "ppm", "pnm"];

/// The picture files of a folder by their stems, in natural order; hidden files are none.
pub(super) fn by_stem(
    dir: &Path,
    problems: &mut Vec<String>,
) -> Result<Vec<(String, PathBuf)>, DatasetError> {
    let fail =
        |e: std::io::Error| DatasetError::Folder { path: dir.to_path_buf(), reason: e.to_string() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if EXTENSIONS.contains(&extension.as_str()) && !stem.starts_with('.') && path.is_file() {
            found.push((stem, path));
        }
    }
    found.sort_by(|a, b| alphanumeric_sort::compare_str(&a.0, &b.0).then_with(|| a.1.cmp(&b.1)));
    for pair in found.windows(2) {
        if let [(a, first), (b, second)] = pair
            && a == b
        {
            let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
            problems.push(format!("{} and {} have one stem", name(first), name(second)));
        }
    }
    Ok(found)
}

/// The image files of a folder in natural order of their stems; hidden files are none.
///
/// # Errors
/// [`DatasetError::Folder`], [`DatasetError::Samples`] if a stem is there twice,
/// [`DatasetError::Layout`] without an image.
pub fn images_of(dir: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut problems = Vec::new();
    let found = by_stem(dir, &mut problems)?;
    if !problems.is_empty() {
        return Err(DatasetError::Samples { path: dir.to_path_buf(), problems });
    }
    if found.is_empty() {
        let reason = "no image in this folder".to_owned();
        return Err(DatasetError::Layout { path: dir.to_path_buf(), reason });
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}
