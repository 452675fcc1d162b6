use std::borrow::Cow;
use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use nalgebra::Vector3;

use super::elements::{Unreadable, exactly, first, integer, items, number, text, whole};
use super::header::functional;
use super::{DicomSeries, check_frame_of_reference, choose, codestream};
use crate::image::Mask;
use crate::series::geometry::Geometry;
use crate::series::placing::{Grid, Marks};
use crate::series::volume::Content;
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

/// One frame of the wanted segment.
struct Frame {
    /// From 0.
    index: usize,
    position: Option<[f64; 3]>,
    orientation: Option<[f64; 6]>,
    /// Between rows and between columns.
    spacing: Option<[f64; 2]>,
    /// A bit a pixel.
    marked: Vec<u8>,
}

impl Frame {
    fn is_empty(&self) -> bool {
        self.marked.iter().all(|byte| *byte == 0)
    }

    fn holds(&self, pixel: usize) -> bool {
        self.marked[pixel / 8] >> (pixel % 8) & 1 == 1
    }
}

/// The masks of one segment of a DICOM segmentation: binary, fractional from one half on, or a label map.
/// Its frames lie where they say, whatever image they refer to; only where they, or the images, say no
/// place do they go to the images that they name.
pub fn masks(
    path: &Path,
    object: &DefaultDicomObject,
    volume: &Volume,
    roi: Option<&str>,
) -> Result<Marks, SeriesError> {
    let number = choose(path, &objects(object), roi)?;
    let mut warnings = Vec::new();
    let frame = text(object, tags::FRAME_OF_REFERENCE_UID);
    check_frame_of_reference(path, frame.as_deref(), volume, &mut warnings)?;
    let pixels = Pixels::new(path, object, number)?;
    let mut frames = Vec::new();
    for index in 0..pixels.frames {
        frames.extend(read_frame(path, object, index, &pixels)?);
    }
    let placed = frames
        .iter()
        .all(|f| f.position.is_some() && f.orientation.is_some() && f.spacing.is_some());
    let masks = match (volume.place(), &volume.content) {
        (Some(target), _) if placed => {
            by_place(path, object, &frames, pixels.size, volume, target, &mut warnings)?
        }
        (_, Content::Dicom(series)) => {
            by_reference(path, object, &frames, pixels.size, volume, series, &mut warnings)?
        }
        _ => {
            let reason = "the volume says no place in the patient, and the segmentation's frames can \
                          therefore not be put on it";
            return Err(SeriesError::mask(path, reason));
        }
    };
    Ok(Marks { masks, warnings })
}

/// How the pixels of a segmentation are stored.
struct Pixels<'a> {
    path: &'a Path,
    object: Cow<'a, DefaultDicomObject>,
    /// Columns and rows.
    size: [usize; 2],
    frames: usize,
    bits: usize,
    number: i64,
    labels: bool,
    /// What a fractional one calls all.
    all: Option<i64>,
}

impl<'a> Pixels<'a> {
    fn new(
        path: &'a Path,
        object: &'a DefaultDicomObject,
        number: i64,
    ) -> Result<Self, SeriesError> {
        let wrong = |reason: &str| SeriesError::mask(path, reason);
        let unreadable = |element: Unreadable| {
            SeriesError::mask(path, format!("has {element}, but its value cannot be read"))
        };
        let side = |tag| {
            let side =
                whole(object, tag).map_err(unreadable)?.filter(|side| (1..=65535).contains(side));
            side.map(|side| side as usize).ok_or_else(|| wrong("its frames have no size"))
        };
        let size = [side(tags::COLUMNS)?, side(tags::ROWS)?];
        let groups = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).len();
        let told = whole(object, tags::NUMBER_OF_FRAMES).map_err(unreadable)?;
        let frames = told.and_then(|count| usize::try_from(count).ok()).unwrap_or(groups.max(1));
        if groups > 0 && frames != groups {
            return Err(wrong("it has another number of frames than it describes"));
        }
        let bits = integer(object, tags::BITS_ALLOCATED).filter(|bits| [1, 8, 16].contains(bits));
        let bits =
            bits.ok_or_else(|| wrong("its pixels have neither 1 nor 8 nor 16 bits"))? as usize;
        let data = object.get(tags::PIXEL_DATA).ok_or_else(|| wrong("it has no pixels"))?;
        let mut object = Cow::Borrowed(object);
        match data.value().primitive() {
            Some(data) => {
                let needed = (frames as u128 * (size[0] * size[1] * bits) as u128).div_ceil(8);
                if (data.to_bytes().len() as u128) < needed {
                    return Err(wrong("it is cut off: frames are missing"));
                }
            }
            None => {
                // Frames are unpacked one by one; what their stream says of its bits counts.
                let mut own = object.into_owned();
                codestream::adapt(&mut own)
                    .map_err(|what| wrong(&format!("its frames cannot be read: {what}")))?;
                object = Cow::Owned(own);
            }
        }
        let kind = text(&object, tags::SEGMENTATION_TYPE);
        let labels = kind.as_deref() == Some("LABELMAP");
        let most = integer(&object, tags::MAXIMUM_FRACTIONAL_VALUE).unwrap_or(255).max(1);
        let all = Some(most).filter(|_| kind.as_deref() == Some("FRACTIONAL"));
        Ok(Self { path, object, size, frames, bits, number, labels, all })
    }

    /// Which pixels of a frame are the object, a bit each.
    fn marked(&self, index: usize) -> Result<Vec<u8>, SeriesError> {
        let pixels = self.size[0] * self.size[1];
        let data = self.object.get(tags::PIXEL_DATA).and_then(|e| e.value().primitive());
        let (data, first, bits) = match data {
            Some(data) => (data.to_bytes(), index * pixels, self.bits),
            None => {
                let bits = self.bits.max(8);
                let bytes = pixels * bits / 8;
                let data = codestream::unpacked(&self.object, index as u32);
                let data = data.filter(|data| data.len() >= bytes && bytes > 0);
                let data = data.ok_or_else(|| {
                    let reason = "its frames are damaged, or compressed in a way that is not read; \
                                  save it uncompressed";
                    SeriesError::mask(self.path, reason)
                })?;
                (Cow::Owned(data), 0, bits)
            }
        };
        let value = |pixel: usize| match bits {
            1 => i64::from(data[pixel / 8] >> (pixel % 8) & 1),
            8 => i64::from(data[pixel]),
            _ => i64::from(u16::from_le_bytes([data[2 * pixel], data[2 * pixel + 1]])),
        };
        let on = |pixel: usize| match (self.labels, self.all) {
            (true, _) => value(pixel) == self.number,
            (false, Some(all)) => 2 * value(pixel) >= all,
            // Bits, or bytes that are 0 or not.
            (false, None) => value(pixel) > 0,
        };
        let mut marked = vec![0u8; pixels.div_ceil(8)];
        for pixel in (0..pixels).filter(|pixel| on(first + pixel)) {
            marked[pixel / 8] |= 1 << (pixel % 8);
        }
        Ok(marked)
    }
}

/// A frame, if it is one of the wanted segment.
fn read_frame(
    path: &Path,
    object: &InMemDicomObject,
    index: usize,
    pixels: &Pixels<'_>,
) -> Result<Option<Frame>, SeriesError> {
    let unreadable = |element: Unreadable| {
        let reason = format!("frame {} has {element}, but its value cannot be read", index + 1);
        SeriesError::mask(path, reason)
    };
    let segment = functional(object, index, tags::SEGMENT_IDENTIFICATION_SEQUENCE, |item| {
        whole(item, tags::REFERENCED_SEGMENT_NUMBER)
    });
    let segment = segment.map_err(unreadable)?;
    if !pixels.labels && segment.is_some_and(|segment| segment != pixels.number) {
        return Ok(None);
    }
    let of = |group, tag| functional(object, index, group, |item| exactly(item, tag));
    let position = of(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT);
    let spacing = functional(object, index, tags::PIXEL_MEASURES_SEQUENCE, |item| {
        exactly(item, tags::PIXEL_SPACING)
    });
    let orientation = functional(object, index, tags::PLANE_ORIENTATION_SEQUENCE, |item| {
        exactly(item, tags::IMAGE_ORIENTATION_PATIENT)
    });
    let spacing = spacing.map_err(unreadable)?;
    Ok(Some(Frame {
        index,
        position: position.map_err(unreadable)?,
        orientation: orientation.map_err(unreadable)?,
        spacing: spacing.filter(|spacing: &[f64; 2]| spacing.iter().all(|v| *v > 0.0)),
        marked: pixels.marked(index)?,
    }))
}

/// Frames to the places that they say.
fn by_place(
    path: &Path,
    object: &InMemDicomObject,
    frames: &[Frame],
    size: [usize; 2],
    volume: &Volume,
    target: &Geometry,
    warnings: &mut Vec<String>,
) -> Result<Vec<Option<Mask>>, SeriesError> {
    // Frames in one direction are a stack; mostly there is one.
    let mut stacks: Vec<Vec<&Frame>> = Vec::new();
    let alike = |a: &Frame, b: &Frame| {
        let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        same(a.orientation.as_slice().as_flattened(), b.orientation.as_slice().as_flattened())
            && same(a.spacing.as_slice().as_flattened(), b.spacing.as_slice().as_flattened())
    };
    for frame in frames {
        match stacks.iter_mut().find(|stack| alike(stack[0], frame)) {
            Some(stack) => stack.push(frame),
            None => stacks.push(vec![frame]),
        }
    }
    let mut masks: Vec<Option<Mask>> = vec![None; volume.slices()];
    let (mut marked, mut lost) = (0, 0);
    for stack in &stacks {
        let (geometry, planes) = planes(object, stack, target).ok_or_else(|| {
            let reason = format!("the place of frame {} makes no sense", stack[0].index + 1);
            SeriesError::mask(path, reason)
        })?;
        let grid = Grid { geometry: &geometry, size };
        let on = |[column, row, plane]: [usize; 3]| {
            planes[plane].iter().any(|frame| frame.holds(row * size[0] + column))
        };
        let (own, used) = grid.place(volume, target, on)?;
        let is_marked = |plane: &&Vec<&Frame>| plane.iter().any(|frame| !frame.is_empty());
        marked += planes.iter().filter(is_marked).count();
        lost += planes.iter().zip(used).filter(|(plane, used)| !used && is_marked(plane)).count();
        if planes.iter().any(|plane| is_marked(&plane)) {
            warnings.extend(grid.difference(target));
        }
        for (all, own) in masks.iter_mut().zip(own) {
            *all = joined(all.take(), own)?;
        }
    }
    if lost > 0 {
        warnings.push(format!(
            "{lost} of the {marked} planes of the segmentation that are marked lie on none of the images"
        ));
    }
    Ok(masks)
}

/// Two masks of a slice as one.
fn joined(a: Option<Mask>, b: Option<Mask>) -> Result<Option<Mask>, SeriesError> {
    Ok(match (a, b) {
        (Some(a), Some(b)) => {
            let data = a.data().iter().zip(b.data()).map(|(a, b)| *a || *b).collect();
            Some(Mask::new(a.width(), a.height(), data)?)
        }
        (a, b) => a.or(b),
    })
}

/// The planes that frames lie in, in order, and the frames of each. A plane stands for no more than the
/// distance that the segmentation says there is between planes, the smallest that there is between two, or
/// else that of the images.
fn planes<'a>(
    object: &InMemDicomObject,
    stack: &[&'a Frame],
    target: &Geometry,
) -> Option<(Geometry, Vec<Vec<&'a Frame>>)> {
    let [a, b, c, d, e, f] = stack.first()?.orientation?;
    let [rows, columns] = stack.first()?.spacing?;
    let (along, down) = (Vector3::new(a, b, c), Vector3::new(d, e, f));
    let normal = along.cross(&down).try_normalize(1e-6)?;
    let mut placed: Vec<(f64, Vector3<f64>, &Frame)> = stack
        .iter()
        .filter_map(|frame| {
            let position = Vector3::from(frame.position?);
            Some((position.dot(&normal), position, *frame))
        })
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut planes: Vec<(f64, Vector3<f64>, Vec<&Frame>)> = Vec::new();
    for (height, position, frame) in placed {
        match planes.last_mut() {
            Some((own, _, frames)) if height - *own < 1e-2 => frames.push(frame),
            _ => planes.push((height, position, vec![frame])),
        }
    }
    let told = functional(object, stack[0].index, tags::PIXEL_MEASURES_SEQUENCE, |item| {
        match number(item, tags::SPACING_BETWEEN_SLICES)? {
            Some(spacing) => Ok(Some(spacing)),
            None => number(item, tags::SLICE_THICKNESS),
        }
    });
    let told = told.ok().flatten().map(f64::abs).filter(|spacing| *spacing > 0.01);
    let gaps = planes.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let reach = gaps.fold(told.unwrap_or(target.spacing()[2]), f64::min);
    let origins = planes.iter().map(|(_, position, _)| *position).collect();
    let geometry = Geometry::new([along * columns, down * rows], origins, reach)?.reaching(reach);
    Some((geometry, planes.into_iter().map(|(_, _, frames)| frames).collect()))
}

/// Frames to the images that they name, pixel by pixel.
fn by_reference(
    path: &Path,
    object: &InMemDicomObject,
    frames: &[Frame],
    size: [usize; 2],
    volume: &Volume,
    series: &DicomSeries,
    warnings: &mut Vec<String>,
) -> Result<Vec<Option<Mask>>, SeriesError> {
    let [width, height] = volume.size();
    if size != [width as usize, height as usize] {
        let reason = format!(
            "its frames have {} x {} pixels, the images {width} x {height}, and without a place of both \
             they cannot be brought together",
            size[0], size[1]
        );
        return Err(SeriesError::mask(path, reason));
    }
    warnings.push(
        "frames without a place, or of images without one, went to the images that they name, pixel by \
         pixel"
            .into(),
    );
    let mut masks: Vec<Option<Mask>> = vec![None; volume.slices()];
    for frame in frames.iter().filter(|frame| !frame.is_empty()) {
        let slice = named(object, frame.index, series).ok_or_else(|| {
            let reason = format!(
                "frame {} says no place that can be used and names none of the images",
                frame.index + 1
            );
            SeriesError::mask(path, reason)
        })?;
        let data = (0..size[0] * size[1]).map(|pixel| frame.holds(pixel)).collect();
        masks[slice] = joined(masks[slice].take(), Some(Mask::new(width, height, data)?))?;
    }
    Ok(masks)
}

/// The image that a frame was drawn on.
fn named(object: &InMemDicomObject, index: usize, series: &DicomSeries) -> Option<usize> {
    let found = functional(object, index, tags::DERIVATION_IMAGE_SEQUENCE, |item| {
        let source = first(item, tags::SOURCE_IMAGE_SEQUENCE);
        Ok(source.and_then(|source| {
            let instance = text(source, tags::REFERENCED_SOP_INSTANCE_UID)?;
            let frame = integer(source, tags::REFERENCED_FRAME_NUMBER);
            series.slice_of(&instance, frame.and_then(|frame| u32::try_from(frame).ok()))
        }))
    });
    found.ok().flatten()
}
