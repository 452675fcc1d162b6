use super::FinetuneError;
use crate::dataset::{DatasetError, Sample};
use crate::image::Mask;
use crate::metrics::dice;
use crate::sam::{MaskOutput, PointPrompt, Prompt, Sam};

/// Mean Dice on the pictures held out, by what the model is told.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ValidationScores {
    /// Nothing: the model finds the object itself.
    pub direct: f64,
    /// One point, near the object's middle.
    pub point: f64,
    /// The object's box.
    pub bounding_box: f64,
}

impl ValidationScores {
    /// What the best checkpoint is chosen by: the mean of the three.
    pub fn score(&self) -> f64 {
        (self.direct + self.point + self.bounding_box) / 3.0
    }
}

/// Scores a model as it is used, at the pictures' own size.
pub fn validate(sam: &Sam, samples: &[Sample]) -> Result<ValidationScores, FinetuneError> {
    let mut sums = [0.0; 3];
    for sample in samples {
        let (frame, annotation) = sample.read()?;
        let truth = annotation.mask();
        let embedding = sam.encode(&frame)?;
        let (Some(around), Some([x, y])) = (truth.bounding_box(), middle(&truth)) else { continue };
        let point = [PointPrompt { x, y, positive: true }];
        let bounding_box = [around.x0, around.y0, around.x1, around.y1].map(|v| v as f32);
        let prompts = [
            Prompt::default(),
            Prompt { points: &point, ..Prompt::default() },
            Prompt { bounding_box: Some(bounding_box), ..Prompt::default() },
        ];
        let restore = embedding.letterbox().restore(embedding.logits_size(), 1);
        for (sum, prompt) in sums.iter_mut().zip(&prompts) {
            for found in sam.predict(&embedding, prompt, MaskOutput::Single)? {
                let mask = restore.mask(found.logits.values()).map_err(DatasetError::from)?;
                *sum += dice(&mask, &truth).unwrap_or(0.0);
            }
        }
    }
    let [direct, point, bounding_box] = sums.map(|sum| sum / samples.len().max(1) as f64);
    Ok(ValidationScores { direct, point, bounding_box })
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
