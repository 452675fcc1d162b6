//! Decoded buffers to plain pixels. What needs no change is copied byte for byte; the rest goes through
//! GStreamer's own converter, which knows every raw format, stride and colour matrix.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use image::DynamicImage;
use image::metadata::Orientation;

use super::hdr::Transfer;
use super::samples::{Mapped, are_yuv420, component, is_luma_whole};
use super::{Interlacing, StreamError};
use crate::Frame;
use crate::image::{Color, ColorMatrix, ColorRange, Yuv420, plane_sizes};

/// What is done to the buffers of a video besides a change of format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// Colours of the YUV that comes out.
    pub(super) color: Color,
    /// How frames are turned to be upright.
    pub(super) orientation: Orientation,
    /// Whether frames are two fields each, as they are decoded.
    pub(super) has_fields: bool,
}

/// Converts buffers of one format and size.
pub(super) struct Converter {
    path: PathBuf,
    input: gst_video::VideoInfo,
    plan: Plan,
    rgb: Rgb,
    yuv: Yuv,
}

/// How RGB comes about.
enum Rgb {
    /// Luma is repeated in the three channels.
    Grey,
    /// GStreamer converts.
    Converted(Target),
    /// GStreamer converts to 16 bits a channel, and the light is brought to ordinary video.
    Wide(Target, Transfer),
}

/// How YUV 4:2:0 comes about.
enum Yuv {
    /// From the decoder's own bytes.
    Copied,
    /// Luma is grey, and there is no chroma.
    Grey,
    /// GStreamer converts; `true` if luma is the decoder's own all the same.
    Converted(Target, bool),
    /// From RGB.
    OfRgb,
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
    /// For buffers as `input` describes them.
    pub(super) fn new(
        path: &Path,
        input: gst_video::VideoInfo,
        plan: Plan,
    ) -> Result<Self, gst::glib::BoolError> {
        let format = input.format_info();
        let is_grey = format.is_gray() && is_luma_whole(&format);
        let rgb = match Transfer::of(&input.colorimetry()).filter(|_| !is_grey) {
            Some(transfer) => Rgb::Wide(Target::deep(&input, plan)?, transfer),
            None if is_grey => Rgb::Grey,
            None => Rgb::Converted(Target::rgb(&input, plan)?),
        };
        let keeps_colors = input.is_yuv() && plan.color == own_color(&input) && is_usual(&input);
        let yuv = match &rgb {
            Rgb::Wide(..) => Yuv::OfRgb,
            Rgb::Grey => Yuv::Grey,
            Rgb::Converted(_) if keeps_colors && are_yuv420(&format) => Yuv::Copied,
            Rgb::Converted(_) => {
                let luma = keeps_colors && is_luma_whole(&format);
                Yuv::Converted(Target::yuv(&input, plan)?, luma)
            }
        };
        Ok(Self { path: path.to_path_buf(), input, plan, rgb, yuv })
    }

    /// What the buffers must look like.
    pub(super) fn input(&self) -> &gst_video::VideoInfo {
        &self.input
    }

    fn size(&self) -> (u32, u32) {
        (self.input.width(), self.input.height())
    }

    fn map<'a>(&self, buffer: &'a gst::Buffer) -> Result<Mapped<'a>, String> {
        gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &self.input)
            .map_err(|e| format!("the decoded buffer cannot be read: {e}"))
    }

    /// RGB as it is stored, before it is turned.
    fn rgb(&self, mapped: &Mapped<'_>) -> Result<Vec<u8>, String> {
        let (width, height) = self.size();
        match &self.rgb {
            Rgb::Grey => {
                let luma = self.luma(mapped)?;
                let grey = |v: &u8| match self.range() {
                    ColorRange::Full => *v,
                    ColorRange::Limited => {
                        ((u32::from(v.saturating_sub(16)) * 255 + 109) / 219).min(255) as u8
                    }
                };
                Ok(luma.iter().flat_map(|v| [grey(v); 3]).collect())
            }
            Rgb::Converted(target) => target.convert(mapped),
            Rgb::Wide(target, transfer) => {
                let bytes = target.convert(mapped)?;
                let (words, _) = bytes.as_chunks::<2>();
                let words: Vec<u16> = words.iter().map(|word| u16::from_ne_bytes(*word)).collect();
                let frame = transfer.frame(width, height, &words);
                Ok(frame.ok_or("the converted frame has another size")?.rgb().to_vec())
            }
        }
    }

    /// The planes Y, Cb, Cr one after the other, before they are turned. `None` if they come from RGB.
    fn planes(&self, mapped: &Mapped<'_>) -> Result<Option<Vec<u8>>, String> {
        let (width, height) = self.size();
        Ok(match &self.yuv {
            Yuv::Copied => {
                let mut planes = Vec::with_capacity(Yuv420::bytes(width, height));
                for place in 0..3 {
                    planes.extend(component(mapped, place, false)?);
                }
                Some(planes)
            }
            Yuv::Grey => {
                let mut planes = self.luma(mapped)?;
                planes.resize(Yuv420::bytes(width, height), 128);
                Some(planes)
            }
            Yuv::Converted(target, own_luma) => {
                let mut planes = target.convert(mapped)?;
                if *own_luma {
                    let luma = self.luma(mapped)?;
                    planes[..luma.len()].copy_from_slice(&luma);
                }
                Some(planes)
            }
            Yuv::OfRgb => None,
        })
    }

    fn luma(&self, mapped: &Mapped<'_>) -> Result<Vec<u8>, String> {
        component(mapped, 0, self.range() == ColorRange::Full)
    }

    fn range(&self) -> ColorRange {
        own_color(&self.input).range
    }

    fn failed(&self, frame: u64, reason: String) -> StreamError {
        StreamError::Convert { path: self.path.clone(), frame, reason }
    }
}

impl Target {
    fn rgb(input: &gst_video::VideoInfo, plan: Plan) -> Result<Self, gst::glib::BoolError> {
        let row = input.width() as usize * 3;
        let output = plain(gst_video::VideoFormat::Rgb, input, plan)
            .stride(&[row as i32])
            .offset(&[0])
            .size(row * input.height() as usize)
            .build()?;
        Self::new(input, output, plan)
    }

    fn yuv(input: &gst_video::VideoInfo, plan: Plan) -> Result<Self, gst::glib::BoolError> {
        let (width, height) = (input.width(), input.height());
        let [(w, h), (cw, ch), _] = plane_sizes(width, height);
        let site = input.is_yuv().then(|| input.chroma_site()).filter(|site| !site.is_empty());
        let output = plain(gst_video::VideoFormat::I420, input, plan)
            .colorimetry(&colorimetry(plan.color))
            .chroma_site_if_some(site)
            .stride(&[w as i32, cw as i32, cw as i32])
            .offset(&[0, w * h, w * h + cw * ch])
            .size(Yuv420::bytes(width, height))
            .build()?;
        Self::new(input, output, plan)
    }

    /// RGB of 16 bits a channel in the input's own primaries and transfer.
    fn deep(input: &gst_video::VideoInfo, plan: Plan) -> Result<Self, gst::glib::BoolError> {
        let own = input.colorimetry();
        let same = gst_video::VideoColorimetry::new(
            gst_video::VideoColorRange::Range0_255,
            gst_video::VideoColorMatrix::Rgb,
            own.transfer(),
            own.primaries(),
        );
        let row = input.width() as usize * 8;
        let output = plain(gst_video::VideoFormat::Argb64, input, plan)
            .colorimetry(&same)
            .stride(&[row as i32])
            .offset(&[0])
            .size(row * input.height() as usize)
            .build()?;
        Self::new(input, output, plan)
    }

    fn new(
        input: &gst_video::VideoInfo,
        info: gst_video::VideoInfo,
        plan: Plan,
    ) -> Result<Self, gst::glib::BoolError> {
        let input = with_fields(gst_video::VideoInfo::builder_from_info(input), input, plan);
        let converter = gst_video::VideoConverter::new(&input.build()?, &info, None)?;
        Ok(Self { info, converter: Mutex::new(converter) })
    }

    fn convert(&self, source: &Mapped<'_>) -> Result<Vec<u8>, String> {
        let memory = gst::Buffer::from_mut_slice(vec![0u8; self.info.size()]);
        let mut output = gst_video::VideoFrame::from_buffer_writable(memory, &self.info)
            .map_err(|_| "no memory for the converted frame".to_owned())?;
        let converter = self.converter.lock().unwrap_or_else(PoisonError::into_inner);
        converter.frame_ref(source, &mut output.as_mut_video_frame_ref());
        drop(converter);
        output.into_buffer().try_into_inner().map_err(|(_, e)| e.to_string())
    }
}

impl Decoded {
    pub(super) fn new(buffer: gst::Buffer, converter: Arc<Converter>) -> Self {
        Self { buffer, converter }
    }

    /// As RGB, upright. `index` is for the error message.
    pub(super) fn frame(&self, index: u64) -> Result<Frame, StreamError> {
        let c = &self.converter;
        let rgb = c.map(&self.buffer).and_then(|mapped| c.rgb(&mapped));
        let rgb = rgb.map_err(|reason| c.failed(index, reason))?;
        let (width, height) = c.size();
        if c.plan.orientation == Orientation::NoTransforms {
            return Ok(Frame::new(width, height, rgb)?);
        }
        let mut image = image::RgbImage::from_raw(width, height, rgb)
            .map(DynamicImage::ImageRgb8)
            .unwrap_or_default();
        image.apply_orientation(c.plan.orientation);
        Ok(Frame::new(image.width(), image.height(), image.into_bytes())?)
    }

    /// As YUV 4:2:0, upright; `None` if that is to be made from RGB. `index` is for the error message.
    pub(super) fn yuv420(&self, index: u64) -> Result<Option<Yuv420>, StreamError> {
        let c = &self.converter;
        let planes = c.map(&self.buffer).and_then(|mapped| c.planes(&mapped));
        let Some(planes) = planes.map_err(|reason| c.failed(index, reason))? else {
            return Ok(None);
        };
        let ((width, height), color) = (c.size(), c.plan.color);
        if c.plan.orientation == Orientation::NoTransforms {
            return Ok(Some(Yuv420::new(width, height, color, planes)?));
        }
        let stored = Yuv420::new(width, height, color, planes)?;
        let mut turned = Vec::with_capacity(stored.data().len());
        for (plane, (w, h)) in stored.planes().into_iter().zip(plane_sizes(width, height)) {
            let image = image::GrayImage::from_raw(w as u32, h as u32, plane.to_vec());
            let mut image = image.map(DynamicImage::ImageLuma8).unwrap_or_default();
            image.apply_orientation(c.plan.orientation);
            turned.extend(image.into_bytes());
        }
        let (width, height) = turned_size(c.plan.orientation, (width, height));
        Ok(Some(Yuv420::new(width, height, color, turned)?))
    }
}

/// Width and height once a frame is upright.
pub(super) fn turned_size(orientation: Orientation, (width, height): (u32, u32)) -> (u32, u32) {
    if is_quarter(orientation) { (height, width) } else { (width, height) }
}

/// Whether columns become rows.
pub(super) fn is_quarter(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

impl Interlacing {
    /// Of a decoded buffer, before it is turned: by the decoder's word, or else by the container's.
    /// Where nobody tells the order it is the usual one for the height.
    pub(super) fn of(
        info: &gst_video::VideoInfo,
        buffer: &gst::BufferRef,
        container: Option<Self>,
    ) -> Self {
        let flags = buffer.video_flags();
        let is_flagged = flags.contains(gst_video::VideoBufferFlags::INTERLACED);
        let is_mixed = info.interlace_mode() == gst_video::VideoInterlaceMode::Mixed;
        if !info.is_interlaced() || (is_mixed && !is_flagged) {
            return Self::Progressive;
        }
        let is_top = match (info.field_order(), container) {
            _ if is_flagged => flags.contains(gst_video::VideoBufferFlags::TFF),
            (gst_video::VideoFieldOrder::TopFieldFirst, _) => true,
            (gst_video::VideoFieldOrder::BottomFieldFirst, _) => false,
            (_, Some(order)) => order != Self::BottomFieldFirst,
            // NTSC.
            _ => !matches!(info.height(), 480 | 486),
        };
        if is_top { Self::TopFieldFirst } else { Self::BottomFieldFirst }
    }

    /// Once frames of so many rows are upright. Rows that became columns are no fields.
    pub(super) fn turned(self, orientation: Orientation, rows: u32) -> Self {
        let swapped = match self {
            Self::Progressive => Self::Progressive,
            Self::TopFieldFirst => Self::BottomFieldFirst,
            Self::BottomFieldFirst => Self::TopFieldFirst,
        };
        match orientation {
            _ if is_quarter(orientation) => Self::Progressive,
            Orientation::Rotate180 | Orientation::FlipVertical if rows.is_multiple_of(2) => swapped,
            _ => self,
        }
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

/// A frame of the input's size, rate and fields in another format.
fn plain(
    format: gst_video::VideoFormat,
    input: &gst_video::VideoInfo,
    plan: Plan,
) -> gst_video::VideoInfoBuilder<'static> {
    let builder = gst_video::VideoInfo::builder(format, input.width(), input.height());
    with_fields(builder.fps(input.fps()).par(input.par()), input, plan)
}

fn with_fields<'a>(
    builder: gst_video::VideoInfoBuilder<'a>,
    input: &gst_video::VideoInfo,
    plan: Plan,
) -> gst_video::VideoInfoBuilder<'a> {
    match plan.has_fields {
        true => builder
            .interlace_mode(gst_video::VideoInterlaceMode::Interleaved)
            .field_order(input.field_order()),
        false => builder
            .interlace_mode(gst_video::VideoInterlaceMode::Progressive)
            .field_order(gst_video::VideoFieldOrder::Unknown),
    }
}

/// Whether bytes in the [own colours](own_color) mean what they did.
fn is_usual(info: &gst_video::VideoInfo) -> bool {
    matches!(
        info.colorimetry().matrix(),
        gst_video::VideoColorMatrix::Bt601
            | gst_video::VideoColorMatrix::Bt709
            | gst_video::VideoColorMatrix::Unknown
    )
}

/// The colours in which a video is best drawn on: its own if they are one of the two usual
/// matrices, so that its bytes stay as they are, else the usual ones for its height. Grey has the range
/// of its own values.
pub(super) fn own_color(info: &gst_video::VideoInfo) -> Color {
    let usual = Color::usual(info.height());
    if !info.is_yuv() && !info.is_gray() || Transfer::of(&info.colorimetry()).is_some() {
        return usual;
    }
    let own = info.colorimetry();
    let matrix = match own.matrix() {
        _ if info.is_gray() => usual.matrix,
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

/// Size, format and colours as the caps say. Where those leave out the matrix, GStreamer 1.22 takes its
/// default for all of the colours, and so loses the range of a full-range stream.
pub(super) fn described(caps: &gst::CapsRef) -> Result<gst_video::VideoInfo, gst::glib::BoolError> {
    let info = gst_video::VideoInfo::from_caps(caps)?;
    let told = caps.structure(0).and_then(|s| s.get::<String>("colorimetry").ok());
    match told.and_then(|text| text.parse::<gst_video::VideoColorimetry>().ok()) {
        Some(own) if own != info.colorimetry() && !info.is_rgb() => {
            gst_video::VideoInfo::builder_from_info(&info).colorimetry(&own).build()
        }
        _ => Ok(info),
    }
}

/// What a decoded buffer's colours are where the decoder gives no more than GStreamer's own default:
/// those that the container tells, with its range if it tells one.
pub(super) fn settled(
    info: gst_video::VideoInfo,
    container: Option<&str>,
    is_full: Option<bool>,
) -> Result<gst_video::VideoInfo, gst::glib::BoolError> {
    let default =
        gst_video::VideoInfo::builder(info.format(), info.width(), info.height()).build()?;
    let own = filled(info.colorimetry(), &default.colorimetry());
    let told = container.and_then(|text| text.parse::<gst_video::VideoColorimetry>().ok());
    let settled = match (told, is_full) {
        // The stream itself tells, or nobody does.
        _ if info.is_rgb() || own != default.colorimetry() => own,
        (None, None) => own,
        (told, is_full) => {
            let told = filled(told.unwrap_or(own), &own);
            let range = match is_full {
                Some(true) => gst_video::VideoColorRange::Range0_255,
                Some(false) => gst_video::VideoColorRange::Range16_235,
                None => told.range(),
            };
            let (transfer, primaries) = (told.transfer(), told.primaries());
            gst_video::VideoColorimetry::new(range, told.matrix(), transfer, primaries)
        }
    };
    if settled == info.colorimetry() {
        return Ok(info);
    }
    gst_video::VideoInfo::builder_from_info(&info).colorimetry(&settled).build()
}

/// A colour description with another's parts where its own are unknown; GStreamer's converter does
/// nothing where it does not know the matrix. That of RGB says nothing of YUV.
fn filled(
    own: gst_video::VideoColorimetry,
    other: &gst_video::VideoColorimetry,
) -> gst_video::VideoColorimetry {
    let is_rgb = other.matrix() == gst_video::VideoColorMatrix::Rgb;
    let matrix = match own.matrix() {
        gst_video::VideoColorMatrix::Unknown => other.matrix(),
        gst_video::VideoColorMatrix::Rgb if !is_rgb => other.matrix(),
        matrix => matrix,
    };
    let range = match own.range() {
        gst_video::VideoColorRange::Unknown => other.range(),
        range => range,
    };
    let transfer = match own.transfer() {
        gst_video::VideoTransferFunction::Unknown => other.transfer(),
        transfer => transfer,
    };
    let primaries = match own.primaries() {
        gst_video::VideoColorPrimaries::Unknown => other.primaries(),
        primaries => primaries,
    };
    gst_video::VideoColorimetry::new(range, matrix, transfer, primaries)
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
