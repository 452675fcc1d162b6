use std::path::Path;

use chrono::Utc;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use dicom_object::meta::FileMetaTableBuilder;
use sha2::{Digest, Sha256};

use super::elements::{decimals, item, put, sequence, short, text};
use super::{DicomSeries, file};
use crate::image::Mask;
use crate::series::volume::Content;
use crate::series::{SeriesError, Volume};

/// What a DICOM segmentation says besides its masks.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentationOptions {
    /// What the object is called, at most 64 characters.
    pub label: String,
    /// Whether the patient's name, number, birth date and sex and the study's dates and numbers are
    /// copied from the images. Without, they are present and empty, as the standard allows.
    pub keep_identifiers: bool,
}

/// Writes the masks of a DICOM series as a binary DICOM segmentation (PS3.3 A.51): one frame for every
/// slice that is marked, or for every slice if none is. Each frame names the image that it belongs to.
/// The same images and masks give the same identifiers. Images without a frame of reference get one of
/// their own, as a segmentation without it is no use to others; what is returned then says so.
///
/// # Errors
/// [`SeriesError::Write`], also for a volume that is no DICOM series with places.
pub fn write_segmentation(
    path: &Path,
    volume: &Volume,
    masks: &[Option<Mask>],
    options: &SegmentationOptions,
) -> Result<Option<String>, SeriesError> {
    let (Content::Dicom(series), Some(geometry)) = (&volume.content, &volume.geometry) else {
        let reason = "only of a DICOM series whose images have places in the patient";
        return Err(SeriesError::write(path, reason));
    };
    let mut marked: Vec<usize> = (0..series.slices())
        .filter(|slice| masks.get(*slice).is_some_and(Option::is_some))
        .collect();
    if marked.is_empty() {
        marked = (0..series.slices()).collect();
    }
    let uid = Uids::new(series, masks, options);
    let mut object = item(patient_and_study(series, options)?);
    let mut put_all = |elements: Vec<InMemElement>| {
        for element in elements {
            object.put(element);
        }
    };
    put_all(equipment_and_series(series, &uid));
    put_all(image(series, marked.len(), options));
    put_all(dimensions(&uid));
    put_all(references(series, &marked));
    let spacing = geometry.spacing();
    let mut measures = item([
        decimals(tags::SLICE_THICKNESS, &[series.header.thickness.unwrap_or(spacing[2])]),
        decimals(tags::PIXEL_SPACING, &[spacing[1], spacing[0]]),
    ]);
    // Of slices at several distances there is no one spacing.
    if geometry.even_step().is_some() {
        measures.put(decimals(tags::SPACING_BETWEEN_SLICES, &[spacing[2]]));
    }
    let orientation = series.slices[0].orientation.unwrap_or_default();
    let orientation = item([decimals(tags::IMAGE_ORIENTATION_PATIENT, &orientation)]);
    object.put(sequence(
        tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
        vec![item([
            sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![measures]),
            sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![orientation]),
        ])],
    ));
    let frames = marked.iter().enumerate().map(|(index, slice)| frame(series, *slice, index));
    object.put(sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.collect()));
    object.put(DataElement::new(
        tags::PIXEL_DATA,
        VR::OB,
        PrimitiveValue::from(bits(series.size(), &marked, masks)),
    ));
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let file = object
        .with_meta(meta)
        .map_err(|_| SeriesError::write(path, "the images' identifiers cannot be written"))?;
    let other = |_| std::io::Error::other("the segmentation cannot be encoded");
    crate::atomic::write(path, |writer| file.write_all(writer).map_err(other))
        .map_err(|error| SeriesError::write(path, error))?;
    Ok(series.header.frame_of_reference.is_none().then(|| {
        "the images have no frame of reference (FrameOfReferenceUID): the segmentation was given one of its \
         own, which nothing else shares"
            .into()
    }))
}

/// New identifiers.
struct Uids {
    instance: String,
    series: String,
    dimensions: String,
    /// Of images that have none.
    frame_of_reference: String,
}

impl Uids {
    fn new(series: &DicomSeries, masks: &[Option<Mask>], options: &SegmentationOptions) -> Self {
        let mut hash = Sha256::new();
        hash.update(&series.header.series);
        hash.update(&options.label);
        for slice in &series.slices {
            hash.update(&slice.sop_instance);
        }
        for mask in masks {
            match mask {
                Some(mask) => {
                    hash.update(mask.data().iter().map(|on| u8::from(*on)).collect::<Vec<_>>())
                }
                None => hash.update([2]),
            }
        }
        let number = |digest: &[u8]| {
            // PS3.5 B.2: a UUID as a number under 2.25.
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&digest[..16]);
            format!("2.25.{}", u128::from_be_bytes(bytes))
        };
        let uid = |what: &str| number(&hash.clone().chain_update(what).finalize());
        let images = Sha256::new().chain_update(&series.header.series).finalize();
        Self {
            instance: uid("instance"),
            series: uid("series"),
            dimensions: uid("dimensions"),
            // The same for every segmentation of the series.
            frame_of_reference: number(&images),
        }
    }
}

fn patient_and_study(
    series: &DicomSeries,
    options: &SegmentationOptions,
) -> Result<Vec<InMemElement>, SeriesError> {
    let identifying = [
        (tags::STUDY_DATE, VR::DA),
        (tags::STUDY_TIME, VR::TM),
        (tags::ACCESSION_NUMBER, VR::SH),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_ID, VR::LO),
        (tags::PATIENT_BIRTH_DATE, VR::DA),
        (tags::PATIENT_SEX, VR::CS),
        (tags::STUDY_ID, VR::SH),
    ];
    let source = match options.keep_identifiers {
        true => Some(file::head(&series.slices[0].path)?),
        false => None,
    };
    let known = |tag| source.as_ref().and_then(|source| text(source, tag)).unwrap_or_default();
    let mut elements: Vec<InMemElement> =
        identifying.into_iter().map(|(tag, vr)| put(tag, vr, &known(tag))).collect();
    elements.push(put(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"));
    elements.push(put(tags::STUDY_INSTANCE_UID, VR::UI, &series.header.study));
    Ok(elements)
}

fn equipment_and_series(series: &DicomSeries, uid: &Uids) -> Vec<InMemElement> {
    let now = Utc::now();
    let version = env!("CARGO_PKG_VERSION");
    let mut elements = vec![
        put(tags::SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE),
        put(tags::SOP_INSTANCE_UID, VR::UI, &uid.instance),
        put(tags::MODALITY, VR::CS, "SEG"),
        put(tags::SERIES_INSTANCE_UID, VR::UI, &uid.series),
        put(tags::SERIES_NUMBER, VR::IS, "1"),
        put(tags::INSTANCE_NUMBER, VR::IS, "1"),
        put(tags::CONTENT_DATE, VR::DA, &now.format("%Y%m%d").to_string()),
        put(tags::CONTENT_TIME, VR::TM, &now.format("%H%M%S").to_string()),
        put(tags::MANUFACTURER, VR::LO, "p2sam"),
        put(tags::MANUFACTURER_MODEL_NAME, VR::LO, "p2sam"),
        put(tags::DEVICE_SERIAL_NUMBER, VR::LO, version),
        put(tags::SOFTWARE_VERSIONS, VR::LO, version),
        put(tags::POSITION_REFERENCE_INDICATOR, VR::LO, ""),
    ];
    let frame = series.header.frame_of_reference.as_ref().unwrap_or(&uid.frame_of_reference);
    elements.push(put(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame));
    elements
}

/// A coded concept.
fn code(value: &str, scheme: &str, meaning: &str) -> InMemDicomObject {
    item([
        put(tags::CODE_VALUE, VR::SH, value),
        put(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme),
        put(tags::CODE_MEANING, VR::LO, meaning),
    ])
}

fn image(series: &DicomSeries, frames: usize, options: &SegmentationOptions) -> Vec<InMemElement> {
    let [columns, rows] = series.size();
    let label: String = options.label.chars().take(64).collect();
    let segment = item([
        short(tags::SEGMENT_NUMBER, 1),
        put(tags::SEGMENT_LABEL, VR::LO, &label),
        put(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "SEMIAUTOMATIC"),
        put(tags::SEGMENT_ALGORITHM_NAME, VR::LO, "P2SAM"),
        sequence(
            tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE,
            vec![code("49755003", "SCT", "Morphologically Abnormal Structure")],
        ),
        sequence(
            tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE,
            vec![code("52988006", "SCT", "Lesion")],
        ),
    ]);
    vec![
        put(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY"),
        short(tags::SAMPLES_PER_PIXEL, 1),
        put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        put(tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string()),
        short(tags::ROWS, rows as u16),
        short(tags::COLUMNS, columns as u16),
        short(tags::BITS_ALLOCATED, 1),
        short(tags::BITS_STORED, 1),
        short(tags::HIGH_BIT, 0),
        short(tags::PIXEL_REPRESENTATION, 0),
        put(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00"),
        put(tags::SEGMENTATION_TYPE, VR::CS, "BINARY"),
        put(tags::CONTENT_LABEL, VR::CS, "P2SAM"),
        put(tags::CONTENT_DESCRIPTION, VR::LO, "Research only, not a medical device"),
        put(tags::CONTENT_CREATOR_NAME, VR::PN, ""),
        sequence(tags::SEGMENT_SEQUENCE, vec![segment]),
    ]
}

fn dimensions(uid: &Uids) -> Vec<InMemElement> {
    let index = |pointer, group| {
        item([
            put(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &uid.dimensions),
            DataElement::new(tags::DIMENSION_INDEX_POINTER, VR::AT, PrimitiveValue::from(pointer)),
            DataElement::new(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, PrimitiveValue::from(group)),
        ])
    };
    let organization = item([put(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &uid.dimensions)]);
    vec![
        sequence(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organization]),
        sequence(
            tags::DIMENSION_INDEX_SEQUENCE,
            vec![
                index(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE),
                index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE),
            ],
        ),
    ]
}

/// The instance that a slice is.
fn instance(series: &DicomSeries, slice: usize) -> Vec<InMemElement> {
    vec![
        put(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &series.header.sop_class),
        put(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &series.slices[slice].sop_instance),
    ]
}

/// All images that the frames belong to.
fn references(series: &DicomSeries, marked: &[usize]) -> Vec<InMemElement> {
    let mut named = Vec::new();
    let mut instances = Vec::new();
    for &slice in marked {
        let uid = &series.slices[slice].sop_instance;
        if !named.contains(&uid) {
            named.push(uid);
            instances.push(item(instance(series, slice)));
        }
    }
    let referenced = item([
        put(tags::SERIES_INSTANCE_UID, VR::UI, &series.header.series),
        sequence(tags::REFERENCED_INSTANCE_SEQUENCE, instances),
    ]);
    vec![sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![referenced])]
}

/// The functional groups of a frame.
fn frame(series: &DicomSeries, slice: usize, index: usize) -> InMemDicomObject {
    let purpose = code("121322", "DCM", "Source image for image processing operation");
    let mut source = instance(series, slice);
    let frames = series.slices.iter().filter(|s| s.path == series.slices[slice].path).count();
    if frames > 1 {
        let number = (series.slices[slice].frame + 1).to_string();
        source.push(put(tags::REFERENCED_FRAME_NUMBER, VR::IS, &number));
    }
    source.push(put(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES"));
    source.push(sequence(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, vec![purpose]));
    let derivation = item([
        sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![item(source)]),
        sequence(tags::DERIVATION_CODE_SEQUENCE, vec![code("113076", "DCM", "Segmentation")]),
    ]);
    let indices = PrimitiveValue::U32([1, index as u32 + 1].into_iter().collect());
    let content = item([DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, indices)]);
    let position = series.slices[slice].position.unwrap_or_default();
    item([
        sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation]),
        sequence(tags::FRAME_CONTENT_SEQUENCE, vec![content]),
        sequence(
            tags::PLANE_POSITION_SEQUENCE,
            vec![item([decimals(tags::IMAGE_POSITION_PATIENT, &position)])],
        ),
        sequence(
            tags::SEGMENT_IDENTIFICATION_SEQUENCE,
            vec![item([short(tags::REFERENCED_SEGMENT_NUMBER, 1)])],
        ),
    ])
}

/// All frames, one bit a pixel, the first pixel in the lowest bit, of an even number of bytes.
fn bits([columns, rows]: [u32; 2], marked: &[usize], masks: &[Option<Mask>]) -> Vec<u8> {
    let pixels = columns as usize * rows as usize;
    let mut bytes = vec![0u8; (pixels * marked.len()).div_ceil(16) * 2];
    for (frame, slice) in marked.iter().enumerate() {
        let Some(Some(mask)) = masks.get(*slice) else { continue };
        for (pixel, _) in mask.data().iter().enumerate().filter(|(_, on)| **on) {
            let bit = frame * pixels + pixel;
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    bytes
}
