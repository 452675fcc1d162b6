use std::ops::RangeInclusive;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use p2sam::{MethodConfig, Variant};

/// The method's settings.
#[derive(Args)]
#[command(next_help_heading = "Method")]
pub struct MethodArgs {
    /// `paper` is the published method, exactly.
    #[arg(long, value_enum, default_value_t = Profile::Paper)]
    profile: Profile,
    /// Numbers of positive parts to try, A..B or one number.
    #[arg(long, value_name = "A..B", default_value = "1..5")]
    n: Parts,
    /// Numbers of negative parts to try, A..B or one number.
    #[arg(long, value_name = "A..B", default_value = "1")]
    m: Parts,
    /// The published variant.
    #[arg(long, value_enum, default_value_t = VariantArg::Medical)]
    variant: VariantArg,
    /// Seed of k-means.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    Paper,
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
        MethodConfig {
            n: self.n.0.clone(),
            m: self.m.0.clone(),
            variant: match self.variant {
                VariantArg::Medical => Variant::Medical,
                VariantArg::Perseg => Variant::PerSeg,
            },
            seed: self.seed,
        }
    }

    /// The profile's name.
    pub fn profile(&self) -> &'static str {
        match self.profile {
            Profile::Paper => "paper",
        }
    }

    /// The variant's name.
    pub fn variant(&self) -> &'static str {
        self.variant.name()
    }
}
