//! The one rule for every mask: by its own place in millimetres, each voxel of the volume takes the value
//! of the nearest one.

use super::geometry::{Geometry, nearest};
use super::{SeriesError, Volume};
use crate::image::Mask;

/// What is marked on the slices of a volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// For every slice its mask; `None` where nothing is marked.
    pub masks: Vec<Option<Mask>>,
    /// What is worth knowing of them: what was left out, where another rule than place was needed.
    pub warnings: Vec<String>,
}

/// A mask with a grid of its own.
pub(super) struct Grid<'a> {
    pub geometry: &'a Geometry,
    /// Columns and rows of its slices.
    pub size: [usize; 2],
}

impl Grid<'_> {
    /// Brings the mask to the slices of a volume that lies at `target`. `marked` tells of a column, a row
    /// and a slice of the mask whether it is the object. With the masks comes, for each slice of the mask,
    /// whether a voxel of the volume took its value.
    pub fn place(
        &self,
        volume: &Volume,
        target: &Geometry,
        marked: impl Fn([usize; 3]) -> bool,
    ) -> Result<(Vec<Option<Mask>>, Vec<bool>), SeriesError> {
        let [width, height] = volume.size();
        let own = self.geometry;
        let mut used = vec![false; own.origins().len()];
        let local: Vec<_> = own.origins().iter().map(|origin| own.local(origin)).collect();
        let [along, down] = target.steps().map(|step| own.local(&step));
        let mut masks = Vec::with_capacity(volume.slices());
        for origin in target.origins() {
            let start = own.local(origin);
            let mut data = vec![false; width as usize * height as usize];
            let mut last: Option<(f64, Option<usize>)> = None;
            for (row, line) in data.chunks_exact_mut(width as usize).enumerate() {
                for (column, on) in line.iter_mut().enumerate() {
                    let place = start + along * column as f64 + down * row as f64;
                    // Mostly the planes are parallel, and all of a slice lies at one height.
                    let slice = match last {
                        Some((height, slice)) if (place.z - height).abs() < 1e-9 => slice,
                        _ => {
                            let slice = own.slice_at(place.z);
                            last = Some((place.z, slice));
                            slice
                        }
                    };
                    let Some(slice) = slice else { continue };
                    let columns = nearest(place.x - local[slice].x, self.size[0]);
                    let rows = nearest(place.y - local[slice].y, self.size[1]);
                    let (Some(column), Some(row)) = (columns, rows) else { continue };
                    used[slice] = true;
                    *on = marked([column, row, slice]);
                }
            }
            masks.push(data.contains(&true).then(|| Mask::new(width, height, data)).transpose()?);
        }
        Ok((masks, used))
    }

    /// In words how the grid differs from the volume's; `None` if every voxel of the one that lies within
    /// the other lies on one of it, up to a hundredth of a voxel.
    pub fn difference(&self, target: &Geometry) -> Option<String> {
        let own = self.geometry;
        let [x, y, _] = own.spacing();
        let apart = |a: f64| (a - a.round()).abs() > 0.01;
        let [along, down] = target.steps().map(|step| own.local(&step));
        let turned = (along.x.abs() - 1.0).abs().max((down.y.abs() - 1.0).abs()) > 1e-3
            || along.y.abs().max(down.x.abs()) > 1e-3;
        let tilted = (along.z.abs() + down.z.abs()) / x.min(y) > 1e-3;
        let beside = target.origins().iter().any(|origin| {
            let place = own.local(origin);
            own.slice_at(place.z).is_some_and(|slice| {
                let there = own.local(&own.origins()[slice]);
                let between = (place.z - there.z).abs() / own.share(slice);
                apart(place.x - there.x) || apart(place.y - there.y) || between > 0.01
            })
        });
        let size = |of: &Geometry| {
            let [x, y, z] = of.spacing();
            format!("{x:.3} x {y:.3} x {z:.3} mm")
        };
        (turned || tilted || beside).then(|| {
            format!(
                "its voxels ({}) are not those of the images ({}): each voxel of the images takes the \
                 value of the nearest one",
                size(own),
                size(target)
            )
        })
    }
}
