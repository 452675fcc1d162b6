use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::candidates::{Candidate, cascades};
use super::emd::emd;
use super::grid::{gather, patches_of_annotation};
use super::kmeans::kmeans;
use super::presence::thinned;
use super::similarity::{normalised, similarity_map};
use super::{MethodConfig, MethodError, View};
use crate::image::{Annotation, Frame, Mask};
use crate::metrics::dice;
use crate::sam::{EMBEDDING_DIM, Embedding, Sam};

/// The annotated frames of one object, reduced to what the method needs of them (paper's section
/// 3.2). Each keeps its own features: in a frame the one counts that is nearest to it.
#[derive(Clone, Debug)]
pub struct Reference {
    pub(super) exemplars: Vec<Exemplar>,
}

/// One annotated frame.
#[derive(Clone, Debug)]
pub(super) struct Exemplar {
    /// Raw features of the object's patches, `[patches][256]`.
    pub patches: Vec<f32>,
    /// Those of at most so many patches as presence compares, each of length 1.
    pub thinned: Vec<f32>,
    /// Positive parts for each allowed number of them.
    pub positive: Vec<Parts>,
    /// Negative parts likewise.
    pub negative: Vec<Parts>,
    /// Dice of the model's own mask, without a prompt, with the annotated one; 0 where
    /// [`MethodConfig::own_mask`] is not set.
    pub own_mask: f64,
    /// Share of the frame that the object covers.
    pub area_share: f64,
}

/// The means of clusters, each of length 1.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub count: usize,
    pub vectors: Vec<f32>,
}

impl Reference {
    /// Encodes the annotated frame and finds its parts. This is done once for a video.
    ///
    /// # Errors
    /// [`MethodError::MaskSize`], [`MethodError::EmptyMask`], [`MethodError::FullMask`],
    /// [`MethodError::MaskVanishes`], [`MethodError::TooFewPatches`], or the model's.
    pub fn new(
        sam: &Sam,
        frame: &Frame,
        annotation: &Annotation,
        config: &MethodConfig,
    ) -> Result<Self, MethodError> {
        check_annotation(frame, annotation)?;
        Self::from_embedding(sam, &sam.encode(frame)?, annotation, config)
    }

    /// [`Reference::new`] for a frame that was encoded already.
    ///
    /// # Errors
    /// The same.
    pub fn from_embedding(
        sam: &Sam,
        embedding: &Embedding,
        annotation: &Annotation,
        config: &MethodConfig,
    ) -> Result<Self, MethodError> {
        Self::from_several(sam, &[(embedding, annotation)], config)
    }

    /// Of several annotated frames of the same object.
    ///
    /// # Errors
    /// As [`Reference::new`]; [`MethodError::NoReference`] without any.
    pub fn from_several(
        sam: &Sam,
        frames: &[(&Embedding, &Annotation)],
        config: &MethodConfig,
    ) -> Result<Self, MethodError> {
        config.validate()?;
        if frames.is_empty() {
            return Err(MethodError::NoReference);
        }
        let exemplar = |(embedding, annotation): &(&Embedding, &Annotation)| {
            Exemplar::new(sam, embedding, annotation, config)
        };
        Ok(Self { exemplars: frames.iter().map(exemplar).collect::<Result<_, _>>()? })
    }

    /// Nothing to compare with: there is no distance.
    pub(super) fn none() -> Self {
        Self { exemplars: Vec::new() }
    }

    /// Number of the object's patches in all annotated frames.
    pub fn patch_count(&self) -> usize {
        self.exemplars.iter().map(|e| e.patches.len() / EMBEDDING_DIM).sum()
    }

    /// Number of annotated frames.
    pub fn frame_count(&self) -> usize {
        self.exemplars.len()
    }

    /// The annotated frames whose object is nearer to something else in their own frame than to the
    /// object of any other annotated frame, as places among them: they contradict the others. Empty if
    /// there are fewer than two.
    pub fn contradicting(&self) -> Vec<usize> {
        let distance = |a: &Exemplar, b: &Exemplar| {
            emd(&a.thinned, &b.thinned, EMBEDDING_DIM).unwrap_or(f64::INFINITY)
        };
        let nearest = |place: usize, exemplar: &Exemplar| {
            let others = self.exemplars.iter().enumerate().filter(|(other, _)| *other != place);
            others.map(|(_, other)| distance(exemplar, other)).fold(f64::INFINITY, f64::min)
        };
        let background = |exemplar: &Exemplar| {
            let parts = exemplar.negative.iter().map(|parts| {
                emd(&exemplar.thinned, &parts.vectors, EMBEDDING_DIM).unwrap_or(f64::INFINITY)
            });
            parts.fold(f64::INFINITY, f64::min)
        };
        if self.exemplars.len() < 2 {
            return Vec::new();
        }
        let contradicts = |(place, exemplar): (usize, &Exemplar)| {
            (nearest(place, exemplar) > background(exemplar)).then_some(place)
        };
        self.exemplars.iter().enumerate().filter_map(contradicts).collect()
    }

    /// The exemplar of which a frame shows something most alike: by the cosine of the object's mean
    /// feature and the most similar patch.
    pub(super) fn nearest(&self, view: &View) -> Option<&Exemplar> {
        let [only] = &self.exemplars[..] else {
            let peak = |exemplar: &Exemplar| {
                let mean = normalised(&exemplar.mean(), EMBEDDING_DIM);
                let map = similarity_map(&mean, &view.normalised);
                map.into_iter().fold(f32::NEG_INFINITY, f32::max)
            };
            let peaks = self.exemplars.iter().map(|exemplar| (peak(exemplar), exemplar));
            return peaks.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, exemplar)| exemplar);
        };
        Some(only)
    }

    /// Distance of features of length 1 to the nearest exemplar's; `None` of no features.
    pub(super) fn distance_of_lengths_1(&self, features: &[f32]) -> Option<f64> {
        let distances = self.exemplars.iter();
        distances.filter_map(|e| emd(&e.thinned, features, EMBEDDING_DIM)).reduce(f64::min)
    }

    /// Mean share of the frame that the object covers; 0 without any.
    pub(super) fn area_share(&self) -> f64 {
        let sum: f64 = self.exemplars.iter().map(|e| e.area_share).sum();
        sum / self.exemplars.len().max(1) as f64
    }
}

impl Exemplar {
    pub fn new(
        sam: &Sam,
        embedding: &Embedding,
        annotation: &Annotation,
        config: &MethodConfig,
    ) -> Result<Self, MethodError> {
        let [width, height] = embedding.letterbox().original();
        check_size(width, height, [annotation.width(), annotation.height()])?;
        let grid = embedding.grid();
        let on = patches_of_annotation(annotation, embedding.letterbox(), grid)?;
        let mask = annotation.mask();
        if !on.contains(&true) {
            let (area, all) = (mask.area(), mask.data().len());
            // Where every patch is the object, none is above the middle of all.
            return Err(match area * 2 > all {
                true => MethodError::MaskFills { grid, left: all - area, width, height },
                false => MethodError::MaskVanishes { grid, area, width, height },
            });
        }
        let off: Vec<bool> = on
            .iter()
            .zip(embedding.inside())
            .map(|(on, inside)| !on && (config.padding || inside))
            .collect();
        let features = embedding.patches()?;
        let patches = gather(&features, &on, EMBEDDING_DIM);
        let background = gather(&features, &off, EMBEDDING_DIM);
        let own_mask = match config.own_mask {
            true => dice(&own(sam, embedding, config)?, &mask).unwrap_or(0.0),
            false => 0.0,
        };
        let positive = parts(&patches, &config.n, config.seed);
        let negative = parts(&background, &config.m, config.seed);
        if positive.is_empty() || negative.is_empty() {
            return Err(MethodError::TooFewPatches {
                foreground: patches.len() / EMBEDDING_DIM,
                background: background.len() / EMBEDDING_DIM,
                n: *config.n.start(),
                m: *config.m.start(),
            });
        }
        let thinned = gather(&features, &thinned(&on), EMBEDDING_DIM);
        let thinned = normalised(&thinned, EMBEDDING_DIM);
        let area_share = mask.area() as f64 / mask.data().len().max(1) as f64;
        Ok(Self { patches, thinned, positive, negative, own_mask, area_share })
    }

    /// The object's patches as distances compare them: raw or, if set so, of length 1.
    pub fn compared(&self, config: &MethodConfig) -> Cow<'_, [f32]> {
        match config.normalised {
            true => Cow::Owned(normalised(&self.patches, EMBEDDING_DIM)),
            false => Cow::Borrowed(&self.patches),
        }
    }

    /// The object's mean feature, 256 values.
    pub fn mean(&self) -> Vec<f32> {
        mean(&self.patches)
    }
}

/// The model's own mask of a picture.
fn own(sam: &Sam, embedding: &Embedding, config: &MethodConfig) -> Result<Mask, MethodError> {
    let view = View::of_embedding(embedding.clone())?;
    let own = [Candidate::own()];
    let (found, _) = cascades(sam, &view, &own, config, &mut Default::default())?;
    let [own] = &found[..] else {
        return Err(MethodError::NoReference);
    };
    Ok(view.logits.mask(own.logits.values())?)
}

/// Whether a picture's annotation can be a reference, as far as that can be told without the model.
///
/// # Errors
/// [`MethodError::MaskSize`], [`MethodError::EmptyMask`], [`MethodError::FullMask`].
pub fn check_annotation(frame: &Frame, annotation: &Annotation) -> Result<(), MethodError> {
    check_size(frame.width(), frame.height(), [annotation.width(), annotation.height()])?;
    let mask = annotation.mask();
    match mask.area() {
        0 => Err(MethodError::EmptyMask),
        area if area == mask.data().len() => Err(MethodError::FullMask),
        _ => Ok(()),
    }
}

pub(super) fn check_size(
    width: u32,
    height: u32,
    [mask_width, mask_height]: [u32; 2],
) -> Result<(), MethodError> {
    if (mask_width, mask_height) == (width, height) {
        return Ok(());
    }
    Err(MethodError::MaskSize { mask_width, mask_height, width, height })
}

/// Parts for each number in the range; numbers larger than the number of patches are left out.
fn parts(patches: &[f32], counts: &RangeInclusive<usize>, seed: u64) -> Vec<Parts> {
    counts
        .clone()
        .filter_map(|count| {
            let centres = match count {
                1 if patches.is_empty() => return None,
                1 => mean(patches),
                _ => kmeans(patches, EMBEDDING_DIM, count, seed).ok()?.centres,
            };
            Some(Parts { count, vectors: normalised(&centres, EMBEDDING_DIM) })
        })
        .collect()
}

fn mean(patches: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0f64; EMBEDDING_DIM];
    for patch in patches.chunks_exact(EMBEDDING_DIM) {
        for (sum, &value) in sums.iter_mut().zip(patch) {
            *sum += f64::from(value);
        }
    }
    let count = (patches.len() / EMBEDDING_DIM).max(1) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}
