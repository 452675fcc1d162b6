use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use p2sam::{Difficulty, Phantom, PhantomOptions};

use super::outputs::{progress_bar, write_text};
use super::{Outcome, interrupt};

/// The arguments of `p2sam phantom`.
#[derive(Args)]
#[command(after_help = "Example:
  p2sam phantom -o phantom --length 4 --size 640x360
  p2sam track phantom/clip.mkv --reference phantom/masks/000000.png --truth phantom/masks -o out.mkv")]
pub struct PhantomArgs {
    /// Folder to write: clip.mkv, masks/NNNNNN.png, truth.csv, and with --images images/NNNNNN.png.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Chooses scene and motion.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Width and height in pixels.
    #[arg(long, value_name = "WxH", default_value = "640x360")]
    size: Size,
    /// Frames a second.
    #[arg(long, default_value_t = 25.0)]
    rate: f64,
    /// Length in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0)]
    length: f64,
    /// How hard the polyp is to follow.
    #[arg(long, value_enum, default_value_t = DifficultyArg::Normal)]
    difficulty: DifficultyArg,
    /// Write every frame as a picture, too. Without GStreamer this is the only form.
    #[arg(long)]
    images: bool,
    /// Keep every pixel of the video (FFV1) instead of a small file (H.264).
    #[arg(long)]
    lossless: bool,
}

#[derive(Clone, Copy)]
struct Size(u32, u32);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
        let side = |text: &str| text.parse().map_err(|_| format!("'{text}' is no side length"));
        Ok(Self(side(width)?, side(height)?))
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum DifficultyArg {
    Easy,
    Normal,
    Hard,
}

/// Runs `p2sam phantom`.
pub fn run(args: PhantomArgs) -> anyhow::Result<Outcome> {
    let frames = (args.length * args.rate).round();
    if !(1.0..=f64::from(u32::MAX)).contains(&frames) {
        bail!("{} s at {} frames a second are no clip", args.length, args.rate);
    }
    let phantom = Phantom::new(PhantomOptions {
        seed: args.seed,
        width: args.size.0,
        height: args.size.1,
        frames: frames as u32,
        frames_per_second: args.rate,
        difficulty: match args.difficulty {
            DifficultyArg::Easy => Difficulty::Easy,
            DifficultyArg::Normal => Difficulty::Normal,
            DifficultyArg::Hard => Difficulty::Hard,
        },
    })?;
    interrupt::install()?;
    let masks = args.output.join("masks");
    let images = args.images.then(|| args.output.join("images"));
    for folder in [Some(&masks), images.as_ref()].into_iter().flatten() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let mut clip = Clip::create(&args, &phantom)?;
    let mut truth = String::from("index,time,present,area\n");
    let bar = progress_bar(Some(u64::from(phantom.options().frames)));
    for index in 0..phantom.options().frames {
        if interrupt::requested() {
            break;
        }
        let frame = phantom.render(index)?;
        let time = f64::from(index) / args.rate;
        frame.mask.save_png(&masks.join(format!("{index:06}.png")))?;
        if let Some(images) = &images {
            frame.frame.save_png(&images.join(format!("{index:06}.png")))?;
        }
        writeln!(truth, "{index},{time:.6},{},{}", frame.present as u8, frame.mask.area())?;
        clip.write(&frame.frame, Duration::from_secs_f64(time))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    clip.finish()?;
    write_text(&args.output.join("truth.csv"), &truth)?;
    say!("{}: {} frames", args.output.display(), truth.lines().count() - 1);
    Ok(if interrupt::requested() { Outcome::Interrupted } else { Outcome::Done })
}

#[cfg(feature = "gstreamer")]
struct Clip(p2sam::VideoWriter);

#[cfg(feature = "gstreamer")]
impl Clip {
    fn create(args: &PhantomArgs, phantom: &Phantom) -> anyhow::Result<Self> {
        let options = phantom.options();
        let whole = options.frames_per_second.fract() == 0.0;
        let rate = options.frames_per_second;
        let frame_rate = if whole { (rate as u32, 1) } else { ((rate * 1000.0) as u32, 1000) };
        let writer = p2sam::VideoWriter::create(
            &args.output.join("clip.mkv"),
            p2sam::WriterOptions {
                width: options.width,
                height: options.height,
                par: (1, 1),
                frame_rate: Some(frame_rate),
                color: p2sam::Color::usual(options.height),
                interlacing: p2sam::Interlacing::Progressive,
                lossless: args.lossless,
            },
        )?;
        Ok(Self(writer))
    }

    fn write(&mut self, frame: &p2sam::Frame, time: Duration) -> anyhow::Result<()> {
        Ok(self.0.write(p2sam::Yuv420::from_frame(frame), time, None)?)
    }

    fn finish(self) -> anyhow::Result<()> {
        self.0.finish()?;
        Ok(())
    }
}

#[cfg(not(feature = "gstreamer"))]
struct Clip;

#[cfg(not(feature = "gstreamer"))]
impl Clip {
    fn create(args: &PhantomArgs, _: &Phantom) -> anyhow::Result<Self> {
        if !args.images || args.lossless {
            bail!("this program was built without GStreamer and writes no video; use --images");
        }
        Ok(Self)
    }

    fn write(&mut self, _: &p2sam::Frame, _: Duration) -> anyhow::Result<()> {
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        Ok(())
    }
}
