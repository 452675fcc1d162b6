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

fn text(tag: Tag, vr: VR, text: &str) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(text))
}

fn short(tag: Tag, value: u16) -> InMemElement {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> InMemElement {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

fn item(elements: impl IntoIterator<Item = InMemElement>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements)
}

fn save(object: InMemDicomObject, path: &Path) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let file = object.with_meta(meta).expect("a DICOM object");
    file.write_to_file(path).expect("writable");
}

/// Whose the file is.
fn patient(id: &str, study: &str, date: &str) -> [InMemElement; 5] {
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
        let elements = [
            text(tags::SOP_CLASS_UID, VR::UI, class),
            text(tags::SOP_INSTANCE_UID, VR::UI, &format!("{}.{}", self.series, self.number + 1)),
            text(tags::SERIES_INSTANCE_UID, VR::UI, self.series),
            text(tags::SERIES_DESCRIPTION, VR::LO, self.description),
            text(tags::FRAME_OF_REFERENCE_UID, VR::UI, self.frame_of_reference),
            text(tags::MODALITY, VR::CS, self.modality),
            text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{}", 3 * self.number)),
            text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0"),
            text(tags::PIXEL_SPACING, VR::DS, "1\\1"),
            text(tags::RESCALE_SLOPE, VR::DS, "1"),
            text(tags::RESCALE_INTERCEPT, VR::DS, self.intercept),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
            short(tags::ROWS, HEIGHT as u16),
            short(tags::COLUMNS, WIDTH as u16),
            short(tags::SAMPLES_PER_PIXEL, 1),
            short(tags::BITS_ALLOCATED, 16),
            short(tags::BITS_STORED, 12),
            short(tags::HIGH_BIT, 11),
            short(tags::PIXEL_REPRESENTATION, 0),
            DataElement::new(
                tags::PIXEL_DATA,
                VR::OW,
                PrimitiveValue::U16(self.values.into_iter().collect()),
            ),
        ];
        save(item(patient(self.id, self.study, self.date).into_iter().chain(elements)), path);
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
        item([
            text(tags::ROI_NUMBER, VR::IS, &number.to_string()),
            text(tags::ROI_NAME, VR::LO, roi.name),
            text(tags::REFERENCED_FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference),
        ])
    });
    let drawn = numbered().map(|(roi, number)| {
        let [left, top, right, bottom] = roi.corners.map(f64::from);
        let [left, top, right, bottom] = [left - 0.5, top - 0.5, right + 0.5, bottom + 0.5];
        let contours = roi.slices.iter().map(|slice| {
            let corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
            let points = corners.map(|[x, y]| format!("{x}\\{y}\\{}", 3 * slice)).join("\\");
            item([
                text(tags::CONTOUR_GEOMETRIC_TYPE, VR::CS, "CLOSED_PLANAR"),
                text(tags::CONTOUR_DATA, VR::DS, &points),
            ])
        });
        item([
            text(tags::REFERENCED_ROI_NUMBER, VR::IS, &number.to_string()),
            sequence(tags::CONTOUR_SEQUENCE, contours.collect()),
        ])
    });
    let of_series = item([text(tags::SERIES_INSTANCE_UID, VR::UI, series)]);
    let of_study = item([sequence(tags::RT_REFERENCED_SERIES_SEQUENCE, vec![of_series])]);
    let frame = item([
        text(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference),
        sequence(tags::RT_REFERENCED_STUDY_SEQUENCE, vec![of_study]),
    ]);
    let elements = [
        text(tags::SOP_CLASS_UID, VR::UI, uids::RT_STRUCTURE_SET_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, &format!("{series}.99")),
        text(tags::SERIES_INSTANCE_UID, VR::UI, &format!("{series}.98")),
        text(tags::MODALITY, VR::CS, "RTSTRUCT"),
        sequence(tags::REFERENCED_FRAME_OF_REFERENCE_SEQUENCE, vec![frame]),
        sequence(tags::STRUCTURE_SET_ROI_SEQUENCE, named.collect()),
        sequence(tags::ROI_CONTOUR_SEQUENCE, drawn.collect()),
    ];
    save(item(patient(id, study, date).into_iter().chain(elements)), path);
}
