//! Pictures with the truth, a method's mask and its points.

use crate::dataset::{DatasetError, Sample, Sequence};
use crate::eval::{FrameResult, SequenceResult};
use crate::image::{
    Canvas, Frame, GLYPH_HEIGHT, ImageError, OverlayStyle, draw_mask, draw_point, draw_text,
    text_width,
};
use crate::sam::PointPrompt;

/// Width of a tile in pixels.
const TILE: u32 = 320;
/// Tiles side by side.
const COLUMNS: usize = 5;
/// Tiles of a sheet; of longer sequences so many at even distances.
const MOST: usize = 60;
/// Between tiles.
const GAP: u32 = 4;
/// Height of the line of text below a picture.
const CAPTION: u32 = 20;

/// Draws point prompts: green on the object, red beside it.
pub fn draw_points(canvas: &mut impl Canvas, points: &[PointPrompt]) {
    let [width, height] = canvas.size();
    let radius = (width.min(height) / 120).max(2);
    for point in points {
        let color = if point.positive { [0, 255, 0] } else { [255, 0, 0] };
        draw_point(canvas, point.x, point.y, radius + 1, [255, 255, 255]);
        draw_point(canvas, point.x, point.y, radius, color);
    }
}

/// A sequence's pictures with the truth (white), the mask (green) and the points, in rows. `None` if
/// there is no picture.
///
/// # Errors
/// [`DatasetError`] if a picture cannot be read.
pub fn contact_sheet(
    sequence: &Sequence,
    result: &SequenceResult,
) -> Result<Option<Frame>, DatasetError> {
    let mut tiles = Vec::new();
    for frame in evenly(&result.frames, MOST) {
        let Some(sample) = sample_of(sequence, frame) else { continue };
        tiles.push(tile(sample, frame)?);
    }
    Ok(sheet(&tiles)?)
}

/// The sample that a result is of.
pub(super) fn sample_of<'a>(sequence: &'a Sequence, frame: &FrameResult) -> Option<&'a Sample> {
    let used = sequence.targets.iter().filter_map(|target| sequence.samples.get(target.sample));
    used.into_iter().find(|sample| sample.name == frame.frame)
}

/// At most so many items, at even distances.
pub(super) fn evenly<T>(items: &[T], most: usize) -> impl Iterator<Item = &T> {
    let count = items.len().min(most);
    (0..count).filter_map(move |index| items.get(index * items.len() / count.max(1)))
}

/// One picture, [`TILE`] pixels wide, with a caption.
pub(super) fn tile(sample: &Sample, result: &FrameResult) -> Result<Frame, DatasetError> {
    let (mut frame, annotation) = sample.read()?;
    let thickness = frame.width() / TILE + 1;
    let outline = |color, opacity| OverlayStyle { color, thickness, opacity };
    if let Some(mask) = result.mask.mask() {
        draw_mask(&mut frame, &mask, &outline([0, 255, 128], 0.25));
    }
    draw_mask(&mut frame, &annotation.mask(), &outline([255, 255, 255], 0.0));
    draw_points(&mut frame, &result.points);
    let height = (frame.height() * TILE).div_ceil(frame.width()).max(1);
    let picture = frame.resized(TILE, height)?;
    let mut rgb = picture.rgb().to_vec();
    rgb.resize(TILE as usize * (height + CAPTION) as usize * 3, 24);
    let mut tile = Frame::new(TILE, height + CAPTION, rgb)?;
    let top = height + (CAPTION - GLYPH_HEIGHT) / 2;
    let score = format!("DICE {:.3}", result.dice);
    draw_text(&mut tile, &result.frame.to_uppercase(), [4, top], 1, [255, 255, 255]);
    let left = TILE.saturating_sub(text_width(&score, 1) + 4);
    draw_text(&mut tile, &score, [left, top], 1, [255, 255, 255]);
    Ok(tile)
}

/// Tiles in rows on a dark ground.
fn sheet(tiles: &[Frame]) -> Result<Option<Frame>, ImageError> {
    let Some(row_height) = tiles.iter().map(Frame::height).max() else { return Ok(None) };
    let columns = COLUMNS.min(tiles.len());
    let rows = tiles.len().div_ceil(columns);
    let width = (TILE + GAP) * columns as u32 + GAP;
    let height = (row_height + GAP) * rows as u32 + GAP;
    let mut sheet = Frame::new(width, height, vec![48; width as usize * height as usize * 3])?;
    for (index, tile) in tiles.iter().enumerate() {
        let left = GAP + (TILE + GAP) * (index % columns) as u32;
        let top = GAP + (row_height + GAP) * (index / columns) as u32;
        let stride = width as usize * 3;
        let rows = tile.rgb().chunks_exact(tile.width() as usize * 3);
        for (to, from) in sheet.rgb_mut().chunks_exact_mut(stride).skip(top as usize).zip(rows) {
            let start = left as usize * 3;
            if let Some(to) = to.get_mut(start..start + from.len()) {
                to.copy_from_slice(from);
            }
        }
    }
    Ok(Some(sheet))
}
