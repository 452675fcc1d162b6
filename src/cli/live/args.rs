//! The arguments of `p2sam live` and what they come to.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use p2sam::live::{DisplaySettings, MAX_OBJECTS, ModelSettings};
use p2sam::stream::live::{LaunchFile, RecordOptions, SinkSpec, SourceSpec};
use p2sam::{Annotation, Frame, Profile, check_annotation};

use super::phantom::Clip;
use crate::cli::reference::{ForegroundArgs, annotation};

/// The arguments of `p2sam live`.
#[derive(Args)]
#[command(after_help = "Examples:
  p2sam live --source phantom: --sink display
  p2sam live --source /dev/video0 --web 8080
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
    pub(super) source: Option<String>,
    /// A file with a GStreamer launch line that ends in video (see pipelines/).
    #[arg(long, value_name = "FILE")]
    pub(super) pipeline: Option<PathBuf>,
    /// Fills a slot of the launch line; once for each.
    #[arg(long = "slot", value_name = "NAME=VALUE", requires = "pipeline")]
    pub(super) slots: Vec<String>,
    /// Where the pictures go with the overlay; several are possible [default: display].
    #[arg(long = "sink", value_name = "SINK")]
    pub(super) sinks: Vec<SinkSpec>,
    /// An annotated picture; up to eight, each with its --reference.
    #[arg(long = "reference-image", value_name = "PICTURE", help_heading = "Reference")]
    pub(super) pictures: Vec<PathBuf>,
    /// The mask of the object on that picture.
    #[arg(long = "reference", value_name = "MASK", help_heading = "Reference")]
    pub(super) masks: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) foreground: ForegroundArgs,
    #[command(flatten)]
    pub(super) overlay: OverlayArgs,
    #[command(flatten)]
    pub(super) model: LiveModelArgs,
    #[command(flatten)]
    pub(super) record: RecordArgs,
    /// Serve the operator's page at this address, or at this port of loopback. Another address needs
    /// --web-token.
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = web_address, help_heading = "Page")]
    pub(super) web: Option<SocketAddr>,
    /// What browsers and programs must know to use the page: at least 16 characters.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "P2SAM_WEB_TOKEN",
        hide_env_values = true,
        help_heading = "Page"
    )]
    pub(super) web_token: Option<String>,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS", help_heading = "Output")]
    pub(super) duration: Option<f64>,
    /// Write the figures of the run as JSON.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) summary: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Overlay")]
pub struct OverlayArgs {
    /// Milliseconds that a mask is shown, fading, after it was last known to be right.
    #[arg(long, value_name = "MS", default_value_t = 120)]
    pub(super) age_limit: u64,
    /// Milliseconds that a mask may move with the picture without a new result of the model.
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    pub(super) confirm_limit: u64,
    /// Leave masks where the model saw them instead of moving them with the picture.
    #[arg(long)]
    pub(super) no_warp: bool,
    /// Leave out the corner mark with each object's state and mask age.
    #[arg(long)]
    pub(super) no_mark: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Model")]
pub struct LiveModelArgs {
    /// Weights: a name from `p2sam weights list`, or a file.
    #[arg(long, value_name = "NAME|FILE", default_value = p2sam::DEFAULT_WEIGHTS)]
    pub(super) weights: String,
    /// Where the model runs: auto, cpu, cuda or cuda:N. `auto` takes the CPU if there is no GPU.
    #[arg(long, default_value = "auto")]
    pub(super) device: p2sam::DeviceChoice,
    /// paper, video or live (see `p2sam track --help`).
    #[arg(long, value_name = "NAME", default_value = "live")]
    pub(super) profile: Profile,
    /// Scale pictures to this many pixels for the model (MobileSAM only): a multiple of 64.
    #[arg(long, value_name = "PIXELS")]
    pub(super) input_side: Option<u32>,
    /// Whether it is decided in every frame if an object is in view, and nothing drawn where it is not.
    #[arg(long, alias = "gate", value_name = "on|off", default_value = "on")]
    pub(super) presence: Switch,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Args)]
#[command(next_help_heading = "Recording")]
pub struct RecordArgs {
    /// Record from the start: PREFIX-clean-NNNNN.mkv, PREFIX-overlay-NNNNN.mkv, PREFIX-results.jsonl.
    #[arg(long, value_name = "PREFIX")]
    pub(super) record: Option<PathBuf>,
    /// Where the page's button records to, if not --record's place.
    #[arg(long, value_name = "PREFIX", conflicts_with = "record")]
    pub(super) record_to: Option<PathBuf>,
    /// Seconds of a segment.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(super) segment_seconds: u64,
    /// Largest segment in megabytes.
    #[arg(long, value_name = "MB")]
    pub(super) segment_megabytes: Option<u64>,
    /// Record the picture without the overlay only.
    #[arg(long, conflicts_with = "overlay_only")]
    pub(super) clean_only: bool,
    /// Record the picture with the overlay only.
    #[arg(long)]
    pub(super) overlay_only: bool,
    /// Megabytes to leave free on the disk.
    #[arg(long, value_name = "MB", default_value_t = 500)]
    pub(super) min_free: u64,
}

impl RecordArgs {
    pub(super) fn options(&self) -> Option<RecordOptions> {
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
    pub(super) fn source(&self, clip: Option<&Arc<Clip>>) -> anyhow::Result<SourceSpec> {
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
    pub(super) fn references(&self) -> anyhow::Result<Vec<(Frame, Annotation)>> {
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

    pub(super) fn settings(&self) -> ModelSettings {
        ModelSettings {
            weights: self.model.weights.clone(),
            device: self.model.device.to_string(),
            profile: self.model.profile.name().to_owned(),
            input_side: self.model.input_side,
            presence: self.model.presence == Switch::On,
        }
    }

    pub(super) fn display(&self) -> DisplaySettings {
        DisplaySettings {
            age_limit: Duration::from_millis(self.overlay.age_limit),
            confirm_limit: Duration::from_millis(self.overlay.confirm_limit),
            warp: !self.overlay.no_warp,
        }
    }
}

/// An address to listen at: a port alone is loopback's, as is `localhost`.
fn web_address(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    match (host, port.parse::<u16>()) {
        ("" | "localhost", Ok(port)) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => text.parse().map_err(|_| {
            format!("'{text}' is no port such as 8080, nor an address such as 127.0.0.1:8080")
        }),
    }
}
