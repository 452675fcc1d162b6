//! What optics, cables and files take away: blur, noise, size, compression, fields, glints.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageFormat};

use super::Annotated;
use super::Random;
use super::plain::{blurred, glints};

/// Each with its own probability.
pub fn change(image: &mut Annotated, random: &mut Random) {
    if random.chance(0.2) {
        glints(&mut image.rgb, image.width, random);
    }
    match random.unit() {
        drawn if drawn < 0.12 => {
            image.rgb = blurred(&image.rgb, image.width, 1 + random.below(2));
        }
        drawn if drawn < 0.2 => smear(image, random),
        drawn if drawn < 0.32 => sharpen(image, random.between(0.5, 1.5)),
        drawn if drawn < 0.44 => coarsen(image, random.between(1.5, 3.0)),
        _ => {}
    }
    if random.chance(0.04) {
        comb(image, 1 + random.below(6));
    }
    if random.chance(0.2) {
        let most = random.between(2.0, 14.0);
        for value in &mut image.rgb {
            // The sum of two draws: a triangle, near enough to a bell.
            let noise = random.between(-most, most) + random.between(-most, most);
            *value = (f32::from(*value) + noise + 0.5) as u8;
        }
    }
    if random.chance(0.3) {
        compress(image, 15 + random.below(66) as u8);
    }
}

/// Motion along a line.
fn smear(image: &mut Annotated, random: &mut Random) {
    let (length, angle) = (random.between(3.0, 9.0), random.between(0.0, std::f32::consts::PI));
    let (dx, dy) = (angle.cos(), angle.sin());
    let steps = length as i32;
    let (width, height) = (image.width as i32, image.height as i32);
    let old = image.rgb.clone();
    for (place, pixel) in image.rgb.chunks_exact_mut(3).enumerate() {
        let (x, y) = (place as i32 % width, place as i32 / width);
        let mut sum = [0u32; 3];
        for step in 0..steps {
            let along = step as f32 - (steps - 1) as f32 / 2.0;
            let at = |from: i32, by: f32, end: i32| {
                (from + (by * along).round() as i32).clamp(0, end - 1) as usize
            };
            let from = (at(y, dy, height) * width as usize + at(x, dx, width)) * 3;
            for (sum, value) in sum.iter_mut().zip(&old[from..from + 3]) {
                *sum += u32::from(*value);
            }
        }
        for (value, sum) in pixel.iter_mut().zip(sum) {
            *value = (sum / steps as u32) as u8;
        }
    }
}

/// Edges drawn stronger, as video processors do.
fn sharpen(image: &mut Annotated, amount: f32) {
    let soft = blurred(&image.rgb, image.width, 1);
    for (value, soft) in image.rgb.iter_mut().zip(soft) {
        let (sharp, soft) = (f32::from(*value), f32::from(soft));
        *value = (sharp + amount * (sharp - soft) + 0.5) as u8;
    }
}

/// As if it had come in fewer pixels: each is a mean, and lines between them are straight.
fn coarsen(image: &mut Annotated, factor: f32) {
    let radius = (factor / 2.0).round().max(1.0) as usize;
    let soft = blurred(&image.rgb, image.width, radius);
    let step = factor.round().max(2.0) as usize;
    let width = image.width;
    for (place, pixel) in image.rgb.chunks_exact_mut(3).enumerate() {
        let (x, y) = (place % width / step * step, place / width / step * step);
        pixel.copy_from_slice(&soft[(y * width + x) * 3..][..3]);
    }
    if radius > 1 {
        image.rgb = blurred(&image.rgb, width, 1);
    }
}

/// Two fields that were taken at different times.
fn comb(image: &mut Annotated, by: usize) {
    for row in image.rgb.chunks_exact_mut(3 * image.width).skip(1).step_by(2) {
        row.rotate_right(3 * by.min(image.width - 1));
    }
}

/// Encoded as JPEG and decoded.
fn compress(image: &mut Annotated, quality: u8) {
    let mut bytes = Vec::new();
    let (width, height) = (image.width as u32, image.height as u32);
    let encoded = JpegEncoder::new_with_quality(&mut bytes, quality).write_image(
        &image.rgb,
        width,
        height,
        ExtendedColorType::Rgb8,
    );
    let decoded = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg);
    if let (Ok(()), Ok(decoded)) = (encoded, decoded) {
        image.rgb = decoded.into_rgb8().into_raw();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_stay_and_flat_images_stay_flat() {
        let flat = Annotated { width: 20, height: 14, rgb: vec![90; 840], mask: vec![false; 280] };
        let mut random = Random::at(1, &[]);
        let changes: [&mut dyn FnMut(&mut Annotated); 5] = [
            &mut |image| smear(image, &mut random),
            &mut |image| sharpen(image, 1.0),
            &mut |image| coarsen(image, 3.0),
            &mut |image| comb(image, 4),
            &mut |image| compress(image, 40),
        ];
        for change in changes {
            let mut image = flat.clone();
            change(&mut image);
            assert_eq!(image.rgb.len(), 840);
            assert!(image.rgb.iter().all(|v| v.abs_diff(90) <= 2));
        }
    }

    #[test]
    fn combed_rows_move_and_the_others_stay() {
        let mut image =
            Annotated { width: 4, height: 2, rgb: (0..24).collect(), mask: vec![false; 8] };
        comb(&mut image, 1);
        assert_eq!(image.rgb[..12], (0..12).collect::<Vec<u8>>());
        assert_eq!(image.rgb[15..18], [12, 13, 14]);
    }
}
