use super::ObjectId;

/// Colours of objects 1 to 8. No tissue has them, and any two differ by 30 or more in CIELAB for
/// normal sight, protanopes and deuteranopes.
const COLORS: [[u8; 3]; super::MAX_OBJECTS] = [
    [0, 255, 128],
    [0, 128, 255],
    [255, 255, 0],
    [128, 64, 144],
    [128, 255, 255],
    [0, 0, 255],
    [0, 128, 64],
    [64, 192, 255],
];

/// The colour of an object.
pub fn object_color(object: ObjectId) -> [u8; 3] {
    let place = usize::from(object).saturating_sub(1) % COLORS.len();
    COLORS.get(place).copied().unwrap_or([0, 255, 128])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What protanopes and deuteranopes see, in linear RGB (Machado, Oliveira and Fernandes 2009).
    const SIGHT: [[[f64; 3]; 3]; 3] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    ];

    fn times(matrix: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum())
    }

    fn lab(color: [u8; 3], sight: &[[f64; 3]; 3]) -> [f64; 3] {
        let linear = color.map(|v| {
            let v = f64::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        });
        let seen = times(sight, linear).map(|v| v.clamp(0.0, 1.0));
        let to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]];
        let [x, y, z] = times(&to_xyz, seen);
        let f = |v: f64| if v > 0.008856 { v.cbrt() } else { 7.787 * v + 16.0 / 116.0 };
        let (x, y, z) = (f(x / 0.9505), f(y), f(z / 1.089));
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn colours_are_told_apart_by_everyone() {
        for sight in &SIGHT {
            for (i, a) in COLORS.iter().enumerate() {
                for b in &COLORS[..i] {
                    let (p, q) = (lab(*a, sight), lab(*b, sight));
                    let apart = p.iter().zip(q).map(|(p, q)| (p - q).powi(2)).sum::<f64>().sqrt();
                    assert!(apart >= 30.0, "{a:?} and {b:?}: {apart:.1}");
                }
            }
        }
    }
}
