use std::path::PathBuf;
use std::time::Duration;

use crate::ImageError;

/// What can go wrong while pictures are read from, or written to, a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Nothing of that name can be opened.
    #[error("cannot open {}: {reason}; check the name and the permissions", path.display())]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file has no bytes.
    #[error("{} is empty (0 bytes); was its copy or its recording interrupted?", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is no video that can be taken apart, or its head is damaged.
    #[error(
        "{} cannot be read as a video: {reason}; if it should be one, it is damaged or was cut \
         short: copy or record it again, or repair it, for instance with `ffmpeg -i IN -c copy OUT`",
        path.display()
    )]
    NotVideo {
        /// The file.
        path: PathBuf,
        /// What GStreamer said.
        reason: String,
    },
    /// The file can be taken apart but has no pictures in it.
    #[error("{} has no video stream{}; choose a file with pictures", path.display(), in_brackets(found))]
    NoVideoStream {
        /// The file.
        path: PathBuf,
        /// The streams it has, in words; empty if unknown.
        found: String,
    },
    /// No installed GStreamer plugin decodes the video stream.
    #[error(
        "no installed GStreamer plugin decodes {}: missing {missing}; {}",
        path.display(), way_out(missing)
    )]
    UnsupportedCodec {
        /// The file.
        path: PathBuf,
        /// The missing parts as GStreamer names them.
        missing: String,
    },
    /// The decoder has no raw format for the pixels, such as grey of 10 bits.
    #[error(
        "the pixels of {} are in a format that GStreamer has no name for: convert the file, for instance \
         with `ffmpeg -i IN -pix_fmt yuv420p -c:v ffv1 OUT.mkv`",
        path.display()
    )]
    PixelFormat {
        /// The file.
        path: PathBuf,
    },
    /// A video stream without a single picture that can be decoded.
    #[error("not one frame of {} can be decoded{}; the file is damaged or cut short", path.display(), in_brackets(reason))]
    NoFrames {
        /// The file.
        path: PathBuf,
        /// What GStreamer said; empty if it said nothing.
        reason: String,
    },
    /// Neither a frame nor an end came for too long.
    #[error(
        "{}: nothing came for {:.0} s, not even a first frame; is the disk or the network drive \
         answering?",
        path.display(), waited.as_secs_f64()
    )]
    Stalled {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The file has no video track of that number.
    #[error(
        "{} has no video track {number}: {}; give one of these numbers",
        path.display(), numbered(found)
    )]
    NoTrack {
        /// The file.
        path: PathBuf,
        /// The number asked for, from 0.
        number: usize,
        /// The tracks there are, in words.
        found: Vec<String>,
    },
    /// A decoded picture could not be turned into RGB or YUV 4:2:0.
    #[error("frame {frame} of {} cannot be converted: {reason}", path.display())]
    Convert {
        /// The file.
        path: PathBuf,
        /// Frame index, from 0.
        frame: u64,
        /// What failed.
        reason: String,
    },
    /// A part of GStreamer is not installed.
    #[error(
        "GStreamer has no element `{element}`; on Debian and Ubuntu install {package} \
         (`gst-inspect-1.0 {element}` shows whether it is there)"
    )]
    MissingElement {
        /// Element name.
        element: String,
        /// Debian package that holds it.
        package: &'static str,
    },
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {reason}; check its installation with `gst-inspect-1.0`")]
    GStreamer {
        /// What it said.
        reason: String,
    },
    /// A video was asked for, but this build has no GStreamer.
    #[error(
        "{} is no picture, folder, pattern or list of pictures, and this program was built without \
         GStreamer, which videos need; build it with `--features gstreamer`",
        path.display()
    )]
    WithoutGStreamer {
        /// The file.
        path: PathBuf,
    },
    /// The name of the file to write says no known format.
    #[error("{}: unknown video format; name the file with one of {known}", path.display())]
    UnknownExtension {
        /// The file.
        path: PathBuf,
        /// The known extensions.
        known: &'static str,
    },
    /// The format cannot hold what is asked of it.
    #[error("{} cannot be written: {reason}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why, and what to do instead.
        reason: String,
    },
    /// A picture of another size than the video that is being written.
    #[error(
        "frame {frame} is {width}x{height}, but {} is {expected_width}x{expected_height}: the size \
         changes within the input; split it there or scale it to one size",
        path.display()
    )]
    FrameSize {
        /// The file being written.
        path: PathBuf,
        /// Frame index, from 0.
        frame: u64,
        /// Width of this frame in pixels.
        width: u32,
        /// Height of this frame in pixels.
        height: u32,
        /// Width of the video in pixels.
        expected_width: u32,
        /// Height of the video in pixels.
        expected_height: u32,
    },
    /// The file could not be written; nothing was left under its name.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What GStreamer or the system said.
        reason: String,
    },
    /// The disk is full; the unfinished file was removed.
    #[error("cannot write {}: the disk is full; free some space or write elsewhere", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The encoder lost or added frames; the file was removed.
    #[error("{}: {given} frames were given to the encoder, {written} came out", path.display())]
    FrameCount {
        /// The file.
        path: PathBuf,
        /// Frames given.
        given: u64,
        /// Frames that reached the file.
        written: u64,
    },
    /// A folder, pattern or list without a picture.
    #[error("{}: {reason}", path.display())]
    NoImages {
        /// The folder, pattern or list.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// A list names files that are not there.
    #[error("{} of the pictures listed in {} are missing: {}", missing.len(), list.display(), some_of(missing))]
    MissingImages {
        /// The list.
        list: PathBuf,
        /// All missing files.
        missing: Vec<PathBuf>,
    },
    /// A live source that cannot be understood or opened.
    #[error("source `{kind}`: {reason}")]
    Source {
        /// Its kind, such as `v4l2`.
        kind: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A live sink that cannot be understood or opened.
    #[error("sink `{kind}`: {reason}")]
    Sink {
        /// Its kind, such as `tcp`.
        kind: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A launch file with a mistake.
    #[error("{}, line {line}: {reason}", path.display())]
    Launch {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A recording that cannot be started.
    #[error("cannot record: {reason}")]
    Record {
        /// Why, and what to do.
        reason: String,
    },
    /// A live stream that cannot go on.
    #[error("the live stream stopped: {reason}")]
    Live {
        /// Why.
        reason: String,
    },
    /// A picture of a series could not be read.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// `text` as an addition to a sentence, or nothing.
fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

/// What to do without a decoder. For what GStreamer has no name of its own it has no plugin either.
fn way_out(missing: &str) -> String {
    let convert = "convert the file, for instance with `ffmpeg -i IN -c:v ffv1 OUT.mkv`";
    if missing.contains("x-gst-fourcc") {
        return format!("GStreamer has none for this format: {convert}");
    }
    format!(
        "on Debian and Ubuntu install gstreamer1.0-libav and gstreamer1.0-plugins-bad, or {convert}"
    )
}

/// The words with their numbers.
fn numbered(words: &[String]) -> String {
    let numbered = words.iter().enumerate().map(|(number, words)| format!("{number} is {words}"));
    numbered.collect::<Vec<_>>().join(", ")
}

/// The first twenty paths, and how many more there are.
fn some_of(paths: &[PathBuf]) -> String {
    const SHOWN: usize = 20;
    let names: Vec<String> = paths.iter().take(SHOWN).map(|p| p.display().to_string()).collect();
    match paths.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", names.join(", ")),
        _ => names.join(", "),
    }
}
