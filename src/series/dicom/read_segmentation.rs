use std::borrow::Cow;
use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use dicom_pixeldata::PixelDecoder;
use nalgebra::Point3;

use super::elements::{exactly, first, integer, items, text};
use super::{DicomSeries, choose};
use crate::image::Mask;
use crate::quiet::quietly;
use crate::series::{SeriesError, Volume};

/// Numbers and labels of the segments.
pub fn objects(object: &InMemDicomObject) -> Vec<(i64, String)> {
    let named = |item| {
        let label = text(item, tags::SEGMENT_LABEL).unwrap_or_default();
        Some((integer(item, tags::SEGMENT_NUMBER)?, label))
    };
    items(object, tags::SEGMENT_SEQUENCE)
        .iter()
        .filter_map(named)
        // What a label map calls its background.
        .filter(|(number, _)| *number != 0)
        .collect()
}

/// The masks of one segment of a DICOM segmentation: binary, fractional from one half on, or a label map.
/// Compressed frames are read as far as those of images are.
pub fn masks(
    path: &Path,
    object: &DefaultDicomObject,
    volume: &Volume,
    series: &DicomSeries,
    roi: Option<&str>,
) -> Result<Vec<Option<Mask>>, SeriesError> {
    let wrong = |reason: &str| SeriesError::mask(path, reason);
    let number = choose(path, &objects(object), roi)?;
    let [width, height] = volume.size();
    let size = [tags::COLUMNS, tags::ROWS].map(|tag| integer(object, tag));
    if size != [Some(i64::from(width)), Some(i64::from(height))] {
        return Err(wrong("its frames are not of the images' size"));
    }
    let pixels = width as usize * height as usize;
    let frames = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    let labels = text(object, tags::SEGMENTATION_TYPE).as_deref() == Some("LABELMAP");
    let bits = integer(object, tags::BITS_ALLOCATED).filter(|bits| [1, 8, 16].contains(bits));
    let bits = bits.ok_or_else(|| wrong("its pixels have neither 1 nor 8 nor 16 bits"))? as usize;
    let most = integer(object, tags::MAXIMUM_FRACTIONAL_VALUE).unwrap_or(255).max(1);
    let whole = object.get(tags::PIXEL_DATA).and_then(|element| element.value().to_bytes().ok());
    if let Some(data) = &whole
        && data.len() < (frames.len() * pixels * bits).div_ceil(8)
    {
        return Err(wrong("it is cut off: frames are missing"));
    }
    let marked = |index: usize| -> Result<Vec<bool>, SeriesError> {
        let (data, first) = match &whole {
            Some(data) => (Cow::from(&**data), index * pixels),
            None => (decompressed(path, object, index, pixels * (bits / 8))?, 0),
        };
        let value = |pixel: usize| match bits {
            1 => i64::from(data[pixel / 8] >> (pixel % 8) & 1),
            8 => i64::from(data[pixel]),
            _ => i64::from(u16::from_le_bytes([data[2 * pixel], data[2 * pixel + 1]])),
        };
        let on = |pixel: usize| match (labels, bits) {
            (true, _) => value(pixel) == number,
            (false, 1) => value(pixel) == 1,
            (false, _) => 2 * value(pixel) >= most,
        };
        Ok((first..first + pixels).map(on).collect())
    };
    let mut slices: Vec<Option<Vec<bool>>> = vec![None; volume.slices()];
    for (index, frame) in frames.iter().enumerate() {
        let segment = first(frame, tags::SEGMENT_IDENTIFICATION_SEQUENCE)
            .and_then(|item| integer(item, tags::REFERENCED_SEGMENT_NUMBER));
        if !labels && segment.is_some_and(|segment| segment != number) {
            continue;
        }
        let marked = marked(index)?;
        if !marked.contains(&true) {
            continue;
        }
        let slice = slice_of(frame, volume, series).ok_or_else(|| {
            SeriesError::mask(path, format!("frame {} marks none of the images", index + 1))
        })?;
        match &mut slices[slice] {
            Some(mask) => mask.iter_mut().zip(marked).for_each(|(a, b)| *a |= b),
            empty => *empty = Some(marked),
        }
    }
    let masks = slices
        .into_iter()
        .map(|data| Ok(data.map(|data| Mask::new(width, height, data)).transpose()?));
    masks.collect()
}

/// The bytes of a compressed frame.
fn decompressed<'a>(
    path: &Path,
    object: &'a DefaultDicomObject,
    index: usize,
    bytes: usize,
) -> Result<Cow<'a, [u8]>, SeriesError> {
    let decoded = quietly(|| object.decode_pixel_data_frame(index as u32).ok()).flatten();
    let data = decoded.map(|decoded| decoded.data().to_vec()).filter(|data| data.len() >= bytes);
    data.filter(|_| bytes > 0).map(Cow::from).ok_or_else(|| {
        let reason = "its frames are damaged, or compressed in a way that is not read; save it \
                      uncompressed";
        SeriesError::mask(path, reason)
    })
}

/// The image that a frame was drawn on, or the one in its place.
fn slice_of(frame: &InMemDicomObject, volume: &Volume, series: &DicomSeries) -> Option<usize> {
    let source = first(frame, tags::DERIVATION_IMAGE_SEQUENCE)
        .and_then(|item| first(item, tags::SOURCE_IMAGE_SEQUENCE));
    if let Some(source) = source
        && let Some(instance) = text(source, tags::REFERENCED_SOP_INSTANCE_UID)
    {
        let number = integer(source, tags::REFERENCED_FRAME_NUMBER)
            .and_then(|number| u32::try_from(number).ok());
        if let Some(slice) = series.slice_of(&instance, number) {
            return Some(slice);
        }
    }
    let [x, y, z] = first(frame, tags::PLANE_POSITION_SEQUENCE)
        .and_then(|item| exactly(item, tags::IMAGE_POSITION_PATIENT))?;
    let [column, row, slice] = volume.geometry.as_ref()?.voxel(&Point3::new(x, y, z));
    let near = column.abs() < 0.5 && row.abs() < 0.5 && (slice - slice.round()).abs() < 0.5;
    (near && slice.round() >= 0.0 && slice.round() < volume.slices() as f64)
        .then(|| slice.round() as usize)
}
