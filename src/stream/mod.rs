//! Pictures in and videos out: video files through GStreamer (feature `gstreamer`), and series of
//! picture files without it.

mod error;
mod images;
mod worker;

#[cfg(feature = "gstreamer")]
mod container;
#[cfg(feature = "gstreamer")]
mod convert;
#[cfg(feature = "gstreamer")]
mod elements;
#[cfg(feature = "gstreamer")]
mod encoder;
#[cfg(feature = "gstreamer")]
mod feed;
#[cfg(feature = "gstreamer")]
mod hdr;
#[cfg(feature = "gstreamer")]
pub mod live;
#[cfg(feature = "gstreamer")]
pub mod overlay;
#[cfg(feature = "gstreamer")]
mod pipeline;
#[cfg(feature = "gstreamer")]
mod reader;
#[cfg(feature = "gstreamer")]
mod samples;
#[cfg(feature = "gstreamer")]
mod tracks;
#[cfg(feature = "gstreamer")]
mod writer;

#[cfg(all(test, feature = "gstreamer"))]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::image::{Color, Frame, Yuv420};

pub use error::StreamError;
pub(crate) use images::Frames;
pub use images::ImageSeries;
#[cfg(feature = "gstreamer")]
pub use overlay::P2samOverlay;
#[cfg(feature = "gstreamer")]
pub use reader::VideoReader;
pub use worker::Worker;
#[cfg(feature = "gstreamer")]
pub use writer::{VideoWriter, WriteReport};

/// One picture of a video or of a series.
#[derive(Debug)]
pub struct Picture {
    /// Place in the source, from 0, without gaps.
    pub index: u64,
    /// When it is shown, counted from the start of the source.
    pub pts: Duration,
    /// For how long it is shown, if known.
    pub duration: Option<Duration>,
    /// The pixels as RGB, upright.
    pub frame: Frame,
    /// The picture file, in a series of images.
    pub path: Option<PathBuf>,
    /// The pixels as they were decoded.
    #[cfg(feature = "gstreamer")]
    decoded: Option<convert::Decoded>,
}

impl Picture {
    /// A picture that was no frame of a video.
    pub(crate) fn of_image(
        index: u64,
        pts: Duration,
        duration: Duration,
        frame: Frame,
        path: Option<PathBuf>,
    ) -> Self {
        Self {
            index,
            pts,
            duration: Some(duration),
            frame,
            path,
            #[cfg(feature = "gstreamer")]
            decoded: None,
        }
    }

    /// The same pixels in YUV 4:2:0. Of most videos these are the decoder's own bytes, without a
    /// way through RGB.
    ///
    /// # Errors
    /// [`StreamError::Convert`] if GStreamer cannot map or convert the decoded buffer.
    pub fn yuv420(&self) -> Result<Yuv420, StreamError> {
        #[cfg(feature = "gstreamer")]
        if let Some(decoded) = &self.decoded
            && let Some(yuv) = decoded.yuv420(self.index)?
        {
            return Ok(yuv);
        }
        Ok(Yuv420::from_frame(&self.frame))
    }
}

/// What is known of a source once its first picture is decoded.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SourceInfo {
    /// Width of the first picture in pixels, upright.
    pub width: u32,
    /// Height of the first picture in pixels, upright.
    pub height: u32,
    /// Pictures a second as a fraction; `None` for a variable rate.
    pub frame_rate: Option<(u32, u32)>,
    /// Pixel aspect ratio, width to height; (1, 1) for square pixels.
    pub par: (u32, u32),
    /// Length as the container tells it, `None` if it does not.
    pub duration: Option<Duration>,
    /// Codec in words.
    pub codec: String,
    /// Container in words.
    pub container: String,
    /// Colours of [`Picture::yuv420`].
    pub color: Color,
    /// Whether a frame is two fields, and which is shown first.
    pub interlacing: Interlacing,
}

/// Whether the lines of a frame are of one moment, or of two in turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interlacing {
    /// All lines are of one moment.
    #[default]
    Progressive,
    /// Two fields; the lines 0, 2, 4 and so on are shown first.
    TopFieldFirst,
    /// Two fields; the lines 1, 3, 5 and so on are shown first.
    BottomFieldFirst,
}

/// How much of a source was read, compared with what it should hold.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct EndReport {
    /// Pictures delivered.
    pub decoded: u64,
    /// Pictures that there should be: as many as the container counts, or fill its duration from the
    /// first one on at its frame rate, or the number of images. `None` if the source does not say or
    /// its length is an estimate, its times are uneven, or its sound is longer than its video.
    pub expected: Option<u64>,
    /// Where the last picture delivered ends, counted from the start of the source.
    pub end: Duration,
    /// Length as the container tells it.
    pub container_duration: Option<Duration>,
    /// Coded pictures that entered the decoder and never came out.
    pub undecoded: u64,
    /// Pictures delivered that the decoder marked as damaged.
    pub corrupted: u64,
    /// Presentation times that were missing and were filled in from the frame rate.
    pub guessed_times: u64,
    /// What was done to the frames that their user should know, what GStreamer warned of, the first
    /// few, and whether the container was never closed.
    pub warnings: Vec<String>,
    /// Every sign that pictures are missing or damaged, in words. Empty for a whole source.
    pub problems: Vec<String>,
}

impl EndReport {
    /// Whether nothing hints at missing or damaged pictures.
    pub fn is_complete(&self) -> bool {
        self.problems.is_empty()
    }
}

/// How to open a source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceOptions {
    /// Which of several video tracks, from 0 in the file's order; `None` for the default one.
    pub track: Option<usize>,
    /// Pictures a second of a series of images, as a fraction.
    pub image_rate: (u32, u32),
    /// How long a video may deliver nothing before that is an error.
    pub stall_limit: Duration,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self { track: None, image_rate: (25, 1), stall_limit: Duration::from_secs(30) }
    }
}

/// What a video is written like.
#[derive(Clone, Debug, PartialEq)]
pub struct WriterOptions {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pixel aspect ratio, width to height.
    pub par: (u32, u32),
    /// Frames a second as a fraction; `None` for a variable rate. The times given to
    /// `VideoWriter::write` count, this only tells players what to expect.
    pub frame_rate: Option<(u32, u32)>,
    /// What the bytes of the frames mean.
    pub color: Color,
    /// Whether the frames are two fields each, and which is shown first.
    pub interlacing: Interlacing,
    /// Keep every byte (FFV1 in Matroska) in place of small files (H.264).
    pub lossless: bool,
}

impl WriterOptions {
    /// The size, shape, rate and colours of a source.
    pub fn like(source: &SourceInfo) -> Self {
        Self {
            width: source.width,
            height: source.height,
            par: source.par,
            frame_rate: source.frame_rate,
            color: source.color,
            interlacing: source.interlacing,
            lossless: false,
        }
    }
}

/// A video stream that lies in another file, such as a DICOM video.
#[cfg(feature = "gstreamer")]
pub(crate) struct Enclosed {
    /// Its bytes.
    pub(crate) file: std::fs::File,
    /// Pictures a second as the outer file tells, for a stream without times of its own.
    pub(crate) rate: Option<(u32, u32)>,
    /// Pictures that the outer file tells.
    pub(crate) frames: Option<u64>,
    /// Whether the outer file ends within it.
    pub(crate) cut: bool,
}

/// A video or a series of images.
#[derive(Debug)]
pub enum Source {
    /// A video file.
    #[cfg(feature = "gstreamer")]
    Video(Box<VideoReader>),
    /// Pictures in order, each of which can be read by itself.
    Images(Box<ImageSeries>),
}

/// Opens what `path` names: a folder of pictures, a pattern with `*` or `?` in its last part, a
/// `.txt` or `.lst` list of pictures, a single picture, or else a video.
///
/// # Errors
/// See [`ImageSeries::open`] and [`VideoReader::open`]; [`StreamError::WithoutGStreamer`] for a
/// video in a build without it.
pub fn open_source(path: &Path, options: &SourceOptions) -> Result<Source, StreamError> {
    if ImageSeries::is_series(path) {
        return Ok(Source::Images(Box::new(ImageSeries::open(path, options)?)));
    }
    #[cfg(feature = "gstreamer")]
    return Ok(Source::Video(Box::new(VideoReader::open_with(path, options)?)));
    #[cfg(not(feature = "gstreamer"))]
    Err(StreamError::WithoutGStreamer { path: path.to_path_buf() })
}

impl Source {
    /// The series, if it is one.
    pub fn images(&self) -> Option<&ImageSeries> {
        match self {
            #[cfg(feature = "gstreamer")]
            Self::Video(_) => None,
            Self::Images(images) => Some(images),
        }
    }

    /// What is known of the source.
    pub fn info(&self) -> &SourceInfo {
        match self {
            #[cfg(feature = "gstreamer")]
            Self::Video(video) => video.info(),
            Self::Images(images) => images.info(),
        }
    }

    /// The next picture, `None` after the last.
    ///
    /// # Errors
    /// As [`VideoReader::next_picture`] and [`ImageSeries::next_picture`].
    pub fn next_picture(&mut self) -> Result<Option<Picture>, StreamError> {
        match self {
            #[cfg(feature = "gstreamer")]
            Self::Video(video) => video.next_picture(),
            Self::Images(images) => images.next_picture(),
        }
    }

    /// How much was read so far. Compares with what there should be only once
    /// [`Source::next_picture`] has returned `None`.
    pub fn end_report(&self) -> EndReport {
        match self {
            #[cfg(feature = "gstreamer")]
            Self::Video(video) => video.end_report(),
            Self::Images(images) => images.end_report(),
        }
    }
}

/// `frames` periods of a rate in frames a second.
fn periods(frames: u64, (num, den): (u32, u32)) -> Duration {
    let nanos = u128::from(frames) * u128::from(den) * 1_000_000_000;
    let nanos = (nanos + u128::from(num) / 2) / u128::from(num.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
