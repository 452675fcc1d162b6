//! The mask decoder on the processor. What the image's patches are multiplied by is moved to the side
//! of the tokens, of which there are a dozen and not thousands: a score is `(x W_k) . q`, which is
//! `x . (W_k q)`, and what a token sees is `(sum of weights * x) W_v`. So the image is read three
//! times a pass, in tiles that stay in a core's cache, and all prompts of a pass share the rest.
//! The Burn modules from whose weights it is made are its test.

mod attention;
mod patches;
mod source;
mod upscaling;

use std::ops::Range;

use burn::prelude::*;
use rayon::prelude::*;

use super::config::EMBEDDING_DIM;
use super::kernels::grid::{add, values_of};
use super::kernels::tiles::{Affine, Norm};
use super::layers::{Mlp, MlpBlock};
use super::mask_decoder::MaskDecoder;
use super::prompt_encoder::PromptEncoder;
use super::transformer::TwoWayAttentionBlock;
use attention::{Among, FromImage, ToImage};
use patches::{Patches, Told};
use source::Downscaling;
use upscaling::Upscaling;

/// What the decoder is told.
pub struct HostPrompt<'a> {
    /// `[n, 256]`.
    pub tokens: Vec<f32>,
    /// `[4 rows, 4 columns]`.
    pub mask: Option<&'a [f32]>,
    /// Which of the four masks are wanted.
    pub wanted: Range<usize>,
}

/// An image's patches, row by row.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// `[patches, 256]`.
    pub features: &'a [f32],
    /// The encoding of every patch's place, `[patches, 256]`.
    pub places: &'a [f32],
    pub columns: usize,
}

/// Masks `[masks, 4 rows, 4 columns]`, their predicted IoU, and the object score of weights that have
/// one.
pub struct Decoded {
    pub logits: Vec<f32>,
    pub iou: Vec<f32>,
    pub object: Option<f32>,
}

/// The weights, in the order in which they are needed.
#[derive(Debug)]
pub struct HostDecoder {
    /// The decoder's own tokens, `[5, 256]`: IoU, then a mask each.
    own: Vec<f32>,
    downscaling: Downscaling,
    layers: Vec<Layer>,
    last: FromImage,
    norm: Norm,
    upscaling: Upscaling,
    hypernetworks: Vec<Perceptron>,
    iou: Perceptron,
    object: Option<Perceptron>,
}

#[derive(Debug)]
struct Layer {
    among: Among,
    norms: [Norm; 4],
    from_image: FromImage,
    mlp: Perceptron,
    to_image: ToImage,
    first: bool,
}

/// Linear layers with ReLU between.
#[derive(Debug)]
struct Perceptron(Vec<Affine>);

/// The tokens of some prompts, one after the other.
struct Tokens {
    /// `[all tokens, 256]`.
    values: Vec<f32>,
    /// What each prompt's begin with, in tokens, and where the last one's end.
    starts: Vec<usize>,
}

impl HostDecoder {
    pub fn new<B: Backend>(prompts: &PromptEncoder<B>, decoder: &MaskDecoder<B>) -> Self {
        let own = [&decoder.iou_token, &decoder.mask_tokens];
        Self {
            own: own.into_iter().flat_map(|tokens| values_of(tokens.weight.val())).collect(),
            downscaling: Downscaling::new(prompts),
            layers: decoder.transformer.layers.iter().map(Layer::new).collect(),
            last: FromImage::new(&decoder.transformer.final_attn_token_to_image),
            norm: decoder.transformer.norm_final_attn.on_host(),
            upscaling: Upscaling::new(&decoder.output_upscaling),
            hypernetworks: decoder.output_hypernetworks_mlps.iter().map(Perceptron::new).collect(),
            iou: Perceptron::new(&decoder.iou_prediction_head),
            object: decoder.pred_obj_score_head.as_ref().map(Perceptron::new),
        }
    }

    /// One pass for each prompt.
    pub fn forward(&self, image: Image, prompts: &[HostPrompt]) -> Vec<Decoded> {
        if prompts.is_empty() {
            return Vec::new();
        }
        let positions = self.tokens(prompts);
        let mut queries = Tokens { values: positions.values.clone(), ..positions };
        let positions = positions.values;
        let mut images = Vec::new();
        let mut told: Option<Vec<Told>> = None;
        // What the tokens see of the image after it was told of them.
        let mut look = |attention: &FromImage, queries: &Tokens, told: Option<Vec<Told>>| {
            let sought = attention.sought(&added(&queries.values, &positions), queries);
            let seen: Vec<Vec<f32>> = match told {
                None => {
                    let begin = |(prompt, told): (usize, &HostPrompt)| {
                        Patches::new(&self.downscaling, image, told.mask, &sought[prompt])
                    };
                    let made = prompts.par_iter().enumerate().map(begin);
                    let (made, seen): (Vec<Patches>, Vec<_>) = made.unzip();
                    images = made;
                    seen
                }
                Some(told) => {
                    let told = images.par_iter_mut().zip(told).enumerate();
                    told.map(|(prompt, (image, told))| image.tell(&told, &sought[prompt])).collect()
                }
            };
            attention.attended(&seen.concat())
        };
        for layer in &self.layers {
            layer.exchange(&mut queries, &positions);
            let seen = look(&layer.from_image, &queries, told.take());
            layer.digest(&mut queries.values, &seen);
            told = Some(layer.told(&queries, &positions));
        }
        let seen = look(&self.last, &queries, told);
        add(&mut queries.values, &seen);
        self.norm.forward(&mut queries.values);
        self.masks(&images, &queries, prompts)
    }

    fn tokens(&self, prompts: &[HostPrompt]) -> Tokens {
        let (mut values, mut starts) = (Vec::new(), vec![0]);
        for prompt in prompts {
            values.extend_from_slice(&self.own);
            values.extend_from_slice(&prompt.tokens);
            starts.push(values.len() / EMBEDDING_DIM);
        }
        Tokens { values, starts }
    }

    fn masks(&self, images: &[Patches], tokens: &Tokens, prompts: &[HostPrompt]) -> Vec<Decoded> {
        // The token at a place in every prompt, of which the first five are the decoder's own.
        let every = |place: usize| -> Vec<f32> {
            (0..prompts.len())
                .flat_map(|prompt| {
                    let start = (tokens.starts[prompt] + place) * EMBEDDING_DIM;
                    &tokens.values[start..start + EMBEDDING_DIM]
                })
                .copied()
                .collect()
        };
        let iou = self.iou.forward(every(0));
        let object = self.object.as_ref().map(|head| head.forward(every(0)));
        let asked = |mask: usize| prompts.iter().any(|prompt| prompt.wanted.contains(&mask));
        let weights: Vec<Vec<f32>> = (0..self.hypernetworks.len())
            .map(|mask| match asked(mask) {
                true => self.hypernetworks[mask].forward(every(1 + mask)),
                false => Vec::new(),
            })
            .collect();
        let decode = |(index, (image, prompt)): (usize, (&Patches, &HostPrompt))| {
            let of_prompt = |values: &'_ [f32]| -> Vec<f32> {
                let each = values.len() / prompts.len();
                values[index * each..][..each].to_vec()
            };
            let weights: Vec<f32> =
                prompt.wanted.clone().flat_map(|mask| of_prompt(&weights[mask])).collect();
            Decoded {
                logits: self.upscaling.forward(image, &weights),
                iou: of_prompt(&iou)[prompt.wanted.clone()].to_vec(),
                object: object.as_ref().and_then(|scores| scores.get(index).copied()),
            }
        };
        images.par_iter().zip(prompts).enumerate().map(decode).collect()
    }
}

impl Layer {
    fn new<B: Backend>(block: &TwoWayAttentionBlock<B>) -> Self {
        let MlpBlock { lin1, lin2, .. } = &block.mlp;
        let norms = [&block.norm1, &block.norm2, &block.norm3, &block.norm4];
        Self {
            among: Among::new(&block.self_attn),
            norms: norms.map(|norm| norm.on_host()),
            from_image: FromImage::new(&block.cross_attn_token_to_image),
            mlp: Perceptron([lin1, lin2].map(Affine::of_linear).into()),
            to_image: ToImage::new(&block.cross_attn_image_to_token),
            first: block.first,
        }
    }

    /// The tokens of each prompt attend to each other.
    fn exchange(&self, tokens: &mut Tokens, positions: &[f32]) {
        if self.first {
            tokens.values = self.among.attend(&tokens.values, tokens);
        } else {
            let seen = self.among.attend(&added(&tokens.values, positions), tokens);
            add(&mut tokens.values, &seen);
        }
        self.norms[0].forward(&mut tokens.values);
    }

    /// Takes up what the tokens saw of the image.
    fn digest(&self, tokens: &mut [f32], seen: &[f32]) {
        add(tokens, seen);
        self.norms[1].forward(tokens);
        let hidden = self.mlp.forward(tokens.to_vec());
        add(tokens, &hidden);
        self.norms[2].forward(tokens);
    }

    /// What the image is told of each prompt's tokens.
    fn told<'a>(&'a self, tokens: &Tokens, positions: &[f32]) -> Vec<Told<'a>> {
        self.to_image.told(&added(&tokens.values, positions), tokens, &self.norms[3])
    }
}

impl Perceptron {
    fn new<B: Backend>(mlp: &Mlp<B>) -> Self {
        Self(mlp.layers.iter().map(Affine::of_linear).collect())
    }

    fn forward(&self, mut x: Vec<f32>) -> Vec<f32> {
        for (index, layer) in self.0.iter().enumerate() {
            x = layer.of(&x);
            if index + 1 < self.0.len() {
                x.iter_mut().for_each(|value| *value = value.max(0.0));
            }
        }
        x
    }
}

impl Tokens {
    /// Each prompt's tokens.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.starts.windows(2).map(|ends| ends[0]..ends[1])
    }
}

fn added(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sam::MaskOutput;
    use crate::sam::kernels::testing::{device, noise};

    #[test]
    fn the_decoder_on_the_processor_is_burns() {
        let (device, [columns, rows]) = (device(), [20, 45]);
        let encoder = PromptEncoder::<burn::Dispatch>::new(&device);
        let decoder = MaskDecoder::new(&device).with_object_score();
        let host = HostDecoder::new(&encoder, &decoder);
        let patches = columns * rows;
        let features = noise([1, patches, EMBEDDING_DIM]);
        let places = noise([1, EMBEDDING_DIM, patches]).swap_dims(1, 2);
        let mask = noise([1, 1, 4 * rows, 4 * columns]) * 3.0;
        let logits = values_of(mask.clone());
        let told = [(3, None, MaskOutput::Single), (9, Some(&logits), MaskOutput::Multi)];
        let sparse = |count| noise([1, count, EMBEDDING_DIM]) * 0.5;
        let prompts = told.map(|(count, mask, output)| HostPrompt {
            tokens: values_of(sparse(count)),
            mask: mask.map(Vec::as_slice),
            wanted: output.tokens(),
        });
        let (seen, at) = (values_of(features.clone()), values_of(places.clone()));
        let image = Image { features: &seen, places: &at, columns };
        let found = host.forward(image, &prompts);
        for ((count, logits, output), found) in told.into_iter().zip(found) {
            let dense = encoder.dense(logits.map(|_| mask.clone()));
            let (features, places) = (features.clone(), places.clone());
            let (grid, sparse) = ([columns, rows], Some(sparse(count)));
            let expected = decoder.forward(grid, features, places, sparse, dense, output, None);
            let object = expected.object.expect("a head");
            for (found, expected) in [
                (found.logits, values_of(expected.logits)),
                (found.iou, values_of(expected.iou)),
                (found.object.into_iter().collect(), values_of(object)),
            ] {
                let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum();
                let apart: f32 = square(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
                let size: f32 = square(&mut expected.iter().copied());
                assert_eq!(found.len(), expected.len());
                assert!(apart.sqrt() < 1e-4 * size.sqrt(), "{output:?}: {apart:e} of {size:e}");
            }
        }
    }
}
