//! Plain pixels: pictures, masks, the letterbox geometry, drawing and mask files. No tensors.

mod annotation;
mod draw;
mod erode;
mod file;
mod frame;
mod labels;
mod letterbox;
mod levels;
mod mask;
mod pages;
mod patch;
mod planes;
#[cfg(test)]
mod planes_tests;
mod png_file;
#[cfg(test)]
mod properties;
mod resample;
mod resize;
mod rle;
#[cfg(test)]
mod tests;
mod text;
mod tiff_file;
mod yuv;

use std::path::{Path, PathBuf};

use image::{ExtendedColorType, ImageEncoder};

pub use annotation::Annotation;
pub use draw::{
    Canvas, Coverage, OverlayStyle, draw_box, draw_mask, draw_patch, draw_point, fill_box,
};
pub(crate) use file::is_image;
pub use frame::Frame;
pub use labels::{Label, LabelKind, describe_labels, find_labels};
pub use letterbox::{Letterbox, Restore};
pub use levels::Levels;
pub use mask::{Foreground, Mask};
pub(crate) use pages::Pages;
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

/// What can go wrong with images and masks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// A file of several images, of which one is wanted.
    #[error(
        "{} holds {}: give one of them as a file of its own, or as the input the file alone, which is \
         then read image by image",
        path.display(),
        count.map_or("several images".to_owned(), |count| format!("{count} images"))
    )]
    Several {
        /// The file.
        path: PathBuf,
        /// How many, if that is known.
        count: Option<usize>,
    },
    /// A mask whose values or colours number several objects.
    #[error(
        "the mask {} holds more than one object: {found}; say which (`--object VALUE` or `--object \
         '#RRGGBB'`), or take all values above 0 together (`--foreground any`)",
        path.display()
    )]
    Labels {
        /// The file.
        path: PathBuf,
        /// Its values with their pixels, in words.
        found: String,
    },
    /// A mask without the object that was asked for.
    #[error("the mask {} has no {wanted}; it holds {found}", path.display())]
    NoSuchObject {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// Its values with their pixels, in words.
        found: String,
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
