//! `p2sam live` as its users run it: to its end, stopped, killed, and with a source that goes away.

#![cfg(feature = "gstreamer")]

mod common;

#[path = "live/arguments.rs"]
mod arguments;
#[path = "live/faults.rs"]
mod faults;
#[path = "live/page.rs"]
mod page;
#[path = "live/run.rs"]
mod run;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use run::*;
use serde_json::Value;

/// A small polyp that is always in view for the first seconds.
const PHANTOM: &str = "phantom:?width=160&height=90&fps=10&seconds=2";

#[test]
fn a_run_of_some_seconds_follows_the_phantom_and_reports_all_of_it() {
    let _turn = turn();
    let dir = folder();
    let line = format!("--source {PHANTOM} --sink none {QUICK} --duration 10 --json");
    let run = Live::start(dir.path(), &format!("{line} --summary summary.json")).end();
    run.succeeds();
    let told: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let written = json(&dir.path().join("summary.json"));
    assert_eq!(told, written);
    let stream = &told["stream"];
    let number = |value: &Value| value.as_u64().expect("a number");
    assert_eq!(stream["frames_dropped"], 0);
    assert_eq!(stream["rebuilds"], 0);
    assert!(number(&stream["frames_shown"]) >= 20, "{stream}");
    assert!(number(&told["model_worker"]["results"]) > 0, "{told}");
    assert_eq!(told["model_worker"]["faults"], 0);
    assert!(number(&told["frames_marked"]) > 0, "{told}");
    assert!(number(&told["phantom"]["frames_present"]) > 0, "{told}");
    let events = told["events"].to_string();
    assert!(events.contains("object 1 is followed"), "{events}");
    assert_eq!(entries(dir.path()), ["summary.json"]);
}

#[test]
fn a_stop_at_any_moment_leaves_whole_files() {
    let _turn = turn();
    for (moment, more, signal) in [
        ("the source runs", 0, "-TERM"),
        ("recording started", 0, "-INT"),
        ("recording started", 300, "-TERM"),
        ("the model is loaded", 0, "-INT"),
        ("object 1 is followed", 0, "-TERM"),
        ("object 1 is followed", 1000, "-INT"),
    ] {
        let dir = folder();
        let line = format!("--source {PHANTOM} --sink none {QUICK} --record case --min-free 0");
        let live = Live::start(dir.path(), &format!("{line} --summary summary.json"));
        live.tells(moment);
        std::thread::sleep(Duration::from_millis(more));
        // A recording has something to close only once it has begun.
        until("a recorded file", || (videos(dir.path()).len() == 2).then_some(()));
        live.stop(signal).ends(130, &["stopping", moment, "recording stopped"]);
        whole_recording(dir.path());
        let summary = json(&dir.path().join("summary.json"));
        assert!(summary["stream"]["frames_in"].as_u64() > Some(0), "{moment}: {summary}");
    }
}

#[test]
fn a_stop_at_the_very_start_leaves_nothing_broken() {
    let _turn = turn();
    for signal in ["-TERM", "-INT"] {
        // Where the tests run in the background, the shell has Ctrl-C ignored until a program asks for it.
        if signal == "-INT" && ctrl_c_is_ignored() {
            continue;
        }
        let dir = folder();
        let line = "--source test:?width=64&height=48 --sink none --record case --min-free 0";
        let run = Live::start(dir.path(), line).stop(signal);
        // So early the system itself may end the program, which then has no exit code.
        assert!(matches!(run.code, None | Some(130)), "{run:#?}");
        for path in videos(dir.path()) {
            assert!(!frames(&path).is_empty(), "{}", path.display());
        }
    }
}

#[test]
fn a_kill_while_recording_loses_no_more_than_the_last_moments() {
    let _turn = turn();
    let dir = folder();
    let line = format!("--source {PHANTOM} --sink none {QUICK} --record case --min-free 0");
    let live = Live::start(dir.path(), &line);
    until("recorded files", || (videos(dir.path()).len() == 2).then_some(()));
    let begun = Instant::now();
    live.tells("object 1 is followed");
    std::thread::sleep(Duration::from_secs(3));
    let recorded = begun.elapsed();
    live.signal("-KILL");
    assert_eq!(live.end().code, None);
    for path in videos(dir.path()) {
        let (frames, last) = readable(&path);
        // About one second, and another for a machine that is busy.
        assert!(last + Duration::from_secs(2) > recorded, "{last:?} of {recorded:?}");
        assert!(frames > 10, "{frames}");
    }
    let text = std::fs::read(dir.path().join("case-results.jsonl")).expect("readable");
    let text = String::from_utf8(text).expect("text");
    // Behind the last line break stands what was not yet written in whole.
    let (whole, _) = text.rsplit_once('\n').expect("a line");
    let lines = whole.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    assert!(lines.iter().any(|line| line["segment"] == "case-clean-00000.mkv"), "{whole}");
    assert!(lines.iter().any(|line| line["objects"][0]["object"] == 1), "{whole}");
}

/// Another program that sends a picture over TCP as MPEG-TS, over and over.
struct Server(Child);

impl Server {
    fn start(folder: &Path, port: u16) -> Self {
        let line = format!(
            "-q multifilesrc location=picture.png loop=true caps=image/png,framerate=10/1 \
             ! pngdec ! videoconvert ! video/x-raw,format=I420 \
             ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5 ! h264parse \
             ! mpegtsmux ! tcpserversink host=127.0.0.1 port={port} sync=true"
        );
        let child = Command::new("gst-launch-1.0")
            .args(line.split_whitespace())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("gst-launch-1.0 starts"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A status in which the object is in view and its mask is shown.
fn tracked(status: &Value) -> bool {
    let object = &status["objects"][0];
    status["source"]["state"] == "running"
        && object["state"] == "tracking"
        && object["age_ms"].is_number()
}

#[test]
fn a_source_that_is_killed_and_comes_back_is_followed_again_with_its_reference() {
    let _turn = turn();
    let dir = folder();
    picture_and_mask(dir.path());
    let port = free_port();
    let server = Server::start(dir.path(), port);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/tcp.launch");
    let line = format!(
        "--pipeline {} --slot port={port} --reference-image picture.png --reference mask.png \
         --sink none --weights polyp --profile live --input-side 256 --web 127.0.0.1:0 --summary summary.json",
        file.display()
    );
    let live = Live::start(dir.path(), &line);
    let page = live.page();
    // It may have been opened in vain before the server was there.
    let first = page.status("the object is tracked", tracked);
    drop(server);
    let lost = page.status("the loss is noticed", |status| {
        count(status, "source_rebuilds") > count(&first, "source_rebuilds")
    });
    page.status("the mask is gone", |status| {
        let object = &status["objects"][0];
        object["age_ms"].is_null() && object["state"] == "searching"
    });
    let _server = Server::start(dir.path(), port);
    page.status("the object is marked again", |status| {
        tracked(status) && count(status, "frames_marked") >= count(&lost, "frames_marked") + 10
    });
    let run = live.stop("-TERM");
    run.ends(130, &["object 1 is followed"]);
    assert_eq!(run.stderr.matches("object 1 is followed").count(), 1, "{}", run.stderr);
    let summary = json(&dir.path().join("summary.json"));
    let rebuilds = summary["stream"]["rebuilds"].as_u64();
    assert!(rebuilds >= Some(count(&lost, "source_rebuilds")), "{summary}");
    assert_eq!(summary["model_worker"]["faults"], 0);
}

/// Processes whose environment holds `mark`.
fn processes(mark: &str) -> usize {
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    let marked = all.filter(|process| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|part| part == mark.as_bytes())
    });
    marked.count()
}

#[test]
fn ten_short_runs_leave_no_process_and_no_file_behind() {
    let _turn = turn();
    let (dir, temporary) = (folder(), folder());
    let mark = format!("P2SAM_TEST_MARK={}", temporary.path().display());
    for tenths in 1..=10 {
        let line = format!(
            "live --source test:?width=64&height=48 --sink tcp://127.0.0.1:0 --web 127.0.0.1:0 \
             {QUICK} --duration {}",
            0.5 + f64::from(tenths) / 10.0
        );
        let mut short = command(dir.path(), line.split_whitespace());
        short.env("TMPDIR", temporary.path()).env("P2SAM_TEST_MARK", temporary.path());
        let child = short.spawn().expect("the program starts");
        // The environment of a program that has just been started is not there at once.
        let seen = (0..50).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            processes(&mark) >= 1
        });
        assert!(seen, "{mark} is not seen");
        finish(child).succeeds();
    }
    assert_eq!(processes(&mark), 0);
    assert!(entries(dir.path()).is_empty(), "{:?}", entries(dir.path()));
    assert!(entries(temporary.path()).is_empty(), "{:?}", entries(temporary.path()));
}
