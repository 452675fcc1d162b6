//! Drawing a mask and its prompts over a picture. Pixels outside what is drawn keep their bytes.

use super::{Frame, Mask, PixelBox, Yuv420};

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
    area: PixelBox,
    alpha: Vec<u8>,
}

impl Coverage {
    fn row(&self, y: u32) -> &[u8] {
        let width = (self.area.x1 - self.area.x0 + 1) as usize;
        &self.alpha[(y - self.area.y0) as usize * width..][..width]
    }

    fn at(&self, x: u32, y: u32) -> u32 {
        let inside = (self.area.x0..=self.area.x1).contains(&x)
            && (self.area.y0..=self.area.y1).contains(&y);
        if inside { u32::from(self.row(y)[(x - self.area.x0) as usize]) } else { 0 }
    }
}

/// A picture that colours can be blended into.
pub trait Canvas {
    /// Width and height in pixels.
    fn size(&self) -> [u32; 2];
    /// Blends a colour in. The coverage lies within the picture.
    fn blend(&mut self, coverage: &Coverage, color: [u8; 3]);
}

fn mix(old: u8, new: u8, alpha: u32) -> u8 {
    let mixed = u32::from(old) * (255 - alpha) + u32::from(new) * alpha;
    ((mixed + 127) / 255) as u8
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
                    *value = mix(*value, new, u32::from(alpha));
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
        let [luma_color, cb_color, cr_color] = self.color().encode(color);
        let (width, chroma_width) = (self.width() as usize, self.chroma_width() as usize);
        let area = coverage.area;
        let [luma, cb, cr] = self.planes_mut();
        for y in area.y0..=area.y1 {
            let row = &mut luma[y as usize * width + area.x0 as usize..];
            for (value, &alpha) in row.iter_mut().zip(coverage.row(y)) {
                *value = mix(*value, luma_color, u32::from(alpha));
            }
        }
        for cy in area.y0 / 2..=area.y1 / 2 {
            for cx in area.x0 / 2..=area.x1 / 2 {
                let (x, y) = (cx * 2, cy * 2);
                let sum = coverage.at(x, y)
                    + coverage.at(x + 1, y)
                    + coverage.at(x, y + 1)
                    + coverage.at(x + 1, y + 1);
                let alpha = (sum + 2) / 4;
                let place = cy as usize * chroma_width + cx as usize;
                cb[place] = mix(cb[place], cb_color, alpha);
                cr[place] = mix(cr[place], cr_color, alpha);
            }
        }
    }
}

/// Draws a mask's fill and contour. A mask of another size than the picture draws nothing.
pub fn draw_mask(canvas: &mut impl Canvas, mask: &Mask, style: &OverlayStyle) {
    if canvas.size() != [mask.width(), mask.height()] {
        return;
    }
    let Some(area) = mask.bounding_box() else { return };
    let width = (area.x1 - area.x0 + 1) as usize;
    let height = (area.y1 - area.y0 + 1) as usize;
    let stride = mask.width() as usize;
    let rows = mask.data().chunks_exact(stride).skip(area.y0 as usize).take(height);
    let on: Vec<bool> =
        rows.flat_map(|row| row[area.x0 as usize..][..width].iter().copied()).collect();
    let core = eroded(&on, width, height, style.thickness as usize);
    let fill = (style.opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
    let alpha = on
        .iter()
        .zip(core)
        .map(|(&on, core)| match (on, core) {
            (false, _) => 0,
            (true, true) => fill,
            (true, false) => 255,
        })
        .collect();
    canvas.blend(&Coverage { area, alpha }, style.color);
}

/// Which pixels are further than `radius` from every pixel outside, in rows and columns. What lies
/// beyond the edge of the map counts as outside.
fn eroded(on: &[bool], width: usize, height: usize, radius: usize) -> Vec<bool> {
    let mut rows = vec![false; on.len()];
    for (from, to) in on.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        erode_line(|i| from[i], width, radius, |i, v| to[i] = v);
    }
    let mut core = vec![false; on.len()];
    for x in 0..width {
        erode_line(|i| rows[i * width + x], height, radius, |i, v| core[i * width + x] = v);
    }
    core
}

fn erode_line(
    on: impl Fn(usize) -> bool,
    length: usize,
    radius: usize,
    mut set: impl FnMut(usize, bool),
) {
    // Length of the run of set pixels that ends at the pixel `radius` further on.
    let mut run = 0;
    for ahead in 0..length {
        run = if on(ahead) { run + 1 } else { 0 };
        if ahead >= radius {
            set(ahead - radius, run > 2 * radius);
        }
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
        let pixels = (area.x1 - area.x0 + 1) as usize * (area.y1 - area.y0 + 1) as usize;
        canvas.blend(&Coverage { area, alpha: vec![255; pixels] }, color);
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
