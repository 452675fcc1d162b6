//! The files that `p2sam track` writes, each only if asked for, each whole or not at all.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use p2sam::{
    CocoWriter, FrameRecord, ImageError, JsonLines, Mask, OverlayStyle, Picture, SourceInfo, Track,
};
use tempfile::TempDir;

/// What to write.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Overlay video to write: .mkv or .mp4.
    #[arg(short, long, value_name = "VIDEO")]
    pub output: Option<PathBuf>,
    /// Folder for one mask a frame (PNG, 255 on the object): NNNNNN.png, or the pictures' own names.
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,
    /// All masks in one COCO file (RLE, readable by pycocotools).
    #[arg(long, value_name = "FILE")]
    pub coco: Option<PathBuf>,
    /// One JSON object a frame: time, area, box, prompts, distance, predicted IoU, milliseconds.
    #[arg(long, value_name = "FILE")]
    pub jsonl: Option<PathBuf>,
    /// The run's summary as JSON.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Print the summary as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Colour of contour and fill, RRGGBB.
    #[arg(long, value_name = "RRGGBB", default_value = "00ff80")]
    color: Color,
    /// Width of the contour in pixels; 0 draws none.
    #[arg(long, value_name = "PIXELS", default_value_t = 2)]
    thickness: u32,
    /// Opacity of the fill, 0 to 1.
    #[arg(long, default_value_t = 0.25, value_parser = opacity)]
    opacity: f32,
    /// Draw the point prompts, too.
    #[arg(long)]
    draw_points: bool,
}

#[derive(Clone, Copy)]
struct Color([u8; 3]);

impl FromStr for Color {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        u32::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.len() == 6)
            .map(|value| Self([(value >> 16) as u8, (value >> 8) as u8, value as u8]))
            .ok_or_else(|| format!("'{text}' is no colour such as 00ff80"))
    }
}

fn opacity(text: &str) -> Result<f32, String> {
    text.parse()
        .ok()
        .filter(|v| (0.0..=1.0).contains(v))
        .ok_or_else(|| format!("'{text}' does not lie within 0 to 1"))
}

impl OutputArgs {
    fn style(&self) -> OverlayStyle {
        OverlayStyle { color: self.color.0, thickness: self.thickness, opacity: self.opacity }
    }

    /// Every file asked for, with what it is.
    pub fn listed(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [
            ("overlay", &self.output),
            ("masks", &self.masks),
            ("coco", &self.coco),
            ("frames", &self.jsonl),
            ("summary", &self.summary),
        ]
        .into_iter()
        .filter_map(|(name, path)| Some((name, path.as_deref()?)))
    }

    /// Every single file among them.
    fn files(&self) -> Vec<&Path> {
        self.listed().filter(|(name, _)| *name != "masks").map(|(_, path)| path).collect()
    }

    /// Whether anything is to be written at all, and nothing over another file of the run.
    /// `others` are further files to write.
    pub fn check(&self, inputs: &[&Path], others: &[&Path]) -> anyhow::Result<()> {
        if self.listed().next().is_none() && others.is_empty() && !self.json {
            bail!(
                "nothing to write: give -o, --masks, --coco, --jsonl, --summary or --json (of a \
                 volume also --nifti, --seg or --page)"
            );
        }
        check_names(inputs, &[&self.files(), others].concat())
    }
}

/// Whether every output can be begun, and is neither an input nor named twice.
pub fn check_names(inputs: &[&Path], outputs: &[&Path]) -> anyhow::Result<()> {
    let inputs: Vec<PathBuf> = inputs.iter().filter_map(|path| real(path)).collect();
    let mut seen: Vec<PathBuf> = Vec::new();
    for path in outputs {
        p2sam::can_write(path).with_context(|| format!("cannot write {}", path.display()))?;
        let Some(real) = real(path) else { continue };
        if inputs.contains(&real) {
            bail!("{} is an input; name another file to write", path.display());
        }
        if seen.contains(&real) {
            bail!("{} is to be written twice; name another file", path.display());
        }
        seen.push(real);
    }
    Ok(())
}

/// One name for a file, by whatever way it was named; the file itself need not exist.
fn real(path: &Path) -> Option<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        return Some(real);
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

/// The open files.
pub struct Outputs {
    overlay: Option<Overlay>,
    masks: Option<MaskFolder>,
    coco: Option<(PathBuf, CocoWriter)>,
    jsonl: Option<(PathBuf, JsonLines)>,
    written: u64,
}

impl Outputs {
    /// Opens everything asked for, so that a name that cannot be written is found at once.
    pub fn create(args: &OutputArgs, info: &SourceInfo, inputs: &Inputs) -> anyhow::Result<Self> {
        let open = |path: &Path| format!("cannot write {}", path.display());
        let coco = args.coco.as_ref().map(|path| {
            Ok::<_, anyhow::Error>((
                path.clone(),
                CocoWriter::create(path).with_context(|| open(path))?,
            ))
        });
        let jsonl = args.jsonl.as_ref().map(|path| {
            Ok::<_, anyhow::Error>((
                path.clone(),
                JsonLines::create(path).with_context(|| open(path))?,
            ))
        });
        Ok(Self {
            overlay: args
                .output
                .as_ref()
                .map(|path| Overlay::create(path, args, info))
                .transpose()?,
            masks: args.masks.as_ref().map(|path| MaskFolder::create(path, inputs)).transpose()?,
            coco: coco.transpose()?,
            jsonl: jsonl.transpose()?,
            written: 0,
        })
    }

    /// Adds a frame to every file.
    pub fn write(
        &mut self,
        picture: &Picture,
        track: &Track,
        record: &FrameRecord,
    ) -> anyhow::Result<()> {
        if let Some(overlay) = &mut self.overlay {
            overlay.write(picture, track)?;
        }
        if let Some(masks) = &self.masks {
            masks.write(picture, &track.mask)?;
        }
        if let Some((path, coco)) = &mut self.coco {
            let name = picture.path.as_ref().map_or_else(
                || format!("{:06}.png", picture.index),
                |path| path.display().to_string(),
            );
            coco.write(picture.index, name, &track.mask, track.predicted_iou)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some((path, jsonl)) = &mut self.jsonl {
            jsonl.write(record).with_context(|| format!("cannot write {}", path.display()))?;
        }
        self.written += 1;
        Ok(())
    }

    /// Gives every file its name. Returns the number of frames that each holds.
    pub fn finish(self) -> anyhow::Result<u64> {
        let mut written = self.written;
        if let Some(overlay) = self.overlay {
            written = written.min(overlay.finish()?);
        }
        if let Some((path, coco)) = self.coco {
            coco.finish().with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some((path, jsonl)) = self.jsonl {
            jsonl.finish().with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(masks) = self.masks {
            masks.finish()?;
        }
        Ok(written)
    }
}

/// Files that must not be written over.
pub struct Inputs {
    /// The pictures of a series, none for a video.
    pub pictures: Vec<PathBuf>,
    /// Every other file that is read.
    pub others: Vec<PathBuf>,
    /// The folder of true masks.
    pub truth: Option<PathBuf>,
}

/// One PNG a frame, in a folder that gets them only once all are written.
struct MaskFolder {
    folder: PathBuf,
    /// Where they are written: within the folder, or beside its name if it is not there yet.
    temporary: TempDir,
    /// Folders that this run made on the way, the innermost first.
    made: Vec<PathBuf>,
    /// Whether the pictures' own names tell them apart.
    own_names: bool,
}

impl MaskFolder {
    fn create(folder: &Path, inputs: &Inputs) -> anyhow::Result<Self> {
        let mut names: Vec<_> = inputs.pictures.iter().filter_map(|p| p.file_stem()).collect();
        names.sort();
        names.dedup();
        let own_names = !names.is_empty() && names.len() == inputs.pictures.len();
        Self::check(folder, own_names, inputs)?;
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let place = if folder.is_dir() { folder } else { parent };
        let what = || format!("cannot make the folder {}", folder.display());
        if folder.exists() && !folder.is_dir() {
            bail!("cannot make the folder {}: there is a file of that name", folder.display());
        }
        let missing = place.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists());
        let made: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        std::fs::create_dir_all(place).with_context(what)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{name}.part-");
        builder.prefix(&prefix);
        // The mode of an ordinary new folder, less the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let temporary =
            builder.tempdir_in(place).map_err(|e| e.kind()).map_err(std::io::Error::from);
        let temporary = temporary.inspect_err(|_| remove_empty(&made)).with_context(what)?;
        Ok(Self { folder: folder.to_path_buf(), temporary, made, own_names })
    }

    /// Whether a mask would be written over a file that is read.
    fn check(folder: &Path, own_names: bool, inputs: &Inputs) -> anyhow::Result<()> {
        let here = real(folder);
        if inputs.truth.as_ref().is_some_and(|truth| real(truth) == here) {
            bail!("{} holds the true masks; name another folder", folder.display());
        }
        let numbered = |path: &Path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            stem.len() >= 6 && stem.bytes().all(|b| b.is_ascii_digit())
        };
        let own: Vec<_> = inputs.pictures.iter().filter_map(|p| p.file_stem()).collect();
        for path in inputs.pictures.iter().chain(&inputs.others) {
            let same_folder = real(path).is_some_and(|p| p.parent() == here.as_deref());
            let png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
            let taken = if own_names {
                path.file_stem().is_some_and(|stem| own.contains(&stem))
            } else {
                numbered(path)
            };
            if same_folder && png && taken {
                bail!("a mask would overwrite {}; name another folder for --masks", path.display());
            }
        }
        Ok(())
    }

    /// Writes a picture's mask.
    fn write(&self, picture: &Picture, mask: &Mask) -> anyhow::Result<()> {
        let stem = picture.path.as_ref().filter(|_| self.own_names).and_then(|p| p.file_stem());
        let name = match stem {
            Some(stem) => format!("{}.png", stem.to_string_lossy()),
            None => format!("{:06}.png", picture.index),
        };
        mask.save_png(&self.temporary.path().join(&name)).map_err(|error| match error {
            // Without the temporary name that nobody asked for.
            ImageError::Write { reason, .. } => {
                ImageError::Write { path: self.folder.join(name), reason }.into()
            }
            error => anyhow::Error::from(error),
        })
    }

    /// Gives all masks their place.
    fn finish(mut self) -> anyhow::Result<()> {
        let what = || format!("cannot write into {}", self.folder.display());
        if self.folder.is_dir() {
            for entry in std::fs::read_dir(self.temporary.path()).with_context(what)? {
                let entry = entry.with_context(what)?;
                std::fs::rename(entry.path(), self.folder.join(entry.file_name()))
                    .with_context(what)?;
            }
        } else {
            std::fs::rename(self.temporary.path(), &self.folder).with_context(what)?;
            self.temporary.disable_cleanup(true);
        }
        self.made.clear();
        Ok(())
    }
}

impl Drop for MaskFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.temporary.path());
        remove_empty(&self.made);
    }
}

fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        // Fails, as it should, once somebody has put something into it.
        let _ = std::fs::remove_dir(folder);
    }
}

#[cfg(feature = "gstreamer")]
struct Overlay {
    writer: p2sam::VideoWriter,
    style: OverlayStyle,
    points: bool,
}

#[cfg(feature = "gstreamer")]
impl Overlay {
    fn create(path: &Path, args: &OutputArgs, info: &SourceInfo) -> anyhow::Result<Self> {
        let writer = p2sam::VideoWriter::create(path, p2sam::WriterOptions::like(info))?;
        Ok(Self { writer, style: args.style(), points: args.draw_points })
    }

    fn write(&mut self, picture: &Picture, track: &Track) -> anyhow::Result<()> {
        let mut yuv = picture.yuv420()?;
        p2sam::draw_mask(&mut yuv, &track.mask, &self.style);
        if self.points {
            p2sam::draw_points(&mut yuv, &track.points);
        }
        Ok(self.writer.write(yuv, picture.pts, picture.duration)?)
    }

    fn finish(self) -> anyhow::Result<u64> {
        Ok(self.writer.finish()?.frames)
    }
}

#[cfg(not(feature = "gstreamer"))]
struct Overlay;

#[cfg(not(feature = "gstreamer"))]
impl Overlay {
    fn create(path: &Path, args: &OutputArgs, _: &SourceInfo) -> anyhow::Result<Self> {
        let _ = (args.style(), args.draw_points);
        bail!("{}: this program was built without GStreamer and writes no video", path.display())
    }

    fn write(&mut self, _: &Picture, _: &Track) -> anyhow::Result<()> {
        Ok(())
    }

    fn finish(self) -> anyhow::Result<u64> {
        Ok(u64::MAX)
    }
}

/// A progress bar with the time left, on a terminal only.
pub fn progress_bar(total: Option<u64>) -> ProgressBar {
    progress_bar_of("frames", total)
}

/// The same of other things than frames.
pub fn progress_bar_of(things: &str, total: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total {
        Some(total) => {
            let template =
                format!("{{bar:30}} {{pos}}/{{len}} {things}, {{per_sec}}, {{eta}} left");
            (ProgressBar::new(total), template)
        }
        None => (ProgressBar::no_length(), format!("{{spinner}} {{pos}} {things}, {{per_sec}}")),
    };
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Writes a text file whole or not at all.
pub fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    p2sam::write_whole(path, |file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
