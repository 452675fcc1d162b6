//! How the evidence is weighed.

use serde::{Deserialize, Serialize};

use super::{Evidence, SURE};
use crate::method::MethodError;
use crate::sam::Sam;

/// How evidence is weighed: a logistic regression. Its constants belong to weights, in whose metadata
/// they lie; `p2sam weights presence` fits them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceModel {
    /// Where the model's own mask is asked for.
    pub own: PresenceWeights,
    /// Where it is not: `own_iou` does not count.
    pub parts: PresenceWeights,
}

/// Log-odds for each unit of the evidence of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceWeights {
    /// Added to the sum.
    pub intercept: f64,
    /// See [`Evidence::contrast`].
    pub contrast: f64,
    /// See [`Evidence::own_iou`].
    #[serde(default)]
    pub own_iou: f64,
    /// See [`Evidence::object_score`].
    #[serde(default)]
    pub object_score: f64,
    /// See [`Evidence::border`].
    #[serde(default)]
    pub border: f64,
    /// See [`Evidence::shrunk`].
    #[serde(default)]
    pub shrunk: f64,
}

/// Object scores beyond these say no more.
const CLEAR_SCORE: f32 = 8.0;

impl PresenceWeights {
    /// The values that the weights multiply, without the intercept's.
    pub(crate) fn values(evidence: &Evidence) -> Option<[f64; 5]> {
        let score = evidence.object_score.unwrap_or(0.0).clamp(-CLEAR_SCORE, CLEAR_SCORE);
        Some([
            evidence.contrast?,
            f64::from(evidence.own_iou.unwrap_or(0.0).max(-1.0)),
            f64::from(score),
            evidence.border,
            evidence.shrunk,
        ])
    }

    fn log_odds(&self, evidence: &Evidence) -> f64 {
        let Some(values) = Self::values(evidence) else { return -SURE };
        let weights = [self.contrast, self.own_iou, self.object_score, self.border, self.shrunk];
        let sum: f64 = weights.iter().zip(values).map(|(weight, value)| weight * value).sum();
        let sum = self.intercept + sum;
        if sum.is_finite() { sum.clamp(-SURE, SURE) } else { -SURE }
    }
}

/// The name of the constants in the metadata of weights.
pub const PRESENCE: &str = "presence";

impl PresenceModel {
    /// For weights that bring none: the shapes of the rule measured on several sets, for any object.
    pub const DEFAULT: Self = Self {
        own: PresenceWeights {
            intercept: -2.0,
            contrast: 5.0,
            own_iou: 3.75,
            object_score: 0.0,
            border: -30.0,
            shrunk: 6.0,
        },
        parts: PresenceWeights {
            intercept: -0.9,
            contrast: 5.0,
            own_iou: 0.0,
            object_score: 0.0,
            border: 0.0,
            shrunk: 5.25,
        },
    };

    /// The constants that a model's weights bring, or the default.
    ///
    /// # Errors
    /// [`MethodError::PresenceModel`] for constants that cannot be read.
    pub fn of(sam: &Sam) -> Result<Self, MethodError> {
        match sam.metadata().get(PRESENCE) {
            Some(text) => Self::read(text),
            None => Ok(Self::DEFAULT),
        }
    }

    /// Reads constants as they lie in metadata: JSON.
    ///
    /// # Errors
    /// [`MethodError::PresenceModel`].
    pub fn read(text: &str) -> Result<Self, MethodError> {
        let model: Self = serde_json::from_str(text)
            .map_err(|e| MethodError::PresenceModel { reason: e.to_string() })?;
        let finite = |w: &PresenceWeights| {
            [w.intercept, w.contrast, w.own_iou, w.object_score, w.border, w.shrunk]
                .iter()
                .all(|value| value.is_finite())
        };
        match finite(&model.own) && finite(&model.parts) {
            true => Ok(model),
            false => Err(MethodError::PresenceModel { reason: "a value is not finite".to_owned() }),
        }
    }

    /// Log-odds of the object's being in view, from -4 to 4, from one frame alone.
    pub fn log_odds(&self, evidence: &Evidence) -> f64 {
        match evidence.own_iou {
            Some(_) => self.own.log_odds(evidence),
            None => self.parts.log_odds(evidence),
        }
    }
}
