//! The GStreamer plugin: `p2samoverlay` for `gst-inspect-1.0` and `gst-launch-1.0`.

use gstreamer as gst;

use gst::glib;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    p2sam::P2samOverlay::register(Some(plugin))
}

gst::plugin_define!(
    p2sam,
    "Part-aware one-shot segmentation drawn into live video; for research use, not a medical device",
    plugin_init,
    env!("CARGO_PKG_VERSION"),
    // GStreamer knows no list of licences for a choice of two; this is one of the two.
    "Apache 2.0",
    "p2sam",
    "p2sam",
    "p2sam"
);
