//! Masks on the model's 64 x 64 patches.

use crate::image::{Annotation, Frame, ImageError, Letterbox, resize_rgb};
use crate::sam::{EMBEDDING_SIDE, LOGITS_SIDE, Logits};

/// Number of patches.
pub const PATCHES: usize = EMBEDDING_SIDE * EMBEDDING_SIDE;

/// Which patches the annotated object covers: its grey levels are resized and padded like their
/// picture, brought to 64 x 64 bilinearly, and cut at the middle of their range (as published).
pub fn patches_of_annotation(
    annotation: &Annotation,
    letterbox: &Letterbox,
) -> Result<Vec<bool>, ImageError> {
    let grey: Vec<u8> = annotation.levels().iter().flat_map(|&level| [level; 3]).collect();
    let frame = Frame::new(annotation.width(), annotation.height(), grey)?;
    let [width, height] = letterbox.scaled().map(|side| side as usize);
    let scaled = resize_rgb(&frame, width as u32, height as u32);
    let levels = sample(letterbox.side() as usize, |x, y| {
        let inside = x < width && y < height;
        if inside { f32::from(scaled[(y * width + x) * 3]) } else { 0.0 }
    });
    let low = levels.iter().copied().fold(f32::INFINITY, f32::min);
    let high = levels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let middle = (low + high) / 2.0;
    Ok(levels.into_iter().map(|v| v > middle).collect())
}

/// Which patches a predicted mask covers: its logits, brought to 64 x 64 bilinearly, above 0.
pub fn patches_of_logits(logits: &Logits) -> Vec<bool> {
    let values = logits.values();
    sample(LOGITS_SIDE, |x, y| values[y * LOGITS_SIDE + x]).into_iter().map(|v| v > 0.0).collect()
}

/// A square map of `side` at 64 x 64, bilinearly without antialiasing: for a side that is an even
/// multiple of 64, the mean of the four values around a patch's centre.
fn sample(side: usize, value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let step = side / EMBEDDING_SIDE;
    let near = |patch: usize| (patch * step + step / 2).saturating_sub(1);
    let far = |patch: usize| patch * step + step / 2;
    let mut values = Vec::with_capacity(PATCHES);
    for row in 0..EMBEDDING_SIDE {
        for column in 0..EMBEDDING_SIDE {
            let (x0, x1, y0, y1) = (near(column), far(column), near(row), far(row));
            let top = value(x0, y0) + value(x1, y0);
            let bottom = value(x0, y1) + value(x1, y1);
            values.push((top + bottom) / 4.0);
        }
    }
    values
}

/// The features of the chosen patches, one after the other.
pub fn gather(features: &[f32], chosen: &[bool], dim: usize) -> Vec<f32> {
    features
        .chunks_exact(dim)
        .zip(chosen)
        .filter(|(_, on)| **on)
        .flat_map(|(feature, _)| feature.iter().copied())
        .collect()
}
