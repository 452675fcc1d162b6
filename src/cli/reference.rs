//! The annotated pictures: which ones, and what is marked on them.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use p2sam::{
    Annotation, Embedding, Foreground, Frame, Mask, MethodConfig, PointPrompt, Reference, Sam,
    SourceOptions, check_annotation, open_recording,
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
    /// Which values of the mask are the object.
    #[arg(long, value_enum, default_value_t)]
    foreground: ForegroundArg,
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

/// Which values of a mask file are the object.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ForegroundArg {
    /// Above the middle between the mask's smallest and largest value: two-level masks of any
    /// values, soft edges, compression noise.
    #[default]
    Middle,
    /// Above 0: masks whose values number several objects.
    Any,
}

impl From<ForegroundArg> for Foreground {
    fn from(arg: ForegroundArg) -> Self {
        match arg {
            ForegroundArg::Middle => Self::AboveMiddle,
            ForegroundArg::Any => Self::AboveZero,
        }
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

    /// Which values of a mask are the object.
    pub fn foreground(&self) -> Foreground {
        self.foreground.into()
    }

    /// The mask of the points and the box on a picture.
    pub fn prompted(&self, sam: &Sam, picture: &Frame) -> anyhow::Result<Mask> {
        self.prompts.check(picture)?;
        Ok(self.prompts.mask(sam, &sam.encode(picture)?)?.0)
    }

    /// Reads the annotated pictures and their masks.
    pub fn read(&self, input: &Path, options: &SourceOptions) -> anyhow::Result<Annotated> {
        let mut read = Annotated::default();
        for index in 0..self.picture.count() {
            let (picture, place) = self.picture.nth(index, input, options)?;
            match self.reference.get(index) {
                Some(path) => {
                    let mask = annotation(path, self.foreground, &picture, self.resize_mask)?;
                    check_annotation(&picture, &mask)
                        .with_context(|| path.display().to_string())?;
                    read.masks.push(mask);
                }
                None => self.prompts.check(&picture)?,
            }
            read.pictures.push(picture);
            read.places.push(place);
        }
        Ok(read)
    }
}

/// Annotated pictures.
#[derive(Default)]
pub struct Annotated {
    pictures: Vec<Frame>,
    /// Their masks; none until [`Annotated::reference`] if points or a box are given.
    masks: Vec<Annotation>,
    /// Which pictures they are, in words.
    pub places: Vec<String>,
}

impl Annotated {
    /// One picture with its mask.
    pub fn of(picture: Frame, mask: Annotation, place: String) -> Self {
        Self { pictures: vec![picture], masks: vec![mask], places: vec![place] }
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

    /// Each picture with its mask.
    pub fn pairs(&self) -> Vec<(&Frame, &Annotation)> {
        self.pictures.iter().zip(&self.masks).collect()
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
        match self.count() {
            1 => self.nth(0, input, options),
            count => bail!("one picture is annotated at a time, and {count} are given"),
        }
    }

    /// Reads one of the annotated pictures, and says which it is.
    fn nth(
        &self,
        index: usize,
        input: &Path,
        options: &SourceOptions,
    ) -> anyhow::Result<(Frame, String)> {
        if let Some(path) = self.reference_images.get(index) {
            return Ok((Frame::open(path)?, path.display().to_string()));
        }
        let place = self.reference_frame.get(index).copied().unwrap_or(FramePlace::Number(0));
        let (index, pts, frame) = place.find(input, options)?;
        Ok((frame, format!("frame {index} at {:.3} s", pts.as_secs_f64())))
    }
}

impl FramePlace {
    /// That frame of the input: its number, its time and its pixels. A time means the frame that is
    /// on the screen then.
    fn find(self, input: &Path, options: &SourceOptions) -> anyhow::Result<(u64, Duration, Frame)> {
        let mut source = open_recording(input, options)?;
        let mut last = None;
        while let Some(picture) = source.next_picture()? {
            let here = match self {
                Self::Number(number) => picture.index == number,
                // The picture that is on the screen at that time is the last that began before.
                Self::Time(time) => picture.pts >= time,
            };
            if here {
                let exact = match self {
                    Self::Number(_) => true,
                    Self::Time(time) => picture.pts == time,
                };
                let this = (picture.index, picture.pts, picture.frame);
                return Ok(if exact { this } else { last.unwrap_or(this) });
            }
            last = Some((picture.index, picture.pts, picture.frame));
        }
        let count = source.end_report().decoded;
        match (self, last) {
            (Self::Time(time), Some(last)) if source.info().duration >= Some(time) => Ok(last),
            (place, _) => {
                let place = match place {
                    Self::Number(number) => format!("frame {number}"),
                    Self::Time(time) => format!("{} s", time.as_secs_f64()),
                };
                bail!("{} has no {place}: it has {count} frames", input.display())
            }
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
    foreground: ForegroundArg,
    picture: &Frame,
    resize: bool,
) -> anyhow::Result<Annotation> {
    let annotation = Annotation::open(path, foreground.into())?;
    if annotation.looks_like_a_picture() {
        tell!(
            "warning: {} looks like a picture rather than a mask; were the two swapped?",
            path.display()
        );
    }
    let (width, height) = (picture.width(), picture.height());
    if (annotation.width(), annotation.height()) == (width, height) {
        return Ok(annotation);
    }
    if resize {
        return Ok(Annotation::from(&annotation.mask().resized(width, height)?));
    }
    bail!(
        "the mask {} is {} x {} pixels and the annotated picture {width} x {height}; give a mask of \
         the picture's size (track: or add --resize-mask)",
        path.display(),
        annotation.width(),
        annotation.height()
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
}
