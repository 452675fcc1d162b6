//! The frames of the input, read once: for the annotated ones among them, and to be followed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use p2sam::{Frame, Picture, Source, SourceOptions, open_recording};

use super::FramePlace;

/// Most bytes of frames that are kept while the annotated ones are looked for.
const KEPT: usize = 64 << 20;

/// The frames of the input, of which the first may have been read already.
pub struct Frames {
    input: PathBuf,
    /// What is read.
    pub source: Source,
    read: VecDeque<Picture>,
    bytes: usize,
    /// Whether frames that were read could not be kept.
    pub(super) is_dropped: bool,
}

impl Frames {
    /// Opens the input.
    pub fn open(input: &Path, options: &SourceOptions) -> anyhow::Result<Self> {
        let source = open_recording(input, options)?;
        let (input, read) = (input.to_path_buf(), VecDeque::new());
        Ok(Self { input, source, read, bytes: 0, is_dropped: false })
    }

    /// The next frame. One that cannot be read is left out of a series, which tells so in its report.
    pub fn next(&mut self) -> anyhow::Result<Option<Picture>> {
        match self.read.pop_front() {
            Some(picture) => Ok(Some(picture)),
            None => self.read_on(),
        }
    }

    fn read_on(&mut self) -> anyhow::Result<Option<Picture>> {
        loop {
            match self.source.next_picture() {
                Err(_) if self.source.images().is_some() => {}
                result => return Ok(result?),
            }
        }
    }

    /// Those frames: number, time and pixels. A time means the frame that is on the screen then. All
    /// that is read on the way is kept for [`Frames::next`], if it is not too much.
    pub(super) fn find(
        &mut self,
        places: &[FramePlace],
    ) -> anyhow::Result<Vec<(u64, Duration, Frame)>> {
        let mut found: Vec<Option<(u64, Duration, Frame)>> = vec![None; places.len()];
        let mut last: Option<(u64, Duration, Frame)> = None;
        while found.iter().any(Option::is_none) {
            let Some(picture) = self.read_on()? else { break };
            let this = (picture.index, picture.pts, picture.frame.clone());
            for (place, found) in places.iter().zip(&mut found) {
                if found.is_some() {
                    continue;
                }
                *found = match place {
                    FramePlace::Number(number) => (picture.index == *number).then(|| this.clone()),
                    FramePlace::Time(time) if picture.pts == *time => Some(this.clone()),
                    // The frame that is on the screen at that time is the last that began before.
                    FramePlace::Time(time) if picture.pts > *time => {
                        Some(last.clone().unwrap_or_else(|| this.clone()))
                    }
                    FramePlace::Time(_) => None,
                };
            }
            last = Some(this);
            self.keep(picture);
        }
        let (count, input) = (self.source.end_report().decoded, self.input.display());
        let end = self.source.info().duration.max(Some(self.source.end_report().end));
        places
            .iter()
            .zip(found)
            .map(|(place, found)| match (place, found, &last) {
                (_, Some(found), _) => Ok(found),
                (FramePlace::Time(time), None, Some(last)) if end >= Some(*time) => {
                    Ok(last.clone())
                }
                (FramePlace::Number(number), ..) => {
                    bail!("{input} has no frame {number}: it has {count} frames")
                }
                (FramePlace::Time(time), ..) => {
                    bail!("{input} has no {} s: it has {count} frames", time.as_secs_f64())
                }
            })
            .collect()
    }

    fn keep(&mut self, picture: Picture) {
        // RGB, and about as much as it was decoded to.
        self.bytes += picture.frame.rgb().len() * 3 / 2;
        if self.is_dropped || self.bytes > KEPT {
            self.is_dropped = true;
            self.read.clear();
        } else {
            self.read.push_back(picture);
        }
    }
}
