//! DICOM files that play: videos, and frames without a place in the patient.

use std::path::Path;
use std::time::Duration;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};

use super::elements::{number, numbers};
use super::header::{Kind, kind};
use super::{DicomSeries, file, scan};
use crate::image::{Color, Frame};
use crate::series::{SeriesError, VolumeOptions};
use crate::stream::{
    Frames, ImageSeries, Interlacing, Source, SourceInfo, SourceOptions, StreamError,
};

/// What the transfer syntaxes of videos begin with: MPEG-2, MPEG-4 AVC (H.264) and HEVC (H.265). Those
/// that allow several fragments have `.1` behind them.
const VIDEOS: std::ops::RangeInclusive<u32> = 100..=108;
const SYNTAXES: &str = "1.2.840.10008.1.2.4.";

/// Frames a second of a rate that makes sense, as a fraction.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// Whether a file is a DICOM video, or holds frames in the order of time.
pub fn is_recording(path: &Path) -> bool {
    path.is_file()
        && scan::is_dicom(path)
        && file::head(path).is_ok_and(|head| is_video(&head) || plays(&head, path))
}

fn is_video(object: &DefaultDicomObject) -> bool {
    let syntax = object.meta().transfer_syntax().trim_end_matches('\0');
    let number = syntax.strip_prefix(SYNTAXES).and_then(|end| end.split('.').next());
    number
        .and_then(|number| number.parse().ok())
        .is_some_and(|number: u32| VIDEOS.contains(&number))
}

/// Several frames without a place, in colour or with times.
fn plays(object: &InMemDicomObject, path: &Path) -> bool {
    let Kind::Images(header, slices) = kind(object, path) else { return false };
    let timed = header.colour || rate(object).is_some() || steps(object).is_some();
    timed && slices.len() > 1 && slices.iter().all(|slice| slice.position.is_none())
}

/// Opens a DICOM video, or the frames of a file.
pub fn open_recording(path: &Path, options: &SourceOptions) -> Result<Source, SeriesError> {
    let head = file::head(path)?;
    if is_video(&head) {
        #[cfg(feature = "gstreamer")]
        return super::video::open(path, rate(&head), frames(&head), options);
        #[cfg(not(feature = "gstreamer"))]
        return Err(StreamError::WithoutGStreamer { path: path.to_path_buf() }.into());
    }
    let files = [path.to_path_buf()];
    let (series, ..) = DicomSeries::open(path, &files, &VolumeOptions::default())?;
    let rate = rate(&head);
    let (num, den) = rate.unwrap_or(options.image_rate);
    let step = Duration::from_secs_f64(f64::from(den.max(1)) / f64::from(num.max(1)));
    let count = series.slices();
    // The first of the steps is the one before the first frame.
    let steps = steps(&head).filter(|steps| steps.len() == count).map(|mut steps| {
        steps.rotate_left(1);
        steps
    });
    let variable = steps.is_some();
    let steps = steps.unwrap_or_else(|| vec![step; count]);
    let mut times = vec![Duration::ZERO];
    for (index, own) in steps.iter().enumerate() {
        // The last frame is shown as long as the one before it.
        let own =
            if variable && index + 1 == count { &steps[index.saturating_sub(1)] } else { own };
        times.push(times[index] + *own);
    }
    let [width, height] = series.size();
    let info = SourceInfo {
        width,
        height,
        frame_rate: (!variable).then_some(rate.unwrap_or(options.image_rate)),
        par: (1, 1),
        duration: times.last().copied(),
        codec: "DICOM frames".into(),
        container: "DICOM".into(),
        color: Color::usual(height),
        interlacing: Interlacing::Progressive,
    };
    Ok(Source::Images(Box::new(ImageSeries::of_frames(Box::new(series), times, info)?)))
}

impl Frames for DicomSeries {
    fn frame(&self, index: usize) -> Result<Frame, StreamError> {
        let (path, frame) = (self.slices[index].path.clone(), index as u64);
        self.frame(index).map_err(|error| {
            let reason = match error {
                SeriesError::File { reason, .. } => reason,
                other => other.to_string(),
            };
            StreamError::Convert { path, frame, reason }
        })
    }
}

/// How many frames the file tells.
#[cfg(feature = "gstreamer")]
fn frames(object: &InMemDicomObject) -> Option<u64> {
    super::elements::integer(object, tags::NUMBER_OF_FRAMES)
        .and_then(|n| u64::try_from(n).ok())
        .filter(|n| *n > 0)
}

/// Frames a second, as far as the file tells: by the time of a frame, or by how it is to be shown.
fn rate(object: &InMemDicomObject) -> Option<(u32, u32)> {
    let one = |tag: Tag| number(object, tag).ok().flatten();
    let of_time = one(tags::FRAME_TIME).filter(|time| *time > 0.0).map(|time| 1000.0 / time);
    let rate = [of_time, one(tags::CINE_RATE), one(tags::RECOMMENDED_DISPLAY_FRAME_RATE)];
    rate.into_iter().flatten().find(|rate| RATES.contains(rate)).map(fraction)
}

/// A rate as a fraction, the usual ones exactly.
fn fraction(rate: f64) -> (u32, u32) {
    // Times of frames are written with two decimals of a millisecond.
    let near =
        |(num, den): &(u32, u32)| (rate - f64::from(*num) / f64::from(*den)).abs() < 3e-4 * rate;
    let whole = (rate.round() as u32, 1);
    let usual = [whole, (rate.round() as u32 * 1000, 1001)].into_iter().find(near);
    usual.filter(|(num, _)| *num > 0).unwrap_or(((rate * 1000.0).round() as u32, 1000))
}

/// The time before each frame, if they differ.
fn steps(object: &InMemDicomObject) -> Option<Vec<Duration>> {
    let steps = numbers(object, tags::FRAME_TIME_VECTOR).ok().flatten()?;
    let sane = steps.iter().all(|step| (0.0..=1e7).contains(step));
    sane.then(|| steps.iter().map(|step| Duration::from_secs_f64(step / 1000.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_become_fractions() {
        assert_eq!(fraction(25.0), (25, 1));
        assert_eq!(fraction(1000.0 / 33.37), (30000, 1001));
        assert_eq!(fraction(1000.0 / 33.33), (30, 1));
        assert_eq!(fraction(59.94), (60000, 1001));
        assert_eq!(fraction(1000.0 / 16.68), (60000, 1001));
        assert_eq!(fraction(1000.0 / 16.67), (60, 1));
        assert_eq!(fraction(0.01), (10, 1000));
        assert_eq!(fraction(0.4), (400, 1000));
        assert_eq!(fraction(7.5), (7500, 1000));
    }
}
