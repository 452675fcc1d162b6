//! The combinations of settings that are measured.

use std::sync::Arc;

use clap::Args;
use p2sam::bench::Case;
use p2sam::{
    DEFAULT_WEIGHTS, Device, DeviceChoice, MethodConfig, Profile, Sam, find_weights_and_base,
    sha256,
};

use crate::cli::method::Parts;

/// Lists of settings, of which every combination is measured.
#[derive(Args)]
#[command(next_help_heading = "Cases")]
pub struct CaseArgs {
    /// Weights: names from `p2sam weights list`, or files.
    #[arg(long, value_name = "NAME|FILE,...", value_delimiter = ',', default_value = DEFAULT_WEIGHTS)]
    weights: Vec<String>,
    /// Where the model runs: auto, cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE,...", value_delimiter = ',', default_value = "auto")]
    device: Vec<DeviceChoice>,
    /// Profiles of the method, as in `p2sam track`.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "paper")]
    profile: Vec<Profile>,
    /// Sides in pixels that pictures are scaled to, without padding (MobileSAM only; default: the
    /// profile's).
    #[arg(long, value_name = "PIXELS,...", value_delimiter = ',')]
    input_side: Vec<u32>,
    /// Numbers of positive parts to try, each A..B or one number (default: the profile's).
    #[arg(long, value_name = "A..B,...", value_delimiter = ',')]
    n: Vec<Parts>,
    /// Numbers of negative parts to try (default: the profile's).
    #[arg(long, value_name = "A..B,...", value_delimiter = ',')]
    m: Vec<Parts>,
}

/// One combination.
pub struct Asked {
    weights: String,
    device: DeviceChoice,
    pub profile: Profile,
    input_side: Option<u32>,
    n: Option<Parts>,
    m: Option<Parts>,
}

/// Every value, or else the one that stands for none.
fn or_none<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    match values {
        [] => vec![None],
        values => values.iter().cloned().map(Some).collect(),
    }
}

impl CaseArgs {
    /// Every combination. Weights that are not here are told before anything is measured.
    pub fn all(&self) -> anyhow::Result<Vec<Asked>> {
        let mut all = Vec::new();
        for weights in &self.weights {
            find_weights_and_base(weights)?;
            for &device in &self.device {
                for &profile in &self.profile {
                    for input_side in or_none(&self.input_side) {
                        for n in or_none(&self.n) {
                            for m in or_none(&self.m) {
                                let (weights, n) = (weights.clone(), n.clone());
                                all.push(Asked { weights, device, profile, input_side, n, m });
                            }
                        }
                    }
                }
            }
        }
        Ok(all)
    }
}

impl Asked {
    /// The method's settings.
    pub fn config(&self) -> MethodConfig {
        let config = self.profile.config();
        let range = |parts: &Option<Parts>, own| parts.as_ref().map_or(own, |p| p.0.clone());
        MethodConfig {
            n: range(&self.n, config.n.clone()),
            m: range(&self.m, config.m.clone()),
            ..config
        }
    }

    /// The model, and what the report says of the case.
    pub fn open(&self) -> anyhow::Result<(Arc<Sam>, Case)> {
        let (path, base) = find_weights_and_base(&self.weights)?;
        let device = Device::open(self.device)?;
        if let Some(note) = device.note() {
            tell!("{note}");
        }
        let sam = match base {
            Some(base) => Sam::load_adapted(&base, &path, &device)?,
            None => Sam::load(&path, None, &device)?,
        };
        if let Some(note) = sam.note() {
            tell!("note: {note}");
        }
        let sam = self.profile.fit(sam, self.input_side)?;
        let config = self.config();
        let case = Case {
            weights: self.weights.clone(),
            sha256: sha256(&path)?,
            architecture: sam.architecture().to_string(),
            device: sam.device().to_string(),
            profile: self.profile.name().to_owned(),
            input_side: sam.input_side(),
            n: [*config.n.start(), *config.n.end()],
            m: [*config.m.start(), *config.m.end()],
        };
        Ok((Arc::new(sam), case))
    }
}
