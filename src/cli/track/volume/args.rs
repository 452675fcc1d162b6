use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::bail;
use clap::{Args, ValueEnum};
use p2sam::{Axis, VolumeOptions, Window};

/// What belongs to volumes alone.
#[derive(Args)]
#[command(next_help_heading = "Volumes")]
pub struct VolumeArgs {
    /// Which series of a DICOM folder that holds several.
    #[arg(long, value_name = "NUMBER")]
    pub series: Option<usize>,
    /// Which series of the reference's DICOM folder.
    #[arg(long, value_name = "NUMBER")]
    pub reference_series: Option<usize>,
    /// Which object of a segmentation or structure set, by name or number.
    #[arg(long, value_name = "NAME|NUMBER")]
    pub roi: Option<String>,
    /// Grey window: file, lung, soft-tissue, bone, or CENTRE,WIDTH.
    #[arg(long, value_name = "WINDOW", default_value = "file", allow_hyphen_values = true)]
    pub window: Window,
    /// Which way a NIfTI volume is cut.
    #[arg(long, value_enum, default_value_t)]
    pub axis: AxisArg,
    /// Millimetres between columns, rows and slices of a stack of pictures.
    #[arg(long, value_name = "X,Y,Z")]
    pub spacing: Option<Spacing>,
    /// Slices to look at, FIRST..LAST, from 0 (default: all).
    #[arg(long, value_name = "A..B")]
    pub slices: Option<Slices>,
    /// Which annotated slice serves a slice: the nearest, or from the middles of both outwards, as
    /// published.
    #[arg(long, value_enum, default_value_t)]
    pub pair: PairArg,
    /// Go up and down from the slice that is served by the largest annotation; the mask of the slice
    /// before competes.
    #[arg(long)]
    pub propagate: bool,
    /// Masks as a NIfTI file (.nii, .nii.gz), in the input's own grid.
    #[arg(long, value_name = "FILE")]
    pub nifti: Option<PathBuf>,
    /// Masks as a DICOM segmentation that refers to the input's images.
    #[arg(long, value_name = "FILE")]
    pub seg: Option<PathBuf>,
    /// What the DICOM segmentation calls the object.
    #[arg(long, value_name = "NAME", default_value = "object")]
    pub label: String,
    /// A page (.html) with the slices.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Keep the patient's name and numbers, the study's dates, and the names of DICOM files in what is
    /// written; without, a DICOM segmentation has them empty.
    #[arg(long)]
    pub keep_identifiers: bool,
}

#[derive(Clone, Copy, Default, PartialEq, ValueEnum)]
pub enum AxisArg {
    /// Along the file's third axis.
    #[default]
    Acquired,
    /// From foot to head.
    Axial,
    /// From front to back.
    Coronal,
    /// From right to left.
    Sagittal,
}

#[derive(Clone, Copy, Default, PartialEq, ValueEnum)]
pub enum PairArg {
    /// The nearest annotated slice.
    #[default]
    Nearest,
    /// From the middles of the annotated slices and of --slices outwards.
    Middle,
}

#[derive(Clone, Copy)]
pub struct Spacing(pub [f64; 3]);

impl FromStr for Spacing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse =
            |part: &str| part.trim().parse().ok().filter(|v| f64::is_normal(*v) && *v > 0.0);
        let values: Option<Vec<f64>> = text.split(',').map(parse).collect();
        let values = values.and_then(|values| values.try_into().ok());
        values.map(Self).ok_or_else(|| format!("'{text}' is not X,Y,Z in millimetres"))
    }
}

#[derive(Clone)]
pub struct Slices(pub Range<usize>);

impl FromStr for Slices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no range of slices such as 12..47");
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
        let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
        let end = last.checked_add(1).filter(|end| *end > first).ok_or_else(wrong)?;
        Ok(Self(first..end))
    }
}

impl VolumeArgs {
    /// How to open the volume of that series.
    pub fn options(&self, series: Option<usize>) -> VolumeOptions {
        VolumeOptions {
            series,
            window: self.window,
            axis: match self.axis {
                AxisArg::Acquired => Axis::Acquired,
                AxisArg::Axial => Axis::Axial,
                AxisArg::Coronal => Axis::Coronal,
                AxisArg::Sagittal => Axis::Sagittal,
            },
            spacing: self.spacing.map(|spacing| spacing.0),
        }
    }

    /// Every file asked for, with what it is.
    pub fn listed(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [("nifti", &self.nifti), ("seg", &self.seg), ("page", &self.page)]
            .into_iter()
            .filter_map(|(name, path)| Some((name, path.as_deref()?)))
    }

    /// Whether nothing is asked for that only a volume has.
    pub fn check_unused(&self) -> anyhow::Result<()> {
        let used = [
            ("--series", self.series.is_some()),
            ("--reference-series", self.reference_series.is_some()),
            ("--roi", self.roi.is_some()),
            ("--slices", self.slices.is_some()),
            ("--spacing", self.spacing.is_some()),
            ("--propagate", self.propagate),
            ("--nifti", self.nifti.is_some()),
            ("--seg", self.seg.is_some()),
            ("--page", self.page.is_some()),
        ];
        match used.into_iter().find(|(_, used)| *used) {
            Some((name, _)) => bail!(
                "{name} is for volumes: the input is no DICOM series or NIfTI, and --reference no folder"
            ),
            None => Ok(()),
        }
    }
}
