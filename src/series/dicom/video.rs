//! Videos in DICOM files: one stream of MPEG-2, H.264 or HEVC, bare or in a container, in one fragment
//! or several.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::series::SeriesError;
use crate::stream::{Enclosed, Source, SourceOptions, VideoReader};

use super::file;

/// Opens the video of a file that tells `rate` and `frames`.
pub fn open(
    path: &Path,
    rate: Option<(u32, u32)>,
    frames: Option<u64>,
    options: &SourceOptions,
) -> Result<Source, SeriesError> {
    let (file, cut) = extract(path)?;
    let enclosed = Enclosed { file, rate, frames, cut };
    let reader = VideoReader::open_enclosed(path, &enclosed, options)?;
    Ok(Source::Video(Box::new(reader)))
}

/// The video in a file of its own without a name, which is gone with this process at the latest, and
/// whether its end is missing.
fn extract(path: &Path) -> Result<(File, bool), SeriesError> {
    let damaged = || SeriesError::file(path, "its video cannot be read: it is cut off or damaged");
    let unwritable = |error: io::Error| {
        let folder = std::env::temp_dir();
        let reason = format!(
            "its video cannot be unpacked into {}: {error}; set TMPDIR to a folder with room",
            folder.display()
        );
        SeriesError::file(path, reason)
    };
    let start = file::read(path, true)?.pixels.ok_or_else(damaged)?;
    let mut file = tempfile::tempfile().map_err(unwritable)?;
    let mut source = BufReader::new(File::open(path).map_err(|_| damaged())?);
    find_fragments(&mut source, start).map_err(|_| damaged())?;
    // The first item tells where frames begin, which the stream itself tells better.
    let mut first = true;
    let cut = loop {
        let length = match item(&mut source) {
            Some(Some(length)) => length,
            Some(None) => break false,
            None => break true,
        };
        let mut own = (&mut source).take(length);
        let copied = match std::mem::take(&mut first) {
            true => io::copy(&mut own, &mut io::sink()),
            false => io::copy(&mut own, &mut file),
        };
        if copied.map_err(unwritable)? < length {
            break true;
        }
    };
    if file.stream_position().map_err(unwritable)? == 0 {
        return Err(damaged());
    }
    file.rewind().map_err(unwritable)?;
    Ok((file, cut))
}

/// Goes from the first element of the pixels' group to the first item of the fragments.
fn find_fragments(source: &mut BufReader<File>, start: u64) -> io::Result<()> {
    source.seek(SeekFrom::Start(start))?;
    loop {
        // Tag, kind, two bytes that are reserved, length: all elements of this group are of that kind.
        let mut header = [0; 12];
        source.read_exact(&mut header)?;
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        match [header[0], header[1], header[2], header[3]] {
            [0xe0, 0x7f, 0x10, 0x00] if length == u32::MAX => return Ok(()),
            [0xe0, 0x7f, ..] if length < u32::MAX => source.seek_relative(length.into())?,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The length of the next item; `Some(None)` at their end, `None` where the file ends or is damaged.
fn item(source: &mut BufReader<File>) -> Option<Option<u64>> {
    let mut header = [0; 8];
    source.read_exact(&mut header).ok()?;
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    match [header[0], header[1], header[2], header[3]] {
        [0xfe, 0xff, 0x00, 0xe0] => Some(Some(length.into())),
        [0xfe, 0xff, 0xdd, 0xe0] => Some(None),
        _ => None,
    }
}
