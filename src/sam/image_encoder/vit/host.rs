//! The plain ViT on the processor: the same weights in the order in which the
//! [kernels](crate::sam::kernels) need them.

use burn::prelude::*;
use rayon::prelude::*;

use super::{Attention, Block, PATCH, Vit};
use crate::sam::image_encoder::neck::HostNeck;
use crate::sam::kernels::grid::{Grid, add_windows, filled, values_of, windows};
use crate::sam::kernels::panels::{Finish, Panels, Target};
use crate::sam::kernels::product::Matrix;
use crate::sam::kernels::sight::{Sight, SightValues};
use crate::sam::kernels::tiles::{Affine, Mlp, Norm};
use crate::simd::vectorised;

/// Patches that a core works on at a time.
const PATCHES: usize = 64;
/// Between two rows of scores: rows that are powers of two apart share few places of the cache.
const GAP: usize = 16;

/// The encoder.
#[derive(Debug)]
pub struct HostVit {
    embedding: Affine,
    /// `[side, side, channels]`.
    positions: Vec<f32>,
    blocks: Vec<HostBlock>,
    neck: HostNeck,
}

#[derive(Debug)]
struct HostBlock {
    norm: Norm,
    attention: HostAttention,
    mlp: Mlp,
}

/// Attention within windows of `side` x `side` patches.
#[derive(Debug)]
struct HostAttention {
    qkv: Affine,
    /// What `qkv` makes of the zeros beyond the picture.
    beyond: Vec<f32>,
    projection: Affine,
    /// What a query is multiplied by for its bias, `[width, 2 * side - 1]` for rows, then the same for
    /// columns: the farthest place after the query comes first.
    relative: Panels,
    heads: usize,
    side: usize,
}

/// A head's keys, `[width, tokens]`, and values, `[tokens, width]`.
#[derive(Default)]
struct Head {
    keys: Panels,
    values: Panels,
}

/// Queries of patches from `first` on, of a window's rows of so many `columns`.
struct Queries<'a> {
    qkv: &'a [f32],
    first: usize,
    columns: usize,
}

/// What one task computes in, head after head.
#[derive(Default)]
struct Room {
    relative: Vec<f32>,
    scores: Vec<f32>,
}

impl HostVit {
    pub fn new<B: Backend>(encoder: &Vit<B>) -> Self {
        Self {
            embedding: Affine::of_convolution(&encoder.patch_embed.proj),
            positions: values_of(encoder.pos_embed.val()),
            blocks: encoder.blocks.iter().map(HostBlock::new).collect(),
            neck: encoder.neck.on_host(),
        }
    }

    /// `[3, height, width]` to `[256, rows, columns]`, and these sizes.
    pub fn forward(&self, pixels: &[f32], [height, width]: [usize; 2]) -> (Vec<f32>, [usize; 3]) {
        let picture = Grid::of_planes(pixels, [3, height, width]);
        let mut x = Grid::zeros([height / PATCH, width / PATCH, self.embedding.out()]);
        x.values.copy_from_slice(&self.positions);
        let columns = x.columns;
        x.bands(columns).for_each(|band| {
            let inner = self.embedding.inputs();
            let mut seen = Vec::with_capacity(columns * inner);
            for column in 0..columns {
                let run = [column * PATCH, (column + 1) * PATCH];
                (0..PATCH).for_each(|row| {
                    seen.extend_from_slice(picture.run(band.first * PATCH + row, run));
                });
            }
            self.embedding.forward(&seen, band.values, Finish::Add);
        });
        for block in &self.blocks {
            block.forward(&mut x);
        }
        let x = self.neck.forward(&x);
        let shape = [x.channels, x.rows, x.columns];
        (x.into_planes(), shape)
    }
}

impl HostBlock {
    fn new<B: Backend>(block: &Block<B>) -> Self {
        Self {
            norm: block.norm1.on_host(),
            attention: HostAttention::new(&block.attn, block.window),
            mlp: Mlp {
                norm: block.norm2.on_host(),
                widen: Affine::of_linear(&block.mlp.lin1),
                narrow: Affine::of_linear(&block.mlp.lin2),
            },
        }
    }

    fn forward(&self, x: &mut Grid) {
        let mut normal = x.clone();
        normal.bands(PATCHES).for_each(|band| self.norm.forward(band.values));
        match self.attention.side == x.rows && x.rows == x.columns {
            true => self.attention.everywhere(&normal, x),
            false => {
                let side = self.attention.side;
                let attended =
                    windows(&normal, side, |patches, size| self.attention.within(patches, size));
                add_windows(x, side, &attended);
            }
        }
        x.bands(PATCHES).for_each(|band| self.mlp.forward(band.values));
    }
}

impl HostAttention {
    fn new<B: Backend>(attention: &Attention<B>, side: usize) -> Self {
        let tables = [&attention.rel_pos_h, &attention.rel_pos_w];
        let [places, width] = tables[0].dims();
        let rows = tables.map(|table| {
            let table = values_of(table.val());
            table.chunks_exact(width).rev().flatten().copied().collect::<Vec<f32>>()
        });
        let rows = rows.concat();
        let columns = Matrix::of_rows(&rows, width).transposed();
        let qkv = Affine::of_linear(&attention.qkv);
        let mut beyond = vec![0.0; qkv.out()];
        qkv.forward(&vec![0.0; qkv.inputs()], &mut beyond, Finish::Store);
        Self {
            qkv,
            beyond,
            projection: Affine::of_linear(&attention.proj),
            relative: Panels::new(columns, [width, 2 * places], &[]),
            heads: attention.heads,
            side,
        }
    }

    /// A part of a head's columns in what `qkv` makes: 0 for queries, 1 keys, 2 values.
    fn part<'a>(&self, qkv: &'a [f32], part: usize, head: usize) -> Matrix<'a> {
        let width = self.relative.inputs();
        Matrix::new(&qkv[(part * self.heads + head) * width..], self.qkv.out(), 1)
    }

    /// Lays out a head of all tokens of a window.
    fn lay(&self, head: usize, qkv: &[f32], to: &mut Head) {
        let (tokens, width) = (self.side * self.side, self.relative.inputs());
        let scale = (width as f64).powf(-0.5) as f32;
        to.keys.lay(self.part(qkv, 1, head).transposed(), [width, tokens], scale, &[]);
        to.values.lay(self.part(qkv, 2, head), [tokens, width], 1.0, &[]);
    }

    /// A window's patches in the picture, on one core.
    fn within(&self, patches: &mut [f32], [rows, columns]: [usize; 2]) {
        let mut own = vec![0.0; rows * columns * self.qkv.out()];
        self.qkv.forward(patches, &mut own, Finish::Store);
        let all = filled(&own, columns, self.side, &self.beyond);
        let queries = Queries { qkv: &own, first: 0, columns };
        let (mut sides, mut room) = (Head::default(), Room::default());
        let mut seen = vec![0.0; patches.len()];
        for head in 0..self.heads {
            self.lay(head, &all, &mut sides);
            self.attend(head, &queries, &sides, &mut room, &mut seen);
        }
        self.projection.forward(&seen, patches, Finish::Store);
    }

    /// The picture is the one window, on all cores; adds to `to`.
    fn everywhere(&self, from: &Grid, to: &mut Grid) {
        let (columns, channels, all) = (from.columns, from.channels, self.qkv.out());
        let mut qkv = vec![0.0; from.rows * columns * all];
        let bands =
            qkv.par_chunks_mut(PATCHES * all).zip(from.values.par_chunks(PATCHES * channels));
        bands.for_each(|(qkv, from)| self.qkv.forward(from, qkv, Finish::Store));
        let mut sides: Vec<Head> = (0..self.heads).map(|_| Head::default()).collect();
        sides.par_iter_mut().enumerate().for_each(|(head, to)| self.lay(head, &qkv, to));
        let bands = to.values.par_chunks_mut(PATCHES * channels).enumerate();
        bands.for_each_init(Room::default, |room, (band, to)| {
            let queries = Queries { qkv: &qkv, first: band * PATCHES, columns };
            let mut seen = vec![0.0; to.len()];
            for (head, sides) in sides.iter().enumerate() {
                self.attend(head, &queries, sides, room, &mut seen);
            }
            self.projection.forward(&seen, to, Finish::Add);
        });
    }

    /// What queries see of their window, into a head's columns of `seen`, `[patches, channels]`.
    fn attend(&self, head: usize, from: &Queries, to: &Head, room: &mut Room, seen: &mut [f32]) {
        let (side, width, out) = (self.side, self.relative.inputs(), self.projection.inputs());
        let (count, tokens) = (seen.len() / out, side * side);
        let Matrix { values, row_step, .. } = self.part(from.qkv, 0, head);
        let queries = Matrix::new(&values[from.first * row_step..], row_step, 1);
        // A query's products with both tables: its bias for any place is the sum of two of them.
        let places = self.relative.out();
        let Room { relative, scores } = room;
        relative.resize(count * places, 0.0);
        let target = Target { values: relative, step: places, finish: Finish::Store };
        self.relative.product(queries, count, target);
        let step = tokens + GAP;
        scores.resize(count * step, 0.0);
        vectorised(
            #[inline(always)]
            || {
                for (index, relative) in relative.chunks_exact(places).enumerate() {
                    let place = from.first + index;
                    let (row, column) = (place / from.columns, place % from.columns);
                    let by_row = &relative[side - 1 - row..][..side];
                    let by_column = &relative[places / 2 + side - 1 - column..][..side];
                    let scores = scores[index * step..][..tokens].chunks_exact_mut(side);
                    for (scores, by_row) in scores.zip(by_row) {
                        let scores = scores.iter_mut().zip(by_column);
                        scores.for_each(|(score, by_column)| *score = by_row + by_column);
                    }
                }
            },
        );
        let sight = Sight { keys: &to.keys, values: SightValues::Panels(&to.values) };
        sight.see((queries, count), (scores, step), (&mut seen[head * width..], out));
    }
}
