//! DICOM files made on the spot, all of a patient whose name and dates must not get out.

use std::path::Path;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use dicom_object::meta::FileMetaTableBuilder;

use super::{HEIGHT, WIDTH};

/// What no output and no message may hold: name, number, birth date, study date.
pub const PLANTED: [&str; 4] = ["Planted^Name", "PLANTED-ID", "19010203", "19990909"];

/// One slice, [`WIDTH`] x [`HEIGHT`] pixels of 1 mm, 3 mm above the one before.
pub struct Slice<'a> {
    pub modality: &'a str,
    /// The patient's number.
    pub id: &'a str,
    pub study: &'a str,
    pub date: &'a str,
    pub series: &'a str,
    pub description: &'a str,
    pub frame_of_reference: &'a str,
    /// From 0.
    pub number: usize,
    /// 12 bits.
    pub values: Vec<u16>,
    pub intercept: &'a str,
}

/// An object of a structure set: a rectangle, with both corners in it, on some slices.
pub struct Roi<'a> {
    pub name: &'a str,
    pub corners: [u32; 4],
    pub slices: &'a [usize],
}

/// Whose the file is.
fn owner(id: &str, study: &str, date: &str) -> [InMemElement; 5] {
    [
        text(tags::PATIENT_NAME, VR::PN, PLANTED[0]),
        text(tags::PATIENT_ID, VR::LO, id),
        text(tags::PATIENT_BIRTH_DATE, VR::DA, PLANTED[2]),
        text(tags::STUDY_DATE, VR::DA, date),
        text(tags::STUDY_INSTANCE_UID, VR::UI, study),
    ]
}

impl Slice<'_> {
    /// Writes the file and the folders above it.
    pub fn write(self, path: &Path) {
        let class = match self.modality {
            "CT" => uids::CT_IMAGE_STORAGE,
            _ => uids::MR_IMAGE_STORAGE,
        };
        let mut elements = slice(self.series, self.number, [WIDTH, HEIGHT], self.values);
        // Of two elements of one kind the last one counts.
        elements.extend(owner(self.id, self.study, self.date));
        elements.extend([
            text(tags::SOP_CLASS_UID, VR::UI, class),
            text(tags::SERIES_DESCRIPTION, VR::LO, self.description),
            text(tags::FRAME_OF_REFERENCE_UID, VR::UI, self.frame_of_reference),
            text(tags::MODALITY, VR::CS, self.modality),
            text(tags::RESCALE_SLOPE, VR::DS, "1"),
            text(tags::RESCALE_INTERCEPT, VR::DS, self.intercept),
        ]);
        save(elements, uids::EXPLICIT_VR_LITTLE_ENDIAN, path);
    }
}

/// Writes a structure set of a series and the folders above it.
pub fn contours(
    path: &Path,
    [id, study, date]: [&str; 3],
    series: &str,
    frame_of_reference: &str,
    rois: &[Roi<'_>],
) {
    let numbered = || rois.iter().zip(1..);
    let named = numbered().map(|(roi, number)| {
        vec![
            text(tags::ROI_NUMBER, VR::IS, &number.to_string()),
            text(tags::ROI_NAME, VR::LO, roi.name),
            text(tags::REFERENCED_FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference),
        ]
    });
    let drawn = numbered().map(|(roi, number)| {
        let [left, top, right, bottom] = roi.corners.map(f64::from);
        let [left, top, right, bottom] = [left - 0.5, top - 0.5, right + 0.5, bottom + 0.5];
        let contours = roi.slices.iter().map(|slice| {
            let corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
            let points = corners.map(|[x, y]| format!("{x}\\{y}\\{}", 3 * slice)).join("\\");
            vec![
                text(tags::CONTOUR_GEOMETRIC_TYPE, VR::CS, "CLOSED_PLANAR"),
                text(tags::CONTOUR_DATA, VR::DS, &points),
            ]
        });
        vec![
            text(tags::REFERENCED_ROI_NUMBER, VR::IS, &number.to_string()),
            sequence(tags::CONTOUR_SEQUENCE, contours.collect()),
        ]
    });
    let of_series = vec![text(tags::SERIES_INSTANCE_UID, VR::UI, series)];
    let of_study = vec![sequence(tags::RT_REFERENCED_SERIES_SEQUENCE, vec![of_series])];
    let frame = vec![
        text(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference),
        sequence(tags::RT_REFERENCED_STUDY_SEQUENCE, vec![of_study]),
    ];
    let elements = [
        text(tags::SOP_CLASS_UID, VR::UI, uids::RT_STRUCTURE_SET_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, &format!("{series}.99")),
        text(tags::SERIES_INSTANCE_UID, VR::UI, &format!("{series}.98")),
        text(tags::MODALITY, VR::CS, "RTSTRUCT"),
        sequence(tags::REFERENCED_FRAME_OF_REFERENCE_SEQUENCE, vec![frame]),
        sequence(tags::STRUCTURE_SET_ROI_SEQUENCE, named.collect()),
        sequence(tags::ROI_CONTOUR_SEQUENCE, drawn.collect()),
    ];
    let elements = owner(id, study, date).into_iter().chain(elements).collect();
    save(elements, uids::EXPLICIT_VR_LITTLE_ENDIAN, path);
}

/// The planted patient.
pub fn patient() -> [InMemElement; 4] {
    [
        text(tags::PATIENT_NAME, VR::PN, PLANTED[0]),
        text(tags::PATIENT_ID, VR::LO, PLANTED[1]),
        text(tags::PATIENT_BIRTH_DATE, VR::DA, PLANTED[2]),
        text(tags::STUDY_DATE, VR::DA, PLANTED[3]),
    ]
}

pub fn text(tag: Tag, vr: VR, text: &str) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(text))
}

pub fn short(tag: Tag, value: u16) -> InMemElement {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

pub fn sequence(tag: Tag, items: Vec<Vec<InMemElement>>) -> InMemElement {
    let items: Vec<_> = items.into_iter().map(InMemDicomObject::from_element_iter).collect();
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// What says how the pixels are stored.
pub fn layout(size: [u32; 2], samples: u16, bits: [u16; 2]) -> [InMemElement; 7] {
    [
        short(tags::COLUMNS, size[0] as u16),
        short(tags::ROWS, size[1] as u16),
        short(tags::SAMPLES_PER_PIXEL, samples),
        short(tags::BITS_ALLOCATED, bits[0]),
        short(tags::BITS_STORED, bits[1]),
        short(tags::HIGH_BIT, bits[1] - 1),
        short(tags::PIXEL_REPRESENTATION, 0),
    ]
}

/// Slice `index` of an MR series, 3 mm from the one before, with 12-bit values.
pub fn slice(series: &str, index: usize, size: [u32; 2], values: Vec<u16>) -> Vec<InMemElement> {
    let mut elements = vec![
        text(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, &format!("{series}.{}", index + 1)),
        text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.77"),
        text(tags::SERIES_INSTANCE_UID, VR::UI, series),
        text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.88"),
        text(tags::MODALITY, VR::CS, "MR"),
        text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{}", 3 * index)),
        text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0"),
        text(tags::PIXEL_SPACING, VR::DS, "1\\1"),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        DataElement::new(
            tags::PIXEL_DATA,
            VR::OW,
            PrimitiveValue::U16(values.into_iter().collect()),
        ),
    ];
    elements.extend(patient());
    elements.extend(layout(size, 1, [16, 12]));
    elements
}

/// Writes a file and the folders above it.
pub fn save(elements: Vec<InMemElement>, syntax: &str, path: &Path) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let meta = FileMetaTableBuilder::new().transfer_syntax(syntax);
    let file = InMemDicomObject::from_element_iter(elements).with_meta(meta);
    file.expect("a DICOM object").write_to_file(path).expect("writable");
}
