use std::sync::{Arc, OnceLock};

use burn::Dispatch;
use burn::prelude::*;

use super::{EMBEDDING_SIDE, LOGITS_SIDE, SamError, guarded, to_vec};
use crate::image::Letterbox;

/// What the image encoder makes of a picture: patches of 256 values, 64 x 64 of them at the model's
/// own input size.
#[derive(Clone, Debug)]
pub struct Embedding {
    pub(super) features: Patches,
    /// The encoding of every patch's place.
    pub(super) image_pe: Patches,
    /// Columns and rows of patches.
    pub(super) grid: [usize; 2],
    pub(super) letterbox: Letterbox,
}

/// `[1, patches, 256]`, patches row by row.
#[derive(Clone, Debug)]
pub struct Patches {
    pub tensor: Tensor<Dispatch, 3>,
    /// The same in this machine's memory, once they were asked for.
    values: Arc<OnceLock<Vec<f32>>>,
}

impl Patches {
    pub fn new(tensor: Tensor<Dispatch, 3>) -> Self {
        Self { tensor, values: Arc::default() }
    }

    pub fn values(&self) -> Result<&[f32], SamError> {
        if let Some(values) = self.values.get() {
            return Ok(values);
        }
        let values = guarded(|| to_vec(self.tensor.clone()))??;
        Ok(self.values.get_or_init(|| values))
    }
}

impl Embedding {
    /// How the picture lies in the model's input.
    pub fn letterbox(&self) -> &Letterbox {
        &self.letterbox
    }

    /// Columns and rows of patches.
    pub fn grid(&self) -> [usize; 2] {
        self.grid
    }

    /// Columns and rows of a mask's logits on this picture.
    pub fn logits_size(&self) -> [usize; 2] {
        self.grid.map(|side| side * LOGITS_SIDE / EMBEDDING_SIDE)
    }

    /// Which patches show the image and not its padding: those whose centre lies in it.
    pub(crate) fn inside(&self) -> impl Iterator<Item = bool> {
        let ([columns, rows], letterbox) = (self.grid, self.letterbox.clone());
        let within = move |axis: usize, index: usize, cells: usize| {
            let (scaled, canvas) = (letterbox.scaled()[axis], letterbox.canvas()[axis]);
            (2 * index + 1) * (canvas as usize) < 2 * cells * scaled as usize
        };
        (0..columns * rows).map(move |patch| {
            within(0, patch % columns, columns) && within(1, patch / columns, rows)
        })
    }

    pub(super) fn patch_count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// The patches' features, `[patches][256]`, patches row by row.
    ///
    /// # Errors
    /// [`SamError::Compute`] if the device fails.
    pub fn patches(&self) -> Result<Vec<f32>, SamError> {
        Ok(self.features.values()?.to_vec())
    }
}
