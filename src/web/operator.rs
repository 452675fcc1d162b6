//! What the page asks of a live run.

use serde::{Deserialize, Serialize};

use super::Preview;
use crate::live::{ObjectId, State};

/// A live run as its operator's page sees it. Every function may be called from several threads at
/// once. `status` and `latency` are asked several times a second by each open page and must answer
/// at once; `freeze`, `segment`, `accept` and `upload` may take seconds and are called one at a
/// time. Errors are texts for the operator.
pub trait Operator: Send + Sync + 'static {
    /// How the run is now.
    fn status(&self) -> Status;

    /// The last 60 seconds of results, oldest first.
    fn latency(&self) -> Vec<LatencyPoint>;

    /// Where the newest picture with its overlay is published.
    fn preview(&self) -> &Preview;

    /// Holds the newest picture, without its overlay, for annotation.
    ///
    /// # Errors
    /// If there is no picture.
    fn freeze(&self) -> Result<Frozen, String>;

    /// What the model segments in a frozen picture for points and a box.
    ///
    /// # Errors
    /// If the picture is no longer held, a prompt is outside of it, or the model fails.
    fn segment(&self, frozen: u64, prompt: &PagePrompt) -> Result<Proposal, String>;

    /// Makes the last proposal for a frozen picture a reference: of a new object, or instead of
    /// `object`. Returns the object's number.
    ///
    /// # Errors
    /// If there is no proposal, no free number, or the mask is unusable.
    fn accept(&self, frozen: u64, object: Option<ObjectId>) -> Result<ObjectId, String>;

    /// As [`accept`](Self::accept), with a mask from a PNG file that has the frozen picture's size.
    /// The bytes come from outside and may be anything.
    ///
    /// # Errors
    /// If they are no such mask, or as for `accept`.
    fn upload(
        &self,
        frozen: u64,
        mask_png: &[u8],
        object: Option<ObjectId>,
    ) -> Result<ObjectId, String>;

    /// Stops following an object.
    ///
    /// # Errors
    /// If there is no such object.
    fn remove(&self, object: ObjectId) -> Result<(), String>;

    /// Chooses one of [`Status::profiles`].
    ///
    /// # Errors
    /// If there is no profile of that name or it cannot be used now.
    fn set_profile(&self, name: &str) -> Result<(), String>;

    /// Starts or stops recording.
    ///
    /// # Errors
    /// If nothing can be recorded.
    fn record(&self, on: bool) -> Result<(), String>;

    /// The newest picture with its overlay as PNG or JPEG.
    ///
    /// # Errors
    /// If there is no picture.
    fn snapshot(&self) -> Result<Vec<u8>, String>;
}

/// How a live run is now. Texts must hold no patient's data and no file path.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// The source.
    pub source: SourceStatus,
    /// The model.
    pub model: ModelStatus,
    /// Name of the profile in use.
    pub profile: String,
    /// Names of all profiles.
    pub profiles: Vec<String>,
    /// The objects, by number.
    pub objects: Vec<ObjectStatus>,
    /// The recording.
    pub recording: RecordingStatus,
    /// Delay that the overlay adds to a picture, median, in milliseconds.
    pub delay_ms_p50: Option<f64>,
    /// The same, 99th percentile.
    pub delay_ms_p99: Option<f64>,
    /// Free bytes where recordings go.
    pub disk_free_bytes: Option<u64>,
    /// Counts since the start, for Prometheus.
    pub counters: Vec<Counter>,
    /// The last events, oldest first; the page shows 50.
    pub events: Vec<Event>,
}

impl Status {
    /// Whether video runs and the model answers.
    ///
    /// # Errors
    /// In words, what is wrong.
    pub fn health(&self) -> Result<(), String> {
        let source = match self.source.state {
            SourceState::Running => None,
            SourceState::Starting => Some("the source is starting"),
            SourceState::Stalled => Some("the source gives no pictures"),
            SourceState::Rebuilding => Some("the source is being rebuilt"),
            SourceState::Ended => Some("the source has ended"),
        };
        let model = match self.model.state {
            ModelState::Ready | ModelState::Busy => None,
            ModelState::Loading => Some("the model is loading"),
            ModelState::Restarting => Some("the model is restarting"),
            ModelState::Failed => Some("the model has failed"),
        };
        match (source, model) {
            (None, None) => Ok(()),
            (Some(text), None) | (None, Some(text)) => Err(text.to_owned()),
            (Some(source), Some(model)) => Err(format!("{source}; {model}")),
        }
    }
}

/// Whether pictures come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// No picture yet.
    #[default]
    Starting,
    /// Pictures come.
    Running,
    /// Pictures have stopped.
    Stalled,
    /// It is being made anew after an error.
    Rebuilding,
    /// It has ended and will not come back.
    Ended,
}

/// The source.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceStatus {
    /// Whether pictures come.
    pub state: SourceState,
    /// Width in pixels; 0 if unknown.
    pub width: usize,
    /// Height in pixels; 0 if unknown.
    pub height: usize,
    /// Pictures a second as measured.
    pub fps: f64,
    /// Milliseconds since the newest picture.
    pub age_ms: Option<f64>,
}

/// Whether the model answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelState {
    /// Weights are being read.
    #[default]
    Loading,
    /// It answers.
    Ready,
    /// It works for the operator; objects wait.
    Busy,
    /// It is being made anew after an error.
    Restarting,
    /// It does not come back.
    Failed,
}

/// The model.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelStatus {
    /// Whether it answers.
    pub state: ModelState,
    /// What it runs on.
    pub device: String,
    /// Results a second as measured.
    pub results_per_second: f64,
}

/// One object.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectStatus {
    /// Its number.
    pub id: ObjectId,
    /// Whether it is in view.
    pub state: State,
    /// Age of the shown mask in milliseconds; `None` if none is shown.
    pub age_ms: Option<f64>,
    /// Milliseconds since the picture in which the model saw it; `None` if no mask is shown.
    pub seen_ms: Option<f64>,
    /// Retrieval distance of the last result.
    pub distance: Option<f64>,
    /// Probability that the object is in view and the mask is on it, 0 to 1; `None` where that is not
    /// decided.
    pub probability: Option<f32>,
    /// What the model thinks of the last mask, 0 to 1.
    pub predicted_iou: Option<f32>,
    /// Its colour in the overlay: red, green, blue.
    pub color: [u8; 3],
    /// Why it is not followed for the time being, in words.
    pub suspended: Option<String>,
}

/// The recording.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RecordingStatus {
    /// Whether this run can record at all.
    pub available: bool,
    /// Whether it does now.
    pub on: bool,
    /// Seconds recorded since it was last started.
    pub seconds: f64,
    /// Pictures that were not recorded: the disk was slow or full, or failed.
    pub dropped: u64,
    /// Lines of results that were not recorded, for the same reasons.
    pub lines_dropped: u64,
    /// What is not recorded now, and why, in words.
    pub problem: Option<String>,
}

/// A count since the start of the run: `p2sam_NAME_total` in Prometheus.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counter {
    /// Letters, digits and underscores.
    pub name: &'static str,
    /// What is counted, one line.
    pub help: &'static str,
    /// The count.
    pub value: u64,
}

/// Something the operator should know of.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Seconds since the start of the run.
    pub seconds: f64,
    /// What happened.
    pub text: String,
}

/// One result in the latency plot.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencyPoint {
    /// Seconds before now.
    pub seconds_ago: f64,
    /// How long the model took, in milliseconds.
    pub result_ms: f64,
    /// Largest age of a shown mask just before this result, in milliseconds.
    pub mask_age_ms: Option<f64>,
}

/// A held picture.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// Names it.
    pub id: u64,
    /// Width in pixels, also of the JPEG.
    pub width: usize,
    /// Height in pixels, also of the JPEG.
    pub height: usize,
    /// The picture.
    pub jpeg: Vec<u8>,
}

/// A point in a frozen picture, in its pixels; (0, 0) is the upper left corner of the first pixel.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagePoint {
    /// From the left.
    pub x: f32,
    /// From the top.
    pub y: f32,
    /// On the object, or else beside it.
    pub positive: bool,
}

/// What the operator has marked in a frozen picture: at least a positive point or a box.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagePrompt {
    /// Points, in the order in which they were made.
    #[serde(default)]
    pub points: Vec<PagePoint>,
    /// Left, top, right, bottom in pixels.
    #[serde(default, rename = "box")]
    pub rect: Option<[f32; 4]>,
}

/// What the model segments for a prompt.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The mask at the frozen picture's size: 8-bit grey PNG, 255 on the object.
    pub mask_png: Vec<u8>,
    /// What the model thinks of it, 0 to 1.
    pub predicted_iou: f32,
    /// Pixels on the object.
    pub area: usize,
}
