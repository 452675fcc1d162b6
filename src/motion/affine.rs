/// An affine map of the plane, `[[a, b, tx], [c, d, ty]]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine(pub [[f64; 3]; 2]);

impl Affine {
    /// Leaves everything where it is.
    pub const IDENTITY: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);

    /// Where a place goes.
    pub fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        self.0.map(|[a, b, t]| a * x + b * y + t)
    }

    /// This map and then another.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        let [p, q] = self.0;
        Self(
            next.0.map(|[a, b, t]| {
                [a * p[0] + b * q[0], a * p[1] + b * q[1], a * p[2] + b * q[2] + t]
            }),
        )
    }

    /// The map back; `None` if this one flattens the plane or is not finite.
    pub fn inverse(&self) -> Option<Self> {
        let [[a, b, tx], [c, d, ty]] = self.0;
        let det = a * d - b * c;
        if !(det.is_finite() && det.abs() > 1e-9 && tx.is_finite() && ty.is_finite()) {
            return None;
        }
        let [a, b, c, d] = [d / det, -b / det, -c / det, a / det];
        Some(Self([[a, b, -(a * tx + b * ty)], [c, d, -(c * tx + d * ty)]]))
    }

    /// The map a share of the way from this one to another: 0 is this one, 1 the other.
    #[must_use]
    pub fn between(&self, other: &Self, share: f64) -> Self {
        let mut out = *self;
        for (row, to) in out.0.iter_mut().zip(other.0) {
            for (value, to) in row.iter_mut().zip(to) {
                *value += (to - *value) * share;
            }
        }
        out
    }
}
