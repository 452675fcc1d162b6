//! `p2sam live`: live video with the overlay, recording, and the operator's page.

mod console;
mod operator;
mod phantom;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use gstreamer::prelude::*;
use p2sam::live::{
    DisplaySettings, MAX_OBJECTS, ModelSettings, ObjectId, Session, SharedModel, Statistics,
};
use p2sam::stream::live::{
    LaunchFile, LiveOptions, LiveStream, RecordOptions, SinkSpec, SourceSpec, has_screen,
};
use p2sam::web::WebServer;
use p2sam::{Annotation, Frame, P2samOverlay, Profile, check_annotation};

use super::outputs::write_text;
use super::reference::{ForegroundArgs, annotation};
use super::{Outcome, interrupt};
use console::Console;
use phantom::{Clip, Interrupted, Judge};

/// How often the run looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// The arguments of `p2sam live`.
#[derive(Args)]
#[command(after_help = "Examples:
  p2sam live --source phantom: --sink display
  p2sam live --source v4l2:/dev/video0 --web 127.0.0.1:8080
  p2sam live --source 'file:clip.mkv?loop' --reference-image ref.png --reference mask.png --sink none
  p2sam live --pipeline pipelines/decklink-1080p.launch --slot device=1 --record out/case

Sources: v4l2:/dev/videoN, rtsp://, srt://, file:PATH[?loop], file:FOLDER?loop&fps=50, test:[PATTERN]
[?width=..&height=..&fps=..], decklink:N, phantom:[?width=..&height=..&fps=..&seconds=..&seed=..
&difficulty=..]. Sinks: display, none, srt://, tcp://HOST:PORT.")]
pub struct LiveArgs {
    /// Where the pictures come from.
    #[arg(
        long,
        value_name = "SRC",
        required_unless_present = "pipeline",
        conflicts_with = "pipeline"
    )]
    source: Option<String>,
    /// A file with a GStreamer launch line that ends in video (see pipelines/).
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    /// Fills a slot of the launch line; once for each.
    #[arg(long = "slot", value_name = "NAME=VALUE", requires = "pipeline")]
    slots: Vec<String>,
    /// Where the pictures go with the overlay; several are possible [default: display].
    #[arg(long = "sink", value_name = "SINK")]
    sinks: Vec<SinkSpec>,
    /// An annotated picture; up to eight, each with its --reference.
    #[arg(long = "reference-image", value_name = "PICTURE", help_heading = "Reference")]
    pictures: Vec<PathBuf>,
    /// The mask of the object on that picture.
    #[arg(long = "reference", value_name = "MASK", help_heading = "Reference")]
    masks: Vec<PathBuf>,
    #[command(flatten)]
    foreground: ForegroundArgs,
    #[command(flatten)]
    overlay: OverlayArgs,
    #[command(flatten)]
    model: LiveModelArgs,
    #[command(flatten)]
    record: RecordArgs,
    /// Serve the operator's page at this address. Another than loopback needs --web-token.
    #[arg(long, value_name = "ADDR", help_heading = "Page")]
    web: Option<SocketAddr>,
    /// What browsers and programs must know to use the page: at least 16 characters.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "P2SAM_WEB_TOKEN",
        hide_env_values = true,
        help_heading = "Page"
    )]
    web_token: Option<String>,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS", help_heading = "Output")]
    duration: Option<f64>,
    /// Write the figures of the run as JSON.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    summary: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Overlay")]
struct OverlayArgs {
    /// Milliseconds that a mask is shown, fading, after it was last known to be right.
    #[arg(long, value_name = "MS", default_value_t = 120)]
    age_limit: u64,
    /// Milliseconds that a mask may move with the picture without a new result of the model.
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    confirm_limit: u64,
    /// Leave masks where the model saw them instead of moving them with the picture.
    #[arg(long)]
    no_warp: bool,
    /// Leave out the corner mark with each object's state and mask age.
    #[arg(long)]
    no_mark: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Model")]
struct LiveModelArgs {
    /// Weights: a name from `p2sam weights list`, or a file.
    #[arg(long, value_name = "NAME|FILE", default_value = p2sam::DEFAULT_WEIGHTS)]
    weights: String,
    /// Where the model runs: auto, cpu, cuda or cuda:N. `auto` takes the CPU if there is no GPU.
    #[arg(long, default_value = "auto")]
    device: p2sam::DeviceChoice,
    /// paper, video or live (see `p2sam track --help`).
    #[arg(long, value_name = "NAME", default_value = "live")]
    profile: Profile,
    /// Scale pictures to this many pixels for the model (MobileSAM only): a multiple of 64.
    #[arg(long, value_name = "PIXELS")]
    input_side: Option<u32>,
    /// Whether masks are kept away while the object is out of view.
    #[arg(long, value_name = "on|off", default_value = "on")]
    gate: Switch,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Args)]
#[command(next_help_heading = "Recording")]
struct RecordArgs {
    /// Record from the start: PREFIX-clean-NNNNN.mkv, PREFIX-overlay-NNNNN.mkv, PREFIX-results.jsonl.
    #[arg(long, value_name = "PREFIX")]
    record: Option<PathBuf>,
    /// Where the page's button records to, if not --record's place.
    #[arg(long, value_name = "PREFIX", conflicts_with = "record")]
    record_to: Option<PathBuf>,
    /// Seconds of a segment.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    segment_seconds: u64,
    /// Largest segment in megabytes.
    #[arg(long, value_name = "MB")]
    segment_megabytes: Option<u64>,
    /// Record the picture without the overlay only.
    #[arg(long, conflicts_with = "overlay_only")]
    clean_only: bool,
    /// Record the picture with the overlay only.
    #[arg(long)]
    overlay_only: bool,
    /// Megabytes to leave free on the disk.
    #[arg(long, value_name = "MB", default_value_t = 500)]
    min_free: u64,
}

impl RecordArgs {
    fn options(&self) -> Option<RecordOptions> {
        let prefix = self.record.as_ref().or(self.record_to.as_ref())?;
        let mut options = RecordOptions::new(prefix);
        options.clean = !self.overlay_only;
        options.overlay = !self.clean_only;
        options.segment_time = Some(Duration::from_secs(self.segment_seconds.max(1)));
        options.segment_bytes =
            self.segment_megabytes.map(|mb| mb.max(1).saturating_mul(1_000_000));
        options.min_free = self.min_free.saturating_mul(1_000_000);
        Some(options)
    }
}

impl LiveArgs {
    fn source(&self, clip: Option<&Arc<Clip>>) -> anyhow::Result<SourceSpec> {
        if let Some(clip) = clip {
            return Ok(clip.source());
        }
        if let Some(path) = &self.pipeline {
            let mut launch = LaunchFile::open(path)?;
            for slot in &self.slots {
                let (name, value) = slot
                    .split_once('=')
                    .with_context(|| format!("--slot '{slot}' is not NAME=VALUE"))?;
                launch = launch.with(name, value)?;
            }
            return Ok(SourceSpec::Launch(launch));
        }
        Ok(self.source.as_deref().unwrap_or_default().parse()?)
    }

    /// The annotated pictures, checked.
    fn references(&self) -> anyhow::Result<Vec<(Frame, Annotation)>> {
        if self.pictures.len() != self.masks.len() {
            bail!(
                "{} --reference-image and {} --reference: give each picture its mask",
                self.pictures.len(),
                self.masks.len()
            );
        }
        if self.pictures.len() > MAX_OBJECTS {
            bail!("{} objects; up to {MAX_OBJECTS} are followed at once", self.pictures.len());
        }
        self.foreground.check(self.masks.len())?;
        let open = |(index, (picture, mask)): (usize, (&PathBuf, &PathBuf))| -> anyhow::Result<_> {
            let frame = Frame::open(picture)?;
            let given = annotation(mask, self.foreground.of_image(index)?, &frame, false)?;
            check_annotation(&frame, &given).with_context(|| mask.display().to_string())?;
            Ok((frame, given))
        };
        self.pictures.iter().zip(&self.masks).enumerate().map(open).collect()
    }

    fn settings(&self) -> ModelSettings {
        ModelSettings {
            weights: self.model.weights.clone(),
            device: self.model.device.to_string(),
            profile: self.model.profile.name().to_owned(),
            input_side: self.model.input_side,
            gate: self.model.gate == Switch::On,
        }
    }

    fn display(&self) -> DisplaySettings {
        DisplaySettings {
            age_limit: Duration::from_millis(self.overlay.age_limit),
            confirm_limit: Duration::from_millis(self.overlay.confirm_limit),
            warp: !self.overlay.no_warp,
        }
    }
}

/// Runs `p2sam live`.
pub fn run(args: LiveArgs) -> anyhow::Result<Outcome> {
    let duration = args.duration.map(Duration::try_from_secs_f64).transpose();
    let duration = duration.ok().filter(|d| d.is_none_or(|d| !d.is_zero()));
    let duration = duration.context("--duration needs a number of seconds above 0")?;
    if let Some(path) = &args.summary {
        p2sam::can_write(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.pipeline.is_none() && !args.slots.is_empty() {
        bail!("--slot fills a launch line's slots: give the file with --pipeline");
    }
    if args.record.record.is_none() && args.record.record_to.is_none() {
        if args.record.clean_only || args.record.overlay_only {
            bail!(
                "--clean-only and --overlay-only say what is recorded: add --record or --record-to"
            );
        }
    } else if let Some(options) = args.record.options()
        && options.free_bytes().is_none()
    {
        bail!(
            "cannot record to {}: its folder is not there; make the folder, or name another",
            options.prefix.display()
        );
    }
    let mut references = args.references()?;
    p2sam::find_weights_and_base(&args.model.weights)?;
    let _ =
        rayon::ThreadPoolBuilder::new().start_handler(|_| p2sam::live::give_way()).build_global();
    interrupt::install()?;
    let clip = match args.source.as_deref().and_then(|source| source.strip_prefix("phantom:")) {
        Some(options) => match Clip::render(options) {
            Err(e) if e.is::<Interrupted>() => return Ok(Outcome::Interrupted),
            clip => Some(Arc::new(clip?)),
        },
        None => None,
    };
    let source = args.source(clip.as_ref())?;
    let judged = references.is_empty() && clip.is_some();
    if let Some(clip) = clip.as_ref().filter(|_| judged) {
        references.push(clip.reference());
    }
    if references.is_empty() && args.web.is_none() {
        tell!("note: there is nothing to follow: give --reference, or annotate with --web");
    }

    let model = Arc::new(SharedModel::new(args.settings()));
    // What can never work is told before anything starts.
    model.open().map_err(anyhow::Error::msg)?;
    let session = Arc::new(Session::start(model.factory(), args.display())?);
    let statistics = Arc::new(Statistics::default());
    let judge = match clip.as_ref().filter(|_| judged) {
        Some(clip) => Some(Arc::new(Judge::start(Arc::clone(clip))?)),
        None => None,
    };
    let overlay = overlay(&args, &session, &statistics, judge.clone())?;

    let console = Arc::new(Console::new(
        Arc::clone(&session),
        Arc::clone(&statistics),
        Arc::clone(&model),
        args.record.options(),
        args.display().confirm_limit,
    ));
    let sinks = match args.sinks.is_empty() {
        // Whoever opens the page looks there.
        true if args.web.is_some() && !has_screen() => vec![SinkSpec::None],
        true => vec![SinkSpec::Display],
        false => args.sinks.clone(),
    };
    let web = match args.web {
        Some(addr) => Some(serve(addr, args.web_token.clone(), &console)?),
        None => None,
    };
    let hooks = console.hooks();
    let stream = LiveStream::start(LiveOptions::new(source, sinks), overlay.upcast(), hooks)?;
    let stream = Arc::new(stream);
    console.attach(&stream);
    let listener = console.listen();
    console.loaded();
    for (index, (frame, annotation)) in references.into_iter().enumerate() {
        session.add((index + 1) as ObjectId, frame, annotation);
    }
    if args.record.record.is_some() {
        console.start_recording().map_err(anyhow::Error::msg)?;
    }

    let outcome = watch(&stream, &console, duration);
    drop(web);
    session.unsubscribe(listener);
    console.detach();
    model.give_up();
    stream.stop_recording();
    let stats = stream.stats();
    // Should the page still look at it, its last look ends it.
    if let Some(stream) = Arc::into_inner(stream) {
        stream.stop();
    }
    let judged = judge.map(|judge| judge.finish());
    let mut outcome = outcome?;
    if stats.frames_in == 0 && !matches!(outcome, Outcome::Interrupted) {
        bail!("no picture ever came from the source");
    }
    let unrecorded = console.recording_failed();
    if let Some(reason) = &unrecorded {
        tell!("the recording is incomplete: {reason}");
        if matches!(outcome, Outcome::Done) {
            outcome = Outcome::Incomplete;
        }
    }
    let report = report::Report::new(&statistics, &session, stats, console.events(), judged);
    if let Some(path) = &args.summary {
        write_text(path, &serde_json::to_string_pretty(&report)?)?;
    }
    report.print(args.json)?;
    Ok(outcome)
}

/// The overlay element, wired to session and statistics.
fn overlay(
    args: &LiveArgs,
    session: &Arc<Session>,
    statistics: &Arc<Statistics>,
    judge: Option<Arc<Judge>>,
) -> anyhow::Result<P2samOverlay> {
    let overlay = P2samOverlay::new()?;
    overlay.set_session(Arc::clone(session));
    overlay.set_gap_notice("NO SIGNAL");
    overlay.set_property("mark", !args.overlay.no_mark);
    overlay.set_property("post-messages", false);
    let statistics = Arc::clone(statistics);
    overlay.set_on_shown(Some(Arc::new(move |frame| {
        statistics.shown(frame.shown, frame.added_delay);
        if let (Some(judge), Some(number)) = (&judge, frame.source_number) {
            judge.frame(number, frame.shown);
        }
    })));
    Ok(overlay)
}

/// Serves the page and says where.
fn serve(
    addr: SocketAddr,
    token: Option<String>,
    console: &Arc<Console>,
) -> anyhow::Result<WebServer> {
    let operator: Arc<dyn p2sam::web::Operator> = Arc::clone(console) as _;
    let server = WebServer::start(addr, token, operator)?;
    tell!("the operator's page is at http://{}/", server.addr());
    Ok(server)
}

/// Until the source ends, the time is over or the user stops it.
fn watch(
    stream: &LiveStream,
    console: &Console,
    duration: Option<Duration>,
) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    loop {
        if interrupt::requested() {
            return Ok(Outcome::Interrupted);
        }
        if duration.is_some_and(|duration| start.elapsed() >= duration) {
            return Ok(Outcome::Done);
        }
        if stream.wait(LOOK)? {
            return Ok(Outcome::Done);
        }
        console.tick();
    }
}
