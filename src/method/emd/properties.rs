//! The distance of small sets against every way of moving one onto the other.

use proptest::prelude::*;

use super::cost::squared_distance;
use super::{emd, emd_below, emd_lower_bound, gcd};
use crate::properties::cases;

/// Vectors of each set once as often as it takes for both sets to have as many.
const MOST: usize = 12;

/// The least mean squared distance over all pairings of the vectors, each repeated until both sets have
/// as many: by the best pairing of the first vectors with each subset.
fn brute_force(a: &[f32], b: &[f32], dim: usize) -> f64 {
    let (n, m) = (a.len() / dim, b.len() / dim);
    let all = n * m / gcd(n as u32, m as u32) as usize;
    let mut least = vec![f64::INFINITY; 1 << all];
    least[0] = 0.0;
    for paired in 0..least.len() {
        let row = paired.count_ones() as usize * n / all;
        if row == n {
            continue;
        }
        for column in (0..all).filter(|column| paired & (1 << column) == 0) {
            let to = &b[column * m / all * dim..][..dim];
            let cost = least[paired] + squared_distance(&a[row * dim..][..dim], to);
            let with = &mut least[paired | (1 << column)];
            *with = with.min(cost);
        }
    }
    least[least.len() - 1] / all as f64
}

/// Two sets of vectors of one length. Whole numbers make many equal distances.
fn sets() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, usize)> {
    let sizes = (1usize..=6, 1usize..=6, 1usize..=4);
    let few = sizes.prop_filter("few enough to try all", |(n, m, _)| {
        n * m / gcd(*n as u32, *m as u32) as usize <= MOST
    });
    few.prop_flat_map(|(n, m, dim)| {
        let any = prop_oneof![(-3i8..=3).prop_map(f32::from), -100.0f32..100.0];
        let set = |count| prop::collection::vec(any.clone(), count * dim);
        (set(n), set(m), Just(dim))
    })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn small_sets_are_moved_at_the_least_cost((a, b, dim) in sets()) {
        let expected = brute_force(&a, &b, dim);
        let found = emd(&a, &b, dim).expect("neither is empty");
        let largest = a.chunks(dim).flat_map(|a| b.chunks(dim).map(move |b| squared_distance(a, b)));
        let rounding = 1e-6 * largest.fold(0.0, f64::max) + 1e-12;
        prop_assert!((found - expected).abs() <= rounding, "{found}, by all pairings {expected}");
        let back = emd(&b, &a, dim).expect("neither is empty");
        prop_assert!((back - expected).abs() <= rounding, "the other way round {back}");
        let least = emd_lower_bound(&a, &b, dim).expect("neither is empty");
        prop_assert!(least <= expected + rounding, "a bound of {least} for {expected}");
        prop_assert_eq!(emd_below(&a, &b, dim, found), None);
        prop_assert_eq!(emd_below(&a, &b, dim, found + 2.0 * rounding), Some(found));
    }
}
