//! The ViT encoders, with weights made by formula: the rule is in the head of
//! tests/fixtures/make_sam.py.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Deserialize;

use super::fixture::{cpu, json, picture};
use super::published::prompts;
use super::safetensors::{self, Shapes};
use super::{EmbeddingFacts, MaskFacts, Outline, Tensors, check_embedding, check_masks};
use crate::sam::config::VitConfig;
use crate::sam::model::Model;
use crate::sam::{Architecture, MaskOutput, Prompt, Sam, checkpoint};

#[derive(Deserialize)]
struct Facts {
    name: String,
    embed_dim: usize,
    depth: usize,
    heads: usize,
    global_attention: Vec<usize>,
    picture: String,
    embedding: EmbeddingFacts,
    points: Vec<[f32; 2]>,
    labels: Vec<u8>,
    single: MaskFacts,
    multi: MaskFacts,
    first_values: BTreeMap<String, Vec<f32>>,
}

/// The number in [-1, 1) at a place of a tensor: splitmix64, seeded by the name's FNV-1a hash.
fn signed_unit(seed: u64, index: usize) -> f64 {
    let mut z = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f64 / f64::from(1 << 24) * 2.0 - 1.0
}

pub fn made_tensor(name: &str, shape: &[usize]) -> Vec<f32> {
    let tables =
        ["point_embeddings.", "not_a_point_embed.", "no_mask_embed.", "iou_token.", "mask_tokens."];
    let transposed = name.starts_with("mask_decoder.output_upscaling.") && shape.len() == 4;
    let (offset, scale) = match name.rsplit('.').next().unwrap_or(name) {
        "pos_embed" | "rel_pos_h" | "rel_pos_w" => (0.0, 0.05),
        "positional_encoding_gaussian_matrix" => (0.0, 1.0),
        _ if tables.iter().any(|table| name.contains(table)) => (0.0, 0.5),
        "bias" | "running_mean" => (0.0, 0.05),
        "running_var" => (1.0, 0.1),
        "weight" if shape.len() == 1 => (1.0, 0.1),
        _ => {
            let fan_in = if transposed { shape[0] } else { shape[1..].iter().product() };
            (0.0, (3.0 / fan_in as f64).sqrt())
        }
    };
    made_values(name, shape.iter().product(), offset, scale)
}

/// Numbers that belong to a name, `offset - scale` to `offset + scale`.
pub fn made_values(name: &str, count: usize, offset: f64, scale: f64) -> Vec<f32> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let value = |index| (offset + scale * signed_unit(seed, index)) as f32;
    (0..count).into_par_iter().map(value).collect()
}

/// The shapes of ViT-B's tensors, turned into those of another ViT.
fn shapes_of(config: &VitConfig) -> Shapes {
    let of_vit_b: Shapes = json("vit_b_tensors.json");
    let block = |name: &str| -> Option<usize> {
        name.strip_prefix("image_encoder.blocks.")?.split('.').next()?.parse().ok()
    };
    let resize = |name: &str, shape: Vec<usize>| -> Vec<usize> {
        if name.ends_with("rel_pos_h") || name.ends_with("rel_pos_w") {
            let window =
                if block(name).is_some_and(|b| config.global.contains(&b)) { 64 } else { 14 };
            return vec![2 * window - 1, config.dim / config.heads];
        }
        let side = |side: usize| match side {
            768 | 2304 | 3072 if name.starts_with("image_encoder.") => side / 768 * config.dim,
            other => other,
        };
        shape.into_iter().map(side).collect()
    };
    of_vit_b
        .into_iter()
        .filter(|(name, _)| block(name).is_none_or(|block| block < config.depth))
        .map(|(name, shape)| {
            let shape = resize(&name, shape);
            (name, shape)
        })
        .collect()
}

fn check(sam: &Sam, facts: &Facts, tensors: &Tensors) {
    let embedding = sam.encode(&picture(&facts.picture)).expect("the CPU works");
    check_embedding(&facts.name, &embedding, &facts.embedding, tensors);
    let points = prompts(&facts.points, &facts.labels);
    let prompt = Prompt { points: &points, ..Prompt::default() };
    for (output, expected) in
        [(MaskOutput::Single, &facts.single), (MaskOutput::Multi, &facts.multi)]
    {
        let found = sam.predict(&embedding, &prompt, output).expect("a prompt");
        check_masks(&facts.name, &embedding, &found, expected, tensors, Outline::Flat);
    }
}

/// One test for all of them: one after the other they fit into a small machine's memory.
#[test]
fn plain_vits_agree_with_pytorch() {
    let tensors = safetensors::read("vit.safetensors");
    let all: Vec<Facts> = json("vit.json");
    assert_eq!(all.len(), 3);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("made.safetensors");
    for facts in &all {
        let config = VitConfig {
            dim: facts.embed_dim,
            depth: facts.depth,
            heads: facts.heads,
            global: facts.global_attention.clone(),
        };
        let shapes = shapes_of(&config);
        for (name, first) in &facts.first_values {
            assert_eq!(
                made_tensor(name, &shapes[name])[..4],
                first[..],
                "{name} is made as stated"
            );
        }
        safetensors::write(&path, &shapes, made_tensor);
        let architecture = match facts.name.as_str() {
            "vit_b" => Architecture::VitB,
            "vit_l3" => Architecture::VitL,
            _ => Architecture::VitH,
        };
        let sam = if facts.name == "vit_b" {
            assert_eq!(Some(config), Architecture::VitB.vit());
            assert_eq!(shapes, json("vit_b_tensors.json"));
            Sam::load(&path, None, &cpu()).expect("the file fits")
        } else {
            let (device, read) = (cpu(), checkpoint::read(&path, None).expect("a whole file"));
            let mut model = Model::new(architecture, Some(&config), device.inner());
            checkpoint::apply(&path, architecture, &mut model, read.tensors, read.format)
                .expect("it fits");
            Sam::from_model(model.fused(), architecture, &device)
        };
        assert_eq!(sam.architecture(), architecture);
        check(&sam, facts, &tensors);
    }
}
