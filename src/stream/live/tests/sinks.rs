use std::io::Read;

use super::*;
use crate::stream::StreamError;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_client_that_never_reads_slows_nobody() {
    let port = free_port();
    let sink = SinkSpec::Tcp { host: "127.0.0.1".into(), port };
    let source = test_source("width=320&height=240&fps=50");
    let run = Run::start(LiveOptions::new(source, vec![sink]));
    run.frames(5);
    let _deaf = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut reader = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut got = vec![0; 200_000];
    reader.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    reader.read_exact(&mut got).unwrap();
    assert_eq!(got[0], 0x47, "MPEG-TS begins with its sync byte");
    run.frames(50);
    let stats = run.stream.stats();
    assert!(stats.frames_in - stats.frames_shown <= stats.frames_dropped + 3, "{stats:?}");
    assert_eq!(run.told.event(|_| true), 0, "{}", run.told.all());
}

#[test]
fn a_port_in_use_is_told_at_the_start() {
    let _ = init();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let sink = SinkSpec::Tcp { host: "127.0.0.1".into(), port };
    let options = LiveOptions::new(test_source("fps=25"), vec![sink]);
    match LiveStream::start(options, make("identity").unwrap(), Hooks::default()) {
        Err(StreamError::Sink { kind, .. }) => assert_eq!(kind, "tcp"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_preview_is_small_slow_and_only_made_when_wanted() {
    let mut options = LiveOptions::new(test_source("width=320&height=180&fps=100"), vec![]);
    options.preview = PreviewOptions { max_width: 160, max_rate: 20, quality: 70 };
    let run = Run::start(options);
    run.frames(20);
    assert_eq!(run.told.jpegs.lock().unwrap().len(), 0);
    run.stream.set_preview(true).unwrap();
    run.frames(5);
    let (before, made) = (run.stream.stats().frames_in, run.stream.stats().previews);
    run.frames(100);
    let (after, more) = (run.stream.stats().frames_in, run.stream.stats().previews - made);
    // A fifth of the frames.
    assert!(more >= 10 && more <= (after - before) / 5 + 3, "{more} of {}", after - before);
    run.stream.set_preview(false).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let off = run.stream.stats().previews;
    run.frames(20);
    assert_eq!(run.stream.stats().previews, off);

    let jpeg = run.told.jpegs.lock().unwrap().last().unwrap().clone();
    let picture = image::load_from_memory(&jpeg).unwrap();
    assert_eq!((picture.width(), picture.height()), (160, 90));
    // The test picture's white and black: JPEG has both at the ends of its range, video has not.
    let grey = picture.into_luma8();
    let (low, high) = (grey.iter().min().unwrap(), grey.iter().max().unwrap());
    assert!(*low <= 3 && *high >= 250, "{low} to {high}");
}

#[test]
fn both_formats_reach_preview_and_network() {
    for format in ["I420", "NV12"] {
        let source = launch_source(&format!(
            "videotestsrc is-live=true ! video/x-raw,format={format},width=65,height=49,framerate=50/1"
        ));
        let port = free_port();
        let sink = SinkSpec::Tcp { host: "127.0.0.1".into(), port };
        let run = Run::start(LiveOptions::new(source, vec![sink]));
        run.stream.set_preview(true).unwrap();
        run.wait("a preview", |run| run.stream.stats().previews > 3);
        let mut reader = TcpStream::connect(("127.0.0.1", port)).unwrap();
        reader.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        reader.read_exact(&mut [0; 1000]).unwrap();
        assert_eq!(run.told.event(|_| true), 0, "{}", run.told.all());
    }
}
