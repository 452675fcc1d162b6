//! Convolutions whose gradients are matrix products, not convolutions of convolutions.

use burn::module::Param;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::prelude::*;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use rayon::prelude::*;

use super::depthwise::Depthwise;
use super::product::{Matrix, Target, all_cores, product};
use super::record::{Function, Values, into_values, is_training, primitive, run, slice, tensor};
use crate::simd::vectorised;

/// A convolution of `[batch, channels, height, width]`.
pub fn convolution<B: Backend>(layer: &Conv2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    if is_training::<B>() {
        convolution_by(layer, layer.weight.val(), layer.bias.as_ref().map(Param::val), x)
    } else {
        layer.forward(x)
    }
}

/// A convolution with the strides, padding and groups of a layer, and another weight and bias.
pub fn convolution_by<B: Backend>(
    layer: &Conv2d<B>,
    weight: Tensor<B, 4>,
    bias: Option<Tensor<B, 1>>,
    x: Tensor<B, 4>,
) -> Tensor<B, 4> {
    let padding = match layer.padding {
        PaddingConfig2d::Explicit(top, left, ..) => [top, left],
        // The model's other convolutions have none.
        _ => [0, 0],
    };
    let (stride, groups) = (layer.stride, layer.groups);
    let [out, into, rows, columns] = weight.dims();
    let window = Window { kernel: [rows, columns], stride, padding };
    let depthwise = into == 1 && groups == out && groups > 1;
    if !is_training::<B>() || layer.dilation != [1, 1] || groups > 1 && !depthwise {
        let options = ConvOptions::new(stride, padding, layer.dilation, groups);
        return conv2d(x, weight, bias, options);
    }
    let bias = bias.unwrap_or_else(|| Tensor::zeros([out], &x.device()));
    let inputs = [primitive(x), primitive(weight), primitive(bias)];
    let done =
        if depthwise { run(Depthwise(window), inputs) } else { run(Convolution(window), inputs) };
    done.unwrap_or_else(|[x, weight, bias]| {
        let options = ConvOptions::new(stride, padding, [1, 1], groups);
        conv2d(tensor::<B, 4>(x), tensor(weight), Some(tensor(bias)), options)
    })
}

/// Where a kernel looks.
#[derive(Clone, Debug)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

impl Window {
    /// Height and width of what comes out.
    pub fn out(&self, size: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let reach = (size[axis] + 2 * self.padding[axis]).saturating_sub(self.kernel[axis]);
            reach / self.stride[axis] + 1
        })
    }

    /// The row or column of the input that a kernel's element meets, unless it lies outside.
    #[inline(always)]
    pub fn meets(&self, axis: usize, out: usize, element: usize, size: usize) -> Option<usize> {
        (out * self.stride[axis] + element).checked_sub(self.padding[axis]).filter(|&at| at < size)
    }

    /// The outputs `from..to` along the columns whose input for a kernel's element lies inside, and
    /// the input's column for the first of them.
    #[inline(always)]
    pub fn inside(&self, element: usize, width: usize, out: usize) -> ([usize; 2], usize) {
        let (stride, padding) = (self.stride[1], self.padding[1]);
        let from = padding.saturating_sub(element).div_ceil(stride).min(out);
        let to = (width + padding).saturating_sub(element).div_ceil(stride).clamp(from, out);
        ([from, to], (from * stride + element).saturating_sub(padding))
    }

    /// Whether inputs and outputs are the same places.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// Every kernel element's view of a picture: `[channels * kernel, places]`.
    fn columns(&self, picture: &[f32], size: [usize; 2], out: [usize; 2]) -> Vec<f32> {
        let (plane, elements) = (size[0] * size[1], self.kernel[0] * self.kernel[1]);
        let channels = picture.len() / plane.max(1);
        let mut to = vec![0.0; channels * elements * out[0] * out[1]];
        to.par_chunks_mut((out[0] * out[1]).max(1)).enumerate().for_each(|(index, to)| {
            let (channel, element) = (index / elements, index % elements);
            let from = &picture[channel * plane..][..plane];
            let (down, across) = (element / self.kernel[1], element % self.kernel[1]);
            let ([left, right], start) = self.inside(across, size[1], out[1]);
            for (row, to) in to.chunks_exact_mut(out[1]).enumerate() {
                let Some(at) = self.meets(0, row, down, size[0]) else { continue };
                let from = from[at * size[1]..][..size[1]].get(start..).unwrap_or_default();
                if self.stride[1] == 1 {
                    to[left..right].copy_from_slice(&from[..right - left]);
                } else {
                    let from = from.iter().step_by(self.stride[1]);
                    to[left..right].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        });
        to
    }

    /// The reverse: adds what every kernel element saw up into a picture.
    fn gather(&self, columns: &[f32], picture: &mut [f32], size: [usize; 2], out: [usize; 2]) {
        let (places, elements) = (out[0] * out[1], self.kernel[0] * self.kernel[1]);
        let planes = picture.par_chunks_exact_mut((size[0] * size[1]).max(1));
        let views = columns.par_chunks_exact((elements * places).max(1));
        planes.zip(views).for_each(|(plane, views)| {
            for (element, view) in views.chunks_exact(places).enumerate() {
                let (down, across) = (element / self.kernel[1], element % self.kernel[1]);
                let ([left, right], start) = self.inside(across, size[1], out[1]);
                for (row, view) in view.chunks_exact(out[1]).enumerate() {
                    let Some(at) = self.meets(0, row, down, size[0]) else { continue };
                    let to = &mut plane[at * size[1]..][..size[1]];
                    let to = to.get_mut(start..).unwrap_or_default();
                    let to = to.iter_mut().step_by(self.stride[1]);
                    to.zip(&view[left..right]).for_each(|(to, from)| *to += from);
                }
            }
        });
    }
}

/// A convolution over all channels: x `[batch, in, height, width]`, weight `[out, in, rows, columns]`,
/// bias `[out]`.
#[derive(Clone, Debug)]
struct Convolution(Window);

impl Function<3> for Convolution {
    const INFERENCE: bool = false;

    fn forward(&self, [x, weight, bias]: [Values; 3]) -> TensorData {
        let [batch, channels, height, width] = x.shape.dims();
        let [out_channels, ..] = weight.shape.dims::<4>();
        let (size, inner) = ([height, width], slice(&weight).len() / out_channels.max(1));
        let out = self.0.out(size);
        let places = out[0] * out[1];
        let mut y = vec![0.0; batch * out_channels * places];
        let pictures = slice(&x).chunks_exact((channels * height * width).max(1));
        for (to, from) in y.chunks_exact_mut((out_channels * places).max(1)).zip(pictures) {
            let planes = to.par_chunks_exact_mut(places).zip(slice(&bias));
            planes.for_each(|(plane, &bias)| plane.fill(bias));
            let views;
            let right = if self.0.is_pointwise() {
                from
            } else {
                views = self.0.columns(from, size, out);
                &views
            };
            let left = Matrix::of_rows(slice(&weight), inner);
            let to = Target { values: to, row_step: places, add: true };
            let sizes = [out_channels, inner, places];
            product(left, Matrix::of_rows(right, places), sizes, 1.0, to, all_cores());
        }
        TensorData::new(y, [batch, out_channels, out[0], out[1]])
    }

    fn backward(
        &self,
        [x, weight, _]: [Values; 3],
        gradient: TensorData,
        [by_x, by_weight, _]: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let [_, channels, height, width] = x.shape.dims();
        let [out_channels, ..] = weight.shape.dims::<4>();
        let (size, inner) = ([height, width], slice(&weight).len() / out_channels.max(1));
        let out = self.0.out(size);
        let places = out[0] * out[1];
        let gradient = into_values(gradient);
        let pointwise = self.0.is_pointwise();
        let mut to_x = vec![0.0; if by_x { slice(&x).len() } else { 0 }];
        let mut to_weight = vec![0.0; slice(&weight).len()];
        let whole = (channels * height * width).max(1);
        let mut views = vec![0.0; if by_x && !pointwise { inner * places } else { 0 }];
        let gradients = gradient.chunks_exact((out_channels * places).max(1));
        for (index, (gradient, from)) in gradients.zip(slice(&x).chunks_exact(whole)).enumerate() {
            let gradient = Matrix::of_rows(gradient, places);
            if by_weight {
                let own;
                let right = if pointwise {
                    from
                } else {
                    own = self.0.columns(from, size, out);
                    &own
                };
                let right = Matrix::of_rows(right, places).transposed();
                let to = Target { values: &mut to_weight, row_step: inner, add: true };
                let sizes = [out_channels, places, inner];
                product(gradient, right, sizes, 1.0, to, all_cores());
            }
            if by_x {
                let picture = &mut to_x[index * whole..][..whole];
                let left = Matrix::of_rows(slice(&weight), inner).transposed();
                let values = if pointwise { &mut *picture } else { &mut views };
                let to = Target { values, row_step: places, add: false };
                product(left, gradient, [inner, out_channels, places], 1.0, to, all_cores());
                if !pointwise {
                    self.0.gather(&views, picture, size, out);
                }
            }
        }
        let by_bias = plane_sums(&gradient, out_channels, places);
        [by_x.then_some(to_x), by_weight.then_some(to_weight), Some(by_bias)]
    }
}

/// The sum of each channel's planes, over all pictures.
pub fn plane_sums(values: &[f32], channels: usize, places: usize) -> Vec<f32> {
    let sum = |plane: &[f32]| {
        vectorised(
            #[inline(always)]
            || super::math::lanes(plane, 0.0, |v| v, |a, b| a + b),
        )
    };
    let sums: Vec<f32> = values.par_chunks_exact(places.max(1)).map(sum).collect();
    let mut total = vec![0.0; channels];
    for picture in sums.chunks_exact(channels.max(1)) {
        total.iter_mut().zip(picture).for_each(|(total, sum)| *total += sum);
    }
    total
}

#[cfg(test)]
mod tests {
    use burn::nn::conv::Conv2dConfig;

    use super::super::testing::{device, noise, same_gradients};
    use super::*;
    use crate::sam::Training;

    fn layer(
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> Conv2d<Training> {
        let pad = if kernel == 3 { 1 } else { 0 };
        Conv2dConfig::new(channels, [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_groups(groups)
            .init(&device())
    }

    #[test]
    fn gradients_of_convolutions_are_burns() {
        // Dense, patches, pointwise, and by channel; with and without strides.
        let cases = [(3, 1, 1), (3, 2, 1), (2, 2, 1), (1, 1, 1), (3, 1, 6), (3, 2, 6)];
        for (kernel, stride, groups) in cases {
            for [height, width] in [[9, 14], [8, 7]] {
                let layer = layer([6, 6], kernel, stride, groups);
                let x = noise([2, 6, height, width]);
                let weight = noise([6, 6 / groups, kernel, kernel]);
                let bias = noise([1, 6, 1, 1]);
                let options = || {
                    let pad = if kernel == 3 { 1 } else { 0 };
                    ConvOptions::new([stride; 2], [pad; 2], [1, 1], groups)
                };
                println!("kernel {kernel}, stride {stride}, groups {groups}, {height} x {width}");
                same_gradients(
                    [x, weight, bias],
                    |[x, weight, bias]| convolution_by(&layer, weight, Some(bias.flatten(0, 3)), x),
                    |[x, weight, bias]| conv2d(x, weight, Some(bias.flatten(0, 3)), options()),
                );
            }
        }
    }
}
