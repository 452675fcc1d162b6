use std::time::{Duration, Instant};

use crate::image::Frame;
use crate::method::{StageTimes, Track, Tracker};

/// How frames come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// One after the other, as fast as the work goes, until there are that many.
    Frames(usize),
    /// The same until both that many are there and that much time is over, as MLPerf's single
    /// stream asks for.
    AtLeast(usize, Duration),
    /// So many a second as from a camera, whether or not the work keeps up; a newer frame replaces
    /// one that waits. Until that many were worked on.
    Paced(f64, usize),
}

/// What is done with a frame beside finding the object.
pub trait Stages {
    /// Goes on to the next picture; there is always one.
    ///
    /// # Errors
    /// Whatever reading can fail with.
    fn read(&mut self) -> Result<&Frame, MeasureError>;

    /// Draws the mask on the picture that was read last and writes it; returns how long each took.
    ///
    /// # Errors
    /// Whatever writing can fail with.
    fn show(&mut self, track: &Track) -> Result<[Duration; 2], MeasureError>;

    /// Whether the user wants it to end.
    fn stopped(&self) -> bool;
}

/// What stops a measurement.
pub type MeasureError = Box<dyn std::error::Error + Send + Sync>;

/// Milliseconds of every measured frame.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// From a frame's first stage to its last.
    pub whole: Vec<f64>,
    /// By stage, in the order of a frame's way.
    pub stages: Vec<(&'static str, Vec<f64>)>,
    /// From a frame's coming to the start of its work; empty unless paced.
    pub waiting: Vec<f64>,
    /// From a frame's coming to its result; empty unless paced.
    pub age: Vec<f64>,
    /// Frames that a newer one replaced.
    pub dropped: usize,
    /// Wall time of all measured frames.
    pub seconds: f64,
}

impl Measured {
    fn add(&mut self, stages: &[(&'static str, Duration)], whole: Duration) {
        if self.stages.is_empty() {
            self.stages = stages.iter().map(|(name, _)| (*name, Vec::new())).collect();
        }
        for ((_, series), (_, time)) in self.stages.iter_mut().zip(stages) {
            series.push(milliseconds(*time));
        }
        self.whole.push(milliseconds(whole));
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The stages of a frame by name, in their order.
fn by_name(
    read: Duration,
    times: &StageTimes,
    [draw, write]: [Duration; 2],
) -> [(&'static str, Duration); 12] {
    let StageTimes { preprocess, upload, encode, prompts, passes, retrieval, restore } = *times;
    let [first, second, third] = passes;
    [
        ("read", read),
        ("preprocess", preprocess),
        ("upload", upload),
        ("encode", encode),
        ("prompts", prompts),
        ("pass 1", first),
        ("pass 2", second),
        ("pass 3", third),
        ("retrieval", retrieval),
        ("restore", restore),
        ("draw", draw),
        ("write", write),
    ]
}

/// Follows the object for `warmup` frames, and then for the measured ones.
///
/// In a paced measurement, pictures are read before they are due, as a camera's are, and reading is
/// no part of the work.
///
/// # Errors
/// The model's, or those of reading and writing.
pub fn measure(
    tracker: &mut Tracker,
    stages: &mut impl Stages,
    warmup: usize,
    pace: Pace,
) -> Result<Measured, MeasureError> {
    for _ in 0..warmup {
        if stages.stopped() {
            return Ok(Measured::default());
        }
        let track = tracker.step(stages.read()?)?;
        stages.show(&track)?;
    }
    match pace {
        Pace::Frames(count) => unpaced(tracker, stages, count, Duration::ZERO),
        Pace::AtLeast(count, time) => unpaced(tracker, stages, count, time),
        Pace::Paced(rate, count) => paced(tracker, stages, rate, count),
    }
}

fn unpaced(
    tracker: &mut Tracker,
    stages: &mut impl Stages,
    count: usize,
    time: Duration,
) -> Result<Measured, MeasureError> {
    let mut measured = Measured::default();
    let start = Instant::now();
    while (measured.whole.len() < count || start.elapsed() < time) && !stages.stopped() {
        let begin = Instant::now();
        let frame = stages.read()?;
        let read = begin.elapsed();
        let track = tracker.step(frame)?;
        let shown = stages.show(&track)?;
        measured.add(&by_name(read, &track.times, shown), begin.elapsed());
    }
    measured.seconds = start.elapsed().as_secs_f64();
    Ok(measured)
}

fn paced(
    tracker: &mut Tracker,
    stages: &mut impl Stages,
    rate: f64,
    count: usize,
) -> Result<Measured, MeasureError> {
    let mut measured = Measured::default();
    let due = |number: u64| Duration::from_secs_f64(number as f64 / rate);
    let start = Instant::now();
    // Number of the frame to work on next at the earliest.
    let mut next = 0_u64;
    while measured.whole.len() < count && !stages.stopped() {
        let newest = (start.elapsed().as_secs_f64() * rate) as u64;
        let number = newest.max(next);
        for _ in next..number {
            stages.read()?;
            measured.dropped += 1;
        }
        let frame = stages.read()?;
        next = number + 1;
        std::thread::sleep(due(number).saturating_sub(start.elapsed()));
        let begin = Instant::now();
        measured.waiting.push(milliseconds((begin - start).saturating_sub(due(number))));
        let track = tracker.step(frame)?;
        let shown = stages.show(&track)?;
        measured.add(&by_name(Duration::ZERO, &track.times, shown), begin.elapsed());
        measured.age.push(milliseconds(start.elapsed().saturating_sub(due(number))));
    }
    measured.seconds = start.elapsed().as_secs_f64();
    Ok(measured)
}
