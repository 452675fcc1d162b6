use std::ops::RangeInclusive;
use std::path::Path;

use rayon::prelude::*;

use super::{DatasetError, Sample};
use crate::image::ImageError;

/// A picture to segment: indexes into [`Sequence::samples`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The picture.
    pub sample: usize,
    /// Its reference.
    pub reference: usize,
    /// Whether its score counts.
    pub scored: bool,
}

/// Pictures of one object in their order, and which of them are to be segmented.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// The sequence's name within its data set.
    pub name: String,
    /// What it belongs to together with others that are not independent of it: a patient, a video.
    pub group: String,
    /// The pictures.
    pub samples: Vec<Sample>,
    /// The pictures to segment, in their order. Those of one sample follow each other.
    pub targets: Vec<Target>,
    /// When each picture was taken, in seconds from any beginning; empty if that is not known.
    pub times: Vec<f64>,
}

impl Sequence {
    /// A sequence of which the pictures after the reference are segmented.
    pub fn after(name: impl Into<String>, samples: Vec<Sample>, reference: usize) -> Self {
        let targets = (reference + 1..samples.len())
            .map(|sample| Target { sample, reference, scored: true })
            .collect();
        let name = name.into();
        Self { group: name.clone(), name, samples, targets, times: Vec::new() }
    }

    /// A sequence of which all pictures but the reference are segmented, also those before it.
    pub fn around(
        name: impl Into<String>,
        samples: Vec<Sample>,
        reference: usize,
        times: Vec<f64>,
    ) -> Self {
        let targets = (0..samples.len())
            .filter(|sample| *sample != reference)
            .map(|sample| Target { sample, reference, scored: true })
            .collect();
        Self { targets, times, ..Self::after(name, samples, reference) }
    }

    /// Number of scored targets.
    pub fn scored(&self) -> usize {
        self.targets.iter().filter(|target| target.scored).count()
    }

    /// Ends the sequence after so many scored pictures.
    pub fn limit(&mut self, most: usize) {
        let mut pictures = Vec::new();
        let end = self.targets.iter().position(|target| {
            if target.scored && pictures.last() != Some(&target.sample) {
                pictures.push(target.sample);
            }
            pictures.len() > most
        });
        self.targets.truncate(end.unwrap_or(self.targets.len()));
    }

    /// Takes each of these pictures as the reference instead, counted from 0, and segments the same
    /// pictures as before with each, except the reference itself. Pictures whose mask is empty or full
    /// are no references.
    ///
    /// # Errors
    /// [`DatasetError::Layout`] if each picture has a reference of its own, or if none of these can
    /// be one.
    pub fn refer_to(&mut self, references: &RangeInclusive<usize>) -> Result<(), DatasetError> {
        let layout = |reason: String| DatasetError::Layout {
            path: Path::new(&self.name).to_path_buf(),
            reason,
        };
        let first = self.targets.first().map(|target| target.reference);
        if self.targets.iter().any(|target| Some(target.reference) != first) {
            return Err(layout(
                "its pictures have a reference each; the reference cannot be chosen".to_owned(),
            ));
        }
        let last = (*references.end()).min(self.samples.len().saturating_sub(1));
        let mut usable = Vec::new();
        for index in *references.start()..=last {
            let Some(sample) = self.samples.get(index) else { continue };
            // What cannot be read stays, for [`check`] to tell it together with all others.
            let good = sample.read().map_or(true, |(_, annotation)| {
                let mask = annotation.mask();
                (1..mask.data().len()).contains(&mask.area())
            });
            if good {
                usable.push(index);
            }
        }
        if usable.is_empty() {
            return Err(layout(format!(
                "none of its {} pictures can be that reference",
                self.samples.len()
            )));
        }
        let targets = self.targets.iter().flat_map(|target| {
            let others = usable.iter().filter(|reference| **reference != target.sample);
            others.map(|&reference| Target { reference, ..*target })
        });
        self.targets = targets.collect();
        Ok(())
    }

    /// Every picture that is read, in order.
    fn used(&self) -> Vec<(usize, bool)> {
        let mut used = vec![(false, false); self.samples.len()];
        for target in &self.targets {
            if let Some(place) = used.get_mut(target.sample) {
                place.0 = true;
            }
            if let Some(place) = used.get_mut(target.reference) {
                *place = (true, true);
            }
        }
        let numbered = used.into_iter().enumerate();
        numbered.filter(|(_, used)| used.0).map(|(index, used)| (index, used.1)).collect()
    }
}

/// Reads every picture and mask that the sequences use.
///
/// # Errors
/// [`DatasetError::Samples`] with every file that cannot be read, every mask of another size than its
/// picture, and every reference whose mask is empty or full.
pub fn check(dir: &Path, sequences: &[Sequence]) -> Result<(), DatasetError> {
    let used: Vec<_> = sequences
        .iter()
        .flat_map(|sequence| sequence.used().into_iter().map(move |used| (sequence, used)))
        .collect();
    let problems: Vec<String> = used
        .par_iter()
        .filter_map(|(sequence, (index, reference))| {
            let sample = sequence.samples.get(*index)?;
            problem(sample, *reference).map(|problem| {
                let name = if sequence.name == sample.name { "" } else { &sequence.name };
                format!("{name} {}: {problem}", sample.name).trim_start().to_owned()
            })
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(DatasetError::Samples { path: dir.to_path_buf(), problems })
}

fn problem(sample: &Sample, reference: bool) -> Option<String> {
    match sample.read() {
        Ok((_, annotation)) if reference => {
            let mask = annotation.mask();
            match mask.area() {
                0 => Some("it is a reference and its mask is empty".to_owned()),
                area if area == mask.data().len() => {
                    Some("it is a reference and its mask covers the whole picture".to_owned())
                }
                _ => None,
            }
        }
        Ok(_) => None,
        Err(DatasetError::Samples { problems, .. }) => Some(problems.join("; ")),
        Err(DatasetError::Image(ImageError::Read { path, reason })) => {
            Some(format!("cannot read {}: {reason}", path.display()))
        }
        Err(error) => Some(error.to_string()),
    }
}
