//! The side of the image in an attention, tile by tile.

use rayon::prelude::*;

use super::source::Downscaling;
use super::{EMBEDDING_DIM, Image};
use crate::sam::kernels::math::exp_negative;
use crate::sam::kernels::panels::{Finish, Panels, Target, product_with_rows};
use crate::sam::kernels::product::Matrix;
use crate::sam::kernels::tiles::Norm;
use crate::sam::transformer::HEADS;
use crate::simd::vectorised;

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

/// What patches are compared with.
pub struct Sought(Panels);

impl Sought {
    /// `rows` is `[rows, 256]`; `offsets`, one a row, are added to the scores.
    pub fn new(rows: &[f32], offsets: &[f32]) -> Self {
        let sizes = [EMBEDDING_DIM, rows.len() / EMBEDDING_DIM];
        Self(Panels::new(Matrix::of_rows(rows, EMBEDDING_DIM).transposed(), sizes, offsets))
    }

    fn rows(&self) -> usize {
        self.0.out()
    }

    /// The scores of patches, `[patches, rows]`.
    fn scores(&self, patches: &[f32], scores: &mut Vec<f32>) {
        let count = patches.len() / EMBEDDING_DIM;
        scores.resize(count * self.rows(), 0.0);
        let to = Target { values: scores, step: self.rows(), finish: Finish::Store };
        self.0.product(Matrix::of_rows(patches, EMBEDDING_DIM), count, to);
    }
}

/// What patches are told of a prompt's tokens.
pub struct Told<'a> {
    /// A row for each head of each token.
    pub sought: Sought,
    /// What a patch is given, `[tokens, heads, 256]`, and what it is given anyway.
    pub given: Panels,
    pub norm: &'a Norm,
}

/// Memory of a band.
#[derive(Default)]
struct Room {
    keys: Vec<f32>,
    scores: Vec<f32>,
}

impl<'a> Patches<'a> {
    /// An image with a mask prompt, and what tokens see of it: the mean of its patches for each row of
    /// `sought`, `[rows, 256]`.
    pub fn new(
        downscaling: &Downscaling,
        image: Image<'a>,
        mask: Option<&[f32]>,
        sought: &Sought,
    ) -> (Self, Vec<f32>) {
        let mut values = vec![0.0; image.features.len()];
        let seen = in_tiles(&mut values, image.places, sought, |first, tile, _| {
            downscaling.tile(image, mask, first, tile);
        });
        (Self { values, places: image.places, columns: image.columns }, seen)
    }

    /// Changes the patches by what they are told, and returns what tokens see of them then.
    pub fn tell(&mut self, told: &Told, sought: &Sought) -> Vec<f32> {
        let places = self.places;
        in_tiles(&mut self.values, places, sought, |first, tile, room| {
            told.to(tile, &places[first * EMBEDDING_DIM..], room);
        })
    }
}

/// Changes the patches, of which the first of each tile is given, and looks at them.
fn in_tiles(
    values: &mut [f32],
    places: &[f32],
    sought: &Sought,
    change: impl Fn(usize, &mut [f32], &mut Room) + Sync,
) -> Vec<f32> {
    let bands = values.par_chunks_mut(BAND * EMBEDDING_DIM).enumerate().map(|(band, values)| {
        let mut seen = Seen::new(sought.rows());
        let mut room = Room::default();
        for (index, tile) in values.chunks_mut(TILE * EMBEDDING_DIM).enumerate() {
            let first = band * BAND + index * TILE;
            change(first, tile, &mut room);
            room.score(tile, &places[first * EMBEDDING_DIM..], sought);
            seen.look(&mut room.scores, tile);
        }
        seen
    });
    let bands: Vec<Seen> = bands.collect();
    bands.into_iter().reduce(Seen::and).map(Seen::means).unwrap_or_default()
}

impl Room {
    /// The scores of patches with their places.
    fn score(&mut self, tile: &[f32], places: &[f32], sought: &Sought) {
        self.keys.resize(tile.len(), 0.0);
        vectorised(
            #[inline(always)]
            || {
                let sums = tile.iter().zip(places).map(|(value, place)| value + place);
                self.keys.iter_mut().zip(sums).for_each(|(key, sum)| *key = sum);
            },
        );
        sought.scores(&self.keys, &mut self.scores);
    }
}

impl Told<'_> {
    /// `tile` is `[patches, 256]`.
    fn to(&self, tile: &mut [f32], places: &[f32], room: &mut Room) {
        let (patches, rows) = (tile.len() / EMBEDDING_DIM, self.sought.rows());
        room.score(tile, places, &self.sought);
        softmax_by_head(&mut room.scores, rows);
        let to = Target { values: tile, step: EMBEDDING_DIM, finish: Finish::Add };
        self.given.product(Matrix::of_rows(&room.scores, rows), patches, to);
        self.norm.forward(tile);
    }
}

/// The softmax over the tokens of each row, `[tokens, heads]`.
fn softmax_by_head(scores: &mut [f32], rows: usize) {
    vectorised(
        #[inline(always)]
        || {
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
        },
    );
}

/// A softmax over patches that come tile by tile: sums are kept relative to the largest score so far.
struct Seen {
    most: Vec<f32>,
    sum: Vec<f32>,
    /// The patches' sum, `[rows, 256]`.
    patches: Vec<f32>,
}

impl Seen {
    fn new(rows: usize) -> Self {
        Self {
            most: vec![f32::NEG_INFINITY; rows],
            sum: vec![0.0; rows],
            patches: vec![0.0; rows * EMBEDDING_DIM],
        }
    }

    /// `scores` is `[patches, rows]`, `tile` `[patches, 256]`.
    fn look(&mut self, scores: &mut [f32], tile: &[f32]) {
        let (rows, patches) = (self.most.len(), tile.len() / EMBEDDING_DIM);
        vectorised(
            #[inline(always)]
            || {
                let last = self.most.clone();
                for scores in scores.chunks_exact(rows) {
                    self.most
                        .iter_mut()
                        .zip(scores)
                        .for_each(|(most, score)| *most = most.max(*score));
                }
                let all = self.sum.iter_mut().zip(self.patches.chunks_exact_mut(EMBEDDING_DIM));
                for ((sum, patch), (last, most)) in all.zip(last.iter().zip(&self.most)) {
                    if most > last {
                        let factor = exp_negative(last - most);
                        *sum *= factor;
                        patch.iter_mut().for_each(|value| *value *= factor);
                    }
                }
                for scores in scores.chunks_exact_mut(rows) {
                    for ((score, most), sum) in scores.iter_mut().zip(&self.most).zip(&mut self.sum)
                    {
                        *score = exp_negative(*score - most);
                        *sum += *score;
                    }
                }
            },
        );
        let left = Matrix::of_rows(scores, rows).transposed();
        let to = Target { values: &mut self.patches, step: EMBEDDING_DIM, finish: Finish::Add };
        product_with_rows(left, [rows, patches, EMBEDDING_DIM], tile, EMBEDDING_DIM, to);
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
