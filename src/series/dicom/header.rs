use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::Slice;
use super::elements::{exactly, first, integer, items, numbers, text};

/// What the slices of a series have in common. Of a file's elements only these are kept.
#[derive(Clone, Debug)]
pub struct Header {
    pub series: String,
    pub study: String,
    pub frame_of_reference: Option<String>,
    pub sop_class: String,
    /// CT, MR, ES and so on.
    pub modality: String,
    /// Number of the series in its study.
    pub number: Option<i64>,
    /// Columns and rows.
    pub size: [u32; 2],
    /// Whether a pixel has three values.
    pub colour: bool,
    /// Directions of a row and of a column.
    pub orientation: Option<[f64; 6]>,
    /// Millimetres between rows and between columns.
    pub spacing: Option<[f64; 2]>,
    /// Millimetres.
    pub thickness: Option<f64>,
}

/// What a file is.
pub enum Kind {
    /// Images of a series.
    Images(Box<Header>, Vec<Slice>),
    /// A segmentation or a structure set.
    Marks,
    /// Something else.
    Other,
}

/// Looks into a file whose pixels need not have been read.
pub fn kind(object: &InMemDicomObject, path: &std::path::Path) -> Kind {
    let Some(class) = text(object, tags::SOP_CLASS_UID) else { return Kind::Other };
    let marks = [
        uids::SEGMENTATION_STORAGE,
        uids::LABEL_MAP_SEGMENTATION_STORAGE,
        uids::RT_STRUCTURE_SET_STORAGE,
    ];
    if marks.contains(&class.as_str()) {
        return Kind::Marks;
    }
    let size = [tags::COLUMNS, tags::ROWS]
        .map(|tag| integer(object, tag).and_then(|side| u32::try_from(side).ok()));
    let ([Some(columns @ 1..), Some(rows @ 1..)], false) = (size, class == uids::RT_DOSE_STORAGE)
    else {
        return Kind::Other;
    };
    let header = Header {
        series: text(object, tags::SERIES_INSTANCE_UID).unwrap_or_default(),
        study: text(object, tags::STUDY_INSTANCE_UID).unwrap_or_default(),
        frame_of_reference: text(object, tags::FRAME_OF_REFERENCE_UID),
        sop_class: class,
        modality: text(object, tags::MODALITY).unwrap_or_else(|| "OT".into()),
        number: integer(object, tags::SERIES_NUMBER),
        size: [columns, rows],
        colour: integer(object, tags::SAMPLES_PER_PIXEL) == Some(3),
        orientation: functional(object, 0, tags::PLANE_ORIENTATION_SEQUENCE, |item| {
            exactly(item, tags::IMAGE_ORIENTATION_PATIENT)
        }),
        spacing: functional(object, 0, tags::PIXEL_MEASURES_SEQUENCE, |item| {
            exactly(item, tags::PIXEL_SPACING).filter(|s: &[f64; 2]| s.iter().all(|v| *v > 0.0))
        }),
        thickness: functional(object, 0, tags::PIXEL_MEASURES_SEQUENCE, |item| {
            exactly(item, tags::SLICE_THICKNESS).map(|[t]: [f64; 1]| t).filter(|t| *t > 0.0)
        }),
    };
    let frames = match integer(object, tags::NUMBER_OF_FRAMES) {
        // A frame has a byte at least.
        Some(2..) => std::fs::metadata(path).map_or(1, |file| file.len().clamp(1, 1 << 20)),
        _ => 1,
    };
    let frames =
        integer(object, tags::NUMBER_OF_FRAMES).unwrap_or(1).clamp(1, frames as i64) as u32;
    let instance = text(object, tags::SOP_INSTANCE_UID).unwrap_or_default();
    let number = integer(object, tags::INSTANCE_NUMBER);
    let slices = (0..frames).map(|frame| Slice {
        path: path.to_path_buf(),
        number,
        frame,
        sop_instance: instance.clone(),
        position: functional(object, frame as usize, tags::PLANE_POSITION_SEQUENCE, |item| {
            exactly(item, tags::IMAGE_POSITION_PATIENT)
        }),
        rescale: functional(
            object,
            frame as usize,
            tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
            |item| {
                let [slope] = exactly(item, tags::RESCALE_SLOPE)?;
                let [intercept] = exactly(item, tags::RESCALE_INTERCEPT)?;
                Some((slope, intercept)).filter(|(slope, _)| *slope != 0.0)
            },
        )
        .unwrap_or((1.0, 0.0)),
        window: functional(object, frame as usize, tags::FRAME_VOILUT_SEQUENCE, |item| {
            let centre = *numbers(item, tags::WINDOW_CENTER)?.first()?;
            let width = *numbers(item, tags::WINDOW_WIDTH)?.first()?;
            Some((centre, width)).filter(|(_, width)| *width > 0.0)
        }),
    });
    Kind::Images(Box::new(header), slices.collect())
}

/// A value of a frame: from its own group of a multi-frame file, from the group that all frames
/// share, or from the file itself.
fn functional<T>(
    object: &InMemDicomObject,
    frame: usize,
    group: Tag,
    read: impl Fn(&InMemDicomObject) -> Option<T>,
) -> Option<T> {
    let per_frame = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    let shared = first(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let in_group = |item: &InMemDicomObject| first(item, group).and_then(&read);
    per_frame
        .get(frame)
        .and_then(in_group)
        .or_else(|| shared.and_then(in_group))
        .or_else(|| read(object))
}
