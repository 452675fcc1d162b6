//! What goes wrong around a run: it goes on, says what is missing, and ends with the right code.

use std::process::Command;

use serde_json::json;

use crate::common::*;
use crate::run::*;

const SOURCE: &str = "--source test:ball?width=64&height=48 --sink none";

#[test]
fn two_runs_with_one_prefix_do_not_overwrite_each_other() {
    let _turn = turn();
    let dir = folder();
    let line = format!("{SOURCE} {QUICK} --record case --min-free 0");
    let first = Live::start(dir.path(), &format!("{line} --summary summary.json"));
    until("recorded files", || (videos(dir.path()).len() == 2).then_some(()));
    let second = p2sam(dir.path(), &format!("live {line} --duration 5"));
    second.ends(1, &["another recording writes to this prefix", "name another"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    first.stop("-INT").ends(130, &["recording stopped"]);
    let recorded: usize = videos(dir.path()).iter().map(|path| frames(path).len()).sum();
    let summary = json(&dir.path().join("summary.json"));
    assert_eq!(summary["stream"]["record"]["frames"].as_u64(), Some(recorded as u64));
    // A run of its own goes on behind them.
    let third = p2sam(dir.path(), &format!("live {line} --duration 2"));
    assert!(matches!(third.code, Some(0 | 3)), "{third:#?}");
    assert_eq!(videos(dir.path()).len(), 4);
}

#[test]
fn results_that_cannot_be_written_make_the_recording_incomplete() {
    let _turn = turn();
    let dir = folder();
    std::os::unix::fs::symlink("/dev/full", dir.path().join("case-results.jsonl")).expect("a link");
    let line = format!(
        "{SOURCE} {QUICK} --record case --min-free 0 --duration 3 --summary summary.json \
         --web 127.0.0.1:0"
    );
    let live = Live::start(dir.path(), &line);
    let page = live.page();
    let status = page.status("the page says so", |status| {
        status["recording"]["problem"].as_str().is_some_and(|text| text.contains("results"))
    });
    assert_eq!(status["recording"]["on"], true);
    assert!(page.get("/metrics").text().contains("p2sam_recording_failing 1\n"));
    let run = live.end();
    run.ends(3, &["the recording is incomplete: the list of results", "No space left"]);
    assert!(run.stderr.contains("WARN"), "in the log: {}", run.stderr);
    let summary = json(&dir.path().join("summary.json"));
    assert!(summary["stream"]["record"]["lines_dropped"].as_u64() >= Some(1), "{summary}");
    assert_eq!(videos(dir.path()).len(), 2);
}

#[test]
fn without_space_at_the_start_the_picture_goes_on() {
    let _turn = turn();
    let dir = folder();
    let line = format!("{SOURCE} {QUICK} --record case --min-free 999999999 --duration 2");
    let run = p2sam(dir.path(), &format!("live {line} --summary summary.json"));
    run.ends(3, &["the video is not recorded", "MB are free", "free some space"]);
    let summary = json(&dir.path().join("summary.json"));
    assert!(summary["stream"]["frames_shown"].as_u64() > Some(10), "{summary}");
    assert!(videos(dir.path()).is_empty());
    // The operator who presses the button is told at once.
    let line = format!("{SOURCE} {QUICK} --record-to case --min-free 999999999 --web 127.0.0.1:0");
    let live = Live::start(dir.path(), &line);
    live.page().status("the run", |status| status["source"]["state"] == "running");
    let answer = live.page().post("/api/record", &json!({ "on": true }));
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("MB are free"), "{}", answer.text());
    live.stop("-INT").ends(130, &[]);
}

#[test]
fn a_file_that_was_cut_short_ends_with_code_3_and_a_report() {
    let _turn = turn();
    let dir = folder();
    let times: Vec<u64> = (0..50).map(|n| n * 40).collect();
    clip(&dir.path().join("whole.mkv"), &times, Some((25, 1)));
    let length = length(&dir.path().join("whole.mkv"));
    cut(&dir.path().join("whole.mkv"), &dir.path().join("cut.mkv"), length * 2 / 3);
    let play = |name: &str| {
        let line = format!("live --source file:{name} --sink none {QUICK} --summary summary.json");
        p2sam(dir.path(), &line)
    };
    play("whole.mkv").succeeds();
    play("cut.mkv").ends(3, &["not played to its end", "cut short"]);
    let summary = json(&dir.path().join("summary.json"));
    assert!(summary["stream"]["frames_in"].as_u64() > Some(10), "{summary}");
}

#[test]
fn a_pipe_without_a_writer_does_not_hold_the_program() {
    let _turn = turn();
    let dir = folder();
    let made = Command::new("mkfifo").arg(dir.path().join("pipe")).status();
    assert!(made.expect("mkfifo is there").success());
    let line = format!("--source file:pipe --sink none {QUICK} --web 127.0.0.1:0");
    let live = Live::start(dir.path(), &line);
    live.tells("the source is being opened");
    assert_eq!(live.page().get("/healthz").status, 503);
    live.stop("-TERM").ends(130, &["stopping"]);
}

#[test]
fn a_wrong_token_is_logged_and_no_token_is() {
    let _turn = turn();
    let dir = folder();
    let right = "a-token-of-enough-bytes";
    let line = format!("{SOURCE} {QUICK} --web 0.0.0.0:0 --web-token {right}");
    let live = Live::start(dir.path(), &line);
    live.tells("plain HTTP");
    let address = live.tells("the operator's page is at http://0.0.0.0:");
    let port = address.trim_end_matches('/').rsplit_once(':').expect("a port").1.to_owned();
    let page = Page(format!("127.0.0.1:{port}").parse().expect("an address"));
    let ask = |token: &str| {
        page.ask("GET /metrics", &format!("Authorization: Bearer {token}\r\n"), b"").status
    };
    assert_eq!((ask("some-other-token-of-theirs"), ask(right)), (401, 200));
    live.tells("a wrong token from 127.0.0.1");
    let run = live.stop("-INT");
    assert!(!run.stderr.contains(right) && !run.stderr.contains("of-theirs"), "{}", run.stderr);
}
