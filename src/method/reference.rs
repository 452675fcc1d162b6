use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::candidates::{Candidate, cascades};
use super::grid::{gather, patches_of_annotation};
use super::kmeans::kmeans;
use super::similarity::normalised;
use super::{MethodConfig, MethodError, View};
use crate::image::{Annotation, Frame, Mask};
use crate::metrics::dice;
use crate::sam::{EMBEDDING_DIM, Embedding, Sam};

/// The annotated picture, reduced to what the method needs of it (paper's section 3.2).
#[derive(Clone, Debug)]
pub struct Reference {
    /// Raw features of the object's patches, `[patches][256]`.
    pub(super) patches: Vec<f32>,
    /// Positive parts for each allowed number of them.
    pub(super) positive: Vec<Parts>,
    /// Negative parts likewise.
    pub(super) negative: Vec<Parts>,
    /// Dice of the model's own mask, without a prompt, with the annotated one; 0 where
    /// [`MethodConfig::own_mask`] is not set.
    pub(super) own_mask: f64,
}

/// The means of clusters, each of length 1.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub count: usize,
    pub vectors: Vec<f32>,
}

impl Reference {
    /// Encodes the annotated picture and finds its parts. This is done once for a video.
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
        Self::of_embedding(sam, &sam.encode(frame)?, annotation, config)
    }

    /// [`Reference::new`] for a picture that was encoded already.
    ///
    /// # Errors
    /// The same.
    pub fn of_embedding(
        sam: &Sam,
        embedding: &Embedding,
        annotation: &Annotation,
        config: &MethodConfig,
    ) -> Result<Self, MethodError> {
        Self::pooled(sam, &[(embedding, annotation)], config)
    }

    /// One reference of several annotated pictures of the same object: their patches are pooled, and
    /// the parts are those of the pool.
    ///
    /// # Errors
    /// As [`Reference::new`]; [`MethodError::NoReference`] without any.
    pub fn pooled(
        sam: &Sam,
        pictures: &[(&Embedding, &Annotation)],
        config: &MethodConfig,
    ) -> Result<Self, MethodError> {
        config.validate()?;
        if pictures.is_empty() {
            return Err(MethodError::NoReference);
        }
        let (mut patches, mut background) = (Vec::new(), Vec::new());
        let mut own_mask = 0.0;
        for (embedding, annotation) in pictures {
            let [width, height] = embedding.letterbox().original();
            check_size(width, height, annotation)?;
            let grid = embedding.grid();
            let on = patches_of_annotation(annotation, embedding.letterbox(), grid)?;
            if !on.contains(&true) {
                let (area, all) = (annotation.mask().area(), annotation.levels().len());
                // Where every patch is the object, none is above the middle of all.
                return Err(match area * 2 > all {
                    true => MethodError::MaskFills { grid, left: all - area, width, height },
                    false => MethodError::MaskVanishes { grid, area, width, height },
                });
            }
            let inside = inside(embedding);
            let off: Vec<bool> = on
                .iter()
                .zip(inside)
                .map(|(on, inside)| !on && (config.padding || inside))
                .collect();
            let features = embedding.patches()?;
            patches.extend(gather(&features, &on, EMBEDDING_DIM));
            background.extend(gather(&features, &off, EMBEDDING_DIM));
            if config.own_mask {
                let own = own(sam, embedding, config)?;
                let found = dice(&own, &annotation.mask()).unwrap_or(0.0);
                own_mask += found / pictures.len() as f64;
            }
        }
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
        Ok(Self { patches, positive, negative, own_mask })
    }

    /// Nothing to compare with: every distance is the largest.
    pub(super) fn none() -> Self {
        Self { patches: Vec::new(), positive: Vec::new(), negative: Vec::new(), own_mask: 0.0 }
    }

    /// Number of the object's patches.
    pub fn patch_count(&self) -> usize {
        self.patches.len() / EMBEDDING_DIM
    }

    /// The object's patches as distances compare them: raw or, if set so, of length 1.
    pub(super) fn compared(&self, config: &MethodConfig) -> Cow<'_, [f32]> {
        match config.normalised {
            true => Cow::Owned(normalised(&self.patches, EMBEDDING_DIM)),
            false => Cow::Borrowed(&self.patches),
        }
    }

    /// The object's mean feature, 256 values.
    pub(super) fn mean(&self) -> Vec<f32> {
        mean(&self.patches)
    }
}

/// Which patches show the picture and not its padding: those whose centre lies in it.
fn inside(embedding: &Embedding) -> impl Iterator<Item = bool> {
    let ([columns, rows], letterbox) = (embedding.grid(), embedding.letterbox().clone());
    let within = move |axis: usize, index: usize, cells: usize| {
        let (scaled, canvas) = (letterbox.scaled()[axis], letterbox.canvas()[axis]);
        (2 * index + 1) * (canvas as usize) < 2 * cells * scaled as usize
    };
    (0..columns * rows)
        .map(move |patch| within(0, patch % columns, columns) && within(1, patch / columns, rows))
}

/// The model's own mask of a picture.
fn own(sam: &Sam, embedding: &Embedding, config: &MethodConfig) -> Result<Mask, MethodError> {
    let view = View::of_embedding(embedding.clone())?;
    let own = [Candidate::own()];
    let [own] = &cascades(sam, &view, &own, config, &mut Default::default())?[..] else {
        return Err(MethodError::NoReference);
    };
    Ok(view.logits.mask(own.logits.values())?)
}

/// Whether a picture's annotation can be a reference, as far as that can be told without the model.
///
/// # Errors
/// [`MethodError::MaskSize`], [`MethodError::EmptyMask`], [`MethodError::FullMask`].
pub fn check_annotation(frame: &Frame, annotation: &Annotation) -> Result<(), MethodError> {
    check_size(frame.width(), frame.height(), annotation)?;
    let mask = annotation.mask();
    match mask.area() {
        0 => Err(MethodError::EmptyMask),
        area if area == mask.data().len() => Err(MethodError::FullMask),
        _ => Ok(()),
    }
}

fn check_size(width: u32, height: u32, annotation: &Annotation) -> Result<(), MethodError> {
    let (mask_width, mask_height) = (annotation.width(), annotation.height());
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
