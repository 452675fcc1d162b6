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

/// A set of settings with a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// The published method, exactly.
    #[default]
    Paper,
    /// For video: the published candidates and the mask of the frame before compete, and a gate
    /// tells whether the object is in view.
    Video,
    /// As [`Profile::Video`] on smaller pictures with fewer candidates, for live use on a CPU.
    Fast,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Paper, Self::Video, Self::Fast];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Video => "video",
            Self::Fast => "fast",
        }
    }

    /// The method's settings.
    pub fn config(self) -> MethodConfig {
        match self {
            Self::Paper => MethodConfig::default(),
            Self::Video => MethodConfig { n: 1..=3, temporal: true, ..MethodConfig::default() },
            Self::Fast => MethodConfig { n: 1..=2, temporal: true, ..MethodConfig::default() },
        }
    }

    /// Side in pixels that pictures are scaled to, without padding, where the model takes another
    /// size than its own; `None` for its own.
    pub fn input_side(self) -> Option<u32> {
        match self {
            Self::Paper | Self::Video => None,
            Self::Fast => Some(512),
        }
    }

    /// Whether a gate tells if the object is in view.
    pub fn is_gated(self) -> bool {
        self != Self::Paper
    }
}

impl std::str::FromStr for Profile {
    type Err = MethodError;

    fn from_str(name: &str) -> Result<Self, MethodError> {
        let known = Self::ALL.into_iter().find(|profile| profile.name() == name);
        known.ok_or_else(|| MethodError::UnknownProfile(name.to_owned()))
    }
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
    /// Whether the mask of the frame before, moved to this one, is one more candidate, and where it
    /// is counts in the retrieval. Not part of the published method.
    pub temporal: bool,
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self { n: 1..=5, m: 1..=1, variant: Variant::Medical, seed: 0, temporal: false }
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
