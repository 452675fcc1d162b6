//! Videos in DICOM files as endoscopes and archives write them, each made here by GStreamer and wrapped:
//! every frame as from the bare file, at the time that it belongs to, and nobody's name anywhere.

#![cfg(feature = "gstreamer")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::dicom::{PLANTED, layout, patient, save, short, text};
use common::*;
use dicom_core::value::PixelFragmentSequence;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};
use gstreamer as gst;
use p2sam::{Picture, Source, SourceOptions, Volume, open_recording};

const QUICK: &str = "--weights polyp --profile fast --n 1 --input-side 128";
/// Frames of a clip, and how many make a second.
const CLIP: (u64, u32) = (12, 10);

/// Wraps a file, in fragments of so many bytes.
fn wrap(video: &Path, to: &Path, syntax: &str, frames: u64, fragment: usize) {
    let mut bytes = std::fs::read(video).expect("readable");
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let fragments: Vec<Vec<u8>> = bytes.chunks(fragment).map(<[u8]>::to_vec).collect();
    let pixels = PixelFragmentSequence::new_fragments(fragments);
    let mut elements = vec![
        text(tags::SOP_CLASS_UID, VR::UI, uids::VIDEO_ENDOSCOPIC_IMAGE_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4"),
        text(tags::MODALITY, VR::CS, "ES"),
        text(tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string()),
        // The stream's own rate, where it has one, is another.
        text(tags::FRAME_TIME, VR::DS, "200"),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_PARTIAL_420"),
        short(tags::PLANAR_CONFIGURATION, 0),
        DataElement::new(tags::PIXEL_DATA, VR::OB, pixels),
    ];
    elements.extend(patient());
    elements.extend(layout([WIDTH, HEIGHT], 3, [8, 8]));
    save(elements, syntax, to);
}

/// A clip through an encoder; `false` if a part of it is not installed.
fn encode(path: &Path, chain: &str) -> bool {
    gst::init().expect("GStreamer");
    let elements = chain.split('!').filter_map(|part| part.split_whitespace().next());
    if elements.filter(|name| !name.contains('/')).any(|e| gst::ElementFactory::find(e).is_none()) {
        eprintln!("skipped: `{chain}` needs gstreamer1.0-plugins-bad");
        return false;
    }
    let (frames, rate) = CLIP;
    launch(
        path,
        &format!(
            "videotestsrc num-buffers={frames} pattern=smpte horizontal-speed=7 ! video/x-raw,\
             format=I420,width={WIDTH},height={HEIGHT},framerate={rate}/1 ! {chain} ! OUT"
        ),
    );
    true
}

fn all(source: &mut Source) -> Vec<Picture> {
    std::iter::from_fn(|| source.next_picture().expect("a frame")).collect()
}

#[test]
fn every_kind_of_video_is_read_as_if_it_were_bare() {
    let folder = folder();
    let bare = folder.path().join("bare");
    let wrapped = folder.path().join("wrapped.dcm");
    let bytes = "video/x-h264,stream-format=byte-stream";
    // The last: frames a second, 5 being the file's and 10 the stream's or its container's.
    let kinds = [
        (uids::MPEG4HP41, "x264enc ! mp4mux".to_owned(), usize::MAX & !1, 10),
        (uids::MPEG4HP41F, "x264enc ! mp4mux".to_owned(), 1000, 10),
        (uids::MPEG4HP41BD, format!("x264enc ! {bytes}"), 400, 10),
        (uids::MPEG4HP422D, "x264enc ! mpegtsmux".to_owned(), 1000, 10),
        (uids::MPEG4HP42STEREOF, format!("openh264enc ! {bytes}"), 1000, 5),
        (uids::HEVCMP51, "x265enc ! video/x-h265,stream-format=byte-stream".to_owned(), 600, 10),
    ];
    let mut read = 0;
    for (syntax, chain, fragment, rate) in kinds {
        if !encode(&bare, &chain) {
            continue;
        }
        wrap(&bare, &wrapped, syntax, CLIP.0, fragment);
        assert!(!Volume::is_volume(&wrapped));
        let mut source = open_recording(&wrapped, &SourceOptions::default()).expect("a video");
        let pictures = all(&mut source);
        let expected = frames(&bare);
        assert_eq!(pictures.len() as u64, CLIP.0, "{chain}");
        for (a, b) in pictures.iter().zip(&expected) {
            assert!(a.frame == b.frame, "{chain}: frame {}", a.index);
            // A stream alone has no times, a container has its own.
            let contained = !chain.ends_with("byte-stream");
            let even = Duration::from_secs(1) * a.index as u32 / rate;
            let time = if contained { b.pts } else { even };
            assert!(a.pts.abs_diff(time) < Duration::from_millis(2), "{chain}: {:?}", a.pts);
        }
        assert_eq!(source.info().frame_rate, Some((rate, 1)), "{chain}");
        let report = source.end_report();
        assert!(report.is_complete(), "{chain}: {report:?}");
        assert_eq!(report.expected, Some(CLIP.0));
        read += 1;
        // Of a stream that needs no index what is there is read, and the rest told.
        if chain.ends_with("byte-stream") {
            let short = folder.path().join("short.dcm");
            cut(&wrapped, &short, length(&wrapped) * 2 / 3);
            let mut source = open_recording(&short, &SourceOptions::default()).expect("a video");
            let count = all(&mut source).len() as u64;
            assert!((1..CLIP.0).contains(&count), "{chain}: {count}");
            let problems = source.end_report().problems.join("; ");
            assert!(problems.contains("cut short") && problems.contains("12 frames"), "{problems}");
        }
    }
    assert!(read >= 2, "{read} kinds were read");
}

#[test]
fn mpeg2_is_read() {
    let folder = folder();
    let (bare, wrapped) = (folder.path().join("bare"), folder.path().join("wrapped.dcm"));
    // MPEG-2 has no rate of 10 frames a second.
    let chain = "videorate ! video/x-raw,framerate=25/1 ! mpeg2enc";
    if !encode(&bare, chain) {
        return;
    }
    let expected = frames(&bare);
    wrap(&bare, &wrapped, uids::MPEG2MPML, expected.len() as u64, 2000);
    let mut source = open_recording(&wrapped, &SourceOptions::default()).expect("a video");
    let pictures = all(&mut source);
    assert!(pictures.iter().zip(&expected).all(|(a, b)| a.frame == b.frame));
    assert_eq!((pictures.len(), source.info().frame_rate), (expected.len(), Some((25, 1))));
    assert!(source.end_report().is_complete(), "{:?}", source.end_report());
}

#[test]
fn a_dicom_video_is_followed_like_any_other_and_names_nobody() {
    let _turn = model();
    let folder = folder();
    let folder = folder.path();
    std::fs::create_dir(folder.join("room")).expect("a folder");
    let times: Vec<u64> = (0..6).map(|frame| frame * 100).collect();
    clip(&folder.join("clip.mp4"), &times, Some((10, 1)));
    scene()[0].mask.save_png(&folder.join("mask.png")).expect("writable");
    let follow = |input: &str, out: &str| {
        let line = format!(
            "track {input} --reference mask.png {QUICK} --masks {out} --summary {out}.json --jsonl \
             {out}.jsonl -o {out}.mkv"
        );
        let mut command = command(folder, line.split_whitespace());
        run(command.env("TMPDIR", folder.join("room")))
    };
    wrap(&folder.join("clip.mp4"), &folder.join("clip.dcm"), uids::MPEG4HP41, 6, 1500);
    follow("clip.dcm", "wrapped").succeeds();
    follow("clip.mp4", "bare").succeeds();
    for index in 0..6 {
        let mask = |of: &str| std::fs::read(folder.join(format!("{of}/{index:06}.png")));
        assert_eq!(mask("wrapped").expect("a mask"), mask("bare").expect("a mask"), "{index}");
    }
    assert_eq!(frames(&folder.join("wrapped.mkv")).len(), 6);
    for name in ["wrapped.json", "wrapped.jsonl", "wrapped.mkv"] {
        let bytes = std::fs::read(folder.join(name)).expect("readable");
        for planted in PLANTED {
            assert!(!bytes.windows(planted.len()).any(|w| w == planted.as_bytes()), "{name}");
        }
    }
    // A frame that should be there is told.
    wrap(&folder.join("clip.mp4"), &folder.join("more.dcm"), uids::MPEG4HP41, 7, 1500);
    let run = follow("more.dcm", "more");
    run.ends(3, &["says that it has 7 frames, and 6 were decoded"]);
    // What is no video, and what is cut off.
    std::fs::write(folder.join("noise"), [7u8; 4000]).expect("writable");
    wrap(&folder.join("noise"), &folder.join("noise.dcm"), uids::MPEG4HP41, 6, 1500);
    follow("noise.dcm", "noise-out").ends(1, &["noise.dcm", "video"]);
    let half = length(&folder.join("clip.dcm")) / 2;
    cut(&folder.join("clip.dcm"), &folder.join("cut.dcm"), half);
    let run = follow("cut.dcm", "cut-out");
    run.ends(3, &["cut short", "says that it has 6 frames"]);
    for planted in PLANTED {
        assert!(!run.stderr.contains(planted));
    }
    p2sam(folder, &format!("track clip.dcm --reference mask.png {QUICK} --seg s.dcm"))
        .ends(1, &["--seg is for volumes"]);
    assert_eq!(entries(&folder.join("room")), Vec::<String>::new());

    // A click on a frame of it.
    let line = "annotate clip.dcm --reference-frame 2 --point 80,45 -o picked.png --weights polyp";
    p2sam(folder, &format!("{line} --input-side 128")).succeeds();
}
