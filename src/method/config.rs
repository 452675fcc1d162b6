use std::ops::RangeInclusive;

use super::MethodError;

/// The published variants of the method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// Negative points from the background's parts, one mask a pass (CVC-ClinicDB, 4D-Lung).
    #[default]
    Medical,
    /// One negative point at the least similar place, PerSAM's guidance in the first pass, three
    /// masks in the others (PerSeg).
    PerSeg,
}

/// The method's settings. The default is the published setting for CVC-ClinicDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodConfig {
    /// Numbers of positive parts to try.
    pub n: RangeInclusive<usize>,
    /// Numbers of negative parts to try. The PerSeg variant has no negative parts.
    pub m: RangeInclusive<usize>,
    /// The variant.
    pub variant: Variant,
    /// Seed of k-means.
    pub seed: u64,
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self { n: 1..=5, m: 1..=1, variant: Variant::Medical, seed: 0 }
    }
}

impl MethodConfig {
    /// Most parts of a kind that are allowed; the paper uses at most 5.
    pub const MAX_PARTS: usize = 32;

    /// # Errors
    /// [`MethodError::Parts`] if a range is empty, begins at 0 or reaches too far.
    pub fn validate(&self) -> Result<(), MethodError> {
        for (name, range) in [("n", &self.n), ("m", &self.m)] {
            if range.is_empty() || *range.start() == 0 || *range.end() > Self::MAX_PARTS {
                return Err(MethodError::Parts {
                    name,
                    from: *range.start(),
                    to: *range.end(),
                    most: Self::MAX_PARTS,
                });
            }
        }
        Ok(())
    }
}
