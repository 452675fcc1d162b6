//! Sets of prompts that compete, and the decoder passes that turn each into a mask.

use super::similarity::{attention_weights, least_similar, mean_map, most_similar, similarity_map};
use super::{MethodConfig, MethodError, Reference, Variant, View};
use crate::image::{Mask, PixelBox};
use crate::sam::{
    EMBEDDING_DIM, Logits, MaskOutput, PointPrompt, Prediction, Prompt, Sam, SamError,
    TargetGuidance,
};

/// How sure a mask prompt made from pixels is, in logits; about what the decoder itself returns.
const PRIOR_LOGIT: f32 = 8.0;

/// A set of prompts.
pub struct Candidate {
    /// Number of positive parts; 0 for the moved mask.
    pub n: usize,
    /// Number of negative parts; 0 for the moved mask and in the PerSeg variant.
    pub m: usize,
    pub points: Vec<PointPrompt>,
    attention: Option<Vec<f32>>,
    /// Where the last mask has moved to.
    prior: Option<(Logits, PixelBox)>,
}

impl Candidate {
    /// The moved mask, if the candidate stands for one.
    pub fn prior_logits(&self) -> Option<&Logits> {
        self.prior.as_ref().map(|(logits, _)| logits)
    }
}

/// Every (n, m) with its points (paper's section 3.2, "part-aware prompt"). A candidate with the
/// points of an earlier one would give the same mask and lose the tie: it is left out.
pub fn part_aware(view: &View, reference: &Reference, config: &MethodConfig) -> Vec<Candidate> {
    let map = |part: &[f32]| similarity_map(part, &view.normalised);
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut add = |n, m, points: Vec<PointPrompt>, attention: Option<Vec<f32>>| {
        if !candidates.iter().any(|c| c.points == points && c.attention == attention) {
            candidates.push(Candidate { n, m, points, attention, prior: None });
        }
    };
    let negative: Vec<(usize, Vec<PointPrompt>)> = match config.variant {
        Variant::PerSeg => Vec::new(),
        Variant::Medical => reference
            .negative
            .iter()
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
    for parts in &reference.positive {
        let maps: Vec<Vec<f32>> = parts.vectors.chunks_exact(EMBEDDING_DIM).map(map).collect();
        let positive: Vec<PointPrompt> =
            maps.iter().map(|m| most_similar(m, &view.similarity, true)).collect();
        match config.variant {
            Variant::Medical => {
                for (m, points) in &negative {
                    add(parts.count, *m, [positive.as_slice(), points].concat(), None);
                }
            }
            Variant::PerSeg => {
                let mean = mean_map(&maps);
                let mut points = positive;
                points.push(least_similar(&mean, &view.similarity));
                let grid = view.embedding.grid();
                let attention = attention_weights(&mean, &view.similarity, view.size(), grid);
                add(parts.count, 0, points, Some(attention));
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
    let prior = Some((logits, bounding_box));
    Ok(Some(Candidate { n: 0, m: 0, points: Vec::new(), attention: None, prior }))
}

/// A mask at the picture's size as low-resolution logits: each the share of its cell that the mask
/// covers, from minus to plus [`PRIOR_LOGIT`].
fn logits_of(view: &View, mask: &Mask) -> Result<Logits, SamError> {
    let [columns, rows] = view.embedding.logits_size();
    let letterbox = view.embedding.letterbox();
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    let scale = |axis: usize, cells: usize| {
        // Picture pixels a cell.
        f64::from(letterbox.canvas()[axis]) / cells as f64 * f64::from(letterbox.original()[axis])
            / f64::from(letterbox.scaled()[axis])
    };
    let (across, down) = (scale(0, columns), scale(1, rows));
    let span = |cell: usize, step: f64, end: usize| {
        let first = (cell as f64 * step) as usize;
        first..(((cell + 1) as f64 * step) as usize).max(first + 1).min(end)
    };
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

/// Three decoder passes: points; points and the first mask; points, the second mask and its box
/// (Zhang et al., "Personalize Segment Anything Model with One Shot", cascaded refinement). For the
/// moved mask two: its box and itself; the first mask and its box.
pub fn cascade(
    sam: &Sam,
    view: &View,
    candidate: &Candidate,
    config: &MethodConfig,
    semantic: &[f32],
) -> Result<Prediction, MethodError> {
    let refined = match config.variant {
        Variant::Medical => MaskOutput::Single,
        Variant::PerSeg => MaskOutput::Multi,
    };
    let pass = |prompt: Prompt, output| -> Result<Prediction, MethodError> {
        best_of(sam.predict(&view.embedding, &prompt, output)?)
    };
    let points = candidate.points.as_slice();
    let boxed = |last: &Prediction| {
        let bounding_box = view.logits.bounding_box(last.logits.values()).map(corners);
        let prompt = Prompt { points, mask: Some(&last.logits), bounding_box, ..Prompt::default() };
        pass(prompt, refined)
    };
    if let Some((logits, bounding_box)) = &candidate.prior {
        let bounding_box = Some(corners(*bounding_box));
        let prompt = Prompt { mask: Some(logits), bounding_box, ..Prompt::default() };
        return boxed(&pass(prompt, MaskOutput::Single)?);
    }
    let guidance = candidate
        .attention
        .clone()
        .map(|attention| TargetGuidance { attention, semantic: semantic.to_vec() });
    let guided = Prompt { points, guidance: guidance.as_ref(), ..Prompt::default() };
    let first = pass(guided, MaskOutput::Single)?;
    let again = Prompt { points, mask: Some(&first.logits), ..Prompt::default() };
    boxed(&pass(again, refined)?)
}

fn corners(b: PixelBox) -> [f32; 4] {
    [b.x0 as f32, b.y0 as f32, b.x1 as f32, b.y1 as f32]
}

/// The mask of largest predicted IoU, the first among equals.
fn best_of(predictions: Vec<Prediction>) -> Result<Prediction, MethodError> {
    predictions
        .into_iter()
        .reduce(|best, next| if next.predicted_iou > best.predicted_iou { next } else { best })
        .ok_or_else(|| SamError::Compute("the decoder gave no mask".to_owned()).into())
}
