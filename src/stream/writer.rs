//! Writes a video file that appears whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use tempfile::NamedTempFile;

use super::elements::{clock_time, in_words, init, internal};
use super::encoder::Encoding;
use super::images::extension;
use super::{StreamError, WriterOptions, periods};
use crate::atomic;
use crate::image::Yuv420;

/// Frames that may wait for the encoder.
const QUEUED_FRAMES: u64 = 4;
/// How long one look for an error or for room in the queue lasts.
const LOOK: Duration = Duration::from_millis(2);
/// How long the encoder or the disk may make no progress.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// The smallest step between two presentation times: one tick of a Matroska file.
const TICK: Duration = Duration::from_millis(1);
/// The extensions that can be written.
const KNOWN: &str = ".mkv or .mp4";
/// mp4mux takes nothing smaller.
const MP4_SMALLEST: u32 = 16;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct WriteReport {
    /// Frames in the file.
    pub frames: u64,
    /// Frames whose time was not after the one before and was moved behind it.
    pub moved_times: u64,
}

/// A video file that is being encoded under a temporary name in its own folder. Only
/// [`VideoWriter::finish`] gives it its name; dropping it removes it.
#[derive(Debug)]
pub struct VideoWriter {
    path: PathBuf,
    options: WriterOptions,
    /// Declared before the files it writes, so that it stops before they go.
    encoding: Encoding,
    temporary: NamedTempFile,
    /// Where the MP4 muxer gathers the pictures before it writes the index in front of them.
    scratch: Option<NamedTempFile>,
    last: Option<Duration>,
    report: WriteReport,
}

impl VideoWriter {
    /// Starts a file; its extension, `.mkv` or `.mp4`, says the container.
    ///
    /// H.264 is written in 4:2:0 at constant quality. Its 4:2:0 has only even sides, so a picture
    /// with an odd side is written in 4:4:4, in the same size: players built on FFmpeg or VLC show
    /// it, browsers may not. MP4 is written in limited range, and its first frame is at 0 whatever
    /// time it was given; the times between frames are kept. Matroska keeps all times to the
    /// millisecond.
    ///
    /// # Errors
    /// [`StreamError::UnknownExtension`]; [`StreamError::Unwritable`] for a size or a codec that
    /// the container cannot hold; [`StreamError::Write`] if the folder cannot be written to;
    /// [`StreamError::MissingElement`] with the package to install.
    pub fn create(path: &Path, options: WriterOptions) -> Result<Self, StreamError> {
        let unwritable =
            |reason: String| StreamError::Unwritable { path: path.to_path_buf(), reason };
        let (width, height) = (options.width, options.height);
        let mp4 = match extension(path).as_str() {
            "mkv" => false,
            "mp4" => true,
            _ => {
                return Err(StreamError::UnknownExtension {
                    path: path.to_path_buf(),
                    known: KNOWN,
                });
            }
        };
        if mp4 && options.lossless {
            return Err(unwritable("MP4 holds no lossless FFV1; name the file .mkv".into()));
        }
        if width == 0 || height == 0 || width > i32::MAX as u32 || height > i32::MAX as u32 {
            return Err(unwritable(format!("no video has {width}x{height} pixels")));
        }
        if mp4 && (width < MP4_SMALLEST || height < MP4_SMALLEST) {
            return Err(unwritable(format!(
                "MP4 takes no pictures under {MP4_SMALLEST}x{MP4_SMALLEST} pixels, these are \
                 {width}x{height}; name the file .mkv"
            )));
        }
        init()?;
        let temporary = || {
            atomic::temporary_beside(path).map_err(|e| StreamError::Write {
                path: path.to_path_buf(),
                reason: format!("{e}; choose a folder that exists and can be written to"),
            })
        };
        let file = temporary()?;
        let scratch = if mp4 { Some(temporary()?) } else { None };
        let encoding = Encoding::start(&options, file.path(), scratch.as_ref().map(|s| s.path()))?;
        Ok(Self {
            path: path.to_path_buf(),
            options,
            encoding,
            temporary: file,
            scratch,
            last: None,
            report: WriteReport { frames: 0, moved_times: 0 },
        })
    }

    /// Encodes one frame, shown from `pts` (counted from the start of the video) for `duration`.
    /// Waits while the encoder is behind.
    ///
    /// # Errors
    /// [`StreamError::FrameSize`] for a frame of another size; [`StreamError::DiskFull`];
    /// [`StreamError::Write`] for any other failure of the encoder or the disk.
    pub fn write(
        &mut self,
        mut frame: Yuv420,
        pts: Duration,
        duration: Option<Duration>,
    ) -> Result<(), StreamError> {
        let (width, height) = (self.options.width, self.options.height);
        if (frame.width(), frame.height()) != (width, height) {
            return Err(StreamError::FrameSize {
                path: self.path.clone(),
                frame: self.report.frames,
                width: frame.width(),
                height: frame.height(),
                expected_width: width,
                expected_height: height,
            });
        }
        // mp4mux declares every range limited. GStreamer's converter leaves I420's range as it is.
        if self.scratch.is_some() {
            frame.limit();
        }
        // Encoders reject, and players skip, a frame that is not later than the one before.
        let pts = match self.last {
            Some(last) if pts <= last => {
                self.report.moved_times += 1;
                last + TICK
            }
            _ => pts,
        };
        let shown_for = duration
            .or_else(|| self.options.frame_rate.map(|rate| periods(1, rate)))
            // The best guess at a variable rate, and it counts only for the last frame.
            .or_else(|| self.last.map(|last| pts.saturating_sub(last)));
        self.wait(|encoding| encoding.source.current_level_buffers() < QUEUED_FRAMES)?;
        let buffer = self.buffer(frame, pts, shown_for)?;
        if let Err(e) = self.encoding.source.push_buffer(buffer) {
            return Err(self.failed(&e.to_string()));
        }
        self.last = Some(pts);
        self.report.frames += 1;
        Ok(())
    }

    /// Closes the file, checks that every frame is in it and gives it its name.
    ///
    /// # Errors
    /// [`StreamError::NoFrames`] if none was written; [`StreamError::FrameCount`] if the encoder
    /// lost one; [`StreamError::DiskFull`] and [`StreamError::Write`]. Nothing is left then, and an
    /// older file of that name stays.
    pub fn finish(self) -> Result<WriteReport, StreamError> {
        if self.report.frames == 0 {
            let reason = "no frame was given to the encoder".into();
            return Err(StreamError::NoFrames { path: self.path, reason });
        }
        if let Err(e) = self.encoding.source.end_of_stream() {
            return Err(self.failed(&e.to_string()));
        }
        self.wait(|_| false)?;
        let written = self.encoding.encoded.load(Ordering::Relaxed);
        let Self { path, encoding, temporary, report, .. } = self;
        // Closes the file.
        drop(encoding);
        if written != report.frames {
            return Err(StreamError::FrameCount { path, given: report.frames, written });
        }
        atomic::publish(temporary, &path).map_err(|e| match e.kind() {
            std::io::ErrorKind::StorageFull => StreamError::DiskFull { path: path.clone() },
            _ => StreamError::Write { path: path.clone(), reason: e.to_string() },
        })?;
        Ok(report)
    }

    /// Waits until `ready` or until the end of the stream has reached the file.
    fn wait(&self, ready: impl Fn(&Encoding) -> bool) -> Result<(), StreamError> {
        let Some(bus) = self.encoding.pipeline.bus() else { return Ok(()) };
        let (mut since, mut seen) = (Instant::now(), self.encoding.progress());
        loop {
            // Without a pause first: messages must not pile up while there is room.
            while let Some(message) = bus.pop() {
                match message.view() {
                    gst::MessageView::Eos(_) => return Ok(()),
                    gst::MessageView::Error(e) => {
                        return Err(self.explain(&e.error(), e.debug().as_deref()));
                    }
                    _ => {}
                }
            }
            if ready(&self.encoding) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
            let progress = self.encoding.progress();
            if progress != seen {
                (since, seen) = (Instant::now(), progress);
            } else if since.elapsed() > STALL_LIMIT {
                let reason = format!("the encoder made no progress for {STALL_LIMIT:?}");
                return Err(StreamError::Write { path: self.path.clone(), reason });
            }
        }
    }

    /// The error behind a refused buffer.
    fn failed(&self, reason: &str) -> StreamError {
        let message = self
            .encoding
            .pipeline
            .bus()
            .and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => self.explain(&e.error(), e.debug().as_deref()),
            _ => StreamError::Write { path: self.path.clone(), reason: reason.to_owned() },
        }
    }

    fn explain(&self, error: &gst::glib::Error, details: Option<&str>) -> StreamError {
        let path = self.path.clone();
        // mp4mux tells it only in words.
        let full = details.is_some_and(|d| d.contains("No space left on device"));
        if full || error.matches(gst::ResourceError::NoSpaceLeft) {
            return StreamError::DiskFull { path };
        }
        StreamError::Write { path, reason: in_words(error, details) }
    }

    /// The frame as a buffer of GStreamer, without a copy of its pixels.
    fn buffer(
        &self,
        frame: Yuv420,
        pts: Duration,
        shown_for: Option<Duration>,
    ) -> Result<gst::Buffer, StreamError> {
        let (width, height) = (frame.width(), frame.height());
        let (w, cw) = (width as usize, frame.chroma_width() as usize);
        let [luma, chroma] = [w * height as usize, cw * frame.chroma_height() as usize];
        let mut buffer = gst::Buffer::from_mut_slice(frame.into_data());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(clock_time(pts));
            buffer.set_duration(shown_for.map(clock_time));
            // GStreamer's own rows are padded to four bytes; these are not.
            gst_video::VideoMeta::add_full(
                buffer,
                gst_video::VideoFrameFlags::empty(),
                gst_video::VideoFormat::I420,
                width,
                height,
                &[0, luma, luma + chroma],
                &[w as i32, cw as i32, cw as i32],
            )
            .map_err(internal)?;
        }
        Ok(buffer)
    }
}
