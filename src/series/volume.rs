use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dicom::{self, DicomSeries};
use super::geometry::Geometry;
use super::nifti::{self, NiftiVolume};
use super::{SeriesError, Window};
use crate::image::{Color, Frame, Levels, Mask};
use crate::stream::{ImageSeries, Interlacing, Picture, SourceInfo, SourceOptions};

/// Which way a NIfTI volume is cut into slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axis {
    /// Along the file's third axis, as it was acquired.
    #[default]
    Acquired,
    /// From foot to head.
    Axial,
    /// From front to back.
    Coronal,
    /// From right to left.
    Sagittal,
}

/// How to open a volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VolumeOptions {
    /// Which series of a DICOM folder, by the number that the list in the error tells, from 1.
    pub series: Option<usize>,
    /// What is black and what is white.
    pub window: Window,
    /// How a NIfTI volume is cut.
    pub axis: Axis,
    /// Millimetres between columns, rows and slices of a stack of pictures.
    pub spacing: Option<[f64; 3]>,
}

/// Slices in order, all of one size. Slices of DICOM series and of picture stacks are read when they
/// are asked for.
#[derive(Debug)]
pub struct Volume {
    path: PathBuf,
    pub(super) content: Content,
    size: [u32; 2],
    slices: usize,
    /// Where the voxels lie, or how large they are at least.
    pub(super) geometry: Option<Geometry>,
    /// Whether the geometry is a place in the patient.
    placed: bool,
    warnings: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Content {
    Dicom(Box<DicomSeries>),
    Nifti(Box<NiftiVolume>),
    Pictures(Vec<PathBuf>, Levels),
}

impl Volume {
    /// Whether `path` is a NIfTI file, a DICOM file that does not play (see
    /// [`open_recording`](super::open_recording)), a folder with DICOM files in it, or a volume of a format
    /// that is refused by its name (NRRD, MetaImage, FreeSurfer, pairs of files).
    pub fn is_volume(path: &Path) -> bool {
        nifti::is_nifti(path)
            || nifti::other_volume(path).is_some()
            || dicom::is_dicom(path) && !dicom::is_recording(path)
    }

    /// Opens a DICOM file, a folder of DICOM files, a NIfTI file (.nii, .nii.gz), or a folder or
    /// pattern of pictures.
    ///
    /// # Errors
    /// [`SeriesError`]: unreadable and damaged files, several series, slices that are missing, double,
    /// or turned against each other, a volume that does not fit into memory.
    pub fn open(path: &Path, options: &VolumeOptions) -> Result<Self, SeriesError> {
        if nifti::is_nifti(path) {
            let (volume, place) = NiftiVolume::open(path, options)?;
            let [columns, rows, slices] = volume.size();
            return Ok(Self {
                path: path.to_path_buf(),
                content: Content::Nifti(Box::new(volume)),
                size: [columns as u32, rows as u32],
                slices,
                geometry: Some(place.geometry),
                placed: place.known,
                warnings: place.warnings,
            });
        }
        if let Some(what) = nifti::other_volume(path) {
            let reason =
                format!("{what}, which is not read; convert it to NIfTI-1 (.nii or .nii.gz)");
            return Err(SeriesError::file(path, reason));
        }
        if dicom::is_dicom(path) {
            return Self::of_dicom(path, &dicom::files(path)?, options);
        }
        if !ImageSeries::is_series(path) {
            return Err(SeriesError::Nothing { path: path.to_path_buf() });
        }
        let images = ImageSeries::open(path, &SourceOptions::default())
            .map_err(|error| SeriesError::file(path, error.to_string()))?;
        let Some(levels) = images.levels() else {
            let reason = "it holds several images; as a volume give a folder of one file a slice";
            return Err(SeriesError::file(path, reason));
        };
        let [x, y, z] = options.spacing.unwrap_or([1.0; 3]);
        let slices = images.files().len();
        let steps = [[x, 0.0, 0.0], [0.0, y, 0.0]].map(Into::into);
        let origins = (0..slices).map(|slice| [0.0, 0.0, z * slice as f64].into()).collect();
        Ok(Self {
            path: path.to_path_buf(),
            size: [images.info().width, images.info().height],
            slices,
            geometry: options.spacing.and_then(|_| Geometry::new(steps, origins, z)),
            placed: false,
            content: Content::Pictures(images.files().to_vec(), levels),
            warnings: Vec::new(),
        })
    }

    /// Opens the DICOM series that these files are, wherever they lie. Its name is the first file's.
    ///
    /// # Errors
    /// As [`Volume::open`].
    pub fn of_files(files: &[PathBuf], options: &VolumeOptions) -> Result<Self, SeriesError> {
        let path = files.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
        Self::of_dicom(path, files, options)
    }

    fn of_dicom(
        path: &Path,
        files: &[PathBuf],
        options: &VolumeOptions,
    ) -> Result<Self, SeriesError> {
        let (series, geometry, warnings) = DicomSeries::open(path, files, options)?;
        let (size, slices) = (series.size(), series.slices());
        let content = Content::Dicom(Box::new(series));
        let placed = geometry.is_some();
        Ok(Self { path: path.to_path_buf(), content, size, slices, geometry, placed, warnings })
    }

    /// The name that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Columns and rows of a slice.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// Number of slices.
    pub fn slices(&self) -> usize {
        self.slices
    }

    /// Millimetres between columns, rows and slices, if they are known.
    pub fn spacing(&self) -> Option<[f64; 3]> {
        self.geometry.as_ref().map(Geometry::spacing)
    }

    /// Volume of a voxel of a slice in millilitres, if it is known: its area times the slice's share of the
    /// way to its neighbours.
    pub fn voxel_millilitres(&self, slice: usize) -> Option<f64> {
        self.geometry.as_ref().map(|geometry| geometry.millilitres(slice))
    }

    /// Volume of what is marked in millilitres, if the size of voxels is known.
    pub fn millilitres(&self, masks: &[Option<Mask>]) -> Option<f64> {
        let geometry = self.geometry.as_ref()?;
        let marked =
            masks.iter().enumerate().filter_map(|(slice, mask)| Some((slice, mask.as_ref()?)));
        Some(marked.map(|(slice, mask)| mask.area() as f64 * geometry.millilitres(slice)).sum())
    }

    /// Where the voxels lie in the patient, if that is known.
    pub(super) fn place(&self) -> Option<&Geometry> {
        self.geometry.as_ref().filter(|_| self.placed)
    }

    /// Whether it is a DICOM series.
    pub fn is_dicom(&self) -> bool {
        matches!(self.content, Content::Dicom(_))
    }

    /// What is worth knowing before the slices are trusted.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The picture files of a stack; none of another volume.
    pub fn pictures(&self) -> &[PathBuf] {
        match &self.content {
            Content::Pictures(files, _) => files,
            _ => &[],
        }
    }

    /// All slices.
    pub fn range(&self) -> Range<usize> {
        0..self.slices
    }

    /// Where a slice's middle lies among the slices of another volume, as a number of a slice: by
    /// the patient's coordinates if both are in the same frame of reference, and else as if both
    /// volumes had the same middle.
    pub fn place_in(&self, slice: usize, other: &Self) -> f64 {
        let from_middle = slice as f64 - (self.slices as f64 - 1.0) / 2.0;
        let middle = (other.slices as f64 - 1.0) / 2.0;
        let (Some(here), Some(there)) = (&self.geometry, &other.geometry) else {
            return middle + from_middle;
        };
        if self.shares_frame_of_reference(other) {
            let centre = self.size.map(|side| (f64::from(side) - 1.0) / 2.0);
            return there.fraction(&here.place(centre, slice));
        }
        // Slices may be counted from above in one volume and from below in the other.
        let turned = here.normal().dot(&there.normal()) < 0.0;
        let by = from_middle * here.spacing()[2] / there.spacing()[2];
        middle + if turned { -by } else { by }
    }

    /// Whether places in both mean the same: they are one volume, or DICOM series that say so.
    pub fn shares_frame_of_reference(&self, other: &Self) -> bool {
        if self.path == other.path {
            return true;
        }
        match (&self.content, &other.content) {
            (Content::Dicom(a), Content::Dicom(b)) => a.shares_frame_of_reference(b),
            _ => false,
        }
    }

    /// A slice as a picture: grey through the window, or in its own colours.
    ///
    /// # Errors
    /// [`SeriesError`] for a slice that cannot be read or decoded.
    pub fn frame(&self, slice: usize) -> Result<Frame, SeriesError> {
        match &self.content {
            Content::Dicom(series) => series.frame(slice),
            Content::Nifti(volume) => volume.frame(slice),
            Content::Pictures(files, levels) => {
                let (frame, _) = Frame::open_at(&files[slice], *levels)?;
                let size = [frame.width(), frame.height()];
                if size != self.size {
                    let [width, height] = self.size;
                    let reason = format!(
                        "{} x {} pixels, and the slices before it {width} x {height}",
                        size[0], size[1]
                    );
                    return Err(SeriesError::file(&files[slice], reason));
                }
                Ok(frame)
            }
        }
    }

    /// A slice as a picture of a series.
    ///
    /// # Errors
    /// As [`Volume::frame`].
    pub fn picture(&self, slice: usize) -> Result<Picture, SeriesError> {
        let path = self.pictures().get(slice).cloned();
        let second = Duration::from_secs(1);
        Ok(Picture::of_image(slice as u64, second * slice as u32, second, self.frame(slice)?, path))
    }

    /// What is known of the slices as a series of pictures, one a second.
    pub fn info(&self) -> SourceInfo {
        let kind = match self.content {
            Content::Dicom(_) => "DICOM series",
            Content::Nifti(_) => "NIfTI volume",
            Content::Pictures(..) => "image folder",
        };
        SourceInfo {
            width: self.size[0],
            height: self.size[1],
            frame_rate: Some((1, 1)),
            par: (1, 1),
            duration: Some(Duration::from_secs(self.slices as u64)),
            codec: kind.to_owned(),
            container: kind.to_owned(),
            color: Color::usual(self.size[1]),
            interlacing: Interlacing::Progressive,
        }
    }
}
