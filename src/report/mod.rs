//! What a run leaves behind: a line for each frame, masks in COCO's form, a summary.

mod coco;
mod frame;
mod summary;

pub use coco::CocoWriter;
pub use frame::{FrameRecord, JsonLines, Milliseconds};
pub use summary::{Accuracy, Latencies, Percentiles, Scores, Summary, peak_memory};
