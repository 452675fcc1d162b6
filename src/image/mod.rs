//! Plain pixels: pictures, masks, the letterbox geometry, drawing and mask files. No tensors.

mod draw;
mod erode;
mod frame;
mod letterbox;
mod mask;
mod patch;
mod planes;
#[cfg(test)]
mod planes_tests;
#[cfg(test)]
mod properties;
mod resample;
mod resize;
mod rle;
#[cfg(test)]
mod tests;
mod text;
mod yuv;

use std::path::{Path, PathBuf};

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageReader};

pub use draw::{
    Canvas, Coverage, OverlayStyle, draw_box, draw_mask, draw_patch, draw_point, fill_box,
};
pub use frame::Frame;
pub use letterbox::{Letterbox, Restore};
pub use mask::{Annotation, Foreground, Mask};
pub use patch::MaskPatch;
pub use planes::{PlaneLayout, Planes, PlanesInfo, PlanesMut};
pub use resample::resize_bilinear;
pub use resize::resize_rgb;
pub use rle::CocoRle;
pub use text::{GLYPH_HEIGHT, draw_text, text_width};
#[cfg(feature = "gstreamer")]
pub(crate) use yuv::plane_sizes;
pub use yuv::{Color, ColorMatrix, ColorRange, Yuv420};

/// A box in pixels; both corners belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PixelBox {
    /// Left column.
    pub x0: u32,
    /// Top row.
    pub y0: u32,
    /// Right column, inclusive.
    pub x1: u32,
    /// Bottom row, inclusive.
    pub y1: u32,
}

/// What can go wrong with pictures and masks.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Zero sides, or data of another length than the size says.
    #[error("a picture of {width} x {height} pixels cannot be made of {len} values")]
    Size {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
        /// Number of values given.
        len: usize,
    },
    /// A file could not be read as a picture.
    #[error("cannot read the picture {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the decoder or the system said.
        reason: String,
    },
    /// Bytes that are no usable mask.
    #[error("the mask cannot be used: {reason}")]
    Bytes {
        /// What is wrong with them.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the encoder or the system said.
        reason: String,
    },
}

/// Decodes a picture file and turns it as its EXIF orientation says.
fn read(path: &Path) -> Result<DynamicImage, ImageError> {
    let fail = |reason: String| ImageError::Read { path: path.to_path_buf(), reason };
    let reader = ImageReader::open(path)
        .map_err(|e| fail(e.to_string()))?
        .with_guessed_format()
        .map_err(|e| fail(e.to_string()))?;
    let mut decoder = reader.into_decoder().map_err(|e| fail(e.to_string()))?;
    let orientation = decoder.orientation().map_err(|e| fail(e.to_string()))?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| fail(e.to_string()))?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// Encodes a PNG beside its final name and renames it.
fn write_png(
    path: &Path,
    data: &[u8],
    width: u32,
    height: u32,
    color: ExtendedColorType,
) -> Result<(), ImageError> {
    let fail = |reason: String| ImageError::Write { path: path.to_path_buf(), reason };
    crate::atomic::write(path, |file| {
        image::codecs::png::PngEncoder::new(file)
            .write_image(data, width, height, color)
            .map_err(std::io::Error::other)
    })
    .map_err(|e| fail(e.to_string()))
}
