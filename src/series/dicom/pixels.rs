use std::sync::{Arc, PoisonError};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::DefaultDicomObject;
use dicom_pixeldata::{
    ConvertOptions, ModalityLutOption, PixelDecoder, Rescale, VoiLutFunction, VoiLutOption,
    WindowLevel,
};

use super::elements::{integer, put, short, text};
use super::{DicomSeries, Slice, scan};
use crate::image::Frame;
use crate::memory::free_memory;
use crate::quiet::quietly;
use crate::series::window::of_values;
use crate::series::{SeriesError, Window};

/// Slices that are looked at for a window.
const LOOKED_AT: usize = 9;

impl DicomSeries {
    /// A slice as a picture.
    pub fn frame(&self, slice: usize) -> Result<Frame, SeriesError> {
        let slice = &self.slices[slice];
        let (center, width) = self.window;
        let options = ConvertOptions::new()
            .with_modality_lut(rescale(slice))
            .with_voi_lut(VoiLutOption::CustomWithFunction(
                WindowLevel { center, width },
                VoiLutFunction::Linear,
            ))
            .force_8bit();
        let (picture, chroma) = self.decoded(slice, |object| {
            let pixels = object.decode_pixel_data_frame(slice.frame)?;
            let runs = object.meta().transfer_syntax() == uids::RLE_LOSSLESS;
            let picture = pixels.to_dynamic_image_with_options(0, &options)?;
            Ok((picture, runs && colours(object).starts_with("YBR_FULL")))
        })?;
        let mut picture = picture.into_rgb8();
        // The decoder takes what it has unpacked for red, green and blue.
        if chroma {
            picture.pixels_mut().for_each(|pixel| pixel.0 = rgb(pixel.0));
        }
        let size = [picture.width(), picture.height()];
        if size != self.size() {
            let reason = "its pixels have another size than it says";
            return Err(SeriesError::file(&slice.path, reason));
        }
        Ok(Frame::new(size[0], size[1], picture.into_raw())?)
    }

    /// Centre and width of a window.
    pub fn choose_window(&self, wanted: Window) -> Result<(f64, f64), SeriesError> {
        if let Window::Values { centre, width } = wanted {
            return Ok((centre, width));
        }
        if self.header.colour {
            return Ok((127.5, 255.0));
        }
        if let Some(window) = self.slices[self.slices.len() / 2].window {
            return Ok(window);
        }
        if let ("CT", Window::Values { centre, width }) =
            (self.header.modality.as_str(), Window::SOFT_TISSUE)
        {
            return Ok((centre, width));
        }
        let mut values = Vec::new();
        let step = self.slices.len().div_ceil(LOOKED_AT);
        for slice in self.slices.iter().step_by(step) {
            let options = ConvertOptions::new().with_modality_lut(rescale(slice));
            values.extend(self.decoded(slice, |object| {
                let pixels = object.decode_pixel_data_frame(slice.frame)?;
                pixels.to_vec_frame_with_options::<f32>(0, &options)
            })?);
        }
        Ok(of_values(&mut values))
    }

    /// What a decoder makes of a slice's file. Its reasons are passed on as far as they are about
    /// the encoding.
    fn decoded<T>(
        &self,
        slice: &Slice,
        decode: impl FnOnce(&DefaultDicomObject) -> Result<T, dicom_pixeldata::Error>,
    ) -> Result<T, SeriesError> {
        let [columns, rows] = self.header.size.map(u64::from);
        // Three samples of 16 bits, and what is made of them.
        let needed = columns * rows * 16;
        if let Some(free) = free_memory().filter(|free| needed > *free) {
            return Err(SeriesError::Memory { path: slice.path.clone(), needed, free });
        }
        let object = self.object(slice)?;
        let syntax = object.meta().transfer_syntax().trim_end_matches('\0').to_owned();
        let wrong = |reason: String| SeriesError::file(&slice.path, reason);
        let kind = colours(&object);
        let packed = object.get(tags::PIXEL_DATA).is_none_or(|e| e.value().primitive().is_none());
        let unread = match kind.as_str() {
            "PALETTE COLOR" => Some("of a palette"),
            kind if kind.starts_with("YBR") && !packed => Some("YBR of another kind"),
            _ => None,
        };
        if let Some(unread) = unread {
            return Err(wrong(format!("its colours ({unread}) are not read; save it as RGB")));
        }
        quietly(|| decode(&object))
            .ok_or_else(|| wrong("its pixels are cut off or damaged".into()))?
            .map_err(|_| {
                wrong(format!(
                    "its pixels cannot be decoded (transfer syntax {syntax}): they are cut off, \
                     damaged, or of a kind that is not read; uncompressed, RLE, JPEG and JPEG 2000 \
                     are"
                ))
            })
    }

    /// The file of a slice.
    fn object(&self, slice: &Slice) -> Result<Arc<DefaultDicomObject>, SeriesError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, object)) = opened.as_ref().filter(|(path, _)| *path == slice.path) {
            debug_assert_eq!(path, &slice.path);
            return Ok(Arc::clone(object));
        }
        let mut object = scan::open(&slice.path)?;
        let frames = self.slices.iter().filter(|other| other.path == slice.path).count();
        plain(&mut object, self.header.size, frames);
        let object = Arc::new(object);
        *opened = Some((slice.path.clone(), Arc::clone(&object)));
        Ok(object)
    }
}

/// How colours are stored.
fn colours(object: &DefaultDicomObject) -> String {
    text(object, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default()
}

fn rescale(slice: &Slice) -> ModalityLutOption {
    let (slope, intercept) = slice.rescale;
    ModalityLutOption::Override(Rescale { slope, intercept })
}

/// Makes pixels that are not compressed such as the decoder knows them: bytes, of which it then takes
/// one frame without a copy of all, and red, green and blue. It takes shared colours (4:2:2) for whole
/// ones, and its green is wrong (dicom-pixeldata 0.10.1).
fn plain(object: &mut DefaultDicomObject, [columns, rows]: [u32; 2], frames: usize) {
    let Some(pixels) = object.get(tags::PIXEL_DATA).and_then(|e| e.value().primitive()) else {
        return;
    };
    let is = |tag, value| integer(object, tag) == Some(value);
    let kind = colours(object);
    let chroma = kind.starts_with("YBR_FULL") && is(tags::BITS_ALLOCATED, 8);
    let frame = columns as usize * rows as usize;
    let bytes = pixels.to_bytes();
    let shared =
        kind == "YBR_FULL_422" && (2 * frame * frames..3 * frame * frames).contains(&bytes.len());
    let bytes = match (chroma, pixels) {
        (false, PrimitiveValue::U8(_)) => return,
        (false, _) if frames == 1 => return,
        (false, _) => bytes.into_owned(),
        // Two pixels share their colour: two levels, and then blue and red.
        (true, _) if shared => {
            let pairs = bytes.chunks_exact(4);
            pairs
                .flat_map(|p| [rgb([p[0], p[2], p[3]]), rgb([p[1], p[2], p[3]])])
                .flatten()
                .collect()
        }
        (true, _) if is(tags::PLANAR_CONFIGURATION, 1) => {
            let planes = bytes.chunks_exact(3 * frame);
            let pixels = planes.flat_map(|frames| {
                (0..frame).map(move |at| [0, 1, 2].map(|plane| frames[plane * frame + at]))
            });
            pixels.flat_map(rgb).collect()
        }
        (true, _) => bytes.chunks_exact(3).flat_map(|p| rgb([p[0], p[1], p[2]])).collect(),
    };
    let bytes = PrimitiveValue::U8(bytes.into());
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, bytes));
    if chroma {
        object.put(put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB"));
        object.put(short(tags::PLANAR_CONFIGURATION, 0));
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
