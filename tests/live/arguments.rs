//! Wrong arguments of `p2sam live`: refused before anything is written, and said how to do better.

use crate::common::*;
use crate::run::turn;

/// Each line is refused with the exit code, and standard error tells all of the words.
#[track_caller]
fn refused(code: i32, lines: &[(&str, &[&str])]) {
    let _turn = turn();
    let dir = folder();
    picture_and_mask(dir.path());
    middle_mask(&dir.path().join("small.png"), WIDTH / 2, HEIGHT);
    rectangle_mask(&dir.path().join("empty.png"), WIDTH, HEIGHT, |_, _| false);
    for (name, text) in [
        ("unknown.launch", "# A comment.\nvideotestsrc\n  ! nosuchelement\n"),
        ("syntax.launch", "videotestsrc is-live=true\n  ! ! identity\n"),
        ("undeclared.launch", "videotestsrc\n  ! identity\n  ! video/x-raw,width={width}\n"),
        ("slot.launch", "# slot width\nvideotestsrc\n"),
        ("comments.launch", "# Nothing else.\n"),
        ("good.launch", "# slot width = 64\nvideotestsrc ! video/x-raw,width={width}\n"),
    ] {
        std::fs::write(dir.path().join(name), text).expect("writable");
    }
    let before = entries(dir.path());
    for (line, words) in lines {
        let run = p2sam(dir.path(), &format!("live {line} --weights polyp"));
        assert_eq!(run.code, Some(code), "{line}: {run:#?}");
        for word in *words {
            assert!(run.stderr.contains(word), "{line}: no '{word}' in: {}", run.stderr);
        }
        assert!(run.stdout.is_empty(), "{line}: {}", run.stdout);
        assert_eq!(entries(dir.path()), before, "{line}");
    }
}

/// A source that would run, without a window.
macro_rules! test {
    ($rest:literal) => {
        concat!("--source test:?width=64&height=48 --duration 1 --sink none ", $rest)
    };
}

#[test]
fn arguments_that_cannot_be_read_are_told() {
    refused(
        2,
        &[
            ("", &["--source", "--help"]),
            ("--source test: --pipeline good.launch", &["--pipeline", "--source", "--help"]),
            ("--source test: --sink window", &["unknown", "display, none", "tcp://HOST:PORT"]),
            ("--source test: --sink tcp://somewhere", &["port is missing", "tcp://HOST:PORT"]),
            ("--source test: --sink tcp://127.0.0.1:70000", &["65535", "tcp://HOST:PORT"]),
            ("--source test: --sink srt://somewhere", &["port is missing", "srt://HOST:PORT"]),
            ("--source test: --duration soon", &["--duration", "--help"]),
            ("--source test: --device tpu", &["tpu", "auto, cpu, cuda"]),
            ("--source test: --profile quick", &["quick", "known are paper", "live"]),
            ("--source test: --gate perhaps", &["perhaps", "on, off"]),
            ("--source test: --web 80800", &["--web", "such as 8080"]),
            ("--source test: --web somewhere:1", &["--web", "127.0.0.1:8080"]),
            ("--source test: --record a --record-to b", &["--record", "--record-to"]),
            ("--source test: --clean-only --overlay-only", &["--clean-only", "--overlay-only"]),
        ],
    );
}

#[test]
fn sources_that_cannot_be_are_told() {
    const KINDS: &[&str] = &["v4l2:/dev/videoN", "rtsp://", "file:PATH", "test:"];
    refused(
        1,
        &[
            ("--source something --sink none", KINDS),
            ("--source gopher://host --sink none", KINDS),
            ("--source v4l2: --sink none", &["v4l2:/dev/video0"]),
            ("--source rtsp:// --sink none", &["rtsp://HOST:PORT/"]),
            ("--source decklink:first --sink none", &["decklink:0"]),
            ("--source file: --sink none", &["file:PATH"]),
            ("--source file:nosuch.mkv --sink none", &["nosuch.mkv", "check the name"]),
            ("--source test:nosuch --sink none", &["nosuch", "gst-inspect-1.0 videotestsrc"]),
            ("--source test:?size=9 --sink none", &["size", "width, height and fps"]),
            ("--source test:?width=4 --sink none", &["width", "16 to 8192"]),
            ("--source test:?fps=0 --sink none", &["fps", "1 to 240"]),
            ("--source phantom:?size=9 --sink none", &["size", "width, height, fps, seconds"]),
            ("--source phantom:?fps=0 --sink none", &["fps", "above 0"]),
            ("--source phantom:?seconds=9999 --sink none", &["1 GiB", "fewer seconds"]),
            ("--source phantom:?difficulty=mad --sink none", &["easy, normal or hard"]),
        ],
    );
}

#[test]
fn mistakes_in_a_launch_file_are_told_with_their_line() {
    refused(
        1,
        &[
            ("--pipeline nosuch.launch", &["nosuch.launch", "check the name"]),
            ("--pipeline unknown.launch", &["line 3", "nosuchelement", "check its name"]),
            ("--pipeline syntax.launch", &["line 2", "joined by"]),
            ("--pipeline undeclared.launch", &["line 3", "{width}", "# slot width = DEFAULT"]),
            ("--pipeline slot.launch", &["line 1", "# slot name = default"]),
            ("--pipeline comments.launch", &["line 1", "no launch line"]),
            ("--pipeline good.launch --slot width", &["width", "NAME=VALUE"]),
            ("--pipeline good.launch --slot height=64", &["no slot `height`", "it has: width"]),
            ("--pipeline good.launch --slot width=6;4", &["line 2", "letters, digits"]),
        ],
    );
}

#[test]
fn references_that_do_not_fit_are_told() {
    const PAIR: &str = "--reference-image picture.png --reference mask.png ";
    let nine = format!("--source test: --sink none {}", PAIR.repeat(9));
    refused(
        1,
        &[
            (test!("--reference-image picture.png"), &["1 --reference-image and 0 --reference"]),
            (test!("--reference mask.png"), &["0 --reference-image", "each picture its mask"]),
            (
                test!("--reference-image picture.png --reference mask.png --reference mask.png"),
                &["1 --reference-image and 2 --reference", "each picture its mask"],
            ),
            (&nine, &["9 objects", "up to 8"]),
            (
                test!("--reference-image picture.png --reference small.png"),
                &["small.png", "80 x 90", "160 x 90", "give a mask of the picture's size"],
            ),
            (
                test!("--reference-image picture.png --reference empty.png"),
                &["empty.png", "no pixel is marked"],
            ),
            (test!("--reference-image nosuch.png --reference mask.png"), &["nosuch.png"]),
        ],
    );
}

#[test]
fn what_cannot_be_done_is_told() {
    const ABOVE: &[&str] = &["--duration", "above 0"];
    refused(
        1,
        &[
            ("--source test: --sink none --duration 0", ABOVE),
            ("--source test: --sink none --duration=-1", ABOVE),
            ("--source test: --sink none --duration nan", ABOVE),
            ("--source test: --sink none --duration inf", ABOVE),
            (test!("--record nosuch/case"), &["nosuch", "make the folder"]),
            (test!("--summary nosuch/summary.json"), &["nosuch", "does not exist"]),
            (test!("--web 0.0.0.0:0"), &["0.0.0.0", "give a token", "127.0.0.1"]),
            (test!("--web 0.0.0.0:0 --web-token short"), &["token", "at least 16"]),
        ],
    );
}

#[test]
fn weights_that_are_not_here_are_told_before_anything_starts() {
    let (dir, program) = (folder(), folder());
    let line = "live --source phantom: --sink none --record case --web 127.0.0.1:0 --duration 9";
    for (weights, words) in [
        ("mobile-sam", ["nowhere", "p2sam weights fetch mobile-sam"]),
        ("nosuch.pt", ["nosuch.pt", "p2sam weights list"]),
    ] {
        let arguments = line.split_whitespace().chain(["--weights", weights]);
        let mut command = installed(program.path(), arguments);
        let run = run(command.current_dir(dir.path()).env("P2SAM_WEIGHTS", "nowhere"));
        run.ends(1, &words);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(entries(dir.path()).is_empty(), "{:?}", entries(dir.path()));
    }
}
