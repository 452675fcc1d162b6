//! Cosine similarity of parts and patches, and the places and guidance taken from it.

use crate::image::Restore;
use crate::sam::PointPrompt;

/// The vectors, each of length 1.
pub fn normalised(vectors: &[f32], dim: usize) -> Vec<f32> {
    vectors
        .chunks_exact(dim)
        .flat_map(|vector| {
            let norm = dot(vector, vector).sqrt();
            vector.iter().map(move |v| v / norm)
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The similarity map of one part, a value for each patch. `part` and `patches` are normalised.
pub fn similarity_map(part: &[f32], patches: &[f32]) -> Vec<f32> {
    patches.chunks_exact(part.len()).map(|patch| dot(part, patch)).collect()
}

/// The place in the picture where a map is largest.
pub fn most_similar(map: &[f32], restore: &Restore, positive: bool) -> PointPrompt {
    let [x, y] = restore.arg_max(map);
    PointPrompt { x: x as f32, y: y as f32, positive }
}

/// The place in the picture where a map is smallest.
pub fn least_similar(map: &[f32], restore: &Restore) -> PointPrompt {
    let negated: Vec<f32> = map.iter().map(|v| -v).collect();
    most_similar(&negated, restore, false)
}

/// The mean of several maps.
pub fn mean_map(maps: &[Vec<f32>]) -> Vec<f32> {
    let mut mean = vec![0.0; maps.first().map_or(0, Vec::len)];
    for map in maps {
        for (slot, value) in mean.iter_mut().zip(map) {
            *slot += value / maps.len() as f32;
        }
    }
    mean
}

/// PerSAM's attention weights of a map: brought to the picture's size, normalised by mean and
/// standard deviation, brought back to the grid (columns, rows) bilinearly, through a sigmoid.
pub fn attention_weights(
    map: &[f32],
    restore: &Restore,
    size: [u32; 2],
    grid: [usize; 2],
) -> Vec<f32> {
    let values = restore.values(map);
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (count - 1.0).max(1.0)).sqrt().max(f64::MIN_POSITIVE);
    crate::image::resize_bilinear(&values, size, grid)
        .into_iter()
        .map(|v| {
            let z = (f64::from(v) - mean) / deviation;
            (1.0 / (1.0 + (-z).exp())) as f32
        })
        .collect()
}
