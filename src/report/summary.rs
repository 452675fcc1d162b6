use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::frame::milliseconds;
use crate::method::{PresenceModel, StageTimes};

/// A whole run in one JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Program and version.
    pub program: String,
    /// The input's name.
    pub input: String,
    /// Width of the first frame in pixels.
    pub width: u32,
    /// Height of the first frame in pixels.
    pub height: u32,
    /// The annotated picture: a frame of the input, or a file; several with commas.
    pub reference: String,
    /// The mask file, several with commas; `null` if the object was given by points or a box.
    pub mask: Option<String>,
    /// Weights file.
    pub weights: String,
    /// The model's architecture.
    pub architecture: String,
    /// Device the model ran on.
    pub device: String,
    /// Side in pixels that pictures are scaled to for the model.
    pub input_side: u32,
    /// Every setting of the method by its name.
    pub settings: BTreeMap<String, String>,
    /// How it is decided whether the object is in view, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceModel>,
    /// Whether the weights have an object score.
    pub object_score: bool,
    /// Profile of the method.
    pub profile: String,
    /// Frames decoded.
    pub frames_decoded: u64,
    /// Frames with a result in every output asked for.
    pub frames_written: u64,
    /// Frames that the container or the list promises, if it does.
    pub frames_expected: Option<u64>,
    /// Whether every promised frame was decoded and written.
    pub complete: bool,
    /// Why not, in words.
    pub problems: Vec<String>,
    /// What the decoder or the container gave reason to doubt, without a frame known to be missing.
    pub warnings: Vec<String>,
    /// Whether the run was stopped by the user.
    pub interrupted: bool,
    /// Wall time in seconds from the first frame to the last result.
    pub seconds: f64,
    /// Frames a second over that time.
    pub frames_per_second: f64,
    /// Milliseconds that the tracker took for a frame.
    pub latency: Latencies,
    /// Scores against the truth, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
    /// Largest resident memory of the process, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
    /// How large the object is, in a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeSummary>,
}

/// An object in a volume.
#[derive(Clone, Debug, Serialize)]
pub struct VolumeSummary {
    /// Slices of the volume.
    pub slices: usize,
    /// Slices that the object was found on.
    pub marked_slices: usize,
    /// Voxels of the object.
    pub voxels: usize,
    /// Millimetres between columns, rows and slices, if they are known.
    pub spacing: Option<[f64; 3]>,
    /// The object's volume in millilitres.
    pub millilitres: Option<f64>,
    /// What is annotated in the reference volume, in millilitres.
    pub reference_millilitres: Option<f64>,
    /// From the reference to this volume, in percent.
    pub change_percent: Option<f64>,
    /// For every slice that was looked at, which slice of the reference volume served it.
    pub references: Vec<usize>,
    /// Dice of all voxels together with the truth, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dice: Option<f64>,
}

/// Latency of the tracker's stages, milliseconds a frame.
#[derive(Clone, Debug, Serialize)]
pub struct Latencies {
    /// All stages.
    pub total: Percentiles,
    /// Scaling and normalising the picture.
    pub preprocess: Percentiles,
    /// Image encoder, with the picture's way to the device.
    pub encode: Percentiles,
    /// Similarity maps and points.
    pub prompts: Percentiles,
    /// Decoder passes.
    pub decode: Percentiles,
    /// Earth mover's distances.
    pub retrieval: Percentiles,
}

impl Latencies {
    /// Nothing recorded yet. Memory is a few kilobytes, however many frames come.
    pub fn new() -> Self {
        let empty = Percentiles::new;
        Self {
            total: empty(),
            preprocess: empty(),
            encode: empty(),
            prompts: empty(),
            decode: empty(),
            retrieval: empty(),
        }
    }

    /// Adds a frame.
    pub fn record(&mut self, times: &StageTimes) {
        self.total.record(times.total());
        self.preprocess.record(times.preprocess);
        self.encode.record(times.upload + times.encode);
        self.prompts.record(times.prompts);
        self.decode.record(times.decode());
        self.retrieval.record(times.retrieval);
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// A distribution of durations, in a histogram of three significant digits.
#[derive(Clone, Debug)]
pub struct Percentiles(Option<Histogram<u64>>);

impl Percentiles {
    /// Longest duration told apart, in microseconds: an hour.
    const LONGEST: u64 = 3_600_000_000;

    /// Nothing recorded yet.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, Self::LONGEST, 3).ok())
    }

    /// Adds a duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(micros.clamp(1, Self::LONGEST));
        }
    }

    /// The duration in milliseconds that a share of the frames, in 0..=1, did not exceed.
    pub fn at(&self, share: f64) -> f64 {
        self.0.as_ref().map_or(0.0, |h| h.value_at_quantile(share) as f64 / 1e3)
    }
}

impl Default for Percentiles {
    fn default() -> Self {
        Self::new()
    }
}

impl Serialize for Percentiles {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(6))?;
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)] {
            map.serialize_entry(name, &self.at(share))?;
        }
        map.serialize_entry("max", &self.at(1.0))?;
        let mean = self.0.as_ref().map_or(0.0, Histogram::mean);
        map.serialize_entry("mean", &milliseconds(Duration::from_micros(mean as u64)))?;
        map.end()
    }
}

/// Agreement with the truth.
#[derive(Clone, Debug, Serialize)]
pub struct Scores {
    /// Mean Dice over frames whose truth shows the object.
    pub mean_dice: f64,
    /// Frames whose truth shows the object.
    pub frames_present: u64,
    /// Frames whose truth shows nothing.
    pub frames_absent: u64,
    /// Of those, frames whose mask nevertheless is not empty.
    pub false_marks: u64,
}

/// Gathers [`Scores`] frame by frame.
#[derive(Clone, Debug, Default)]
pub struct Accuracy {
    sum: f64,
    present: u64,
    absent: u64,
    false_marks: u64,
}

impl Accuracy {
    /// Adds a frame: its Dice, whether the truth shows the object, and whether the mask does.
    pub fn record(&mut self, dice: f64, present: bool, marked: bool) {
        if present {
            self.present += 1;
            self.sum += dice;
        } else {
            self.absent += 1;
            self.false_marks += u64::from(marked);
        }
    }

    /// What was gathered.
    pub fn scores(&self) -> Scores {
        Scores {
            mean_dice: if self.present == 0 { 0.0 } else { self.sum / self.present as f64 },
            frames_present: self.present,
            frames_absent: self.absent,
            false_marks: self.false_marks,
        }
    }
}
