//! The list of jobs.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use p2sam::Volume;
use serde::{Deserialize, Serialize};

/// Most bytes of a list.
const LARGEST: u64 = 64 << 20;

/// A line of the list: one recording, one object.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What `p2sam track` takes.
    pub input: PathBuf,
    /// Folder of the results.
    pub output: PathBuf,
    /// The mask.
    #[serde(default)]
    pub reference: Option<PathBuf>,
    #[serde(default)]
    pub reference_frame: Option<String>,
    #[serde(default)]
    pub reference_image: Option<PathBuf>,
    #[serde(default)]
    pub foreground: Option<String>,
    /// Which object of a mask that holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Which of several video tracks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<usize>,
    /// x,y; several with blanks between.
    #[serde(default)]
    pub point: Option<String>,
    #[serde(default)]
    pub r#box: Option<String>,
    /// Which object of a segmentation or structure set.
    #[serde(default)]
    pub roi: Option<String>,
    /// Grey window of a volume.
    #[serde(default)]
    pub window: Option<String>,
    /// Slices of a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<String>,
    /// Which way a NIfTI volume is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<String>,
    /// Millimetres between columns, rows and slices of a stack of pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing: Option<String>,
    /// Whether the mask of the slice before competes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagate: Option<bool>,
}

/// Reads a list: .csv with a head line, or .jsonl with an object a line. Names are relative to its folder.
///
/// # Errors
/// With the line, if there is anything that is no job, or two jobs would write to one folder.
pub fn read(path: &Path) -> anyhow::Result<Vec<Job>> {
    let what = || format!("cannot read the list {}", path.display());
    let size = std::fs::metadata(path).with_context(what)?.len();
    if size > LARGEST {
        bail!("the list {} has {size} bytes, more than {LARGEST}", path.display());
    }
    let kind = path.extension().unwrap_or_default().to_ascii_lowercase();
    let rows: Vec<(usize, Job)> = match kind.to_str() {
        Some("csv") => read_csv(path).with_context(what)?,
        Some("jsonl" | "ndjson") => read_json_lines(path).with_context(what)?,
        _ => bail!("{} is no list: a list of jobs is a .csv or a .jsonl file", path.display()),
    };
    if rows.is_empty() {
        bail!("the list {} holds no job", path.display());
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut outputs: HashMap<PathBuf, usize> = HashMap::new();
    let mut jobs = Vec::with_capacity(rows.len());
    for (line, mut job) in rows {
        for name in [
            Some(&mut job.input),
            Some(&mut job.output),
            job.reference.as_mut(),
            job.reference_image.as_mut(),
        ]
        .into_iter()
        .flatten()
        {
            *name = folder.join(&name);
        }
        if let Some(other) = outputs.insert(job.output.components().collect(), line) {
            bail!(
                "{}, line {line}: {} is already the output of line {other}",
                path.display(),
                job.output.display()
            );
        }
        jobs.push(job);
    }
    Ok(jobs)
}

fn read_csv(path: &Path) -> anyhow::Result<Vec<(usize, Job)>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path)?;
    let mut jobs = Vec::new();
    let head = reader.headers()?.clone();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        let job = record.deserialize(Some(&head)).with_context(|| format!("line {line}"))?;
        jobs.push((line, job));
    }
    Ok(jobs)
}

fn read_json_lines(path: &Path) -> anyhow::Result<Vec<(usize, Job)>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let job = serde_json::from_str(line).with_context(|| format!("line {}", index + 1))?;
            Ok((index + 1, job))
        })
        .collect()
}

impl Job {
    /// The job with names as they were in a list in this folder.
    pub fn relative_to(&self, folder: Option<&Path>) -> Self {
        let within = |path: &Path| {
            let inner = folder.and_then(|folder| path.strip_prefix(folder).ok());
            inner.unwrap_or(path).to_path_buf()
        };
        Self {
            input: within(&self.input),
            output: within(&self.output),
            reference: self.reference.as_deref().map(within),
            reference_image: self.reference_image.as_deref().map(within),
            ..self.clone()
        }
    }

    /// Its arguments for `p2sam track`.
    pub fn words(&self, overlay: bool) -> Vec<OsString> {
        let mut words = vec![self.input.clone().into_os_string()];
        let mut tell = |name: &str, value: Option<OsString>| {
            if let Some(value) = value {
                let mut word = OsString::from(format!("--{name}="));
                word.push(value);
                words.push(word);
            }
        };
        let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
        let text = |text: &Option<String>| text.clone().map(OsString::from);
        tell("reference", path(&self.reference));
        tell("reference-frame", text(&self.reference_frame));
        tell("reference-image", path(&self.reference_image));
        tell("foreground", text(&self.foreground));
        tell("object", text(&self.object));
        tell("track", self.track.map(|track| track.to_string().into()));
        tell("roi", text(&self.roi));
        tell("window", text(&self.window));
        tell("slices", text(&self.slices));
        tell("axis", text(&self.axis));
        tell("spacing", text(&self.spacing));
        for point in self.point.iter().flat_map(|points| points.split_whitespace()) {
            tell("point", Some(point.into()));
        }
        tell("box", text(&self.r#box));
        let file = |name: &str| Some(self.output.join(name).into_os_string());
        tell("masks", file("masks"));
        tell("coco", file("masks.json"));
        tell("jsonl", file("frames.jsonl"));
        tell("summary", file("summary.json"));
        if Volume::is_volume(&self.input) {
            tell("nifti", file("mask.nii.gz"));
            if !self.input.to_string_lossy().contains(".nii") {
                tell("seg", file("seg.dcm"));
            }
        }
        if overlay {
            tell("output", file("overlay.mkv"));
        }
        if self.propagate == Some(true) {
            words.push("--propagate".into());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use rand_mt::Mt64;

    use super::*;

    const CSV: &str = "input,reference,output,reference_frame,point\n\
        a/clip.mp4,a/mask.png,out/a,12.5s,\n\"b, c\",\"b\"\"m.png\",out/b,,\"1,2 -3,4\"\n";
    const JSON: &str = "{\"input\": \"a/clip.mp4\", \"output\": \"out/a\", \"box\": \"1,2,3,4\"}\n\n\
        {\"input\": \"b\", \"output\": \"out/b\", \"reference\": \"b\\u0041.png\"}\n";

    #[test]
    fn altered_lists_are_jobs_or_errors_with_the_lists_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Mt64::new(6);
        for (name, whole) in [("list.csv", CSV), ("list.jsonl", JSON)] {
            let path = folder.path().join(name);
            std::fs::write(&path, whole).unwrap();
            assert_eq!(read(&path).unwrap().len(), 2);
            let mut errors = 0;
            for _ in 0..2000 {
                let mut bytes = whole.as_bytes().to_vec();
                let mut below = |most: usize| (random.next_u64() % most as u64) as usize;
                match below(3) {
                    0 => bytes.truncate(below(whole.len())),
                    1 => bytes[below(whole.len())] = below(256) as u8,
                    _ => {
                        let at = below(whole.len());
                        let one = b",\"\n\r{}\\\0\xff"[below(9)];
                        bytes.splice(at..at, std::iter::repeat_n(one, 1 + below(3)));
                    }
                }
                std::fs::write(&path, &bytes).unwrap();
                match read(&path) {
                    Ok(jobs) => {
                        // What is read becomes a line of words, whatever it holds.
                        assert!(jobs.iter().all(|job| !job.words(false).is_empty()));
                    }
                    Err(error) => {
                        assert!(format!("{error:#}").contains(name), "{error:#}");
                        errors += 1;
                    }
                }
            }
            assert!(errors > 200, "{name}: {errors} errors");
        }
    }
}
