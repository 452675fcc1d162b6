//! Volumes, masks and recordings with altered bytes, lengths and ends: whatever comes of them, it is an
//! answer or an error, soon, without a panic and without memory that the file does not account for.

#![cfg(feature = "gstreamer")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use common::dicom::{PLANTED, layout, patient, save, sequence, short, slice, text};
use dicom_core::value::PixelFragmentSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use p2sam::{
    Foreground, Mask, SegmentationOptions, SeriesError, SourceOptions, Volume, VolumeOptions,
    open_masks, open_recording, write_nifti, write_segmentation,
};
use rand_mt::Mt64;

const SIZE: [u32; 2] = [24, 16];
const PIXELS: usize = 24 * 16;
/// No file here has 4 KiB.
const LARGEST: usize = 64 << 20;

/// The largest piece of memory that was asked for.
static ASKED: AtomicUsize = AtomicUsize::new(0);

struct Watched;

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ASKED.fetch_max(new_size, Ordering::Relaxed);
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static MEMORY: Watched = Watched;

/// A file with one to four of its bytes, one of its lengths, a part or its end altered.
fn altered(whole: &[u8], random: &mut Mt64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let mut below = |most: usize| (random.next_u64() % most.max(1) as u64) as usize;
    match below(5) {
        0 => bytes.truncate(below(whole.len())),
        1 => {
            for _ in 0..=below(4) {
                bytes[below(whole.len())] ^= 1 << below(8);
            }
        }
        2 => {
            let lengths =
                [u32::MAX, u32::MAX - 1, i32::MAX as u32, 0, 1, 0xffff, whole.len() as u32];
            let at = below(whole.len() - 4);
            bytes[at..at + 4].copy_from_slice(&lengths[below(lengths.len())].to_le_bytes());
        }
        3 => {
            let at = below(whole.len() - 2);
            let number = [0, 1, 0x7fff, 0x8000, 0xffff][below(5)];
            bytes[at..at + 2].copy_from_slice(&u16::to_le_bytes(number));
        }
        _ => {
            let (from, to) = (below(whole.len()), below(whole.len()));
            let part = whole[from..].iter().take(64).copied().collect::<Vec<u8>>();
            bytes.splice(to..to, part);
        }
    }
    bytes
}

/// What is read of a file; an error names the file and nobody.
type Look = fn(&Path, &Volume) -> Result<(), SeriesError>;

fn as_volume(path: &Path, _: &Volume) -> Result<(), SeriesError> {
    let volume = Volume::open(path, &VolumeOptions::default())?;
    volume.range().take(8).try_for_each(|slice| volume.frame(slice).map(drop))
}

fn as_masks(path: &Path, volume: &Volume) -> Result<(), SeriesError> {
    open_masks(path, volume, None, Foreground::AboveZero).map(drop)
}

fn as_recording(path: &Path, _: &Volume) -> Result<(), SeriesError> {
    // What does not look like a recording any more is no work for GStreamer.
    if Volume::is_volume(path)
        || std::fs::read(path).is_ok_and(|b| b.get(128..132) != Some(b"DICM"))
    {
        return Ok(());
    }
    let mut source = open_recording(path, &SourceOptions::default())?;
    while let Ok(Some(_)) = source.next_picture() {}
    Ok(())
}

/// Files of every kind, each with what reads it, and the volume that masks are for.
fn files(folder: &Path) -> (Vec<(PathBuf, Look)>, Volume) {
    let series = folder.join("series");
    std::fs::create_dir(&series).expect("a folder");
    for index in 0..3 {
        let values = (0..PIXELS as u16).map(|value| value * 3 + index as u16).collect();
        let elements = slice("1.2.3", index, SIZE, values);
        let path = series.join(format!("{index}.dcm"));
        save(elements, uids::EXPLICIT_VR_LITTLE_ENDIAN, &path);
    }
    let volume = Volume::open(&series, &VolumeOptions::default()).expect("a volume");
    let data = (0..PIXELS).map(|pixel| (100..140).contains(&pixel)).collect();
    let mask = Mask::new(SIZE[0], SIZE[1], data).expect("a mask");
    let masks = [Some(mask.clone()), None, Some(mask)];
    let options = SegmentationOptions { label: "object".into(), keep_identifiers: true };
    write_segmentation(&folder.join("seg.dcm"), &volume, &masks, &options).expect("writable");
    for name in ["mask.nii", "mask.nii.gz"] {
        write_nifti(&folder.join(name), &volume, &masks).expect("writable");
    }
    structure_set(&folder.join("contours.dcm"));
    frames(&folder.join("frames.dcm"), uids::EXPLICIT_VR_LITTLE_ENDIAN);
    frames(&folder.join("jpeg.dcm"), uids::JPEG_BASELINE8_BIT);
    let list: [(&str, Look); 8] = [
        ("series/0.dcm", as_volume),
        ("mask.nii", as_volume),
        ("mask.nii.gz", as_volume),
        ("mask.nii", as_masks),
        ("seg.dcm", as_masks),
        ("contours.dcm", as_masks),
        ("frames.dcm", as_recording),
        ("jpeg.dcm", as_recording),
    ];
    (list.into_iter().map(|(name, look)| (folder.join(name), look)).collect(), volume)
}

fn structure_set(path: &Path) {
    let roi = vec![
        text(tags::ROI_NUMBER, VR::IS, "4"),
        text(tags::ROI_NAME, VR::LO, "GTV"),
        text(tags::REFERENCED_FRAME_OF_REFERENCE_UID, VR::UI, "1.2.88"),
    ];
    let drawn = vec![
        text(tags::CONTOUR_GEOMETRIC_TYPE, VR::CS, "CLOSED_PLANAR"),
        text(tags::CONTOUR_DATA, VR::DS, "2\\2\\3\\9\\2\\3\\9\\9\\3\\2\\9\\3"),
    ];
    let contours = vec![
        text(tags::REFERENCED_ROI_NUMBER, VR::IS, "4"),
        sequence(tags::CONTOUR_SEQUENCE, vec![drawn]),
    ];
    let mut elements = vec![
        text(tags::SOP_CLASS_UID, VR::UI, uids::RT_STRUCTURE_SET_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.999"),
        sequence(tags::STRUCTURE_SET_ROI_SEQUENCE, vec![roi]),
        sequence(tags::ROI_CONTOUR_SEQUENCE, vec![contours]),
    ];
    elements.extend(patient());
    save(elements, uids::EXPLICIT_VR_LITTLE_ENDIAN, path);
}

/// Two frames in colour.
fn frames(path: &Path, syntax: &str) {
    let rgb: Vec<u8> = (0..6 * PIXELS).map(|value| (value % 251) as u8).collect();
    let pixels = if syntax == uids::JPEG_BASELINE8_BIT {
        let fragment = |frame: &[u8]| {
            let mut bytes = Vec::new();
            let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut bytes);
            encoder
                .encode(frame, SIZE[0], SIZE[1], image::ExtendedColorType::Rgb8)
                .expect("a picture");
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            bytes
        };
        let fragments: Vec<Vec<u8>> = rgb.chunks(3 * PIXELS).map(fragment).collect();
        let pixels = PixelFragmentSequence::new_fragments(fragments);
        DataElement::new(tags::PIXEL_DATA, VR::OB, pixels)
    } else {
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(rgb.into()))
    };
    let mut elements = vec![
        text(tags::SOP_CLASS_UID, VR::UI, uids::VL_ENDOSCOPIC_IMAGE_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4"),
        text(tags::NUMBER_OF_FRAMES, VR::IS, "2"),
        text(tags::FRAME_TIME_VECTOR, VR::DS, "0\\40"),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB"),
        short(tags::PLANAR_CONFIGURATION, 0),
        pixels,
    ];
    elements.extend(patient());
    elements.extend(layout(SIZE, 3, [8, 8]));
    save(elements, syntax, path);
}

#[test]
fn altered_files_are_answers_or_errors() {
    const EACH: usize = 400;
    let (sender, receiver) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        let folder = common::folder();
        let (files, volume) = files(folder.path());
        let mut random = Mt64::new(20_261_125);
        for (path, look) in files {
            look(&path, &volume).expect("the file is whole");
            let whole = std::fs::read(&path).expect("readable");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let bad = folder.path().join(format!("bad-{name}"));
            let mut errors = 0;
            for round in 0..EACH {
                std::fs::write(&bad, altered(&whole, &mut random)).expect("writable");
                ASKED.store(0, Ordering::Relaxed);
                if let Err(error) = look(&bad, &volume) {
                    let text = error.to_string();
                    assert!(text.contains("bad-"), "{name}, {round}: {text}");
                    assert!(!PLANTED.iter().any(|planted| text.contains(planted)), "{text}");
                    errors += 1;
                }
                let asked = ASKED.load(Ordering::Relaxed);
                assert!(asked < LARGEST, "{name}, {round}: {asked} bytes at once");
            }
            println!("{name}: {errors} errors");
            assert!(errors > EACH / 10, "{name}: {errors} errors: is it read at all?");
        }
        sender.send(()).expect("somebody waits");
    });
    let ended = receiver.recv_timeout(Duration::from_secs(120));
    assert!(ended != Err(mpsc::RecvTimeoutError::Timeout), "a reader hangs");
    worker.join().expect("no panic and no other surprise");
}
