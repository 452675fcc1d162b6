//! Whether a file is as long as its own outermost boxes say. The demuxers read a file that breaks
//! off as if it ended there.

use std::fs::File;
use std::io::Result;
use std::path::Path;

use super::matroska::vint;
use super::{MOST_BOXES, bytes, is_iso};

/// How the length of a file compares with its boxes.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    /// As long as it should be, or a format that does not say.
    Whole,
    /// Its boxes reach to this byte, which it does not have.
    Short { needed: u64, found: u64 },
    /// The length was never filled in: an interrupted or a running recording, or a live stream.
    Open,
}

/// Reads the outermost boxes of RIFF (AVI), ISO (MP4, MOV) and EBML (Matroska, WebM) files.
fn check(path: &Path) -> Result<Length> {
    let mut file = File::open(path)?;
    let found = file.metadata()?.len();
    let Some(head) = bytes::<12>(&mut file, 0)? else { return Ok(Length::Whole) };
    let end = match &head {
        [b'R', b'I', b'F', b'F', ..] => riff(&mut file)?,
        head if is_iso(head) => iso(&mut file, found)?,
        [0x1a, 0x45, 0xdf, 0xa3, ..] => ebml(&mut file)?,
        _ => return Ok(Length::Whole),
    };
    Ok(match end {
        None => Length::Open,
        Some(needed) if needed > found => Length::Short { needed, found },
        Some(_) => Length::Whole,
    })
}

/// The end of the last RIFF chunk; large AVI files have several, one behind the other.
fn riff(file: &mut File) -> Result<Option<u64>> {
    let mut end = 0;
    for _ in 0..MOST_BOXES {
        match bytes::<8>(file, end)? {
            Some([b'R', b'I', b'F', b'F', a, b, c, d]) => match u32::from_le_bytes([a, b, c, d]) {
                0 | u32::MAX => return Ok(None),
                size => end += 8 + u64::from(size),
            },
            _ => break,
        }
    }
    Ok(Some(end))
}

/// The end of the last box.
fn iso(file: &mut File, found: u64) -> Result<Option<u64>> {
    let mut end = 0u64;
    for _ in 0..MOST_BOXES {
        let Some([a, b, c, d, ..]) = bytes::<8>(file, end)? else { break };
        let size = match u32::from_be_bytes([a, b, c, d]) {
            // To the end of the file.
            0 => return Ok(Some(found)),
            1 => bytes::<8>(file, end.saturating_add(8))?.map_or(16, u64::from_be_bytes),
            size => u64::from(size),
        };
        // Smaller than its own head: garbage behind the last box.
        if size < 8 {
            break;
        }
        end = end.saturating_add(size);
    }
    Ok(Some(end))
}

/// The end of the segment.
fn ebml(file: &mut File) -> Result<Option<u64>> {
    let Some((header, at)) = vint(file, 4)? else { return Ok(None) };
    let segment = at.saturating_add(header);
    match bytes::<4>(file, segment)? {
        Some([0x18, 0x53, 0x80, 0x67]) => {}
        _ => return Ok(Some(segment)),
    }
    Ok(vint(file, segment.saturating_add(4))?.map(|(size, at)| at.saturating_add(size)))
}

/// In words, how many bytes the container misses.
pub(in crate::stream) fn cut_short(path: &Path) -> Option<String> {
    match check(path) {
        Ok(Length::Short { needed, found }) => Some(format!(
            "the file is cut short or still being written: its container reaches to byte {needed}, \
             the file has {found}"
        )),
        _ => None,
    }
}

/// In words, that the container does not say where it ends.
pub(in crate::stream) fn open_ended(path: &Path) -> Option<String> {
    matches!(check(path), Ok(Length::Open)).then(|| {
        "the container was never closed: a live stream, or a recording that was interrupted or is \
         still running; nothing tells whether frames are missing"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Length {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, bytes).unwrap();
        check(&path).unwrap()
    }

    #[test]
    fn boxes_are_compared_with_the_length() {
        let mp4 = [b"\0\0\0\x10ftypisom\0\0\0\0".as_slice(), b"\0\0\0\x0amdat\0\0"].concat();
        assert_eq!(of(&mp4), Length::Whole);
        assert_eq!(of(&mp4[..25]), Length::Short { needed: 26, found: 25 });
        let avi = b"RIFF\x08\0\0\0AVI \0\0\0\0";
        assert_eq!(of(avi), Length::Whole);
        assert_eq!(of(&avi[..14]), Length::Short { needed: 16, found: 14 });
        let mkv = b"\x1a\x45\xdf\xa3\x82\0\0\x18\x53\x80\x67\x84\0\0\0\0";
        assert_eq!(of(mkv), Length::Whole);
        assert_eq!(of(&mkv[..14]), Length::Short { needed: 16, found: 14 });
        assert_eq!(of(b"\x1a\x45\xdf\xa3\x82\0\0\x18\x53\x80\x67\xff\0\0"), Length::Open);
        assert_eq!(of(b"text"), Length::Whole);
    }
}
