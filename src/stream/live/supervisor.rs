//! Keeps the source running: one attempt after the other, with pauses in between.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::attempt::Attempt;
use super::feed::{Feed, Signal};
use super::{Hooks, LiveEvent, SourceSpec, SourceState};

/// The shortest and the longest pause between two attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long frames must come before a failure counts as the first again.
const GOOD: Duration = Duration::from_secs(5);

/// How long a source may take to its first frame.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Shortest time between two told warnings.
const TELL: Duration = Duration::from_secs(10);

/// Opens the source, watches it, and opens it again.
pub(super) struct Supervisor {
    pub(super) spec: SourceSpec,
    pub(super) feed: Arc<Feed>,
    pub(super) signals: Receiver<(u64, Signal)>,
    pub(super) stall_limit: Duration,
    pub(super) hooks: Hooks,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) counts: Arc<SourceCounts>,
}

/// What the supervisor counts, and how the source ended.
#[derive(Debug, Default)]
pub(super) struct SourceCounts {
    pub(super) rebuilds: AtomicU64,
    pub(super) warnings: AtomicU64,
    /// Why a finite source ended before its end.
    pub(super) failure: Mutex<Option<String>>,
}

impl SourceCounts {
    fn fail(&self, reason: String) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// How an attempt ended.
enum Outcome {
    Stopped,
    Ended,
    /// Why, and for how long frames came.
    Failed(String, Duration),
}

impl Supervisor {
    /// Runs until the source has ended or the stream is stopped.
    pub(super) fn run(self) {
        let (mut failures, mut pause) = (0, PAUSE.0);
        for attempt in 1.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if attempt == 1 {
                (self.hooks.on_source)(SourceState::Starting);
            }
            self.feed.begin(attempt);
            let outcome = match Attempt::start(&self.spec, attempt, &self.feed) {
                Ok(running) => {
                    let outcome = self.watch(attempt, &running);
                    self.feed.end();
                    // Frees the device, which may take its time; the picture stays meanwhile.
                    drop(running);
                    outcome
                }
                Err(e) => {
                    self.feed.end();
                    // An element's own words say more.
                    let told = self.signals.try_iter().find_map(|(of, signal)| match signal {
                        Signal::Failed(reason) if of == attempt => Some(reason),
                        _ => None,
                    });
                    let reason = told.unwrap_or_else(|| self.spec.hide(&e.to_string()));
                    Outcome::Failed(reason, Duration::ZERO)
                }
            };
            let (reason, good) = match outcome {
                Outcome::Stopped => return,
                Outcome::Ended => return (self.hooks.on_source)(SourceState::Ended),
                Outcome::Failed(reason, good) => (reason, good),
            };
            if self.spec.ends_on_failure() {
                self.counts.fail(reason);
                return (self.hooks.on_source)(SourceState::Ended);
            }
            if good >= GOOD {
                (failures, pause) = (0, PAUSE.0);
            }
            failures += 1;
            self.counts.rebuilds.fetch_add(1, Ordering::Relaxed);
            self.feed.blank();
            (self.hooks.on_source)(SourceState::Rebuilding { attempt: failures, reason });
            if self.rest(pause) {
                return;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Follows an attempt to its end.
    fn watch(&self, attempt: u64, running: &Attempt) -> Outcome {
        let mut since: Option<Instant> = None;
        let mut told: Option<Instant> = None;
        // Frames when a file was last played to its end.
        let mut at_end = self.feed.frames.load(Ordering::Relaxed);
        loop {
            let good = since.map_or(Duration::ZERO, |since| since.elapsed());
            match self.signals.recv_timeout(Duration::from_millis(50)) {
                Ok((_, Signal::Stop)) | Err(RecvTimeoutError::Disconnected) => {
                    return Outcome::Stopped;
                }
                Ok((of, _)) if of != attempt => {}
                Ok((_, Signal::Format { width, height, rate })) => {
                    since = since.or_else(|| Some(Instant::now()));
                    (self.hooks.on_source)(SourceState::Running { width, height, rate });
                }
                Ok((_, Signal::Eos)) => match &self.spec {
                    SourceSpec::File { looped: true, .. } => {
                        // A file that gives no more frames ends at once, again and again.
                        let frames = self.feed.frames.load(Ordering::Relaxed);
                        if std::mem::replace(&mut at_end, frames) == frames {
                            return Outcome::Failed("it gives no frames any more".into(), good);
                        }
                        if !running.rewind() {
                            return Outcome::Failed("it cannot be played again".into(), good);
                        }
                    }
                    spec if spec.is_finite() && since.is_none() => {
                        return Outcome::Failed("it ended without a single frame".into(), good);
                    }
                    spec if spec.is_finite() => {
                        if let Some(reason) = running.cut_short(self.feed.source_time()) {
                            self.counts.fail(reason);
                        }
                        return Outcome::Ended;
                    }
                    _ => return Outcome::Failed("it ended".into(), good),
                },
                Ok((_, Signal::Failed(reason))) => return Outcome::Failed(reason, good),
                Ok((_, Signal::Warning(text))) => {
                    self.counts.warnings.fetch_add(1, Ordering::Relaxed);
                    if told.is_none_or(|told| told.elapsed() >= TELL) {
                        told = Some(Instant::now());
                        (self.hooks.on_event)(LiveEvent::SourceWarning(text));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            // The signal finds no room where others crowd.
            if self.stop.load(Ordering::Relaxed) {
                return Outcome::Stopped;
            }
            let limit = if since.is_some() { self.stall_limit } else { START_LIMIT };
            if self.feed.silence() > limit.max(Duration::from_millis(100)) {
                if since.is_some() {
                    (self.hooks.on_source)(SourceState::Stalled);
                }
                let reason = format!("nothing came for {:.1} s", limit.as_secs_f64());
                return Outcome::Failed(reason, good);
            }
        }
    }

    /// Waits; whether the run is to stop.
    fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.signals.recv_timeout(left) {
                Ok((_, Signal::Stop)) | Err(RecvTimeoutError::Disconnected) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return self.stop.load(Ordering::Relaxed),
            }
        }
    }
}
