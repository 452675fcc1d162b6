use super::*;
use crate::stream::StreamError;

/// A TS stream of a server on this machine, by way of a launch file.
fn tcp_source(port: u16, mux: &str) -> SourceSpec {
    launch_source(&format!(
        "tcpclientsrc host=127.0.0.1 port={port}\n! {mux}\n! h264parse\n! avdec_h264"
    ))
}

#[test]
fn frames_pass_once_each_and_a_finite_source_ends_the_run() {
    let make = |number| (number < 30).then(|| grey(64, 48, number));
    let run = Run::source(SourceSpec::Frames { make: Arc::new(make), rate: (100, 1) });
    assert!(run.stream.wait(Duration::from_secs(10)).unwrap());
    run.wait("shown", |run| run.stream.stats().frames_shown >= 30);
    let levels: Vec<u8> = run.seen().iter().filter(|s| !s.repeat).map(|s| s.first_byte).collect();
    assert_eq!(levels, (40..70).collect::<Vec<u8>>());
    run.assert_times();
    // The source's own spacing, not the threads' jitter.
    let seen = run.seen();
    let exact = seen.windows(2).filter(|pair| pair[1].pts - pair[0].pts == 10_000_000).count();
    assert!(exact > 15, "{seen:?}");
    assert_eq!(run.told.state(|state| *state == SourceState::Ended), 1);
}

#[test]
fn a_file_plays_at_its_rate_and_loops_without_a_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let path = video(folder.path(), "a.mkv", 10);
    let once = Run::source(format!("file:{}", path.display()).parse().unwrap());
    assert!(once.stream.wait(Duration::from_secs(10)).unwrap());
    assert_eq!(once.stream.stats().frames_in, 10);

    let looped = Run::source(format!("file:{}?loop", path.display()).parse().unwrap());
    looped.frames(35);
    assert_eq!(looped.stream.stats().rebuilds, 0, "{}", looped.told.all());
    let seen = looped.seen();
    // 35 frames at 25 a second, paced.
    assert!(seen.last().unwrap().pts - seen[0].pts > 1_000_000_000, "{seen:?}");
    looped.assert_times();
}

#[test]
fn a_looped_file_that_gives_no_more_frames_is_lost_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = video(folder.path(), "a.ts", 10);
    let whole = std::fs::read(&path).unwrap();
    let mut options =
        LiveOptions::new(format!("file:{}?loop", path.display()).parse().unwrap(), vec![]);
    options.stall_limit = Duration::from_secs(1);
    let run = Run::start(options);
    run.frames(15);
    // The same file, of which only tables are left.
    std::fs::write(&path, &whole[..376]).unwrap();
    run.wait("loss", |run| {
        run.told.state(|state| matches!(state, SourceState::Rebuilding { .. })) >= 2
    });
    let before = run.stream.stats();
    run.wait("repeats", |run| run.stream.stats().repeats >= before.repeats + 3);
    assert!(run.stream.stats().frames_in <= before.frames_in + 10, "not rewound for ever");
    std::fs::write(&path, &whole).unwrap();
    run.frames(15);
    assert!(run.told.starts() >= 2, "{}", run.told.all());
    run.assert_times();
}

#[test]
fn a_file_that_was_cut_short_is_played_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = video(folder.path(), "patient.mkv", 60);
    let play = || {
        let run = Run::source(format!("file:{}", path.display()).parse().unwrap());
        assert!(run.stream.wait(Duration::from_secs(20)).unwrap());
        (run.stream.stats().frames_in, run.stream.cut_short())
    };
    assert_eq!(play(), (60, None));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() * 2 / 3]).unwrap();
    let (frames, reason) = play();
    let reason = reason.expect("a reason");
    assert!((10..60).contains(&frames), "{frames}");
    assert!(reason.contains("cut short") && !reason.contains("patient"), "{reason}");
}

#[test]
fn a_pipe_is_waited_for_and_played_and_a_stop_does_not_wait_for_its_writer() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let source = || -> SourceSpec { format!("file:{}", pipe.display()).parse().unwrap() };
    let begun = Instant::now();
    let run = Run::source(source());
    std::thread::sleep(Duration::from_millis(300));
    run.stream.stop();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());

    let run = Run::source(source());
    let file = std::fs::read(video(folder.path(), "a.mkv", 30)).unwrap();
    let writer = std::thread::spawn(move || {
        // It is opened once there is a reader.
        std::fs::OpenOptions::new().write(true).open(&pipe).unwrap().write_all(&file)
    });
    assert!(run.stream.wait(Duration::from_secs(20)).unwrap(), "{}", run.told.all());
    writer.join().unwrap().unwrap();
    assert_eq!(run.stream.stats().frames_in, 30);
    assert_eq!(run.stream.cut_short(), None);
}

#[test]
fn cameras_and_files_need_no_kind() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("a:b.mkv");
    std::fs::write(&clip, "frames").unwrap();
    let of = |text: &str| text.parse::<SourceSpec>();
    for text in ["0", "/dev/video0", "/dev/video0?fps=30"] {
        let found = of(text).unwrap();
        let SourceSpec::V4l2 { device, mode } = found else { panic!("{text}: {found:?}") };
        assert_eq!(device, Path::new("/dev/video0"));
        assert_eq!(mode.rate.is_some(), text.contains("fps"));
    }
    let clip = clip.display().to_string();
    for (text, expected) in [(clip.clone(), false), (format!("{clip}?loop"), true)] {
        let found = of(&text).unwrap();
        assert!(matches!(found, SourceSpec::File { looped, .. } if looped == expected), "{text}");
    }
    std::fs::remove_file(&clip).unwrap();
    for text in [clip.as_str(), "nothing.mkv", "12345", ""] {
        let text = of(text).unwrap_err().to_string();
        assert!(text.contains("a video file, v4l2:"), "{text}");
    }
}

#[test]
fn messages_hide_names_addresses_and_passwords() {
    let hidden = |source: &SourceSpec, text: &str| source.hide(text);
    let rtsp: SourceSpec = "rtsp://user:secret@host.lan:8554/theatre1".parse().unwrap();
    for text in [
        "cannot open rtsp://user:secret@host.lan:8554/theatre1",
        "cannot open rtsp://host.lan:8554/theatre1",
        "no access for user:secret",
    ] {
        let hidden = hidden(&rtsp, text);
        assert!(!hidden.contains("secret") && !hidden.contains("theatre1"), "{hidden}");
    }
    let srt: SourceSpec = "srt://host.lan:9000?passphrase=topsecret1".parse().unwrap();
    assert!(!hidden(&srt, "bad passphrase topsecret1").contains("topsecret1"));
    let file: SourceSpec = "file:cases/Doe John.mkv".parse().unwrap();
    let full = std::path::absolute("cases/Doe John.mkv").unwrap();
    let uri = gst::glib::filename_to_uri(&full, None).unwrap();
    for text in [full.to_string_lossy().as_ref(), uri.as_str(), "no room for Doe John.mkv"] {
        let hidden = hidden(&file, text);
        assert!(!hidden.contains("Doe"), "{hidden}");
    }
    let launch = LaunchFile::parse(
        Path::new("x.launch"),
        "# slot location = rtsp://a/b\n# slot name = h264\nrtspsrc location={location} ! {name}parse",
    );
    let launch = launch.unwrap().with("location", "rtsp://user:secret@host/theatre1").unwrap();
    let launch = SourceSpec::Launch(launch);
    let text = "h264 of rtsp://user:secret@host/theatre1 failed";
    assert_eq!(hidden(&launch, text), "h264 of the source failed");
}

#[test]
fn a_missing_file_and_no_video_are_told_at_once_or_end_the_run() {
    let _ = init();
    let start = |text: &str| {
        let options = LiveOptions::new(text.parse().unwrap(), vec![]);
        LiveStream::start(options, make("identity").unwrap(), Hooks::default())
    };
    assert!(matches!(start("file:/nowhere/a.mp4"), Err(StreamError::Open { .. })));
    assert!(matches!(start("test:nosuchpattern"), Err(StreamError::Source { .. })));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("patient.mp4");
    std::fs::write(&path, "this is no video at all").unwrap();
    let stream = start(&format!("file:{}", path.display())).unwrap();
    let told = stream.wait(Duration::from_secs(10)).unwrap_err().to_string();
    assert!(!told.contains("patient"), "{told}");
}

#[test]
fn pictures_loop_at_their_rate_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for (i, level) in [60u8, 120, 180].into_iter().enumerate() {
        let frame = crate::image::Frame::new(32, 32, vec![level; 32 * 32 * 3]).unwrap();
        frame.save_png(&folder.path().join(format!("{i}.png"))).unwrap();
    }
    // An overlay that spoils every picture it gets.
    let _ = init();
    let overlay = make("identity").unwrap();
    overlay.static_pad("src").unwrap().add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            buffer.make_mut().map_writable().unwrap().fill(0);
        }
        gst::PadProbeReturn::Ok
    });
    let source = format!("file:{}?loop&fps=100", folder.path().display()).parse().unwrap();
    let run = Run::with(LiveOptions::new(source, vec![]), overlay);
    run.frames(30);
    let levels: Vec<u8> = run.seen().iter().map(|seen| seen.first_byte).collect();
    assert!(levels.windows(4).all(|four| four[0] == four[3] && four[0] != four[1]), "{levels:?}");
}

#[test]
fn a_killed_server_is_found_again_while_the_last_picture_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = video(folder.path(), "a.ts", 200);
    let server = Server::start(&file, 0, None);
    let port = server.port;
    let run = Run::source(tcp_source(port, "tsdemux"));
    run.frames(10);
    drop(server);
    run.wait("loss", |run| {
        run.told.state(|state| matches!(state, SourceState::Rebuilding { .. })) >= 2
    });
    let before = run.stream.stats();
    run.wait("repeats", |run| run.stream.stats().repeats >= before.repeats + 3);
    let _server = Server::start(&file, port, None);
    run.wait("return", |run| run.told.starts() >= 2);
    run.frames(10);
    run.assert_times();
    let seen = run.seen();
    assert!(seen.iter().any(|seen| seen.repeat));
    // The first frame after the gap says so.
    let back = seen.iter().rposition(|seen| seen.repeat).unwrap() + 1;
    assert!(seen[back].discont && !seen[back].repeat, "{:?}", seen[back]);
}

#[test]
fn a_stalled_source_is_told_and_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let file = video(folder.path(), "a.ts", 200);
    let server = Server::start(&file, 0, Some(40));
    let mut options = LiveOptions::new(tcp_source(server.port, "tsdemux"), vec![]);
    options.stall_limit = Duration::from_millis(500);
    let run = Run::start(options);
    run.wait("two stalls", |run| run.told.state(|state| *state == SourceState::Stalled) >= 2);
    assert!(run.stream.stats().repeats > 0);
    assert!(run.told.starts() >= 2);
    run.assert_times();
}

#[test]
fn an_element_that_fails_is_replaced_with_growing_pauses() {
    let run = Run::source(launch_source(
        "videotestsrc is-live=true ! video/x-raw,framerate=100/1 ! identity error-after=5",
    ));
    run.wait("four attempts", |run| run.told.starts() >= 4);
    let states = run.told.states.lock().unwrap().clone();
    let attempts: Vec<u32> = states
        .iter()
        .filter_map(|state| match state {
            SourceState::Rebuilding { attempt, .. } => Some(*attempt),
            _ => None,
        })
        .collect();
    assert!(attempts.starts_with(&[1, 2, 3]), "{attempts:?}");
    run.assert_times();
}

#[test]
fn a_source_that_was_never_there_shows_a_black_picture() {
    let run = Run::source(launch_source(
        "tcpclientsrc host=127.0.0.1 port=9\n! tsdemux\n! h264parse\n! avdec_h264",
    ));
    run.wait("repeats", |run| run.stream.stats().repeats >= 3);
    assert!(run.seen().iter().all(|seen| seen.repeat && seen.first_byte == 16));
    assert_eq!(run.stream.stats().frames_in, 0);
}

#[test]
fn size_and_rate_may_change_in_the_middle() {
    let make = |number| {
        let (width, height) = if number / 20 % 2 == 0 { (64, 48) } else { (100, 50) };
        Some(grey(width, height, number))
    };
    let run = Run::source(SourceSpec::Frames { make: Arc::new(make), rate: (100, 1) });
    run.wait("sizes", |run| run.told.starts() >= 4);
    let states = run.told.states.lock().unwrap().clone();
    assert!(states.contains(&SourceState::Running {
        width: 100,
        height: 50,
        rate: Some((100, 1))
    }));
    assert_eq!(run.stream.stats().rebuilds, 0);
    run.assert_times();
}

#[test]
fn a_corrupted_stream_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = video(folder.path(), "a.ts", 100);
    let mut bytes = std::fs::read(&file).unwrap();
    let mut random = 12345u32;
    for at in (2000..bytes.len()).step_by(701) {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes[at] ^= 1 << (random >> 29);
    }
    std::fs::write(&file, &bytes).unwrap();
    let run = Run::source(format!("file:{}?loop", file.display()).parse().unwrap());
    run.frames(60);
    run.assert_times();
}

#[test]
fn times_that_jump_or_are_missing_never_go_back() {
    // A stream whose times start again and again.
    let folder = tempfile::tempdir().unwrap();
    let file = video(folder.path(), "a.ts", 15);
    let server = Server::start(&file, 0, None);
    let run = Run::source(tcp_source(server.port, "tsdemux"));
    run.frames(60);
    run.assert_times();
    // No times at all.
    let missing = Run::source(launch_source(
        "videotestsrc is-live=true ! video/x-raw,format=I420,framerate=100/1 ! identity \
         single-segment=true ! rawvideoparse use-sink-caps=true",
    ));
    missing.frames(20);
    missing.assert_times();
}

#[test]
fn an_overlay_that_fails_is_started_again() {
    let _ = init();
    let overlay = make("identity").unwrap();
    overlay.set_property("error-after", 20i32);
    let options = LiveOptions::new(test_source("width=64&height=48&fps=100"), vec![]);
    let run = Run::with(options, overlay.clone());
    run.wait("restart", |run| {
        run.told.event(|event| matches!(event, LiveEvent::PipelineRestarted(_))) > 0
    });
    overlay.set_property("error-after", -1i32);
    let before = run.stream.stats().frames_shown;
    run.wait("frames after it", |run| run.stream.stats().frames_shown > before + 20);
}

#[test]
fn a_panic_while_a_picture_is_made_stops_nothing() {
    let calls = std::sync::atomic::AtomicU64::new(0);
    let make = move |number| {
        assert!(calls.fetch_add(1, Ordering::Relaxed) != 10, "this panic belongs to the test");
        Some(grey(64, 48, number))
    };
    let run = Run::source(SourceSpec::Frames { make: Arc::new(make), rate: (100, 1) });
    run.wait("return", |run| run.told.starts() >= 2);
    run.frames(10);
    assert_eq!(run.stream.stats().rebuilds, 1);
}
