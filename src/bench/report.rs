use serde::{Deserialize, Serialize};

use super::{Machine, Measured};
use crate::metrics::quantile;

/// A whole measurement: the machine, what was measured with, and every frame of every case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// Program and version.
    pub program: String,
    /// The source's commit, if the program was built in its repository.
    pub commit: Option<String>,
    /// What it ran on.
    pub machine: Machine,
    /// What was followed.
    pub input: String,
    /// Width and height of its first picture in pixels.
    pub size: [u32; 2],
    /// How frames came: `offline`, `single-stream` or `paced`.
    pub mode: String,
    /// Frames a second of a paced measurement.
    pub rate: Option<f64>,
    /// Frames before the measured ones.
    pub warmup: usize,
    /// One a combination of settings.
    pub cases: Vec<CaseReport>,
}

/// A combination of settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Name or file of the weights.
    pub weights: String,
    /// SHA-256 of the weights file.
    pub sha256: String,
    /// The model's architecture.
    pub architecture: String,
    /// Where the model ran.
    pub device: String,
    /// Profile of the method.
    pub profile: String,
    /// Side in pixels that pictures are scaled to for the model.
    pub input_side: u32,
    /// Fewest and most positive parts.
    pub n: [usize; 2],
    /// Fewest and most negative parts.
    pub m: [usize; 2],
}

impl Case {
    /// Whether two measurements are of the same settings. The weights' bytes may differ.
    pub fn is_like(&self, other: &Self) -> bool {
        let key = |case: &Self| {
            let Case { weights, device, profile, input_side, n, m, .. } = case.clone();
            (weights, device, profile, input_side, n, m)
        };
        key(self) == key(other)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { weights, device, profile, input_side, n, m, .. } = self;
        let range = |[from, to]: [usize; 2]| match from == to {
            true => from.to_string(),
            false => format!("{from}..{to}"),
        };
        let (n, m) = (range(*n), range(*m));
        write!(f, "{weights} {profile} {input_side} n {n} m {m} {device}")
    }
}

/// What was measured of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseReport {
    /// The settings.
    pub case: Case,
    /// Measured frames.
    pub frames: usize,
    /// Frames that came while an earlier one was worked on and were replaced by a newer one.
    pub dropped: usize,
    /// Measured frames a second of wall time.
    pub frames_per_second: f64,
    /// Largest resident memory of the process while this case ran, in bytes.
    pub peak_memory: Option<u64>,
    /// Milliseconds from the start of a process to its first mask, one a try.
    pub cold_start: Vec<f64>,
    /// Every frame from its first stage to its last.
    pub whole: Series,
    /// The same by stage; stages that never took any time are left out.
    pub stages: Vec<Series>,
    /// Time from a frame's coming to the start of its work, of a paced measurement.
    pub waiting: Option<Series>,
    /// Time from a frame's coming to its result, of a paced measurement.
    pub age: Option<Series>,
}

impl CaseReport {
    /// Of what was measured.
    pub fn new(
        case: Case,
        measured: Measured,
        cold_start: Vec<f64>,
        peak_memory: Option<u64>,
    ) -> Self {
        let Measured { whole, stages, waiting, age, dropped, seconds } = measured;
        let series =
            |name: &str, times: Vec<f64>| (!times.is_empty()).then(|| Series::new(name, times));
        Self {
            case,
            frames: whole.len(),
            dropped,
            frames_per_second: whole.len() as f64 / seconds.max(f64::MIN_POSITIVE),
            peak_memory,
            cold_start,
            whole: Series::new("whole", whole),
            stages: stages
                .into_iter()
                .filter(|(_, times)| times.iter().any(|time| *time > 0.0))
                .map(|(name, times)| Series::new(name, times))
                .collect(),
            waiting: series("waiting", waiting),
            age: series("age", age),
        }
    }

    /// The share of the whole that no stage accounts for.
    pub fn unaccounted(&self) -> f64 {
        let staged: f64 = self.stages.iter().flat_map(|stage| &stage.milliseconds).sum();
        let whole: f64 = self.whole.milliseconds.iter().sum();
        1.0 - staged / whole.max(f64::MIN_POSITIVE)
    }
}

/// One number a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What was measured.
    pub name: String,
    /// Its distribution.
    pub summary: Distribution,
    /// Every frame's, in order.
    pub milliseconds: Vec<f64>,
}

impl Series {
    /// Of every frame's milliseconds.
    pub fn new(name: &str, milliseconds: Vec<f64>) -> Self {
        // To the microsecond: more digits are noise.
        let milliseconds: Vec<f64> =
            milliseconds.iter().map(|time| (time * 1e3).round() / 1e3).collect();
        Self { name: name.to_owned(), summary: Distribution::of(&milliseconds), milliseconds }
    }
}

/// A distribution, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The median.
    pub p50: f64,
    /// What nine of ten do not exceed.
    pub p90: f64,
    /// What 95 of a hundred do not exceed.
    pub p95: f64,
    /// What 99 of a hundred do not exceed.
    pub p99: f64,
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The largest less the 95th percentile.
    pub tail: f64,
    /// The 90th percentile less the 10th.
    pub flatness: f64,
}

impl Distribution {
    /// Of values in any order; all 0 if there are none.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share| quantile(&sorted, share).unwrap_or(0.0);
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max: at(1.0),
            mean,
            tail: at(1.0) - at(0.95),
            flatness: at(0.9) - at(0.1),
        }
    }
}
