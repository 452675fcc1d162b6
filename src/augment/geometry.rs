//! Where pixels go: crops, zoom out, aspect, rotation, flips, in one resampling.

use super::Annotated;
use super::Random;

/// Attempts to find a place that keeps some of the object.
const TRIES: usize = 8;
/// Least share of the object that has to stay in view.
const KEPT: f32 = 0.25;

/// Where each pixel of the new image lies in the old one: `[a, b, c, d, e, f]` of x = a u + b v + c,
/// y = d u + e v + f, in pixels.
struct Placement {
    size: [usize; 2],
    map: [f32; 6],
}

/// Another view of the image, at most about `side` pixels long. Beyond the old image it is black.
pub fn warped(image: &Annotated, side: usize, random: &mut Random) -> Annotated {
    let whole = image.area();
    for _ in 0..TRIES {
        let placement = draw(image, side, random);
        let new = resampled(image, &placement);
        let [w, h] = placement.size;
        // The object's area in the new image's pixels, had all of it stayed.
        let [a, b, _, d, e, _] = placement.map;
        let all = whole as f32 / (a * e - b * d).abs().max(1e-6);
        let area = new.area();
        if whole == 0 || (area as f32 >= KEPT * all && area > 0 && area < w * h) {
            return new;
        }
    }
    image.clone()
}

fn draw(image: &Annotated, side: usize, random: &mut Random) -> Placement {
    let (width, height) = (image.width as f32, image.height as f32);
    // How much of the old image the new one shows along each axis; over 1 with a margin.
    let shown = match random.unit() {
        drawn if drawn < 0.2 => random.between(1.0, 1.5),
        drawn if drawn < 0.85 => random.between(0.55, 1.0),
        _ => random.between(0.35, 0.6),
    };
    let uneven = random.between(0.9, 1.1);
    let (across, down) = (width * shown * uneven, height * shown / uneven);
    // The new image's shape: as shown, or squashed, as some data sets are.
    let squash = if random.chance(0.5) { (2.0f32).powf(random.between(-0.5, 0.5)) } else { 1.0 };
    let (mut w, mut h) = (across * squash.sqrt(), down / squash.sqrt());
    let largest = (side as f32).min(1.5 * width.max(height));
    let longest = largest * if random.chance(0.15) { random.between(0.4, 0.8) } else { 1.0 };
    let scale = longest / w.max(h);
    (w, h) = ((w * scale).round().max(8.0), (h * scale).round().max(8.0));
    let place = |length: f32, shown: f32, random: &mut Random| {
        let room = (length - shown).abs();
        let low = (length - shown).min(0.0);
        low + room * random.unit()
    };
    let centre =
        [place(width, across, random) + across / 2.0, place(height, down, random) + down / 2.0];
    let angle = if random.chance(0.3) { random.between(-0.35, 0.35) } else { 0.0 };
    let turned = random.chance(0.25);
    let flip = [0; 2].map(|_| if random.chance(0.5) { -1.0 } else { 1.0 });
    let (sin, cos) = angle.sin_cos();
    // From the new image's centre in units of its sides to pixels of the old one.
    let (sx, sy) = (flip[0] * across / w, flip[1] * down / h);
    let (a, b, d, e) = (cos * sx, -sin * sy, sin * sx, cos * sy);
    let (size, [a, b, d, e]) = match turned {
        true => ([h, w], [b, a, e, d]),
        false => ([w, h], [a, b, d, e]),
    };
    let (u, v) = ((size[0] - 1.0) / 2.0, (size[1] - 1.0) / 2.0);
    let map = [a, b, centre[0] - 0.5 - a * u - b * v, d, e, centre[1] - 0.5 - d * u - e * v];
    Placement { size: size.map(|side| side as usize), map }
}

fn resampled(image: &Annotated, placement: &Placement) -> Annotated {
    let ([w, h], [a, b, c, d, e, f]) = (placement.size, placement.map);
    let (width, height) = (image.width, image.height);
    let mut new =
        Annotated { width: w, height: h, rgb: vec![0; 3 * w * h], mask: vec![false; w * h] };
    for (place, (pixel, on)) in new.rgb.chunks_exact_mut(3).zip(&mut new.mask).enumerate() {
        let (u, v) = ((place % w) as f32, (place / w) as f32);
        let (x, y) = (a * u + b * v + c, d * u + e * v + f);
        if x < -0.5 || y < -0.5 || x > width as f32 - 0.5 || y > height as f32 - 0.5 {
            continue;
        }
        let (x, y) = (x.clamp(0.0, width as f32 - 1.0), y.clamp(0.0, height as f32 - 1.0));
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
        let (fx, fy) = (x - left as f32, y - top as f32);
        let at = |x: usize, y: usize, channel: usize| {
            f32::from(image.rgb[(y * width + x) * 3 + channel])
        };
        for (channel, value) in pixel.iter_mut().enumerate() {
            let upper = at(left, top, channel) * (1.0 - fx) + at(right, top, channel) * fx;
            let lower = at(left, bottom, channel) * (1.0 - fx) + at(right, bottom, channel) * fx;
            *value = (upper * (1.0 - fy) + lower * fy + 0.5) as u8;
        }
        *on = image.mask[y.round() as usize * width + x.round() as usize];
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_keeps_every_pixel() {
        let image = Annotated {
            width: 5,
            height: 3,
            rgb: (0..45).collect(),
            mask: (0..15).map(|i| i % 4 == 0).collect(),
        };
        let same = Placement { size: [5, 3], map: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0] };
        assert!(resampled(&image, &same) == image);
        let mirrored = Placement { size: [5, 3], map: [-1.0, 0.0, 4.0, 0.0, 1.0, 0.0] };
        let new = resampled(&image, &mirrored);
        assert_eq!(new.rgb[..3], image.rgb[12..15]);
        assert_eq!(new.mask[4], image.mask[0]);
    }
}
