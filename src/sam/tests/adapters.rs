//! Adapters and written models: what is read is what was learnt, and nothing else is accepted.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::{TensorData, f16};

use super::fixture::{cpu, mobile_weights};
use crate::sam::adapter::{Base, adapter_info, load_adapted, save_adapter};
use crate::sam::checkpoint::{Metadata, load_unfused, tensors_of};
use crate::sam::lora::{Lora, LoraConfig};
use crate::sam::{
    Architecture, LoadOptions, Sam, SamError, Training, WeightsFormat, convert, inspect,
};

const BASE: &str = "the base's sha256";
const CHANGED: &str = "mask_decoder.iou_token.weight";

#[test]
fn a_written_model_and_adapter_are_read_as_they_were() {
    let Some(weights) = mobile_weights() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("adapter.safetensors");
    let (model, architecture) = load_unfused(&weights, None, &cpu()).expect("published weights");
    let config = LoraConfig { rank: 2, alpha: 3.0, mlp: true };
    let lora = Lora::new(&model, config, 7, cpu().inner());
    // 10 blocks of attention with two layers, and two of an MLP each.
    assert_eq!(lora.matrices().len(), 40);
    let before = tensors_of(&model).expect("tensors");
    let after = tensors_of(&lora.applied(&model)).expect("tensors");
    assert_eq!(before, after, "LoRA changes nothing at first");

    let lora = lora.map(&mut Ones);
    let applied = tensors_of(&lora.applied(&model)).expect("tensors");
    let count = before.iter().filter(|(name, data)| applied[*name] != **data).count();
    assert_eq!(count, 40);
    let token = TensorData::new(vec![0.25f32; 256], [1, 256]);
    let base = Base { path: weights.clone(), sha256: BASE.to_owned() };
    let save = |sha256: &str, tensors: BTreeMap<String, TensorData>| {
        let metadata = Metadata::from([("licence".to_owned(), "none".to_owned())]);
        let other = Base { sha256: sha256.to_owned(), ..base.clone() };
        save_adapter(&path, architecture, &other, tensors, Some(&lora), false, &metadata)
            .expect("a writable folder");
        load_adapted(&base, &path, &cpu())
    };
    let (merged, _) =
        save(BASE, BTreeMap::from([(CHANGED.to_owned(), token.clone())])).expect("it fits");
    let info = adapter_info(&path).expect("a whole file").expect("an adapter");
    assert_eq!((info.architecture, info.base_sha256.as_str()), (Architecture::MobileSam, BASE));
    assert_eq!(info.metadata["licence"], "none");
    for (name, data) in tensors_of(&merged).expect("tensors") {
        let expected = if name == CHANGED { &token } else { &applied[&name] };
        let (found, expected) = (data.into_vec::<f32>(), expected.clone().into_vec::<f32>());
        let pairs = found.expect("floats").into_iter().zip(expected.expect("floats"));
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
    }

    let refused = |found: Result<_, SamError>, reason: &str| match found {
        Err(error @ SamError::Adapter { .. }) => {
            assert!(error.to_string().contains(reason), "{error}");
        }
        _ => panic!("accepted, or another error than '{reason}'"),
    };
    let changed = |data: TensorData| BTreeMap::from([(CHANGED.to_owned(), data)]);
    refused(save("another", changed(token.clone())).map(|_| ()), "its own base");
    let wide = TensorData::new(vec![0.0f32; 257], [1, 257]);
    refused(save(BASE, changed(wide)).map(|_| ()), "[1, 256]");
    // Half precision holds no number above 65504.
    for (value, half) in [(f32::INFINITY, false), (1e5, true)] {
        let tensors = changed(TensorData::new(vec![value; 256], [1, 256]));
        let none = Metadata::new();
        let error = save_adapter(&path, architecture, &base, tensors, None, half, &none);
        let error = error.expect_err("nothing that a reader takes").to_string();
        assert!(error.contains(CHANGED), "{error}");
    }
    let unknown =
        BTreeMap::from([("no.such.tensor".to_owned(), TensorData::new(vec![0.0f32], [1]))]);
    refused(save(BASE, unknown).map(|_| ()), "no.such.tensor");

    // The same base in this program's own format, merged by a conversion.
    let native = Base { path: folder.path().join("base.bpk"), sha256: BASE.to_owned() };
    let none = Metadata::new();
    convert(&weights, None, &LoadOptions::default(), &native.path, false, &none)
        .expect("a good file");
    save(BASE, changed(token.clone())).expect("it fits");
    let out = folder.path().join("merged.safetensors");
    let said = Metadata::from([("scores".to_owned(), "0.9".to_owned())]);
    convert(&path, Some(&native), &LoadOptions::default(), &out, false, &said).expect("it fits");
    let info = inspect(&out, None).expect("a whole file");
    assert_eq!(
        (info.format, info.metadata["scores"].as_str()),
        (WeightsFormat::Safetensors, "0.9")
    );
    assert_eq!(info.metadata["licence"], "none");
    assert!(adapter_info(&out).expect("a whole file").is_none());
    let (again, _) = load_unfused(&out, None, &cpu()).expect("a whole model");
    let again = tensors_of(&again).expect("tensors");
    assert!(tensors_of(&merged).expect("tensors") == again, "another model");
    let alone = Sam::load(&path, None, &cpu());
    refused(alone.map(|_| ()), &format!("mobile_sam.pt of sha256 {BASE}"));
}

#[test]
fn a_model_with_metadata_is_read_as_it_was() {
    let Some(weights) = mobile_weights() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (native, path) = (folder.path().join("best.bpk"), folder.path().join("out.safetensors"));
    let none = Metadata::new();
    let said: Metadata = [("licence", "CC BY 4.0"), ("data", "\"made\" {pictures}, 9 µm")]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
    convert(&weights, None, &LoadOptions::default(), &native, false, &none).expect("a good file");
    convert(&native, None, &LoadOptions::default(), &path, true, &said).expect("a good file");
    assert!(std::fs::metadata(&path).expect("a file").len() < 24_000_000);
    let info = inspect(&path, None).expect("a whole file");
    assert_eq!(
        (info.format, info.architecture),
        (WeightsFormat::Safetensors, Architecture::MobileSam)
    );
    let mut expected = said.clone();
    expected.insert("architecture".to_owned(), "mobile-sam".to_owned());
    assert_eq!(info.metadata, expected);
    Sam::load(&path, None, &cpu()).expect("it fits");

    let read = |path: &Path| {
        let (model, _) = load_unfused(path, None, &cpu()).expect("it fits");
        tensors_of(&model).expect("tensors")
    };
    let (whole, half) = (read(&weights), read(&path));
    assert_eq!(whole.len(), half.len());
    for (name, data) in half {
        let expected = whole[&name].clone().convert::<f16>().convert::<f32>();
        assert_eq!(data, expected, "{name}");
    }
    let error = convert(&weights, None, &LoadOptions::default(), &native, true, &said)
        .expect_err("no such place");
    assert!(error.to_string().contains(".safetensors"), "{error}");
}

#[test]
fn gradients_reach_the_matrices_and_nothing_else_of_the_encoder() {
    let Some(weights) = mobile_weights() else { return };
    let device = cpu();
    let (model, _) = load_unfused(&weights, None, &device).expect("published weights");
    let mut model = model.for_training();
    let lora = Lora::new(&model, LoraConfig::default(), 3, device.inner());
    model.image_encoder = model.image_encoder.no_grad();
    let values: Vec<f32> = (0..3 * 128 * 128).map(|i| (i as f32 * 0.7).sin()).collect();
    let pixels =
        Tensor::<Training, 4>::from_data(TensorData::new(values, [1, 3, 128, 128]), device.inner());
    let loss = |lora: &Lora<Training>| {
        lora.applied(&model).image_encoder.forward(pixels.clone()).square().mean()
    };
    let before = loss(&lora);
    let gradients = before.backward();
    let mut found = Norms { gradients: &gradients, norms: vec![] };
    model.visit(&mut found);
    assert!(found.norms.is_empty());
    lora.visit(&mut found);
    // a and b in turn: b is zeros at first, so that it alone has a gradient.
    assert_eq!(found.norms.len(), 40);
    assert!(found.norms.chunks(2).all(|pair| pair[0] == 0.0 && pair[1] > 0.0), "{:?}", found.norms);

    // The gradient is the loss's slope along itself.
    let squares: f32 = found.norms.iter().map(|norm| norm * norm).sum();
    let step = 1e-3 / squares.sqrt();
    let moved = lora.clone().map(&mut Descent { gradients: &gradients, step });
    let (before, after): (f32, f32) = (before.into_scalar(), loss(&moved).into_scalar());
    let slope = (before - after) / (step * squares);
    assert!((slope - 1.0).abs() < 0.05, "{before} to {after}: {slope} of what was expected");
}

type Gradients = <Training as burn::tensor::backend::AutodiffBackend>::Gradients;

/// Norms of the gradients that parameters have.
struct Norms<'a> {
    gradients: &'a Gradients,
    norms: Vec<f32>,
}

impl ModuleVisitor<Training> for Norms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Training, D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            self.norms.push(gradient.square().sum().sqrt().into_scalar());
        }
    }
}

/// A step against the gradient.
struct Descent<'a> {
    gradients: &'a Gradients,
    step: f32,
}

impl ModuleMapper<Training> for Descent<'_> {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Training, D>>,
    ) -> Param<Tensor<Training, D>> {
        match param.val().grad(self.gradients) {
            Some(gradient) => param.map(|x| x - Tensor::from_inner(gradient.mul_scalar(self.step))),
            None => param,
        }
    }
}

/// Sets what LoRA begins with as zeros.
struct Ones;

impl<B: Backend> ModuleMapper<B> for Ones {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|x| x + 0.01)
    }
}
