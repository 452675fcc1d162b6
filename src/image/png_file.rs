//! PNG by its own crate: places in the palette, and nothing inflated but the pixels.

use std::io::{BufRead, Seek};

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer};
use png::{BitDepth, ColorType, DecodeOptions, Transformations};

use super::file::{Decoded, Fault, check_size};

/// Most bytes that the decoder takes for what it inflates besides the image.
const SIDE_BYTES: usize = 8 << 20;
/// Deflate packs no more bytes into one.
const DENSEST: u64 = 1032;

/// Width and height as the head of a file tells them; `None` if it is no PNG.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let head = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(4..16)?.strip_prefix(b"IHDR")?;
    let (sides, _) = head.as_chunks::<4>();
    Some((u32::from_be_bytes(*sides.first()?), u32::from_be_bytes(*sides.get(1)?)))
}

/// Reads the image of a file of so many bytes.
pub(super) fn decode<R: BufRead + Seek>(reader: R, length: u64) -> Result<Decoded, Fault> {
    let wrong = |e: png::DecodingError| Fault::Unreadable(e.to_string());
    let mut options = DecodeOptions::default();
    // Text and profiles are of no use here, and may be packed a thousandfold.
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = png::Decoder::new_with_options(reader, options);
    decoder.set_limits(png::Limits { bytes: SIDE_BYTES });
    let header = decoder.read_header_info().map_err(wrong)?;
    let (width, height, indexed) =
        (header.width, header.height, header.color_type == ColorType::Indexed);
    check_size(width, height)?;
    let packed = header.raw_row_length_from_width(width) as u64 * u64::from(height);
    if length.saturating_mul(DENSEST) < packed {
        return Err(format!("it declares {width} x {height} pixels, too many for its size").into());
    }
    decoder.set_transformations(match indexed {
        true => Transformations::IDENTITY,
        false => Transformations::EXPAND,
    });
    let mut reader = decoder.read_info().map_err(wrong)?;
    if let Some(frames) = reader.info().animation_control().map(|a| a.num_frames as usize)
        && frames > 1
    {
        return Err(Fault::Several(Some(frames)));
    }
    let bytes = reader.output_buffer_size().ok_or_else(|| "it is too large".to_owned())?;
    let mut data = vec![0; bytes];
    let info = reader.next_frame(&mut data).map_err(wrong)?;
    let header = reader.info();
    let orientation = header.exif_metadata.as_deref().and_then(Orientation::from_exif_chunk);
    let palette = indexed.then(|| palette(header));

    let image = match (info.color_type, info.bit_depth) {
        (ColorType::Indexed, depth) => {
            let places = unpacked(&data, width, info.line_size, depth as usize);
            buffer(width, height, places).map(DynamicImage::ImageLuma8)
        }
        (ColorType::Grayscale, BitDepth::Eight) => {
            buffer(width, height, data).map(DynamicImage::ImageLuma8)
        }
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => {
            buffer(width, height, data).map(DynamicImage::ImageLumaA8)
        }
        (ColorType::Rgb, BitDepth::Eight) => {
            buffer(width, height, data).map(DynamicImage::ImageRgb8)
        }
        (ColorType::Rgba, BitDepth::Eight) => {
            buffer(width, height, data).map(DynamicImage::ImageRgba8)
        }
        (ColorType::Grayscale, _) => {
            buffer(width, height, words(&data)).map(DynamicImage::ImageLuma16)
        }
        (ColorType::GrayscaleAlpha, _) => {
            buffer(width, height, words(&data)).map(DynamicImage::ImageLumaA16)
        }
        (ColorType::Rgb, _) => buffer(width, height, words(&data)).map(DynamicImage::ImageRgb16),
        (ColorType::Rgba, _) => buffer(width, height, words(&data)).map(DynamicImage::ImageRgba16),
    };
    let image = image.ok_or_else(|| "its pixels do not fill it".to_owned())?;
    let decoded = Decoded { palette, ..Decoded::plain(image) };
    Ok(decoded.turned(orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Colours and opacity by place.
fn palette(info: &png::Info<'_>) -> Vec<[u8; 4]> {
    let colors = info.palette.as_deref().unwrap_or_default();
    let opacity = info.trns.as_deref().unwrap_or_default();
    let (colors, _) = colors.as_chunks::<3>();
    let alpha = |place: usize| opacity.get(place).copied().unwrap_or(255);
    colors.iter().enumerate().map(|(i, [r, g, b])| [*r, *g, *b, alpha(i)]).collect()
}

/// Values of 1, 2, 4 or 8 bits, rows of whole bytes, as a byte each.
pub(super) fn unpacked(data: &[u8], width: u32, row_bytes: usize, bits: usize) -> Vec<u8> {
    if bits >= 8 {
        return data.to_vec();
    }
    let per_byte = 8 / bits.max(1);
    let value = |row: &[u8], x: usize| {
        let shift = 8 - bits * (x % per_byte + 1);
        row[x / per_byte] >> shift & ((1 << bits) - 1) as u8
    };
    let rows = data.chunks_exact(row_bytes.max(1));
    rows.flat_map(|row| (0..width as usize).map(move |x| value(row, x))).collect()
}

/// Words of two bytes, the upper one first.
fn words(data: &[u8]) -> Vec<u16> {
    data.as_chunks::<2>().0.iter().map(|word| u16::from_be_bytes(*word)).collect()
}

pub(super) fn buffer<P: image::Pixel>(
    width: u32,
    height: u32,
    data: Vec<P::Subpixel>,
) -> Option<ImageBuffer<P, Vec<P::Subpixel>>> {
    ImageBuffer::from_raw(width, height, data)
}
