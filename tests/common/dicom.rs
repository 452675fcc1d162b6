//! DICOM files made on the spot.

use std::path::Path;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use dicom_object::meta::FileMetaTableBuilder;

/// Whom the files belong to; no output and no message may hold any of it.
pub const PLANTED: [&str; 4] = ["Planted^Name", "PLANTED-ID", "19010203", "19990909"];

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

/// Writes a file.
pub fn save(elements: Vec<InMemElement>, syntax: &str, path: &Path) {
    let meta = FileMetaTableBuilder::new().transfer_syntax(syntax);
    let file = InMemDicomObject::from_element_iter(elements).with_meta(meta);
    file.expect("a DICOM object").write_to_file(path).expect("writable");
}
