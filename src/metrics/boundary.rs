use crate::image::Mask;

/// Tolerance of the boundary measure as a share of the picture's diagonal.
const TOLERANCE: f64 = 0.008;

/// Boundary F1 of DAVIS (Perazzi et al. 2016), in 0..1: the harmonic mean of the shares of either
/// boundary's pixels that lie within a disc of the other's. The disc's radius is 0.008 of the
/// diagonal, rounded up. Two masks without boundary agree: 1. `None` if the sizes differ.
pub fn boundary_f(prediction: &Mask, truth: &Mask) -> Option<f64> {
    let (width, height) = (prediction.width() as usize, prediction.height() as usize);
    if (prediction.width(), prediction.height()) != (truth.width(), truth.height()) {
        return None;
    }
    let diagonal = (width as f64).hypot(height as f64);
    let radius = (TOLERANCE * diagonal).ceil() as usize;
    let (found, real) = (boundary(prediction), boundary(truth));
    let count = |map: &[bool]| map.iter().filter(|on| **on).count();
    let (found_count, real_count) = (count(&found), count(&real));
    if found_count == 0 || real_count == 0 {
        return Some(if found_count == real_count { 1.0 } else { 0.0 });
    }
    let share = |map: &[bool], near: &[bool], count: usize| {
        map.iter().zip(near).filter(|(on, near)| **on && **near).count() as f64 / count as f64
    };
    let precision = share(&found, &dilated(&real, width, height, radius), found_count);
    let recall = share(&real, &dilated(&found, width, height, radius), real_count);
    let sum = precision + recall;
    Some(if sum == 0.0 { 0.0 } else { 2.0 * precision * recall / sum })
}

/// Pixels that differ from their right, lower or lower right neighbour. At the last column only the
/// lower one counts, at the last row only the right one, and the last pixel is none.
fn boundary(mask: &Mask) -> Vec<bool> {
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    let on = |x: usize, y: usize| mask.data().get(y * width + x).copied().unwrap_or(false);
    let mut map = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let here = on(x, y);
            let (right, below) = (x + 1 < width, y + 1 < height);
            map.push(
                (right && here != on(x + 1, y))
                    || (below && here != on(x, y + 1))
                    || (right && below && here != on(x + 1, y + 1)),
            );
        }
    }
    map
}

/// Every pixel within a disc around one that is on.
fn dilated(map: &[bool], width: usize, height: usize, radius: usize) -> Vec<bool> {
    let reach = |offset: usize| ((radius * radius - offset * offset) as f64).sqrt() as usize;
    let spans: Vec<usize> = (0..=radius).map(reach).collect();
    let mut near = vec![false; map.len()];
    for (place, _) in map.iter().enumerate().filter(|(_, on)| **on) {
        let (x, y) = (place % width, place / width);
        for row in y.saturating_sub(radius)..=(y + radius).min(height - 1) {
            let span = spans.get(row.abs_diff(y)).copied().unwrap_or(0);
            let (first, last) = (x.saturating_sub(span), (x + span).min(width - 1));
            if let Some(pixels) = near.get_mut(row * width + first..=row * width + last) {
                pixels.fill(true);
            }
        }
    }
    near
}
