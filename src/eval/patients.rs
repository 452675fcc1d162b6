use serde::Serialize;

use super::SequenceResult;

/// Scores of one patient's visits after the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PatientScore {
    /// Its name.
    pub patient: String,
    /// Number of visits.
    pub visits: usize,
    /// Number of scored slices.
    pub slices: usize,
    /// Mean Dice of the visits' means.
    pub dice: f64,
    /// Mean Dice of the slices.
    pub slice_dice: f64,
}

/// The results of each group, in the order of their first appearance.
pub(super) fn by_group<'a>(results: &[&'a SequenceResult]) -> Vec<Vec<&'a SequenceResult>> {
    let mut groups: Vec<Vec<&SequenceResult>> = Vec::new();
    for result in results {
        match groups.iter_mut().find(|group| group.iter().any(|r| r.group == result.group)) {
            Some(group) => group.push(result),
            None => groups.push(vec![result]),
        }
    }
    groups
}

/// Scores of each patient, whose visits are results of one group.
pub(super) fn patients(results: &[&SequenceResult]) -> Vec<PatientScore> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let of = |visits: Vec<&SequenceResult>| {
        let by_visit: Vec<Vec<f64>> =
            visits.iter().map(|visit| visit.scored().map(|slice| slice.dice).collect()).collect();
        let means: Vec<f64> = by_visit.iter().map(|slices| mean(slices)).collect();
        let slices = by_visit.concat();
        PatientScore {
            patient: visits.first().map(|visit| visit.group.clone()).unwrap_or_default(),
            visits: visits.len(),
            slices: slices.len(),
            dice: mean(&means),
            slice_dice: mean(&slices),
        }
    };
    by_group(results).into_iter().map(of).collect()
}
