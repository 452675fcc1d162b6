use std::path::Path;

use ::nifti::NiftiHeader;
use ::nifti::writer::WriterOptions;
use ndarray::Array3;

use super::*;

fn nifti(path: &Path, steps: [[f32; 4]; 3], values: &Array3<f32>) {
    let mut header = NiftiHeader::default();
    [header.srow_x, header.srow_y, header.srow_z] = steps;
    header.sform_code = 1;
    for axis in 0..3 {
        header.pixdim[axis + 1] = steps.iter().map(|row| row[axis].powi(2)).sum::<f32>().sqrt();
    }
    WriterOptions::new(path).reference_header(&header).write_nifti(values).unwrap();
}

#[test]
fn nifti_is_shown_as_the_patient_lies_whatever_its_axes() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("volume.nii.gz");
    // The array runs head, right, back: a bright voxel far on the patient's left, front and head.
    let mut values = Array3::<f32>::zeros((6, 8, 10));
    values[[5, 0, 0]] = 1000.0;
    let steps = [[0.0, 2.0, 0.0, -7.0], [0.0, 0.0, -3.0, 5.0], [4.0, 0.0, 0.0, 0.0]];
    nifti(&path, steps, &values);
    let bright = |axis| {
        let volume = Volume::open(&path, &VolumeOptions { axis, ..options() }).unwrap();
        let mut found = Vec::new();
        for slice in volume.range() {
            let frame = volume.frame(slice).unwrap();
            let pixels = frame.rgb().chunks_exact(3).enumerate();
            let width = frame.width() as usize;
            found.extend(
                pixels.filter(|(_, p)| p[0] > 200).map(|(i, _)| [i % width, i / width, slice]),
            );
        }
        (volume.spacing().unwrap(), volume.size(), found)
    };
    // The left is on the right, the front above; slices go from foot to head.
    assert_eq!(bright(Axis::Axial), ([2.0, 3.0, 4.0], [8, 10], vec![[7, 0, 5]]));
    // The head is above; slices go from front to back.
    assert_eq!(bright(Axis::Coronal), ([2.0, 4.0, 3.0], [8, 6], vec![[7, 0, 0]]));
    // The back is on the right; slices go from right to left.
    assert_eq!(bright(Axis::Sagittal), ([3.0, 4.0, 2.0], [10, 6], vec![[0, 0, 7]]));
    assert_eq!(bright(Axis::Acquired).1, [8, 6]);
}

#[test]
fn masks_keep_the_grid_of_their_nifti_whichever_way_it_was_cut() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("volume.nii");
    let steps = [[0.0, 2.0, 0.0, -7.0], [0.0, 0.0, -3.0, 5.0], [4.0, 0.0, 0.0, 0.0]];
    nifti(&path, steps, &Array3::from_elem((6, 9, 10), 7.0));
    for axis in [Axis::Acquired, Axis::Axial, Axis::Coronal, Axis::Sagittal] {
        let volume = Volume::open(&path, &VolumeOptions { axis, ..options() }).unwrap();
        let masks = rectangles(&volume, &[1, 2]);
        for name in ["mask.nii.gz", "mask.nii"] {
            let mask = out.path().join(name);
            write_nifti(&mask, &volume, &masks).unwrap();
            assert_eq!(masks_of(&mask, &volume).unwrap(), masks, "{axis:?}");
            // Cut another way, the same voxels are marked.
            let other = VolumeOptions { axis: Axis::Axial, ..options() };
            let again = masks_of(&mask, &Volume::open(&path, &other).unwrap()).unwrap();
            assert_eq!(marked_voxels(&again), marked_voxels(&masks));
        }
    }
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 3);
}

#[test]
fn a_nifti_mask_marks_a_dicom_series_by_place() {
    let folder = series(5, |_| {});
    let volume = open(folder.path()).unwrap();
    let masks = rectangles(&volume, &[2, 3]);
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("mask.nii.gz");
    write_nifti(&path, &volume, &masks).unwrap();
    assert_eq!(masks_of(&path, &volume).unwrap(), masks);
    let header = NiftiHeader::from_file(&path).unwrap();
    // Right, front and head: the first voxel lies 10 to the right and 20 to the front of 0.
    let place = [header.srow_x[3], header.srow_y[3], header.srow_z[3]];
    assert_eq!(place, [10.0, 20.0, 30.0]);
    let away = series(5, |made| made.position[0] += 500.0);
    assert!(message(masks_of(&path, &open(away.path()).unwrap())).contains("marks nothing"));
}

#[test]
fn nifti_files_that_lie_are_errors() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("volume.nii");
    let steps = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    nifti(&path, steps, &Array3::zeros((4, 4, 4)));
    let bytes = std::fs::read(&path).unwrap();
    // Sides of 32767 voxels.
    let mut huge = bytes.clone();
    for side in 0..3 {
        huge[42 + 2 * side..44 + 2 * side].copy_from_slice(&32767u16.to_le_bytes());
    }
    std::fs::write(&path, &huge).unwrap();
    assert!(message(open(&path)).contains("cut off"));
    // As long as it says, most of it a hole.
    huge[46..48].copy_from_slice(&300u16.to_le_bytes());
    std::fs::write(&path, &huge).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(352 + 4 * 32767 * 32767 * 300).unwrap();
    assert!(message(open(&path)).contains("MiB of memory"));
    drop(file);
    for length in (0..bytes.len()).step_by(5) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(message(open(&path)).contains("volume.nii"));
    }
    for place in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 255;
        std::fs::write(&path, &bytes).unwrap();
        let _ = open(&path).and_then(|volume| volume.frame(0));
    }
    assert!(message(open(Path::new("nowhere/x.nii.gz"))).contains("nowhere/x.nii.gz"));
}
