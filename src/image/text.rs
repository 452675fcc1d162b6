//! Small words in a picture, in a bitmap font of 5 x 7 dots.

use super::PixelBox;
use super::draw::{Canvas, Coverage};

/// Height of a letter in dots.
pub const GLYPH_HEIGHT: u32 = 7;
/// Width of a letter in dots.
const GLYPH_WIDTH: u32 = 5;
/// From letter to letter in dots.
const ADVANCE: u32 = 6;

/// Width of a text in pixels, with dots of `dot` pixels.
pub fn text_width(text: &str, dot: u32) -> u32 {
    let letters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    letters.saturating_mul(ADVANCE).saturating_sub(1).saturating_mul(dot)
}

/// Writes capitals, digits and a few signs with their upper left corner at a place, in dots of
/// `dot` x `dot` pixels. Other characters leave a gap, and letters that do not fit into the picture
/// are left out.
pub fn draw_text(canvas: &mut impl Canvas, text: &str, [x, y]: [u32; 2], dot: u32, color: [u8; 3]) {
    let [width, height] = canvas.size();
    let (letter_width, letter_height) =
        (GLYPH_WIDTH.saturating_mul(dot), GLYPH_HEIGHT.saturating_mul(dot));
    let mut left = x;
    for letter in text.chars() {
        let (right, bottom) = (left.saturating_add(letter_width), y.saturating_add(letter_height));
        if dot == 0 || right > width || bottom > height {
            return;
        }
        if let Some(rows) = glyph(letter) {
            let area = PixelBox { x0: left, y0: y, x1: right - 1, y1: bottom - 1 };
            let lit = |px: u32, py: u32| {
                let row = rows.get((py / dot) as usize).copied().unwrap_or(0);
                row >> (GLYPH_WIDTH - 1 - px / dot) & 1
            };
            let alpha = (0..letter_height)
                .flat_map(|py| (0..letter_width).map(move |px| lit(px, py) * 255))
                .collect();
            canvas.blend(&Coverage { area, alpha }, color);
        }
        left = left.saturating_add(ADVANCE.saturating_mul(dot));
    }
}

/// The rows of a letter from its top, the leftmost dot in bit 4.
#[rustfmt::skip]
fn glyph(letter: char) -> Option<[u8; 7]> {
    Some(match letter {
        '0' => [14, 17, 19, 21, 25, 17, 14], '1' => [4, 12, 4, 4, 4, 4, 14],
        '2' => [14, 17, 1, 2, 4, 8, 31],     '3' => [31, 2, 4, 2, 1, 17, 14],
        '4' => [2, 6, 10, 18, 31, 2, 2],     '5' => [31, 16, 30, 1, 1, 17, 14],
        '6' => [6, 8, 16, 30, 17, 17, 14],   '7' => [31, 1, 2, 4, 8, 8, 8],
        '8' => [14, 17, 17, 14, 17, 17, 14], '9' => [14, 17, 17, 15, 1, 2, 12],
        'A' => [14, 17, 17, 31, 17, 17, 17], 'B' => [30, 17, 17, 30, 17, 17, 30],
        'C' => [14, 17, 16, 16, 16, 17, 14], 'D' => [28, 18, 17, 17, 17, 18, 28],
        'E' => [31, 16, 16, 30, 16, 16, 31], 'F' => [31, 16, 16, 30, 16, 16, 16],
        'G' => [14, 17, 16, 23, 17, 17, 15], 'H' => [17, 17, 17, 31, 17, 17, 17],
        'I' => [14, 4, 4, 4, 4, 4, 14],      'J' => [7, 2, 2, 2, 2, 18, 12],
        'K' => [17, 18, 20, 24, 20, 18, 17], 'L' => [16, 16, 16, 16, 16, 16, 31],
        'M' => [17, 27, 21, 21, 17, 17, 17], 'N' => [17, 17, 25, 21, 19, 17, 17],
        'O' => [14, 17, 17, 17, 17, 17, 14], 'P' => [30, 17, 17, 30, 16, 16, 16],
        'Q' => [14, 17, 17, 17, 21, 18, 13], 'R' => [30, 17, 17, 30, 20, 18, 17],
        'S' => [15, 16, 16, 14, 1, 1, 30],   'T' => [31, 4, 4, 4, 4, 4, 4],
        'U' => [17, 17, 17, 17, 17, 17, 14], 'V' => [17, 17, 17, 17, 17, 10, 4],
        'W' => [17, 17, 17, 21, 21, 21, 10], 'X' => [17, 17, 10, 4, 10, 17, 17],
        'Y' => [17, 17, 17, 10, 4, 4, 4],    'Z' => [31, 1, 2, 4, 8, 16, 31],
        'm' => [0, 0, 26, 21, 21, 21, 21],   's' => [0, 0, 15, 16, 14, 1, 30],
        '-' => [0, 0, 0, 31, 0, 0, 0],       '.' => [0, 0, 0, 0, 0, 12, 12],
        _ => return None,
    })
}
