use burn::nn::Linear;
use burn::prelude::*;

use super::product::{Matrix, Target, all_cores, product};
use super::record::{
    Function, Values, column_sums, into_values, is_training, primitive, run, slice, tensor,
};

/// A linear layer over the last dimension.
pub fn linear<B: Backend, const D: usize>(layer: &Linear<B>, x: Tensor<B, D>) -> Tensor<B, D> {
    let Some(bias) = layer.bias.as_ref().filter(|_| is_training::<B>()) else {
        return layer.forward(x);
    };
    let weight = layer.weight.val();
    let inputs = [primitive(x), primitive(weight), primitive(bias.val())];
    run(Affine, inputs).unwrap_or_else(|[x, weight, bias]| {
        // One product: the weight's gradient of a batch of them would be a batch of weights.
        let x = tensor::<B, D>(x);
        let (weight, bias) = (tensor::<B, 2>(weight), tensor::<B, 1>(bias));
        let [into, out] = weight.dims();
        let mut shape = x.dims();
        shape[D - 1] = out;
        let rows = x.shape().num_elements() / into;
        (x.reshape([rows, into]).matmul(weight) + bias.unsqueeze()).reshape(shape)
    })
}

/// Rows times a weight `[in, out]`, plus a bias.
#[derive(Clone, Debug)]
struct Affine;

impl Function<3> for Affine {
    // Burn's own is as quick.
    const INFERENCE: bool = false;

    fn forward(&self, [x, weight, bias]: [Values; 3]) -> TensorData {
        let [into, out] = weight.shape.dims();
        let rows = slice(&x).len() / into.max(1);
        let mut y = slice(&bias).repeat(rows);
        let (left, right) =
            (Matrix::of_rows(slice(&x), into), Matrix::of_rows(slice(&weight), out));
        let to = Target { values: &mut y, row_step: out, add: true };
        product(left, right, [rows, into, out], 1.0, to, all_cores());
        let mut shape = x.shape.clone();
        if let Some(last) = shape.iter_mut().last() {
            *last = out;
        }
        TensorData::new(y, shape)
    }

    fn backward(
        &self,
        [x, weight, _]: [Values; 3],
        gradient: TensorData,
        [by_x, by_weight, by_bias]: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let gradient = into_values(gradient);
        let [into, out] = weight.shape.dims();
        let rows = gradient.len() / out.max(1);
        let gradients = Matrix::of_rows(&gradient, out);
        let by_x = by_x.then(|| {
            let mut to = vec![0.0; rows * into];
            let right = Matrix::of_rows(slice(&weight), out).transposed();
            let target = Target { values: &mut to, row_step: into, add: false };
            product(gradients, right, [rows, out, into], 1.0, target, all_cores());
            to
        });
        let by_weight = by_weight.then(|| {
            let mut to = vec![0.0; into * out];
            let left = Matrix::of_rows(slice(&x), into).transposed();
            let target = Target { values: &mut to, row_step: out, add: false };
            product(left, gradients, [into, rows, out], 1.0, target, all_cores());
            to
        });
        [by_x, by_weight, by_bias.then(|| column_sums(&gradient, out))]
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Param, ParamId};

    use super::super::testing::{noise, same_gradients};
    use super::*;
    use crate::sam::Training;

    #[test]
    fn the_gradients_of_a_linear_layer_are_burns() {
        let layer = |weight: Tensor<Training, 4>, bias: Tensor<Training, 4>| {
            let weight =
                Param::initialized(ParamId::new(), weight.flatten::<3>(0, 1).flatten(0, 1));
            let bias = Param::initialized(ParamId::new(), bias.flatten::<1>(0, 3));
            Linear { weight, bias: Some(bias) }
        };
        same_gradients(
            [noise([3, 5, 4, 33]), noise([1, 1, 33, 20]), noise([1, 1, 1, 20])],
            |[x, weight, bias]| linear(&layer(weight, bias), x),
            |[x, weight, bias]| layer(weight, bias).forward(x),
        );
    }
}
