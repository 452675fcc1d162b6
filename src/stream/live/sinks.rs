//! Looks after what lies behind the source: repeats pictures, restarts what failed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::branch::{Branch, JpegFn, RunTime, failure};
use super::feed::Feed;
use super::taps::{TapFn, Taps};
use super::{Hooks, LiveEvent, PreviewOptions, Side, SinkSpec};
use crate::stream::StreamError;

/// The pause before something that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Repeats the last picture while no new one comes.
pub(super) fn repeat(feed: &Feed, hold: Duration, stall: Duration, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        feed.repeat(hold, stall);
    }
}

/// The display pipeline's keeper and that of all sinks.
#[derive(Debug)]
pub(super) struct Sinks {
    taps: Arc<Taps>,
    time: RunTime,
    places: Mutex<Vec<Place>>,
    preview: Mutex<Preview>,
    pub(super) dropped: Arc<AtomicU64>,
    pub(super) previews: Arc<AtomicU64>,
}

/// A sink and what runs it, if it runs.
struct Place {
    spec: SinkSpec,
    running: Option<(Branch, Arc<TapFn>)>,
    failed: Instant,
}

#[derive(Debug)]
struct Preview {
    options: PreviewOptions,
    wanted: bool,
    running: Option<Branch>,
    tap: Option<Tap>,
}

/// A tap that can be told apart and debugged.
struct Tap(Arc<TapFn>);

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap")
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.spec).field(&self.running.is_some()).finish()
    }
}

impl Sinks {
    /// Starts all sinks; a sink that cannot start is an error here.
    pub(super) fn start(
        specs: &[SinkSpec],
        preview: PreviewOptions,
        taps: &Arc<Taps>,
        time: &RunTime,
    ) -> Result<Arc<Self>, StreamError> {
        let dropped = Arc::new(AtomicU64::new(0));
        let mut places = Vec::new();
        for spec in specs {
            let Some(branch) = Branch::sink(spec, time, &dropped)? else { continue };
            let tap = branch.tap();
            places.push(Place {
                spec: spec.clone(),
                running: Some((branch, tap)),
                failed: Instant::now(),
            });
        }
        for (_, tap) in places.iter().filter_map(|place| place.running.as_ref()) {
            taps.add(Side::Overlay, Arc::clone(tap));
        }
        Ok(Arc::new(Self {
            taps: Arc::clone(taps),
            time: time.clone(),
            places: Mutex::new(places),
            preview: Mutex::new(Preview {
                options: preview,
                wanted: false,
                running: None,
                tap: None,
            }),
            dropped,
            previews: Arc::new(AtomicU64::new(0)),
        }))
    }

    /// Turns the preview on or off.
    pub(super) fn set_preview(
        &self,
        wanted: bool,
        on_jpeg: &Arc<JpegFn>,
    ) -> Result<(), StreamError> {
        let mut preview = self.preview.lock().unwrap_or_else(PoisonError::into_inner);
        preview.wanted = wanted;
        if wanted && preview.running.is_none() {
            let on_jpeg = Arc::clone(on_jpeg);
            let branch = Branch::preview(preview.options, &self.time, &self.previews, on_jpeg)?;
            let tap = branch.tap();
            self.taps.add(Side::Overlay, Arc::clone(&tap));
            (preview.running, preview.tap) = (Some(branch), Some(Tap(tap)));
        }
        if let Some(branch) = &preview.running {
            branch.inlet.open.store(wanted, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Looks after everything until it is told to stop.
    pub(super) fn keep(&self, display: &gst::Pipeline, hooks: &Hooks, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
            if let Some(reason) = failure(display) {
                // The base time stays, so the run's time goes on.
                let _ = display.set_state(gst::State::Ready);
                let _ = display.set_state(gst::State::Playing);
                (hooks.on_event)(LiveEvent::PipelineRestarted(reason));
                pause(stop);
            }
            for event in self.look_after_sinks() {
                (hooks.on_event)(event);
            }
            if let Some(reason) = self.preview_failure() {
                let sink = "preview".to_owned();
                (hooks.on_event)(LiveEvent::SinkFailed { sink, reason });
                pause(stop);
                let wanted = self.lock_preview().wanted;
                let _ = self.set_preview(wanted, &hooks.on_jpeg);
            }
        }
    }

    /// Closes all sinks and the preview.
    pub(super) fn close(&self) {
        let places =
            std::mem::take(&mut *self.places.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, tap) in places.iter().filter_map(|place| place.running.as_ref()) {
            self.taps.remove(Side::Overlay, tap);
        }
        drop(places);
        let running = self.take_preview();
        drop(running);
    }

    fn look_after_sinks(&self) -> Vec<LiveEvent> {
        let mut events = Vec::new();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain_mut(|place| {
            let failure = place.running.as_ref().and_then(|(branch, _)| branch.failure());
            if let Some(reason) = failure {
                if let Some((branch, tap)) = place.running.take() {
                    self.taps.remove(Side::Overlay, &tap);
                    drop(branch);
                }
                place.failed = Instant::now();
                if place.spec == SinkSpec::Display && reason.contains("window was closed") {
                    events.push(LiveEvent::DisplayClosed);
                    return false;
                }
                events.push(LiveEvent::SinkFailed { sink: place.spec.to_string(), reason });
            }
            if place.running.is_none() && place.failed.elapsed() >= PAUSE {
                match Branch::sink(&place.spec, &self.time, &self.dropped) {
                    Ok(Some(branch)) => {
                        let tap = branch.tap();
                        self.taps.add(Side::Overlay, Arc::clone(&tap));
                        place.running = Some((branch, tap));
                        events.push(LiveEvent::SinkRestored(place.spec.to_string()));
                    }
                    // It was told already.
                    Ok(None) | Err(_) => place.failed = Instant::now(),
                }
            }
            true
        });
        events
    }

    fn lock_preview(&self) -> std::sync::MutexGuard<'_, Preview> {
        self.preview.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn preview_failure(&self) -> Option<String> {
        let reason = self.lock_preview().running.as_ref().and_then(Branch::failure)?;
        drop(self.take_preview());
        Some(reason)
    }

    /// Takes the preview out; to be dropped without the lock.
    fn take_preview(&self) -> Option<Branch> {
        let mut preview = self.lock_preview();
        if let Some(Tap(tap)) = preview.tap.take() {
            self.taps.remove(Side::Overlay, &tap);
        }
        preview.running.take()
    }
}

fn pause(stop: &AtomicBool) {
    let until = Instant::now() + PAUSE;
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
}
