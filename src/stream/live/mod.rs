//! Live video: a source that is watched and rebuilt, a display pipeline that never stops, sinks and
//! recordings that cannot disturb it.
//!
//! ```text
//! source pipeline -> Feed -> appsrc ! overlay ! fakesink          (one for the whole run)
//!  one an attempt              clean |       | drawn
//!                            recorder       recorder, sinks, preview: a pipeline each
//! ```
//! Frames change pipelines by reference, through queues of a few frames of which the oldest is
//! dropped; nothing behind the overlay can make it wait. Buffers with the flag GAP are the last
//! picture shown again for want of a new one; the first frame of an attempt or of a new format has
//! the flag DISCONT.

mod attempt;
mod branch;
mod feed;
mod files;
mod frames;
mod launch;
mod options;
mod recorder;
mod results;
mod segment;
mod sinks;
mod spec;
mod stream;
mod supervisor;
mod taps;
#[cfg(test)]
mod tests;
mod timeline;
mod writing;

pub use branch::has_screen;
pub use launch::LaunchFile;
pub use options::{
    Hooks, LiveEvent, LiveOptions, LiveStats, PreviewOptions, RecordOptions, RecordPart,
    RecordStats, Side, SourceState,
};
pub use spec::{FrameFn, Mode, SinkSpec, SourceSpec};
pub use stream::LiveStream;
