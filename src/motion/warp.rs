use super::Affine;
use crate::image::{MaskPatch, PixelBox};

/// Bits after the binary point of a place in the source.
const FRACTION: u32 = 20;
const ONE: i64 = 1 << FRACTION;
/// Farthest place that the fixed-point numbers are used for, in pixels.
const FARTHEST: f64 = 1e6;
/// Strongest reduction that they are used for.
const STRONGEST: f64 = 1e3;

/// Moves a mask; each pixel of the result takes the pixel of the source nearest to where it came
/// from. `width` and `height` are the picture's; `None` if nothing of the object is left in it, or
/// if the map cannot be inverted.
pub fn warp(patch: &MaskPatch, affine: &Affine, width: u32, height: u32) -> Option<MaskPatch> {
    let inverse = affine.inverse()?;
    if !inverse.0.iter().all(|[a, b, _]| a.abs() < STRONGEST && b.abs() < STRONGEST) {
        return None;
    }
    let target = reach(patch, affine, width, height)?;
    let area = patch.area();
    let (patch_width, patch_height) = (patch.width(), patch.height());
    let columns = (target.x1 - target.x0) as usize + 1;
    let mut on = vec![false; columns * ((target.y1 - target.y0) as usize + 1)];
    let fixed = |value: f64| (value * ONE as f64).round() as i64;
    let step = [fixed(inverse.0[0][0]), fixed(inverse.0[1][0])];
    // Then long runs of a row come from one row of the source unchanged.
    let nearly_upright = (step[0] - ONE).abs() + step[1].abs() < ONE / 8;
    for (y, row) in (target.y0..).zip(on.chunks_exact_mut(columns)) {
        // Half a pixel more, so that cutting the fraction off rounds to the nearest.
        let [x, y] = inverse.apply([f64::from(target.x0), f64::from(y)]);
        let mut place = [fixed(x - f64::from(area.x0) + 0.5), fixed(y - f64::from(area.y0) + 0.5)];
        let (first, end) = inside(place, step, [patch_width, patch_height], columns);
        place = [place[0] + step[0] * first as i64, place[1] + step[1] * first as i64];
        let mut rest = row.get_mut(first..end).unwrap_or_default();
        while !rest.is_empty() {
            let (u, v) = ((place[0] >> FRACTION) as usize, (place[1] >> FRACTION) as usize);
            let length = if nearly_upright { run(place, step).min(rest.len()) } else { 1 };
            let (to, later) = rest.split_at_mut(length);
            let start = v * patch_width + u;
            if let Some(from) = patch.on().get(start..start + length) {
                to.copy_from_slice(from);
            }
            place = [place[0] + step[0] * length as i64, place[1] + step[1] * length as i64];
            rest = later;
        }
    }
    MaskPatch::new(target, on)
}

/// How many pixels from a place on come from neighbours in one row of the source.
fn run(place: [i64; 2], step: [i64; 2]) -> usize {
    let within = |place: i64, drift: i64| {
        let fraction = place & (ONE - 1);
        match drift {
            0 => usize::MAX,
            1.. => ((ONE - 1 - fraction) / drift) as usize + 1,
            _ => (fraction / -drift) as usize + 1,
        }
    };
    within(place[0], step[0] - ONE).min(within(place[1], step[1]))
}

/// Which pixels of a row come from within the source: the first, and the one after the last.
fn inside(place: [i64; 2], step: [i64; 2], size: [usize; 2], columns: usize) -> (usize, usize) {
    let (mut first, mut end) = (0, columns as i64);
    for ((place, step), side) in place.into_iter().zip(step).zip(size) {
        let last = ((side as i64) << FRACTION) - 1;
        // place + i * step must lie in 0..=last.
        let (low, high) = match step {
            0 if (0..=last).contains(&place) => continue,
            0 => return (0, 0),
            1.. => (ceil_div(-place, step), (last - place).div_euclid(step)),
            _ => (ceil_div(place - last, -step), place.div_euclid(-step)),
        };
        first = low.max(first);
        end = high.saturating_add(1).min(end);
    }
    if first < end { (first as usize, end as usize) } else { (0, 0) }
}

fn ceil_div(value: i64, by: i64) -> i64 {
    -(-value).div_euclid(by)
}

/// The box that a patch's box moves to, as far as it lies in the picture.
fn reach(patch: &MaskPatch, affine: &Affine, width: u32, height: u32) -> Option<PixelBox> {
    let area = patch.area();
    let mut low = [f64::INFINITY; 2];
    let mut high = [f64::NEG_INFINITY; 2];
    for x in [f64::from(area.x0) - 0.5, f64::from(area.x1) + 0.5] {
        for y in [f64::from(area.y0) - 0.5, f64::from(area.y1) + 0.5] {
            let place = affine.apply([x, y]);
            for ((low, high), value) in low.iter_mut().zip(&mut high).zip(place) {
                *low = low.min(value);
                *high = high.max(value);
            }
        }
    }
    let near = low.iter().chain(&high).all(|value| value.abs() < FARTHEST);
    let sides = [f64::from(width), f64::from(height)];
    let outside = (0..2).any(|axis| high[axis] < 0.0 || low[axis] > sides[axis] - 1.0);
    if !near || outside || width == 0 || height == 0 {
        return None;
    }
    let first = low.map(|value| value.floor().max(0.0) as u32);
    Some(PixelBox {
        x0: first[0].min(width - 1),
        y0: first[1].min(height - 1),
        x1: (high[0].ceil().max(0.0) as u32).min(width - 1),
        y1: (high[1].ceil().max(0.0) as u32).min(height - 1),
    })
}
