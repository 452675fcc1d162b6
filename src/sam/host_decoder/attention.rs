//! The side of the tokens in an attention.

use std::ops::Range;

use burn::nn::Linear;
use burn::prelude::*;
use rayon::prelude::*;

use super::patches::{Sought, Told};
use super::{EMBEDDING_DIM, Tokens};
use crate::sam::kernels::grid::values_of;
use crate::sam::kernels::panels::{Finish, Panels, Target};
use crate::sam::kernels::product::Matrix;
use crate::sam::kernels::tiles::{Affine, Norm};
use crate::sam::kernels::token_attention;
use crate::sam::transformer::{self, HEADS};

/// Each prompt's tokens attend to each other.
#[derive(Debug)]
pub struct Among {
    q: Affine,
    k: Affine,
    v: Affine,
    out: Affine,
}

impl Among {
    pub fn new<B: Backend>(attention: &transformer::Attention<B>) -> Self {
        Self {
            q: Affine::of_linear(&attention.q_proj),
            k: Affine::of_linear(&attention.k_proj),
            v: Affine::of_linear(&attention.v_proj),
            out: Affine::of_linear(&attention.out_proj),
        }
    }

    /// `queries` are the tokens with whatever was added.
    pub fn attend(&self, queries: &[f32], tokens: &Tokens) -> Vec<f32> {
        let parts = [self.q.of(queries), self.k.of(queries), self.v.of(&tokens.values)];
        let dim = self.q.out();
        let seen = tokens.ranges().flat_map(|range| {
            let rows = parts.each_ref().map(|part| &part[range.start * dim..range.end * dim]);
            token_attention(rows, range.len(), HEADS)
        });
        self.out.of(&seen.collect::<Vec<f32>>())
    }
}

/// Tokens attend to the image. Each head of a token has a row of its own, as long as a patch:
/// `[tokens, heads, 256]`.
#[derive(Debug)]
pub struct FromImage {
    q: Affine,
    keys: Heads,
    /// A head's values of a patch, `[256, width]` each.
    values: Vec<Panels>,
    out: Affine,
}

impl FromImage {
    pub fn new<B: Backend>(attention: &transformer::Attention<B>) -> Self {
        let layer = &attention.v_proj;
        let [_, inner] = layer.weight.dims();
        let (weight, bias) = (values_of(layer.weight.val()), bias_of(layer));
        let width = inner / HEADS;
        let values = (0..HEADS).map(|head| {
            let columns = Matrix::new(&weight[head * width..], inner, 1);
            Panels::new(columns, [EMBEDDING_DIM, width], &bias[head * width..][..width])
        });
        Self {
            q: Affine::of_linear(&attention.q_proj),
            keys: Heads::of_columns(&attention.k_proj),
            values: values.collect(),
            out: Affine::of_linear(&attention.out_proj),
        }
    }

    /// What each prompt's tokens look for in patches. A query's product with the bias of the keys is
    /// the same for every patch, and falls out of the softmax.
    pub fn sought(&self, queries: &[f32], tokens: &Tokens) -> Vec<Sought> {
        let sought = self.keys.spread(&self.q.of(queries), self.keys.scale());
        tokens.ranges().map(|range| Sought::new(rows(&sought, &range), &[])).collect()
    }

    /// From the mean of the patches that each head of a token saw, `[tokens, heads, 256]`, what the
    /// tokens learn, `[tokens, 256]`.
    pub fn attended(&self, seen: &[f32]) -> Vec<f32> {
        let (line, inner) = (HEADS * EMBEDDING_DIM, self.out.inputs());
        let count = seen.len() / line;
        let mut values = vec![0.0; count * inner];
        for (head, panels) in self.values.iter().enumerate() {
            let left = Matrix::new(&seen[head * EMBEDDING_DIM..], line, 1);
            let values = &mut values[head * panels.out()..];
            panels.product(left, count, Target { values, step: inner, finish: Finish::Store });
        }
        self.out.of(&values)
    }
}

/// The image attends to tokens.
#[derive(Debug)]
pub struct ToImage {
    k: Affine,
    v: Affine,
    queries: Heads,
    /// The bias of the queries.
    offset: Vec<f32>,
    out: Heads,
    bias: Vec<f32>,
}

impl ToImage {
    pub fn new<B: Backend>(attention: &transformer::Attention<B>) -> Self {
        Self {
            k: Affine::of_linear(&attention.k_proj),
            v: Affine::of_linear(&attention.v_proj),
            queries: Heads::of_columns(&attention.q_proj),
            offset: bias_of(&attention.q_proj),
            out: Heads::of_rows(&attention.out_proj),
            bias: bias_of(&attention.out_proj),
        }
    }

    /// What the image is told of each prompt's tokens; `keys` are the tokens with their positions.
    pub fn told<'a>(&self, keys: &[f32], tokens: &Tokens, norm: &'a Norm) -> Vec<Told<'a>> {
        let (k, v, scale) = (self.k.of(keys), self.v.of(&tokens.values), self.queries.scale());
        let width = self.k.out() / HEADS;
        let (sought, given) = (self.queries.spread(&k, scale), self.out.spread(&v, 1.0));
        // A patch's bias weighs the tokens against each other.
        let offsets: Vec<f32> = k
            .chunks_exact(width)
            .zip(self.offset.chunks_exact(width).cycle())
            .map(|(k, bias)| scale * k.iter().zip(bias).map(|(k, bias)| k * bias).sum::<f32>())
            .collect();
        let told = tokens.ranges().map(|range| {
            let offsets = &offsets[range.start * HEADS..range.end * HEADS];
            let given = Matrix::of_rows(rows(&given, &range), EMBEDDING_DIM);
            Told {
                sought: Sought::new(rows(&sought, &range), offsets),
                given: Panels::new(given, [offsets.len(), EMBEDDING_DIM], &self.bias),
                norm,
            }
        });
        told.collect()
    }
}

/// The rows of some tokens, `[tokens, heads, 256]`.
fn rows<'a>(spread: &'a [f32], tokens: &Range<usize>) -> &'a [f32] {
    let line = HEADS * EMBEDDING_DIM;
    &spread[tokens.start * line..tokens.end * line]
}

fn bias_of<B: Backend>(layer: &Linear<B>) -> Vec<f32> {
    let [_, out] = layer.weight.dims();
    layer.bias.as_ref().map_or_else(|| vec![0.0; out], |bias| values_of(bias.val()))
}

/// Each head's `[width, 256]`.
#[derive(Debug)]
struct Heads(Vec<Panels>);

impl Heads {
    /// Of a layer `[256, heads * width]`, whose columns are a head's.
    fn of_columns<B: Backend>(layer: &Linear<B>) -> Self {
        Self::new(&values_of(layer.weight.val().transpose()))
    }

    /// Of a layer `[heads * width, 256]`.
    fn of_rows<B: Backend>(layer: &Linear<B>) -> Self {
        Self::new(&values_of(layer.weight.val()))
    }

    fn new(weight: &[f32]) -> Self {
        let heads = weight.chunks_exact((weight.len() / HEADS).max(1));
        let panels = heads.map(|weight| {
            let sizes = [weight.len() / EMBEDDING_DIM, EMBEDDING_DIM];
            Panels::new(Matrix::of_rows(weight, EMBEDDING_DIM), sizes, &[])
        });
        Self(panels.collect())
    }

    fn width(&self) -> usize {
        self.0[0].inputs()
    }

    fn scale(&self) -> f32 {
        (self.width() as f64).powf(-0.5) as f32
    }

    /// `[tokens, heads * width]`, times `scale`, to `[tokens, heads, 256]`.
    fn spread(&self, from: &[f32], scale: f32) -> Vec<f32> {
        let (line, inner) = (HEADS * EMBEDDING_DIM, HEADS * self.width());
        let from: Vec<f32> = from.iter().map(|value| value * scale).collect();
        let count = from.len() / inner;
        let mut spread = vec![0.0; count * line];
        // Some tokens a core.
        let some = count.div_ceil(rayon::current_num_threads()).max(1);
        let parts = spread.par_chunks_mut(some * line).zip(from.par_chunks(some * inner));
        parts.for_each(|(spread, from)| {
            for (head, panels) in self.0.iter().enumerate() {
                let left = Matrix::new(&from[head * panels.inputs()..], inner, 1);
                let values = &mut spread[head * EMBEDDING_DIM..];
                let to = Target { values, step: line, finish: Finish::Store };
                panels.product(left, from.len() / inner, to);
            }
        });
        spread
    }
}
