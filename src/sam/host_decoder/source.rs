//! The image with a mask prompt.

use burn::prelude::*;

use super::{EMBEDDING_DIM, Image};
use crate::sam::kernels::gelu_slice;
use crate::sam::kernels::grid::{add, values_of};
use crate::sam::kernels::panels::Finish;
use crate::sam::kernels::tiles::{Affine, Norm};
use crate::sam::prompt_encoder::PromptEncoder;

/// Logits along a patch's side.
const SIDE: usize = 4;

/// A mask's 4 x 4 logits to what is added to their patch.
#[derive(Debug)]
pub struct Downscaling {
    layers: [Affine; 3],
    norms: [Norm; 2],
    /// What is added without a mask.
    none: Vec<f32>,
}

impl Downscaling {
    pub fn new<B: Backend>(prompts: &PromptEncoder<B>) -> Self {
        let down = &prompts.mask_downscaling;
        Self {
            layers: [&down.conv1, &down.conv2, &down.conv3].map(Affine::of_convolution),
            norms: [down.norm1.on_host(), down.norm2.on_host()],
            none: values_of(prompts.no_mask_embed.weight.val()),
        }
    }

    /// Writes the patches from `first` on, `[patches, 256]`.
    pub fn tile(&self, image: Image, mask: Option<&[f32]>, first: usize, to: &mut [f32]) {
        let features = &image.features[first * EMBEDDING_DIM..][..to.len()];
        let Some(mask) = mask else {
            to.copy_from_slice(features);
            return to.chunks_exact_mut(EMBEDDING_DIM).for_each(|patch| add(patch, &self.none));
        };
        let width = image.columns * SIDE;
        let places = first..first + to.len() / EMBEDDING_DIM;
        // A patch's quarters, each with its four logits.
        let quarters = places.flat_map(|patch| {
            let corner = patch / image.columns * SIDE * width + patch % image.columns * SIDE;
            (0..4).map(move |quarter| corner + quarter / 2 * 2 * width + quarter % 2 * 2)
        });
        let logits: Vec<f32> = quarters
            .flat_map(|at| [at, at + 1, at + width, at + width + 1].map(|at| mask[at]))
            .collect();
        let mut x = logits;
        for (layer, norm) in self.layers.iter().zip(&self.norms) {
            let mut y = vec![0.0; x.len() / layer.inputs() * layer.out()];
            layer.forward(&x, &mut y, Finish::Store);
            norm.forward(&mut y);
            gelu_slice(&mut y);
            x = y;
        }
        to.copy_from_slice(features);
        self.layers[2].forward(&x, to, Finish::Add);
    }
}
