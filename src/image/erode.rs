//! The inside of a mask, 64 pixels at a time.

use std::ops::Range;

/// Calls `run` for every stretch of pixels that are further than `radius` from every pixel outside,
/// in rows and columns: the row, and the stretch's columns. What lies beyond the edge of the map
/// counts as outside. `on` has rows of `width` pixels, at least one.
pub fn core_runs(
    on: &[bool],
    width: usize,
    radius: usize,
    mut run: impl FnMut(usize, Range<usize>),
) {
    let height = on.len() / width;
    let window = radius.saturating_mul(2).saturating_add(1);
    if window > width || window > height {
        return;
    }
    let words = width.div_ceil(64);
    let mut whole = packed(on, width, words);
    // Whether all of a window is on, first along rows, then along columns: windows of 1, 2, 4 and so
    // on pixels that begin at a pixel. Bits beyond a row's end are off.
    for row in whole.chunks_exact_mut(words) {
        for step in steps(window) {
            let (skip, shift) = (step / 64, step % 64);
            for index in 0..words {
                let word = |at: usize| row.get(at).copied().unwrap_or(0);
                let low = word(index + skip) >> shift;
                let high = word(index + skip + 1).checked_shl(64 - shift as u32).unwrap_or(0);
                row[index] &= low | high;
            }
        }
    }
    for step in steps(window) {
        for y in 0..height - step {
            let (upper, lower) = whole.split_at_mut((y + step) * words);
            let row = &mut upper[y * words..][..words];
            row.iter_mut().zip(&lower[..words]).for_each(|(on, &lower)| *on &= lower);
        }
        whole[(height - step) * words..].fill(0);
    }
    // A window's middle is `radius` pixels from its first pixel.
    for (y, row) in whole.chunks_exact(words).enumerate() {
        runs(row, |columns| run(y + radius, columns.start + radius..columns.end + radius));
    }
}

/// By how much windows grow until they have their size.
fn steps(window: usize) -> impl Iterator<Item = usize> {
    let mut length = 1;
    std::iter::from_fn(move || {
        let step = length.min(window - length);
        length += step;
        (step > 0).then_some(step)
    })
}

/// Rows of `words` words, the first pixel in the lowest bit.
fn packed(on: &[bool], width: usize, words: usize) -> Vec<u64> {
    let mut packed = Vec::with_capacity(on.len() / width * words);
    for row in on.chunks_exact(width) {
        packed.extend(row.chunks(64).map(|pixels| {
            let (eights, rest) = pixels.as_chunks::<8>();
            // The product brings the lowest bits of eight bytes together in the highest byte.
            let byte = |eight: &[bool; 8]| {
                let bytes = u64::from_le_bytes(eight.map(u8::from));
                bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56
            };
            let whole =
                (0..).zip(eights).fold(0, |word, (at, eight)| word | byte(eight) << (8 * at));
            let single = |word, (at, &on): (usize, &bool)| word | u64::from(on) << at;
            (8 * eights.len()..).zip(rest).fold(whole, single)
        }));
    }
    packed
}

/// Calls `run` for every stretch of bits that are on.
fn runs(words: &[u64], mut run: impl FnMut(Range<usize>)) {
    let mut open = None;
    for (index, &word) in words.iter().enumerate() {
        let mut bit = 0;
        while bit < 64 {
            let rest = word >> bit;
            let same = if open.is_some() { rest.trailing_ones() } else { rest.trailing_zeros() };
            bit += same.min(64 - bit);
            if bit < 64 {
                let at = index * 64 + bit as usize;
                match open.take() {
                    Some(start) => run(start..at),
                    None => open = Some(at),
                }
            }
        }
    }
    if let Some(start) = open {
        run(start..words.len() * 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, pixel by pixel.
    fn plain(on: &[bool], width: usize, radius: usize) -> Vec<bool> {
        let (w, h, r) = (width as i64, (on.len() / width) as i64, radius as i64);
        let is_on =
            |x: i64, y: i64| (0..w).contains(&x) && (0..h).contains(&y) && on[(y * w + x) as usize];
        (0..w * h)
            .map(|at| (at % w, at / w))
            .map(|(x, y)| (y - r..=y + r).all(|y| (x - r..=x + r).all(|x| is_on(x, y))))
            .collect()
    }

    #[test]
    fn the_core_is_what_the_definition_says() {
        for (width, height) in [(1, 1), (5, 9), (63, 20), (64, 20), (65, 31), (200, 40), (150, 150)]
        {
            let middle = [width as f32 / 2.0, height as f32 / 2.0];
            let disc = (0..width * height).map(|at| {
                let (x, y) = ((at % width) as f32 - middle[0], (at / width) as f32 - middle[1]);
                (x / middle[0]).powi(2) + (y / middle[1]).powi(2) < 0.9 && at * 7919 % 97 > 0
            });
            let shapes = [disc.collect::<Vec<bool>>(), vec![true; width * height]];
            for (on, radius) in shapes.iter().flat_map(|on| [0, 1, 2, 3, 5, 40].map(|r| (on, r))) {
                let mut core = vec![false; on.len()];
                core_runs(on, width, radius, |y, columns| {
                    core[y * width..][columns].fill(true);
                });
                assert!(core == plain(on, width, radius), "{width} x {height}, radius {radius}");
            }
        }
    }
}
