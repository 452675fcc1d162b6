//! `p2sam prepare`: downloaded data sets to the layout that `eval` and `finetune` read.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use p2sam::{Download, NamePattern, Preparation, PrepareError, PrepareOptions, Prepared, Window};
use serde_json::{Value, json};

use super::ledger::{Found, Ledger, State};
use super::outputs::progress_bar_of;
use super::{Outcome, interrupt};

/// The arguments of `p2sam prepare`.
#[derive(Args)]
#[command(
    after_help = "The result has images/ and masks/: a folder a patient and visit of 4d-lung, \
PATIENT_SLICE of nsclc-radiomics, and the names of the download otherwise. Patients and visits are \
numbered, in the order of their numbers and dates. The same command goes on where it was stopped, and \
tries again what failed.

Examples:
  p2sam prepare 4d-lung downloads/4D-Lung data/4d-lung
  p2sam eval 4d-lung data/4d-lung --method p2sam,first-mask --report scores.html

  p2sam prepare nsclc-radiomics downloads/NSCLC-Radiomics data/nsclc --window lung
  p2sam finetune --data data/nsclc --patient-ends-at _ --out runs/lung"
)]
pub struct PrepareArgs {
    /// nsclc-radiomics, 4d-lung, kvasir-seg or cvc-clinicdb.
    dataset: Download,
    /// The download, unpacked: DICOM files in whatever folders, or pictures and masks.
    #[arg(value_name = "SRC")]
    from: PathBuf,
    /// Folder for the result.
    #[arg(value_name = "DST")]
    to: PathBuf,
    /// Grey window of CT slices: soft-tissue (unless given), lung, bone, file, or CENTRE,WIDTH.
    #[arg(long, value_name = "WINDOW", allow_hyphen_values = true)]
    window: Option<Window>,
    /// Which object of a structure set or segmentation: patterns of its name, the preferred one first.
    /// Unless given: Tumor_c00,Tumor*,GTV* of 4d-lung; GTV-1,GTV*1,GTV of nsclc-radiomics.
    #[arg(long, value_name = "PATTERN,..", value_delimiter = ',')]
    roi: Vec<NamePattern>,
    /// Which series where several of a visit are marked: a pattern of its description. Unless given:
    /// '* 0.0%*' of 4d-lung, the first phase of breath.
    #[arg(long, value_name = "PATTERN")]
    phase: Option<NamePattern>,
    /// Name patients and visits by their numbers and dates, and files in messages by all of their
    /// paths.
    #[arg(long)]
    keep_identifiers: bool,
    /// Print the summary as JSON on standard output.
    #[arg(long)]
    json: bool,
}

impl PrepareArgs {
    fn options(&self) -> anyhow::Result<PrepareOptions> {
        let given = self.window.is_some() || !self.roi.is_empty() || self.phase.is_some();
        if (given || self.keep_identifiers) && !self.dataset.is_dicom() {
            bail!("--window, --roi, --phase and --keep-identifiers are for DICOM data sets");
        }
        let own = self.dataset.options();
        Ok(PrepareOptions {
            window: self.window.unwrap_or(own.window),
            roi: if self.roi.is_empty() { own.roi } else { self.roi.clone() },
            phase: self.phase.clone().unwrap_or(own.phase),
            keep_identifiers: self.keep_identifiers,
        })
    }
}

/// Runs `p2sam prepare`.
pub fn run(args: PrepareArgs) -> anyhow::Result<Outcome> {
    let options = args.options()?;
    check_apart(&args.from, &args.to)?;
    interrupt::install()?;
    let bar = progress_bar_of("files", None);
    let go_on = || {
        bar.inc(1);
        !interrupt::requested()
    };
    let found = Preparation::find(args.dataset, &args.from, &options, &go_on)?;
    bar.finish_and_clear();
    let Some(preparation) = found else { return Ok(Outcome::Interrupted) };
    let task = task(&args, &options, &preparation);
    match Ledger::open(&args.to, task, |state| state == State::Done)? {
        Found::Finished(_) => {
            let name = preparation.unit_name();
            if args.json {
                say!("{}", json!({ "done_before": true, (name): preparation.units() }));
            } else {
                say!("{} {name}: done before", preparation.units());
            }
            Ok(Outcome::Done)
        }
        Found::Open(ledger) => all(&args, &preparation, ledger),
    }
}

/// What decides on the result.
fn task(args: &PrepareArgs, options: &PrepareOptions, preparation: &Preparation) -> Value {
    let mut task = json!({
        "program": format!("p2sam {}", env!("CARGO_PKG_VERSION")),
        "dataset": args.dataset.name(),
        "input": preparation.fingerprint(),
    });
    if args.dataset.is_dicom() {
        let roi: Vec<String> = options.roi.iter().map(ToString::to_string).collect();
        task["window"] = format!("{:?}", options.window).into();
        task["roi"] = roi.into();
        task["phase"] = options.phase.to_string().into();
        task["keep_identifiers"] = options.keep_identifiers.into();
    }
    task
}

/// Prepares what is left to do.
fn all(args: &PrepareArgs, preparation: &Preparation, ledger: Ledger) -> anyhow::Result<Outcome> {
    let (units, name) = (preparation.units(), preparation.unit_name());
    let start = Instant::now();
    let bar = progress_bar_of(name, Some(units as u64));
    let mut failed = preparation.problems();
    for problem in &failed {
        bar.suspend(|| tell!("failed: {problem}"));
    }
    let (mut tried, mut prepared, mut sum) = (0, 0, Prepared::default());
    for unit in (0..units).take_while(|_| !interrupt::requested()) {
        match preparation.prepare(unit, &args.to) {
            Ok(done) => {
                prepared += 1;
                sum.written += done.written;
                sum.there += done.there;
                sum.visits += done.visits;
                sum.unmarked += done.unmarked;
                for warning in &done.warnings {
                    bar.suspend(|| tell!("warning: {warning}"));
                }
                sum.warnings.extend(done.warnings);
            }
            Err(error @ PrepareError::Unit { .. }) => {
                bar.suspend(|| tell!("failed: {error}"));
                failed.push(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
        tried += 1;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let interrupted = interrupt::requested() && tried < units;
    if args.json {
        let summary = json!({
            (name): units,
            "prepared": prepared,
            "failed": failed,
            "warnings": sum.warnings,
            "visits": sum.visits,
            "visits_without_marks": sum.unmarked,
            "pictures_written": sum.written,
            "pictures_there_before": sum.there,
            "seconds": (start.elapsed().as_secs_f64() * 1e3).round() / 1e3,
        });
        say!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        say!("{name:<10} {prepared} of {units} prepared, {} failures", failed.len());
        if args.dataset.is_dicom() {
            say!("visits     {}, and {} with nothing marked left out", sum.visits, sum.unmarked);
        }
        say!("pairs      {} written, {} there before", sum.written, sum.there);
    }
    if interrupted {
        tell!("stopped; the same command goes on with it");
        return Ok(Outcome::Interrupted);
    }
    if prepared == 0 {
        bail!("none of the {units} {name} could be prepared");
    }
    let (state, outcome) = match failed.is_empty() {
        true => (State::Done, Outcome::Done),
        false => (State::Incomplete, Outcome::Incomplete),
    };
    ledger.finish(state)?;
    Ok(outcome)
}

/// Nothing is written where it would be read, and nothing read where it was written.
fn check_apart(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() && !to.is_dir() {
        bail!("{} is a file; name a folder", to.display());
    }
    let source = from.canonicalize().with_context(|| format!("cannot read {}", from.display()))?;
    let result = resolved(to)?;
    if result.starts_with(&source) {
        bail!("{} lies in {}; name a folder elsewhere", to.display(), from.display());
    }
    if source.starts_with(&result) {
        bail!("{} holds {}; name a folder of its own", to.display(), from.display());
    }
    Ok(())
}

/// The one name of a folder that need not be there yet.
fn resolved(folder: &Path) -> anyhow::Result<PathBuf> {
    let failed = || format!("cannot read {}", folder.display());
    let whole = std::path::absolute(folder).with_context(failed)?;
    for there in whole.ancestors() {
        if let Ok(real) = there.canonicalize() {
            return Ok(real.join(whole.strip_prefix(there)?));
        }
    }
    Ok(whole)
}
