use std::path::Path;

use super::{ImageError, PixelBox};

/// Which pixels of a mask picture are the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreground {
    /// Any value above 0, as the scores of most data sets count it. Needed where a mask's values
    /// number several objects.
    AboveZero,
    /// Any value above the middle between the smallest and the largest grey level: right for every
    /// mask of two levels, for soft edges and for compression noise. In a picture of one grey
    /// level: above the middle of the type's range.
    #[default]
    AboveMiddle,
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

    /// Reads a mask picture. Of a colour picture the largest channel counts; alpha is ignored.
    ///
    /// # Errors
    /// [`ImageError::Read`] with the path if the file is missing or is no picture.
    pub fn open(path: &Path, foreground: Foreground) -> Result<Self, ImageError> {
        Ok(Annotation::open(path, foreground)?.mask())
    }

    /// The colours of a mask picture other than black, one an object, in the order of the palette
    /// that DAVIS and Pascal VOC use; grey levels in their own order.
    ///
    /// # Errors
    /// [`ImageError::Read`] with the path if the file is missing or is no picture.
    pub fn colors(path: &Path) -> Result<Vec<[u8; 3]>, ImageError> {
        let picture = super::read(path)?.into_rgb8();
        let mut found: Vec<[u8; 3]> = Vec::new();
        let mut last = [0; 3];
        for pixel in picture.pixels() {
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

/// The annotation of a reference picture: a mask that may have soft edges, as grey levels of which
/// those above 127 are the object. The published method resizes the levels, not the object's
/// outline, so that a mask file's levels are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Annotation {
    width: u32,
    height: u32,
    levels: Vec<u8>,
}

impl Annotation {
    /// Reads a mask picture. Of a colour picture the largest channel counts; alpha is ignored.
    /// Levels above the middle keep their softness, stretched to the whole range; with
    /// [`Foreground::AboveZero`] there are two levels only.
    ///
    /// # Errors
    /// [`ImageError::Read`] with the path if the file is missing or is no picture.
    pub fn open(path: &Path, foreground: Foreground) -> Result<Self, ImageError> {
        Ok(Self::of_picture(super::read(path)?, foreground))
    }

    /// [`Annotation::open`] for the bytes of a PNG file that come from elsewhere. Nothing is decoded
    /// unless the picture has the size that is expected.
    ///
    /// # Errors
    /// [`ImageError::Bytes`] if it is no PNG, or of another size.
    pub fn from_png(
        bytes: &[u8],
        size: (u32, u32),
        foreground: Foreground,
    ) -> Result<Self, ImageError> {
        let wrong = |reason: String| ImageError::Bytes { reason };
        let open = || {
            let bytes = std::io::Cursor::new(bytes);
            image::codecs::png::PngDecoder::new(bytes).map_err(|e| wrong(e.to_string()))
        };
        let found = image::ImageDecoder::dimensions(&open()?);
        if found != size {
            return Err(wrong(format!(
                "it is {} x {} pixels and the picture {} x {}",
                found.0, found.1, size.0, size.1
            )));
        }
        let picture = image::DynamicImage::from_decoder(open()?);
        Ok(Self::of_picture(picture.map_err(|e| wrong(e.to_string()))?, foreground))
    }

    fn of_picture(picture: image::DynamicImage, foreground: Foreground) -> Self {
        let picture = picture.into_rgb16();
        let (width, height) = picture.dimensions();
        let grey: Vec<u16> = picture.pixels().map(|p| p.0[0].max(p.0[1]).max(p.0[2])).collect();
        if let Foreground::Color(color) = foreground {
            let color = color.map(|value| u16::from(value) * 257);
            let levels = picture.pixels().map(|p| u8::from(p.0 == color) * 255).collect();
            return Self { width, height, levels };
        }
        let low = grey.iter().copied().min().unwrap_or(0);
        let high = grey.iter().copied().max().unwrap_or(0);
        let level = |value: u16| -> u8 {
            match foreground {
                Foreground::AboveZero | Foreground::Color(_) => u8::from(value > 0) * 255,
                Foreground::AboveMiddle if low == high => u8::from(value > u16::MAX / 2) * 255,
                Foreground::AboveMiddle => {
                    let (rise, range) = (u32::from(value - low), u32::from(high - low));
                    ((rise * 255 + range / 2) / range) as u8
                }
            }
        };
        let levels = grey.into_iter().map(level).collect();
        Self { width, height, levels }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The grey levels, `width * height` of them.
    pub fn levels(&self) -> &[u8] {
        &self.levels
    }

    /// Whether so many levels lie between object and background that this may be a photograph, given
    /// by mistake. Edges, however soft, cover less.
    pub fn looks_like_a_picture(&self) -> bool {
        let between = self.levels.iter().filter(|level| (32..224).contains(*level)).count();
        between * 5 > self.levels.len()
    }

    /// The object's outline.
    pub fn mask(&self) -> Mask {
        let data = self.levels.iter().map(|&level| level > 127).collect();
        Mask { width: self.width, height: self.height, data }
    }
}

impl From<&Mask> for Annotation {
    fn from(mask: &Mask) -> Self {
        let levels = mask.data.iter().map(|&on| u8::from(on) * 255).collect();
        Self { width: mask.width, height: mask.height, levels }
    }
}

impl std::fmt::Debug for Annotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Annotation {}x{}", self.width, self.height)
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask {}x{}, {} on", self.width, self.height, self.area())
    }
}
