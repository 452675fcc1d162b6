//! Where single points go: Lucas-Kanade on a pyramid, with the brightness and the contrast of each
//! window evened out, since an endoscope's light moves with it.

use super::grey::Level;

/// Side of the window that is compared, in pixels of a level.
const WINDOW: usize = 12;
/// The window and one pixel around it, for its gradient.
const BORDERED: usize = WINDOW + 2;
/// Most steps on a level.
const STEPS: usize = 8;
/// A step this short ends the search, in pixels of a level.
const CONVERGED: f32 = 0.03;
/// Least mean squared gradient along a window's weaker direction, (levels a pixel)^2.
const WEAKEST: f32 = 0.6;
/// Largest share of a window's contrast that may remain unexplained.
const UNEXPLAINED: f32 = 0.45;
/// Farthest that a point may be from its start after going there and back, in small pixels.
const RETURN: f32 = 0.7;
/// Levels on which the way back is searched.
const RETURN_LEVELS: usize = 2;

type Window = [[f32; WINDOW]; WINDOW];

/// Follows a point and comes back; `None` if it is not found, or if the way back leads elsewhere.
/// Places are in pixels of the first level.
pub(super) fn follow(from: &[Level], to: &[Level], start: [f32; 2]) -> Option<[f32; 2]> {
    let end = search(from, to, start, [0.0; 2])?;
    let back = [start[0] - end[0], start[1] - end[1]];
    let to = to.get(..RETURN_LEVELS.min(to.len()))?;
    let again = search(to, from, end, back)?;
    let off = [again[0] - start[0], again[1] - start[1]];
    (off[0] * off[0] + off[1] * off[1] < RETURN * RETURN).then_some(end)
}

/// Finds the window around a point again, from the smallest level to the largest.
fn search(from: &[Level], to: &[Level], start: [f32; 2], guess: [f32; 2]) -> Option<[f32; 2]> {
    let mut moved = guess;
    for (index, (from, to)) in from.iter().zip(to).enumerate().rev() {
        let scale = (1u32 << index) as f32;
        // Centres of small pixels lie between those of large ones.
        let here = start.map(|v| (v + 0.5) / scale - 0.5);
        if index == 0 && !(within(from, here) && within(to, add(here, moved))) {
            return None;
        }
        match align(from, to, here, moved.map(|v| v / scale)) {
            Some((found, unexplained)) => {
                if index == 0 && unexplained > UNEXPLAINED {
                    return None;
                }
                moved = found.map(|v| v * scale);
            }
            // Nothing to hold on to at this size: the finer ones may have it.
            None if index > 0 => {}
            None => return None,
        }
    }
    let end = add(start, moved);
    within(to.first()?, end).then_some(end)
}

fn add(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

/// Whether the window of a point lies in the picture but for a pixel or two.
fn within(level: &Level, [x, y]: [f32; 2]) -> bool {
    let margin = (WINDOW / 2 - 1) as f32;
    x >= margin
        && y >= margin
        && x <= level.width as f32 - 1.0 - margin
        && y <= level.height as f32 - 1.0 - margin
}

/// Gauss-Newton on one level: the displacement, and the share of contrast left unexplained.
fn align(from: &Level, to: &Level, here: [f32; 2], guess: [f32; 2]) -> Option<([f32; 2], f32)> {
    let template: [[f32; BORDERED]; BORDERED] = sample(from, corner::<BORDERED>(here))?;
    let mut window: Window = [[0.0; WINDOW]; WINDOW];
    let (mut along_x, mut along_y) = (window, window);
    for y in 0..WINDOW {
        for x in 0..WINDOW {
            window[y][x] = template[y + 1][x + 1];
            along_x[y][x] = (template[y + 1][x + 2] - template[y + 1][x]) * 0.5;
            along_y[y][x] = (template[y + 2][x + 1] - template[y][x + 1]) * 0.5;
        }
    }
    centre(&mut window);
    centre(&mut along_x);
    centre(&mut along_y);
    let contrast = product(&window, &window);
    let [xx, xy, yy] =
        [product(&along_x, &along_x), product(&along_x, &along_y), product(&along_y, &along_y)];
    let weaker = (xx + yy) * 0.5 - ((xx - yy) * (xx - yy) * 0.25 + xy * xy).sqrt();
    if weaker < WEAKEST * (WINDOW * WINDOW) as f32 {
        return None;
    }
    let det = xx * yy - xy * xy;
    let mut moved = guess;
    let mut unexplained = f32::INFINITY;
    for _ in 0..STEPS {
        let mut error: Window = sample(to, corner::<WINDOW>(add(here, moved)))?;
        centre(&mut error);
        let gain = (contrast / product(&error, &error).max(1.0)).sqrt().clamp(0.5, 2.0);
        for (error, template) in error.as_flattened_mut().iter_mut().zip(window.as_flattened()) {
            *error = template - *error * gain;
        }
        unexplained = product(&error, &error) / contrast;
        let (bx, by) = (product(&error, &along_x), product(&error, &along_y));
        let step = [(yy * bx - xy * by) / det, (xx * by - xy * bx) / det];
        moved = add(moved, step);
        if !(moved[0].abs() < to.width as f32 && moved[1].abs() < to.height as f32) {
            return None;
        }
        if step[0] * step[0] + step[1] * step[1] < CONVERGED * CONVERGED {
            break;
        }
    }
    Some((moved, unexplained))
}

/// The top left corner of a window around a point.
fn corner<const N: usize>(centre: [f32; 2]) -> [f32; 2] {
    centre.map(|v| v - (N as f32 - 1.0) * 0.5)
}

/// The values of a window between pixels, bilinear; its edge pixels go on outside of the picture.
fn sample<const N: usize>(level: &Level, corner: [f32; 2]) -> Option<[[f32; N]; N]> {
    let [left, top] = corner.map(f32::floor);
    let (across, down) = (corner[0] - left, corner[1] - top);
    let (left, top) = (left as i64, top as i64);
    let (last_x, last_y) = (level.width as i64 - 1, level.height as i64 - 1);
    let inside = left >= 0 && left + N as i64 <= last_x;
    let mut out = [[0.0; N]; N];
    let mut above = [0.0; N];
    for line in 0..=N {
        let y = (top + line as i64).clamp(0, last_y) as usize;
        let row = level.data.get(y * level.width..)?.get(..level.width)?;
        let mut values = [0.0; N];
        if inside {
            let row = row.get(left as usize..)?.get(..=N)?;
            let (row, next) = (row.first_chunk::<N>()?, row.last_chunk::<N>()?);
            for i in 0..N {
                let (a, b) = (f32::from(row[i]), f32::from(next[i]));
                values[i] = a + (b - a) * across;
            }
        } else {
            for (i, value) in (0i64..).zip(&mut values) {
                let at = |x: i64| row.get(x.clamp(0, last_x) as usize).copied().map(f32::from);
                let (a, b) = (at(left + i)?, at(left + i + 1)?);
                *value = a + (b - a) * across;
            }
        }
        if line > 0 {
            for i in 0..N {
                out[line - 1][i] = above[i] + (values[i] - above[i]) * down;
            }
        }
        above = values;
    }
    Some(out)
}

/// Takes a window's mean off.
fn centre(window: &mut Window) {
    let ones = [[1.0; WINDOW]; WINDOW];
    let mean = product(window, &ones) / (WINDOW * WINDOW) as f32;
    for value in window.as_flattened_mut() {
        *value -= mean;
    }
}

/// The sum of products. One sum a column, which the compiler turns into vector registers.
fn product(a: &Window, b: &Window) -> f32 {
    let mut sums = [0.0; WINDOW];
    for (a, b) in a.iter().zip(b) {
        for i in 0..WINDOW {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum()
}
