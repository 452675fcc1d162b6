//! TinyViT (Wu et al. 2022) as MobileSAM and LiteMedSAM use it: a convolutional stem and stage,
//! then three stages of windowed attention; the last stage keeps the resolution, so that the
//! embedding has 64 x 64 patches.

mod host;

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;

use super::neck::Neck;
use crate::sam::kernels::grid::on_pictures;
use crate::sam::kernels::{
    attention_of_qkv, convolution, convolution_by, gelu, is_host, linear, merge_windows,
    partition_windows, transpose,
};
use crate::sam::layers::ChannelNorm;
use host::HostTinyVit;

const DIMS: [usize; 4] = [64, 128, 160, 320];
const DEPTHS: [usize; 4] = [2, 2, 6, 2];
const HEADS: [usize; 4] = [2, 4, 5, 10];
const WINDOWS: [usize; 4] = [7, 7, 14, 7];
const EXPANSION: usize = 4;

/// The encoder. Fields bear the names of the published checkpoints.
#[derive(Module, Debug)]
pub struct TinyVit<B: Backend> {
    patch_embed: PatchEmbed<B>,
    stage0: ConvStage<B>,
    stages: Vec<Stage<B>>,
    neck: Neck<B>,
    /// The same on the processor, once it is fused.
    #[module(skip)]
    host: Option<Arc<HostTinyVit>>,
}

impl<B: Backend> TinyVit<B> {
    /// `strided`: the stem reduces the picture four times (MobileSAM); otherwise it keeps its size.
    pub fn new(strided: bool, device: &B::Device) -> Self {
        Self {
            patch_embed: PatchEmbed::new(strided, device),
            stage0: ConvStage::new(device),
            stages: (1..DIMS.len()).map(|index| Stage::new(index, device)).collect(),
            neck: Neck::new(DIMS[3], device),
            host: None,
        }
    }

    pub fn forward(&self, pixels: Tensor<B, 4>) -> Tensor<B, 4> {
        match &self.host {
            Some(host) if is_host::<B>(&pixels.device()) => {
                on_pictures(pixels, |pixels, size| host.forward(pixels, size))
            }
            _ => self.by_layers(pixels),
        }
    }

    /// By Burn's layers.
    fn by_layers(&self, pixels: Tensor<B, 4>) -> Tensor<B, 4> {
        let mut x = self.stage0.forward(self.patch_embed.forward(pixels));
        for stage in &self.stages {
            x = stage.forward(x);
        }
        self.neck.forward(x)
    }

    pub fn fused(mut self) -> Self {
        self.patch_embed.conv1 = self.patch_embed.conv1.fused();
        self.patch_embed.conv2 = self.patch_embed.conv2.fused();
        self.stage0.blocks = self.stage0.blocks.into_iter().map(MbConv::fused).collect();
        self.stage0.downsample = self.stage0.downsample.fused();
        self.stages = self.stages.into_iter().map(Stage::fused).collect();
        if is_host::<B>(&self.patch_embed.conv1.c.weight.device()) {
            self.host = Some(Arc::new(HostTinyVit::new(&self)));
        }
        self
    }
}

/// A convolution without bias and a batch normalisation with fixed statistics, or the one
/// convolution with bias that both make.
#[derive(Module, Debug)]
struct ConvBn<B: Backend> {
    c: Conv2d<B>,
    bn: Option<BatchNorm<B>>,
}

impl<B: Backend> ConvBn<B> {
    fn new(
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
        device: &B::Device,
    ) -> Self {
        let pad = kernel / 2;
        Self {
            c: Conv2dConfig::new(channels, [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
                .with_groups(groups)
                .with_bias(false)
                .init(device),
            bn: Some(BatchNormConfig::new(channels[1]).init(device)),
        }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let Some(bn) = &self.bn else { return convolution(&self.c, x) };
        // Scaling the few weights instead of the many results gives the same gradients.
        let (weight, shift) = folded(&self.c, bn);
        convolution_by(&self.c, weight, Some(shift), x)
    }

    fn fused(mut self) -> Self {
        let Some(bn) = self.bn.take() else { return self };
        let (weight, shift) = folded(&self.c, &bn);
        self.c.weight = Param::from_tensor(weight);
        self.c.bias = Some(Param::from_tensor(shift));
        self
    }
}

/// Weight and bias of the convolution that a convolution and a batch normalisation with fixed
/// statistics make.
fn folded<B: Backend>(c: &Conv2d<B>, bn: &BatchNorm<B>) -> (Tensor<B, 4>, Tensor<B, 1>) {
    let scale = bn.gamma.val() / (bn.running_var.value() + bn.epsilon).sqrt();
    let shift = bn.beta.val() - bn.running_mean.value() * scale.clone();
    let weight = c.weight.val();
    let [channels, _, _, _] = weight.dims();
    (weight * scale.reshape([channels, 1, 1, 1]), shift)
}

#[derive(Module, Debug)]
struct PatchEmbed<B: Backend> {
    conv1: ConvBn<B>,
    conv2: ConvBn<B>,
}

impl<B: Backend> PatchEmbed<B> {
    fn new(strided: bool, device: &B::Device) -> Self {
        let (kernel, stride) = if strided { (3, 2) } else { (1, 1) };
        Self {
            conv1: ConvBn::new([3, DIMS[0] / 2], kernel, stride, 1, device),
            conv2: ConvBn::new([DIMS[0] / 2, DIMS[0]], kernel, stride, 1, device),
        }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        self.conv2.forward(gelu(self.conv1.forward(x)))
    }
}

/// An inverted residual: widen, depth-wise 3 x 3, narrow.
#[derive(Module, Debug)]
struct MbConv<B: Backend> {
    conv1: ConvBn<B>,
    conv2: ConvBn<B>,
    conv3: ConvBn<B>,
}

impl<B: Backend> MbConv<B> {
    fn new(dim: usize, device: &B::Device) -> Self {
        let hidden = dim * EXPANSION;
        Self {
            conv1: ConvBn::new([dim, hidden], 1, 1, 1, device),
            conv2: ConvBn::new([hidden, hidden], 3, 1, hidden, device),
            conv3: ConvBn::new([hidden, dim], 1, 1, 1, device),
        }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let hidden = gelu(self.conv1.forward(x.clone()));
        let hidden = gelu(self.conv2.forward(hidden));
        gelu(self.conv3.forward(hidden) + x)
    }

    fn fused(self) -> Self {
        Self { conv1: self.conv1.fused(), conv2: self.conv2.fused(), conv3: self.conv3.fused() }
    }
}

/// Between stages: other channels and, except before the last stage, half the resolution.
#[derive(Module, Debug)]
struct PatchMerging<B: Backend> {
    conv1: ConvBn<B>,
    conv2: ConvBn<B>,
    conv3: ConvBn<B>,
}

impl<B: Backend> PatchMerging<B> {
    fn new(dim: usize, out: usize, device: &B::Device) -> Self {
        let stride = if out == DIMS[3] { 1 } else { 2 };
        Self {
            conv1: ConvBn::new([dim, out], 1, 1, 1, device),
            conv2: ConvBn::new([out, out], 3, stride, out, device),
            conv3: ConvBn::new([out, out], 1, 1, 1, device),
        }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = gelu(self.conv1.forward(x));
        self.conv3.forward(gelu(self.conv2.forward(x)))
    }

    fn fused(self) -> Self {
        Self { conv1: self.conv1.fused(), conv2: self.conv2.fused(), conv3: self.conv3.fused() }
    }
}

#[derive(Module, Debug)]
struct ConvStage<B: Backend> {
    blocks: Vec<MbConv<B>>,
    downsample: PatchMerging<B>,
}

impl<B: Backend> ConvStage<B> {
    fn new(device: &B::Device) -> Self {
        Self {
            blocks: (0..DEPTHS[0]).map(|_| MbConv::new(DIMS[0], device)).collect(),
            downsample: PatchMerging::new(DIMS[0], DIMS[1], device),
        }
    }

    fn forward(&self, mut x: Tensor<B, 4>) -> Tensor<B, 4> {
        for block in &self.blocks {
            x = block.forward(x);
        }
        self.downsample.forward(x)
    }
}

#[derive(Module, Debug)]
struct Stage<B: Backend> {
    blocks: Vec<Block<B>>,
    downsample: Option<PatchMerging<B>>,
}

impl<B: Backend> Stage<B> {
    fn new(index: usize, device: &B::Device) -> Self {
        Self {
            blocks: (0..DEPTHS[index]).map(|_| Block::new(index, device)).collect(),
            downsample: DIMS.get(index + 1).map(|&out| PatchMerging::new(DIMS[index], out, device)),
        }
    }

    fn forward(&self, mut x: Tensor<B, 4>) -> Tensor<B, 4> {
        for block in &self.blocks {
            x = block.forward(x);
        }
        match &self.downsample {
            Some(downsample) => downsample.forward(x),
            None => x,
        }
    }

    fn fused(self) -> Self {
        Self {
            blocks: self.blocks.into_iter().map(Block::fused).collect(),
            downsample: self.downsample.map(PatchMerging::fused),
        }
    }
}

#[derive(Module, Debug)]
struct Block<B: Backend> {
    attn: Attention<B>,
    local_conv: ConvBn<B>,
    mlp: TinyMlp<B>,
    window: usize,
}

impl<B: Backend> Block<B> {
    fn new(stage: usize, device: &B::Device) -> Self {
        let dim = DIMS[stage];
        Self {
            attn: Attention::new(dim, HEADS[stage], WINDOWS[stage], device),
            local_conv: ConvBn::new([dim, dim], 3, 1, dim, device),
            mlp: TinyMlp::new(dim, device),
            window: WINDOWS[stage],
        }
    }

    /// `[batch, channels, height, width]` to the same. All but the convolution works on patches,
    /// `[batch, height * width, channels]`.
    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let size = x.dims();
        let [batch, channels, height, width] = size;
        let flat = [batch, height * width, channels];
        let patches = transpose(x.flatten(2, 3));
        let grid = patches.clone().reshape([batch, height, width, channels]);
        let attended = self.attn.forward(partition_windows(grid, self.window));
        let attended = merge_windows(attended, [batch, height, width]).reshape(flat);
        let x = transpose(patches + attended).reshape(size);
        let patches = transpose(self.local_conv.forward(x).flatten(2, 3));
        transpose(patches.clone() + self.mlp.forward(patches)).reshape(size)
    }

    fn fused(mut self) -> Self {
        self.local_conv = self.local_conv.fused();
        self
    }
}

#[derive(Module, Debug)]
struct TinyMlp<B: Backend> {
    norm: ChannelNorm<B>,
    fc1: Linear<B>,
    fc2: Linear<B>,
}

impl<B: Backend> TinyMlp<B> {
    fn new(dim: usize, device: &B::Device) -> Self {
        Self {
            norm: ChannelNorm::new(dim, 1e-5, device),
            fc1: LinearConfig::new(dim, dim * EXPANSION).init(device),
            fc2: LinearConfig::new(dim * EXPANSION, dim).init(device),
        }
    }

    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        linear(&self.fc2, gelu(linear(&self.fc1, self.norm.forward(x))))
    }
}

/// Attention within a window, with a learnt bias for each distance in rows and columns.
#[derive(Module, Debug)]
struct Attention<B: Backend> {
    norm: ChannelNorm<B>,
    qkv: Linear<B>,
    proj: Linear<B>,
    attention_biases: Param<Tensor<B, 2>>,
    heads: usize,
    window: usize,
}

impl<B: Backend> Attention<B> {
    fn new(dim: usize, heads: usize, window: usize, device: &B::Device) -> Self {
        Self {
            norm: ChannelNorm::new(dim, 1e-5, device),
            qkv: LinearConfig::new(dim, 3 * dim).init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            attention_biases: Param::from_tensor(Tensor::zeros([heads, window * window], device)),
            heads,
            window,
        }
    }

    /// `[windows, window, window, channels]` to the same.
    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let size = x.dims();
        let [windows, side, _, dim] = size;
        let tokens = side * side;
        let scale = ((dim / self.heads) as f64).powf(-0.5);
        let qkv = linear(&self.qkv, self.norm.forward(x)).reshape([windows, tokens, 3 * dim]);
        let out = attention_of_qkv(qkv, self.heads, self.bias(), scale);
        linear(&self.proj, out.reshape(size))
    }

    /// `[heads, tokens, tokens]`. Column `|row distance| * window + |column distance|` of the table
    /// holds a pair's bias: the order in which the published code meets the distances.
    fn bias(&self) -> Tensor<B, 3> {
        let side = self.window;
        let tokens = side * side;
        let place = |token: usize| (token / side, token % side);
        let indices: Vec<i64> = (0..tokens * tokens)
            .map(|pair| {
                let ((r0, c0), (r1, c1)) = (place(pair / tokens), place(pair % tokens));
                (r0.abs_diff(r1) * side + c0.abs_diff(c1)) as i64
            })
            .collect();
        let table = self.attention_biases.val();
        let indices = Tensor::<B, 1, Int>::from_data(
            TensorData::new(indices, [tokens * tokens]),
            &table.device(),
        );
        table.select(1, indices).reshape([self.heads, tokens, tokens])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sam::kernels::testing::{device, noise};

    #[test]
    fn the_encoder_on_the_processor_is_burns() {
        for strided in [true, false] {
            // Windows reach beyond the picture, which is neither square nor of whole windows.
            let (height, width) = if strided { (192, 320) } else { (48, 80) };
            let encoder = TinyVit::<burn::Dispatch>::new(strided, &device());
            let pixels = noise([1, 3, height, width]);
            let plain = encoder.forward(pixels.clone());
            let fused = encoder.fused();
            assert!(fused.host.is_some());
            let own = fused.forward(pixels);
            assert_eq!(own.dims(), plain.dims());
            let norm = |x: Tensor<burn::Dispatch, 4>| x.square().sum().sqrt().into_scalar();
            let error = norm(own - plain.clone()) / norm(plain);
            assert!(error < 1e-5, "off by {error:.1e}");
        }
    }
}
