//! Scores of masks against the truth, and statistics of scores. They know nothing of models.

mod bootstrap;
mod boundary;
mod rank;
#[cfg(test)]
mod tests;

use crate::image::Mask;

pub use bootstrap::{Share, bootstrap, mean, quantile};
pub use boundary::boundary_f;
pub use rank::{separation, spearman};

/// Pixel counts of a mask and the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Overlap {
    /// Pixels in both.
    pub intersection: u64,
    /// Pixels in either.
    pub union: u64,
    /// Pixels of the truth.
    pub truth: u64,
}

impl Overlap {
    /// `None` if the sizes differ.
    pub fn of(mask: &Mask, truth: &Mask) -> Option<Self> {
        if (mask.width(), mask.height()) != (truth.width(), truth.height()) {
            return None;
        }
        let both = mask.data().iter().zip(truth.data()).filter(|(a, b)| **a && **b).count() as u64;
        let (found, real) = (mask.area() as u64, truth.area() as u64);
        Some(Self { intersection: both, union: found + real - both, truth: real })
    }

    /// Dice coefficient, 2 |A and B| / (|A| + |B|), in 0..1. Two empty masks agree: 1.
    pub fn dice(&self) -> f64 {
        match self.union + self.intersection {
            0 => 1.0,
            sum => 2.0 * self.intersection as f64 / sum as f64,
        }
    }

    /// Intersection over union, |A and B| / |A or B|, in 0..1. Two empty masks agree: 1.
    pub fn iou(&self) -> f64 {
        match self.union {
            0 => 1.0,
            union => self.intersection as f64 / union as f64,
        }
    }
}

/// [`Overlap::dice`] of two masks. `None` if the sizes differ.
pub fn dice(a: &Mask, b: &Mask) -> Option<f64> {
    Some(Overlap::of(a, b)?.dice())
}

/// [`Overlap::iou`] of two masks. `None` if the sizes differ.
pub fn iou(a: &Mask, b: &Mask) -> Option<f64> {
    Some(Overlap::of(a, b)?.iou())
}
