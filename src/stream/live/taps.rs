//! Who else gets the frames that pass the overlay.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer_app as gst_app;

use super::Side;

/// Takes a frame without waiting.
pub(super) type TapFn = dyn Fn(Side, &gst::Buffer, &gst::Caps) + Send + Sync;

/// The takers of each side. Each drops frames as it must; none can hold up the display.
#[derive(Default)]
pub(super) struct Taps {
    clean: Mutex<List>,
    overlay: Mutex<List>,
}

/// Made anew whenever it changes, so that a frame's way through it needs no lock.
type List = Arc<[Arc<TapFn>]>;

impl Taps {
    /// The takers of a side; the lock is held for moments only.
    fn side(&self, side: Side) -> MutexGuard<'_, List> {
        let list = match side {
            Side::Clean => &self.clean,
            Side::Overlay => &self.overlay,
        };
        list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, side: Side, tap: Arc<TapFn>) {
        self.change(side, |taps| taps.iter().cloned().chain([tap]).collect());
    }

    /// Takes a taker away; a frame that is on its way may still reach it.
    pub(super) fn remove(&self, side: Side, tap: &Arc<TapFn>) {
        let keep = |other: &&Arc<TapFn>| !Arc::ptr_eq(other, tap);
        self.change(side, |taps| taps.iter().filter(keep).cloned().collect());
    }

    pub(super) fn clear(&self) {
        for side in [Side::Clean, Side::Overlay] {
            self.change(side, |_| List::default());
        }
    }

    fn change(&self, side: Side, to: impl FnOnce(&List) -> List) {
        let old = {
            let mut taps = self.side(side);
            let new = to(&taps);
            std::mem::replace(&mut *taps, new)
        };
        // What its takers hold is dropped without the lock.
        drop(old);
    }

    /// Gives a frame to every taker of a side.
    pub(super) fn offer(&self, side: Side, buffer: &gst::Buffer, caps: &gst::Caps) {
        let taps = Arc::clone(&self.side(side));
        for tap in taps.iter() {
            tap(side, buffer, caps);
        }
    }
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps").finish_non_exhaustive()
    }
}

/// Puts frames into the queue of another pipeline, where the newest replace the oldest.
#[derive(Debug)]
pub(super) struct Inlet {
    appsrc: gst_app::AppSrc,
    caps: Mutex<Option<gst::Caps>>,
    limit: u64,
    /// Frames are taken while it is open.
    pub(super) open: AtomicBool,
    pub(super) dropped: Arc<AtomicU64>,
}

impl Inlet {
    /// A queue of `limit` frames at the start of a pipeline.
    pub(super) fn new(limit: u64, dropped: Arc<AtomicU64>) -> Self {
        let appsrc = live_appsrc(limit);
        Self { appsrc, caps: Mutex::new(None), limit, open: AtomicBool::new(true), dropped }
    }

    pub(super) fn element(&self) -> &gst::Element {
        gst::glib::prelude::Cast::upcast_ref(&self.appsrc)
    }

    pub(super) fn give(&self, buffer: &gst::Buffer, caps: &gst::Caps) {
        if !self.open.load(Ordering::Relaxed) {
            return;
        }
        let mut told = self.caps.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref() != Some(caps) {
            self.appsrc.set_caps(Some(caps));
            *told = Some(caps.clone());
        }
        drop(told);
        if self.appsrc.current_level_buffers() >= self.limit {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.appsrc.push_buffer(buffer.clone());
    }
}

/// An `appsrc` that never waits and holds at most `limit` frames, the newest.
pub(super) fn live_appsrc(limit: u64) -> gst_app::AppSrc {
    gst_app::AppSrc::builder()
        .format(gst::Format::Time)
        .is_live(true)
        .do_timestamp(false)
        .block(false)
        .max_buffers(limit)
        .max_bytes(0)
        .max_time(gst::ClockTime::ZERO)
        .leaky_type(gst_app::AppLeakyType::Downstream)
        .build()
}
