//! TinyViT on the processor: the same weights in the order in which [`tiles`](crate::sam::kernels::tiles)
//! needs them.

use burn::prelude::*;
use rayon::prelude::*;

use super::{Block, MbConv, PatchMerging, TinyVit};
use crate::sam::image_encoder::neck::HostNeck;
use crate::sam::kernels::filter::{Depthwise, Filtered};
use crate::sam::kernels::grid::{Grid, add_windows, filled, values_of, windows};
use crate::sam::kernels::panels::{Finish, Panels};
use crate::sam::kernels::product::Matrix;
use crate::sam::kernels::sight::{Sight, SightValues};
use crate::sam::kernels::tiles::{Affine, Convolution, Inverted, Mlp, Norm};

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
    /// What `qkv` makes of the zeros beyond the picture.
    beyond: Vec<f32>,
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
        let (norm, qkv) = (attention.norm.on_host(), Affine::of_linear(&attention.qkv));
        let (mut zeros, mut beyond) = (vec![0.0; qkv.inputs()], vec![0.0; qkv.out()]);
        norm.forward(&mut zeros);
        qkv.forward(&zeros, &mut beyond, Finish::Store);
        Self {
            norm,
            qkv,
            beyond,
            bias: values_of(attention.bias()),
            heads: attention.heads,
            projection: Affine::of_linear(&attention.proj),
            local: Depthwise::new(&block.local_conv.c),
            mlp: Mlp {
                norm: mlp.norm.on_host(),
                widen: Affine::of_linear(&mlp.fc1),
                narrow: Affine::of_linear(&mlp.fc2),
            },
            window: block.window,
        }
    }

    fn forward(&self, mut x: Grid) -> Grid {
        let attended = windows(&x, self.window, |patches, size| self.attend(patches, size));
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

    /// A window's patches become what they see of each other, and of the zeros beyond the picture.
    fn attend(&self, patches: &mut [f32], [rows, columns]: [usize; 2]) {
        let (side, line, out) = (self.window, self.qkv.out(), self.projection.inputs());
        let (tokens, count, width) = (side * side, rows * columns, out / self.heads);
        self.norm.forward(patches);
        let mut own = vec![0.0; count * line];
        self.qkv.forward(patches, &mut own, Finish::Store);
        let all = filled(&own, columns, side, &self.beyond);
        let scale = (width as f64).powf(-0.5) as f32;
        let (mut keys, mut scores) = (Panels::default(), vec![0.0; count * tokens]);
        let mut seen = vec![0.0; patches.len()];
        for (head, bias) in self.bias.chunks_exact(tokens * tokens).enumerate() {
            // A head's query, key and value lie side by side.
            let part = |index: usize| (head * 3 + index) * width;
            keys.lay(Matrix::new(&all[part(1)..], 1, line), [width, tokens], scale, &[]);
            for (index, scores) in scores.chunks_exact_mut(tokens).enumerate() {
                let place = index / columns * side + index % columns;
                scores.copy_from_slice(&bias[place * tokens..][..tokens]);
            }
            let sight = Sight { keys: &keys, values: SightValues::Rows(&all[part(2)..], line) };
            let queries = Matrix::new(&own[part(0)..], line, 1);
            sight.see((queries, count), (&mut scores, tokens), (&mut seen[head * width..], out));
        }
        self.projection.forward(&seen, patches, Finish::Store);
    }
}
