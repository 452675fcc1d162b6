//! Prompts drawn at random, as a training step gives them (METHOD: step 0 and the refining steps of
//! the published recipe).

use super::batch::Batch;
use crate::augment::Random;
use crate::sam::{Token, TokenKind};

/// Points of a refining step.
const MOST_POINTS: usize = 9;
/// How far a noisy box's edges are off, as a share of its sides.
const BOX_NOISE: f32 = 0.1;

/// What the first pass of a batch is told. All pictures of a batch get the same kind, so that they
/// have the same number of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPrompt {
    Nothing,
    Point,
    NoisyBox,
}

impl FirstPrompt {
    /// Nothing with probability `nothing`; of the rest, point and box are as probable.
    pub fn draw(nothing: f32, random: &mut Random) -> Self {
        match random.unit() {
            drawn if drawn < nothing => Self::Nothing,
            drawn if drawn < 0.5 * (1.0 + nothing) => Self::Point,
            _ => Self::NoisyBox,
        }
    }

    /// The tokens of every picture.
    pub fn tokens(self, batch: &Batch, cell: u32, random: &mut Random) -> Vec<Vec<Token>> {
        (0..batch.names.len())
            .map(|picture| {
                let (object, inside) = batch.truth(picture);
                // Where the object is absent, the prompts of one that might be anywhere.
                let anywhere;
                let object = match batch.present.get(picture) {
                    Some(false) if self != Self::Nothing => {
                        anywhere = somewhere(inside, batch.map[0], random);
                        &anywhere
                    }
                    _ => object,
                };
                match self {
                    Self::Nothing => Vec::new(),
                    Self::Point => points(object, object, inside, batch.map[0], cell, 1, random),
                    Self::NoisyBox => noisy_box(object, batch, cell, random),
                }
            })
            .collect()
    }
}

/// A rectangle anywhere within the picture, a tenth to a half of its sides long.
fn somewhere(inside: &[f32], columns: usize, random: &mut Random) -> Vec<f32> {
    let within = |place: usize| inside.get(place).is_some_and(|&inside| inside > 0.5);
    let width = (0..columns).filter(|&x| within(x)).count();
    let height = (0..inside.len() / columns.max(1)).filter(|&y| within(y * columns)).count();
    let mut span = |length: usize| {
        let size = ((length as f32 * random.between(0.1, 0.5)) as usize).clamp(1, length.max(1));
        let start = random.below(length.saturating_sub(size) + 1);
        start..start + size
    };
    let (across, down) = (span(width), span(height));
    let on = |p: usize| across.contains(&(p % columns)) && down.contains(&(p / columns));
    (0..inside.len()).map(|place| f32::from(u8::from(on(place)))).collect()
}

/// Points of where a pass was wrong: on the object where it was missed, beside it where the mask has
/// too much. Where nothing is wrong, points on the object, or anywhere beside it if there is none.
pub fn correcting_points(
    batch: &Batch,
    logits: &[f32],
    cell: u32,
    random: &mut Random,
) -> Vec<Vec<Token>> {
    let count = 1 + random.below(MOST_POINTS);
    let size = (batch.map[0] * batch.map[1]).max(1);
    logits
        .chunks_exact(size)
        .enumerate()
        .map(|(picture, logits)| {
            let (object, inside) = batch.truth(picture);
            let wrong: Vec<f32> = logits
                .iter()
                .zip(object)
                .map(|(&logit, &object)| f32::from(u8::from((logit > 0.0) != (object > 0.5))))
                .collect();
            points(&wrong, object, inside, batch.map[0], cell, count, random)
        })
        .collect()
}

/// Whether a pass gets the mask of the pass before and nothing else: the last one and one drawn
/// among the others. A single refinement always gets points.
pub fn mask_alone(pass: usize, passes: usize, drawn: usize) -> bool {
    passes > 2 && (pass + 1 == passes || pass == drawn)
}

/// `count` points among the places where `among` is set, and the padding that follows points.
fn points(
    among: &[f32],
    object: &[f32],
    inside: &[f32],
    columns: usize,
    cell: u32,
    count: usize,
    random: &mut Random,
) -> Vec<Token> {
    let set = |map: &[f32]| -> Vec<usize> {
        let places = map.iter().zip(inside).enumerate();
        places.filter(|(_, (on, inside))| **on * **inside > 0.5).map(|(place, _)| place).collect()
    };
    let mut places = set(among);
    if places.is_empty() {
        places = set(object);
    }
    if places.is_empty() {
        places = set(inside);
    }
    let mut tokens: Vec<Token> = (0..count)
        .map(|_| {
            let place = places.get(random.below(places.len())).copied().unwrap_or(0);
            let on = object.get(place).is_some_and(|&on| on > 0.5);
            let centre = |index: usize| (index as f32 + 0.5) * cell as f32 - 0.5;
            Token {
                x: centre(place % columns.max(1)),
                y: centre(place / columns.max(1)),
                kind: if on { TokenKind::Positive } else { TokenKind::Negative },
            }
        })
        .collect();
    tokens.push(Token { x: 0.0, y: 0.0, kind: TokenKind::Padding });
    tokens
}

/// The object's box, each edge a little off.
fn noisy_box(object: &[f32], batch: &Batch, cell: u32, random: &mut Random) -> Vec<Token> {
    let columns = batch.map[0].max(1);
    let places = || object.iter().enumerate().filter(|(_, on)| **on > 0.5).map(|(place, _)| place);
    let edge = |place: Option<usize>| place.unwrap_or(0) as f32 * cell as f32;
    let (left, right) =
        (edge(places().map(|p| p % columns).min()), edge(places().map(|p| p % columns + 1).max()));
    let (top, bottom) =
        (edge(places().map(|p| p / columns).min()), edge(places().map(|p| p / columns + 1).max()));
    let mut off = |value: f32, side: f32, most: usize| {
        let noise = random.between(-BOX_NOISE, BOX_NOISE) * side;
        (value + noise).clamp(0.0, most as f32 - 1.0)
    };
    let (width, height) = (right - left, bottom - top);
    let corner = |x, y, kind| Token { x, y, kind };
    let [w, h] = batch.canvas;
    vec![
        corner(off(left, width, w), off(top, height, h), TokenKind::TopLeft),
        corner(off(right - 1.0, width, w), off(bottom - 1.0, height, h), TokenKind::BottomRight),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 8 x 4 cells of 4 pixels, the object in columns 2..6 and rows 1..3; the last two columns are
    /// padding.
    fn batch() -> Batch {
        let object = |p: usize| (2..6).contains(&(p % 8)) && (1..3).contains(&(p / 8));
        Batch {
            names: vec!["a".to_owned()],
            checksums: Vec::new(),
            canvas: [32, 16],
            pixels: Vec::new(),
            map: [8, 4],
            object: (0..32).map(|p| f32::from(u8::from(object(p)))).collect(),
            inside: (0..32).map(|p| f32::from(u8::from(p % 8 < 6))).collect(),
            present: vec![true],
        }
    }

    #[test]
    fn points_correct_what_was_wrong() {
        let batch = batch();
        let mut random = Random::at(3, &[]);
        // Found: all of the first two rows and the padding. Missed: row 2.
        let logits: Vec<f32> =
            (0..32).map(|p| if p / 8 < 2 || p % 8 > 5 { 1.0 } else { -1.0 }).collect();
        let (mut missed, mut surplus) = (0, 0);
        for _ in 0..40 {
            let tokens = correcting_points(&batch, &logits, 4, &mut random).remove(0);
            assert!(tokens.len() >= 2 && tokens.last().expect("some").kind == TokenKind::Padding);
            for token in &tokens[..tokens.len() - 1] {
                let (column, row) = ((token.x / 4.0) as usize, (token.y / 4.0) as usize);
                assert!(column < 6, "a point in the padding");
                match token.kind {
                    TokenKind::Positive => {
                        missed += 1;
                        assert!(row == 2 && (2..6).contains(&column));
                    }
                    _ => {
                        surplus += 1;
                        assert!(row == 0 || (row == 1 && column < 2));
                    }
                }
            }
        }
        assert!(missed > 20 && surplus > 20);
    }

    #[test]
    fn the_share_without_a_prompt_is_as_wished() {
        let mut random = Random::at(9, &[]);
        let mut count = |share, kind| {
            (0..3000).filter(|_| FirstPrompt::draw(share, &mut random) == kind).count()
        };
        assert_eq!(count(0.0, FirstPrompt::Nothing), 0);
        assert_eq!(count(1.0, FirstPrompt::Nothing), 3000);
        for kind in [FirstPrompt::Nothing, FirstPrompt::Point, FirstPrompt::NoisyBox] {
            assert!((900..1100).contains(&count(1.0 / 3.0, kind)), "{kind:?}");
        }
        assert!((650..850).contains(&count(0.5, FirstPrompt::NoisyBox)));
    }

    #[test]
    fn a_noisy_box_is_near_the_object() {
        let (batch, mut random) = (batch(), Random::at(4, &[]));
        for _ in 0..50 {
            let tokens = FirstPrompt::NoisyBox.tokens(&batch, 4, &mut random).remove(0);
            for (token, place) in tokens.iter().zip([[8.0, 4.0], [23.0, 11.0]]) {
                assert!((token.x - place[0]).abs() <= 1.6 && (token.y - place[1]).abs() <= 0.8);
            }
        }
    }

    #[test]
    fn prompts_of_what_is_absent_lie_anywhere_in_the_picture() {
        let mut batch = batch();
        batch.object.fill(0.0);
        batch.present = vec![false];
        let mut random = Random::at(5, &[]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..60 {
            assert!(FirstPrompt::Nothing.tokens(&batch, 4, &mut random)[0].is_empty());
            let point = FirstPrompt::Point.tokens(&batch, 4, &mut random).remove(0);
            assert!(point[0].kind == TokenKind::Positive && point[0].x < 24.0);
            seen.insert(point[0].x as u32 / 4);
            let corners = FirstPrompt::NoisyBox.tokens(&batch, 4, &mut random).remove(0);
            assert!(corners[0].x <= corners[1].x && corners[1].x < 32.0);
            // Nothing found, nothing wrong: points beside what is not there.
            let tokens = correcting_points(&batch, &[-1.0; 32], 4, &mut random).remove(0);
            assert!(tokens[0].kind == TokenKind::Negative && tokens[0].x < 24.0);
        }
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn two_of_many_passes_get_the_mask_alone() {
        let alone: Vec<usize> = (1..11).filter(|&pass| mask_alone(pass, 11, 4)).collect();
        assert_eq!(alone, [4, 10]);
        assert!(!mask_alone(1, 2, 1));
    }
}
