//! The side of the image in an attention, tile by tile.

use gemm::Parallelism;
use rayon::prelude::*;

use super::source::Downscaling;
use super::{EMBEDDING_DIM, Image, add};
use crate::sam::kernels::math::{exp_negative, lanes};
use crate::sam::kernels::product::{Matrix, Target, product};
use crate::sam::kernels::tiles::Norm;
use crate::sam::transformer::HEADS;

/// Patches that lie in the cache at a time.
const TILE: usize = 128;
/// Patches that follow each other on one core.
const BAND: usize = 512;

/// A prompt's image: patches that change from layer to layer.
pub struct Patches<'a> {
    /// `[patches, 256]`.
    pub values: Vec<f32>,
    places: &'a [f32],
    pub columns: usize,
}

/// What patches are told of a prompt's tokens.
pub struct Told<'a> {
    /// What a patch is compared with, `[tokens, heads, 256]`.
    pub sought: Vec<f32>,
    /// `[tokens, heads]`, added to the scores.
    pub offsets: Vec<f32>,
    /// What a patch is given, `[tokens, heads, 256]`.
    pub given: Vec<f32>,
    pub bias: &'a [f32],
    pub norm: &'a Norm,
}

impl<'a> Patches<'a> {
    /// An image with a mask prompt, and what tokens see of it: the mean of its patches for each row of
    /// `sought`, `[rows, 256]`.
    pub fn new(
        downscaling: &Downscaling,
        image: Image<'a>,
        mask: Option<&[f32]>,
        sought: &[f32],
    ) -> (Self, Vec<f32>) {
        let mut values = vec![0.0; image.features.len()];
        let seen = in_tiles(&mut values, image.places, sought, |first, tile| {
            downscaling.tile(image, mask, first, tile);
        });
        (Self { values, places: image.places, columns: image.columns }, seen)
    }

    /// Changes the patches by what they are told, and returns what tokens see of them then.
    pub fn tell(&mut self, told: &Told, sought: &[f32]) -> Vec<f32> {
        let places = self.places;
        in_tiles(&mut self.values, places, sought, |first, tile| {
            told.to(tile, &places[first * EMBEDDING_DIM..][..tile.len()]);
        })
    }
}

/// Changes the patches, of which the first of each tile is given, and looks at them.
fn in_tiles(
    values: &mut [f32],
    places: &[f32],
    sought: &[f32],
    change: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let bands = values.par_chunks_mut(BAND * EMBEDDING_DIM).enumerate().map(|(band, values)| {
        let mut seen = Seen::new(sought.len() / EMBEDDING_DIM);
        let mut keys = Vec::new();
        for (index, tile) in values.chunks_mut(TILE * EMBEDDING_DIM).enumerate() {
            let first = band * BAND + index * TILE;
            change(first, tile);
            keys.clear();
            let places = &places[first * EMBEDDING_DIM..];
            keys.extend(tile.iter().zip(places).map(|(value, place)| value + place));
            seen.look(&keys, tile, sought);
        }
        seen
    });
    let bands: Vec<Seen> = bands.collect();
    bands.into_iter().reduce(Seen::and).map(Seen::means).unwrap_or_default()
}

impl Told<'_> {
    /// `tile` is `[patches, 256]`.
    fn to(&self, tile: &mut [f32], places: &[f32]) {
        let (patches, rows) = (tile.len() / EMBEDDING_DIM, self.offsets.len());
        let keys: Vec<f32> = tile.iter().zip(places).map(|(value, place)| value + place).collect();
        let mut scores = self.offsets.repeat(patches);
        let sought = Matrix::of_rows(&self.sought, EMBEDDING_DIM).transposed();
        let to = Target { values: &mut scores, row_step: rows, add: true };
        let keys = Matrix::of_rows(&keys, EMBEDDING_DIM);
        product(keys, sought, [patches, EMBEDDING_DIM, rows], 1.0, to, Parallelism::None);
        softmax_by_head(&mut scores, rows);
        let given = Matrix::of_rows(&self.given, EMBEDDING_DIM);
        let scores = Matrix::of_rows(&scores, rows);
        tile.chunks_exact_mut(EMBEDDING_DIM).for_each(|patch| add(patch, self.bias));
        let to = Target { values: &mut *tile, row_step: EMBEDDING_DIM, add: true };
        product(scores, given, [patches, rows, EMBEDDING_DIM], 1.0, to, Parallelism::None);
        self.norm.forward(tile);
    }
}

/// The softmax over the tokens of each row, `[tokens, heads]`.
fn softmax_by_head(scores: &mut [f32], rows: usize) {
    pulp::Arch::new().dispatch(|| {
        for scores in scores.chunks_exact_mut(rows) {
            let (tokens, _) = scores.as_chunks_mut::<HEADS>();
            let mut most = [f32::NEG_INFINITY; HEADS];
            for token in tokens.iter() {
                for (most, score) in most.iter_mut().zip(token) {
                    *most = most.max(*score);
                }
            }
            let mut sum = [0.0; HEADS];
            for token in tokens.iter_mut() {
                for head in 0..HEADS {
                    token[head] = exp_negative(token[head] - most[head]);
                    sum[head] += token[head];
                }
            }
            let factor = sum.map(|sum| 1.0 / sum);
            for token in tokens {
                for (score, factor) in token.iter_mut().zip(factor) {
                    *score *= factor;
                }
            }
        }
    });
}

/// A softmax over patches that come tile by tile: sums are kept relative to the largest score so far.
struct Seen {
    most: Vec<f32>,
    sum: Vec<f32>,
    /// The patches' sum, `[rows, 256]`.
    patches: Vec<f32>,
    scores: Vec<f32>,
}

impl Seen {
    fn new(rows: usize) -> Self {
        Self {
            most: vec![f32::NEG_INFINITY; rows],
            sum: vec![0.0; rows],
            patches: vec![0.0; rows * EMBEDDING_DIM],
            scores: Vec::new(),
        }
    }

    fn look(&mut self, keys: &[f32], values: &[f32], sought: &[f32]) {
        let (rows, patches) = (self.most.len(), keys.len() / EMBEDDING_DIM);
        self.scores.resize(rows * patches, 0.0);
        let keys = Matrix::of_rows(keys, EMBEDDING_DIM).transposed();
        let left = Matrix::of_rows(sought, EMBEDDING_DIM);
        let to = Target { values: &mut self.scores, row_step: patches, add: false };
        product(left, keys, [rows, EMBEDDING_DIM, patches], 1.0, to, Parallelism::None);
        pulp::Arch::new().dispatch(|| {
            for (row, scores) in self.scores.chunks_exact_mut(patches).enumerate() {
                let most = lanes(scores, self.most[row], |v| v, f32::max);
                if most > self.most[row] {
                    let factor = exp_negative(self.most[row] - most);
                    self.sum[row] *= factor;
                    let patches = &mut self.patches[row * EMBEDDING_DIM..][..EMBEDDING_DIM];
                    patches.iter_mut().for_each(|value| *value *= factor);
                    self.most[row] = most;
                }
                scores.iter_mut().for_each(|score| *score = exp_negative(*score - most));
                self.sum[row] += lanes(scores, 0.0, |v| v, |a, b| a + b);
            }
        });
        let (left, right) =
            (Matrix::of_rows(&self.scores, patches), Matrix::of_rows(values, EMBEDDING_DIM));
        let to = Target { values: &mut self.patches, row_step: EMBEDDING_DIM, add: true };
        product(left, right, [rows, patches, EMBEDDING_DIM], 1.0, to, Parallelism::None);
    }

    /// Both together.
    fn and(mut self, other: Self) -> Self {
        let rows = self.patches.chunks_exact_mut(EMBEDDING_DIM);
        for (row, (to, from)) in rows.zip(other.patches.chunks_exact(EMBEDDING_DIM)).enumerate() {
            let most = self.most[row].max(other.most[row]);
            let [own, its] = [self.most[row], other.most[row]].map(|m| exp_negative(m - most));
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *to * own + from * its);
            self.sum[row] = self.sum[row] * own + other.sum[row] * its;
            self.most[row] = most;
        }
        self
    }

    fn means(mut self) -> Vec<f32> {
        for (patch, sum) in self.patches.chunks_exact_mut(EMBEDDING_DIM).zip(&self.sum) {
            patch.iter_mut().for_each(|value| *value /= sum);
        }
        self.patches
    }
}
