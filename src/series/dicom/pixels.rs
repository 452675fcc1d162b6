use std::borrow::Cow;
use std::sync::{Arc, PoisonError};

use dicom_core::PrimitiveValue;
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use dicom_object::mem::InMemElement;

use super::codestream::{self, Colours};
use super::elements::{integer, text};
use super::header::Slice;
use super::{DicomSeries, file};
use crate::image::Frame;
use crate::memory::free_memory;
use crate::series::window::{GreyWindow, of_values};
use crate::series::{SeriesError, Window};

/// Slices that are looked at for a window.
const LOOKED_AT: usize = 9;

/// A file whose frames can be unpacked.
pub struct Pixels {
    /// Without the pixels, unless they are compressed.
    object: DefaultDicomObject,
    /// Pixels that are not compressed.
    plain: Option<Vec<u8>>,
    /// Columns and rows.
    size: [usize; 2],
    /// What the photometric interpretation is.
    kind: String,
    /// Of frames that are unpacked.
    colours: Colours,
    samples: usize,
    /// Bits that a value takes, bits that it has, the highest of them, and whether it has a sign.
    bits: [u32; 3],
    signed: bool,
}

impl DicomSeries {
    /// A slice as a picture: rescaled values through the window, or its own colours.
    pub fn frame(&self, slice: usize) -> Result<Frame, SeriesError> {
        let slice = &self.slices[slice];
        let pixels = self.pixels(slice)?;
        let wrong = |reason| SeriesError::file(&slice.path, reason);
        let rgb = match pixels.samples {
            3 => pixels.colours(slice.frame).map_err(wrong)?,
            _ => {
                let turned = pixels.kind == "MONOCHROME1";
                let values = pixels.values(slice).map_err(wrong)?;
                let grey = |value| {
                    let level = self.window.grey(value);
                    [if turned { 255 - level } else { level }; 3]
                };
                values.into_iter().flat_map(grey).collect()
            }
        };
        let [columns, rows] = slice.size;
        Ok(Frame::new(columns, rows, rgb)?)
    }

    /// What is black and what is white.
    pub fn choose_window(&self, wanted: Window) -> Result<GreyWindow, SeriesError> {
        if let Window::Values { centre, width } = wanted {
            return Ok(GreyWindow::exact(centre, width));
        }
        if self.header.colour {
            return Ok(GreyWindow::Linear(0.0, 255.0));
        }
        if let Some(window) = self.slices[self.slices.len() / 2].window {
            return Ok(window);
        }
        if let ("CT", Window::Values { centre, width }) =
            (self.header.modality.as_str(), Window::SOFT_TISSUE)
        {
            return Ok(GreyWindow::exact(centre, width));
        }
        let mut values = Vec::new();
        let step = self.slices.len().div_ceil(LOOKED_AT);
        for slice in self.slices.iter().step_by(step) {
            let wrong = |reason| SeriesError::file(&slice.path, reason);
            values.extend(self.pixels(slice)?.values(slice).map_err(wrong)?);
        }
        Ok(of_values(&mut values))
    }

    /// The file of a slice.
    fn pixels(&self, slice: &Slice) -> Result<Arc<Pixels>, SeriesError> {
        let [columns, rows] = slice.size.map(u64::from);
        // Three samples of 16 bits, and what is made of them.
        let needed = columns * rows * 16;
        if let Some(free) = free_memory().filter(|free| needed > *free) {
            return Err(SeriesError::Memory { path: slice.path.clone(), needed, free });
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pixels)) = opened.as_ref().filter(|(path, _)| *path == slice.path) {
            return Ok(Arc::clone(pixels));
        }
        let wrong = |reason| SeriesError::file(&slice.path, reason);
        let pixels = Pixels::new(file::open(&slice.path)?).map_err(wrong)?;
        let pixels = Arc::new(pixels);
        *opened = Some((slice.path.clone(), Arc::clone(&pixels)));
        Ok(pixels)
    }
}

impl Pixels {
    /// Errors are reasons.
    fn new(mut object: DefaultDicomObject) -> Result<Self, String> {
        let colours = codestream::adapt(&mut object)?;
        let is_plain = |element: &InMemElement| element.value().primitive().is_some();
        let plain = object.get(tags::PIXEL_DATA).is_some_and(is_plain);
        let plain = plain.then(|| object.take(tags::PIXEL_DATA)).flatten();
        let plain = plain.and_then(|element| match element.into_value().into_primitive() {
            Some(PrimitiveValue::U8(bytes)) => Some(bytes.into_vec()),
            other => other.map(|value| value.to_bytes().into_owned()),
        });
        let whole = |tag| integer(&object, tag).and_then(|value| u32::try_from(value).ok());
        let kind = text(&object, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
        let samples = whole(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let allocated = whole(tags::BITS_ALLOCATED).unwrap_or(16);
        let stored = whole(tags::BITS_STORED).unwrap_or(allocated);
        let high = whole(tags::HIGH_BIT).unwrap_or(stored.saturating_sub(1));
        let floats = object.get(tags::FLOAT_PIXEL_DATA).is_some()
            || object.get(tags::DOUBLE_FLOAT_PIXEL_DATA).is_some();
        let palette = kind == "PALETTE COLOR";
        let other = kind.starts_with("YBR") && !kind.starts_with("YBR_FULL");
        if palette || other && plain.is_some() {
            let what = if palette { "of a palette" } else { "YBR of another kind" };
            return Err(format!("its colours ({what}) are not read; save it as RGB"));
        }
        if !matches!(samples, 1 | 3) || !matches!(allocated, 1 | 8 | 16 | 32) && !floats {
            return Err(format!(
                "pixels of {samples} values of {allocated} bits are not read; save one or three values of \
                 8 or 16 bits"
            ));
        }
        if samples == 3 && !matches!(allocated, 8 | 16) {
            return Err(format!("colours of {allocated} bits are not read; save them in 8 bits"));
        }
        if !floats && (stored == 0 || stored > allocated || high >= allocated || high + 1 < stored)
        {
            return Err(format!(
                "its pixels cannot be told: {stored} of {allocated} bits up to bit {high}"
            ));
        }
        let size = [tags::COLUMNS, tags::ROWS].map(|tag| whole(tag).unwrap_or(0) as usize);
        let signed = whole(tags::PIXEL_REPRESENTATION) == Some(1);
        let (samples, bits) = (samples as usize, [allocated, stored, high]);
        Ok(Self { object, plain, size, kind, colours, samples, bits, signed })
    }

    /// Values of a frame, rescaled.
    fn values(&self, slice: &Slice) -> Result<Vec<f32>, String> {
        let (slope, intercept) = slice.rescale;
        let rescaled = |value: f64| (value * slope + intercept) as f32;
        let count = self.size[0] * self.size[1];
        let range = slice.frame as usize * count..(slice.frame as usize + 1) * count;
        let cut = || "its pixels are cut off or damaged".to_owned();
        let floats = [tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA];
        let floats = floats.iter().find_map(|tag| self.object.get(*tag)?.value().primitive());
        match floats {
            Some(PrimitiveValue::F32(all)) => {
                let own = all.get(range).ok_or_else(cut)?;
                return Ok(own.iter().map(|value| rescaled((*value).into())).collect());
            }
            Some(PrimitiveValue::F64(all)) => {
                let own = all.get(range).ok_or_else(cut)?;
                return Ok(own.iter().map(|value| rescaled(*value)).collect());
            }
            Some(_) => return Err(cut()),
            None => {}
        }
        let (bytes, first) = self.bytes(slice.frame)?;
        let [allocated, stored, high] = self.bits;
        if allocated == 1 {
            let bit = |index: usize| bytes[index / 8] >> (index % 8) & 1;
            return Ok((first..first + count).map(|i| rescaled(bit(i).into())).collect());
        }
        let shift = high + 1 - stored;
        let value = |raw: u32| -> f64 {
            let value = u64::from(raw >> shift) & ((1u64 << stored) - 1);
            match self.signed && value >> (stored - 1) & 1 == 1 {
                true => value as f64 - (1u64 << stored) as f64,
                false => value as f64,
            }
        };
        let raw = bytes
            .chunks_exact(allocated as usize / 8)
            .map(|bytes| bytes.iter().rev().fold(0u32, |all, byte| all << 8 | u32::from(*byte)));
        Ok(raw.take(count).map(|raw| rescaled(value(raw))).collect())
    }

    /// Red, green and blue of a frame.
    fn colours(&self, frame: u32) -> Result<Vec<u8>, String> {
        let (bytes, _) = self.bytes(frame)?;
        let count = self.size[0] * self.size[1];
        let [allocated, stored, high] = self.bits;
        let mut bytes = match allocated {
            8 => bytes.into_owned(),
            _ => {
                // The eight highest bits.
                let shift = high.saturating_sub(7.min(stored - 1));
                let words = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
                words.map(|word| (word >> shift) as u8).collect()
            }
        };
        let packed = self.plain.is_none();
        let ybr = self.kind.starts_with("YBR_FULL");
        if !packed && self.kind == "YBR_FULL_422" && bytes.len() < 3 * count {
            // Two pixels share their colour: two levels, and then blue and red.
            return Ok(bytes
                .chunks_exact(4)
                .flat_map(|p| [rgb([p[0], p[2], p[3]]), rgb([p[1], p[2], p[3]])])
                .flatten()
                .collect());
        }
        let planes = !packed && integer(&self.object, tags::PLANAR_CONFIGURATION) == Some(1);
        if planes {
            let pixel = |at: usize| [bytes[at], bytes[count + at], bytes[2 * count + at]];
            bytes = (0..count).flat_map(pixel).collect();
        }
        if if packed { self.colours == Colours::Ybr } else { ybr } {
            bytes = bytes.chunks_exact(3).flat_map(|p| rgb([p[0], p[1], p[2]])).collect();
        }
        bytes.truncate(3 * count);
        Ok(bytes)
    }

    /// The bytes of a frame, at least as many as its values take; of single bits those of all frames, and
    /// where the frame begins.
    fn bytes(&self, frame: u32) -> Result<(Cow<'_, [u8]>, usize), String> {
        let cut = || "its pixels are cut off or damaged".to_owned();
        let frame_size = self.size[0] * self.size[1] * self.samples;
        let [allocated, ..] = self.bits;
        let needed = frame_size * allocated as usize / 8;
        let Some(all) = &self.plain else {
            if self.object.get(tags::PIXEL_DATA).is_none() {
                return Err("it has no pixels".into());
            }
            let syntax = self.object.meta().transfer_syntax();
            let unpacked = codestream::unpacked(&self.object, frame);
            let unpacked = unpacked.filter(|bytes| bytes.len() >= needed && needed > 0);
            return unpacked.map(|bytes| (Cow::Owned(bytes), 0)).ok_or_else(|| {
                format!(
                    "its pixels cannot be decoded (transfer syntax {syntax}): they are cut off, damaged, or \
                     of a kind that is not read; uncompressed, RLE, JPEG and JPEG 2000 are"
                )
            });
        };
        let frame = frame as usize;
        if allocated == 1 {
            let first = frame * frame_size;
            return match (first + frame_size).div_ceil(8) <= all.len() {
                true => Ok((Cow::Borrowed(all), first)),
                false => Err(cut()),
            };
        }
        let frames = integer(&self.object, tags::NUMBER_OF_FRAMES).unwrap_or(1).max(1) as usize;
        // Of halved colours a frame has two bytes a pixel.
        let halved = self.kind == "YBR_FULL_422" && all.len() < needed.saturating_mul(frames);
        let size = if halved { needed / 3 * 2 } else { needed };
        let range = frame * size..(frame + 1) * size;
        all.get(range).map(|own| (Cow::Borrowed(own), 0)).ok_or_else(cut)
    }
}

/// The colour of a level, a blue and a red (PS3.3 C.7.6.3.1.2).
fn rgb([level, blue, red]: [u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = [f32::from(level), f32::from(blue) - 128.0, f32::from(red) - 128.0];
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|value| value.round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_standard() {
        assert_eq!(rgb([80, 94, 214]), [201, 30, 20]);
        assert_eq!(rgb([120, 128, 128]), [120; 3]);
        assert_eq!([rgb([255, 255, 255]), rgb([0, 0, 0])], [[255, 121, 255], [0, 135, 0]]);
    }
}
