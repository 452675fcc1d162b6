//! The figures of a live run.

use p2sam::live::{Counters, LiveResult, LiveSummary, Session, Statistics};
use p2sam::stream::live::LiveStats;
use p2sam::{CocoRle, Percentiles, peak_memory};
use serde::Serialize;

use super::phantom::PhantomScores;

/// A whole run in one JSON object. Times are in milliseconds unless named otherwise.
#[derive(Serialize)]
pub struct Report {
    program: String,
    #[serde(flatten)]
    summary: LiveSummary,
    model_worker: Counters,
    stream: LiveStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    phantom: Option<PhantomScores>,
    /// Events by kind that a user should know of, in order, as texts.
    events: Vec<String>,
    /// Largest resident memory in bytes.
    peak_memory: Option<u64>,
}

impl Report {
    pub fn new(
        statistics: &Statistics,
        session: &Session,
        stream: LiveStats,
        events: Vec<String>,
        phantom: Option<PhantomScores>,
    ) -> Self {
        Self {
            program: format!("p2sam {}", env!("CARGO_PKG_VERSION")),
            summary: statistics.summary(),
            model_worker: session.counters(),
            stream,
            phantom,
            events,
            peak_memory: peak_memory(),
        }
    }

    /// Prints it on standard output.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            say!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        let s = &self.summary;
        say!(
            "{:.1} s, {} frames in, {} shown",
            s.seconds,
            self.stream.frames_in,
            self.stream.frames_shown
        );
        let line = |name: &str, p: &Percentiles| {
            say!(
                "{name}: p50 {:.2} ms, p95 {:.2}, p99 {:.2}, max {:.2}",
                p.at(0.5),
                p.at(0.95),
                p.at(0.99),
                p.at(1.0)
            );
        };
        line("delay added by the overlay", &s.added_delay);
        if s.frames_marked > 0 {
            line("age of the shown masks", &s.mask_age);
            line("from the model's picture to the shown one", &s.result_age);
        }
        line("the model's time for a result", &s.model.total);
        say!(
            "{} frames with a mask; {} results, {} pictures replaced by newer ones, {} faults",
            s.frames_marked,
            self.model_worker.results,
            self.model_worker.replaced,
            self.model_worker.faults
        );
        if let Some(phantom) = &self.phantom {
            say!("{}", serde_json::to_string(phantom)?);
        }
        Ok(())
    }
}

/// A result as a line of the results file: times in seconds from the run's start, masks as COCO runs.
pub fn line_of(result: &LiveResult) -> String {
    let objects: Vec<_> = result
        .objects
        .iter()
        .map(|o| {
            serde_json::json!({
                "object": o.object,
                "state": o.state,
                "distance": o.distance,
                "probability": o.probability,
                "object_score": o.object_score,
                "predicted_iou": o.predicted_iou,
                "stability": o.stability,
                "segmentation": o.mask.as_deref().map(CocoRle::new),
            })
        })
        .collect();
    serde_json::json!({
        "frame": result.number,
        "time": result.pts.as_secs_f64(),
        "milliseconds": result.times.total().as_secs_f64() * 1e3,
        "objects": objects,
    })
    .to_string()
}
