//! Checks against Python Optimal Transport, against brute force, and of the optimality certificate.

use super::test_points::{Splitmix, points};
use super::*;

#[derive(serde::Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    kind: String,
    parts: u64,
    dim: usize,
    n: usize,
    m: usize,
    seed_a: u64,
    seed_b: u64,
    emd: f64,
}

#[test]
fn agrees_with_python_optimal_transport() {
    let text = include_str!("../../../tests/fixtures/method/emd.json");
    let fixture: Fixture = serde_json::from_str(text).unwrap();
    assert!(fixture.cases.len() > 20);
    for Case { kind, parts, dim, n, m, seed_a, seed_b, emd: expected } in fixture.cases {
        let a = points(&kind, parts, n, dim, seed_a);
        let b = points(&kind, parts, m, dim, seed_b);
        let close = |found: f64| (found - expected).abs() <= 1e-8 * expected + 1e-12;
        let name = format!("{kind} {n}x{m}x{dim}: {expected}");
        let found = emd(&a, &b, dim).unwrap();
        assert!(close(found), "{name}, found {found}");
        assert!(close(emd(&b, &a, dim).unwrap()), "{name}, the other way round");
        assert!(emd_lower_bound(&a, &b, dim).unwrap() <= expected * (1.0 + 1e-9), "{name}");
        assert_eq!(emd_below(&a, &b, dim, found * 1.01 + 1e-9), Some(found), "{name}");
        for bound in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(emd_below(&a, &b, dim, found * bound), None, "{name} below {bound}");
        }
    }
}

/// Solves and checks the certificate: a feasible plan, feasible duals, and the same value.
fn certify(a: &[f32], b: &[f32], dim: usize, prices: Option<&[i32]>, listed: bool) -> i64 {
    let matrix = CostMatrix::new(a, b, dim);
    let costs = matrix.all();
    let (n, m) = (costs.rows(), costs.columns());
    let prices = prices.map_or_else(|| first_prices(costs).unwrap(), <[i32]>::to_vec);
    let (mut simplex, mut shortlist) = basis(costs, &prices).unwrap();
    if !listed {
        shortlist.clear();
    }
    assert_eq!(simplex.solve(&mut shortlist, || f64::INFINITY), Outcome::Optimal);
    let (duals, prices) = (simplex.row_duals(), simplex.prices());
    let common = gcd(n as u32, m as u32);
    let (supply, demand) = (m as u32 / common, n as u32 / common);
    for (i, dual) in duals.iter().enumerate() {
        for (j, price) in prices.iter().enumerate() {
            assert!(costs.at(i, j) >= dual - price, "arc {i} {j} has a negative reduced cost");
        }
    }
    let (mut out, mut into) = (vec![0; n], vec![0; m]);
    let mut primal = 0;
    for Shipment { row, column, units } in simplex.shipments() {
        out[row as usize] += units;
        into[column as usize] += units;
        primal += i64::from(units) * i64::from(costs.at(row as usize, column as usize));
    }
    assert!(out.iter().all(|&units| units == supply) && into.iter().all(|&units| units == demand));
    let total = |values: &[i32]| values.iter().map(|&v| i64::from(v)).sum::<i64>();
    assert_eq!(primal, total(duals) * i64::from(supply) - total(prices) * i64::from(demand));
    assert!(simplex.pivots < 100 * (n + m));
    primal
}

#[test]
fn certifies_optimality_however_degenerate() {
    let sizes = [(2, 2), (5, 5), (12, 36), (40, 40), (37, 53), (60, 60), (64, 16)];
    for (seed, (n, m)) in sizes.into_iter().enumerate() {
        for (kind, parts, dim) in
            [("grid", 2, 1), ("grid", 2, 3), ("grid", 3, 2), ("repeats", 3, 4), ("clusters", 4, 8)]
        {
            let a = points(kind, parts, n, dim, seed as u64);
            let b = points(kind, parts, m, dim, 77 + seed as u64);
            let value = certify(&a, &b, dim, None, false);
            assert_eq!(value, certify(&a, &b, dim, None, true));
            // The start may be as bad as it likes.
            let mut random = Splitmix(5);
            let wild: Vec<i32> = (0..m).map(|_| (random.next() * 8e6) as i32 - 4_000_000).collect();
            assert_eq!(value, certify(&a, &b, dim, Some(&wild), true));
        }
    }
}

#[test]
fn certifies_with_a_coarse_problem_first() {
    for (kind, parts, dim, n, m) in [("clusters", 5, 16, 530, 260), ("grid", 4, 2, 600, 600)] {
        certify(&points(kind, parts, n, dim, 1), &points(kind, parts, m, dim, 2), dim, None, true);
    }
}

/// The least mean over all ways of pairing the points.
fn brute_force(a: &[f32], b: &[f32], dim: usize) -> f64 {
    fn rest(a: &[f32], b: &[&[f32]], dim: usize) -> f64 {
        if a.is_empty() {
            return 0.0;
        }
        let pair = |k: usize| {
            let mut others = b.to_vec();
            let taken = others.swap_remove(k);
            squared_distance(&a[..dim], taken) + rest(&a[dim..], &others, dim)
        };
        (0..b.len()).map(pair).fold(f64::INFINITY, f64::min)
    }
    let b: Vec<&[f32]> = b.chunks_exact(dim).collect();
    rest(a, &b, dim) / b.len() as f64
}

#[test]
fn agrees_with_brute_force() {
    for seed in 0..60 {
        let (n, dim) = (1 + seed as usize % 7, 1 + seed as usize % 3);
        let kind = ["clusters", "grid", "repeats"][seed as usize / 7 % 3];
        let a = points(kind, 3, n, dim, 900 + seed);
        let b = points(kind, 3, n, dim, 300 + seed);
        let (found, expected) = (emd(&a, &b, dim).unwrap(), brute_force(&a, &b, dim));
        assert!((found - expected).abs() < 1e-9, "{kind} {n}: {found} {expected}");
    }
}

#[test]
fn is_none_for_nothing_and_zero_for_the_same() {
    let a = points("clusters", 3, 50, 8, 1);
    assert_eq!(emd(&[], &a, 8), None);
    assert_eq!(emd(&a, &[], 8), None);
    assert_eq!(emd(&a, &a, 0), None);
    assert_eq!(emd_below(&[], &a, 8, 1.0), None);
    assert_eq!(emd_lower_bound(&[], &a, 8), None);
    assert_eq!(emd(&a, &a, 8), Some(0.0));
    // Twice over, and in another order.
    let twice: Vec<f32> =
        a.chunks_exact(8).rev().chain(a.chunks_exact(8)).flatten().copied().collect();
    assert_eq!(emd(&a, &twice, 8), Some(0.0));
    assert_eq!(emd(&[2.0; 24], &[2.0; 40], 8), Some(0.0));
    assert_eq!(emd(&[2.0; 24], &[3.0; 40], 8), Some(8.0));
}

#[test]
fn is_none_or_some_but_ends_on_useless_numbers() {
    for value in [f32::NAN, f32::INFINITY, f32::MAX, 1e-40] {
        let mut a = points("clusters", 3, 30, 8, 1);
        a[17] = value;
        let b = points("clusters", 3, 40, 8, 2);
        emd(&a, &b, 8);
        emd(&b, &a, 8);
        nearest(&a, &b, 8, &[vec![1, 2, 3], vec![5, 6]]);
    }
    let tiny: Vec<f32> = points("clusters", 3, 30, 8, 1).iter().map(|v| v * 1e-30).collect();
    assert!(emd(&tiny, &tiny[8..], 8).is_some());
}

#[test]
fn coarser_costs_still_give_nearly_the_distance() {
    let (a, b) = (points("clusters", 3, 60, 8, 1), points("clusters", 3, 45, 8, 2));
    let mut matrix = CostMatrix::new(&a, &b, 8);
    matrix.coarsen();
    let prices = first_prices(matrix.all()).unwrap();
    let plan = solve(matrix.all(), &prices, || f64::INFINITY).unwrap().unwrap();
    let (found, exact) = (plan.cost(|i| &a[i * 8..][..8], &b, 8), emd(&a, &b, 8).unwrap());
    assert!(found >= exact * (1.0 - 1e-12) && found < exact * 1.001, "{found} {exact}");
}

#[test]
fn prices_of_a_plan_are_its_certificate() {
    let (a, b) = (points("clusters", 3, 60, 8, 1), points("clusters", 3, 45, 8, 2));
    let matrix = CostMatrix::new(&a, &b, 8);
    let prices = first_prices(matrix.all()).unwrap();
    let plan = solve(matrix.all(), &prices, || f64::INFINITY).unwrap().unwrap();
    let mean =
        |values: &[i32]| values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    let dual = (mean(&plan.row_duals) - mean(&plan.prices)) * matrix.quantum();
    let found = plan.cost(|i| &a[i * 8..][..8], &b, 8);
    assert!((found - dual).abs() < 1e-5 * found, "{found} {dual}");
}

#[test]
fn nearest_is_the_first_smallest_distance() {
    let dim = 8;
    for seed in 0..40u64 {
        let kind = ["clusters", "grid", "repeats"][seed as usize % 3];
        let reference = points(kind, 3, 1 + 7 * (seed as usize % 6), dim, seed);
        let pool = points(kind, 3, 90, dim, seed + 500);
        let mut random = Splitmix(seed);
        // Overlapping candidates, some of them empty or equal.
        let mut candidates: Vec<Vec<u32>> = (0..6)
            .map(|_| {
                let share = random.next();
                (0..90).filter(|_| random.next() < share - 0.1).collect()
            })
            .collect();
        candidates.push(candidates[seed as usize % 6].clone());
        candidates.rotate_right(seed as usize % 5);
        let mut expected: Option<Nearest> = None;
        for (index, candidate) in candidates.iter().enumerate() {
            let points: Vec<f32> =
                candidate.iter().flat_map(|&p| pool[p as usize * dim..][..dim].to_vec()).collect();
            if let Some(distance) = emd(&points, &reference, dim)
                && expected.is_none_or(|best| distance < best.distance * (1.0 - 1e-12))
            {
                expected = Some(Nearest { index, distance });
            }
        }
        let found = nearest(&reference, &pool, dim, &candidates);
        assert_eq!(found.map(|f| f.index), expected.map(|e| e.index), "seed {seed}");
        if let (Some(found), Some(expected)) = (found, expected) {
            assert!((found.distance - expected.distance).abs() <= 1e-9 * expected.distance + 1e-12);
        }
    }
    let pool = points("clusters", 3, 9, dim, 1);
    assert_eq!(nearest(&pool, &pool, dim, &[]), None);
    assert_eq!(nearest(&pool, &pool, dim, &[vec![]]), None);
    assert_eq!(nearest(&pool, &pool, dim, &[vec![9]]), None);
    assert_eq!(nearest(&[], &pool, dim, &[vec![0]]), None);
}

#[test]
fn nearest_agrees_on_sets_with_a_coarse_problem() {
    let dim = 8;
    let reference = points("clusters", 3, 530, dim, 1);
    let pool = points("clusters", 3, 900, dim, 2);
    let mut random = Splitmix(3);
    let candidates: Vec<Vec<u32>> = (0..4)
        .map(|k| (0..900).filter(|_| random.next() < 0.6 + 0.1 * f64::from(k)).collect())
        .collect();
    let distance = |candidate: &Vec<u32>| {
        let set: Vec<f32> =
            candidate.iter().flat_map(|&p| pool[p as usize * dim..][..dim].to_vec()).collect();
        emd(&reference, &set, dim).unwrap()
    };
    let distances: Vec<f64> = candidates.iter().map(distance).collect();
    let found = nearest(&reference, &pool, dim, &candidates).unwrap();
    let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
    assert!((found.distance - least).abs() < 1e-9 * least);
    assert!((distances[found.index] - least).abs() < 1e-9 * least);
}

/// The first candidate with the least distance, by trying all plans. All sets are of one size.
fn nearest_by_brute_force(
    reference: &[f32],
    pool: &[f32],
    dim: usize,
    candidates: &[Vec<u32>],
) -> Nearest {
    let distance = |candidate: &Vec<u32>| {
        let set = candidate.iter().flat_map(|&p| &pool[p as usize * dim..][..dim]);
        brute_force(reference, &set.copied().collect::<Vec<f32>>(), dim)
    };
    let all = candidates.iter().map(distance).enumerate();
    let (index, distance) = all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    Nearest { index, distance }
}

#[test]
fn nearest_is_what_brute_force_chooses_and_of_ties_the_first() {
    let (mut ties, mut later) = (0, 0);
    for seed in 0..300u64 {
        let mut random = Splitmix(seed);
        let (size, dim) = (1 + seed as usize % 6, 1 + seed as usize % 3);
        // Distances of whole numbers are exact, so that ties are, and there are many.
        let reference = points("grid", 3, size, dim, seed);
        let pool = points("grid", 3, 10, dim, seed + 1000);
        let mut candidates: Vec<Vec<u32>> = Vec::new();
        for _ in 0..5 {
            // One after the other differ by a vector or two; some are the same in another order.
            let mut set = candidates.last().cloned().unwrap_or_else(|| (0..size as u32).collect());
            for _ in 0..(random.next() * 3.0) as usize {
                let new = (random.next() * 10.0) as u32;
                if !set.contains(&new) {
                    set[(random.next() * size as f64) as usize] = new;
                }
            }
            set.rotate_left(random.next().round() as usize);
            candidates.push(set);
        }
        candidates.rotate_right(seed as usize % 5);
        let expected = nearest_by_brute_force(&reference, &pool, dim, &candidates);
        let found = nearest(&reference, &pool, dim, &candidates);
        assert_eq!(found, Some(expected), "seed {seed}: {candidates:?}");
        let others = &candidates[expected.index + 1..];
        ties += usize::from(others.iter().any(|other| {
            let alone = std::slice::from_ref(other);
            nearest_by_brute_force(&reference, &pool, dim, alone).distance == expected.distance
        }));
        later += usize::from(expected.index > 0);
    }
    assert!(ties > 50 && later > 50, "{ties} ties, {later} not the first");
}
