use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use nalgebra::Point3;

use super::elements::{integer, items, numbers, text};
use super::{DicomSeries, choose};
use crate::image::Mask;
use crate::series::{SeriesError, Volume};

/// Numbers and names of the objects.
pub fn objects(object: &InMemDicomObject) -> Vec<(i64, String)> {
    let named = |item| {
        let name = text(item, tags::ROI_NAME).unwrap_or_default();
        Some((integer(item, tags::ROI_NUMBER)?, name))
    };
    items(object, tags::STRUCTURE_SET_ROI_SEQUENCE).iter().filter_map(named).collect()
}

/// The masks of one object of an RT structure set: what its closed planar contours enclose, pixel by
/// pixel by their centres. A contour within another one is a hole.
pub fn masks(
    path: &Path,
    object: &InMemDicomObject,
    volume: &Volume,
    series: &DicomSeries,
    roi: Option<&str>,
) -> Result<Vec<Option<Mask>>, SeriesError> {
    let structures = items(object, tags::STRUCTURE_SET_ROI_SEQUENCE);
    let number = choose(path, &objects(object), roi)?;
    let frame = structures
        .iter()
        .find(|item| integer(item, tags::ROI_NUMBER) == Some(number))
        .and_then(|item| text(item, tags::REFERENCED_FRAME_OF_REFERENCE_UID));
    if let (Some(drawn), Some(own)) = (&frame, &series.header.frame_of_reference)
        && drawn != own
    {
        let reason = "was drawn in another frame of reference than the images are in; give the \
                      images that it was drawn on";
        return Err(SeriesError::mask(path, reason));
    }
    let Some(geometry) = &volume.geometry else {
        return Err(SeriesError::mask(path, "the images have no place in the patient"));
    };
    let [width, height] = volume.size().map(|side| side as usize);
    let mut slices: Vec<Option<Vec<bool>>> = vec![None; volume.slices()];
    let contours = items(object, tags::ROI_CONTOUR_SEQUENCE)
        .iter()
        .filter(|item| integer(item, tags::REFERENCED_ROI_NUMBER) == Some(number))
        .flat_map(|item| items(item, tags::CONTOUR_SEQUENCE));
    for (index, contour) in contours.enumerate() {
        let kind = text(contour, tags::CONTOUR_GEOMETRIC_TYPE);
        if kind.as_deref().is_some_and(|kind| !kind.starts_with("CLOSED_PLANAR")) {
            continue;
        }
        let wrong = |what: &str| SeriesError::mask(path, format!("contour {} {what}", index + 1));
        let points = numbers(contour, tags::CONTOUR_DATA)
            .filter(|values| values.len() >= 9 && values.len() % 3 == 0)
            .ok_or_else(|| wrong("has no list of at least three points"))?;
        let points: Vec<[f64; 3]> = points
            .chunks_exact(3)
            .map(|place| geometry.voxel(&Point3::new(place[0], place[1], place[2])))
            .collect();
        let slice = points[0][2].round();
        if points.iter().any(|point| (point[2] - slice).abs() > 0.5) {
            return Err(wrong("does not lie in the plane of a slice"));
        }
        if slice < 0.0 || slice >= volume.slices() as f64 {
            return Err(wrong("lies above or below all slices"));
        }
        let outside = |point: &[f64; 3]| {
            !(-1.5..=width as f64 + 0.5).contains(&point[0])
                || !(-1.5..=height as f64 + 0.5).contains(&point[1])
        };
        if points.iter().any(outside) {
            return Err(wrong("reaches outside the image"));
        }
        let mask = slices[slice as usize].get_or_insert_with(|| vec![false; width * height]);
        fill(mask, width, &points);
    }
    let masks = slices.into_iter().map(|data| {
        let Some(data) = data.filter(|data| data.contains(&true)) else { return Ok(None) };
        Ok(Some(Mask::new(width as u32, height as u32, data)?))
    });
    masks.collect()
}

/// Turns every pixel over whose centre lies within a polygon.
fn fill(mask: &mut [bool], width: usize, points: &[[f64; 3]]) {
    for (row, line) in mask.chunks_exact_mut(width).enumerate() {
        let y = row as f64;
        let next = points.iter().cycle().skip(1);
        let mut crossings: Vec<f64> = points
            .iter()
            .zip(next)
            .filter(|(a, b)| (a[1] <= y) != (b[1] <= y))
            .map(|(a, b)| a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
            .collect();
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            let column = |x: f64| x.ceil().clamp(0.0, width as f64) as usize;
            for pixel in &mut line[column(pair[0])..column(pair[1])] {
                *pixel = !*pixel;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polygon(points: &[[f64; 2]]) -> Vec<[f64; 3]> {
        points.iter().map(|[x, y]| [*x, *y, 0.0]).collect()
    }

    #[test]
    fn polygons_hold_the_pixels_whose_centres_they_hold_and_leave_holes() {
        let mut mask = vec![false; 100];
        fill(&mut mask, 10, &polygon(&[[0.5, 0.5], [8.5, 0.5], [8.5, 8.5], [0.5, 8.5]]));
        assert_eq!(mask.iter().filter(|on| **on).count(), 64);
        assert!(mask[11] && mask[88] && !mask[10] && !mask[89]);
        fill(&mut mask, 10, &polygon(&[[2.5, 2.5], [2.5, 4.5], [4.5, 4.5], [4.5, 2.5]]));
        assert_eq!(mask.iter().filter(|on| **on).count(), 60);
        assert!(!mask[33] && mask[32]);
    }

    #[test]
    fn polygons_are_cut_at_the_picture_and_may_cross_themselves() {
        let mut mask = vec![false; 16];
        fill(&mut mask, 4, &polygon(&[[-5.0, -5.0], [9.0, -5.0], [9.0, 9.0], [-5.0, 9.0]]));
        assert!(mask.iter().all(|on| *on));
        let mut mask = vec![false; 100];
        fill(&mut mask, 10, &polygon(&[[0.0, 0.0], [9.0, 9.0], [9.0, 0.0], [0.0, 9.0]]));
        assert!(mask[5 * 10 + 1] && mask[5 * 10 + 8] && !mask[10 + 4]);
    }
}
