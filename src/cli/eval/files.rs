use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use p2sam::eval::{EvalSummary, FrameResult, SequenceResult};
use p2sam::{Dataset, Sequence};

use crate::cli::outputs::{check_names, write_text};

/// What to write.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct FileArgs {
    /// Print the summary as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// The summary as JSON: settings, totals with intervals, sequences, failures.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// One JSON object a picture: scores, chosen parts, points, distance, mask (COCO RLE).
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// Folder for the masks (PNG, 255 on the object) in the published layout: a folder a sequence,
    /// below one a method if there are several.
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// Folder for a contact sheet of each sequence: truth white, mask green, points.
    #[arg(long, value_name = "DIR")]
    vis: Option<PathBuf>,
    /// One self-contained page: tables, score over time, reliability of the distance, pictures.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

impl FileArgs {
    /// Whether every file can be begun.
    pub fn check(&self) -> anyhow::Result<()> {
        let files = [&self.summary, &self.jsonl, &self.report];
        let files: Vec<&Path> = files.into_iter().flatten().map(PathBuf::as_path).collect();
        check_names(&[], &files)
    }

    /// Writes what was asked for.
    pub fn write(
        &self,
        dataset: Dataset,
        sequences: &[Sequence],
        results: &[SequenceResult],
        summary: &EvalSummary,
    ) -> anyhow::Result<()> {
        if let Some(path) = &self.summary {
            write_text(path, &format!("{}\n", serde_json::to_string_pretty(summary)?))?;
        }
        if let Some(path) = &self.jsonl {
            lines(path, results).with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(folder) = &self.masks {
            masks(folder, dataset, results)?;
        }
        if let Some(folder) = &self.vis {
            sheets(folder, sequences, results)?;
        }
        if let Some(path) = &self.report {
            write_text(path, &p2sam::eval_page(summary, results, sequences)?)?;
        }
        Ok(())
    }
}

fn lines(path: &Path, results: &[SequenceResult]) -> std::io::Result<()> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        method: &'a str,
        sequence: &'a str,
        #[serde(flatten)]
        frame: &'a FrameResult,
    }
    p2sam::write_whole(path, |file| {
        for result in results {
            for frame in &result.frames {
                let line = Line { method: &result.method, sequence: &result.sequence, frame };
                serde_json::to_writer(&mut *file, &line)?;
                file.write_all(b"\n")?;
            }
        }
        Ok(())
    })
}

fn masks(folder: &Path, dataset: Dataset, results: &[SequenceResult]) -> anyhow::Result<()> {
    for result in results {
        let repeated = |pair: &[FrameResult]| matches!(pair, [a, b] if a.frame == b.frame);
        if result.frames.windows(2).any(repeated) {
            bail!("--masks needs one reference a picture; run it with one --reference");
        }
        let folder =
            of_method(folder, results, result).join(published(dataset, &result.sequence, "video_"));
        make(&folder)?;
        for frame in &result.frames {
            let name = published(dataset, &frame.frame, "");
            let path = folder.join(format!("{name}.png"));
            let mask = frame.mask.mask().with_context(|| {
                format!("the stored mask of {} {} is damaged", result.sequence, frame.frame)
            })?;
            mask.save_png(&path)?;
        }
    }
    Ok(())
}

/// The published names of CVC-ClinicDB: `video_0001/0004.png`. Others keep their own.
fn published(dataset: Dataset, name: &str, prefix: &str) -> String {
    match name.parse::<u32>() {
        Ok(number) if dataset == Dataset::CvcClinicDb => format!("{prefix}{number:04}"),
        _ => name.to_owned(),
    }
}

fn sheets(folder: &Path, sequences: &[Sequence], results: &[SequenceResult]) -> anyhow::Result<()> {
    for result in results {
        let Some(sequence) = sequences.iter().find(|s| s.name == result.sequence) else { continue };
        let folder = of_method(folder, results, result);
        make(&folder)?;
        let path = folder.join(format!("{}.jpg", result.sequence.replace('/', "_")));
        let Some(sheet) = p2sam::contact_sheet(sequence, result)? else { continue };
        let jpeg = sheet.to_jpeg(90)?;
        p2sam::write_whole(&path, |file| file.write_all(&jpeg))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A folder of the method's own if there are several.
fn of_method(folder: &Path, results: &[SequenceResult], result: &SequenceResult) -> PathBuf {
    match results.iter().any(|other| other.method != result.method) {
        true => folder.join(&result.method),
        false => folder.to_path_buf(),
    }
}

fn make(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}
