//! How property tests run.

use proptest::test_runner::{Config, RngSeed};

/// So many cases, the same in every run. `PROPTEST_RNG_SEED` chooses others, `PROPTEST_CASES` more.
pub fn cases(count: u32) -> Config {
    let given = Config::default();
    let seed = match given.rng_seed {
        RngSeed::Random => RngSeed::Fixed(17),
        fixed => fixed,
    };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { count };
    Config { cases, rng_seed: seed, failure_persistence: None, ..given }
}
