use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{EndReport, Interlacing, Picture, SourceInfo, SourceOptions, StreamError, periods};
use crate::image::{Color, Frame, ImageError, Levels, Pages, is_image};

/// Extensions of the picture files that a series may hold.
const EXTENSIONS: [&str; 10] =
    ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "pgm", "ppm", "pnm"];

/// Files of which the levels are taken.
const SAMPLES: usize = 16;

/// Images that another room decodes, such as the frames of a DICOM file.
pub(crate) trait Frames: std::fmt::Debug + Send {
    /// The image of that number, from 0.
    fn frame(&self, index: usize) -> Result<Frame, StreamError>;

    /// What was done to the images that their user should know, in words.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// What was found wrong with the images delivered so far, in words.
    fn faults(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Files with an image each.
#[derive(Debug)]
struct Files {
    files: Vec<PathBuf>,
    /// Of all together.
    levels: Levels,
    /// How the first is stored, if it is not upright, in words.
    turned: Option<String>,
    clipped: AtomicUsize,
}

impl Files {
    fn new(files: Vec<PathBuf>) -> Result<Self, ImageError> {
        let (mut levels, turned) = Levels::of_file(&files[0])?;
        if !levels.is_of_bytes() {
            let step = files.len().div_ceil(SAMPLES);
            for file in files.iter().skip(step).step_by(step).chain(files.last()) {
                // One that cannot be read is reported in its turn.
                levels = Levels::of_file(file).map_or(levels, |(other, _)| levels.with(other));
            }
        }
        Ok(Self { files, levels, turned, clipped: AtomicUsize::new(0) })
    }
}

impl Frames for Files {
    fn frame(&self, index: usize) -> Result<Frame, StreamError> {
        let (frame, clips) = Frame::open_at(&self.files[index], self.levels)?;
        self.clipped.fetch_add(usize::from(clips), Ordering::Relaxed);
        Ok(frame)
    }

    fn notes(&self) -> Vec<String> {
        let turned =
            self.turned.as_ref().map(|words| format!("{}: {words}", self.files[0].display()));
        turned.into_iter().chain(self.levels.words()).collect()
    }

    fn faults(&self) -> Vec<String> {
        clipped(self.clipped.load(Ordering::Relaxed))
    }
}

/// The images of one file.
#[derive(Debug)]
struct FilePages {
    pages: Pages,
    clipped: AtomicUsize,
}

impl Frames for FilePages {
    fn frame(&self, index: usize) -> Result<Frame, StreamError> {
        let (frame, clips) = self.pages.frame(index)?;
        self.clipped.fetch_add(usize::from(clips), Ordering::Relaxed);
        Ok(frame)
    }

    fn notes(&self) -> Vec<String> {
        self.pages.levels().words().into_iter().collect()
    }

    fn faults(&self) -> Vec<String> {
        let broken = self.pages.broken().map(|reason| format!("the file breaks off {reason}"));
        broken.into_iter().chain(clipped(self.clipped.load(Ordering::Relaxed))).collect()
    }
}

fn clipped(images: usize) -> Vec<String> {
    let words = |images| {
        format!(
            "{images} images hold values beyond those of the {SAMPLES} by which the levels were set: \
             they are clipped; convert the series to 8 bits"
        )
    };
    Some(images).filter(|images| *images > 0).map(words).into_iter().collect()
}

/// Pictures shown one after the other: files at a fixed rate, each of which may have its own size, or
/// the frames of one file.
#[derive(Debug)]
pub struct ImageSeries {
    /// None if the pictures are no files.
    files: Vec<PathBuf>,
    frames: Box<dyn Frames>,
    /// The levels of all files together.
    levels: Option<Levels>,
    /// When each picture begins, and when the last one ends.
    times: Vec<Duration>,
    info: SourceInfo,
    /// The first picture, which opening has already decoded.
    first: Option<Frame>,
    next: usize,
    /// Why pictures could not be read.
    unreadable: Vec<String>,
}

impl ImageSeries {
    /// Whether `path` names images by its form (a folder, a pattern, a list, an image's extension) or
    /// begins like a PNG, TIFF, GIF or WebP file, and is therefore no video.
    pub fn is_series(path: &Path) -> bool {
        path.is_dir() || is_pattern(path) || is_list(path) || is_picture(path) || is_image(path)
    }

    /// Opens pictures in order and decodes the first.
    ///
    /// `path` is one of: a folder, whose pictures are taken by their extension in natural order
    /// (`img2` before `img10`); a pattern with `*`, `?` or `[...]` in its last part, in the same
    /// order; a `.txt` or `.lst` file with one path a line, relative to the list's own folder, in
    /// the list's order, where empty lines and lines that start with `#` are skipped; or a single
    /// image file. If that holds several, such as the pages of a TIFF or the frames of an animation,
    /// they are the series; in a folder, pattern or list such a file is an error.
    ///
    /// Images of more than 8 bits are reduced by what up to 16 of them hold together: see
    /// [`Levels`](crate::Levels).
    ///
    /// # Errors
    /// [`StreamError::Open`] for an unreadable folder or list, [`StreamError::NoImages`] if it has
    /// no picture, [`StreamError::MissingImages`] with every listed file that is not there,
    /// [`StreamError::Image`] if the first picture cannot be decoded.
    pub fn open(path: &Path, options: &SourceOptions) -> Result<Self, StreamError> {
        let (files, container) = if path.is_dir() {
            (folder(path)?, "image folder")
        } else if is_pattern(path) {
            (matches(path)?, "image pattern")
        } else if is_list(path) {
            (listed(path)?, "image list")
        } else {
            if let Some(pages) = Pages::open(path)? {
                return Self::of_pages(pages, path, options);
            }
            (vec![path.to_path_buf()], "image")
        };
        let rate = (options.image_rate.0.max(1), options.image_rate.1.max(1));
        let frames = Box::new(Files::new(files.clone())?);
        let (first, levels) = (frames.frame(0)?, Some(frames.levels));
        let info = SourceInfo {
            width: first.width(),
            height: first.height(),
            frame_rate: Some(rate),
            par: (1, 1),
            duration: Some(periods(files.len() as u64, rate)),
            codec: extension(&files[0]),
            container: container.into(),
            color: Color::usual(first.height()),
            interlacing: Interlacing::Progressive,
        };
        let times = (0..=files.len() as u64).map(|index| periods(index, rate)).collect();
        let (first, unreadable) = (Some(first), Vec::new());
        Ok(Self { files, frames, levels, times, info, first, next: 0, unreadable })
    }

    /// The images of one file, at their own times if it has any.
    fn of_pages(pages: Pages, path: &Path, options: &SourceOptions) -> Result<Self, StreamError> {
        let rate = (options.image_rate.0.max(1), options.image_rate.1.max(1));
        let own = pages.durations();
        let times: Vec<Duration> = match own {
            Some(durations) => {
                let ends = durations.iter().scan(Duration::ZERO, |end, own| {
                    *end += *own;
                    Some(*end)
                });
                std::iter::once(Duration::ZERO).chain(ends).collect()
            }
            None => (0..=pages.count() as u64).map(|index| periods(index, rate)).collect(),
        };
        let info = SourceInfo {
            width: 0,
            height: 0,
            frame_rate: own.is_none().then_some(rate),
            par: (1, 1),
            duration: times.last().copied(),
            codec: extension(path),
            container: pages.format().into(),
            color: Color::usual(0),
            interlacing: Interlacing::Progressive,
        };
        Self::of_frames(Box::new(FilePages { pages, clipped: AtomicUsize::new(0) }), times, info)
    }

    /// The frames of one file, of which `times` tells when each begins and when the last one ends;
    /// `info` is completed by the first frame.
    pub(crate) fn of_frames(
        frames: Box<dyn Frames>,
        times: Vec<Duration>,
        info: SourceInfo,
    ) -> Result<Self, StreamError> {
        let first = frames.frame(0)?;
        let info = SourceInfo {
            width: first.width(),
            height: first.height(),
            color: Color::usual(first.height()),
            ..info
        };
        let (files, first, unreadable) = (Vec::new(), Some(first), Vec::new());
        Ok(Self { files, frames, levels: None, times, info, first, next: 0, unreadable })
    }

    /// What is known of the series; the size is the first picture's.
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// The picture files in order; none if the pictures are frames of another file.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The levels by which every file is to be read; `None` if the images are no files.
    pub(crate) fn levels(&self) -> Option<Levels> {
        self.levels
    }

    /// The next picture, `None` after the last. After an error the call after it goes on with the
    /// picture behind the unreadable one.
    ///
    /// # Errors
    /// [`StreamError::Image`] with the path of a picture that cannot be decoded,
    /// [`StreamError::Convert`] with the number of a frame that cannot.
    pub fn next_picture(&mut self) -> Result<Option<Picture>, StreamError> {
        let index = self.next;
        let [pts, end] = match self.times[index..] {
            [pts, end, ..] => [pts, end],
            _ => return Ok(None),
        };
        self.next += 1;
        let frame = match self.first.take() {
            Some(frame) => frame,
            None => {
                self.frames.frame(index).inspect_err(|e| self.unreadable.push(e.to_string()))?
            }
        };
        let path = self.files.get(index).cloned();
        Ok(Some(Picture::of_image(index as u64, pts, end.saturating_sub(pts), frame, path)))
    }

    /// How many pictures were read, of how many.
    pub fn end_report(&self) -> EndReport {
        EndReport {
            decoded: (self.next - self.unreadable.len()) as u64,
            expected: Some(self.times.len() as u64 - 1),
            end: self.times[self.next],
            container_duration: self.info.duration,
            problems: [self.unreadable.clone(), self.frames.faults()].concat(),
            warnings: self.frames.notes(),
            ..EndReport::default()
        }
    }
}

/// The extension in lower case, empty if there is none.
pub(super) fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn is_picture(path: &Path) -> bool {
    EXTENSIONS.contains(&extension(path).as_str())
}

fn is_list(path: &Path) -> bool {
    matches!(extension(path).as_str(), "txt" | "lst")
}

/// A name with wildcards, unless a file has just that name.
fn is_pattern(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains(['*', '?']) && !path.exists()
}

/// The pictures of a folder in natural order.
fn folder(path: &Path) -> Result<Vec<PathBuf>, StreamError> {
    let found = entries(path, is_picture)?;
    if found.is_empty() {
        let reason = format!("no picture in this folder; looked for {}", EXTENSIONS.join(", "));
        return Err(StreamError::NoImages { path: path.to_path_buf(), reason });
    }
    Ok(found)
}

/// The pictures that a pattern names, in natural order.
fn matches(path: &Path) -> Result<Vec<PathBuf>, StreamError> {
    let none = |reason: String| StreamError::NoImages { path: path.to_path_buf(), reason };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pattern = glob::Pattern::new(&name).map_err(|e| none(format!("bad pattern: {e}")))?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = entries(parent, |file| {
        pattern.matches(&file.file_name().unwrap_or_default().to_string_lossy())
    })?;
    let count = found.len();
    let pictures: Vec<PathBuf> = found.into_iter().filter(|file| is_picture(file)).collect();
    if pictures.is_empty() {
        return Err(none(match count {
            0 => "no file matches this pattern".into(),
            n => format!("{n} files match, but none is a picture ({})", EXTENSIONS.join(", ")),
        }));
    }
    Ok(pictures)
}

/// Files of a folder that `keep` wants, in natural order.
fn entries(folder: &Path, keep: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, StreamError> {
    let fail =
        |e: std::io::Error| StreamError::Open { path: folder.to_path_buf(), reason: e.to_string() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        // Hidden files are leftovers of other programs, such as `._img1.png`.
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && keep(&path) && path.is_file() {
            found.push(path);
        }
    }
    found.sort_by(|a, b| alphanumeric_sort::compare_path(a, b));
    Ok(found)
}

/// The pictures of a list, in its order.
fn listed(list: &Path) -> Result<Vec<PathBuf>, StreamError> {
    let text = std::fs::read_to_string(list)
        .map_err(|e| StreamError::Open { path: list.to_path_buf(), reason: e.to_string() })?;
    let folder = list.parent().unwrap_or(Path::new(""));
    let files: Vec<PathBuf> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| folder.join(line))
        .collect();
    if files.is_empty() {
        let reason = "this list names no picture; write one path a line".into();
        return Err(StreamError::NoImages { path: list.to_path_buf(), reason });
    }
    let missing: Vec<PathBuf> = files.iter().filter(|f| !f.is_file()).cloned().collect();
    if !missing.is_empty() {
        return Err(StreamError::MissingImages { list: list.to_path_buf(), missing });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stream::{Source, open_source};

    /// Writes a `width` x 2 picture of one colour.
    fn picture(folder: &Path, name: &str, width: u32, grey: u8) -> PathBuf {
        let path = folder.join(name);
        Frame::new(width, 2, vec![grey; width as usize * 6]).unwrap().save_png(&path).unwrap();
        path
    }

    fn read(path: &Path) -> Vec<Picture> {
        let mut series = ImageSeries::open(path, &SourceOptions::default()).unwrap();
        std::iter::from_fn(|| series.next_picture().unwrap()).collect()
    }

    #[test]
    fn a_folder_is_read_in_natural_order_and_each_picture_keeps_its_size() {
        let dir = tempfile::tempdir().unwrap();
        for (name, width) in [("img10.png", 4), ("img2.png", 3), ("img1.PNG", 2)] {
            picture(dir.path(), name, width, width as u8);
        }
        std::fs::write(dir.path().join("notes.md"), "x").unwrap();
        std::fs::write(dir.path().join("._img1.png"), "x").unwrap();
        let pictures = read(dir.path());
        assert_eq!(pictures.iter().map(|p| p.frame.width()).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(pictures[2].pts, Duration::from_millis(80));
        assert_eq!(pictures[2].duration, Some(Duration::from_millis(40)));
        assert!(pictures[0].path.as_ref().is_some_and(|p| p.ends_with("img1.PNG")));
        assert_eq!(pictures[0].yuv420().unwrap().width(), 2);
    }

    #[test]
    fn a_pattern_takes_only_what_it_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a1.png", "a2.png", "b1.png"] {
            picture(dir.path(), name, 2, 0);
        }
        assert_eq!(read(&dir.path().join("a*.png")).len(), 2);
        assert_eq!(read(&dir.path().join("?1.png")).len(), 2);
        let error = ImageSeries::open(&dir.path().join("c*.png"), &SourceOptions::default());
        assert!(matches!(error, Err(StreamError::NoImages { .. })));
    }

    #[test]
    fn a_list_keeps_its_order_and_names_all_missing_files() {
        let dir = tempfile::tempdir().unwrap();
        picture(dir.path(), "x.png", 2, 10);
        picture(dir.path(), "y.png", 3, 20);
        let list = dir.path().join("order.txt");
        std::fs::write(&list, "\u{feff}# first y\ny.png\r\n\n  x.png\ny.png").unwrap();
        let widths: Vec<u32> = read(&list).iter().map(|p| p.frame.width()).collect();
        assert_eq!(widths, [3, 2, 3]);

        std::fs::write(&list, "x.png\nno1.png\nno2.png\n").unwrap();
        let error = ImageSeries::open(&list, &SourceOptions::default()).unwrap_err().to_string();
        assert!(error.contains("no1.png") && error.contains("no2.png"), "{error}");
    }

    #[test]
    fn a_broken_picture_is_an_error_with_its_path_and_can_be_passed() {
        let dir = tempfile::tempdir().unwrap();
        picture(dir.path(), "1.png", 2, 0);
        std::fs::write(dir.path().join("2.png"), "no picture").unwrap();
        picture(dir.path(), "3.png", 2, 0);
        let mut source = open_source(dir.path(), &SourceOptions::default()).unwrap();
        assert!(matches!(source, Source::Images(_)));
        assert_eq!(source.next_picture().unwrap().unwrap().index, 0);
        let error = source.next_picture().unwrap_err().to_string();
        assert!(error.contains("2.png"), "{error}");
        assert_eq!(source.next_picture().unwrap().unwrap().index, 2);
        assert!(source.next_picture().unwrap().is_none());
    }

    #[test]
    fn an_empty_folder_says_what_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let error = ImageSeries::open(dir.path(), &SourceOptions::default()).unwrap_err();
        assert!(error.to_string().contains("png"), "{error}");
    }
}
