//! The running pipeline of a reader: pulls decoded buffers out of it and gathers what it says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use image::metadata::Orientation;

use super::StreamError;
use super::container::cut_short;
use super::elements::{clock_time, in_words, missing_decoders};
use super::pipeline::Tally;

/// How long one look for a picture lasts before the pipeline's messages are read again.
const LOOK: Duration = Duration::from_millis(100);
/// How long frames may still trickle out of a decoder after something before it has failed.
const GRACE: Duration = Duration::from_secs(2);
/// Warnings kept in words.
const KEPT_WARNINGS: usize = 8;

/// The running pipeline and what it has said.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) path: PathBuf,
    pub(super) pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    pub(super) tally: Arc<Tally>,
    stall_limit: Duration,
    /// The error that ended decoding.
    pub(super) failure: Option<String>,
    /// The parts that decodebin missed: GStreamer's name for each and its caps.
    missing: Vec<(String, String)>,
    pub(super) warnings: Vec<String>,
    pub(super) codec: Option<String>,
    pub(super) container: Option<String>,
}

impl Feed {
    pub(super) fn new(
        path: &Path,
        pipeline: gst::Pipeline,
        sink: gst_app::AppSink,
        tally: Arc<Tally>,
        stall_limit: Duration,
    ) -> Self {
        Self {
            path: path.to_path_buf(),
            pipeline,
            sink,
            tally,
            stall_limit,
            failure: None,
            missing: Vec::new(),
            warnings: Vec::new(),
            codec: None,
            container: None,
        }
    }

    /// How the stream's tags say that frames are to be turned.
    pub(super) fn orientation(&self) -> Orientation {
        let Some(pad) = self.sink.static_pad("sink") else { return Orientation::NoTransforms };
        let tags = (0..).map_while(|index| pad.sticky_event::<gst::event::Tag>(index));
        let told = tags.filter_map(|event| {
            let tag = event.tag().get::<gst::tags::ImageOrientation>()?;
            // The tag's names are those of EXIF's eight, turned clockwise.
            Some(match tag.get() {
                "rotate-90" => Orientation::Rotate90,
                "rotate-180" => Orientation::Rotate180,
                "rotate-270" => Orientation::Rotate270,
                "flip-rotate-0" => Orientation::FlipHorizontal,
                "flip-rotate-90" => Orientation::Rotate270FlipH,
                "flip-rotate-180" => Orientation::FlipVertical,
                "flip-rotate-270" => Orientation::Rotate90FlipH,
                _ => Orientation::NoTransforms,
            })
        });
        told.last().unwrap_or(Orientation::NoTransforms)
    }

    /// The next decoded buffer, `None` at the end of the stream or after a failure.
    pub(super) fn pull(&mut self, frames: u64) -> Result<Option<gst::Sample>, StreamError> {
        let since = Instant::now();
        loop {
            // The sink hands out what is queued before it admits the end of the stream.
            let sample = self.sink.try_pull_sample(clock_time(LOOK.min(self.stall_limit)));
            self.listen();
            if sample.is_some() || self.sink.is_eos() {
                return Ok(sample);
            }
            let waited = since.elapsed();
            if waited >= GRACE && (self.failure.is_some() || self.tally.stopped_early()) {
                return Ok(None);
            }
            if waited >= self.stall_limit && frames > 0 {
                // What came is good: the end comes too early, and is reported as such.
                self.failure = Some(format!("nothing came for {:.0} s", waited.as_secs_f64()));
                return Ok(None);
            }
            if waited >= self.stall_limit {
                return Err(StreamError::Stalled { path: self.path.clone(), waited });
            }
        }
    }

    /// Reads all messages, so that they do not pile up.
    fn listen(&mut self) {
        let Some(bus) = self.pipeline.bus() else { return };
        while let Some(message) = bus.pop() {
            match message.view() {
                gst::MessageView::Error(e) => {
                    let text = in_words(&e.error(), e.debug().as_deref());
                    self.log(&text);
                    self.failure.get_or_insert(text);
                    let details = e.debug().unwrap_or_default();
                    for (name, kind) in missing_decoders(&details) {
                        if !self.missing.iter().any(|(n, _)| *n == name) {
                            self.missing.push((name, kind));
                        }
                    }
                }
                gst::MessageView::Warning(w) => {
                    let text = in_words(&w.error(), w.debug().as_deref());
                    self.log(&text);
                    if self.warnings.len() < KEPT_WARNINGS && !self.warnings.contains(&text) {
                        self.warnings.push(text);
                    }
                }
                gst::MessageView::Tag(t) => {
                    let tags = t.tags();
                    if let Some(codec) = tags.get::<gst::tags::VideoCodec>() {
                        self.codec.get_or_insert(codec.get().to_owned());
                    }
                    if let Some(container) = tags.get::<gst::tags::ContainerFormat>() {
                        self.container.get_or_insert(container.get().to_owned());
                    }
                }
                gst::MessageView::Element(e) => {
                    if let Some(s) = e.structure().filter(|s| s.name() == "missing-plugin") {
                        let name = s.get::<String>("name").unwrap_or_default();
                        let caps = s.get::<gst::Caps>("detail").ok();
                        let kind = caps.and_then(|c| Some(c.structure(0)?.name().to_string()));
                        self.missing.push((name, kind.unwrap_or_default()));
                    }
                }
                _ => {}
            }
        }
    }

    /// Logs what the pipeline says, without the file's name, which may be a patient's.
    fn log(&self, text: &str) {
        let name = self.path.to_string_lossy();
        log::debug!("reading a video: {}", text.replace(name.as_ref(), "the file"));
    }

    /// Why not a single frame came.
    pub(super) fn nothing(&mut self) -> StreamError {
        self.listen();
        let path = self.path.clone();
        let reason = self.failure.take().unwrap_or_default();
        if self.tally.video.load(Ordering::Relaxed) {
            // A decoder asks for memory for what it cannot name.
            return match reason.starts_with("Unable to allocate memory") {
                true => StreamError::PixelFormat { path },
                false => StreamError::NoFrames { path, reason },
            };
        }
        let names = |wanted: &dyn Fn(&str) -> bool| {
            let names = self.missing.iter().filter(|(_, kind)| wanted(kind));
            names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let other = |kind: &str| {
            ["audio/", "text/", "subpicture/", "application/x-subtitle"]
                .iter()
                .any(|prefix| kind.starts_with(prefix))
        };
        // What no plugin knows and is no picture either: an archive, a document, a program.
        let foreign = |kind: &str| kind.starts_with("application/") && !other(kind);
        let missing = names(&|kind| !other(kind) && !foreign(kind));
        let found = names(&other);
        let tracks = self.tally.choice.words();
        if self.tally.choice.wanted() >= tracks.len() && !tracks.is_empty() {
            let number = self.tally.choice.wanted();
            return StreamError::NoTrack { path, number, found: tracks };
        }
        if !missing.is_empty() {
            StreamError::UnsupportedCodec { path, missing }
        } else if !found.is_empty() {
            StreamError::NoVideoStream { path, found }
        } else {
            let missing = self.tally.choice.missing();
            let none = || if reason.is_empty() { "no stream in it".into() } else { reason };
            let mut reason = missing.unwrap_or_else(none);
            if let Some(short) = cut_short(&path) {
                reason = format!("{reason}; {short}");
            }
            StreamError::NotVideo { path, reason }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
