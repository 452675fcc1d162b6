//! The model against PyTorch: see tests/fixtures/sam/README.md.

mod adapters;
mod checkpoints;
mod files;
pub(super) mod fixture;
mod gradients;
mod hostile;
mod made;
mod published;
mod safetensors;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{EMBEDDING_SIDE, Embedding, LOGITS_SIDE, Prediction};
use fixture::mask_of_runs;

/// Largest relative error of embeddings and logits, and largest error of a predicted IoU.
const TOLERANCE: f64 = 1e-3;

/// What a fixture says of an embedding.
#[derive(Deserialize)]
struct EmbeddingFacts {
    tensor: String,
    stride: usize,
    l2: f64,
    mean: f64,
    std: f64,
}

/// What a fixture says of a decoder's result.
#[derive(Deserialize)]
struct MaskFacts {
    tensor: String,
    stride: usize,
    iou: Vec<f64>,
    logits_mean: Vec<f64>,
    near_px: Vec<usize>,
    #[serde(default)]
    mask_runs: Vec<Vec<usize>>,
}

/// The f32 tensors of a fixture by name.
type Tensors = BTreeMap<String, Vec<f32>>;

/// How far values are from the expected ones: the norm of the difference over the norm.
fn relative_error(values: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(values.len(), expected.len());
    let square = |v: f64| v * v;
    let pairs = values.iter().zip(expected);
    let apart: f64 = pairs.map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    (apart / expected.iter().map(|&b| square(f64::from(b))).sum::<f64>()).sqrt()
}

fn check_embedding(name: &str, found: &Embedding, facts: &EmbeddingFacts, tensors: &Tensors) {
    let patches = found.patches().expect("the CPU works");
    let dim = patches.len() / (EMBEDDING_SIDE * EMBEDDING_SIDE);
    let places = || (0..EMBEDDING_SIDE).step_by(facts.stride);
    let sampled: Vec<f32> = (0..dim)
        .flat_map(|c| places().flat_map(move |y| places().map(move |x| (c, y, x))))
        .map(|(c, y, x)| patches[(y * EMBEDDING_SIDE + x) * dim + c])
        .collect();
    let error = relative_error(&sampled, &tensors[&facts.tensor]);
    let [mean, std, l2] = moments(&patches);
    println!("{name}: embedding off by {error:.2e}, its norm {l2:.4} ({:.4})", facts.l2);
    assert!(error <= TOLERANCE, "{name}: the embedding is off by {error:.2e}");
    assert!((l2 / facts.l2 - 1.0).abs() <= TOLERANCE, "{name}: norm {l2}");
    assert!((mean - facts.mean).abs() <= TOLERANCE * facts.std, "{name}: mean {mean}");
    assert!((std / facts.std - 1.0).abs() <= TOLERANCE, "{name}: deviation {std}");
}

/// Mean, standard deviation and norm.
fn moments(values: &[f32]) -> [f64; 3] {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
    [mean, (squares / count - mean * mean).max(0.0).sqrt(), squares.sqrt()]
}

/// Which outlines a check of masks may let differ.
#[derive(Clone, Copy, PartialEq)]
enum Outline {
    /// None: the masks are equal but for a thousandth.
    Sharp,
    /// Where the logits are all but 0, as many pixels as the fixture counts there: what a decoder
    /// returns without a place to look at has long flat borders.
    Flat,
}

fn check_masks(
    name: &str,
    embedding: &Embedding,
    found: &[Prediction],
    facts: &MaskFacts,
    tensors: &Tensors,
    outline: Outline,
) {
    let count = facts.iou.len();
    assert_eq!(found.len(), count, "{name}");
    let places = || (0..LOGITS_SIDE).step_by(facts.stride);
    let sampled: Vec<f32> = found
        .iter()
        .flat_map(|p| places().flat_map(move |y| places().map(move |x| (p, y, x))))
        .map(|(p, y, x)| p.logits.values()[y * LOGITS_SIDE + x])
        .collect();
    let error = relative_error(&sampled, &tensors[&facts.tensor]);
    println!("{name}: logits off by {error:.2e}");
    assert!(error <= TOLERANCE, "{name}: the logits are off by {error:.2e}");
    for (index, prediction) in found.iter().enumerate() {
        let iou = f64::from(prediction.predicted_iou);
        let apart = (iou - facts.iou[index]).abs();
        assert!(apart <= TOLERANCE, "{name}, mask {index}: predicted IoU off by {apart:.2e}");
        let [mean, _, norm] = moments(prediction.logits.values());
        let apart = (mean - facts.logits_mean[index]).abs();
        let size = norm / LOGITS_SIDE as f64;
        assert!(apart <= TOLERANCE * size, "{name}, mask {index}: mean off by {apart:.2e}");
        if let Some(runs) = facts.mask_runs.get(index) {
            let name = format!("{name}, mask {index}");
            check_outline(&name, embedding, prediction, runs, facts.near_px[index], outline);
        }
    }
}

fn check_outline(
    name: &str,
    embedding: &Embedding,
    found: &Prediction,
    runs: &[usize],
    near: usize,
    outline: Outline,
) {
    let letterbox = embedding.letterbox();
    let [width, height] = letterbox.original();
    let expected = mask_of_runs([height, width], runs);
    let restore = letterbox.restore([LOGITS_SIDE; 2], 1);
    let mask = restore.mask(found.logits.values()).expect("a picture's size");
    let iou = crate::metrics::iou(&mask, &expected).expect("sizes agree");
    let values = restore.values(found.logits.values());
    let pixels = mask.data().iter().zip(expected.data()).zip(&values);
    let apart: Vec<f32> = pixels.filter(|((a, b), _)| a != b).map(|(_, v)| v.abs()).collect();
    let farthest = apart.iter().copied().fold(0.0, f32::max);
    println!("{name}: IoU {iou:.5}, {} pixels differ, logits to {farthest:.1e}", apart.len());
    let flat = outline == Outline::Flat && apart.len() <= near && farthest < 0.05;
    assert!(iou >= 1.0 - TOLERANCE || flat, "{name}: the masks' IoU is {iou:.5}");
}
