//! Recording beside the display: video in segments, results as JSON lines.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use gstreamer as gst;

use super::branch::RunTime;
use super::files::{file, folder, free, next_number};
use super::results::Results;
use super::segment::Segment;
use super::taps::{TapFn, Taps};
use super::{Hooks, LiveEvent, RecordOptions, RecordStats, Side};
use crate::stream::StreamError;
use crate::stream::elements::internal;

/// Frames and result lines that wait for the recorder.
const QUEUE: (usize, usize) = (8, 1024);

/// How long stopping may take before the files are left to themselves.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// How often buses, results and the disk's free space are looked at.
const TICK: Duration = Duration::from_millis(250);

/// A frame on its way to a file.
struct Taken {
    side: Side,
    buffer: gst::Buffer,
    caps: gst::Caps,
}

/// A running recording. Dropping it closes its files.
pub(super) struct Recorder {
    taps: Arc<Taps>,
    tap: Arc<TapFn>,
    sides: Vec<Side>,
    lines: Sender<String>,
    stop: Arc<AtomicBool>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
pub(super) struct Counts {
    frames: AtomicU64,
    dropped: AtomicU64,
    segments: AtomicU64,
    /// Of files that are closed, and of those being written.
    bytes: AtomicU64,
    lines: AtomicU64,
    lines_dropped: AtomicU64,
    /// Whether it ended by itself.
    ended: AtomicBool,
}

impl Recorder {
    pub(super) fn start(
        options: RecordOptions,
        taps: &Arc<Taps>,
        time: RunTime,
        hooks: Hooks,
    ) -> Result<Self, StreamError> {
        let wrong = |reason: String| StreamError::Record { reason };
        let mut sides = Vec::new();
        sides.extend(options.clean.then_some(Side::Clean));
        sides.extend(options.overlay.then_some(Side::Overlay));
        let folder = folder(&options.prefix);
        let free = free(folder).map_err(|e| {
            wrong(format!("{}: {e}; make the folder or name another", folder.display()))
        })?;
        if free < options.min_free {
            return Err(wrong(format!(
                "{} MB are free on the disk of {}, but {} are to stay free; free some space or \
                 record elsewhere",
                free / 1_000_000,
                folder.display(),
                options.min_free / 1_000_000
            )));
        }
        let results = Results::open(&options.prefix)
            .map_err(|e| wrong(format!("{}-results.jsonl: {e}", options.prefix.display())))?;
        let next = next_number(&options.prefix).map_err(|e| wrong(e.to_string()))?;

        let counts = Arc::new(Counts::default());
        let (frames, taken) = bounded::<Taken>(QUEUE.0);
        let (lines, written) = bounded(QUEUE.1);
        let counting = Arc::clone(&counts);
        let tap: Arc<TapFn> = Arc::new(move |side, buffer: &gst::Buffer, caps: &gst::Caps| {
            let taken = Taken { side, buffer: buffer.clone(), caps: caps.clone() };
            if frames.try_send(taken).is_err() {
                counting.dropped.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (done_sender, done) = bounded(1);
        let work = Work {
            streams: sides.iter().map(|side| Stream { side: *side, current: None, next }).collect(),
            ending: Vec::new(),
            results,
            lines: written,
            options,
            time,
            hooks,
            counts: Arc::clone(&counts),
        };
        let stopping = Arc::clone(&stop);
        let run = move || {
            work.run(&taken, &stopping);
            let _ = done_sender.send(());
        };
        let thread = Builder::new().name("live-record".into()).spawn(run).map_err(internal)?;
        for side in &sides {
            taps.add(*side, Arc::clone(&tap));
        }
        let (taps, thread) = (Arc::clone(taps), Some(thread));
        Ok(Self { taps, tap, sides, lines, stop, done, thread, counts })
    }

    /// Adds a line of results, without waiting.
    pub(super) fn line(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.counts.lines_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it still records; a full disk or errors end it.
    pub(super) fn is_running(&self) -> bool {
        !self.counts.ended.load(Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> RecordStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecordStats {
            frames: count(&self.counts.frames),
            dropped: count(&self.counts.dropped),
            segments: count(&self.counts.segments),
            bytes: count(&self.counts.bytes),
            lines: count(&self.counts.lines),
            lines_dropped: count(&self.counts.lines_dropped),
        }
    }
}

impl Recorder {
    /// Closes the files and tells what was recorded.
    pub(super) fn finish(mut self) -> RecordStats {
        self.close();
        self.stats()
    }

    fn close(&mut self) {
        for side in &self.sides {
            self.taps.remove(*side, &self.tap);
        }
        self.stop.store(true, Ordering::Relaxed);
        // A disk that hangs must not hang the program: its thread is then left behind.
        if self.done.recv_timeout(STOP_LIMIT).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.close();
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Recorder").field(&self.sides).finish()
    }
}

/// What the recorder's thread owns.
struct Work {
    streams: Vec<Stream>,
    ending: Vec<Segment>,
    results: Results,
    lines: Receiver<String>,
    options: RecordOptions,
    time: RunTime,
    hooks: Hooks,
    counts: Arc<Counts>,
}

/// One recorded side.
struct Stream {
    side: Side,
    current: Option<Segment>,
    next: u32,
}

impl Work {
    fn run(mut self, frames: &Receiver<Taken>, stop: &AtomicBool) {
        let mut ticked = Instant::now();
        let mut closed = 0;
        let reason = loop {
            match frames.recv_timeout(Duration::from_millis(50)) {
                Ok(taken) => self.take(&taken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break None,
            }
            if stop.load(Ordering::Relaxed) {
                break None;
            }
            self.write_lines();
            if ticked.elapsed() < TICK {
                continue;
            }
            ticked = Instant::now();
            self.look(&mut closed);
            if self.streams.is_empty() && (self.options.clean || self.options.overlay) {
                break Some("nothing is left to record".to_owned());
            }
            let left = free(folder(&self.options.prefix));
            if left.is_ok_and(|left| left < self.options.min_free) {
                let least = self.options.min_free / 1_000_000;
                break Some(format!("fewer than {least} MB are free on the disk"));
            }
        };
        // What was taken before the stop is still recorded.
        while let Ok(taken) = frames.try_recv() {
            self.take(&taken);
        }
        self.write_lines();
        for mut segment in self.streams.iter_mut().filter_map(|stream| stream.current.take()) {
            segment.end();
            self.ending.push(segment);
        }
        while !self.ending.is_empty() {
            self.look(&mut closed);
            std::thread::sleep(Duration::from_millis(5));
        }
        self.results.flush();
        self.counts.ended.store(true, Ordering::Relaxed);
        (self.hooks.on_event)(LiveEvent::RecordingStopped(reason));
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
            self.ending.push(segment);
        }
        if stream.current.is_none() {
            let path = file(&self.options.prefix, stream.side, stream.next);
            let quantizer = self.options.quantizer;
            match Segment::create(&path, &taken.caps, pts, quantizer, &self.time) {
                Ok(segment) => {
                    self.results.segment(stream.side, &segment);
                    stream.current = Some(segment);
                    stream.next += 1;
                    self.counts.segments.fetch_add(1, Ordering::Relaxed);
                }
                Err(e) => {
                    let StreamError::Record { reason } = e else { return self.drop_at(at, &e) };
                    return self.drop_at(at, &reason);
                }
            }
        }
        let given = self.streams[at].current.as_ref().is_some_and(|s| s.give(&taken.buffer));
        let count = if given { &self.counts.frames } else { &self.counts.dropped };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a side that failed.
    fn drop_at(&mut self, at: usize, reason: &impl ToString) {
        let stream = self.streams.remove(at);
        let reason = reason.to_string();
        (self.hooks.on_event)(LiveEvent::RecordingFailed { side: stream.side, reason });
    }

    /// Looks after errors and files that are complete.
    fn look(&mut self, closed: &mut u64) {
        let done = self.ending.extract_if(.., |segment| segment.is_done());
        *closed += done.map(|segment| segment.bytes()).sum::<u64>();
        while let Some((at, reason)) = self.streams.iter().enumerate().find_map(|(at, stream)| {
            stream.current.as_ref().and_then(Segment::failure).map(|reason| (at, reason))
        }) {
            self.drop_at(at, &reason);
        }
        let open = self.ending.iter().chain(self.streams.iter().filter_map(|s| s.current.as_ref()));
        let bytes = *closed + open.map(Segment::bytes).sum::<u64>();
        self.counts.bytes.store(bytes, Ordering::Relaxed);
        if let Some(reason) = self.results.flush() {
            log::warn!("the results are not recorded: {reason}");
        }
    }

    fn write_lines(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.results.line(&line);
            self.counts.lines.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The recorder of a run, if any.
pub(super) type Slot = Mutex<Option<Recorder>>;

/// Runs `f` on the recorder.
pub(super) fn with<T>(slot: &Slot, f: impl FnOnce(&mut Option<Recorder>) -> T) -> T {
    f(&mut slot.lock().unwrap_or_else(PoisonError::into_inner))
}
