use std::path::Path;

use super::{Annotation, ImageError, PixelBox};

/// Which pixels of a mask file are the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreground {
    /// Any value above 0, as the scores of most data sets count it: all objects together where the
    /// mask's values number several.
    AboveZero,
    /// The only object: any value above the middle between the smallest and the largest grey level,
    /// which is right for every mask of two levels, for soft edges and for compression noise. In an
    /// image of one grey level: above the middle of the type's range. A mask whose values or colours
    /// number several objects is an error that lists them.
    #[default]
    AboveMiddle,
    /// Above that middle, whatever the values mean.
    Threshold,
    /// One grey level, or one place in the palette: one of several objects.
    Value(u32),
    /// One colour, 8 bits a channel: one of several objects in an indexed or coloured mask.
    Color([u8; 3]),
}

/// A binary mask: `true` where the object is, row by row from the top left.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    data: Vec<bool>,
}

impl Mask {
    /// Takes `width * height` values.
    ///
    /// # Errors
    /// [`ImageError::Size`] if a side is zero or the number of values does not match.
    pub fn new(width: u32, height: u32, data: Vec<bool>) -> Result<Self, ImageError> {
        if width == 0 || height == 0 || data.len() != width as usize * height as usize {
            return Err(ImageError::Size { width, height, len: data.len() });
        }
        Ok(Self { width, height, data })
    }

    /// Takes values that are known to fit.
    pub(super) fn from_parts(width: u32, height: u32, data: Vec<bool>) -> Self {
        Self { width, height, data }
    }

    /// Reads a mask file: see [`Annotation::open`].
    ///
    /// # Errors
    /// As [`Annotation::open`].
    pub fn open(path: &Path, foreground: Foreground) -> Result<Self, ImageError> {
        Ok(Annotation::open(path, foreground)?.mask())
    }

    /// The colours of a mask file other than black, one an object, in the order of the palette that
    /// DAVIS and Pascal VOC use; grey levels in their own order.
    ///
    /// # Errors
    /// [`ImageError::Read`] with the path if the file is missing or is no image,
    /// [`ImageError::Several`] if it holds more than one.
    pub fn colors(path: &Path) -> Result<Vec<[u8; 3]>, ImageError> {
        let image = super::file::read(path)?.into_image().into_rgb8();
        let mut found: Vec<[u8; 3]> = Vec::new();
        let mut last = [0; 3];
        for pixel in image.pixels() {
            if pixel.0 != last && pixel.0 != [0; 3] && !found.contains(&pixel.0) {
                found.push(pixel.0);
            }
            last = pixel.0;
        }
        found.sort_by_key(|color| palette_index(*color));
        Ok(found)
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, `width * height` of them.
    pub fn data(&self) -> &[bool] {
        &self.data
    }

    /// Number of object pixels.
    pub fn area(&self) -> usize {
        self.data.iter().filter(|&&on| on).count()
    }

    /// The smallest box around the object, `None` if the mask is empty.
    pub fn bounding_box(&self) -> Option<PixelBox> {
        let mut found: Option<PixelBox> = None;
        for (y, row) in (0u32..).zip(self.data.chunks_exact(self.width as usize)) {
            let Some(first) = row.iter().position(|&on| on) else { continue };
            let last = row.iter().rposition(|&on| on).unwrap_or(first);
            let (first, last) = (first as u32, last as u32);
            found = Some(match found {
                None => PixelBox { x0: first, y0: y, x1: last, y1: y },
                Some(b) => PixelBox { x0: b.x0.min(first), x1: b.x1.max(last), y0: b.y0, y1: y },
            });
        }
        found
    }

    /// The mask at another size: each new pixel takes the old pixel under its centre.
    ///
    /// # Errors
    /// [`ImageError::Size`] if a side is zero.
    pub fn resized(&self, width: u32, height: u32) -> Result<Self, ImageError> {
        if width == 0 || height == 0 {
            return Err(ImageError::Size { width, height, len: 0 });
        }
        let pick = |new: u32, new_side: u32, old_side: u32| {
            ((u64::from(new) * 2 + 1) * u64::from(old_side) / (u64::from(new_side) * 2)) as usize
        };
        let mut data = Vec::with_capacity(width as usize * height as usize);
        for y in 0..height {
            let row = pick(y, height, self.height) * self.width as usize;
            data.extend((0..width).map(|x| self.data[row + pick(x, width, self.width)]));
        }
        Self::new(width, height, data)
    }

    /// Writes an 8-bit grey PNG with 255 for the object, whole or not at all.
    ///
    /// # Errors
    /// [`ImageError::Write`] with the path.
    pub fn save_png(&self, path: &Path) -> Result<(), ImageError> {
        let grey: Vec<u8> = self.data.iter().map(|&on| if on { 255 } else { 0 }).collect();
        super::write_png(path, &grey, self.width, self.height, image::ExtendedColorType::L8)
    }
}

/// Place in Pascal VOC's palette: bits 0, 3, 6 of the index are the red value's bits 7, 6, 5, and so
/// on for green and blue.
fn palette_index([red, green, blue]: [u8; 3]) -> u32 {
    if red == green && green == blue && red < 128 {
        return u32::from(red);
    }
    (0..8).fold(0, |index, bit| {
        let of = |value: u8, channel: u32| u32::from(value >> (7 - bit) & 1) << (3 * bit + channel);
        index | of(red, 0) | of(green, 1) | of(blue, 2)
    })
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask {}x{}, {} on", self.width, self.height, self.area())
    }
}
