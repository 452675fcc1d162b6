use nalgebra::{Matrix3, Matrix4, Point3, Vector3};

/// What counts as exactly between two voxels: coordinates of voxels carry rounding from conversions of
/// units and of decimal strings.
const TIE: f64 = 1e-4;

/// Where the voxels of a volume lie: a plane for every slice, each in a place of its own, all with the
/// same steps from column to column and from row to row. Slices are in order along their normal; their
/// distances may differ, and they may be shifted against each other (a tilted gantry).
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// Steps from column to column and from row to row, and the normal of the planes, which has length 1
    /// and points from the first slice to the last.
    steps: Matrix3<f64>,
    inverse: Matrix3<f64>,
    /// The centre of each slice's first pixel, mm.
    origins: Vec<Vector3<f64>>,
    /// How far each slice lies along the normal, mm, rising.
    heights: Vec<f64>,
    /// How much of the normal each slice stands for, mm.
    shares: Vec<f64>,
    /// How far a slice reaches at most, mm from side to side.
    reach: f64,
}

impl Geometry {
    /// From the steps from column to column and from row to row, and the centres of the slices' first
    /// pixels, in order. `thickness` is what a single slice stands for. `None` if the steps span no plane,
    /// the slices are not in the order of a normal, or something is not a number.
    pub fn new(
        [along, down]: [Vector3<f64>; 2],
        origins: Vec<Vector3<f64>>,
        thickness: f64,
    ) -> Option<Self> {
        let mut normal = along.cross(&down).try_normalize(f64::MIN_POSITIVE)?;
        let first = *origins.first()?;
        if (origins.last()? - first).dot(&normal) < 0.0 {
            normal = -normal;
        }
        let heights: Vec<f64> = origins.iter().map(|origin| origin.dot(&normal)).collect();
        let steps = Matrix3::from_columns(&[along, down, normal]);
        let numbers = steps.iter().chain(&heights).chain([&thickness]).all(|v| v.is_finite());
        let rising = heights.windows(2).all(|pair| pair[1] - pair[0] > 1e-9);
        if !numbers || !rising || thickness <= 0.0 {
            return None;
        }
        let gaps: Vec<f64> = heights.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let gap = |index: Option<usize>| index.and_then(|index| gaps.get(index).copied());
        let share = |slice: usize| match (gap(slice.checked_sub(1)), gap(Some(slice))) {
            (Some(below), Some(above)) => (below + above) / 2.0,
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => thickness,
        };
        let shares = (0..origins.len()).map(share).collect();
        let inverse = steps.try_inverse()?;
        Some(Self { steps, inverse, origins, heights, shares, reach: f64::INFINITY })
    }

    /// From a matrix that takes column, row and slice to millimetres.
    pub fn from_affine(affine: &Matrix4<f64>, slices: usize) -> Option<Self> {
        let step = |axis| Vector3::from(affine.fixed_view::<3, 1>(0, axis));
        let origins = (0..slices).map(|slice| step(3) + step(2) * slice as f64).collect();
        let normal = step(0).cross(&step(1)).try_normalize(f64::MIN_POSITIVE)?;
        Self::new([step(0), step(1)], origins, step(2).dot(&normal).abs())
    }

    /// Each slice reaches no further than half of this from its plane, even where the next one is farther.
    pub fn reaching(self, reach: f64) -> Self {
        Self { reach, ..self }
    }

    /// Steps from column to column and from row to row, mm.
    pub fn steps(&self) -> [Vector3<f64>; 2] {
        [self.steps.column(0).into(), self.steps.column(1).into()]
    }

    /// The normal of the planes, towards the last slice.
    pub fn normal(&self) -> Vector3<f64> {
        self.steps.column(2).into()
    }

    /// The centres of the slices' first pixels.
    pub fn origins(&self) -> &[Vector3<f64>] {
        &self.origins
    }

    /// How far each slice lies along the normal, mm.
    pub fn heights(&self) -> &[f64] {
        &self.heights
    }

    /// How much of the normal a slice stands for: to the middles between it and its neighbours, mm.
    pub fn share(&self, slice: usize) -> f64 {
        self.shares[slice]
    }

    /// Where a pixel of a slice lies.
    pub fn place(&self, [column, row]: [f64; 2], slice: usize) -> Point3<f64> {
        let [along, down] = self.steps();
        Point3::from(self.origins[slice] + along * column + down * row)
    }

    /// A place in units of columns, rows and millimetres along the normal, from the patient's origin.
    pub fn local(&self, place: &Vector3<f64>) -> Vector3<f64> {
        self.inverse * place
    }

    /// The slice whose plane is nearest to a height along the normal; `None` beyond the first and the last.
    /// Of two that are equally near it is the upper one.
    pub fn slice_at(&self, height: f64) -> Option<usize> {
        let above = self.heights.partition_point(|own| *own <= height);
        let slice = match (above.checked_sub(1), self.heights.get(above)) {
            (None, _) => 0,
            (Some(below), None) => below,
            (Some(below), Some(next)) => {
                let gap = next - self.heights[below];
                if (height - self.heights[below]) / gap < 0.5 - TIE { below } else { above }
            }
        };
        // The outermost ones reach as far beyond the volume as to their neighbour.
        let beyond = above == 0 || above == self.heights.len();
        let reach = if beyond { self.reach.min(self.shares[slice]) } else { self.reach };
        let away = (height - self.heights[slice]) / reach;
        (-0.5 - TIE..0.5 - TIE).contains(&away).then_some(slice)
    }

    /// A place as a number of a slice, with what lies between two slices in proportion; beyond the first
    /// and the last in steps of the distance there.
    pub fn fraction(&self, place: &Point3<f64>) -> f64 {
        let height = self.local(&place.coords).z;
        let last = self.heights.len() - 1;
        if last == 0 {
            return (height - self.heights[0]) / self.shares[0];
        }
        let below = self.heights.partition_point(|own| *own <= height).clamp(1, last) - 1;
        let gap = self.heights[below + 1] - self.heights[below];
        below as f64 + (height - self.heights[below]) / gap
    }

    /// Distances of neighbours in millimetres: columns, rows, slices (their mean). Of slices that are
    /// shifted against each other it is the distance of their planes.
    pub fn spacing(&self) -> [f64; 3] {
        let [along, down] = self.steps();
        let last = self.heights.len() - 1;
        let between = match last {
            0 => self.shares[0],
            _ => (self.heights[last] - self.heights[0]) / last as f64,
        };
        [along.norm(), down.norm(), between]
    }

    /// The one step from slice to slice, if they lie on a line at equal distances: each within a hundredth
    /// of a step of where equal steps put it.
    pub fn even_step(&self) -> Option<Vector3<f64>> {
        let last = self.origins.len() - 1;
        if last == 0 {
            return Some(self.normal() * self.shares[0]);
        }
        let step = (self.origins[last] - self.origins[0]) / last as f64;
        let even = |(slice, origin): (usize, &Vector3<f64>)| {
            (origin - self.origins[0] - step * slice as f64).norm() <= 0.01 * step.norm()
        };
        self.origins.iter().enumerate().all(even).then_some(step)
    }

    /// Volume of a voxel of a slice in millilitres.
    pub fn millilitres(&self, slice: usize) -> f64 {
        let [along, down] = self.steps();
        along.cross(&down).norm() * self.shares[slice] / 1000.0
    }
}

/// The nearest whole number; of two that are equally near the larger one.
pub fn whole(value: f64) -> f64 {
    (value + 0.5 + TIE).floor()
}

/// The nearest whole number of `0..count`; `None` outside.
pub fn nearest(value: f64, count: usize) -> Option<usize> {
    let whole = whole(value);
    (whole >= 0.0 && whole < count as f64).then_some(whole as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slices of 0.5 x 0.8 mm at these heights.
    fn stack(heights: &[f64]) -> Geometry {
        let origins = heights.iter().map(|z| Vector3::new(-10.0, 5.0, *z)).collect();
        let steps = [Vector3::new(0.5, 0.0, 0.0), Vector3::new(0.0, 0.8, 0.0)];
        Geometry::new(steps, origins, 2.0).unwrap()
    }

    #[test]
    fn slices_are_found_by_their_own_height_and_have_their_own_share() {
        let uneven = stack(&[0.0, 3.0, 6.0, 12.0, 18.0]);
        let at = |height| uneven.slice_at(height);
        assert_eq!(
            [-1.6, -1.5, 1.4, 1.5, 8.9, 9.0].map(at),
            [None, Some(0), Some(0), Some(1), Some(2), Some(3)]
        );
        assert_eq!([20.9, 21.0].map(at), [Some(4), None]);
        assert_eq!([0, 1, 2, 3, 4].map(|slice| uneven.share(slice)), [3.0, 3.0, 4.5, 6.0, 6.0]);
        assert!(uneven.even_step().is_none());
        assert_eq!(uneven.fraction(&Point3::new(0.0, 0.0, 9.0)), 2.5);
        assert_eq!(uneven.fraction(&Point3::new(0.0, 0.0, -3.0)), -1.0);
        assert_eq!(uneven.fraction(&Point3::new(0.0, 0.0, 24.0)), 5.0);
        assert!((uneven.millilitres(2) - 0.0018).abs() < 1e-12);
        let sparse = stack(&[0.0, 30.0]).reaching(3.0);
        assert_eq!(
            [1.4, 1.5, 28.4, 28.5].map(|z| sparse.slice_at(z)),
            [Some(0), None, None, Some(1)]
        );
    }

    #[test]
    fn a_single_slice_stands_for_its_thickness() {
        let one = stack(&[7.0]);
        assert_eq!([5.9, 6.0, 7.9, 8.0].map(|z| one.slice_at(z)), [None, Some(0), Some(0), None]);
        assert_eq!(one.spacing(), [0.5, 0.8, 2.0]);
        assert_eq!(one.even_step(), Some(Vector3::new(0.0, 0.0, 2.0)));
    }

    #[test]
    fn slices_may_go_down_and_what_spans_nothing_is_no_geometry() {
        let down = stack(&[6.0, 3.0, 0.0]);
        assert_eq!(down.normal().z, -1.0);
        assert_eq!(down.slice_at(down.local(&Vector3::new(0.0, 0.0, 0.1)).z), Some(2));
        let steps = [Vector3::new(0.5, 0.0, 0.0), Vector3::new(1.0, 0.0, 0.0)];
        assert!(Geometry::new(steps, vec![Vector3::zeros()], 1.0).is_none());
        let steps = [Vector3::new(0.5, 0.0, 0.0), Vector3::new(0.0, f64::NAN, 0.0)];
        assert!(Geometry::new(steps, vec![Vector3::zeros()], 1.0).is_none());
    }

    #[test]
    fn halves_go_up_however_they_were_rounded() {
        for value in [2.5, 2.5 - 1e-9, 2.5 + 1e-9] {
            assert_eq!(nearest(value, 10), Some(3));
        }
        assert_eq!([-0.5, -0.6, 9.4, 9.5].map(|v| nearest(v, 10)), [Some(0), None, Some(9), None]);
        assert_eq!(nearest(f64::NAN, 10), None);
    }
}
