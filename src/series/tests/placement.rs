//! Masks lie where their millimetres say, however volume and mask are turned, mirrored and spaced.

use ::nifti::NiftiHeader;
use ::nifti::writer::WriterOptions;
use nalgebra::{Matrix4, Point3, Rotation3, Vector3};
use ndarray::Array3;
use proptest::prelude::*;

use super::*;
use crate::properties::cases;

/// Voxels whose nearest neighbour in the mask is another one by so little are left out, in voxels: headers
/// hold 32-bit floats.
const UNDECIDED: f64 = 1e-3;

/// An array in space: its sides, and where its voxels lie, right, front and head in mm.
#[derive(Clone, Debug)]
struct Grid {
    dims: [usize; 3],
    affine: Matrix4<f64>,
}

/// Any rotation, spacing and mirroring, the middle of the array near the origin.
fn grids() -> impl Strategy<Value = Grid> {
    let dims = (3usize..=9, 3usize..=9, 2usize..=7);
    let turn = prop::array::uniform3(-3.2f64..3.2);
    let spacing = prop::array::uniform3(prop_oneof![0.6f64..3.0, -3.0f64..-0.6]);
    let middle = prop::array::uniform3(-3.0f64..3.0);
    (dims, turn, spacing, middle).prop_map(|(dims, [roll, pitch, yaw], spacing, middle)| {
        let dims = [dims.0, dims.1, dims.2];
        let turned = Rotation3::from_euler_angles(roll, pitch, yaw).to_homogeneous();
        let mut affine = turned * Matrix4::new_nonuniform_scaling(&spacing.into());
        let centre = Point3::from(dims.map(|side| (side as f64 - 1.0) / 2.0));
        let shift = Vector3::from(middle) - affine.transform_point(&centre).coords;
        affine = Matrix4::new_translation(&shift) * affine;
        // As the header holds it.
        Grid { dims, affine: affine.map(|value| f64::from(value as f32)) }
    })
}

fn write(path: &Path, grid: &Grid, values: &Array3<f32>) {
    let mut header = NiftiHeader::default();
    let row = |row: usize| std::array::from_fn(|column| grid.affine[(row, column)] as f32);
    [header.srow_x, header.srow_y, header.srow_z] = [row(0), row(1), row(2)];
    header.sform_code = 1;
    for axis in 0..3 {
        header.pixdim[axis + 1] = grid.affine.fixed_view::<3, 1>(0, axis).norm() as f32;
    }
    header.xyzt_units = 2;
    WriterOptions::new(path).reference_header(&header).write_nifti(values).unwrap();
}

/// The voxel of a grid whose centre is nearest to a place, if that lies within the grid. `Err` where a
/// little more or less would make it another one.
fn nearest(grid: &Grid, place: Point3<f64>) -> Result<Option<[usize; 3]>, ()> {
    let at = grid.affine.try_inverse().unwrap().transform_point(&place);
    let undecided = |at: f64| ((at - 0.5).round() - (at - 0.5)).abs() < UNDECIDED;
    if at.iter().any(|at| undecided(*at)) {
        return Err(());
    }
    let inside =
        (0..3).all(|axis| (0.0..grid.dims[axis] as f64).contains(&(at[axis].round() + 0.0)));
    Ok(inside.then(|| std::array::from_fn(|axis| at[axis].round() as usize)))
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_mask_marks_the_voxels_at_its_own_place(
        volume in grids(), mask in grids(), marked in prop::collection::vec(any::<bool>(), 9 * 9 * 7),
        axis in prop::sample::select(vec![Axis::Acquired, Axis::Axial, Axis::Coronal, Axis::Sagittal]),
    ) {
        prop_assume!(volume.dims != mask.dims);
        let folder = tempfile::tempdir().unwrap();
        let [image, marks, out] = ["volume.nii", "mask.nii", "out.nii"].map(|n| folder.path().join(n));
        write(&image, &volume, &Array3::from_shape_fn(volume.dims, |(x, y, z)| (x + y + z) as f32));
        let is_marked = |[x, y, z]: [usize; 3]| marked[(x * 9 + y) * 7 + z];
        let value = |(x, y, z)| f32::from(u8::from(is_marked([x, y, z])));
        write(&marks, &mask, &Array3::from_shape_fn(mask.dims, value));

        let opened = Volume::open(&image, &VolumeOptions { axis, ..VolumeOptions::default() }).unwrap();
        let mut expected = Array3::from_elem(volume.dims, Ok(false));
        for ((x, y, z), expected) in expected.indexed_iter_mut() {
            let place = volume.affine.transform_point(&Point3::new(x as f64, y as f64, z as f64));
            *expected = nearest(&mask, place).map(|voxel| voxel.is_some_and(is_marked));
        }
        match open_masks(&marks, &opened, None, Foreground::AboveZero) {
            Ok(masks) => {
                // Written on the volume's own array, so that no order of slices stands between.
                write_nifti(&out, &opened, &masks.masks).unwrap();
                let bytes = std::fs::read(&out).unwrap();
                let [sx, sy, sz] = volume.dims;
                let voxels = &bytes[bytes.len() - sx * sy * sz..];
                for ((x, y, z), expected) in expected.indexed_iter() {
                    if let Ok(expected) = expected {
                        let found = voxels[(z * sy + y) * sx + x] != 0;
                        prop_assert_eq!(found, *expected, "voxel {} {} {}", x, y, z);
                    }
                }
            }
            Err(error) => {
                prop_assert!(error.to_string().contains("marks nothing"), "{error}");
                prop_assert!(expected.iter().all(|expected| *expected != Ok(true)));
            }
        }
    }
}
