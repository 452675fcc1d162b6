use anyhow::bail;
use clap::{Args, ValueEnum};
use p2sam::{
    Architecture, DEFAULT_WEIGHTS, Device, DeviceChoice, LoadOptions, Normalisation, Profile, Sam,
    find_weights_and_base,
};

/// The model and where it runs.
#[derive(Args, Clone)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Weights: a name from `p2sam weights list`, or a file (.pt, .pth, .safetensors, or converted; an
    /// adapter's base is found by itself).
    #[arg(long, value_name = "NAME|FILE", default_value = DEFAULT_WEIGHTS)]
    pub weights: String,
    /// Where the model runs: auto, cpu, cuda or cuda:N. `auto` takes the CPU if there is no GPU.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// The model's architecture, if the weights' own tensors are not to decide.
    #[arg(long, value_name = "NAME")]
    pub architecture: Option<Architecture>,
    /// Which copy of the model, if a training program's file holds several (`model`, `ema`).
    #[arg(long, value_name = "KEY")]
    pub checkpoint_key: Option<String>,
    /// How pixel values enter the model. MedSAM's ViT weights need `min-max`.
    #[arg(long, value_enum)]
    pub normalisation: Option<NormalisationArg>,
    /// Scale pictures to this many pixels, without padding (MobileSAM only): a multiple of 64.
    #[arg(long, value_name = "PIXELS")]
    pub input_side: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum NormalisationArg {
    /// ImageNet's mean and standard deviation.
    MeanStd,
    /// Smallest value to 0, largest to 1.
    MinMax,
}

impl From<NormalisationArg> for Normalisation {
    fn from(argument: NormalisationArg) -> Self {
        match argument {
            NormalisationArg::MeanStd => Self::MeanStd,
            NormalisationArg::MinMax => Self::MinMax,
        }
    }
}

impl ModelArgs {
    /// Name of the normalisation that was asked for, `default` if none was.
    pub fn normalisation_name(&self) -> &'static str {
        match self.normalisation {
            Some(NormalisationArg::MeanStd) => "mean-std",
            Some(NormalisationArg::MinMax) => "min-max",
            None => "default",
        }
    }

    /// The model with the input size that was asked for, or else a profile's.
    pub fn load_for(&self, profile: Profile) -> anyhow::Result<Sam> {
        Ok(profile.fit(self.open()?, self.input_side)?)
    }

    /// The model with the input size that was asked for, or else its own.
    pub fn load(&self) -> anyhow::Result<Sam> {
        let sam = self.open()?;
        Ok(match self.input_side {
            Some(side) => sam.with_trimmed_input(side)?,
            None => sam,
        })
    }

    /// Opens the device, says what `auto` chose, and loads the weights.
    fn open(&self) -> anyhow::Result<Sam> {
        let (path, base) = find_weights_and_base(&self.weights)?;
        let device = Device::open(self.device)?;
        if let Some(note) = device.note() {
            tell!("{note}");
        }
        let sam = match base {
            Some(_) if self.checkpoint_key.is_some() => bail!(
                "{} is an adapter, which holds no copies of a model: leave --checkpoint-key out",
                path.display()
            ),
            Some(base) => Sam::load_adapted(&base, &path, &device)?,
            None => {
                let options = LoadOptions {
                    architecture: self.architecture,
                    checkpoint_key: self.checkpoint_key.clone(),
                };
                Sam::load_with(&path, &options, &device)?
            }
        };
        if let Some(note) = sam.note() {
            tell!("note: {note}");
        }
        Ok(match self.normalisation {
            Some(normalisation) => sam.with_normalisation(normalisation.into()),
            None => sam,
        })
    }
}
