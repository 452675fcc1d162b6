use super::FinetuneError;
use super::data::{TrainingData, TrainingImage};
use crate::augment::Random;
use crate::augment::without_object;
use crate::dataset::DatasetError;
use crate::image::{Frame, Mask};
use crate::metrics::dice;
use crate::sam::{Embedding, MaskOutput, PointPrompt, Prompt, Sam};

/// Scores on the images held out: means over the images of each data set, and then over data sets.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ValidationScores {
    /// Mean Dice without a prompt: the model finds the object itself.
    pub direct: f64,
    /// Mean Dice of one point, near the object's middle.
    pub point: f64,
    /// Mean Dice of the object's box.
    pub bounding_box: f64,
    /// Whether absence is known, where an object score is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceScores>,
    /// The same for each data set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<SetScores>,
}

/// How well absence is known without a prompt. An image counts as without the object if the mask is
/// empty or the object score is not over 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PresenceScores {
    /// Share of the images with the object that count as such.
    pub found: f64,
    /// Share of those without it, and of images made so, that count as such.
    pub absent: f64,
}

/// The scores of one data set.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SetScores {
    /// The data set.
    pub name: String,
    /// Number of its images held out that show the object.
    pub images: usize,
    /// See [`ValidationScores::direct`]; as the others below.
    pub direct: f64,
    /// Mean Dice of one point.
    pub point: f64,
    /// Mean Dice of the box.
    pub bounding_box: f64,
    /// Whether absence is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceScores>,
}

impl ValidationScores {
    /// What the best checkpoint is chosen by: the mean of all that is scored, presence counting once.
    pub fn score(&self) -> f64 {
        let dice = self.direct + self.point + self.bounding_box;
        match self.presence {
            Some(PresenceScores { found, absent }) => (dice + f64::midpoint(found, absent)) / 4.0,
            None => dice / 3.0,
        }
    }

    fn over(sets: Vec<SetScores>) -> Self {
        let scored: Vec<&SetScores> = sets.iter().filter(|set| set.images > 0).collect();
        let mean = |value: &dyn Fn(&SetScores) -> f64| {
            scored.iter().map(|set| value(set)).sum::<f64>() / scored.len().max(1) as f64
        };
        let known: Vec<PresenceScores> = sets.iter().filter_map(|set| set.presence).collect();
        let mean_of = |value: &dyn Fn(&PresenceScores) -> f64| {
            let values: Vec<f64> = known.iter().map(value).filter(|v| v.is_finite()).collect();
            values.iter().sum::<f64>() / values.len().max(1) as f64
        };
        let presence = (!known.is_empty()).then(|| PresenceScores {
            found: mean_of(&|p| p.found),
            absent: mean_of(&|p| p.absent),
        });
        Self {
            direct: mean(&|set| set.direct),
            point: mean(&|set| set.point),
            bounding_box: mean(&|set| set.bounding_box),
            presence,
            sets,
        }
    }
}

/// Sums over the images of a data set.
#[derive(Default)]
struct Sums {
    dice: [f64; 3],
    images: usize,
    found: usize,
    absent: [usize; 2],
}

/// Scores a model as it is used, at the images' own size. `seed` decides how images without the object
/// are made of such that show it.
pub fn validate(
    sam: &Sam,
    data: &TrainingData,
    seed: u64,
) -> Result<ValidationScores, FinetuneError> {
    let mut sets: Vec<Sums> = data.sets.iter().map(|_| Sums::default()).collect();
    for (place, image) in data.held_out.iter().enumerate() {
        let Some(sums) = sets.get_mut(image.set) else { continue };
        let random = Random::at(seed, &[0xab5e, place as u64]);
        score(sam, image, sums, random)?;
    }
    let knows = sam.has_object_score();
    let scores = sets.into_iter().zip(&data.sets).map(|(sums, name)| {
        let [direct, point, bounding_box] = sums.dice.map(|sum| sum / sums.images.max(1) as f64);
        let share = |part: usize, all: usize| part as f64 / all as f64;
        let presence = knows.then(|| PresenceScores {
            found: share(sums.found, sums.images),
            absent: share(sums.absent[0], sums.absent[1]),
        });
        SetScores { name: name.clone(), images: sums.images, direct, point, bounding_box, presence }
    });
    Ok(ValidationScores::over(scores.collect()))
}

fn score(
    sam: &Sam,
    image: &TrainingImage,
    sums: &mut Sums,
    mut random: Random,
) -> Result<(), FinetuneError> {
    let (frame, truth) = image.read()?;
    let embedding = sam.encode(&frame)?;
    let (direct, present) = without_prompt(sam, &embedding)?;
    let (Some(around), Some([x, y])) = (truth.bounding_box(), middle(&truth)) else {
        sums.absent[0] += usize::from(!present);
        sums.absent[1] += 1;
        return Ok(());
    };
    sums.images += 1;
    sums.found += usize::from(present);
    sums.dice[0] += dice(&direct, &truth).unwrap_or(0.0);
    let point = [PointPrompt { x, y, positive: true }];
    let bounding_box = [around.x0, around.y0, around.x1, around.y1].map(|v| v as f32);
    let prompts = [
        Prompt { points: &point, ..Prompt::default() },
        Prompt { bounding_box: Some(bounding_box), ..Prompt::default() },
    ];
    let restore = embedding.letterbox().restore(embedding.logits_size(), 1);
    for (sum, prompt) in sums.dice[1..].iter_mut().zip(&prompts) {
        for found in sam.predict(&embedding, prompt, MaskOutput::Single)? {
            let mask = restore.mask(found.logits.values()).map_err(DatasetError::from)?;
            *sum += dice(&mask, &truth).unwrap_or(0.0);
        }
    }
    if sam.has_object_score()
        && let Some(made) = without_object(&frame, &truth, &mut random)
    {
        let (frame, _): (Frame, Mask) = made.map_err(DatasetError::from)?;
        let (_, present) = without_prompt(sam, &sam.encode(&frame)?)?;
        sums.absent[0] += usize::from(!present);
        sums.absent[1] += 1;
    }
    Ok(())
}

/// The model's mask without a prompt, and whether it says that the object is in the image.
fn without_prompt(sam: &Sam, embedding: &Embedding) -> Result<(Mask, bool), FinetuneError> {
    let found = sam.predict(embedding, &Prompt::default(), MaskOutput::Single)?;
    let restore = embedding.letterbox().restore(embedding.logits_size(), 1);
    let first = found.first();
    let logits = first.map(|found| found.logits.values()).unwrap_or_default();
    let mask = restore.mask(logits).map_err(DatasetError::from)?;
    let score = first.and_then(|found| found.object_score);
    let present = mask.area() > 0 && score.is_none_or(|score| score > 0.0);
    Ok((mask, present))
}

/// The object's pixel nearest to its centre of mass.
fn middle(mask: &Mask) -> Option<[f32; 2]> {
    let width = mask.width() as usize;
    let pixels = || {
        let on = mask.data().iter().enumerate().filter(|(_, on)| **on);
        on.map(move |(place, _)| [(place % width) as f32, (place / width) as f32])
    };
    let count = pixels().count() as f64;
    let [x, y] = pixels().fold([0.0; 2], |[x, y], at| [x + f64::from(at[0]), y + f64::from(at[1])]);
    let [x, y] = [x / count, y / count].map(|v| v as f32);
    let apart = |at: &[f32; 2]| (at[0] - x).powi(2) + (at[1] - y).powi(2);
    pixels().min_by(|a, b| apart(a).total_cmp(&apart(b)))
}
