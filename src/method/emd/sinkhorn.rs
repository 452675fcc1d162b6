//! The earth mover's distance with entropic regularisation (Cuturi 2013, "Sinkhorn Distances").

use super::{count, squared_distance};

/// Strength of the regularisation as a share of the mean cost.
const STRENGTH: f64 = 0.05;
/// Most rounds, and the largest error of the marginals that ends them sooner.
const ROUNDS: usize = 200;
const TOLERANCE: f64 = 1e-6;

/// The mean cost of the regularised plan that moves `a`, vectors of `dim` numbers of the same weight,
/// onto `b`: above [`super::emd`] by a small share of the mean of all costs. `None` if a set is empty or `dim` is 0.
pub fn sinkhorn(a: &[f32], b: &[f32], dim: usize) -> Option<f64> {
    let (n, m) = (count(a, dim)?, count(b, dim)?);
    let rows = || a.chunks_exact(dim).take(n);
    let costs: Vec<f64> = rows()
        .flat_map(|row| b.chunks_exact(dim).take(m).map(|column| squared_distance(row, column)))
        .collect();
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    if mean == 0.0 {
        return Some(0.0);
    }
    // Each row's and column's least cost is taken off: that changes the scalings and not the plan, and
    // keeps a term of size 1 in every sum.
    let mut shifted = costs.clone();
    for row in shifted.chunks_exact_mut(m) {
        let least = row.iter().copied().fold(f64::INFINITY, f64::min);
        row.iter_mut().for_each(|cost| *cost -= least);
    }
    for column in 0..m {
        let places = (column..n * m).step_by(m);
        let least = places.clone().map(|i| shifted[i]).fold(f64::INFINITY, f64::min);
        places.for_each(|i| shifted[i] -= least);
    }
    let kernel: Vec<f64> = shifted.iter().map(|cost| (-cost / (STRENGTH * mean)).exp()).collect();
    let (mut left, mut right) = (vec![1.0; n], vec![1.0; m]);
    for _ in 0..ROUNDS {
        let mut error = 0.0;
        for (scale, row) in left.iter_mut().zip(kernel.chunks_exact(m)) {
            let sum: f64 = row.iter().zip(&right).map(|(k, r)| k * r).sum();
            error += (*scale * sum - 1.0 / n as f64).abs();
            *scale = 1.0 / (n as f64 * sum);
        }
        let mut sums = vec![0.0; m];
        for (scale, row) in left.iter().zip(kernel.chunks_exact(m)) {
            sums.iter_mut().zip(row).for_each(|(sum, k)| *sum += k * scale);
        }
        right.iter_mut().zip(sums).for_each(|(scale, sum)| *scale = 1.0 / (m as f64 * sum));
        if error < TOLERANCE {
            break;
        }
    }
    let plan = kernel.iter().enumerate().map(|(i, k)| left[i / m] * k * right[i % m]);
    let (mass, cost) = plan
        .zip(&costs)
        .fold((0.0, 0.0), |(mass, cost), (share, c)| (mass + share, cost + share * c));
    let distance = cost / mass;
    distance.is_finite().then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::super::emd;
    use super::*;

    /// Values between -1 and 1.
    fn points(count: usize, dim: usize, shift: f32) -> Vec<f32> {
        let value = |i: usize| ((i * 7919 + 13) % 997) as f32 / 498.5 - 1.0 + shift;
        (0..count * dim).map(value).collect()
    }

    #[test]
    fn it_lies_between_the_exact_distance_and_the_mean_and_near_the_first() {
        for (n, m, shift) in [(1, 1, 0.2), (1, 9, 0.5), (30, 40, 0.0), (60, 25, 0.7)] {
            let (a, b) = (points(n, 8, 0.0), points(m, 8, shift));
            let exact = emd(&a, &b, 8).expect("two sets");
            let costs = a.chunks(8).flat_map(|a| b.chunks(8).map(|b| squared_distance(a, b)));
            let mean = costs.sum::<f64>() / (n * m) as f64;
            let share = (sinkhorn(&a, &b, 8).expect("two sets") - exact) / mean;
            assert!((-1e-4..0.1).contains(&share), "{n} x {m}: off by {share} of the mean cost");
        }
    }

    #[test]
    fn nothing_has_no_distance_and_one_place_none_to_itself() {
        assert_eq!(sinkhorn(&[], &[1.0], 1), None);
        assert_eq!(sinkhorn(&[1.0], &[1.0], 0), None);
        assert_eq!(sinkhorn(&[1.0, 2.0], &[1.0, 2.0], 2), Some(0.0));
    }
}
