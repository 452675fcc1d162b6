use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{DatasetError, Sample};
use crate::image::Foreground;

/// Extensions of picture and mask files.
const EXTENSIONS: [&str; 10] =
    ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "pgm", "ppm", "pnm"];

/// Every picture of `DIR/images` with the mask of the same stem in `DIR/masks`, in natural order
/// (`img2` before `img10`): the layout of Kvasir-SEG and of most sets for segmentation.
///
/// # Errors
/// [`DatasetError::Folder`], [`DatasetError::Layout`] if a folder is missing or empty,
/// [`DatasetError::Samples`] with every picture that has no mask and every stem that is there twice.
pub fn pairs(dir: &Path, foreground: Foreground) -> Result<Vec<Sample>, DatasetError> {
    let (images, masks) = (dir.join("images"), dir.join("masks"));
    if !images.is_dir() || !masks.is_dir() {
        return Err(DatasetError::Layout {
            path: dir.to_path_buf(),
            reason: "expected the folders `images` and `masks` in it, with files of the same stem"
                .to_owned(),
        });
    }
    let mut problems = Vec::new();
    let pictures = by_stem(&images, &mut problems)?;
    let annotations: HashMap<String, PathBuf> =
        by_stem(&masks, &mut problems)?.into_iter().collect();
    let mut samples = Vec::with_capacity(pictures.len());
    for (name, image) in pictures {
        match annotations.get(&name) {
            Some(mask) => {
                samples.push(Sample { name, image, mask: mask.clone(), foreground });
            }
            None => problems.push(format!("images/{name} has no mask")),
        }
    }
    if !problems.is_empty() {
        return Err(DatasetError::Samples { path: dir.to_path_buf(), problems });
    }
    if samples.is_empty() {
        return Err(DatasetError::Layout {
            path: images,
            reason: format!("no picture in it ({})", EXTENSIONS.join(", ")),
        });
    }
    Ok(samples)
}

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
