use std::ops::RangeInclusive;

use super::MethodError;
use crate::sam::{Sam, SamError};

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

impl Variant {
    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Medical => "medical",
            Self::PerSeg => "perseg",
        }
    }
}

/// What chooses among the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retrieval {
    /// The smallest exact earth mover's distance to the reference's features, as published.
    #[default]
    Emd,
    /// The smallest earth mover's distance with entropic regularisation.
    Sinkhorn,
    /// The smallest distance of the mean features.
    Centroid,
    /// The largest predicted IoU.
    PredictedIou,
    /// Predicted IoU, agreement with the other candidates and distance, weighed.
    Weighed,
}

impl Retrieval {
    /// Every choice.
    pub const ALL: [Self; 5] =
        [Self::Emd, Self::Sinkhorn, Self::Centroid, Self::PredictedIou, Self::Weighed];

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emd => "emd",
            Self::Sinkhorn => "sinkhorn",
            Self::Centroid => "centroid",
            Self::PredictedIou => "predicted-iou",
            Self::Weighed => "weighed",
        }
    }
}

impl std::str::FromStr for Retrieval {
    type Err = MethodError;

    fn from_str(name: &str) -> Result<Self, MethodError> {
        let known = Self::ALL.into_iter().find(|retrieval| retrieval.name() == name);
        known.ok_or_else(|| MethodError::UnknownRetrieval(name.to_owned()))
    }
}

/// A set of settings with a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// The published method, exactly.
    #[default]
    Paper,
    /// As [`Profile::Accurate`] at the model's own input size, and the mask of the frame before
    /// competes, moved to this one.
    Video,
    /// The published candidates and the model's own mask without a prompt, chosen by all evidence
    /// together, and whether the object is in view is decided; on images of 512 pixels.
    Accurate,
    /// The published method without the padding that fills a picture to a square, which neither the
    /// encoder sees nor the background's parts hold: quicker, and all but always the same choice.
    Fast,
    /// As [`Profile::Video`] on images of 512 pixels, all candidates only every 25 frames.
    Live,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 5] = [Self::Paper, Self::Fast, Self::Accurate, Self::Video, Self::Live];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Accurate => "accurate",
            Self::Video => "video",
            Self::Fast => "fast",
            Self::Live => "live",
        }
    }

    /// The method's settings.
    pub fn config(self) -> MethodConfig {
        match self {
            Self::Paper => MethodConfig::default(),
            Self::Accurate => MethodConfig {
                retrieval: Retrieval::Weighed,
                own_mask: true,
                padding: false,
                memory: true,
                ..MethodConfig::default()
            },
            Self::Video => MethodConfig { temporal: true, ..Self::Accurate.config() },
            Self::Fast => MethodConfig { padding: false, ..MethodConfig::default() },
            Self::Live => MethodConfig { search_every: 25, ..Self::Video.config() },
        }
    }

    /// Side in pixels that pictures are scaled to, without padding, where the model takes another
    /// size than its own; `None` for its own.
    pub fn input_side(self) -> Option<u32> {
        match self {
            Self::Paper | Self::Video => None,
            Self::Fast => Some(1024),
            Self::Accurate | Self::Live => Some(512),
        }
    }

    /// The model at the input side asked for, or else at this profile's own where the model takes it.
    ///
    /// # Errors
    /// [`SamError::InputSize`] for a side asked for that the model cannot take.
    pub fn fit(self, sam: Sam, side: Option<u32>) -> Result<Sam, SamError> {
        let largest = sam.architecture().input_side();
        let own = self.input_side().filter(|_| sam.architecture().takes_any_size());
        let own = own.map(|side| side.min(largest));
        match side.or(own) {
            Some(side) => sam.with_trimmed_input(side),
            None => Ok(sam),
        }
    }

    /// Whether it is decided in every frame if the object is in view.
    pub fn decides_presence(self) -> bool {
        !matches!(self, Self::Paper | Self::Fast)
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
    /// What chooses among the candidates.
    pub retrieval: Retrieval,
    /// Whether distances are between features of length 1. Not part of the published method.
    pub normalised: bool,
    /// Whether the model's own mask, without a prompt and then refined by its box, is one more
    /// candidate. Not part of the published method.
    pub own_mask: bool,
    /// Decoder passes of a part-aware candidate, 1 to 3; the published method has 3.
    pub passes: usize,
    /// Steps from one search of all candidates to the next. In between, while the object is in view,
    /// only the parts that won last compete (with the moved mask); 1 searches all at every step, as
    /// published.
    pub search_every: usize,
    /// Whether the padding below or beside the reference picture counts as background, as published.
    pub padding: bool,
    /// Whether confident views, some seconds apart, become further references of the object. Not part
    /// of the published method.
    pub memory: bool,
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self {
            n: 1..=5,
            m: 1..=1,
            variant: Variant::Medical,
            seed: 0,
            temporal: false,
            retrieval: Retrieval::Emd,
            normalised: false,
            own_mask: false,
            passes: 3,
            search_every: 1,
            padding: true,
            memory: false,
        }
    }
}

impl MethodConfig {
    /// Most parts of a kind that are allowed; the paper uses at most 5.
    pub const MAX_PARTS: usize = 32;

    /// Every setting by its name, for files that tell what results depend on.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let Self {
            n,
            m,
            variant,
            seed,
            temporal,
            retrieval,
            normalised,
            own_mask,
            passes,
            search_every,
            padding,
            memory,
        } = self;
        let range = |range: &RangeInclusive<usize>| format!("{}..{}", range.start(), range.end());
        let switch = |on: &bool| if *on { "on" } else { "off" }.to_owned();
        vec![
            ("n", range(n)),
            ("m", range(m)),
            ("variant", variant.name().to_owned()),
            ("seed", seed.to_string()),
            ("temporal", switch(temporal)),
            ("retrieval", retrieval.name().to_owned()),
            ("normalised", switch(normalised)),
            ("own_mask", switch(own_mask)),
            ("passes", passes.to_string()),
            ("search_every", search_every.to_string()),
            ("padding", switch(padding)),
            ("memory", switch(memory)),
        ]
    }

    /// # Errors
    /// [`MethodError::Parts`] if a range is empty, begins at 0 or reaches too far,
    /// [`MethodError::Passes`] for none or more than 3 passes, [`MethodError::SearchEvery`] for 0.
    pub fn validate(&self) -> Result<(), MethodError> {
        if self.search_every == 0 {
            return Err(MethodError::SearchEvery);
        }
        if !(1..=3).contains(&self.passes) {
            return Err(MethodError::Passes(self.passes));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_told() {
        let default = MethodConfig::default;
        for (other, name) in [
            (MethodConfig { n: 1..=4, ..default() }, "n"),
            (MethodConfig { m: 2..=2, ..default() }, "m"),
            (MethodConfig { variant: Variant::PerSeg, ..default() }, "variant"),
            (MethodConfig { seed: 1, ..default() }, "seed"),
            (MethodConfig { temporal: true, ..default() }, "temporal"),
            (MethodConfig { retrieval: Retrieval::Weighed, ..default() }, "retrieval"),
            (MethodConfig { normalised: true, ..default() }, "normalised"),
            (MethodConfig { own_mask: true, ..default() }, "own_mask"),
            (MethodConfig { passes: 2, ..default() }, "passes"),
            (MethodConfig { search_every: 2, ..default() }, "search_every"),
            (MethodConfig { padding: false, ..default() }, "padding"),
            (MethodConfig { memory: true, ..default() }, "memory"),
        ] {
            let pairs = default().settings().into_iter().zip(other.settings());
            let differ: Vec<_> = pairs.filter(|(a, b)| a != b).map(|(a, _)| a.0).collect();
            assert_eq!(differ, [name]);
        }
    }

    #[test]
    fn names_are_read_back() {
        for retrieval in Retrieval::ALL {
            assert_eq!(retrieval.name().parse::<Retrieval>().expect("a name"), retrieval);
        }
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse::<Profile>().expect("a name"), profile);
        }
    }
}
