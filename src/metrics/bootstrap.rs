use rand_mt::Mt64;

/// What one independent unit, such as a video or a patient, adds to a mean: the mean over units is
/// the sum of `sum` over the sum of `weight`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Sum of the unit's values.
    pub sum: f64,
    /// Number of the unit's values, or what else they are divided by.
    pub weight: f64,
}

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;
/// Half of what a 95 % interval leaves out.
const TAIL: f64 = 0.025;

/// The mean over units. `None` without any weight.
pub fn mean(units: &[Share]) -> Option<f64> {
    let (sum, weight) =
        units.iter().fold((0.0, 0.0), |(sum, weight), u| (sum + u.sum, weight + u.weight));
    (weight > 0.0).then(|| sum / weight)
}

/// The 95 % percentile interval of [`mean`] over resamples of whole units (Efron's bootstrap), the
/// same for the same seed. `None` for fewer than two units.
pub fn bootstrap(units: &[Share], seed: u64) -> Option<[f64; 2]> {
    if units.len() < 2 {
        return None;
    }
    let mut random = Mt64::new(seed);
    let mut means: Vec<f64> = Vec::with_capacity(RESAMPLES);
    let mut drawn = Vec::with_capacity(units.len());
    for _ in 0..RESAMPLES {
        drawn.clear();
        drawn.extend(
            (0..units.len()).filter_map(|_| {
                units.get((random.next_u64() % units.len() as u64) as usize).copied()
            }),
        );
        means.extend(mean(&drawn));
    }
    means.sort_by(f64::total_cmp);
    Some([quantile(&means, TAIL)?, quantile(&means, 1.0 - TAIL)?])
}

/// A quantile of sorted values, linear between neighbours. `None` if there are none.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let low = *sorted.get(place.floor() as usize)?;
    let high = *sorted.get(place.ceil() as usize)?;
    Some(low + (high - low) * place.fract())
}
