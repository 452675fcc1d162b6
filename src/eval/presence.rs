//! How well it is decided whether the object is in view.

use serde::Serialize;

use super::{FrameResult, SequenceResult};
use crate::metrics::quantile;

/// Dice from which on what was found is right, and below which it is wrong.
const RIGHT: f64 = 0.7;
const WRONG: f64 = 0.3;
/// Dice from which on an object that came back counts as found again.
const FOUND_AGAIN: f64 = 0.5;

/// Presence over all judged pictures of a method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PresenceSummary {
    /// Pictures with the object and without it.
    pub present: usize,
    /// See [`PresenceSummary::present`].
    pub absent: usize,
    /// Share of the pictures with the object that are marked; `None` without any.
    pub true_positive_rate: Option<f64>,
    /// Share of the pictures without the object that are not marked; `None` without any.
    pub true_negative_rate: Option<f64>,
    /// Pictures without the object that are marked.
    pub false_marks: usize,
    /// Mean Dice of the pictures with the object, hidden masks as 0.
    pub dice_hidden_as_0: Option<f64>,
    /// Mean Dice of the pictures with the object that are marked.
    pub dice_shown: Option<f64>,
    /// Mean Dice of what was found in pictures with the object, shown or not.
    pub dice_found: Option<f64>,
    /// Of the masks with Dice of 0.7 or more: how many, and how many are hidden.
    pub right: usize,
    /// See [`PresenceSummary::right`].
    pub right_hidden: usize,
    /// Of the masks with Dice below 0.3 in pictures with the object: how many, and how many are shown.
    pub wrong: usize,
    /// See [`PresenceSummary::wrong`].
    pub wrong_shown: usize,
    /// Mean risk (1 less Dice; 1 for a mark where the object is absent) over the pictures of highest
    /// probability, for growing shares of all pictures: pairs of coverage and risk.
    pub risk_coverage: Vec<[f64; 2]>,
    /// Area under that curve: smaller is better. `None` without probabilities.
    pub risk_area: Option<f64>,
    /// How often the object came back after pictures without it, and was found again before it left.
    pub returns: usize,
    /// See [`PresenceSummary::returns`].
    pub found_again: usize,
    /// Median and largest number of pictures from its return to the first with Dice of 0.5 or more, of
    /// those found again: 0 is the first picture.
    pub frames_to_return: Option<[f64; 2]>,
    /// The same in seconds, where times are known.
    pub seconds_to_return: Option<[f64; 2]>,
}

/// `None` where every picture shows the object and nothing was decided.
pub fn presence(results: &[&SequenceResult]) -> Option<PresenceSummary> {
    let frames: Vec<&FrameResult> = results.iter().flat_map(|r| r.judged()).collect();
    let (present, absent): (Vec<&FrameResult>, Vec<&FrameResult>) =
        frames.iter().copied().partition(|frame| frame.is_present());
    if absent.is_empty() && frames.iter().all(|frame| frame.probability.is_none()) {
        return None;
    }
    let share = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
    let mean =
        |values: Vec<f64>| share(1, values.len()).map(|each| each * values.iter().sum::<f64>());
    let marked = present.iter().filter(|frame| frame.is_marked());
    let false_marks = absent.iter().filter(|frame| frame.is_marked()).count();
    let right: Vec<_> = present.iter().filter(|frame| frame.found_dice >= RIGHT).collect();
    let wrong: Vec<_> = present.iter().filter(|frame| frame.found_dice < WRONG).collect();
    let risk_coverage = risk_coverage(&frames);
    let returns: Vec<Option<Return>> = results.iter().flat_map(|r| returns(r)).collect();
    let found: Vec<&Return> = returns.iter().flatten().collect();
    let spread = |values: Vec<f64>| {
        let mut values = values;
        values.sort_by(f64::total_cmp);
        Some([quantile(&values, 0.5)?, quantile(&values, 1.0)?])
    };
    Some(PresenceSummary {
        present: present.len(),
        absent: absent.len(),
        true_positive_rate: share(marked.clone().count(), present.len()),
        true_negative_rate: share(absent.len() - false_marks, absent.len()),
        false_marks,
        dice_hidden_as_0: mean(present.iter().map(|frame| frame.dice).collect()),
        dice_shown: mean(marked.map(|frame| frame.dice).collect()),
        dice_found: mean(present.iter().map(|frame| frame.found_dice).collect()),
        right: right.len(),
        right_hidden: right.iter().filter(|frame| !frame.is_marked()).count(),
        wrong: wrong.len(),
        wrong_shown: wrong.iter().filter(|frame| frame.is_marked()).count(),
        risk_area: (!risk_coverage.is_empty()).then(|| area(&risk_coverage)),
        risk_coverage,
        returns: returns.len(),
        found_again: found.len(),
        frames_to_return: spread(found.iter().map(|found| found.frames as f64).collect()),
        seconds_to_return: spread(found.iter().filter_map(|found| found.seconds).collect()),
    })
}

/// Empty without probabilities.
fn risk_coverage(frames: &[&FrameResult]) -> Vec<[f64; 2]> {
    let mut known: Vec<(f32, f64)> = frames
        .iter()
        .filter_map(|frame| {
            let risk = if frame.is_present() { 1.0 - frame.found_dice } else { 1.0 };
            Some((frame.probability?, risk))
        })
        .collect();
    known.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (count, mut sum, mut curve) = (known.len() as f64, 0.0, Vec::with_capacity(known.len()));
    for (place, (_, risk)) in (1..).zip(known) {
        sum += risk;
        curve.push([f64::from(place) / count, sum / f64::from(place)]);
    }
    curve
}

fn area(curve: &[[f64; 2]]) -> f64 {
    curve.iter().map(|[_, risk]| risk).sum::<f64>() / curve.len().max(1) as f64
}

/// An object that came back and was found again.
struct Return {
    frames: usize,
    seconds: Option<f64>,
}

/// Every return of the object after pictures without it; `None` if it was not found again before it
/// left or the sequence ended.
fn returns(result: &SequenceResult) -> Vec<Option<Return>> {
    let frames: Vec<&FrameResult> = result.judged().collect();
    let mut found = Vec::new();
    for (place, pair) in (1..).zip(frames.windows(2)) {
        if pair[0].is_present() || !pair[1].is_present() {
            continue;
        }
        let shown = frames[place..].iter().take_while(|frame| frame.is_present());
        let again = shown.clone().position(|frame| frame.dice >= FOUND_AGAIN);
        found.push(again.map(|after| Return {
            frames: after,
            seconds: frames[place].time.zip(frames[place + after].time).map(|(a, b)| b - a),
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::frame;
    use super::*;

    fn of(frames: Vec<FrameResult>) -> SequenceResult {
        SequenceResult {
            method: "p2sam".to_owned(),
            sequence: "1".to_owned(),
            group: "1".to_owned(),
            data: String::new(),
            frames,
            problems: Vec::new(),
        }
    }

    /// A picture with the object or without it, found with a Dice, shown or hidden.
    fn made(present: bool, found: f64, shown: bool, probability: f32, time: f64) -> FrameResult {
        let mut made = frame("a", 100, 0.1);
        made.dice = if shown { found } else { 0.0 };
        made.found_dice = found;
        made.overlap.truth = if present { 100 } else { 0 };
        made.overlap.intersection = if shown && present { 50 } else { 0 };
        made.overlap.union = made.overlap.truth + if shown { 20 } else { 0 };
        made.probability = Some(probability);
        made.time = Some(time);
        made
    }

    #[test]
    fn every_figure_counts_what_it_says() {
        let result = of(vec![
            made(true, 0.9, true, 0.95, 0.0),
            made(true, 0.8, false, 0.2, 1.0),
            made(false, 0.0, true, 0.6, 2.0),
            made(false, 0.0, false, 0.1, 3.0),
            made(true, 0.2, true, 0.7, 4.0),
            made(true, 0.6, true, 0.8, 5.5),
        ]);
        let found = presence(&[&result]).expect("judged");
        assert_eq!((found.present, found.absent, found.false_marks), (4, 2, 1));
        assert_eq!((found.true_positive_rate, found.true_negative_rate), (Some(0.75), Some(0.5)));
        assert_eq!((found.right, found.right_hidden), (2, 1));
        assert_eq!((found.wrong, found.wrong_shown), (1, 1));
        assert!((found.dice_hidden_as_0.expect("some") - 0.425).abs() < 1e-9);
        assert!((found.dice_shown.expect("some") - 1.7 / 3.0).abs() < 1e-9);
        assert!((found.dice_found.expect("some") - 0.625).abs() < 1e-9);
        assert_eq!((found.returns, found.found_again), (1, 1));
        assert_eq!(found.frames_to_return, Some([1.0, 1.0]));
        assert_eq!(found.seconds_to_return, Some([1.5, 1.5]));
        // Most probable first: 0.1, 0.4, 0.8, 1, 0.2 and 1 of risk.
        let [coverage, risk] = found.risk_coverage[1];
        assert!((coverage - 1.0 / 3.0).abs() < 1e-9 && (risk - 0.25).abs() < 1e-9);
        assert_eq!(found.risk_coverage.len(), 6);
    }

    #[test]
    fn where_nothing_is_decided_and_nothing_absent_there_is_no_summary() {
        let mut only = made(true, 0.9, true, 0.9, 0.0);
        only.probability = None;
        assert_eq!(presence(&[&of(vec![only])]), None);
    }
}
