use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::files::by_stem;
use super::{DatasetError, Sample};
use crate::image::Foreground;

/// Names of the folders of pictures and of masks, in this project's and the published layouts.
const ROOTS: [(&str, &str); 9] = [
    ("images", "masks"),
    ("image", "label"),
    ("Images", "Annotations"),
    ("JPEGImages/480p", "Annotations/480p"),
    ("JPEGImages", "Annotations"),
    ("Original", "Ground Truth"),
    ("PNG/Original", "PNG/Ground Truth"),
    ("TIF/Original", "TIF/Ground Truth"),
    ("imgs", "gts"),
];

/// Pictures of one folder below the root, with their masks.
#[derive(Debug)]
pub(super) struct Leaf {
    /// The folders between the root and the pictures.
    pub path: Vec<String>,
    /// The pictures in natural order. Their names are their stems.
    pub samples: Vec<Sample>,
}

/// The folders of pictures and of masks in a data set's folder.
pub(super) fn roots(dir: &Path) -> Result<(PathBuf, PathBuf), DatasetError> {
    let found = ROOTS.iter().find_map(|(images, masks)| {
        let (images, masks) = (dir.join(images), dir.join(masks));
        (images.is_dir() && masks.is_dir()).then_some((images, masks))
    });
    found.ok_or_else(|| {
        let known = ROOTS.map(|(images, masks)| format!("`{images}` and `{masks}`")).join(", ");
        let reason = if dir.is_dir() {
            format!("expected two folders in it, of pictures and of their masks: {known}")
        } else {
            "no such folder".to_owned()
        };
        DatasetError::Layout { path: dir.to_path_buf(), reason }
    })
}

/// Whether a folder holds one of pictures and one of masks, in one of the known layouts.
pub fn has_layout(dir: &Path) -> bool {
    roots(dir).is_ok()
}

/// All folders of pictures in a data set, in natural order, whose depth below the root is one of
/// `depths`.
///
/// # Errors
/// [`DatasetError::Folder`]; [`DatasetError::Layout`] if there is no picture at such a depth;
/// [`DatasetError::Samples`] with every picture that has no mask, every mask that has no picture and
/// every stem that is there twice.
pub(super) fn leaves(
    dir: &Path,
    foreground: Foreground,
    depths: &[usize],
) -> Result<Vec<Leaf>, DatasetError> {
    let (images, masks) = roots(dir)?;
    let mut walk = Walk { foreground, depths, leaves: Vec::new(), problems: Vec::new() };
    walk.folder(&images, &masks, &mut Vec::new())?;
    if !walk.problems.is_empty() {
        let problems = walk.problems;
        return Err(DatasetError::Samples { path: dir.to_path_buf(), problems });
    }
    if walk.leaves.is_empty() {
        let depths: Vec<_> = depths.iter().map(|depth| "FOLDER/".repeat(*depth)).collect();
        let reason = format!("no picture in it at {}*", depths.join("* or "));
        return Err(DatasetError::Layout { path: images, reason });
    }
    Ok(walk.leaves)
}

struct Walk<'a> {
    foreground: Foreground,
    depths: &'a [usize],
    leaves: Vec<Leaf>,
    problems: Vec<String>,
}

impl Walk<'_> {
    fn folder(
        &mut self,
        images: &Path,
        masks: &Path,
        path: &mut Vec<String>,
    ) -> Result<(), DatasetError> {
        if self.depths.contains(&path.len()) {
            let samples = self.paired(images, masks, path)?;
            if !samples.is_empty() {
                self.leaves.push(Leaf { path: path.clone(), samples });
                return Ok(());
            }
        }
        if self.depths.iter().all(|depth| *depth <= path.len()) {
            return Ok(());
        }
        for name in folders(images)? {
            let (images, masks) = (images.join(&name), masks.join(&name));
            path.push(name);
            if masks.is_dir() {
                self.folder(&images, &masks, path)?;
            } else {
                self.problems.push(format!("{} has no folder of masks", path.join("/")));
            }
            path.pop();
        }
        Ok(())
    }

    fn paired(
        &mut self,
        images: &Path,
        masks: &Path,
        path: &[String],
    ) -> Result<Vec<Sample>, DatasetError> {
        let pictures = by_stem(images, &mut self.problems)?;
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let mut annotations: HashMap<String, PathBuf> =
            by_stem(masks, &mut self.problems)?.into_iter().collect();
        let mut samples = Vec::with_capacity(pictures.len());
        let place = |name: &str| [path, &[name.to_owned()]].concat().join("/");
        for (name, image) in pictures {
            match annotations.remove(&name) {
                Some(mask) => {
                    samples.push(Sample { name, image, mask, foreground: self.foreground });
                }
                None => self.problems.push(format!("the picture {} has no mask", place(&name))),
            }
        }
        let mut left: Vec<_> = annotations.into_keys().collect();
        left.sort();
        self.problems
            .extend(left.iter().map(|name| format!("the mask {} has no picture", place(name))));
        Ok(samples)
    }
}

/// Names of the folders in a folder, in natural order; hidden ones are none.
fn folders(dir: &Path) -> Result<Vec<String>, DatasetError> {
    let fail =
        |e: std::io::Error| DatasetError::Folder { path: dir.to_path_buf(), reason: e.to_string() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            found.push(name);
        }
    }
    found.sort_by(|a, b| alphanumeric_sort::compare_str(a, b));
    Ok(found)
}
