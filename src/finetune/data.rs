use std::collections::BTreeSet;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::FinetuneError;
use super::random::Random;
use crate::dataset::{DatasetError, Sample};

/// Which pictures are held out for validation. Pictures of one patient stay together.
#[derive(Clone, Debug, PartialEq)]
pub enum Validation {
    /// A share of the patients, chosen by the seed.
    Share(f64),
    /// The pictures of these names.
    Names(BTreeSet<String>),
}

/// Annotated pictures to train on and to validate with.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Pictures to train on.
    pub train: Vec<Sample>,
    /// Pictures held out.
    pub held_out: Vec<Sample>,
    /// Names of pictures left out, as their masks are empty or cover all of the picture: neither
    /// tells what to find.
    pub skipped: Vec<String>,
    /// Checksum of all names, file sizes and of the split.
    pub(super) fingerprint: String,
}

impl TrainingData {
    /// Reads every mask once and splits the pictures. A patient is the part of a name before the
    /// first `patient_ends_at`; without it every picture is its own.
    ///
    /// # Errors
    /// [`FinetuneError::Data`] with every file that cannot be read or does not fit,
    /// [`FinetuneError::Settings`] if nothing is left to train on.
    pub fn new(
        samples: Vec<Sample>,
        validation: &Validation,
        patient_ends_at: Option<&str>,
        seed: u64,
    ) -> Result<Self, FinetuneError> {
        let checked: Vec<Result<bool, DatasetError>> = samples.par_iter().map(is_usable).collect();
        let (mut usable, mut skipped, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for (sample, checked) in samples.into_iter().zip(checked) {
            match checked {
                Ok(true) => usable.push(sample),
                Ok(false) => skipped.push(sample.name),
                Err(error) => problems.push(error.to_string()),
            }
        }
        let folder = usable.first().map(|s| s.image.clone()).unwrap_or_default();
        if !problems.is_empty() {
            return Err(DatasetError::Samples { path: folder, problems }.into());
        }
        let patient = |sample: &Sample| match patient_ends_at {
            Some(end) => sample.name.split(end).next().unwrap_or_default().to_owned(),
            None => sample.name.clone(),
        };
        let held: BTreeSet<String> = match validation {
            Validation::Names(names) => {
                let known: BTreeSet<&str> = usable.iter().map(|s| s.name.as_str()).collect();
                if let Some(name) = names.iter().find(|name| !known.contains(name.as_str())) {
                    return Err(FinetuneError::Settings(format!(
                        "the validation list names '{name}', which is no usable picture of the data"
                    )));
                }
                usable.iter().filter(|s| names.contains(&s.name)).map(patient).collect()
            }
            Validation::Share(share) => {
                let patients: Vec<String> =
                    usable.iter().map(patient).collect::<BTreeSet<_>>().into_iter().collect();
                let wanted = (share * patients.len() as f64).round() as usize;
                let order = Random::at(seed, &[0x5eed]).order(patients.len());
                order.into_iter().take(wanted).filter_map(|p| patients.get(p).cloned()).collect()
            }
        };
        let (held_out, train): (Vec<_>, Vec<_>) =
            usable.into_iter().partition(|sample| held.contains(&patient(sample)));
        if train.is_empty() {
            return Err(FinetuneError::Settings(format!(
                "nothing is left to train on: {} pictures held out, {} without a usable mask",
                held_out.len(),
                skipped.len()
            )));
        }
        let fingerprint = fingerprint(&train, &held_out)?;
        Ok(Self { train, held_out, skipped, fingerprint })
    }

    /// The pictures of a batch, counted from 0: one random order of all after another, without a
    /// break between them.
    pub(super) fn batch(&self, batch: u64, size: usize, seed: u64) -> Vec<&Sample> {
        let count = self.train.len() as u64;
        let mut known: Option<(u64, Vec<usize>)> = None;
        (batch * size as u64..(batch + 1) * size as u64)
            .filter_map(|place| {
                let (epoch, place) = (place / count, (place % count) as usize);
                let order = match &known {
                    Some((of, order)) if *of == epoch => order,
                    _ => {
                        let order = Random::at(seed, &[0xda7a, epoch]).order(self.train.len());
                        &known.insert((epoch, order)).1
                    }
                };
                self.train.get(*order.get(place)?)
            })
            .collect()
    }
}

/// Whether a sample's mask says what to find.
fn is_usable(sample: &Sample) -> Result<bool, DatasetError> {
    let (frame, annotation) = sample.read()?;
    let area = annotation.mask().area();
    Ok(area > 0 && area < frame.width() as usize * frame.height() as usize)
}

fn fingerprint(train: &[Sample], held_out: &[Sample]) -> Result<String, FinetuneError> {
    let mut hasher = Sha256::new();
    for (kind, samples) in [("train", train), ("held out", held_out)] {
        for sample in samples {
            hasher.update(format!("{kind} {}", sample.name));
            for path in [&sample.image, &sample.mask] {
                let file = std::fs::metadata(path).map_err(|e| FinetuneError::file(path, e))?;
                hasher.update(format!(" {}", file.len()));
            }
            hasher.update("\n");
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
