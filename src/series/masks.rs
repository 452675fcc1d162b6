use std::path::{Path, PathBuf};

use super::{Marks, SeriesError, Volume, dicom, nifti};
use crate::image::{Foreground, Mask};
use crate::stream::{ImageSeries, SourceOptions};

/// What is marked on the slices of a volume, by a NIfTI file, a DICOM segmentation, an RTSTRUCT, or a
/// folder or pattern of PNGs that are named like the volume's pictures or as many as its slices.
/// Where nothing is marked there is `None`. `roi` chooses one of several objects, by name or number.
///
/// Masks with a place of their own are put on the volume by it, in millimetres, each voxel of the volume
/// taking the value of the nearest one; voxel by voxel only where mask or volume says no place, which the
/// warnings then tell.
///
/// # Errors
/// [`SeriesError`]: unreadable files, an object that cannot be told from others, a mask that lies
/// outside the volume or belongs to another one, nothing marked at all.
pub fn open_masks(
    path: &Path,
    volume: &Volume,
    roi: Option<&str>,
    foreground: Foreground,
) -> Result<Marks, SeriesError> {
    let marks = if nifti::is_nifti(path) {
        nifti::masks(path, volume, roi, foreground)?
    } else if let Some(what) = nifti::other_volume(path) {
        let reason = format!("{what}, which is not read; convert it to NIfTI-1 (.nii or .nii.gz)");
        return Err(SeriesError::mask(path, reason));
    } else if dicom::is_dicom(path) {
        dicom::masks(path, volume, roi)?
    } else {
        Marks { masks: pictures(path, volume, foreground)?, warnings: Vec::new() }
    };
    if marks.masks.iter().all(Option::is_none) {
        let why: Vec<String> =
            marks.warnings.iter().map(|warning| format!(" ({warning})")).collect();
        let reason = format!("marks nothing on the slices of the volume{}", why.concat());
        return Err(SeriesError::mask(path, reason));
    }
    Ok(marks)
}

/// How many voxels are marked.
pub fn marked_voxels(masks: &[Option<Mask>]) -> usize {
    masks.iter().flatten().map(Mask::area).sum()
}

fn pictures(
    path: &Path,
    volume: &Volume,
    foreground: Foreground,
) -> Result<Vec<Option<Mask>>, SeriesError> {
    if !ImageSeries::is_series(path) {
        return Err(SeriesError::mask(path, "no mask: a PNG, a folder of PNGs, NIfTI or DICOM"));
    }
    let files = ImageSeries::open(path, &SourceOptions::default())
        .map_err(|error| SeriesError::mask(path, error.to_string()))?
        .files()
        .to_vec();
    let stem = |path: &PathBuf| path.file_stem().map(|s| s.to_os_string());
    let by_name = |slice: usize| {
        let name = volume.pictures().get(slice).and_then(stem)?;
        files.iter().find(|file| stem(file).as_ref() == Some(&name))
    };
    let named = volume.range().any(|slice| by_name(slice).is_some());
    if !named && files.len() != volume.slices() {
        let reason = format!(
            "{} masks for {} slices, and their names do not pair",
            files.len(),
            volume.slices()
        );
        return Err(SeriesError::mask(path, reason));
    }
    let mut masks = Vec::with_capacity(volume.slices());
    for slice in volume.range() {
        let file = if named { by_name(slice) } else { files.get(slice) };
        let Some(file) = file else {
            masks.push(None);
            continue;
        };
        let mask = Mask::open(file, foreground)?;
        let (size, own) = (volume.size(), [mask.width(), mask.height()]);
        if own != size {
            let reason =
                format!("{} x {} pixels, and the slice {} x {}", own[0], own[1], size[0], size[1]);
            return Err(SeriesError::mask(file, reason));
        }
        masks.push(Some(mask).filter(|mask| mask.area() > 0));
    }
    Ok(masks)
}
