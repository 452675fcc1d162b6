use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::history::{History, Passed};
use super::moving::{Hop, Moving};
use super::{LiveResult, MAX_OBJECTS, ObjectId, ObjectResult};
use crate::image::{Mask, MaskPatch};
use crate::method::State;
use crate::motion::GreyPicture;

/// Longest hop by which a late result catches up. Fewer hops cost less and drift less.
const HOP: Duration = Duration::from_millis(200);
/// Most hops of one object's result, failed ones included.
const MOST_HOPS: usize = 40;
/// Points that are followed in one frame for all objects together, and for one: fewest and most.
const POINTS: (usize, usize, usize) = (160, 20, 60);
/// Most frames in a row that may bear the same time.
const REPEATS: u32 = 8;

/// What may be drawn, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplaySettings {
    /// How long a mask is shown, fading, after it was last known to be right.
    pub age_limit: Duration,
    /// How long a mask is shown after the picture that the model saw, however well it moved along.
    pub confirm_limit: Duration,
    /// Whether masks move with the picture. Otherwise they stay where the model saw them, and age
    /// from then on.
    pub warp: bool,
}

impl Default for DisplaySettings {
    fn default() -> Self {
        Self {
            age_limit: Duration::from_millis(120),
            confirm_limit: Duration::from_secs(3),
            warp: true,
        }
    }
}

/// One object in one frame.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which object.
    pub object: ObjectId,
    /// Whether it was in view at the last result.
    pub state: State,
    /// Where to draw it; `None` if nothing may be drawn.
    pub patch: Option<Arc<MaskPatch>>,
    /// How strongly: 1 if trusted, falling to 0 at the age limit.
    pub opacity: f32,
    /// Time since the mask was last known to be right where it is.
    pub age: Duration,
    /// Time since the picture in which the model saw it; without a mask, since the one of the last
    /// result.
    pub result_age: Duration,
}

/// What is drawn on each frame. The streaming thread asks for it once a frame; the worker brings
/// results whenever it has one. The worker holds the lock for moments only: it estimates motion on
/// pictures that it has taken out.
#[derive(Debug)]
pub struct Display {
    settings: DisplaySettings,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Counts the clearings: what was begun before one is void after it.
    generation: u64,
    history: History,
    /// Frames in a row whose time was that of the one before.
    repeats: u32,
    tracks: BTreeMap<ObjectId, Track>,
    /// Newest frame when an object was removed: results up to it are void.
    removed: BTreeMap<ObjectId, u64>,
}

#[derive(Debug, Default)]
struct Track {
    state: State,
    /// The picture's time of the last result.
    result_pts: Duration,
    moving: Option<Moving>,
}

impl Display {
    /// Nothing to draw yet.
    pub fn new(settings: DisplaySettings) -> Self {
        Self { settings, shared: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame in and tells what to draw on it, at most [`MAX_OBJECTS`] entries by rising
    /// number. For the streaming thread, once a frame. Everything is forgotten if the number does
    /// not rise, the time `pts` jumps back or stands still, or the size changes.
    pub fn frame(&self, number: u64, pts: Duration, grey: GreyPicture) -> Vec<Shown> {
        let mut shared = self.lock();
        shared.check(number, pts, &grey);
        let passed = Arc::new(Passed { number, pts, grey });
        shared.history.push(passed.clone());
        let timeless = shared.repeats > 0;
        let moving = shared.tracks.values().filter(|track| track.moving.is_some()).count();
        let (all, fewest, most) = POINTS;
        let points = (all / moving.max(1)).clamp(fewest, most);
        let mut shown = Vec::with_capacity(shared.tracks.len());
        for (&object, track) in &mut shared.tracks {
            if self.settings.warp {
                track.follow(&passed, points);
            }
            // Without a time that rises nobody knows how old a mask is that no longer moves.
            if timeless && track.moving.as_ref().is_some_and(|m| m.broken || !self.settings.warp) {
                track.moving = None;
            }
            shown.push(self.show(object, track, pts));
        }
        shown
    }

    /// What to draw of an object; a mask that became too old is forgotten.
    fn show(&self, object: ObjectId, track: &mut Track, pts: Duration) -> Shown {
        let limit = self.settings.age_limit;
        let strength = |moving: &Moving| {
            if pts.saturating_sub(moving.source_pts) > self.settings.confirm_limit {
                return None;
            }
            let doubt = moving.doubted_at.map_or(Duration::ZERO, |since| pts.saturating_sub(since));
            Some(faded(pts.saturating_sub(moving.at.pts), limit)? * faded(doubt, limit)?)
        };
        let opacity = track.moving.as_ref().and_then(strength);
        if opacity.is_none() {
            track.moving = None;
        }
        let moving = track.moving.as_ref();
        // A word that nobody has confirmed for too long is void.
        let since_result = pts.saturating_sub(track.result_pts);
        if moving.is_none() && since_result > self.settings.confirm_limit {
            track.state = State::Searching;
        }
        // The mask is gone and no result has told yet what became of the object.
        let state = match track.state {
            State::Tracking if moving.is_none() => State::Uncertain,
            state => state,
        };
        Shown {
            object,
            state,
            patch: moving.map(|moving| moving.patch.clone()),
            opacity: opacity.unwrap_or(0.0),
            age: pts.saturating_sub(moving.map_or(track.result_pts, |moving| moving.at.pts)),
            result_age: pts.saturating_sub(moving.map_or(track.result_pts, |m| m.source_pts)),
        }
    }

    /// Takes a result in. Its masks catch up with the newest frame before they are shown. For the
    /// worker. What belongs to frames before the last clearing is ignored.
    pub fn result(&self, result: &LiveResult) {
        for object in &result.objects {
            if !(1..=MAX_OBJECTS).contains(&usize::from(object.object)) {
                continue;
            }
            let (generation, start) = {
                let mut shared = self.lock();
                let start = shared.history.find(result.number, result.pts).cloned();
                if start.is_none() && !shared.history.forgot(result.number, result.pts) {
                    return;
                }
                shared.note(result, object);
                (shared.generation, start)
            };
            let (Some(mask), Some(start)) = (&object.mask, start) else { continue };
            let size = [start.grey.width(), start.grey.height()];
            let hidden = matches!(object.state, State::Searching | State::Lost);
            if hidden || [mask.width(), mask.height()] != size {
                continue;
            }
            let moving = MaskPatch::of(mask).and_then(|patch| self.catch_up(patch, start));
            let mut shared = self.lock();
            if shared.generation == generation
                && let Some(track) = shared.tracks.get_mut(&object.object)
                && track.result_pts == result.pts
            {
                track.moving = moving;
            }
        }
    }

    /// Moves a mask through the history, to the newest frame if its motion can be trusted so far.
    /// `None` if it leaves the picture.
    fn catch_up(&self, patch: MaskPatch, start: Arc<Passed>) -> Option<Moving> {
        let mut moving = Moving::new(patch, start);
        if !self.settings.warp {
            return Some(moving);
        }
        let mut count = usize::MAX;
        for _ in 0..MOST_HOPS {
            let hop = self.lock().history.hop(moving.at.number, HOP, count);
            let Some((next, frames)) = hop else { break };
            match moving.hop(&next, POINTS.2) {
                Hop::Moved => count = frames.saturating_mul(2),
                Hop::Left => return None,
                Hop::Untrusted if frames == 1 => {
                    moving.broken = true;
                    break;
                }
                // Too far at once: try half of the way.
                Hop::Untrusted => count = frames / 2,
            }
        }
        Some(moving)
    }

    /// Where an object is in a frame that passed, at the picture's size; in a frame that is only
    /// about to pass, where it was last. `None` if that is not known.
    pub fn moved_to(&self, object: ObjectId, number: u64) -> Option<Mask> {
        let way = self.lock().tracks.get(&object)?.moving.as_ref()?.way_to(number)?;
        way.mask()
    }

    /// Forgets an object. A result of a frame that has passed by now does not bring it back.
    pub fn remove(&self, object: ObjectId) {
        let mut shared = self.lock();
        shared.tracks.remove(&object);
        if let Some(newest) = shared.history.newest().map(|frame| frame.number)
            && (1..=MAX_OBJECTS).contains(&usize::from(object))
        {
            shared.removed.insert(object, newest);
        }
    }

    /// Forgets all frames and objects, for a source that was built anew.
    pub fn clear(&self) {
        self.lock().clear();
    }
}

impl Shared {
    fn clear(&mut self) {
        *self = Self { generation: self.generation.wrapping_add(1), ..Self::default() };
    }

    /// Clears if a frame does not go on from the one before.
    fn check(&mut self, number: u64, pts: Duration, grey: &GreyPicture) {
        let Some(last) = self.history.newest() else { return };
        let same_size = [last.grey.width(), last.grey.height()] == [grey.width(), grey.height()];
        self.repeats = if pts == last.pts { self.repeats + 1 } else { 0 };
        if !same_size || number <= last.number || pts < last.pts || self.repeats > REPEATS {
            self.clear();
        }
    }

    /// Notes what a result says of an object, but for a new mask.
    fn note(&mut self, result: &LiveResult, object: &ObjectResult) {
        if self.removed.get(&object.object).is_some_and(|&last| result.number <= last) {
            return;
        }
        let newest = self.history.newest().map_or(result.pts, |frame| frame.pts);
        let track = self.tracks.entry(object.object).or_default();
        if result.pts < track.result_pts {
            return;
        }
        track.state = object.state;
        track.result_pts = result.pts;
        match (object.state, &object.mask, &mut track.moving) {
            (State::Searching | State::Lost, ..) => track.moving = None,
            (_, None, Some(moving)) => {
                moving.doubted_at.get_or_insert(newest);
            }
            // The mask before it goes on until the new one has caught up.
            _ => {}
        }
    }
}

impl Track {
    /// Moves the mask on to a new frame; if that cannot be trusted, it stays and ages.
    fn follow(&mut self, to: &Arc<Passed>, points: usize) {
        let Some(moving) = self.moving.as_mut().filter(|moving| !moving.broken) else { return };
        match moving.hop(to, points) {
            Hop::Moved => {}
            Hop::Untrusted => moving.broken = true,
            Hop::Left => self.moving = None,
        }
    }
}

/// How strongly a mask of an age is drawn, at first almost fully; `None` beyond the limit.
fn faded(age: Duration, limit: Duration) -> Option<f32> {
    if age > limit {
        return None;
    }
    if age.is_zero() {
        return Some(1.0);
    }
    let share = age.as_secs_f32() / limit.as_secs_f32();
    Some((1.0 - share * share).clamp(0.0, 1.0))
}
