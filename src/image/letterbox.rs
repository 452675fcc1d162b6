use super::resample::Axis;
use super::{ImageError, Mask, PixelBox};

/// How a picture lies in the model's square input: scaled so that its longer side fills it, at the
/// top left, zeros to the right and below. The zeros can be cut off up to a multiple of some pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letterbox {
    original: [u32; 2],
    scaled: [u32; 2],
    side: u32,
    canvas: [u32; 2],
}

impl Letterbox {
    /// For a picture of `width` x `height` pixels and an input of `side` x `side`.
    pub fn new(width: u32, height: u32, side: u32) -> Self {
        let scale = f64::from(side) / f64::from(width.max(height));
        // Half-up rounding, as the published code does. A side never vanishes.
        let scaled = |length: u32| ((f64::from(length) * scale + 0.5) as u32).clamp(1, side);
        let scaled = [scaled(width), scaled(height)];
        Self { original: [width, height], scaled, side, canvas: [side; 2] }
    }

    /// The same without the zeros to the right and below, except what fills a multiple of `step`
    /// pixels.
    pub fn trimmed(self, step: u32) -> Self {
        let canvas = self.scaled.map(|length| length.next_multiple_of(step.max(1)).min(self.side));
        Self { canvas, ..self }
    }

    /// Width and height of the picture.
    pub fn original(&self) -> [u32; 2] {
        self.original
    }

    /// Width and height of the scaled picture within the input.
    pub fn scaled(&self) -> [u32; 2] {
        self.scaled
    }

    /// Side of the square input.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// Width and height of what enters the model: the whole square unless [trimmed](Self::trimmed).
    pub fn canvas(&self) -> [u32; 2] {
        self.canvas
    }

    /// A place in the picture's pixels to one in the input's.
    pub fn to_input(&self, x: f32, y: f32) -> [f32; 2] {
        let scale = |axis: usize| f64::from(self.scaled[axis]) / f64::from(self.original[axis]);
        [(f64::from(x) * scale(0)) as f32, (f64::from(y) * scale(1)) as f32]
    }

    /// The way of SAM's masks back to the picture: a map of the input, `map` columns and rows,
    /// bilinearly to the input's size, without the padding, bilinearly to the picture's size. Before
    /// those there is a bilinear step to a map `finer` times as fine; 1 leaves it out.
    pub fn restore(&self, map: [usize; 2], finer: usize) -> Restore {
        let axis = |index: usize| {
            let fine = map[index] * finer;
            let mut taps = Axis::bilinear(map[index], fine);
            taps = Axis::bilinear(fine, self.canvas[index] as usize).after(&taps);
            taps.truncate(self.scaled[index] as usize);
            Axis::bilinear(self.scaled[index] as usize, self.original[index] as usize).after(&taps)
        };
        Restore { columns: axis(0), rows: axis(1), map, size: self.original }
    }
}

/// Brings maps of one size to the size of one picture. Two or three bilinear steps are one
/// linear map for each axis, so that the large intermediate maps are never made.
#[derive(Clone, Debug)]
pub struct Restore {
    columns: Axis,
    rows: Axis,
    map: [usize; 2],
    size: [u32; 2],
}

impl Restore {
    /// The map at the picture's size, row by row.
    pub fn values(&self, map: &[f32]) -> Vec<f32> {
        let mut values = Vec::new();
        self.each_row(map, |_, row| values.extend_from_slice(row));
        values
    }

    /// Where the map is above 0.
    ///
    /// # Errors
    /// [`ImageError::Size`] if the map has another size than announced.
    pub fn mask(&self, map: &[f32]) -> Result<Mask, ImageError> {
        let mut on = Vec::with_capacity(self.size[0] as usize * self.size[1] as usize);
        self.each_row(map, |_, row| on.extend(row.iter().map(|&v| v > 0.0)));
        Mask::new(self.size[0], self.size[1], on)
    }

    /// The smallest box around what is above 0.
    pub fn bounding_box(&self, map: &[f32]) -> Option<PixelBox> {
        let mut found: Option<PixelBox> = None;
        self.each_row(map, |y, row| {
            let Some(first) = row.iter().position(|&v| v > 0.0) else { return };
            let last = row.iter().rposition(|&v| v > 0.0).unwrap_or(first);
            let here = PixelBox { x0: first as u32, y0: y, x1: last as u32, y1: y };
            found = Some(found.map_or(here, |b| PixelBox {
                x0: b.x0.min(here.x0),
                y0: b.y0,
                x1: b.x1.max(here.x1),
                y1: y,
            }));
        });
        found
    }

    /// The place of the largest value, the first in row order.
    pub fn arg_max(&self, map: &[f32]) -> [u32; 2] {
        let mut best = (f32::NEG_INFINITY, [0, 0]);
        self.each_row(map, |y, row| {
            for (x, &value) in (0u32..).zip(row) {
                if value > best.0 {
                    best = (value, [x, y]);
                }
            }
        });
        best.1
    }

    fn each_row(&self, map: &[f32], mut visit: impl FnMut(u32, &[f32])) {
        let [columns, rows] = self.map;
        if map.len() != columns * rows {
            return;
        }
        let width = self.size[0] as usize;
        let mut wide = vec![0.0; rows * width];
        for (from, to) in map.chunks_exact(columns).zip(wide.chunks_exact_mut(width)) {
            self.columns.apply(from, to);
        }
        let mut row = vec![0.0; width];
        for y in 0..self.size[1] {
            self.rows.blend(y as usize, &wide, &mut row);
            visit(y, &row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_fills_the_input() {
        assert_eq!(Letterbox::new(384, 288, 1024).scaled(), [1024, 768]);
        assert_eq!(Letterbox::new(251, 333, 1024).scaled(), [772, 1024]);
        assert_eq!(Letterbox::new(3840, 2160, 1024).scaled(), [1024, 576]);
    }

    #[test]
    fn trimming_cuts_the_padding_and_nothing_else() {
        let whole = Letterbox::new(384, 270, 1024);
        let trimmed = whole.clone().trimmed(32);
        assert_eq!(trimmed.canvas(), [1024, 736]);
        assert_eq!(trimmed.scaled(), whole.scaled());
        assert_eq!(trimmed.to_input(10.0, 20.0), whole.to_input(10.0, 20.0));
        // A map's rows that lie within the picture come back to the same places.
        let value = |x: usize, y: usize| ((x * 7 + y * 13) % 11) as f32;
        let map = |rows: usize| -> Vec<f32> {
            (0..rows * 64).map(|place| value(place % 64, place / 64)).collect()
        };
        let long = whole.restore([64, 64], 1).values(&map(64));
        let short = trimmed.restore([64, 46], 1).values(&map(46));
        let apart = long.iter().zip(&short).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{apart}");
    }

    #[test]
    fn no_side_vanishes() {
        assert_eq!(Letterbox::new(10_000, 1, 1024).scaled(), [1024, 1]);
        assert_eq!(Letterbox::new(1, 1, 256).scaled(), [256, 256]);
    }

    #[test]
    fn a_constant_map_stays_constant() {
        let letterbox = Letterbox::new(37, 23, 1024);
        let values = letterbox.restore([64; 2], 4).values(&vec![2.5; 64 * 64]);
        assert_eq!(values.len(), 37 * 23);
        assert!(values.iter().all(|v| (v - 2.5).abs() < 1e-6));
    }

    #[test]
    fn box_mask_and_peak_agree() {
        let letterbox = Letterbox::new(100, 60, 1024);
        let mut map = vec![-1.0; 64 * 64];
        map[10 * 64 + 30] = 9.0;
        let restore = letterbox.restore([64; 2], 1);
        let mask = restore.mask(&map).expect("sizes agree");
        assert_eq!(mask.bounding_box(), restore.bounding_box(&map));
        let [x, y] = restore.arg_max(&map);
        assert!(mask.data()[(y * 100 + x) as usize]);
        assert_eq!(x, 47);
    }
}
