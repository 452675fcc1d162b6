use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use p2sam::{
    Architecture, Augmentation, DEFAULT_WEIGHTS, DataSet, Device, DeviceChoice, FinetuneOptions,
    Foreground, LoraConfig, MetricsLine, PresenceScores, Recipe, Sam, Split, Start, TrainedPart,
    TrainingData, Validation, find_weights, find_weights_and_base, finetune, inspect, validate,
};

use super::model::NormalisationArg;
use super::weights::key_value;
use super::{Outcome, interrupt};

/// The arguments of `p2sam finetune`.
#[derive(Args)]
#[command(after_help = "Example:
  p2sam finetune --data kvasir-seg --out runs/polyp --recipe polyp
  p2sam track clip.mkv --weights runs/polyp/best.bpk --reference mask.png -o out.mkv

A run that was stopped goes on where it was when the same command is given again.")]
pub struct FinetuneArgs {
    /// Folders with `images` and `masks`, files of the same stem; validation scores are means over
    /// them. Images whose mask is empty teach absence. With a recipe that names its data sets, the one
    /// folder that holds them.
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Folders of images without masks that do not show the object: they teach absence.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    absent_data: Vec<PathBuf>,
    /// Folder of the run: state.bin, best.bpk or adapter.safetensors (give it to --weights),
    /// metrics.jsonl.
    #[arg(short, long, value_name = "DIR", required_unless_present = "validate_only")]
    out: Option<PathBuf>,
    /// Train nothing: score the weights on the pictures held out, by data set.
    #[arg(long, conflicts_with = "out")]
    validate_only: bool,
    /// Which grey levels of the masks are the object.
    #[arg(long, value_enum, default_value = "above-middle")]
    foreground: ForegroundArg,
    #[command(flatten)]
    held_out: HeldOutArgs,
    #[command(flatten)]
    model: StartArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Validation")]
struct HeldOutArgs {
    /// Share of the patients that is held out.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    validation: f64,
    /// Hold out the pictures that this file names, one stem a line, and the rest of their patients.
    #[arg(long, value_name = "FILE", conflicts_with = "validation")]
    validation_list: Option<PathBuf>,
    /// A patient is the part of a picture's name before this text. Without it every picture counts
    /// as a patient of its own.
    #[arg(long, value_name = "TEXT")]
    patient_ends_at: Option<String>,
    /// File of lines `name,patient`: which pictures are of one patient, or the same one twice.
    #[arg(long, value_name = "FILE")]
    patients: Option<PathBuf>,
    /// Steps from one validation to the next.
    #[arg(long, value_name = "STEPS")]
    validate_every: Option<u64>,
    /// Stop after so many validations without a better score.
    #[arg(long, value_name = "TIMES")]
    patience: Option<u64>,
}

#[derive(Args)]
#[command(next_help_heading = "Model")]
struct StartArgs {
    /// Weights to start from: a name from `p2sam weights list`, or a file.
    /// [default: the recipe's, or mobile-sam]
    #[arg(long, value_name = "NAME|FILE")]
    weights: Option<String>,
    /// Keep the image encoder's features of each picture in this folder, for later epochs and runs;
    /// for --train decoder. A changed picture has other features, so the pictures are trained on as
    /// they are, without augmentation. Half a megabyte a picture at an input of 512, four times that
    /// at 1024; may be removed at any time.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Where the model is trained: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// The model's architecture, if the weights' own tensors are not to decide.
    #[arg(long, value_name = "NAME")]
    architecture: Option<Architecture>,
    /// How pixel values enter the model.
    #[arg(long, value_enum)]
    normalisation: Option<NormalisationArg>,
    /// What is kept: the best model, or only what was learnt.
    #[arg(long, value_enum, default_value = "model")]
    save: SaveArg,
    /// Store it as 16-bit floats: half the size.
    #[arg(long)]
    half: bool,
    /// What an adapter says of itself (data, licence) beside recipe and score; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    metadata: Vec<(String, String)>,
}

/// Without a value each option is the recipe's.
#[derive(Args)]
#[command(next_help_heading = "Recipe")]
struct RecipeArgs {
    /// Where the settings below come from unless given: `published` (Zhao & Shen 2025: input 1024, 11
    /// passes, 100 epochs), `polyp` (input 512, 2 passes, 20 epochs, absence) or a recipe file, which
    /// may name data sets, too (weights/polyp-1.toml is one).
    #[arg(long, value_name = "NAME|FILE", default_value = "polyp")]
    recipe: String,
    /// What learns.
    #[arg(long, value_enum)]
    train: Option<TrainArg>,
    /// Columns of LoRA's matrices.
    #[arg(long)]
    rank: Option<usize>,
    /// LoRA's product is scaled by alpha / rank.
    #[arg(long)]
    alpha: Option<f32>,
    /// LoRA for the linear layers of each block's MLP, too, not only of its attention.
    #[arg(long)]
    lora_mlp: bool,
    /// Longest side of a picture in the model's input, a multiple of 64 (a plain ViT: 1024 only).
    #[arg(long, value_name = "PIXELS")]
    input_side: Option<u32>,
    /// Pictures of a forward pass.
    #[arg(long)]
    batch: Option<usize>,
    /// Batches of a step of the optimiser.
    #[arg(long, value_name = "BATCHES")]
    accumulate: Option<usize>,
    /// Decoder passes for each picture: one first prompt, the rest refine.
    #[arg(long, value_name = "PASSES")]
    steps_per_image: Option<usize>,
    /// Share of the batches whose first pass gets no prompt (default one third); the others get a
    /// point or a noisy box.
    #[arg(long, value_name = "SHARE")]
    no_prompt_share: Option<f32>,
    /// Whether refining passes train the image encoder, too.
    #[arg(long, value_name = "true|false")]
    attached: Option<bool>,
    /// How often each picture is seen.
    #[arg(long)]
    epochs: Option<f64>,
    /// At most so many steps.
    #[arg(long, value_name = "STEPS")]
    max_steps: Option<u64>,
    /// Largest learning rate.
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// AdamW's weight decay.
    #[arg(long)]
    weight_decay: Option<f32>,
    /// Share of the steps in which the learning rate rises.
    #[arg(long, value_name = "SHARE")]
    warm_up: Option<f64>,
    /// Largest norm of a step's gradient.
    #[arg(long, value_name = "NORM")]
    clip: Option<f32>,
    /// Share of the pictures in place of which one without the object is seen.
    #[arg(long, value_name = "SHARE")]
    absent_share: Option<f32>,
    /// Whether an object score is trained beside the predicted IoU: whether the object is in view.
    #[arg(long, value_name = "true|false")]
    object_score: Option<bool>,
    /// How much of the average of the weights over steps is kept at each step; that average is what is
    /// validated and kept. 0: no average.
    #[arg(long, value_name = "SHARE")]
    average: Option<f64>,
    /// How pictures are changed at random.
    #[arg(long, value_enum)]
    augmentation: Option<AugmentationArg>,
    /// The same as --augmentation none.
    #[arg(long, conflicts_with = "augmentation")]
    no_augmentation: bool,
    /// Chooses data order, prompts, augmentation and the pictures held out.
    #[arg(long)]
    seed: Option<u64>,
    /// Steps from one saved state to the next.
    #[arg(long, value_name = "STEPS")]
    save_every: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum AugmentationArg {
    /// Not at all.
    None,
    /// Flips, crops, light, colour, blur, glints.
    Plain,
    /// These, wider, and what differs between scopes: aspect, view, insets, text, compression.
    Scopes,
}

#[derive(Clone, Copy, ValueEnum)]
enum TrainArg {
    /// All of the model.
    Full,
    /// Prompt encoder and mask decoder.
    Decoder,
    /// These, and LoRA's thin matrices beside the attention's linear layers of the image encoder.
    Lora,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum SaveArg {
    /// best.bpk: a whole model.
    Model,
    /// adapter.safetensors: what was learnt, for the weights that training started from.
    Adapter,
}

#[derive(Clone, Copy, ValueEnum)]
enum ForegroundArg {
    /// Any level above 0.
    AboveZero,
    /// Levels above the middle.
    AboveMiddle,
}

impl FinetuneArgs {
    /// The recipe, by name or from its file.
    fn recipe(&self) -> anyhow::Result<Recipe> {
        let of = |training| Recipe {
            weights: None,
            data: Vec::new(),
            held_out: None,
            patients: None,
            training,
        };
        Ok(match self.recipe.recipe.as_str() {
            "published" => of(FinetuneOptions::default()),
            "polyp" => of(FinetuneOptions::polyp()),
            file => Recipe::open(file.as_ref())
                .with_context(|| format!("--recipe {file}: neither published, polyp nor a file"))?,
        })
    }

    fn options(&self, recipe: &Recipe) -> FinetuneOptions {
        let (given, base) = (&self.recipe, recipe.training.clone());
        let augmentation = given.augmentation.map(|augmentation| match augmentation {
            AugmentationArg::None => Augmentation::None,
            AugmentationArg::Plain => Augmentation::Plain,
            AugmentationArg::Scopes => Augmentation::Scopes,
        });
        let unchanged = given.no_augmentation || self.model.cache.is_some();
        FinetuneOptions {
            part: match given.train {
                None => base.part,
                Some(TrainArg::Full) => TrainedPart::Full,
                Some(TrainArg::Decoder) => TrainedPart::Decoder,
                Some(TrainArg::Lora) => TrainedPart::Lora,
            },
            lora: LoraConfig {
                rank: given.rank.unwrap_or(base.lora.rank),
                alpha: given.alpha.unwrap_or(base.lora.alpha),
                mlp: given.lora_mlp || base.lora.mlp,
            },
            input_side: given.input_side.unwrap_or(base.input_side),
            batch: given.batch.unwrap_or(base.batch),
            accumulate: given.accumulate.unwrap_or(base.accumulate),
            passes: given.steps_per_image.unwrap_or(base.passes),
            no_prompt_share: given.no_prompt_share.unwrap_or(base.no_prompt_share),
            attached: given.attached.unwrap_or(base.attached),
            epochs: given.epochs.unwrap_or(base.epochs),
            max_steps: given.max_steps.or(base.max_steps),
            learning_rate: given.lr.unwrap_or(base.learning_rate),
            final_learning_rate: base.final_learning_rate,
            warm_up: given.warm_up.unwrap_or(base.warm_up),
            weight_decay: given.weight_decay.unwrap_or(base.weight_decay),
            clip: given.clip.or(base.clip),
            seed: given.seed.unwrap_or(base.seed),
            object_score: given.object_score.unwrap_or(base.object_score),
            absent_share: given.absent_share.unwrap_or(base.absent_share),
            average: given.average.unwrap_or(base.average),
            augment: match unchanged {
                true => Augmentation::None,
                false => augmentation.unwrap_or(base.augment),
            },
            validate_every: self.held_out.validate_every.unwrap_or(base.validate_every),
            save_every: given.save_every.unwrap_or(base.save_every),
            patience: self.held_out.patience.or(base.patience),
            half: self.model.half || base.half,
            adapter: self.model.save == SaveArg::Adapter || base.adapter,
        }
    }

    fn data(&self, recipe: &Recipe, seed: u64) -> anyhow::Result<TrainingData> {
        let foreground = match self.foreground {
            ForegroundArg::AboveZero => Foreground::AboveZero,
            ForegroundArg::AboveMiddle => Foreground::AboveMiddle,
        };
        let mut sets = match (recipe.data.is_empty(), &self.data[..]) {
            (true, folders) => folders
                .iter()
                .map(|folder| DataSet::annotated(folder, foreground))
                .collect::<Result<_, _>>()?,
            (false, [root]) => recipe.data(root, foreground)?,
            (false, _) => anyhow::bail!(
                "the recipe names its data sets: give --data the one folder that holds them"
            ),
        };
        for folder in &self.absent_data {
            sets.push(DataSet::without_object(folder)?);
        }
        let held_out = &self.held_out;
        let list = held_out.validation_list.as_ref().or(recipe.held_out.as_ref());
        let patients = held_out.patients.as_ref().or(recipe.patients.as_ref());
        let split = Split {
            validation: match list {
                None => Validation::Share(held_out.validation),
                Some(path) => Split::named(path)?,
            },
            patient_ends_at: held_out.patient_ends_at.clone(),
            patients: patients.map(|path| Split::patients(path)).transpose()?.unwrap_or_default(),
        };
        Ok(TrainingData::new(sets, &split, seed)?)
    }
}

/// Runs `p2sam finetune`.
pub fn run(args: FinetuneArgs) -> anyhow::Result<Outcome> {
    let recipe = args.recipe()?;
    let options = args.options(&recipe);
    let data = args.data(&recipe, options.seed)?;
    if let Some(first) = data.skipped.first() {
        tell!(
            "{} pictures are left out, as their masks cover them: {first} and so on",
            data.skipped.len()
        );
    }
    if data.held_out.is_empty() {
        tell!("no pictures are held out: the weights of the last step will be kept");
    }
    let device = Device::open(args.model.device)?;
    if let Some(note) = device.note() {
        tell!("{note}");
    }
    let weights = args.model.weights.as_deref().or(recipe.weights.as_deref());
    let weights = weights.unwrap_or(DEFAULT_WEIGHTS);
    let Some(folder) = args.out.clone() else {
        return score(&args, &options, &data, weights);
    };
    let weights = find_weights(weights)?;
    if let Some(note) = inspect(&weights, None)?.copies.note() {
        tell!("note: {note} (`p2sam weights convert` takes it)");
    }
    let start = Start {
        weights,
        architecture: args.model.architecture,
        normalisation: args.model.normalisation.map(Into::into),
        device,
        folder,
        metadata: args.model.metadata.into_iter().collect(),
        cache: args.model.cache.clone(),
    };
    tell!(
        "{} pictures with the object to train on and {} without it, {} held out{}; {} steps",
        data.train.len(),
        data.absent.len(),
        data.held_out.len(),
        match data.beside {
            0 => String::new(),
            beside => format!(", {beside} more of their patients left out"),
        },
        options.steps(data.train.len())
    );
    interrupt::install()?;
    let done = finetune(&start, &data, &options, &mut show, &interrupt::requested)?;
    let (step, steps) = done.steps;
    say!("steps:    {step} of {steps}, {:.0} s in all", done.seconds);
    if let Some((score, step)) = done.best {
        say!("best:     score {score:.4} after step {step}");
    }
    match &done.weights {
        Some(path) => say!("weights:  {}", path.display()),
        None => say!("weights:  none better than the first yet"),
    }
    if done.early {
        say!("ended early: no better score in the last validations");
    }
    if done.interrupted {
        say!("stopped; the same command goes on with it");
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

/// Scores weights on what is held out.
fn score(
    args: &FinetuneArgs,
    options: &FinetuneOptions,
    data: &TrainingData,
    weights: &str,
) -> anyhow::Result<Outcome> {
    if data.held_out.is_empty() {
        anyhow::bail!("no pictures are held out: give --validation or --validation-list");
    }
    let (path, base) = find_weights_and_base(weights)?;
    let device = Device::open(args.model.device)?;
    let sam = match &base {
        Some(base) => Sam::load_adapted(base, &path, &device)?,
        None => Sam::load(&path, args.model.architecture, &device)?,
    };
    let sam = match sam.architecture().takes_any_size() {
        true => sam.with_trimmed_input(options.input_side)?,
        false => sam,
    };
    let scores = validate(&sam, data, options.seed)?;
    say!("{:<16} images  no prompt   point     box  found  absent", "data set");
    let line = |name: &str, images: String, dice: [f64; 3], known: Option<PresenceScores>| {
        let share = |value: f64| match value.is_finite() {
            true => format!("{value:.3}"),
            false => "-".to_owned(),
        };
        let known = known.map(|k| [share(k.found), share(k.absent)]);
        let [found, absent] = known.unwrap_or_else(|| ["-", "-"].map(str::to_owned));
        let [direct, point, bounding_box] = dice;
        say!(
            "{name:<16} {images:>6}  {direct:>9.4} {point:>7.4} {bounding_box:>7.4}  {found:>5}  \
             {absent:>6}"
        );
    };
    for set in &scores.sets {
        let dice = [set.direct, set.point, set.bounding_box];
        line(&set.name, set.images.to_string(), dice, set.presence);
    }
    let dice = [scores.direct, scores.point, scores.bounding_box];
    line("mean", String::new(), dice, scores.presence);
    Ok(Outcome::Done)
}

/// One line for a line of the log.
fn show(line: &MetricsLine) {
    match line {
        MetricsLine::Step { step, steps, losses, rate, seconds } => {
            let l = losses;
            tell!(
                "step {step}/{steps}  loss {:.4} (dice {:.4}, focal {:.5}, iou {:.4}, object {:.4})  \
                 IoU {:.3} -> {:.3}  gradient {:.2}  lr {rate:.2e}  {seconds:.2} s",
                l.loss,
                l.dice,
                l.focal,
                l.iou_error,
                l.object,
                l.first_iou,
                l.last_iou,
                l.gradient
            );
        }
        MetricsLine::Validation { step, scores, best, seconds } => {
            let best = if *best { "  best so far" } else { "" };
            tell!(
                "validation after step {step}: Dice direct {:.4}, point {:.4}, box {:.4}{}; score \
                 {:.4}  {seconds:.1} s{best}",
                scores.direct,
                scores.point,
                scores.bounding_box,
                match scores.presence {
                    Some(known) => format!(
                        "; with the object {:.3}, without {:.3} known",
                        known.found, known.absent
                    ),
                    None => String::new(),
                },
                scores.score()
            );
        }
    }
}
