use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use p2sam::eval::{FitImage, fit_presence};
use p2sam::{
    DataSet, Foreground, LoadOptions, Metadata, PRESENCE, Profile, Recipe, Split, TrainingData,
    TrainingImage, Validation, convert, find_weights_and_base,
};

use super::model::ModelArgs;
use super::outputs::progress_bar;
use super::{Outcome, interrupt};

/// The arguments of `p2sam weights presence`.
#[derive(Args)]
#[command(after_help = "Example:
  p2sam weights presence --weights runs/polyp/best.bpk --recipe weights/polyp-1.toml --data data -o polyp.safetensors")]
pub struct PresenceArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Folders with `images` and `masks`; with --recipe, the one folder that holds its data sets.
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Folders of images without masks that do not show the object.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    absent_data: Vec<PathBuf>,
    /// Take the images that this recipe of `finetune` holds out: the weights have not seen them.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// At most so many images, evenly chosen.
    #[arg(long, value_name = "COUNT", default_value_t = 150)]
    most: usize,
    /// Chooses how images are changed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The weights with the constants, a file named .safetensors; without it they are only printed.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Store 16-bit floats: half the size.
    #[arg(long)]
    half: bool,
}

/// Runs `p2sam weights presence`.
pub fn run(args: &PresenceArgs) -> anyhow::Result<Outcome> {
    if let Some(output) = &args.output
        && output.extension().is_none_or(|end| end != "safetensors")
    {
        bail!("{}: only files named .safetensors hold the constants", output.display());
    }
    let images = images(args)?;
    let sam = Arc::new(args.model.load_for(Profile::Accurate)?);
    interrupt::install()?;
    let bar = progress_bar(Some(images.len() as u64));
    let report = |done: usize| bar.set_position(done as u64);
    let fitted = fit_presence(&sam, &images, args.seed, &report, &|| !interrupt::requested())?;
    bar.finish_and_clear();
    let Some(fitted) = fitted else { return Ok(Outcome::Interrupted) };
    let constants = serde_json::to_string(&fitted.model)?;
    say!("frames     {} judged, {} with the mask on the object", fitted.frames, fitted.present);
    say!(
        "shown      {:.3} of these and {:.3} of the others, by constants of other images",
        fitted.shown,
        fitted.shown_wrong
    );
    if let Some(separation) = fitted.separation {
        say!("separation {separation:.3}");
    }
    say!("constants  {constants}");
    if let Some(output) = &args.output {
        let (from, base) = find_weights_and_base(&args.model.weights)?;
        let metadata = Metadata::from([(PRESENCE.to_owned(), constants)]);
        let options = LoadOptions {
            architecture: args.model.architecture,
            checkpoint_key: args.model.checkpoint_key.clone(),
        };
        convert(&from, base.as_ref(), &options, output, args.half, &metadata)?;
        say!("weights    {}", output.display());
    }
    Ok(Outcome::Done)
}

/// The images to learn from: what a recipe holds out, or all.
fn images(args: &PresenceArgs) -> anyhow::Result<Vec<FitImage>> {
    let foreground = Foreground::AboveMiddle;
    let recipe = args.recipe.as_deref().map(Recipe::open).transpose()?;
    let mut sets = match (&recipe, &args.data[..]) {
        (Some(recipe), [root]) => recipe.data(root, foreground)?,
        (Some(_), _) => bail!("with --recipe, give --data the one folder that holds its data sets"),
        (None, folders) => folders
            .iter()
            .map(|folder| DataSet::annotated(folder, foreground))
            .collect::<Result<_, _>>()?,
    };
    for folder in &args.absent_data {
        sets.push(DataSet::without_object(folder)?);
    }
    let held_out = recipe.as_ref().and_then(|recipe| recipe.held_out.as_ref());
    let patients = recipe.as_ref().and_then(|recipe| recipe.patients.as_ref());
    let split = Split {
        patients: patients.map(|path| Split::patients(path)).transpose()?.unwrap_or_default(),
        ..Split::new(match held_out {
            Some(path) => Split::named(path)?,
            None => Validation::Share(0.0),
        })
    };
    let data = TrainingData::new(sets, &split, 0)?;
    let all: Vec<&TrainingImage> = match held_out {
        Some(_) => data.held_out.iter().collect(),
        None => data.train.iter().chain(&data.absent).collect(),
    };
    let step = all.len().div_ceil(args.most.max(1)).max(1);
    let mut objects: HashMap<(usize, String), usize> = HashMap::new();
    all.into_iter()
        .step_by(step)
        .map(|image| {
            let next = objects.len();
            let object = *objects.entry((image.set, split.patient(&image.name))).or_insert(next);
            let (frame, mask) = image.read()?;
            Ok(FitImage { frame, mask, object })
        })
        .collect()
}
