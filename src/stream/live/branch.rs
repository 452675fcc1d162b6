//! Pipelines behind the overlay: sinks and the preview. Each is its own, so that its faults and its
//! slowness stay its own.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::taps::{Inlet, TapFn};
use super::{PreviewOptions, SinkSpec};
use crate::stream::StreamError;
use crate::stream::elements::{in_words, internal, make};

/// Frames that wait for a sink.
const QUEUE: u64 = 2;

/// Bytes that wait for a TCP client before it is cut off: about four seconds.
const CLIENT_BYTES: i32 = 4 << 20;

/// Kilobits a second of network sinks.
const BITRATE: u32 = 8000;

/// Gets a preview picture.
pub(super) type JpegFn = dyn Fn(Arc<[u8]>) + Send + Sync;

/// The time that every pipeline of a run shares.
#[derive(Clone, Debug)]
pub(super) struct RunTime {
    pub(super) clock: gst::Clock,
    pub(super) base: gst::ClockTime,
}

impl RunTime {
    /// Puts a pipeline on this time.
    pub(super) fn apply(&self, pipeline: &gst::Pipeline) {
        pipeline.use_clock(Some(&self.clock));
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(self.base);
    }
}

/// A running pipeline behind a tap.
#[derive(Debug)]
pub(super) struct Branch {
    pipeline: gst::Pipeline,
    pub(super) inlet: Arc<Inlet>,
}

impl Branch {
    /// Starts a sink; `None` for one that needs nothing.
    pub(super) fn sink(
        spec: &SinkSpec,
        time: &RunTime,
        dropped: &Arc<AtomicU64>,
    ) -> Result<Option<Self>, StreamError> {
        let chain = match spec {
            SinkSpec::None => return Ok(None),
            SinkSpec::Display => {
                if !has_screen() {
                    return Err(StreamError::Sink {
                        kind: spec.to_string(),
                        reason:
                            "there is no screen (neither WAYLAND_DISPLAY nor DISPLAY is set); use \
                                 --sink none, srt:// or tcp://, or look at the page (--web)"
                                .into(),
                    });
                }
                avoid_framebuffers();
                let sink = make("autovideosink")?;
                sink.set_property("sync", false);
                vec![make("videoconvert")?, sink]
            }
            SinkSpec::Srt(uri) => {
                let sink = make("srtsink")?;
                // Without a host it listens.
                let listens = uri.starts_with("srt://:") && !uri.contains("mode=");
                let mode = if uri.contains('?') { "&mode=listener" } else { "?mode=listener" };
                let uri = format!("{uri}{}", if listens { mode } else { "" });
                sink.set_property("uri", uri);
                sink.set_property("wait-for-connection", false);
                transport(sink)?
            }
            SinkSpec::Tcp { host, port } => {
                // tcpserversink itself starts on a port that is taken, and serves nobody.
                TcpListener::bind((host.as_str(), *port)).map_err(|e| StreamError::Sink {
                    kind: spec.to_string(),
                    reason: format!("cannot listen at port {port}: {e}; choose another"),
                })?;
                let sink = make("tcpserversink")?;
                sink.set_property("host", host);
                sink.set_property("port", i32::from(*port));
                sink.set_property_from_str("unit-format", "bytes");
                sink.set_property("units-max", i64::from(CLIENT_BYTES));
                sink.set_property_from_str("sync-method", "latest-keyframe");
                transport(sink)?
            }
        };
        let inlet = Arc::new(Inlet::new(QUEUE, Arc::clone(dropped)));
        Self::start(inlet, &chain, time, &spec.to_string()).map(Some)
    }

    /// Starts the preview, which gives JPEG pictures to `on_jpeg`.
    pub(super) fn preview(
        options: PreviewOptions,
        time: &RunTime,
        made: &Arc<AtomicU64>,
        on_jpeg: Arc<JpegFn>,
    ) -> Result<Self, StreamError> {
        let int = |v: u32, most: u32| i32::try_from(v.clamp(1, most)).unwrap_or(1);
        let rate = make("videorate")?;
        rate.set_property("drop-only", true);
        rate.set_property("max-rate", int(options.max_rate, 240));
        let scale = make("videoscale")?;
        // JPEG is full range, and jpegenc takes YUV's bytes as if they were: only of RGB it knows better.
        let convert = make("videoconvert")?;
        let filter = make("capsfilter")?;
        let width = gst::IntRange::new(1, int(options.max_width, 8192).max(2));
        let square = gst::Fraction::new(1, 1);
        let caps = gst::Caps::builder("video/x-raw").field("format", "RGB").field("width", width);
        filter.set_property("caps", caps.field("pixel-aspect-ratio", square).build());
        let encoder = make("jpegenc")?;
        encoder.set_property("quality", int(options.quality, 100));
        let made = Arc::clone(made);
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some(map) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) {
                made.fetch_add(1, Ordering::Relaxed);
                on_jpeg(Arc::from(map.as_slice()));
            }
            Ok(gst::FlowSuccess::Ok)
        });
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .max_buffers(1)
            .drop(true)
            .enable_last_sample(false)
            .callbacks(callbacks.build())
            .build();
        let chain = [rate, scale, convert, filter, encoder, sink.upcast()];
        // Frames that the preview is too slow for are no loss that anyone should see counted.
        let inlet = Arc::new(Inlet::new(1, Arc::new(AtomicU64::new(0))));
        Self::start(inlet, &chain, time, "preview")
    }

    fn start(
        inlet: Arc<Inlet>,
        chain: &[gst::Element],
        time: &RunTime,
        name: &str,
    ) -> Result<Self, StreamError> {
        let pipeline = gst::Pipeline::new();
        time.apply(&pipeline);
        pipeline.add(inlet.element()).and_then(|()| pipeline.add_many(chain)).map_err(internal)?;
        gst::Element::link_many(std::iter::once(inlet.element()).chain(chain)).map_err(internal)?;
        let branch = Self { pipeline, inlet };
        branch.pipeline.set_state(gst::State::Playing).map_err(|_| {
            let reason = branch.failure().unwrap_or_else(|| "it does not start".into());
            StreamError::Sink { kind: name.into(), reason }
        })?;
        Ok(branch)
    }

    /// What gives it frames.
    pub(super) fn tap(&self) -> Arc<TapFn> {
        let inlet = Arc::clone(&self.inlet);
        Arc::new(move |_, buffer, caps| inlet.give(buffer, caps))
    }

    /// Why it failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        failure(&self.pipeline)
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The first error on a pipeline's bus, in words; the rest of the bus is emptied.
pub(super) fn failure(pipeline: &gst::Pipeline) -> Option<String> {
    let bus = pipeline.bus()?;
    let mut failure = None;
    while let Some(message) = bus.pop() {
        if let gst::MessageView::Error(e) = message.view()
            && failure.is_none()
        {
            failure = Some(in_words(&e.error(), e.debug().as_deref()));
        }
    }
    failure
}

/// H.264 in MPEG-TS in front of a network sink.
fn transport(sink: gst::Element) -> Result<Vec<gst::Element>, StreamError> {
    sink.set_property("sync", false);
    sink.set_property("async", false);
    let mut chain = h264(|encoder| encoder.set_property("bitrate", BITRATE))?;
    let mux = make("mpegtsmux")?;
    mux.set_property("alignment", 7);
    chain.extend([mux, sink]);
    Ok(chain)
}

/// x264 without delay, with a key frame at least every 50 frames.
pub(super) fn h264(rate: impl Fn(&gst::Element)) -> Result<Vec<gst::Element>, StreamError> {
    // H.264 in 4:2:0 has even sides; an odd picture grows or shrinks by one pixel.
    let scale = make("videoscale")?;
    let even = make("capsfilter")?;
    let side = || gst::IntRange::with_step(2, 16384, 2);
    let caps = gst::Caps::builder("video/x-raw").field("width", side()).field("height", side());
    even.set_property("caps", caps.build());
    let encoder = make("x264enc")?;
    encoder.set_property_from_str("tune", "zerolatency");
    encoder.set_property_from_str("speed-preset", "ultrafast");
    encoder.set_property("key-int-max", 50u32);
    rate(&encoder);
    Ok(vec![scale, even, encoder])
}

/// Whether a window can be opened on this machine.
pub fn has_screen() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    set("WAYLAND_DISPLAY") || set("DISPLAY")
}

/// Keeps autovideosink from what draws without a window system: DirectFB ends the whole program where
/// it finds no screen.
fn avoid_framebuffers() {
    let registry = gst::Registry::get();
    for name in ["dfbvideosink", "fbdevsink", "kmssink"] {
        if let Some(feature) = registry.lookup_feature(name) {
            feature.set_rank(gst::Rank::NONE);
        }
    }
}
