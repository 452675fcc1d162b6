//! What needs a process of its own: being killed, and counting threads and handles.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::stream::VideoReader;

const TASK: &str = "P2SAM_LIVE_TEST_TASK";
const FOLDER: &str = "P2SAM_LIVE_TEST_FOLDER";

/// Runs [`child`] with a task in a process of its own.
fn spawn(task: &str, folder: &Path) -> Child {
    spawn_by(Command::new(std::env::current_exe().unwrap()), task, folder)
}

/// The same, by a command that runs what it is given.
fn spawn_by(mut command: Command, task: &str, folder: &Path) -> Child {
    let name = format!("{}::child", module_path!());
    let name = name.split_once("::").unwrap().1;
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(TASK, task)
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let (Ok(task), Ok(folder)) = (std::env::var(TASK), std::env::var(FOLDER)) else { return };
    let folder = Path::new(&folder);
    match task.as_str() {
        "record" => {
            let run = Run::source(test_source("width=320&height=240&fps=50"));
            let options = RecordOptions { min_free: 0, ..RecordOptions::new(folder.join("r")) };
            run.stream.start_recording(options).unwrap();
            for number in 0.. {
                run.stream.record_line(format!("{{\"number\":{number}}}"));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // No file may grow beyond some size here.
        "limited" => {
            let run = Run::source(launch_source(
                "videotestsrc is-live=true pattern=snow ! video/x-raw,format=I420,width=320,\
                 height=240,framerate=50/1",
            ));
            let options = RecordOptions { min_free: 0, ..RecordOptions::new(folder.join("r")) };
            run.stream.start_recording(options).unwrap();
            let side = |e: &LiveEvent| {
                matches!(e, LiveEvent::RecordingFailed { part: RecordPart::Side(_), .. })
            };
            run.wait("both sides fail twice", |run| run.stream.stats().record.segments >= 4);
            assert_eq!(run.told.event(side), 2, "each once: {}", run.told.all());
            let shown = run.stream.stats().frames_shown;
            run.wait("video goes on", |run| run.stream.stats().frames_shown > shown + 20);
            let stats = run.stream.stop_recording().unwrap();
            assert!(stats.dropped > 0 && stats.problem.is_some(), "{stats:?}");
        }
        _ => {
            let cycles: usize = task.parse().unwrap();
            for _ in 0..5 {
                cycle(folder);
            }
            let before = counts();
            for _ in 0..cycles {
                cycle(folder);
            }
            // GStreamer keeps a few idle threads for a while.
            let start = Instant::now();
            let mut after = counts();
            while (after.0 > before.0 || after.1 > before.1) && start.elapsed().as_secs() < 20 {
                std::thread::sleep(Duration::from_millis(200));
                after = counts();
            }
            let told = format!("before {before:?} after {after:?}");
            std::fs::write(folder.join("counts"), &told).unwrap();
            assert!(after.0 <= before.0 + 2 && after.1 <= before.1 + 2, "{told}");
        }
    }
}

/// A run with a network sink, a preview and a recording.
fn cycle(folder: &Path) {
    let sink = SinkSpec::Tcp { host: "127.0.0.1".into(), port: 0 };
    let source = test_source("width=64&height=48&fps=100");
    let run = Run::start(LiveOptions::new(source, vec![sink]));
    run.stream.set_preview(true).unwrap();
    let options = RecordOptions { min_free: 0, ..RecordOptions::new(folder.join("r")) };
    run.stream.start_recording(options).unwrap();
    run.frames(3);
    run.stream.stop();
    for entry in std::fs::read_dir(folder).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

/// Threads, handles and resident kilobytes of this process.
fn counts() -> (usize, usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss = rss.and_then(|rss| rss.split_whitespace().next()).and_then(|kb| kb.parse().ok());
    (count("/proc/self/task"), count("/proc/self/fd"), rss.unwrap_or(0))
}

#[test]
fn a_kill_leaves_everything_readable_but_the_last_moments() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = spawn("record", folder.path());
    let lines = folder.path().join("r-results.jsonl");
    let clean = folder.path().join("r-clean-00000.mkv");
    let start = Instant::now();
    while !clean.exists() {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    let recorded = begun.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    for side in [Side::Clean, Side::Overlay] {
        let path = files::file(&folder.path().join("r"), side, 0);
        let mut video = VideoReader::open(&path).unwrap();
        let mut last = Duration::ZERO;
        while let Ok(Some(picture)) = video.next_picture() {
            last = picture.pts;
        }
        assert!(last + Duration::from_secs(1) > recorded, "{last:?} of {recorded:?}");
    }
    let text = std::fs::read_to_string(lines).unwrap();
    let last = text.lines().rfind(|line| line.starts_with("{\"number\"")).unwrap();
    let number: u64 = last[10..].trim_end_matches('}').parse().unwrap();
    assert!(number >= 90, "{number}");
}

#[test]
fn writes_that_fail_end_a_file_and_not_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let mut limited = Command::new("bash");
    limited
        .args(["-c", r#"ulimit -f 300; trap "" XFSZ; exec "$@""#, "bash"])
        .arg(std::env::current_exe().unwrap());
    let status = spawn_by(limited, "limited", folder.path()).wait().unwrap();
    assert!(status.success());
    let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|path| path.extension().unwrap() == "mkv").collect();
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let mut video = VideoReader::open(&path).unwrap();
        assert!(video.next_picture().unwrap().is_some(), "{}", path.display());
    }
}

#[test]
fn fifty_runs_leave_no_threads_or_handles_behind() {
    let folder = tempfile::tempdir().unwrap();
    let cycles = std::env::var("P2SAM_LIVE_CYCLES").unwrap_or_else(|_| "50".into());
    let status = spawn(&cycles, folder.path()).wait().unwrap();
    let told = std::fs::read_to_string(folder.path().join("counts")).unwrap_or_default();
    println!("{cycles} cycles: {told}");
    assert!(status.success(), "{told}");
}
