use std::path::PathBuf;

use clap::Args;
use p2sam::{Frame, Mask, OverlayStyle, SourceOptions, draw_box, draw_mask, draw_points};

use super::Outcome;
use super::model::ModelArgs;
use super::outputs::check_names;
use super::reference::{BoxArg, PromptArgs, ReferencePictureArgs};

/// The arguments of `p2sam annotate`.
#[derive(Args)]
#[command(after_help = "Examples:
  p2sam annotate clip.mp4 --point 320,180 -o mask.png --overlay look.png
  p2sam annotate clip.mp4 --reference-frame 12.5s --box 250,120,400,260 -o mask.png
  p2sam track clip.mp4 --reference mask.png -o overlay.mkv")]
pub struct AnnotateArgs {
    /// A video, a picture, a folder or pattern of pictures, or a list of them (.txt).
    input: PathBuf,
    /// The mask to write (PNG).
    #[arg(short, long, value_name = "MASK")]
    output: PathBuf,
    /// A picture of mask and prompts over the frame, to look at (PNG).
    #[arg(long, value_name = "FILE")]
    overlay: Option<PathBuf>,
    /// Which of several video tracks, from 0 in the file's order [default: the one that players show].
    #[arg(long, value_name = "N")]
    track: Option<usize>,
    #[command(flatten)]
    picture: ReferencePictureArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    #[command(flatten)]
    model: ModelArgs,
}

/// Runs `p2sam annotate`.
pub fn run(args: AnnotateArgs) -> anyhow::Result<Outcome> {
    if args.prompts.is_empty() {
        anyhow::bail!("give --point or --box to say where the object is");
    }
    for path in [Some(&args.output), args.overlay.as_ref()].into_iter().flatten() {
        if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) {
            anyhow::bail!("{}: masks and overlays are PNG files; name it .png", path.display());
        }
    }
    let options = SourceOptions { track: args.track, ..SourceOptions::default() };
    let (picture, place) = args.picture.picture(&args.input, &options)?;
    args.prompts.check(&picture)?;
    let outputs = [Some(&args.output), args.overlay.as_ref()];
    let outputs: Vec<_> = outputs.into_iter().flatten().map(PathBuf::as_path).collect();
    let inputs: Vec<_> = [args.input.as_path()].into_iter().chain(args.picture.files()).collect();
    check_names(&inputs, &outputs)?;
    let sam = args.model.load()?;
    let (mask, predicted_iou) = args.prompts.mask(&sam, &sam.encode(&picture)?)?;
    mask.save_png(&args.output)?;
    if let Some(path) = &args.overlay {
        overlay(picture, &mask, &args.prompts).save_png(path)?;
    }
    let share = 100.0 * mask.area() as f64 / mask.data().len() as f64;
    say!(
        "{}: {} pixels ({share:.1} % of {place}), predicted IoU {predicted_iou:.2}",
        args.output.display(),
        mask.area()
    );
    Ok(Outcome::Done)
}

fn overlay(mut picture: Frame, mask: &Mask, prompts: &PromptArgs) -> Frame {
    draw_mask(&mut picture, mask, &OverlayStyle::default());
    if let Some(BoxArg(corners)) = prompts.bounding_box {
        draw_box(&mut picture, corners, [255, 255, 255]);
    }
    draw_points(&mut picture, &prompts.point_prompts());
    picture
}
