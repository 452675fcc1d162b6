//! Results as JSON lines beside the video.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Result, Write};
use std::path::Path;

use super::Side;
use super::segment::Segment;

/// The file of results: lines of the caller, and one for each segment that tells when it starts.
pub(super) struct Results {
    /// `None` after a failure.
    file: Option<BufWriter<File>>,
    failure: Option<String>,
}

#[derive(serde::Serialize)]
struct SegmentLine<'a> {
    segment: &'a str,
    side: Side,
    /// Time of its first frame in the run, in seconds.
    start: f64,
}

impl Results {
    /// Opens `PREFIX-results.jsonl` to append.
    pub(super) fn open(prefix: &Path) -> Result<Self> {
        let mut name = prefix.as_os_str().to_owned();
        name.push("-results.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(name)?;
        Ok(Self { file: Some(BufWriter::new(file)), failure: None })
    }

    pub(super) fn line(&mut self, line: &str) {
        self.write(|file| {
            file.write_all(line.trim_end().as_bytes())?;
            file.write_all(b"\n")
        });
    }

    /// Tells which file holds the video from when on.
    pub(super) fn segment(&mut self, side: Side, segment: &Segment) {
        let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
        let start = segment.start.nseconds() as f64 / 1e9;
        if let Ok(line) = serde_json::to_string(&SegmentLine { segment: &name, side, start }) {
            self.line(&line);
        }
    }

    /// Hands everything to the system. Tells of a failure once; nothing is written after it.
    pub(super) fn flush(&mut self) -> Option<String> {
        self.write(Write::flush);
        self.failure.take()
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) {
        if let Some(file) = &mut self.file
            && let Err(e) = write(file)
        {
            self.failure = Some(e.to_string());
            // Not flushed again on drop.
            if let Some(file) = self.file.take() {
                drop(file.into_parts());
            }
        }
    }
}
