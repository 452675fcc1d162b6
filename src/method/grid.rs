//! Masks on the model's patches.

use crate::image::{Annotation, Frame, ImageError, Letterbox, resize_rgb};
use crate::sam::Logits;

/// Which patches the annotated object covers: its grey levels are resized and padded like their
/// picture, brought to the grid (columns, rows) bilinearly, and cut at the middle of their range (as
/// published).
pub fn patches_of_annotation(
    annotation: &Annotation,
    letterbox: &Letterbox,
    grid: [usize; 2],
) -> Result<Vec<bool>, ImageError> {
    let grey: Vec<u8> = annotation.levels().iter().flat_map(|&level| [level; 3]).collect();
    let frame = Frame::new(annotation.width(), annotation.height(), grey)?;
    let [width, height] = letterbox.scaled().map(|side| side as usize);
    let scaled = resize_rgb(&frame, width as u32, height as u32);
    let canvas = letterbox.canvas().map(|side| side as usize);
    let levels = sample(canvas, grid, |x, y| {
        let inside = x < width && y < height;
        if inside { f32::from(scaled[(y * width + x) * 3]) } else { 0.0 }
    });
    let low = levels.iter().copied().fold(f32::INFINITY, f32::min);
    let high = levels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let middle = (low + high) / 2.0;
    Ok(levels.into_iter().map(|v| v > middle).collect())
}

/// Which patches a predicted mask covers: its logits, brought to the grid bilinearly, above 0.
pub fn patches_of_logits(logits: &Logits, grid: [usize; 2]) -> Vec<bool> {
    let (values, [width, height]) = (logits.values(), logits.size());
    let levels = sample([width, height], grid, |x, y| values[y * width + x]);
    levels.into_iter().map(|v| v > 0.0).collect()
}

/// A map of `size` (columns, rows) at the grid's, bilinearly without antialiasing: for a size that is
/// an even multiple of the grid, the mean of the four values around a patch's centre.
fn sample(size: [usize; 2], grid: [usize; 2], value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let step = [size[0] / grid[0].max(1), size[1] / grid[1].max(1)];
    let far = |axis: usize, patch: usize| patch * step[axis] + step[axis] / 2;
    let near = |axis: usize, patch: usize| far(axis, patch).saturating_sub(1);
    let [columns, rows] = grid;
    let mut values = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        for column in 0..columns {
            let (x0, x1) = (near(0, column), far(0, column));
            let (y0, y1) = (near(1, row), far(1, row));
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
