//! The mask decoder: image embedding and prompt tokens to four masks, their predicted IoU and, with
//! weights that were trained for it, an object score.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::prelude::*;

use super::config::EMBEDDING_DIM;
use super::kernels::{gelu, transpose, transposed_convolution};
use super::layers::{LayerNorm2d, Mlp};
use super::transformer::{Guidance, TwoWayTransformer};

const MASK_TOKENS: usize = 4;

/// Which of the decoder's masks are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskOutput {
    /// The one mask meant for unambiguous prompts.
    Single,
    /// The three masks that answer an ambiguous prompt: whole, part, sub-part.
    Multi,
}

impl MaskOutput {
    pub(super) fn tokens(self) -> Range<usize> {
        match self {
            Self::Single => 0..1,
            Self::Multi => 1..MASK_TOKENS,
        }
    }
}

#[derive(Module, Debug)]
pub struct MaskDecoder<B: Backend> {
    pub(super) transformer: TwoWayTransformer<B>,
    pub(super) iou_token: Embedding<B>,
    pub(super) mask_tokens: Embedding<B>,
    pub(super) output_upscaling: Upscaling<B>,
    pub(super) output_hypernetworks_mlps: Vec<Mlp<B>>,
    pub(super) iou_prediction_head: Mlp<B>,
    /// The object score, of weights that have one.
    pub pred_obj_score_head: Option<Mlp<B>>,
}

/// Names of the object score's tensors begin so, in this program's files as in SAM 2's; no SAM
/// checkpoint has them.
pub const OBJECT_SCORE: &str = "mask_decoder.pred_obj_score_head.";

/// What a pass of the decoder returns.
#[derive(Clone, Debug)]
pub struct DecoderOutput<B: Backend> {
    /// Logits `[batch, masks, 4 rows, 4 columns]`, with one or three masks.
    pub logits: Tensor<B, 4>,
    /// Predicted IoU of each mask, `[batch, masks]`.
    pub iou: Tensor<B, 2>,
    /// The object score, `[batch, 1]`: over 0 where the prompted object is in the image (Ravi et al.
    /// 2024, "SAM 2", section 4). `None` of weights without one.
    pub object: Option<Tensor<B, 2>>,
}

impl<B: Backend> MaskDecoder<B> {
    pub fn new(device: &B::Device) -> Self {
        let dim = EMBEDDING_DIM;
        Self {
            transformer: TwoWayTransformer::new(dim, device),
            iou_token: EmbeddingConfig::new(1, dim).init(device),
            mask_tokens: EmbeddingConfig::new(MASK_TOKENS, dim).init(device),
            output_upscaling: Upscaling::new(dim, device),
            output_hypernetworks_mlps: (0..MASK_TOKENS)
                .map(|_| Mlp::new([dim, dim, dim, dim / 8], device))
                .collect(),
            iou_prediction_head: Mlp::new([dim, dim, dim, MASK_TOKENS], device),
            pred_obj_score_head: None,
        }
    }

    /// The same decoder with an object score whose weights are uninitialised.
    pub fn with_object_score(self) -> Self {
        let dim = EMBEDDING_DIM;
        let head = Mlp::new([dim, dim, dim, 1], &self.device());
        Self { pred_obj_score_head: Some(head), ..self }
    }

    /// The same decoder with an object score that has learnt nothing yet. `draw` gives numbers from
    /// -1 to 1; weights lie within one over the square root of a layer's inputs.
    pub fn with_new_object_score(self, mut draw: impl FnMut() -> f32) -> Self {
        let device = self.device();
        let mut decoder = self.with_object_score();
        for layer in decoder.pred_obj_score_head.iter_mut().flat_map(|head| &mut head.layers) {
            let [inputs, outputs] = layer.weight.dims();
            let bound = (inputs as f32).powf(-0.5);
            let values: Vec<f32> = (0..inputs * outputs).map(|_| bound * draw()).collect();
            let data = TensorData::new(values, [inputs, outputs]);
            layer.weight = Param::from_tensor(Tensor::from_data(data, &device));
            layer.bias = Some(Param::from_tensor(Tensor::zeros([outputs], &device)));
        }
        decoder
    }

    pub fn device(&self) -> B::Device {
        self.iou_token.weight.device()
    }

    /// `grid` is the columns and rows of patches, `image` is `[batch or 1, patches, 256]`,
    /// `image_pe` `[1, patches, 256]`,
    /// `sparse` `[batch, n, 256]` if there is any token, `dense` `[batch, patches, 256]` or
    /// `[1, 1, 256]`.
    #[expect(clippy::too_many_arguments, reason = "each is another part's output")]
    pub fn forward(
        &self,
        grid: [usize; 2],
        image: Tensor<B, 3>,
        image_pe: Tensor<B, 3>,
        sparse: Option<Tensor<B, 3>>,
        dense: Tensor<B, 3>,
        output: MaskOutput,
        guidance: Option<&Guidance<B>>,
    ) -> DecoderOutput<B> {
        let batch = sparse.as_ref().map_or(1, |s| s.dims()[0]);
        let batch = batch.max(dense.dims()[0]).max(image.dims()[0]);
        let own = Tensor::cat(vec![self.iou_token.weight.val(), self.mask_tokens.weight.val()], 0);
        let [own_tokens, dim] = own.dims();
        let own = own.unsqueeze::<3>().expand([batch, own_tokens, dim]);
        let tokens = match sparse {
            Some(sparse) => Tensor::cat(vec![own, sparse], 1),
            None => own,
        };
        let (tokens, source) = self.transformer.forward(image + dense, image_pe, tokens, guidance);

        let [columns, rows] = grid;
        let source = transpose(source).reshape([batch, dim, rows, columns]);
        let upscaled = self.output_upscaling.forward(source);
        let [_, channels, height, width] = upscaled.dims();
        let wanted = output.tokens();
        let hyper = wanted
            .clone()
            .map(|index| {
                let token = tokens.clone().slice(s![.., 1 + index..2 + index, ..]);
                self.output_hypernetworks_mlps[index].forward(token)
            })
            .collect();
        let logits = Tensor::cat(hyper, 1)
            .matmul(upscaled.reshape([batch, channels, height * width]))
            .reshape([batch, wanted.len(), height, width]);
        let iou_token = tokens.slice(s![.., 0..1, ..]).reshape([batch, dim]);
        let object = self.pred_obj_score_head.as_ref().map(|head| head.forward(iou_token.clone()));
        let iou = self.iou_prediction_head.forward(iou_token).slice(s![.., wanted]);
        DecoderOutput { logits, iou, object }
    }
}

/// Four times finer by two transposed convolutions.
#[derive(Module, Debug)]
pub struct Upscaling<B: Backend> {
    pub(super) conv1: ConvTranspose2d<B>,
    pub(super) norm: LayerNorm2d<B>,
    pub(super) conv2: ConvTranspose2d<B>,
}

impl<B: Backend> Upscaling<B> {
    fn new(dim: usize, device: &B::Device) -> Self {
        let conv = |from, to| {
            ConvTranspose2dConfig::new([from, to], [2, 2]).with_stride([2, 2]).init(device)
        };
        Self {
            conv1: conv(dim, dim / 4),
            norm: LayerNorm2d::new(dim / 4, device),
            conv2: conv(dim / 4, dim / 8),
        }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = gelu(self.norm.forward(transposed_convolution(&self.conv1, x)));
        gelu(transposed_convolution(&self.conv2, x))
    }
}
