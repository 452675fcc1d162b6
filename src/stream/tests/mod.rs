//! Files are made with GStreamer, so that the tests need nothing else.

mod formats;
mod kinds;
mod reading;
mod writing;

use std::path::Path;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::elements::init;
use super::*;
use crate::image::{ColorMatrix, ColorRange};

const W: u32 = 64;
const H: u32 = 48;

/// A picture whose upper left quarter is red and whose rest is a grey that tells its index.
fn numbered(index: usize, width: u32, height: u32) -> Frame {
    let mut rgb = vec![grey(index); (width * height * 3) as usize];
    for y in 0..height / 2 {
        for x in 0..width / 2 {
            let at = ((y * width + x) * 3) as usize;
            rgb[at..at + 3].copy_from_slice(&[200, 30, 30]);
        }
    }
    Frame::new(width, height, rgb).unwrap()
}

fn grey(index: usize) -> u8 {
    30 + (index % 25) as u8 * 8
}

fn pixel(frame: &Frame, x: u32, y: u32) -> [u8; 3] {
    let at = ((y * frame.width() + x) * 3) as usize;
    frame.rgb()[at..at + 3].try_into().unwrap()
}

fn near(a: [u8; 3], b: [u8; 3], tolerance: u8) -> bool {
    a.iter().zip(b).all(|(&a, b)| a.abs_diff(b) <= tolerance)
}

/// Times of `n` frames at 25 a second, in milliseconds.
fn steady(n: u64) -> Vec<u64> {
    (0..n).map(|i| i * 40).collect()
}

/// Runs a launch line to its end.
fn launch(line: &str) {
    init().unwrap();
    let pipeline = gst::parse::launch(line).unwrap().downcast::<gst::Pipeline>().unwrap();
    run(&pipeline);
}

fn run(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Playing).unwrap();
    let message = pipeline.bus().unwrap().timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    pipeline.set_state(gst::State::Null).unwrap();
    if let gst::MessageView::Error(e) = message.expect("no end").view() {
        panic!("{}: {:?}", e.error(), e.debug());
    }
}

/// Encodes numbered pictures with the chain between `appsrc` and `filesink`; `extra` is the part
/// of the caps that is special about them.
fn encode(path: &Path, chain: &str, extra: &str, times_ms: &[u64]) {
    init().unwrap();
    let line =
        format!("appsrc name=in format=time ! {chain} ! filesink location={}", path.display());
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("in").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let caps = format!("video/x-raw,format=I420,width={W},height={H},{extra}");
    source.set_caps(Some(&caps.parse().unwrap()));
    source.set_max_bytes(0);
    for (i, &ms) in times_ms.iter().enumerate() {
        let next = times_ms.get(i + 1).copied().unwrap_or(ms + 40);
        let yuv = Yuv420::from_frame(&numbered(i, W, H));
        let mut buffer = gst::Buffer::from_slice(yuv.into_data());
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(gst::ClockTime::from_mseconds(ms));
        writable.set_duration(gst::ClockTime::from_mseconds(next - ms));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    run(&pipeline);
}

/// Reads a file to its end.
fn read(path: &Path) -> (SourceInfo, Vec<Picture>, EndReport) {
    let mut reader = VideoReader::open(path).unwrap();
    let mut pictures = Vec::new();
    while let Some(picture) = reader.next_picture().unwrap() {
        pictures.push(picture);
    }
    assert!(reader.next_picture().unwrap().is_none());
    (reader.info().clone(), pictures, reader.end_report())
}

/// Every picture is the one its place says, in upright position.
fn assert_numbered(pictures: &[Picture], tolerance: u8) {
    for (i, picture) in pictures.iter().enumerate() {
        assert_eq!(picture.index, i as u64);
        let (w, h) = (picture.frame.width(), picture.frame.height());
        let low = pixel(&picture.frame, w * 3 / 4, h * 3 / 4);
        assert!(near(low, [grey(i); 3], 3), "frame {i}: {low:?}, not {}", grey(i));
        let high = pixel(&picture.frame, w / 4, h / 4);
        assert!(near(high, [200, 30, 30], tolerance), "frame {i}: {high:?}");
    }
}

fn assert_times(pictures: &[Picture], times_ms: &[u64]) {
    assert_eq!(pictures.len(), times_ms.len());
    for (picture, &ms) in pictures.iter().zip(times_ms) {
        let off = picture.pts.abs_diff(Duration::from_millis(ms));
        assert!(off <= Duration::from_millis(1), "{:?} in place of {ms} ms", picture.pts);
    }
}

fn error_of(path: &Path) -> StreamError {
    VideoReader::open(path).unwrap_err()
}
