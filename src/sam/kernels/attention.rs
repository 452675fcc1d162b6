//! Attention without tables of all scores and without copies by head.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use rayon::prelude::*;

use super::math::{exp_negative, lanes};
use super::{is_on_host, values};

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
    if !is_on_host(&qkv) {
        let qkv = qkv.reshape([batch, tokens, heads, 3 * width]).swap_dims(1, 2);
        let part = |index: usize| -> Tensor<B, 4> {
            qkv.clone().slice(s![.., .., .., index * width..(index + 1) * width])
        };
        return plain_attention(part(0), part(1), part(2), Some(bias), scale);
    }
    let device = qkv.device();
    let (data, bias) = (qkv.into_data(), bias.into_data());
    let part = |index: usize| Side {
        values: &values(&data)[index * width..],
        batch_step: tokens * all,
        head_step: 3 * width,
        row_step: all,
    };
    let sizes = Sizes { heads, rows: tokens, columns: tokens, width, out: width, scale };
    let out = sizes.attend(batch, part(0), part(1), part(2), Some(values(&bias)));
    Tensor::from_data(TensorData::new(out, [batch, tokens, heads * width]), &device)
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
    if !(is_on_host(&q) && is_on_host(&k) && is_on_host(&v)) {
        let [q, k, v] = [q, k, v].map(|x| split_heads(x, heads));
        return plain_attention(q, k, v, None, scale);
    }
    let device = q.device();
    let ([batch, rows, all], [_, columns, _]) = (q.dims(), k.dims());
    let width = all / heads;
    let [q, k, v] = [q, k, v].map(Tensor::into_data);
    let side = |data, tokens: usize| Side {
        values: data,
        batch_step: tokens * all,
        head_step: width,
        row_step: all,
    };
    let sizes = Sizes { heads, rows, columns, width, out: width, scale };
    let (q, k, v) = (values(&q), values(&k), values(&v));
    let out = sizes.attend(batch, side(q, rows), side(k, columns), side(v, columns), None);
    Tensor::from_data(TensorData::new(out, [batch, rows, all]), &device)
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
    if !(is_on_host(&q) && is_on_host(&k) && is_on_host(&v)) {
        return plain_attention(q, k, v, None, scale);
    }
    let device = q.device();
    let ([batch, heads, rows, width], [_, _, columns, out]) = (q.dims(), v.dims());
    let [q, k, v] = [q, k, v].map(Tensor::into_data);
    let side = |data, tokens: usize, width: usize| Side {
        values: data,
        batch_step: heads * tokens * width,
        head_step: tokens * width,
        row_step: width,
    };
    let sizes = Sizes { heads, rows, columns, width, out, scale };
    let (q, k) = (side(values(&q), rows, width), side(values(&k), columns, width));
    let result = sizes.attend(batch, q, k, side(values(&v), columns, out), None);
    Tensor::from_data(TensorData::new(result, [batch, rows, heads * out]), &device)
}

/// `[batch, n, channels]` to `[batch, heads, n, channels / heads]`.
pub fn split_heads<B: Backend>(x: Tensor<B, 3>, heads: usize) -> Tensor<B, 4> {
    let [batch, tokens, channels] = x.dims();
    x.reshape([batch, tokens, heads, channels / heads]).swap_dims(1, 2)
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

/// Queries, keys or values in memory: where a batch's head's row begins.
#[derive(Clone, Copy)]
struct Side<'a> {
    values: &'a [f32],
    batch_step: usize,
    head_step: usize,
    row_step: usize,
}

impl<'a> Side<'a> {
    fn from(self, batch: usize, head: usize, row: usize) -> &'a [f32] {
        let start = batch * self.batch_step + head * self.head_step + row * self.row_step;
        self.values.get(start..).unwrap_or_default()
    }
}

/// Sizes of an attention.
struct Sizes {
    heads: usize,
    rows: usize,
    columns: usize,
    width: usize,
    out: usize,
    scale: f64,
}

impl Sizes {
    /// Rows whose scores are computed at a time.
    const BLOCK: usize = 64;

    /// `[batch, rows, heads * out]`. The bias is `[heads, rows, columns]`.
    fn attend(&self, batch: usize, q: Side, k: Side, v: Side, bias: Option<&[f32]>) -> Vec<f32> {
        let Self { heads, rows, columns, width, out, scale } = *self;
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
                if let Some(bias) = bias {
                    let start = (head * rows + first) * columns;
                    scores.copy_from_slice(&bias[start..][..count * columns]);
                }
                let left = Matrix::new(q.from(picture, head, first), q.row_step, 1);
                let right = Matrix::new(k.from(picture, head, 0), 1, k.row_step);
                let to = Target { values: &mut scores, row_step: columns, add: bias.is_some() };
                product(left, right, [count, width, columns], scale as f32, to);
                let sums = exponentials(&mut scores, columns);
                let left = Matrix::new(&scores, columns, 1);
                let right = Matrix::new(v.from(picture, head, 0), v.row_step, 1);
                let values = &mut result[head * out..];
                product(
                    left,
                    right,
                    [count, columns, out],
                    1.0,
                    Target { values, row_step: line, add: false },
                );
                for (row, sum) in result.chunks_exact_mut(line).zip(sums) {
                    row[head * out..][..out].iter_mut().for_each(|value| *value /= sum);
                }
            }
        });
        result
    }
}

/// A matrix in memory.
struct Matrix<'a> {
    values: &'a [f32],
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    fn new(values: &'a [f32], row_step: usize, column_step: usize) -> Self {
        Self { values, row_step, column_step }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row_step + (columns - 1) * self.column_step < self.values.len()
    }
}

/// Where a product goes: rows of contiguous values.
struct Target<'a> {
    values: &'a mut [f32],
    row_step: usize,
    /// Added to what is there, or else in its place.
    add: bool,
}

/// `to` becomes scale * `left` (rows x inner) * `right` (inner x columns).
fn product(
    left: Matrix,
    right: Matrix,
    [rows, inner, columns]: [usize; 3],
    scale: f32,
    to: Target,
) {
    if rows == 0 || inner == 0 || columns == 0 {
        return;
    }
    assert!(left.holds(rows, inner) && right.holds(inner, columns));
    assert!((rows - 1) * to.row_step + columns <= to.values.len() && columns <= to.row_step);
    // SAFETY: all three matrices were just checked to lie within their slices.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            to.values.as_mut_ptr(),
            1,
            to.row_step as isize,
            to.add,
            left.values.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.values.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Every row to its exponentials, the largest being 1. Returns the rows' sums.
fn exponentials(scores: &mut [f32], columns: usize) -> Vec<f32> {
    pulp::Arch::new().dispatch(|| {
        scores
            .chunks_exact_mut(columns)
            .map(|row| {
                let most = lanes(row, f32::NEG_INFINITY, |v| v, f32::max);
                for value in row.iter_mut() {
                    *value = exp_negative(*value - most);
                }
                lanes(row, 0.0, |v| v, |a, b| a + b)
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{difference, noise};
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
    fn attention_within_windows_is_burns() {
        let (heads, tokens, width) = (3, 49, 8);
        let qkv = noise([5, tokens, heads * 3 * width]);
        let bias = noise([heads, tokens, tokens]);
        let own = attention_of_qkv(qkv.clone(), heads, bias.clone(), 0.3);
        let parts = qkv.reshape([5, tokens, heads, 3 * width]).swap_dims(1, 2);
        let part = |i: usize| parts.clone().slice(s![.., .., .., i * width..(i + 1) * width]);
        let plain = plain_attention(part(0), part(1), part(2), Some(bias), 0.3);
        assert!(difference(own, plain) < 1e-4);
    }
}
