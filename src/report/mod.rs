//! What a run leaves behind: a line for each frame, masks in COCO's form, a summary.

mod bench_page;
mod coco;
mod frame;
mod html;
mod plots;
mod sheet;
mod summary;
mod volume_page;

pub use bench_page::bench_page;
pub use coco::CocoWriter;
pub use frame::{FrameRecord, JsonLines, Milliseconds};
pub use html::eval_page;
pub use sheet::{contact_sheet, draw_points};
pub use summary::{Accuracy, Latencies, Percentiles, Scores, Summary, VolumeSummary};
pub use volume_page::volume_page;
