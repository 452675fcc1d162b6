use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use nalgebra::Point3;

use super::elements::{exactly, first, integer, items, text};
use super::{DicomSeries, choose};
use crate::image::Mask;
use crate::series::{SeriesError, Volume};

/// Numbers and labels of the segments.
pub fn objects(object: &InMemDicomObject) -> Vec<(i64, String)> {
    let named = |item| {
        let label = text(item, tags::SEGMENT_LABEL).unwrap_or_default();
        Some((integer(item, tags::SEGMENT_NUMBER)?, label))
    };
    items(object, tags::SEGMENT_SEQUENCE).iter().filter_map(named).collect()
}

/// The masks of one segment of a DICOM segmentation (binary, or fractional from one half on).
pub fn masks(
    path: &Path,
    object: &InMemDicomObject,
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
    let data = object
        .get(tags::PIXEL_DATA)
        .and_then(|element| element.value().to_bytes().ok())
        .ok_or_else(|| wrong("its frames are compressed or missing; save it uncompressed"))?;
    let binary = integer(object, tags::BITS_ALLOCATED) == Some(1);
    let (per_byte, most) = match integer(object, tags::MAXIMUM_FRACTIONAL_VALUE) {
        _ if binary => (8, 1),
        most => (1, most.unwrap_or(255)),
    };
    if data.len() < (frames.len() * pixels).div_ceil(per_byte) {
        return Err(wrong("it is cut off: frames are missing"));
    }
    let on = |bit: usize| match binary {
        true => data[bit / 8] >> (bit % 8) & 1 == 1,
        false => 2 * i64::from(data[bit]) >= most.max(1),
    };
    let mut slices: Vec<Option<Vec<bool>>> = vec![None; volume.slices()];
    for (index, frame) in frames.iter().enumerate() {
        let segment = first(frame, tags::SEGMENT_IDENTIFICATION_SEQUENCE)
            .and_then(|item| integer(item, tags::REFERENCED_SEGMENT_NUMBER));
        if segment.is_some_and(|segment| segment != number) {
            continue;
        }
        let marked: Vec<bool> = (index * pixels..(index + 1) * pixels).map(on).collect();
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
