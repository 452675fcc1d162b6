//! The two-way transformer of the mask decoder: tokens attend to themselves, tokens to the image,
//! the image to tokens (Kirillov et al. 2023, appendix A, "lightweight mask decoder").

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::softmax;

use super::kernels::{attention, linear, split_heads};
use super::layers::{ChannelNorm, MlpBlock};

pub const HEADS: usize = 8;
const DEPTH: usize = 2;
const MLP_DIM: usize = 2048;

/// What PerSAM adds to a decoder pass (Zhang et al., "Personalize Segment Anything Model with One
/// Shot", section 3.2).
#[derive(Clone, Debug)]
pub struct Guidance<B: Backend> {
    /// Target-guided attention: the object's similarity map, `[1, 1, 1, patches]`, in 0..1.
    pub attention: Tensor<B, 4>,
    /// Target-semantic prompting: the object's mean feature, `[1, 1, channels]`.
    pub semantic: Tensor<B, 3>,
}

#[derive(Module, Debug)]
pub struct TwoWayTransformer<B: Backend> {
    pub(super) layers: Vec<TwoWayAttentionBlock<B>>,
    pub(super) final_attn_token_to_image: Attention<B>,
    pub(super) norm_final_attn: ChannelNorm<B>,
}

impl<B: Backend> TwoWayTransformer<B> {
    pub fn new(dim: usize, device: &B::Device) -> Self {
        Self {
            layers: (0..DEPTH)
                .map(|index| TwoWayAttentionBlock::new(dim, index == 0, device))
                .collect(),
            final_attn_token_to_image: Attention::new(dim, dim / 2, device),
            norm_final_attn: ChannelNorm::new(dim, 1e-5, device),
        }
    }

    /// `image` and `image_pe` are `[batch or 1, patches, dim]`, `tokens` `[batch, n, dim]`. Returns
    /// tokens and image in the same shapes, the batch now full.
    pub fn forward(
        &self,
        image: Tensor<B, 3>,
        image_pe: Tensor<B, 3>,
        tokens: Tensor<B, 3>,
        guidance: Option<&Guidance<B>>,
    ) -> (Tensor<B, 3>, Tensor<B, 3>) {
        // The published code adds the object's feature to the tokens before each block and before
        // the last attention; before the first block the tokens still are their own positions, so
        // that those carry it from there on.
        let with_semantic = |x: Tensor<B, 3>| match guidance {
            Some(guidance) => x + guidance.semantic.clone(),
            None => x,
        };
        let token_pe = with_semantic(tokens);
        let (mut queries, mut keys) = (token_pe.clone(), image);
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                queries = with_semantic(queries);
            }
            (queries, keys) = layer.forward(queries, keys, &token_pe, &image_pe, guidance);
        }
        let attended = self.final_attn_token_to_image.forward(
            with_semantic(queries.clone() + token_pe),
            keys.clone() + image_pe,
            keys.clone(),
            None,
        );
        (self.norm_final_attn.forward(queries + attended), keys)
    }
}

#[derive(Module, Debug)]
pub struct TwoWayAttentionBlock<B: Backend> {
    pub(super) self_attn: Attention<B>,
    pub(super) norm1: ChannelNorm<B>,
    pub(super) cross_attn_token_to_image: Attention<B>,
    pub(super) norm2: ChannelNorm<B>,
    pub(super) mlp: MlpBlock<B>,
    pub(super) norm3: ChannelNorm<B>,
    pub(super) cross_attn_image_to_token: Attention<B>,
    pub(super) norm4: ChannelNorm<B>,
    /// The first block's tokens are their own positions: nothing is added, and its self-attention
    /// replaces them.
    pub(super) first: bool,
}

impl<B: Backend> TwoWayAttentionBlock<B> {
    fn new(dim: usize, first: bool, device: &B::Device) -> Self {
        let norm = || ChannelNorm::new(dim, 1e-5, device);
        Self {
            self_attn: Attention::new(dim, dim, device),
            norm1: norm(),
            cross_attn_token_to_image: Attention::new(dim, dim / 2, device),
            norm2: norm(),
            mlp: MlpBlock::new(dim, MLP_DIM, false, device),
            norm3: norm(),
            cross_attn_image_to_token: Attention::new(dim, dim / 2, device),
            norm4: norm(),
            first,
        }
    }

    fn forward(
        &self,
        queries: Tensor<B, 3>,
        keys: Tensor<B, 3>,
        token_pe: &Tensor<B, 3>,
        image_pe: &Tensor<B, 3>,
        guidance: Option<&Guidance<B>>,
    ) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let queries = if self.first {
            self.self_attn.forward(queries.clone(), queries.clone(), queries, None)
        } else {
            let q = queries.clone() + token_pe.clone();
            queries.clone() + self.self_attn.forward(q.clone(), q, queries, None)
        };
        let queries = self.norm1.forward(queries);

        let q = queries.clone() + token_pe.clone();
        let k = keys.clone() + image_pe.clone();
        let attended = self.cross_attn_token_to_image.forward(q, k.clone(), keys.clone(), guidance);
        let queries = self.norm2.forward(queries + attended);
        let queries = self.norm3.forward(queries.clone() + self.mlp.forward(queries));

        let q = queries.clone() + token_pe.clone();
        let attended = self.cross_attn_image_to_token.forward(k, q, queries.clone(), None);
        (queries, self.norm4.forward(keys + attended))
    }
}

/// Multi-head attention with its own projections, which may narrow the channels.
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    pub(super) q_proj: Linear<B>,
    pub(super) k_proj: Linear<B>,
    pub(super) v_proj: Linear<B>,
    pub(super) out_proj: Linear<B>,
}

impl<B: Backend> Attention<B> {
    fn new(dim: usize, inner: usize, device: &B::Device) -> Self {
        let into = || LinearConfig::new(dim, inner).init(device);
        Self {
            q_proj: into(),
            k_proj: into(),
            v_proj: into(),
            out_proj: LinearConfig::new(inner, dim).init(device),
        }
    }

    fn forward(
        &self,
        q: Tensor<B, 3>,
        k: Tensor<B, 3>,
        v: Tensor<B, 3>,
        guidance: Option<&Guidance<B>>,
    ) -> Tensor<B, 3> {
        let (q, k, v) = (linear(&self.q_proj, q), linear(&self.k_proj, k), linear(&self.v_proj, v));
        let [batch, tokens, channels] = q.dims();
        let scale = ((channels / HEADS) as f64).powf(-0.5);
        let out = match guidance {
            None => attention(q, k, v, HEADS, scale),
            Some(guidance) => {
                let [q, k, v] = [q, k, v].map(|x| split_heads(x, HEADS));
                let weights = softmax(q.mul_scalar(scale).matmul(k.swap_dims(2, 3)), 3);
                let weights = softmax(weights + guidance.attention.clone(), 3);
                weights.matmul(v).swap_dims(1, 2).reshape([batch, tokens, channels])
            }
        };
        linear(&self.out_proj, out)
    }
}
