//! The decoding pipeline of one file and the watch over what flows through it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::StreamError;
use super::elements::{internal, make};
use super::tracks::Choice;

/// Decoded pictures that may wait for the caller.
const QUEUED_PICTURES: u32 = 4;

/// Demuxers whose segments are opened on both sides, so that the stream time is the time written in
/// the file. A program stream's segment reaches from the first to the last clock value, which need
/// not hold all pictures, and decoders throw away what lies outside. Matroska's starts at the first
/// picture, however late that is.
const OPENED_DEMUXERS: [&str; 2] = [PROGRAM_STREAMS, "matroskademux"];
/// The demuxer of MPEG program streams.
const PROGRAM_STREAMS: &str = "mpegpsdemux";
/// Demuxers whose times are those of a broadcast's or a disc's clock.
const CLOCKED_DEMUXERS: [&str; 2] = [PROGRAM_STREAMS, "tsdemux"];

/// What was seen inside the pipeline, written by its threads.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Coded pictures of the chosen stream that entered its decoder within the segment.
    pub(super) coded: AtomicU64,
    /// Latest end of any stream that left the demuxer, in nanoseconds of stream time.
    pub(super) end: AtomicU64,
    /// Whether video was found.
    pub(super) video: AtomicBool,
    /// Which of the file's video streams is decoded.
    pub(super) choice: Choice,
    /// A stream without a demuxer has no length of its own.
    demuxer: Mutex<Option<(String, gst::glib::WeakRef<gst::Element>)>>,
    /// What the demuxer says of the chosen stream's colours.
    colorimetry: Mutex<Option<String>>,
}

impl Tally {
    /// For a file whose video tracks are known, or not.
    pub(super) fn new(choice: Choice) -> Self {
        Self { choice, ..Self::default() }
    }

    /// The demuxer's factory name.
    pub(super) fn demuxer(&self) -> Option<String> {
        let demuxer = self.demuxer.lock().unwrap_or_else(PoisonError::into_inner);
        demuxer.as_ref().map(|(name, _)| name.clone())
    }

    /// What the container says of the colours.
    pub(super) fn colorimetry(&self) -> Option<String> {
        self.colorimetry.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether times count from where the broadcast or the disc began and not the file.
    pub(super) fn counts_from_elsewhere(&self) -> bool {
        self.demuxer().is_some_and(|name| CLOCKED_DEMUXERS.contains(&name.as_str()))
    }

    /// Whether the demuxer has stopped before any video came out of it. decodebin drops an error
    /// that a demuxer posts while it is still being plugged, so that no message may tell of this.
    pub(super) fn stopped_early(&self) -> bool {
        if self.video.load(Ordering::Relaxed) {
            return false;
        }
        let demuxer = self.demuxer.lock().unwrap_or_else(PoisonError::into_inner);
        demuxer
            .as_ref()
            .and_then(|(_, element)| element.upgrade()?.static_pad("sink"))
            .is_some_and(|pad| pad.task_state() == gst::TaskState::Paused)
    }
}

/// `filesrc ! decodebin ! appsink`, not yet started. With `in_sequence` the demuxer is given the
/// file's bytes one after the other and cannot use an index.
pub(super) fn build(
    path: &Path,
    tally: &Arc<Tally>,
    in_sequence: bool,
) -> Result<(gst::Pipeline, gst_app::AppSink), StreamError> {
    let pipeline = gst::Pipeline::new();
    let source = make("filesrc")?;
    source.set_property("location", path);

    let decoder = make("decodebin")?;
    // Sound and subtitles are neither decoded nor waited for. "Any features" because decodebin then
    // skips every decoder that could, among others, deliver something else than plain memory.
    decoder.set_property("caps", gst::Caps::builder("video/x-raw").any_features().build());
    decoder.set_property("expose-all-streams", false);
    // The same pixels on every machine, in memory that can be read.
    decoder.set_property("force-sw-decoders", true);

    let sink = gst_app::AppSink::builder()
        .caps(&gst::Caps::new_empty_simple("video/x-raw"))
        .sync(false)
        .qos(false)
        .max_buffers(QUEUED_PICTURES)
        .drop(false)
        .enable_last_sample(false)
        .build();

    pipeline.add_many([&source, &decoder, sink.upcast_ref()]).map_err(internal)?;
    if in_sequence {
        // No one can reach through a queue to other places of the file. avidemux begins with what one
        // buffer holds and then waits for more, which must not be the whole file.
        source.set_property("blocksize", 512u32);
        let queue = make("queue")?;
        pipeline.add(&queue).map_err(internal)?;
        gst::Element::link_many([&source, &queue, &decoder]).map_err(internal)?;
    } else {
        source.link(&decoder).map_err(internal)?;
    }

    let watched = Arc::clone(tally);
    let target = sink.downgrade();
    decoder.connect_pad_added(move |bin, pad| {
        let Some(target) = target.upgrade() else { return };
        if let Err(e) = attach(bin, pad, target.upcast_ref(), &watched) {
            gst::element_error!(bin, gst::CoreError::Pad, ["a decoded stream is lost: {e}"]);
        }
    });
    let watched = Arc::clone(tally);
    decoder.connect("autoplug-continue", false, move |values| {
        let pad = values.get(1).and_then(|value| value.get::<gst::Pad>().ok());
        Some(pad.is_none_or(|pad| !watched.choice.is_left_out(&origin(&pad))).to_value())
    });
    prefer_whole_chroma(&decoder);
    let watched = Arc::clone(tally);
    pipeline.connect_deep_element_added(move |_, _, element| watch(element, &watched));
    Ok((pipeline, sink))
}

/// GStreamer's own JPEG decoder gives 4:2:0 for every JPEG; libav's keeps what is there. It takes what
/// a demuxer has taken apart.
fn prefer_whole_chroma(decoder: &gst::Element) {
    const TRY: i32 = 0;
    const SKIP: i32 = 2;
    let Some(other) = gst::ElementFactory::find("avdec_mjpeg") else { return };
    let result = gst::glib::Type::from_name("GstAutoplugSelectResult")
        .filter(|kind| gst::glib::EnumClass::with_type(*kind).is_some());
    let Some(result) = result else { return };
    decoder.connect("autoplug-select", false, move |values| {
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
        let factory = values.get(3).and_then(|value| value.get::<gst::ElementFactory>().ok());
        let is_own = factory.is_some_and(|factory| factory.name() == "jpegdec");
        let is_skipped = is_own && caps.is_some_and(|caps| other.can_sink_all_caps(&caps));
        let class = gst::glib::EnumClass::with_type(result)?;
        class.to_value(if is_skipped { SKIP } else { TRY })
    });
}

/// The pad behind decodebin's own.
fn origin(pad: &gst::Pad) -> gst::Pad {
    let mut pad = pad.clone();
    while let Some(target) = pad.downcast_ref::<gst::GhostPad>().and_then(|ghost| ghost.target()) {
        pad = target;
    }
    pad
}

/// Sends the chosen video stream to `target` and swallows every other.
fn attach(
    bin: &gst::Element,
    pad: &gst::Pad,
    target: &gst::Element,
    tally: &Tally,
) -> Result<(), gst::glib::BoolError> {
    let missing = |what: &str| gst::glib::bool_error!("no {what}");
    let entry = target.static_pad("sink").ok_or_else(|| missing("sink pad"))?;
    let name = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let is_video = name.structure(0).is_some_and(|s| s.name() == "video/x-raw");
    if is_video && !entry.is_linked() && !tally.choice.is_left_out(&origin(pad)) {
        tally.video.store(true, Ordering::Relaxed);
        return pad.link(&entry).map(drop).map_err(|e| missing(&format!("link: {e}")));
    }
    let parent = bin.parent().and_downcast::<gst::Bin>().ok_or_else(|| missing("pipeline"))?;
    let swallow = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()?;
    parent.add(&swallow)?;
    swallow.sync_state_with_parent()?;
    let entry = swallow.static_pad("sink").ok_or_else(|| missing("sink pad"))?;
    pad.link(&entry).map(drop).map_err(|e| missing(&format!("link: {e}")))
}

/// Puts probes on a demuxer's outputs and on a decoder's input as decodebin plugs them.
fn watch(element: &gst::Element, tally: &Arc<Tally>) {
    let class = element.metadata("klass").unwrap_or_default();
    if class.contains("Demux") {
        let name = element.factory().map(|f| f.name().to_string()).unwrap_or_default();
        let open = OPENED_DEMUXERS.contains(&name.as_str());
        let mut demuxer = tally.demuxer.lock().unwrap_or_else(PoisonError::into_inner);
        // A demuxer within a demuxer's stream would be a second one; the outer one is the file's.
        if demuxer.is_some() {
            return;
        }
        *demuxer = Some((name, element.downgrade()));
        drop(demuxer);
        let tally = Arc::clone(tally);
        let attend = move |pad: &gst::Pad| {
            if tally.choice.offer(pad) {
                take_colorimetry(pad, &tally);
            }
            watch_end(pad, &tally);
            if open {
                open_segment(pad);
            }
        };
        element.src_pads().iter().for_each(&attend);
        element.connect_pad_added(move |_, pad| {
            if pad.direction() == gst::PadDirection::Src {
                attend(pad);
            }
        });
    } else if class.contains("Decoder")
        && (class.contains("Video") || class.contains("Image"))
        && let Some(pad) = element.static_pad("sink")
    {
        watch_coded(&pad, tally);
    }
}

/// Remembers how far a demuxed stream reaches, be it decoded or not.
fn watch_end(pad: &gst::Pad, tally: &Arc<Tally>) {
    let tally = Arc::clone(tally);
    on_buffers(pad, move |pad, buffer| {
        let Some(start) = buffer.pts().or(buffer.dts()) else { return };
        let end = start + buffer.duration().unwrap_or(gst::ClockTime::ZERO);
        if let Some(segment) = time_segment(pad)
            // An end behind a cut of an edit list is no time of the presentation.
            && let Some(end) = segment.to_stream_time(segment.stop().map_or(end, |s| end.min(s)))
        {
            tally.end.fetch_max(end.nseconds(), Ordering::Relaxed);
        }
    });
}

/// Opens a stream's segment on both sides.
fn open_segment(pad: &gst::Pad) {
    on_events(pad, |event| {
        let gst::EventView::Segment(old) = event.view() else { return None };
        let mut segment = old.segment().downcast_ref::<gst::ClockTime>()?.clone();
        segment.set_start(gst::ClockTime::ZERO);
        segment.set_time(gst::ClockTime::ZERO);
        segment.set_stop(gst::ClockTime::NONE);
        Some(gst::event::Segment::builder(&segment).seqnum(event.seqnum()).build())
    });
}

/// Keeps what a demuxer says of colours from the decoder, which else would not tell what the coded
/// stream itself says; and qtdemux of GStreamer 1.22 leaves the range of values out.
fn take_colorimetry(pad: &gst::Pad, tally: &Arc<Tally>) {
    let tally = Arc::clone(tally);
    on_events(pad, move |event| {
        let gst::EventView::Caps(old) = event.view() else { return None };
        let mut caps = old.caps_owned();
        let colorimetry = caps.structure(0)?.get::<String>("colorimetry").ok()?;
        caps.make_mut().structure_mut(0)?.remove_field("colorimetry");
        let mut told = tally.colorimetry.lock().unwrap_or_else(PoisonError::into_inner);
        told.get_or_insert(colorimetry);
        Some(gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build())
    });
}

/// Counts the coded pictures that should each come out as a picture.
fn watch_coded(pad: &gst::Pad, tally: &Arc<Tally>) {
    let tally = Arc::clone(tally);
    on_buffers(pad, move |pad, buffer| {
        if buffer.flags().intersects(gst::BufferFlags::HEADER | gst::BufferFlags::DECODE_ONLY) {
            return;
        }
        // An empty one stands for a picture in which nothing new was recorded.
        if buffer.size() == 0 {
            return;
        }
        let caps = pad.current_caps();
        let coded = caps.as_ref().and_then(|caps| caps.structure(0));
        // VP8 has pictures that are never shown, and Theora has headers among them.
        let one_to_one = coded.is_some_and(|s| {
            matches!(
                s.name().as_str(),
                "video/x-h264" | "video/x-h265" | "video/x-ffv" | "video/mpeg" | "image/jpeg"
            )
        });
        // Without a demuxer and a parser buffers are blocks of the file.
        let is_framed = || {
            tally.demuxer().is_some()
                || coded.is_some_and(|s| s.get("parsed").is_ok_and(|is: bool| is))
        };
        let shown = match (time_segment(pad), buffer.pts()) {
            (Some(segment), Some(start)) => {
                let end = start + buffer.duration().unwrap_or(gst::ClockTime::ZERO);
                segment.clip(start, end).is_some()
            }
            _ => true,
        };
        if one_to_one && shown && is_framed() {
            tally.coded.fetch_add(1, Ordering::Relaxed);
        }
    });
}

fn time_segment(pad: &gst::Pad) -> Option<gst::FormattedSegment<gst::ClockTime>> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    event.segment().downcast_ref::<gst::ClockTime>().cloned()
}

/// Calls `look` with each buffer that passes the pad, also with those in lists.
fn on_buffers(pad: &gst::Pad, look: impl Fn(&gst::Pad, &gst::BufferRef) + Send + Sync + 'static) {
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |pad, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => look(pad, buffer),
            Some(gst::PadProbeData::BufferList(list)) => {
                list.iter().for_each(|buffer| look(pad, buffer));
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Passes on what `change` makes of an event, or the event itself.
fn on_events(
    pad: &gst::Pad,
    change: impl Fn(&gst::Event) -> Option<gst::Event> + Send + Sync + 'static,
) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(event) = info.event().and_then(&change) {
            info.data = Some(gst::PadProbeData::Event(event));
        }
        gst::PadProbeReturn::Ok
    });
}
