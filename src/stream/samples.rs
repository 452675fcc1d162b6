//! The decoder's own samples of a frame, where they lie plainly in memory.

use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;

/// A decoded frame in memory.
pub(super) type Mapped<'a> = gst_video::VideoFrameRef<&'a gst::BufferRef>;

/// Whether each sample of a format has bytes of its own: one, or two of which some bits count.
pub(super) fn are_plain(format: &gst_video::VideoFormatInfo) -> bool {
    let plain = !format.is_complex() && !format.is_tiled() && !format.has_palette();
    // GStreamer 1.22 does not call IYU1 complex, whose samples lie at no equal steps.
    plain
        && matches!(format.bits(), 8 | 16)
        && format.depth().iter().all(|d| *d <= format.bits())
        && format.pixel_stride().iter().all(|step| *step > 0)
}

/// Whether a format holds 8 bits in 4:2:0 as I420 does, in whatever order.
pub(super) fn are_yuv420(format: &gst_video::VideoFormatInfo) -> bool {
    let halved = |sub: &[u32]| matches!(sub, [0, 1, 1, ..]);
    are_plain(format)
        && format.is_yuv()
        && matches!(format.depth(), [8, 8, 8, ..])
        && halved(format.w_sub())
        && halved(format.h_sub())
}

/// Whether luma has a sample for each pixel. Of more than 8 bits only planes of its own count: GStreamer
/// 1.22 tells wrong places for packed ones.
pub(super) fn is_luma_whole(format: &gst_video::VideoFormatInfo) -> bool {
    let is_plane = format.pixel_stride().first() == Some(&2);
    are_plain(format)
        && (format.is_yuv() || format.is_gray())
        && (format.bits() == 8 || is_plane)
        && format.w_sub().first() == Some(&0)
        && format.h_sub().first() == Some(&0)
}

/// A component in 8 bits, row by row without gaps: bytes as they are, more bits rounded. `is_full`
/// tells whether the largest value is white.
pub(super) fn component(
    frame: &Mapped<'_>,
    component: u32,
    is_full: bool,
) -> Result<Vec<u8>, String> {
    let format = frame.format_info();
    let place = component as usize;
    let data = frame.comp_data(component).map_err(|e| e.to_string())?;
    let (width, height) = (frame.comp_width(component), frame.comp_height(component));
    let stride = usize::try_from(frame.comp_stride(component));
    let step = usize::try_from(frame.comp_pstride(component));
    let (Ok(stride), Ok(step)) = (stride, step) else {
        return Err("its rows run backwards".into());
    };
    let (width, height) = (width as usize, height as usize);
    let (depth, shift) = (format.depth()[place], format.shift()[place]);
    let size = if format.bits() == 8 { 1 } else { 2 };
    let needed = stride * height.saturating_sub(1) + step * width.saturating_sub(1) + size;
    if height == 0 || width == 0 || step < size || data.len() < needed {
        return Err("the decoded buffer is too short".into());
    }
    let mut out = Vec::with_capacity(width * height);
    let most = (1u32 << depth) - 1;
    let reduce = |value: u32| {
        let value = value >> shift & most;
        match is_full {
            true => (value * 255 + most / 2) / most,
            false if depth > 8 => (value + (1 << (depth - 9))) >> (depth - 8),
            false => value,
        }
        .min(255) as u8
    };
    let is_le = format.is_le();
    for y in 0..height {
        let row = &data[y * stride..];
        match (size, step, depth) {
            (1, 1, 8) => out.extend_from_slice(&row[..width]),
            (1, _, 8) => out.extend((0..width).map(|x| row[x * step])),
            (1, ..) => out.extend((0..width).map(|x| reduce(u32::from(row[x * step])))),
            _ => out.extend((0..width).map(|x| {
                let bytes = [row[x * step], row[x * step + 1]];
                let word =
                    if is_le { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
                reduce(u32::from(word))
            })),
        }
    }
    Ok(out)
}
