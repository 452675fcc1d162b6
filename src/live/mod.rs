//! The parts of a live run that need no GStreamer: the model's worker behind its mailbox, and what is
//! drawn on each frame between two of its results.
//!
//! ```text
//! streaming thread:  Session::pass -> Display::frame -> what to draw
//!                        |                ^
//!                        v one slot       | masks, caught up with the newest frame
//! worker thread:     Mailbox -> Segmenter::step -> Display::result
//! ```

mod display;
#[cfg(test)]
mod display_tests;
mod engine;
#[cfg(test)]
mod engine_tests;
mod history;
mod mailbox;
mod mark;
mod moving;
mod palette;
mod segmenter;
mod session;
mod shared_model;
mod statistics;
mod types;
mod worker;

pub use crate::method::State;
pub use display::{Display, DisplaySettings, Shown};
pub use engine::{Counters, Engine, Event, MakeSegmenter, give_way};
pub use mark::{draw_mark, draw_notice};
pub use palette::object_color;
pub use segmenter::{ModelSettings, SamSegmenter};
pub use session::Session;
pub use shared_model::SharedModel;
pub use statistics::{LiveSummary, ObjectNow, ResultPoint, Statistics};
pub use types::{
    LivePicture, LiveResult, MAX_OBJECTS, ObjectId, ObjectResult, Segmenter, SegmenterError,
};
