//! GStreamer's start, its elements, and what its messages mean in words.

use std::sync::OnceLock;

use gstreamer as gst;

use super::StreamError;

/// Starts GStreamer once; later calls cost nothing.
pub(super) fn init() -> Result<(), StreamError> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| gst::init().map_err(|e| e.to_string()))
        .clone()
        .map_err(|reason| StreamError::GStreamer { reason })
}

/// Makes an element, or says which package brings it.
pub(super) fn make(element: &str) -> Result<gst::Element, StreamError> {
    gst::ElementFactory::make(element).build().map_err(|_| StreamError::MissingElement {
        element: element.to_owned(),
        package: package_of(element).unwrap_or("gstreamer1.0-plugins-base"),
    })
}

/// The Debian package of an element, of those that are likely to be asked for.
pub(super) fn package_of(element: &str) -> Option<&'static str> {
    Some(match element {
        "x264enc" | "mpeg2dec" | "asfdemux" => "gstreamer1.0-plugins-ugly",
        "avenc_ffv1" => "gstreamer1.0-libav",
        "matroskamux" | "matroskademux" | "mp4mux" | "qtdemux" | "avidemux" | "flvdemux"
        | "videoflip" | "videocrop" | "deinterlace" | "v4l2src" | "v4l2sink" | "rtspsrc"
        | "udpsrc" | "udpsink" | "jpegenc" | "jpegdec" | "pngdec" | "pngenc" | "autovideosink"
        | "multifilesrc" | "splitmuxsink" | "souphttpsrc" | "vp8dec" | "vp9dec" => {
            "gstreamer1.0-plugins-good"
        }
        "decklinkvideosrc" | "decklinkvideosink" | "srtsrc" | "srtsink" | "tsdemux"
        | "mpegtsmux" | "h264parse" | "h265parse" | "jpegparse" | "shmsrc" | "shmsink"
        | "errorignore" | "webrtcbin" | "rtmpsrc" | "rtmp2src" | "hlsdemux" | "waylandsink"
        | "kmssink" | "nvh264dec" | "nvh265dec" | "fdkaacdec" => "gstreamer1.0-plugins-bad",
        "filesrc" | "filesink" | "fakesrc" | "fakesink" | "identity" | "queue" | "tee"
        | "valve" | "capsfilter" | "clocksync" => "libgstreamer1.0-0",
        "videotestsrc" | "videoconvert" | "videoscale" | "videorate" | "decodebin"
        | "decodebin3" | "uridecodebin" | "uridecodebin3" | "tcpclientsrc" | "tcpserversrc"
        | "tcpclientsink" | "tcpserversink" | "appsrc" | "appsink" => "gstreamer1.0-plugins-base",
        "glimagesink" | "gldownload" | "glupload" => "gstreamer1.0-gl",
        "ximagesink" | "xvimagesink" => "gstreamer1.0-x",
        _ if element.starts_with("avdec_") || element.starts_with("avenc_") => "gstreamer1.0-libav",
        _ if element.starts_with("rtp") => "gstreamer1.0-plugins-good",
        _ if element.starts_with("vaapi") => "gstreamer1.0-vaapi",
        _ => return None,
    })
}

/// Any failure of GStreamer's own bookkeeping: it cannot happen with a sound installation.
pub(super) fn internal(error: impl std::fmt::Display) -> StreamError {
    StreamError::GStreamer { reason: error.to_string() }
}

/// An error or warning of an element in one line: its text and the last line of its details, which
/// holds the system's own words.
pub(super) fn in_words(error: &gst::glib::Error, details: Option<&str>) -> String {
    let text = error.message().trim_end_matches('.').to_owned();
    let last = details.and_then(|d| d.split_once('\n')).map(|(_, rest)| rest.trim());
    match last.and_then(|rest| rest.lines().last()) {
        // A missing decoder comes with a dump of all its parameters.
        Some(more) if more.starts_with(MISSING) => text,
        Some(more) if !more.is_empty() => format!("{text} ({more})"),
        _ => text,
    }
}

/// How decodebin's error tells of a stream that it does not decode.
const MISSING: &str = "Missing decoder: ";

/// The streams that no decoder was taken for, from the details of decodebin's error: GStreamer's
/// name for the codec and the media type, such as ("MPEG-4 AAC", "audio/mpeg").
pub(super) fn missing_decoders(details: &str) -> impl Iterator<Item = (String, String)> {
    details.lines().filter_map(|line| {
        let line = line.strip_prefix(MISSING)?;
        // The name may have brackets of its own; the media type is the first with a slash.
        let brackets = line.match_indices(" (").map(|(at, _)| at);
        brackets.clone().find_map(|at| {
            let kind = line[at + 2..].split([',', ')']).next().filter(|k| k.contains('/'))?;
            Some((line[..at].to_owned(), kind.to_owned()))
        })
    })
}

/// Time of GStreamer as time of Rust.
pub(super) fn duration(time: gst::ClockTime) -> std::time::Duration {
    std::time::Duration::from_nanos(time.nseconds())
}

/// Time of Rust as time of GStreamer.
pub(super) fn clock_time(time: std::time::Duration) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1))
}
