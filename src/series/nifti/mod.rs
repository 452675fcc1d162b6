//! NIfTI-1 volumes and masks.

mod labels;
mod layout;
mod read;
mod write;

use std::path::Path;

use ndarray::Array3;
use nifti::NiftiHeader;

use super::geometry::Geometry;
use super::window::{GreyWindow, of_values};
use super::{SeriesError, VolumeOptions, Window};
use crate::image::Frame;
use layout::Layout;
use read::Contents;

pub(super) use labels::masks;
pub use write::write_nifti;

/// A NIfTI-1 volume in memory.
pub(super) struct NiftiVolume {
    values: Array3<f32>,
    header: NiftiHeader,
    layout: Layout,
    window: GreyWindow,
}

impl std::fmt::Debug for NiftiVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NiftiVolume").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Where a volume lies, and what is worth knowing of it.
pub(super) struct Placed {
    pub geometry: Geometry,
    /// Whether it is a place in the patient, and not sizes of voxels alone.
    pub known: bool,
    pub warnings: Vec<String>,
}

/// Whether the name is a NIfTI file's.
pub(super) fn is_nifti(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    [".nii", ".nii.gz"].iter().any(|end| name.ends_with(end)) && !path.is_dir()
}

/// What a file is by its name, if it is a volume of a format that is not read.
pub(super) fn other_volume(path: &Path) -> Option<&'static str> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let kinds = [
        ([".hdr", ".img"], "a pair of ANALYZE or NIfTI files"),
        ([".hdr.gz", ".img.gz"], "a pair of ANALYZE or NIfTI files"),
        ([".mgz", ".mgh"], "a FreeSurfer volume"),
        ([".nrrd", ".nhdr"], "an NRRD volume"),
        ([".mha", ".mhd"], "a MetaImage volume"),
    ];
    let known = kinds.iter().find(|(ends, _)| ends.iter().any(|end| name.ends_with(end)));
    known.filter(|_| path.is_file()).map(|(_, what)| *what)
}

impl NiftiVolume {
    /// Reads a volume.
    pub fn open(path: &Path, options: &VolumeOptions) -> Result<(Self, Placed), SeriesError> {
        let Contents { values, header, mut place } = read::read(path)?;
        let (x, y, z) = values.dim();
        let layout = Layout::shown(&place.affine, [x, y, z], options.axis);
        let affine = place.affine * layout.matrix();
        let geometry = Geometry::from_affine(&affine, layout.size()[2])
            .ok_or_else(|| SeriesError::file(path, "its orientation makes no sense"))?;
        let window = match options.window {
            Window::Values { centre, width } => GreyWindow::exact(centre, width),
            Window::File => {
                let step = (values.len() / 1_000_000).max(1);
                of_values(&mut values.iter().step_by(step).copied().collect())
            }
        };
        if !place.known {
            place.warnings.push(
                "it says no place in the patient (no sform and no qform): its sizes are used, and \
                 masks fit by voxels only"
                    .into(),
            );
        }
        let placed = Placed { geometry, known: place.known, warnings: place.warnings };
        Ok((Self { values, header, layout, window }, placed))
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
                rgb.extend([self.window.grey(value); 3]);
            }
        }
        Ok(Frame::new(columns as u32, rows as u32, rgb)?)
    }
}
