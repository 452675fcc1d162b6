//! Images of more than 8 bits: which of their values become black and white.

use std::path::Path;

use image::{DynamicImage, RgbImage};

use super::{Frame, ImageError, file};

/// The values that become 0 and 255. Sensors of 10, 12 or 14 bits are stored in 16, and floats have
/// any range, so that what an image holds decides; of a series what its images hold together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// Smallest and largest value that was found.
    found: [f32; 2],
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// 8 bits: as they are.
    Bytes,
    /// 16 bits.
    Words,
    /// Floats, or integers of more bits or with a sign.
    Numbers,
}

/// Bits of the usual sensors.
const DEPTHS: [u32; 5] = [8, 10, 12, 14, 16];

impl Levels {
    /// What the image of a file holds, and that it is not stored upright, if so, in words.
    ///
    /// # Errors
    /// As [`Frame::open`].
    pub(crate) fn of_file(path: &Path) -> Result<(Self, Option<String>), ImageError> {
        let decoded = file::read(path)?;
        let turned = decoded.turned_in_words();
        Ok((Self::of(&decoded.into_image()), turned))
    }

    /// Whether there are no more than 8 bits.
    pub fn is_of_bytes(self) -> bool {
        self.kind == Kind::Bytes
    }

    /// What a single image holds.
    pub(super) fn of(image: &DynamicImage) -> Self {
        let range = |values: &mut dyn Iterator<Item = f32>| {
            values
                .filter(|value| value.is_finite())
                .fold([f32::INFINITY, f32::NEG_INFINITY], |r, v| [r[0].min(v), r[1].max(v)])
        };
        // Opacity is no level.
        let words = |data: &[u16], channels: usize, alpha: bool| {
            let colors = channels - usize::from(alpha);
            let values = data.chunks_exact(channels).flat_map(|pixel| &pixel[..colors]);
            (range(&mut values.map(|value| f32::from(*value))), Kind::Words)
        };
        let (found, kind) = match image {
            DynamicImage::ImageLuma16(image) => words(image.as_raw(), 1, false),
            DynamicImage::ImageLumaA16(image) => words(image.as_raw(), 2, true),
            DynamicImage::ImageRgb16(image) => words(image.as_raw(), 3, false),
            DynamicImage::ImageRgba16(image) => words(image.as_raw(), 4, true),
            DynamicImage::ImageRgb32F(image) => {
                (range(&mut image.as_raw().iter().copied()), Kind::Numbers)
            }
            DynamicImage::ImageRgba32F(image) => {
                let colors = image.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]);
                (range(&mut colors.into_iter()), Kind::Numbers)
            }
            _ => ([0.0, 255.0], Kind::Bytes),
        };
        match found[0] <= found[1] {
            true => Self { found, kind },
            false => Self { found: [0.0, 0.0], kind },
        }
    }

    /// What both hold together.
    pub fn with(self, other: Self) -> Self {
        match (self.kind, other.kind) {
            (Kind::Bytes, _) => other,
            (_, Kind::Bytes) => self,
            (one, two) => Self {
                found: [self.found[0].min(other.found[0]), self.found[1].max(other.found[1])],
                kind: if one == two { one } else { Kind::Numbers },
            },
        }
    }

    /// Whether values of an image lie beyond the range that these levels show.
    pub fn clips(self, image: Self) -> bool {
        let [low, high] = self.range();
        image.kind != Kind::Bytes && (image.found[0] < low || image.found[1] > high)
    }

    /// The values that become 0 and 255.
    fn range(self) -> [f32; 2] {
        let [low, high] = self.found;
        match self.kind {
            Kind::Bytes => [0.0, 255.0],
            Kind::Numbers if low >= 0.0 && high <= 1.0 => [0.0, 1.0],
            Kind::Numbers if low < 0.0 || high > 65535.0 => [low, high],
            Kind::Words | Kind::Numbers => [0.0, self.most()],
        }
    }

    /// The largest value of the smallest usual depth that holds all.
    fn most(self) -> f32 {
        let holds = |bits: &u32| self.found[1] <= ((1u32 << bits) - 1) as f32;
        // An image that is all black tells nothing of its depth.
        let bits = DEPTHS.into_iter().find(holds).filter(|_| self.found[1] > 0.0);
        ((1u32 << bits.unwrap_or(16)) - 1) as f32
    }

    /// In words, what becomes of the values; `None` where nothing else could be expected.
    pub fn words(self) -> Option<String> {
        let ([low, high], [black, white]) = (self.found, self.range());
        let usual = match self.kind {
            Kind::Bytes => true,
            Kind::Words => white == 65535.0,
            Kind::Numbers => false,
        };
        (!usual).then(|| {
            let held = match self.kind {
                Kind::Words => format!("values of 16 bits from {low} to {high}"),
                _ => format!("values from {low} to {high}"),
            };
            format!("{held}: {black} is shown as black and {white} as white")
        })
    }

    /// The image in 8 bits.
    fn show(self, image: DynamicImage) -> RgbImage {
        let [low, high] = self.range();
        let scale = 255.0 / (high - low).max(f32::MIN_POSITIVE);
        // Not a number is black.
        let byte = |value: f32| ((value - low) * scale + 0.5).clamp(0.0, 255.0) as u8;
        match image {
            DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA16(_)
            | DynamicImage::ImageRgb16(_)
            | DynamicImage::ImageRgba16(_)
                if high != 65535.0 =>
            {
                let deep = image.into_rgb16();
                let table: Vec<u8> = (0..=u16::MAX).map(|value| byte(f32::from(value))).collect();
                of_bytes(&deep, deep.as_raw().iter().map(|value| table[usize::from(*value)]))
            }
            DynamicImage::ImageRgb32F(image) => {
                of_bytes(&image, image.as_raw().iter().map(|value| byte(*value)))
            }
            DynamicImage::ImageRgba32F(image) => {
                let colors = image.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]);
                of_bytes(&image, colors.map(byte))
            }
            image => image.into_rgb8(),
        }
    }
}

fn of_bytes<P: image::Pixel>(
    size: &image::ImageBuffer<P, Vec<P::Subpixel>>,
    bytes: impl Iterator<Item = u8>,
) -> RgbImage {
    RgbImage::from_raw(size.width(), size.height(), bytes.collect()).unwrap_or_default()
}

impl Levels {
    /// The image as a frame.
    pub(super) fn frame(self, image: DynamicImage) -> Frame {
        let shown = self.show(image);
        let (width, height) = shown.dimensions();
        Frame::from_parts(width, height, shown.into_raw())
    }
}
