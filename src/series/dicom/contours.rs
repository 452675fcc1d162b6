//! Pixels within polygons.

/// How near a pixel's centre is to an edge that runs through it, in pixels: contours are written through
/// the centres of border pixels, with decimals that are rounded.
const EDGE: f64 = 1e-3;

/// A slice's pixels.
#[derive(Clone)]
pub struct Canvas {
    width: usize,
    pub data: Vec<bool>,
}

impl Canvas {
    pub fn new([width, height]: [usize; 2]) -> Self {
        Self { width, data: vec![false; width * height] }
    }

    /// The pixels whose centres lie within a polygon or on its edge; where it crosses itself, those that
    /// are enclosed an odd number of times. What lies beside the slice is cut off.
    pub fn polygon(size: [usize; 2], points: &[[f64; 2]]) -> Self {
        let mut canvas = Self::new(size);
        let [width, height] = size;
        // Every edge turns over all that lies to the right of it; one cell more than there are pixels.
        let mut turned = vec![false; (width + 1) * height];
        let edges = || points.iter().zip(points.iter().cycle().skip(1));
        for (a, b) in edges() {
            let (low, high) = if a[1] <= b[1] { (a, b) } else { (b, a) };
            for row in rows(low[1].ceil(), high[1].ceil() - 1.0, height) {
                let y = row as f64;
                let x = low[0] + (y - low[1]) / (high[1] - low[1]) * (high[0] - low[0]);
                let column = x.ceil().clamp(0.0, width as f64) as usize;
                turned[row * (width + 1) + column] ^= true;
            }
        }
        for (line, turned) in
            canvas.data.chunks_exact_mut(width).zip(turned.chunks_exact(width + 1))
        {
            let mut inside = false;
            for (pixel, turned) in line.iter_mut().zip(turned) {
                inside ^= turned;
                *pixel = inside;
            }
        }
        for (a, b) in edges() {
            canvas.edge(*a, *b);
        }
        canvas
    }

    /// Marks the pixels whose centres an edge runs through.
    fn edge(&mut self, a: [f64; 2], b: [f64; 2]) {
        let [width, height] = [self.width, self.data.len() / self.width];
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length = dx.hypot(dy);
        let away = |column: usize, row: usize| {
            let (x, y) = (column as f64 - a[0], row as f64 - a[1]);
            let along = match length > 0.0 {
                true => ((x * dx + y * dy) / length / length).clamp(0.0, 1.0),
                false => 0.0,
            };
            (x - along * dx).hypot(y - along * dy)
        };
        // Along the longer side there is one candidate a column or row.
        if dx.abs() >= dy.abs() {
            let (low, high) = (a[0].min(b[0]), a[0].max(b[0]));
            for column in rows((low - EDGE).ceil(), (high + EDGE).floor(), width) {
                let share = if dx == 0.0 { 0.0 } else { (column as f64 - a[0]) / dx };
                let y = (a[1] + share.clamp(0.0, 1.0) * dy).round();
                if let Some(row) = rows(y, y, height).next()
                    && away(column, row) <= EDGE
                {
                    self.data[row * width + column] = true;
                }
            }
        } else {
            let (low, high) = (a[1].min(b[1]), a[1].max(b[1]));
            for row in rows((low - EDGE).ceil(), (high + EDGE).floor(), height) {
                let share = ((row as f64 - a[1]) / dy).clamp(0.0, 1.0);
                let x = (a[0] + share * dx).round();
                if let Some(column) = rows(x, x, width).next()
                    && away(column, row) <= EDGE
                {
                    self.data[row * width + column] = true;
                }
            }
        }
    }

    /// Takes the pixels of another one in.
    pub fn join(&mut self, other: &Self) {
        self.data.iter_mut().zip(&other.data).for_each(|(a, b)| *a |= b);
    }

    /// Turns the pixels of another one over.
    pub fn turn(&mut self, other: &Self) {
        self.data.iter_mut().zip(&other.data).for_each(|(a, b)| *a ^= b);
    }

    /// Whether all pixels of another one, which has some, are in it.
    pub fn holds(&self, other: &Self) -> bool {
        other.data.contains(&true) && self.data.iter().zip(&other.data).all(|(a, b)| *a || !b)
    }
}

/// The whole numbers from one to another that are below a count.
fn rows(first: f64, last: f64, count: usize) -> std::ops::Range<usize> {
    let end = (last + 1.0).clamp(0.0, count as f64) as usize;
    (first.clamp(0.0, count as f64) as usize)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(size: [usize; 2], points: &[[f64; 2]]) -> usize {
        Canvas::polygon(size, points).data.iter().filter(|on| **on).count()
    }

    #[test]
    fn a_pixel_is_inside_by_its_centre_and_on_an_edge_too() {
        let square = [[0.5, 0.5], [8.5, 0.5], [8.5, 8.5], [0.5, 8.5]];
        assert_eq!(count([10, 10], &square), 64);
        // Through the centres of the outermost pixels, either way round and a little to either side.
        for aside in [0.0, 4e-4, -4e-4] {
            let (low, high) = (2.0 + aside, 6.0 - aside);
            let mut square = [[low, low], [high, low], [high, high], [low, high]];
            assert_eq!(count([10, 10], &square), 25, "{aside}");
            square.reverse();
            assert_eq!(count([10, 10], &square), 25, "{aside}");
            let diamond = [[5.0, low], [high, 4.0], [5.0, high], [4.0, 4.0]];
            assert_eq!(count([10, 10], &diamond), 7, "{aside}");
        }
        assert_eq!(count([10, 10], &[[2.01, 2.01], [5.99, 2.01], [5.99, 5.99], [2.01, 5.99]]), 9);
        // A line and a point have no inside but what they run through.
        assert_eq!(count([10, 10], &[[1.0, 1.0], [4.0, 4.0], [2.5, 2.5]]), 4);
        assert_eq!(count([10, 10], &[[3.0, 3.0], [3.0, 3.0], [3.0, 3.0]]), 1);
    }

    #[test]
    fn polygons_are_cut_at_the_picture_and_may_cross_themselves() {
        assert_eq!(count([4, 4], &[[-5.0, -5.0], [9.0, -5.0], [9.0, 9.0], [-5.0, 9.0]]), 16);
        assert_eq!(
            count([4, 4], &[[-1e30, -1e30], [1e30, -1e30], [1e30, 1e30], [-1e30, 1e30]]),
            16
        );
        assert_eq!(count([4, 4], &[[-9.0, 1.0], [-5.0, 1.0], [-5.0, 3.0]]), 0);
        assert_eq!(count([4, 4], &[[9.0, 1.0], [15.0, 1.0], [15.0, 3.0]]), 0);
        let bow = Canvas::polygon([10, 10], &[[0.0, 0.0], [9.0, 9.0], [9.0, 0.0], [0.0, 9.0]]);
        assert!(bow.data[5 * 10 + 1] && bow.data[5 * 10 + 8] && !bow.data[10 + 4]);
    }

    #[test]
    fn pixels_are_joined_and_turned_over() {
        let outer = Canvas::polygon([8, 8], &[[0.5, 0.5], [6.5, 0.5], [6.5, 6.5], [0.5, 6.5]]);
        let inner = Canvas::polygon([8, 8], &[[2.5, 2.5], [4.5, 2.5], [4.5, 4.5], [2.5, 4.5]]);
        assert!(outer.holds(&inner) && !inner.holds(&outer) && !outer.holds(&Canvas::new([8, 8])));
        let (mut joined, mut turned) = (outer.clone(), outer);
        joined.join(&inner);
        turned.turn(&inner);
        let count = |canvas: &Canvas| canvas.data.iter().filter(|on| **on).count();
        assert_eq!([count(&joined), count(&turned)], [36, 32]);
    }
}
