//! Reads every frame of a video file in order.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;

use super::container::{cut_short, open_ended};
use super::convert::{
    Converter, Decoded, Plan, described, is_quarter, own_color, settled, turned_size,
};
use super::elements::{duration, init};
use super::feed::Feed;
use super::hdr::Transfer;
use super::images::extension;
use super::pipeline::{Tally, build};
use super::tracks::Choice;
use super::{
    Enclosed, EndReport, Interlacing, Picture, SourceInfo, SourceOptions, StreamError, periods,
};

/// Above this many frames a second a rate is GStreamer's stand-in for a variable one, and below its
/// inverse a frame's duration is.
const HIGHEST_RATE: u32 = 10_000;
/// Demuxers whose duration is written in the file to the frame; others estimate it.
pub(super) const EXACT_DEMUXERS: [&str; 4] = ["qtdemux", "matroskademux", "avidemux", "flvdemux"];

/// A video file that is decoded frame by frame. No frame is dropped; memory use does not grow with
/// the length of the file.
#[derive(Debug)]
pub struct VideoReader {
    feed: Feed,
    info: SourceInfo,
    /// Fields and orientation as they are decoded.
    plan: Plan,
    /// Whether some frames may be two fields.
    interlaced: bool,
    /// The first frame, which opening has already decoded.
    first: Option<gst::Sample>,
    converter: Option<Arc<Converter>>,
    report: EndReport,
    /// Start of the first and of the latest frame.
    first_start: Option<Duration>,
    last: Option<Duration>,
    /// What the file calls the start.
    origin: Duration,
    /// What was done to the frames that their user should know.
    notes: Vec<String>,
    /// Frames that do not come one period after the one before.
    uneven: u64,
    /// Frames a second of a stream without times of its own.
    paced: Option<(u32, u32)>,
    /// Frames that the file around the video tells.
    told: Option<u64>,
    /// Whether the file around the video ends within it.
    cut: bool,
    ended: bool,
}

impl VideoReader {
    /// Opens a video file and decodes its first frame, with the default [`SourceOptions`].
    ///
    /// Of several video tracks the one that [`SourceOptions::track`] names is taken, or else the one
    /// that the file shows by default; sound and subtitles are ignored. A rotation or mirroring stored
    /// in the file is applied, the pixel aspect ratio is not. Video in HDR or in the colours of BT.2020
    /// is converted to BT.709.
    ///
    /// # Errors
    /// [`StreamError::Open`] for a missing file, [`StreamError::Empty`], [`StreamError::NotVideo`]
    /// for another kind of file or a damaged one, [`StreamError::NoVideoStream`] for sound alone,
    /// [`StreamError::NoTrack`], [`StreamError::UnsupportedCodec`], [`StreamError::NoFrames`],
    /// [`StreamError::Stalled`], and [`StreamError::MissingElement`] or [`StreamError::GStreamer`] for an incomplete GStreamer.
    pub fn open(path: &Path) -> Result<Self, StreamError> {
        Self::open_with(path, &SourceOptions::default())
    }

    /// As [`VideoReader::open`], with options.
    ///
    /// # Errors
    /// As [`VideoReader::open`].
    pub fn open_with(path: &Path, options: &SourceOptions) -> Result<Self, StreamError> {
        let fail = |reason: String| StreamError::Open { path: path.to_path_buf(), reason };
        let metadata = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?;
        // A pipe or a device could block for ever.
        if !metadata.is_file() {
            return Err(fail("this is no ordinary file".into()));
        }
        if metadata.len() == 0 {
            return Err(StreamError::Empty { path: path.to_path_buf() });
        }
        std::fs::File::open(path).map_err(|e| fail(e.to_string()))?;

        init()?;
        let tally = Arc::new(Tally::new(Choice::new(path, options.track)?));
        // A wrong index is done without.
        let in_sequence = tally.choice.track().is_some_and(|track| track.index.is_some());
        let (pipeline, sink) = build(path, &tally, in_sequence)?;
        Self::start(Feed::new(path, pipeline, sink, tally, options.stall_limit))
    }

    /// As [`VideoReader::open_with`], for a stream that the file `path` holds. Without a container the
    /// stream's frames come evenly, at its own rate or else at the one that the file tells.
    pub(crate) fn open_enclosed(
        path: &Path,
        enclosed: &Enclosed,
        options: &SourceOptions,
    ) -> Result<Self, StreamError> {
        init()?;
        // The file needs no name; once the first frame is there, the pipeline has opened it.
        let opened = format!("/proc/self/fd/{}", enclosed.file.as_raw_fd());
        let tally = Arc::new(Tally::new(Choice::new(Path::new(&opened), options.track)?));
        let (pipeline, sink) = build(Path::new(&opened), &tally, false)?;
        let mut reader = Self::start(Feed::new(path, pipeline, sink, tally, options.stall_limit))?;
        (reader.told, reader.cut) = (enclosed.frames, enclosed.cut);
        if reader.feed.tally.demuxer().is_none() {
            reader.info.frame_rate = reader.info.frame_rate.or(enclosed.rate);
            reader.paced = reader.info.frame_rate;
        }
        Ok(reader)
    }

    /// Starts the pipeline and waits for the first frame.
    fn start(mut feed: Feed) -> Result<Self, StreamError> {
        // A failure here is explained by a message on the bus, which `pull` reads.
        let _ = feed.pipeline.set_state(gst::State::Playing);
        let Some(sample) = feed.pull(0)? else { return Err(feed.nothing()) };
        let convert = |path: &Path, reason: String| StreamError::Convert {
            path: path.to_path_buf(),
            frame: 0,
            reason,
        };
        let video = sample_info(&sample, &feed.tally).map_err(|e| convert(&feed.path, e))?;
        let fraction = |f: gst::Fraction| (f.numer().max(0) as u32, f.denom().max(1) as u32);
        let (rate, par) = (fraction(video.fps()), fraction(video.par()));
        // Without a demuxer a duration is a guess from the bit rate.
        let length = feed.tally.demuxer().and_then(|_| {
            feed.pipeline.query_duration::<gst::ClockTime>().filter(|d| !d.is_zero())
        });
        let track = feed.tally.choice.track();
        let stored = track.and_then(|track| track.orientation);
        let orientation = stored.unwrap_or_else(|| feed.orientation());
        let interlacing = sample.buffer().map_or(Interlacing::Progressive, |buffer| {
            Interlacing::of(&video, buffer, track.and_then(|track| track.fields))
        });
        let plan = Plan {
            color: own_color(&video),
            orientation,
            has_fields: interlacing != Interlacing::Progressive,
        };
        let hdr = Transfer::of(&video.colorimetry()).filter(|_| !video.is_gray());
        let mut notes: Vec<String> = hdr.map(Transfer::words).into_iter().collect();
        notes.extend(feed.tally.choice.others());
        notes.extend(track.and_then(|track| track.ignored.clone()));
        if let Some(index) = track.and_then(|track| track.index.as_ref()) {
            notes.push(format!(
                "{index}: the file was read without it; `ffmpeg -i IN -c copy OUT` writes a whole one"
            ));
        }
        if let Some(empty) = track.map(|track| track.empty).filter(|empty| *empty > 0) {
            notes.push(format!(
                "{empty} frames hold nothing, because nothing new was recorded: they are left out"
            ));
        }
        if is_quarter(orientation) && plan.has_fields {
            notes.push("the video is interlaced and turned: its rows became columns".into());
        }
        let (width, height) = turned_size(orientation, (video.width(), video.height()));
        let par = match par {
            (0, _) => (1, 1),
            (num, den) if is_quarter(orientation) => (den, num),
            par => par,
        };
        let info = SourceInfo {
            width,
            height,
            frame_rate: (rate.0 > 0 && rate.0 / rate.1 < HIGHEST_RATE).then_some(rate),
            par,
            duration: length.map(duration),
            codec: feed.codec.take().unwrap_or_else(|| "unknown".into()),
            container: feed.container.take().unwrap_or_else(|| extension(&feed.path)),
            color: plan.color,
            interlacing: interlacing.turned(orientation, video.height()),
        };
        Ok(Self {
            feed,
            info,
            plan,
            interlaced: video.is_interlaced(),
            first: Some(sample),
            converter: None,
            report: EndReport::default(),
            first_start: None,
            last: None,
            origin: Duration::ZERO,
            notes,
            uneven: 0,
            paced: None,
            told: None,
            cut: false,
            ended: false,
        })
    }

    /// What is known of the video.
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// The next frame, `None` after the last. Frames come in the order in which they are shown,
    /// each in its own size should that change.
    ///
    /// A file that breaks off after some frames ends with `None`, in whatever way its container
    /// shows the damage, and also if nothing came for [`SourceOptions::stall_limit`];
    /// [`VideoReader::end_report`] then says what is missing.
    ///
    /// # Errors
    /// [`StreamError::Convert`] for a frame that cannot be converted.
    pub fn next_picture(&mut self) -> Result<Option<Picture>, StreamError> {
        if self.ended {
            return Ok(None);
        }
        let sample = match self.first.take() {
            Some(sample) => Some(sample),
            None => self.feed.pull(self.report.decoded)?,
        };
        let Some(sample) = sample else {
            self.ended = true;
            return Ok(None);
        };
        self.picture(&sample).map(Some)
    }

    fn picture(&mut self, sample: &gst::Sample) -> Result<Picture, StreamError> {
        let index = self.report.decoded;
        let fail = |path: &Path, reason: String| StreamError::Convert {
            path: path.to_path_buf(),
            frame: index,
            reason,
        };
        let path = &self.feed.path;
        let buffer = sample.buffer_owned().ok_or_else(|| fail(path, "no pixels".into()))?;
        let video = sample_info(sample, &self.feed.tally).map_err(|reason| fail(path, reason))?;
        let converter = match &self.converter {
            Some(converter) if *converter.input() == video => Arc::clone(converter),
            _ => Arc::new(
                Converter::new(path, video, self.plan).map_err(|e| fail(path, e.to_string()))?,
            ),
        };
        self.converter = Some(Arc::clone(&converter));

        let own = buffer.duration().filter(|_| self.paced.is_none());
        let shown_for = own
            .map(duration)
            .filter(|&d| d > Duration::from_secs(1) / HIGHEST_RATE)
            .or_else(|| self.info.frame_rate.map(|rate| periods(1, rate)));
        let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
        let written = segment.and_then(|s| s.to_stream_time(buffer.pts()?)).map(duration);
        let pts = match (self.paced, written) {
            (Some(rate), _) => periods(index, rate),
            (None, Some(pts)) => {
                if index == 0 && self.feed.tally.counts_from_elsewhere() {
                    self.origin = pts;
                }
                pts.saturating_sub(self.origin)
            }
            (None, None) => {
                self.report.guessed_times += 1;
                self.last.map_or(Duration::ZERO, |last| {
                    last + shown_for.unwrap_or(Duration::from_millis(40))
                })
            }
        };
        if let (Some(last), Some(rate)) = (self.last, self.info.frame_rate)
            && pts.saturating_sub(last).abs_diff(periods(1, rate)) > periods(1, rate) / 2
        {
            self.uneven += 1;
        }
        if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            self.report.corrupted += 1;
        }
        self.first_start.get_or_insert(pts);
        self.last = Some(pts);
        self.report.end = self.report.end.max(pts + shown_for.unwrap_or_default());
        self.report.decoded += 1;

        let decoded = Decoded::new(buffer, converter);
        Ok(Picture {
            index,
            pts,
            duration: shown_for,
            frame: decoded.frame(index)?,
            path: None,
            decoded: Some(decoded),
        })
    }

    /// How much was decoded, and once [`VideoReader::next_picture`] has returned `None`, what of
    /// the file is missing or damaged.
    pub fn end_report(&self) -> EndReport {
        let mut report = self.report.clone();
        report.warnings = [self.notes.clone(), self.feed.warnings.clone()].concat();
        report.container_duration = self.info.duration;
        // The furthest end of all streams: sound may last longer than the video.
        let demuxed = Duration::from_nanos(self.feed.tally.end.load(Ordering::Relaxed));
        let reached = report.end.max(demuxed.saturating_sub(self.origin));
        report.expected = self.told.or_else(|| self.promised()).or_else(|| self.filled(reached));
        if !self.ended {
            return report;
        }
        let problems = &mut report.problems;
        if let Some(failure) = &self.feed.failure {
            problems.push(format!("decoding stopped after frame {}: {failure}", report.decoded));
        }
        problems.extend(cut_short(&self.feed.path));
        report.warnings.extend(open_ended(&self.feed.path));
        if let Some(length) = self.info.duration
            && length.saturating_sub(reached) > self.tolerance(length)
        {
            let guess = if self.is_exact() { "" } else { " about" };
            problems.push(format!(
                "the file says that it lasts{guess} {:.3} s, but ends after {:.3} s",
                length.as_secs_f64(),
                reached.as_secs_f64()
            ));
        }
        if self.cut {
            problems.push("the file is cut short or still being written".into());
        }
        match self.told.or_else(|| self.promised()) {
            Some(told)
                if told > report.decoded || self.told.is_some_and(|t| t != report.decoded) =>
            {
                problems.push(format!(
                    "the file says that it has {told} frames, and {} were decoded",
                    report.decoded
                ));
            }
            Some(told) if told < report.decoded => report.warnings.push(format!(
                "the file says that it has {told} frames, and holds {}",
                report.decoded
            )),
            Some(_) => {}
            None => {
                // Up to two frames may be a matter of rounding, unless the times have a hole.
                let missing = report.expected.unwrap_or(0).saturating_sub(report.decoded);
                if missing > 2 || missing > 0 && self.uneven > 0 {
                    problems.push(format!(
                        "{missing} frames are missing: {} at an even rate would fill its duration",
                        report.expected.unwrap_or(0)
                    ));
                }
            }
        }
        // The two fields of an interlaced picture may be two coded pictures.
        let coded = self.feed.tally.coded.load(Ordering::Relaxed);
        report.undecoded = if self.interlaced { 0 } else { coded.saturating_sub(report.decoded) };
        if report.undecoded > 0 {
            problems.push(format!("{} frames could not be decoded", report.undecoded));
        }
        if report.corrupted > 0 {
            problems.push(format!("{} decoded frames are damaged", report.corrupted));
        }
        report
    }

    /// The number of frames that the container itself counts.
    fn promised(&self) -> Option<u64> {
        self.feed.tally.choice.track().and_then(|track| track.frames)
    }

    /// The number of frames that would fill the file at an even rate, from its first one on.
    fn filled(&self, reached: Duration) -> Option<u64> {
        let (length, rate) = (self.info.duration?, self.info.frame_rate?);
        // A few gaps in an even row are lost frames, many are a variable rate.
        let is_even = self.uneven * 50 <= self.report.decoded;
        let is_longest = reached.saturating_sub(self.report.end) <= self.tolerance(length);
        if !self.is_exact() || !is_even || !is_longest {
            return None;
        }
        let start = self.first_start.unwrap_or_default();
        // Matroska files tell their length from time 0 or from their first frame.
        let from_zero = self.report.end <= length + self.tolerance(length);
        let length = if from_zero { length.saturating_sub(start) } else { length };
        let frames = length.as_secs_f64() * f64::from(rate.0) / f64::from(rate.1);
        // Some leave out how long the last frame is shown: what holds more is not known better.
        Some(frames.round() as u64).filter(|frames| *frames >= self.report.decoded)
    }

    /// Whether the duration is written in the file and no estimate.
    fn is_exact(&self) -> bool {
        let is_written = |name: String| EXACT_DEMUXERS.contains(&name.as_str());
        self.feed.tally.demuxer().is_some_and(is_written) && open_ended(&self.feed.path).is_none()
    }

    /// By how much a whole file may end before the duration that its container tells.
    fn tolerance(&self, length: Duration) -> Duration {
        let rate = self.info.frame_rate.unwrap_or((25, 1));
        let frames = periods(2, rate).max(Duration::from_millis(50));
        if self.is_exact() { frames } else { frames.max(length / 50) }
    }
}

/// Size, format and colours of a decoded buffer.
fn sample_info(sample: &gst::Sample, tally: &Tally) -> Result<gst_video::VideoInfo, String> {
    let caps = sample.caps().ok_or("a decoded buffer without a format")?;
    let info = described(caps).map_err(|e| e.to_string())?;
    let is_full = tally.choice.track().and_then(|track| track.full_range);
    settled(info, tally.colorimetry().as_deref(), is_full).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use gstreamer_app as gst_app;

    use super::*;

    /// A reader of what is pushed.
    fn pushed(limit: Duration) -> (gst_app::AppSrc, Feed) {
        init().unwrap();
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder().format(gst::Format::Time).build();
        let caps = "video/x-raw,format=GRAY8,width=4,height=2,framerate=25/1";
        source.set_caps(Some(&caps.parse().unwrap()));
        let sink = gst_app::AppSink::builder().sync(false).build();
        pipeline.add_many([source.upcast_ref::<gst::Element>(), sink.upcast_ref()]).unwrap();
        source.link(&sink).unwrap();
        (source, Feed::new(Path::new("silent.mp4"), pipeline, sink, Arc::default(), limit))
    }

    #[test]
    fn a_source_that_is_silent_from_the_start_is_an_error_not_a_hang() {
        let (_source, feed) = pushed(Duration::from_millis(300));
        let error = VideoReader::start(feed).unwrap_err();
        assert!(matches!(error, StreamError::Stalled { .. }), "{error}");
    }

    #[test]
    fn pixels_without_a_name_are_told_as_such() {
        let (_source, mut feed) = pushed(Duration::from_millis(300));
        feed.tally.video.store(true, Ordering::Relaxed);
        gst::element_error!(feed.pipeline, gst::CoreError::Failed, ("Unable to allocate memory"));
        let error = feed.nothing();
        assert!(matches!(error, StreamError::PixelFormat { .. }), "{error}");
        assert!(error.to_string().contains("-pix_fmt yuv420p"), "{error}");
    }

    #[test]
    fn a_source_that_goes_silent_after_frames_ends_there_and_says_so() {
        let (source, feed) = pushed(Duration::from_millis(600));
        for index in 0..3 {
            let mut buffer = gst::Buffer::from_slice(vec![index as u8; 8]);
            buffer.get_mut().unwrap().set_pts(gst::ClockTime::from_mseconds(40 * index));
            source.push_buffer(buffer).unwrap();
        }
        let mut reader = VideoReader::start(feed).unwrap();
        let mut count = 0;
        while let Some(picture) = reader.next_picture().unwrap() {
            assert_eq!(picture.frame.rgb()[0], count);
            count += 1;
        }
        let report = reader.end_report();
        assert_eq!((count, report.decoded), (3, 3));
        assert!(
            report.problems.iter().any(|p| p.contains("after frame 3: nothing came")),
            "{report:?}"
        );
    }
}
