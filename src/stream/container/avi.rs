//! AVI: the header counts the frames, and the index may count others.

use std::fs::File;
use std::io::Result;

use super::{MOST_BOXES, VideoTrack, block, bytes, letters, little};

/// A chunk: its name, the name of its kind if it is a list, and where its contents begin and end.
struct Chunk {
    name: [u8; 4],
    kind: [u8; 4],
    start: u64,
    end: u64,
}

/// Bytes of a header that are read.
const HEAD: u64 = 256;
/// Bytes of an entry of the index.
const ENTRY: u64 = 16;
/// Most entries that are read: a day at 100 frames a second, with sound.
const MOST_ENTRIES: u64 = 20_000_000;
/// Entries whose frames are looked for.
const PROBED: usize = 256;

/// The video tracks.
pub(super) fn tracks(file: &mut File) -> Result<Vec<VideoTrack>> {
    let length = file.metadata()?.len();
    let Some([_, _, _, _, a, b, c, d]) = bytes::<8>(file, 0)? else { return Ok(Vec::new()) };
    let end = (8 + u64::from(u32::from_le_bytes([a, b, c, d]))).min(length);
    let outer = inside(file, 12, if end > 12 { end } else { length })?;
    let list = |kind: &[u8; 4]| outer.iter().find(|chunk| &chunk.kind == kind);
    let Some(head) = list(b"hdrl") else { return Ok(Vec::new()) };
    let index = outer.iter().find(|chunk| &chunk.name == b"idx1");

    let mut tracks = Vec::new();
    let streams = inside(file, head.start, head.end)?;
    for (number, stream) in (0..).zip(streams.iter().filter(|chunk| &chunk.kind == b"strl")) {
        let parts = inside(file, stream.start, stream.end)?;
        let part = |name: &[u8; 4]| parts.iter().find(|chunk| &chunk.name == name);
        let Some(header) = part(b"strh") else { continue };
        let header = block(file, header.start, HEAD)?;
        if header.get(..4) != Some(b"vids") {
            continue;
        }
        let format = match part(b"strf") {
            Some(format) => block(file, format.start, HEAD)?,
            None => Vec::new(),
        };
        let frames = little(&header, 32).filter(|frames| *frames > 0 && *frames < u32::MAX);
        let mut track = VideoTrack {
            stream: format!("{:03}", number + 1),
            words: format!(
                "{} {}x{}",
                letters(format.get(16..20).or(header.get(4..8)).unwrap_or_default()),
                little(&format, 4).unwrap_or(0),
                little(&format, 8).unwrap_or(0).cast_signed().unsigned_abs()
            ),
            is_default: true,
            is_still: frames == Some(1),
            frames: frames.map(u64::from),
            ..VideoTrack::default()
        };
        // Large files have an index of another kind, within the stream.
        if let (Some(index), Some(frames_list), None) = (index, list(b"movi"), part(b"indx")) {
            look_up(file, index, frames_list, number, &mut track)?;
        }
        tracks.push(track);
    }
    // One frame may be a film, if it is the only track.
    if let [only] = &mut tracks[..] {
        only.is_still = false;
    }
    Ok(tracks)
}

/// Compares the index with the header and with what lies where it points.
fn look_up(
    file: &mut File,
    index: &Chunk,
    movie: &Chunk,
    stream: u32,
    track: &mut VideoTrack,
) -> Result<()> {
    let wanted = format!("{stream:02}");
    let length = (index.end - index.start).min(MOST_ENTRIES * ENTRY);
    let entries = block(file, index.start, length)?;
    let own: Vec<(u32, u32)> = entries
        .chunks_exact(ENTRY as usize)
        .filter(|entry| entry.starts_with(wanted.as_bytes()) && matches!(entry[3], b'b' | b'c'))
        .filter_map(|entry| Some((little(entry, 8)?, little(entry, 12)?)))
        .collect();
    track.empty = own.iter().filter(|(_, size)| *size == 0).count() as u64;
    let told = track.frames;
    track.frames = told.map(|frames| frames.saturating_sub(track.empty));

    // Places count from the list's name, or from the start of the file.
    let step = own.len().div_ceil(PROBED).max(1);
    let mut points = |base: u64| -> Result<bool> {
        for (place, _) in own.iter().step_by(step) {
            let found = bytes::<4>(file, base + u64::from(*place))?;
            if !found.is_some_and(|name| name.starts_with(wanted.as_bytes())) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if !own.is_empty() && !points(movie.start - 4)? && !points(0)? {
        track.index = Some("the index points beside the frames".into());
    } else if let Some(told) = told.filter(|told| *told > own.len() as u64) {
        track.index =
            Some(format!("the index holds {} frames, and the header tells {told}", own.len()));
    }
    Ok(())
}

/// The chunks between two places of the file.
fn inside(file: &mut File, start: u64, end: u64) -> Result<Vec<Chunk>> {
    let (mut at, mut found) = (start, Vec::new());
    while at.saturating_add(8) <= end && found.len() < MOST_BOXES {
        let Some([n0, n1, n2, n3, a, b, c, d]) = bytes::<8>(file, at)? else { break };
        let (name, size) = ([n0, n1, n2, n3], u64::from(u32::from_le_bytes([a, b, c, d])));
        let (mut start, mut kind) = (at + 8, [0; 4]);
        if &name == b"LIST" {
            kind = bytes::<4>(file, start)?.unwrap_or_default();
            start += 4;
        }
        let next = at + 8 + size;
        found.push(Chunk { name, kind, start, end: next.min(end).max(start) });
        // Chunks begin at even places.
        at = next + next % 2;
    }
    Ok(found)
}
