//! What is followed while it is measured: a file, or the synthetic clip in a temporary folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use p2sam::bench::{MeasureError, Stages};
use p2sam::{
    Annotation, Foreground, Frame, OverlayStyle, Phantom, PhantomOptions, Picture, Source,
    SourceOptions, Track, Yuv420, draw_mask, open_recording,
};
use tempfile::TempDir;

use crate::cli::interrupt;
use crate::cli::reference::{Annotated, ReferenceArgs};

/// Pictures that are kept in memory at most, and the bytes that they may take.
const KEPT: usize = 250;
const MOST_BYTES: usize = 1 << 30;
/// Frames of the synthetic clip, and how many make a second.
const CLIP: (u32, f64) = (40, 10.0);

/// An input and its first annotated picture.
pub struct Clip {
    path: PathBuf,
    name: String,
    size: [u32; 2],
    /// The mask of the synthetic clip's first picture.
    mask: Option<PathBuf>,
    folder: Option<PathBuf>,
    _temporary: Option<TempDir>,
}

impl Clip {
    /// What the user named.
    pub fn of_input(input: &Path, reference: &ReferenceArgs) -> anyhow::Result<Self> {
        // A bad mask is told before anything is measured.
        reference.read(input, &SourceOptions::default())?;
        let clip = Self {
            path: input.to_path_buf(),
            name: input.display().to_string(),
            size: [0; 2],
            mask: None,
            folder: None,
            _temporary: None,
        };
        clip.sized()
    }

    /// The synthetic clip, rendered into a temporary folder: as a video, or as pictures where this
    /// program knows no video.
    pub fn render() -> anyhow::Result<Self> {
        let temporary = TempDir::new().context("there is no room for temporary files")?;
        let (frames, frames_per_second) = CLIP;
        let options = PhantomOptions { frames, frames_per_second, ..PhantomOptions::default() };
        let phantom = Phantom::new(options)?;
        write_clip(&phantom, temporary.path())?;
        phantom.render(0)?.mask.save_png(&temporary.path().join(MASK))?;
        let clip = Self::rendered(temporary.path())?;
        Ok(Self { _temporary: Some(temporary), ..clip })
    }

    /// The synthetic clip that [`Clip::render`] has left in a folder.
    pub fn rendered(folder: &Path) -> anyhow::Result<Self> {
        let clip = Self {
            path: folder.join(VIDEO),
            name: "phantom".to_owned(),
            size: [0; 2],
            mask: Some(folder.join(MASK)),
            folder: Some(folder.to_path_buf()),
            _temporary: None,
        };
        clip.sized()
    }

    fn sized(self) -> anyhow::Result<Self> {
        let source = self.open()?;
        let size = [source.info().width, source.info().height];
        Ok(Self { size, ..self })
    }

    fn open(&self) -> anyhow::Result<Source> {
        Ok(open_recording(&self.path, &SourceOptions::default())?)
    }

    /// What it is called in a report.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// The synthetic clip's folder.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The annotated pictures.
    pub fn annotated(&self, reference: &ReferenceArgs) -> anyhow::Result<Annotated> {
        let Some(mask) = &self.mask else {
            return reference.read(&self.path, &SourceOptions::default());
        };
        let first = self.open()?.next_picture()?.context("the clip is empty")?;
        let annotation = Annotation::open(mask, Foreground::default())?;
        Ok(Annotated::of(first.frame, annotation, "frame 0".to_owned()))
    }
}

const MASK: &str = "mask.png";

#[cfg(feature = "gstreamer")]
const VIDEO: &str = "clip.mkv";

#[cfg(feature = "gstreamer")]
fn write_clip(phantom: &Phantom, folder: &Path) -> anyhow::Result<()> {
    let options = phantom.options();
    let mut writer = p2sam::VideoWriter::create(
        &folder.join(VIDEO),
        p2sam::WriterOptions {
            width: options.width,
            height: options.height,
            par: (1, 1),
            frame_rate: Some((options.frames_per_second as u32, 1)),
            color: p2sam::Color::usual(options.height),
            interlacing: p2sam::Interlacing::Progressive,
            lossless: false,
        },
    )?;
    for index in 0..options.frames {
        let time = Duration::from_secs_f64(f64::from(index) / options.frames_per_second);
        writer.write(Yuv420::from_frame(&phantom.render(index)?.frame), time, None)?;
    }
    writer.finish()?;
    Ok(())
}

#[cfg(not(feature = "gstreamer"))]
const VIDEO: &str = "clip";

#[cfg(not(feature = "gstreamer"))]
fn write_clip(phantom: &Phantom, folder: &Path) -> anyhow::Result<()> {
    let folder = folder.join(VIDEO);
    std::fs::create_dir(&folder)?;
    for index in 0..phantom.options().frames {
        phantom.render(index)?.frame.save_png(&folder.join(format!("{index:06}.png")))?;
    }
    Ok(())
}

/// The pictures of a clip, over and over.
pub struct Footage<'a> {
    clip: &'a Clip,
    from: From,
    style: OverlayStyle,
}

enum From {
    /// Read from the file and written to another.
    Files { source: Box<Source>, picture: Option<Picture>, sink: Box<Sink> },
    /// Read before.
    Memory { pictures: Vec<(Frame, Yuv420)>, at: usize },
}

impl<'a> Footage<'a> {
    /// Pictures that are read when they are needed, and written as video.
    pub fn of_files(clip: &'a Clip) -> anyhow::Result<Self> {
        let source = clip.open()?;
        let sink = Sink::create(source.info())?;
        let from = From::Files { source: Box::new(source), picture: None, sink: Box::new(sink) };
        Ok(Self { clip, from, style: OverlayStyle::default() })
    }

    /// Pictures that are read before: the first [`KEPT`] of them.
    pub fn of_memory(clip: &'a Clip) -> anyhow::Result<Self> {
        let mut source = clip.open()?;
        let (mut pictures, mut bytes) = (Vec::new(), 0);
        while let Some(picture) = source.next_picture()? {
            let yuv = picture.yuv420()?;
            bytes += picture.frame.width() as usize * picture.frame.height() as usize * 9 / 2;
            pictures.push((picture.frame, yuv));
            if pictures.len() == KEPT || bytes > MOST_BYTES || interrupt::requested() {
                break;
            }
        }
        anyhow::ensure!(!pictures.is_empty(), "{} holds no picture", clip.name());
        // The first call of `read` goes to the first picture.
        let at = pictures.len() - 1;
        let from = From::Memory { pictures, at };
        Ok(Self { clip, from, style: OverlayStyle::default() })
    }
}

impl Stages for Footage<'_> {
    fn read(&mut self) -> Result<&Frame, MeasureError> {
        match &mut self.from {
            From::Memory { pictures, at } => {
                *at = (*at + 1) % pictures.len();
                Ok(&pictures[*at].0)
            }
            From::Files { source, picture, .. } => {
                let mut next = source.next_picture()?;
                if next.is_none() {
                    **source = self.clip.open()?;
                    next = source.next_picture()?;
                }
                let next = next.ok_or_else(|| format!("{} is empty", self.clip.name()))?;
                Ok(&picture.insert(next).frame)
            }
        }
    }

    fn show(&mut self, track: &Track) -> Result<[Duration; 2], MeasureError> {
        let start = Instant::now();
        match &mut self.from {
            From::Memory { pictures, at } => {
                let mut yuv = pictures[*at].1.clone();
                draw_mask(&mut yuv, &track.mask, &self.style);
                Ok([start.elapsed(), Duration::ZERO])
            }
            From::Files { picture, sink, .. } => {
                let Some(picture) = picture else { return Ok([Duration::ZERO; 2]) };
                let mut yuv = picture.yuv420()?;
                draw_mask(&mut yuv, &track.mask, &self.style);
                let draw = start.elapsed();
                sink.write(yuv)?;
                Ok([draw, start.elapsed() - draw])
            }
        }
    }

    fn stopped(&self) -> bool {
        interrupt::requested()
    }
}

/// A video that nobody wants to keep.
#[cfg(feature = "gstreamer")]
struct Sink {
    writer: p2sam::VideoWriter,
    frames: u32,
    _folder: TempDir,
}

#[cfg(feature = "gstreamer")]
impl Sink {
    fn create(info: &p2sam::SourceInfo) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("there is no room for temporary files")?;
        let options = p2sam::WriterOptions::like(info);
        let writer = p2sam::VideoWriter::create(&folder.path().join("overlay.mkv"), options)?;
        Ok(Self { writer, frames: 0, _folder: folder })
    }

    fn write(&mut self, yuv: Yuv420) -> Result<(), MeasureError> {
        self.writer.write(yuv, Duration::from_millis(40) * self.frames, None)?;
        self.frames += 1;
        Ok(())
    }
}

/// Without GStreamer nothing is written.
#[cfg(not(feature = "gstreamer"))]
struct Sink;

#[cfg(not(feature = "gstreamer"))]
impl Sink {
    fn create(_: &p2sam::SourceInfo) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn write(&mut self, _: Yuv420) -> Result<(), MeasureError> {
        Ok(())
    }
}
