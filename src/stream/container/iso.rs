//! MP4 and QuickTime.

use std::fs::File;
use std::io::Result;

use image::metadata::Orientation;

use super::{MOST_BOXES, VideoTrack, big, block, bytes, letters};

/// A box: what it is, and where its contents begin and end.
type Found = ([u8; 4], u64, u64);

/// Bytes of a header box or a sample description that are read.
const HEAD: u64 = 4096;
/// Where a video sample description's own boxes begin.
const VISUAL: usize = 86;
/// 1 in a matrix.
const ONE: i64 = 1 << 16;

/// The video tracks.
pub(super) fn tracks(file: &mut File) -> Result<Vec<VideoTrack>> {
    let end = file.metadata()?.len();
    let Some((_, start, end)) = inside(file, 0, end)?.into_iter().find(|b| &b.0 == b"moov") else {
        return Ok(Vec::new());
    };
    let boxes = inside(file, start, end)?;
    let movie = match boxes.iter().find(|b| &b.0 == b"mvhd") {
        Some(head) => {
            let head = contents(file, *head)?;
            matrix(&head, if head.first() == Some(&1) { 48 } else { 36 })
        }
        None => None,
    };
    let mut tracks = Vec::new();
    for found in boxes.iter().filter(|b| &b.0 == b"trak") {
        tracks.extend(track(file, *found, movie)?);
    }
    Ok(tracks)
}

fn track(file: &mut File, found: Found, movie: Option<Matrix>) -> Result<Option<VideoTrack>> {
    let boxes = inside(file, found.1, found.2)?;
    let (Some(head), Some(media)) = (of(&boxes, b"tkhd"), of(&boxes, b"mdia")) else {
        return Ok(None);
    };
    let head = contents(file, head)?;
    let boxes = inside(file, media.1, media.2)?;
    let (Some(handler), Some(info)) = (of(&boxes, b"hdlr"), of(&boxes, b"minf")) else {
        return Ok(None);
    };
    if contents(file, handler)?.get(8..12) != Some(b"vide") {
        return Ok(None);
    }
    let boxes = inside(file, info.1, info.2)?;
    let Some(table) = of(&boxes, b"stbl") else { return Ok(None) };
    let boxes = inside(file, table.1, table.2)?;
    let description = match of(&boxes, b"stsd") {
        Some(found) => contents(file, found)?,
        None => Vec::new(),
    };
    let entry = description.get(8..).unwrap_or_default();
    let samples = match of(&boxes, b"stsz").or(of(&boxes, b"stz2")) {
        Some(found) => big(&contents(file, found)?, 8),
        None => None,
    };
    let long = head.first() == Some(&1);
    let number = big(&head, if long { 20 } else { 12 }).unwrap_or(0);
    let own = matrix(&head, if long { 52 } else { 40 });
    let whole = match (own, movie) {
        (Some(own), Some(movie)) => Some(times(own, movie)),
        (own, movie) => own.or(movie),
    };
    let side = |at| entry.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    Ok(Some(VideoTrack {
        stream: format!("{number:03}"),
        words: format!(
            "{} {}x{}",
            letters(entry.get(4..8).unwrap_or_default()),
            side(32),
            side(34)
        ),
        is_default: head.get(3).is_some_and(|flags| flags & 1 == 1),
        is_still: samples == Some(1),
        orientation: whole.map(orientation),
        ignored: whole.and_then(ignored),
        full_range: full_range(entry),
        ..VideoTrack::default()
    }))
}

fn of(boxes: &[Found], kind: &[u8; 4]) -> Option<Found> {
    boxes.iter().find(|found| &found.0 == kind).copied()
}

fn contents(file: &mut File, (_, start, end): Found) -> Result<Vec<u8>> {
    block(file, start, end.saturating_sub(start).min(HEAD))
}

/// The boxes between two places of the file.
fn inside(file: &mut File, start: u64, end: u64) -> Result<Vec<Found>> {
    let (mut at, mut found) = (start, Vec::new());
    while at.saturating_add(8) <= end && found.len() < MOST_BOXES {
        let Some([a, b, c, d, kind @ ..]) = bytes::<8>(file, at)? else { break };
        let (head, size) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (8, end - at),
            1 => match bytes::<8>(file, at + 8)? {
                Some(size) => (16, u64::from_be_bytes(size)),
                None => break,
            },
            size => (8, u64::from(size)),
        };
        if size < head {
            break;
        }
        let next = at.saturating_add(size);
        found.push((kind, at + head, next.min(end)));
        at = next;
    }
    Ok(found)
}

/// The part of a matrix that turns, mirrors and scales: x' = a x + c y, y' = b x + d y.
type Matrix = [i64; 4];

fn matrix(head: &[u8], at: usize) -> Option<Matrix> {
    let value = |place: usize| big(head, at + place * 4).map(|value| i64::from(value as i32));
    Some([value(0)?, value(1)?, value(3)?, value(4)?])
}

/// One matrix after the other.
fn times([a, b, c, d]: Matrix, [e, f, g, h]: Matrix) -> Matrix {
    let sum = |x: i64, y: i64| (x + y) / ONE;
    [sum(a * e, b * g), sum(a * f, b * h), sum(c * e, d * g), sum(c * f, d * h)]
}

/// Which way up the image is, by the signs alone.
fn orientation([a, b, c, d]: Matrix) -> Orientation {
    let straight = a.abs() + d.abs() >= b.abs() + c.abs();
    match (straight, a < 0, d < 0, b < 0, c < 0) {
        (true, false, false, ..) => Orientation::NoTransforms,
        (true, true, true, ..) => Orientation::Rotate180,
        (true, true, false, ..) => Orientation::FlipHorizontal,
        (true, false, true, ..) => Orientation::FlipVertical,
        (false, _, _, false, true) => Orientation::Rotate90,
        (false, _, _, true, false) => Orientation::Rotate270,
        (false, _, _, false, false) => Orientation::Rotate90FlipH,
        (false, _, _, true, true) => Orientation::Rotate270FlipH,
    }
}

/// What the matrix does besides, in words.
fn ignored(matrix: Matrix) -> Option<String> {
    let [a, b, c, d] = matrix.map(i64::abs);
    let plain = |x: i64, y: i64, rest: [i64; 2]| x == ONE && y == ONE && rest == [0, 0];
    if plain(a, d, [b, c]) || plain(b, c, [a, d]) || matrix == [0; 4] {
        return None;
    }
    let skewed = (a + d).min(b + c) > 0;
    Some(format!(
        "the track's matrix {} the image, too, which is not done: frames keep their size{}",
        if skewed { "turns or skews" } else { "scales" },
        if skewed { " and the nearest of the eight orientations is taken" } else { "" }
    ))
}

/// The flag of a `colr` box that has one.
fn full_range(entry: &[u8]) -> Option<bool> {
    let mut at = VISUAL;
    loop {
        let size = big(entry, at)? as usize;
        let kind = entry.get(at + 4..at + 8)?;
        if kind == b"colr" && entry.get(at + 8..at + 12)? == b"nclx" {
            return entry.get(at + 18).map(|flags| flags & 0x80 != 0);
        }
        at = at.checked_add(size).filter(|_| size >= 8)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_of_a_colr_box_tells_the_range() {
        let entry = |kind: &[u8; 4], flags: u8| {
            let mut entry = vec![0; VISUAL];
            entry.extend(8_u32.to_be_bytes());
            entry.extend(b"pasp");
            entry.extend(19_u32.to_be_bytes());
            entry.extend(b"colr");
            entry.extend(kind);
            entry.extend([0, 2, 0, 2, 0, 2, flags]);
            entry
        };
        let found = [(b"nclx", 0x80), (b"nclx", 0), (b"nclc", 0x80)]
            .map(|(kind, flags)| full_range(&entry(kind, flags)));
        assert_eq!(found, [Some(true), Some(false), None]);
        assert_eq!(full_range(&entry(b"nclx", 0x80)[..VISUAL + 20]), None);
        assert_eq!(full_range(&[]), None);
    }

    #[test]
    fn a_matrix_is_read_by_its_signs() {
        use Orientation::*;
        let cases = [
            ([1.0, 0.0, 0.0, 1.0], NoTransforms),
            ([0.5, 0.0, 0.0, 0.5], NoTransforms),
            ([1.0667, 0.0, 0.0, 1.0], NoTransforms),
            ([-1.0, 0.0, 0.0, -1.0], Rotate180),
            ([-2.0, 0.0, 0.0, 1.0], FlipHorizontal),
            ([1.0, 0.0, 0.0, -0.5], FlipVertical),
            ([0.0, 1.0, -1.0, 0.0], Rotate90),
            ([0.0, 0.5, -0.5, 0.0], Rotate90),
            ([0.0, -1.0, 1.0, 0.0], Rotate270),
            ([0.0, 1.0, 1.0, 0.0], Rotate90FlipH),
            ([0.0, -1.0, -1.0, 0.0], Rotate270FlipH),
        ];
        for (values, expected) in cases {
            let matrix = values.map(|value: f64| (value * ONE as f64) as i64);
            assert_eq!(orientation(matrix), expected, "{values:?}");
            let scaled = values.iter().any(|v| v.abs() != 0.0 && v.abs() != 1.0);
            assert_eq!(ignored(matrix).is_some(), scaled, "{values:?}");
        }
        // Turned by the track, and turned back by the movie.
        let (quarter, back) = ([0, ONE, -ONE, 0], [0, -ONE, ONE, 0]);
        assert_eq!(times(quarter, back), [ONE, 0, 0, ONE]);
        assert_eq!(times(quarter, quarter), [-ONE, 0, 0, -ONE]);
    }
}
