//! One-dimensional resampling as a few weights for each output position.

/// For each output position, the first input position and the weights from there on.
#[derive(Clone, Debug)]
pub struct Axis {
    taps: Vec<Taps>,
}

#[derive(Clone, Debug)]
struct Taps {
    first: usize,
    weights: Vec<f64>,
}

impl Axis {
    /// Bilinear interpolation with half-pixel centres and clamped ends, without antialiasing
    /// (PyTorch's `align_corners=False`).
    pub fn bilinear(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let taps = (0..to)
            .map(|index| {
                let place = ((index as f64 + 0.5) * scale - 0.5).max(0.0);
                let first = (place as usize).min(from - 1);
                let rest = place - first as f64;
                let weights = if first + 1 < from { vec![1.0 - rest, rest] } else { vec![1.0] };
                Taps { first, weights }
            })
            .collect();
        Self { taps }
    }

    /// The map that first applies `before`, then this one.
    pub fn after(&self, before: &Self) -> Self {
        let taps = self
            .taps
            .iter()
            .map(|outer| {
                let inner = || before.taps.iter().skip(outer.first).zip(&outer.weights);
                let first = inner().map(|(t, _)| t.first).min().unwrap_or(0);
                let end = inner().map(|(t, _)| t.first + t.weights.len()).max().unwrap_or(first);
                let mut weights = vec![0.0; end - first];
                for (taps, outer_weight) in inner() {
                    for (slot, weight) in
                        weights[taps.first - first..].iter_mut().zip(&taps.weights)
                    {
                        *slot += outer_weight * weight;
                    }
                }
                Taps { first, weights }
            })
            .collect();
        Self { taps }
    }

    /// Keeps the first `length` output positions.
    pub fn truncate(&mut self, length: usize) {
        self.taps.truncate(length);
    }

    /// Resamples one line.
    pub fn apply(&self, from: &[f32], to: &mut [f32]) {
        for (slot, taps) in to.iter_mut().zip(&self.taps) {
            let sum: f64 = from[taps.first..]
                .iter()
                .zip(&taps.weights)
                .map(|(&value, weight)| f64::from(value) * weight)
                .sum();
            *slot = sum as f32;
        }
    }

    /// Output line `index` of a picture whose lines are the input positions.
    pub fn blend(&self, index: usize, lines: &[f32], to: &mut [f32]) {
        let taps = &self.taps[index];
        let width = to.len();
        to.fill(0.0);
        for (line, &weight) in lines[taps.first * width..].chunks_exact(width).zip(&taps.weights) {
            let weight = weight as f32;
            for (slot, &value) in to.iter_mut().zip(line) {
                *slot += value * weight;
            }
        }
    }
}

/// A map of `size` (width, height) at `to` (columns, rows), bilinearly without antialiasing.
pub fn resize_bilinear(values: &[f32], size: [u32; 2], to: [usize; 2]) -> Vec<f32> {
    let [width, height] = size.map(|length| length as usize);
    let (columns, rows) = (Axis::bilinear(width, to[0]), Axis::bilinear(height, to[1]));
    let mut narrow = vec![0.0; height * to[0]];
    for (from, line) in values.chunks_exact(width).zip(narrow.chunks_exact_mut(to[0])) {
        columns.apply(from, line);
    }
    let mut resized = vec![0.0; to[0] * to[1]];
    for (index, row) in resized.chunks_exact_mut(to[0]).enumerate() {
        rows.blend(index, &narrow, row);
    }
    resized
}
