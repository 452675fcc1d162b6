use dicom_core::value::PixelFragmentSequence;

use super::*;

/// A frame in DICOM's run-length encoding, in runs that repeat nothing: a segment a byte of a value.
pub fn rle(segments: &[Vec<u8>]) -> Vec<u8> {
    let coded: Vec<Vec<u8>> = segments
        .iter()
        .map(|bytes| {
            let runs = bytes
                .chunks(128)
                .flat_map(|run| std::iter::once(run.len() as u8 - 1).chain(run.iter().copied()));
            let mut coded: Vec<u8> = runs.collect();
            // 128 does nothing.
            coded.resize(coded.len().next_multiple_of(2), 128);
            coded
        })
        .collect();
    let mut head = vec![segments.len() as u32];
    let mut offset = 64;
    for segment in &coded {
        head.push(offset);
        offset += segment.len() as u32;
    }
    head.resize(16, 0);
    let head = head.into_iter().flat_map(u32::to_le_bytes);
    head.chain(coded.into_iter().flatten()).collect()
}

/// A segmentation of slices 1 and 3 whose frames are of another kind: values are `on` where something is
/// marked and `off` elsewhere.
fn other(
    folder: &Path,
    volume: &Volume,
    kind: &str,
    [on, off]: [u16; 2],
    bits: u16,
) -> [PathBuf; 2] {
    let path = folder.join("seg.dcm");
    let masks = rectangles(volume, &[1, 3]);
    let options = SegmentationOptions { label: "polyp".into(), keep_identifiers: false };
    write_segmentation(&path, volume, &masks, &options).unwrap();
    let frames: Vec<Vec<u16>> = masks
        .iter()
        .flatten()
        .map(|mask| mask.data().iter().map(|marked| if *marked { on } else { off }).collect())
        .collect();
    let mut object = dicom_object::open_file(&path).unwrap().into_inner();
    let background =
        item([short(tags::SEGMENT_NUMBER, 0), put(tags::SEGMENT_LABEL, VR::LO, "background")]);
    let mut segments =
        vec![item([short(tags::SEGMENT_NUMBER, 1), put(tags::SEGMENT_LABEL, VR::LO, "polyp")])];
    if kind == "LABELMAP" {
        segments.push(background);
        object.put(put(tags::SOP_CLASS_UID, VR::UI, uids::LABEL_MAP_SEGMENTATION_STORAGE));
    }
    object.put(sequence(tags::SEGMENT_SEQUENCE, segments));
    object.put(put(tags::SEGMENTATION_TYPE, VR::CS, kind));
    object.put(short(tags::MAXIMUM_FRACTIONAL_VALUE, 200));
    object.put(short(tags::BITS_ALLOCATED, bits));
    object.put(short(tags::BITS_STORED, bits));
    object.put(short(tags::HIGH_BIT, bits - 1));
    let bytes = |frame: &Vec<u16>, byte: usize| -> Vec<u8> {
        frame.iter().map(|value| value.to_le_bytes()[byte]).collect()
    };
    let whole: Vec<u8> = frames
        .iter()
        .flat_map(|frame| {
            frame.iter().flat_map(|v| v.to_le_bytes()[..usize::from(bits) / 8].to_vec())
        })
        .collect();
    let fragments: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| match bits {
            8 => rle(&[bytes(frame, 0)]),
            // The high bytes are the first segment.
            _ => rle(&[bytes(frame, 1), bytes(frame, 0)]),
        })
        .collect();
    let [plain, packed] = [folder.join("plain.dcm"), folder.join("packed.dcm")];
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(whole.into())));
    save(object.clone(), &plain);
    let pixels = PixelFragmentSequence::new_fragments(fragments);
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::RLE_LOSSLESS);
    object.with_meta(meta).unwrap().write_to_file(&packed).unwrap();
    [plain, packed]
}

#[test]
fn fractional_ones_and_label_maps_are_read_plain_and_packed() {
    let folder = series(5, |_| {});
    let volume = open(folder.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let expected = rectangles(&volume, &[1, 3]);
    for (kind, values, bits) in [
        ("FRACTIONAL", [100, 99], 8),
        ("LABELMAP", [1, 0], 8),
        ("LABELMAP", [1, 0], 16),
        ("LABELMAP", [1, 257], 16),
    ] {
        for path in other(out.path(), &volume, kind, values, bits) {
            assert_eq!(masks_of(&path, &volume).unwrap(), expected, "{kind} {bits} {path:?}");
        }
    }
    // A folder of images and such a map is both.
    other(folder.path(), &volume, "LABELMAP", [1, 0], 8);
    for name in ["seg.dcm", "packed.dcm"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    assert_eq!(open(folder.path()).unwrap().slices(), 5);
    assert_eq!(masks_of(folder.path(), &volume).unwrap(), expected);
}

#[test]
fn packed_frames_that_are_damaged_or_of_an_unread_kind_are_told() {
    let folder = series(5, |_| {});
    let volume = open(folder.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let [plain, packed] = other(out.path(), &volume, "FRACTIONAL", [200, 0], 8);
    let mut object = dicom_object::open_file(&packed).unwrap().into_inner();
    object.put(DataElement::new(
        tags::PIXEL_DATA,
        VR::OB,
        PixelFragmentSequence::new_fragments(vec![vec![9u8; 70], vec![9u8; 70]]),
    ));
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::RLE_LOSSLESS);
    let bad = out.path().join("bad.dcm");
    object.with_meta(meta).unwrap().write_to_file(&bad).unwrap();
    assert!(message(masks_of(&bad, &volume)).contains("damaged, or compressed"));
    let mut object = dicom_object::open_file(&plain).unwrap().into_inner();
    object.put(short(tags::BITS_ALLOCATED, 32));
    save(object, &bad);
    assert!(message(masks_of(&bad, &volume)).contains("neither 1 nor 8 nor 16"));
}
