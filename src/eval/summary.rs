use serde::Serialize;

use super::patients::{PatientScore, by_group, patients};
use super::presence::{PresenceSummary, presence};
use super::{Measure, SequenceResult, Settings};
use crate::metrics::{Share, bootstrap, mean, quantile, separation, spearman};

/// Scores of a whole run, of every method.
#[derive(Clone, Debug, Serialize)]
pub struct EvalSummary {
    /// Program and version.
    pub program: String,
    /// What the results depend on.
    pub settings: Settings,
    /// What is reported.
    #[serde(skip)]
    pub measure: Measure,
    /// The methods.
    pub methods: Vec<MethodSummary>,
    /// What is missing or could not be used.
    pub problems: Vec<String>,
}

/// Scores of one method.
#[derive(Clone, Debug, Serialize)]
pub struct MethodSummary {
    /// Its name.
    pub method: String,
    /// Number of scored pictures.
    pub frames: usize,
    /// Means over everything, the first being the main one.
    pub totals: Vec<Total>,
    /// Difference of the first total to the first method's, over the same resamples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Total>,
    /// Score by sequence.
    pub sequences: Vec<SequenceScore>,
    /// Score by patient, of stacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<PatientScore>,
    /// The worst pictures first.
    pub failures: Vec<Failure>,
    /// How far the distance tells a good mask from a bad one, if the method knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
    /// How well it was decided whether the object is in view, where that was done or pictures without
    /// it are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceSummary>,
    /// Median and 95th percentile of the milliseconds a picture.
    pub milliseconds: [f64; 2],
}

/// A mean with its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Total {
    /// What it is.
    pub name: &'static str,
    /// The mean.
    pub value: f64,
    /// Bootstrap interval over groups, or over pictures where there is one group only; `None` for a
    /// single picture.
    pub interval: Option<[f64; 2]>,
}

/// Scores of one sequence.
#[derive(Clone, Debug, Serialize)]
pub struct SequenceScore {
    /// Its name.
    pub sequence: String,
    /// Number of scored pictures.
    pub frames: usize,
    /// Its values of the totals' columns, by [`Measure`].
    pub scores: Vec<f64>,
    /// How often each n was chosen, from 0 on: pairs of n and count.
    pub chosen: Vec<(usize, usize)>,
    /// Median distance of the chosen candidates, where there is one.
    pub distance: Option<f64>,
    /// The worst picture and its score.
    pub worst: Option<(String, f64)>,
    /// How much depends on the reference, if several were tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// Scores of a sequence by reference.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// Smallest, median and largest score.
    pub quantiles: [f64; 3],
    /// Each reference and its score.
    pub references: Vec<(String, f64)>,
}

/// A picture with a bad score.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The sequence.
    pub sequence: String,
    /// The picture.
    pub frame: String,
    /// Its reference.
    pub reference: String,
    /// Its score.
    pub score: f64,
    /// Distance of the chosen candidate, if there is one.
    pub distance: Option<f64>,
}

/// What the distance tells of the score.
#[derive(Clone, Debug, Serialize)]
pub struct Reliability {
    /// Rank correlation of distance and score; -1 would be perfect.
    pub spearman: Option<f64>,
    /// Chance that a picture of score 0.5 or more has a smaller distance than one below.
    pub separation: Option<f64>,
    /// Mean score in each fifth of the pictures by distance.
    pub bins: Vec<Bin>,
}

/// Pictures of similar distance.
#[derive(Clone, Debug, Serialize)]
pub struct Bin {
    /// Smallest and largest distance.
    pub distance: [f64; 2],
    /// Number of pictures.
    pub frames: usize,
    /// Mean score.
    pub score: f64,
}

/// Failures that are listed.
const MOST_FAILURES: usize = 20;
/// Score from which on a mask counts as good.
const GOOD: f64 = 0.5;
/// Seed of the bootstrap.
const SEED: u64 = 0;

/// Scores of all results; those of a method stand together, in the order of their first appearance.
pub fn summarise(
    settings: &Settings,
    measure: Measure,
    results: &[SequenceResult],
    problems: Vec<String>,
) -> EvalSummary {
    let mut names: Vec<&str> = Vec::new();
    for result in results {
        if !names.contains(&result.method.as_str()) {
            names.push(&result.method);
        }
    }
    let of = |name: &str| -> Vec<&SequenceResult> {
        results.iter().filter(|r| r.method == name && r.scored().next().is_some()).collect()
    };
    let first = names.first().map(|name| of(name)).unwrap_or_default();
    let methods = names
        .iter()
        .map(|name| {
            let mut summary = method(name, measure, &of(name));
            if names.first() != Some(name) {
                summary.difference = difference(measure, &first, &of(name));
            }
            summary
        })
        .collect();
    let unusable = results
        .iter()
        .flat_map(|r| r.problems.iter().map(|problem| format!("{} {problem}", r.method)));
    EvalSummary {
        program: format!("p2sam {}", env!("CARGO_PKG_VERSION")),
        settings: settings.clone(),
        measure,
        methods,
        problems: problems.into_iter().chain(unusable).collect(),
    }
}

fn method(name: &str, measure: Measure, results: &[&SequenceResult]) -> MethodSummary {
    let frames = || results.iter().flat_map(|r| r.scored().map(move |frame| (*r, frame)));
    let mut failures: Vec<Failure> = frames()
        .map(|(result, frame)| Failure {
            sequence: result.sequence.clone(),
            frame: frame.frame.clone(),
            reference: frame.reference.clone(),
            score: frame.score(measure),
            distance: frame.distance,
        })
        .collect();
    failures.sort_by(|a, b| a.score.total_cmp(&b.score));
    failures.truncate(MOST_FAILURES);
    let mut times: Vec<f64> = frames().map(|(_, frame)| frame.milliseconds).collect();
    times.sort_by(f64::total_cmp);
    let pairs: Vec<_> =
        frames().filter_map(|(_, frame)| Some((frame.distance?, frame.score(measure)))).collect();
    MethodSummary {
        method: name.to_owned(),
        frames: frames().count(),
        totals: totals(measure, results),
        difference: None,
        sequences: results.iter().map(|result| sequence(measure, result)).collect(),
        patients: if measure == Measure::Stacks { patients(results) } else { Vec::new() },
        failures,
        reliability: (!pairs.is_empty()).then(|| reliability(pairs)),
        presence: presence(results),
        milliseconds: [0.5, 0.95].map(|share| quantile(&times, share).unwrap_or(0.0)),
    }
}

/// Names of the columns of a measure.
pub fn columns(measure: Measure) -> &'static [&'static str] {
    match measure {
        Measure::Dice | Measure::Stacks => &["Dice"],
        Measure::Sums => &["IoU", "Acc"],
        Measure::Contours => &["J&F", "J", "F"],
    }
}

/// A sequence's values of the columns.
fn values(measure: Measure, result: &SequenceResult) -> Vec<f64> {
    let over = |value: fn(&super::FrameResult) -> f64| {
        let (sum, count) = result.scored().fold((0.0, 0), |(s, c), f| (s + value(f), c + 1));
        sum / f64::from(count.max(1))
    };
    let share = |above: u64, below: u64| if below == 0 { 1.0 } else { above as f64 / below as f64 };
    match measure {
        Measure::Dice | Measure::Stacks => vec![over(|f| f.dice)],
        Measure::Sums => {
            let sum = |value: fn(&super::FrameResult) -> u64| result.scored().map(value).sum();
            let both: u64 = sum(|f| f.overlap.intersection);
            vec![share(both, sum(|f| f.overlap.union)), share(both, sum(|f| f.overlap.truth))]
        }
        Measure::Contours => {
            let (j, f) = (over(|f| f.iou), over(|f| f.boundary_f));
            vec![f64::midpoint(j, f), j, f]
        }
    }
}

/// Each total's name and what every group adds to it.
fn shares(measure: Measure, results: &[&SequenceResult]) -> Vec<(&'static str, Vec<Share>)> {
    let groups = by_group(results);
    let units = |value: &dyn Fn(&[&SequenceResult]) -> Share| -> Vec<Share> {
        groups.iter().map(|group| value(group)).collect()
    };
    let sequences = |column: usize| {
        units(&move |of: &[&SequenceResult]| Share {
            sum: of.iter().filter_map(|r| values(measure, r).get(column).copied()).sum(),
            weight: of.len() as f64,
        })
    };
    if matches!(measure, Measure::Sums | Measure::Contours) {
        let names: &[&'static str] =
            if measure == Measure::Sums { &["mIoU", "mAcc"] } else { &["J&F", "J", "F"] };
        return names.iter().copied().zip((0..names.len()).map(sequences)).collect();
    }
    let frames = units(&|of: &[&SequenceResult]| Share {
        sum: of.iter().flat_map(|r| r.scored()).map(|f| f.dice).sum(),
        weight: of.iter().map(|r| r.scored().count() as f64).sum(),
    });
    if measure == Measure::Dice {
        return vec![("Video Dice", sequences(0)), ("Image Dice", frames)];
    }
    let patients = patients(results).into_iter().map(|p| Share { sum: p.dice, weight: 1.0 });
    vec![("Visit Dice", sequences(0)), ("Slice Dice", frames), ("Patient Dice", patients.collect())]
}

fn totals(measure: Measure, results: &[&SequenceResult]) -> Vec<Total> {
    let all = shares(measure, results);
    all.into_iter()
        .filter_map(|(name, units)| {
            let interval = match units.len() {
                // One video has no neighbours to draw: its pictures are drawn instead.
                1 => bootstrap(&pictures(measure, results), SEED),
                _ => bootstrap(&units, SEED),
            };
            Some(Total { name, value: mean(&units)?, interval })
        })
        .collect()
}

fn pictures(measure: Measure, results: &[&SequenceResult]) -> Vec<Share> {
    results
        .iter()
        .flat_map(|r| r.scored())
        .map(|frame| match measure {
            Measure::Sums => {
                Share { sum: frame.overlap.intersection as f64, weight: frame.overlap.union as f64 }
            }
            _ => Share { sum: frame.score(measure), weight: 1.0 },
        })
        .collect()
}

/// The first total of one method less that of another, over sequences that both have.
fn difference(
    measure: Measure,
    base: &[&SequenceResult],
    other: &[&SequenceResult],
) -> Option<Total> {
    let mut units = Vec::new();
    for result in other {
        let same = base.iter().find(|b| b.sequence == result.sequence)?;
        let score = |r| values(measure, r).first().copied();
        units.push(Share { sum: score(result)? - score(same)?, weight: 1.0 });
    }
    Some(Total { name: "difference", value: mean(&units)?, interval: bootstrap(&units, SEED) })
}

fn sequence(measure: Measure, result: &SequenceResult) -> SequenceScore {
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    for frame in result.scored() {
        match chosen.iter_mut().find(|(n, _)| *n == frame.n) {
            Some((_, count)) => *count += 1,
            None => chosen.push((frame.n, 1)),
        }
    }
    chosen.sort_unstable();
    let mut distances: Vec<f64> = result.scored().filter_map(|frame| frame.distance).collect();
    distances.sort_by(f64::total_cmp);
    let worst = result
        .scored()
        .min_by(|a, b| a.score(measure).total_cmp(&b.score(measure)))
        .map(|frame| (frame.frame.clone(), frame.score(measure)));
    SequenceScore {
        sequence: result.sequence.clone(),
        frames: result.scored().count(),
        scores: values(measure, result),
        chosen,
        distance: quantile(&distances, 0.5),
        worst,
        spread: spread(measure, result),
    }
}

/// `None` unless a picture was segmented with several references.
fn spread(measure: Measure, result: &SequenceResult) -> Option<Spread> {
    let repeated = result.frames.windows(2).any(|pair| match pair {
        [a, b] => a.frame == b.frame,
        _ => false,
    });
    if !repeated {
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for frame in &result.frames {
        if !names.contains(&frame.reference.as_str()) {
            names.push(&frame.reference);
        }
    }
    let mut references = Vec::new();
    for name in names {
        let part = SequenceResult {
            frames: result.frames.iter().filter(|f| f.reference == name).cloned().collect(),
            ..SequenceResult { problems: Vec::new(), ..result.clone() }
        };
        if part.scored().next().is_some() {
            references.push((name.to_owned(), *values(measure, &part).first()?));
        }
    }
    references.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut scores: Vec<f64> = references.iter().map(|(_, score)| *score).collect();
    scores.sort_by(f64::total_cmp);
    let [low, middle, high] = [0.0, 0.5, 1.0].map(|share| quantile(&scores, share));
    Some(Spread { quantiles: [low?, middle?, high?], references })
}

fn reliability(mut pairs: Vec<(f64, f64)>) -> Reliability {
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (distances, scores): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let of = |good: bool| -> Vec<f64> {
        pairs.iter().filter(|pair| (pair.1 >= GOOD) == good).map(|pair| pair.0).collect()
    };
    let bins = pairs
        .chunks(pairs.len().div_ceil(5).max(1))
        .filter_map(|chunk| {
            let (first, last) = (chunk.first()?, chunk.last()?);
            let score = chunk.iter().map(|pair| pair.1).sum::<f64>() / chunk.len() as f64;
            Some(Bin { distance: [first.0, last.0], frames: chunk.len(), score })
        })
        .collect();
    Reliability {
        spearman: spearman(&distances, &scores),
        separation: separation(&of(true), &of(false)),
        bins,
    }
}
