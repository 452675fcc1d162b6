//! A picture to the image encoder's input.

use super::config::Normalisation;
use crate::image::{Frame, Letterbox, resize_rgb};

/// ImageNet's mean and standard deviation of red, green and blue, in grey levels.
pub const MEAN: [f32; 3] = [123.675, 116.28, 103.53];
pub const STD: [f32; 3] = [58.395, 57.12, 57.375];

/// Scales, normalises and pads with zeros to the letterbox's canvas: `[channel][row][column]`.
pub fn pixels(frame: &Frame, letterbox: &Letterbox, normalisation: Normalisation) -> Vec<f32> {
    let [width, height] = letterbox.scaled();
    let rgb = resize_rgb(frame, width, height);
    let width = width as usize;
    let [across, down] = letterbox.canvas().map(|side| side as usize);
    let (offset, scale) = match normalisation {
        Normalisation::MeanStd => (MEAN, STD.map(|s| 1.0 / s)),
        Normalisation::MinMax => {
            let low = f32::from(rgb.iter().copied().min().unwrap_or(0));
            let high = f32::from(rgb.iter().copied().max().unwrap_or(0));
            ([low; 3], [1.0 / (high - low).max(1e-8); 3])
        }
    };
    let mut pixels = vec![0.0f32; 3 * across * down];
    for (channel, plane) in pixels.chunks_exact_mut(across * down).enumerate() {
        for (line, row) in rgb.chunks_exact(width * 3).zip(plane.chunks_exact_mut(across)) {
            for (slot, &value) in row.iter_mut().zip(line[channel..].iter().step_by(3)) {
                *slot = (f32::from(value) - offset[channel]) * scale[channel];
            }
        }
    }
    pixels
}
