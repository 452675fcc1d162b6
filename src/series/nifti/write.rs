//! Masks written as NIfTI.

use std::path::Path;

use nalgebra::{Matrix4, Vector3};
use ndarray::Array3;
use nifti::writer::WriterOptions;
use nifti::{NiftiHeader, XForm};

use super::layout::Layout;
use super::read::mirrored;
use crate::image::Mask;
use crate::memory::free_memory;
use crate::series::geometry::{Geometry, whole};
use crate::series::volume::Content;
use crate::series::{SeriesError, Volume};

/// An array of 0 and 1 and where it lies.
struct Array {
    values: Array3<u8>,
    header: NiftiHeader,
    note: Option<String>,
}

/// Writes the masks of a volume's slices as a NIfTI file (.nii, .nii.gz) of 0 and 1: the input's own
/// array if that is a NIfTI file, and else columns, rows and slices with their place. Slices that are
/// shifted against each other, or not at equal distances, are resampled to a straight grid by the nearest
/// voxel, as a NIfTI header that every reader takes has neither shear nor several steps; what is returned
/// then says so.
///
/// # Errors
/// [`SeriesError::Write`].
pub fn write_nifti(
    path: &Path,
    volume: &Volume,
    masks: &[Option<Mask>],
) -> Result<Option<String>, SeriesError> {
    let Array { values, mut header, note } = match &volume.content {
        Content::Nifti(own) => {
            let mut header = own.header.clone();
            if header.pixdim[0] == 0.0 {
                header.pixdim[0] = 1.0;
            }
            Array { values: filled(own.layout, masks), header, note: None }
        }
        _ => array(path, volume, masks)?,
    };
    (header.scl_slope, header.scl_inter, header.intent_code) = (1.0, 0.0, 0);
    (header.cal_min, header.cal_max) = (0.0, 1.0);
    // What the input's author wrote there may name somebody.
    (header.aux_file, header.intent_name) = ([0; 24], [0; 16]);
    (header.data_type, header.db_name) = ([0; 10], [0; 18]);
    let written = header.set_description_str("p2sam mask; research only");
    written.map_err(|error| SeriesError::write(path, error))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: &dyn std::fmt::Display| SeriesError::write(path, error);
    let own = tempfile::Builder::new().prefix(".p2sam-").tempdir_in(folder);
    let own = own.map_err(|error| failed(&error))?;
    let zipped = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    let file = own.path().join(if zipped { "mask.nii.gz" } else { "mask.nii" });
    WriterOptions::new(&file)
        .reference_header(&header)
        .write_nifti(&values)
        .map_err(|error| failed(&error))?;
    std::fs::File::open(&file)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(&file, path))
        .map_err(|error| failed(&error))?;
    Ok(note)
}

/// The masks in the places of an array.
fn filled(layout: Layout, masks: &[Option<Mask>]) -> Array3<u8> {
    let mut values = Array3::<u8>::zeros(layout.dims);
    for (slice, mask) in masks.iter().enumerate() {
        let Some(mask) = mask else { continue };
        let width = mask.width() as usize;
        for (pixel, _) in mask.data().iter().enumerate().filter(|(_, on)| **on) {
            values[layout.index([pixel % width, pixel / width, slice])] = 1;
        }
    }
    values
}

/// Columns, rows and slices.
fn array(path: &Path, volume: &Volume, masks: &[Option<Mask>]) -> Result<Array, SeriesError> {
    let [width, height] = volume.size().map(|side| side as usize);
    let count = volume.slices();
    let fits = |dims: [usize; 3]| {
        let most = i16::MAX as usize;
        if dims.iter().any(|side| *side > most) {
            let reason = format!("a side of a NIfTI-1 volume has at most {most} voxels");
            return Err(SeriesError::write(path, reason));
        }
        let needed = dims.iter().map(|side| *side as u64).product();
        match free_memory().filter(|free| needed > *free) {
            Some(free) => Err(SeriesError::Memory { path: path.to_path_buf(), needed, free }),
            None => Ok(()),
        }
    };
    let mut header = NiftiHeader::default();
    let Some(geometry) = &volume.geometry else {
        fits([width, height, count])?;
        (header.sform_code, header.qform_code) = (0, 0);
        let values = filled(Layout::plain([width, height, count]), masks);
        return Ok(Array { values, header, note: None });
    };
    let straight = Straight::new(geometry, [width, height]);
    fits(straight.dims)?;
    let code = if volume.place().is_some() { XForm::ScannerAnat } else { XForm::Unknown };
    let affine = mirrored() * straight.affine(geometry);
    header.set_sform(&affine, code);
    // Viewers that do not look at one form look at the other.
    header.set_qform(&affine, code);
    // Millimetres.
    header.xyzt_units = 2;
    let note = straight.note(geometry);
    Ok(Array { values: straight.filled(geometry, masks), header, note })
}

/// A grid with right angles and one step from slice to slice.
struct Straight {
    dims: [usize; 3],
    /// Whole pixels that each slice of the volume is moved by to lie on it.
    moved: Vec<[i64; 2]>,
    /// Columns and rows that the grid begins before the first slice's first pixel.
    before: [i64; 2],
    /// Millimetres from slice to slice along the normal.
    step: f64,
    even: bool,
    shifted: bool,
}

impl Straight {
    fn new(geometry: &Geometry, [width, height]: [usize; 2]) -> Self {
        let origins = geometry.origins();
        let first = geometry.local(&origins[0]);
        let moved: Vec<[i64; 2]> = origins
            .iter()
            .map(|origin| {
                let own = geometry.local(origin) - first;
                [own.x, own.y].map(|shift| whole(shift) as i64)
            })
            .collect();
        let shifted = origins.iter().any(|origin| {
            let own = geometry.local(origin) - first;
            own.x.abs().max(own.y.abs()) > 0.01
        });
        let even = geometry.even_step().is_some();
        let heights = geometry.heights();
        let gaps = heights.windows(2).map(|pair| pair[1] - pair[0]);
        let step = match even {
            true => geometry.spacing()[2],
            false => gaps.fold(f64::INFINITY, f64::min),
        };
        let count = match even {
            true => heights.len(),
            false => ((heights[heights.len() - 1] - heights[0]) / step).round() as usize + 1,
        };
        let sides = |axis: usize| {
            let of = moved.iter().map(|shift| shift[axis]);
            (of.clone().min().unwrap_or(0), of.max().unwrap_or(0))
        };
        let (columns, rows) = (sides(0), sides(1));
        let dims =
            [width + (columns.1 - columns.0) as usize, height + (rows.1 - rows.0) as usize, count];
        Self { dims, moved, before: [columns.0, rows.0], step, even, shifted }
    }

    fn affine(&self, geometry: &Geometry) -> Matrix4<f64> {
        let [along, down] = geometry.steps();
        let origin: Vector3<f64> =
            geometry.origins()[0] + along * self.before[0] as f64 + down * self.before[1] as f64;
        let columns = [along, down, geometry.normal() * self.step, origin];
        let mut affine = Matrix4::identity();
        for (index, column) in columns.iter().enumerate() {
            affine.fixed_view_mut::<3, 1>(0, index).copy_from(column);
        }
        affine
    }

    fn filled(&self, geometry: &Geometry, masks: &[Option<Mask>]) -> Array3<u8> {
        let mut values = Array3::<u8>::zeros(self.dims);
        let heights = geometry.heights();
        for slice in 0..self.dims[2] {
            let source = match self.even {
                true => Some(slice),
                false => geometry.slice_at(heights[0] + self.step * slice as f64),
            };
            let Some(source) = source else { continue };
            let Some(Some(mask)) = masks.get(source) else { continue };
            let shift = |axis: usize| self.moved[source][axis] - self.before[axis];
            let (width, [right, down]) = (mask.width() as usize, [shift(0), shift(1)]);
            for (pixel, _) in mask.data().iter().enumerate().filter(|(_, on)| **on) {
                let column = usize::try_from((pixel % width) as i64 + right);
                let row = usize::try_from((pixel / width) as i64 + down);
                if let (Ok(column), Ok(row)) = (column, row)
                    && let Some(value) = values.get_mut([column, row, slice])
                {
                    *value = 1;
                }
            }
        }
        values
    }

    /// What was done to the slices.
    fn note(&self, geometry: &Geometry) -> Option<String> {
        let done = match (self.shifted, self.even) {
            (false, true) => return None,
            (true, true) => "slices that are shifted against each other are moved by whole pixels",
            (false, false) => "slices at uneven distances are repeated at the smallest one",
            (true, false) => {
                "slices that are shifted against each other and at uneven distances are moved by whole \
                 pixels and repeated at the smallest distance"
            }
        };
        let [x, y, _] = geometry.spacing();
        Some(format!(
            "the NIfTI file is resampled by the nearest voxel to a straight grid of {} x {} x {} voxels \
             of {x:.3} x {y:.3} x {:.3} mm: {done}",
            self.dims[0], self.dims[1], self.dims[2], self.step
        ))
    }
}
