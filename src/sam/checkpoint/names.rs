//! Published tensor names and this crate's.

/// Tensors that published checkpoints carry and the model does not use: TinyViT's classifier and
/// the step counters of batch normalisation.
pub fn is_ignored(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
        || name.starts_with("image_encoder.head.")
        || name.starts_with("image_encoder.norm_head.")
        || name.ends_with("attention_bias_idxs")
}

/// Published names of sequential layers to the names of this crate's fields.
const RENAMES: [(&str, &str); 18] = [
    ("image_encoder.neck.0.", "image_encoder.neck.conv1."),
    ("image_encoder.neck.1.", "image_encoder.neck.norm1."),
    ("image_encoder.neck.2.", "image_encoder.neck.conv2."),
    ("image_encoder.neck.3.", "image_encoder.neck.norm2."),
    ("image_encoder.patch_embed.seq.0.", "image_encoder.patch_embed.conv1."),
    ("image_encoder.patch_embed.seq.2.", "image_encoder.patch_embed.conv2."),
    ("image_encoder.layers.0.", "image_encoder.stage0."),
    ("image_encoder.layers.1.", "image_encoder.stages.0."),
    ("image_encoder.layers.2.", "image_encoder.stages.1."),
    ("image_encoder.layers.3.", "image_encoder.stages.2."),
    ("prompt_encoder.mask_downscaling.0.", "prompt_encoder.mask_downscaling.conv1."),
    ("prompt_encoder.mask_downscaling.1.", "prompt_encoder.mask_downscaling.norm1."),
    ("prompt_encoder.mask_downscaling.3.", "prompt_encoder.mask_downscaling.conv2."),
    ("prompt_encoder.mask_downscaling.4.", "prompt_encoder.mask_downscaling.norm2."),
    ("prompt_encoder.mask_downscaling.6.", "prompt_encoder.mask_downscaling.conv3."),
    ("mask_decoder.output_upscaling.0.", "mask_decoder.output_upscaling.conv1."),
    ("mask_decoder.output_upscaling.1.", "mask_decoder.output_upscaling.norm."),
    ("mask_decoder.output_upscaling.3.", "mask_decoder.output_upscaling.conv2."),
];

/// A published name to this crate's.
pub fn to_ours(name: &str) -> String {
    RENAMES
        .iter()
        .find_map(|(theirs, ours)| name.strip_prefix(theirs).map(|rest| format!("{ours}{rest}")))
        .unwrap_or_else(|| name.to_owned())
}

/// This crate's name to the published one, for messages.
pub fn to_theirs(name: &str) -> String {
    let name = match name.rsplit_once('.') {
        Some((path, "gamma")) => format!("{path}.weight"),
        Some((path, "beta")) => format!("{path}.bias"),
        _ => name.to_owned(),
    };
    RENAMES
        .iter()
        .find_map(|(theirs, ours)| name.strip_prefix(ours).map(|rest| format!("{theirs}{rest}")))
        .unwrap_or(name)
}

/// Burn's own format puts an enum's variant into the names of its tensors; the published names have
/// none.
pub fn without_variant(name: String) -> String {
    ["TinyVit.", "Vit."]
        .iter()
        .find_map(|variant| name.strip_prefix("image_encoder.")?.strip_prefix(variant))
        .map(|rest| format!("image_encoder.{rest}"))
        .unwrap_or(name)
}
