use super::Shown;
use crate::image::{Canvas, GLYPH_HEIGHT, PixelBox, draw_text, fill_box, text_width};

/// Background of the mark: neutral, so that letters in white change nothing but luma.
const DARK: [u8; 3] = [16, 16, 16];
const WHITE: [u8; 3] = [235, 235, 235];

/// Writes each object's number, whether it is in view and, if a mask of it is drawn, the time since the
/// model's last result, into a box in the upper left corner, behind a square in the object's colour. Nothing outside the box changes; none
/// is drawn where there is nothing to tell.
pub fn draw_mark(
    canvas: &mut impl Canvas,
    shown: &[Shown],
    color: impl Fn(super::ObjectId) -> [u8; 3],
) {
    let lines = shown.iter().map(|s| {
        let age = s.patch.as_ref().map(|_| format!("  {} ms", s.result_age.as_millis()));
        (
            Some(color(s.object)),
            format!("{} {}{}", s.object, s.state.words().to_uppercase(), age.unwrap_or_default()),
        )
    });
    draw_lines(canvas, &lines.collect::<Vec<_>>());
}

/// Writes a notice in large capitals across the middle, for a picture that does not come from the
/// source.
pub fn draw_notice(canvas: &mut impl Canvas, text: &str) {
    let [width, height] = canvas.size();
    let dot = (width / (text_width(text, 1) + 24).max(1)).clamp(1, (height / 60).max(1));
    let (letters, text_wide) = (GLYPH_HEIGHT * dot, text_width(text, dot));
    let (tall, top) = (3 * letters, height.saturating_sub(3 * letters) / 2);
    if tall > height {
        return;
    }
    fill_box(canvas, PixelBox { x0: 0, y0: top, x1: width - 1, y1: top + tall - 1 }, DARK);
    draw_text(canvas, text, [width.saturating_sub(text_wide) / 2, top + letters], dot, WHITE);
}

fn draw_lines(canvas: &mut impl Canvas, lines: &[(Option<[u8; 3]>, String)]) {
    let [width, height] = canvas.size();
    let Some(longest) = lines.iter().map(|(_, text)| text_width(text, 1)).max() else { return };
    // 14 pixels high at 480 rows, 21 at 1080.
    let dot = if height < 240 { 1 } else { (height / 360).max(2) };
    // All places are even, so that squares of chroma are either within the box or without.
    let even = |v: u32| v.next_multiple_of(2);
    let (letters, gap) = (even(GLYPH_HEIGHT * dot), even(3 * dot));
    let left = 2 * gap + letters;
    let count = u32::try_from(lines.len()).unwrap_or(1);
    let box_width = even(left + longest * dot + gap);
    let box_height = gap + (letters + gap) * count;
    fill_box(canvas, corner_box(0, 0, box_width, box_height), DARK);
    let mut y = gap;
    for (color, text) in lines {
        if let Some(color) = color
            && gap + letters <= width
            && y + letters <= height
        {
            fill_box(canvas, corner_box(gap, y, letters, letters), *color);
        }
        draw_text(canvas, text, [left, y], dot, WHITE);
        y += letters + gap;
    }
}

fn corner_box(x: u32, y: u32, width: u32, height: u32) -> PixelBox {
    PixelBox { x0: x, y0: y, x1: x + width - 1, y1: y + height - 1 }
}
