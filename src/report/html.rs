//! The page of an evaluation. It needs no other file and no network.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plots::{COLORS, Line, over_time, scatter};
use super::sheet::{evenly, sample_of, tile};
use crate::dataset::{DatasetError, Sequence};
use crate::eval::{
    EvalSummary, Failure, Measure, MethodSummary, PresenceSummary, SequenceResult, Total, columns,
};
use crate::image::Frame;

/// The worst pictures of a method that are shown.
const FAILURES: usize = 12;
/// Pictures of a sequence that are shown for each method.
const PICTURES: usize = 6;
/// Quality of the pictures.
const QUALITY: u8 = 80;

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem;
  color: #222; background: #fff }
table { border-collapse: collapse; margin: .6rem 0 }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
svg { max-width: 520px; width: 100%; display: block } svg text { font-size: 11px; fill: #555 }
.grid { stroke: #ddd } .pictures { display: flex; flex-wrap: wrap; gap: 6px }
figure { margin: 0; width: 320px; max-width: 100% } figure img { display: block; width: 100%; max-width: 320px }
figcaption { font-size: 12px; color: #555 } .key { display: inline-block; width: 1em; height: .7em }
code { overflow-wrap: anywhere }";

/// The page: settings, totals with intervals, scores over time, reliability of the distance, the
/// worst pictures and some of each sequence.
///
/// # Errors
/// [`DatasetError`] if a picture cannot be read.
pub fn eval_page(
    summary: &EvalSummary,
    results: &[SequenceResult],
    sequences: &[Sequence],
) -> Result<String, DatasetError> {
    let dataset = summary.settings.0.get("dataset").map_or("", String::as_str);
    let mut shown = Vec::new();
    for sequence in sequences {
        if results.iter().any(|result| result.sequence == sequence.name) {
            shown.push(one_sequence(summary, results, sequence)?);
        }
    }
    let methods: Vec<Markup> = summary
        .methods
        .iter()
        .zip(COLORS.iter().cycle())
        .filter(|(method, _)| method.frames > 0)
        .map(|(method, color)| one_method(summary, method, color, results, sequences))
        .collect::<Result<_, _>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "p2sam eval " (dataset) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "p2sam eval " (dataset) }
                p { (summary.program) ". For research use; not a medical device." }
                @if !summary.problems.is_empty() {
                    h2 { "Not everything is here" }
                    ul { @for problem in &summary.problems { li { (problem) } } }
                }
                (totals(summary))
                @for method in methods { (method) }
                h2 { (capital(summary.measure.words()[0])) "s" }
                p { "Truth white, mask green, points green on the object and red beside it." }
                @for sequence in shown { (sequence) }
                h2 { "Settings" }
                table {
                    @for (name, value) in &summary.settings.0 {
                        tr { td { (name) } td { code { (value) } } }
                    }
                }
            }
        }
    };
    Ok(page.into_string())
}

fn totals(summary: &EvalSummary) -> Markup {
    let names = summary.methods.iter().find(|m| m.frames > 0).map(|m| m.totals.as_slice());
    html! {
        h2 { "Totals" }
        table {
            tr {
                th { "method" }
                @for total in names.unwrap_or_default() { th { (total.name) } }
                @if summary.methods.len() > 1 { th { "difference" } }
                th { (summary.measure.words()[1]) }
                th { "ms, p50" }
            }
            @for (method, color) in summary.methods.iter().zip(COLORS.iter().cycle()) {
                tr {
                    td { span.key style={ "background:" (color) } {} " " (method.method) }
                    @for total in &method.totals { td { (with_interval(total)) } }
                    @if summary.methods.len() > 1 {
                        td { @if let Some(total) = &method.difference { (with_interval(total)) } }
                    }
                    td { (method.frames) }
                    td { (format!("{:.0}", method.milliseconds[0])) }
                }
            }
        }
        p {
            @if summary.measure == Measure::Stacks {
                "Means of visits, of all slices, and of patients, whose visits count alike; the first "
                "visit is the reference and left out. In brackets 95 % intervals of a bootstrap over "
                "patients, or over slices where there is one patient. "
            } @else {
                "In brackets 95 % intervals of a bootstrap over sequences, or over pictures where "
                "there is one sequence. "
            }
            "The difference is to the first method, over the same " (summary.measure.words()[0]) "s."
        }
    }
}

fn one_method(
    summary: &EvalSummary,
    method: &MethodSummary,
    color: &'static str,
    results: &[SequenceResult],
    sequences: &[Sequence],
) -> Result<Markup, DatasetError> {
    let names = columns(summary.measure);
    let [one, pictures] = summary.measure.words();
    let mut worst = Vec::new();
    for failure in method.failures.iter().take(FAILURES) {
        worst.extend(of_failure(failure, &method.method, results, sequences)?);
    }
    Ok(html! {
        h2 { (method.method) }
        table {
            tr {
                th { (one) }
                @for name in names { th { (name) } }
                th { (pictures) } th { "chosen n" } th { "distance" } th { "worst" }
                @if method.sequences.iter().any(|s| s.spread.is_some()) {
                    th { "by reference: worst, median, best" }
                }
            }
            @for sequence in &method.sequences {
                tr {
                    td { (sequence.sequence) }
                    @for score in &sequence.scores { td { (format!("{score:.3}")) } }
                    td { (sequence.frames) }
                    td { @for (n, count) in &sequence.chosen { (n) " (" (count) "×) " } }
                    td { (distance(sequence.distance)) }
                    td { @if let Some((name, score)) = &sequence.worst {
                        (name) " " (format!("{score:.3}"))
                    } }
                    @if let Some(spread) = &sequence.spread {
                        td { (spread.quantiles.map(|s| format!("{s:.3}")).join(", ")) }
                    }
                }
            }
        }
        @if !method.patients.is_empty() { (patients(method)) }
        (reliability(summary, method, color, results))
        @if let Some(known) = &method.presence { (presence(known, color)) }
        h3 { "The worst pictures" }
        div.pictures { @for picture in worst { (picture) } }
    })
}

fn patients(method: &MethodSummary) -> Markup {
    html! {
        table {
            tr {
                th { "patient" } th { "Dice, mean of visits" } th { "of slices" }
                th { "visits" } th { "slices" }
            }
            @for patient in &method.patients {
                tr {
                    td { (patient.patient) }
                    td { (format!("{:.3}", patient.dice)) }
                    td { (format!("{:.3}", patient.slice_dice)) }
                    td { (patient.visits) }
                    td { (patient.slices) }
                }
            }
        }
    }
}

/// Score against distance: what a gate that cuts at a distance can know.
fn reliability(
    summary: &EvalSummary,
    method: &MethodSummary,
    color: &'static str,
    results: &[SequenceResult],
) -> Markup {
    let Some(reliability) = &method.reliability else { return html! {} };
    let most = reliability.bins.last().map_or(1.0, |bin| bin.distance[1]).max(f64::MIN_POSITIVE);
    let dots: Vec<[f64; 2]> = results
        .iter()
        .filter(|result| result.method == method.method)
        .flat_map(SequenceResult::scored)
        .filter_map(|frame| Some([frame.distance? / most, frame.score(summary.measure)]))
        .collect();
    let means: Vec<[f64; 2]> = reliability
        .bins
        .iter()
        .map(|bin| [f64::midpoint(bin.distance[0], bin.distance[1]) / most, bin.score])
        .collect();
    let number =
        |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:.2}"));
    html! {
        h3 { "What the distance tells" }
        (scatter("score against distance", ["distance 0", &format!("{most:.2}")], &dots, &means, color))
        p {
            "A dot a picture; the line is the mean score of each fifth of them. Rank correlation "
            (number(reliability.spearman)) "; chance that a good mask (0.5 or more) has the smaller "
            "distance " (number(reliability.separation)) "."
        }
    }
}

/// How well it was decided whether the object is in view.
fn presence(known: &PresenceSummary, color: &'static str) -> Markup {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let rows = [
        ("pictures with the object", known.present.to_string()),
        ("of them marked (true-positive rate)", number(known.true_positive_rate)),
        ("pictures without the object", known.absent.to_string()),
        ("of them not marked (true-negative rate)", number(known.true_negative_rate)),
        ("Dice, hidden masks as 0", number(known.dice_hidden_as_0)),
        ("Dice of what is shown", number(known.dice_shown)),
        ("Dice of what was found", number(known.dice_found)),
        (
            "right masks (Dice 0.7 or more) hidden",
            format!("{} of {}", known.right_hidden, known.right),
        ),
        ("wrong masks (below 0.3) shown", format!("{} of {}", known.wrong_shown, known.wrong)),
        ("area under risk against coverage", number(known.risk_area)),
        ("found again after absence", format!("{} of {}", known.found_again, known.returns)),
        (
            "pictures until then, median and most",
            known.frames_to_return.map_or("-".to_owned(), |[m, most]| format!("{m:.0}, {most:.0}")),
        ),
        (
            "seconds until then, median and most",
            known
                .seconds_to_return
                .map_or("-".to_owned(), |[m, most]| format!("{m:.2}, {most:.2}")),
        ),
    ];
    html! {
        h3 { "Whether the object is in view" }
        table { @for (name, value) in &rows { tr { td { (name) } td { (value) } } } }
        @if !known.risk_coverage.is_empty() {
            (over_time("risk over coverage: mean of 1 less Dice of the most probable pictures",
                ["coverage 0", "1"], &[Line { color, points: known.risk_coverage.clone() }]))
        }
    }
}

fn one_sequence(
    summary: &EvalSummary,
    results: &[SequenceResult],
    sequence: &Sequence,
) -> Result<Markup, DatasetError> {
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    let mut ends = [String::new(), String::new()];
    for (method, color) in summary.methods.iter().zip(COLORS.iter().cycle()) {
        let same = |r: &&SequenceResult| r.method == method.method && r.sequence == sequence.name;
        let Some(result) = results.iter().find(same) else { continue };
        let step = 1.0 / (result.frames.len().saturating_sub(1)).max(1) as f64;
        let scores = result.frames.iter().map(|frame| frame.score(summary.measure));
        let points = scores.enumerate().map(|(at, score)| [at as f64 * step, score]).collect();
        lines.push(Line { color, points });
        if let (Some(first), Some(last)) = (result.frames.first(), result.frames.last()) {
            ends = [first.frame.clone(), last.frame.clone()];
        }
        let mut pictures = Vec::new();
        for frame in evenly(&result.frames, PICTURES) {
            if let Some(sample) = sample_of(sequence, frame) {
                pictures.push(picture(&tile(sample, frame)?, "")?);
            }
        }
        rows.push((&method.method, *color, pictures));
    }
    Ok(html! {
        details {
            summary { (capital(summary.measure.words()[0])) " " (sequence.name) }
            (over_time(&format!("score over sequence {}", sequence.name), [&ends[0], &ends[1]], &lines))
            @for (method, color, pictures) in rows {
                p { span.key style={ "background:" (color) } {} " " (method) }
                div.pictures { @for picture in pictures { (picture) } }
            }
        }
    })
}

fn of_failure(
    failure: &Failure,
    method: &str,
    results: &[SequenceResult],
    sequences: &[Sequence],
) -> Result<Option<Markup>, DatasetError> {
    let result = results.iter().find(|r| r.method == method && r.sequence == failure.sequence);
    let frame = result.and_then(|result| {
        let mut frames = result.frames.iter();
        frames.find(|f| f.frame == failure.frame && f.reference == failure.reference)
    });
    let sequence = sequences.iter().find(|sequence| sequence.name == failure.sequence);
    let (Some(frame), Some(sequence)) = (frame, sequence) else { return Ok(None) };
    let Some(sample) = sample_of(sequence, frame) else { return Ok(None) };
    let words = format!(
        "{} {}: score {:.3}, distance {}, n {}",
        failure.sequence,
        failure.frame,
        failure.score,
        distance(failure.distance),
        frame.n
    );
    Ok(Some(picture(&tile(sample, frame)?, &words)?))
}

fn picture(frame: &Frame, caption: &str) -> Result<Markup, DatasetError> {
    let data = STANDARD.encode(frame.to_jpeg(QUALITY)?);
    Ok(html! {
        figure {
            img src={ "data:image/jpeg;base64," (data) } width=(frame.width()) height=(frame.height())
                alt=(if caption.is_empty() { "truth and mask" } else { caption });
            @if !caption.is_empty() { figcaption { (caption) } }
        }
    })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn with_interval(total: &Total) -> String {
    match total.interval {
        // The interval stays on one line.
        Some([low, high]) => format!("{:.4} [{low:.4},\u{a0}{high:.4}]", total.value),
        None => format!("{:.4}", total.value),
    }
}

fn distance(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}
