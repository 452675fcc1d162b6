//! The side of the tokens in an attention.

use std::ops::Range;

use burn::prelude::*;
use gemm::Parallelism;
use rayon::prelude::*;

use super::patches::Told;
use super::{EMBEDDING_DIM, Tokens};
use crate::sam::kernels::product::{Matrix, Target, product};
use crate::sam::kernels::tiles::{Affine, Norm};
use crate::sam::kernels::token_attention;
use crate::sam::transformer::{self, HEADS};

/// Multi-head attention with its own projections. Between tokens and image each head of a token has a
/// row of its own, as long as a patch: `[tokens, heads, 256]`.
#[derive(Debug)]
pub struct Attention {
    q: Affine,
    k: Affine,
    v: Affine,
    out: Affine,
}

impl Attention {
    pub fn new<B: Backend>(attention: &transformer::Attention<B>) -> Self {
        Self {
            q: Affine::of_linear(&attention.q_proj),
            k: Affine::of_linear(&attention.k_proj),
            v: Affine::of_linear(&attention.v_proj),
            out: Affine::of_linear(&attention.out_proj),
        }
    }

    /// Channels of a head.
    fn width(&self) -> usize {
        self.q.out() / HEADS
    }

    fn scale(&self) -> f32 {
        (self.width() as f64).powf(-0.5) as f32
    }

    /// Each prompt's tokens attend to each other; `queries` are the tokens with whatever was added.
    pub fn among(&self, queries: &[f32], tokens: &Tokens) -> Vec<f32> {
        let parts = [self.q.of(queries), self.k.of(queries), self.v.of(&tokens.values)];
        let dim = self.q.out();
        let seen = tokens.ranges().flat_map(|range| {
            let rows = parts.each_ref().map(|part| &part[range.start * dim..range.end * dim]);
            token_attention(rows, range.len(), HEADS)
        });
        self.out.of(&seen.collect::<Vec<f32>>())
    }

    /// What tokens look for in patches, `[tokens, heads, 256]`. A query's product with the bias of the
    /// keys is the same for every patch, and falls out of the softmax.
    pub fn sought(&self, queries: &[f32]) -> Vec<f32> {
        let columns = |head: usize| self.k.columns(head * self.width()).transposed();
        self.spread(&self.q.of(queries), columns, self.scale())
    }

    /// The rows of some tokens.
    pub fn rows<'a>(&self, spread: &'a [f32], tokens: Range<usize>) -> &'a [f32] {
        let line = HEADS * EMBEDDING_DIM;
        &spread[tokens.start * line..tokens.end * line]
    }

    /// From the mean of the patches that each head of a token saw, `[tokens, heads, 256]`, what the
    /// tokens learn, `[tokens, 256]`.
    pub fn attended(&self, seen: &[f32]) -> Vec<f32> {
        let (line, inner, width) = (HEADS * EMBEDDING_DIM, self.v.out(), self.width());
        let count = seen.len() / line;
        let mut values = self.v.bias().repeat(count);
        for head in 0..HEADS {
            let left = Matrix::new(&seen[head * EMBEDDING_DIM..], line, 1);
            let right = self.v.columns(head * width);
            let to = Target { values: &mut values[head * width..], row_step: inner, add: true };
            product(left, right, [count, EMBEDDING_DIM, width], 1.0, to, Parallelism::None);
        }
        self.out.of(&values)
    }

    /// What the image is told of each prompt's tokens; `keys` are the tokens with their positions.
    pub fn told<'a>(&'a self, keys: &[f32], tokens: &Tokens, norm: &'a Norm) -> Vec<Told<'a>> {
        let (k, v, scale) = (self.k.of(keys), self.v.of(&tokens.values), self.scale());
        let width = self.width();
        let sought = self.spread(&k, |head| self.q.columns(head * width).transposed(), scale);
        let given = self.spread(&v, |head| self.out.rows(head * width), 1.0);
        // A patch's bias weighs the tokens against each other.
        let offsets: Vec<f32> = k
            .chunks_exact(width)
            .zip(self.q.bias().chunks_exact(width).cycle())
            .map(|(k, bias)| scale * k.iter().zip(bias).map(|(k, bias)| k * bias).sum::<f32>())
            .collect();
        let told = tokens.ranges().map(|range| Told {
            sought: self.rows(&sought, range.clone()).to_vec(),
            offsets: offsets[range.start * HEADS..range.end * HEADS].to_vec(),
            given: self.rows(&given, range).to_vec(),
            bias: self.out.bias(),
            norm,
        });
        told.collect()
    }

    /// `[tokens, heads * width]` times each head's `[width, 256]`: `[tokens, heads, 256]`.
    fn spread<'a>(
        &self,
        from: &[f32],
        by: impl Fn(usize) -> Matrix<'a> + Sync,
        scale: f32,
    ) -> Vec<f32> {
        let (line, inner, width) = (HEADS * EMBEDDING_DIM, self.q.out(), self.width());
        let count = from.len() / inner;
        let mut spread = vec![0.0; count * line];
        // Some tokens a core.
        let some = count.div_ceil(rayon::current_num_threads()).max(1);
        let parts = spread.par_chunks_mut(some * line).zip(from.par_chunks(some * inner));
        parts.for_each(|(spread, from)| {
            for head in 0..HEADS {
                let left = Matrix::new(&from[head * width..], inner, 1);
                let values = &mut spread[head * EMBEDDING_DIM..];
                let sizes = [from.len() / inner, width, EMBEDDING_DIM];
                let to = Target { values, row_step: line, add: false };
                product(left, by(head), sizes, scale, to, Parallelism::None);
            }
        });
        spread
    }
}
