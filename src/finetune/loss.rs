//! The published loss of a decoder pass: Dice + 20 focal + squared error of the predicted IoU; and the
//! cross entropy of the object score where one is trained.

use burn::prelude::*;
use burn::tensor::activation::{relu, sigmoid};

use crate::sam::DecoderOutput;

/// Weight of the focal loss (Kirillov et al. 2023, appendix A, "losses").
const FOCAL_WEIGHT: f32 = 20.0;
/// Weight of the object score's cross entropy.
const OBJECT_WEIGHT: f32 = 1.0;
/// Share of the foreground in the focal loss (Lin et al. 2017).
const ALPHA: f32 = 0.25;

/// What the masks should be, at the logits' size: four times as fine as the patches.
#[derive(Clone, Debug)]
pub struct Truth<B: Backend> {
    /// 1 on the object, `[batch, places]`.
    pub object: Tensor<B, 2>,
    /// 1 within the picture, 0 in its padding, `[batch, places]`: the padding counts nowhere.
    pub inside: Tensor<B, 2>,
    /// 1 where the mask counts, 0 where the object is absent and a prompt asked for something that no
    /// mask says, `[batch, 1]`.
    pub counts: Tensor<B, 2>,
    /// 1 where the object is in the image, `[batch, 1]`.
    pub present: Tensor<B, 2>,
}

/// The three parts of a pass's loss, and their sum as it is trained.
#[derive(Clone, Debug)]
pub struct Loss<B: Backend> {
    pub total: Tensor<B, 1>,
    pub dice: Tensor<B, 1>,
    pub focal: Tensor<B, 1>,
    /// Mean squared error of the predicted IoU.
    pub iou_error: Tensor<B, 1>,
    /// The mean IoU itself.
    pub iou: Tensor<B, 1>,
    /// Cross entropy of the object score; 0 without one.
    pub object: Tensor<B, 1>,
}

/// Compares logits `[batch, 1, rows, columns]`, predicted IoU `[batch, 1]` and object score with the
/// truth.
pub fn loss<B: Backend>(found: DecoderOutput<B>, truth: &Truth<B>) -> Loss<B> {
    let DecoderOutput { logits, iou: predicted_iou, object: score } = found;
    let x: Tensor<B, 2> = logits.flatten::<3>(2, 3).flatten(1, 2);
    let Truth { object, inside, counts, present } = truth;
    let probability = sigmoid(x.clone());

    let found = probability.clone() * inside.clone();
    let both = (found.clone() * object.clone()).sum_dim(1);
    let sum = found.sum_dim(1) + object.clone().sum_dim(1);
    let dice = (both.mul_scalar(2.0).add_scalar(1.0) / sum.add_scalar(1.0)).neg().add_scalar(1.0);

    let entropy = cross_entropy(x.clone(), object);
    let wrong =
        probability.clone() + object.clone() - (probability * object.clone()).mul_scalar(2.0);
    let weight = object.clone().mul_scalar(2.0 * ALPHA - 1.0).add_scalar(1.0 - ALPHA);
    let focal = (weight * wrong.clone() * wrong * entropy * inside.clone()).sum_dim(1)
        / inside.clone().sum_dim(1);

    let on = x.detach().greater_elem(0.0).float() * inside.clone();
    let both = (on.clone() * object.clone()).sum_dim(1);
    let either = on.sum_dim(1) + object.clone().sum_dim(1) - both.clone();
    let iou = both / either.clamp_min(1.0);
    let error = predicted_iou - iou.clone();
    let iou_error = (error.clone() * error).mean();

    let counted = |values: Tensor<B, 2>| (values * counts.clone()).mean();
    let (dice, focal) = (counted(dice), counted(focal));
    let mut total = dice.clone() + focal.clone().mul_scalar(FOCAL_WEIGHT) + iou_error.clone();
    let object = match score {
        Some(score) => cross_entropy(score, present).mean(),
        None => iou_error.zeros_like(),
    };
    total = total + object.clone().mul_scalar(OBJECT_WEIGHT);
    Loss { total, dice, focal, iou_error, iou: iou.mean(), object }
}

/// max(x, 0) - x t + ln(1 + exp(-|x|)), which never overflows, of logits and probabilities.
fn cross_entropy<B: Backend>(x: Tensor<B, 2>, truth: &Tensor<B, 2>) -> Tensor<B, 2> {
    relu(x.clone()) - x.clone() * truth.clone() + x.abs().neg().exp().log1p()
}

#[cfg(test)]
mod tests {
    use burn::Dispatch;

    use super::*;

    type Row = [f32; 4];

    fn of(logits: Row, object: Row, inside: Row) -> Loss<Dispatch> {
        let device = burn::DispatchDevice::Flex(Default::default());
        let row = |values: Row| Tensor::<Dispatch, 2>::from_floats([values], &device);
        let one = |value: f32| Tensor::<Dispatch, 2>::from_floats([[value]], &device);
        let present = object.iter().any(|on| *on > 0.0);
        let truth = Truth {
            object: row(object),
            inside: row(inside),
            counts: one(if present { 1.0 } else { 0.0 }),
            present: one(f32::from(u8::from(present))),
        };
        let logits = row(logits).reshape([1, 1, 2, 2]);
        loss(DecoderOutput { logits, iou: one(0.5), object: Some(one(2.0)) }, &truth)
    }

    #[test]
    fn absence_asks_for_a_predicted_iou_and_a_score_alone() {
        let found = of([3.0; 4], [0.0; 4], [1.0; 4]);
        assert_eq!(found.dice.into_scalar() + found.focal.into_scalar(), 0.0);
        assert!((found.iou_error.into_scalar() - 0.25).abs() < 1e-6);
        assert!((found.object.into_scalar() - (2.0 + (-2f32).exp().ln_1p())).abs() < 1e-5);
    }

    #[test]
    fn known_values() {
        let found = of([0.0; 4], [1.0, 0.0, 0.0, 0.0], [1.0; 4]);
        // p = 1/2 everywhere: Dice (2/2 + 1) / (2 + 1 + 1), focal (1/4 + 3 * 3/4) / 4 * ln 2 / 4.
        assert!((found.dice.into_scalar() - 0.5).abs() < 1e-6);
        let focal = 0.625 * 0.25 * 2f32.ln();
        assert!((found.focal.clone().into_scalar() - focal).abs() < 1e-6);
        assert!((found.iou_error.into_scalar() - 0.25).abs() < 1e-6);
        let object = (-2f32).exp().ln_1p();
        assert!((found.object.into_scalar() - object).abs() < 1e-6);
        let total = 0.5 + 20.0 * focal + 0.25 + object;
        assert!((found.total.into_scalar() - total).abs() < 1e-5);
    }

    #[test]
    fn padding_counts_nowhere_and_large_logits_stay_finite() {
        let inside = [1.0, 1.0, 0.0, 0.0];
        let a = of([500.0, -500.0, 900.0, -7.0], [1.0, 0.0, 0.0, 0.0], inside);
        let b = of([500.0, -500.0, -3.0, 4.0], [1.0, 0.0, 0.0, 0.0], inside);
        assert_eq!(a.total.clone().into_scalar(), b.total.into_scalar());
        assert!((a.iou.into_scalar() - 1.0).abs() < 1e-6);
        assert!(a.dice.into_scalar().abs() < 1e-6 && a.focal.into_scalar().abs() < 1e-6);
    }
}
