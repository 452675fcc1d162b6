//! What the tests of the program share: running it, and inputs made on the spot.

#![allow(dead_code, reason = "no test needs all of it")]

pub mod dicom;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use p2sam::{
    Color, Frame, Interlacing, Mask, Phantom, PhantomFrame, PhantomOptions, Picture, VideoReader,
    VideoWriter, WriterOptions, Yuv420,
};
use tempfile::TempDir;

pub const WIDTH: u32 = 160;
pub const HEIGHT: u32 = 90;
/// No run of the program may take longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// The folder of fetched weights.
pub fn weights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weights")
}

/// The weights file; tests fail without it.
pub fn checkpoint() -> PathBuf {
    let file = weights().join("mobile_sam.pt");
    assert!(file.is_file(), "{} is missing: run `make test`", file.display());
    file
}

/// Waits until no other test runs the model: its memory and threads suffice for one at a time.
pub fn model() -> MutexGuard<'static, ()> {
    static MODEL: Mutex<()> = Mutex::new(());
    checkpoint();
    MODEL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a run of the program came to.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn new(output: &Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let run = Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        for word in ["panicked", "RUST_BACKTRACE"] {
            assert!(!run.stderr.contains(word), "the program panicked: {}", run.stderr);
        }
        run
    }

    /// The exit code is as expected and standard error tells all of `words`.
    #[track_caller]
    pub fn ends(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no '{word}' in: {}", self.stderr);
        }
        self
    }

    /// The run went well.
    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        self.ends(0, &[])
    }
}

/// The program in a folder of its own.
pub fn command(folder: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2sam"));
    prepare(&mut command, folder);
    command.args(arguments);
    command
}

/// The program as it is installed: in a folder of its own, away from its source tree, with an empty home.
pub fn installed(folder: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let program = folder.join(".installed/bin/p2sam");
    if !program.exists() {
        std::fs::create_dir_all(program.parent().expect("a folder")).expect("writable");
        std::fs::copy(env!("CARGO_BIN_EXE_p2sam"), &program).expect("room for the program");
    }
    let mut command = Command::new(program);
    prepare(&mut command, folder);
    command.args(arguments).env("HOME", folder.join(".installed")).env_remove("XDG_DATA_HOME");
    command.env_remove("XDG_CACHE_HOME").env_remove("P2SAM_WEIGHTS");
    command
}

fn prepare(command: &mut Command, folder: &Path) {
    command
        .current_dir(folder)
        .env("P2SAM_WEIGHTS", weights())
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// Runs a prepared command to its end.
pub fn run(command: &mut Command) -> Run {
    finish(command.spawn().expect("the program starts"))
}

/// Waits for a program that was started; one that hangs is ended.
pub fn finish(child: std::process::Child) -> Run {
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    let waiter = std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        signal(pid, "-KILL");
        panic!("the program hangs");
    };
    let _ = waiter.join();
    Run::new(&output.expect("the program can be waited for"))
}

/// Sends a signal to a program that was started here.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.expect("kill is there").success(), "kill {name} {pid}");
}

/// Runs the program with arguments as on a command line without quotes.
pub fn p2sam(folder: &Path, line: &str) -> Run {
    run(&mut command(folder, line.split_whitespace()))
}

/// Runs the program where no file may grow beyond `kilobytes`, as on a disk that is full then.
pub fn p2sam_on_full_disk(folder: &Path, kilobytes: u32, line: &str) -> Run {
    let mut command = Command::new("bash");
    prepare(&mut command, folder);
    command
        .args(["-c", r#"ulimit -f "$1"; trap "" XFSZ; shift; exec "$@""#, "bash"])
        .arg(kilobytes.to_string())
        .arg(env!("CARGO_BIN_EXE_p2sam"))
        .args(line.split_whitespace());
    run(&mut command)
}

/// Everything in a folder and below, hidden or not, in order; folders end in a slash.
pub fn entries(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let entry = entry.expect("an entry");
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                let name = format!("{name}/");
                walk(&entry.path(), &name, found);
                found.push(name);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, "", &mut found);
    found.sort();
    found
}

/// Whether the name or the contents of anything below a folder hold a text.
pub fn holds(folder: &Path, text: &str) -> bool {
    entries(folder).iter().any(|name| {
        let path = folder.join(name);
        let bytes =
            if path.is_file() { std::fs::read(path).expect("readable") } else { Vec::new() };
        name.contains(text) || bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// An empty folder for one test.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Three pictures that show the polyp, a tenth of a second apart.
pub fn scene() -> &'static [PhantomFrame] {
    static SCENE: OnceLock<Vec<PhantomFrame>> = OnceLock::new();
    SCENE.get_or_init(|| {
        let options = PhantomOptions {
            width: WIDTH,
            height: HEIGHT,
            frames: 3,
            frames_per_second: 10.0,
            ..PhantomOptions::default()
        };
        let phantom = Phantom::new(options).expect("a scene");
        (0..3).map(|i| phantom.render(i).expect("a picture")).collect()
    })
}

/// Writes the scene's first picture and its mask: `picture.png` and `mask.png`.
pub fn picture_and_mask(folder: &Path) {
    scene()[0].frame.save_png(&folder.join("picture.png")).expect("writable");
    scene()[0].mask.save_png(&folder.join("mask.png")).expect("writable");
}

/// Writes a video of the scene, over and over, with a frame at each of these milliseconds.
pub fn clip(path: &Path, times: &[u64], frame_rate: Option<(u32, u32)>) {
    let options = WriterOptions {
        width: WIDTH,
        height: HEIGHT,
        par: (1, 1),
        frame_rate,
        color: Color::usual(HEIGHT),
        interlacing: Interlacing::Progressive,
        lossless: false,
    };
    let mut writer = VideoWriter::create(path, options).expect("writable");
    for (frame, &time) in scene().iter().cycle().zip(times) {
        let yuv = Yuv420::from_frame(&frame.frame);
        writer.write(yuv, Duration::from_millis(time), None).expect("writable");
    }
    writer.finish().expect("writable");
}

/// Runs a GStreamer pipeline to its end; `OUT` stands for the sink that writes the file.
pub fn launch(path: &Path, line: &str) {
    gst::init().expect("GStreamer");
    let sink = format!("filesink location=\"{}\"", path.display());
    let pipeline = gst::parse::launch(&line.replace("OUT", &sink)).expect("a pipeline");
    let bus = pipeline.bus().expect("a bus");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let end = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    pipeline.set_state(gst::State::Null).expect("it stops");
    if let gst::MessageView::Error(error) = end.expect("it ends").view() {
        panic!("{line}: {} {:?}", error.error(), error.debug());
    }
}

/// Every frame of a video.
pub fn frames(path: &Path) -> Vec<Picture> {
    let mut reader = VideoReader::open(path).expect("a video");
    std::iter::from_fn(|| reader.next_picture().expect("a frame")).collect()
}

/// The middle of a picture, as a mask file.
pub fn middle_mask(path: &Path, width: u32, height: u32) {
    let inside = |at: u32, side: u32| at >= side / 4 && at < side - side / 4;
    rectangle_mask(path, width, height, |x, y| inside(x, width) && inside(y, height));
}

/// A mask file of the pixels that `on` names.
pub fn rectangle_mask(path: &Path, width: u32, height: u32, on: impl Fn(u32, u32) -> bool) {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let data = places.map(|(x, y)| on(x, y)).collect();
    Mask::new(width, height, data).expect("a mask").save_png(path).expect("writable");
}

/// A picture of coloured tiles.
pub fn tiles(width: u32, height: u32) -> Frame {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let rgb = places.flat_map(|(x, y)| [(x / 8 * 40) as u8, (y / 8 * 40) as u8, 90]).collect();
    Frame::new(width, height, rgb).expect("a picture")
}

/// Writes the first part of a file under another name.
pub fn cut(from: &Path, to: &Path, bytes: usize) {
    let whole = std::fs::read(from).expect("readable");
    assert!(bytes < whole.len(), "{} has only {} bytes", from.display(), whole.len());
    std::fs::write(to, &whole[..bytes]).expect("writable");
}

/// Length of a file.
pub fn length(path: &Path) -> usize {
    std::fs::metadata(path).expect("a file").len() as usize
}

/// Appends bytes to a file.
pub fn append(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("a file");
    file.write_all(bytes).expect("writable");
}

/// Reads a JSON file.
pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
}

/// Reads a JSON lines file.
pub fn json_lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).expect("readable");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
