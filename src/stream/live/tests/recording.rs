use super::*;
use crate::stream::live::files::free;
use crate::stream::{StreamError, VideoReader};

fn options(folder: &Path) -> RecordOptions {
    RecordOptions { min_free: 0, ..RecordOptions::new(folder.join("r")) }
}

/// Frames, size and time of the first frame of a recorded file.
fn read(path: &Path) -> (usize, (u32, u32), Duration) {
    let mut video = VideoReader::open(path).unwrap();
    let size = (video.info().width, video.info().height);
    let (mut frames, mut first) = (0, None);
    while let Some(picture) = video.next_picture().unwrap() {
        first.get_or_insert(picture.pts);
        frames += 1;
    }
    (frames, size, first.unwrap())
}

fn files(folder: &Path, part: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains(part))
        .collect();
    files.sort();
    files
}

#[test]
fn every_frame_is_in_one_segment_and_results_lie_beside() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::source(test_source("width=64&height=48&fps=50"));
    run.frames(5);
    let segments =
        RecordOptions { segment_time: Some(Duration::from_millis(600)), ..options(folder.path()) };
    run.stream.start_recording(segments.clone()).unwrap();
    let twice = run.stream.start_recording(segments.clone());
    assert!(matches!(twice, Err(StreamError::Record { .. })));
    run.stream.record_line("{\"a\":1}".into());
    run.frames(100);
    let stats = run.stream.stop_recording().unwrap();
    assert_eq!(stats.dropped, 0, "{stats:?}");
    let clean: Vec<_> = files(folder.path(), "clean").iter().map(|path| read(path)).collect();
    let overlay: Vec<_> = files(folder.path(), "overlay").iter().map(|path| read(path)).collect();
    assert!(clean.len() >= 3 && overlay.len() >= 3, "{clean:?}");
    let frames = |all: &[(usize, (u32, u32), Duration)]| all.iter().map(|f| f.0).sum::<usize>();
    assert_eq!(frames(&clean) + frames(&overlay), stats.frames as usize);
    assert!(clean.iter().all(|(_, size, first)| *size == (64, 48) && first.is_zero()), "{clean:?}");
    let text = std::fs::read_to_string(folder.path().join("r-results.jsonl")).unwrap();
    assert!(text.contains("{\"a\":1}\n") && text.contains("\"segment\":\"r-clean-00000.mkv\""));

    // The next recording goes on behind the files that are there.
    let before = files(folder.path(), "mkv").len();
    run.stream.start_recording(segments).unwrap();
    run.frames(10);
    run.stream.stop_recording().unwrap();
    assert!(files(folder.path(), "mkv").len() > before);
}

#[test]
fn another_size_begins_another_segment() {
    let folder = tempfile::tempdir().unwrap();
    let make = |number| {
        let (width, height) = if number / 40 % 2 == 0 { (64, 48) } else { (101, 51) };
        Some(grey(width, height, number))
    };
    let run = Run::source(SourceSpec::Frames { make: Arc::new(make), rate: (100, 1) });
    run.frames(10);
    run.stream.start_recording(RecordOptions { overlay: false, ..options(folder.path()) }).unwrap();
    run.frames(100);
    run.stream.stop_recording().unwrap();
    let sizes: Vec<_> = files(folder.path(), "clean").iter().map(|path| read(path).1).collect();
    assert!(sizes.len() >= 3, "{sizes:?}");
    assert!(sizes.windows(2).all(|pair| pair[0] != pair[1]), "{sizes:?}");
    assert!(sizes.iter().all(|(w, h)| w % 2 == 0 && h % 2 == 0), "{sizes:?}");
}

#[test]
fn segments_end_at_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::source(launch_source(
        "videotestsrc is-live=true pattern=snow ! video/x-raw,format=I420,width=128,height=96,\
         framerate=100/1",
    ));
    run.frames(5);
    let by_size = RecordOptions {
        overlay: false,
        segment_time: None,
        segment_bytes: Some(100_000),
        ..options(folder.path())
    };
    run.stream.start_recording(by_size).unwrap();
    run.frames(100);
    let stats = run.stream.stop_recording().unwrap();
    assert!(stats.segments >= 2, "{stats:?}");
    for path in files(folder.path(), "clean") {
        assert!(std::fs::metadata(path).unwrap().len() < 400_000);
    }
}

#[test]
fn a_disk_that_goes_away_stops_the_recording_until_it_is_back_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (here, away) = (folder.path().join("here"), folder.path().join("away"));
    std::fs::create_dir(&here).unwrap();
    let run = Run::source(test_source("width=64&height=48&fps=50"));
    run.frames(5);
    let segments =
        RecordOptions { segment_time: Some(Duration::from_millis(400)), ..options(&here) };
    run.stream.start_recording(segments).unwrap();
    run.frames(30);
    std::fs::rename(&here, &away).unwrap();
    for side in [Side::Clean, Side::Overlay] {
        let part = RecordPart::Side(side);
        run.wait("failure", |run| {
            run.told
                .event(|e| matches!(e, LiveEvent::RecordingFailed { part: p, .. } if *p == part))
                == 1
        });
    }
    let shown = run.stream.stats().frames_shown;
    run.wait("video goes on", |run| run.stream.stats().frames_shown > shown + 20);
    let stats = run.stream.stats();
    assert!(stats.recording && stats.record.problem.is_some() && stats.record.dropped > 0);
    std::fs::rename(&away, &here).unwrap();
    for side in [Side::Clean, Side::Overlay] {
        let part = RecordPart::Side(side);
        run.wait("return", |run| run.told.event(|e| *e == LiveEvent::RecordingRestored(part)) == 1);
    }
    run.frames(20);
    let stats = run.stream.stop_recording().unwrap();
    assert_eq!(stats.problem, None);
    let recorded: usize = files(&here, "mkv").iter().map(|path| read(path).0).sum();
    assert!(recorded as u64 <= stats.frames && recorded > 40, "{recorded} of {stats:?}");
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_reported_until_they_can() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("r-results.jsonl");
    std::os::unix::fs::symlink("/dev/full", &results).unwrap();
    let run = Run::source(test_source("width=64&height=48&fps=50"));
    run.frames(5);
    run.stream.start_recording(options(folder.path())).unwrap();
    let lines = std::cell::Cell::new(0);
    let line = || {
        lines.set(lines.get() + 1);
        run.stream.record_line(format!("{{\"number\":{}}}", lines.get()));
    };
    line();
    let part = RecordPart::Results;
    run.wait("failure", |run| {
        run.told.event(|e| matches!(e, LiveEvent::RecordingFailed { part: p, .. } if *p == part))
            == 1
    });
    line();
    run.frames(20);
    let stats = run.stream.stats().record;
    assert!(stats.problem.unwrap().contains("list of results"));
    assert!(stats.lines == 0 && stats.lines_dropped >= 1, "{}", stats.lines_dropped);
    std::fs::remove_file(&results).unwrap();
    run.wait("return", |run| {
        line();
        std::thread::sleep(Duration::from_millis(50));
        run.told.event(|e| *e == LiveEvent::RecordingRestored(part)) == 1
    });
    line();
    let stats = run.stream.stop_recording().unwrap();
    assert_eq!(stats.problem, None);
    let text = std::fs::read_to_string(&results).unwrap();
    let written = text.lines().filter(|line| line.contains("number")).count() as u64;
    // The lines of segments count as well.
    assert_eq!(text.lines().count() as u64, stats.lines);
    assert!(written >= 2 && written + stats.lines_dropped >= lines.get(), "{written} {stats:?}");
    assert!(read(&files(folder.path(), "clean")[0]).0 > 20, "the video was recorded meanwhile");
}

#[test]
fn two_recordings_never_write_to_one_prefix_and_no_file_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::source(test_source("width=64&height=48&fps=50"));
    let other = Run::source(test_source("width=64&height=48&fps=50"));
    run.frames(5);
    let segments =
        RecordOptions { segment_time: Some(Duration::from_millis(300)), ..options(folder.path()) };
    run.stream.start_recording(segments.clone()).unwrap();
    for wait in [false, true] {
        let refused = other.stream.start_recording(RecordOptions { wait, ..segments.clone() });
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("another recording") && told.contains("name another"), "{told}");
    }
    // Where there are no locks, or another program makes such a file: the number is left out.
    let foreign = folder.path().join("r-clean-00001.mkv");
    std::fs::write(&foreign, "of somebody else").unwrap();
    run.frames(60);
    let stats = run.stream.stop_recording().unwrap();
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "of somebody else");
    std::fs::remove_file(&foreign).unwrap();
    let recorded: usize = files(folder.path(), "mkv").iter().map(|path| read(path).0).sum();
    assert_eq!(recorded as u64, stats.frames);
    other.stream.start_recording(segments).unwrap();
    other.frames(5);
    other.stream.stop_recording().unwrap();
}

#[test]
fn a_prefix_may_have_any_name() {
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    // Latin-1, which is no UTF-8.
    let name = std::ffi::OsStr::from_bytes(b"Befund \xfc");
    let run = Run::source(test_source("width=64&height=48&fps=50"));
    run.frames(5);
    let prefix = folder.path().join(name);
    let options =
        RecordOptions { prefix: prefix.clone(), overlay: false, ..options(folder.path()) };
    run.stream.start_recording(options).unwrap();
    run.frames(20);
    run.stream.stop_recording().unwrap();
    let path = super::super::files::file(&prefix, Side::Clean, 0);
    assert!(std::fs::metadata(path).unwrap().len() > 1000);
}

#[test]
fn too_little_space_refuses_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::source(test_source("width=64&height=48&fps=50"));
    run.frames(5);
    let refused = RecordOptions { min_free: u64::MAX, ..options(folder.path()) };
    let told = run.stream.start_recording(refused).unwrap_err().to_string();
    assert!(told.contains("MB are free"), "{told}");
    assert!(files(folder.path(), "r").is_empty());
    // Whoever waits records as soon as there is space, and says so until then.
    let waiting = RecordOptions { min_free: u64::MAX, wait: true, ..options(folder.path()) };
    run.stream.start_recording(waiting).unwrap();
    run.frames(5);
    let stats = run.stream.stats();
    assert!(stats.recording && stats.record.problem.unwrap().contains("MB are free"));
    run.stream.stop_recording().unwrap();
    assert!(files(folder.path(), "mkv").is_empty());
    let nowhere = RecordOptions::new("/nowhere/at/all/r");
    assert!(matches!(run.stream.start_recording(nowhere), Err(StreamError::Record { .. })));
}

#[test]
fn starting_and_stopping_many_times_loses_no_frame_of_the_display() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::source(test_source("width=64&height=48&fps=50"));
    run.frames(5);
    for _ in 0..20 {
        run.stream.start_recording(options(folder.path())).unwrap();
        run.frames(3);
        run.stream.stop_recording().unwrap();
    }
    let stats = run.stream.stats();
    assert!(stats.frames_shown + stats.frames_dropped + 3 >= stats.frames_in, "{stats:?}");
    assert_eq!(run.told.event(|e| *e == LiveEvent::RecordingStopped(None)), 20);
    let clean = files(folder.path(), "clean");
    assert_eq!(clean.len(), 20);
    assert!(read(&clean[19]).0 >= 1);
}

#[test]
fn a_recording_survives_the_loss_of_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::source(launch_source(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=50/1 \
         ! identity error-after=30",
    ));
    run.frames(3);
    run.stream.start_recording(options(folder.path())).unwrap();
    run.wait("two losses", |run| run.stream.stats().rebuilds >= 2);
    run.frames(5);
    run.stream.stop_recording().unwrap();
    let clean = files(folder.path(), "clean");
    assert_eq!(clean.len(), 1);
    assert!(read(&clean[0]).0 > 40);
}

#[test]
fn a_disk_that_fills_up_closes_the_files_in_time_and_is_used_again_once_there_is_space() {
    use rustix::fs::{FallocateFlags, fallocate};

    let folder = tempfile::tempdir().unwrap();
    let free = free(folder.path()).unwrap();
    let run = Run::source(test_source("width=64&height=48&fps=50"));
    run.frames(5);
    let limit = RecordOptions { min_free: free - (1 << 30), ..options(folder.path()) };
    run.stream.start_recording(limit).unwrap();
    run.frames(20);
    let filler = folder.path().join("filler");
    let file = std::fs::File::create(&filler).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 3 << 29).expect("a file system with fallocate");
    let paused =
        |e: &LiveEvent| matches!(e, LiveEvent::RecordingFailed { part: RecordPart::Video, .. });
    run.wait("pause", |run| run.told.event(paused) == 1);
    let stats = run.stream.stats();
    assert!(stats.recording && stats.record.problem.unwrap().contains("by itself"));
    run.frames(20);
    let before = files(folder.path(), "mkv");
    assert_eq!(before.len(), 2, "nothing is written meanwhile");
    assert!(before.iter().all(|path| read(path).0 > 5));
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    let restored = LiveEvent::RecordingRestored(RecordPart::Video);
    run.wait("return", |run| run.told.event(|e| *e == restored) == 1);
    run.frames(20);
    let stats = run.stream.stop_recording().unwrap();
    assert!(stats.problem.is_none() && stats.dropped > 0, "{stats:?}");
    let after = files(folder.path(), "mkv");
    assert_eq!(after.len(), 4);
    assert!(after.iter().all(|path| read(path).0 > 5));
}
