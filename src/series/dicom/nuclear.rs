//! Where the slices of nuclear medicine lie (PS3.3 C.8.4.11, C.8.4.15): the first in the detector's
//! sequence, the others in steps along the normal.

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use nalgebra::Vector3;

use super::elements::{Unreadable, exactly, first, number, numbers, text};
use super::header::Slice;

/// What a reconstruction says of its place.
pub struct Detector {
    position: Result<Option<[f64; 3]>, Unreadable>,
    orientation: Result<Option<[f64; 6]>, Unreadable>,
    step: Result<Option<f64>, Unreadable>,
    /// The slice of each frame, from 1.
    slices: Option<Vec<f64>>,
}

impl Detector {
    /// `None` for anything but reconstructed slices of nuclear medicine.
    pub fn new(object: &InMemDicomObject, class: &str) -> Option<Self> {
        let detector = first(object, tags::DETECTOR_INFORMATION_SEQUENCE)
            .filter(|_| class == uids::NUCLEAR_MEDICINE_IMAGE_STORAGE)?;
        // Planar views and raw projections are no slices.
        let kind = text(object, tags::IMAGE_TYPE)?;
        if !kind.split('\\').any(|part| part.trim().starts_with("RECON")) {
            return None;
        }
        let slices = numbers(object, tags::SLICE_VECTOR).ok().flatten();
        Some(Self {
            position: exactly(detector, tags::IMAGE_POSITION_PATIENT),
            orientation: exactly(detector, tags::IMAGE_ORIENTATION_PATIENT),
            step: number(object, tags::SPACING_BETWEEN_SLICES),
            slices,
        })
    }

    /// Gives a slice its place, if it has none of its own.
    pub fn fill(&self, slice: &mut Slice) {
        if slice.position.is_some() {
            return;
        }
        for element in [self.position.as_ref().err(), self.step.as_ref().err()] {
            slice.unreadable.extend(element);
        }
        slice.unreadable.extend(self.orientation.as_ref().err());
        let (Ok(Some(position)), Ok(Some(orientation))) = (&self.position, &self.orientation)
        else {
            return;
        };
        let step = match &self.step {
            Ok(Some(step)) => *step,
            _ if slice.frames == 1 => 0.0,
            _ => return,
        };
        let number = match &self.slices {
            Some(numbers) => match numbers.get(slice.frame as usize) {
                Some(number) => number - 1.0,
                None => return,
            },
            None => f64::from(slice.frame),
        };
        let [a, b, c, d, e, f] = *orientation;
        // A negative step goes to the other side of the first slice.
        let normal = Vector3::new(a, b, c).cross(&Vector3::new(d, e, f));
        let place = Vector3::from(*position) + normal * step * number;
        slice.position = Some(place.into());
        slice.orientation = Some(*orientation);
    }
}
