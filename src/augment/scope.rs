//! What one endoscope shows otherwise than the next: the shape of its view on black, and what its
//! processor burns into the image. What is covered is not the object any more.

use super::Annotated;
use super::Random;
use crate::image::{Frame, PixelBox, draw_text, fill_box, text_width};

/// Least share of the object that a view or an inset leaves.
const LEFT: usize = 2;
/// Colours of text and guides: white, yellow, green, cyan, blue.
const COLORS: [[u8; 3]; 5] =
    [[235, 235, 235], [240, 220, 60], [60, 220, 90], [60, 210, 220], [70, 90, 220]];
const SIGNS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-.";

/// Changes the view's shape and adds insets, each with its own probability.
pub fn change(image: &mut Annotated, random: &mut Random) {
    if random.chance(0.35) {
        let view = View::draw(image, random);
        let black = random.below(18) as u8;
        cover(image, |x, y| !view.shows(x, y), |_, _, _| [black; 3]);
    }
    if random.chance(0.45) {
        for _ in 0..1 + random.below(3) {
            match random.below(4) {
                0 => text(image, random),
                1 => guide(image, random),
                2 => thumbnail(image, random),
                _ => panel(image, random),
            }
        }
    }
}

/// Paints where `hides` says so, unless that would hide most of the object.
fn cover(
    image: &mut Annotated,
    hides: impl Fn(f32, f32) -> bool,
    paint: impl Fn(&[u8], usize, usize) -> [u8; 3],
) -> bool {
    let (width, area) = (image.width, image.area());
    let hidden: Vec<bool> = (0..image.mask.len())
        .map(|place| hides((place % width) as f32 + 0.5, (place / width) as f32 + 0.5))
        .collect();
    let left = image.mask.iter().zip(&hidden).filter(|(on, hidden)| **on && !**hidden).count();
    if left * LEFT < area {
        return false;
    }
    let old = image.rgb.clone();
    let pixels = image.rgb.chunks_exact_mut(3).zip(&mut image.mask);
    for (place, ((pixel, on), hidden)) in pixels.zip(hidden).enumerate() {
        if hidden {
            pixel.copy_from_slice(&paint(&old, place % width, place / width));
            *on = false;
        }
    }
    true
}

/// A view on black.
enum View {
    /// A disc, perhaps cut above and below.
    Round { centre: [f32; 2], radius: f32, half: f32 },
    /// A rectangle whose corners are cut by so many pixels.
    Cut { area: [f32; 4], corner: f32 },
    /// A rectangle with round corners.
    Rounded { area: [f32; 4], corner: f32 },
}

impl View {
    fn draw(image: &Annotated, random: &mut Random) -> Self {
        let (width, height) = (image.width as f32, image.height as f32);
        let mut margin = |length: f32| random.between(0.0, 0.18) * length;
        let area = [margin(width), margin(height), width - margin(width), height - margin(height)];
        let short = (area[2] - area[0]).min(area[3] - area[1]);
        match random.below(3) {
            0 => Self::Round {
                centre: [(area[0] + area[2]) / 2.0, (area[1] + area[3]) / 2.0],
                radius: random.between(0.5, 0.68) * width.max(height),
                half: random.between(0.42, 0.6) * height,
            },
            1 => Self::Cut { area, corner: random.between(0.08, 0.35) * short },
            _ => Self::Rounded { area, corner: random.between(0.05, 0.5) * short },
        }
    }

    fn shows(&self, x: f32, y: f32) -> bool {
        match self {
            Self::Round { centre, radius, half } => {
                let (x, y) = (x - centre[0], y - centre[1]);
                x * x + y * y < radius * radius && y.abs() < *half
            }
            Self::Cut { area, corner } => {
                let (x, y) = within(area, x, y);
                x > 0.0 && y > 0.0 && x + y > *corner
            }
            Self::Rounded { area, corner } => {
                let (x, y) = within(area, x, y);
                let (cx, cy) = ((corner - x).max(0.0), (corner - y).max(0.0));
                x > 0.0 && y > 0.0 && cx * cx + cy * cy < corner * corner
            }
        }
    }
}

/// How far a place is inside a rectangle from its nearer side, along each axis.
fn within([left, top, right, bottom]: &[f32; 4], x: f32, y: f32) -> (f32, f32) {
    ((x - left).min(right - x), (y - top).min(bottom - y))
}

/// A rectangle within the image, in a corner or at a side as a rule.
fn place(image: &Annotated, size: [f32; 2], random: &mut Random) -> Option<PixelBox> {
    let side = |length: usize, share: f32| ((length as f32 * share) as u32).max(4);
    let (w, h) = (side(image.width, size[0]), side(image.height, size[1]));
    let (across, down) =
        ((image.width as u32).checked_sub(w)?, (image.height as u32).checked_sub(h)?);
    let mut along = |room: u32| match random.below(5) {
        0 | 1 => room.min(random.below(12) as u32),
        2 | 3 => room - room.min(random.below(12) as u32),
        _ => random.below(room as usize + 1) as u32,
    };
    let (x0, y0) = (along(across), along(down));
    Some(PixelBox { x0, y0, x1: x0 + w - 1, y1: y0 + h - 1 })
}

fn holds(area: PixelBox) -> impl Fn(f32, f32) -> bool {
    move |x, y| {
        (area.x0..=area.x1).contains(&(x as u32)) && (area.y0..=area.y1).contains(&(y as u32))
    }
}

/// Draws on the image with the project's own drawing.
fn drawn(image: &mut Annotated, draw: impl FnOnce(&mut Frame)) {
    let rgb = std::mem::take(&mut image.rgb);
    if let Ok(mut frame) = Frame::new(image.width as u32, image.height as u32, rgb) {
        draw(&mut frame);
        image.rgb = frame.rgb().to_vec();
    }
}

/// Some lines of text, without a ground of their own.
fn text(image: &mut Annotated, random: &mut Random) {
    let dot = 1 + random.below(2) as u32;
    let color = COLORS[random.below(COLORS.len())];
    let lines: Vec<String> = (0..1 + random.below(4))
        .map(|_| {
            let letters = 3 + random.below(12);
            (0..letters).map(|_| char::from(SIGNS[random.below(SIGNS.len())])).collect()
        })
        .collect();
    let wide = lines.iter().map(|line| text_width(line, dot)).max().unwrap_or(0) as f32;
    let tall = (lines.len() as u32 * 10 * dot) as f32;
    let size = [wide / image.width as f32, tall / image.height as f32];
    let Some(area) = place(image, size, random) else { return };
    drawn(image, |frame| {
        for (line, y) in lines.iter().zip((area.y0..).step_by(10 * dot as usize)) {
            draw_text(frame, line, [area.x0, y], dot, color);
        }
    });
}

/// A drawing of the scope's shape on a dark ground, as position guides show it.
fn guide(image: &mut Annotated, random: &mut Random) {
    let size = [random.between(0.1, 0.32), random.between(0.12, 0.36)];
    let Some(area) = place(image, size, random) else { return };
    let ground = [random.below(40) as u8, random.below(60) as u8, random.below(60) as u8];
    if !cover(image, holds(area), |_, _, _| ground) {
        return;
    }
    let color = COLORS[1 + random.below(COLORS.len() - 1)];
    let (w, h) = ((area.x1 - area.x0) as f32, (area.y1 - area.y0) as f32);
    let wave = [random.between(0.5, 2.5), random.between(0.0, 6.0), random.between(0.1, 0.4)];
    let thick = 1 + random.below(3) as u32;
    drawn(image, |frame| {
        for step in 0..160 {
            let t = step as f32 / 160.0;
            let angle = wave[0] * std::f32::consts::TAU * t + wave[1];
            let x = area.x0 + (w * (0.5 + wave[2] * angle.cos() * (1.0 - 0.5 * t))) as u32;
            let y = area.y0 + (h * (0.08 + 0.84 * t)) as u32;
            let x1 = (x + thick).min(area.x1);
            fill_box(
                frame,
                PixelBox { x0: x.min(x1), y0: y, x1, y1: (y + thick).min(area.y1) },
                color,
            );
        }
    });
}

/// A small copy of the whole image, as picture-in-picture shows it.
fn thumbnail(image: &mut Annotated, random: &mut Random) {
    let share = random.between(0.12, 0.3);
    let Some(area) = place(image, [share, share], random) else { return };
    let (width, height) = (image.width, image.height);
    let (w, h) = (area.x1 - area.x0 + 1, area.y1 - area.y0 + 1);
    // What the small copy shows must not be the object, or a part of it would count as background.
    if image.area() > 0 {
        return panel(image, random);
    }
    cover(image, holds(area), |old, x, y| {
        let from = |at: usize, start: u32, length: u32, all: usize| {
            ((at - start as usize) * all / length as usize).min(all - 1)
        };
        let (x, y) = (from(x, area.x0, w, width), from(y, area.y0, h, height));
        std::array::from_fn(|c| old[(y * width + x) * 3 + c])
    });
}

/// A plain panel, dark as a rule, perhaps with a line of text.
fn panel(image: &mut Annotated, random: &mut Random) {
    let size = match random.below(3) {
        0 => [1.0, random.between(0.03, 0.12)],
        1 => [random.between(0.05, 0.2), 1.0],
        _ => [random.between(0.08, 0.3), random.between(0.05, 0.25)],
    };
    let Some(area) = place(image, size, random) else { return };
    let bright = if random.chance(0.8) { random.below(40) } else { random.below(256) } as u8;
    let cast = [0; 3].map(|_| bright.saturating_add(random.below(24) as u8));
    if cover(image, holds(area), |_, _, _| cast) && random.chance(0.5) {
        let line: String = (0..4 + random.below(8))
            .map(|_| char::from(SIGNS[random.below(SIGNS.len())]))
            .collect();
        let color = COLORS[random.below(COLORS.len())];
        drawn(image, |frame| draw_text(frame, &line, [area.x0 + 2, area.y0 + 2], 1, color));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Annotated {
        let (width, height) = (60, 44);
        let mask = (0..width * height).map(|p| p % width > 20 && p % width < 45).collect();
        Annotated { width, height, rgb: vec![120; 3 * width * height], mask }
    }

    #[test]
    fn what_is_covered_is_not_the_object() {
        for seed in 0..200 {
            let (old, mut random) = (made(), Random::at(seed, &[]));
            let mut image = old.clone();
            change(&mut image, &mut random);
            assert_eq!((image.rgb.len(), image.mask.len()), (old.rgb.len(), old.mask.len()));
            // Each of up to four covers leaves half.
            assert!(image.area() * 16 >= old.area() && image.area() > 0, "{seed}");
            assert!(image.mask.iter().zip(&old.mask).all(|(new, old)| !new || *old));
        }
    }

    #[test]
    fn views_are_black_beyond_their_border() {
        let round = View::Round { centre: [30.0, 22.0], radius: 20.0, half: 15.0 };
        assert!(round.shows(30.0, 30.0) && !round.shows(30.0, 38.0) && !round.shows(55.0, 22.0));
        let cut = View::Cut { area: [0.0, 0.0, 60.0, 44.0], corner: 10.0 };
        assert!(!cut.shows(2.0, 3.0) && cut.shows(2.0, 12.0));
        let rounded = View::Rounded { area: [0.0, 0.0, 60.0, 44.0], corner: 10.0 };
        assert!(!rounded.shows(1.0, 1.0) && rounded.shows(5.0, 5.0) && rounded.shows(1.0, 20.0));
    }
}
