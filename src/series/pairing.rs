use std::ops::Range;

use crate::dataset::from_the_middle;

/// Which annotated slice serves a slice as its reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pairing {
    /// The nearest one.
    #[default]
    Nearest,
    /// The middles of both are a pair, and so are the slices as far above and below them
    /// (METHOD of 4D-Lung in arXiv 2403.05433); those that are left over take the outermost.
    Middle,
}

/// For every slice in `targets` the one of `annotated`, which are in rising order, that serves it.
/// `place` says where a target lies among the annotated volume's slices.
///
/// Empty if none is annotated.
pub fn pair(
    annotated: &[usize],
    targets: Range<usize>,
    pairing: Pairing,
    place: impl Fn(usize) -> f64,
) -> Vec<usize> {
    let Some(last) = annotated.len().checked_sub(1) else { return Vec::new() };
    let (start, count) = (targets.start, targets.len());
    targets
        .map(|target| match pairing {
            Pairing::Middle => {
                annotated[from_the_middle(target - start, count, annotated.len()).min(last)]
            }
            Pairing::Nearest => {
                let here = place(target);
                let away = |slice: &&usize| (**slice as f64 - here).abs();
                *annotated
                    .iter()
                    .min_by(|a, b| away(a).total_cmp(&away(b)))
                    .unwrap_or(&annotated[0])
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles_meet_and_the_outermost_serve_the_rest() {
        let pairs = pair(&[10, 11, 12], 3..10, Pairing::Middle, |_| 0.0);
        assert_eq!(pairs, [10, 10, 10, 11, 12, 12, 12]);
        assert_eq!(pair(&[10, 11, 12], 4..5, Pairing::Middle, |_| 0.0), [11]);
        assert_eq!(pair(&[5, 6, 7, 8], 0..4, Pairing::Middle, |_| 0.0), [5, 6, 7, 8]);
    }

    #[test]
    fn the_nearest_by_place() {
        let pairs = pair(&[2, 8], 0..5, Pairing::Nearest, |target| target as f64 * 2.0);
        assert_eq!(pairs, [2, 2, 2, 8, 8]);
        assert!(pair(&[], 0..5, Pairing::Nearest, |_| 0.0).is_empty());
    }
}
