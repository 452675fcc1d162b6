use std::ops::RangeInclusive;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use p2sam::{MethodConfig, Profile, Variant};

/// The method's settings.
#[derive(Args)]
#[command(next_help_heading = "Method")]
pub struct MethodArgs {
    /// `paper` is the published method, exactly; `accurate` adds the model's own mask as a candidate
    /// and weighs all evidence, for fine-tuned weights, on pictures of 512 pixels; `video` adds the mask of the frame before as a
    /// candidate and a gate that tells whether the object is in view; `fast` is `video` on pictures
    /// of 512 pixels.
    #[arg(long, value_name = "NAME", default_value = "paper")]
    profile: Profile,
    /// Numbers of positive parts to try, A..B or one number (paper: 1..5, video: 1..3, fast: 1..2).
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
    /// Whether results without the object are left empty: on, off, or as the profile has it.
    #[arg(long, value_name = "on|off")]
    gate: Option<Switch>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
enum VariantArg {
    /// Negative points from background parts, one mask a pass.
    Medical,
    /// PerSAM's guidance, the best of three masks.
    Perseg,
}

impl VariantArg {
    fn name(self) -> &'static str {
        match self {
            Self::Medical => "medical",
            Self::Perseg => "perseg",
        }
    }
}

#[derive(Clone)]
struct Parts(RangeInclusive<usize>);

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
            ..profile
        }
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Whether a gate is wanted.
    pub fn is_gated(&self) -> bool {
        self.gate.map_or(self.profile.is_gated(), |gate| gate == Switch::On)
    }

    /// The variant's name.
    pub fn variant(&self) -> &'static str {
        self.variant.unwrap_or(VariantArg::Medical).name()
    }
}
