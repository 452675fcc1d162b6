//! The encoding pipeline of one file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::convert::colorimetry;
use super::elements::{internal, make};
use super::{Interlacing, StreamError, WriterOptions};
use crate::image::{Color, ColorRange};

/// Seconds from one seekable frame to the next.
const KEY_INTERVAL_S: u32 = 2;

/// The running pipeline.
#[derive(Debug)]
pub(super) struct Encoding {
    pub(super) pipeline: gst::Pipeline,
    pub(super) source: gst_app::AppSrc,
    /// Frames that left the encoder.
    pub(super) encoded: Arc<AtomicU64>,
    /// Buffers that reached the file.
    stored: Arc<AtomicU64>,
}

impl Encoding {
    /// `appsrc ! (videoconvert !) encoder ! muxer ! filesink`, playing.
    pub(super) fn start(
        options: &WriterOptions,
        file: &Path,
        scratch: Option<&Path>,
    ) -> Result<Self, StreamError> {
        let rate = options.frame_rate.unwrap_or((0, 1));
        let color = match scratch {
            Some(_) => Color { range: ColorRange::Limited, ..options.color },
            None => options.color,
        };
        let fraction = |(n, d): (u32, u32)| gst::Fraction::new(n as i32, d.max(1) as i32);
        let fields = fields(options);
        let (mode, order) = match fields {
            Interlacing::Progressive => ("progressive", None),
            Interlacing::TopFieldFirst => ("interleaved", Some("top-field-first")),
            Interlacing::BottomFieldFirst => ("interleaved", Some("bottom-field-first")),
        };
        let caps = gst_video::VideoCapsBuilder::new()
            .format(gst_video::VideoFormat::I420)
            .width(options.width as i32)
            .height(options.height as i32)
            .framerate(fraction(rate))
            .pixel_aspect_ratio(fraction(options.par))
            .field("interlace-mode", mode)
            .field_if_some("field-order", order)
            .field("colorimetry", colorimetry(color).to_string())
            .build();
        // Bounded by `write` and not by blocking: a blocked push would outlive a dead encoder.
        let source = gst_app::AppSrc::builder()
            .caps(&caps)
            .format(gst::Format::Time)
            .is_live(false)
            .do_timestamp(false)
            .block(false)
            .max_bytes(0)
            .build();

        // videoconvert also takes the frames' unpadded rows where an encoder would not.
        let convert = make("videoconvert")?;
        convert.set_property("qos", false);
        // Chroma values are repeated, not smoothed, on the way to 4:4:4.
        convert.set_property_from_str("chroma-resampler", "nearest");
        let odd = options.width % 2 == 1 || options.height % 2 == 1;
        let format = if odd && !options.lossless { "Y444" } else { "I420" };
        let filter = make("capsfilter")?;
        let format = gst::Caps::builder("video/x-raw").field("format", format).build();
        filter.set_property("caps", format);

        let encoder = if options.lossless { make("avenc_ffv1")? } else { h264(rate, fields)? };
        let muxer = match scratch {
            None => make("matroskamux")?,
            Some(scratch) => mp4(scratch, options.frame_rate.is_none())?,
        };
        let sink = make("filesink")?;
        sink.set_property("location", file);
        sink.set_property("sync", false);
        // Else the pipeline waits for the encoder's first frame before it starts.
        sink.set_property("async", false);

        let pipeline = gst::Pipeline::new();
        let chain = [source.upcast_ref(), &convert, &filter, &encoder, &muxer, &sink];
        pipeline.add_many(chain).and_then(|()| gst::Element::link_many(chain)).map_err(internal)?;
        let encoded = count_buffers(&encoder, "src");
        let stored = count_buffers(&sink, "sink");
        let encoding = Self { pipeline, source, encoded, stored };
        encoding.pipeline.set_state(gst::State::Playing).map_err(internal)?;
        Ok(encoding)
    }

    /// A number that changes as long as anything moves.
    pub(super) fn progress(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed) + self.stored.load(Ordering::Relaxed)
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The fields that can be written as such: a field of 4:2:0 has whole rows of chroma.
pub(super) fn fields(options: &WriterOptions) -> Interlacing {
    let whole = options.width.is_multiple_of(2) && options.height.is_multiple_of(4);
    if whole { options.interlacing } else { Interlacing::Progressive }
}

/// x264 at constant quality.
fn h264((num, den): (u32, u32), fields: Interlacing) -> Result<gst::Element, StreamError> {
    let encoder = make("x264enc")?;
    encoder.set_property_from_str("speed-preset", "veryfast");
    encoder.set_property_from_str("pass", "qual");
    encoder.set_property("quantizer", 21u32);
    // With B-frames mp4mux writes too short a duration for uneven times, and players then leave out
    // the last frames. The property of that name is overruled by the preset.
    let order = match fields {
        Interlacing::Progressive => "",
        Interlacing::TopFieldFirst => ":tff=1",
        Interlacing::BottomFieldFirst => ":bff=1",
    };
    encoder.set_property("interlaced", fields != Interlacing::Progressive);
    encoder.set_property("option-string", format!("bframes=0{order}"));
    let rate = if num == 0 { 25 } else { num.div_ceil(den.max(1)) };
    encoder.set_property("key-int-max", rate.saturating_mul(KEY_INTERVAL_S).clamp(1, 600));
    Ok(encoder)
}

/// An MP4 muxer that writes its index first, so that the file plays while it is being fetched.
fn mp4(scratch: &Path, variable_rate: bool) -> Result<gst::Element, StreamError> {
    let muxer = make("mp4mux")?;
    muxer.set_property("faststart", true);
    // Else in the system's folder for temporary files, which may be too small for a video.
    muxer.set_property("faststart-file", scratch);
    if variable_rate {
        muxer.set_property("trak-timescale", 90_000u32);
    }
    Ok(muxer)
}

/// Counts what passes a pad.
fn count_buffers(element: &gst::Element, pad: &str) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    if let Some(pad) = element.static_pad(pad) {
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(kinds, move |_, info| {
            let n = match &info.data {
                Some(gst::PadProbeData::BufferList(list)) => list.len() as u64,
                _ => 1,
            };
            counter.fetch_add(n, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
    }
    count
}
