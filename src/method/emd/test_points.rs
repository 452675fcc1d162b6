//! Point sets for tests, the same to the bit as those of `tests/fixtures/make_method.py`.

/// splitmix64, as numbers in [0, 1) with 24 bits.
pub(crate) struct Splitmix(pub u64);

impl Splitmix {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    }
}

/// `count` vectors of `dim` numbers: "clusters" around `parts` centres, a "grid" of whole numbers
/// below `parts`, or "repeats" of `parts` distinct vectors.
pub(crate) fn points(kind: &str, parts: u64, count: usize, dim: usize, seed: u64) -> Vec<f32> {
    let (mut shared, mut own) = (Splitmix(parts), Splitmix(seed));
    let mut table = |shift: f64| -> Vec<f64> {
        (0..parts as usize * dim).map(|_| shared.next() - shift).collect()
    };
    let mut out = Vec::with_capacity(count * dim);
    match kind {
        "clusters" => {
            let centres = table(0.5);
            for i in 0..count {
                for centre in &centres[i % parts as usize * dim..][..dim] {
                    let noise = own.next() + own.next() + own.next() + own.next() - 2.0;
                    out.push((centre + noise * 0.25) as f32);
                }
            }
        }
        "grid" => out.extend((0..count * dim).map(|_| (own.next() * parts as f64).floor() as f32)),
        "repeats" => {
            let distinct = table(0.0);
            for _ in 0..count {
                let which = (own.next() * parts as f64) as usize;
                out.extend(distinct[which * dim..][..dim].iter().map(|&v| v as f32));
            }
        }
        other => panic!("no such kind of points: {other}"),
    }
    out
}
