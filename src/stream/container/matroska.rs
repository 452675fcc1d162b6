//! Matroska and WebM.

use std::fs::File;
use std::io::Result;

use super::{Interlacing, MOST_BOXES, VideoTrack, block, bytes};

/// An element: its id, and where its contents begin and end.
type Found = (u32, u64, u64);

const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114d_9b74;
const SEEK: u32 = 0x4dbb;
const SEEK_ID: u32 = 0x53ab;
const SEEK_POSITION: u32 = 0x53ac;
const CLUSTER: u32 = 0x1f43_b675;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_TYPE: u32 = 0x83;
const FLAG_ENABLED: u32 = 0xb9;
const FLAG_DEFAULT: u32 = 0x88;
const CODEC_ID: u32 = 0x86;
const NAME: u32 = 0x536e;
const VIDEO: u32 = 0xe0;
const WIDTH: u32 = 0xb0;
const HEIGHT: u32 = 0xba;
const FIELD_ORDER: u32 = 0x9d;

/// A video among the types of tracks.
const IS_VIDEO: u64 = 1;
/// Codecs of still images. A film may use them, too, but not beside one that does not.
const STILLS: [&str; 3] = ["V_MJPEG", "V_PNG", "V_BMP"];

/// The video tracks.
pub(super) fn tracks(file: &mut File) -> Result<Vec<VideoTrack>> {
    let length = file.metadata()?.len();
    let Some((_, start, end)) = inside(file, 0, length)?.into_iter().find(|e| e.0 == SEGMENT)
    else {
        return Ok(Vec::new());
    };
    let head = inside(file, start, end)?;
    let mut place = head.iter().find(|e| e.0 == TRACKS).copied();
    if let (None, Some(seek)) = (place, head.iter().find(|e| e.0 == SEEK_HEAD)) {
        place = sought(file, *seek, start, end)?;
    }
    let Some((_, from, to)) = place else { return Ok(Vec::new()) };
    let mut tracks = Vec::new();
    for (_, from, to) in inside(file, from, to)?.into_iter().filter(|e| e.0 == TRACK_ENTRY) {
        tracks.extend(track(file, from, to)?);
    }
    let film = tracks.iter().any(|track: &VideoTrack| !track.is_still);
    tracks.iter_mut().for_each(|track| track.is_still &= film);
    Ok(tracks)
}

/// Where the tracks lie behind the frames.
fn sought(file: &mut File, seek: Found, start: u64, end: u64) -> Result<Option<Found>> {
    for (_, from, to) in inside(file, seek.1, seek.2)?.into_iter().filter(|e| e.0 == SEEK) {
        let parts = inside(file, from, to)?;
        if number(file, &parts, SEEK_ID)? == Some(u64::from(TRACKS))
            && let Some(position) = number(file, &parts, SEEK_POSITION)?
        {
            return element(file, start.saturating_add(position), end);
        }
    }
    Ok(None)
}

fn track(file: &mut File, from: u64, to: u64) -> Result<Option<VideoTrack>> {
    let parts = inside(file, from, to)?;
    if number(file, &parts, TRACK_TYPE)? != Some(IS_VIDEO) {
        return Ok(None);
    }
    let mut video = Vec::new();
    if let Some((_, from, to)) = parts.iter().find(|e| e.0 == VIDEO) {
        video = inside(file, *from, *to)?;
    }
    let codec = text(file, &parts, CODEC_ID)?;
    let name = text(file, &parts, NAME)?;
    let width = number(file, &video, WIDTH)?.unwrap_or(0);
    let height = number(file, &video, HEIGHT)?.unwrap_or(0);
    let enabled = number(file, &parts, FLAG_ENABLED)?.unwrap_or(1) != 0;
    let default = number(file, &parts, FLAG_DEFAULT)?.unwrap_or(1) != 0;
    Ok(Some(VideoTrack {
        stream: format!("{:03}:", number(file, &parts, TRACK_NUMBER)?.unwrap_or(0)),
        words: format!("{codec} {width}x{height} {name}").trim_end().to_owned(),
        is_default: enabled && default,
        // RFC 9559, 5.1.4.1.28.5: which field is shown first, stored together or apart.
        fields: match number(file, &video, FIELD_ORDER)? {
            Some(1 | 9) => Some(Interlacing::TopFieldFirst),
            Some(6 | 14) => Some(Interlacing::BottomFieldFirst),
            _ => None,
        },
        is_still: STILLS.iter().any(|still| codec.starts_with(still)),
        ..VideoTrack::default()
    }))
}

/// The elements between two places of the file. Of a segment those before its first frames.
fn inside(file: &mut File, start: u64, end: u64) -> Result<Vec<Found>> {
    let (mut at, mut found) = (start, Vec::new());
    while at < end && found.len() < MOST_BOXES {
        let Some(one) = element(file, at, end)? else { break };
        if one.0 == CLUSTER {
            break;
        }
        found.push(one);
        at = one.2;
    }
    Ok(found)
}

fn element(file: &mut File, at: u64, end: u64) -> Result<Option<Found>> {
    let Some([first]) = bytes::<1>(file, at)? else { return Ok(None) };
    let length = first.leading_zeros() + 1;
    if length > 4 {
        return Ok(None);
    }
    let mut id = 0;
    for byte in block(file, at, u64::from(length))? {
        id = id << 8 | u32::from(byte);
    }
    let place = at + u64::from(length);
    Ok(match vint(file, place)? {
        Some((size, start)) => Some((id, start, start.saturating_add(size).min(end))),
        // Of unknown size, as a live recording's segment: to the end.
        None => {
            let Some([first]) = bytes::<1>(file, place)? else { return Ok(None) };
            Some((id, place + u64::from(first.leading_zeros()) + 1, end))
        }
    })
}

fn contents(file: &mut File, parts: &[Found], id: u32, most: u64) -> Result<Option<Vec<u8>>> {
    match parts.iter().find(|part| part.0 == id) {
        Some((_, from, to)) => block(file, *from, to.saturating_sub(*from).min(most)).map(Some),
        None => Ok(None),
    }
}

fn number(file: &mut File, parts: &[Found], id: u32) -> Result<Option<u64>> {
    let bytes = contents(file, parts, id, 8)?;
    Ok(bytes.map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))))
}

fn text(file: &mut File, parts: &[Found], id: u32) -> Result<String> {
    let bytes = contents(file, parts, id, 64)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.chars().filter(|c| !c.is_control()).collect())
}

/// A number of EBML's variable length at `at`, and the place behind it. `None` for "unknown".
pub(super) fn vint(file: &mut File, at: u64) -> Result<Option<(u64, u64)>> {
    let Some([first]) = bytes::<1>(file, at)? else { return Ok(None) };
    let more = first.leading_zeros();
    if more > 7 {
        return Ok(None);
    }
    // The leading one marks the length; the bits behind it are the number.
    let mut value = u64::from(first) & (0x7f >> more);
    for i in 1..=u64::from(more) {
        let Some([next]) = bytes::<1>(file, at + i)? else { return Ok(None) };
        value = value << 8 | u64::from(next);
    }
    let unknown = (1u64 << (7 * (more + 1))) - 1;
    Ok((value != unknown).then_some((value, at + 1 + u64::from(more))))
}
