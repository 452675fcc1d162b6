//! Decoded buffers to plain pixels, as GStreamer's own converter does it: it knows every raw
//! format, stride, colour matrix, value range and interlacing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer_video as gst_video;

use super::StreamError;
use crate::Frame;
use crate::image::{Color, ColorMatrix, ColorRange, Yuv420, plane_sizes};

/// Converts buffers of one format and size.
pub(super) struct Converter {
    path: PathBuf,
    input: gst_video::VideoInfo,
    color: Color,
    rgb: Target,
    yuv: Target,
}

/// One output format. The converter keeps line buffers, so one frame at a time.
struct Target {
    info: gst_video::VideoInfo,
    converter: Mutex<gst_video::VideoConverter>,
}

/// A decoded buffer and what converts it.
#[derive(Clone)]
pub(super) struct Decoded {
    buffer: gst::Buffer,
    converter: Arc<Converter>,
}

impl Converter {
    /// For buffers as `input` describes them; YUV comes out in `color`.
    pub(super) fn new(
        path: &Path,
        input: gst_video::VideoInfo,
        color: Color,
    ) -> Result<Self, gst::glib::BoolError> {
        let (width, height) = (input.width(), input.height());
        let row = width as usize * 3;
        let rgb = Target::new(
            &input,
            plain(gst_video::VideoFormat::Rgb, &input)
                .stride(&[row as i32])
                .offset(&[0])
                .size(row * height as usize),
        )?;

        let [(w, h), (cw, ch), _] = plane_sizes(width, height);
        let site = input.is_yuv().then(|| input.chroma_site()).filter(|site| !site.is_empty());
        let yuv = Target::new(
            &input,
            plain(gst_video::VideoFormat::I420, &input)
                .colorimetry(&colorimetry(color))
                .chroma_site_if_some(site)
                .stride(&[w as i32, cw as i32, cw as i32])
                .offset(&[0, w * h, w * h + cw * ch])
                .size(Yuv420::bytes(width, height)),
        )?;
        Ok(Self { path: path.to_path_buf(), input, color, rgb, yuv })
    }

    /// What the buffers must look like.
    pub(super) fn input(&self) -> &gst_video::VideoInfo {
        &self.input
    }

    fn run(
        &self,
        buffer: &gst::Buffer,
        target: &Target,
        index: u64,
    ) -> Result<Vec<u8>, StreamError> {
        target.convert(&self.input, buffer).map_err(|reason| StreamError::Convert {
            path: self.path.clone(),
            frame: index,
            reason,
        })
    }
}

impl Target {
    fn new(
        input: &gst_video::VideoInfo,
        output: gst_video::VideoInfoBuilder<'_>,
    ) -> Result<Self, gst::glib::BoolError> {
        let info = output.build()?;
        let converter = Mutex::new(gst_video::VideoConverter::new(input, &info, None)?);
        Ok(Self { info, converter })
    }

    fn convert(
        &self,
        input: &gst_video::VideoInfo,
        buffer: &gst::Buffer,
    ) -> Result<Vec<u8>, String> {
        let source = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, input)
            .map_err(|e| format!("the decoded buffer cannot be read: {e}"))?;
        let memory = gst::Buffer::from_mut_slice(vec![0u8; self.info.size()]);
        let mut output = gst_video::VideoFrame::from_buffer_writable(memory, &self.info)
            .map_err(|_| "no memory for the converted picture".to_owned())?;
        let converter = self.converter.lock().unwrap_or_else(PoisonError::into_inner);
        converter.frame_ref(&source, &mut output.as_mut_video_frame_ref());
        drop(converter);
        output.into_buffer().try_into_inner().map_err(|(_, e)| e.to_string())
    }
}

impl Decoded {
    pub(super) fn new(buffer: gst::Buffer, converter: Arc<Converter>) -> Self {
        Self { buffer, converter }
    }

    /// As RGB. `index` is for the error message.
    pub(super) fn frame(&self, index: u64) -> Result<Frame, StreamError> {
        let c = &self.converter;
        let rgb = c.run(&self.buffer, &c.rgb, index)?;
        Ok(Frame::new(c.input.width(), c.input.height(), rgb)?)
    }

    /// As YUV 4:2:0. `index` is for the error message.
    pub(super) fn yuv420(&self, index: u64) -> Result<Yuv420, StreamError> {
        let c = &self.converter;
        let data = c.run(&self.buffer, &c.yuv, index)?;
        Ok(Yuv420::new(c.input.width(), c.input.height(), c.color, data)?)
    }
}

impl std::fmt::Debug for Converter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Converter").field(&self.input).finish()
    }
}

impl std::fmt::Debug for Decoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decoded").field(&self.buffer.size()).finish()
    }
}

/// A picture of the input's size, rate and interlacing in another format.
fn plain(
    format: gst_video::VideoFormat,
    input: &gst_video::VideoInfo,
) -> gst_video::VideoInfoBuilder<'static> {
    gst_video::VideoInfo::builder(format, input.width(), input.height())
        .fps(input.fps())
        .par(input.par())
        .interlace_mode(input.interlace_mode())
        .field_order_if(
            input.field_order(),
            input.interlace_mode() == gst_video::VideoInterlaceMode::Interleaved,
        )
}

/// The colours in which a video is best drawn on: its own if they are one of the two usual
/// matrices, so that its bytes stay as they are, else the usual ones for its height.
pub(super) fn own_color(info: &gst_video::VideoInfo) -> Color {
    let usual = Color::usual(info.height());
    if !info.is_yuv() {
        return usual;
    }
    let own = info.colorimetry();
    let matrix = match own.matrix() {
        gst_video::VideoColorMatrix::Bt601 => ColorMatrix::Bt601,
        gst_video::VideoColorMatrix::Bt709 => ColorMatrix::Bt709,
        _ => usual.matrix,
    };
    let range = match own.range() {
        gst_video::VideoColorRange::Range0_255 => ColorRange::Full,
        _ => ColorRange::Limited,
    };
    Color { matrix, range }
}

/// GStreamer's words for a colour description.
pub(super) fn colorimetry(color: Color) -> gst_video::VideoColorimetry {
    let range = match color.range {
        ColorRange::Limited => gst_video::VideoColorRange::Range16_235,
        ColorRange::Full => gst_video::VideoColorRange::Range0_255,
    };
    let (matrix, primaries) = match color.matrix {
        ColorMatrix::Bt601 => {
            (gst_video::VideoColorMatrix::Bt601, gst_video::VideoColorPrimaries::Smpte170m)
        }
        ColorMatrix::Bt709 => {
            (gst_video::VideoColorMatrix::Bt709, gst_video::VideoColorPrimaries::Bt709)
        }
    };
    let transfer = match color.matrix {
        ColorMatrix::Bt601 => gst_video::VideoTransferFunction::Bt601,
        ColorMatrix::Bt709 => gst_video::VideoTransferFunction::Bt709,
    };
    gst_video::VideoColorimetry::new(range, matrix, transfer, primaries)
}
