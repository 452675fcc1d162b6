//! `/metrics` in Prometheus' text format.

use std::fmt::{Display, Write};

use super::{ModelState, SourceState, Status};
use crate::live::State;

/// Counts of the server itself.
pub(super) struct Server {
    pub clients: usize,
    pub requests: u64,
    pub refused: u64,
}

/// All metrics, each with its help and type.
pub(super) fn exposition(status: &Status, server: &Server) -> String {
    let mut text = Text(String::new());
    let on = |on: bool| Some(u8::from(on));
    let source = &status.source;
    let ready = matches!(status.model.state, ModelState::Ready | ModelState::Busy);
    text.gauge("up", "1 if video runs and the model answers.", on(status.health().is_ok()));
    text.gauge("source_running", "1 if pictures come.", on(source.state == SourceState::Running));
    text.gauge("source_fps", "Pictures a second.", Some(source.fps));
    let age = source.age_ms.map(seconds);
    text.gauge("source_age_seconds", "Time since the newest picture.", age);
    text.gauge("model_ready", "1 if the model answers.", on(ready));
    let rate = Some(status.model.results_per_second);
    text.gauge("model_results_per_second", "Results a second.", rate);

    text.head("overlay_delay_seconds", "Delay that the overlay adds to a picture.", "gauge");
    for (quantile, value) in [("0.5", status.delay_ms_p50), ("0.99", status.delay_ms_p99)] {
        let label = format!("quantile=\"{quantile}\"");
        text.sample("overlay_delay_seconds", &label, value.map(seconds));
    }

    text.head("object_state", "1 for the state that the object is in.", "gauge");
    for object in &status.objects {
        let states = [
            ("searching", State::Searching),
            ("tracking", State::Tracking),
            ("uncertain", State::Uncertain),
            ("lost", State::Lost),
        ];
        for (name, state) in states {
            let label = format!("object=\"{}\",state=\"{name}\"", object.id);
            text.sample("object_state", &label, on(object.state == state));
        }
    }
    text.head("mask_age_seconds", "Age of the mask that is shown.", "gauge");
    for object in &status.objects {
        let label = format!("object=\"{}\"", object.id);
        text.sample("mask_age_seconds", &label, object.age_ms.map(seconds));
    }
    text.head("object_distance", "Retrieval distance of the last result.", "gauge");
    for object in &status.objects {
        text.sample("object_distance", &format!("object=\"{}\"", object.id), object.distance);
    }
    let head = "Probability that the object is in view and the mask is on it.";
    text.head("object_probability", head, "gauge");
    for object in &status.objects {
        let value = object.probability.map(f64::from);
        text.sample("object_probability", &format!("object=\"{}\"", object.id), value);
    }

    text.gauge("recording", "1 while recording.", on(status.recording.on));
    let failing = status.recording.problem.is_some();
    text.gauge(
        "recording_failing",
        "1 while something is not recorded that should be.",
        on(failing),
    );
    text.gauge("disk_free_bytes", "Free space for recordings.", status.disk_free_bytes);
    let dropped = status.recording.dropped;
    text.counter("recording_dropped", "Pictures that were not recorded.", dropped);
    let lines = status.recording.lines_dropped;
    text.counter("recording_lines_dropped", "Lines of results that were not recorded.", lines);
    for counter in &status.counters {
        text.counter(counter.name, counter.help, counter.value);
    }
    text.gauge("web_clients", "Clients of the picture.", Some(server.clients));
    text.counter("web_requests", "Requests to the page's server.", server.requests);
    text.counter("web_refused", "Requests that were refused.", server.refused);
    text.0
}

fn seconds(milliseconds: f64) -> f64 {
    milliseconds / 1000.0
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP p2sam_{name} {help}\n# TYPE p2sam_{name} {kind}");
    }

    /// Nothing is written for what is not known.
    fn sample(&mut self, name: &str, labels: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _ = writeln!(self.0, "p2sam_{name}{labels} {value}");
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<impl Display>) {
        self.head(name, help, "gauge");
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let name = format!("{name}_total");
        self.head(&name, help, "counter");
        self.sample(&name, "", Some(value));
    }
}
