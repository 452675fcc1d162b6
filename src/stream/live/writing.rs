//! What the recorder's thread does: frames to files, results to lines, and all of it again once a
//! disk that was full or failed takes files again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use gstreamer as gst;

use super::branch::RunTime;
use super::files::{Place, create, folder, free, needed};
use super::recorder::Counts;
use super::results::Results;
use super::segment::{End, Segment};
use super::{Hooks, LiveEvent, RecordOptions, RecordPart, Side};
use crate::stream::StreamError;

/// How often buses, results and the disk's free space are looked at.
const TICK: Duration = Duration::from_millis(250);

/// The shortest and the longest pause before what failed is tried again; each failure doubles it.
const RETRY: (Duration, Duration) =
    (Duration::from_secs(if cfg!(test) { 1 } else { 5 }), Duration::from_secs(60));

/// How long a file must take frames before its side counts as sound again, unless it is full before.
const SOUND: Duration = Duration::from_secs(1);

/// A frame on its way to a file.
pub(super) struct Taken {
    pub(super) side: Side,
    pub(super) buffer: gst::Buffer,
    pub(super) caps: gst::Caps,
}

/// What the recorder's thread owns.
pub(super) struct Work {
    streams: Vec<Stream>,
    /// Segments whose end is being written.
    ending: Vec<(Side, Segment)>,
    /// `None` while they cannot be written.
    results: Option<Results>,
    results_pause: Pause,
    /// Whether the disk has too little space.
    full: bool,
    lines: Receiver<String>,
    options: RecordOptions,
    time: RunTime,
    hooks: Hooks,
    counts: Arc<Counts>,
    /// Bytes of files that are closed.
    closed: u64,
    /// What is not recorded now, and why.
    problems: Vec<(RecordPart, String)>,
}

/// One recorded side.
struct Stream {
    side: Side,
    current: Option<Segment>,
    next: u32,
    pause: Pause,
}

/// When something that failed is tried again.
#[derive(Default)]
struct Pause {
    until: Option<Instant>,
    length: Duration,
}

impl Pause {
    /// It has failed, once more.
    fn begin(&mut self) {
        self.length = (self.length * 2).clamp(RETRY.0, RETRY.1);
        self.until = Some(Instant::now() + self.length);
    }

    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    /// It works; whether it had failed before.
    fn end(&mut self) -> bool {
        std::mem::take(self).until.is_some()
    }
}

impl Work {
    pub(super) fn new(
        options: RecordOptions,
        sides: &[Side],
        place: Place,
        lines: Receiver<String>,
        time: RunTime,
        hooks: Hooks,
        counts: &Arc<Counts>,
    ) -> Self {
        let stream = |side: &Side| Stream {
            side: *side,
            current: None,
            next: place.next,
            pause: Pause::default(),
        };
        let (results, failure) = match place.results {
            Ok(results) => (Some(results), None),
            Err(reason) => (None, Some(reason)),
        };
        let mut work = Self {
            streams: sides.iter().map(stream).collect(),
            ending: Vec::new(),
            results,
            results_pause: Pause::default(),
            full: false,
            lines,
            options,
            time,
            hooks,
            counts: Arc::clone(counts),
            closed: 0,
            problems: Vec::new(),
        };
        if let Some(reason) = place.full {
            work.full = true;
            work.failed(RecordPart::Video, reason);
        }
        if let Some(reason) = failure {
            work.results_failed(reason);
        }
        work
    }

    /// Until it is to stop, or nobody gives frames any more; then closes the files.
    pub(super) fn run(mut self, frames: &Receiver<Taken>, stop: &AtomicBool) {
        let mut ticked = Instant::now();
        loop {
            match frames.recv_timeout(Duration::from_millis(50)) {
                Ok(taken) => self.take(&taken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            self.write_lines();
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.look();
                self.look_at_disk();
            }
        }
        // What was taken before the stop is still recorded.
        while let Ok(taken) = frames.try_recv() {
            self.take(&taken);
        }
        self.write_lines();
        self.end_segments();
        while !self.ending.is_empty() {
            self.look();
            std::thread::sleep(Duration::from_millis(5));
        }
        self.flush_lines();
    }

    /// Gives a frame to its file, or to the next one.
    fn take(&mut self, taken: &Taken) {
        let Some(at) = self.streams.iter().position(|stream| stream.side == taken.side) else {
            return;
        };
        let Some(pts) = taken.buffer.pts() else { return };
        let options = &self.options;
        let over = |segment: &Segment| {
            let age = Duration::from_nanos(pts.saturating_sub(segment.start).nseconds());
            segment.caps != taken.caps
                || options.segment_time.is_some_and(|limit| age >= limit)
                || options.segment_bytes.is_some_and(|limit| segment.bytes() >= limit)
        };
        let stream = &mut self.streams[at];
        if let Some(mut segment) = stream.current.take_if(|segment| over(segment)) {
            segment.end();
            self.ending.push((stream.side, segment));
            // It has taken all that was to go into it.
            if stream.pause.end() {
                let side = stream.side;
                self.restored(RecordPart::Side(side));
            }
        }
        let stream = &self.streams[at];
        if stream.current.is_none() && !self.full && stream.pause.is_over() {
            self.begin(at, taken, pts);
        }
        let given = self.streams[at].current.as_ref().is_some_and(|s| s.give(&taken.buffer));
        let count = if given { &self.counts.frames } else { &self.counts.dropped };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins the next file of a side.
    fn begin(&mut self, at: usize, taken: &Taken, pts: gst::ClockTime) {
        let (side, next) = (self.streams[at].side, self.streams[at].next);
        let made = create(&self.options.prefix, side, next).map_err(|e| e.to_string());
        let made = made.and_then(|(file, path, number)| {
            let quantizer = self.options.quantizer;
            let segment = Segment::create(file, &path, &taken.caps, pts, quantizer, &self.time);
            let segment = segment.map_err(|e| match e {
                StreamError::Record { reason } => reason,
                e => e.to_string(),
            });
            if segment.is_err() {
                remove_empty(&path);
            }
            Ok((segment?, number))
        });
        match made {
            Ok((segment, number)) => {
                let written = self.results.as_mut().map(|results| results.segment(side, &segment));
                let stream = &mut self.streams[at];
                (stream.current, stream.next) = (Some(segment), number.saturating_add(1));
                self.counts.segments.fetch_add(1, Ordering::Relaxed);
                if let Some(Err(e)) = written {
                    self.results_failed(e.to_string());
                }
            }
            Err(reason) => self.side_failed(at, reason),
        }
    }

    /// Ends all files that are being written.
    fn end_segments(&mut self) {
        for stream in &mut self.streams {
            if let Some(mut segment) = stream.current.take() {
                segment.end();
                self.ending.push((stream.side, segment));
            }
        }
    }

    /// Looks after errors and files that are complete.
    fn look(&mut self) {
        let mut failed = Vec::new();
        self.ending.retain(|(side, segment)| {
            match segment.ended() {
                End::Awaited => return true,
                End::Written => {}
                End::Failed(reason) => {
                    remove_empty(&segment.path);
                    failed.push((*side, reason));
                }
            }
            self.closed += segment.bytes();
            false
        });
        for (side, reason) in failed {
            let reason = format!("the end of a file could not be written: {reason}");
            let part = RecordPart::Side(side);
            log::warn!("{part} is not recorded: {reason}");
            (self.hooks.on_event)(LiveEvent::RecordingFailed { part, reason });
        }
        for at in 0..self.streams.len() {
            let stream = &mut self.streams[at];
            let Some(segment) = &stream.current else { continue };
            if let Some(reason) = segment.failure() {
                self.side_failed(at, reason);
            } else if segment.begun.elapsed() >= SOUND && stream.pause.end() {
                let side = stream.side;
                self.restored(RecordPart::Side(side));
            }
        }
        let open = self.streams.iter().filter_map(|stream| stream.current.as_ref());
        let open = open.chain(self.ending.iter().map(|(_, segment)| segment));
        let bytes = self.closed + open.map(Segment::bytes).sum::<u64>();
        self.counts.bytes.store(bytes, Ordering::Relaxed);
        self.flush_lines();
    }

    /// Stops to write video while the disk has too little space, and goes on once it has more.
    fn look_at_disk(&mut self) {
        // A disk that does not say is as good as one with space: its errors say the rest.
        let left = free(folder(&self.options.prefix)).unwrap_or(u64::MAX);
        if !self.full && left < needed(&self.options, false) {
            self.full = true;
            self.end_segments();
            let least = needed(&self.options, false) / 1_000_000;
            let reason = format!(
                "fewer than {least} MB are free on the disk; it goes on by itself once there is space"
            );
            self.failed(RecordPart::Video, reason);
        } else if self.full && left >= needed(&self.options, true) {
            self.full = false;
            self.restored(RecordPart::Video);
        }
    }

    fn side_failed(&mut self, at: usize, reason: String) {
        let stream = &mut self.streams[at];
        stream.pause.begin();
        if let Some(segment) = stream.current.take() {
            self.closed += segment.bytes();
            let path = segment.path.clone();
            drop(segment);
            remove_empty(&path);
        }
        let part = RecordPart::Side(stream.side);
        self.failed(part, reason);
    }

    fn results_failed(&mut self, reason: String) {
        self.results_pause.begin();
        if let Some(results) = self.results.take() {
            self.counts.lines_dropped.fetch_add(results.waiting(), Ordering::Relaxed);
            results.abandon();
        }
        self.failed(RecordPart::Results, reason);
    }

    fn write_lines(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            match self.results.as_mut().map(|results| results.line(&line)) {
                Some(Ok(())) => {}
                Some(Err(e)) => self.results_failed(e.to_string()),
                None => _ = self.counts.lines_dropped.fetch_add(1, Ordering::Relaxed),
            }
        }
    }

    /// Hands the lines to the system; opens the file again some time after a failure.
    fn flush_lines(&mut self) {
        if self.results.is_none() && self.results_pause.is_over() {
            match Results::open(&self.options.prefix) {
                Ok(results) => self.results = Some(results),
                Err(e) => self.results_failed(e.to_string()),
            }
        }
        match self.results.as_mut().map(Results::flush) {
            Some(Ok(lines)) => {
                self.counts.lines.fetch_add(lines, Ordering::Relaxed);
                // Only a line that was written proves that lines can be written.
                if lines > 0 && self.results_pause.end() {
                    self.restored(RecordPart::Results);
                }
            }
            Some(Err(e)) => self.results_failed(e.to_string()),
            None => {}
        }
    }

    /// Reports that a part is not recorded, once until it is again.
    fn failed(&mut self, part: RecordPart, reason: String) {
        if self.problems.iter().any(|(known, _)| *known == part) {
            return;
        }
        log::warn!("{part} is not recorded: {reason}");
        self.problems.push((part, reason.clone()));
        self.tell_problem();
        (self.hooks.on_event)(LiveEvent::RecordingFailed { part, reason });
    }

    fn restored(&mut self, part: RecordPart) {
        self.problems.retain(|(known, _)| *known != part);
        self.tell_problem();
        (self.hooks.on_event)(LiveEvent::RecordingRestored(part));
    }

    fn tell_problem(&self) {
        let first = self.problems.first().map(|(part, reason)| format!("{part}: {reason}"));
        self.counts.set_problem(first);
    }
}

/// Removes a file that nothing could be written to.
fn remove_empty(path: &std::path::Path) {
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        let _ = std::fs::remove_file(path);
    }
}
