use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::FinetuneError;
use crate::augment::Random;
use crate::dataset::{DatasetError, Sample};
use crate::image::{Foreground, Frame, Mask};

/// Images to train on that belong together: of one publication or hospital. Validation scores are means
/// over data sets.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// Its name, unique among the data sets of a run.
    pub name: String,
    /// Annotated images; an empty mask says that the object is absent.
    pub samples: Vec<Sample>,
    /// Images without a mask, none of which shows the object.
    pub absent: Vec<PathBuf>,
}

/// Which images are held out for validation. Images of one patient never lie on both sides.
#[derive(Clone, Debug, PartialEq)]
pub enum Validation {
    /// A share of the patients, chosen by the seed.
    Share(f64),
    /// The images of these names. What else there is of their patients is neither trained on nor
    /// validated with.
    Names(BTreeSet<String>),
}

/// How images are parted.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Which are held out.
    pub validation: Validation,
    /// A patient is the part of a name before this; without it every image is a patient of its own.
    pub patient_ends_at: Option<String>,
    /// Patients by the names of their images, before the rule above; also for images that are there
    /// twice.
    pub patients: BTreeMap<String, String>,
}

impl Split {
    /// Every image a patient of its own.
    pub fn new(validation: Validation) -> Self {
        Self { validation, patient_ends_at: None, patients: BTreeMap::new() }
    }

    /// The patient of an image.
    pub fn patient(&self, name: &str) -> String {
        if let Some(patient) = self.patients.get(name) {
            return patient.clone();
        }
        let end = self.patient_ends_at.as_deref();
        end.and_then(|end| name.split(end).next()).unwrap_or(name).to_owned()
    }
}

/// An image to train on or to validate with.
#[derive(Clone, Debug)]
pub struct TrainingImage {
    /// Its name within its data set.
    pub name: String,
    /// Place of its data set in [`TrainingData::sets`].
    pub set: usize,
    /// The image file.
    pub image: PathBuf,
    /// The mask file and its object; `None` if the object is absent.
    mask: Option<(PathBuf, Foreground)>,
}

impl TrainingImage {
    /// Whether the object is in the image.
    pub fn has_object(&self) -> bool {
        self.mask.is_some()
    }

    /// Reads the image and its mask, empty where the object is absent.
    ///
    /// # Errors
    /// As [`Sample::read`].
    pub fn read(&self) -> Result<(Frame, Mask), DatasetError> {
        match &self.mask {
            Some((mask, foreground)) => {
                let (image, mask) = (self.image.clone(), mask.clone());
                let sample =
                    Sample { name: self.name.clone(), image, mask, foreground: *foreground };
                let (frame, annotation) = sample.read()?;
                Ok((frame, annotation.mask()))
            }
            None => {
                let frame = Frame::open(&self.image)?;
                let pixels = frame.width() as usize * frame.height() as usize;
                let mask = Mask::new(frame.width(), frame.height(), vec![false; pixels])?;
                Ok((frame, mask))
            }
        }
    }
}

/// Annotated images to train on and to validate with.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Names of the data sets.
    pub sets: Vec<String>,
    /// Images with the object, to train on.
    pub train: Vec<TrainingImage>,
    /// Images without it, to train on.
    pub absent: Vec<TrainingImage>,
    /// Images held out, with and without the object.
    pub held_out: Vec<TrainingImage>,
    /// Names of images left out because their masks cover all of them: that does not say what to find.
    pub skipped: Vec<String>,
    /// Number of images left out because a patient of theirs is held out by name.
    pub beside: usize,
    /// Checksum of all names, file sizes and of the split.
    pub(super) fingerprint: String,
}

/// What a mask says.
enum Kind {
    Object,
    Absent,
    Full,
}

impl TrainingData {
    /// Reads every mask once and parts the images.
    ///
    /// # Errors
    /// [`FinetuneError::Data`] with every file that cannot be read or does not fit,
    /// [`FinetuneError::Settings`] if no image with an object is left to train on.
    pub fn new(sets: Vec<DataSet>, split: &Split, seed: u64) -> Result<Self, FinetuneError> {
        let names: Vec<String> = sets.iter().map(|set| set.name.clone()).collect();
        let folder = sets
            .first()
            .and_then(|s| s.samples.first().map(|s| &s.image).or(s.absent.first()))
            .and_then(|image| image.parent())
            .map(Path::to_path_buf)
            .unwrap_or_default();
        let (images, skipped) = read_all(sets, &folder)?;
        let key = |image: &TrainingImage| (image.set, split.patient(&image.name));
        let held: BTreeSet<(usize, String)> = match &split.validation {
            Validation::Names(listed) => {
                let known: BTreeSet<&str> = images.iter().map(|i| i.name.as_str()).collect();
                if let Some(name) = listed.iter().find(|name| !known.contains(name.as_str())) {
                    return Err(FinetuneError::Settings(format!(
                        "the validation list names '{name}', which is no usable image of the data"
                    )));
                }
                images.iter().filter(|i| listed.contains(&i.name)).map(key).collect()
            }
            Validation::Share(share) => {
                let patients: Vec<_> =
                    images.iter().map(key).collect::<BTreeSet<_>>().into_iter().collect();
                let wanted = (share * patients.len() as f64).round() as usize;
                let order = Random::at(seed, &[0x5eed]).order(patients.len());
                order.into_iter().take(wanted).filter_map(|p| patients.get(p).cloned()).collect()
            }
        };
        let (mut held_out, train): (Vec<_>, Vec<_>) =
            images.into_iter().partition(|image| held.contains(&key(image)));
        let all = held_out.len();
        if let Validation::Names(listed) = &split.validation {
            held_out.retain(|image| listed.contains(&image.name));
        }
        let beside = all - held_out.len();
        let (train, absent): (Vec<_>, Vec<_>) =
            train.into_iter().partition(TrainingImage::has_object);
        if train.is_empty() {
            return Err(FinetuneError::Settings(format!(
                "no image with an object is left to train on: {} images held out, {} with an empty \
                 mask, {} with a mask that covers them",
                held_out.len() + beside,
                absent.len(),
                skipped.len()
            )));
        }
        let fingerprint = fingerprint(&[&train, &absent, &held_out])?;
        Ok(Self { sets: names, train, absent, held_out, skipped, beside, fingerprint })
    }

    /// The images of a batch, counted from 0: one random order of all after another, without a
    /// break between them.
    pub(super) fn batch(&self, batch: u64, size: usize, seed: u64) -> Vec<&TrainingImage> {
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

/// All usable images of the data sets, and the names of those whose masks cover them.
fn read_all(
    sets: Vec<DataSet>,
    folder: &Path,
) -> Result<(Vec<TrainingImage>, Vec<String>), FinetuneError> {
    let (mut images, mut skipped, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (set, data) in sets.into_iter().enumerate() {
        let checked: Vec<Result<Kind, DatasetError>> =
            data.samples.par_iter().map(kind_of).collect();
        for (sample, checked) in data.samples.into_iter().zip(checked) {
            let Sample { name, image, mask, foreground } = sample;
            match checked {
                Ok(Kind::Object) => {
                    let mask = Some((mask, foreground));
                    images.push(TrainingImage { name, set, image, mask });
                }
                Ok(Kind::Absent) => images.push(TrainingImage { name, set, image, mask: None }),
                Ok(Kind::Full) => skipped.push(name),
                Err(error) => problems.push(error.to_string()),
            }
        }
        let unreadable: Vec<_> =
            data.absent.par_iter().filter_map(|p| Frame::open(p).err()).collect();
        problems.extend(unreadable.iter().map(ToString::to_string));
        images.extend(data.absent.into_iter().map(|image| {
            let name = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            TrainingImage { name, set, image, mask: None }
        }));
    }
    if problems.is_empty() {
        return Ok((images, skipped));
    }
    Err(DatasetError::Samples { path: folder.to_path_buf(), problems }.into())
}

fn kind_of(sample: &Sample) -> Result<Kind, DatasetError> {
    let (frame, annotation) = sample.read()?;
    let pixels = frame.width() as usize * frame.height() as usize;
    Ok(match annotation.mask().area() {
        0 => Kind::Absent,
        area if area == pixels => Kind::Full,
        _ => Kind::Object,
    })
}

fn fingerprint(parts: &[&[TrainingImage]; 3]) -> Result<String, FinetuneError> {
    let mut hasher = Sha256::new();
    let length = |path: &Path| {
        std::fs::metadata(path).map(|m| m.len()).map_err(|e| FinetuneError::file(path, e))
    };
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        for image in *part {
            hasher.update((image.set as u64).to_le_bytes());
            hasher.update((image.name.len() as u64).to_le_bytes());
            hasher.update(&image.name);
            let mask = image.mask.as_ref().map(|(mask, _)| length(mask)).transpose()?;
            for length in [length(&image.image)?, mask.unwrap_or(0)] {
                hasher.update(length.to_le_bytes());
            }
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
