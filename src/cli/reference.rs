//! The annotated pictures: which ones, and what is marked on them.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use p2sam::{
    Annotation, Embedding, Foreground, Frame, Mask, MethodConfig, Picture, PointPrompt, Reference,
    Sam, Source, SourceOptions, check_annotation, open_recording,
};

/// The object, annotated on one picture or on several.
#[derive(Args)]
#[command(next_help_heading = "Reference")]
pub struct ReferenceArgs {
    /// The mask of the object on the annotated picture. Without it, give --point or --box. Of several
    /// masks, each takes the picture of the --reference-frame or --reference-image in the same place.
    #[arg(long, value_name = "MASK", conflicts_with_all = ["points", "bounding_box"])]
    reference: Vec<PathBuf>,
    #[command(flatten)]
    picture: ReferencePictureArgs,
    #[command(flatten)]
    foreground: ForegroundArgs,
    /// Bring a mask of another size to the picture's.
    #[arg(long)]
    resize_mask: bool,
    #[command(flatten)]
    prompts: PromptArgs,
}

/// Which picture is annotated.
#[derive(Args)]
pub struct ReferencePictureArgs {
    /// The annotated frame of the input: its number from 0, or a time such as 12.5s or 1:02.5, which
    /// means the frame that is on the screen then.
    #[arg(long, value_name = "N|TIME", default_value = "0", conflicts_with = "reference_images")]
    pub reference_frame: Vec<FramePlace>,
    /// A picture file that is annotated in place of a frame of the input, for instance from another
    /// recording.
    #[arg(long = "reference-image", value_name = "FILE")]
    pub reference_images: Vec<PathBuf>,
}

/// Points and a box on it.
#[derive(Args)]
pub struct PromptArgs {
    /// A point on the object, x,y in pixels; -x,y is a point beside it. May be repeated.
    #[arg(long = "point", value_name = "[-]X,Y", allow_hyphen_values = true)]
    pub points: Vec<Point>,
    /// A box around the object: left,top,right,bottom in pixels.
    #[arg(long = "box", value_name = "X0,Y0,X1,Y1")]
    pub bounding_box: Option<BoxArg>,
}

/// Which pixels of a mask file are the object.
#[derive(Args)]
pub struct ForegroundArgs {
    /// Which values of the mask are the object [default: middle, for masks of a single object].
    #[arg(long, value_enum, help_heading = "Reference")]
    foreground: Option<ForegroundArg>,
    /// Which object of a mask that holds several: its grey value or place in the palette, its colour, or
    /// its name where the file has names. Once for all masks, or once for each.
    #[arg(
        long = "object",
        value_name = "VALUE|#RRGGBB|NAME",
        conflicts_with = "foreground",
        help_heading = "Reference"
    )]
    objects: Vec<ObjectArg>,
}

/// Which values of a mask file are the object.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ForegroundArg {
    /// Above the middle between the mask's smallest and largest value: two-level masks of any
    /// values, soft edges, compression noise.
    Middle,
    /// Above 0: all objects together of masks whose values number several.
    Any,
}

/// One of the objects of a mask.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectArg {
    Value(u32),
    Color([u8; 3]),
    Name(String),
}

impl FromStr for ObjectArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(digits) = text.strip_prefix('#') {
            let value = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 6);
            let [_, red, green, blue] = value
                .ok_or_else(|| format!("'{text}' is no colour such as #00ff80"))?
                .to_be_bytes();
            return Ok(Self::Color([red, green, blue]));
        }
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Value))
    }
}

impl ForegroundArgs {
    /// Whether the objects pair with so many masks.
    pub fn check(&self, masks: usize) -> anyhow::Result<()> {
        match self.objects.len() {
            0 | 1 => Ok(()),
            count if count == masks => Ok(()),
            count => bail!(
                "--object is given {count} times for {masks} masks: give it once for all, or once for \
                 each"
            ),
        }
    }

    /// Which pixels are the object of one of the masks, in an image file.
    pub fn of_image(&self, index: usize) -> anyhow::Result<Foreground> {
        Ok(match (self.foreground, self.object(index)) {
            (_, Some(ObjectArg::Value(value))) => Foreground::Value(*value),
            (_, Some(ObjectArg::Color(color))) => Foreground::Color(*color),
            (_, Some(ObjectArg::Name(name))) => bail!(
                "--object {name}: image files have no names for their objects; give the value or the \
                 colour ('#RRGGBB')"
            ),
            (Some(ForegroundArg::Middle), None) => Foreground::Threshold,
            (Some(ForegroundArg::Any), None) => Foreground::AboveZero,
            (None, None) => Foreground::AboveMiddle,
        })
    }

    fn object(&self, index: usize) -> Option<&ObjectArg> {
        if self.objects.len() == 1 { self.objects.first() } else { self.objects.get(index) }
    }
}

/// A frame by number or by time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FramePlace {
    Number(u64),
    Time(Duration),
}

impl FromStr for FramePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is neither a frame number nor a time (12.5s, 1:02.5)");
        let seconds = |text: &str| -> Result<f64, String> {
            text.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0).ok_or_else(wrong)
        };
        let total = if let Some(text) = text.strip_suffix('s') {
            seconds(text)?
        } else if text.contains(':') {
            text.split(':')
                .try_fold(0.0, |sum, part| Ok::<_, String>(sum * 60.0 + seconds(part)?))?
        } else {
            return text.parse().map(Self::Number).map_err(|_| wrong());
        };
        Duration::try_from_secs_f64(total).map(Self::Time).map_err(|_| wrong())
    }
}

/// A point prompt on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point(pub PointPrompt);

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (positive, rest) = match text.strip_prefix('-') {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix('+').unwrap_or(text)),
        };
        let [x, y] = numbers(rest).ok_or_else(|| format!("'{text}' is not x,y or -x,y"))?;
        Ok(Self(PointPrompt { x, y, positive }))
    }
}

/// A box prompt on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxArg(pub [f32; 4]);

impl FromStr for BoxArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let corners: [f32; 4] =
            numbers(text).ok_or_else(|| format!("'{text}' is not left,top,right,bottom"))?;
        if corners[0] >= corners[2] || corners[1] >= corners[3] {
            return Err(format!("'{text}': right must be beyond left, and bottom beyond top"));
        }
        Ok(Self(corners))
    }
}

fn numbers<const N: usize>(text: &str) -> Option<[f32; N]> {
    let values: Vec<f32> = text
        .split(',')
        .map(|part| part.trim().parse().ok().filter(|v: &f32| v.is_finite()))
        .collect::<Option<_>>()?;
    values.try_into().ok()
}

impl ReferenceArgs {
    /// Whether an object is given, and a picture for each mask.
    pub fn check(&self) -> anyhow::Result<()> {
        let (masks, pictures) = (self.reference.len(), self.picture.count());
        self.foreground.check(masks)?;
        match masks {
            0 if self.prompts.is_empty() => {
                bail!("say what to follow: --reference MASK, or --point, or --box")
            }
            0 if pictures > 1 => bail!(
                "--point and --box mark one picture, and {pictures} are given; annotate several by \
                 masks, one --reference for every picture"
            ),
            1.. if masks != pictures => bail!(
                "masks ({masks}) and annotated pictures ({pictures}) do not pair; give one \
                 --reference-image or one --reference-frame for every --reference, in the same order"
            ),
            _ => Ok(()),
        }
    }

    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.reference.iter().map(PathBuf::as_path).chain(self.picture.files())
    }

    /// The mask files; `None` if points or a box are given.
    pub fn mask_names(&self) -> Option<String> {
        let names: Vec<String> =
            self.reference.iter().map(|path| path.display().to_string()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// The masks' file or folder of a volume, the volume that they mark if it is not the input, and
    /// which slice a single picture of a mask marks.
    pub fn of_volume(&self) -> anyhow::Result<(Option<&Path>, Option<&Path>, usize)> {
        if self.reference.len() > 1 || self.picture.count() > 1 {
            bail!(
                "the slices of a volume are annotated by one --reference: NIfTI, a DICOM \
                 segmentation or structure set, or a folder of PNGs"
            );
        }
        let slice = match self.picture.reference_frame.first() {
            Some(FramePlace::Number(slice)) => usize::try_from(*slice)?,
            Some(FramePlace::Time(_)) => bail!("slices have numbers, from 0, and no times"),
            None => 0,
        };
        let image = self.picture.reference_images.first();
        Ok((self.reference.first().map(PathBuf::as_path), image.map(PathBuf::as_path), slice))
    }

    /// Which pixels of a mask are the object; where one is named, the name is [`ReferenceArgs::object`].
    pub fn foreground(&self) -> Foreground {
        self.foreground.of_image(0).unwrap_or_default()
    }

    /// The object that is asked for, as it was given.
    pub fn object(&self) -> Option<String> {
        self.foreground.object(0).map(|object| match object {
            ObjectArg::Value(value) => value.to_string(),
            ObjectArg::Color([red, green, blue]) => format!("#{red:02x}{green:02x}{blue:02x}"),
            ObjectArg::Name(name) => name.clone(),
        })
    }

    /// The mask of the points and the box on a picture.
    pub fn prompted(&self, sam: &Sam, picture: &Frame) -> anyhow::Result<Mask> {
        self.prompts.check(picture)?;
        Ok(self.prompts.mask(sam, &sam.encode(picture)?)?.0)
    }

    /// Reads the annotated pictures and their masks.
    pub fn read(&self, input: &Path, options: &SourceOptions) -> anyhow::Result<Annotated> {
        let (pictures, rest) = self.picture.read(input, options)?;
        let mut read = Annotated { rest, ..Annotated::default() };
        for (index, (picture, place, frame)) in pictures.into_iter().enumerate() {
            match self.reference.get(index) {
                Some(path) => {
                    let foreground = self.foreground.of_image(index)?;
                    let mask = annotation(path, foreground, &picture, self.resize_mask)?;
                    check_annotation(&picture, &mask)
                        .with_context(|| path.display().to_string())?;
                    read.masks.push(mask);
                }
                None => self.prompts.check(&picture)?,
            }
            read.pictures.push(picture);
            read.places.push(place);
            read.frames.push(frame);
        }
        Ok(read)
    }
}

/// An annotated picture, which it is, in words, and its place in the input if it is a frame of it.
type AnnotatedFrame = (Frame, String, Option<u64>);

/// Annotated pictures.
#[derive(Default)]
pub struct Annotated {
    pictures: Vec<Frame>,
    /// Their masks; none until [`Annotated::reference`] if points or a box are given.
    masks: Vec<Annotation>,
    /// Which pictures they are, in words.
    pub places: Vec<String>,
    /// Their places in the input, of those that are frames of it.
    frames: Vec<Option<u64>>,
    /// The input, if they were read from it and what was read of it could be kept.
    pub rest: Option<Frames>,
}

impl Annotated {
    /// One picture with its mask.
    pub fn of(picture: Frame, mask: Annotation, place: String) -> Self {
        let (pictures, masks, places) = (vec![picture], vec![mask], vec![place]);
        Self { pictures, masks, places, frames: vec![None], rest: None }
    }

    /// What the method needs of them. Makes the mask where points or a box are given.
    pub fn reference(
        &mut self,
        sam: &Sam,
        args: &ReferenceArgs,
        config: &MethodConfig,
    ) -> anyhow::Result<Reference> {
        let embeddings =
            self.pictures.iter().map(|p| sam.encode(p)).collect::<Result<Vec<_>, _>>()?;
        if self.masks.is_empty() {
            for embedding in &embeddings {
                self.masks.push(Annotation::from(&args.prompts.mask(sam, embedding)?.0));
            }
        }
        let pairs: Vec<_> = embeddings.iter().zip(&self.masks).collect();
        Reference::from_several(sam, &pairs, config)
            .with_context(|| args.mask_names().unwrap_or_else(|| "the prompts' mask".to_owned()))
    }

    /// Notes which of the annotated picture files are files of the input, whatever way they are named.
    pub fn find_among(&mut self, files: &[PathBuf], args: &ReferenceArgs) {
        let whole = |path: &Path| std::fs::canonicalize(path).ok();
        for (frame, path) in self.frames.iter_mut().zip(args.picture.files()) {
            let Some(path) = whole(path) else { continue };
            let place = files.iter().position(|file| {
                file.file_name() == path.file_name() && whole(file).as_ref() == Some(&path)
            });
            *frame = place.map(|place| place as u64);
        }
    }

    /// The masks of those that are frames of the input, by their places in it, once
    /// [`Annotated::reference`] has made them.
    pub fn by_frame(&self) -> BTreeMap<u64, Mask> {
        let masks = self.frames.iter().zip(&self.masks);
        masks.filter_map(|(frame, mask)| Some(((*frame)?, mask.mask()))).collect()
    }
}

impl ReferencePictureArgs {
    /// How many pictures are named.
    fn count(&self) -> usize {
        match self.reference_images.len() {
            0 => self.reference_frame.len(),
            images => images,
        }
    }

    /// The picture files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.reference_images.iter().map(PathBuf::as_path)
    }

    /// Reads the only annotated picture, and says which it is.
    pub fn picture(
        &self,
        input: &Path,
        options: &SourceOptions,
    ) -> anyhow::Result<(Frame, String)> {
        let count = self.count();
        if count > 1 {
            bail!("one picture is annotated at a time, and {count} are given");
        }
        let (picture, place, _) =
            self.read(input, options)?.0.pop().context("no picture is annotated")?;
        Ok((picture, place))
    }

    /// Reads all annotated pictures, says which they are, and gives back the input where it was read.
    fn read(
        &self,
        input: &Path,
        options: &SourceOptions,
    ) -> anyhow::Result<(Vec<AnnotatedFrame>, Option<Frames>)> {
        if !self.reference_images.is_empty() {
            let open = |path: &PathBuf| -> anyhow::Result<_> {
                let (frame, notes) = Frame::open_with_notes(path)?;
                for note in notes {
                    tell!("note: {}: {note}", path.display());
                }
                Ok((frame, path.display().to_string(), None))
            };
            let pictures = self.reference_images.iter().map(open);
            return Ok((pictures.collect::<anyhow::Result<_>>()?, None));
        }
        let mut frames = Frames::open(input, options)?;
        let found = frames.find(&self.reference_frame)?;
        let named = found.into_iter().map(|(index, pts, frame)| {
            (frame, format!("frame {index} at {:.3} s", pts.as_secs_f64()), Some(index))
        });
        Ok((named.collect(), Some(frames).filter(|frames| !frames.is_dropped)))
    }
}

/// Most bytes of frames that are kept while the annotated ones are looked for.
const KEPT: usize = 64 << 20;

/// The frames of the input, of which the first may have been read already.
pub struct Frames {
    input: PathBuf,
    /// What is read.
    pub source: Source,
    read: VecDeque<Picture>,
    bytes: usize,
    /// Whether frames that were read could not be kept.
    is_dropped: bool,
}

impl Frames {
    /// Opens the input.
    pub fn open(input: &Path, options: &SourceOptions) -> anyhow::Result<Self> {
        let source = open_recording(input, options)?;
        let (input, read) = (input.to_path_buf(), VecDeque::new());
        Ok(Self { input, source, read, bytes: 0, is_dropped: false })
    }

    /// The next frame. One that cannot be read is left out of a series, which tells so in its report.
    pub fn next(&mut self) -> anyhow::Result<Option<Picture>> {
        match self.read.pop_front() {
            Some(picture) => Ok(Some(picture)),
            None => self.read_on(),
        }
    }

    fn read_on(&mut self) -> anyhow::Result<Option<Picture>> {
        loop {
            match self.source.next_picture() {
                Err(_) if self.source.images().is_some() => {}
                result => return Ok(result?),
            }
        }
    }

    /// Those frames: number, time and pixels. A time means the frame that is on the screen then. All
    /// that is read on the way is kept for [`Frames::next`], if it is not too much.
    fn find(&mut self, places: &[FramePlace]) -> anyhow::Result<Vec<(u64, Duration, Frame)>> {
        let mut found: Vec<Option<(u64, Duration, Frame)>> = vec![None; places.len()];
        let mut last: Option<(u64, Duration, Frame)> = None;
        while found.iter().any(Option::is_none) {
            let Some(picture) = self.read_on()? else { break };
            let this = (picture.index, picture.pts, picture.frame.clone());
            for (place, found) in places.iter().zip(&mut found) {
                if found.is_some() {
                    continue;
                }
                *found = match place {
                    FramePlace::Number(number) => (picture.index == *number).then(|| this.clone()),
                    FramePlace::Time(time) if picture.pts == *time => Some(this.clone()),
                    // The frame that is on the screen at that time is the last that began before.
                    FramePlace::Time(time) if picture.pts > *time => {
                        Some(last.clone().unwrap_or_else(|| this.clone()))
                    }
                    FramePlace::Time(_) => None,
                };
            }
            last = Some(this);
            self.keep(picture);
        }
        let (count, input) = (self.source.end_report().decoded, self.input.display());
        let end = self.source.info().duration.max(Some(self.source.end_report().end));
        places
            .iter()
            .zip(found)
            .map(|(place, found)| match (place, found, &last) {
                (_, Some(found), _) => Ok(found),
                (FramePlace::Time(time), None, Some(last)) if end >= Some(*time) => {
                    Ok(last.clone())
                }
                (FramePlace::Number(number), ..) => {
                    bail!("{input} has no frame {number}: it has {count} frames")
                }
                (FramePlace::Time(time), ..) => {
                    bail!("{input} has no {} s: it has {count} frames", time.as_secs_f64())
                }
            })
            .collect()
    }

    fn keep(&mut self, picture: Picture) {
        // RGB, and about as much as it was decoded to.
        self.bytes += picture.frame.rgb().len() * 3 / 2;
        if self.is_dropped || self.bytes > KEPT {
            self.is_dropped = true;
            self.read.clear();
        } else {
            self.read.push_back(picture);
        }
    }
}

impl PromptArgs {
    /// Whether anything was given.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.bounding_box.is_none()
    }

    /// The points.
    pub fn point_prompts(&self) -> Vec<PointPrompt> {
        self.points.iter().map(|p| p.0).collect()
    }

    /// Whether the prompts fit the picture.
    pub fn check(&self, picture: &Frame) -> anyhow::Result<()> {
        let (width, height) = (picture.width(), picture.height());
        let inside =
            |x: f32, y: f32| (0.0..width as f32).contains(&x) && (0.0..height as f32).contains(&y);
        for Point(point) in &self.points {
            if !inside(point.x, point.y) {
                bail!(
                    "the point {},{} is outside the picture of {width} x {height} pixels",
                    point.x,
                    point.y
                );
            }
        }
        if let Some(BoxArg([x0, y0, x1, y1])) = self.bounding_box {
            let reaches = x1 <= width as f32 && y1 <= height as f32;
            if !inside(x0, y0) || !reaches {
                bail!("the box reaches outside the picture of {width} x {height} pixels");
            }
        }
        if self.bounding_box.is_none() && !self.points.iter().any(|p| p.0.positive) {
            bail!("give at least one point on the object, or a box");
        }
        Ok(())
    }

    /// SAM's mask for the prompts on a picture, and its predicted IoU.
    pub fn mask(&self, sam: &Sam, embedding: &Embedding) -> anyhow::Result<(Mask, f32)> {
        let points = self.point_prompts();
        let (mask, predicted_iou) =
            sam.segment(embedding, &points, self.bounding_box.map(|b| b.0))?;
        if mask.area() == 0 {
            bail!("the model sees no object at these prompts; give other or more points, or a box");
        }
        Ok((mask, predicted_iou))
    }
}

/// Reads a mask file for a picture, resized if that is wanted.
pub fn annotation(
    path: &Path,
    foreground: Foreground,
    picture: &Frame,
    resize: bool,
) -> anyhow::Result<Annotation> {
    let annotation = Annotation::open(path, foreground)?;
    if annotation.is_of_alpha() {
        tell!("note: {}: its alpha channel is taken as the mask", path.display());
    }
    if annotation.looks_like_a_picture() {
        tell!(
            "warning: {} looks like a picture rather than a mask; were the two swapped?",
            path.display()
        );
    }
    let (width, height) = (picture.width(), picture.height());
    let own = (annotation.width(), annotation.height());
    if own == (width, height) {
        return Ok(annotation);
    }
    if own == (height, width) {
        bail!(
            "the mask {} is {height} x {width} pixels and the annotated picture {width} x {height}: it \
             is turned by a quarter, as stored frames and photographs may be; turn the mask upright",
            path.display()
        );
    }
    if resize {
        return Ok(Annotation::from(&annotation.mask().resized(width, height)?));
    }
    bail!(
        "the mask {} is {} x {} pixels and the annotated picture {width} x {height}; give a mask of \
         the picture's size (track: or add --resize-mask)",
        path.display(),
        own.0,
        own.1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_points_and_boxes() {
        assert_eq!("12".parse(), Ok(FramePlace::Number(12)));
        assert_eq!("1.5s".parse(), Ok(FramePlace::Time(Duration::from_millis(1500))));
        assert_eq!("1:02.5".parse(), Ok(FramePlace::Time(Duration::from_millis(62_500))));
        assert!("-3".parse::<FramePlace>().is_err());
        assert!("1e400s".parse::<FramePlace>().is_err());
        let point = |x, y, positive| Ok(Point(PointPrompt { x, y, positive }));
        assert_eq!("10,20".parse(), point(10.0, 20.0, true));
        assert_eq!("+10,20.5".parse(), point(10.0, 20.5, true));
        assert_eq!("-10,20".parse(), point(10.0, 20.0, false));
        assert!("10".parse::<Point>().is_err());
        assert!("NaN,1".parse::<Point>().is_err());
        assert_eq!("1,2,3,4".parse(), Ok(BoxArg([1.0, 2.0, 3.0, 4.0])));
        assert!("3,2,1,4".parse::<BoxArg>().is_err());
    }

    #[test]
    fn objects_are_values_colours_or_names() {
        assert_eq!("5".parse(), Ok(ObjectArg::Value(5)));
        assert_eq!("#00FF80".parse(), Ok(ObjectArg::Color([0, 255, 128])));
        assert_eq!("polyp".parse(), Ok(ObjectArg::Name("polyp".into())));
        assert!("#00ff8".parse::<ObjectArg>().is_err());
    }
}
