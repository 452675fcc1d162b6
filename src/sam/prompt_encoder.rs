//! The prompt encoder: points, boxes and masks to tokens and a dense map.

use std::f64::consts::TAU;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::prelude::*;

use super::config::EMBEDDING_DIM;
use super::kernels::{convolution, gelu};
use super::layers::{LayerNorm2d, to_patches};

/// What a prompt token stands for, by its row in the table of learnt embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The padding that accompanies points without a box (label -1).
    Padding,
    /// A point outside the object (label 0).
    Negative,
    /// A point on the object (label 1).
    Positive,
    /// A box's top left corner (label 2).
    TopLeft,
    /// A box's bottom right corner (label 3).
    BottomRight,
}

/// A prompt token: its place in pixels of the model's square input, and its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    pub x: f32,
    pub y: f32,
    pub kind: TokenKind,
}

/// Fields bear the names of the published checkpoints.
#[derive(Module, Debug)]
pub struct PromptEncoder<B: Backend> {
    pe_layer: PositionEmbedding<B>,
    point_embeddings: Vec<Embedding<B>>,
    not_a_point_embed: Embedding<B>,
    pub(super) mask_downscaling: MaskDownscaling<B>,
    pub(super) no_mask_embed: Embedding<B>,
}

impl<B: Backend> PromptEncoder<B> {
    pub fn new(device: &B::Device) -> Self {
        let embedding = || EmbeddingConfig::new(1, EMBEDDING_DIM).init(device);
        Self {
            pe_layer: PositionEmbedding {
                positional_encoding_gaussian_matrix: Param::from_tensor(Tensor::zeros(
                    [2, EMBEDDING_DIM / 2],
                    device,
                )),
            },
            point_embeddings: (0..4).map(|_| embedding()).collect(),
            not_a_point_embed: embedding(),
            mask_downscaling: MaskDownscaling::new(device),
            no_mask_embed: embedding(),
        }
    }

    /// The same encoder, the frequencies of its position encoding no part of what is learnt.
    pub fn with_fixed_frequencies(mut self) -> Self {
        let layer = &mut self.pe_layer;
        layer.positional_encoding_gaussian_matrix =
            layer.positional_encoding_gaussian_matrix.clone().set_require_grad(false);
        self
    }

    /// The encoding of every patch's centre, `[1, patches, 256]`, for a grid of columns and rows out
    /// of a square of `side` patches.
    pub fn dense_pe(&self, [columns, rows]: [usize; 2], side: usize) -> Tensor<B, 3> {
        let centre = |index: usize| (index as f32 + 0.5) / side as f32;
        let places: Vec<f32> = (0..columns * rows)
            .flat_map(|patch| [centre(patch % columns), centre(patch / columns)])
            .collect();
        let places = Tensor::from_data(
            TensorData::new(places, [columns * rows, 2]),
            &self.no_mask_embed.weight.device(),
        );
        self.pe_layer.encode(places).unsqueeze()
    }

    /// Tokens of a batch of prompts, each with the same number of them: `[batch, n, 256]`. Places
    /// count within a square input of `input_side` pixels.
    pub fn sparse(&self, prompts: &[Vec<Token>], input_side: u32) -> Option<Tensor<B, 3>> {
        let tokens: Vec<Token> = prompts.iter().flatten().copied().collect();
        if tokens.is_empty() {
            return None;
        }
        let device = self.no_mask_embed.weight.device();
        let side = input_side as f32;
        // Half a pixel more: the centre of the pixel.
        let places: Vec<f32> =
            tokens.iter().flat_map(|t| [(t.x + 0.5) / side, (t.y + 0.5) / side]).collect();
        let kinds: Vec<i64> = tokens.iter().map(|t| t.kind as i64).collect();
        let placed: Vec<f32> =
            tokens.iter().map(|t| if t.kind == TokenKind::Padding { 0.0 } else { 1.0 }).collect();
        let count = tokens.len();
        let places = Tensor::from_data(TensorData::new(places, [count, 2]), &device);
        let kinds = Tensor::<B, 1, Int>::from_data(TensorData::new(kinds, [count]), &device);
        let placed = Tensor::<B, 2>::from_data(TensorData::new(placed, [count, 1]), &device);

        let mut rows = vec![self.not_a_point_embed.weight.val()];
        rows.extend(self.point_embeddings.iter().map(|e| e.weight.val()));
        let learnt = Tensor::cat(rows, 0).select(0, kinds);
        let all = self.pe_layer.encode(places) * placed + learnt;
        Some(all.reshape([prompts.len(), count / prompts.len(), EMBEDDING_DIM]))
    }

    /// What is added to the image's patches: mask prompts, logits of `[batch, 1, 4 rows, 4 columns]`, give
    /// `[batch, patches, 256]`; without them the learnt stand-in, `[1, 1, 256]`.
    pub fn dense(&self, logits: Option<Tensor<B, 4>>) -> Tensor<B, 3> {
        match logits {
            Some(logits) => to_patches(self.mask_downscaling.forward(logits)),
            None => self.no_mask_embed.weight.val().unsqueeze(),
        }
    }
}

/// Places as sines and cosines of random frequencies (Tancik et al. 2020).
#[derive(Module, Debug)]
struct PositionEmbedding<B: Backend> {
    positional_encoding_gaussian_matrix: Param<Tensor<B, 2>>,
}

impl<B: Backend> PositionEmbedding<B> {
    /// `[n, 2]` of x and y in 0..1 to `[n, 256]`.
    fn encode(&self, places: Tensor<B, 2>) -> Tensor<B, 2> {
        let centred = places * 2.0 - 1.0;
        let angles = centred.matmul(self.positional_encoding_gaussian_matrix.val()) * TAU;
        Tensor::cat(vec![angles.clone().sin(), angles.cos()], 1)
    }
}

/// Mask logits, four times coarser and with the embedding's channels.
#[derive(Module, Debug)]
pub struct MaskDownscaling<B: Backend> {
    pub(super) conv1: Conv2d<B>,
    pub(super) norm1: LayerNorm2d<B>,
    pub(super) conv2: Conv2d<B>,
    pub(super) norm2: LayerNorm2d<B>,
    pub(super) conv3: Conv2d<B>,
}

impl<B: Backend> MaskDownscaling<B> {
    const CHANNELS: usize = 16;

    fn new(device: &B::Device) -> Self {
        let (few, many) = (Self::CHANNELS / 4, Self::CHANNELS);
        let conv = |from, to, kernel| {
            Conv2dConfig::new([from, to], [kernel, kernel])
                .with_stride([kernel, kernel])
                .init(device)
        };
        Self {
            conv1: conv(1, few, 2),
            norm1: LayerNorm2d::new(few, device),
            conv2: conv(few, many, 2),
            norm2: LayerNorm2d::new(many, device),
            conv3: conv(many, EMBEDDING_DIM, 1),
        }
    }

    fn forward(&self, logits: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = gelu(self.norm1.forward(convolution(&self.conv1, logits)));
        let x = gelu(self.norm2.forward(convolution(&self.conv2, x)));
        convolution(&self.conv3, x)
    }
}
