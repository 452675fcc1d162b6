//! `p2sam bench` as its users run it. The times themselves are nowhere judged.

#![cfg(feature = "gstreamer")]

mod common;

use std::path::Path;

use common::*;
use serde_json::Value;

/// As little work as possible.
const QUICK: &str = "--weights polyp --device cpu --n 1 --input-side 128 --frames 4 --warmup 1";

#[track_caller]
fn has_keys(value: &Value, names: &str) {
    for name in names.split_whitespace() {
        assert!(value.get(name).is_some(), "no {name} in {value}");
    }
}

fn numbers(values: &Value) -> Vec<f64> {
    let all = values.as_array().expect("an array");
    all.iter().map(|value| value.as_f64().expect("a number")).collect()
}

/// The report, after what holds for each: one number a frame, and stages that make up the whole.
fn report(path: &Path, frames: usize) -> Value {
    let report = json(path);
    has_keys(&report, "program commit machine input size mode rate warmup cases");
    for case in report["cases"].as_array().expect("an array") {
        let whole = numbers(&case["whole"]["milliseconds"]);
        assert_eq!(whole.len(), frames);
        let mut staged = 0.0;
        for stage in case["stages"].as_array().expect("an array") {
            assert_eq!(numbers(&stage["milliseconds"]).len(), frames, "{stage}");
            staged += numbers(&stage["milliseconds"]).iter().sum::<f64>();
        }
        let all: f64 = whole.iter().sum();
        assert!((staged / all - 1.0).abs() < 0.02, "{staged} of {all}");
    }
    report
}

#[test]
fn every_case_of_the_phantom_is_measured_and_compared() {
    let _turn = model();
    let dir = folder();
    let line =
        format!("bench {QUICK} --profile paper,fast --cold-starts 1 --json a.json --html a.html");
    let run = p2sam(dir.path(), &line);
    run.succeeds();
    let report = report(&dir.path().join("a.json"), 4);
    let cases = report["cases"].as_array().expect("an array");
    assert_eq!(cases.len(), 2);
    assert_eq!(
        (&cases[0]["case"]["profile"], &cases[1]["case"]["profile"]),
        (&"paper".into(), &"fast".into())
    );
    for case in cases {
        assert_eq!(case["case"]["sha256"].as_str().map(str::len), Some(64));
        assert!(numbers(&case["cold_start"])[0] > 0.0);
        assert!(case["peak_memory"].as_u64() > Some(1 << 20));
        let names: Vec<&str> = case["stages"]
            .as_array()
            .expect("an array")
            .iter()
            .map(|stage| stage["name"].as_str().expect("text"))
            .collect();
        for stage in ["read", "preprocess", "encode", "pass 1", "pass 3", "retrieval", "draw"] {
            assert!(names.contains(&stage) && run.stdout.contains(stage), "{stage}: {names:?}");
        }
    }
    let page = std::fs::read_to_string(dir.path().join("a.html")).expect("the page");
    assert!(page.contains("<svg") && page.contains("pass 2"));
    assert!(!page.contains("http"), "the page needs nothing from outside");

    let compared = p2sam(dir.path(), "bench compare a.json a.json");
    compared.succeeds();
    let lines = compared.stdout.lines().filter(|line| line.ends_with("alike"));
    assert_eq!(lines.count(), compared.stdout.matches(" to ").count());
    assert!(compared.stdout.contains("whole"));
}

#[test]
fn a_paced_measurement_drops_what_it_cannot_do_and_tells_ages() {
    let _turn = model();
    let dir = folder();
    let frame = &scene()[0];
    frame.frame.save_png(&dir.path().join("a.png")).expect("writable");
    frame.mask.save_png(&dir.path().join("mask.png")).expect("writable");
    let line = format!(
        "bench a.png --reference mask.png {QUICK} --mode paced --rate 500 --cold-starts 0 --json p.json"
    );
    p2sam(dir.path(), &line).succeeds();
    let report = report(&dir.path().join("p.json"), 4);
    assert_eq!(report["rate"], 500.0);
    let case = &report["cases"][0];
    assert!(case["dropped"].as_u64() > Some(4), "{}", case["dropped"]);
    let series = |name: &str| numbers(&case[name]["milliseconds"]);
    let work = numbers(&case["whole"]["milliseconds"]);
    for ((age, waiting), work) in series("age").iter().zip(series("waiting")).zip(work) {
        assert!((age - waiting - work).abs() < 1.0, "{age} = {waiting} + {work}");
    }
}

#[test]
fn what_cannot_be_measured_is_told() {
    let dir = folder();
    std::fs::write(dir.path().join("other.json"), "{\"program\": 1}").expect("writable");
    for (line, code, words) in [
        ("bench clip.mkv", 2, "--reference"),
        ("bench nosuch.mkv --reference nosuch.png", 1, "nosuch"),
        ("bench --weights nosuch", 1, "nosuch"),
        ("bench --profile quick", 2, "quick"),
        ("bench --mode paced --rate 0", 2, "0.1 to 1000"),
        ("bench --frames 0", 2, "--frames"),
        ("bench --json nosuch/a.json", 1, "nosuch"),
        ("bench compare a.json b.json", 1, "a.json"),
        ("bench compare other.json other.json", 1, "p2sam bench --json"),
    ] {
        p2sam(dir.path(), line).ends(code, &[words]);
    }
    assert_eq!(entries(dir.path()), ["other.json"]);
}
