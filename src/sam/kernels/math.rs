//! Arithmetic that a compiler can vectorise, and some that needs to be told how.

use pulp::Simd;

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
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let mut power = TAYLOR[5];
    for factor in TAYLOR[..5].iter().rev() {
        power = power * rest + factor;
    }
    // The last bits of what was rounded are that whole number.
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let scale = f32::from_bits(exponent << 23);
    (1.0 + power * rest) * scale
}

/// GELU of a register: x / 2 * (1 + erf(x / sqrt 2)). Of the error function a rational minimax
/// approximation up to where it is 1 in single precision, 3.2e-8 off at most.
#[inline(always)]
pub fn gelu_lanes<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const END: f32 = 5.4;
    const OVER: [f32; 7] = [
        0.797_884_35,
        0.069_569_78,
        0.008_870_041,
        0.000_317_911_68,
        6.266_783_7e-6,
        -4.451_390_4e-8,
        2.322_074_9e-10,
    ];
    const UNDER: [f32; 5] = [1.0, 0.253_857_73, 0.028_429_877, 0.001_763_580_3, 5.867_544_3e-5];
    let z = simd.max_f32s(simd.splat_f32s(-END), simd.min_f32s(simd.splat_f32s(END), x));
    let square = simd.mul_f32s(z, z);
    let polynomial = |factors: &[f32]| {
        let terms = factors.iter().rev().map(|&factor| simd.splat_f32s(factor));
        let sum = terms.reduce(|sum, factor| simd.mul_add_e_f32s(sum, square, factor));
        sum.unwrap_or(z)
    };
    let erf = simd.div_f32s(simd.mul_f32s(z, polynomial(&OVER)), polynomial(&UNDER));
    let half = simd.mul_f32s(simd.splat_f32s(0.5), x);
    simd.mul_add_e_f32s(half, erf, half)
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
