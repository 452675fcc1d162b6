use nalgebra::{Matrix4, Point3, Vector3};

/// Where the voxels of a volume lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// From column, row and slice, at the voxels' centres, to millimetres.
    affine: Matrix4<f64>,
    inverse: Matrix4<f64>,
}

impl Geometry {
    /// `None` if the axes do not span the space, or are no numbers.
    pub fn new(affine: Matrix4<f64>) -> Option<Self> {
        if !affine.iter().all(|v| v.is_finite()) {
            return None;
        }
        Some(Self { affine, inverse: affine.try_inverse()? })
    }

    /// From the centre of the first voxel, and the steps from column to column, from row to row and
    /// from slice to slice.
    pub fn of_steps(origin: Vector3<f64>, steps: [Vector3<f64>; 3]) -> Option<Self> {
        let mut affine = Matrix4::identity();
        for (column, step) in steps.iter().chain([&origin]).enumerate() {
            affine.fixed_view_mut::<3, 1>(0, column).copy_from(step);
        }
        Self::new(affine)
    }

    /// The matrix.
    pub fn affine(&self) -> &Matrix4<f64> {
        &self.affine
    }

    /// Where a voxel lies.
    pub fn place(&self, voxel: [f64; 3]) -> Point3<f64> {
        self.affine.transform_point(&Point3::from(voxel))
    }

    /// Which voxel lies there: column, row, slice.
    pub fn voxel(&self, place: &Point3<f64>) -> [f64; 3] {
        self.inverse.transform_point(place).coords.into()
    }

    /// The step along an axis.
    pub fn step(&self, axis: usize) -> Vector3<f64> {
        self.affine.fixed_view::<3, 1>(0, axis).into()
    }

    /// Distances of neighbours in millimetres: columns, rows, slices. Of slices that are shifted
    /// against each other it is the distance of their planes.
    pub fn spacing(&self) -> [f64; 3] {
        let [column, row] = [self.step(0), self.step(1)];
        let normal = column.cross(&row).normalize();
        [column.norm(), row.norm(), self.step(2).dot(&normal).abs()]
    }

    /// Volume of a voxel in millilitres.
    pub fn millilitres(&self) -> f64 {
        self.affine.fixed_view::<3, 3>(0, 0).determinant().abs() / 1000.0
    }
}
