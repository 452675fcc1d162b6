//! Scores of a mask against the truth. They know nothing of models.

use crate::image::Mask;

/// Dice coefficient, 2 |A and B| / (|A| + |B|), in 0..1. Two empty masks agree: 1. `None` if the
/// sizes differ.
pub fn dice(a: &Mask, b: &Mask) -> Option<f64> {
    let (both, sum) = overlap(a, b)?;
    Some(if sum == 0 { 1.0 } else { 2.0 * both as f64 / sum as f64 })
}

/// Intersection over union, |A and B| / |A or B|, in 0..1. Two empty masks agree: 1. `None` if the
/// sizes differ.
pub fn iou(a: &Mask, b: &Mask) -> Option<f64> {
    let (both, sum) = overlap(a, b)?;
    Some(if sum == 0 { 1.0 } else { both as f64 / (sum - both) as f64 })
}

/// Pixels in both, and the sum of both areas.
fn overlap(a: &Mask, b: &Mask) -> Option<(usize, usize)> {
    if (a.width(), a.height()) != (b.width(), b.height()) {
        return None;
    }
    let both = a.data().iter().zip(b.data()).filter(|(a, b)| **a && **b).count();
    Some((both, a.area() + b.area()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(on: &[u8]) -> Mask {
        Mask::new(on.len() as u32, 1, on.iter().map(|&v| v > 0).collect()).expect("sizes agree")
    }

    #[test]
    fn known_overlaps() {
        let (a, b) = (mask(&[1, 1, 1, 0, 0]), mask(&[0, 1, 1, 1, 1]));
        assert_eq!(dice(&a, &b), Some(4.0 / 7.0));
        assert_eq!(iou(&a, &b), Some(2.0 / 5.0));
    }

    #[test]
    fn empty_masks_agree_and_sizes_must() {
        let (none, some) = (mask(&[0, 0]), mask(&[0, 1]));
        assert_eq!(dice(&none, &none), Some(1.0));
        assert_eq!(iou(&none, &some), Some(0.0));
        assert_eq!(dice(&none, &mask(&[0])), None);
    }
}
