/// Spearman's rank correlation of two lists of the same length; equal values share their mean rank.
/// `None` if a list has no two different values, or the lengths differ.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() || a.is_empty() {
        return None;
    }
    let (a, b) = (ranks(a), ranks(b));
    let middle = (a.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum()
    };
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    (spread > 0.0).then(|| product(&a, &b) / spread)
}

/// Area under the receiver operating characteristic: the chance that a value of the first list is
/// smaller than one of the second, ties counted half. `None` if a list is empty.
pub fn separation(smaller: &[f64], larger: &[f64]) -> Option<f64> {
    if smaller.is_empty() || larger.is_empty() {
        return None;
    }
    let ranks = ranks(&[larger, smaller].concat());
    let count = larger.len() as f64;
    let sum: f64 = ranks.iter().take(larger.len()).sum();
    Some((sum - count * (count + 1.0) / 2.0) / (count * smaller.len() as f64))
}

/// Ranks from 1.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equal in order.chunk_by(|a, b| a.1 == b.1) {
        let rank = before as f64 + (equal.len() as f64 + 1.0) / 2.0;
        for (index, _) in equal {
            if let Some(place) = ranks.get_mut(*index) {
                *place = rank;
            }
        }
        before += equal.len();
    }
    ranks
}
