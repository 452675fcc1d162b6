//! TIFF by its own crate: every page, and samples of any depth.

use std::fmt::Display;
use std::io::{BufRead, Seek};

use image::DynamicImage;
use image::metadata::Orientation;
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::file::{Decoded, MOST_PIXELS, check_size};
use super::png_file::{buffer, unpacked};

/// Bits of the tag `NewSubfileType`: an image of lower resolution, and a mask of transparency.
const NO_PAGE: u32 = 0b101;
/// Most pages of a file.
const MOST_PAGES: usize = 1_000_000;
/// Bytes of a sample, at most.
const WIDEST: u64 = 8;
/// What to do with a TIFF that is not read.
const INSTEAD: &str = "save it as PNG, or as TIFF of 8 or 16 bits, grey or RGB";

/// A TIFF file with its pages.
pub(crate) struct TiffFile<R: BufRead + Seek> {
    /// Taken out only to set its limits.
    decoder: Option<Decoder<R>>,
    /// Places of the pages among the file's images.
    pages: Vec<usize>,
}

fn words(error: impl Display) -> String {
    error.to_string()
}

impl<R: BufRead + Seek> TiffFile<R> {
    /// Finds the pages. Smaller copies and masks of transparency are none.
    pub fn open(reader: R) -> Result<Self, String> {
        let mut decoder = Decoder::new(reader).map_err(words)?;
        let mut pages = Vec::new();
        for place in 0..MOST_PAGES {
            let kind = decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType).map_err(words)?;
            if kind.unwrap_or(0) & NO_PAGE == 0 {
                pages.push(place);
            }
            if !decoder.more_images() {
                break;
            }
            let broken = |e| format!("its page {} cannot be read: {e}", place + 1);
            decoder.next_image().map_err(broken)?;
        }
        match pages.is_empty() {
            true => Err("it holds no page but smaller copies".into()),
            false => Ok(Self { decoder: Some(decoder), pages }),
        }
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The pixels of a page, from 0.
    pub fn page(&mut self, page: usize) -> Result<Decoded, String> {
        let place = self.pages.get(page).ok_or_else(|| format!("it has no page {page}"))?;
        let mut decoder = self.decoder.take().ok_or("it could not be read before")?;
        decoder.seek_to_image(*place).map_err(words)?;
        let (width, height) = decoder.dimensions().map_err(words)?;
        check_size(width, height)?;
        let color = decoder.colortype().map_err(|e| format!("{e}; {INSTEAD}"))?;
        let layout = decoder.image_buffer_layout().map_err(words)?;
        let mut limits = Limits::default();
        limits.decoding_buffer_size = layout.complete_len.min((MOST_PIXELS * WIDEST) as usize);
        limits.intermediate_buffer_size =
            limits.decoding_buffer_size.saturating_mul(2).max(1 << 20);
        let decoder = self.decoder.insert(decoder.with_limits(limits));
        let mut data = DecodingResult::U8(Vec::new());
        decoder.read_image_to_buffer(&mut data).map_err(words)?;
        if data.as_buffer(0).as_bytes().len() < layout.complete_len {
            return Err("its planes are too large".into());
        }
        let row = layout.row_stride.map_or(0, |bytes| bytes.get());
        let planes = layout.planes;
        let image = image(width, height, color, data, row, planes)
            .ok_or_else(|| format!("a TIFF of {color:?} is not read; {INSTEAD}"))?;
        let turn = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
        let turn = turn.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
        Ok(Decoded::plain(image).turned(turn))
    }
}

/// The samples as an image; those of more than 16 bits, with a sign or a point as numbers of 32 bits.
fn image(
    width: u32,
    height: u32,
    color: ColorType,
    data: DecodingResult,
    row: usize,
    planes: usize,
) -> Option<DynamicImage> {
    let channels = match color {
        ColorType::Gray(_) => 1,
        ColorType::GrayA(_) | ColorType::Multiband { num_samples: 2, .. } => 2,
        ColorType::RGB(_) => 3,
        ColorType::RGBA(_) | ColorType::CMYK(_) => 4,
        _ => return None,
    };
    let bits = color.bit_depth();
    if !matches!(bits, 1 | 2 | 4 | 8 | 16 | 32 | 64) || (bits < 8 && channels > 1) {
        return None;
    }
    let is_cmyk = matches!(color, ColorType::CMYK(_));
    match data {
        DecodingResult::U8(data) if bits < 8 => {
            let most = ((1u32 << bits) - 1) as u8;
            let values = unpacked(&data, width, row, usize::from(bits));
            let spread = values.into_iter().map(|value| value * (255 / most)).collect();
            buffer(width, height, spread).map(DynamicImage::ImageLuma8)
        }
        DecodingResult::U8(data) => {
            let data = interleaved(data, channels, planes);
            match channels {
                1 => buffer(width, height, data).map(DynamicImage::ImageLuma8),
                2 => buffer(width, height, data).map(DynamicImage::ImageLumaA8),
                3 => buffer(width, height, data).map(DynamicImage::ImageRgb8),
                _ if is_cmyk => buffer(width, height, inks(&data)).map(DynamicImage::ImageRgb8),
                _ => buffer(width, height, data).map(DynamicImage::ImageRgba8),
            }
        }
        DecodingResult::U16(data) => {
            let data = interleaved(data, channels, planes);
            match channels {
                1 => buffer(width, height, data).map(DynamicImage::ImageLuma16),
                2 => buffer(width, height, data).map(DynamicImage::ImageLumaA16),
                3 => buffer(width, height, data).map(DynamicImage::ImageRgb16),
                _ if is_cmyk => None,
                _ => buffer(width, height, data).map(DynamicImage::ImageRgba16),
            }
        }
        _ if is_cmyk => None,
        DecodingResult::U32(data) => wide(width, height, data, channels, planes),
        DecodingResult::I8(data) => wide(width, height, data, channels, planes),
        DecodingResult::I16(data) => wide(width, height, data, channels, planes),
        DecodingResult::I32(data) => wide(width, height, data, channels, planes),
        DecodingResult::F16(data) => {
            let data: Vec<f32> = data.into_iter().map(f32::from).collect();
            wide(width, height, data, channels, planes)
        }
        DecodingResult::F32(data) => wide(width, height, data, channels, planes),
        DecodingResult::F64(data) => wide(width, height, data, channels, planes),
        DecodingResult::U64(data) => wide(width, height, data, channels, planes),
        DecodingResult::I64(data) => wide(width, height, data, channels, planes),
    }
}

/// Samples as numbers of 32 bits; grey is repeated in three channels.
fn wide<T: Wide>(
    width: u32,
    height: u32,
    data: Vec<T>,
    channels: usize,
    planes: usize,
) -> Option<DynamicImage> {
    let data: Vec<f32> = interleaved(data, channels, planes).into_iter().map(T::wide).collect();
    match channels {
        1 => {
            let rgb = data.into_iter().flat_map(|value| [value; 3]).collect();
            buffer(width, height, rgb).map(DynamicImage::ImageRgb32F)
        }
        2 => {
            let (pairs, _) = data.as_chunks::<2>();
            let rgba = pairs.iter().flat_map(|[v, a]| [*v, *v, *v, *a]).collect();
            buffer(width, height, rgba).map(DynamicImage::ImageRgba32F)
        }
        3 => buffer(width, height, data).map(DynamicImage::ImageRgb32F),
        _ => buffer(width, height, data).map(DynamicImage::ImageRgba32F),
    }
}

/// What becomes a number of 32 bits, near enough.
trait Wide: Copy {
    fn wide(self) -> f32;
}

macro_rules! wide {
    ($($kind:ty),*) => {$(
        impl Wide for $kind {
            fn wide(self) -> f32 {
                self as f32
            }
        }
    )*};
}

wide!(u32, u64, i8, i16, i32, i64, f32, f64);

/// Samples of one pixel beside each other, where each channel had a plane of its own.
fn interleaved<T: Copy>(data: Vec<T>, channels: usize, planes: usize) -> Vec<T> {
    if planes != channels || planes < 2 {
        return data;
    }
    let pixels = data.len() / channels;
    (0..pixels)
        .flat_map(|at| (0..channels).map(move |c| (at, c)))
        .map(|(at, c)| data[c * pixels + at])
        .collect()
}

/// Cyan, magenta, yellow and black as red, green and blue.
fn inks(data: &[u8]) -> Vec<u8> {
    let (pixels, _) = data.as_chunks::<4>();
    let light = |ink: u8, black: u8| (u32::from(255 - ink) * u32::from(255 - black) / 255) as u8;
    pixels.iter().flat_map(|[c, m, y, k]| [*c, *m, *y].map(|ink| light(ink, *k))).collect()
}
