//! Small charts as inline SVG.

use maud::{Markup, html};

/// Colours of the methods, told apart also by those who see red and green alike.
pub(super) const COLORS: [&str; 6] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Width and height of a chart in its own units, and the room for its labels.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 34.0;
const BELOW: f64 = 18.0;

/// A line of a chart: points of x and y, both from 0 to 1.
pub(super) struct Line {
    pub color: &'static str,
    pub points: Vec<[f64; 2]>,
}

fn place([x, y]: [f64; 2]) -> (f64, f64) {
    (LEFT + x.clamp(0.0, 1.0) * (WIDTH - LEFT - 4.0), 4.0 + (1.0 - y.clamp(0.0, 1.0)) * HEIGHT)
}

/// Axes with the scores 0 to 1 upwards, and words at both ends of the other axis.
fn frame(title: &str, ends: [&str; 2], inside: &Markup) -> Markup {
    let height = HEIGHT + 8.0 + BELOW;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
            @for level in [0.0, 0.5, 1.0] {
                @let (x, y) = place([0.0, level]);
                line x1=(x) y1=(y) x2=(WIDTH - 4.0) y2=(y) class="grid" {}
                text x=(x - 6.0) y=(y + 4.0) text-anchor="end" { (level) }
            }
            (inside)
            text x=(LEFT) y=(height - 4.0) { (ends[0]) }
            text x=(WIDTH - 4.0) y=(height - 4.0) text-anchor="end" { (ends[1]) }
        }
    }
}

/// Scores over a sequence, a line a method.
pub(super) fn over_time(title: &str, ends: [&str; 2], lines: &[Line]) -> Markup {
    let inside = html! {
        @for line in lines {
            polyline fill="none" stroke=(line.color) stroke-width="1.5"
                points=(joined(&line.points)) {}
        }
    };
    frame(title, ends, &inside)
}

/// Scores by distance, a dot a picture, and the mean of each group of pictures as a line.
pub(super) fn scatter(
    title: &str,
    ends: [&str; 2],
    dots: &[[f64; 2]],
    means: &[[f64; 2]],
    color: &'static str,
) -> Markup {
    let inside = html! {
        @for dot in dots {
            @let (x, y) = place(*dot);
            circle cx=(rounded(x)) cy=(rounded(y)) r="3" fill=(color) fill-opacity="0.6" {}
        }
        polyline fill="none" stroke="#222" stroke-width="2" points=(joined(means)) {}
    };
    frame(title, ends, &inside)
}

fn joined(points: &[[f64; 2]]) -> String {
    let places = points.iter().map(|point| {
        let (x, y) = place(*point);
        format!("{},{}", rounded(x), rounded(y))
    });
    places.collect::<Vec<_>>().join(" ")
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
