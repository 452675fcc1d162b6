use p2sam::eval::{EvalSummary, Measure, MethodSummary, PresenceSummary, Total, columns};

use super::files::FileArgs;

/// Failures that are printed.
const MOST_FAILURES: usize = 5;

/// Prints the tables, or the whole summary as JSON.
pub fn print(files: &FileArgs, measure: Measure, summary: &EvalSummary) -> anyhow::Result<()> {
    if files.json {
        say!("{}", serde_json::to_string_pretty(summary)?);
        return Ok(());
    }
    for method in &summary.methods {
        if method.frames > 0 {
            table(measure, method);
        }
    }
    if summary.methods.iter().all(|method| method.frames == 0) {
        say!("no sequence was finished");
    }
    Ok(())
}

/// The totals of every method as a Markdown table, and what the run's settings were.
pub fn markdown(summary: &EvalSummary) -> String {
    let names: Vec<&str> = summary
        .methods
        .iter()
        .find(|method| method.frames > 0)
        .map(|method| method.totals.iter().map(|total| total.name).collect())
        .unwrap_or_default();
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let heads = ["settings".to_owned()].into_iter().chain(names.iter().map(|n| (*n).to_owned()));
    let heads: Vec<String> =
        heads.chain(["difference", "pictures", "ms"].map(str::to_owned)).collect();
    let mut text = String::from("# Ablation\n\n");
    text += &row(heads.clone());
    text += &row(vec!["---".to_owned(); heads.len()]);
    for method in summary.methods.iter().filter(|method| method.frames > 0) {
        let difference = method.difference.as_ref().map(with_interval).unwrap_or_default();
        let mut cells = vec![method.method.clone()];
        cells.extend(method.totals.iter().map(with_interval));
        cells.extend([
            difference,
            method.frames.to_string(),
            format!("{:.0}", method.milliseconds[0]),
        ]);
        text += &row(cells);
    }
    text +=
        "\nEach row changes one setting of the first; the difference is to the first row, over ";
    text += "the same sequences. Intervals: bootstrap over sequences.\n\n";
    for (name, value) in &summary.settings.0 {
        text += &format!("- {name}: `{value}`\n");
    }
    text
}

fn table(measure: Measure, method: &MethodSummary) {
    let names = columns(measure);
    let [one, pictures] = measure.words();
    let width = method.sequences.iter().map(|s| s.sequence.chars().count()).max().unwrap_or(0);
    let width = width.max("sequence".len());
    let heads: Vec<String> = names.iter().map(|name| format!("{name:>7}")).collect();
    say!("{}", method.method);
    let frames = if pictures == "slices" { pictures } else { "frames" };
    say!("  {one:<width$} {frames} {}  distance  worst           chosen n", heads.join(""));
    for sequence in &method.sequences {
        let scores: Vec<String> = sequence.scores.iter().map(|s| format!("{s:>7.3}")).collect();
        let chosen: Vec<String> =
            sequence.chosen.iter().map(|(n, count)| format!("{n}:{count}")).collect();
        let worst = sequence.worst.as_ref().map(|(name, score)| format!("{name} {score:.3}"));
        say!(
            "  {:<width$} {:>6} {}  {:>8}  {:<14}  {}",
            sequence.sequence,
            sequence.frames,
            scores.join(""),
            distance(sequence.distance),
            worst.unwrap_or_default(),
            chosen.join(" ")
        );
        if let Some(spread) = &sequence.spread {
            let [low, middle, high] = spread.quantiles;
            let name = |place: Option<&(String, f64)>| place.map(|p| p.0.clone());
            say!(
                "  {:<width$} by reference: worst {low:.3} ({}), median {middle:.3}, best {high:.3} ({})",
                "",
                name(spread.references.last()).unwrap_or_default(),
                name(spread.references.first()).unwrap_or_default()
            );
        }
    }
    for patient in &method.patients {
        say!(
            "  patient {}: Dice {:.3} of {} visits, {:.3} of {} slices",
            patient.patient,
            patient.dice,
            patient.visits,
            patient.slice_dice,
            patient.slices
        );
    }
    for total in &method.totals {
        say!("  {:<14} {}", total.name, with_interval(total));
    }
    if let Some(difference) = &method.difference {
        say!("  {:<14} {} to the first method", difference.name, with_interval(difference));
    }
    if let Some(reliability) = &method.reliability {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        say!(
            "  distance       rank correlation with the score {}, tells good from bad {}",
            number(reliability.spearman),
            number(reliability.separation)
        );
    }
    if let Some(presence) = &method.presence {
        say_presence(presence);
    }
    let [middle, high] = method.milliseconds;
    say!(
        "  time           p50 {middle:.0} ms, p95 {high:.0} ms a picture, {} {pictures}",
        method.frames
    );
    let worst: Vec<String> = method
        .failures
        .iter()
        .take(MOST_FAILURES)
        .map(|f| format!("{}/{} {:.3}", f.sequence, f.frame, f.score))
        .collect();
    say!("  worst          {}", worst.join(", "));
}

/// How well it was decided whether the object is in view.
fn say_presence(presence: &PresenceSummary) {
    let p = presence;
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    say!(
        "  presence       {} of {} frames without the object marked, {} of those with it",
        p.false_marks,
        p.absent,
        number(p.true_positive_rate)
    );
    say!(
        "                 Dice with hidden as 0 {}, of what is shown {}, of what was found {}",
        number(p.dice_hidden_as_0),
        number(p.dice_shown),
        number(p.dice_found)
    );
    say!(
        "                 right masks (0.7 or more) hidden {} of {}, wrong ones (below 0.3) shown {} \
         of {}",
        p.right_hidden,
        p.right,
        p.wrong_shown,
        p.wrong
    );
    if let Some(area) = p.risk_area {
        say!("                 area under risk against coverage {area:.4}");
    }
    if let Some([median, most]) = p.frames_to_return {
        let seconds = p
            .seconds_to_return
            .map(|[median, most]| format!(", {median:.2} s in the median, {most:.2} s at most"));
        say!(
            "                 found again {} of {} times, after {median:.0} frames in the median, \
             {most:.0} at most{}",
            p.found_again,
            p.returns,
            seconds.unwrap_or_default()
        );
    }
}

fn with_interval(total: &Total) -> String {
    match total.interval {
        Some([low, high]) => format!("{:.4}  95 % {low:.4} to {high:.4}", total.value),
        None => format!("{:.4}", total.value),
    }
}

/// A distance; `-` where there is none.
fn distance(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}
