//! Arithmetic that a compiler can vectorise.

/// e to the power of a number that is not positive, to single precision.
#[inline(always)]
pub fn exp_negative(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with so few digits that its multiples are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const TAYLOR: [f32; 6] = [1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0];
    let x = x.max(-87.0);
    let whole = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let mut power = TAYLOR[5];
    for factor in TAYLOR[..5].iter().rev() {
        power = power * rest + factor;
    }
    let scale = f32::from_bits(((whole as i32 + 127) << 23) as u32);
    (1.0 + power * rest) * scale
}

/// Folds a slice in sixteen lanes, which a compiler can vectorise where a single one may not.
#[inline(always)]
pub fn lanes(
    values: &[f32],
    start: f32,
    map: impl Fn(f32) -> f32,
    fold: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut folded = [start; 16];
    let blocks = values.chunks_exact(16);
    let rest = blocks.remainder();
    for block in blocks {
        for (lane, &value) in folded.iter_mut().zip(block) {
            *lane = fold(*lane, map(value));
        }
    }
    let all = folded.into_iter().chain(rest.iter().map(|&value| map(value)));
    all.fold(start, fold)
}

/// The sum of the products of two slices, in sixteen lanes.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (left, right) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b);
    let rest: f32 = rest.sum();
    for (a, b) in left.zip(right) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.into_iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_the_last_digits() {
        for i in 0..20_000 {
            let x = -f64::from(i) / 250.0;
            let (got, want) = (f64::from(exp_negative(x as f32)), (x as f32 as f64).exp());
            assert!((got - want).abs() <= 4e-7 * want + 2e-38, "exp({x}): {got} and {want}");
        }
    }
}
