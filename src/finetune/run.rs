use std::path::PathBuf;
use std::time::Instant;

use burn::Dispatch;
use crossbeam_channel::bounded;
use serde::{Deserialize, Serialize};

use super::batch::{Batch, InputKind};
use super::features::FeatureCache;
use super::output::{log, rewind_log, save_learnt};
use super::state::{self, Progress};
use super::trainer::Trainer;
use super::validate::validate;
use super::{
    FinetuneError, FinetuneOptions, StepLosses, TrainedPart, TrainingData, ValidationScores,
};
use crate::augment::Augmentation;
use crate::sam::{
    Architecture, Base, Device, Metadata, Model, Normalisation, Sam, adapter_info, load_adapted,
    load_unfused, save_native,
};
use crate::weights::{find_base, sha256};

/// Batches prepared ahead of the step that needs them.
const AHEAD: usize = 2;

/// What training starts from and where its results go.
#[derive(Clone, Debug)]
pub struct Start {
    /// The weights file.
    pub weights: PathBuf,
    /// The architecture, if the weights' tensors are not to decide.
    pub architecture: Option<Architecture>,
    /// How pixel values enter the model, if not as the architecture's usually do.
    pub normalisation: Option<Normalisation>,
    /// Where the model runs.
    pub device: Device,
    /// The run's folder; made if it is not there. If it holds a state, the run goes on from it.
    pub folder: PathBuf,
    /// What an adapter is to say of itself beside recipe and score: data, licence.
    pub metadata: Metadata,
    /// Where the features of an encoder that does not learn are kept, for this run and others; made
    /// if it is not there. One file for each picture to train on, half a megabyte at an input of 512.
    pub cache: Option<PathBuf>,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricsLine {
    /// A step of the optimiser.
    Step {
        /// Counted from 1.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// Mean losses of the step.
        #[serde(flatten)]
        losses: StepLosses,
        /// Learning rate.
        rate: f64,
        /// Seconds that the step took.
        seconds: f64,
    },
    /// A validation after a step.
    Validation {
        /// The step; 0 is before training.
        step: u64,
        /// Mean Dice on the pictures held out.
        #[serde(flatten)]
        scores: ValidationScores,
        /// Whether it is the best so far, and its weights were kept.
        best: bool,
        /// Seconds that it took.
        seconds: f64,
    },
}

impl MetricsLine {
    pub(super) fn step(&self) -> u64 {
        match self {
            Self::Step { step, .. } | Self::Validation { step, .. } => *step,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finetuned {
    /// The weights of the best validation; without pictures held out those of the last step. `None`
    /// if no better ones than the first were found yet.
    pub weights: Option<PathBuf>,
    /// Steps done, and of how many.
    pub steps: (u64, u64),
    /// The step that this part of the run began at.
    pub resumed_at: u64,
    /// The best score and its step.
    pub best: Option<(f64, u64)>,
    /// Whether it was stopped before its end; the same call goes on with it.
    pub interrupted: bool,
    /// Whether it ended as no validation was better for too long.
    pub early: bool,
    /// Seconds spent, all parts of the run together.
    pub seconds: f64,
}

/// Trains a model. Each line of the log is handed to `watch` as it is written; `stop` is asked after
/// every step whether to save the state and end.
///
/// # Errors
/// [`FinetuneError`]; the state last saved stays as it was.
pub fn finetune(
    start: &Start,
    data: &TrainingData,
    options: &FinetuneOptions,
    watch: &mut dyn FnMut(&MetricsLine),
    stop: &dyn Fn() -> bool,
) -> Result<Finetuned, FinetuneError> {
    let Start { weights, device, .. } = start;
    let (model, architecture) = match adapter_info(weights)? {
        Some(_) if options.adapter => {
            return Err(FinetuneError::Settings(format!(
                "{} is an adapter itself, which another cannot change; save a model, or start from \
                 one",
                weights.display()
            )));
        }
        Some(info) => load_adapted(&find_base(weights, &info)?, weights, device)?,
        None => load_unfused(weights, start.architecture, device)?,
    };
    Run::begin(model, architecture, start, data, options)?.run(watch, stop)
}

pub(super) struct Run<'a> {
    trainer: Trainer,
    progress: Progress,
    steps: u64,
    start: &'a Start,
    data: &'a TrainingData,
    options: &'a FinetuneOptions,
}

impl<'a> Run<'a> {
    pub(super) fn begin(
        model: Model<Dispatch>,
        architecture: Architecture,
        start: &'a Start,
        data: &'a TrainingData,
        options: &'a FinetuneOptions,
    ) -> Result<Self, FinetuneError> {
        options.check(architecture, data.train.len(), data.absent.len())?;
        let cached = start.cache.is_some();
        let changed = options.augment != Augmentation::None;
        if cached && (options.part != TrainedPart::Decoder || changed) {
            return Err(FinetuneError::Settings(
                "a cache of encoder features needs --train decoder and pictures as they are: it \
                 holds neither those of an encoder that learns nor those of changed pictures"
                    .to_owned(),
            ));
        }
        std::fs::create_dir_all(&start.folder)
            .map_err(|e| FinetuneError::file(&start.folder, e))?;
        let kind = InputKind {
            architecture,
            normalisation: start.normalisation.unwrap_or(architecture.normalisation()),
            side: options.input_side,
            cached,
        };
        let mut trainer = Trainer::new(model.for_training(), kind, &start.device, options);
        let mut progress = Progress {
            step: 0,
            best: None,
            worse: 0,
            seconds: 0.0,
            options: options.clone(),
            data: data.fingerprint.clone(),
            weights: sha256(&start.weights)?,
            cached,
        };
        if let Some(folder) = &start.cache {
            trainer.keep_features(FeatureCache::new(folder, &progress.weights, kind)?);
        }
        let path = start.folder.join(STATE);
        if let Some(saved) = state::read(&path)? {
            let then = &saved.progress;
            let mut differences = options.differences(&then.options);
            for (name, then, now) in [
                ("data", &then.data, &progress.data),
                ("weights", &then.weights, &progress.weights),
            ] {
                if then != now {
                    differences.push(format!("the {name} are not the same any more"));
                }
            }
            if then.cached != cached {
                differences.push(format!("cached features: {} then, {cached} now", then.cached));
            }
            if !differences.is_empty() {
                return Err(FinetuneError::OtherRun { folder: start.folder.clone(), differences });
            }
            progress = Progress { options: options.clone(), ..then.clone() };
            saved.restore(&path, &mut trainer)?;
        }
        rewind_log(&start.folder.join(LOG), progress.step)?;
        let steps = options.steps(data.train.len());
        Ok(Self { trainer, progress, steps, start, data, options })
    }

    pub(super) fn run(
        mut self,
        watch: &mut dyn FnMut(&MetricsLine),
        stop: &dyn Fn() -> bool,
    ) -> Result<Finetuned, FinetuneError> {
        let resumed_at = self.progress.step;
        let (mut interrupted, mut early) = (false, false);
        if resumed_at == 0 && !self.data.held_out.is_empty() {
            self.validate(watch)?;
        }
        let (data, options, kind) = (self.data, self.options, self.trainer.kind);
        let steps = self.steps;
        std::thread::scope(|scope| {
            let (sender, receiver) = bounded(AHEAD);
            scope.spawn(move || {
                for step in resumed_at..steps {
                    if sender.send(batches(data, options, kind, step)).is_err() {
                        break;
                    }
                }
            });
            // The receiver must be gone before the scope ends, or its thread would wait for ever.
            for batches in receiver {
                self.step(&batches?, watch)?;
                let done = self.progress.step;
                if done.is_multiple_of(options.validate_every) || done == steps {
                    early = self.checked(watch)?;
                }
                interrupted = done < steps && !early && stop();
                if done.is_multiple_of(options.save_every) || done == steps || interrupted || early
                {
                    self.save()?;
                }
                if interrupted || early {
                    break;
                }
            }
            Ok::<(), FinetuneError>(())
        })?;
        let weights = Some(self.best()).filter(|path| path.is_file());
        Ok(Finetuned {
            weights,
            steps: (self.progress.step, steps),
            resumed_at,
            best: self.progress.best,
            interrupted,
            early,
            seconds: self.progress.seconds,
        })
    }

    fn step(
        &mut self,
        batches: &[Batch],
        watch: &mut dyn FnMut(&MetricsLine),
    ) -> Result<(), FinetuneError> {
        let began = Instant::now();
        let step = self.progress.step;
        let rate = self.options.rate(step, self.steps);
        let losses = self
            .trainer
            .step(batches, step, rate)
            .map_err(|error| error.of(step, batches, &self.start.folder))?;
        self.progress.step += 1;
        let seconds = began.elapsed().as_secs_f64();
        self.progress.seconds += seconds;
        let line = MetricsLine::Step { step: step + 1, steps: self.steps, losses, rate, seconds };
        self.log(&line, watch)
    }

    /// Scores the model, keeps it if it is the best, and says whether the run should end.
    fn checked(&mut self, watch: &mut dyn FnMut(&MetricsLine)) -> Result<bool, FinetuneError> {
        if self.data.held_out.is_empty() {
            if self.progress.step == self.steps {
                self.keep()?;
            }
            return Ok(false);
        }
        self.validate(watch)?;
        Ok(self.options.patience.is_some_and(|most| self.progress.worse >= most)
            && self.progress.step < self.steps)
    }

    fn validate(&mut self, watch: &mut dyn FnMut(&MetricsLine)) -> Result<(), FinetuneError> {
        let began = Instant::now();
        let kind = self.trainer.kind;
        let sam = Sam::of_model(
            self.trainer.for_inference().fused(),
            kind.architecture,
            kind.normalisation,
            &self.start.device,
        );
        let sam = if kind.architecture.takes_any_size() {
            sam.with_trimmed_input(kind.side)?
        } else {
            sam
        };
        let scores = validate(&sam, self.data, self.options.seed)?;
        let step = self.progress.step;
        let best = self.progress.best.is_none_or(|(best, _)| scores.score() > best);
        if best {
            self.progress.best = Some((scores.score(), step));
            self.progress.worse = 0;
            // What training starts from is there already.
            if step > 0 {
                self.keep()?;
            }
        } else {
            self.progress.worse += 1;
        }
        let seconds = began.elapsed().as_secs_f64();
        self.progress.seconds += seconds;
        self.log(&MetricsLine::Validation { step, scores, best, seconds }, watch)
    }

    #[cfg(test)]
    pub(super) fn for_inference(&self) -> Model<Dispatch> {
        self.trainer.for_inference()
    }

    /// Where the best weights go.
    fn best(&self) -> PathBuf {
        self.start.folder.join(if self.options.adapter { ADAPTER } else { BEST })
    }

    fn keep(&self) -> Result<(), FinetuneError> {
        let (path, options) = (self.best(), self.options);
        if !options.adapter {
            let model = self.trainer.for_inference();
            save_native(&model, self.trainer.kind.architecture, &path, options.half)?;
            return Ok(());
        }
        let Progress { step, best, weights, .. } = &self.progress;
        let base = Base { path: self.start.weights.clone(), sha256: weights.clone() };
        let mut metadata = self.start.metadata.clone();
        let recipe = serde_json::to_string(options).map_err(|e| FinetuneError::file(&path, e))?;
        let scores = match best {
            Some((score, _)) => format!("mean Dice {score:.4} on pictures held out, step {step}"),
            None => format!("none, step {step}"),
        };
        for (name, text) in [("recipe", recipe), ("validation", scores)] {
            metadata.entry(name.to_owned()).or_insert(text);
        }
        save_learnt(&path, &self.trainer, options, &base, &metadata)
    }

    fn save(&self) -> Result<(), FinetuneError> {
        state::save(&self.start.folder.join(STATE), &self.progress, &self.trainer)
    }

    fn log(
        &self,
        line: &MetricsLine,
        watch: &mut dyn FnMut(&MetricsLine),
    ) -> Result<(), FinetuneError> {
        log(&self.start.folder.join(LOG), line)?;
        watch(line);
        Ok(())
    }
}

/// File names in a run's folder.
pub(super) const STATE: &str = "state.bin";
pub(super) const BEST: &str = "best.bpk";
pub(super) const ADAPTER: &str = "adapter.safetensors";
pub(super) const LOG: &str = "metrics.jsonl";

/// All batches of a step.
fn batches(
    data: &TrainingData,
    options: &FinetuneOptions,
    kind: InputKind,
    step: u64,
) -> Result<Vec<Batch>, FinetuneError> {
    let each = options.accumulate as u64;
    (step * each..(step + 1) * each)
        .map(|number| Batch::read(data, kind, options, number))
        .collect()
}
