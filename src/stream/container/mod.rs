//! What files tell of themselves in their own heads, as far as the demuxers do not pass it on: tracks
//! with their defaults, how they are turned, their numbers of frames, and how long the file should be.

mod avi;
mod iso;
mod length;
mod matroska;

use std::fs::File;
use std::io::{ErrorKind, Read, Result, Seek, SeekFrom};
use std::path::Path;

use image::metadata::Orientation;

use super::Interlacing;
pub(super) use length::{cut_short, open_ended};

/// Boxes of one kind of nesting that are looked at; fragmented MP4 has one or two a second.
const MOST_BOXES: usize = 1_000_000;

/// A video track.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct VideoTrack {
    /// What stands behind the last slash of the stream id that the demuxer gives it, or the start of
    /// that.
    pub stream: String,
    /// Codec, size and name, in words.
    pub words: String,
    /// Whether the file says that it is shown by default.
    pub is_default: bool,
    /// Whether it is a picture beside a film: a thumbnail or a cover.
    pub is_still: bool,
    /// How it is to be turned to be upright; `None` if the file does not say.
    pub orientation: Option<Orientation>,
    /// What the file asks for besides, which is not done, in words.
    pub ignored: Option<String>,
    /// Whether the range of its values is full; `None` if the file does not say.
    pub full_range: Option<bool>,
    /// In which order the fields of a frame are shown; `None` if the file does not say.
    pub fields: Option<Interlacing>,
    /// Its frames as the file's head counts them, without those that hold nothing.
    pub frames: Option<u64>,
    /// Frames without a byte, in which nothing new was recorded.
    pub empty: u64,
    /// What is wrong with the index, in words.
    pub index: Option<String>,
}

/// The video tracks of a file in the order of the file; none if the format is not known here.
pub(super) fn video_tracks(path: &Path) -> Vec<VideoTrack> {
    read(path).unwrap_or_else(|error| {
        log::debug!("{}: {error}", path.display());
        Vec::new()
    })
}

fn read(path: &Path) -> Result<Vec<VideoTrack>> {
    let mut file = File::open(path)?;
    match bytes::<12>(&mut file, 0)? {
        Some([b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', _]) => avi::tracks(&mut file),
        Some([0x1a, 0x45, 0xdf, 0xa3, ..]) => matroska::tracks(&mut file),
        Some(head) if is_iso(&head) => iso::tracks(&mut file),
        _ => Ok(Vec::new()),
    }
}

/// Whether a file begins as MP4 and QuickTime files do; the older of these name no type.
fn is_iso(head: &[u8; 12]) -> bool {
    let [_, _, _, _, kind @ .., _, _, _, _] = head;
    [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"].contains(&kind)
}

/// The track that is shown where none is asked for: a film before a still, the default before others,
/// and else the first.
pub(super) fn default_track(tracks: &[VideoTrack]) -> usize {
    let places = 0..tracks.len();
    places.min_by_key(|place| (tracks[*place].is_still, !tracks[*place].is_default)).unwrap_or(0)
}

/// `N` bytes from `at`, `None` if the file ends before.
fn bytes<const N: usize>(file: &mut File, at: u64) -> Result<Option<[u8; N]>> {
    let mut found = [0; N];
    file.seek(SeekFrom::Start(at))?;
    match file.read_exact(&mut found) {
        Ok(()) => Ok(Some(found)),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// Up to `most` bytes from `at`, as far as the file goes.
fn block(file: &mut File, at: u64, most: u64) -> Result<Vec<u8>> {
    let mut found = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(most).read_to_end(&mut found)?;
    Ok(found)
}

/// A number of four bytes at a place of a block, the highest first.
fn big(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A number of four bytes at a place of a block, the lowest first.
fn little(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Four letters, as far as they are letters.
fn letters(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(4).filter(|byte| byte.is_ascii_graphic());
    shown.map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_goes_before_a_still_and_the_default_before_others() {
        let track =
            |is_default, is_still| VideoTrack { is_default, is_still, ..VideoTrack::default() };
        let (film, still, other) = (track(true, false), track(true, true), track(false, false));
        assert_eq!(default_track(&[still.clone(), film.clone()]), 1);
        assert_eq!(default_track(&[other.clone(), film.clone()]), 1);
        assert_eq!(default_track(&[still.clone(), other]), 1);
        assert_eq!(default_track(&[film.clone(), film]), 0);
        assert_eq!(default_track(&[still]), 0);
    }
}
