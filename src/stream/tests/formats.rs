//! Every raw format that GStreamer knows, through the converter.

use std::sync::Arc;

use gstreamer_video as gst_video;
use image::metadata::Orientation;

use super::*;
use crate::stream::convert::{Converter, Decoded, Plan, own_color};
use crate::stream::samples::{are_yuv420, is_luma_whole};

const WIDTH: u32 = 32;
const HEIGHT: u32 = 16;

/// Formats that GStreamer's converter makes; the others stand for coded or device memory.
fn formats() -> Vec<gst_video::VideoFormat> {
    init().unwrap();
    let known = gst_video::VideoFormat::iter_raw();
    known.filter(|format| gst_video::VideoFormatInfo::from_format(*format).n_planes() > 0).collect()
}

/// A frame of a format, made from RGB by GStreamer.
fn made(format: gst_video::VideoFormat, rgb: &[u8]) -> Option<(gst_video::VideoInfo, gst::Buffer)> {
    let from = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, WIDTH, HEIGHT);
    let from = from.stride(&[WIDTH as i32 * 3]).build().unwrap();
    let to = gst_video::VideoInfo::builder(format, WIDTH, HEIGHT).build().ok()?;
    let converter = gst_video::VideoConverter::new(&from, &to, None).ok()?;
    let source = gst::Buffer::from_slice(rgb.to_vec());
    let source = gst_video::VideoFrame::from_buffer_readable(source, &from).unwrap();
    let memory = gst::Buffer::from_mut_slice(vec![0u8; to.size()]);
    let mut output = gst_video::VideoFrame::from_buffer_writable(memory, &to).unwrap();
    converter.frame(&source, &mut output);
    Some((to, output.into_buffer()))
}

fn decoded(info: &gst_video::VideoInfo, buffer: gst::Buffer, has_fields: bool) -> Decoded {
    let plan = Plan { color: own_color(info), orientation: Orientation::NoTransforms, has_fields };
    let converter = Converter::new(Path::new("made"), info.clone(), plan).unwrap();
    Decoded::new(buffer, Arc::new(converter))
}

#[test]
fn every_format_keeps_its_colours_in_rgb_and_in_yuv() {
    let colors = [[20, 20, 20], [120, 120, 120], [230, 230, 230], [180, 40, 40], [40, 90, 170]];
    let mut seen = 0;
    for format in formats() {
        for color in colors {
            let pixels = color.repeat((WIDTH * HEIGHT) as usize);
            let Some((info, buffer)) = made(format, &pixels) else { continue };
            seen += 1;
            let decoded = decoded(&info, buffer, false);
            let frame = decoded.frame(0).unwrap();
            let yuv = decoded.yuv420(0).unwrap().unwrap();
            let expected = match info.is_gray() {
                true => {
                    let [r, g, b] = color.map(f64::from);
                    [(0.299 * r + 0.587 * g + 0.114 * b).round() as u8; 3]
                }
                false => color,
            };
            // Palettes and 5 bits a channel are coarse.
            let tolerance = match info.format_info().bits() {
                _ if info.format_info().has_palette() => 48,
                _ if info.is_rgb() && info.format_info().depth()[0] < 8 => 12,
                _ => 5,
            };
            for frame in [frame, yuv.to_frame()] {
                let found = pixel(&frame, 9, 7);
                assert!(
                    near(found, expected, tolerance),
                    "{format:?}: {found:?}, not {expected:?}"
                );
            }
        }
    }
    assert!(seen > 400, "{seen}");
}

#[test]
fn luma_is_untouched_in_every_yuv_format_with_fields_or_without() {
    // Rows of two fields that differ, and columns that do.
    let level =
        |x: u32, y: u32| if y.is_multiple_of(2) { 40 + (x * 5) as u8 } else { 235 - (x * 4) as u8 };
    let places = || (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
    let rgb: Vec<u8> = places().flat_map(|(x, y)| [level(x, y); 3]).collect();
    let (mut seen, mut copied) = (0, 0);
    for format in formats() {
        let known = gst_video::VideoFormatInfo::from_format(format);
        if !known.is_yuv() || !is_luma_whole(&known) {
            continue;
        }
        let Some((info, buffer)) = made(format, &rgb) else { continue };
        seen += 1;
        let own = |buffer: &gst::BufferRef| -> Vec<u8> {
            let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).unwrap();
            let luma = crate::stream::samples::component(&mapped, 0, false);
            luma.unwrap_or_else(|error| panic!("{format:?}: {error}"))
        };
        let luma = own(&buffer);
        for has_fields in [false, true] {
            let decoded = decoded(&info, buffer.clone(), has_fields);
            let yuv = decoded.yuv420(0).unwrap().unwrap();
            assert_eq!(yuv.planes()[0], luma, "{format:?} {has_fields}");
            // What the model sees has the same rows.
            let frame = decoded.frame(0).unwrap();
            for (x, y) in places() {
                let (found, expected) = (pixel(&frame, x, y)[1], level(x, y));
                assert!(found.abs_diff(expected) < 6, "{format:?} {has_fields} {x},{y}: {found}");
            }
        }
        if are_yuv420(&known) {
            copied += 1;
            let mapped =
                gst_video::VideoFrameRef::from_buffer_ref_readable(&buffer, &info).unwrap();
            let yuv = decoded(&info, buffer.clone(), true).yuv420(0).unwrap().unwrap();
            let [_, cb, cr] = yuv.planes();
            assert_eq!(cb, crate::stream::samples::component(&mapped, 1, false).unwrap());
            assert_eq!(cr, crate::stream::samples::component(&mapped, 2, false).unwrap());
        }
    }
    assert!(seen >= 30 && copied >= 5, "{seen} {copied}");
}

#[test]
fn colours_that_nobody_tells_are_the_usual_ones() {
    init().unwrap();
    for (width, height, matrix) in
        [(640, 480, ColorMatrix::Bt601), (3840, 2160, ColorMatrix::Bt709)]
    {
        let caps = format!("video/x-raw,format=I420,width={width},height={height}");
        let info = gst_video::VideoInfo::from_caps(&caps.parse::<gst::Caps>().unwrap()).unwrap();
        let settled = |told| {
            let info = crate::stream::convert::settled(info.clone(), told, None).unwrap();
            own_color(&info)
        };
        println!("{width}x{height}: {:?}", info.colorimetry());
        assert_eq!(settled(None), Color { matrix, range: ColorRange::Limited });
        // What the container tells counts where the stream tells nothing.
        assert_eq!(settled(Some("1:4:0:0")).range, ColorRange::Full);
        // What it leaves out is as usual.
        assert_eq!(settled(Some("1:0:0:0")), Color { matrix, range: ColorRange::Full });
    }
}
