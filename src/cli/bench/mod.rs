//! `p2sam bench`.

mod cases;
mod compare;
mod footage;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use p2sam::bench::{BenchReport, CaseReport, Machine, Pace, Series, measure};
use p2sam::{MethodConfig, PresenceModel, Tracker, bench_page, can_write, peak_memory};

use super::outputs::write_text;
use super::reference::ReferenceArgs;
use super::{Outcome, interrupt};
use cases::{Asked, CaseArgs};
use footage::{Clip, Footage};

/// The arguments of `p2sam bench`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  p2sam bench
  p2sam bench --weights mobile-sam,polyp --profile paper,fast --input-side 1024,512 --json now.json
  p2sam bench clip.mp4 --reference mask.png --mode paced --rate 25 --html report.html
  p2sam bench compare before.json now.json"
)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    /// A video, a folder or pattern of pictures, or a list of them (.txt); without it the synthetic
    /// clip.
    #[arg(requires = "reference")]
    input: Option<PathBuf>,
    #[command(flatten)]
    reference: ReferenceArgs,
    #[command(flatten)]
    cases: CaseArgs,
    /// How frames come: each when the one before is done, read from the input and written as video
    /// (offline) or from memory for at least --seconds too (single-stream, MLPerf's rule with
    /// --frames 1024 --seconds 60); or at --rate, where a newer frame replaces one that waits (paced).
    #[arg(long, value_enum, default_value_t, help_heading = "Measurement")]
    mode: Mode,
    /// Frames a second in mode paced.
    #[arg(long, default_value_t = 25.0, value_parser = rate, help_heading = "Measurement")]
    rate: f64,
    /// Measured frames a case.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Measurement")]
    frames: u32,
    /// Least seconds a case in mode single-stream.
    #[arg(long, default_value_t = 0.0, value_parser = seconds, help_heading = "Measurement")]
    seconds: f64,
    /// Frames a case before the measured ones.
    #[arg(long, default_value_t = 3, help_heading = "Measurement")]
    warmup: u32,
    /// Processes whose time to the first mask is measured, a case; 0 for none.
    #[arg(long, default_value_t = 3, help_heading = "Measurement")]
    cold_starts: u32,
    /// Every frame of every case as JSON.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    json: Option<PathBuf>,
    /// The report as one page.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,
    /// End after the first mask of the case of that number.
    #[arg(long, hide = true)]
    first_mask_of: Option<usize>,
    /// Where the synthetic clip lies already.
    #[arg(long, hide = true)]
    clip: Option<PathBuf>,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// Tell what got slower from one measurement to another, by 95 % intervals of the medians' ratio.
    Compare(compare::CompareArgs),
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Mode {
    #[default]
    Offline,
    SingleStream,
    Paced,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.1..=1000.0).contains(rate));
    rate.ok_or_else(|| format!("'{text}' is no rate from 0.1 to 1000 frames a second"))
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| format!("'{text}' is no number of seconds from 0 to 86400"))
}

/// Runs `p2sam bench`.
pub fn run(args: BenchArgs) -> anyhow::Result<Outcome> {
    if let Some(BenchCommand::Compare(args)) = &args.command {
        return compare::run(args);
    }
    if args.input.is_some() {
        args.reference.check()?;
    }
    for path in args.json.iter().chain(&args.html) {
        can_write(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let asked = args.cases.all()?;
    interrupt::install()?;
    let clip = match (&args.input, &args.clip) {
        (Some(input), _) => Clip::of_input(input, &args.reference)?,
        (None, Some(folder)) => Clip::rendered(folder)?,
        (None, None) => Clip::render()?,
    };
    if let Some(number) = args.first_mask_of {
        let asked = asked.get(number).context("there is no such case")?;
        return first_mask(&args, asked, clip);
    }
    let mut report = BenchReport {
        program: format!("p2sam {}", env!("CARGO_PKG_VERSION")),
        commit: option_env!("P2SAM_COMMIT").map(str::to_owned),
        machine: Machine::this(),
        input: clip.name().to_owned(),
        size: clip.size(),
        mode: args.mode.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned()),
        rate: (args.mode == Mode::Paced).then_some(args.rate),
        warmup: args.warmup as usize,
        cases: Vec::new(),
    };
    if report.machine.unoptimised {
        tell!("built without optimisation: these times say nothing; build with --release");
    }
    print_machine(&report);
    for (number, asked) in asked.iter().enumerate() {
        let case = one_case(&args, asked, number, &clip)?;
        if interrupt::requested() {
            break;
        }
        print_case(&case);
        report.cases.push(case);
    }
    if let Some(path) = &args.json {
        write_text(path, &format!("{}\n", serde_json::to_string(&report)?))?;
    }
    if let Some(path) = &args.html {
        write_text(path, &bench_page(&report))?;
    }
    Ok(if interrupt::requested() { Outcome::Interrupted } else { Outcome::Done })
}

/// Forgets the largest resident memory so far, where the system can.
fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn one_case(
    args: &BenchArgs,
    asked: &Asked,
    number: usize,
    clip: &Clip,
) -> anyhow::Result<CaseReport> {
    let mut cold_start = Vec::new();
    for _ in 0..args.cold_starts {
        if !interrupt::requested() {
            cold_start.push(time_to_first_mask(number, clip)?.as_secs_f64() * 1e3);
        }
    }
    forget_peak_memory();
    let (mut tracker, case) = tracker(asked, args, clip)?;
    let mut footage = match args.mode {
        Mode::Offline => Footage::of_files(clip)?,
        Mode::SingleStream | Mode::Paced => Footage::of_memory(clip)?,
    };
    let frames = args.frames as usize;
    let pace = match args.mode {
        Mode::Offline => Pace::Frames(frames),
        Mode::SingleStream => Pace::AtLeast(frames, Duration::from_secs_f64(args.seconds)),
        Mode::Paced => Pace::Paced(args.rate, frames),
    };
    let measured = measure(&mut tracker, &mut footage, args.warmup as usize, pace);
    // Its own words, without a box around them.
    let measured = measured.map_err(|error| anyhow::anyhow!("{error:#}"))?;
    Ok(CaseReport::new(case, measured, cold_start, peak_memory()))
}

fn tracker(
    asked: &Asked,
    args: &BenchArgs,
    clip: &Clip,
) -> anyhow::Result<(Tracker, p2sam::bench::Case)> {
    let (sam, case) = asked.open()?;
    let config: MethodConfig = asked.config();
    config.validate()?;
    let mut annotated = clip.annotated(&args.reference)?;
    let reference = annotated.reference(&sam, &args.reference, &config)?;
    let presence = match asked.profile.decides_presence() {
        true => Some(PresenceModel::of(&sam)?),
        false => None,
    };
    let tracker = Tracker::new(sam, reference, config)?;
    Ok(match presence {
        Some(model) => (tracker.with_presence(model), case),
        None => (tracker, case),
    })
}

/// From here to the end of a process of this program that makes one mask.
fn time_to_first_mask(number: usize, clip: &Clip) -> anyhow::Result<Duration> {
    let program = std::env::current_exe().context("this program's own file is not known")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    command.arg("--first-mask-of").arg(number.to_string());
    if let Some(folder) = clip.folder() {
        command.arg("--clip").arg(folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.output().context("cannot start this program again")?;
    let took = start.elapsed();
    if !output.status.success() && !interrupt::requested() {
        bail!("a first mask failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(took)
}

fn first_mask(args: &BenchArgs, asked: &Asked, clip: Clip) -> anyhow::Result<Outcome> {
    let (mut tracker, _) = tracker(asked, args, &clip)?;
    let mut footage = Footage::of_files(&clip)?;
    let first = measure(&mut tracker, &mut footage, 0, Pace::Frames(1));
    first.map_err(|error| anyhow::anyhow!("{error:#}"))?;
    // What is left is to tidy up, which nobody waits for.
    Ok(Outcome::Done)
}

fn print_machine(report: &BenchReport) {
    let machine = &report.machine;
    say!("{}, {} cores, {}", machine.cpu, machine.cores, machine.system);
    for gpu in &machine.gpus {
        say!("{gpu}");
    }
    let [width, height] = report.size;
    say!("{}, {width} x {height} pixels, {}", report.input, report.mode);
}

fn print_case(case: &CaseReport) {
    say!("\n{}", case.case);
    say!(
        "{:<12}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "ms",
        "p50",
        "p90",
        "p95",
        "p99",
        "max",
        "mean",
        "tail",
        "flatness"
    );
    let line = |series: &Series| {
        let s = &series.summary;
        say!(
            "{:<12}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}",
            series.name,
            s.p50,
            s.p90,
            s.p95,
            s.p99,
            s.max,
            s.mean,
            s.tail,
            s.flatness
        );
    };
    case.stages.iter().for_each(line);
    line(&case.whole);
    case.waiting.iter().chain(&case.age).for_each(line);
    if !case.cold_start.is_empty() {
        line(&Series::new("first mask", case.cold_start.clone()));
    }
    let memory = case
        .peak_memory
        .map_or(String::new(), |bytes| format!(", at most {:.0} MB of memory", bytes as f64 / 1e6));
    say!(
        "{} frames, {:.2} a second, {} dropped{memory}; stages leave out {:.1} %",
        case.frames,
        case.frames_per_second,
        case.dropped,
        100.0 * case.unaccounted()
    );
}
