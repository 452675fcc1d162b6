//! One map for many points, of which some lead astray: random pairs propose a similarity (RANSAC),
//! the best is refined by least squares on the points that agree with it.

use super::Affine;

/// Where a point was and where it is now, in small pixels, and what its word counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) from: [f64; 2],
    pub(super) to: [f64; 2],
    pub(super) weight: f64,
}

/// A map that most points agree with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub(super) affine: Affine,
    /// Number of points that agree.
    pub(super) agreeing: usize,
    /// Their share of all weight.
    pub(super) share: f64,
    /// Root of their mean squared distance in small pixels.
    pub(super) residual: f64,
}

/// Farthest that a point may be from where the map takes it, in small pixels.
const AGREES: f64 = 1.0;
/// Number of proposals.
const PROPOSALS: usize = 60;
/// Rounds of refinement.
const ROUNDS: usize = 3;
/// Fewest points that a map is fitted to.
const FEWEST: usize = 4;
/// Pull of scale and rotation towards none, as so many points at a distance of as many pixels as
/// given. Few points close to each other cannot tell them from noise.
const PULL: (f64, f64) = (1.0, 6.0);
/// Fewest points that an affine map is fitted to.
const AFFINE_FROM: usize = 12;
/// How much better the points must agree with an affine map.
const AFFINE_GAIN: f64 = 1.08;

/// Fits a similarity, or an affine map where that is clearly better. `None` with too few points.
pub(super) fn fit(pairs: &[Pair]) -> Option<Fit> {
    if pairs.len() < FEWEST {
        return None;
    }
    let mut best = Affine::IDENTITY;
    let mut score = 0.0;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..PROPOSALS {
        let (one, other) = (random.below(pairs.len()), random.below(pairs.len()));
        let (Some(one), Some(other)) = (pairs.get(one), pairs.get(other)) else { continue };
        let Some(proposal) = through(one, other) else { continue };
        let agreed = agreement(pairs, &proposal);
        if agreed > score {
            (best, score) = (proposal, agreed);
        }
    }
    for _ in 0..ROUNDS {
        let Some(refined) = similarity(&agreeing(pairs, &best, AGREES)) else { break };
        best = refined;
    }
    // A stretch takes the outer points away from every similarity: they are let in again.
    let mut full = best;
    for _ in 0..ROUNDS {
        let near = agreeing(pairs, &full, if full == best { 2.0 * AGREES } else { AGREES });
        let Some(refined) = affine(&near).filter(|_| near.len() >= AFFINE_FROM) else { break };
        full = refined;
    }
    if agreement(pairs, &full) > agreement(pairs, &best) * AFFINE_GAIN {
        best = full;
    }
    let kept = agreeing(pairs, &best, AGREES);
    if kept.len() < FEWEST {
        return None;
    }
    let residual = spread(&kept, &best);
    let weight = |pairs: &[Pair]| pairs.iter().map(|pair| pair.weight).sum::<f64>();
    let share = weight(&kept) / weight(pairs).max(f64::MIN_POSITIVE);
    Some(Fit { affine: best, agreeing: kept.len(), share, residual })
}

/// A linear congruential generator: the same picture gives the same map.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) % end.max(1) as u64) as usize
    }
}

/// Squared distance of a point from where the map takes it.
fn off(pair: &Pair, affine: &Affine) -> f64 {
    let [x, y] = affine.apply(pair.from);
    (x - pair.to[0]).powi(2) + (y - pair.to[1]).powi(2)
}

/// How well points agree with a map: the nearer, the more (MSAC).
fn agreement(pairs: &[Pair], affine: &Affine) -> f64 {
    pairs
        .iter()
        .map(|pair| pair.weight * (1.0 - off(pair, affine) / (AGREES * AGREES)).max(0.0))
        .sum()
}

fn agreeing(pairs: &[Pair], affine: &Affine, within: f64) -> Vec<Pair> {
    pairs.iter().filter(|pair| off(pair, affine) < within * within).copied().collect()
}

fn spread(pairs: &[Pair], affine: &Affine) -> f64 {
    let sum: f64 = pairs.iter().map(|pair| off(pair, affine)).sum();
    (sum / pairs.len().max(1) as f64).sqrt()
}

/// The similarity that takes two points where they went; `None` if they are too close to tell.
fn through(one: &Pair, other: &Pair) -> Option<Affine> {
    let apart = [other.from[0] - one.from[0], other.from[1] - one.from[1]];
    let now = [other.to[0] - one.to[0], other.to[1] - one.to[1]];
    let length = apart[0] * apart[0] + apart[1] * apart[1];
    if length < 9.0 {
        return None;
    }
    let a = (apart[0] * now[0] + apart[1] * now[1]) / length;
    let b = (apart[0] * now[1] - apart[1] * now[0]) / length;
    Some(turned([a, b], one.from, one.to))
}

/// The map that scales and turns by a complex number and takes one place to another.
fn turned([a, b]: [f64; 2], from: [f64; 2], to: [f64; 2]) -> Affine {
    let [x, y] = from;
    Affine([[a, -b, to[0] - a * x + b * y], [b, a, to[1] - b * x - a * y]])
}

/// Weighted means of where the points were and are.
fn centres(pairs: &[Pair]) -> Option<([f64; 2], [f64; 2])> {
    let weight: f64 = pairs.iter().map(|pair| pair.weight).sum();
    if weight <= 0.0 {
        return None;
    }
    let mean = |value: fn(&Pair) -> f64| {
        pairs.iter().map(|pair| pair.weight * value(pair)).sum::<f64>() / weight
    };
    Some(([mean(|p| p.from[0]), mean(|p| p.from[1])], [mean(|p| p.to[0]), mean(|p| p.to[1])]))
}

/// Least squares with scale and rotation.
fn similarity(pairs: &[Pair]) -> Option<Affine> {
    let (from, to) = centres(pairs)?;
    let pull = PULL.0 * PULL.1 * PULL.1;
    let (mut real, mut imaginary, mut length) = (pull, 0.0, pull);
    for pair in pairs {
        let p = [pair.from[0] - from[0], pair.from[1] - from[1]];
        let q = [pair.to[0] - to[0], pair.to[1] - to[1]];
        real += pair.weight * (p[0] * q[0] + p[1] * q[1]);
        imaginary += pair.weight * (p[0] * q[1] - p[1] * q[0]);
        length += pair.weight * (p[0] * p[0] + p[1] * p[1]);
    }
    Some(turned([real / length, imaginary / length], from, to))
}

/// Least squares with all six numbers.
fn affine(pairs: &[Pair]) -> Option<Affine> {
    let (from, to) = centres(pairs)?;
    let pull = PULL.0 * PULL.1 * PULL.1;
    let (mut xx, mut xy, mut yy) = (pull, 0.0, pull);
    let mut sums = [[pull, 0.0], [0.0, pull]];
    for pair in pairs {
        let p = [pair.from[0] - from[0], pair.from[1] - from[1]];
        let q = [pair.to[0] - to[0], pair.to[1] - to[1]];
        xx += pair.weight * p[0] * p[0];
        xy += pair.weight * p[0] * p[1];
        yy += pair.weight * p[1] * p[1];
        for (sums, q) in sums.iter_mut().zip(q) {
            sums[0] += pair.weight * p[0] * q;
            sums[1] += pair.weight * p[1] * q;
        }
    }
    let det = xx * yy - xy * xy;
    if det <= f64::EPSILON {
        return None;
    }
    let mut rows = [[0.0; 3]; 2];
    for ((row, [sx, sy]), to) in rows.iter_mut().zip(sums).zip(to) {
        let (a, b) = ((yy * sx - xy * sy) / det, (xx * sy - xy * sx) / det);
        *row = [a, b, to - a * from[0] - b * from[1]];
    }
    Some(Affine(rows))
}
