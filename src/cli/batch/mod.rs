//! `p2sam track` over a list of recordings: one loaded model, each job by itself, and what was done
//! once is not done again. The work is done by a second process of this program, so that a decoder that
//! ends the process takes its own job with it and no other.

mod list;
mod room;
mod supervisor;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use p2sam::find_weights;
use serde::{Deserialize, Serialize};

use super::method::MethodArgs;
use super::model::ModelArgs;
use super::shard::Shard;
use super::{Outcome, interrupt};

/// The arguments of `p2sam batch`.
#[derive(Args)]
#[command(
    after_help = "A list is a .csv file with a head line, or a .jsonl file with an object a line. Columns:
input and output (a folder for the results), and as `p2sam track` knows them reference,
reference_frame, reference_image, foreground, object, track, point (several with blanks between), box, roi, window,
slices, axis, spacing and propagate (true or false).
Volumes leave mask.nii.gz, too, and DICOM series seg.dcm. Names
are relative to the list's folder.

Examples:
  p2sam batch archive.csv --weights polyp --profile accurate
  p2sam batch archive.csv --jobs 2 --shard 3/8 --report part3.jsonl"
)]
pub struct BatchArgs {
    /// The jobs.
    list: PathBuf,
    /// Jobs at a time; fewer if there is not the memory for so many.
    #[arg(long, value_name = "COUNT", default_value_t = 1,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    jobs: usize,
    /// Every N-th job only, from the I-th on.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Write overlay.mkv, too.
    #[arg(long)]
    overlay: bool,
    /// A JSON object a job: its line in the list, how it ended, frames, seconds.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Work on the jobs that standard input names, and tell of them on standard output.
    #[arg(long, hide = true)]
    worker: bool,
}

/// How a job ended.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
enum Ended {
    Done {
        frames: u64,
        seconds: f64,
    },
    Incomplete {
        frames: u64,
        seconds: f64,
        problems: Vec<String>,
    },
    Before,
    Failed {
        error: String,
    },
    /// By the user.
    Stopped,
}

/// Runs `p2sam batch`.
pub fn run(args: BatchArgs) -> anyhow::Result<Outcome> {
    if args.worker {
        return worker::run(&args);
    }
    let jobs = list::read(&args.list)?;
    let shard = args.shard.unwrap_or(Shard { index: 1, count: 1 });
    let places: Vec<usize> = shard.places(jobs.len()).collect();
    args.method.config().validate()?;
    if let Some(path) = &args.report {
        p2sam::can_write(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    find_weights(&args.model.weights)?;
    interrupt::install()?;
    let ended = supervisor::run(&places, |place, how| tell_of(place + 1, jobs.len(), how))?;
    if let Some(path) = &args.report {
        report(path, &ended)?;
    }
    let count = |is: fn(&Ended) -> bool| ended.values().filter(|how| is(how)).count();
    let done = count(|how| matches!(how, Ended::Done { .. }));
    let before = count(|how| matches!(how, Ended::Before));
    let incomplete = count(|how| matches!(how, Ended::Incomplete { .. }));
    let failed = count(|how| matches!(how, Ended::Failed { .. }));
    say!(
        "{} jobs: {done} done, {before} done before, {incomplete} incomplete, {failed} failed, {} left",
        places.len(),
        places.len() - done - before - incomplete - failed
    );
    Ok(match (interrupt::requested(), incomplete + failed) {
        (true, _) => Outcome::Interrupted,
        (false, 0) => Outcome::Done,
        (false, _) => Outcome::Incomplete,
    })
}

fn tell_of(number: usize, all: usize, how: &Ended) {
    match how {
        Ended::Done { frames, seconds } => {
            tell!("{number}/{all}: {frames} frames in {seconds:.1} s");
        }
        Ended::Incomplete { problems, .. } => tell!("{number}/{all}: {}", problems.join("; ")),
        Ended::Before => tell!("{number}/{all}: done before"),
        Ended::Failed { error } => tell!("{number}/{all}: failed: {error}"),
        Ended::Stopped => tell!("{number}/{all}: stopped"),
    }
}

fn report(path: &Path, ended: &BTreeMap<usize, Ended>) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        job: usize,
        #[serde(flatten)]
        how: &'a Ended,
    }
    p2sam::write_whole(path, |file| {
        use std::io::Write;
        for (place, how) in ended {
            serde_json::to_writer(&mut *file, &Line { job: place + 1, how })?;
            writeln!(file)?;
        }
        Ok(())
    })
    .with_context(|| format!("cannot write {}", path.display()))
}
