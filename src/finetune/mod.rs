//! Fine-tuning of a promptable model on annotated pictures (Zhao & Shen 2025, appendix on
//! fine-tuning): each picture passes the image encoder once and the decoder several times, first
//! with a random prompt, then with the mask before and points where that was wrong.
//!
//! The method uses the decoder's single-mask output, and that is what is trained; the three masks for
//! ambiguous prompts get no gradient. Images without the object teach absence: an empty mask without a
//! prompt, a predicted IoU of 0, and an object score below 0 (as in SAM 2). Losses are taken on the logits, four times as fine as the
//! patches (128 x 128 at an input of 512), against the mask at that size.
//!
//! Everything random is a function of the seed and the step, so that a run that was stopped goes on
//! as if it had not been.

mod average;
mod batch;
mod data;
mod error;
mod features;
mod learner;
mod loss;
mod options;
mod output;
mod prompts;
mod recipe;
mod run;
mod state;
#[cfg(test)]
mod tests;
mod trainer;
mod validate;

pub use data::{DataSet, Split, TrainingData, TrainingImage, Validation};
pub use error::FinetuneError;
pub use options::{FinetuneOptions, TrainedPart};
pub use recipe::{Recipe, RecipeData};
pub use run::{Finetuned, MetricsLine, Start, finetune};
pub use trainer::StepLosses;
pub use validate::{PresenceScores, SetScores, ValidationScores, validate};
