mod volume;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Parser};
use indicatif::ProgressBar;
use p2sam::{
    Accuracy, EndReport, Foreground, FrameRecord, ImageSeries, Latencies, Mask, MethodConfig,
    Picture, PresenceModel, Sam, Scores, SourceOptions, Summary, Tracker, VolumeSummary, Worker,
    dice, find_weights, peak_memory,
};

use super::method::MethodArgs;
use super::model::ModelArgs;
use super::outputs::{Inputs, OutputArgs, Outputs, progress_bar, write_text};
use super::reference::{Frames, ReferenceArgs};
use super::{Outcome, interrupt};
use volume::VolumeArgs;

/// Pictures between reading and writing: one in each queue of the worker and one in work.
const IN_FLIGHT: usize = 3;

/// The arguments of `p2sam track`.
#[derive(Args)]
#[command(after_help = "Examples:
  p2sam track clip.mp4 --reference mask.png -o overlay.mkv
  p2sam track clip.mp4 --reference-frame 12.5s --point 320,180 -o overlay.mp4 --jsonl frames.jsonl
  p2sam track 'slices/*.png' --reference-image visit1.png --reference visit1-mask.png --masks out
  p2sam track clip.mp4 --reference-frame 0 --reference a.png --reference-frame 12.5s --reference b.png -o o.mkv
  p2sam track VISIT2/ --reference-image VISIT1/ --reference contours.dcm --roi GTV-1 --seg seg.dcm
  p2sam track frames/ --box 250,120,400,260 --coco masks.json --json")]
pub struct TrackArgs {
    /// A video, a folder or pattern of pictures, a list of them (.txt), or a volume: a folder of DICOM
    /// files or a NIfTI file (.nii, .nii.gz).
    input: PathBuf,
    #[command(flatten)]
    reference: ReferenceArgs,
    /// Find the object on annotated frames, too, instead of keeping the masks that were given.
    #[arg(long, help_heading = "Reference")]
    refine_annotated: bool,
    #[command(flatten)]
    outputs: OutputArgs,
    #[command(flatten)]
    volume: VolumeArgs,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// True masks to score against: a folder (NNNNNN.png by frame, or the pictures' names), or of a
    /// volume anything that --reference takes.
    #[arg(long, value_name = "MASKS", help_heading = "Output")]
    truth: Option<PathBuf>,
    /// Frames a second of a series of images, N or N/D.
    #[arg(long, value_name = "RATE", default_value = "25", help_heading = "Input")]
    image_rate: Rate,
    /// Which of several video tracks, from 0 in the file's order [default: the one that players show].
    #[arg(long = "track", value_name = "N", help_heading = "Input")]
    video_track: Option<usize>,
}

#[derive(Clone, Copy)]
struct Rate(u32, u32);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| {
            text.parse::<u32>()
                .ok()
                .filter(|&v| v > 0)
                .ok_or_else(|| format!("'{text}' is no rate such as 25 or 30000/1001"))
        };
        Ok(match text.split_once('/') {
            Some((num, den)) => Self(side(num)?, side(den)?),
            None => Self(side(text)?, 1),
        })
    }
}

impl TrackArgs {
    /// The arguments of a line of words, with a method and a model that are given.
    pub fn of_words(
        words: impl IntoIterator<Item = std::ffi::OsString>,
        method: MethodArgs,
        model: ModelArgs,
    ) -> Result<Self, clap::Error> {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            track: TrackArgs,
        }
        let words = std::iter::once("track".into()).chain(words);
        Ok(Self { method, model, ..Line::try_parse_from(words)?.track }.settled())
    }

    /// In a volume the object is what --roi names, too.
    fn settled(mut self) -> Self {
        if self.volume.roi.is_none() && volume::is_volume(&self) {
            self.volume.roi = self.reference.object();
        }
        self
    }

    /// The method's settings.
    fn config(&self) -> MethodConfig {
        let config = self.method.config();
        MethodConfig { temporal: config.temporal || self.volume.propagate, ..config }
    }

    /// Every single file that is read.
    fn inputs(&self) -> impl Iterator<Item = &Path> {
        let weights = Path::new(&self.model.weights);
        let single = [Some(self.input.as_path()), Some(weights).filter(|path| path.is_file())];
        single.into_iter().flatten().chain(self.reference.files())
    }
}

/// Runs `p2sam track`.
pub fn run(args: TrackArgs) -> anyhow::Result<Outcome> {
    let args = args.settled();
    let load = || {
        interrupt::install()?;
        Ok(Arc::new(args.model.load_for(args.method.profile())?))
    };
    let summary = track(&args, load, progress_bar)?;
    if args.outputs.json {
        say!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print_summary(&summary, &args);
    }
    for warning in summary.problems.iter().chain(&summary.warnings) {
        tell!("warning: {warning}");
    }
    Ok(match (summary.interrupted, summary.complete) {
        (true, _) => Outcome::Interrupted,
        (false, true) => Outcome::Done,
        (false, false) => Outcome::Incomplete,
    })
}

/// Follows the object through one recording and writes what is asked for. The model is loaded once
/// the input is known to be good; `bar` shows how far it is, given the number of frames.
pub fn track(
    args: &TrackArgs,
    load: impl FnOnce() -> anyhow::Result<Arc<Sam>>,
    bar: impl FnOnce(Option<u64>) -> ProgressBar,
) -> anyhow::Result<Summary> {
    if volume::is_volume(args) {
        return volume::track(args, load, bar);
    }
    args.volume.check_unused()?;
    args.reference.check()?;
    let mut inputs = Inputs {
        pictures: Vec::new(),
        others: args.inputs().map(PathBuf::from).collect(),
        truth: args.truth.clone(),
    };
    args.outputs.check(&args.inputs().collect::<Vec<_>>(), &[])?;
    let config = args.config();
    config.validate()?;
    let options = SourceOptions {
        image_rate: (args.image_rate.0, args.image_rate.1),
        track: args.video_track,
        ..SourceOptions::default()
    };
    if let Some(folder) = args.truth.as_ref().filter(|folder| !folder.is_dir()) {
        bail!("{} is no folder of true masks", folder.display());
    }
    if args.video_track.is_some() && ImageSeries::is_series(&args.input) {
        bail!("--track chooses among the tracks of a video, and {} is none", args.input.display());
    }
    // A bad mask is told before the model is loaded.
    let mut annotated = args.reference.read(&args.input, &options)?;
    let frames = match annotated.rest.take() {
        Some(frames) => frames,
        None => Frames::open(&args.input, &options)?,
    };
    if let Some(images) = frames.source.images() {
        annotated.find_among(images.files(), &args.reference);
        inputs.pictures = images.files().to_vec();
    }
    let outputs = Outputs::create(&args.outputs, frames.source.info(), &inputs)?;

    let sam = load()?;
    let reference = annotated.reference(&sam, &args.reference, &config)?;
    for place in reference.contradicting() {
        tell!(
            "warning: what is annotated at {} looks less like the other annotated objects than like \
             its own surroundings",
            annotated.places.get(place).map_or("one of the frames", String::as_str)
        );
    }
    let presence = args.method.presence(&sam)?;
    let place = annotated.places.join(", ");
    let given = match args.refine_annotated {
        true => BTreeMap::new(),
        false => annotated.by_frame(),
    };
    drop(annotated);
    let mut tracker = Tracker::new(Arc::clone(&sam), reference, config)?;
    if let Some(model) = presence {
        tracker = tracker.with_presence(model);
    }
    let bar = bar(frames.source.end_report().expected);
    let run = follow(frames, tracker, given, outputs, args.truth.as_ref(), bar)?;
    summarise(args, &sam, place, presence, run)
}

/// What came of a run.
struct Run {
    report: EndReport,
    size: (u32, u32),
    written: u64,
    interrupted: bool,
    seconds: f64,
    latency: Latencies,
    scores: Option<Scores>,
    /// The object in a volume.
    volume: Option<VolumeSummary>,
}

/// Reads, tracks and writes every frame in order.
fn follow(
    mut frames: Frames,
    tracker: Tracker,
    given: BTreeMap<u64, Mask>,
    mut outputs: Outputs,
    truth: Option<&PathBuf>,
    bar: ProgressBar,
) -> anyhow::Result<Run> {
    let size = (frames.source.info().width, frames.source.info().height);
    let is_timed = frames.source.images().is_none();
    let mut worker =
        Worker::spawn(tracker, given, is_timed).context("cannot start the tracker's thread")?;
    let mut reading: VecDeque<Duration> = VecDeque::new();
    let (mut latency, mut accuracy) = (Latencies::new(), Accuracy::default());
    let start = Instant::now();
    let mut open = true;
    let mut followed = 0_u64;
    loop {
        while open && reading.len() < IN_FLIGHT {
            let before = Instant::now();
            let next = if interrupt::requested() { None } else { frames.next()? };
            match next {
                Some(picture) => {
                    reading.push_back(before.elapsed());
                    if !worker.submit(picture) {
                        bail!("the tracker stopped unexpectedly");
                    }
                }
                None => {
                    open = false;
                    worker.close();
                }
            }
        }
        let Some(read) = reading.pop_front() else { break };
        let (picture, track) = worker.result().context("the tracker stopped unexpectedly")?;
        let track = track.with_context(|| format!("frame {}", picture.index))?;
        let mut record =
            FrameRecord::new(picture.index, picture.pts, picture.path.as_deref(), &track);
        record.milliseconds.read = read.as_secs_f64() * 1e3;
        if let Some(folder) = truth {
            let truth = true_mask(folder, &picture)?;
            let dice = dice(&track.mask, &truth).with_context(|| {
                format!("the true mask of frame {} has another size", picture.index)
            })?;
            record.dice = Some(dice);
            accuracy.record(dice, truth.area() > 0, track.mask.area() > 0);
        }
        outputs.write(&picture, &track, &record)?;
        followed += 1;
        latency.record(&track.times);
        bar.inc(1);
    }
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    drop(worker);
    let report = frames.source.end_report();
    let written = match followed {
        // Stopped before the first frame: there is nothing to finish.
        0 if interrupt::requested() => 0,
        0 => bail!("there is no frame to follow the object in"),
        _ => outputs.finish()?,
    };
    Ok(Run {
        report,
        size,
        written,
        interrupted: interrupt::requested(),
        seconds,
        latency,
        scores: truth.map(|_| accuracy.scores()),
        volume: None,
    })
}

fn true_mask(folder: &Path, picture: &Picture) -> anyhow::Result<Mask> {
    let named = picture
        .path
        .as_ref()
        .and_then(|path| path.file_stem())
        .map(|stem| folder.join(format!("{}.png", stem.to_string_lossy())))
        .filter(|path| path.is_file());
    let path = named.unwrap_or_else(|| folder.join(format!("{:06}.png", picture.index)));
    let mask = Mask::open(&path, Foreground::AboveZero).with_context(|| {
        format!(
            "frame {} needs a true mask, named by its number or like its picture",
            picture.index
        )
    })?;
    let (width, height) = (picture.frame.width(), picture.frame.height());
    if (mask.width(), mask.height()) != (width, height) {
        bail!(
            "the true mask {} is {} x {} pixels, and frame {} is {width} x {height}",
            path.display(),
            mask.width(),
            mask.height(),
            picture.index
        );
    }
    Ok(mask)
}

/// What came of it, for the summary file, too.
fn summarise(
    args: &TrackArgs,
    sam: &Sam,
    reference: String,
    presence: Option<PresenceModel>,
    run: Run,
) -> anyhow::Result<Summary> {
    let mut problems = run.report.problems.clone();
    let reached_end = !run.interrupted;
    if reached_end && run.written < run.report.decoded {
        problems.push(format!("{} frames decoded, {} written", run.report.decoded, run.written));
    }
    if run.interrupted {
        problems.push(format!("stopped by the user after {} frames", run.written));
    }
    let method = args.config();
    let summary = Summary {
        program: format!("p2sam {}", env!("CARGO_PKG_VERSION")),
        input: args.input.display().to_string(),
        width: run.size.0,
        height: run.size.1,
        reference,
        mask: args.reference.mask_names(),
        weights: find_weights(&args.model.weights)?.display().to_string(),
        architecture: sam.architecture().to_string(),
        device: sam.device().to_string(),
        profile: args.method.profile().name().to_owned(),
        input_side: sam.input_side(),
        settings: method.settings().into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        presence,
        object_score: sam.has_object_score(),
        frames_decoded: run.report.decoded,
        frames_written: run.written,
        frames_expected: run.report.expected,
        complete: problems.is_empty(),
        problems,
        warnings: run.report.warnings.clone(),
        interrupted: run.interrupted,
        seconds: run.seconds,
        frames_per_second: run.written as f64 / run.seconds.max(f64::MIN_POSITIVE),
        latency: run.latency,
        scores: run.scores,
        peak_memory: peak_memory(),
        volume: run.volume,
    };
    if let Some(path) = &args.outputs.summary {
        write_text(path, &format!("{}\n", serde_json::to_string_pretty(&summary)?))?;
    }
    Ok(summary)
}

fn print_summary(summary: &Summary, args: &TrackArgs) {
    let of = summary.frames_expected.map(|n| format!(" of {n}")).unwrap_or_default();
    say!("frames    {}{of}, {} x {}", summary.frames_written, summary.width, summary.height);
    say!("reference {}", summary.reference);
    if let Some(scores) = &summary.scores {
        say!(
            "Dice      {:.3} over {} frames with the object; {} of {} frames without it are marked",
            scores.mean_dice,
            scores.frames_present,
            scores.false_marks,
            scores.frames_absent
        );
    }
    if let Some(volume) = &summary.volume {
        volume::say_of(volume);
    }
    say!("speed     {:.2} frames a second on {}", summary.frames_per_second, summary.device);
    let total = &summary.latency.total;
    say!("latency   p50 {:.0} ms, p95 {:.0} ms a frame", total.at(0.5), total.at(0.95));
    let volumes = args.volume.listed();
    // Stopped before the first frame, a run has written no more than its summary.
    let listed = args
        .outputs
        .listed()
        .chain(volumes)
        .filter(|(name, _)| summary.frames_written > 0 || *name == "summary");
    for (name, path) in listed {
        say!("{name:<9} {}", path.display());
    }
}
