//! Attention without tables of all scores and without copies by head.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use gemm::Parallelism;
use rayon::prelude::*;

use super::attention_gradients::Buffers;
use super::math::{exp_negative, lanes};
use super::product::{Matrix, Target, product};
use super::record::{Function, Values, primitive, run, slice, tensor};
use super::values;
use crate::simd::vectorised;

/// Attention of tokens with themselves within windows: `qkv` is `[batch, tokens, heads * 3 * width]`,
/// a head's query, key and value side by side; `bias` `[heads, tokens, tokens]` is added to the
/// scores. Returns `[batch, tokens, heads * width]`.
pub fn attention_of_qkv<B: Backend>(
    qkv: Tensor<B, 3>,
    heads: usize,
    bias: Tensor<B, 3>,
    scale: f64,
) -> Tensor<B, 3> {
    let [batch, tokens, all] = qkv.dims();
    let width = all / heads / 3;
    let sizes = Sizes { batch, heads, rows: tokens, columns: tokens, width, out: width, scale };
    run(OfQkv(sizes), [primitive(qkv), primitive(bias)]).unwrap_or_else(|[qkv, bias]| {
        plain_attention_of_qkv(tensor(qkv), heads, tensor(bias), scale)
    })
}

/// Attention of rows with columns: `q` is `[batch, rows, heads * width]`, `k` and `v` are
/// `[batch, columns, heads * width]`. Returns `[batch, rows, heads * width]`.
pub fn attention<B: Backend>(
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    v: Tensor<B, 3>,
    heads: usize,
    scale: f64,
) -> Tensor<B, 3> {
    let ([batch, rows, all], [_, columns, _]) = (q.dims(), k.dims());
    let width = all / heads;
    let sizes = Sizes { batch, heads, rows, columns, width, out: width, scale };
    let places = [rows, columns, columns].map(|tokens| Place {
        start: 0,
        batch: tokens * all,
        head: width,
        row: all,
    });
    run(OfParts { sizes, places }, [primitive(q), primitive(k), primitive(v)]).unwrap_or_else(
        |parts| {
            let [q, k, v] = parts.map(|x| split_heads(tensor::<B, 3>(x), heads));
            plain_attention(q, k, v, None, scale)
        },
    )
}

/// Attention with separate heads: `q` is `[batch, heads, rows, width]`, `k` is
/// `[batch, heads, columns, width]`, `v` is `[batch, heads, columns, out]`. Returns
/// `[batch, rows, heads * out]`.
pub fn attention_of_heads<B: Backend>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    scale: f64,
) -> Tensor<B, 3> {
    let ([batch, heads, rows, width], [_, _, columns, out]) = (q.dims(), v.dims());
    let sizes = Sizes { batch, heads, rows, columns, width, out, scale };
    let places = [(rows, width), (columns, width), (columns, out)].map(|(tokens, width)| Place {
        start: 0,
        batch: heads * tokens * width,
        head: tokens * width,
        row: width,
    });
    run(OfParts { sizes, places }, [primitive(q), primitive(k), primitive(v)]).unwrap_or_else(
        |parts| {
            let [q, k, v] = parts.map(tensor::<B, 4>);
            plain_attention(q, k, v, None, scale)
        },
    )
}

/// Attention whose query, key and value are one tensor, with a bias.
#[derive(Clone, Debug)]
struct OfQkv(Sizes);

impl OfQkv {
    fn places(&self) -> [Place; 3] {
        let Sizes { heads, rows, width, .. } = self.0;
        let row = heads * 3 * width;
        [0, 1, 2].map(|i| Place { start: i * width, batch: rows * row, head: 3 * width, row })
    }
}

impl Function<2> for OfQkv {
    fn forward(&self, [qkv, bias]: [Values; 2]) -> TensorData {
        let [q, k, v] = self.places().map(|place| Side { values: slice(&qkv), place });
        self.0.attend(q, k, v, Some(slice(&bias)))
    }

    fn backward(
        &self,
        [qkv, bias]: [Values; 2],
        gradient: TensorData,
        _: [bool; 2],
    ) -> [Option<Vec<f32>>; 2] {
        let sides = self.places().map(|place| Side { values: slice(&qkv), place });
        let mut to = vec![0.0; slice(&qkv).len()];
        let [Place { batch: picture, .. }, ..] = self.places();
        let pictures = to.chunks_mut(picture.max(1)).map(Buffers::One);
        let by_bias =
            self.0.gradients(sides, Some(slice(&bias)), values(&gradient), pictures.collect());
        [Some(to), Some(by_bias)]
    }
}

/// Attention of separate queries, keys and values.
#[derive(Clone, Debug)]
struct OfParts {
    sizes: Sizes,
    places: [Place; 3],
}

impl Function<3> for OfParts {
    fn forward(&self, parts: [Values; 3]) -> TensorData {
        let [a, b, c] = &self.places;
        let side = |index: usize, place: &Place| Side {
            values: slice(&parts[index]),
            place: place.clone(),
        };
        self.sizes.attend(side(0, a), side(1, b), side(2, c), None)
    }

    fn backward(
        &self,
        parts: [Values; 3],
        gradient: TensorData,
        _: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let [mut by_q, mut by_k, mut by_v] =
            parts.each_ref().map(|part| vec![0.0; slice(part).len()]);
        let sides: [Side; 3] = std::array::from_fn(|index| Side {
            values: slice(&parts[index]),
            place: self.places[index].clone(),
        });
        let [q, k, v] = self.places.each_ref().map(|place| place.batch.max(1));
        let pictures = by_q
            .chunks_mut(q)
            .zip(by_k.chunks_mut(k))
            .zip(by_v.chunks_mut(v))
            .map(|((q, k), v)| Buffers::Three([q, k, v]));
        self.sizes.gradients(sides, None, values(&gradient), pictures.collect());
        [Some(by_q), Some(by_k), Some(by_v)]
    }
}

/// [`attention`] of a few tokens with each other, each `[tokens, heads * width]`, on one core.
pub fn token_attention([q, k, v]: [&[f32]; 3], tokens: usize, heads: usize) -> Vec<f32> {
    let width = q.len() / (tokens * heads).max(1);
    let place = Place { start: 0, batch: q.len(), head: width, row: heads * width };
    let sides = [q, k, v].map(|values| Side { values, place: place.clone() });
    Sizes::among(tokens, heads, width).attend_all(sides, None)
}

/// `[batch, n, channels]` to `[batch, heads, n, channels / heads]`.
pub fn split_heads<B: Backend>(x: Tensor<B, 3>, heads: usize) -> Tensor<B, 4> {
    let [batch, tokens, channels] = x.dims();
    x.reshape([batch, tokens, heads, channels / heads]).swap_dims(1, 2)
}

/// The same by plain operations.
fn plain_attention_of_qkv<B: Backend>(
    qkv: Tensor<B, 3>,
    heads: usize,
    bias: Tensor<B, 3>,
    scale: f64,
) -> Tensor<B, 3> {
    let [batch, tokens, all] = qkv.dims();
    let width = all / heads / 3;
    let qkv = qkv.reshape([batch, tokens, heads, 3 * width]).swap_dims(1, 2);
    let part = |index: usize| -> Tensor<B, 4> {
        qkv.clone().slice(s![.., .., .., index * width..(index + 1) * width])
    };
    plain_attention(part(0), part(1), part(2), Some(bias), scale)
}

/// The same by plain operations.
fn plain_attention<B: Backend>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    bias: Option<Tensor<B, 3>>,
    scale: f64,
) -> Tensor<B, 3> {
    let scores = q.mul_scalar(scale).matmul(k.swap_dims(2, 3));
    let scores = match bias {
        Some(bias) => scores + bias.unsqueeze(),
        None => scores,
    };
    let out = softmax(scores, 3).matmul(v).swap_dims(1, 2);
    let [batch, rows, heads, width] = out.dims();
    out.reshape([batch, rows, heads * width])
}

/// Where a picture's head's row begins.
#[derive(Clone, Debug)]
pub struct Place {
    pub start: usize,
    pub batch: usize,
    pub head: usize,
    pub row: usize,
}

/// Queries, keys or values in memory.
#[derive(Clone)]
pub struct Side<'a> {
    pub values: &'a [f32],
    pub place: Place,
}

impl<'a> Side<'a> {
    pub fn from(&self, picture: usize, head: usize, row: usize) -> &'a [f32] {
        let Place { start, batch, head: by_head, row: by_row } = self.place;
        let start = start + picture * batch + head * by_head + row * by_row;
        self.values.get(start..).unwrap_or_default()
    }

    /// A head's rows from one on.
    pub fn matrix(&self, picture: usize, head: usize, row: usize) -> Matrix<'a> {
        Matrix::new(self.from(picture, head, row), self.place.row, 1)
    }
}

/// Sizes of an attention.
#[derive(Clone, Debug)]
pub struct Sizes {
    pub batch: usize,
    pub heads: usize,
    pub rows: usize,
    pub columns: usize,
    pub width: usize,
    pub out: usize,
    pub scale: f64,
}

impl Sizes {
    /// Rows whose scores are computed at a time.
    pub const BLOCK: usize = 64;

    /// Of tokens with each other.
    fn among(tokens: usize, heads: usize, width: usize) -> Self {
        let scale = (width as f64).powf(-0.5);
        Self { batch: 1, heads, rows: tokens, columns: tokens, width, out: width, scale }
    }

    /// One picture's rows, on one core.
    fn attend_all(&self, [q, k, v]: [Side; 3], bias: Option<&[f32]>) -> Vec<f32> {
        let mut result = vec![0.0; self.rows * self.heads * self.out];
        let mut scores = vec![0.0; self.rows * self.columns];
        for head in 0..self.heads {
            self.attend_rows([&q, &k, &v], bias, [0, head, 0], &mut scores, &mut result);
        }
        result
    }

    /// `[batch, rows, heads * out]`. The bias is `[heads, rows, columns]`.
    fn attend(&self, q: Side, k: Side, v: Side, bias: Option<&[f32]>) -> TensorData {
        let Self { batch, heads, rows, columns, out, .. } = *self;
        let line = heads * out;
        let mut result = vec![0.0; batch * rows * line];
        let blocks = rows.div_ceil(Self::BLOCK).max(1);
        // Each picture's rows in blocks; a block's heads one after the other.
        let work: Vec<(usize, &mut [f32])> = result
            .chunks_mut((rows * line).max(1))
            .flat_map(|picture| picture.chunks_mut(Self::BLOCK * line))
            .enumerate()
            .collect();
        work.into_par_iter().for_each(|(index, result)| {
            let (picture, first) = (index / blocks, index % blocks * Self::BLOCK);
            let count = result.len() / line;
            let mut scores = vec![0.0; count * columns];
            for head in 0..heads {
                let place = [picture, head, first];
                self.attend_rows([&q, &k, &v], bias, place, &mut scores, result);
            }
        });
        TensorData::new(result, [batch, rows, line])
    }

    /// What some of a head's rows see, into their columns of `result`. `scores` is `[count, columns]`.
    fn attend_rows(
        &self,
        [q, k, v]: [&Side; 3],
        bias: Option<&[f32]>,
        place: [usize; 3],
        scores: &mut [f32],
        result: &mut [f32],
    ) {
        let Self { heads, columns, out, .. } = *self;
        let ([picture, head, _], line) = (place, heads * out);
        let sums = self.weights(q, k, bias, place, scores, Parallelism::None);
        let to = Target { values: &mut result[head * out..], row_step: line, add: false };
        let (left, right) = (Matrix::of_rows(scores, columns), v.matrix(picture, head, 0));
        product(left, right, [sums.len(), columns, out], 1.0, to, Parallelism::None);
        for (row, sum) in result.chunks_exact_mut(line).zip(sums) {
            row[head * out..][..out].iter_mut().for_each(|value| *value /= sum);
        }
    }

    /// Fills `scores` with the exponentials of some of a head's rows' scores. Returns their sums.
    pub fn weights(
        &self,
        q: &Side,
        k: &Side,
        bias: Option<&[f32]>,
        [picture, head, first]: [usize; 3],
        scores: &mut [f32],
        parallelism: Parallelism,
    ) -> Vec<f32> {
        let Self { rows, columns, width, scale, .. } = *self;
        let count = scores.len() / columns.max(1);
        if let Some(bias) = bias {
            let start = (head * rows + first) * columns;
            scores.copy_from_slice(&bias[start..][..count * columns]);
        }
        let (left, right) = (q.matrix(picture, head, first), k.matrix(picture, head, 0));
        let to = Target { values: scores, row_step: columns, add: bias.is_some() };
        let sizes = [count, width, columns];
        product(left, right.transposed(), sizes, scale as f32, to, parallelism);
        exponentials(scores, columns, columns)
    }
}

/// So many values of each row, which begin `step` apart, to their exponentials, the largest being 1.
/// Returns the rows' sums.
pub fn exponentials(scores: &mut [f32], step: usize, columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; scores.len() / step.max(1)];
    vectorised(
        #[inline(always)]
        || {
            for (row, sum) in scores.chunks_exact_mut(step).zip(&mut sums) {
                let row = &mut row[..columns];
                let most = lanes(row, f32::NEG_INFINITY, |v| v, f32::max);
                for value in row.iter_mut() {
                    *value = exp_negative(*value - most);
                }
                *sum = lanes(row, 0.0, |v| v, |a, b| a + b);
            }
        },
    );
    sums
}

#[cfg(test)]
mod tests {
    use super::super::testing::{difference, noise, same_gradients};
    use super::*;

    #[test]
    fn attention_of_any_sizes_is_burns() {
        for (rows, columns) in [(196, 196), (7, 4096), (4096, 7), (1, 1)] {
            let (q, k, v) =
                (noise([2, rows, 48]), noise([2, columns, 48]) + 0.1, noise([2, columns, 48]));
            let own = attention(q.clone(), k.clone(), v.clone(), 3, 0.25);
            let [q, k, v] = [q, k, v].map(|x| split_heads(x, 3));
            let plain = plain_attention(q.clone(), k.clone(), v.clone(), None, 0.25);
            assert!(difference(own, plain.clone()) < 1e-4, "{rows} x {columns}");
            let own = attention_of_heads(q, k, v, 0.25);
            assert!(difference(own, plain) < 1e-4, "{rows} x {columns}");
        }
    }

    #[test]
    fn gradients_of_attention_are_burns() {
        for (rows, columns) in [(70, 70), (7, 150), (150, 7)] {
            let parts = || [noise([2, rows, 48]), noise([2, columns, 48]), noise([2, columns, 48])];
            same_gradients(
                parts(),
                |[q, k, v]| attention(q, k, v + 0.1, 3, 0.25),
                |[q, k, v]| {
                    let [q, k, v] = [q, k, v + 0.1].map(|x| split_heads(x, 3));
                    plain_attention(q, k, v, None, 0.25)
                },
            );
            same_gradients(
                parts().map(|x| split_heads(x, 3)),
                |[q, k, v]| attention_of_heads(q, k, v, 0.25),
                |[q, k, v]| plain_attention(q, k, v, None, 0.25),
            );
        }
        let (heads, tokens, width) = (3, 49, 8);
        same_gradients(
            [noise([5, tokens, heads * 3 * width]), noise([heads, tokens, tokens])],
            |[qkv, bias]| attention_of_qkv(qkv, heads, bias, 0.3),
            |[qkv, bias]| plain_attention_of_qkv(qkv, heads, bias, 0.3),
        );
    }

    #[test]
    fn attention_within_windows_is_burns() {
        let (heads, tokens, width) = (3, 49, 8);
        let qkv = noise([5, tokens, heads * 3 * width]);
        let bias = noise([heads, tokens, tokens]);
        let own = attention_of_qkv(qkv.clone(), heads, bias.clone(), 0.3);
        let plain = plain_attention_of_qkv(qkv, heads, bias, 0.3);
        assert!(difference(own, plain) < 1e-4);
    }
}
