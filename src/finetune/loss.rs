//! The published loss of a decoder pass: Dice + 20 focal + squared error of the predicted IoU.

use burn::prelude::*;
use burn::tensor::activation::{relu, sigmoid};

/// Weight of the focal loss (Kirillov et al. 2023, appendix A, "losses").
const FOCAL_WEIGHT: f32 = 20.0;
/// Share of the foreground in the focal loss (Lin et al. 2017).
const ALPHA: f32 = 0.25;

/// What the masks should be, at the logits' size: four times as fine as the patches.
#[derive(Clone, Debug)]
pub struct Truth<B: Backend> {
    /// 1 on the object, `[batch, places]`.
    pub object: Tensor<B, 2>,
    /// 1 within the picture, 0 in its padding, `[batch, places]`: the padding counts nowhere.
    pub inside: Tensor<B, 2>,
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
}

/// Compares logits `[batch, 1, rows, columns]` and predicted IoU `[batch, 1]` with the truth.
pub fn loss<B: Backend>(
    logits: Tensor<B, 4>,
    predicted_iou: Tensor<B, 2>,
    truth: &Truth<B>,
) -> Loss<B> {
    let x: Tensor<B, 2> = logits.flatten::<3>(2, 3).flatten(1, 2);
    let Truth { object, inside } = truth;
    let probability = sigmoid(x.clone());

    let found = probability.clone() * inside.clone();
    let both = (found.clone() * object.clone()).sum_dim(1);
    let sum = found.sum_dim(1) + object.clone().sum_dim(1);
    let dice = (both.mul_scalar(2.0).add_scalar(1.0) / sum.add_scalar(1.0)).neg().add_scalar(1.0);

    // Cross entropy that never overflows: max(x, 0) - x t + ln(1 + exp(-|x|)).
    let entropy =
        relu(x.clone()) - x.clone() * object.clone() + x.clone().abs().neg().exp().log1p();
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

    let (dice, focal) = (dice.mean(), focal.mean());
    let total = dice.clone() + focal.clone().mul_scalar(FOCAL_WEIGHT) + iou_error.clone();
    Loss { total, dice, focal, iou_error, iou: iou.mean() }
}

#[cfg(test)]
mod tests {
    use burn::Dispatch;

    use super::*;

    type Row = [f32; 4];

    fn of(logits: Row, object: Row, inside: Row) -> Loss<Dispatch> {
        let device = burn::DispatchDevice::Flex(Default::default());
        let row = |values: Row| Tensor::<Dispatch, 2>::from_floats([values], &device);
        let truth = Truth { object: row(object), inside: row(inside) };
        let predicted = Tensor::<Dispatch, 2>::from_floats([[0.5]], &device);
        loss(row(logits).reshape([1, 1, 2, 2]), predicted, &truth)
    }

    #[test]
    fn known_values() {
        let found = of([0.0; 4], [1.0, 0.0, 0.0, 0.0], [1.0; 4]);
        // p = 1/2 everywhere: Dice (2/2 + 1) / (2 + 1 + 1), focal (1/4 + 3 * 3/4) / 4 * ln 2 / 4.
        assert!((found.dice.into_scalar() - 0.5).abs() < 1e-6);
        let focal = 0.625 * 0.25 * 2f32.ln();
        assert!((found.focal.clone().into_scalar() - focal).abs() < 1e-6);
        assert!((found.iou_error.into_scalar() - 0.25).abs() < 1e-6);
        let total = 0.5 + 20.0 * focal + 0.25;
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
