//! PerSAM-F's two weights (Zhang et al., "Personalize Segment Anything Model with One Shot", section
//! 3.3): a point on an object may mean a part or the whole, and the weights say how much of each of
//! the model's three masks the reference's object is.

use burn::backend::{Autodiff, Flex};
use burn::lr_scheduler::LrScheduler;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::module::{Module, Param};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::prelude::*;
use burn::tensor::activation::sigmoid;

use super::candidates::{logits_of, part_aware};
use super::{MethodConfig, MethodError, Reference, View};
use crate::image::Mask;
use crate::sam::{MaskOutput, Prompt, Sam, SamError};

/// Two numbers need no other device than the CPU.
type Fit = Autodiff<Flex>;

const STEPS: usize = 1000;
const LEARNING_RATE: f64 = 1e-3;

/// Weights of the second and the third mask; the first has what is left of 1.
#[derive(Module, Debug)]
struct Scales<B: Backend> {
    weights: Param<Tensor<B, 1>>,
}

/// The weights of the three masks that answer the reference's own points, fitted to its mask with
/// dice and focal loss: 1000 steps of AdamW, whose rate falls from 1e-3 by a cosine. The loss is that
/// of the decoder's logits, four times as fine as the patches, without padding.
///
/// # Errors
/// The model's, if the device fails.
pub fn fit_scales(
    sam: &Sam,
    view: &View,
    reference: &Reference,
    truth: &Mask,
    config: &MethodConfig,
) -> Result<[f32; 3], MethodError> {
    let exemplar = reference.nearest(view).ok_or(MethodError::NoReference)?;
    let Some(candidate) = part_aware(view, exemplar, config, None).into_iter().next() else {
        return Err(MethodError::NoReference);
    };
    let prompt = Prompt { points: &candidate.points, ..Prompt::default() };
    let scales = sam.predict(&view.embedding, &prompt, MaskOutput::Multi)?;
    let truth = logits_of(view, truth)?;
    let letterbox = view.embedding.letterbox();
    let [width, height] = view.embedding.logits_size();
    // Columns and rows that show the picture.
    let inside = |axis: usize, cells: usize| {
        let share = letterbox.scaled()[axis] as usize * cells;
        share.div_ceil(letterbox.canvas()[axis].max(1) as usize)
    };
    let (columns, rows) = (inside(0, width), inside(1, height));
    let seen = |values: &[f32]| -> Vec<f32> {
        let lines = values.chunks_exact(width).take(rows);
        lines.flat_map(|row| row.iter().take(columns).copied()).collect()
    };
    let masks: Vec<Vec<f32>> = scales.iter().map(|scale| seen(scale.logits.values())).collect();
    let truth: Vec<f32> =
        seen(truth.values()).into_iter().map(|v| if v > 0.0 { 1.0 } else { 0.0 }).collect();
    let [first, second, third] = masks
        .try_into()
        .map_err(|_| SamError::Compute("the decoder did not give three masks".to_owned()))?;
    Ok(fit(&[first, second, third], truth, STEPS))
}

/// Fits the weights of three maps of logits to a map of zeros and ones.
fn fit(masks: &[Vec<f32>; 3], truth: Vec<f32>, steps: usize) -> [f32; 3] {
    let device = Default::default();
    let map = |values: &[f32]| {
        Tensor::<Fit, 1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &device)
    };
    let truth = map(&truth);
    let first = map(&masks[0]);
    // The mix is the first mask and so much of what the others differ by.
    let others = Tensor::stack::<2>(vec![map(&masks[1]), map(&masks[2])], 0)
        - first.clone().unsqueeze::<2>();
    let mut scales = Scales { weights: Param::from_tensor(Tensor::full([2], 1.0 / 3.0, &device)) };
    let mut optimizer =
        AdamWConfig::new().with_epsilon(1e-4).with_weight_decay(0.01).init::<Fit, Scales<Fit>>();
    // The configuration is refused for a rate or a number of steps out of range only.
    let schedule = CosineAnnealingLrSchedulerConfig::new(LEARNING_RATE, steps.max(1)).init();
    let Ok(mut schedule) = schedule else { return [1.0 / 3.0; 3] };
    for _ in 0..steps {
        let weights = scales.weights.val().reshape([1, 2]);
        let logits = first.clone() + weights.matmul(others.clone()).flatten(0, 1);
        let gradients = loss(logits, truth.clone()).backward();
        let gradients = GradientsParams::from_grads(gradients, &scales);
        scales = optimizer.step(schedule.step(), scales, gradients);
    }
    let learnt: Vec<f32> = scales.weights.val().into_data().iter::<f32>().collect();
    match learnt.as_slice() {
        [second, third] => [1.0 - second - third, *second, *third],
        _ => [1.0 / 3.0; 3],
    }
}

/// Dice and focal loss of logits.
fn loss<B: Backend>(logits: Tensor<B, 1>, truth: Tensor<B, 1>) -> Tensor<B, 1> {
    const ALPHA: f64 = 0.25;
    let probability = sigmoid(logits.clone());
    let common = (probability.clone() * truth.clone()).sum() * 2.0 + 1.0;
    let dice = -(common / (probability.clone().sum() + truth.clone().sum() + 1.0)) + 1.0;
    // ln(1 + e^-|x|) keeps large logits finite.
    let softplus = (-logits.clone().abs()).exp().log1p();
    let entropy = logits.clone().clamp_min(0.0) - logits * truth.clone() + softplus;
    // 1 less the probability of what is true.
    let wrong = probability.clone() + truth.clone() - probability * truth.clone() * 2.0;
    let balance = truth * (2.0 * ALPHA - 1.0) + (1.0 - ALPHA);
    dice + (balance * wrong.clone() * wrong * entropy).mean()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_that_fits_gets_the_weight() {
        // The truth is the second mask; the first is larger, the third smaller.
        let cut = |edge: usize| -> Vec<f32> {
            (0..400).map(|i| if i % 20 < edge { 6.0 } else { -6.0 }).collect()
        };
        let truth: Vec<f32> = cut(8).into_iter().map(|v| f32::from(v > 0.0)).collect();
        let mut masks = [cut(14), cut(8), cut(3)];
        let [first, second, third] = fit(&masks, truth.clone(), 300);
        assert!((first + second + third - 1.0).abs() < 1e-5);
        assert!(second > first && second > third, "{first} {second} {third}");
        masks.swap(0, 1);
        let [first, second, third] = fit(&masks, truth, 300);
        assert!(first > second && first > third, "{first} {second} {third}");
    }

    #[test]
    fn the_loss_of_a_right_mask_is_near_nothing_and_of_large_logits_finite() {
        let device = Default::default();
        let map = |values: [f32; 4]| Tensor::<Flex, 1>::from_data(values, &device);
        let of = |logits, truth| -> f32 { loss(map(logits), map(truth)).into_scalar() };
        let truth = [1.0, 1.0, 0.0, 0.0];
        assert!(of([50.0, 50.0, -50.0, -50.0], truth) < 1e-3);
        let wrong = of([-500.0, -500.0, 500.0, 500.0], truth);
        assert!(wrong.is_finite() && wrong > 100.0, "{wrong}");
    }
}
