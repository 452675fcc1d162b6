use std::sync::{Arc, PoisonError};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use dicom_pixeldata::{
    ConvertOptions, ModalityLutOption, PixelDecoder, Rescale, VoiLutFunction, VoiLutOption,
    WindowLevel,
};

use super::elements::{integer, put, text};
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
        let picture = self.decoded(slice, |object| {
            let pixels = object.decode_pixel_data_frame(slice.frame)?;
            pixels.to_dynamic_image_with_options(0, &options)
        })?;
        let rgb = picture.into_rgb8();
        let size = [rgb.width(), rgb.height()];
        if size != self.size() {
            let reason = "its pixels have another size than it says";
            return Err(SeriesError::file(&slice.path, reason));
        }
        Ok(Frame::new(size[0], size[1], rgb.into_raw())?)
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
        if text(&object, tags::PHOTOMETRIC_INTERPRETATION).as_deref() == Some("PALETTE COLOR") {
            return Err(wrong(
                "its colours are a palette, which is not read; save it as RGB".into(),
            ));
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

fn rescale(slice: &Slice) -> ModalityLutOption {
    let (slope, intercept) = slice.rescale;
    ModalityLutOption::Override(Rescale { slope, intercept })
}

/// Makes pixels that are not compressed such as the decoder knows them: bytes, of which it then takes
/// one frame without a copy of all, and colours that each pixel has for itself.
fn plain(object: &mut DefaultDicomObject, [columns, rows]: [u32; 2], frames: usize) {
    let chroma = text(object, tags::PHOTOMETRIC_INTERPRETATION).as_deref() == Some("YBR_FULL_422");
    let Some(pixels) = object.get(tags::PIXEL_DATA).and_then(|e| e.value().primitive()) else {
        return;
    };
    let all = columns as usize * rows as usize * frames;
    let bytes = pixels.to_bytes();
    // Two pixels share their colour: two levels, and then blue and red.
    let shared = chroma
        && integer(object, tags::BITS_ALLOCATED) == Some(8)
        && (2 * all..3 * all).contains(&bytes.len());
    let bytes = match (shared, pixels) {
        (false, PrimitiveValue::U8(_)) => return,
        (false, _) if frames == 1 => return,
        (false, _) => bytes.into_owned(),
        (true, _) => bytes
            .chunks_exact(4)
            .flat_map(|four| [four[0], four[2], four[3], four[1], four[2], four[3]])
            .collect(),
    };
    let bytes = PrimitiveValue::U8(bytes.into());
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, bytes));
    if shared {
        object.put(put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL"));
    }
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;
    use dicom_object::meta::FileMetaTableBuilder;

    use super::super::elements::{item, short};
    use super::*;

    #[test]
    fn shared_colours_are_given_to_both_pixels() {
        let pixels = PrimitiveValue::U8([10, 20, 1, 2, 30, 40, 3, 4].into_iter().collect());
        let object = item([
            put(tags::SOP_CLASS_UID, VR::UI, uids::VL_ENDOSCOPIC_IMAGE_STORAGE),
            put(tags::SOP_INSTANCE_UID, VR::UI, "1.2"),
            put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL_422"),
            short(tags::BITS_ALLOCATED, 8),
            DataElement::new(tags::PIXEL_DATA, VR::OB, pixels),
        ]);
        let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let mut object = object.with_meta(meta).unwrap();
        plain(&mut object, [2, 1], 2);
        let bytes = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
        assert_eq!(*bytes, [10, 1, 2, 20, 1, 2, 30, 3, 4, 40, 3, 4]);
        assert_eq!(text(&object, tags::PHOTOMETRIC_INTERPRETATION).unwrap(), "YBR_FULL");
        // What has a colour a pixel stays.
        plain(&mut object, [2, 1], 2);
        assert_eq!(object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().len(), 12);
    }
}
