//! What the decoder is told and what it answers.

use super::SamError;
use super::prompt_encoder::{Token, TokenKind};
use crate::image::Letterbox;

/// A point on the object or beside it, in the picture's pixels.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PointPrompt {
    /// Column.
    pub x: f32,
    /// Row.
    pub y: f32,
    /// On the object, or else beside it.
    pub positive: bool,
}

/// What a pass of the mask decoder is told.
#[derive(Clone, Debug, Default)]
pub struct Prompt<'a> {
    /// Points.
    pub points: &'a [PointPrompt],
    /// A box in the picture's pixels: left, top, right, bottom.
    pub bounding_box: Option<[f32; 4]>,
    /// A mask as low-resolution logits, usually of an earlier pass.
    pub mask: Option<&'a Logits>,
    /// PerSAM's guidance.
    pub guidance: Option<&'a TargetGuidance>,
}

/// PerSAM's two additions to a decoder pass (Zhang et al., "Personalize Segment Anything Model with
/// One Shot", section 3.2).
#[derive(Clone, Debug, PartialEq)]
pub struct TargetGuidance {
    /// Target-guided attention: a weight in 0..1 for each patch.
    pub attention: Vec<f32>,
    /// Target-semantic prompting: the object's mean feature, 256 values.
    pub semantic: Vec<f32>,
}

/// Low-resolution mask logits, four times as fine as the patches (256 x 256 at the model's own input
/// size), row by row; above 0 is the object.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    pub(super) values: Vec<f32>,
    pub(super) size: [usize; 2],
}

/// One mask of a decoder pass.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The mask.
    pub logits: Logits,
    /// What the model thinks of it: its IoU with the object.
    pub predicted_iou: f32,
    /// Over 0 where the model finds the prompted object in the image, under 0 where it does not;
    /// `None` of weights without an object score.
    pub object_score: Option<f32>,
}

impl Logits {
    /// Takes the values of a map of `size` columns and rows.
    ///
    /// # Errors
    /// [`SamError::Prompt`] if their number does not match.
    pub fn new(values: Vec<f32>, size: [usize; 2]) -> Result<Self, SamError> {
        if values.len() != size[0] * size[1] || values.is_empty() {
            return Err(SamError::Prompt(format!("{} logits for a map of {size:?}", values.len())));
        }
        Ok(Self { values, size })
    }

    /// The values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Columns and rows.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }
}

/// Prompt tokens in the published order: points, the padding that stands for a missing box, box.
pub fn tokens(prompt: &Prompt, letterbox: &Letterbox) -> Result<Vec<Token>, SamError> {
    let place = |x: f32, y: f32, kind: TokenKind| {
        if x.is_finite() && y.is_finite() {
            let [x, y] = letterbox.to_input(x, y);
            Ok(Token { x, y, kind })
        } else {
            Err(SamError::Prompt(format!("({x}, {y}) is no place in a picture")))
        }
    };
    let mut tokens = Vec::with_capacity(prompt.points.len() + 2);
    for point in prompt.points {
        let kind = if point.positive { TokenKind::Positive } else { TokenKind::Negative };
        tokens.push(place(point.x, point.y, kind)?);
    }
    if let Some([x0, y0, x1, y1]) = prompt.bounding_box {
        tokens.push(place(x0, y0, TokenKind::TopLeft)?);
        tokens.push(place(x1, y1, TokenKind::BottomRight)?);
    } else if !tokens.is_empty() {
        tokens.push(Token { x: 0.0, y: 0.0, kind: TokenKind::Padding });
    }
    Ok(tokens)
}
