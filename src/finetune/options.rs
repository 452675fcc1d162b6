use serde::{Deserialize, Serialize};

use super::FinetuneError;
use crate::augment::Augmentation;
use crate::sam::{Architecture, LoraConfig};

/// Which parameters learn. The positional encoding's random matrix and the batch normalisations'
/// statistics never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainedPart {
    /// All of the model.
    Full,
    /// Prompt encoder and mask decoder.
    Decoder,
    /// These and thin matrices beside the image encoder's linear layers.
    Lora,
}

/// How a model is trained. The defaults are the published recipe (Zhao & Shen 2025, appendix on
/// fine-tuning) but for the input size, the batch of which is a matter of memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct FinetuneOptions {
    /// What learns.
    pub part: TrainedPart,
    /// The matrices of [`TrainedPart::Lora`].
    pub lora: LoraConfig,
    /// Longest side of a picture in the model's input, in pixels.
    pub input_side: u32,
    /// Pictures of one forward pass.
    pub batch: usize,
    /// Batches of one step of the optimiser.
    pub accumulate: usize,
    /// Decoder passes for each picture: one with a first prompt, the rest refine.
    pub passes: usize,
    /// Share of the batches whose first pass is told nothing; the others get a point or a box.
    pub no_prompt_share: f32,
    /// Whether an object score is trained beside the predicted IoU: whether the object is in the image.
    /// Weights that have one already lose it otherwise, for it would not fit the others any more.
    pub object_score: bool,
    /// Share of the images in place of which one without the object is seen: of the data, or made of
    /// an image that shows it.
    pub absent_share: f32,
    /// How much of the average of the weights over steps is kept at each step; the average is what is
    /// validated and kept. 0: the weights themselves.
    pub average: f64,
    /// Whether the refining passes train the image encoder, too. The published recipe detaches the
    /// embedding after the first.
    pub attached: bool,
    /// How often each picture is seen.
    pub epochs: f64,
    /// At most so many steps.
    pub max_steps: Option<u64>,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Learning rate of the last step.
    pub final_learning_rate: f64,
    /// Share of all steps in which the learning rate rises.
    pub warm_up: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f32,
    /// Largest Euclidean norm of a step's gradient.
    pub clip: Option<f32>,
    /// Chooses data order, prompts and augmentation.
    pub seed: u64,
    /// How images are changed at random.
    pub augment: Augmentation,
    /// Steps from one validation to the next.
    pub validate_every: u64,
    /// Steps from one saved state to the next.
    pub save_every: u64,
    /// Validations without a better score after which training stops.
    pub patience: Option<u64>,
    /// Store the best weights as 16-bit floats.
    pub half: bool,
    /// Store of the best weights only what was learnt, as an adapter of those that training started
    /// from.
    pub adapter: bool,
}

impl Default for FinetuneOptions {
    fn default() -> Self {
        Self {
            part: TrainedPart::Full,
            lora: LoraConfig::default(),
            input_side: 1024,
            batch: 4,
            accumulate: 1,
            passes: 11,
            no_prompt_share: 1.0 / 3.0,
            object_score: false,
            absent_share: 0.0,
            average: 0.0,
            attached: false,
            epochs: 100.0,
            max_steps: None,
            learning_rate: 1e-4,
            final_learning_rate: 1e-6,
            warm_up: 0.1,
            weight_decay: 0.05,
            clip: None,
            seed: 0,
            augment: Augmentation::Plain,
            validate_every: 200,
            save_every: 100,
            patience: None,
            half: false,
            adapter: false,
        }
    }
}

/// Settings that may change from one part of a run to the next: they change no step's result.
const FREE: [&str; 4] = ["validate-every", "save-every", "patience", "half"];

impl FinetuneOptions {
    /// The cheap recipe: input 512, one refinement, through which the encoder learns, too; absence and
    /// the differences of scopes; an average over steps.
    pub fn polyp() -> Self {
        Self {
            input_side: 512,
            passes: 2,
            attached: true,
            epochs: 20.0,
            object_score: true,
            absent_share: 0.25,
            average: 0.998,
            augment: Augmentation::Scopes,
            ..Self::default()
        }
    }

    /// Steps of the optimiser for so many pictures.
    pub fn steps(&self, pictures: usize) -> u64 {
        let per_step = (self.batch * self.accumulate) as f64;
        let steps = (self.epochs * pictures as f64 / per_step).ceil().max(1.0) as u64;
        self.max_steps.map_or(steps, |most| steps.min(most))
    }

    /// Refuses settings that no run can have.
    pub(super) fn check(
        &self,
        architecture: Architecture,
        pictures: usize,
        absent: usize,
    ) -> Result<(), FinetuneError> {
        let fail = |text: String| Err(FinetuneError::Settings(text));
        let side = self.input_side;
        let own = architecture.input_side();
        if side != own && !architecture.takes_any_size() {
            return fail(format!("{architecture} takes an input of {own} pixels only, not {side}"));
        }
        if !side.is_multiple_of(64) || !(128..=own).contains(&side) {
            return fail(format!(
                "an input side of {side}: give a multiple of 64 from 128 to {own}"
            ));
        }
        for (name, value) in [
            ("batch", self.batch),
            ("accumulate", self.accumulate),
            ("passes", self.passes),
            ("rank", self.lora.rank),
        ] {
            if value == 0 || value > 4096 {
                return fail(format!("{name} {value}: give 1 to 4096"));
            }
        }
        if self.batch > pictures {
            return fail(format!(
                "a batch of {} is larger than the {pictures} pictures to train on; give --batch \
                 {pictures} or more data",
                self.batch
            ));
        }
        for (name, value, most) in [
            ("epochs", self.epochs, 1e6),
            ("learning rate", self.learning_rate, 10.0),
            ("final learning rate", self.final_learning_rate, 10.0),
            ("warm-up", self.warm_up, 1.0),
            ("share without a prompt", f64::from(self.no_prompt_share), 1.0),
            ("share without the object", f64::from(self.absent_share), 0.9),
            ("average", self.average, 0.99999),
            ("weight decay", f64::from(self.weight_decay), 10.0),
            ("clip", f64::from(self.clip.unwrap_or(1.0)), 1e9),
            ("alpha", f64::from(self.lora.alpha), 1e6),
        ] {
            if !(0.0..=most).contains(&value) {
                return fail(format!("{name} {value}: give 0 to {most}"));
            }
        }
        if self.object_score && self.absent_share == 0.0 {
            return fail(format!(
                "an object score cannot be learnt from images that all show the object: give a share \
                 without it over 0 (--absent-share), or leave the score out (--object-score false); \
                 the data hold {absent} images without the object"
            ));
        }
        if self.validate_every == 0 || self.save_every == 0 || self.max_steps == Some(0) {
            return fail("steps are counted from 1".to_owned());
        }
        Ok(())
    }

    /// The settings that differ and may not, each as `name: then, now`.
    pub(super) fn differences(&self, then: &Self) -> Vec<String> {
        let fields = |options: &Self| match serde_json::to_value(options) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let then = fields(then);
        fields(self)
            .into_iter()
            .filter(|(name, value)| !FREE.contains(&name.as_str()) && then.get(name) != Some(value))
            .map(|(name, now)| {
                let then = then.get(&name).map_or("none".to_owned(), ToString::to_string);
                format!("{name}: {then} then, {now} now")
            })
            .collect()
    }

    /// The learning rate of a step, counted from 0, out of `steps`: a linear rise, then half a
    /// cosine.
    pub(super) fn rate(&self, step: u64, steps: u64) -> f64 {
        let rise = (self.warm_up * steps as f64).ceil();
        let step = step as f64;
        if step < rise {
            return self.learning_rate * (step + 1.0) / rise;
        }
        let share = (step - rise) / (steps as f64 - rise - 1.0).max(1.0);
        let low = self.final_learning_rate.min(self.learning_rate);
        let fall = 0.5 * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos());
        low + (self.learning_rate - low) * fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_falls() {
        let options = FinetuneOptions::default();
        let rates: Vec<f64> = (0..100).map(|step| options.rate(step, 100)).collect();
        assert!((rates[0] - 1e-5).abs() < 1e-12 && (rates[9] - 1e-4).abs() < 1e-12);
        assert!((rates[10] - 1e-4).abs() < 1e-12 && (rates[99] - 1e-6).abs() < 1e-12);
        assert!(rates[10..].windows(2).all(|pair| pair[1] <= pair[0]));
        assert!((options.rate(0, 1) - 1e-4).abs() < 1e-12);
    }

    #[test]
    fn what_changes_no_result_may_change() {
        let then = FinetuneOptions::polyp();
        let now = FinetuneOptions { patience: Some(3), ..then.clone() };
        assert!(now.differences(&then).is_empty());
        let now = FinetuneOptions { seed: 7, ..then.clone() };
        assert_eq!(now.differences(&then), ["seed: 0 then, 7 now"]);
    }
}
