//! The annotated pictures: which ones, and what is marked on them.

mod frames;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use p2sam::{
    Annotation, Embedding, Foreground, Frame, Mask, MethodConfig, PointPrompt, Reference, Sam,
    SourceOptions, check_annotation,
};

pub use frames::Frames;
pub use values::{BoxArg, ForegroundArgs, FramePlace, ObjectArg, Point};

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
