use std::sync::{Arc, PoisonError};

use dicom_object::DefaultDicomObject;
use dicom_pixeldata::{
    ConvertOptions, ModalityLutOption, PixelDecoder, Rescale, VoiLutFunction, VoiLutOption,
    WindowLevel,
};

use super::{DicomSeries, Slice, scan};
use crate::image::Frame;
use crate::quiet::quietly;
use crate::series::volume::free_memory;
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
        let object = Arc::new(scan::open(&slice.path)?);
        *opened = Some((slice.path.clone(), Arc::clone(&object)));
        Ok(object)
    }
}

fn rescale(slice: &Slice) -> ModalityLutOption {
    let (slope, intercept) = slice.rescale;
    ModalityLutOption::Override(Rescale { slope, intercept })
}
