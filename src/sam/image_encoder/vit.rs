//! The plain ViT image encoder of SAM: patches of 16, windows of 14 except in a few global
//! blocks, decomposed relative positions (Li et al., "Exploring plain vision transformer
//! backbones for object detection", section 3; Kirillov et al. 2023, appendix A).

mod host;

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;

use super::neck::Neck;
use crate::sam::config::{EMBEDDING_SIDE, VitConfig};
use crate::sam::kernels::grid::on_pictures;
use crate::sam::kernels::{
    attention_of_heads, convolution, is_host, linear, merge_windows, partition_windows,
};
use crate::sam::layers::{ChannelNorm, MlpBlock};
use host::HostVit;

const PATCH: usize = 16;
const WINDOW: usize = 14;

/// The encoder. Fields bear the names of the published checkpoints.
#[derive(Module, Debug)]
pub struct Vit<B: Backend> {
    patch_embed: PatchEmbed<B>,
    pos_embed: Param<Tensor<B, 4>>,
    blocks: Vec<Block<B>>,
    neck: Neck<B>,
    /// All of this on the processor, once it is fused; there are no blocks then.
    #[module(skip)]
    host: Option<Arc<HostVit>>,
}

impl<B: Backend> Vit<B> {
    pub fn new(config: &VitConfig, device: &B::Device) -> Self {
        let side = EMBEDDING_SIDE;
        Self {
            patch_embed: PatchEmbed {
                proj: Conv2dConfig::new([3, config.dim], [PATCH, PATCH])
                    .with_stride([PATCH, PATCH])
                    .init(device),
            },
            pos_embed: Param::from_tensor(Tensor::zeros([1, side, side, config.dim], device)),
            blocks: (0..config.depth)
                .map(|index| {
                    let window = if config.global.contains(&index) { side } else { WINDOW };
                    Block::new(config.dim, config.heads, window, device)
                })
                .collect(),
            neck: Neck::new(config.dim, device),
            host: None,
        }
    }

    pub fn forward(&self, pixels: Tensor<B, 4>) -> Tensor<B, 4> {
        if let Some(host) = &self.host {
            return on_pictures(pixels, |pixels, size| host.forward(pixels, size));
        }
        let patches = convolution(&self.patch_embed.proj, pixels).permute([0, 2, 3, 1]);
        let mut x = patches + self.pos_embed.val();
        for block in &self.blocks {
            x = block.forward(x);
        }
        self.neck.forward(x.permute([0, 3, 1, 2]))
    }

    /// For inference: on the processor the weights in the order in which they are needed, and no others,
    /// which for the largest model are 2.5 GB.
    pub fn fused(mut self) -> Self {
        if is_host::<B>(&self.pos_embed.device()) {
            self.host = Some(Arc::new(HostVit::new(&self)));
            self.blocks.clear();
        }
        self
    }
}

#[derive(Module, Debug)]
struct PatchEmbed<B: Backend> {
    proj: Conv2d<B>,
}

#[derive(Module, Debug)]
struct Block<B: Backend> {
    norm1: ChannelNorm<B>,
    attn: Attention<B>,
    norm2: ChannelNorm<B>,
    mlp: MlpBlock<B>,
    window: usize,
}

impl<B: Backend> Block<B> {
    fn new(dim: usize, heads: usize, window: usize, device: &B::Device) -> Self {
        let norm = || ChannelNorm::new(dim, 1e-6, device);
        Self {
            norm1: norm(),
            attn: Attention::new(dim, heads, window, device),
            norm2: norm(),
            mlp: MlpBlock::new(dim, 4 * dim, true, device),
            window,
        }
    }

    /// `[batch, height, width, channels]` to the same.
    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, height, width, _] = x.dims();
        let windows = partition_windows(self.norm1.forward(x.clone()), self.window);
        let attended = self.attn.forward(windows);
        let x = x + merge_windows(attended, [batch, height, width]);
        x.clone() + self.mlp.forward(self.norm2.forward(x))
    }
}

#[derive(Module, Debug)]
struct Attention<B: Backend> {
    qkv: Linear<B>,
    proj: Linear<B>,
    rel_pos_h: Param<Tensor<B, 2>>,
    rel_pos_w: Param<Tensor<B, 2>>,
    heads: usize,
}

impl<B: Backend> Attention<B> {
    fn new(dim: usize, heads: usize, window: usize, device: &B::Device) -> Self {
        let table = || Param::from_tensor(Tensor::zeros([2 * window - 1, dim / heads], device));
        Self {
            qkv: LinearConfig::new(dim, 3 * dim).init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            rel_pos_h: table(),
            rel_pos_w: table(),
            heads,
        }
    }

    /// `[windows, side, side, channels]` to the same.
    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [windows, side, _, dim] = x.dims();
        let (heads, width, tokens) = (self.heads, dim / self.heads, side * side);
        let device = x.device();
        let qkv = linear(&self.qkv, x)
            .reshape([windows, tokens, 3, heads, width])
            .permute([2, 0, 3, 1, 4]);
        let part = |index: usize| -> Tensor<B, 4> {
            qkv.clone().slice(s![index..index + 1]).reshape([windows, heads, tokens, width])
        };
        let (q, k, v) = (part(0), part(1), part(2));

        // The bias of a pair of patches is q . (row table at their row distance) + q . (column
        // table at their column distance). Appending those products to q, and a one-hot of the
        // row and of the column to k, makes the bias a part of the ordinary product, so that no
        // tokens x tokens table exists.
        let by_row = q
            .clone()
            .reshape([windows * heads, side, side, width])
            .matmul(relative(self.rel_pos_h.val(), side).swap_dims(1, 2).unsqueeze())
            .reshape([windows, heads, tokens, side]);
        let by_column = q
            .clone()
            .reshape([windows * heads, side, side, width])
            .swap_dims(1, 2)
            .matmul(relative(self.rel_pos_w.val(), side).swap_dims(1, 2).unsqueeze())
            .swap_dims(1, 2)
            .reshape([windows, heads, tokens, side]);
        let scale = (width as f64).powf(-0.5);
        let q = Tensor::cat(vec![q * scale, by_row, by_column], 3);
        let eye = Tensor::<B, 2>::eye(side, &device);
        let rows: Tensor<B, 3> = eye.clone().unsqueeze_dim::<3>(1).repeat_dim(1, side);
        let columns: Tensor<B, 3> = eye.unsqueeze_dim::<3>(0).repeat_dim(0, side);
        let places: Tensor<B, 4> = Tensor::cat(vec![rows, columns], 2)
            .reshape([1, 1, tokens, 2 * side])
            .expand([windows, heads, tokens, 2 * side]);
        let k = Tensor::cat(vec![k, places], 3);

        let out = attention_of_heads(q, k, v, 1.0);
        linear(&self.proj, out.reshape([windows, side, side, dim]))
    }
}

/// Rows of the table by (query, key): `[2 * side - 1, width]` to `[side, side, width]`, where entry
/// (i, j) is the table's row `i - j + side - 1`.
fn relative<B: Backend>(table: Tensor<B, 2>, side: usize) -> Tensor<B, 3> {
    let [_, width] = table.dims();
    let indices: Vec<i64> =
        (0..side).flat_map(|i| (0..side).map(move |j| (i + side - 1 - j) as i64)).collect();
    let device = table.device();
    let indices = Tensor::<B, 1, Int>::from_data(TensorData::new(indices, [side * side]), &device);
    table.select(0, indices).reshape([side, side, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sam::kernels::testing::{device, noise};

    #[test]
    fn the_encoder_on_the_processor_is_burns() {
        let config = VitConfig { dim: 64, depth: 2, heads: 2, global: vec![1] };
        let mut encoder = Vit::<burn::Dispatch>::new(&config, &device());
        encoder.pos_embed = Param::from_tensor(noise([1, EMBEDDING_SIDE, EMBEDDING_SIDE, 64]));
        for block in &mut encoder.blocks {
            let places = 2 * block.window - 1;
            block.attn.rel_pos_h = Param::from_tensor(noise([places, 32]) * 0.2);
            block.attn.rel_pos_w = Param::from_tensor(noise([32, places]).transpose() * 0.3);
        }
        let side = EMBEDDING_SIDE * PATCH;
        let pixels = noise([2, 3, side, side]);
        let plain = encoder.forward(pixels.clone());
        let fused = encoder.fused();
        assert!(fused.host.is_some());
        let own = fused.forward(pixels);
        let norm = |x: Tensor<burn::Dispatch, 4>| x.square().sum().sqrt().into_scalar();
        let error = norm(own - plain.clone()) / norm(plain);
        assert!(error < 1e-5, "off by {error:.1e}");
    }
}
