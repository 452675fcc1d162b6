//! What a live stream is told to do, and what it tells.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{SinkSpec, SourceSpec};

/// How to run a live stream.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Where pictures come from.
    pub source: SourceSpec,
    /// Where drawn pictures go.
    pub sinks: Vec<SinkSpec>,
    /// For how long a running source may deliver nothing before it is rebuilt.
    pub stall_limit: Duration,
    /// For how long the last picture may stand with its masks before it is shown again without them;
    /// at least four of its source's frames.
    pub hold_limit: Duration,
    /// The preview pictures of [`Hooks::on_jpeg`].
    pub preview: PreviewOptions,
}

impl LiveOptions {
    /// The usual limits.
    pub fn new(source: SourceSpec, sinks: Vec<SinkSpec>) -> Self {
        let preview = PreviewOptions::default();
        Self {
            source,
            sinks,
            stall_limit: Duration::from_secs(2),
            hold_limit: Duration::from_millis(200),
            preview,
        }
    }
}

/// What preview pictures are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PreviewOptions {
    /// Largest width in pixels; smaller pictures are not enlarged.
    pub max_width: u32,
    /// Most pictures a second.
    pub max_rate: u32,
    /// JPEG quality, 1 to 100.
    pub quality: u32,
}

impl Default for PreviewOptions {
    fn default() -> Self {
        Self { max_width: 960, max_rate: 25, quality: 80 }
    }
}

/// How to record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordOptions {
    /// Folder and start of the files' names: `PREFIX-clean-00000.mkv`, `PREFIX-overlay-00000.mkv`,
    /// `PREFIX-results.jsonl`. Numbers go on behind files that are there.
    pub prefix: PathBuf,
    /// Whether the picture as it came is recorded.
    pub clean: bool,
    /// Whether the picture as it is shown is recorded.
    pub overlay: bool,
    /// Length of a segment; `None` for no limit.
    pub segment_time: Option<Duration>,
    /// Size of a segment in bytes; `None` for no limit.
    pub segment_bytes: Option<u64>,
    /// Free bytes of the disk below which no video is written. Recording goes on by itself once there
    /// is space again.
    pub min_free: u64,
    /// Whether to start where nothing can be written now, and to record as soon as it can. Otherwise
    /// that is an error.
    pub wait: bool,
    /// x264's quantizer, 0 (best) to 50.
    pub quantizer: u32,
}

impl RecordOptions {
    /// Both streams in segments of ten minutes, with at least 500 MB left free.
    pub fn new(prefix: impl Into<PathBuf>) -> Self {
        Self {
            prefix: prefix.into(),
            clean: true,
            overlay: true,
            segment_time: Some(Duration::from_secs(600)),
            segment_bytes: None,
            min_free: 500_000_000,
            wait: false,
            quantizer: 23,
        }
    }
}

/// How the source does.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceState {
    /// It is being opened.
    Starting,
    /// Frames come.
    Running {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Frames a second as a fraction; `None` if it does not say.
        rate: Option<(u32, u32)>,
    },
    /// Nothing came for too long.
    Stalled,
    /// It failed and is opened anew.
    Rebuilding {
        /// How many attempts failed since frames last came.
        attempt: u32,
        /// Why, in words.
        reason: String,
    },
    /// It came to its end; the run is over.
    Ended,
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => write!(f, "the source is being opened"),
            Self::Running { width, height, rate: Some((n, d)) } => {
                let rate = f64::from(*n) / f64::from((*d).max(1));
                write!(f, "the source runs: {width}x{height} at {rate:.2} frames a second")
            }
            Self::Running { width, height, rate: None } => {
                write!(f, "the source runs: {width}x{height}")
            }
            Self::Stalled => write!(f, "the source stalls"),
            Self::Rebuilding { attempt, reason } => {
                write!(f, "the source is lost: {reason}; it is opened anew (attempt {attempt})")
            }
            Self::Ended => write!(f, "the source has ended"),
        }
    }
}

/// One of the two pictures that can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// As it came.
    Clean,
    /// As it is shown.
    Overlay,
}

impl Side {
    /// Its name in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Overlay => "overlay",
        }
    }
}

/// A part of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordPart {
    /// One of the two videos.
    Side(Side),
    /// All video.
    Video,
    /// The lines of results.
    Results,
}

impl fmt::Display for RecordPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Side(side) => write!(f, "the {} video", side.name()),
            Self::Video => write!(f, "the video"),
            Self::Results => write!(f, "the list of results"),
        }
    }
}

/// What happened beside the source's state.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LiveEvent {
    /// The source complained and went on. Told at most once in ten seconds; all are counted.
    SourceWarning(String),
    /// A sink failed; it is built anew, the others go on.
    SinkFailed {
        /// Which, in a word.
        sink: String,
        /// Why.
        reason: String,
    },
    /// A sink works again.
    SinkRestored(String),
    /// The display's window was closed; the run goes on without it.
    DisplayClosed,
    /// The overlay's pipeline failed and was started again.
    PipelineRestarted(String),
    /// Recording began.
    RecordingStarted,
    /// Recording ended; `None` if it was asked to.
    RecordingStopped(Option<String>),
    /// A part of the recording is not written; it is tried again, and what else is recorded goes on.
    RecordingFailed {
        /// Which part.
        part: RecordPart,
        /// Why.
        reason: String,
    },
    /// A part that failed is recorded again.
    RecordingRestored(RecordPart),
}

impl fmt::Display for LiveEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceWarning(text) => write!(f, "the source warns: {text}"),
            Self::SinkFailed { sink, reason } => {
                write!(f, "the sink {sink} failed: {reason}; it is opened anew")
            }
            Self::SinkRestored(sink) => write!(f, "the sink {sink} works again"),
            Self::DisplayClosed => write!(f, "the display was closed; the run goes on without it"),
            Self::PipelineRestarted(reason) => {
                write!(f, "the display pipeline was started again: {reason}")
            }
            Self::RecordingStarted => write!(f, "recording started"),
            Self::RecordingStopped(None) => write!(f, "recording stopped"),
            Self::RecordingStopped(Some(reason)) => write!(f, "recording stopped: {reason}"),
            Self::RecordingFailed { part, reason } => {
                write!(f, "{part} is not recorded: {reason}")
            }
            Self::RecordingRestored(part) => write!(f, "{part} is recorded again"),
        }
    }
}

/// Called as things happen, from the stream's own threads; each must return soon.
#[derive(Clone)]
pub struct Hooks {
    /// The source's state changed.
    pub on_source: Arc<dyn Fn(SourceState) + Send + Sync>,
    /// A preview picture, as JPEG.
    pub on_jpeg: Arc<dyn Fn(Arc<[u8]>) + Send + Sync>,
    /// Anything else that a user should know.
    pub on_event: Arc<dyn Fn(LiveEvent) + Send + Sync>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { on_source: Arc::new(|_| {}), on_jpeg: Arc::new(|_| {}), on_event: Arc::new(|_| {}) }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct LiveStats {
    /// Frames that the source delivered.
    pub frames_in: u64,
    /// Of them, those that left the overlay.
    pub frames_shown: u64,
    /// Frames that were replaced by newer ones before the overlay took them.
    pub frames_dropped: u64,
    /// Times the last picture was shown again for want of a new one.
    pub repeats: u64,
    /// Times the source was opened anew.
    pub rebuilds: u64,
    /// Warnings of the source's elements.
    pub source_warnings: u64,
    /// Preview pictures made.
    pub previews: u64,
    /// Frames that sinks were too slow for, all sinks together.
    pub sink_drops: u64,
    /// Whether a recording runs.
    pub recording: bool,
    /// The running or last recording.
    pub record: RecordStats,
}

/// Counts of a recording.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct RecordStats {
    /// Frames given to the encoders.
    pub frames: u64,
    /// Frames that were not recorded: encoder or disk were too slow, or the disk was full or failed.
    pub dropped: u64,
    /// Files that were begun.
    pub segments: u64,
    /// Bytes of video written.
    pub bytes: u64,
    /// Lines of results written.
    pub lines: u64,
    /// Lines of results that were not written, for the same reasons.
    pub lines_dropped: u64,
    /// What is not recorded now, and why, in words.
    pub problem: Option<String>,
}
