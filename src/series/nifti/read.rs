//! Reading a NIfTI-1 file: its header, where it lies, its values.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use nalgebra::{Matrix3, Matrix4, Quaternion, UnitQuaternion, Vector3, Vector4};
use ndarray::{Array3, Axis as ArrayAxis, Ix3};
use nifti::volume::inmem::InMemNiftiVolume;
use nifti::{IntoNdArray, NiftiHeader, NiftiType};

use crate::memory::free_memory;
use crate::quiet::quietly;
use crate::series::SeriesError;

/// Bytes before the extensions and the voxels.
const HEADER: u64 = 348;
/// Where the voxels begin at the earliest.
const VOXELS: u64 = 352;
/// A byte of a packed file holds no more than 1032.
const PACKING: u64 = 1032;

/// A file's array, its header, and where it lies.
pub struct Contents {
    pub values: Array3<f32>,
    pub header: NiftiHeader,
    pub place: Place,
}

/// Where an array lies.
pub struct Place {
    /// From the array's indices to DICOM's coordinates, millimetres.
    pub affine: Matrix4<f64>,
    /// Whether it is a place in the patient, and not sizes of voxels alone.
    pub known: bool,
    pub warnings: Vec<String>,
}

/// From NIfTI's coordinates (right, front, head) to DICOM's and back.
pub fn mirrored() -> Matrix4<f64> {
    Matrix4::from_diagonal(&[-1.0, -1.0, 1.0, 1.0].into())
}

/// The file's bytes, unpacked if they are packed, whatever the name says; all members of a packed file
/// count (as bgzip and pigz write them).
fn bytes(path: &Path) -> io::Result<(Box<dyn Read>, bool)> {
    let mut file = BufReader::new(File::open(path)?);
    let packed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok((if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) }, packed))
}

/// Reads all of a file.
pub fn read(path: &Path) -> Result<Contents, SeriesError> {
    let damaged = |what: String| SeriesError::file(path, what);
    let unread = |source| SeriesError::Read { path: path.to_path_buf(), source };
    if !path.is_file() {
        return Err(unread(io::ErrorKind::NotFound.into()));
    }
    let (mut input, packed) = bytes(path).map_err(unread)?;
    let mut head = Vec::new();
    let ended = (&mut input).take(HEADER).read_to_end(&mut head);
    if ended.is_err() || head.len() < HEADER as usize {
        return Err(damaged("no NIfTI file: it is cut off within its header".into()));
    }
    if let Some(what) = other_format(&head) {
        return Err(damaged(what.into()));
    }
    let header = NiftiHeader::from_reader(head.as_slice());
    let mut header = header.map_err(|error| damaged(format!("no NIfTI file: {error}")))?;
    check_kind(&header).map_err(damaged)?;
    let dims = header.dim().map_err(|error| damaged(format!("no NIfTI volume: {error}")))?.to_vec();
    let negative = dims.iter().any(|d| *d > i16::MAX as u16);
    if dims.len() < 3 || negative || dims.contains(&0) || dims[3..].iter().any(|d| *d != 1) {
        let dims: Vec<String> = dims.iter().map(|d| (*d as i16).to_string()).collect();
        return Err(damaged(format!(
            "{} values, and a volume has three sides; give one volume",
            dims.join(" x ")
        )));
    }
    // The file's bytes and the values made of them.
    let voxels: u64 = dims.iter().map(|d| u64::from(*d)).product();
    let each = header.data_type().map_or(1, |kind| kind.size_of() as u64);
    let length = path.metadata().map_or(0, |file| file.len());
    if voxels.saturating_mul(each) > length.saturating_mul(if packed { PACKING } else { 1 }) {
        return Err(damaged("its voxels are cut off: it is too short for their number".into()));
    }
    let needed = voxels * (each + 4);
    if let Some(free) = free_memory().filter(|free| needed > *free) {
        return Err(SeriesError::Memory { path: path.to_path_buf(), needed, free });
    }
    let mut place = place(&header).map_err(damaged)?;
    scale(&mut header, &mut place.warnings).map_err(damaged)?;
    // The library reads by bitpix, and everybody else by the datatype.
    if u64::try_from(header.bitpix) != Ok(each * 8) {
        place.warnings.push(format!("its bitpix ({}) is not that of its datatype", header.bitpix));
        header.bitpix = (each * 8) as i16;
    }
    let offset = f64::from(header.vox_offset);
    let most = (length.saturating_mul(PACKING)) as f64;
    if !(0.0..=most).contains(&offset) {
        return Err(damaged("where its voxels begin (vox_offset) makes no sense".into()));
    }
    let skipped = (offset as u64).max(VOXELS) - HEADER;
    let cut = || damaged("its voxels are cut off or damaged".into());
    let read = io::copy(&mut (&mut input).take(skipped), &mut io::sink()).map_err(|_| cut())?;
    if read != skipped {
        return Err(cut());
    }
    let values = quietly(|| {
        InMemNiftiVolume::from_reader(input, &header).and_then(|v| v.into_ndarray::<f32>())
    });
    let mut values = values.ok_or_else(cut)?.map_err(|error| match error {
        nifti::NiftiError::UnsupportedDataType(kind) => {
            damaged(format!("its voxels are of a kind that is not read: {kind:?}"))
        }
        _ => cut(),
    })?;
    while values.ndim() > 3 {
        values = values.index_axis_move(ArrayAxis(3), 0);
    }
    let values = values
        .into_dimensionality::<Ix3>()
        .map_err(|_| damaged("its voxels make no volume".into()))?;
    Ok(Contents { values, header, place })
}

/// What the first bytes are, if they are not those of a NIfTI-1 file in one piece.
fn other_format(head: &[u8]) -> Option<&'static str> {
    let size = [head[0], head[1], head[2], head[3]];
    let sizes = [i32::from_le_bytes(size), i32::from_be_bytes(size)];
    if sizes.contains(&540) {
        return Some("a NIfTI-2 file, which is not read; convert it to NIfTI-1 (.nii or .nii.gz)");
    }
    match (sizes.contains(&348), &head[344..348]) {
        (true, b"n+1\0") => None,
        (true, b"ni1\0") => Some(
            "the header of a pair of files (.hdr and .img), which is not read; convert it to one \
             NIfTI-1 file (.nii or .nii.gz)",
        ),
        (true, _) => Some(
            "an ANALYZE file, which does not say where it lies and is not read; convert it to one \
             NIfTI-1 file (.nii or .nii.gz)",
        ),
        _ => Some("no NIfTI file: its first bytes are those of something else"),
    }
}

/// Whether the voxels are single numbers.
fn check_kind(header: &NiftiHeader) -> Result<(), String> {
    let kind = header
        .data_type()
        .map_err(|_| format!("its voxels are of an unknown kind (datatype {})", header.datatype))?;
    let what = match kind {
        NiftiType::Rgb24 | NiftiType::Rgba32 => "colours; save one grey value a voxel",
        NiftiType::Complex64 | NiftiType::Complex128 | NiftiType::Complex256 => {
            "complex numbers; save the magnitude"
        }
        NiftiType::Float128 => "floats of 128 bits; save them as 32 or 64 bits",
        _ => return Ok(()),
    };
    Err(format!("its voxels ({kind:?}) are {what}"))
}

/// Makes the slope such as the text of NIfTI-1 means it: 0, or what is no number, is no scaling.
fn scale(header: &mut NiftiHeader, warnings: &mut Vec<String>) -> Result<(), String> {
    if header.scl_slope == 0.0 || !header.scl_slope.is_finite() {
        if !header.scl_slope.is_finite() {
            warnings.push("its scl_slope is no number: values are taken as they are stored".into());
        }
        (header.scl_slope, header.scl_inter) = (1.0, 0.0);
    }
    match header.scl_inter.is_finite() {
        true => Ok(()),
        false => Err("its scl_inter is no number, though its scl_slope is one".into()),
    }
}

/// Where the array lies: by the sform if there is one, else by the qform, else nowhere.
fn place(header: &NiftiHeader) -> Result<Place, String> {
    let mut warnings = Vec::new();
    // Metres, millimetres, micrometres; unknown ones are millimetres by custom.
    let unit = match header.xyzt_units & 7 {
        1 => 1000.0,
        3 => 0.001,
        _ => 1.0,
    };
    let invertible = |affine: &Matrix4<f64>| {
        affine.iter().all(|v| v.is_finite()) && affine.try_inverse().is_some()
    };
    let sform = (header.sform_code > 0).then(|| sform(header));
    let qform = (header.qform_code > 0).then(|| qform(header));
    let (affine, known) = match (sform, qform) {
        (Some(sform), Some(qform)) if invertible(&sform) => {
            if let Some(apart) = apart(header, &sform, &qform, unit) {
                warnings.push(format!(
                    "its sform and its qform put it in two places, up to {apart:.2} mm apart: the \
                     sform is taken"
                ));
            }
            (sform, true)
        }
        (Some(sform), None) => (sform, true),
        (Some(_), Some(qform)) => {
            warnings.push("its sform spans no volume: the qform is taken".into());
            (qform, true)
        }
        (None, Some(qform)) => (qform, true),
        (None, None) => (sizes_alone(header), false),
    };
    let mut affine = mirrored() * affine;
    affine.fixed_view_mut::<3, 4>(0, 0).scale_mut(unit);
    if !invertible(&affine) {
        return Err("its orientation makes no sense: its axes span no volume".into());
    }
    Ok(Place { affine, known, warnings })
}

fn sform(header: &NiftiHeader) -> Matrix4<f64> {
    let rows = [header.srow_x, header.srow_y, header.srow_z, [0.0, 0.0, 0.0, 1.0]];
    Matrix4::from_fn(|row, column| f64::from(rows[row][column]))
}

/// Sizes of the voxels; what is no size is 1.
fn sizes(header: &NiftiHeader) -> Vector3<f64> {
    let size = |axis: usize| Some(f64::from(header.pixdim[axis]).abs()).filter(|d| *d > 0.0);
    Vector3::from([1, 2, 3].map(|axis| size(axis).unwrap_or(1.0)))
}

/// NIfTI-1, method 2: a quaternion, sizes, and a handedness (`qfac`), of which 0 means 1.
fn qform(header: &NiftiHeader) -> Matrix4<f64> {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let rest = 1.0 - (b * b + c * c + d * d);
    // Rounding may leave less than nothing for the first part.
    let a = if rest < 1e-7 { 0.0 } else { rest.sqrt() };
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new(a, b, c, d));
    let mut sizes = sizes(header);
    sizes.z *= if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let linear = rotation.to_rotation_matrix().into_inner() * Matrix3::from_diagonal(&sizes);
    let mut affine = Matrix4::identity();
    affine.fixed_view_mut::<3, 3>(0, 0).copy_from(&linear);
    let offsets = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    affine.fixed_view_mut::<3, 1>(0, 3).copy_from(&Vector3::from(offsets));
    affine
}

/// Neither form: the array's first axis runs to the left, as for ANALYZE, about the middle.
fn sizes_alone(header: &NiftiHeader) -> Matrix4<f64> {
    let mut sizes = sizes(header);
    sizes.x = -sizes.x;
    let mut affine = Matrix4::from_diagonal(&sizes.push(1.0));
    for axis in 0..3 {
        let last = f64::from(header.dim[axis + 1].max(1)) - 1.0;
        affine[(axis, 3)] = -sizes[axis] * last / 2.0;
    }
    affine
}

/// How far the corners of the array lie apart by its two forms, in millimetres, if it is more than a tenth
/// of a voxel.
fn apart(
    header: &NiftiHeader,
    sform: &Matrix4<f64>,
    qform: &Matrix4<f64>,
    unit: f64,
) -> Option<f64> {
    let corners = (0..8).map(|corner| {
        let far = |axis: usize| match corner >> axis & 1 {
            1 => f64::from(header.dim[axis + 1].max(1)) - 1.0,
            _ => 0.0,
        };
        let corner = Vector4::new(far(0), far(1), far(2), 1.0);
        (sform * corner - qform * corner).norm() * unit
    });
    let apart = corners.fold(0.0, f64::max);
    (apart.is_nan() || apart > 0.1 * sizes(header).min() * unit).then_some(apart)
}
