//! The process that watches over the one that works.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};

use super::Ended;
use super::worker::Event;
use crate::cli::interrupt;

/// How often it is looked whether a stop was asked for.
const LOOK: Duration = Duration::from_millis(100);

/// What became of one worker.
struct Passed {
    /// Jobs that were begun and did not come to their end.
    open: BTreeSet<usize>,
    /// How the process ended, if not by itself.
    death: Option<String>,
}

/// Has all jobs done, and tells of each as it ends. If a worker dies, the jobs that it was at are tried
/// alone: the one with which a worker dies again has failed. Then another worker goes on.
pub fn run(
    places: &[usize],
    mut tell: impl FnMut(usize, &Ended),
) -> anyhow::Result<BTreeMap<usize, Ended>> {
    let mut ended: BTreeMap<usize, Ended> = BTreeMap::new();
    let mut left: Vec<usize> = places.to_vec();
    let mut suspects: BTreeSet<usize> = BTreeSet::new();
    while !interrupt::requested() {
        let (batch, alone): (Vec<usize>, bool) = match suspects.pop_first() {
            Some(suspect) => (vec![suspect], true),
            None if left.is_empty() => break,
            None => (left.clone(), false),
        };
        let mut take = |place: usize, how: Ended| {
            tell(place, &how);
            ended.insert(place, how);
        };
        let passed = watch(&batch, &mut take)?;
        if let Some(death) = &passed.death {
            match (passed.open.len(), alone) {
                (0, _) => bail!("the process that works on the jobs {death} before it began one"),
                (1, _) | (_, true) => passed.open.iter().for_each(|place| {
                    let error = format!(
                        "the process that worked on it {death}; the input may be one that its decoder \
                         cannot stand: convert it, for instance with `ffmpeg -i IN -c:v ffv1 OUT.mkv`"
                    );
                    take(*place, Ended::Failed { error });
                }),
                _ => suspects.extend(&passed.open),
            }
        }
        left.retain(|place| !ended.contains_key(place) && !suspects.contains(place));
        if passed.death.is_none() && !alone {
            break;
        }
    }
    Ok(ended)
}

/// Runs one worker to its end.
fn watch(places: &[usize], take: &mut impl FnMut(usize, Ended)) -> anyhow::Result<Passed> {
    let mut worker = start(places).context("cannot start a process for the jobs")?;
    let events = events(&mut worker);
    let mut open = BTreeSet::new();
    let mut is_told = false;
    loop {
        match events.recv_timeout(LOOK) {
            Ok(Event::Begun(place)) => {
                open.insert(place);
            }
            Ok(Event::Ended(place, how)) => {
                open.remove(&place);
                take(place, how);
            }
            Ok(Event::Fatal(reason)) => {
                let _ = worker.wait();
                bail!("{reason}");
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if interrupt::requested() && !is_told {
            is_told = true;
            ask_to_stop(&mut worker);
        }
    }
    let status = worker.wait().context("the process that works on the jobs is lost")?;
    Ok(Passed { open, death: death(status) })
}

/// The same program with the same arguments, which is given the jobs' places.
fn start(places: &[usize]) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--worker");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    // Ctrl-C is for this process, which passes it on.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut worker = command.spawn()?;
    if let Some(mut input) = worker.stdin.take() {
        let lines: String = places.iter().map(|place| format!("{place}\n")).collect();
        // A worker that is gone already shows so by its end.
        let _ = input.write_all(lines.as_bytes());
    }
    Ok(worker)
}

fn events(worker: &mut Child) -> Receiver<Event> {
    let (sender, receiver) = channel();
    if let Some(output) = worker.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(event) => {
                        if sender.send(event).is_err() {
                            break;
                        }
                    }
                    // Of a library that writes where it should not.
                    Err(_) => tell!("{line}"),
                }
            }
        });
    }
    receiver
}

fn ask_to_stop(worker: &mut Child) {
    #[cfg(unix)]
    if let Some(pid) = rustix::process::Pid::from_raw(worker.id().cast_signed()) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    #[cfg(not(unix))]
    let _ = worker.kill();
}

/// In words, that a process did not end by itself.
fn death(status: ExitStatus) -> Option<String> {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return Some(format!("was ended by signal {signal}"));
    }
    (!status.success()).then(|| format!("ended unexpectedly ({status})"))
}
