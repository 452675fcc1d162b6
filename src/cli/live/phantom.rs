//! The source `phantom:`: the synthetic clip, rendered once, in an endless loop, with its truth.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use crossbeam_channel::{Sender, bounded};
use p2sam::live::{Shown, give_way};
use p2sam::stream::live::SourceSpec;
use p2sam::{
    Accuracy, Annotation, Difficulty, Frame, Mask, MaskPatch, Phantom, PhantomOptions, Scores,
    Yuv420, dice,
};
use rayon::prelude::*;

use crate::cli::{interrupt, outputs::progress_bar};

/// The user stopped the program while the clip was rendered.
#[derive(Debug, thiserror::Error)]
#[error("stopped while the phantom was rendered")]
pub struct Interrupted;

/// Most bytes of rendered frames.
const MOST_BYTES: usize = 1 << 30;

/// A rendered clip that goes on without a jump from its end to its start.
pub struct Clip {
    frames: Vec<Yuv420>,
    masks: Vec<Mask>,
    first: Frame,
    rate: u32,
}

impl Clip {
    /// Renders what `phantom:?width=640&height=360&fps=25&seconds=12&seed=1&difficulty=normal` asks
    /// for; `options` is what stands behind the colon.
    pub fn render(options: &str) -> anyhow::Result<Self> {
        let mut phantom = PhantomOptions::default();
        let (mut rate, mut seconds) = (25, 12);
        for pair in options.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = || {
                value.parse::<u32>().ok().filter(|v| *v > 0).with_context(|| {
                    format!("phantom: {name} needs a whole number above 0, not '{value}'")
                })
            };
            match name {
                "width" => phantom.width = number()?,
                "height" => phantom.height = number()?,
                "fps" => rate = number()?,
                "seconds" => seconds = number()?,
                "seed" => phantom.seed = u64::from(number()?),
                "difficulty" => {
                    phantom.difficulty = match value {
                        "easy" => Difficulty::Easy,
                        "normal" => Difficulty::Normal,
                        "hard" => Difficulty::Hard,
                        _ => {
                            bail!("phantom: the difficulty is easy, normal or hard, not '{value}'")
                        }
                    }
                }
                _ => bail!(
                    "phantom: has no option '{name}'; it has width, height, fps, seconds, seed and \
                     difficulty"
                ),
            }
        }
        phantom.frames_per_second = f64::from(rate);
        phantom.frames = rate.saturating_mul(seconds);
        let bytes = Yuv420::bytes(phantom.width, phantom.height);
        if bytes.saturating_mul(phantom.frames as usize) > MOST_BYTES {
            bail!("phantom: the clip takes over 1 GiB; ask for a smaller picture or fewer seconds");
        }
        let phantom = Phantom::new(phantom)?;
        let bar = progress_bar(Some(u64::from(phantom.options().frames)));
        let rendered: Vec<(Yuv420, Mask)> = (0..phantom.options().frames)
            .into_par_iter()
            .map(|index| {
                if interrupt::requested() {
                    bail!(Interrupted);
                }
                let shown = phantom.render(index)?;
                bar.inc(1);
                Ok((Yuv420::from_frame(&shown.frame), shown.mask))
            })
            .collect::<anyhow::Result<_>>()?;
        bar.finish_and_clear();
        let first = phantom.render(0)?.frame;
        let (frames, masks) = rendered.into_iter().unzip();
        Ok(Self { frames, masks, first, rate })
    }

    /// The annotated picture.
    pub fn reference(&self) -> (Frame, Annotation) {
        (self.first.clone(), Annotation::from(&self.masks[0]))
    }

    /// The clip as a source without end.
    pub fn source(self: &Arc<Self>) -> SourceSpec {
        let clip = Arc::clone(self);
        let make = move |number: u64| {
            clip.frames.get((number % clip.frames.len() as u64) as usize).cloned()
        };
        SourceSpec::Frames { make: Arc::new(make), rate: (self.rate, 1) }
    }
}

/// Number of a frame, and the mask shown on it.
type Shot = (u64, Option<Arc<MaskPatch>>);

/// Scores what is shown against the clip's truth, on a thread of its own.
pub struct Judge {
    /// `None` once it is finished.
    work: Mutex<Option<(Sender<Shot>, JoinHandle<()>)>>,
    score: Arc<Mutex<Score>>,
}

#[derive(Default)]
struct Score {
    accuracy: Accuracy,
    /// Frames since the polyp came back, while it is not yet marked.
    waiting: Option<u32>,
    /// Whether the frame before showed it; `None` before the first.
    was_present: Option<bool>,
    returns: Vec<f64>,
    unscored: u64,
}

/// How well the phantom's polyp was marked on the frames as they were shown.
#[derive(serde::Serialize)]
pub struct PhantomScores {
    #[serde(flatten)]
    scores: Scores,
    /// Share of the frames without the polyp that show a mask.
    false_mark_share: f64,
    /// Seconds of video from each return of the polyp to the first frame that marks it.
    seconds_to_mark_again: Vec<f64>,
    /// Frames that came too fast to be scored.
    unscored: u64,
}

impl Judge {
    /// Starts the thread.
    pub fn start(clip: Arc<Clip>) -> anyhow::Result<Self> {
        let (frames, incoming) = bounded::<Shot>(256);
        let score = Arc::new(Mutex::new(Score::default()));
        let shared = Arc::clone(&score);
        let thread = std::thread::Builder::new().name("judge".to_owned()).spawn(move || {
            give_way();
            for (number, patch) in incoming {
                let truth = &clip.masks[(number % clip.masks.len() as u64) as usize];
                let mut score = shared.lock().unwrap_or_else(PoisonError::into_inner);
                score.frame(truth, patch.as_deref(), clip.rate);
            }
        })?;
        Ok(Self { work: Mutex::new(Some((frames, thread))), score })
    }

    /// Takes a shown frame, unless too many wait. Never waits itself.
    pub fn frame(&self, number: u64, shown: &[Shown]) {
        let patch = shown.first().and_then(|s| s.patch.clone());
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if work.as_ref().is_some_and(|(frames, _)| frames.try_send((number, patch)).is_err()) {
            self.score.lock().unwrap_or_else(PoisonError::into_inner).unscored += 1;
        }
    }

    /// What came of it.
    pub fn finish(&self) -> PhantomScores {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((frames, thread)) = work {
            drop(frames);
            let _ = thread.join();
        }
        let score = self.score.lock().unwrap_or_else(PoisonError::into_inner);
        let scores = score.accuracy.scores();
        PhantomScores {
            false_mark_share: scores.false_marks as f64 / scores.frames_absent.max(1) as f64,
            scores,
            seconds_to_mark_again: score.returns.clone(),
            unscored: score.unscored,
        }
    }
}

impl Score {
    fn frame(&mut self, truth: &Mask, patch: Option<&MaskPatch>, rate: u32) {
        let (width, height) = (truth.width(), truth.height());
        let empty = || Mask::new(width, height, vec![false; truth.data().len()]).ok();
        let mask = patch.map_or_else(empty, |patch| patch.to_mask(width, height));
        let Some(dice) = mask.as_ref().and_then(|mask| dice(mask, truth)) else { return };
        let (present, marked) = (truth.area() > 0, patch.is_some());
        self.accuracy.record(dice, present, marked);
        if present && self.was_present == Some(false) {
            self.waiting = Some(0);
        }
        if !present {
            self.waiting = None;
        }
        if let Some(frames) = &mut self.waiting {
            if marked && dice > 0.5 {
                self.returns.push(f64::from(*frames) / f64::from(rate));
                self.waiting = None;
            } else {
                *frames += 1;
            }
        }
        self.was_present = Some(present);
    }
}
