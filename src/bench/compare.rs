use rand_mt::Mt64;

use super::{BenchReport, Case, CaseReport, Series};
use crate::metrics::quantile;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 4_000;
/// Half of what a 95 % interval leaves out.
const TAIL: f64 = 0.025;
/// Neighbouring frames are drawn together: what slows one down slows its neighbours down.
const BLOCK: usize = 8;

/// What a stage of a case took in one measurement, against another.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The settings.
    pub case: Case,
    /// `whole`, or a stage's name.
    pub stage: String,
    /// Medians in milliseconds, before and after.
    pub medians: [f64; 2],
    /// The second median over the first.
    pub ratio: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
    /// What that says.
    pub verdict: Verdict,
}

/// What an interval of a ratio says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is above 1.
    Slower,
    /// All of it is below 1.
    Faster,
    /// It holds 1.
    Alike,
}

impl Verdict {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::Alike => "alike",
        }
    }
}

/// Every stage that both measurements have, of every case that both have. Medians are compared by a
/// bootstrap over blocks of neighbouring frames (Künsch 1989), the same for the same files.
pub fn compare(before: &BenchReport, after: &BenchReport) -> Vec<Comparison> {
    let mut all = Vec::new();
    for case in &before.cases {
        if let Some(other) = after.cases.iter().find(|other| other.case.is_like(&case.case)) {
            all.extend(compare_case(case, other));
        }
    }
    all
}

fn compare_case(before: &CaseReport, after: &CaseReport) -> Vec<Comparison> {
    let all = |case: &CaseReport| -> Vec<Series> {
        let paced = case.waiting.iter().chain(&case.age);
        std::iter::once(&case.whole).chain(&case.stages).chain(paced).cloned().collect()
    };
    let others = all(after);
    all(before)
        .into_iter()
        .filter_map(|series| {
            let other = others.iter().find(|other| other.name == series.name)?;
            compare_series(&before.case, &series, other)
        })
        .collect()
}

fn compare_series(case: &Case, before: &Series, after: &Series) -> Option<Comparison> {
    let medians = [before, after].map(|series| series.summary.p50);
    if before.milliseconds.len() < 2 || after.milliseconds.len() < 2 || medians[0] <= 0.0 {
        return None;
    }
    let mut random = Mt64::new(0);
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let first = resampled_median(&before.milliseconds, &mut random)?;
            let second = resampled_median(&after.milliseconds, &mut random)?;
            (first > 0.0).then(|| second / first)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let interval = [quantile(&ratios, TAIL)?, quantile(&ratios, 1.0 - TAIL)?];
    let verdict = match interval {
        [low, _] if low > 1.0 => Verdict::Slower,
        [_, high] if high < 1.0 => Verdict::Faster,
        _ => Verdict::Alike,
    };
    Some(Comparison {
        case: case.clone(),
        stage: before.name.clone(),
        medians,
        ratio: medians[1] / medians[0],
        interval,
        verdict,
    })
}

/// The median of as many values, drawn in blocks of neighbours.
fn resampled_median(values: &[f64], random: &mut Mt64) -> Option<f64> {
    let block = BLOCK.min(values.len().div_ceil(4));
    let mut drawn = Vec::with_capacity(values.len() + block);
    while drawn.len() < values.len() {
        let from = (random.next_u64() % values.len() as u64) as usize;
        drawn.extend(values.iter().cycle().skip(from).take(block));
    }
    drawn.truncate(values.len());
    let middle = drawn.len() / 2;
    let (_, median, _) = drawn.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}
