use std::collections::HashSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::DynamicImage;

use super::file::{Decoded, Fault};
use super::labels::{Label, LabelKind, describe_labels, find_labels};
use super::{Foreground, ImageError, Mask, file, png_file};

/// The annotation of a reference frame: a mask that may have soft edges, as grey levels of which
/// those above 127 are the object. The published method resizes the levels, not the object's
/// outline, so that a mask file's levels are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Annotation {
    width: u32,
    height: u32,
    levels: Vec<u8>,
    of_alpha: bool,
}

/// Why a mask file is no annotation.
enum Unclear {
    /// It holds several objects.
    Labels(String),
    /// The one asked for is not among them.
    NoSuch { wanted: String, found: String },
}

impl Annotation {
    /// Reads a mask file. Of a colour image the largest channel counts. Where an alpha channel varies
    /// and the colours do not, or are a photograph's, the alpha is the mask. Levels above the middle
    /// keep their softness, stretched to the whole range; with [`Foreground::AboveZero`],
    /// [`Foreground::Value`] and [`Foreground::Color`] there are two levels only.
    ///
    /// # Errors
    /// [`ImageError::Read`] with the path if the file is missing or is no image,
    /// [`ImageError::Several`] if it holds more than one image, [`ImageError::Labels`] with
    /// [`Foreground::AboveMiddle`] if its values or colours number several objects, and
    /// [`ImageError::NoSuchObject`] if the value or colour asked for is not in it.
    pub fn open(path: &Path, foreground: Foreground) -> Result<Self, ImageError> {
        let path_of = || -> PathBuf { path.to_path_buf() };
        Self::of_decoded(file::read(path)?, foreground).map_err(|unclear| match unclear {
            Unclear::Labels(found) => ImageError::Labels { path: path_of(), found },
            Unclear::NoSuch { wanted, found } => {
                ImageError::NoSuchObject { path: path_of(), wanted, found }
            }
        })
    }

    /// [`Annotation::open`] for the bytes of a PNG file that come from elsewhere. Nothing is decoded
    /// unless the image has the size that is expected.
    ///
    /// # Errors
    /// [`ImageError::Bytes`] if it is no PNG, of another size, or of several objects.
    pub fn from_png(
        bytes: &[u8],
        size: (u32, u32),
        foreground: Foreground,
    ) -> Result<Self, ImageError> {
        let wrong = |reason: String| ImageError::Bytes { reason };
        let found = png_file::size(bytes)
            .ok_or_else(|| wrong("it is no PNG; save the mask as PNG".to_owned()))?;
        if found != size {
            return Err(wrong(format!(
                "it is {} x {} pixels and the picture {} x {}",
                found.0, found.1, size.0, size.1
            )));
        }
        let decoded =
            png_file::decode(Cursor::new(bytes), bytes.len() as u64).map_err(|e| match e {
                Fault::Several(_) => wrong("it holds several images; upload one".to_owned()),
                Fault::Unreadable(reason) => wrong(reason),
            })?;
        Self::of_decoded(decoded, foreground).map_err(|unclear| match unclear {
            Unclear::Labels(found) => {
                wrong(format!("it holds several objects: {found}; upload a mask of one"))
            }
            Unclear::NoSuch { wanted, found } => wrong(format!("it has no {wanted}, but {found}")),
        })
    }

    fn of_decoded(decoded: Decoded, foreground: Foreground) -> Result<Self, Unclear> {
        let (width, height) = (decoded.image.width(), decoded.image.height());
        let image = MaskImage::new(decoded, foreground);
        let levels = image.levels(foreground)?;
        Ok(Self { width, height, levels, of_alpha: image.is_alpha })
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

    /// Whether the file's alpha channel is the mask.
    pub fn is_of_alpha(&self) -> bool {
        self.of_alpha
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
        Mask::from_parts(self.width, self.height, data)
    }
}

impl From<&Mask> for Annotation {
    fn from(mask: &Mask) -> Self {
        let levels = mask.data().iter().map(|&on| u8::from(on) * 255).collect();
        Self { width: mask.width(), height: mask.height(), levels, of_alpha: false }
    }
}

impl std::fmt::Debug for Annotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Annotation {}x{}", self.width, self.height)
    }
}

/// The values of a mask file.
enum Values {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
    /// Whole numbers of more than 16 bits.
    Numbers(Vec<u32>),
    Colors(Vec<[u8; 3]>),
    /// Places in a palette.
    Places(Vec<u8>, Vec<[u8; 4]>),
}

/// What a mask file holds.
struct MaskImage {
    width: usize,
    values: Values,
    /// Where nothing is opaque, there is background.
    clear: Option<Vec<bool>>,
    /// Whether the values are those of the alpha channel.
    is_alpha: bool,
}

/// Most opaque colours of a mask; a photograph that was cut out has more.
const MOST_COLORS: usize = 64;

impl MaskImage {
    fn new(decoded: Decoded, foreground: Foreground) -> Self {
        let width = decoded.image.width() as usize;
        let (values, alpha) = match (decoded.palette, decoded.image) {
            (Some(palette), image) => {
                let places = image.into_luma8().into_raw();
                let opacity = |place: &u8| palette.get(usize::from(*place)).map_or(255, |c| c[3]);
                let alpha = places.iter().map(|place| u16::from(opacity(place)) * 257).collect();
                (Values::Places(places, palette), Some(alpha))
            }
            (None, image) => split(image, foreground),
        };
        let mut mask = Self { width, values, clear: None, is_alpha: false };
        let Some(alpha) = alpha.filter(|alpha| alpha.iter().any(|a| Some(a) != alpha.first()))
        else {
            return mask;
        };
        mask.clear = Some(alpha.iter().map(|a| *a == 0).collect());
        let mut opaque = HashSet::new();
        let colors = (0..alpha.len()).filter(|at| alpha[*at] > 0).map(|at| mask.color(at));
        for color in colors {
            opaque.insert(color);
            if opaque.len() > MOST_COLORS {
                break;
            }
        }
        if opaque.len() == 1 || opaque.len() > MOST_COLORS {
            (mask.values, mask.clear, mask.is_alpha) = (Values::Words(alpha), None, true);
        }
        mask
    }

    fn count(&self) -> usize {
        match &self.values {
            Values::Bytes(values) | Values::Places(values, _) => values.len(),
            Values::Words(values) => values.len(),
            Values::Numbers(values) => values.len(),
            Values::Colors(values) => values.len(),
        }
    }

    fn is_clear(&self, at: usize) -> bool {
        self.clear.as_ref().is_some_and(|clear| clear[at])
    }

    /// The grey level, number, or place in the palette; of a colour image nothing.
    fn value(&self, at: usize) -> Option<u32> {
        match &self.values {
            _ if self.is_clear(at) => None,
            Values::Bytes(values) | Values::Places(values, _) => Some(u32::from(values[at])),
            Values::Words(values) => Some(u32::from(values[at])),
            Values::Numbers(values) => Some(values[at]),
            Values::Colors(_) => None,
        }
    }

    fn color(&self, at: usize) -> [u8; 3] {
        match &self.values {
            Values::Bytes(values) => [values[at]; 3],
            Values::Words(values) => [(values[at] / 257) as u8; 3],
            Values::Numbers(values) => [values[at].min(255) as u8; 3],
            Values::Colors(values) => values[at],
            Values::Places(values, palette) => {
                let color = palette.get(usize::from(values[at]));
                color.map_or([0; 3], |[r, g, b, _]| [*r, *g, *b])
            }
        }
    }

    /// What counts as grey level.
    fn level(&self, at: usize) -> u32 {
        match &self.values {
            _ if self.is_clear(at) => 0,
            Values::Bytes(values) => u32::from(values[at]),
            Values::Words(values) => u32::from(values[at]),
            Values::Numbers(values) => values[at],
            Values::Colors(_) | Values::Places(..) => {
                self.color(at).into_iter().max().map_or(0, u32::from)
            }
        }
    }

    /// Half of the type's range.
    fn half(&self) -> u32 {
        match &self.values {
            Values::Words(_) => u32::from(u16::MAX / 2),
            Values::Numbers(_) => 0,
            _ => 127,
        }
    }

    fn levels(&self, foreground: Foreground) -> Result<Vec<u8>, Unclear> {
        let all = 0..self.count();
        let two =
            |on: &dyn Fn(usize) -> bool| all.clone().map(|at| u8::from(on(at)) * 255).collect();
        match foreground {
            Foreground::AboveZero => return Ok(two(&|at| self.level(at) > 0)),
            Foreground::Value(value) => {
                let levels: Vec<u8> = two(&|at| self.value(at) == Some(value));
                return self.chosen(levels, format!("object of value {value}"));
            }
            Foreground::Color(color) => {
                let levels: Vec<u8> = two(&|at| !self.is_clear(at) && self.color(at) == color);
                return self.chosen(levels, format!("object of colour {}", hex(pack(color))));
            }
            Foreground::AboveMiddle => {
                if let Some(labels) = self.labels() {
                    return Err(Unclear::Labels(self.words(&labels)));
                }
            }
            Foreground::Threshold => {}
        }
        let low = all.clone().map(|at| self.level(at)).min().unwrap_or(0);
        let high = all.clone().map(|at| self.level(at)).max().unwrap_or(0);
        if low == high {
            return Ok(two(&|at| self.level(at) > self.half()));
        }
        let (low, range) = (u64::from(low), u64::from(high - low));
        let level = |at| (((u64::from(self.level(at)) - low) * 255 + range / 2) / range) as u8;
        Ok(all.map(level).collect())
    }

    /// What was asked for, if it is there.
    fn chosen(&self, levels: Vec<u8>, wanted: String) -> Result<Vec<u8>, Unclear> {
        if levels.iter().any(|level| *level > 0) {
            return Ok(levels);
        }
        let mut counts = std::collections::BTreeMap::<u32, usize>::new();
        for at in 0..self.count() {
            *counts.entry(self.key(at)).or_default() += 1;
        }
        let labels = counts.into_iter().map(|(value, pixels)| Label { value, pixels });
        Err(Unclear::NoSuch { wanted, found: self.words(&labels.collect::<Vec<_>>()) })
    }

    /// What tells one object from another.
    fn key(&self, at: usize) -> u32 {
        match &self.values {
            Values::Colors(_) if self.is_clear(at) => 0,
            Values::Colors(values) => pack(values[at]),
            Values::Places(values, _) => u32::from(values[at]),
            _ => self.level(at),
        }
    }

    /// The objects that the values number, the background among them.
    fn labels(&self) -> Option<Vec<Label>> {
        let survey =
            |kind, value: &dyn Fn(usize) -> u32| find_labels(self.count(), self.width, kind, value);
        match &self.values {
            Values::Colors(_) => survey(LabelKind::Colors, &|at| self.key(at)),
            Values::Places(..) => {
                let mut counts = [0; 256];
                (0..self.count()).for_each(|at| counts[self.key(at) as usize] += 1);
                let color = |at| if self.is_clear(at) { 0 } else { pack(self.color(at)) };
                let (mut grey, mut colors) = (true, HashSet::new());
                for at in 0..self.count() {
                    colors.insert(color(at));
                    grey &= is_grey(self.color(at));
                }
                let used = (0..).zip(counts).filter(|(_, pixels)| *pixels > 0);
                let used: Vec<Label> =
                    used.map(|(value, pixels)| Label { value, pixels }).collect();
                // A palette may show different objects alike.
                match (colors.len() < used.len(), grey) {
                    (true, _) => survey(LabelKind::Levels, &|at| self.key(at))?,
                    (false, true) => survey(LabelKind::Levels, &color)?,
                    (false, false) => survey(LabelKind::Colors, &color)?,
                };
                Some(used)
            }
            _ => survey(LabelKind::Levels, &|at| self.level(at)),
        }
    }

    fn words(&self, labels: &[Label]) -> String {
        describe_labels(labels, |value| match &self.values {
            Values::Colors(_) => hex(value),
            Values::Places(_, palette) => {
                let color = palette.get(value as usize).copied().unwrap_or_default();
                format!("{value} = {}", hex(pack([color[0], color[1], color[2]])))
            }
            _ => value.to_string(),
        })
    }
}

fn pack([red, green, blue]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, red, green, blue])
}

fn hex(color: u32) -> String {
    format!("#{color:06x}")
}

fn is_grey([red, green, blue]: [u8; 3]) -> bool {
    red == green && green == blue
}

/// Values, and opacity if there is any.
fn split(image: DynamicImage, foreground: Foreground) -> (Values, Option<Vec<u16>>) {
    let wide = |alpha: u8| u16::from(alpha) * 257;
    let byte = |word: u16| ((u32::from(word) + 128) / 257) as u8;
    match image {
        DynamicImage::ImageLuma8(image) => (Values::Bytes(image.into_raw()), None),
        DynamicImage::ImageLumaA8(image) => {
            let alpha = image.pixels().map(|p| wide(p.0[1])).collect();
            (Values::Bytes(image.pixels().map(|p| p.0[0]).collect()), Some(alpha))
        }
        DynamicImage::ImageRgb8(image) => (colors(image.pixels().map(|p| p.0)), None),
        DynamicImage::ImageRgba8(image) => {
            let alpha = image.pixels().map(|p| wide(p.0[3])).collect();
            (colors(image.pixels().map(|p| [p.0[0], p.0[1], p.0[2]])), Some(alpha))
        }
        DynamicImage::ImageLuma16(image) => (Values::Words(image.into_raw()), None),
        DynamicImage::ImageLumaA16(image) => {
            let alpha = image.pixels().map(|p| p.0[1]).collect();
            (Values::Words(image.pixels().map(|p| p.0[0]).collect()), Some(alpha))
        }
        DynamicImage::ImageRgb16(image) => {
            let grey = image.pixels().all(|p| p.0[0] == p.0[1] && p.0[1] == p.0[2]);
            match grey {
                true => (Values::Words(image.pixels().map(|p| p.0[0]).collect()), None),
                false => (colors(image.pixels().map(|p| p.0.map(byte))), None),
            }
        }
        DynamicImage::ImageRgba16(image) => {
            let alpha = image.pixels().map(|p| p.0[3]).collect();
            let rgb = image.pixels().map(|p| [p.0[0], p.0[1], p.0[2]].map(byte));
            (colors(rgb), Some(alpha))
        }
        DynamicImage::ImageRgb32F(image) => {
            (numbers(image.pixels().map(|p| brightest(&p.0)).collect(), foreground), None)
        }
        image => {
            let image = image.into_rgba32f();
            let alpha = image.pixels().map(|p| (p.0[3] * 65535.0) as u16).collect();
            (
                numbers(image.pixels().map(|p| brightest(&p.0[..3])).collect(), foreground),
                Some(alpha),
            )
        }
    }
}

fn brightest(channels: &[f32]) -> f32 {
    channels.iter().copied().filter(|value| value.is_finite()).fold(f32::NEG_INFINITY, f32::max)
}

/// Grey if all of them are.
fn colors(pixels: impl Iterator<Item = [u8; 3]> + Clone) -> Values {
    match pixels.clone().all(is_grey) {
        true => Values::Bytes(pixels.map(|[value, ..]| value).collect()),
        false => Values::Colors(pixels.collect()),
    }
}

/// Whole numbers as they are, others in 65536 steps over their range.
fn numbers(values: Vec<f32>, foreground: Foreground) -> Values {
    let whole = |v: &f32| v.fract() == 0.0 && (0.0..u32::MAX as f32).contains(v);
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    if foreground == Foreground::AboveZero {
        return Values::Bytes(values.iter().map(|value| u8::from(*value > 0.0) * 255).collect());
    }
    if values.iter().all(whole) {
        return Values::Numbers(values.into_iter().map(|value| value as u32).collect());
    }
    let low = finite().fold(f32::INFINITY, f32::min);
    let high = finite().fold(f32::NEG_INFINITY, f32::max);
    let scale = 65535.0 / (high - low).max(f32::MIN_POSITIVE);
    Values::Words(values.iter().map(|v| ((v - low) * scale).clamp(0.0, 65535.0) as u16).collect())
}
