//! Results as JSON lines beside the video.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Side;
use super::segment::Segment;

/// The longest unfinished line that a kill may leave at the end of the file, in bytes.
const MOST_TAIL: u64 = 64 << 20;

/// The file of results: lines of the caller, and one for each segment that says when it starts. While
/// it is open it is locked, so that no other recording writes to the same prefix.
#[derive(Debug)]
pub(super) struct Results {
    file: BufWriter<File>,
    /// Lines that were not yet handed to the system.
    waiting: u64,
}

#[derive(serde::Serialize)]
struct SegmentLine<'a> {
    segment: &'a str,
    side: Side,
    /// Time of its first frame in the run, in seconds.
    start: f64,
}

/// `PREFIX-results.jsonl`.
pub(super) fn path(prefix: &Path) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push("-results.jsonl");
    name.into()
}

impl Results {
    /// Opens `PREFIX-results.jsonl` to append. The unfinished last line of a run that was killed is
    /// cut off: no line could follow it.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`] if another recording writes to it, or the system's error.
    pub(super) fn open(prefix: &Path) -> Result<Self> {
        let path = path(prefix);
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let reason = "another recording writes to this prefix; name another one";
                return Err(Error::new(ErrorKind::ResourceBusy, reason));
            }
            // Some network file systems have no locks. No segment is written over all the same.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        mend_tail(&mut file)?;
        Ok(Self { file: BufWriter::new(file), waiting: 0 })
    }

    /// Adds a line. On an error, how many lines are lost is [`Results::waiting`].
    pub(super) fn line(&mut self, line: &str) -> Result<()> {
        self.waiting += 1;
        self.file.write_all(line.trim_end().as_bytes())?;
        self.file.write_all(b"\n")
    }

    /// Names the file that holds the video from when on.
    pub(super) fn segment(&mut self, side: Side, segment: &Segment) -> Result<()> {
        let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
        let start = segment.start.nseconds() as f64 / 1e9;
        let line = serde_json::to_string(&SegmentLine { segment: &name, side, start })?;
        self.line(&line)
    }

    /// Lines that are not yet with the system.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Hands everything to the system; how many lines that were.
    pub(super) fn flush(&mut self) -> Result<u64> {
        self.file.flush()?;
        Ok(std::mem::take(&mut self.waiting))
    }

    /// Closes the file after a failure, without another try to write.
    pub(super) fn abandon(self) {
        drop(self.file.into_parts());
    }
}

/// Brings a file that does not end with a line break to one that does: an unfinished JSON object is
/// cut off, anything else is kept as a line.
fn mend_tail(file: &mut File) -> Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    let Some(last) = length.checked_sub(1) else { return Ok(()) };
    let mut byte = [0];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut byte)?;
    if byte == *b"\n" {
        return Ok(());
    }
    let from = length.saturating_sub(MOST_TAIL);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    Read::by_ref(file).take(MOST_TAIL).read_to_end(&mut tail)?;
    let start = tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let line = tail.get(start..).unwrap_or_default();
    let unfinished = line.starts_with(b"{")
        && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err()
        && (start > 0 || from == 0);
    if unfinished { file.set_len(from + start as u64) } else { file.write_all(b"\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the file holds after it was opened over `text` and a line was added.
    fn added(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("r");
        std::fs::write(path(&prefix), text).unwrap();
        let mut results = Results::open(&prefix).unwrap();
        results.line("{\"b\":2}").unwrap();
        assert_eq!(results.flush().unwrap(), 1);
        std::fs::read_to_string(path(&prefix)).unwrap()
    }

    #[test]
    fn a_line_that_a_kill_cut_is_no_part_of_the_next_one() {
        assert_eq!(added(""), "{\"b\":2}\n");
        assert_eq!(added("{\"a\":1}\n"), "{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(added("{\"a\":1}\n{\"a\":[1,"), "{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(added("{\"a\":[1,"), "{\"b\":2}\n");
        // What is whole, or none of ours, is kept.
        assert_eq!(added("{\"a\":1}"), "{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(added("a note"), "a note\n{\"b\":2}\n");
    }

    #[test]
    fn a_prefix_is_one_recordings_alone() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("r");
        let first = Results::open(&prefix).unwrap();
        let refused = Results::open(&prefix).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ResourceBusy);
        assert!(refused.to_string().contains("name another one"), "{refused}");
        drop(first);
        Results::open(&prefix).unwrap();
    }
}
