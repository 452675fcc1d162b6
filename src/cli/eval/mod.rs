//! `p2sam eval`: a data set with known masks through the method and its rivals.

mod files;
mod print;

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use p2sam::eval::{
    Entry, Plan, SequenceResult, Settings, Store, ablation, digest, evaluate, published, summarise,
};
use p2sam::{Approach, Dataset, MethodConfig, Sam, Sequence, check_dataset, find_weights, sha256};

use super::method::MethodArgs;
use super::model::ModelArgs;
use super::outputs::{check_names, progress_bar, write_text};
use super::shard::Shard;
use super::{Outcome, interrupt};
use files::FileArgs;

/// The arguments of `p2sam eval`.
#[derive(Args)]
#[command(after_help = "Examples:
  p2sam eval cvc-clinicdb data/CVC-ClinicDB --method p2sam,direct,oracle-box --report scores.html
  p2sam eval davis2016 data/DAVIS --profile video --sequences dog,car-shadow --limit-frames 10
  p2sam eval cvc-clinicdb data/CVC-ClinicDB --shard 1/2 --out part1
  p2sam eval cvc-clinicdb data/CVC-ClinicDB --merge part1 part2 --report scores.html")]
pub struct EvalArgs {
    /// The data set's kind: cvc-clinicdb, perseg, 4d-lung, kvasir-seg (any folder of pictures of
    /// different objects), davis2016, davis2017, polypgen-clips, sequence (any sequence, or a folder a video). It
    /// decides layout, reference, scores and, unless given, the published settings.
    dataset: Dataset,
    /// The data set's folder.
    dir: PathBuf,
    /// What to run, several with commas: p2sam, direct (no prompt), persam, persam-f, first-mask
    /// (the reference mask on every picture), oracle-box (box of the true mask).
    #[arg(long = "method", value_name = "NAME,..", value_delimiter = ',', default_value = "p2sam")]
    approaches: Vec<Approach>,
    /// These sequences only, with commas.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    sequences: Vec<String>,
    /// The first pictures of a sequence only, so many scored ones.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit_frames: Option<u32>,
    /// The reference of a sequence: published, a picture's number from 0, a range A..B or all. Of
    /// several each is tried, and the spread told.
    #[arg(long, value_name = "WHICH", default_value = "published")]
    reference: ReferenceChoice,
    /// Run P2SAM with one setting changed at a time, in place of --method, and write the table as
    /// Markdown to this file.
    #[arg(long, value_name = "FILE.md", conflicts_with = "approaches")]
    ablate: Option<PathBuf>,
    /// Keep results in this folder, and go on from those that are there already.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Every N-th sequence only, from the I-th on.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Run nothing; take the results from these folders that --out made.
    #[arg(
        long,
        value_name = "DIR",
        num_args = 1..,
        conflicts_with_all = ["shard", "out", "ablate", "limit_frames", "reference", "sequences", "approaches"]
    )]
    merge: Vec<PathBuf>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    model: ModelArgs,
}

/// The references to try.
#[derive(Clone, Debug, PartialEq)]
enum ReferenceChoice {
    Published,
    These(RangeInclusive<usize>),
}

impl FromStr for ReferenceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<usize>()
                .map_err(|_| format!("'{text}' is not published, all, a number or a range A..B"))
        };
        Ok(match (text, text.split_once("..")) {
            ("published", _) => Self::Published,
            ("all", _) => Self::These(0..=usize::MAX),
            (_, Some((from, to))) => {
                let (from, to) = (number(from)?, number(to)?);
                if from > to {
                    return Err(format!("'{text}' ends before it begins"));
                }
                Self::These(from..=to)
            }
            (one, None) => Self::These(number(one)?..=number(one)?),
        })
    }
}

/// Runs `p2sam eval`.
pub fn run(args: EvalArgs) -> anyhow::Result<Outcome> {
    args.files.check()?;
    if let Some(path) = &args.ablate {
        check_names(&[], &[path])?;
    }
    let (defaults, measure) = published(args.dataset);
    let mut sequences = args.dataset.read(&args.dir)?;
    sequences.retain(|sequence| sequence.scored() > 0);
    let (settings, results, names) = if args.merge.is_empty() {
        choose(&args, &mut sequences)?;
        args.files.check_folders(&sequences)?;
        let config = args.method.config_on(&defaults);
        config.validate()?;
        check_dataset(&args.dir, &sequences)?;
        interrupt::install()?;
        let sam = Arc::new(args.model.load_for(args.method.profile())?);
        let settings = settings(&args, &config, &sam)?;
        let entries = entries(&args, &config);
        let results = evaluate_all(&args, &entries, &sam, &settings, &sequences)?;
        let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        (settings, results, names)
    } else {
        args.files.check_folders(&sequences)?;
        let (settings, results) = merged(&args)?;
        let mut names: Vec<String> = results.iter().map(|result| result.method.clone()).collect();
        names.dedup();
        (settings, results, names)
    };
    let missing = missing(&sequences, &names, &results);
    let summary = summarise(&settings, measure, &results, missing);
    print::print(&args.files, measure, &summary)?;
    if let Some(path) = &args.ablate {
        write_text(path, &print::markdown(&summary))?;
    }
    args.files.write(args.dataset, &sequences, &results, &summary)?;
    for problem in &summary.problems {
        tell!("warning: {problem}");
    }
    Ok(match (interrupt::requested(), summary.problems.is_empty()) {
        (true, _) => Outcome::Interrupted,
        (false, true) => Outcome::Done,
        (false, false) => Outcome::Incomplete,
    })
}

/// Keeps the sequences, references and pictures that are asked for.
fn choose(args: &EvalArgs, sequences: &mut Vec<Sequence>) -> anyhow::Result<()> {
    let unknown: Vec<&str> = args
        .sequences
        .iter()
        .filter(|name| !sequences.iter().any(|sequence| sequence.name == **name))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        let known: Vec<&str> = sequences.iter().map(|sequence| sequence.name.as_str()).collect();
        bail!(
            "no sequence {} in {}: it has {}",
            unknown.join(", "),
            args.dir.display(),
            known.join(", ")
        );
    }
    if !args.sequences.is_empty() {
        sequences.retain(|sequence| args.sequences.contains(&sequence.name));
    }
    if let Some(Shard { index, count }) = args.shard {
        let mut place = 0..;
        sequences.retain(|_| place.next().is_some_and(|place| place % count == index - 1));
    }
    for sequence in sequences.iter_mut() {
        if let ReferenceChoice::These(range) = &args.reference {
            sequence.refer_to(range)?;
        }
        if let Some(most) = args.limit_frames {
            sequence.limit(most as usize);
        }
    }
    sequences.retain(|sequence| sequence.scored() > 0);
    if sequences.is_empty() {
        bail!("no sequence is left to evaluate");
    }
    Ok(())
}

fn settings(args: &EvalArgs, config: &MethodConfig, sam: &Sam) -> anyhow::Result<Settings> {
    let weights = find_weights(&args.model.weights)?;
    let limit = args.limit_frames.map_or("none".to_owned(), |most| most.to_string());
    let reference = match &args.reference {
        ReferenceChoice::Published => "published".to_owned(),
        ReferenceChoice::These(range) if *range.end() == usize::MAX => "all".to_owned(),
        ReferenceChoice::These(range) => format!("{}..{}", range.start(), range.end()),
    };
    let pairs = [
        ("program", format!("p2sam {}", env!("CARGO_PKG_VERSION"))),
        ("dataset", args.dataset.name().to_owned()),
        ("profile", args.method.profile().name().to_owned()),
        ("presence", if args.method.decides_presence() { "on" } else { "off" }.to_owned()),
        ("weights", weights.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        ("weights_sha256", sha256(&weights)?),
        ("architecture", sam.architecture().to_string()),
        ("normalisation", args.model.normalisation_name().to_owned()),
        ("input_side", sam.input_side().to_string()),
        ("limit_frames", limit),
        ("reference", reference),
    ];
    let key = args.model.checkpoint_key.clone().map(|key| ("checkpoint_key", key));
    let all = pairs.into_iter().chain(key).chain(config.settings());
    Ok(Settings(all.map(|(name, value)| (name.to_owned(), value)).collect()))
}

/// What is asked for, each once.
fn entries(args: &EvalArgs, config: &MethodConfig) -> Vec<Entry> {
    if args.ablate.is_some() {
        return ablation(config);
    }
    let mut entries: Vec<Entry> = Vec::new();
    for &approach in &args.approaches {
        let entry = Entry { name: approach.name().to_owned(), approach, config: config.clone() };
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    entries
}

/// Runs what is not done yet. Stopped by the user, it returns what is done.
fn evaluate_all(
    args: &EvalArgs,
    entries: &[Entry],
    sam: &Arc<Sam>,
    settings: &Settings,
    sequences: &[Sequence],
) -> anyhow::Result<Vec<SequenceResult>> {
    let store = args.out.as_ref().map(|folder| Store::open(folder, settings)).transpose()?;
    let bar = progress_bar(Some(sequences.iter().map(|s| s.targets.len() as u64).sum()));
    let mut results = Vec::new();
    for sequence in sequences {
        let data = digest(sequence)?;
        let mut left = Vec::new();
        for entry in entries {
            let done = match &store {
                Some(store) => store.get(&entry.name, sequence, &data)?,
                None => None,
            };
            match done {
                Some(result) => results.push(result),
                None => left.push(entry.clone()),
            }
        }
        let stepped = Cell::new(0);
        if !left.is_empty() {
            let presence = args.method.presence(sam)?;
            let plan = Plan { sam, presence, entries: &left };
            let step = || {
                bar.inc(1);
                stepped.set(stepped.get() + 1);
            };
            let go_on = || !interrupt::requested();
            let Some(new) = evaluate(&plan, sequence, &data, &go_on, &step)? else { break };
            for result in new {
                if let Some(store) = &store {
                    store.put(&result)?;
                }
                results.push(result);
            }
        }
        bar.inc(sequence.targets.len() as u64 - stepped.get());
    }
    bar.finish_and_clear();
    // By method as asked for, and within it by sequence.
    results.sort_by_key(|result| entries.iter().position(|entry| entry.name == result.method));
    Ok(results)
}

/// The results of several folders of the same settings.
fn merged(args: &EvalArgs) -> anyhow::Result<(Settings, Vec<SequenceResult>)> {
    let mut all: Option<Settings> = None;
    let mut results: Vec<SequenceResult> = Vec::new();
    for folder in &args.merge {
        let (settings, found) = Store::read(folder)?;
        if let Some(all) = &all {
            let differences = all.differences(&settings);
            if !differences.is_empty() {
                bail!(
                    "{} and {} are not of one run: {}",
                    args.merge.first().map(|path| path.display().to_string()).unwrap_or_default(),
                    folder.display(),
                    differences.join(", ")
                );
            }
        }
        all = Some(settings);
        for result in found {
            let same =
                |r: &&SequenceResult| r.method == result.method && r.sequence == result.sequence;
            match results.iter().find(same) {
                Some(other) if *other == result => {}
                Some(_) => bail!(p2sam::eval::EvalError::Twice {
                    sequence: result.sequence,
                    method: result.method
                }),
                None => results.push(result),
            }
        }
    }
    let settings = all.unwrap_or_else(|| Settings(Default::default()));
    if settings.0.get("dataset").is_some_and(|name| name != args.dataset.name()) {
        bail!("these are results of {}", settings.0.get("dataset").cloned().unwrap_or_default());
    }
    // An ablation's first entry stays the first.
    let order = |name: &str| {
        let known = Approach::ALL.iter().position(|approach| approach.name() == name);
        (name != p2sam::eval::UNCHANGED, known, name.to_owned())
    };
    results.sort_by(|a, b| {
        let by_name = alphanumeric_sort::compare_str(&a.sequence, &b.sequence);
        order(&a.method).cmp(&order(&b.method)).then(by_name)
    });
    Ok((settings, results))
}

/// Sequences that a method has no result for.
fn missing(sequences: &[Sequence], methods: &[String], results: &[SequenceResult]) -> Vec<String> {
    let without = |method: &String| -> Option<String> {
        let there = |name: &str| results.iter().any(|r| r.method == *method && r.sequence == name);
        let names = sequences.iter().map(|sequence| sequence.name.as_str());
        let missing: Vec<&str> = names.filter(|name| !there(name)).collect();
        (!missing.is_empty())
            .then(|| format!("{method} has no result of the sequences {}", missing.join(", ")))
    };
    methods.iter().filter_map(without).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_and_shards() {
        assert_eq!("all".parse(), Ok(ReferenceChoice::These(0..=usize::MAX)));
        assert_eq!("2".parse(), Ok(ReferenceChoice::These(2..=2)));
        assert_eq!("1..3".parse(), Ok(ReferenceChoice::These(1..=3)));
        assert_eq!("published".parse(), Ok(ReferenceChoice::Published));
        for wrong in ["first", "3..1", "1..", "-1"] {
            assert!(wrong.parse::<ReferenceChoice>().is_err(), "{wrong}");
        }
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for wrong in ["0/3", "4/3", "1", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
