use rand_mt::Mt64;

/// Random numbers for one purpose at one place of a run. Every draw is a function of the seed and
/// the place, so that a run that goes on needs no saved state of a generator.
#[derive(Clone)]
pub struct Random(Mt64);

impl Random {
    /// For a seed and the numbers that tell the place.
    pub fn at(seed: u64, place: &[u64]) -> Self {
        // splitmix64's finaliser (Steele et al. 2014) over the numbers.
        let mix = |state: u64, number: u64| {
            let mut z = (state ^ number).wrapping_add(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        Self(Mt64::new(place.iter().fold(mix(0, seed), |state, &number| mix(state, number))))
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u64() >> 40) as f32 / (1 << 24) as f32
    }

    /// Uniform between two numbers.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Whether something of that probability happens.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of `0..count`; 0 if there are none.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.0.next_u64()) * count as u128) >> 64) as usize
    }

    /// The numbers `0..count` in a random order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_and_place_alone() {
        let draw = |seed, place: &[u64]| Random::at(seed, place).order(20);
        assert_eq!(draw(1, &[2, 3]), draw(1, &[2, 3]));
        assert_ne!(draw(1, &[2, 3]), draw(1, &[3, 2]));
        assert_ne!(draw(1, &[2, 3]), draw(2, &[2, 3]));
        let mut order = draw(5, &[]);
        order.sort_unstable();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }
}
