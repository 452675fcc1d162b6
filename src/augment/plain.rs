//! Pictures changed at random, with their masks.

use super::Random;
use crate::image::{Frame, ImageError, Mask};

/// Smallest share of a side that a crop keeps.
const SMALLEST_CROP: f32 = 0.6;
/// Tries to find a crop that keeps some of the object.
const TRIES: usize = 8;

/// Share of the pictures that are blurred.
const BLURRED: f32 = 0.15;
/// Share of the pictures that get specular glints.
const GLINTING: f32 = 0.2;
/// Most glints of a picture.
const MOST_GLINTS: usize = 6;

/// The picture flipped, cropped, in other light and colours, some of them blurred or with specular
/// glints as wet tissue has them under an endoscope's lamp.
pub fn augment(
    frame: &Frame,
    mask: &Mask,
    random: &mut Random,
) -> Result<(Frame, Mask), ImageError> {
    let (frame, mask) = crop(frame, mask, random)?;
    let (across, down) = (random.chance(0.5), random.chance(0.5));
    let mask = Mask::new(
        mask.width(),
        mask.height(),
        flipped(mask.data(), mask.width() as usize, 1, [across, down]),
    )?;
    let mut rgb = flipped(frame.rgb(), frame.width() as usize, 3, [across, down]);
    light(&mut rgb, random);
    let width = frame.width() as usize;
    if random.chance(BLURRED) {
        rgb = blurred(&rgb, width, 1 + random.below(2));
    }
    if random.chance(GLINTING) {
        glints(&mut rgb, width, random);
    }
    Ok((Frame::new(frame.width(), frame.height(), rgb)?, mask))
}

/// A part of the picture that holds some of the object.
fn crop(frame: &Frame, mask: &Mask, random: &mut Random) -> Result<(Frame, Mask), ImageError> {
    let (width, height) = (frame.width(), frame.height());
    for _ in 0..TRIES {
        let scale = random.between(SMALLEST_CROP, 1.0);
        let stretch = random.between(0.9, 1.1);
        let side = |length: u32, scale: f32| {
            ((length as f32 * scale.min(1.0)).round() as u32).clamp(1, length)
        };
        let (w, h) = (side(width, scale * stretch), side(height, scale / stretch));
        let left = random.below((width - w + 1) as usize);
        let top = random.below((height - h + 1) as usize);
        let part = cut(mask.data(), width as usize, 1, [left, top], [w as usize, h as usize]);
        let part = Mask::new(w, h, part)?;
        // At least a quarter of the object: a sliver at the border teaches nothing.
        if part.area() * 4 >= mask.area() && part.area() < part.data().len() {
            let rgb = cut(frame.rgb(), width as usize, 3, [left, top], [w as usize, h as usize]);
            return Ok((Frame::new(w, h, rgb)?, part));
        }
    }
    Ok((frame.clone(), mask.clone()))
}

fn cut<T: Copy>(
    values: &[T],
    width: usize,
    channels: usize,
    [left, top]: [usize; 2],
    [w, h]: [usize; 2],
) -> Vec<T> {
    values
        .chunks_exact(width * channels)
        .skip(top)
        .take(h)
        .flat_map(|row| row.iter().skip(left * channels).take(w * channels).copied())
        .collect()
}

fn flipped<T: Copy>(
    values: &[T],
    width: usize,
    channels: usize,
    [across, down]: [bool; 2],
) -> Vec<T> {
    let rows: Vec<&[T]> = values.chunks_exact(width * channels).collect();
    let row = |row: &&[T]| -> Vec<T> {
        if across {
            row.chunks_exact(channels).rev().flatten().copied().collect()
        } else {
            row.to_vec()
        }
    };
    if down {
        rows.iter().rev().flat_map(row).collect()
    } else {
        rows.iter().flat_map(row).collect()
    }
}

/// Brightness, contrast and the balance of colours.
fn light(rgb: &mut [u8], random: &mut Random) {
    let contrast = random.between(0.75, 1.3);
    let brightness = random.between(-25.0, 25.0);
    let balance = [0; 3].map(|_| random.between(0.9, 1.1));
    let table = balance.map(|gain| {
        std::array::from_fn::<u8, 256, _>(|level| {
            let level = level as f32;
            ((level - 128.0) * contrast + 128.0 + brightness).mul_add(gain, 0.5) as u8
        })
    });
    for pixel in rgb.chunks_exact_mut(3) {
        for (value, table) in pixel.iter_mut().zip(&table) {
            *value = table[usize::from(*value)];
        }
    }
}

/// The mean of `2 * radius + 1` pixels along each axis; at the borders of those that there are.
pub fn blurred(rgb: &[u8], width: usize, radius: usize) -> Vec<u8> {
    let height = rgb.len() / (3 * width).max(1);
    let along = |from: &[u8], length: usize, stride: usize| -> Vec<u8> {
        let mut to = from.to_vec();
        for (place, slot) in to.iter_mut().enumerate() {
            let index = place / stride % length;
            let first = place - index.min(radius) * stride;
            let count = index.min(radius) + 1 + radius.min(length - 1 - index);
            let values = from.iter().skip(first).step_by(stride).take(count);
            *slot = (values.map(|&v| usize::from(v)).sum::<usize>() / count) as u8;
        }
        to
    };
    let across = along(rgb, width, 3);
    along(&across, height, 3 * width)
}

/// A few small bright ellipses with soft edges.
pub fn glints(rgb: &mut [u8], width: usize, random: &mut Random) {
    let height = rgb.len() / (3 * width).max(1);
    let side = width.min(height) as f32;
    for _ in 0..1 + random.below(MOST_GLINTS) {
        let centre = [random.unit() * width as f32, random.unit() * height as f32];
        let radius = [0; 2].map(|_| (random.between(0.005, 0.03) * side).max(1.0));
        let bright = random.between(0.6, 1.0);
        for (place, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            let x = ((place % width) as f32 - centre[0]) / radius[0];
            let y = ((place / width) as f32 - centre[1]) / radius[1];
            let share = ((1.5 - (x * x + y * y)).clamp(0.0, 1.0)) * bright;
            if share > 0.0 {
                for value in pixel {
                    *value = (f32::from(*value) * (1.0 - share) + 255.0 * share) as u8;
                }
            }
        }
    }
}
