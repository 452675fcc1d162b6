//! One attempt at a source: a pipeline of its own, or a thread that makes pictures.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::feed::{Feed, Signal};
use super::spec::{Mode, SourceSpec, is_pipe};
use super::timeline::Pacer;
use super::{frames, launch::LaunchFile};
use crate::stream::StreamError;
use crate::stream::container::cut_short;
use crate::stream::elements::{duration, in_words, internal, make};
use crate::stream::reader::EXACT_DEMUXERS;

/// What stands behind every source: frames that the overlay can draw on, and a sink that takes
/// them out of the pipeline.
const TAIL: &str = "videoconvert name=p2samconvert ! capsfilter name=p2samformat ! fakesink \
                    name=p2samframes sync=false async=false enable-last-sample=false";

/// Delay of network streams' jitter buffers in milliseconds.
const LATENCY_MS: u32 = 50;

/// By how much a whole file's video may end before the file: sound may last longer.
const SHORTER: Duration = Duration::from_secs(2);

/// A running attempt. It gives its frames to the feed and its fate to the feed's signals.
#[derive(Debug)]
pub(super) struct Attempt {
    kind: Kind,
    stop: Arc<AtomicBool>,
    /// The file that is played, if it is one.
    path: Option<PathBuf>,
    /// The pipe that is read; closed after the pipeline.
    _pipe: Option<File>,
}

#[derive(Debug)]
enum Kind {
    Pipeline(gst::Pipeline),
    Thread(Option<JoinHandle<()>>),
}

impl Attempt {
    /// Starts attempt `number`, whose frames the feed already takes.
    pub(super) fn start(
        spec: &SourceSpec,
        number: u64,
        feed: &Arc<Feed>,
    ) -> Result<Self, StreamError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (thread_feed, thread_stop) = (Arc::clone(feed), Arc::clone(&stop));
        let thread = match spec {
            SourceSpec::Frames { make, rate } => {
                let (make, rate) = (Arc::clone(make), *rate);
                frames::spawn(move || {
                    frames::made(&*make, rate, number, &thread_feed, &thread_stop)
                })
            }
            SourceSpec::Pictures { path, rate, looped } => {
                let (path, rate, looped) = (path.clone(), *rate, *looped);
                frames::spawn(move || {
                    frames::pictures(&path, rate, looped, number, &thread_feed, &thread_stop);
                })
            }
            _ => {
                let (pipeline, pipe) = pipeline(spec, number, feed, &stop)?;
                let path = match spec {
                    SourceSpec::File { path, .. } if pipe.is_none() => Some(path.clone()),
                    _ => None,
                };
                let kind = Kind::Pipeline(pipeline.clone());
                let attempt = Self { kind, stop, path, _pipe: pipe };
                pipeline.set_state(gst::State::Playing).map_err(|_| StreamError::Source {
                    kind: spec.kind().into(),
                    reason: "it cannot be started; is the device there and free?".into(),
                })?;
                return Ok(attempt);
            }
        };
        let thread = thread.map_err(internal)?;
        Ok(Self { kind: Kind::Thread(Some(thread)), stop, path: None, _pipe: None })
    }

    /// What of a file is missing that was played to its end, in words; `last` is the time of its last
    /// frame.
    pub(super) fn cut_short(&self, last: Option<Duration>) -> Option<String> {
        let (Kind::Pipeline(pipeline), Some(path)) = (&self.kind, &self.path) else { return None };
        if let Some(short) = cut_short(path) {
            return Some(short);
        }
        // Others estimate their length.
        let mut elements = pipeline.iterate_recurse().into_iter().flatten();
        let exact = elements.any(|element| {
            let name = element.factory().map(|factory| factory.name());
            name.is_some_and(|name| EXACT_DEMUXERS.contains(&name.as_str()))
        });
        let length = pipeline.query_duration::<gst::ClockTime>().filter(|_| exact);
        let length = length.map(duration)?;
        let missing = length.saturating_sub(last?);
        (missing > SHORTER.max(length / 50)).then(|| {
            format!(
                "the file says that it lasts {:.1} s, but its video ends after {:.1} s",
                length.as_secs_f64(),
                length.saturating_sub(missing).as_secs_f64()
            )
        })
    }

    /// Plays a file from its start again, if it can.
    pub(super) fn rewind(&self) -> bool {
        let Kind::Pipeline(pipeline) = &self.kind else { return false };
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
        pipeline.seek_simple(flags, gst::ClockTime::ZERO).is_ok()
    }
}

impl Drop for Attempt {
    /// Waits until the device is free again.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        match &mut self.kind {
            Kind::Pipeline(pipeline) => {
                let _ = pipeline.set_state(gst::State::Null);
                // The bus's handler holds the feed.
                if let Some(bus) = pipeline.bus() {
                    bus.unset_sync_handler();
                }
            }
            Kind::Thread(thread) => {
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
        }
    }
}

/// Builds a source's pipeline and connects it to the feed; the pipe that it reads, if any.
fn pipeline(
    spec: &SourceSpec,
    number: u64,
    feed: &Arc<Feed>,
    stop: &Arc<AtomicBool>,
) -> Result<(gst::Pipeline, Option<File>), StreamError> {
    let (pipeline, pipe, paced) = match spec {
        SourceSpec::Launch(file) => (file.build(TAIL)?, None, file.is_paced()),
        _ => {
            let (pipeline, pipe) = built(spec)?;
            (pipeline, pipe, matches!(spec, SourceSpec::File { .. }))
        }
    };
    // One clock for all, so that none can be lost with its device.
    pipeline.use_clock(Some(&gst::SystemClock::obtain()));
    let named = |name: &str| pipeline.by_name(name).ok_or_else(|| internal("an element is gone"));
    let formats =
        gst::Caps::builder("video/x-raw").field("format", gst::List::new(["I420", "NV12"]));
    named("p2samformat")?.set_property("caps", formats.build());
    named("p2samconvert")?.set_property("qos", false);
    let pad = named("p2samframes")?.static_pad("sink").ok_or_else(|| internal("no sink pad"))?;

    let (frames, stop) = (Arc::clone(feed), Arc::clone(stop));
    let pacer = std::sync::Mutex::new(paced.then(Pacer::default));
    // A probe that takes the buffer away is its only owner: an appsink would hold a reference, and
    // the overlay would have to copy.
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = info.data.take() else {
            return gst::PadProbeReturn::Ok;
        };
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let pts = buffer.pts().and_then(|pts| {
            let segment = segment.as_ref()?.segment().downcast_ref::<gst::ClockTime>()?;
            segment.to_running_time(pts)
        });
        if let (Ok(mut pacer), Some(pts)) = (pacer.lock(), pts)
            && let Some(pacer) = pacer.as_mut()
        {
            let due = pacer.due(Duration::from_nanos(pts.nseconds()), Instant::now());
            sleep_until(due, &stop);
        }
        if let Some(caps) = pad.current_caps() {
            frames.push(number, buffer, &caps, pts);
        }
        gst::PadProbeReturn::Handled
    });

    let bus = pipeline.bus().ok_or_else(|| internal("a pipeline without a bus"))?;
    let (feed, spec) = (Arc::clone(feed), spec.clone());
    bus.set_sync_handler(move |_, message| {
        let words = |error: &gst::glib::Error, debug: Option<gst::glib::GString>| {
            spec.hide(&in_words(error, debug.as_deref()))
        };
        match message.view() {
            gst::MessageView::Eos(_) => feed.signal(number, Signal::Eos),
            gst::MessageView::Error(e) => {
                feed.signal(number, Signal::Failed(words(&e.error(), e.debug())));
            }
            gst::MessageView::Warning(w) => {
                feed.signal(number, Signal::Warning(words(&w.error(), w.debug())));
            }
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
    Ok((pipeline, pipe))
}

/// The pipeline of every kind that is no launch file, and the pipe that it reads, if any.
fn built(spec: &SourceSpec) -> Result<(gst::Pipeline, Option<File>), StreamError> {
    let mut pipe = None;
    let head = match spec {
        SourceSpec::V4l2 { device, .. } => {
            let source = make("v4l2src")?;
            source.set_property("device", device.display().to_string());
            source
        }
        SourceSpec::Decklink { device } => {
            let source = make("decklinkvideosrc")?;
            source.set_property("device-number", i32::try_from(*device).unwrap_or(i32::MAX));
            source
        }
        SourceSpec::Test { pattern, .. } => {
            let source = make("videotestsrc")?;
            source.set_property("is-live", true);
            let known = gst::glib::EnumClass::with_type(
                source.property_type("pattern").unwrap_or(gst::glib::Type::INVALID),
            );
            if known.is_none_or(|known| known.value_by_nick(pattern).is_none()) {
                let reason = format!(
                    "there is no pattern `{pattern}`; `gst-inspect-1.0 videotestsrc` lists them"
                );
                return Err(StreamError::Source { kind: "test".into(), reason });
            }
            source.set_property_from_str("pattern", pattern);
            source
        }
        SourceSpec::Uri(uri) => decoder(uri, spec)?,
        SourceSpec::File { path, .. } => {
            let open = |reason: String| StreamError::Open { path: path.clone(), reason };
            // GStreamer's own message would hold the path and be told again and again.
            let file = open_without_waiting(path).map_err(|e| open(e.to_string()))?;
            if is_pipe(path) {
                // Unlike filesrc it waits for a writer, and for bytes, without being deaf meanwhile.
                let source = make("fdsrc")?;
                source.set_property("fd", file.as_raw_fd());
                pipe = Some(file);
                source
            } else {
                let path = path.canonicalize().map_err(|e| open(e.to_string()))?;
                let uri =
                    gst::glib::filename_to_uri(&path, None).map_err(|e| open(e.to_string()))?;
                decoder(&uri, spec)?
            }
        }
        _ => return Err(internal("this source has no pipeline")),
    };
    let pipeline = gst::Pipeline::new();
    let tail =
        gst::parse::bin_from_description_with_name(TAIL, false, "p2samtail").map_err(internal)?;
    let convert = tail.by_name("p2samconvert").and_then(|convert| convert.static_pad("sink"));
    let ghost = gst::GhostPad::with_target(&convert.ok_or_else(|| internal("no convert"))?);
    tail.add_pad(&ghost.map_err(internal)?).map_err(internal)?;
    let tail: gst::Element = tail.upcast();
    pipeline.add_many([&head, &tail]).map_err(internal)?;
    match spec {
        SourceSpec::V4l2 { mode, .. } => {
            // A camera may give raw pictures or JPEG.
            let filter = filter(mode, &["video/x-raw", "image/jpeg"])?;
            let decode = make("decodebin")?;
            pipeline.add_many([&filter, &decode]).map_err(internal)?;
            gst::Element::link_many([&head, &filter, &decode]).map_err(internal)?;
            link_when_there(&decode, &tail);
        }
        SourceSpec::Test { mode, .. } => {
            let mode = Mode {
                width: mode.width.or(Some(1280)),
                height: mode.height.or(Some(720)),
                rate: mode.rate.or(Some((25, 1))),
            };
            let filter = filter(&mode, &["video/x-raw"])?;
            pipeline.add(&filter).map_err(internal)?;
            gst::Element::link_many([&head, &filter, &tail]).map_err(internal)?;
        }
        SourceSpec::Decklink { .. } => head.link(&tail).map_err(internal)?,
        _ if pipe.is_some() => {
            let decode = make("decodebin")?;
            decode.set_property("expose-all-streams", false);
            decode.set_property("caps", raw_video());
            pipeline.add(&decode).map_err(internal)?;
            head.link(&decode).map_err(internal)?;
            link_when_there(&decode, &tail);
        }
        _ => link_when_there(&head, &tail),
    }
    Ok((pipeline, pipe))
}

fn raw_video() -> gst::Caps {
    gst::Caps::builder("video/x-raw").any_features().build()
}

/// Opens a file to read; a pipe without waiting for its writer.
fn open_without_waiting(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    let flag = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flag).open(path)?;
    // Whoever reads it waits for bytes as usual.
    fcntl_setfl(&file, fcntl_getfl(&file)?.difference(OFlags::NONBLOCK))?;
    Ok(file)
}

/// Opens and decodes an address, video only.
fn decoder(uri: &str, spec: &SourceSpec) -> Result<gst::Element, StreamError> {
    let decoder = make("uridecodebin")?;
    if spec.kind() == "srt" {
        // Else the error would speak of the address alone.
        make("srtsrc")?;
    }
    decoder.set_property("uri", uri);
    decoder.set_property("expose-all-streams", false);
    decoder.set_property("caps", raw_video());
    decoder.connect("source-setup", false, |values| {
        let source = values.get(1)?.get::<gst::Element>().ok()?;
        // rtspsrc itself changes from UDP to TCP if nothing comes.
        if source.has_property("drop-on-latency") && source.has_property("protocols") {
            source.set_property("latency", LATENCY_MS);
            source.set_property("drop-on-latency", true);
            source.set_property("timeout", 2_000_000u64);
        }
        None
    });
    Ok(decoder)
}

/// Links the first video that a decoder gives.
fn link_when_there(decoder: &gst::Element, tail: &gst::Element) {
    let tail = tail.downgrade();
    decoder.connect_pad_added(move |_, pad| {
        let sink = tail.upgrade().and_then(|tail| tail.static_pad("sink"));
        if let Some(sink) = sink.filter(|sink| !sink.is_linked()) {
            let _ = pad.link(&sink);
        }
    });
}

fn filter(mode: &Mode, kinds: &[&str]) -> Result<gst::Element, StreamError> {
    let mut caps = gst::Caps::new_empty();
    for kind in kinds {
        let int = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
        let rate = mode.rate.map(|(n, d)| gst::Fraction::new(int(n), int(d)));
        caps.merge(
            gst::Caps::builder(*kind)
                .field_if_some("width", mode.width.map(int))
                .field_if_some("height", mode.height.map(int))
                .field_if_some("framerate", rate)
                .build(),
        );
    }
    let filter = make("capsfilter")?;
    filter.set_property("caps", caps);
    Ok(filter)
}

/// Sleeps in short steps, so that stopping never waits for a frame's time.
pub(super) fn sleep_until(due: Instant, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

/// Checks what can be known of a source before the run starts.
pub(super) fn check(spec: &SourceSpec) -> Result<(), StreamError> {
    match spec {
        SourceSpec::Launch(file) => LaunchFile::check(file),
        SourceSpec::Frames { .. } | SourceSpec::Pictures { .. } => Ok(()),
        _ => built(spec).map(|_| ()),
    }
}
