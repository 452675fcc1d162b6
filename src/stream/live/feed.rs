//! Where a source's frames enter the display pipeline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::timeline::Timeline;

/// Frames that wait for the overlay before the oldest is dropped.
pub(super) const QUEUE: u64 = 2;

/// Signals that wait for the supervisor.
pub(super) const SIGNALS: usize = 256;

/// How often the picture to be repeated is taken, and how often it is repeated.
pub(super) const REPEAT: Duration = Duration::from_millis(200);

/// What an attempt at the source tells its supervisor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Signal {
    /// The first frame came, or the format changed.
    Format { width: u32, height: u32, rate: Option<(u32, u32)> },
    /// There are no more frames.
    Eos,
    /// It cannot go on.
    Failed(String),
    /// Something is wrong with the stream, but it goes on.
    Warning(String),
    /// The run is to stop.
    Stop,
}

/// Hands frames to the display pipeline without waiting, with times of the run.
#[derive(Debug)]
pub(super) struct Feed {
    appsrc: gst_app::AppSrc,
    clock: gst::Clock,
    base: gst::ClockTime,
    /// Each with the number of its attempt.
    signals: Sender<(u64, Signal)>,
    entry: Mutex<Entry>,
    pub(super) frames: AtomicU64,
    pub(super) repeats: AtomicU64,
    pub(super) dropped: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    /// The attempt whose frames are taken.
    attempt: u64,
    /// Whether the next frame is its first.
    first: bool,
    /// What the display pipeline was told.
    caps: Option<gst::Caps>,
    /// A copy of a late picture: a reference would keep the overlay from drawing in place.
    kept: Option<gst::Buffer>,
    kept_at: Instant,
    /// When the source last gave a sign of life.
    seen: Instant,
    shown: Instant,
    /// Whether frames are expected.
    live: bool,
    /// Whether the last picture shown was a repeated one.
    repeating: bool,
    /// The source's time of its last frame.
    source_time: Option<gst::ClockTime>,
    timeline: Timeline,
}

impl Entry {
    /// How long a frame is shown; a guess where the source does not say.
    fn frame_time(&self) -> Duration {
        const GUESS: Duration = Duration::from_millis(100);
        let rate = self
            .caps
            .as_ref()
            .and_then(|caps| caps.structure(0)?.get::<gst::Fraction>("framerate").ok());
        match rate.map(|rate| (rate.numer(), rate.denom())) {
            Some((n, d)) if n > 0 && d > 0 => Duration::from_secs_f64(f64::from(d) / f64::from(n)),
            _ => GUESS,
        }
    }
}

impl Feed {
    /// Feeds `appsrc`, whose pipeline runs on `clock` from `base`.
    pub(super) fn new(
        appsrc: gst_app::AppSrc,
        clock: gst::Clock,
        base: gst::ClockTime,
        signals: Sender<(u64, Signal)>,
    ) -> Arc<Self> {
        let now = Instant::now();
        let entry = Entry {
            attempt: 0,
            first: true,
            caps: None,
            kept: None,
            kept_at: now,
            seen: now,
            shown: now,
            live: false,
            repeating: false,
            source_time: None,
            timeline: Timeline::default(),
        };
        Arc::new(Self {
            appsrc,
            clock,
            base,
            signals,
            entry: Mutex::new(entry),
            frames: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// From now on frames of this attempt are taken, and no others.
    pub(super) fn begin(&self, attempt: u64) {
        let mut entry = self.entry();
        entry.attempt = attempt;
        entry.first = true;
        entry.seen = Instant::now();
        entry.source_time = None;
        entry.timeline.restart();
    }

    /// Frames of no attempt are taken; the last picture is repeated.
    pub(super) fn end(&self) {
        let mut entry = self.entry();
        entry.attempt = 0;
        entry.live = false;
    }

    /// Where the source put its last frame, in its own time.
    pub(super) fn source_time(&self) -> Option<Duration> {
        self.entry().source_time.map(|time| Duration::from_nanos(time.nseconds()))
    }

    /// The source works, even if no frame came yet. Not for what may go on for ever without one.
    pub(super) fn touch(&self) {
        self.entry().seen = Instant::now();
    }

    /// For how long the source gave no sign of life.
    pub(super) fn silence(&self) -> Duration {
        self.entry().seen.elapsed()
    }

    /// Passes a frame on. `pts` is the source's time of it.
    pub(super) fn push(
        &self,
        attempt: u64,
        mut buffer: gst::Buffer,
        caps: &gst::Caps,
        pts: Option<gst::ClockTime>,
    ) {
        let mut format = None;
        let mut entry = self.entry();
        if entry.attempt != attempt {
            return;
        }
        let now = Instant::now();
        let changed = entry.caps.as_ref() != Some(caps);
        if changed || entry.first {
            let Ok(info) = gst_video::VideoInfo::from_caps(caps) else { return };
            let rate = (info.fps().numer(), info.fps().denom());
            let rate = (rate.0 > 0).then_some((rate.0 as u32, rate.1.max(1) as u32));
            format = Some(Signal::Format { width: info.width(), height: info.height(), rate });
        }
        if changed {
            self.appsrc.set_caps(Some(caps));
            entry.caps = Some(caps.clone());
            entry.kept = None;
        }
        let time = entry.timeline.next(self.now(), pts.map(|pts| pts.nseconds()));
        let discont = changed || entry.first;
        // A copy of the buffer's head if something else still holds it; never of its pixels.
        let head = buffer.make_mut();
        head.set_pts(gst::ClockTime::from_nseconds(time));
        head.set_dts(None);
        head.unset_flags(gst::BufferFlags::GAP);
        if discont {
            head.set_flags(gst::BufferFlags::DISCONT);
        } else {
            head.unset_flags(gst::BufferFlags::DISCONT);
        }
        (entry.first, entry.live, entry.repeating) = (false, true, false);
        (entry.seen, entry.shown, entry.source_time) = (now, now, pts);
        if entry.kept.is_none() || now.duration_since(entry.kept_at) >= REPEAT {
            entry.kept = buffer.copy_deep().ok();
            entry.kept_at = now;
        }
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.give(buffer);
        drop(entry);
        if let Some(format) = format {
            self.signal(attempt, format);
        }
    }

    /// Shows the last picture again if nothing came for `hold`, but at least for four frames, or
    /// since the source failed. Such buffers carry the flag GAP, and DROPPABLE as well until nothing
    /// has come for `stall`: it may be a hitch.
    pub(super) fn repeat(&self, hold: Duration, stall: Duration) {
        let mut entry = self.entry();
        let hold = hold.max(entry.frame_time() * 4);
        let limit = if entry.live && !entry.repeating { hold } else { REPEAT };
        if entry.shown.elapsed() < limit {
            return;
        }
        let hitch = entry.live && entry.seen.elapsed() < stall;
        let (Some(kept), Some(caps)) = (entry.kept.clone(), entry.caps.clone()) else { return };
        self.appsrc.set_caps(Some(&caps));
        // Its own pixels, in which the overlay may draw.
        let Ok(mut buffer) = kept.copy_deep() else { return };
        let time = entry.timeline.next(self.now(), None);
        let head = buffer.make_mut();
        head.set_pts(gst::ClockTime::from_nseconds(time));
        head.set_flags(gst::BufferFlags::GAP);
        if hitch {
            head.set_flags(gst::BufferFlags::DROPPABLE);
        }
        head.unset_flags(gst::BufferFlags::DISCONT);
        (entry.shown, entry.repeating) = (Instant::now(), true);
        self.repeats.fetch_add(1, Ordering::Relaxed);
        self.give(buffer);
    }

    /// A black picture to be repeated if there never was another.
    pub(super) fn blank(&self) {
        const SIZE: (usize, usize) = (1280, 720);
        let mut entry = self.entry();
        if entry.kept.is_some() || entry.caps.is_some() {
            return;
        }
        let luma = SIZE.0 * SIZE.1;
        let mut pixels = vec![16u8; luma];
        pixels.resize(luma * 3 / 2, 128);
        entry.kept = Some(gst::Buffer::from_mut_slice(pixels));
        entry.caps = Some(
            gst_video::VideoCapsBuilder::new()
                .format(gst_video::VideoFormat::I420)
                .width(SIZE.0 as i32)
                .height(SIZE.1 as i32)
                .framerate(gst::Fraction::new(0, 1))
                .pixel_aspect_ratio(gst::Fraction::new(1, 1))
                .field("interlace-mode", "progressive")
                .build(),
        );
    }

    /// Tells the supervisor, without waiting; what finds no room is lost.
    pub(super) fn signal(&self, attempt: u64, signal: Signal) {
        // A flood of warnings leaves room for what matters.
        if matches!(signal, Signal::Warning(_)) && self.signals.len() > SIGNALS / 2 {
            return;
        }
        let _ = self.signals.try_send((attempt, signal));
    }

    /// Time of the run in nanoseconds.
    fn now(&self) -> u64 {
        self.clock.time().nseconds().saturating_sub(self.base.nseconds())
    }

    fn give(&self, buffer: gst::Buffer) {
        if self.appsrc.current_level_buffers() >= QUEUE {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.appsrc.push_buffer(buffer);
    }

    fn entry(&self) -> MutexGuard<'_, Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
