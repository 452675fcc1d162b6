use std::ops::RangeInclusive;
use std::str::FromStr;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use p2sam::{MethodConfig, PresenceModel, Profile, Retrieval, Sam, Variant};

/// The method's settings: a profile, and what is to differ from it.
#[derive(Args, Clone)]
#[command(next_help_heading = "Method")]
pub struct MethodArgs {
    /// `paper` is the published method, exactly; `fast` leaves out the padding that fills a picture
    /// to a square; `accurate` adds the model's own mask as a candidate, weighs all evidence and
    /// decides whether the object is in view, on images of 512 pixels; `video` is that at the model's
    /// own input size, with the mask of the frame before as one more candidate; `live` is `video` on
    /// images of 512 pixels with a search of all candidates every 25 frames.
    #[arg(long, value_name = "NAME", default_value = "paper")]
    profile: Profile,
    /// Numbers of positive parts to try, A..B or one number (default: 1..5).
    #[arg(long, value_name = "A..B")]
    n: Option<Parts>,
    /// Numbers of negative parts to try, A..B or one number (default: 1).
    #[arg(long, value_name = "A..B")]
    m: Option<Parts>,
    /// The published variant (default: medical; `eval`: the data set's).
    #[arg(long, value_enum)]
    variant: Option<VariantArg>,
    /// Seed of k-means.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Whether it is decided in every frame if the object is in view, and nothing marked where it is
    /// not (paper, fast: off, others: on).
    #[arg(long, alias = "gate", value_name = "on|off")]
    presence: Option<Switch>,
    /// Whether confident views, some seconds apart, become further references (paper, fast: off,
    /// others: on).
    #[arg(long, value_name = "on|off")]
    memory: Option<Switch>,
    /// What chooses among the candidates: emd (smallest exact earth mover's distance, published),
    /// sinkhorn (the same, regularised), centroid (smallest distance of the mean features),
    /// predicted-iou, or weighed (all evidence).
    #[arg(long, value_name = "RULE")]
    retrieval: Option<Retrieval>,
    /// Decoder passes of a part-aware candidate, 1 to 3 (published: 3).
    #[arg(long, value_name = "COUNT", value_parser = RangedU64ValueParser::<usize>::new().range(1..=3))]
    passes: Option<usize>,
    /// Whether distances are between features of length 1: on or off (every profile: off).
    #[arg(long, value_name = "on|off")]
    normalised: Option<Switch>,
    /// Whether the model's own mask, made without a prompt, competes (accurate: on).
    #[arg(long, value_name = "on|off")]
    own_mask: Option<Switch>,
    /// Frames from one search of all candidates to the next; in between only the last winner
    /// competes (live: 25, others: 1).
    #[arg(long, value_name = "FRAMES")]
    search_every: Option<usize>,
    /// Whether the padding beside the reference picture counts as background (paper: on).
    #[arg(long, value_name = "on|off")]
    padding: Option<Switch>,
    /// Whether the mask of the frame before, moved, competes (video, live: on).
    #[arg(long, value_name = "on|off")]
    temporal: Option<Switch>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Switch {
    /// What is asked for, or else what the profile has.
    fn or(switch: Option<Self>, profile: bool) -> bool {
        switch.map_or(profile, |switch| switch == Self::On)
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum VariantArg {
    /// Negative points from background parts, one mask a pass.
    Medical,
    /// PerSAM's guidance, the best of three masks.
    Perseg,
}

/// A range of numbers of parts.
#[derive(Clone)]
pub struct Parts(pub RangeInclusive<usize>);

impl FromStr for Parts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<usize>().map_err(|_| format!("'{text}' is no number of parts"))
        };
        Ok(Self(match text.split_once("..") {
            Some((from, to)) => number(from)?..=number(to.trim_start_matches('='))?,
            None => number(text)?..=number(text)?,
        }))
    }
}

impl MethodArgs {
    /// The settings as the library takes them.
    pub fn config(&self) -> MethodConfig {
        self.config_on(&MethodConfig::default())
    }

    /// The settings, where the published ones of a data set hold in profile `paper` unless others are
    /// given.
    pub fn config_on(&self, published: &MethodConfig) -> MethodConfig {
        let profile = match self.profile {
            Profile::Paper => published.clone(),
            other => MethodConfig { variant: published.variant, ..other.config() },
        };
        MethodConfig {
            n: self.n.as_ref().map_or(profile.n, |parts| parts.0.clone()),
            m: self.m.as_ref().map_or(profile.m, |parts| parts.0.clone()),
            variant: match self.variant {
                Some(VariantArg::Medical) => Variant::Medical,
                Some(VariantArg::Perseg) => Variant::PerSeg,
                None => profile.variant,
            },
            seed: self.seed,
            temporal: Switch::or(self.temporal, profile.temporal),
            retrieval: self.retrieval.unwrap_or(profile.retrieval),
            normalised: Switch::or(self.normalised, profile.normalised),
            own_mask: Switch::or(self.own_mask, profile.own_mask),
            passes: self.passes.unwrap_or(profile.passes),
            search_every: self.search_every.unwrap_or(profile.search_every),
            padding: Switch::or(self.padding, profile.padding),
            memory: Switch::or(self.memory, profile.memory),
        }
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Whether it is to be decided if the object is in view.
    pub fn decides_presence(&self) -> bool {
        Switch::or(self.presence, self.profile.decides_presence())
    }

    /// How that is decided with a model, if it is wanted.
    pub fn presence(&self, sam: &Sam) -> anyhow::Result<Option<PresenceModel>> {
        Ok(match self.decides_presence() {
            true => Some(PresenceModel::of(sam)?),
            false => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// The settings of a command line.
    fn config(line: &str) -> MethodConfig {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            method: MethodArgs,
        }
        let words = ["p2sam"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).expect("good arguments").method.config()
    }

    #[test]
    fn what_is_not_given_is_the_profiles() {
        assert_eq!(config(""), Profile::Paper.config());
        for profile in Profile::ALL {
            assert_eq!(config(&format!("--profile {}", profile.name())), profile.config());
        }
    }

    #[test]
    fn what_is_given_differs_from_the_profile() {
        let line = "--profile accurate --n 2..3 --retrieval centroid --passes 2 --normalised on \
                    --own-mask off --padding on --temporal on --search-every 7 --memory off";
        let expected = MethodConfig {
            n: 2..=3,
            retrieval: Retrieval::Centroid,
            passes: 2,
            normalised: true,
            own_mask: false,
            padding: true,
            temporal: true,
            search_every: 7,
            ..MethodConfig::default()
        };
        assert_eq!(config(line), expected);
        assert!(!config("--profile video --temporal off").temporal);
    }
}
