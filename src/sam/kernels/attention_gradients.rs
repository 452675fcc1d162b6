//! The backward pass of attention. Scores are computed anew, block by block of rows, so that no
//! table of all of them is kept (Dao et al., "FlashAttention", section 3.1).

use gemm::Parallelism;
use rayon::prelude::*;

use super::attention::{Side, Sizes};
use super::math::dot;
use super::product::{Matrix, Target, all_cores, product};
use super::record::added;
use crate::simd::vectorised;

/// One picture's gradients of queries, keys and values: one tensor that holds all, or three.
pub enum Buffers<'a> {
    One(&'a mut [f32]),
    Three([&'a mut [f32]; 3]),
}

impl Buffers<'_> {
    /// Where a head's rows from one on are added to.
    fn target(&mut self, which: usize, side: &Side, head: usize, row: usize) -> Target<'_> {
        let values = match self {
            Self::One(all) => &mut **all,
            Self::Three(parts) => &mut *parts[which],
        };
        let place = &side.place;
        let start = place.start + head * place.head + row * place.row;
        let values = values.get_mut(start..).unwrap_or_default();
        Target { values, row_step: place.row, add: true }
    }
}

impl Sizes {
    /// Adds the gradients of queries, keys and values to `pictures`, one for each picture, all zeros.
    /// `gradient` is that of the result, `[batch, rows, heads * out]`. Returns the bias's, or nothing.
    pub fn gradients(
        &self,
        sides: [Side; 3],
        bias: Option<&[f32]>,
        gradient: &[f32],
        pictures: Vec<Buffers>,
    ) -> Vec<f32> {
        let nothing = || vec![0.0; bias.map_or(0, <[f32]>::len)];
        let threads = rayon::current_num_threads();
        if pictures.len() < threads {
            // Too few pictures to give each core one: all of them to each product.
            let mut by_bias = nothing();
            for (picture, mut to) in pictures.into_iter().enumerate() {
                self.of_picture(
                    &sides,
                    bias,
                    gradient,
                    picture,
                    &mut to,
                    &mut by_bias,
                    all_cores(),
                );
            }
            return by_bias;
        }
        let share = pictures.len().div_ceil(2 * threads);
        pictures
            .into_par_iter()
            .enumerate()
            .fold_chunks(share.max(1), nothing, |mut by_bias, (picture, mut to)| {
                let one = Parallelism::None;
                self.of_picture(&sides, bias, gradient, picture, &mut to, &mut by_bias, one);
                by_bias
            })
            .collect::<Vec<_>>()
            .into_iter()
            .reduce(added)
            .unwrap_or_else(nothing)
    }

    #[expect(clippy::too_many_arguments, reason = "two inputs and two outputs of one step")]
    fn of_picture(
        &self,
        sides: &[Side; 3],
        bias: Option<&[f32]>,
        gradient: &[f32],
        picture: usize,
        to: &mut Buffers,
        by_bias: &mut [f32],
        parallelism: Parallelism,
    ) {
        let Self { heads, rows, columns, width, out, scale, .. } = *self;
        let [q, k, v] = sides;
        let (scale, line) = (scale as f32, heads * out);
        let mut weights = vec![0.0; rows.min(Self::BLOCK) * columns];
        let mut slopes = weights.clone();
        for head in 0..heads {
            for first in (0..rows).step_by(Self::BLOCK) {
                let count = (rows - first).min(Self::BLOCK);
                let (weights, slopes) =
                    (&mut weights[..count * columns], &mut slopes[..count * columns]);
                let place = [picture, head, first];
                let sums = self.weights(q, k, bias, place, weights, parallelism);
                let start = (picture * rows + first) * line + head * out;
                let gradient = Matrix::new(&gradient[start..], line, 1);
                let of_values = v.matrix(picture, head, 0).transposed();
                let target = Target { values: &mut *slopes, row_step: columns, add: false };
                product(gradient, of_values, [count, out, columns], 1.0, target, parallelism);
                through_softmax(weights, slopes, &sums, columns);

                let weights = Matrix::of_rows(weights, columns);
                let target = to.target(2, v, head, 0);
                product(
                    weights.transposed(),
                    gradient,
                    [columns, count, out],
                    1.0,
                    target,
                    parallelism,
                );
                if bias.is_some() {
                    let start = (head * rows + first) * columns;
                    let to = by_bias[start..].iter_mut();
                    to.zip(&*slopes).for_each(|(to, slope)| *to += slope);
                }
                let slopes = Matrix::of_rows(slopes, columns);
                let target = to.target(0, q, head, first);
                let keys = k.matrix(picture, head, 0);
                product(slopes, keys, [count, columns, width], scale, target, parallelism);
                let target = to.target(1, k, head, 0);
                let queries = q.matrix(picture, head, first);
                product(
                    slopes.transposed(),
                    queries,
                    [columns, count, width],
                    scale,
                    target,
                    parallelism,
                );
            }
        }
    }
}

/// Exponentials to weights of sum 1, and gradients by weights to gradients by scores.
fn through_softmax(weights: &mut [f32], slopes: &mut [f32], sums: &[f32], columns: usize) {
    vectorised(
        #[inline(always)]
        || {
            let rows = weights.chunks_exact_mut(columns).zip(slopes.chunks_exact_mut(columns));
            for ((weights, slopes), sum) in rows.zip(sums) {
                let factor = 1.0 / sum;
                weights.iter_mut().for_each(|weight| *weight *= factor);
                let mean = dot(weights, slopes);
                for (slope, weight) in slopes.iter_mut().zip(&*weights) {
                    *slope = weight * (*slope - mean);
                }
            }
        },
    );
}
