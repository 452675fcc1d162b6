//! Masks in NIfTI files: two levels, labels, or soft.

use std::collections::BTreeSet;
use std::path::Path;

use ndarray::Array3;

use super::layout::Layout;
use super::read::{Contents, Place, read};
use crate::image::{Foreground, Mask};
use crate::series::geometry::Geometry;
use crate::series::placing::{Grid, Marks};
use crate::series::volume::Content;
use crate::series::{SeriesError, Volume};

/// Labels that are named in an error at most.
const NAMED: usize = 20;
/// Different whole numbers that a mask may hold.
const MOST: usize = 4096;

/// Which values are the object.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Object {
    /// Above a level.
    Above(f32),
    /// One label.
    Label(f32),
    /// Every value but 0.
    All,
}

impl Object {
    fn holds(self, value: f32) -> bool {
        match self {
            Self::Above(level) => value > level,
            Self::Label(label) => value == label,
            Self::All => value.is_finite() && value != 0.0,
        }
    }
}

/// The masks that a NIfTI file holds for the slices of a volume. Of whole numbers one of which is not 0 it
/// is the object; if there are several they are labels, and `label` names one, unless `foreground` says that
/// all of them are meant. Values with fractions are soft: what lies above the middle is the object.
pub fn masks(
    path: &Path,
    volume: &Volume,
    label: Option<&str>,
    foreground: Foreground,
) -> Result<Marks, SeriesError> {
    let Contents { values, place, .. } = read(path)?;
    let mut warnings = place.warnings.clone();
    let object = object(path, &values, label, foreground, &mut warnings)?;
    let dims = <[usize; 3]>::from(values.dim());
    let masks = match volume.place() {
        Some(target) if place.known => {
            let target_ways = [target.steps()[0], target.steps()[1], target.normal()];
            let layout = Layout::like(&place.affine, dims, target_ways);
            let [columns, rows, slices] = layout.size();
            let affine = place.affine * layout.matrix();
            let geometry = Geometry::from_affine(&affine, slices)
                .ok_or_else(|| SeriesError::file(path, "its orientation makes no sense"))?;
            let grid = Grid { geometry: &geometry, size: [columns, rows] };
            warnings.extend(grid.difference(target));
            let marked = |voxel| object.holds(values[layout.index(voxel)]);
            grid.place(volume, target, marked)?.0
        }
        _ => {
            warnings.push(without_place(volume, &place).into());
            by_voxels(path, volume, &values, |value| object.holds(value))?
        }
    };
    Ok(Marks { masks, warnings })
}

/// Which of the values are meant.
fn object(
    path: &Path,
    values: &Array3<f32>,
    label: Option<&str>,
    foreground: Foreground,
    warnings: &mut Vec<String>,
) -> Result<Object, SeriesError> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let mut labels = BTreeSet::new();
    let mut soft = false;
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for value in finite() {
        (low, high) = (low.min(value), high.max(value));
        soft |= value.fract() != 0.0 || value.abs() > 1e9;
        if value != 0.0 && !soft && labels.len() <= MOST {
            labels.insert(value as i64);
        }
    }
    let names = || {
        let more = labels.len().saturating_sub(NAMED);
        let named: Vec<String> = labels.iter().take(NAMED).map(ToString::to_string).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", named.join(", "))
    };
    if let Some(label) = label {
        let number = label.parse::<f32>().map_err(|_| {
            SeriesError::mask(path, "objects of a NIfTI file have numbers: --roi NUMBER")
        })?;
        if !finite().any(|value| value == number) {
            let reason = format!("no voxel has the value {label}");
            let names = if soft { format!("values from {low} to {high}") } else { names() };
            return Err(SeriesError::Roi { path: path.to_path_buf(), reason, names });
        }
        return Ok(Object::Label(number));
    }
    match (soft, foreground) {
        (_, Foreground::AboveZero) => Ok(Object::All),
        (false, _) if labels.len() > MOST => {
            let reason = format!("holds more than {MOST} different values: an image, and no mask?");
            Err(SeriesError::mask(path, reason))
        }
        (true, _) => {
            let middle = low + (high - low) / 2.0;
            warnings.push(format!(
                "its values have fractions, from {low} to {high}: the object is what lies above their \
                 middle, {middle} (--foreground any: every value but 0)"
            ));
            Ok(Object::Above(middle))
        }
        (false, _) if labels.len() > 1 => {
            let reason = format!(
                "holds {} labels; take all of them with --foreground any, or",
                labels.len()
            );
            Err(SeriesError::Roi { path: path.to_path_buf(), reason, names: names() })
        }
        (false, _) => Ok(Object::All),
    }
}

/// Why the mask goes by voxels.
fn without_place(volume: &Volume, place: &Place) -> &'static str {
    match (place.known, volume.place().is_some()) {
        (false, true) => {
            "the mask says no place in the patient: it was put on the volume voxel by voxel"
        }
        (true, false) => {
            "the volume says no place in the patient: the mask was put on it voxel by voxel"
        }
        _ => "neither mask nor volume says a place: one was put on the other voxel by voxel",
    }
}

/// Voxel by voxel: of the volume's own array, or else of columns, rows and slices.
fn by_voxels(
    path: &Path,
    volume: &Volume,
    values: &Array3<f32>,
    holds: impl Fn(f32) -> bool,
) -> Result<Vec<Option<Mask>>, SeriesError> {
    let ([width, height], count) = (volume.size(), volume.slices());
    let layout = match &volume.content {
        Content::Nifti(own) => own.layout,
        _ => Layout::plain([width as usize, height as usize, count]),
    };
    let dims = <[usize; 3]>::from(values.dim());
    if dims != layout.dims {
        let text = |dims: [usize; 3]| dims.map(|d| d.to_string()).join(" x ");
        let reason = format!(
            "{} voxels to be put on a volume of {} voxel by voxel, as one of them says no place",
            text(dims),
            text(layout.dims)
        );
        return Err(SeriesError::mask(path, reason));
    }
    let masks = (0..count).map(|slice| {
        let pixels =
            (0..height as usize).flat_map(|row| (0..width as usize).map(move |c| (c, row)));
        let data: Vec<bool> =
            pixels.map(|(column, row)| holds(values[layout.index([column, row, slice])])).collect();
        Ok(data.contains(&true).then(|| Mask::new(width, height, data)).transpose()?)
    });
    masks.collect()
}
