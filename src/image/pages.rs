//! Files of several images: pages of a TIFF, frames of an animation.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageFormat, Limits};

use super::file::{self, check_size};
use super::tiff_file::TiffFile;
use super::{Frame, ImageError, Levels, png_file};

/// How long players show a frame of an animation that has no time of its own.
const UNTIMED: Duration = Duration::from_millis(100);
/// Pages of which the levels are taken.
const SAMPLES: usize = 16;
/// Decoders of animations may take so many times the bytes of a frame with alpha.
const GROWTH: u64 = 4;

/// The images of a file that holds several, each of which can be read by itself.
#[derive(Debug)]
pub(crate) struct Pages {
    path: PathBuf,
    kind: Kind,
    levels: Levels,
}

enum Kind {
    Tiff(Box<Mutex<TiffFile<BufReader<File>>>>, usize),
    Animation(Animation),
}

impl Pages {
    /// Opens a file; `None` if it holds one image.
    ///
    /// # Errors
    /// [`ImageError::Read`] with the path.
    pub fn open(path: &Path) -> Result<Option<Self>, ImageError> {
        let fail = |reason: String| ImageError::Read { path: path.to_path_buf(), reason };
        let reader = file::open(path).map_err(fail)?;
        let kind = match reader.format() {
            Some(ImageFormat::Tiff) => {
                let file = TiffFile::open(reader.into_inner()).map_err(fail)?;
                let count = file.pages();
                Kind::Tiff(Box::new(Mutex::new(file)), count)
            }
            Some(format @ (ImageFormat::Gif | ImageFormat::WebP | ImageFormat::Png)) => {
                match Animation::open(path, format).map_err(fail)? {
                    Some(animation) => Kind::Animation(animation),
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let mut pages =
            Self { path: path.to_path_buf(), kind, levels: Levels::of(&DynamicImage::default()) };
        if pages.count() < 2 {
            return Ok(None);
        }
        if let Kind::Tiff(..) = pages.kind {
            let step = pages.count().div_ceil(SAMPLES);
            for page in (0..pages.count()).step_by(step).chain([pages.count() - 1]) {
                // One that cannot be read is reported in its turn.
                if let Ok(image) = pages.image(page) {
                    pages.levels = pages.levels.with(Levels::of(&image));
                }
            }
        }
        Ok(Some(pages))
    }

    /// How many images there are.
    pub fn count(&self) -> usize {
        match &self.kind {
            Kind::Tiff(_, count) => *count,
            Kind::Animation(animation) => animation.delays.len(),
        }
    }

    /// What the file is, in words.
    pub fn format(&self) -> &'static str {
        match &self.kind {
            Kind::Tiff(..) => "TIFF pages",
            Kind::Animation(animation) => match animation.format {
                ImageFormat::Gif => "GIF animation",
                ImageFormat::WebP => "WebP animation",
                _ => "PNG animation",
            },
        }
    }

    /// How long each image is shown, if the file says so.
    pub fn durations(&self) -> Option<&[Duration]> {
        match &self.kind {
            Kind::Tiff(..) => None,
            Kind::Animation(animation) => Some(&animation.delays),
        }
    }

    /// The levels that are shown, of all images together.
    pub fn levels(&self) -> Levels {
        self.levels
    }

    /// Why the file ends before its last image, if it does.
    pub fn broken(&self) -> Option<&str> {
        match &self.kind {
            Kind::Tiff(..) => None,
            Kind::Animation(animation) => animation.broken.as_deref(),
        }
    }

    /// An image, from 0, and whether the levels clip it.
    ///
    /// # Errors
    /// [`ImageError::Read`] with the path.
    pub fn frame(&self, index: usize) -> Result<(Frame, bool), ImageError> {
        let image = self.image(index).map_err(|reason| ImageError::Read {
            path: self.path.clone(),
            reason: format!("image {index}: {reason}"),
        })?;
        let own = Levels::of(&image);
        let levels = if own.is_of_bytes() { own } else { self.levels };
        Ok((levels.frame(image), levels.clips(own)))
    }

    fn image(&self, index: usize) -> Result<DynamicImage, String> {
        match &self.kind {
            Kind::Tiff(file, _) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(file.page(index)?.into_image())
            }
            Kind::Animation(animation) => animation.frame(index),
        }
    }
}

/// Frames that can only be decoded one after the other: on a thread of its own, which is begun again
/// where an earlier frame is wanted.
struct Animation {
    path: PathBuf,
    format: ImageFormat,
    delays: Vec<Duration>,
    broken: Option<String>,
    running: Mutex<Option<Running>>,
}

struct Running {
    next: usize,
    frames: Receiver<Result<DynamicImage, String>>,
}

type Decoded = image::ImageResult<image::Frame>;

impl Animation {
    /// Decodes all once, for their number and times. `None` if it is a still image.
    fn open(path: &Path, format: ImageFormat) -> Result<Option<Self>, String> {
        let (mut delays, mut broken) = (Vec::new(), None);
        decode(path, format, |frame| {
            match frame {
                Ok(frame) => delays.push(match Duration::from(frame.delay()) {
                    Duration::ZERO => UNTIMED,
                    delay => delay,
                }),
                Err(error) => {
                    broken = Some(format!("after image {}: {error}", delays.len()));
                }
            }
            broken.is_none()
        })?;
        let (path, running) = (path.to_path_buf(), Mutex::default());
        // What is broken before its second frame is for the reader of single images.
        Ok((delays.len() > 1).then_some(Self { path, format, delays, broken, running }))
    }

    fn frame(&self, index: usize) -> Result<DynamicImage, String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut here = match running.take().filter(|running| running.next <= index) {
            Some(here) => here,
            None => self.start()?,
        };
        loop {
            let frame = here.frames.recv().map_err(|_| "it is missing".to_owned())?;
            here.next += 1;
            if here.next > index {
                *running = Some(here);
                return frame;
            }
        }
    }

    fn start(&self) -> Result<Running, String> {
        let (sender, frames) = sync_channel(1);
        let (path, format) = (self.path.clone(), self.format);
        let work = move || {
            let opened = decode(&path, format, |frame| {
                let frame = frame.map(|frame| DynamicImage::ImageRgba8(frame.into_buffer()));
                sender.send(frame.map_err(|error| error.to_string())).is_ok()
            });
            if let Err(reason) = opened {
                let _ = sender.send(Err(reason));
            }
        };
        let thread = std::thread::Builder::new().name("animation".to_owned());
        thread.spawn(work).map_err(|error| error.to_string())?;
        Ok(Running { next: 0, frames })
    }
}

/// Decodes one frame after the other for as long as `take` wants more.
fn decode(
    path: &Path,
    format: ImageFormat,
    mut take: impl FnMut(Decoded) -> bool,
) -> Result<(), String> {
    let reader = BufReader::new(File::open(path).map_err(|e| e.to_string())?);
    let wrong = |e: image::ImageError| e.to_string();
    let mut all = |frames: image::Frames<'_>| {
        for frame in frames {
            if !take(frame) {
                break;
            }
        }
    };
    match format {
        ImageFormat::Gif => {
            let decoder = within(GifDecoder::new(reader).map_err(wrong)?)?;
            all(decoder.into_frames());
        }
        ImageFormat::WebP => {
            let decoder = within(WebPDecoder::new(reader).map_err(wrong)?)?;
            if decoder.has_animation() {
                all(decoder.into_frames());
            }
        }
        _ => {
            let mut reader = reader;
            let head = reader.fill_buf().map_err(|e| e.to_string())?;
            let (width, height) = png_file::size(head).ok_or("it is no PNG")?;
            check_size(width, height)?;
            let decoder = PngDecoder::with_limits(reader, limits(width, height)).map_err(wrong)?;
            if decoder.is_apng().map_err(wrong)? {
                all(decoder.apng().map_err(wrong)?.into_frames());
            }
        }
    }
    Ok(())
}

fn within<D: ImageDecoder>(mut decoder: D) -> Result<D, String> {
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    decoder.set_limits(limits(width, height)).map_err(|e| e.to_string())?;
    Ok(decoder)
}

fn limits(width: u32, height: u32) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(u64::from(width) * u64::from(height) * 4 * GROWTH + (1 << 20));
    limits
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tiff(..) => "Tiff",
            Self::Animation(_) => "Animation",
        })
    }
}
