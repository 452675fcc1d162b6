//! The page of a measurement of latency. It needs no other file and no network.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plots::COLORS;
use crate::bench::{BenchReport, CaseReport, Series};

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem;
  color: #222; background: #fff }
table { border-collapse: collapse; margin: .6rem 0; display: block; overflow-x: auto }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
svg { width: 100%; max-width: 900px; display: block } svg text { font-size: 11px; fill: #555 }
.grid { stroke: #ddd } .key { display: inline-block; width: 1em; height: .7em }";

/// Width and height of a chart in its own units, and the room for its labels.
const SIZE: [f64; 2] = [900.0, 220.0];
const LEFT: f64 = 56.0;
const BELOW: f64 = 20.0;
/// Most points that a line is drawn with.
const MOST_POINTS: usize = 600;

/// The page: machine, table, cumulative distribution, every frame over time, and stages as bars.
pub fn bench_page(report: &BenchReport) -> String {
    let slowest = report.cases.iter().map(|case| case.whole.summary.max).fold(0.0, f64::max);
    let colored = || report.cases.iter().zip(COLORS.iter().cycle());
    let cumulative: Vec<_> =
        colored().map(|(case, color)| (*color, distribution(&case.whole))).collect();
    let timeline: Vec<_> =
        colored().map(|(case, color)| (*color, over_time(&case.whole))).collect();
    let machine = &report.machine;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "p2sam bench" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "p2sam bench" }
                p {
                    (report.program) @if let Some(commit) = &report.commit { ", commit " (commit) }
                    ". For research use; not a medical device."
                }
                p {
                    (machine.cpu) ", " (machine.cores) " cores, " (machine.memory >> 20) " MiB; "
                    @for gpu in &machine.gpus { (gpu) "; " }
                    (machine.system) "; " (machine.libraries.join(", ")) "; "
                    (machine.cpu_flags.join(" "))
                }
                p {
                    (report.input) ", " (report.size[0]) " x " (report.size[1]) " pixels, " (report.mode)
                    @if let Some(rate) = report.rate { " at " (rate) " frames a second" }
                    ", " (report.warmup) " frames before the measured ones."
                }
                @if machine.unoptimised { p { strong { "Built without optimisation." } } }
                (table(report))
                h2 { "Cumulative distribution of the whole frame" }
                (chart("share of frames", slowest, ["0", "1"], &cumulative, true))
                h2 { "The whole frame over time" }
                (chart("milliseconds", slowest, ["first frame", "last frame"], &timeline, false))
                h2 { "Stages, medians" }
                @for case in &report.cases {
                    h3 { (case.case) }
                    (bars(case))
                }
            }
        }
    };
    page.into_string()
}

fn table(report: &BenchReport) -> Markup {
    let number = |value: f64| format!("{value:.1}");
    let row = |series: &Series| {
        let s = &series.summary;
        html! {
            @for value in [s.p50, s.p90, s.p95, s.p99, s.max, s.mean, s.tail, s.flatness] {
                td { (number(value)) }
            }
        }
    };
    html! {
        table {
            tr {
                th { "milliseconds" }
                @for name in ["p50", "p90", "p95", "p99", "max", "mean", "max - p95", "p90 - p10"] {
                    th { (name) }
                }
                th { "frames" } th { "frames/s" } th { "dropped" } th { "memory, MB" }
                th { "first mask" }
            }
            @for (case, color) in report.cases.iter().zip(COLORS.iter().cycle()) {
                tr {
                    td { span.key style={ "background:" (color) } {} " " strong { (case.case) } }
                    (row(&case.whole))
                    td { (case.frames) }
                    td { (format!("{:.2}", case.frames_per_second)) }
                    td { (case.dropped) }
                    td { @if let Some(bytes) = case.peak_memory { (number(bytes as f64 / 1e6)) } }
                    td { @if !case.cold_start.is_empty() {
                        (number(Series::new("", case.cold_start.clone()).summary.p50))
                    } }
                }
                @for stage in case.stages.iter().chain(&case.waiting).chain(&case.age) {
                    tr { td { (stage.name) } (row(stage)) }
                }
            }
        }
    }
}

/// Milliseconds and the share of frames that took no longer.
fn distribution(series: &Series) -> Vec<[f64; 2]> {
    let mut sorted = series.milliseconds.clone();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().max(1) as f64;
    let points = sorted.into_iter().enumerate();
    thinned(points.map(|(at, time)| [time, (at + 1) as f64 / last]).collect())
}

/// Every frame's place, from 0 to 1, and its milliseconds.
fn over_time(series: &Series) -> Vec<[f64; 2]> {
    let last = series.milliseconds.len().saturating_sub(1).max(1) as f64;
    let points = series.milliseconds.iter().enumerate();
    thinned(points.map(|(at, time)| [at as f64 / last, *time]).collect())
}

/// So many points at most: of each stretch the highest.
fn thinned(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    let stretch = points.len().div_ceil(MOST_POINTS).max(1);
    let highest = |points: &[[f64; 2]]| points.iter().copied().max_by(|a, b| a[1].total_cmp(&b[1]));
    points.chunks(stretch).filter_map(highest).collect()
}

/// Lines of x and y, of which the milliseconds end at `most` and the other from 0 to 1.
fn chart(
    title: &str,
    most: f64,
    ends: [&str; 2],
    lines: &[(&str, Vec<[f64; 2]>)],
    across: bool,
) -> Markup {
    let most = most.max(f64::MIN_POSITIVE);
    let [width, height] = SIZE;
    let scale = if across { [most, 1.0] } else { [1.0, most] };
    let place = |point: [f64; 2]| {
        let [x, y] = [0, 1].map(|axis| (point[axis] / scale[axis]).clamp(0.0, 1.0));
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        (rounded(LEFT + x * (width - LEFT - 8.0)), rounded(6.0 + (1.0 - y) * height))
    };
    let below =
        if across { ["0 ms".to_owned(), format!("{most:.0} ms")] } else { ends.map(str::to_owned) };
    html! {
        svg viewBox={ "0 0 " (width) " " (height + BELOW + 8.0) } role="img" aria-label=(title) {
            @for level in [0.0, 0.25, 0.5, 0.75, 1.0] {
                @let (x, y) = place([0.0, level * scale[1]]);
                line x1=(x) y1=(y) x2=(width - 8.0) y2=(y) class="grid" {}
                text x=(x - 6.0) y=(y + 4.0) text-anchor="end" {
                    @if across { (level) } @else { (format!("{:.0}", level * most)) }
                }
            }
            @for (color, points) in lines {
                polyline fill="none" stroke=(color) stroke-width="1.5"
                    points=(points.iter().map(|point| {
                        let (x, y) = place(*point);
                        format!("{x},{y}")
                    }).collect::<Vec<_>>().join(" ")) {}
            }
            text x=(LEFT) y=(height + BELOW + 4.0) { (below[0]) }
            text x=(width - 8.0) y=(height + BELOW + 4.0) text-anchor="end" { (below[1]) }
        }
    }
}

fn bars(case: &CaseReport) -> Markup {
    let [width, _] = SIZE;
    let longest = case.stages.iter().map(|s| s.summary.p50).fold(f64::MIN_POSITIVE, f64::max);
    let line = 20.0;
    html! {
        svg viewBox={ "0 0 " (width) " " (line * case.stages.len() as f64 + 4.0) } role="img"
            aria-label={ "stages of " (case.case) } {
            @for (index, (stage, color)) in case.stages.iter().zip(COLORS.iter().cycle()).enumerate() {
                @let y = line * index as f64;
                @let length = stage.summary.p50 / longest * (width - 230.0);
                text x="90" y=(y + 14.0) text-anchor="end" { (stage.name) }
                rect x="96" y=(y + 3.0) width=(format!("{length:.1}")) height="14" fill=(color) {}
                text x=(format!("{:.1}", 102.0 + length)) y=(y + 14.0) {
                    (format!("{:.2} ms", stage.summary.p50))
                }
            }
        }
    }
}
