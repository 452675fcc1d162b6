//! Arithmetic that a compiler can vectorise.

/// e to the power of a number that is not positive, to single precision.
#[inline(always)]
pub fn exp_negative(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    const TAYLOR: [f32; 6] =
        [0.693_147_2, 0.240_226_5, 0.055_504_11, 0.009_618_129, 0.001_333_355_8, 0.000_154_035_3];
    let y = (x * std::f32::consts::LOG2_E).max(-126.0);
    let whole = (y + ROUND) - ROUND;
    let f = y - whole;
    let mut power = TAYLOR[5];
    for factor in TAYLOR[..5].iter().rev() {
        power = power * f + factor;
    }
    let scale = f32::from_bits(((whole as i32 + 127) << 23) as u32);
    (1.0 + power * f) * scale
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_the_last_digits() {
        for i in 0..20_000 {
            let x = -f64::from(i) / 250.0;
            let (got, want) = (f64::from(exp_negative(x as f32)), (x as f32 as f64).exp());
            assert!((got - want).abs() <= 4e-7 * want + 1e-37, "exp({x})");
        }
    }
}
