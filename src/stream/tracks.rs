//! Which of a file's video streams is decoded.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;

use super::StreamError;
use super::container::{VideoTrack, default_track, video_tracks};

/// The choice among the video streams of a file. Only the chosen one is decoded and counted.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// As the file's head tells them; none if it tells nothing.
    tracks: Vec<VideoTrack>,
    /// Place of the chosen one.
    wanted: usize,
    offered: Mutex<Offered>,
}

#[derive(Debug, Default)]
struct Offered {
    /// Video streams that the demuxer has brought.
    count: usize,
    /// Whether the chosen one is among them.
    is_found: bool,
    /// Those of them that are not decoded.
    left_out: Vec<gst::Pad>,
    /// All in words.
    words: Vec<String>,
}

impl Choice {
    /// Reads the head of a file. `wanted` counts from 0; without it the default one is taken.
    ///
    /// # Errors
    /// [`StreamError::NoTrack`] if the file tells that there is no such track.
    pub(super) fn new(path: &Path, wanted: Option<usize>) -> Result<Self, StreamError> {
        let tracks = video_tracks(path);
        if let Some(number) = wanted.filter(|number| !tracks.is_empty() && *number >= tracks.len())
        {
            let found = tracks.iter().map(|track| track.words.clone()).collect();
            return Err(StreamError::NoTrack { path: path.to_path_buf(), number, found });
        }
        let wanted = wanted.unwrap_or_else(|| default_track(&tracks));
        Ok(Self { tracks, wanted, offered: Mutex::default() })
    }

    /// The chosen track, as far as the file tells of it.
    pub(super) fn track(&self) -> Option<&VideoTrack> {
        self.tracks.get(self.wanted)
    }

    /// Takes note of a stream that the demuxer brings, and says whether it is the chosen one.
    pub(super) fn offer(&self, pad: &gst::Pad) -> bool {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let Some(kind) = caps.structure(0).map(|s| s.name().to_string()) else { return false };
        if !kind.starts_with("video/") && !kind.starts_with("image/") {
            return false;
        }
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        let place = offered.count;
        offered.count += 1;
        offered.words.push(kind);
        let id = pad.stream_id();
        let id = id.as_deref().and_then(|id| id.rsplit('/').next()).unwrap_or_default();
        let known = self.tracks.iter().position(|track| id.starts_with(&track.stream));
        let is_chosen = known.unwrap_or(place) == self.wanted;
        match is_chosen {
            true => offered.is_found = true,
            false => offered.left_out.push(pad.clone()),
        }
        is_chosen
    }

    /// Whether a demuxer's stream is not to be decoded.
    pub(super) fn is_left_out(&self, pad: &gst::Pad) -> bool {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).left_out.contains(pad)
    }

    /// All video streams in words, in the order of their numbers.
    pub(super) fn words(&self) -> Vec<String> {
        if !self.tracks.is_empty() {
            return self.tracks.iter().map(|track| track.words.clone()).collect();
        }
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).words.clone()
    }

    /// That there are others, and how to choose one.
    pub(super) fn others(&self) -> Option<String> {
        let words = self.words();
        let listed = || -> Vec<String> {
            words.iter().enumerate().map(|(number, words)| format!("{number} ({words})")).collect()
        };
        (words.len() > 1).then(|| {
            format!(
                "the file has {} video tracks: {}; track {} was taken (`--track N` takes another)",
                words.len(),
                listed().join(", "),
                self.wanted
            )
        })
    }

    /// Which track was asked for.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// The chosen track in words, if the file tells of it and the demuxer never brought it.
    pub(super) fn missing(&self) -> Option<String> {
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        let words = &self.track().filter(|_| !offered.is_found)?.words;
        (offered.count > 0).then(|| {
            format!(
                "GStreamer's demuxer leaves out track {} ({words}), as it does stills",
                self.wanted
            )
        })
    }
}
