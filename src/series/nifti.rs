use std::path::Path;

use nalgebra::{Matrix4, Vector3};
use ndarray::{Array3, Axis as ArrayAxis, Ix3};
use nifti::writer::WriterOptions;
use nifti::{IntoNdArray, NiftiHeader, NiftiObject, ReaderOptions};

use super::geometry::Geometry;
use super::volume::Content;
use super::window::{grey, of_values};
use super::{Axis, SeriesError, Volume, VolumeOptions, Window};
use crate::image::{Frame, Mask};
use crate::memory::free_memory;
use crate::quiet::quietly;

/// A NIfTI-1 volume in memory.
pub(super) struct NiftiVolume {
    values: Array3<f32>,
    header: NiftiHeader,
    layout: Layout,
    window: (f64, f64),
}

impl std::fmt::Debug for NiftiVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NiftiVolume").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// How slices lie in the file's array: for column, row and slice the axis of the array, and whether it
/// is counted from its end.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    axes: [usize; 3],
    flipped: [bool; 3],
    dims: [usize; 3],
}

impl Layout {
    /// Slices as a viewer shows them: the patient's left on the right, the front or the head above.
    fn new(affine: &Matrix4<f64>, dims: [usize; 3], axis: Axis) -> Self {
        // How far an axis of the array runs along left, back and head.
        let along = |axis: usize, way: usize| {
            let step: Vector3<f64> = affine.fixed_view::<3, 1>(0, axis).into();
            step[way] / step.norm().max(f64::MIN_POSITIVE)
        };
        let most = |way: usize, from: &[usize]| {
            let by =
                |a: &&usize, b: &&usize| along(**a, way).abs().total_cmp(&along(**b, way).abs());
            from.iter().max_by(by).copied().unwrap_or(0)
        };
        let way = match axis {
            Axis::Sagittal => 0,
            Axis::Coronal => 1,
            Axis::Axial => 2,
            Axis::Acquired => {
                let by = |a: &usize, b: &usize| along(2, *a).abs().total_cmp(&along(2, *b).abs());
                (0..3).max_by(by).unwrap_or(2)
            }
        };
        let slice = match axis {
            Axis::Acquired => 2,
            _ => most(way, &[0, 1, 2]),
        };
        let rest: Vec<usize> = (0..3).filter(|a| *a != slice).collect();
        // Columns go to the left, or to the back of sagittal slices; rows to the back, or down.
        let column = most(if way == 0 { 1 } else { 0 }, &rest);
        let row = rest.into_iter().find(|a| *a != column).unwrap_or(0);
        let down = way != 2;
        let flipped = [
            along(column, if way == 0 { 1 } else { 0 }) < 0.0,
            if down { along(row, 2) > 0.0 } else { along(row, 1) < 0.0 },
            along(slice, way) < 0.0,
        ];
        Self { axes: [column, row, slice], flipped, dims }
    }

    /// Columns, rows, slices.
    fn size(&self) -> [usize; 3] {
        self.axes.map(|axis| self.dims[axis])
    }

    /// Where a voxel lies in the array.
    fn index(&self, voxel: [usize; 3]) -> [usize; 3] {
        let mut index = [0; 3];
        for (way, &axis) in self.axes.iter().enumerate() {
            index[axis] = match self.flipped[way] {
                true => self.dims[axis] - 1 - voxel[way],
                false => voxel[way],
            };
        }
        index
    }

    /// From column, row and slice to the array.
    fn matrix(&self) -> Matrix4<f64> {
        let mut matrix = Matrix4::zeros();
        matrix[(3, 3)] = 1.0;
        for (way, &axis) in self.axes.iter().enumerate() {
            let flipped = self.flipped[way];
            matrix[(axis, way)] = if flipped { -1.0 } else { 1.0 };
            matrix[(axis, 3)] = if flipped { self.dims[axis] as f64 - 1.0 } else { 0.0 };
        }
        matrix
    }
}

/// Whether the name is a NIfTI file's.
pub(super) fn is_nifti(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    [".nii", ".nii.gz"].iter().any(|end| name.ends_with(end)) && !path.is_dir()
}

/// From NIfTI's coordinates (right, front, head) to DICOM's and back.
fn mirrored() -> Matrix4<f64> {
    Matrix4::from_diagonal(&[-1.0, -1.0, 1.0, 1.0].into())
}

/// The file's array, its header, and where it lies.
fn read(path: &Path) -> Result<(Array3<f32>, NiftiHeader, Matrix4<f64>), SeriesError> {
    let damaged = |what: String| SeriesError::file(path, what);
    if !path.is_file() {
        let source = std::io::ErrorKind::NotFound.into();
        return Err(SeriesError::Read { path: path.to_path_buf(), source });
    }
    let header = quietly(|| NiftiHeader::from_file(path))
        .ok_or_else(|| damaged("no NIfTI header".into()))?
        .map_err(|error| damaged(format!("no NIfTI file: {error}")))?;
    let dims = header.dim().map_err(|error| damaged(format!("no NIfTI volume: {error}")))?.to_vec();
    if dims.len() < 3 || dims.contains(&0) || dims[3..].iter().any(|d| *d != 1) {
        let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
        return Err(damaged(format!(
            "{} values, and a volume has three sides; give one volume",
            dims.join(" x ")
        )));
    }
    // The file's bytes and the values made of them.
    let voxels: u64 = dims.iter().map(|d| u64::from(*d)).product();
    let each = u64::from(header.bitpix.unsigned_abs()) / 8;
    // A byte of a packed file holds no more than 1032.
    let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    let length = path.metadata().map_or(0, |file| file.len());
    if voxels * each > length * if packed { 1032 } else { 1 } {
        return Err(damaged("its voxels are cut off: it is too short for their number".into()));
    }
    let needed = voxels * (each + 4);
    if let Some(free) = free_memory().filter(|free| needed > *free) {
        return Err(SeriesError::Memory { path: path.to_path_buf(), needed, free });
    }
    let affine: Matrix4<f64> = quietly(|| header.affine())
        .ok_or_else(|| damaged("its orientation makes no sense".into()))?;
    let values = quietly(|| {
        let object = ReaderOptions::new().read_file(path)?;
        object.into_volume().into_ndarray::<f32>()
    });
    let mut values = values
        .ok_or_else(|| damaged("its voxels cannot be read".into()))?
        .map_err(|error| damaged(format!("its voxels cannot be read: {error}")))?;
    while values.ndim() > 3 {
        values = values.index_axis_move(ArrayAxis(3), 0);
    }
    let values = values
        .into_dimensionality::<Ix3>()
        .map_err(|_| damaged("its voxels make no volume".into()))?;
    Ok((values, header, mirrored() * affine))
}

impl NiftiVolume {
    /// Reads a volume.
    pub fn open(path: &Path, options: &VolumeOptions) -> Result<(Self, Geometry), SeriesError> {
        let (values, header, affine) = read(path)?;
        let (x, y, z) = values.dim();
        let layout = Layout::new(&affine, [x, y, z], options.axis);
        let geometry = Geometry::new(affine * layout.matrix())
            .ok_or_else(|| SeriesError::file(path, "its orientation makes no sense"))?;
        let window = match options.window {
            Window::Values { centre, width } => (centre, width),
            Window::File => {
                let step = (values.len() / 1_000_000).max(1);
                of_values(&mut values.iter().step_by(step).copied().collect())
            }
        };
        Ok((Self { values, header, layout, window }, geometry))
    }

    /// Columns, rows and slices.
    pub fn size(&self) -> [usize; 3] {
        self.layout.size()
    }

    /// A slice in grey.
    pub fn frame(&self, slice: usize) -> Result<Frame, SeriesError> {
        let [columns, rows, _] = self.size();
        let mut rgb = Vec::with_capacity(columns * rows * 3);
        for row in 0..rows {
            for column in 0..columns {
                let value = self.values[self.layout.index([column, row, slice])];
                rgb.extend([grey(value, self.window); 3]);
            }
        }
        Ok(Frame::new(columns as u32, rows as u32, rgb)?)
    }
}

/// The masks that a NIfTI file holds for the slices of a volume: every value but 0, or the one that
/// `label` names. Each voxel of the volume takes the value of the nearest one.
pub(super) fn masks(
    path: &Path,
    volume: &Volume,
    label: Option<&str>,
) -> Result<Vec<Option<Mask>>, SeriesError> {
    let (values, header, affine) = read(path)?;
    let label = label
        .map(|label| {
            label.parse::<f32>().map_err(|_| {
                SeriesError::mask(path, "objects of a NIfTI file are told by number: --roi NUMBER")
            })
        })
        .transpose()?;
    let dims = <[usize; 3]>::from(values.dim());
    let placed = header.sform_code > 0 || header.qform_code > 0;
    let there = Geometry::new(affine).filter(|_| placed);
    let ([width, height], count) = (volume.size(), volume.slices());
    // A mask of the same array as its volume belongs to it voxel by voxel.
    let same = match &volume.content {
        Content::Nifti(own) if own.layout.dims == dims => Some(own.layout),
        _ => None,
    };
    let index = |voxel: [usize; 3]| -> Option<[usize; 3]> {
        if let Some(layout) = same {
            return Some(layout.index(voxel));
        }
        let nearest = match (&there, &volume.geometry) {
            (Some(there), Some(here)) => there.voxel(&here.place(voxel.map(|v| v as f64))),
            _ => voxel.map(|v| v as f64),
        };
        let inside =
            |axis: usize| nearest[axis].round() >= 0.0 && nearest[axis].round() < dims[axis] as f64;
        (0..3).all(inside).then(|| nearest.map(|v| v.round() as usize))
    };
    if there.is_none() && same.is_none() && dims != [width as usize, height as usize, count] {
        let reason = format!(
            "{} x {} x {} voxels without a place, and the volume has {width} x {height} x {count}",
            dims[0], dims[1], dims[2]
        );
        return Err(SeriesError::mask(path, reason));
    }
    let mut masks = Vec::with_capacity(count);
    for slice in 0..count {
        let mut data = vec![false; width as usize * height as usize];
        for (pixel, on) in data.iter_mut().enumerate() {
            let (column, row) = (pixel % width as usize, pixel / width as usize);
            let Some(index) = index([column, row, slice]) else { continue };
            let value = values[index];
            *on = label.map_or(value.is_finite() && value != 0.0, |label| value == label);
        }
        masks.push(data.contains(&true).then(|| Mask::new(width, height, data)).transpose()?);
    }
    Ok(masks)
}

/// Writes the masks of a volume's slices as a NIfTI file (.nii, .nii.gz) of 0 and 1: the input's own
/// array if that is a NIfTI file, and else columns, rows and slices with their place.
///
/// # Errors
/// [`SeriesError::Write`].
pub fn write_nifti(
    path: &Path,
    volume: &Volume,
    masks: &[Option<Mask>],
) -> Result<(), SeriesError> {
    let ([width, height], count) = (volume.size(), volume.slices());
    let (mut header, layout) = match &volume.content {
        Content::Nifti(own) => (own.header.clone(), own.layout),
        _ => {
            let dims = [width as usize, height as usize, count];
            let mut header = NiftiHeader::default();
            if let Some(geometry) = &volume.geometry {
                header.set_affine(&(mirrored() * geometry.affine()));
                // Millimetres.
                header.xyzt_units = 2;
            }
            (header, Layout { axes: [0, 1, 2], flipped: [false; 3], dims })
        }
    };
    (header.scl_slope, header.scl_inter, header.intent_code) = (1.0, 0.0, 0);
    (header.cal_min, header.cal_max) = (0.0, 1.0);
    // What the input's author wrote there may name somebody.
    (header.aux_file, header.intent_name) = ([0; 24], [0; 16]);
    let written = header.set_description_str("p2sam mask; research only");
    written.map_err(|error| SeriesError::write(path, error))?;
    let mut values = Array3::<u8>::zeros(layout.dims);
    for (slice, mask) in masks.iter().enumerate() {
        let Some(mask) = mask else { continue };
        for (pixel, _) in mask.data().iter().enumerate().filter(|(_, on)| **on) {
            let (column, row) = (pixel % width as usize, pixel / width as usize);
            values[layout.index([column, row, slice])] = 1;
        }
    }
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
        .map_err(|error| failed(&error))
}
