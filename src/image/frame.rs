use std::path::Path;

use super::{ImageError, Levels, file};

/// A picture of 8-bit RGB pixels, row by row from the top left.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Frame {
    /// Takes `width * height * 3` bytes of interleaved RGB.
    ///
    /// # Errors
    /// [`ImageError::Size`] if a side is zero or the number of bytes does not match.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, ImageError> {
        if width == 0 || height == 0 || rgb.len() != width as usize * height as usize * 3 {
            return Err(ImageError::Size { width, height, len: rgb.len() });
        }
        Ok(Self { width, height, rgb })
    }

    /// Takes bytes that are known to fit.
    pub(super) fn from_parts(width: u32, height: u32, rgb: Vec<u8>) -> Self {
        Self { width, height, rgb }
    }

    /// Reads an image file (PNG, JPEG, TIFF, BMP, PNM, WebP, GIF) that holds one image. Alpha is
    /// dropped, grey is repeated in the three channels, and the EXIF orientation is applied. More than
    /// 8 bits are reduced to 8 by what the image holds: see [`Levels`].
    ///
    /// # Errors
    /// [`ImageError::Read`] with the path if the file is missing or is no image,
    /// [`ImageError::Several`] if it holds more than one.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        Ok(Self::open_with_notes(path)?.0)
    }

    /// As [`Frame::open`], and in words what was done to the image that its user should know: levels
    /// that were stretched, an orientation that was applied.
    ///
    /// # Errors
    /// As [`Frame::open`].
    pub fn open_with_notes(path: &Path) -> Result<(Self, Vec<String>), ImageError> {
        let decoded = file::read(path)?;
        let turned = decoded.turned_in_words();
        let image = decoded.into_image();
        let levels = Levels::of(&image);
        let notes = turned.into_iter().chain(levels.words()).collect();
        Ok((levels.frame(image), notes))
    }

    /// As [`Frame::open`], with levels that hold for a whole series; and whether they clip it.
    ///
    /// # Errors
    /// As [`Frame::open`].
    pub(crate) fn open_at(path: &Path, levels: Levels) -> Result<(Self, bool), ImageError> {
        let image = file::read(path)?.into_image();
        let clips = levels.clips(Levels::of(&image));
        // A byte image among deep ones.
        let levels = if Levels::of(&image).is_of_bytes() { Levels::of(&image) } else { levels };
        Ok((levels.frame(image), clips))
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Interleaved RGB bytes, `width * height * 3` of them.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The same bytes, to draw on.
    pub fn rgb_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
    }

    /// The picture as a JPEG file, quality 1 to 100.
    ///
    /// # Errors
    /// [`ImageError::Size`] if the picture is too large for the format.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, ImageError> {
        let (width, height) = (self.width, self.height);
        let mut file = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, quality);
        image::ImageEncoder::write_image(
            encoder,
            &self.rgb,
            width,
            height,
            image::ExtendedColorType::Rgb8,
        )
        .map_err(|_| ImageError::Size { width, height, len: self.rgb.len() })?;
        Ok(file)
    }

    /// The picture at another size, as Pillow's antialiased bilinear filter makes it.
    ///
    /// # Errors
    /// [`ImageError::Size`] if a side is zero.
    pub fn resized(&self, width: u32, height: u32) -> Result<Self, ImageError> {
        if width == 0 || height == 0 {
            return Err(ImageError::Size { width, height, len: 0 });
        }
        Self::new(width, height, super::resize_rgb(self, width, height))
    }

    /// Writes a PNG, whole or not at all.
    ///
    /// # Errors
    /// [`ImageError::Write`] with the path.
    pub fn save_png(&self, path: &Path) -> Result<(), ImageError> {
        super::write_png(path, &self.rgb, self.width, self.height, image::ExtendedColorType::Rgb8)
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame {}x{}", self.width, self.height)
    }
}
