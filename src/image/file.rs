//! One image of a file, decoded within limits whatever the file declares.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use image::codecs::{gif::GifDecoder, pnm::PnmDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::tiff_file::TiffFile;
use super::{ImageError, png_file};

/// Most pixels of an image, 128 Mi: four frames of 8K. An image of 8 bits and three channels then
/// takes 384 MiB.
pub const MOST_PIXELS: u64 = 1 << 27;
/// Decoders may take this many times the image's own bytes.
const GROWTH: u64 = 4;
/// Bytes that a decoder may take besides for an image however small.
const LEAST: u64 = 1 << 20;
/// Most bytes of a JPEG file, which is read whole.
const LARGEST_JPEG: u64 = 512 << 20;

/// A decoded image, upright.
pub(super) struct Decoded {
    /// The pixels, or the places in the palette (`ImageLuma8`).
    pub image: DynamicImage,
    /// Colours and opacity by place.
    pub palette: Option<Vec<[u8; 4]>>,
    /// How the stored image was turned to be upright.
    pub orientation: Orientation,
}

impl Decoded {
    pub(super) fn plain(image: DynamicImage) -> Self {
        Self { image, palette: None, orientation: Orientation::NoTransforms }
    }

    /// Turns the pixels as the file says.
    pub(super) fn turned(mut self, orientation: Orientation) -> Self {
        self.image.apply_orientation(orientation);
        Self { orientation, ..self }
    }

    /// That the stored image is not upright, if so, in words.
    pub fn turned_in_words(&self) -> Option<String> {
        let how = match self.orientation {
            Orientation::NoTransforms => return None,
            Orientation::Rotate180 => "upside down",
            Orientation::FlipHorizontal | Orientation::FlipVertical => "mirrored",
            _ => "turned by a quarter",
        };
        Some(format!(
            "it is stored {how}, as its EXIF orientation ({}) says, and was put upright; masks, points \
             and boxes must be those of the upright image",
            self.orientation.to_exif()
        ))
    }

    /// The pixels in their colours. Places beyond the palette are black.
    pub fn into_image(self) -> DynamicImage {
        let Some(palette) = self.palette else { return self.image };
        let places = self.image.into_luma8();
        let (width, height) = places.dimensions();
        let color =
            |place: &u8| palette.get(usize::from(*place)).copied().unwrap_or([0, 0, 0, 255]);
        let pixels = places.as_raw().iter().flat_map(|place| color(place)[..3].to_vec()).collect();
        image::RgbImage::from_raw(width, height, pixels)
            .map_or_else(DynamicImage::default, DynamicImage::ImageRgb8)
    }
}

/// Whether an image of this size may be decoded.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), String> {
    match u64::from(width) * u64::from(height) {
        0 => Err(format!("it declares {width} x {height} pixels")),
        pixels if pixels > MOST_PIXELS => Err(format!(
            "it declares {width} x {height} pixels, more than {MOST_PIXELS}; scale it down or cut \
             it"
        )),
        _ => Ok(()),
    }
}

/// Reads the only image of a file, and turns it as its EXIF orientation says.
pub(super) fn read(path: &Path) -> Result<Decoded, ImageError> {
    let fail = |reason: String| ImageError::Read { path: path.to_path_buf(), reason };
    let reader = open(path).map_err(fail)?;
    match reader.format() {
        Some(format) => decode(reader.into_inner(), format, length(path)).map_err(|e| match e {
            Fault::Several(count) => ImageError::Several { path: path.to_path_buf(), count },
            Fault::Unreadable(reason) => fail(reason),
        }),
        None => Err(fail("it is in no format that is known here".into())),
    }
}

/// A file and its format, by its first bytes.
pub(super) fn open(path: &Path) -> Result<ImageReader<BufReader<File>>, String> {
    let reader = ImageReader::open(path).map_err(|e| e.to_string())?;
    reader.with_guessed_format().map_err(|e| e.to_string())
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |data| data.len())
}

/// Why there is no image.
pub(super) enum Fault {
    /// There are so many, or at least two if it is not known how many.
    Several(Option<usize>),
    Unreadable(String),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Unreadable(reason)
    }
}

impl From<image::ImageError> for Fault {
    fn from(error: image::ImageError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

fn decode<R: BufRead + Seek>(
    mut reader: R,
    format: ImageFormat,
    length: u64,
) -> Result<Decoded, Fault> {
    match format {
        ImageFormat::Png => png_file::decode(reader, length),
        ImageFormat::Tiff => {
            let mut file = TiffFile::open(reader)?;
            match file.pages() {
                1 => Ok(file.page(0)?),
                pages => Err(Fault::Several(Some(pages))),
            }
        }
        ImageFormat::Gif => {
            let image = within(GifDecoder::new(&mut reader)?)?;
            reader.rewind().map_err(|e| e.to_string())?;
            match GifDecoder::new(reader)?.into_frames().take(2).count() {
                2 => Err(Fault::Several(None)),
                _ => Ok(image),
            }
        }
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(reader)?;
            match decoder.has_animation() {
                true => Err(Fault::Several(None)),
                false => Ok(within(decoder)?),
            }
        }
        ImageFormat::Pnm => {
            let image = within(PnmDecoder::new(&mut reader)?)?;
            // Images may lie one behind the other, each with its own head.
            match reader.fill_buf() {
                Ok([b'P', b'1'..=b'7', ..]) => Err(Fault::Several(None)),
                _ => Ok(image),
            }
        }
        ImageFormat::Jpeg if length > LARGEST_JPEG => {
            Err(format!("a JPEG file of {length} bytes, more than {LARGEST_JPEG}").into())
        }
        format => Ok(within(ImageReader::with_format(reader, format).into_decoder()?)?),
    }
}

/// Decodes as much as the declared size allows.
fn within(mut decoder: impl ImageDecoder) -> Result<Decoded, Fault> {
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(decoder.total_bytes().saturating_mul(GROWTH).max(LEAST));
    decoder.set_limits(limits)?;
    let orientation = decoder.orientation()?;
    Ok(Decoded::plain(DynamicImage::from_decoder(decoder)?).turned(orientation))
}

/// Whether the file begins as PNG, TIFF, GIF or WebP do, whatever its name. A pipe is left alone: to
/// open it is to wait for its writer.
pub(crate) fn is_image(path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let mut head = [0; 12];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    let known = [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Gif, ImageFormat::WebP];
    read.is_ok() && image::guess_format(&head).is_ok_and(|format| known.contains(&format))
}
