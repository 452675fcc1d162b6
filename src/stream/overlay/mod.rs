//! The element `p2samoverlay`.

mod imp;
mod messages;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gstreamer as gst;
use gstreamer_base as gst_base;
use gstreamer_video as gst_video;

use crate::live::{Session, Shown};

gst::glib::wrapper! {
    /// Follows annotated objects and draws them into the video, in place, in I420 and NV12. It never
    /// waits for the model: pictures pass at once, and the model, on a thread of its own, takes the
    /// newest picture whenever it is free.
    ///
    /// Every result is told as an element message `p2sam-result` on the bus and as the signal
    /// `result`, everything else (`ready`, `object-added`, `object-refused`, `object-suspended`,
    /// `object-removed`, `restarted`, `failed`) as a message `p2sam-event`. Nothing of this holds up the
    /// video. `GST_DEBUG=p2samoverlay:4` shows all of it but the results.
    ///
    /// ```text
    /// make install-plugin
    /// gst-launch-1.0 filesrc location=clip.mkv ! decodebin ! videoconvert ! \
    ///     p2samoverlay reference=reference.png mask=mask.png ! videoconvert ! autovideosink
    /// ```
    pub struct P2samOverlay(ObjectSubclass<imp::Overlay>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// What was drawn on a frame.
#[derive(Clone, Copy, Debug)]
pub struct ShownFrame<'a> {
    /// The frame's number, from the session's start.
    pub number: u64,
    /// The buffer's offset, where the source numbers its frames.
    pub source_number: Option<u64>,
    /// Its presentation time: its running time, or a guess where it has no timestamp.
    pub pts: Duration,
    /// Every object.
    pub shown: &'a [Shown],
    /// For how long the element had the frame.
    pub added_delay: Duration,
}

/// Called on the streaming thread after each frame; it must be quick.
pub type OnShown = Arc<dyn Fn(&ShownFrame<'_>) + Send + Sync>;

impl P2samOverlay {
    /// An element without a name.
    ///
    /// # Errors
    /// If GStreamer cannot be started.
    pub fn new() -> Result<Self, gst::glib::Error> {
        gst::init()?;
        Ok(gst::glib::Object::new())
    }

    /// Makes the element known under its name, to a plugin or, without one, to this program.
    ///
    /// # Errors
    /// If GStreamer refuses.
    pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), gst::glib::BoolError> {
        gst::Element::register(plugin, "p2samoverlay", gst::Rank::NONE, Self::static_type())
    }

    /// Takes masks from this session and gives pictures to it, in place of a model of the element's
    /// own. The session outlives the element's states; it ends with its owners, of which the element
    /// is one. To be called before the element is started.
    pub fn set_session(&self, session: Arc<Session>) {
        self.imp().set_session(session);
    }

    /// Sets what is called after each frame.
    pub fn set_on_shown(&self, hook: Option<OnShown>) {
        self.imp().set_on_shown(hook);
    }

    /// Shows a notice in place of masks on frames that are marked as gaps (repeats of the last
    /// picture while the source is away), such as `NO SIGNAL`.
    pub fn set_gap_notice(&self, notice: &str) {
        self.imp().set_gap_notice(notice);
    }
}
