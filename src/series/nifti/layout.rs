use nalgebra::{Matrix4, Vector3};

use crate::series::Axis;

/// How slices lie in the file's array: for column, row and slice the axis of the array, and whether it
/// is counted from its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    pub axes: [usize; 3],
    pub flipped: [bool; 3],
    pub dims: [usize; 3],
}

/// How far an axis of the array runs along a direction, of length 1.
fn along(affine: &Matrix4<f64>, axis: usize, direction: &Vector3<f64>) -> f64 {
    let step: Vector3<f64> = affine.fixed_view::<3, 1>(0, axis).into();
    step.dot(direction) / step.norm().max(f64::MIN_POSITIVE)
}

impl Layout {
    /// The array as it is.
    pub fn plain(dims: [usize; 3]) -> Self {
        Self { axes: [0, 1, 2], flipped: [false; 3], dims }
    }

    /// Slices as a viewer shows them: the patient's left on the right, the front or the head above.
    pub fn shown(affine: &Matrix4<f64>, dims: [usize; 3], axis: Axis) -> Self {
        // How far an axis of the array runs along left, back and head.
        let along = |axis: usize, way: usize| {
            let mut direction = Vector3::zeros();
            direction[way] = 1.0;
            along(affine, axis, &direction)
        };
        let most = |way: usize, from: &[usize]| {
            let by =
                |a: &&usize, b: &&usize| along(**a, way).abs().total_cmp(&along(**b, way).abs());
            from.iter().max_by(by).copied().unwrap_or(0)
        };
        let way = match axis {
            Axis::Sagittal => 0,
            Axis::Coronal => 1,
            Axis::Axial => 2,
            Axis::Acquired => {
                let by = |a: &usize, b: &usize| along(2, *a).abs().total_cmp(&along(2, *b).abs());
                (0..3).max_by(by).unwrap_or(2)
            }
        };
        let slice = match axis {
            Axis::Acquired => 2,
            _ => most(way, &[0, 1, 2]),
        };
        let rest: Vec<usize> = (0..3).filter(|a| *a != slice).collect();
        // Columns go to the left, or to the back of sagittal slices; rows to the back, or down.
        let column = most(if way == 0 { 1 } else { 0 }, &rest);
        let row = rest.into_iter().find(|a| *a != column).unwrap_or(0);
        let down = way != 2;
        let flipped = [
            along(column, if way == 0 { 1 } else { 0 }) < 0.0,
            if down { along(row, 2) > 0.0 } else { along(row, 1) < 0.0 },
            along(slice, way) < 0.0,
        ];
        Self { axes: [column, row, slice], flipped, dims }
    }

    /// The axes that run most nearly as another volume's columns, rows and slices.
    pub fn like(affine: &Matrix4<f64>, dims: [usize; 3], ways: [Vector3<f64>; 3]) -> Self {
        let ways = ways.map(|way| way.normalize());
        let choices = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let fit = |axes: &[usize; 3]| -> f64 {
            axes.iter().zip(&ways).map(|(axis, way)| along(affine, *axis, way).abs()).sum()
        };
        let best = choices.into_iter().max_by(|a, b| fit(a).total_cmp(&fit(b)));
        let axes = best.unwrap_or([0, 1, 2]);
        let flipped = [0, 1, 2].map(|way| along(affine, axes[way], &ways[way]) < 0.0);
        Self { axes, flipped, dims }
    }

    /// Columns, rows, slices.
    pub fn size(&self) -> [usize; 3] {
        self.axes.map(|axis| self.dims[axis])
    }

    /// Where a voxel lies in the array.
    pub fn index(&self, voxel: [usize; 3]) -> [usize; 3] {
        let mut index = [0; 3];
        for (way, &axis) in self.axes.iter().enumerate() {
            index[axis] = match self.flipped[way] {
                true => self.dims[axis] - 1 - voxel[way],
                false => voxel[way],
            };
        }
        index
    }

    /// From column, row and slice to the array.
    pub fn matrix(&self) -> Matrix4<f64> {
        let mut matrix = Matrix4::zeros();
        matrix[(3, 3)] = 1.0;
        for (way, &axis) in self.axes.iter().enumerate() {
            let flipped = self.flipped[way];
            matrix[(axis, way)] = if flipped { -1.0 } else { 1.0 };
            matrix[(axis, 3)] = if flipped { self.dims[axis] as f64 - 1.0 } else { 0.0 };
        }
        matrix
    }
}
