//! The page of a volume: its slices with the object's outline. It needs no other file and no network.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, PreEscaped, html};

use super::VolumeSummary;
use crate::image::{Frame, ImageError, Mask, OverlayStyle, draw_mask};

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem;
  color: #222; background: #fff }
table { border-collapse: collapse; margin: .6rem 0 }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: left }
.slices { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: .5rem }
figure { margin: 0 } figure img { width: 100%; display: block }
figcaption { font-size: 12px; color: #555 }";

/// Most slices that are shown.
const MOST: usize = 60;
/// Longest side of a slice as it is shown.
const SIDE: u32 = 360;
const QUALITY: u8 = 80;

/// The page of slices, which `frame` reads by number, with what was found on them. If there are more
/// than 60 slices to show, every second, third and so on is.
///
/// # Errors
/// Those of `frame` and of drawing.
pub fn volume_page<E: From<ImageError>>(
    summary: &VolumeSummary,
    masks: &[Option<Mask>],
    frame: impl Fn(usize) -> Result<Frame, E>,
) -> Result<String, E> {
    let marked: Vec<usize> = (0..masks.len()).filter(|slice| masks[*slice].is_some()).collect();
    // What is marked, and a little above and below.
    let (first, last) = match (marked.first(), marked.last()) {
        (Some(first), Some(last)) => (first.saturating_sub(3), (last + 4).min(masks.len())),
        _ => (0, masks.len()),
    };
    let step = (last - first).div_ceil(MOST).max(1);
    let style = OverlayStyle { color: [0, 255, 128], thickness: 1, opacity: 0.15 };
    let mut shown = Vec::new();
    for slice in (first..last).step_by(step) {
        let mut picture = frame(slice)?;
        if let Some(mask) = &masks[slice] {
            draw_mask(&mut picture, mask, &style);
        }
        let (width, height) = (picture.width(), picture.height());
        let longest = width.max(height);
        let scaled = |side: u32| (side * SIDE / longest).max(1);
        let picture = match longest > SIDE {
            true => picture.resized(scaled(width), scaled(height))?,
            false => picture,
        };
        let area = masks[slice].as_ref().map_or(0, Mask::area);
        shown.push((slice, area, STANDARD.encode(picture.to_jpeg(QUALITY)?)));
    }
    let number = |value: Option<f64>, unit: &str| {
        value.map_or("unknown".to_owned(), |value| format!("{value:.2} {unit}"))
    };
    let rows = [
        ("Slices", summary.slices.to_string()),
        ("Slices with the object", summary.marked_slices.to_string()),
        ("Volume", number(summary.millilitres, "ml")),
        ("Volume of the reference", number(summary.reference_millilitres, "ml")),
        ("Change", number(summary.change_percent, "%")),
    ];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "p2sam: slices" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "p2sam: slices" }
                p { "For research use; not a medical device." }
                table {
                    @for (name, value) in &rows { tr { th { (name) } td { (value) } } }
                    @if let Some(dice) = summary.dice {
                        tr { th { "Dice of all voxels" } td { (format!("{dice:.3}")) } }
                    }
                }
                div class="slices" {
                    @for (slice, area, jpeg) in &shown {
                        figure {
                            img src=(format!("data:image/jpeg;base64,{jpeg}")) alt=(format!("slice {slice}"));
                            figcaption { "slice " (slice) ", " (area) " pixels" }
                        }
                    }
                }
            }
        }
    };
    Ok(page.into_string())
}
