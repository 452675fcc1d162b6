use super::Entry;
use crate::method::{Approach, MethodConfig, Retrieval};

/// Name of the settings themselves in an ablation.
pub const UNCHANGED: &str = "as given";

/// The settings with one thing changed at a time, to see what each is worth. The first entry is the
/// settings themselves. Variants that are the settings already are left out.
pub fn ablation(config: &MethodConfig) -> Vec<Entry> {
    let same = || config.clone();
    let variants = [
        (UNCHANGED, same()),
        ("n 1", MethodConfig { n: 1..=1, ..same() }),
        ("n 1..3", MethodConfig { n: 1..=3, ..same() }),
        ("n 1..5", MethodConfig { n: 1..=5, ..same() }),
        ("n 1..8", MethodConfig { n: 1..=8, ..same() }),
        ("m 1..3", MethodConfig { m: 1..=3, ..same() }),
        ("1 pass", MethodConfig { passes: 1, ..same() }),
        ("2 passes", MethodConfig { passes: 2, ..same() }),
        ("features of length 1", MethodConfig { normalised: true, ..same() }),
        ("temporal candidate", MethodConfig { temporal: true, ..same() }),
        ("model's own mask", MethodConfig { own_mask: true, ..same() }),
        ("without padding", MethodConfig { padding: false, ..same() }),
    ];
    let retrievals = Retrieval::ALL.into_iter().map(|retrieval| {
        (format!("retrieval {}", retrieval.name()), MethodConfig { retrieval, ..same() })
    });
    let all = variants.into_iter().map(|(name, config)| (name.to_owned(), config));
    all.chain(retrievals)
        .filter(|(name, variant)| name == UNCHANGED || variant != config)
        .map(|(name, config)| Entry { name, approach: Approach::P2sam, config })
        .collect()
}
