//! The process that works on the jobs.

use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;
use p2sam::{Sam, find_weights, free_memory, sha256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::list::{self, Job};
use super::room::{self, Room};
use super::{BatchArgs, Ended};
use crate::cli::ledger::{Found, Ledger, State};
use crate::cli::track::{TrackArgs, track};
use crate::cli::{Outcome, interrupt};

/// What the worker tells, one JSON object a line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A job, by its place in the list, is begun.
    Begun(usize),
    /// A job came to its end.
    Ended(usize, Ended),
    /// Nothing can be done at all.
    Fatal(String),
}

/// Works on the jobs whose places standard input names, one a line.
pub fn run(args: &BatchArgs) -> anyhow::Result<Outcome> {
    end_with_parent();
    if let Err(error) = work_on_all(args) {
        tell_event(&Event::Fatal(format!("{error:#}")));
    }
    Ok(Outcome::Done)
}

/// This process is nothing by itself.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    {
        let _ =
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
}

fn tell_event(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        say!("{line}");
    }
}

fn work_on_all(args: &BatchArgs) -> anyhow::Result<()> {
    interrupt::install_quietly()?;
    let jobs = list::read(&args.list)?;
    let mut places = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let place: usize = line?.trim().parse().context("no place in the list")?;
        places.extend(Some(place).filter(|place| *place < jobs.len()));
    }
    let weights = find_weights(&args.model.weights)?;
    let settings = settings(args, &sha256(&weights)?);
    let sam = Arc::new(args.model.load_for(args.method.profile())?);
    let (room, each) = (Room::new(free_memory()), room::work(sam.input_side()));
    let wanted = args.jobs.min(places.len());
    let at_once = wanted.min(room.fits(each));
    if at_once < wanted {
        let needed = (wanted as u64 * each) >> 20;
        tell!("{at_once} jobs at a time: {wanted} would need {needed} MiB of memory");
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(&place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if interrupt::requested() {
                        break;
                    }
                    let (job, each) = (&jobs[place], each + room::held(&jobs[place]));
                    let how = room.run(each, || {
                        tell_event(&Event::Begun(place));
                        guarded(args, job, &settings, &sam)
                    });
                    tell_event(&Event::Ended(place, how));
                }
            });
        }
    });
    Ok(())
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
