//! One file of a recording.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::branch::{RunTime, failure, h264};
use super::taps::live_appsrc;
use crate::stream::StreamError;
use crate::stream::elements::{in_words, internal, make};

/// Raw frames that wait for a segment's encoder.
const QUEUE: u64 = 8;

/// How long the end of a file may take to write.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// A Matroska file that is being written: H.264 that starts with a key frame, at times that start
/// at 0. Whatever is killed, all but the last moments can be read.
#[derive(Debug)]
pub(super) struct Segment {
    pipeline: gst::Pipeline,
    appsrc: gst_app::AppSrc,
    /// What the pipeline writes to; closed after it.
    _file: File,
    pub(super) path: PathBuf,
    pub(super) caps: gst::Caps,
    /// Time of its first frame in the run.
    pub(super) start: gst::ClockTime,
    /// When it was made.
    pub(super) begun: Instant,
    bytes: Arc<AtomicU64>,
    ending: Option<Instant>,
}

/// How the end of a file went.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    /// It is still being written.
    Awaited,
    /// The file is closed.
    Written,
    /// It could not be written, in words. What was written before can be read.
    Failed(String),
}

impl Segment {
    /// Starts to write to `file`, which is new and empty and lies at `path`.
    pub(super) fn create(
        file: File,
        path: &Path,
        caps: &gst::Caps,
        start: gst::ClockTime,
        quantizer: u32,
        time: &RunTime,
    ) -> Result<Self, StreamError> {
        let pipeline = gst::Pipeline::new();
        time.apply(&pipeline);
        let appsrc = live_appsrc(QUEUE);
        appsrc.set_leaky_type(gst_app::AppLeakyType::None);
        appsrc.set_caps(Some(caps));
        let mut chain: Vec<gst::Element> = vec![appsrc.clone().upcast()];
        chain.extend(h264(|encoder| {
            encoder.set_property_from_str("pass", "quant");
            encoder.set_property("quantizer", quantizer.min(50));
        })?);
        let mux = make("matroskamux")?;
        mux.set_property("min-cluster-duration", 250_000_000i64);
        mux.set_property("max-cluster-duration", 500_000_000i64);
        // It writes to the very file that was made, under whatever name, and without a buffer: each
        // block is with the system as soon as it is made, and survives a kill.
        let sink = make("fdsink")?;
        sink.set_property("fd", file.as_raw_fd());
        sink.set_property("sync", false);
        sink.set_property("async", false);
        let bytes = Arc::new(AtomicU64::new(0));
        if let Some(pad) = sink.static_pad("sink") {
            let bytes = Arc::clone(&bytes);
            let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
            pad.add_probe(kinds, move |_, info| {
                let size = match &info.data {
                    Some(gst::PadProbeData::Buffer(buffer)) => buffer.size(),
                    Some(gst::PadProbeData::BufferList(list)) => list.calculate_size(),
                    _ => 0,
                };
                bytes.fetch_add(size as u64, Ordering::Relaxed);
                gst::PadProbeReturn::Ok
            });
        }
        chain.extend([mux, sink]);
        pipeline
            .add_many(&chain)
            .and_then(|()| gst::Element::link_many(&chain))
            .map_err(internal)?;
        let segment = Self {
            pipeline,
            appsrc,
            _file: file,
            path: path.to_path_buf(),
            caps: caps.clone(),
            start,
            begun: Instant::now(),
            bytes,
            ending: None,
        };
        segment.pipeline.set_state(gst::State::Playing).map_err(|_| {
            let reason = segment.failure().unwrap_or_else(|| "it does not start".into());
            StreamError::Record { reason }
        })?;
        Ok(segment)
    }

    /// Takes a frame; `false` if it has no room for it.
    pub(super) fn give(&self, buffer: &gst::Buffer) -> bool {
        if self.appsrc.current_level_buffers() >= QUEUE {
            return false;
        }
        let mut buffer = buffer.copy();
        let pts = buffer.pts().map(|pts| pts.saturating_sub(self.start));
        buffer.make_mut().set_pts(pts);
        self.appsrc.push_buffer(buffer).is_ok()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Why it failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        failure(&self.pipeline)
    }

    /// Asks for the end of the file.
    pub(super) fn end(&mut self) {
        if self.ending.is_none() {
            self.ending = Some(Instant::now());
            let _ = self.appsrc.end_of_stream();
        }
    }

    /// Whether the end of the file that [`Segment::end`] has asked for is written.
    pub(super) fn ended(&self) -> End {
        let Some(since) = self.ending else { return End::Awaited };
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&kinds));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(e)) => {
                End::Failed(in_words(&e.error(), e.debug().as_deref()))
            }
            Some(_) => End::Written,
            None if since.elapsed() > FINISH_LIMIT => {
                End::Failed(format!("not done within {} s", FINISH_LIMIT.as_secs()))
            }
            None => End::Awaited,
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
