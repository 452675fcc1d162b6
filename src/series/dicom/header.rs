use std::path::{Path, PathBuf};

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::elements::{Unreadable, exactly, first, integer, items, number, numbers, text, whole};
use super::nuclear;
use crate::series::window::GreyWindow;

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
    /// Millimetres.
    pub thickness: Option<f64>,
}

/// One slice: a file, or a frame of one.
#[derive(Clone, Debug)]
pub struct Slice {
    pub path: PathBuf,
    /// The file's number in its series.
    pub number: Option<i64>,
    /// From 0.
    pub frame: u32,
    /// How many frames the file has.
    pub frames: u32,
    pub sop_instance: String,
    /// Columns and rows.
    pub size: [u32; 2],
    /// Where the centre of its first pixel lies.
    pub position: Option<[f64; 3]>,
    /// Directions of a row and of a column.
    pub orientation: Option<[f64; 6]>,
    /// Millimetres between rows and between columns.
    pub spacing: Option<[f64; 2]>,
    /// Slope and intercept from stored values to the modality's.
    pub rescale: (f64, f64),
    pub window: Option<GreyWindow>,
    /// Elements that are there and cannot be read, without which the slice has another place or other
    /// values.
    pub unreadable: Vec<Unreadable>,
    /// Such elements without which there is less to go by.
    pub doubtful: Vec<Unreadable>,
}

impl Slice {
    /// Which frame of its file it is, in words before a reason.
    pub fn name(&self) -> String {
        match self.frames {
            1 => String::new(),
            _ => format!("frame {} ", self.frame + 1),
        }
    }
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
pub fn kind(object: &InMemDicomObject, path: &Path) -> Kind {
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
    let mut doubtful = Vec::new();
    let thickness = functional(object, 0, tags::PIXEL_MEASURES_SEQUENCE, |item| {
        number(item, tags::SLICE_THICKNESS)
    });
    let thickness = kept(thickness, &mut doubtful).filter(|t| *t > 0.0);
    let number = kept(whole(object, tags::INSTANCE_NUMBER), &mut doubtful);
    let header = Header {
        series: text(object, tags::SERIES_INSTANCE_UID).unwrap_or_default(),
        study: text(object, tags::STUDY_INSTANCE_UID).unwrap_or_default(),
        frame_of_reference: text(object, tags::FRAME_OF_REFERENCE_UID),
        sop_class: class,
        modality: text(object, tags::MODALITY).unwrap_or_else(|| "OT".into()),
        number: integer(object, tags::SERIES_NUMBER),
        size: [columns, rows],
        colour: integer(object, tags::SAMPLES_PER_PIXEL) == Some(3),
        thickness,
    };
    let mut unreadable = Vec::new();
    let count = kept(whole(object, tags::NUMBER_OF_FRAMES), &mut unreadable);
    // A frame has a bit a pixel at least.
    let most = match count {
        Some(2..) => std::fs::metadata(path).map_or(1, |file| file.len().clamp(1, 1 << 20)),
        _ => 1,
    };
    let frames = count.unwrap_or(1).clamp(1, most as i64) as u32;
    let common = Slice {
        path: path.to_path_buf(),
        number,
        frame: 0,
        frames,
        sop_instance: text(object, tags::SOP_INSTANCE_UID).unwrap_or_default(),
        size: [columns, rows],
        position: None,
        orientation: None,
        spacing: None,
        rescale: (1.0, 0.0),
        window: None,
        unreadable,
        doubtful,
    };
    let nuclear = nuclear::Detector::new(object, &header.sop_class);
    let slices = (0..frames).map(|frame| {
        let mut slice = Slice { frame, ..common.clone() };
        fill(&mut slice, object);
        if let Some(detector) = &nuclear {
            detector.fill(&mut slice);
        }
        slice
    });
    Kind::Images(Box::new(header), slices.collect())
}

/// What a frame says of itself.
fn fill(slice: &mut Slice, object: &InMemDicomObject) {
    let frame = slice.frame as usize;
    let (mut bad, mut doubtful) = (Vec::new(), Vec::new());
    let position = functional(object, frame, tags::PLANE_POSITION_SEQUENCE, |item| {
        exactly(item, tags::IMAGE_POSITION_PATIENT)
    });
    slice.position = kept(position, &mut bad);
    let orientation = functional(object, frame, tags::PLANE_ORIENTATION_SEQUENCE, |item| {
        exactly(item, tags::IMAGE_ORIENTATION_PATIENT)
    });
    slice.orientation = kept(orientation, &mut bad);
    let spacing = functional(object, frame, tags::PIXEL_MEASURES_SEQUENCE, |item| {
        exactly(item, tags::PIXEL_SPACING)
    });
    slice.spacing = kept(spacing, &mut bad);
    if slice.spacing.is_some_and(|spacing| spacing.iter().any(|v| *v <= 0.0)) {
        slice.spacing = None;
        bad.push(Unreadable(tags::PIXEL_SPACING));
    }
    let values = |tag: Tag| {
        functional(object, frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, |item| {
            number(item, tag)
        })
    };
    let slope = kept(values(tags::RESCALE_SLOPE), &mut bad);
    if slope == Some(0.0) {
        doubtful.push(Unreadable(tags::RESCALE_SLOPE));
    }
    let slope = slope.filter(|slope| *slope != 0.0).unwrap_or(1.0);
    let intercept = kept(values(tags::RESCALE_INTERCEPT), &mut bad).unwrap_or(0.0);
    slice.rescale = (slope, intercept);
    let integral = slope.fract() == 0.0 && intercept.fract() == 0.0;
    let window = functional(object, frame, tags::FRAME_VOILUT_SEQUENCE, |item| {
        let centre = numbers(item, tags::WINDOW_CENTER)?;
        let width = numbers(item, tags::WINDOW_WIDTH)?;
        let first = |values: Option<Vec<f64>>| values.and_then(|values| values.first().copied());
        let Some((centre, width)) = first(centre).zip(first(width)) else { return Ok(None) };
        if width <= 0.0 {
            return Err(Unreadable(tags::WINDOW_WIDTH));
        }
        Ok(Some(match text(item, tags::VOILUT_FUNCTION).as_deref() {
            Some("SIGMOID") => GreyWindow::Sigmoid(centre, width),
            Some("LINEAR_EXACT") => GreyWindow::exact(centre, width),
            // The standard's default is made for whole numbers; of activities and uptakes, which have
            // fractions, it would cut off what matters.
            _ if integral && width >= 1.0 => GreyWindow::of_whole_numbers(centre, width),
            _ => GreyWindow::exact(centre, width),
        }))
    });
    slice.window = kept(window, &mut doubtful);
    slice.unreadable.extend(bad);
    slice.doubtful.extend(doubtful);
}

/// A value that could be read; an element that could not goes to a list.
fn kept<T>(read: Result<Option<T>, Unreadable>, unreadable: &mut Vec<Unreadable>) -> Option<T> {
    read.unwrap_or_else(|element| {
        unreadable.push(element);
        None
    })
}

/// A value of a frame: from its own group of a multi-frame file, from the group that all frames
/// share, or from the file itself.
pub fn functional<T>(
    object: &InMemDicomObject,
    frame: usize,
    group: Tag,
    read: impl Fn(&InMemDicomObject) -> Result<Option<T>, Unreadable>,
) -> Result<Option<T>, Unreadable> {
    let per_frame = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(frame);
    let shared = first(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    for groups in [per_frame, shared].into_iter().flatten() {
        if let Some(value) = first(groups, group).map(&read).transpose()?.flatten() {
            return Ok(Some(value));
        }
    }
    read(object)
}
