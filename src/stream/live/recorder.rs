//! Recording beside the display: what the run holds of it. The work is done by [`super::writing`] on a
//! thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gstreamer as gst;

use super::branch::RunTime;
use super::files::Place;
use super::taps::{TapFn, Taps};
use super::writing::{Taken, Work};
use super::{Hooks, LiveEvent, RecordOptions, RecordPart, RecordStats, Side};
use crate::stream::StreamError;
use crate::stream::elements::internal;

/// Frames and result lines that wait for the recorder.
const QUEUE: (usize, usize) = (8, 1024);

/// How long stopping may take before the files are left to themselves.
const STOP_LIMIT: Duration = Duration::from_secs(8);

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
    hooks: Hooks,
}

/// What recorder and thread share.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) frames: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) segments: AtomicU64,
    /// Of files that are closed, and of those being written.
    pub(super) bytes: AtomicU64,
    pub(super) lines: AtomicU64,
    pub(super) lines_dropped: AtomicU64,
    /// Why something is not recorded now.
    problem: Mutex<Option<String>>,
    /// Whether the thread has ended.
    ended: AtomicBool,
}

impl Counts {
    pub(super) fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    fn stats(&self) -> RecordStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecordStats {
            frames: count(&self.frames),
            dropped: count(&self.dropped),
            segments: count(&self.segments),
            bytes: count(&self.bytes),
            lines: count(&self.lines),
            lines_dropped: count(&self.lines_dropped),
            problem: self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Recorder {
    /// Starts the thread. Reads and writes the disk.
    pub(super) fn start(
        options: RecordOptions,
        taps: &Arc<Taps>,
        time: RunTime,
        hooks: Hooks,
    ) -> Result<Self, StreamError> {
        let mut sides = Vec::new();
        sides.extend(options.clean.then_some(Side::Clean));
        sides.extend(options.overlay.then_some(Side::Overlay));
        let place = Place::open(&options).map_err(|reason| StreamError::Record { reason })?;

        let counts = Arc::new(Counts::default());
        let (frames, taken) = bounded::<Taken>(QUEUE.0);
        let (lines, written) = bounded(QUEUE.1);
        let counting = Arc::clone(&counts);
        let tap: Arc<TapFn> = Arc::new(move |side, buffer: &gst::Buffer, caps: &gst::Caps| {
            let taken = Taken { side, buffer: buffer.clone(), caps: caps.clone() };
            // Behind the recording's end a last frame may still come.
            if let Err(TrySendError::Full(_)) = frames.try_send(taken) {
                counting.dropped.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (done_sender, done) = bounded(1);
        let work = Work::new(options, &sides, place, written, time, hooks.clone(), &counts);
        let (stopping, counting, told) = (Arc::clone(&stop), Arc::clone(&counts), hooks.clone());
        let run = move || {
            let ran = catch_unwind(AssertUnwindSafe(|| work.run(&taken, &stopping)));
            counting.ended.store(true, Ordering::Relaxed);
            let reason = ran.err().map(|_| "an internal fault ended it".to_owned());
            if let Some(reason) = &reason {
                log::error!("the recorder is lost: {reason}");
                counting.set_problem(Some(reason.clone()));
            }
            (told.on_event)(LiveEvent::RecordingStopped(reason));
            let _ = done_sender.send(());
        };
        let thread = Builder::new().name("live-record".into()).spawn(run).map_err(internal)?;
        for side in &sides {
            taps.add(*side, Arc::clone(&tap));
        }
        let (taps, thread) = (Arc::clone(taps), Some(thread));
        Ok(Self { taps, tap, sides, lines, stop, done, thread, counts, hooks })
    }

    /// Adds a line of results, without waiting.
    pub(super) fn line(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.counts.lines_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether its thread runs.
    pub(super) fn is_running(&self) -> bool {
        !self.counts.ended.load(Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> RecordStats {
        self.counts.stats()
    }

    /// Closes the files; what was recorded.
    pub(super) fn finish(mut self) -> RecordStats {
        self.close();
        self.stats()
    }

    fn close(&mut self) {
        for side in &self.sides {
            self.taps.remove(*side, &self.tap);
        }
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        // A disk that hangs must not hang the program: its thread is then left behind.
        if self.done.recv_timeout(STOP_LIMIT).is_ok() {
            let _ = thread.join();
            return;
        }
        let reason = format!("the disk does not take the end of it within {STOP_LIMIT:?}");
        log::error!("the recorder is lost: {reason}");
        self.counts.set_problem(Some(reason.clone()));
        (self.hooks.on_event)(LiveEvent::RecordingFailed { part: RecordPart::Video, reason });
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Recorder").field(&self.sides).finish()
    }
}

/// The recorder of a run, if any.
pub(super) type Slot = Mutex<Option<Recorder>>;

/// Runs `f` on the recorder.
pub(super) fn with<T>(slot: &Slot, f: impl FnOnce(&mut Option<Recorder>) -> T) -> T {
    f(&mut slot.lock().unwrap_or_else(PoisonError::into_inner))
}
