//! Sets of prompts that compete, and the decoder passes that turn each into a mask.

use std::time::Duration;

use super::reference::Exemplar;
use super::similarity::{attention_weights, least_similar, mean_map, most_similar, similarity_map};
use super::tracker::Clock;
use super::{MethodConfig, MethodError, Variant, View};
use crate::image::{Mask, PixelBox};
use crate::sam::{
    EMBEDDING_DIM, Logits, MaskOutput, PointPrompt, Prediction, Prompt, Sam, SamError,
    TargetGuidance,
};

/// How sure a mask prompt made from pixels is, in logits; about what the decoder itself returns.
const PRIOR_LOGIT: f32 = 8.0;

/// Predicted IoU and object score of the model's first answer to no prompt.
pub type Unprompted = (f32, Option<f32>);

/// A set of prompts.
pub struct Candidate {
    /// Number of positive parts; 0 for the moved mask.
    pub n: usize,
    /// Number of negative parts; 0 for the moved mask and in the PerSeg variant.
    pub m: usize,
    pub points: Vec<PointPrompt>,
    start: Start,
}

/// What the decoder is told first.
#[derive(PartialEq)]
enum Start {
    /// The points.
    Points,
    /// The points, and PerSAM's guidance.
    Guided(TargetGuidance),
    /// The points; the three masks that answer them are mixed with these weights.
    Mixed([f32; 3]),
    /// Where the last mask has moved to.
    Moved(Logits, PixelBox),
    /// A box, in one pass.
    Box(PixelBox),
    /// Nothing, in one pass: the model segments what it was fine-tuned for.
    Nothing,
    /// Nothing, and then that mask and its box.
    Own,
}

impl Candidate {
    fn without_points(start: Start) -> Self {
        Self { n: 0, m: 0, points: Vec::new(), start }
    }

    /// The model's own mask, without a prompt.
    pub fn direct() -> Self {
        Self::without_points(Start::Nothing)
    }

    /// The model's own mask, without a prompt, refined by itself and its box.
    pub fn own() -> Self {
        Self::without_points(Start::Own)
    }

    /// Whether it is [`Candidate::own`].
    pub fn is_own(&self) -> bool {
        self.start == Start::Own
    }

    /// The mask of a box.
    pub fn of_box(corners: PixelBox) -> Self {
        Self::without_points(Start::Box(corners))
    }

    /// The same points, whose three masks are mixed (PerSAM-F).
    pub fn mixed(self, weights: [f32; 3]) -> Self {
        Self { start: Start::Mixed(weights), ..self }
    }

    /// The moved mask, if the candidate stands for one.
    pub fn prior_logits(&self) -> Option<&Logits> {
        match &self.start {
            Start::Moved(logits, _) => Some(logits),
            _ => None,
        }
    }
}

/// Every (n, m) with its points (paper's section 3.2, "part-aware prompt"). A candidate with the
/// points of an earlier one would give the same mask and lose the tie: it is left out. `only` is the one
/// (n, m) that is wanted.
pub fn part_aware(
    view: &View,
    reference: &Exemplar,
    config: &MethodConfig,
    only: Option<[usize; 2]>,
) -> Vec<Candidate> {
    let wanted = |kind: usize, count: usize| only.is_none_or(|only| only[kind] == count);
    let map = |part: &[f32]| similarity_map(part, &view.normalised);
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut add = |n, m, points: Vec<PointPrompt>, start: Start| {
        if !candidates.iter().any(|c| c.points == points && c.start == start) {
            candidates.push(Candidate { n, m, points, start });
        }
    };
    let negative: Vec<(usize, Vec<PointPrompt>)> = match config.variant {
        Variant::PerSeg => Vec::new(),
        Variant::Medical => reference
            .negative
            .iter()
            .filter(|parts| wanted(1, parts.count))
            .map(|parts| {
                let points = parts
                    .vectors
                    .chunks_exact(EMBEDDING_DIM)
                    .map(|part| most_similar(&map(part), &view.similarity, false))
                    .collect();
                (parts.count, points)
            })
            .collect(),
    };
    for parts in reference.positive.iter().filter(|parts| wanted(0, parts.count)) {
        let maps: Vec<Vec<f32>> = parts.vectors.chunks_exact(EMBEDDING_DIM).map(map).collect();
        let positive: Vec<PointPrompt> =
            maps.iter().map(|m| most_similar(m, &view.similarity, true)).collect();
        match config.variant {
            Variant::Medical => {
                for (m, points) in &negative {
                    add(parts.count, *m, [positive.as_slice(), points].concat(), Start::Points);
                }
            }
            Variant::PerSeg => {
                let mean = mean_map(&maps);
                let mut points = positive;
                points.push(least_similar(&mean, &view.similarity));
                let grid = view.embedding.grid();
                let attention = attention_weights(&mean, &view.similarity, view.size(), grid);
                let guidance = TargetGuidance { attention, semantic: reference.mean() };
                add(parts.count, 0, points, Start::Guided(guidance));
            }
        }
    }
    candidates
}

/// The last mask, moved to this picture, as a box and a mask prompt. `None` if nothing of it is
/// left in the picture or its size is another.
pub fn temporal(view: &View, moved: &Mask) -> Result<Option<Candidate>, MethodError> {
    if [moved.width(), moved.height()] != view.size() {
        return Ok(None);
    }
    let Some(bounding_box) = moved.bounding_box() else { return Ok(None) };
    let logits = logits_of(view, moved)?;
    Ok(Some(Candidate::without_points(Start::Moved(logits, bounding_box))))
}

/// A mask at the picture's size as low-resolution logits: each the share of its cell that the mask
/// covers, from minus to plus [`PRIOR_LOGIT`].
pub fn logits_of(view: &View, mask: &Mask) -> Result<Logits, SamError> {
    let [columns, rows] = view.embedding.logits_size();
    let letterbox = view.embedding.letterbox();
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    let scale = |axis: usize, cells: usize| {
        // Picture pixels a cell.
        f64::from(letterbox.canvas()[axis]) / cells as f64 * f64::from(letterbox.original()[axis])
            / f64::from(letterbox.scaled()[axis])
    };
    let (across, down) = (scale(0, columns), scale(1, rows));
    let mut values = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        let lines = span(row, down, height);
        for column in 0..columns {
            let places = span(column, across, width);
            let cells = lines.len() * places.len();
            let on: usize = lines
                .clone()
                .map(|y| mask.data()[y * width..][places.clone()].iter().filter(|on| **on).count())
                .sum();
            let share = if cells == 0 { 0.0 } else { on as f32 / cells as f32 };
            values.push((2.0 * share - 1.0) * PRIOR_LOGIT);
        }
    }
    Logits::new(values, [columns, rows])
}

/// The pixels of a cell that is `step` pixels long, of `end` pixels; none in the padding beyond.
fn span(cell: usize, step: f64, end: usize) -> std::ops::Range<usize> {
    let first = ((cell as f64 * step) as usize).min(end);
    first..(((cell + 1) as f64 * step) as usize).max(first + 1).min(end)
}

/// Three decoder passes: points; points and the first mask; points, the second mask and its box
/// (Zhang et al., "Personalize Segment Anything Model with One Shot", cascaded refinement). For the
/// moved mask two: its box and itself; the first mask and its box. Candidates of one pass stay with
/// that. [`MethodConfig::passes`] may end the three earlier. All candidates make a pass together. What
/// each pass took is added to `times`. Also returned is the first answer to no prompt at all, if one of
/// the candidates asks so: its predicted IoU and object score.
pub fn cascades(
    sam: &Sam,
    view: &View,
    candidates: &[Candidate],
    config: &MethodConfig,
    times: &mut [Duration; 3],
) -> Result<(Vec<Prediction>, Option<Unprompted>), MethodError> {
    let mut unprompted = None;
    let mut found: Vec<Option<Prediction>> = vec![None; candidates.len()];
    let mut clock = Clock::start();
    for (pass, time) in times.iter_mut().enumerate() {
        let (who, asked): (Vec<usize>, Vec<_>) = candidates
            .iter()
            .zip(&found)
            .enumerate()
            .filter_map(|(who, (candidate, last))| {
                Some((who, candidate.prompt(view, config, pass, last.as_ref())?))
            })
            .unzip();
        if asked.is_empty() {
            break;
        }
        let answers = sam.predict_all(&view.embedding, &asked)?;
        for (who, answer) in who.into_iter().zip(answers) {
            if let (0, Start::Own | Start::Nothing, [first, ..]) =
                (pass, &candidates[who].start, &answer[..])
            {
                unprompted = Some((first.predicted_iou, first.object_score));
            }
            found[who] = Some(match &candidates[who].start {
                Start::Mixed(weights) if pass == 0 => mix(&answer, *weights)?,
                _ => best_of(answer)?,
            });
        }
        // A pass begins where the one before ended: the making of its prompts is part of it.
        *time += clock.lap();
    }
    let found: Option<Vec<Prediction>> = found.into_iter().collect();
    Ok((found.ok_or_else(no_mask)?, unprompted))
}

impl Candidate {
    /// What it tells the decoder in a pass, given the mask of the pass before; `None` once it is
    /// through.
    fn prompt<'a>(
        &'a self,
        view: &View,
        config: &MethodConfig,
        pass: usize,
        last: Option<&'a Prediction>,
    ) -> Option<(Prompt<'a>, MaskOutput)> {
        let points = Prompt { points: &self.points, ..Prompt::default() };
        let Some(last) = last else {
            let (prompt, output) = match &self.start {
                Start::Mixed(_) => (points, MaskOutput::Multi),
                Start::Guided(guidance) => {
                    (Prompt { guidance: Some(guidance), ..points }, MaskOutput::Single)
                }
                Start::Moved(logits, bounding_box) => {
                    let bounding_box = Some(corners(*bounding_box));
                    (Prompt { mask: Some(logits), bounding_box, ..points }, MaskOutput::Single)
                }
                Start::Box(bounding_box) => {
                    let bounding_box = Some(corners(*bounding_box));
                    (Prompt { bounding_box, ..points }, MaskOutput::Single)
                }
                Start::Points | Start::Nothing | Start::Own => (points, MaskOutput::Single),
            };
            return Some((prompt, output));
        };
        // How many passes it makes, and from which on the box is told.
        let (passes, boxed) = match &self.start {
            Start::Nothing | Start::Box(_) => (1, 1),
            Start::Own | Start::Moved(..) => (2, 1),
            Start::Mixed(_) => (3, 1),
            Start::Points | Start::Guided(_) => (config.passes, 2),
        };
        let output = match config.variant {
            Variant::Medical => MaskOutput::Single,
            Variant::PerSeg => MaskOutput::Multi,
        };
        (pass < passes).then(|| {
            let logits = last.logits.values();
            let corners = (pass >= boxed).then(|| view.logits.bounding_box(logits).map(corners));
            let bounding_box = corners.flatten();
            (Prompt { mask: Some(&last.logits), bounding_box, ..points }, output)
        })
    }
}

/// The weighted sum of the logits of three masks, with the predicted IoU of the heaviest.
fn mix(scales: &[Prediction], weights: [f32; 3]) -> Result<Prediction, SamError> {
    let first = scales.first().ok_or_else(no_mask)?;
    let mut values = vec![0.0; first.logits.values().len()];
    let mut heaviest = (f32::NEG_INFINITY, first.predicted_iou);
    for (scale, weight) in scales.iter().zip(weights) {
        for (sum, value) in values.iter_mut().zip(scale.logits.values()) {
            *sum += weight * value;
        }
        if weight > heaviest.0 {
            heaviest = (weight, scale.predicted_iou);
        }
    }
    let logits = Logits::new(values, first.logits.size())?;
    Ok(Prediction { logits, predicted_iou: heaviest.1, object_score: first.object_score })
}

fn corners(b: PixelBox) -> [f32; 4] {
    [b.x0 as f32, b.y0 as f32, b.x1 as f32, b.y1 as f32]
}

/// The mask of largest predicted IoU, the first among equals.
fn best_of(predictions: Vec<Prediction>) -> Result<Prediction, MethodError> {
    predictions
        .into_iter()
        .reduce(|best, next| if next.predicted_iou > best.predicted_iou { next } else { best })
        .ok_or_else(|| no_mask().into())
}

fn no_mask() -> SamError {
    SamError::Compute("the decoder gave no mask".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cover_every_pixel_and_end_with_the_picture() {
        for (cells, step, end) in [(256, 158.0 / 256.0, 154), (32, 7.3, 200), (256, 0.1, 20)] {
            let mut covered = vec![false; end];
            for cell in 0..cells {
                covered[span(cell, step, end)].fill(true);
            }
            assert!(covered.iter().all(|covered| *covered), "{step}");
        }
    }
}
