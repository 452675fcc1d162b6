//! TinyViT on the processor: the same weights in the order in which [`tiles`](crate::sam::kernels::tiles)
//! needs them.

use burn::prelude::*;
use rayon::prelude::*;

use super::{Block, MbConv, PatchMerging, TinyVit};
use crate::sam::image_encoder::neck::HostNeck;
use crate::sam::kernels::exponentials;
use crate::sam::kernels::filter::{Depthwise, Filtered};
use crate::sam::kernels::grid::{Grid, add_windows, values_of, windows};
use crate::sam::kernels::panels::{Finish, Panels, Target, product_with_rows};
use crate::sam::kernels::product::Matrix;
use crate::sam::kernels::tiles::{Affine, Convolution, Inverted, Mlp, Norm};
use crate::sam::layers::ChannelNorm;

/// Patches that a core works on at a time.
const PATCHES: usize = 128;

/// The encoder with batch normalisations folded.
#[derive(Debug)]
pub struct HostTinyVit {
    stem: [Convolution; 2],
    stages: Vec<HostStage>,
    neck: HostNeck,
}

/// Some blocks, and what follows them.
#[derive(Debug)]
struct HostStage {
    blocks: Vec<HostBlock>,
    merging: Option<Inverted>,
}

#[derive(Debug)]
enum HostBlock {
    Convolutions(Inverted),
    Attention(Box<AttentionBlock>),
}

#[derive(Debug)]
struct AttentionBlock {
    norm: Norm,
    qkv: Affine,
    /// `[heads, tokens, tokens]`.
    bias: Vec<f32>,
    heads: usize,
    projection: Affine,
    local: Depthwise,
    mlp: Mlp,
    window: usize,
}

impl HostTinyVit {
    /// Of a fused encoder.
    pub fn new<B: Backend>(encoder: &TinyVit<B>) -> Self {
        let merging = |layer: &PatchMerging<B>| Inverted {
            widen: Affine::of_convolution(&layer.conv1.c),
            depthwise: Depthwise::new(&layer.conv2.c),
            narrow: Affine::of_convolution(&layer.conv3.c),
            residual: false,
        };
        let convolutions = |block: &MbConv<B>| {
            HostBlock::Convolutions(Inverted {
                widen: Affine::of_convolution(&block.conv1.c),
                depthwise: Depthwise::new(&block.conv2.c),
                narrow: Affine::of_convolution(&block.conv3.c),
                residual: true,
            })
        };
        let first = HostStage {
            blocks: encoder.stage0.blocks.iter().map(convolutions).collect(),
            merging: Some(merging(&encoder.stage0.downsample)),
        };
        let others = encoder.stages.iter().map(|stage| HostStage {
            blocks: stage
                .blocks
                .iter()
                .map(|block| HostBlock::Attention(Box::new(AttentionBlock::new(block))))
                .collect(),
            merging: stage.downsample.as_ref().map(merging),
        });
        let stem = &encoder.patch_embed;
        Self {
            stem: [&stem.conv1, &stem.conv2].map(|layer| Convolution::new(&layer.c)),
            stages: std::iter::once(first).chain(others).collect(),
            neck: encoder.neck.on_host(),
        }
    }

    /// `[3, height, width]` to `[256, rows, columns]`, and these sizes.
    pub fn forward(&self, pixels: &[f32], size: [usize; 2]) -> (Vec<f32>, [usize; 3]) {
        let [first, second] = &self.stem;
        let x = Grid::of_planes(pixels, [3, size[0], size[1]]);
        let x = first.forward(&x, Finish::Gelu, |_| ());
        let mut x = second.forward(&x, Finish::Store, |_| ());
        for stage in &self.stages {
            for block in &stage.blocks {
                x = match block {
                    HostBlock::Convolutions(block) => block.forward(&x),
                    HostBlock::Attention(block) => block.forward(x),
                };
            }
            if let Some(merging) = &stage.merging {
                x = merging.forward(&x);
            }
        }
        let x = self.neck.forward(&x);
        let shape = [x.channels, x.rows, x.columns];
        (x.into_planes(), shape)
    }
}

impl AttentionBlock {
    fn new<B: Backend>(block: &Block<B>) -> Self {
        let (attention, mlp) = (&block.attn, &block.mlp);
        let norm = |norm: &ChannelNorm<B>| norm.on_host();
        Self {
            norm: norm(&attention.norm),
            qkv: Affine::of_linear(&attention.qkv),
            bias: values_of(attention.bias()),
            heads: attention.heads,
            projection: Affine::of_linear(&attention.proj),
            local: Depthwise::new(&block.local_conv.c),
            mlp: Mlp {
                norm: norm(&mlp.norm),
                widen: Affine::of_linear(&mlp.fc1),
                narrow: Affine::of_linear(&mlp.fc2),
            },
            window: block.window,
        }
    }

    fn forward(&self, mut x: Grid) -> Grid {
        let attended = windows(&x, self.window, |patches| self.attend(patches));
        add_windows(&mut x, self.window, &attended);
        let mut y = Grid::zeros([x.rows, x.columns, x.channels]);
        let line = x.columns * x.channels;
        y.bands(PATCHES).for_each(|band| {
            for (row, to) in band.values.chunks_exact_mut(line).enumerate() {
                let seen = std::array::from_fn(|down| {
                    let at = (band.first + row + down).checked_sub(1).filter(|&at| at < x.rows)?;
                    Some(x.run(at, [0, x.columns]))
                });
                let to = Filtered { values: to, channels: 0..x.channels };
                self.local.row(seen, 0, 0, to, Finish::Store);
            }
            self.mlp.forward(band.values);
        });
        y
    }

    /// A window's patches become what they see of each other.
    fn attend(&self, patches: &mut [f32]) {
        let tokens = self.window * self.window;
        self.norm.forward(patches);
        let mut qkv = vec![0.0; tokens * self.qkv.out()];
        self.qkv.forward(patches, &mut qkv, Finish::Store);
        let mut seen = vec![0.0; patches.len()];
        let (mut keys, mut scores) = (Panels::default(), vec![0.0; tokens * tokens]);
        for (head, bias) in self.bias.chunks_exact(tokens * tokens).enumerate() {
            scores.copy_from_slice(bias);
            self.attend_by(head, &qkv, &mut keys, &mut scores, &mut seen);
        }
        self.projection.forward(&seen, patches, Finish::Store);
    }

    /// What one head's part of `qkv`, its query, key and value side by side, gives to its columns of
    /// `seen`. `scores`, `[tokens, tokens]`, begin as their bias.
    fn attend_by(
        &self,
        head: usize,
        qkv: &[f32],
        keys: &mut Panels,
        scores: &mut [f32],
        seen: &mut [f32],
    ) {
        let (tokens, line, out) =
            (self.window * self.window, self.qkv.out(), self.projection.inputs());
        let width = out / self.heads;
        let part = |index: usize| &qkv[(head * 3 + index) * width..];
        let scale = (width as f64).powf(-0.5) as f32;
        keys.lay(Matrix::new(part(1), 1, line), [width, tokens], scale, &[]);
        let to = Target { values: &mut *scores, step: tokens, finish: Finish::Add };
        keys.product(Matrix::new(part(0), line, 1), tokens, to);
        let sums = exponentials(scores, tokens, tokens);
        let to = Target { values: &mut seen[head * width..], step: out, finish: Finish::Store };
        let left = Matrix::of_rows(scores, tokens);
        product_with_rows(left, [tokens, tokens, width], part(2), line, to);
        for (row, sum) in seen.chunks_exact_mut(out).zip(sums) {
            row[head * width..][..width].iter_mut().for_each(|value| *value /= sum);
        }
    }
}
