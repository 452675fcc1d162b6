//! Drawing a mask and its prompts over a picture. Pixels outside what is drawn keep their bytes.

use super::erode::core_runs;
use super::{Frame, Mask, MaskPatch, PixelBox, Yuv420};
use crate::simd::vectorised;

/// How a mask is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverlayStyle {
    /// Colour of contour and fill.
    pub color: [u8; 3],
    /// Width of the contour in pixels, inside the mask's edge; 0 draws none.
    pub thickness: u32,
    /// Opacity of the fill, 0 (none) to 1.
    pub opacity: f32,
}

impl Default for OverlayStyle {
    fn default() -> Self {
        // A green that no tissue has.
        Self { color: [0, 255, 128], thickness: 2, opacity: 0.25 }
    }
}

/// How much of a colour each pixel of a box takes, 0 to 255, row by row.
#[derive(Debug)]
pub struct Coverage {
    pub(super) area: PixelBox,
    pub(super) alpha: Vec<u8>,
}

impl Coverage {
    /// The box it covers.
    pub fn area(&self) -> PixelBox {
        self.area
    }

    /// The values of a row of the picture that the box reaches.
    pub(super) fn row(&self, y: u32) -> &[u8] {
        let width = (self.area.x1 - self.area.x0 + 1) as usize;
        &self.alpha[(y - self.area.y0) as usize * width..][..width]
    }
}

/// A picture that colours can be blended into.
pub trait Canvas {
    /// Width and height in pixels.
    fn size(&self) -> [u32; 2];
    /// Blends a colour in. The coverage lies within the picture.
    fn blend(&mut self, coverage: &Coverage, color: [u8; 3]);
}

/// Of two values, the old one where `alpha` is 0 and the new one where it is 255.
#[inline(always)]
pub(super) fn mix(old: u8, new: u8, alpha: u8) -> u8 {
    // In 16 bits, so that the compiler takes eight or sixteen at once: the sum stays below 65280,
    // and its division by 255 is exact.
    let sum = u16::from(old) * u16::from(255 - alpha) + u16::from(new) * u16::from(alpha) + 127;
    ((sum + 1 + (sum >> 8)) >> 8) as u8
}

impl Canvas for Frame {
    fn size(&self) -> [u32; 2] {
        [self.width(), self.height()]
    }

    fn blend(&mut self, coverage: &Coverage, color: [u8; 3]) {
        let stride = self.width() as usize * 3;
        let area = coverage.area;
        for y in area.y0..=area.y1 {
            let start = y as usize * stride + area.x0 as usize * 3;
            let pixels = self.rgb_mut()[start..].chunks_exact_mut(3);
            for (pixel, &alpha) in pixels.zip(coverage.row(y)) {
                for (value, new) in pixel.iter_mut().zip(color) {
                    *value = mix(*value, new, alpha);
                }
            }
        }
    }
}

impl Canvas for Yuv420 {
    fn size(&self) -> [u32; 2] {
        [self.width(), self.height()]
    }

    fn blend(&mut self, coverage: &Coverage, color: [u8; 3]) {
        self.view_mut().blend(coverage, color);
    }
}

/// Draws a mask's fill and contour. A mask of another size than the picture draws nothing.
pub fn draw_mask(canvas: &mut impl Canvas, mask: &Mask, style: &OverlayStyle) {
    if canvas.size() != [mask.width(), mask.height()] {
        return;
    }
    if let Some(patch) = MaskPatch::of(mask) {
        draw_patch(canvas, &patch, style, 1.0);
    }
}

/// Draws a mask's fill and contour, both as much as `strength` says: 1 whole, 0 not at all. A patch
/// that does not lie within the picture draws nothing.
pub fn draw_patch(
    canvas: &mut impl Canvas,
    patch: &MaskPatch,
    style: &OverlayStyle,
    strength: f32,
) {
    let area = patch.area();
    let [width, height] = canvas.size();
    if area.x1 >= width || area.y1 >= height {
        return;
    }
    let level = |opacity: f32| (opacity.clamp(0.0, 1.0) * strength.clamp(0.0, 1.0) * 255.0).round();
    let (edge, fill) = (level(1.0) as u8, level(style.opacity) as u8);
    let width = patch.width();
    let mut alpha = vec![0; patch.on().len()];
    vectorised(
        #[inline(always)]
        || {
            for (alpha, &on) in alpha.iter_mut().zip(patch.on()) {
                *alpha = if on { edge } else { 0 };
            }
        },
    );
    core_runs(patch.on(), width, style.thickness as usize, |y, columns| {
        alpha[y * width..][columns].fill(fill);
    });
    canvas.blend(&Coverage { area, alpha }, style.color);
}

/// Fills a box with a colour; what lies outside the picture is left out.
pub fn fill_box(canvas: &mut impl Canvas, area: PixelBox, color: [u8; 3]) {
    let [width, height] = canvas.size();
    let area = PixelBox { x1: area.x1.min(width - 1), y1: area.y1.min(height - 1), ..area };
    if area.x0 <= area.x1 && area.y0 <= area.y1 {
        let pixels = (area.x1 - area.x0 + 1) as usize * (area.y1 - area.y0 + 1) as usize;
        canvas.blend(&Coverage { area, alpha: vec![255; pixels] }, color);
    }
}

/// Draws a disc at a place, for a point prompt.
pub fn draw_point(canvas: &mut impl Canvas, x: f32, y: f32, radius: u32, color: [u8; 3]) {
    let [width, height] = canvas.size();
    if !(x >= 0.0 && y >= 0.0 && x < width as f32 && y < height as f32) {
        return;
    }
    let (cx, cy) = (x as u32, y as u32);
    let area = PixelBox {
        x0: cx.saturating_sub(radius),
        y0: cy.saturating_sub(radius),
        x1: cx.saturating_add(radius).min(width - 1),
        y1: cy.saturating_add(radius).min(height - 1),
    };
    let inside = |px: u32, py: u32| {
        let (dx, dy) = (u64::from(px.abs_diff(cx)), u64::from(py.abs_diff(cy)));
        dx * dx + dy * dy <= u64::from(radius) * u64::from(radius)
    };
    let alpha = (area.y0..=area.y1)
        .flat_map(|py| (area.x0..=area.x1).map(move |px| (px, py)))
        .map(|(px, py)| if inside(px, py) { 255 } else { 0 })
        .collect();
    canvas.blend(&Coverage { area, alpha }, color);
}

/// Draws the outline of a box, left, top, right, bottom in pixels, for a box prompt. What lies
/// outside the picture is left out.
pub fn draw_box(canvas: &mut impl Canvas, corners: [f32; 4], color: [u8; 3]) {
    let [width, height] = canvas.size();
    let within = |value: f32, side: u32| (value.max(0.0) as u32).min(side - 1);
    let (x0, x1) = (within(corners[0], width), within(corners[2], width));
    let (y0, y1) = (within(corners[1], height), within(corners[3], height));
    if x0 > x1 || y0 > y1 {
        return;
    }
    for area in [
        PixelBox { x0, y0, x1, y1: y0 },
        PixelBox { x0, y0: y1, x1, y1 },
        PixelBox { x0, y0, x1: x0, y1 },
        PixelBox { x0: x1, y0, x1, y1 },
    ] {
        fill_box(canvas, area, color);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(width: u32, height: u32) -> Mask {
        let on = (0..height)
            .flat_map(|y| (0..width).map(move |x| (4..=12).contains(&x) && (3..=9).contains(&y)));
        Mask::new(width, height, on.collect()).expect("sizes agree")
    }

    #[test]
    fn only_the_mask_is_drawn_and_its_edge_is_opaque() {
        let grey = Frame::new(20, 15, vec![90; 20 * 15 * 3]).expect("sizes agree");
        let mask = square(20, 15);
        let mut drawn = grey.clone();
        let style = OverlayStyle { color: [0, 255, 0], thickness: 2, opacity: 0.5 };
        draw_mask(&mut drawn, &mask, &style);
        for (place, &on) in mask.data().iter().enumerate() {
            let (x, y) = (place % 20, place / 20);
            let pixel = &drawn.rgb()[place * 3..][..3];
            let edge = x <= 5 || x >= 11 || y <= 4 || y >= 8;
            let expected: [u8; 3] = match (on, edge) {
                (false, _) => [90, 90, 90],
                (true, true) => [0, 255, 0],
                (true, false) => [45, 173, 45],
            };
            assert_eq!(pixel, expected, "at {x}, {y}");
        }
    }

    #[test]
    fn yuv_luma_outside_the_mask_stays() {
        let grey = Frame::new(20, 15, vec![90; 20 * 15 * 3]).expect("sizes agree");
        let before = Yuv420::from_frame(&grey);
        let mut after = before.clone();
        let mask = square(20, 15);
        draw_mask(&mut after, &mask, &OverlayStyle::default());
        let changed = before.planes()[0]
            .iter()
            .zip(after.planes()[0])
            .zip(mask.data())
            .filter(|((old, new), on)| old != new && !**on)
            .count();
        assert_eq!(changed, 0);
        assert_ne!(before, after);
    }

    #[test]
    fn a_box_is_an_outline_within_the_picture() {
        let mut frame = Frame::new(6, 5, vec![0; 90]).expect("sizes agree");
        draw_box(&mut frame, [1.0, 1.0, 99.0, 3.0], [255, 0, 0]);
        let red: Vec<bool> = frame.rgb().chunks_exact(3).map(|p| p[0] == 255).collect();
        assert_eq!(red.iter().filter(|on| **on).count(), 12);
        assert!(red[6 + 1] && red[6 + 5] && !red[2 * 6 + 3] && !red[0]);
        draw_box(&mut frame, [f32::NAN, 9.0, 1.0, 2.0], [255, 0, 0]);
    }

    #[test]
    fn points_at_the_border_stay_inside() {
        let mut frame = Frame::new(5, 4, vec![0; 60]).expect("sizes agree");
        draw_point(&mut frame, 4.0, 3.0, 3, [255, 0, 0]);
        draw_point(&mut frame, f32::NAN, 1.0, 3, [255, 0, 0]);
        draw_point(&mut frame, 9.0, 9.0, 3, [255, 0, 0]);
        assert_eq!(frame.rgb()[57..], [255, 0, 0]);
        assert_eq!(frame.rgb()[..3], [0, 0, 0]);
    }
}
