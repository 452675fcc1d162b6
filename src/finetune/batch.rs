//! Pictures and masks as they enter a training step.

use rayon::prelude::*;

use super::data::{TrainingData, TrainingImage};
use super::{FinetuneError, FinetuneOptions};
use crate::augment::Random;
use crate::augment::{Augmentation, augment, decoy, without_object};
use crate::dataset::DatasetError;
use crate::image::{Frame, Letterbox, Mask};
use crate::sam::{Architecture, Normalisation, pixels};
use crate::weights::sha256;

/// The model's needs of a picture.
#[derive(Clone, Copy, Debug)]
pub struct InputKind {
    pub architecture: Architecture,
    pub normalisation: Normalisation,
    pub side: u32,
    /// Features are kept: every picture gets the whole square, so that its features do not depend on
    /// the pictures that it shares a batch with.
    pub cached: bool,
}

impl InputKind {
    /// How a picture lies in the input: as in a trimmed model where the architecture allows it, so
    /// that nothing is spent on padding.
    fn letterbox(&self, width: u32, height: u32) -> Letterbox {
        let letterbox = Letterbox::new(width, height, self.side);
        if self.architecture.takes_any_size() && !self.cached {
            letterbox.trimmed(2 * self.architecture.stride())
        } else {
            letterbox
        }
    }

    /// Pixels of the input a side of a logit.
    pub fn cell(&self) -> u32 {
        self.architecture.stride() / 4
    }
}

/// A batch on the host. All its pictures share one canvas, the smallest that holds them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The pictures' names.
    pub names: Vec<String>,
    /// SHA-256 of their files, if features are kept.
    pub checksums: Vec<String>,
    /// Width and height of the canvas in pixels.
    pub canvas: [usize; 2],
    /// Normalised pixels, `[picture][channel][row][column]`.
    pub pixels: Vec<f32>,
    /// Columns and rows of the logits.
    pub map: [usize; 2],
    /// 1 on the object, `[picture][row][column]` of the logits.
    pub object: Vec<f32>,
    /// 1 within the picture, in the same order.
    pub inside: Vec<f32>,
    /// Whether the object is in each picture.
    pub present: Vec<bool>,
}

/// Share of the pictures without the object that are the data's own, where there are any; the others
/// are made of pictures that show it.
const OWN_ABSENT: f32 = 0.3;
/// Share of the pictures that get something painted over beside the object.
const DECOYS: f32 = 0.12;

struct Prepared {
    name: String,
    present: bool,
    checksum: Option<String>,
    canvas: [usize; 2],
    pixels: Vec<f32>,
    map: [usize; 2],
    object: Vec<f32>,
    inside: Vec<f32>,
}

impl Batch {
    /// Reads, changes and scales the pictures of batch number `number`.
    pub fn read(
        data: &TrainingData,
        kind: InputKind,
        options: &FinetuneOptions,
        number: u64,
    ) -> Result<Self, FinetuneError> {
        let images = data.batch(number, options.batch, options.seed);
        let prepared: Vec<Prepared> = images
            .par_iter()
            .enumerate()
            .map(|(place, image)| {
                let random = Random::at(options.seed, &[0xa06, number, place as u64]);
                Prepared::read(image, data, kind, options, random)
            })
            .collect::<Result<_, FinetuneError>>()?;
        Ok(Self::joined(&prepared))
    }

    fn joined(prepared: &[Prepared]) -> Self {
        let largest = |axis: usize, size: fn(&Prepared) -> [usize; 2]| {
            prepared.iter().map(|p| size(p)[axis]).max().unwrap_or(0)
        };
        let canvas = [largest(0, |p| p.canvas), largest(1, |p| p.canvas)];
        let map = [largest(0, |p| p.map), largest(1, |p| p.map)];
        let mut batch = Self {
            names: prepared.iter().map(|one| one.name.clone()).collect(),
            checksums: prepared.iter().filter_map(|one| one.checksum.clone()).collect(),
            canvas,
            pixels: Vec::with_capacity(prepared.len() * 3 * canvas[0] * canvas[1]),
            map,
            object: Vec::with_capacity(prepared.len() * map[0] * map[1]),
            inside: Vec::with_capacity(prepared.len() * map[0] * map[1]),
            present: prepared.iter().map(|one| one.present).collect(),
        };
        for one in prepared {
            for plane in one.pixels.chunks_exact(one.canvas[0] * one.canvas[1]) {
                enlarged(plane, one.canvas, canvas, &mut batch.pixels);
            }
            enlarged(&one.object, one.map, map, &mut batch.object);
            enlarged(&one.inside, one.map, map, &mut batch.inside);
        }
        batch
    }

    /// Object and inside of one picture.
    pub fn truth(&self, picture: usize) -> (&[f32], &[f32]) {
        let size = self.map[0] * self.map[1];
        let range = picture * size..(picture + 1) * size;
        (
            self.object.get(range.clone()).unwrap_or_default(),
            self.inside.get(range).unwrap_or_default(),
        )
    }
}

impl Prepared {
    /// An image, or one without the object in its place.
    fn read(
        image: &TrainingImage,
        data: &TrainingData,
        kind: InputKind,
        options: &FinetuneOptions,
        mut random: Random,
    ) -> Result<Self, FinetuneError> {
        let mut image = image;
        let mut seen: Option<(Frame, Mask)> = None;
        if random.chance(options.absent_share) {
            let own = !data.absent.is_empty() && (kind.cached || random.chance(OWN_ABSENT));
            if own {
                image = data.absent.get(random.below(data.absent.len())).unwrap_or(image);
            } else if !kind.cached {
                let (frame, mask) = image.read()?;
                let made = without_object(&frame, &mask, &mut random);
                seen = Some(made.transpose().map_err(DatasetError::from)?.unwrap_or((frame, mask)));
            }
        } else if options.augment == Augmentation::Scopes && random.chance(DECOYS) {
            let (frame, mask) = image.read()?;
            seen = Some(decoy(&frame, &mask, &mut random).map_err(DatasetError::from)?);
        }
        let (frame, mask) = match seen {
            Some(seen) => seen,
            None => image.read()?,
        };
        let (frame, mask) = augment(options.augment, &frame, &mask, kind.side, &mut random)
            .map_err(DatasetError::from)?;
        let checksum = kind.cached.then(|| sha256(&image.image)).transpose()?;
        Ok(Self { name: image.name.clone(), checksum, ..Self::scaled(&frame, &mask, kind) })
    }

    fn scaled(frame: &Frame, mask: &Mask, kind: InputKind) -> Self {
        let letterbox = kind.letterbox(frame.width(), frame.height());
        let canvas = letterbox.canvas().map(|side| side as usize);
        let map = canvas.map(|side| side / kind.cell() as usize);
        let inside = letterbox.scaled().map(|side| side.div_ceil(kind.cell()) as usize);
        let cover = coverage(mask, letterbox.scaled(), kind.cell(), inside);
        let mut prepared = Self {
            name: String::new(),
            present: mask.area() > 0,
            checksum: None,
            canvas,
            pixels: pixels(frame, &letterbox, kind.normalisation),
            map,
            object: vec![0.0; map[0] * map[1]],
            inside: vec![0.0; map[0] * map[1]],
        };
        let most = cover.iter().copied().fold(0.0, f32::max);
        let rows = cover.chunks_exact(inside[0].max(1));
        for (row, cover) in rows.enumerate().take(map[1]) {
            for (column, &share) in cover.iter().enumerate().take(map[0]) {
                let place = row * map[0] + column;
                // An object too small for any cell keeps the one that it covers most.
                let on = share > 0.5 || (most <= 0.5 && share == most && share > 0.0);
                prepared.object[place] = f32::from(u8::from(on));
                prepared.inside[place] = 1.0;
            }
        }
        prepared
    }
}

/// Appends a map with zeros to the right and below.
fn enlarged(from: &[f32], size: [usize; 2], to: [usize; 2], out: &mut Vec<f32>) {
    let end = out.len() + to[0] * to[1];
    for row in from.chunks_exact(size[0]) {
        out.extend_from_slice(row);
        out.resize(out.len() + to[0] - size[0], 0.0);
    }
    out.resize(end, 0.0);
}

/// The share of each cell that the object covers, for a mask scaled to `scaled` pixels and cut into
/// `cells` columns and rows of `cell` pixels.
fn coverage(mask: &Mask, scaled: [u32; 2], cell: u32, cells: [usize; 2]) -> Vec<f32> {
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    // For each cell, the mask's pixels along one axis; at least one.
    let span = |index: usize, axis: usize, length: usize| {
        let scale = length as f64 / f64::from(scaled[axis]);
        let at =
            |index: usize| ((index as f64 * f64::from(cell) * scale).round() as usize).min(length);
        let start = at(index).min(length - 1);
        start..at(index + 1).max(start + 1)
    };
    let mut cover = Vec::with_capacity(cells[0] * cells[1]);
    for row in 0..cells[1] {
        let rows = span(row, 1, height);
        for column in 0..cells[0] {
            let columns = span(column, 0, width);
            let on: usize = rows
                .clone()
                .filter_map(|y| mask.data().get(y * width + columns.start..y * width + columns.end))
                .map(|line| line.iter().filter(|&&on| on).count())
                .sum();
            cover.push(on as f32 / (rows.len() * columns.len()) as f32);
        }
    }
    cover
}
