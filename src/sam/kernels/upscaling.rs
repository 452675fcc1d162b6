use burn::module::Param;
use burn::nn::conv::ConvTranspose2d;
use burn::prelude::*;
use rayon::prelude::*;

use super::convolution::plane_sums;
use super::product::{Matrix, Target, all_cores, product};
use super::record::{Function, Values, is_training, primitive, run, slice};
use super::values;

/// A transposed convolution whose stride is its kernel's side: every place becomes a square.
pub fn transposed_convolution<B: Backend>(
    layer: &ConvTranspose2d<B>,
    x: Tensor<B, 4>,
) -> Tensor<B, 4> {
    let apart = layer.stride == layer.kernel_size
        && layer.groups == 1
        && (layer.padding, layer.padding_out) == ([0, 0], [0, 0])
        && layer.dilation == [1, 1];
    let Some(bias) = layer.bias.as_ref().filter(|_| apart && is_training::<B>()) else {
        return layer.forward(x);
    };
    let inputs = [primitive(x.clone()), primitive(layer.weight.val()), primitive(Param::val(bias))];
    run(Upscaling, inputs).unwrap_or_else(|_| layer.forward(x))
}

/// x `[batch, in, height, width]`, weight `[in, out, rows, columns]`, bias `[out]`.
#[derive(Clone, Debug)]
struct Upscaling;

/// Of one picture: `[out * rows * columns, places]` to and from `[out, rows * height, columns * width]`.
struct Squares {
    kernel: [usize; 2],
    width: usize,
}

impl Squares {
    /// Calls `each` with every row of a channel's kernel elements and the row of pixels it belongs
    /// to, of which it owns every `columns`-th from its first on.
    fn rows<'a>(
        &'a self,
        places: usize,
    ) -> impl Iterator<Item = (std::ops::Range<usize>, usize)> + 'a {
        let [rows, columns] = self.kernel;
        let height = places / self.width.max(1);
        (0..rows * columns).flat_map(move |element| {
            (0..height).map(move |row| {
                let from = element * places + row * self.width;
                let line = row * rows + element / columns;
                (from..from + self.width, line * self.width * columns + element % columns)
            })
        })
    }
}

impl Function<3> for Upscaling {
    const INFERENCE: bool = false;

    fn forward(&self, [x, weight, bias]: [Values; 3]) -> TensorData {
        let [batch, channels, height, width] = x.shape.dims();
        let [_, out, rows, columns] = weight.shape.dims();
        let (places, elements) = (height * width, rows * columns);
        let squares = Squares { kernel: [rows, columns], width };
        let mut y = vec![0.0; batch * out * elements * places];
        let mut parts = vec![0.0; out * elements * places];
        let pictures = slice(&x).chunks_exact((channels * places).max(1));
        for (from, to) in pictures.zip(y.chunks_exact_mut(parts.len().max(1))) {
            let left = Matrix::of_rows(slice(&weight), out * elements).transposed();
            let target = Target { values: &mut parts, row_step: places, add: false };
            let sizes = [out * elements, channels, places];
            product(left, Matrix::of_rows(from, places), sizes, 1.0, target, all_cores());
            let planes = to.par_chunks_exact_mut((elements * places).max(1));
            let planes = planes.zip(parts.par_chunks_exact((elements * places).max(1)));
            planes.zip(slice(&bias)).for_each(|((to, parts), bias)| {
                for (from, start) in squares.rows(places) {
                    let to = to[start..].iter_mut().step_by(columns);
                    to.zip(&parts[from]).for_each(|(to, part)| *to = part + bias);
                }
            });
        }
        TensorData::new(y, [batch, out, height * rows, width * columns])
    }

    fn backward(
        &self,
        [x, weight, _]: [Values; 3],
        gradient: TensorData,
        [by_x, by_weight, _]: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let [_, channels, height, width] = x.shape.dims();
        let [_, out, rows, columns] = weight.shape.dims();
        let (places, elements) = (height * width, rows * columns);
        let squares = Squares { kernel: [rows, columns], width };
        let gradient = values(&gradient);
        let mut to_x = vec![0.0; slice(&x).len()];
        let mut to_weight = vec![0.0; slice(&weight).len()];
        let mut parts = vec![0.0; out * elements * places];
        let whole = (channels * places).max(1);
        let pictures = slice(&x).chunks_exact(whole).zip(to_x.chunks_exact_mut(whole));
        for ((x, to_x), gradient) in pictures.zip(gradient.chunks_exact(parts.len().max(1))) {
            let planes = parts.par_chunks_exact_mut((elements * places).max(1));
            let planes = planes.zip(gradient.par_chunks_exact((elements * places).max(1)));
            planes.for_each(|(parts, gradient)| {
                for (to, start) in squares.rows(places) {
                    let from = gradient[start..].iter().step_by(columns);
                    parts[to].iter_mut().zip(from).for_each(|(part, from)| *part = *from);
                }
            });
            let parts = Matrix::of_rows(&parts, places);
            if by_x {
                let left = Matrix::of_rows(slice(&weight), out * elements);
                let to = Target { values: to_x, row_step: places, add: false };
                product(left, parts, [channels, out * elements, places], 1.0, to, all_cores());
            }
            if by_weight {
                let left = Matrix::of_rows(x, places);
                let values = &mut to_weight;
                let to = Target { values, row_step: out * elements, add: true };
                let sizes = [channels, places, out * elements];
                product(left, parts.transposed(), sizes, 1.0, to, all_cores());
            }
        }
        let by_bias = plane_sums(gradient, out, elements * places);
        [by_x.then_some(to_x), by_weight.then_some(to_weight), Some(by_bias)]
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Param, ParamId};
    use burn::nn::conv::ConvTranspose2dConfig;

    use super::super::testing::{device, noise, same_gradients};
    use super::*;
    use crate::sam::Training;

    #[test]
    fn gradients_of_transposed_convolutions_are_burns() {
        let layer = |weight: Tensor<Training, 4>, bias: Tensor<Training, 4>| {
            let config = ConvTranspose2dConfig::new([6, 5], [2, 2]).with_stride([2, 2]);
            let mut layer: ConvTranspose2d<Training> = config.init(&device());
            layer.weight = Param::initialized(ParamId::new(), weight);
            layer.bias = Some(Param::initialized(ParamId::new(), bias.flatten::<1>(0, 3)));
            layer
        };
        same_gradients(
            [noise([2, 6, 7, 9]), noise([6, 5, 2, 2]), noise([1, 5, 1, 1])],
            |[x, weight, bias]| transposed_convolution(&layer(weight, bias), x),
            |[x, weight, bias]| layer(weight, bias).forward(x),
        );
    }
}
