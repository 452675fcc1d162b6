//! Patches to mask logits.

use burn::prelude::*;
use rayon::prelude::*;

use super::EMBEDDING_DIM;
use super::patches::Patches;
use crate::sam::kernels::gelu_slice;
use crate::sam::kernels::math::dot;
use crate::sam::kernels::panels::Finish;
use crate::sam::kernels::tiles::{Affine, Norm};
use crate::sam::mask_decoder;
use crate::simd::vectorised;

/// Logits along a patch's side.
const SIDE: usize = 4;

/// Four times finer by two transposed convolutions.
#[derive(Debug)]
pub struct Upscaling {
    layers: [Affine; 2],
    norm: Norm,
}

impl Upscaling {
    pub fn new<B: Backend>(upscaling: &mask_decoder::Upscaling<B>) -> Self {
        let layers = [&upscaling.conv1, &upscaling.conv2];
        Self {
            layers: layers.map(Affine::of_transposed_convolution),
            norm: upscaling.norm.on_host(),
        }
    }

    /// `weights` is a mask's weight of each channel, `[masks, channels]`. Returns
    /// `[masks, 4 rows, 4 columns]`.
    pub fn forward(&self, image: &Patches, weights: &[f32]) -> Vec<f32> {
        let channels = self.layers[1].out() / 4;
        let masks = weights.len() / channels;
        let line = SIDE * image.columns;
        let rows = image.values.par_chunks(image.columns * EMBEDDING_DIM);
        let rows: Vec<Vec<f32>> =
            rows.map(|patches| self.row(patches, weights, channels, line)).collect();
        let mut all = Vec::with_capacity(masks * rows.len() * SIDE * line);
        for mask in 0..masks {
            let lines = rows.iter().map(|row| &row[mask * SIDE * line..][..SIDE * line]);
            lines.for_each(|lines| all.extend_from_slice(lines));
        }
        all
    }

    /// A row of patches to four lines of each mask.
    fn row(&self, patches: &[f32], weights: &[f32], channels: usize, line: usize) -> Vec<f32> {
        let [first, second] = &self.layers;
        let count = patches.len() / EMBEDDING_DIM;
        let mut coarse = vec![0.0; count * first.out()];
        first.forward(patches, &mut coarse, Finish::Store);
        self.norm.forward(&mut coarse);
        gelu_slice(&mut coarse);
        let mut fine = vec![0.0; count * 4 * second.out()];
        second.forward(&coarse, &mut fine, Finish::Gelu);
        // Channels of each logit; a patch's quarters, and a quarter's quarters, one after the other.
        let mut to = vec![0.0; weights.len() / channels * SIDE * line];
        vectorised(
            #[inline(always)]
            || {
                for (index, seen) in fine.chunks_exact(channels).enumerate() {
                    let (patch, quarter, part) = (index / 16, index / 4 % 4, index % 4);
                    let row = quarter / 2 * 2 + part / 2;
                    let column = patch * SIDE + quarter % 2 * 2 + part % 2;
                    for (mask, weights) in weights.chunks_exact(channels).enumerate() {
                        to[(mask * SIDE + row) * line + column] = dot(weights, seen);
                    }
                }
            },
        );
        to
    }
}
