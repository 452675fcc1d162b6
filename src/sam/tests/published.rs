//! Published weights.

use serde::Deserialize;

use super::fixture::{self, json, mobile_sam, picture};
use super::safetensors::read;
use super::{EmbeddingFacts, MaskFacts, Outline, check_embedding, check_masks};
use crate::sam::{Architecture, Logits, MaskOutput, PointPrompt, Prompt, Sam, TargetGuidance};

#[derive(Deserialize)]
struct Picture {
    picture: String,
    embedding: EmbeddingFacts,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    points: Vec<[f32; 2]>,
    #[serde(default)]
    labels: Vec<u8>,
    #[serde(rename = "box")]
    bounding_box: Option<[f32; 4]>,
    mask_from: Option<usize>,
    single: MaskFacts,
    multi: MaskFacts,
}

/// Points of a fixture.
pub fn prompts(points: &[[f32; 2]], labels: &[u8]) -> Vec<PointPrompt> {
    let point = |(&[x, y], &label): (&[f32; 2], &u8)| PointPrompt { x, y, positive: label == 1 };
    points.iter().zip(labels).map(point).collect()
}

#[test]
fn mobile_sam_agrees_with_pytorch() {
    let Some(sam) = mobile_sam() else { return };
    assert_eq!(sam.architecture(), Architecture::MobileSam);
    let tensors = read("mobile.safetensors");
    let pictures: Vec<Picture> = json("mobile.json");
    assert_eq!(pictures.len(), 2);
    for Picture { picture: name, embedding: facts, cases } in pictures {
        let embedding = sam.encode(&picture(&name)).expect("the CPU works");
        check_embedding(&name, &embedding, &facts, &tensors);
        let mut singles: Vec<Logits> = Vec::new();
        assert_eq!(cases.len(), 8);
        for case in cases {
            let name = format!("{name}, {}", case.name);
            let points = prompts(&case.points, &case.labels);
            let mask = case.mask_from.map(|index| singles[index].clone());
            let prompt = Prompt {
                points: &points,
                bounding_box: case.bounding_box,
                mask: mask.as_ref(),
                guidance: None,
            };
            let placeless = points.is_empty() && case.bounding_box.is_none();
            let outline = if placeless { Outline::Flat } else { Outline::Sharp };
            let single = sam.predict(&embedding, &prompt, MaskOutput::Single).expect("a prompt");
            check_masks(&name, &embedding, &single, &case.single, &tensors, outline);
            let multi = sam.predict(&embedding, &prompt, MaskOutput::Multi).expect("a prompt");
            let three = format!("{name}, three");
            check_masks(&three, &embedding, &multi, &case.multi, &tensors, outline);
            singles.push(single[0].logits.clone());
        }
    }
}

#[derive(Deserialize)]
struct Lite {
    picture: String,
    embedding: EmbeddingFacts,
    #[serde(rename = "box")]
    bounding_box: [f32; 4],
    single: MaskFacts,
}

#[test]
fn lite_medsam_agrees_with_pytorch() {
    let Some(path) = fixture::weights("lite_medsam.pth") else {
        println!("skipped: weights/lite_medsam.pth is missing");
        return;
    };
    let sam = Sam::load(&path, None, &fixture::cpu()).expect("the published weights load");
    assert_eq!(sam.architecture(), Architecture::LiteMedSam);
    let tensors = read("lite.safetensors");
    let facts: Lite = json("lite.json");
    let embedding = sam.encode(&picture(&facts.picture)).expect("the CPU works");
    check_embedding("LiteMedSAM", &embedding, &facts.embedding, &tensors);
    let prompt = Prompt { bounding_box: Some(facts.bounding_box), ..Prompt::default() };
    let found = sam.predict(&embedding, &prompt, MaskOutput::Single).expect("a prompt");
    check_masks("LiteMedSAM", &embedding, &found, &facts.single, &tensors, Outline::Sharp);
}

#[derive(Deserialize)]
struct Hooks {
    picture: String,
    points: Vec<[f32; 2]>,
    labels: Vec<u8>,
    single: MaskFacts,
    multi: MaskFacts,
    plain: MaskFacts,
}

#[test]
fn guidance_agrees_with_persam() {
    let Some(sam) = mobile_sam() else { return };
    let tensors = read("hooks.safetensors");
    let facts: Hooks = json("hooks.json");
    let guidance = TargetGuidance {
        attention: tensors["attn_sim"].clone(),
        semantic: tensors["target_embedding"].clone(),
    };
    let points = prompts(&facts.points, &facts.labels);
    let embedding = sam.encode(&picture(&facts.picture)).expect("the CPU works");
    let check = |name, guidance, output, facts| {
        let prompt = Prompt { points: &points, guidance, ..Prompt::default() };
        let found = sam.predict(&embedding, &prompt, output).expect("a prompt");
        check_masks(name, &embedding, &found, facts, &tensors, Outline::Flat);
    };
    check("guided", Some(&guidance), MaskOutput::Single, &facts.single);
    check("guided, three", Some(&guidance), MaskOutput::Multi, &facts.multi);
    check("not guided", None, MaskOutput::Single, &facts.plain);
}
