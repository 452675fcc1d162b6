//! Which points to follow: good corners (Shi and Tomasi 1994) on and a little around an object.

use super::GreyPicture;
use super::grey::Level;
use crate::image::MaskPatch;

/// Largest area in which corners are looked for, in pixels of a level; a larger object's corners
/// are looked for on a smaller level.
const LARGEST: usize = 16_000;
/// Least smaller eigenvalue of the sum over 5 x 5 pixels of the gradient's products, where the
/// gradient is the difference of the two neighbours.
const WEAKEST: f32 = 120.0;
/// How far around the object corners count, as a share of its side, and at least, in small pixels.
const AROUND: (f64, f64) = (0.12, 4.0);

/// A point to follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corner {
    /// Its place in the small picture.
    pub(super) place: [f32; 2],
    /// Share of the surrounding window that lies on the object.
    pub(super) share: f64,
}

/// Finds up to about `count` corners, spread evenly: the best of each cell of a grid.
pub(super) fn corners(picture: &GreyPicture, object: &MaskPatch, count: usize) -> Vec<Corner> {
    let area = object.area();
    let reduction = f64::from(picture.reduction());
    let margin = |side: usize| (side as f64 * AROUND.0).max(AROUND.1 * reduction);
    let around = [margin(object.width()), margin(object.height())];
    // The region in pixels of the whole picture, its end not included.
    let low = [f64::from(area.x0) - around[0], f64::from(area.y0) - around[1]];
    let high = [f64::from(area.x1) + 1.0 + around[0], f64::from(area.y1) + 1.0 + around[1]];
    let mut chosen = None;
    for (index, level) in picture.levels().iter().enumerate() {
        let scale = reduction * f64::from(1u32 << index);
        let region = Region::new(level, low.map(|v| v / scale), high.map(|v| v / scale));
        let Some(region) = region else { break };
        let fits = region.width * region.height <= LARGEST;
        chosen = Some((level, region, scale));
        if fits {
            break;
        }
    }
    let Some((level, region, scale)) = chosen else { return Vec::new() };
    let strengths = strengths(level, &region);
    let cell = ((region.width * region.height) as f64 / count.max(1) as f64).sqrt().ceil() as usize;
    let cell = cell.max(3);
    let cells_across = region.width.div_ceil(cell);
    let mut best: Vec<Option<(f32, Corner)>> =
        vec![None; cells_across * region.height.div_ceil(cell)];
    for (y, row) in strengths.chunks_exact(region.width).enumerate() {
        for (x, &strength) in row.iter().enumerate() {
            let Some(best) = best.get_mut(y / cell * cells_across + x / cell) else { continue };
            if strength < best.map_or(WEAKEST, |(least, _)| least) {
                continue;
            }
            // The pixel's centre in the whole picture.
            let full = [
                ((region.x + x) as f64 + 0.5) * scale - 0.5,
                ((region.y + y) as f64 + 0.5) * scale - 0.5,
            ];
            if !near(object, full, around) {
                continue;
            }
            let place = full.map(|v| ((v + 0.5) / reduction - 0.5) as f32);
            *best = Some((strength, Corner { place, share: share(object, full, reduction) }));
        }
    }
    best.into_iter().flatten().map(|(_, corner)| corner).collect()
}

/// Whether a place is on the object or a little beside it.
fn near(object: &MaskPatch, [x, y]: [f64; 2], [wide, high]: [f64; 2]) -> bool {
    let on = |dx: f64, dy: f64| {
        object.contains((x + dx * wide).round() as i64, (y + dy * high).round() as i64)
    };
    let ring = [-1.0, -0.5, 0.0, 0.5, 1.0];
    on(0.0, 0.0) || ring.iter().any(|&dy| ring.iter().any(|&dx| on(dx, dy)))
}

/// Share of the window that is compared around a place that lies on the object.
fn share(object: &MaskPatch, [x, y]: [f64; 2], reduction: f64) -> f64 {
    let places = [-5.0, -2.5, 0.0, 2.5, 5.0].map(|v| v * reduction);
    let on = |dy: &f64| {
        let row = places.iter();
        row.filter(|&dx| object.contains((x + dx).round() as i64, (y + dy).round() as i64)).count()
    };
    places.iter().map(on).sum::<usize>() as f64 / 25.0
}

/// A box on a level.
struct Region {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Region {
    /// The box between two corners, cut to the pixels that have neighbours; `None` if it is empty.
    fn new(level: &Level, low: [f64; 2], high: [f64; 2]) -> Option<Self> {
        let first = low.map(|v| v.floor().max(1.0) as usize);
        let end_x = (high[0].ceil().max(0.0) as usize).min(level.width.saturating_sub(1));
        let end_y = (high[1].ceil().max(0.0) as usize).min(level.height.saturating_sub(1));
        let width = end_x.checked_sub(first[0]).filter(|&side| side > 0)?;
        let height = end_y.checked_sub(first[1]).filter(|&side| side > 0)?;
        Some(Self { x: first[0], y: first[1], width, height })
    }
}

/// The smaller eigenvalue of the structure tensor at each pixel of a region.
fn strengths(level: &Level, region: &Region) -> Vec<f32> {
    const REACH: usize = 2;
    let width = region.width;
    // Products of the gradient: xx, xy, yy of one row after the other.
    let mut products = vec![[0i32; 3]; width * region.height];
    for (line, products) in products.chunks_exact_mut(width).enumerate() {
        let y = region.y + line;
        let row = |y: usize| level.data.get(y * level.width + region.x - 1..).unwrap_or_default();
        let (above, here, below) = (row(y - 1), row(y), row(y + 1));
        let across = here.iter().zip(here.iter().skip(2));
        let down = above.iter().skip(1).zip(below.iter().skip(1));
        for ((product, (left, right)), (above, below)) in products.iter_mut().zip(across).zip(down)
        {
            let gx = i32::from(*right) - i32::from(*left);
            let gy = i32::from(*below) - i32::from(*above);
            *product = [gx * gx, gx * gy, gy * gy];
        }
    }
    let mut out = vec![0.0; products.len()];
    let mut columns = vec![[0i32; 3]; width];
    let change = |columns: &mut [[i32; 3]], line: usize, sign: i32| {
        let Some(row) = products.chunks_exact(width).nth(line) else { return };
        for (column, product) in columns.iter_mut().zip(row) {
            for (sum, value) in column.iter_mut().zip(product) {
                *sum += sign * value;
            }
        }
    };
    (0..REACH).for_each(|line| change(&mut columns, line, 1));
    for (y, out) in out.chunks_exact_mut(width).enumerate() {
        change(&mut columns, y + REACH, 1);
        if let Some(gone) = y.checked_sub(REACH + 1) {
            change(&mut columns, gone, -1);
        }
        // The outermost columns stay 0: their sums would be incomplete.
        for (out, window) in out.iter_mut().skip(REACH).zip(columns.windows(2 * REACH + 1)) {
            let mut sum = [0i32; 3];
            for column in window {
                for (sum, value) in sum.iter_mut().zip(column) {
                    *sum += value;
                }
            }
            let [xx, xy, yy] = sum.map(|v| v as f32);
            let half = (xx - yy) * 0.5;
            *out = (xx + yy) * 0.5 - (half * half + xy * xy).sqrt();
        }
    }
    out
}
