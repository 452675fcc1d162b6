//! `p2sam batch` as its users run it: four processes with a part of a list each, one of them killed, bad
//! jobs among good ones, and lists that are none.

#![cfg(feature = "gstreamer")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use serde_json::json;

/// As small a model as there is: the tests look at files, not at the method.
const QUICK: &str = "--weights polyp --profile fast --n 1 --input-side 128";
/// What a job leaves.
const LEFT: [&str; 8] = [
    "frames.jsonl",
    "job.json",
    "masks.json",
    "masks/",
    "masks/000.png",
    "masks/001.png",
    "masks/002.png",
    "summary.json",
];

/// A series `NAME/` and its mask `NAME.png`.
fn series(folder: &Path, name: &str) {
    let place = folder.join(name);
    std::fs::create_dir(&place).expect("a folder");
    for (index, frame) in scene().iter().enumerate() {
        frame.frame.save_png(&place.join(format!("{index:03}.png"))).expect("writable");
    }
    scene()[0].mask.save_png(&folder.join(format!("{name}.png"))).expect("writable");
}

/// So many series and `list.csv` of them.
fn archive(folder: &Path, count: usize) {
    let mut list = "input,reference,output\n".to_owned();
    for job in 0..count {
        series(folder, &format!("s{job}"));
        list += &format!("s{job},s{job}.png,out/s{job}\n");
    }
    std::fs::write(folder.join("list.csv"), list).expect("writable");
}

fn written(folder: &Path, job: usize) -> std::time::SystemTime {
    let record = folder.join(format!("out/s{job}/job.json"));
    std::fs::metadata(record).and_then(|data| data.modified()).expect("a record")
}

#[test]
fn four_shards_one_of_them_killed_lose_nothing_and_do_nothing_twice() {
    let _turn = model();
    let folder = folder();
    let folder = folder.path();
    archive(folder, 8);
    let start = |shard: usize| {
        let line = format!("batch list.csv {QUICK} --shard {shard}/4 --report part{shard}.jsonl");
        command(folder, line.split_whitespace()).spawn().expect("the program starts")
    };
    // Killed once the job is begun and not done.
    let kill_at = |mut killed: std::process::Child, job: usize| {
        let begun = Instant::now();
        while !folder.join(format!("out/s{job}/job.json")).exists() {
            assert!(begun.elapsed() < Duration::from_secs(120), "job {job} never begins");
            std::thread::sleep(Duration::from_millis(5));
        }
        killed.kill().expect("it runs");
        killed.wait().expect("it can be waited for");
    };
    let killed = start(2);
    let others = [1, 3, 4].map(start);
    kill_at(killed, 1);
    for other in others {
        finish(other).succeeds();
    }
    let record = |job: usize| json(&folder.join(format!("out/s{job}/job.json")));
    assert_eq!(record(1)["state"], "begun");
    // Killed again in its second job, the first being done.
    kill_at(start(2), 5);
    assert_eq!((&record(1)["state"], &record(5)["state"]), (&json!("done"), &json!("begun")));
    let done_before: Vec<_> = [0, 1, 2, 3, 4, 6, 7].map(|job| written(folder, job)).into();

    finish(start(2)).succeeds();
    for job in 0..8 {
        assert_eq!(record(job)["state"], "done");
        assert_eq!(entries(&folder.join(format!("out/s{job}"))), LEFT);
        assert_eq!(json(&folder.join(format!("out/s{job}/summary.json")))["frames_written"], 3);
        // What a killed process had begun is no other result in the end.
        for mask in ["masks/000.png", "masks/001.png", "masks/002.png"] {
            let mask = |job| std::fs::read(folder.join(format!("out/s{job}/{mask}")));
            assert_eq!(mask(job).expect("a mask"), mask(0).expect("a mask"), "{job}");
        }
    }
    // All of it again does nothing.
    let again = p2sam(folder, &format!("batch list.csv {QUICK}"));
    assert!(again.succeeds().stdout.contains("0 done, 8 done before"), "{}", again.stdout);
    let now: Vec<_> = [0, 1, 2, 3, 4, 6, 7].map(|job| written(folder, job)).into();
    assert_eq!(now, done_before);
    let lines = json_lines(&folder.join("part2.jsonl"));
    let jobs: Vec<_> = lines.iter().map(|line| (&line["job"], &line["state"])).collect();
    assert_eq!(jobs, [(&json!(2), &json!("before")), (&json!(6), &json!("done"))]);
}

#[test]
fn a_bad_job_fails_by_itself() {
    let _turn = model();
    let folder = folder();
    let folder = folder.path();
    archive(folder, 2);
    let list = r#"{"input": "missing", "reference": "s0.png", "output": "out/missing"}
{"input": "s0", "reference": "s0.png", "output": "out/s0"}

{"input": "s0", "output": "out/unmarked"}
{"input": "s0", "point": "no place", "output": "out/nowhere"}
{"input": "s1", "point": "80,45 -2,2", "output": "out/s1"}
{"input": "s1", "reference": "s1.png", "output": "s1"}"#;
    std::fs::write(folder.join("list.jsonl"), list).expect("writable");
    let line = format!("batch list.jsonl {QUICK} --jobs 2 --report report.jsonl");
    let run = p2sam(folder, &line);
    run.ends(
        3,
        &["1/6: failed", "missing", "2/6: 3 frames", "4/6: failed", "is not x,y", "5/6: 3 frames"],
    );
    run.ends(3, &["6/6: failed", "which was not made here"]);
    assert!(run.stdout.contains("2 done") && run.stdout.contains("4 failed"), "{}", run.stdout);
    assert_eq!(json_lines(&folder.join("report.jsonl")).len(), 6);
    assert_eq!(entries(&folder.join("out/s0")), LEFT);
    // Nothing of the pictures was touched.
    assert_eq!(entries(&folder.join("s1")).len(), 3, "three pictures");
    // Other settings are another task.
    let other = p2sam(folder, &line.replace("--n 1", "--n 1..2"));
    other.ends(3, &["2/6: failed", "another task (n)"]);
}

/// The process that works for another one.
fn worker_of(parent: u32) -> u32 {
    let begun = Instant::now();
    loop {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().expect("a number");
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{parent} starts no process");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{} never comes", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_whose_process_dies_fails_by_itself() {
    let _turn = model();
    let folder = folder();
    let folder = folder.path();
    archive(folder, 4);
    let line = format!("batch list.csv {QUICK} --report report.jsonl");
    let batch = command(folder, line.split_whitespace()).spawn().expect("the program starts");
    let worker = worker_of(batch.id());
    wait_for(&folder.join("out/s1/job.json"));
    // As a decoder does that cannot stand its input.
    signal(worker, "-ABRT");
    let run = finish(batch);
    run.ends(3, &["2/4: failed", "signal 6", "3/4: 3 frames", "4/4: 3 frames"]);
    assert!(run.stdout.contains("3 done, 0 done before, 0 incomplete, 1 failed"), "{}", run.stdout);
    let states: Vec<_> =
        json_lines(&folder.join("report.jsonl")).iter().map(|line| line["state"].clone()).collect();
    assert_eq!(states, ["done", "failed", "done", "done"]);
    // It is tried again, and leaves what the others leave.
    p2sam(folder, &line).ends(0, &["2/4: 3 frames", "1/4: done before"]);
    assert_eq!(entries(&folder.join("out/s1")), LEFT);
}

#[test]
fn jobs_that_ran_beside_one_that_died_are_tried_alone() {
    let _turn = model();
    let folder = folder();
    let folder = folder.path();
    archive(folder, 4);
    let line = format!("batch list.csv {QUICK} --jobs 2");
    let batch = command(folder, line.split_whitespace()).spawn().expect("the program starts");
    let worker = worker_of(batch.id());
    wait_for(&folder.join("out/s0/job.json"));
    wait_for(&folder.join("out/s1/job.json"));
    signal(worker, "-KILL");
    // Either both were at work, and are tried alone, or one of them was, and is at fault.
    let run = finish(batch);
    let failed = run.stderr.matches(": failed").count();
    assert!(failed <= 1 && run.code == Some(if failed == 0 { 0 } else { 3 }), "{run:?}");
    assert!(failed == 0 || run.stderr.contains("signal 9"), "{run:?}");
    assert!(run.stderr.matches("3 frames in").count() == 4 - failed, "{run:?}");
}

#[test]
fn a_batch_that_is_stopped_stops_its_process() {
    let _turn = model();
    let folder = folder();
    let folder = folder.path();
    archive(folder, 6);
    let line = format!("batch list.csv {QUICK}");
    let batch = command(folder, line.split_whitespace()).spawn().expect("the program starts");
    let worker = worker_of(batch.id());
    wait_for(&folder.join("out/s0/job.json"));
    signal(batch.id(), "-TERM");
    let run = finish(batch);
    run.ends(130, &["stopping"]);
    assert!(run.stdout.contains(" left"), "{}", run.stdout);
    assert!(!Path::new(&format!("/proc/{worker}")).exists(), "it still runs");
    p2sam(folder, &line).succeeds();
    for job in 0..6 {
        assert_eq!(entries(&folder.join(format!("out/s{job}"))), LEFT);
    }
}

#[test]
fn lists_that_are_none_are_told() {
    let folder = folder();
    let folder = folder.path();
    for (name, text, words) in [
        ("a.csv", "input,output\n", &["a.csv", "no job"][..]),
        ("b.csv", "input,output\nx,y,z\n", &["b.csv", "line: 2"]),
        ("c.csv", "input,output,colour\nx,y,z\n", &["c.csv", "line 2", "colour"]),
        ("d.jsonl", "{\"input\": \"x\"}", &["d.jsonl", "line 1", "output"]),
        ("e.csv", "input,output\nx,y\nz,y\n", &["line 3", "output of line 2"]),
        ("f.txt", "x", &["f.txt", ".csv or a .jsonl"]),
    ] {
        std::fs::write(folder.join(name), text).expect("writable");
        p2sam(folder, &format!("batch {name}")).ends(1, words);
    }
    p2sam(folder, "batch none.csv").ends(1, &["none.csv", "No such file"]);
    p2sam(folder, "batch a.csv --shard 5/4").ends(2, &["no part such as 1/4"]);
    p2sam(folder, "batch a.csv --jobs 0").ends(2, &["0"]);
}
