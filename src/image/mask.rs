use std::path::Path;

use super::{ImageError, PixelBox};

/// Which pixels of a mask picture are the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreground {
    /// Any value above 0, as most data sets store their masks.
    #[default]
    AboveZero,
    /// Any value above the middle between the smallest and the largest grey level, for masks with
    /// soft edges or compression noise. In a picture of one grey level: above the middle of the
    /// type's range.
    AboveMiddle,
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

    /// Reads a mask picture. Of a colour picture the largest channel counts; alpha is ignored.
    ///
    /// # Errors
    /// [`ImageError::Read`] with the path if the file is missing or is no picture.
    pub fn open(path: &Path, foreground: Foreground) -> Result<Self, ImageError> {
        let picture = super::read(path)?.into_rgb16();
        let (width, height) = picture.dimensions();
        let grey: Vec<u16> = picture.pixels().map(|p| p.0[0].max(p.0[1]).max(p.0[2])).collect();
        let threshold = match foreground {
            Foreground::AboveZero => 0,
            Foreground::AboveMiddle => {
                let low = grey.iter().copied().min().unwrap_or(0);
                let high = grey.iter().copied().max().unwrap_or(0);
                if low == high { u16::MAX / 2 } else { low + (high - low) / 2 }
            }
        };
        Self::new(width, height, grey.into_iter().map(|v| v > threshold).collect())
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

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask {}x{}, {} on", self.width, self.height, self.area())
    }
}
