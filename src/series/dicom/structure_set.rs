use std::collections::BTreeMap;
use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use nalgebra::Point3;

use super::contours::Canvas;
use super::elements::{integer, items, numbers, text};
use super::{check_frame_of_reference, choose};
use crate::image::Mask;
use crate::series::geometry::Geometry;
use crate::series::placing::Marks;
use crate::series::volume::Content;
use crate::series::{SeriesError, Volume};

/// Planes that are less than this apart are one, mm.
const SAME: f64 = 0.01;

/// Numbers and names of the objects.
pub fn objects(object: &InMemDicomObject) -> Vec<(i64, String)> {
    let named = |item| {
        let name = text(item, tags::ROI_NAME).unwrap_or_default();
        Some((integer(item, tags::ROI_NUMBER)?, name))
    };
    items(object, tags::STRUCTURE_SET_ROI_SEQUENCE).iter().filter_map(named).collect()
}

/// A closed contour on a slice.
struct Contour {
    /// Column and row.
    points: Vec<[f64; 2]>,
    /// Whether it turns over what others enclose (CLOSEDPLANAR_XOR).
    turns: bool,
    /// Millimetres from the slice's plane.
    away: f64,
}

/// Contours that are left out, by the reason.
#[derive(Default)]
struct LeftOut {
    /// Fewer than three points, or none that can be read.
    short: usize,
    /// Points and open lines.
    open: usize,
    /// Not in the plane of a slice.
    aslant: usize,
    /// Above or below all slices.
    beyond: usize,
    /// Beside the images.
    beside: usize,
    /// In a plane between two slices, where another one is nearer.
    farther: usize,
}

/// The masks of one object of an RT structure set: what its closed planar contours enclose, pixel by
/// pixel by their centres, those on an edge included. Contours of one slice are taken together; those of
/// the kind CLOSEDPLANAR_XOR turn over what lies within them (PS3.3 C.8.8.6.3). Each contour goes to the slice
/// whose plane is nearest.
pub fn masks(
    path: &Path,
    object: &InMemDicomObject,
    volume: &Volume,
    roi: Option<&str>,
) -> Result<Marks, SeriesError> {
    let structures = items(object, tags::STRUCTURE_SET_ROI_SEQUENCE);
    let number = choose(path, &objects(object), roi)?;
    let frame = structures
        .iter()
        .find(|item| integer(item, tags::ROI_NUMBER) == Some(number))
        .and_then(|item| text(item, tags::REFERENCED_FRAME_OF_REFERENCE_UID));
    let mut warnings = Vec::new();
    check_frame_of_reference(path, frame.as_deref(), volume, &mut warnings)?;
    let Some(geometry) = volume.place() else {
        return Err(SeriesError::mask(path, "the images have no place in the patient"));
    };
    let contours = items(object, tags::ROI_CONTOUR_SEQUENCE)
        .iter()
        .filter(|item| integer(item, tags::REFERENCED_ROI_NUMBER) == Some(number))
        .flat_map(|item| items(item, tags::CONTOUR_SEQUENCE));
    let size = volume.size().map(|side| side as usize);
    let mut left_out = LeftOut::default();
    let mut slices: BTreeMap<usize, Vec<Contour>> = BTreeMap::new();
    let mut count = 0;
    let mut misnamed = 0;
    for contour in contours {
        count += 1;
        misnamed += usize::from(contradicts_itself(contour, volume, geometry));
        if let Some((slice, contour)) = on_slice(contour, geometry, size, &mut left_out) {
            slices.entry(slice).or_default().push(contour);
        }
    }
    if misnamed > 0 {
        let reason = format!(
            "{misnamed} of its {count} contours lie elsewhere than the images that they name \
             (ContourImageSequence): some programs spread contours evenly over slices at uneven distances; \
             which place is meant cannot be told. Write it again with another program, or as a segmentation"
        );
        return Err(SeriesError::mask(path, reason));
    }
    // Of contours in several planes that are nearest to one slice the nearest plane counts.
    let mut away = 0.0_f64;
    for contours in slices.values_mut() {
        let nearest = contours.iter().map(|contour| contour.away).fold(f64::INFINITY, f64::min);
        let before = contours.len();
        contours.retain(|contour| contour.away - nearest < SAME);
        left_out.farther += before - contours.len();
        away = away.max(nearest);
    }
    warnings.extend(left_out.warning(count));
    let kept: usize = slices.values().map(Vec::len).sum();
    if kept == 0 && count > 0 {
        let why = left_out.reasons().join(", ");
        let reason = format!("none of its {count} contours can be put on a slice: {why}");
        return Err(SeriesError::mask(path, reason));
    }
    if away > 0.02 * geometry.spacing()[2] {
        warnings.push(format!(
            "contours lie up to {away:.2} mm from the planes of the slices: they were drawn on other ones"
        ));
    }
    if let (Some(first), Some(last)) = (slices.keys().next(), slices.keys().next_back())
        && last - first + 1 > slices.len()
    {
        warnings.push(format!(
            "contours mark {} of the {} slices from the first to the last marked one; those between are \
             not filled in",
            slices.len(),
            last - first + 1
        ));
    }
    let mut masks = vec![None; volume.slices()];
    let mut nested = 0;
    for (slice, contours) in slices {
        let (canvas, within) = drawn(size, &contours);
        nested += within;
        if canvas.data.contains(&true) {
            masks[slice] = Some(Mask::new(size[0] as u32, size[1] as u32, canvas.data)?);
        }
    }
    if nested > 0 {
        warnings.push(format!(
            "{nested} contours lie within others and make no hole: by the standard only contours of the \
             kind CLOSEDPLANAR_XOR do"
        ));
    }
    Ok(Marks { masks, warnings })
}

/// Whether a contour names one image of the series and lies nearer to others: more than three quarters
/// of a slice away, so that contours of thinner slices may name the image nearest to them.
fn contradicts_itself(contour: &InMemDicomObject, volume: &Volume, geometry: &Geometry) -> bool {
    let [image] = items(contour, tags::CONTOUR_IMAGE_SEQUENCE) else { return false };
    let Content::Dicom(series) = &volume.content else { return false };
    let named = text(image, tags::REFERENCED_SOP_INSTANCE_UID)
        .and_then(|instance| series.slice_of(&instance, None));
    let values = numbers(contour, tags::CONTOUR_DATA).ok().flatten().unwrap_or_default();
    let heights: Vec<f64> = values
        .as_chunks::<3>()
        .0
        .iter()
        .map(|place| geometry.local(&Point3::from(*place).coords).z)
        .collect();
    let middle = heights.iter().sum::<f64>() / heights.len() as f64;
    named.is_some_and(|slice| {
        let away = (middle - geometry.heights()[slice]).abs();
        away > 0.75 * geometry.share(slice)
    })
}

/// The slice that a contour lies on, and its points there.
fn on_slice(
    contour: &InMemDicomObject,
    geometry: &Geometry,
    size: [usize; 2],
    left_out: &mut LeftOut,
) -> Option<(usize, Contour)> {
    let kind = text(contour, tags::CONTOUR_GEOMETRIC_TYPE).unwrap_or_default();
    let kind = kind.replace('_', "");
    if !kind.is_empty() && !kind.starts_with("CLOSEDPLANAR") {
        left_out.open += 1;
        return None;
    }
    let values = numbers(contour, tags::CONTOUR_DATA).ok().flatten();
    let Some(values) = values.filter(|v| v.len() >= 9 && v.len() % 3 == 0) else {
        left_out.short += 1;
        return None;
    };
    let points: Vec<Point3<f64>> =
        values.chunks_exact(3).map(|place| Point3::new(place[0], place[1], place[2])).collect();
    let heights: Vec<f64> = points.iter().map(|p| geometry.local(&p.coords).z).collect();
    let (low, high) = heights
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), z| (low.min(*z), high.max(*z)));
    let middle = low + (high - low) / 2.0;
    let Some(slice) = geometry.slice_at(middle) else {
        left_out.beyond += 1;
        return None;
    };
    if high - low > 0.5 * geometry.share(slice) {
        left_out.aslant += 1;
        return None;
    }
    let origin = geometry.local(&geometry.origins()[slice]);
    let points: Vec<[f64; 2]> = points
        .iter()
        .map(|place| {
            let local = geometry.local(&place.coords);
            [local.x - origin.x, local.y - origin.y]
        })
        .collect();
    let outside = |axis: usize| {
        let most = size[axis] as f64 - 0.5;
        points.iter().all(|p| p[axis] < -0.5) || points.iter().all(|p| p[axis] > most)
    };
    if outside(0) || outside(1) {
        left_out.beside += 1;
        return None;
    }
    let away = (middle - geometry.heights()[slice]).abs();
    Some((slice, Contour { points, turns: kind.ends_with("XOR"), away }))
}

/// What the contours of a slice enclose together, and how many of them lie within another one.
fn drawn(size: [usize; 2], contours: &[Contour]) -> (Canvas, usize) {
    let (mut all, mut turned) = (Canvas::new(size), Canvas::new(size));
    let mut nested = 0;
    // Outer contours before those within them.
    let extent = |contour: &Contour| {
        let of = |axis: usize| {
            let values = contour.points.iter().map(|p| p[axis]);
            values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min)
        };
        of(0) * of(1)
    };
    let (turning, joining): (Vec<_>, Vec<_>) = contours.iter().partition(|c| c.turns);
    let mut joining = joining;
    joining.sort_by(|a, b| extent(b).total_cmp(&extent(a)));
    let mut seen: Vec<&[[f64; 2]]> = Vec::new();
    for contour in joining {
        // One that is there twice is no hole that was meant.
        if seen.contains(&contour.points.as_slice()) {
            continue;
        }
        seen.push(&contour.points);
        let own = Canvas::polygon(size, &contour.points);
        nested += usize::from(all.holds(&own));
        all.join(&own);
    }
    for contour in turning {
        turned.turn(&Canvas::polygon(size, &contour.points));
    }
    all.join(&turned);
    (all, nested)
}

impl LeftOut {
    fn reasons(&self) -> Vec<String> {
        let counts = [
            (self.short, "have fewer than three points"),
            (self.open, "are points or open lines"),
            (self.aslant, "do not lie in the plane of a slice"),
            (self.beyond, "lie above or below all slices"),
            (self.beside, "lie beside the images"),
            (self.farther, "lie between slices, where others are nearer"),
        ];
        let told = counts.into_iter().filter(|(count, _)| *count > 0);
        told.map(|(count, why)| format!("{count} {why}")).collect()
    }

    fn warning(&self, count: usize) -> Option<String> {
        let reasons = self.reasons();
        let why = reasons.join(", ");
        (!reasons.is_empty()).then(|| format!("contours left out, of {count}: {why}"))
    }
}
