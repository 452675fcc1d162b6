use super::*;
use crate::stream::StreamError;

fn parse(text: &str) -> Result<LaunchFile, StreamError> {
    LaunchFile::parse(Path::new("x.launch"), text)
}

/// The line and the reason of a launch file's mistake.
fn mistake(text: &str) -> (usize, String) {
    match parse(text).and_then(|file| file.check()) {
        Err(StreamError::Launch { line, reason, .. }) => (line, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn mistakes_are_told_with_their_line_and_what_to_do() {
    let (line, reason) = mistake("# comment\nvideotestsrc\n\n! nosuchelement\n! identity\n");
    assert_eq!(line, 4);
    assert!(reason.contains("nosuchelement") && reason.contains("apt-cache"), "{reason}");

    let (line, reason) = mistake("videotestsrc\n! identity nosuchproperty=1\n! identity");
    assert_eq!(line, 2);
    assert!(reason.contains("nosuchproperty"), "{reason}");

    let (line, _) = mistake("videotestsrc\n! ! identity\n! identity");
    assert_eq!(line, 2);

    let (line, _) = mistake("videotestsrc\n! audioconvert\n! identity");
    assert_eq!(line, 2);

    let (line, reason) = mistake("videotestsrc\n! fakesink");
    assert_eq!(line, 2);
    assert!(reason.contains("must end in an element that gives video"), "{reason}");

    assert_eq!(mistake("# slot Bad Name = 1\nvideotestsrc").0, 1);
    assert_eq!(mistake("# nothing else").0, 1);
    let (line, reason) = mistake("# slot a = 1\nvideotestsrc pattern={b}");
    assert_eq!(line, 2);
    assert!(reason.contains("# slot b = DEFAULT"), "{reason}");
}

#[test]
fn a_slots_value_stays_one_value() {
    init().unwrap();
    let file =
        parse("# slot place = /dev/null\nfilesrc name=f location={place} ! identity").unwrap();
    let nasty = [
        "/a b",
        "x\" ! fakesink name=\"y",
        "a ! filesink location=/tmp/x",
        "back\\slash",
        "q\\\" ! fakesink",
        "rtsp://u:p@h/x?a=b&c=d!",
        "{place}",
        "(memory:X)",
    ];
    for value in nasty {
        let built = file.clone().with("place", value).unwrap().build("fakesink").unwrap();
        let location: String = built.by_name("f").unwrap().property("location");
        assert_eq!(location, value);
        assert_eq!(built.children().len(), 3);
    }
    assert!(file.clone().with("place", "a\nb").is_err());
    assert!(file.clone().with("other", "a").is_err());
    // In caps nothing can be quoted.
    let caps = parse("# slot w = 64\nvideotestsrc ! video/x-raw,width={w}").unwrap();
    assert!(caps.clone().with("w", "64 ! fakesink").is_err());
    assert!(caps.with("w", "65").unwrap().check().is_ok());
    for caps in ["video/x-raw, width={w}", "video/x-raw,\n width={w}", "video/x-raw,width={w}"] {
        let file = parse(&format!("# slot w = 64\nvideotestsrc ! {caps}")).unwrap();
        assert!(file.with("w", "\"64 ! fakesink\"").is_err(), "{caps}");
    }
    // Lists in caps are no slots.
    parse("videotestsrc ! video/x-raw,format={ I420, NV12 }").unwrap().check().unwrap();
}

#[test]
fn the_files_that_come_with_the_program_are_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "launch") {
            continue;
        }
        files += 1;
        let file = LaunchFile::open(&path).unwrap();
        assert!(!file.slots().is_empty());
        match file.check() {
            Ok(()) => {}
            // What is not installed here must name its package.
            Err(StreamError::Launch { reason, .. }) => {
                assert!(reason.contains("install gstreamer1.0-"), "{}: {reason}", path.display());
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert!(files >= 5);
}

#[test]
fn sources_and_sinks_are_read_as_users_write_them() {
    let source = |text: &str| text.parse::<SourceSpec>();
    assert!(matches!(source("v4l2:/dev/video2"), Ok(SourceSpec::V4l2 { device, .. })
        if device == Path::new("/dev/video2")));
    assert!(matches!(
        source("v4l2:/dev/video2?width=1920&fps=60"),
        Ok(SourceSpec::V4l2 {
            mode: Mode { width: Some(1920), height: None, rate: Some((60, 1)) },
            ..
        })
    ));
    assert!(matches!(source("file:a b.mp4?loop"), Ok(SourceSpec::File { path, looped: true })
        if path == Path::new("a b.mp4")));
    assert!(matches!(source("file:what.mp4"), Ok(SourceSpec::File { path, looped: false })
        if path == Path::new("what.mp4")));
    assert!(matches!(
        source("file:x/*.png?loop&fps=50"),
        Ok(SourceSpec::Pictures { looped: true, rate: (50, 1), .. })
    ));
    assert!(matches!(source("decklink:1"), Ok(SourceSpec::Decklink { device: 1 })));
    assert!(matches!(source("test:"), Ok(SourceSpec::Test { .. })));
    for wrong in [
        "",
        "x",
        "http://a",
        "rtsp:",
        "rtsp://",
        "v4l2:",
        "file:",
        "test:?fps=0",
        "test:?fps=1000",
        "test:?width=1",
        "test:?size=3",
        "decklink:a",
        "launch:/nowhere.launch",
        "test:?fps=1/0",
    ] {
        assert!(source(wrong).is_err(), "{wrong}");
    }
    // What is wrong may hold a password.
    let told = source("rtspx://user:secret@host").unwrap_err().to_string();
    assert!(!told.contains("secret") && told.contains("v4l2:"), "{told}");

    let sink = |text: &str| text.parse::<SinkSpec>();
    assert_eq!(sink("display").unwrap(), SinkSpec::Display);
    assert_eq!(sink("tcp://:70").unwrap(), SinkSpec::Tcp { host: "127.0.0.1".into(), port: 70 });
    assert_eq!(sink("tcp://[::1]:70").unwrap(), SinkSpec::Tcp { host: "::1".into(), port: 70 });
    assert!(matches!(sink("srt://:7001?latency=60"), Ok(SinkSpec::Srt(_))));
    for wrong in ["", "tcp://a", "tcp://a:b", "srt://a", "window", "tcp://a:99999"] {
        assert!(sink(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_launch_file_that_is_no_file_is_refused_at_once() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.launch");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for path in [pipe.as_path(), folder.path()] {
        let told = LaunchFile::open(path).unwrap_err().to_string();
        assert!(told.contains("no ordinary file"), "{told}");
    }
}
