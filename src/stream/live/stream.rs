//! The whole of a live run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use gst::prelude::*;
use gstreamer as gst;

use super::attempt;
use super::branch::RunTime;
use super::feed::{Feed, QUEUE, SIGNALS, Signal};
use super::recorder::{self, Recorder};
use super::sinks::{self, Sinks};
use super::supervisor::{SourceCounts, Supervisor};
use super::taps::{Taps, live_appsrc};
use super::{Hooks, LiveEvent, LiveOptions, LiveStats, RecordOptions, RecordStats, Side};
use crate::stream::StreamError;
use crate::stream::elements::{init, internal, make};

/// How long stopping waits for each of its threads.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running live stream. Dropping it stops it.
#[derive(Debug)]
pub struct LiveStream {
    display: gst::Pipeline,
    overlay: gst::Element,
    /// What counts and taps frames at the overlay.
    probes: Vec<(gst::Pad, gst::PadProbeId)>,
    feed: Arc<Feed>,
    taps: Arc<Taps>,
    sinks: Arc<Sinks>,
    time: RunTime,
    hooks: Hooks,
    /// Held by whoever starts or stops recording, which reads and writes the disk.
    recording: Mutex<()>,
    /// Held for moments only.
    recorder: recorder::Slot,
    recorded: Mutex<RecordStats>,
    counts: Arc<SourceCounts>,
    shown: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<Thread>,
    /// Of the source's thread: closed when the source has ended.
    ended: Receiver<()>,
}

/// A thread that can be waited for with a limit: its channel closes when it ends.
#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Thread {
    fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<Self, StreamError> {
        let (alive, ended) = bounded(0);
        let run = move || {
            let _alive: crossbeam_channel::Sender<()> = alive;
            run();
        };
        let handle = Builder::new().name(name.into()).spawn(run).map_err(internal)?;
        Ok(Self { handle, ended })
    }
}

impl LiveStream {
    /// Starts the display pipeline with `overlay` in it, the sinks and the source. A source that
    /// cannot be opened now is tried again and again; what can be known to be wrong is an error.
    ///
    /// # Errors
    /// [`StreamError::Open`] for a missing file, [`StreamError::Launch`] for a faulty launch file,
    /// [`StreamError::MissingElement`], [`StreamError::Sink`] for a sink that cannot start.
    pub fn start(
        options: LiveOptions,
        overlay: gst::Element,
        hooks: Hooks,
    ) -> Result<Self, StreamError> {
        init()?;
        attempt::check(&options.source)?;
        let clock = gst::SystemClock::obtain();
        let base = clock.time();
        let time = RunTime { clock: clock.clone(), base };

        let appsrc = live_appsrc(QUEUE);
        let sink = make("fakesink")?;
        sink.set_property("sync", false);
        sink.set_property("async", false);
        sink.set_property("enable-last-sample", false);
        let display = gst::Pipeline::new();
        time.apply(&display);
        let chain = [appsrc.upcast_ref(), &overlay, &sink];
        display.add_many(chain).and_then(|()| gst::Element::link_many(chain)).map_err(internal)?;

        let taps = Arc::new(Taps::default());
        let shown = Arc::new(AtomicU64::new(0));
        let (signal_sender, signals) = bounded(SIGNALS);
        let feed = Feed::new(appsrc, clock, base, signal_sender);
        let sinks = Sinks::start(&options.sinks, options.preview, &taps, &time)?;
        let (none, ended) = bounded(0);
        drop(none);
        let mut stream = Self {
            display,
            overlay,
            probes: Vec::new(),
            feed,
            taps,
            sinks,
            time,
            hooks,
            recording: Mutex::new(()),
            recorder: Mutex::new(None),
            recorded: Mutex::new(RecordStats::default()),
            counts: Arc::new(SourceCounts::default()),
            shown,
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
            ended,
        };
        stream.tap(Side::Clean, "sink")?;
        stream.tap(Side::Overlay, "src")?;
        stream.display.set_state(gst::State::Playing).map_err(|_| StreamError::Live {
            reason: super::branch::failure(&stream.display)
                .unwrap_or_else(|| "the overlay does not start".into()),
        })?;
        stream.spawn(&options, signals)?;
        Ok(stream)
    }

    /// Gives what passes a pad of the overlay to the side's takers.
    fn tap(&mut self, side: Side, pad: &str) -> Result<(), StreamError> {
        let pad = self.overlay.static_pad(pad).ok_or_else(|| {
            internal(format!("the overlay has no pad `{pad}`; it needs one in and one out"))
        })?;
        let (taps, shown) = (Arc::clone(&self.taps), Arc::clone(&self.shown));
        let id = pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let (Some(gst::PadProbeData::Buffer(buffer)), Some(caps)) =
                (&info.data, pad.current_caps())
            {
                // Repeats are no frames of the source.
                if side == Side::Overlay && !buffer.flags().contains(gst::BufferFlags::GAP) {
                    shown.fetch_add(1, Ordering::Relaxed);
                }
                taps.offer(side, buffer, &caps);
            }
            gst::PadProbeReturn::Ok
        });
        self.probes.extend(id.map(|id| (pad, id)));
        Ok(())
    }

    fn spawn(
        &mut self,
        options: &LiveOptions,
        signals: Receiver<(u64, Signal)>,
    ) -> Result<(), StreamError> {
        let supervisor = Supervisor {
            spec: options.source.clone(),
            feed: Arc::clone(&self.feed),
            signals,
            stall_limit: options.stall_limit,
            hooks: self.hooks.clone(),
            stop: Arc::clone(&self.stop),
            counts: Arc::clone(&self.counts),
        };
        let source = Thread::spawn("live-source", move || supervisor.run())?;
        self.ended = source.ended.clone();
        self.threads.push(source);

        let (feed, stop) = (Arc::clone(&self.feed), Arc::clone(&self.stop));
        let (hold, stall) = (options.hold_limit, options.stall_limit);
        let repeat = move || sinks::repeat(&feed, hold, stall, &stop);
        self.threads.push(Thread::spawn("live-repeat", repeat)?);

        let (sinks, stop) = (Arc::clone(&self.sinks), Arc::clone(&self.stop));
        let (display, hooks) = (self.display.clone(), self.hooks.clone());
        let keep = move || sinks.keep(&display, &hooks, &stop);
        self.threads.push(Thread::spawn("live-sinks", keep)?);
        Ok(())
    }

    /// Waits for the end of a finite source: whether it has come. [`LiveStream::cut_short`] says
    /// whether that was its own end.
    ///
    /// # Errors
    /// [`StreamError::Live`] if the source ended by a failure before its first frame.
    pub fn wait(&self, timeout: Duration) -> Result<bool, StreamError> {
        match self.ended.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) => Ok(false),
            _ => match self.cut_short() {
                Some(reason) if self.feed.frames.load(Ordering::Relaxed) == 0 => {
                    Err(StreamError::Live { reason })
                }
                _ => Ok(true),
            },
        }
    }

    /// Why a finite source has ended before its own end, in words: it failed, or its file is shorter
    /// than it says. `None` while it runs and if it came to its end.
    pub fn cut_short(&self) -> Option<String> {
        self.counts.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts to record.
    ///
    /// # Errors
    /// [`StreamError::Record`] if a recording runs already, here or elsewhere to the same prefix, the
    /// folder is not there, or it cannot be written or its disk is too full and
    /// [`RecordOptions::wait`] is not set.
    pub fn start_recording(&self, options: RecordOptions) -> Result<(), StreamError> {
        let _recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        // One that ended by itself; dropped without the lock, as it waits for a hook.
        let over = |old: &mut Recorder| !old.is_running();
        drop(recorder::with(&self.recorder, |slot| slot.take_if(over)));
        if recorder::with(&self.recorder, |slot| slot.is_some()) {
            let reason = "a recording runs already; stop it first".into();
            return Err(StreamError::Record { reason });
        }
        let (time, hooks) = (self.time.clone(), self.hooks.clone());
        let started = Recorder::start(options, &self.taps, time, hooks)?;
        recorder::with(&self.recorder, |slot| *slot = Some(started));
        (self.hooks.on_event)(LiveEvent::RecordingStarted);
        Ok(())
    }

    /// Closes the recording's files; waits a few seconds at most. `None` if none was running.
    pub fn stop_recording(&self) -> Option<RecordStats> {
        let _recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        let recorder = recorder::with(&self.recorder, Option::take)?;
        let stats = recorder.finish();
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = stats.clone();
        Some(stats)
    }

    /// Adds a line to the running recording's results; never waits.
    pub fn record_line(&self, line: String) {
        recorder::with(&self.recorder, |slot| {
            if let Some(recorder) = slot {
                recorder.line(line);
            }
        });
    }

    /// Turns the pictures for [`Hooks::on_jpeg`] on or off. Off, they cost nothing.
    ///
    /// # Errors
    /// [`StreamError::MissingElement`] or [`StreamError::Sink`] if they cannot be made.
    pub fn set_preview(&self, on: bool) -> Result<(), StreamError> {
        self.sinks.set_preview(on, &self.hooks.on_jpeg)
    }

    /// Time of the run: that of a frame which passes now.
    pub fn now(&self) -> Duration {
        let now = self.time.clock.time().nseconds();
        Duration::from_nanos(now.saturating_sub(self.time.base.nseconds()))
    }

    /// Counts since the start.
    pub fn stats(&self) -> LiveStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let running = recorder::with(&self.recorder, |slot| {
            slot.as_ref().map(|recorder| (recorder.is_running(), recorder.stats()))
        });
        let last = || self.recorded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (recording, record) = running.unwrap_or_else(|| (false, last()));
        LiveStats {
            frames_in: count(&self.feed.frames),
            frames_shown: count(&self.shown),
            frames_dropped: count(&self.feed.dropped),
            repeats: count(&self.feed.repeats),
            rebuilds: count(&self.counts.rebuilds),
            source_warnings: count(&self.counts.warnings),
            previews: count(&self.sinks.previews),
            sink_drops: count(&self.sinks.dropped),
            recording,
            record,
        }
    }

    /// Stops everything; recordings are closed. Takes a few seconds at most.
    pub fn stop(self) {}
}

impl Drop for LiveStream {
    fn drop(&mut self) {
        let _ = self.stop_recording();
        self.stop.store(true, Ordering::Relaxed);
        self.feed.signal(0, Signal::Stop);
        for thread in self.threads.drain(..) {
            // A device that hangs must not hang the program: its thread is then left behind.
            if let Err(RecvTimeoutError::Disconnected) = thread.ended.recv_timeout(STOP_LIMIT) {
                let _ = thread.handle.join();
            }
        }
        self.sinks.close();
        let _ = self.display.set_state(gst::State::Null);
        for (pad, id) in self.probes.drain(..) {
            pad.remove_probe(id);
        }
        self.taps.clear();
        // The overlay is the caller's and may serve again.
        let _ = self.display.remove(&self.overlay);
    }
}
