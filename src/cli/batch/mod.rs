//! `p2sam track` over a list of recordings: one loaded model, each job by itself, and what was done
//! once is not done again.

mod list;
mod room;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use indicatif::ProgressBar;
use p2sam::{Sam, find_weights, free_memory, sha256};
use serde::Serialize;
use serde_json::{Value, json};

use super::ledger::{Found, Ledger, State};
use super::method::MethodArgs;
use super::model::ModelArgs;
use super::shard::Shard;
use super::track::{TrackArgs, track};
use super::{Outcome, interrupt};
use list::Job;
use room::Room;

/// The arguments of `p2sam batch`.
#[derive(Args)]
#[command(
    after_help = "A list is a .csv file with a head line, or a .jsonl file with an object a line. Columns:
input and output (a folder for the results), and as `p2sam track` knows them reference,
reference_frame, reference_image, foreground, point (several with blanks between), box, roi, window,
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
}

/// How a job ended.
#[derive(Serialize)]
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
    let jobs = list::read(&args.list)?;
    let shard = args.shard.unwrap_or(Shard { index: 1, count: 1 });
    let places: Vec<usize> = shard.places(jobs.len()).collect();
    args.method.config().validate()?;
    if let Some(path) = &args.report {
        p2sam::can_write(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let weights = find_weights(&args.model.weights)?;
    let settings = settings(&args, &sha256(&weights)?);
    interrupt::install()?;
    let sam = Arc::new(args.model.load_for(args.method.profile())?);
    let (room, each) = (Room::new(free_memory()), room::work(sam.input_side()));
    let wanted = args.jobs.min(places.len());
    let at_once = wanted.min(room.fits(each));
    if at_once < wanted {
        let needed = (wanted as u64 * each) >> 20;
        tell!("{at_once} jobs at a time: {wanted} would need {needed} MiB of memory");
    }
    let next = AtomicUsize::new(0);
    let ended: Mutex<Vec<(usize, Ended)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(&place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if interrupt::requested() {
                        break;
                    }
                    let (job, each) = (&jobs[place], each + room::held(&jobs[place]));
                    let how = room.run(each, || guarded(&args, job, &settings, &sam));
                    tell_of(place + 1, jobs.len(), &how);
                    ended.lock().unwrap_or_else(PoisonError::into_inner).push((place, how));
                }
            });
        }
    });
    let mut ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    ended.sort_by_key(|(place, _)| *place);
    if let Some(path) = &args.report {
        report(path, &ended)?;
    }
    let count = |is: fn(&Ended) -> bool| ended.iter().filter(|(_, how)| is(how)).count();
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

/// What decides on the results of every job.
fn settings(args: &BatchArgs, weights: &str) -> Value {
    let method = args.method.config().settings();
    let mut settings: serde_json::Map<String, Value> =
        method.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    settings.insert("program".into(), format!("p2sam {}", env!("CARGO_PKG_VERSION")).into());
    settings.insert("profile".into(), args.method.profile().name().into());
    settings.insert("presence".into(), args.method.decides_presence().into());
    settings.insert("weights_sha256".into(), weights.into());
    if let Some(key) = &args.model.checkpoint_key {
        settings.insert("checkpoint_key".into(), key.as_str().into());
    }
    settings.insert("input_side".into(), args.model.input_side.into());
    settings.insert("normalisation".into(), args.model.normalisation_name().into());
    settings.insert("overlay".into(), args.overlay.into());
    Value::Object(settings)
}

/// A job that no other can harm.
fn guarded(args: &BatchArgs, job: &Job, settings: &Value, sam: &Arc<Sam>) -> Ended {
    let result = catch_unwind(AssertUnwindSafe(|| work(args, job, settings, sam)));
    result
        .unwrap_or_else(|_| Err(anyhow!("an error of the program itself; please report it")))
        .unwrap_or_else(|error| Ended::Failed { error: format!("{error:#}") })
}

fn work(args: &BatchArgs, job: &Job, settings: &Value, sam: &Arc<Sam>) -> anyhow::Result<Ended> {
    let mut task = settings.clone();
    // Names within the list, so that a list that moved with its results is the same list.
    task["job"] = json!(job.relative_to(args.list.parent()));
    let words = job.words(args.overlay);
    let of_job = TrackArgs::of_words(words, args.method.clone(), args.model.clone());
    let of_job = of_job.map_err(|error| anyhow!("{}", first_line(&error.to_string())))?;
    let ledger = match Ledger::open(&job.output, task, |state| state != State::Begun)? {
        Found::Finished(State::Incomplete) | Found::Finished(State::Done) => {
            return Ok(Ended::Before);
        }
        Found::Finished(State::Begun) => return Ok(Ended::Stopped),
        Found::Open(ledger) => ledger,
    };
    let summary = track(&of_job, || Ok(Arc::clone(sam)), |_| ProgressBar::hidden())?;
    let (frames, seconds) = (summary.frames_written, summary.seconds);
    if summary.interrupted {
        return Ok(Ended::Stopped);
    }
    let (state, ended) = match summary.complete {
        true => (State::Done, Ended::Done { frames, seconds }),
        false => {
            let problems = summary.problems;
            (State::Incomplete, Ended::Incomplete { frames, seconds, problems })
        }
    };
    ledger.finish(state)?;
    Ok(ended)
}

/// The sentence of a long message.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text).trim_start_matches("error: ")
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

fn report(path: &Path, ended: &[(usize, Ended)]) -> anyhow::Result<()> {
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
