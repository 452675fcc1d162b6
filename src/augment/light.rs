//! Light and colour, as processors, lamps and imaging modes differ.

use super::Annotated;
use super::Random;

/// Changes gamma, contrast, brightness, saturation and white balance, sometimes more.
pub fn change(image: &mut Annotated, random: &mut Random) {
    let gamma = (2.0f32).powf(random.between(-0.6, 0.6));
    let contrast = random.between(0.7, 1.35);
    let brightness = random.between(-28.0, 28.0);
    let strong = random.chance(0.3);
    let spread = if strong { 0.3 } else { 0.12 };
    let balance = [0; 3].map(|_| 1.0 + random.between(-spread, spread));
    let tables = balance.map(|gain| {
        std::array::from_fn::<f32, 256, _>(|level| {
            let level = 255.0 * (level as f32 / 255.0).powf(gamma);
            ((level - 128.0) * contrast + 128.0 + brightness) * gain
        })
    });
    let saturation = if random.chance(0.05) { 0.0 } else { random.between(0.6, 1.4) };
    let hue =
        if random.chance(0.3) { random.between(-0.25, 0.25) } else { random.between(-0.06, 0.06) };
    let mut matrix = colour_matrix(saturation, hue);
    if random.chance(0.06) {
        // About what narrow-band imaging does: green and blue light alone, shown as colours.
        let narrow = [[0.2, 0.8, 0.0], [0.0, 0.25, 0.75], [0.0, 0.3, 0.7]];
        matrix = product(&narrow, &matrix);
    }
    let vignette = random.chance(0.3).then(|| Vignette::draw(image, random));
    let width = image.width;
    for (place, pixel) in image.rgb.chunks_exact_mut(3).enumerate() {
        let lit = vignette.as_ref().map_or(1.0, |v| v.at(place % width, place / width));
        let light: [f32; 3] = std::array::from_fn(|c| tables[c][usize::from(pixel[c])]);
        for (value, row) in pixel.iter_mut().zip(&matrix) {
            let sum = row[0] * light[0] + row[1] * light[1] + row[2] * light[2];
            *value = (sum * lit + 0.5) as u8;
        }
    }
}

/// Light that falls off from a place.
struct Vignette {
    centre: [f32; 2],
    radius: f32,
    depth: f32,
}

impl Vignette {
    fn draw(image: &Annotated, random: &mut Random) -> Self {
        let (width, height) = (image.width as f32, image.height as f32);
        Self {
            centre: [random.between(0.2, 0.8) * width, random.between(0.2, 0.8) * height],
            radius: random.between(0.5, 1.0) * width.max(height),
            depth: random.between(0.2, 0.8),
        }
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        let (x, y) = (x as f32 - self.centre[0], y as f32 - self.centre[1]);
        let far = ((x * x + y * y).sqrt() / self.radius).min(1.0);
        1.0 - self.depth * far * far
    }
}

type Matrix = [[f32; 3]; 3];

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

/// Saturation times a factor and hues turned by an angle in radians, about the grey axis with the
/// luma weights of BT.601.
fn colour_matrix(saturation: f32, hue: f32) -> Matrix {
    let luma = [0.299, 0.587, 0.114];
    let (sin, cos) = hue.sin_cos();
    // A rotation about (1, 1, 1).
    let root = 3f32.sqrt().recip();
    let turn: Matrix = std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let cross = match (3 + j - i) % 3 {
                1 => -root,
                2 => root,
                _ => 0.0,
            };
            let same = if i == j { cos } else { 0.0 };
            same + (1.0 - cos) / 3.0 + sin * cross
        })
    });
    let keep: Matrix = std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let same = if i == j { saturation } else { 0.0 };
            same + (1.0 - saturation) * luma[j]
        })
    });
    product(&keep, &turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_stay_grey_and_nothing_changes_nothing() {
        for (saturation, hue) in [(1.0, 0.0), (0.5, 0.2), (0.0, -0.3), (1.4, 0.1)] {
            for row in colour_matrix(saturation, hue) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
        let same = colour_matrix(1.0, 0.0);
        assert!((0..3).all(|i| (same[i][i] - 1.0).abs() < 1e-6));
        // A turn by a third of a circle takes red to green.
        let turned = colour_matrix(1.0, std::f32::consts::TAU / 3.0);
        assert!((turned[1][0] - 1.0).abs() < 1e-5, "{turned:?}");
    }
}
