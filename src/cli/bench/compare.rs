use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use p2sam::bench::{BenchReport, compare};

use crate::cli::Outcome;

/// The arguments of `p2sam bench compare`.
#[derive(Args)]
pub struct CompareArgs {
    /// The earlier measurement, of --json.
    before: PathBuf,
    /// The later one.
    after: PathBuf,
}

/// Largest file that is read.
const LARGEST: u64 = 1 << 30;

fn read(path: &Path) -> anyhow::Result<BenchReport> {
    let told = || path.display().to_string();
    let size = std::fs::metadata(path).with_context(told)?.len();
    if size > LARGEST {
        bail!("{}: {size} bytes are no measurement", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(told)?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is no measurement of `p2sam bench --json`", path.display()))
}

/// Runs `p2sam bench compare`.
pub fn run(args: &CompareArgs) -> anyhow::Result<Outcome> {
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    if before.machine != after.machine {
        tell!("the two were measured on different machines or systems; see `machine` in the files");
    }
    if (&before.mode, &before.input, before.rate) != (&after.mode, &after.input, after.rate) {
        tell!("the two were measured in different ways or on different inputs");
    }
    let all = compare(&before, &after);
    if all.is_empty() {
        bail!("no case is in both, with frames enough to compare");
    }
    let mut last = None;
    for one in &all {
        if last != Some(&one.case) {
            say!("\n{}", one.case);
            say!("{:<12}{:>10}{:>10}{:>8}  95 % interval", "ms, p50", "before", "after", "ratio");
            last = Some(&one.case);
        }
        let ([before, after], [low, high]) = (one.medians, one.interval);
        say!(
            "{:<12}{before:>10.2}{after:>10.2}{:>8.3}  {low:.3} to {high:.3}  {}",
            one.stage,
            one.ratio,
            one.verdict.name()
        );
    }
    Ok(Outcome::Done)
}
