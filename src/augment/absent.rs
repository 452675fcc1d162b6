//! Images without the object, made of such that show it: a part beside it, mirrored and enlarged, or
//! the object painted over with what lies beside it. The same painting elsewhere is done to images
//! that keep their object, so that its traces tell nothing.

use super::Annotated;
use super::Random;
use crate::image::{Frame, ImageError, Mask, PixelBox};

/// Share of the images that become a part beside the object, where there is one; the others are painted.
const PARTS: f32 = 0.7;
/// Smallest side of a part beside the object, as a share of the image's.
const LEAST: f32 = 0.2;
/// Attempts to find a place to copy from.
const TRIES: usize = 24;
/// How far the painting reaches beyond the object's box, as a share of its sides.
const MARGIN: f32 = 0.2;

/// The image without its object; `None` if that fills too much of it.
pub fn without_object(
    frame: &Frame,
    mask: &Mask,
    random: &mut Random,
) -> Option<Result<(Frame, Mask), ImageError>> {
    let image = Annotated::new(frame, mask);
    let object = mask.bounding_box()?;
    let painted = |random: &mut Random| {
        let mut new = painted_over(&image, object, false, random)?;
        new.mask.fill(false);
        Some(new)
    };
    let made = match random.chance(PARTS) {
        true => part_beside(&image, object, random).or_else(|| painted(random)),
        false => painted(random).or_else(|| part_beside(&image, object, random)),
    };
    made.map(Annotated::finish)
}

/// The image with something beside the object painted over; as it was if there is no place for it.
pub fn decoy(frame: &Frame, mask: &Mask, random: &mut Random) -> Result<(Frame, Mask), ImageError> {
    let mut image = Annotated::new(frame, mask);
    for _ in 0..TRIES {
        let side = |length: usize, random: &mut Random| {
            ((length as f32 * random.between(0.1, 0.4)) as u32).clamp(1, length as u32)
        };
        let (w, h) = (side(image.width, random), side(image.height, random));
        let x0 = random.below(image.width - w as usize + 1) as u32;
        let y0 = random.below(image.height - h as usize + 1) as u32;
        let area = PixelBox { x0, y0, x1: x0 + w - 1, y1: y0 + h - 1 };
        if let Some(painted) = painted_over(&image, area, true, random) {
            image.rgb = painted.rgb;
            break;
        }
    }
    image.finish()
}

fn touches(image: &Annotated, area: PixelBox) -> bool {
    (area.y0..=area.y1).any(|y| {
        let row = y as usize * image.width;
        image.mask[row + area.x0 as usize..=row + area.x1 as usize].contains(&true)
    })
}

/// A part to one side of the object, mirrored until it has about the image's shape.
fn part_beside(image: &Annotated, object: PixelBox, random: &mut Random) -> Option<Annotated> {
    let (width, height) = (image.width as u32, image.height as u32);
    // A little away, for what the mask's border leaves out.
    let gap = (width.max(height) / 40).max(1);
    let free = [
        (0, 0, object.x0.saturating_sub(gap), height),
        ((object.x1 + 1 + gap).min(width), 0, width, height),
        (0, 0, width, object.y0.saturating_sub(gap)),
        (0, (object.y1 + 1 + gap).min(height), width, height),
    ];
    let (least_w, least_h) = (width as f32 * LEAST, height as f32 * LEAST);
    let large: Vec<_> = free
        .into_iter()
        .filter(|(x0, y0, x1, y1)| (x1 - x0) as f32 >= least_w && (y1 - y0) as f32 >= least_h)
        .collect();
    let &(x0, y0, x1, y1) = large.get(random.below(large.len()))?;
    let within = |low: u32, high: u32, least: f32, random: &mut Random| {
        let length = random.between(least, (high - low) as f32) as usize;
        let start = low as usize + random.below((high - low) as usize - length + 1);
        (start, length.max(1))
    };
    let (left, w) = within(x0, x1, least_w, random);
    let (top, h) = within(y0, y1, least_h, random);
    // The shorter axis is mirrored until the shape is about the image's.
    let (mut wide, mut tall) = (w, h);
    if random.chance(0.6) {
        let shape = image.width as f32 / image.height as f32;
        wide = w.max((h as f32 * shape) as usize);
        tall = h.max((w as f32 / shape) as usize);
    }
    let mirrored = |index: usize, length: usize| match index % (2 * length) {
        place if place < length => place,
        place => 2 * length - 1 - place,
    };
    let mut rgb = Vec::with_capacity(3 * wide * tall);
    for y in 0..tall {
        for x in 0..wide {
            let place = (top + mirrored(y, h)) * image.width + left + mirrored(x, w);
            rgb.extend_from_slice(&image.rgb[3 * place..3 * place + 3]);
        }
    }
    Some(Annotated { width: wide, height: tall, rgb, mask: vec![false; wide * tall] })
}

/// The image with an ellipse around `area` painted over by another part, mirrored at random, with soft
/// edges; `None` if no part without the object is large enough, or if it would reach an object that is
/// to be `kept`.
fn painted_over(
    image: &Annotated,
    area: PixelBox,
    kept: bool,
    random: &mut Random,
) -> Option<Annotated> {
    let (width, height) = (image.width as i32, image.height as i32);
    let centre = [(area.x0 + area.x1 + 1) as f32 / 2.0, (area.y0 + area.y1 + 1) as f32 / 2.0];
    // An ellipse through the corners of a box is the square root of two larger than the box's own.
    let reach = |low: u32, high: u32| {
        (high - low + 1) as f32 / 2.0 * (1.0 + MARGIN) * std::f32::consts::SQRT_2 + 2.0
    };
    let radius = [reach(area.x0, area.x1), reach(area.y0, area.y1)];
    let far = |x: i32, y: i32| {
        let dx = (x as f32 + 0.5 - centre[0]) / radius[0];
        let dy = (y as f32 + 0.5 - centre[1]) / radius[1];
        (dx * dx + dy * dy).sqrt()
    };
    let span = |axis: usize, end: i32| {
        let low = (centre[axis] - radius[axis]).floor() as i32;
        let high = (centre[axis] + radius[axis]).ceil() as i32;
        (low.max(0), high.min(end))
    };
    let ((left, right), (top, bottom)) = (span(0, width), span(1, height));
    let (w, h) = (right - left, bottom - top);
    let pixels = |x: i32, y: i32| PixelBox {
        x0: x as u32,
        y0: y as u32,
        x1: (x + w - 1) as u32,
        y1: (y + h - 1) as u32,
    };
    if w <= 0 || h <= 0 || kept && touches(image, pixels(left, top)) {
        return None;
    }
    let flip = [random.chance(0.5), random.chance(0.5)];
    for _ in 0..TRIES {
        let x0 = random.below((width - w + 1) as usize) as i32;
        let y0 = random.below((height - h + 1) as usize) as i32;
        if touches(image, pixels(x0, y0)) {
            continue;
        }
        let mut new = image.clone();
        for y in top..bottom {
            for x in left..right {
                let share = ((1.0 - far(x, y)) / 0.15).clamp(0.0, 1.0);
                let along =
                    |at: i32, length: i32, flip: bool| if flip { length - 1 - at } else { at };
                let source =
                    (y0 + along(y - top, h, flip[1])) * width + x0 + along(x - left, w, flip[0]);
                let (to, source) = ((y * width + x) as usize * 3, source as usize * 3);
                for channel in 0..3 {
                    let (old, copy) = (
                        f32::from(image.rgb[to + channel]),
                        f32::from(image.rgb[source + channel]),
                    );
                    new.rgb[to + channel] = (old + share * (copy - old) + 0.5) as u8;
                }
            }
        }
        return Some(new);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::made;
    use super::*;

    fn reds(frame: &Frame) -> usize {
        frame.rgb().chunks_exact(3).filter(|p| p[0] > p[2]).count()
    }

    #[test]
    fn nothing_of_the_object_is_left() {
        let (frame, mask) = made();
        let mut sizes = std::collections::BTreeSet::new();
        for seed in 0..60 {
            let made = without_object(&frame, &mask, &mut Random::at(seed, &[]));
            let (frame, mask) = made.expect("there is room").expect("it fits");
            assert_eq!((mask.area(), reds(&frame)), (0, 0), "seed {seed}");
            sizes.insert((frame.width(), frame.height()));
        }
        assert!(sizes.contains(&(80, 60)) && sizes.len() > 10);
    }

    #[test]
    fn a_decoy_leaves_the_object() {
        let (frame, mask) = made();
        for seed in 0..20 {
            let (new, after) = decoy(&frame, &mask, &mut Random::at(seed, &[])).expect("it fits");
            assert!(after == mask);
            let object = new.rgb().chunks_exact(3).zip(mask.data()).filter(|(_, on)| **on);
            assert!(object.into_iter().all(|(pixel, _)| pixel == [230, 40, 40]), "seed {seed}");
        }
    }

    #[test]
    fn an_object_that_fills_the_image_leaves_none() {
        let frame = Frame::new(10, 10, vec![9; 300]).expect("sizes agree");
        let mask = Mask::new(10, 10, vec![true; 100]).expect("sizes agree");
        assert!(without_object(&frame, &mask, &mut Random::at(1, &[])).is_none());
    }
}
