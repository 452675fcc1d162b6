//! Adapters and written models: what is read is what was learnt, and nothing else is accepted.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;

use super::fixture::{cpu, mobile_weights};
use crate::sam::adapter::{Base, adapter_info, load_adapted, save_adapter};
use crate::sam::checkpoint::{Metadata, load_unfused, save_model, tensors_of};
use crate::sam::lora::{Lora, LoraConfig};
use crate::sam::{Architecture, SamError};

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
    refused(save("another", changed(token)).map(|_| ()), "its own base");
    let wide = TensorData::new(vec![0.0f32; 257], [1, 257]);
    refused(save(BASE, changed(wide)).map(|_| ()), "[1, 256]");
    let infinite = TensorData::new(vec![f32::INFINITY; 256], [1, 256]);
    refused(save(BASE, changed(infinite)).map(|_| ()), "no numbers");
    let unknown =
        BTreeMap::from([("no.such.tensor".to_owned(), TensorData::new(vec![0.0f32], [1]))]);
    refused(save(BASE, unknown).map(|_| ()), "no.such.tensor");

    save_model(&model, architecture, &path, true, &info.metadata).expect("a writable folder");
    assert!(std::fs::metadata(&path).expect("a file").len() < 24_000_000);
    let (again, _) = load_unfused(&path, None, &cpu()).expect("what was written is read");
    for (name, data) in tensors_of(&again).expect("tensors") {
        let half = before[&name].clone().convert::<burn::tensor::f16>().convert::<f32>();
        assert_eq!(data, half, "{name}");
    }
}

/// Sets what LoRA begins with as zeros.
struct Ones;

impl<B: Backend> burn::module::ModuleMapper<B> for Ones {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<Tensor<B, D>>,
    ) -> burn::module::Param<Tensor<B, D>> {
        param.map(|x| x + 0.01)
    }
}
