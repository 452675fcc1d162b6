//! Gradients against PyTorch's: tests/fixtures/make_gradients.py says what is computed.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use serde::Deserialize;

use super::fixture::{cpu, json};
use super::made::{made_tensor, made_values};
use super::safetensors::{self, Shapes};
use super::{Tensors, relative_error};
use crate::sam::checkpoint::{self, to_theirs};
use crate::sam::config::VitConfig;
use crate::sam::layers::to_patches;
use crate::sam::prompt_encoder::{Token, TokenKind};
use crate::sam::{Architecture, MaskOutput, Model, Training};

const TOLERANCE: f64 = 1e-3;
/// A gradient that should vanish (a key's bias moves all scores alike) has a norm below this.
const NOTHING: f64 = 1e-5;

#[derive(Deserialize)]
struct Facts {
    losses: Vec<f64>,
    tensors: Shapes,
    norms: BTreeMap<String, f64>,
}

/// Every parameter's gradient under its published name.
struct Collector<'a> {
    gradients: &'a <Training as burn::tensor::backend::AutodiffBackend>::Gradients,
    path: Vec<(String, String)>,
    found: Tensors,
}

impl ModuleVisitor<Training> for Collector<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.to_owned(), container.to_owned()));
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Training, D>>) {
        let Some(gradient) = param.val().grad(self.gradients) else { return };
        let names: Vec<&str> = self.path.iter().map(|(name, _)| name.as_str()).collect();
        let name = checkpoint::without_variant(names.join("."));
        // Burn keeps a linear layer's weight the other way round than PyTorch.
        let linear = self.path.iter().any(|(_, container)| container == "Struct:Linear");
        let gradient = if linear && D == 2 { gradient.swap_dims(0, D - 1) } else { gradient };
        let values = gradient.into_data().into_vec().expect("floats");
        self.found.insert(to_theirs(&name), values);
    }
}

fn made_model(
    architecture: Architecture,
    vit: Option<&VitConfig>,
    facts: &Facts,
) -> Model<Training> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("made.safetensors");
    safetensors::write(&path, &facts.tensors, made_tensor);
    let read = checkpoint::read(&path, None).expect("a whole file");
    let mut model = Model::new(architecture, vit, cpu().inner());
    checkpoint::apply(&path, architecture, &mut model, read.tensors, read.format).expect("it fits");
    model.for_training()
}

fn made<const D: usize>(name: &str, shape: [usize; D], scale: f64) -> Tensor<Training, D> {
    let values = made_values(name, shape.iter().product(), 0.0, scale);
    Tensor::from_data(TensorData::new(values, shape), cpu().inner())
}

/// The mean squared distance to a made target.
fn distance<const D: usize>(name: &str, output: Tensor<Training, D>) -> Tensor<Training, 1> {
    let target = made(&format!("gradients.target.{name}"), output.dims(), 3.0);
    (output - target).square().mean()
}

fn check(key: &str, model: &Model<Training>, losses: Vec<Tensor<Training, 1>>, facts: &Facts) {
    for (loss, expected) in losses.iter().zip(&facts.losses) {
        let loss = f64::from(loss.clone().into_scalar());
        assert!((loss / expected - 1.0).abs() < TOLERANCE, "{key}: loss {loss}, not {expected}");
    }
    let loss = losses.into_iter().reduce(|a, b| a + b).expect("a loss");
    let gradients = loss.backward();
    let mut collector = Collector { gradients: &gradients, path: vec![], found: Tensors::new() };
    model.visit(&mut collector);
    let expected = safetensors::read("gradients.safetensors");
    let mut worst = (0.0, String::new());
    let mut wrong = Vec::new();
    for (name, &norm) in &facts.norms {
        let Some(found) = collector.found.remove(name) else {
            wrong.push(format!("{name}: no gradient"));
            continue;
        };
        let own = found.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        if norm < NOTHING {
            if own > NOTHING {
                wrong.push(format!("{name}: norm {own:.2e}, not {norm:.2e}"));
            }
            continue;
        }
        let count = found.len().min(24);
        let sample: Vec<f32> = (0..count).map(|i| found[i * found.len() / count]).collect();
        let error = (own / norm - 1.0).abs();
        let error = error.max(relative_error(&sample, &expected[&format!("{key}.{name}")]));
        if error > worst.0 {
            worst = (error, name.clone());
        }
        if error.is_nan() || error > TOLERANCE {
            wrong.push(format!("{name}: off by {error:.2e}, norm {own:.2e} ({norm:.2e})"));
        }
    }
    println!(
        "{key}: {} gradients, the worst off by {:.2e} ({})",
        facts.norms.len(),
        worst.0,
        worst.1
    );
    assert!(wrong.is_empty(), "{key}:\n{}", wrong.join("\n"));
    assert!(collector.found.is_empty(), "{key}: more than PyTorch's: {:?}", collector.found.keys());
}

fn facts(key: &str) -> Facts {
    json::<BTreeMap<String, Facts>>("gradients.json").remove(key).expect("the fixture has it")
}

#[test]
fn gradients_of_mobile_sam_are_pytorchs() {
    const SIDE: usize = 128;
    const GRID: usize = 8;
    let facts = facts("mobile");
    let model = made_model(Architecture::MobileSam, None, &facts);
    let pixels = made("gradients.pixels", [2, 3, SIDE, SIDE], 2.0);
    let image = to_patches(model.image_encoder.forward(pixels));
    let places = model.prompt_encoder.dense_pe([GRID; 2], GRID);
    let token = |x, y, kind| Token { x, y, kind };
    let points = vec![
        token(40.0, 52.5, TokenKind::Positive),
        token(90.25, 100.0, TokenKind::Negative),
        token(0.0, 0.0, TokenKind::Padding),
    ];
    let corners =
        vec![token(20.0, 31.0, TokenKind::TopLeft), token(77.5, 90.0, TokenKind::BottomRight)];
    let mask = made("gradients.mask", [2, 1, 4 * GRID, 4 * GRID], 4.0);
    let pass = |prompt: Vec<Token>, mask, output| {
        let sparse = model.prompt_encoder.sparse(&[prompt.clone(), prompt], SIDE as u32);
        let dense = model.prompt_encoder.dense(mask);
        let (image, places) = (image.clone(), places.clone());
        let out = model.mask_decoder.forward([GRID; 2], image, places, sparse, dense, output, None);
        (out.logits, out.iou)
    };
    let (logits_a, iou_a) = pass(points, Some(mask), MaskOutput::Single);
    let (logits_b, iou_b) = pass(corners, None, MaskOutput::Multi);
    let losses = vec![
        distance("logits_a", logits_a),
        distance("iou_a", iou_a),
        distance("logits_b", logits_b),
        distance("iou_b", iou_b),
    ];
    check("mobile", &model, losses, &facts);
}

#[test]
fn gradients_of_a_vit_are_pytorchs() {
    let facts = facts("vit");
    let config = VitConfig { dim: 64, depth: 2, heads: 4, global: vec![1] };
    let model = made_model(Architecture::VitB, Some(&config), &facts);
    let pixels = made("gradients.vit_pixels", [1, 3, 1024, 1024], 2.0);
    let embedding = model.image_encoder.forward(pixels);
    check("vit", &model, vec![distance("embedding", embedding)], &facts);
}
