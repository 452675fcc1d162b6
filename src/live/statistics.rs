use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::State;
use super::{LiveResult, ObjectId, ObjectResult, Shown};
use crate::report::{Latencies, Percentiles};

/// For how long single results are remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Most results that are remembered.
const MOST_REMEMBERED: usize = 4096;
/// Time without a frame after which nothing is in view any more.
const SILENCE: Duration = Duration::from_millis(500);
/// Frames over which rates are measured.
const RATE_FRAMES: usize = 64;

/// What a live run measures of itself. Its memory does not grow with the run.
#[derive(Debug)]
pub struct Statistics {
    start: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    frames: u64,
    marked: u64,
    added_delay: Percentiles,
    mask_age: Percentiles,
    result_age: Percentiles,
    model: Latencies,
    results: VecDeque<ResultPoint>,
    passed: VecDeque<Instant>,
    oldest_shown: Option<Duration>,
    now: BTreeMap<ObjectId, ObjectNow>,
}

/// One result of the model.
#[derive(Clone, Copy, Debug)]
pub struct ResultPoint {
    /// When it came.
    pub at: Instant,
    /// How long the model took.
    pub took: Duration,
    /// The largest age of a shown mask since the result before.
    pub oldest_shown: Option<Duration>,
}

/// How an object is now.
#[derive(Clone, Debug, Default)]
pub struct ObjectNow {
    /// The last result, if there was one.
    pub result: Option<ObjectResult>,
    /// Whether it is in view, as the picture tells.
    pub state: State,
    /// Age of the mask that is shown; `None` if none is.
    pub age: Option<Duration>,
    /// Time from the picture that the model saw to the one shown, if a mask is shown.
    pub result_age: Option<Duration>,
    /// Why it is not followed for the time being, in words.
    pub suspended: Option<String>,
}

/// Figures of a run. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct LiveSummary {
    /// Seconds since the start.
    pub seconds: f64,
    /// Frames that passed the overlay.
    pub frames: u64,
    /// Of those, frames with a mask drawn.
    pub frames_marked: u64,
    /// Delay that the overlay added to a frame.
    pub added_delay: Percentiles,
    /// Age of the masks drawn: time since each was last known to be right where it is.
    pub mask_age: Percentiles,
    /// Time from the frame that the model saw to the frame that its mask is drawn on.
    pub result_age: Percentiles,
    /// The model's time for a result, by stage.
    pub model: Latencies,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { start: Instant::now(), inner: Mutex::default() }
    }
}

impl Statistics {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the run started.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Counts a frame in, once what is drawn on it is known.
    pub fn shown(&self, shown: &[Shown], added_delay: Duration) {
        let mut inner = self.lock();
        inner.frames += 1;
        inner.added_delay.record(added_delay);
        if inner.passed.len() == RATE_FRAMES {
            inner.passed.pop_front();
        }
        inner.passed.push_back(Instant::now());
        let mut marked = false;
        for s in shown {
            let visible = s.patch.is_some();
            marked |= visible;
            if visible {
                inner.mask_age.record(s.age);
                inner.result_age.record(s.result_age);
                inner.oldest_shown = inner.oldest_shown.max(Some(s.age));
            }
            if let Some(now) = inner.now.get_mut(&s.object) {
                now.state = s.state;
                now.age = visible.then_some(s.age);
                now.result_age = visible.then_some(s.result_age);
            }
        }
        inner.marked += u64::from(marked);
    }

    /// Counts a result in.
    pub fn result(&self, result: &LiveResult) {
        let mut inner = self.lock();
        inner.model.record(&result.times);
        let at = Instant::now();
        let old = |p: &ResultPoint| at.duration_since(p.at) > REMEMBERED;
        while inner.results.front().is_some_and(old) || inner.results.len() >= MOST_REMEMBERED {
            inner.results.pop_front();
        }
        let oldest_shown = inner.oldest_shown.take();
        inner.results.push_back(ResultPoint { at, took: result.times.total(), oldest_shown });
        for object in &result.objects {
            let now = inner.now.entry(object.object).or_default();
            now.suspended = None;
            // The mask itself is large and shown elsewhere.
            now.result = Some(ObjectResult { mask: None, ..object.clone() });
        }
    }

    /// Notes an object that is followed from now on.
    pub fn added(&self, object: ObjectId) {
        self.lock().now.insert(object, ObjectNow::default());
    }

    /// Notes that an object is not followed for the time being, and why.
    pub fn suspended(&self, object: ObjectId, reason: &str) {
        let suspended = Some(reason.to_owned());
        self.lock().now.insert(object, ObjectNow { suspended, ..ObjectNow::default() });
    }

    /// Forgets an object.
    pub fn removed(&self, object: ObjectId) {
        self.lock().now.remove(&object);
    }

    /// Every object as it is now. While no frames come, none is in view.
    pub fn objects(&self) -> BTreeMap<ObjectId, ObjectNow> {
        let silent = self.since_frame().is_none_or(|since| since > SILENCE);
        let mut now = self.lock().now.clone();
        if silent {
            now.values_mut().for_each(|now| {
                let (result, suspended) = (now.result.take(), now.suspended.take());
                *now = ObjectNow { result, suspended, ..ObjectNow::default() };
            });
        }
        now
    }

    /// The results of the last minute, oldest first.
    pub fn results(&self) -> Vec<ResultPoint> {
        self.lock().results.iter().copied().collect()
    }

    /// Frames a second, over the last few dozens.
    pub fn frame_rate(&self) -> f64 {
        let inner = self.lock();
        rate(inner.passed.front(), inner.passed.back(), inner.passed.len())
    }

    /// Time since the newest frame.
    pub fn since_frame(&self) -> Option<Duration> {
        self.lock().passed.back().map(Instant::elapsed)
    }

    /// Results a second, over the last few.
    pub fn result_rate(&self) -> f64 {
        let inner = self.lock();
        if inner.results.back().is_none_or(|last| last.at.elapsed() > 10 * SILENCE) {
            return 0.0;
        }
        let last = inner.results.len().saturating_sub(10);
        let recent = inner.results.range(last..);
        rate(
            recent.clone().next().map(|p| &p.at),
            recent.clone().last().map(|p| &p.at),
            recent.len(),
        )
    }

    /// The figures so far.
    pub fn summary(&self) -> LiveSummary {
        let inner = self.lock();
        LiveSummary {
            seconds: self.start.elapsed().as_secs_f64(),
            frames: inner.frames,
            frames_marked: inner.marked,
            added_delay: inner.added_delay.clone(),
            mask_age: inner.mask_age.clone(),
            result_age: inner.result_age.clone(),
            model: inner.model.clone(),
        }
    }
}

fn rate(first: Option<&Instant>, last: Option<&Instant>, count: usize) -> f64 {
    let (Some(first), Some(last)) = (first, last) else { return 0.0 };
    let seconds = last.duration_since(*first).as_secs_f64();
    if seconds > 0.0 { (count - 1) as f64 / seconds } else { 0.0 }
}
