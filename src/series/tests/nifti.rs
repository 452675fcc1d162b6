use std::path::Path;

use ::nifti::NiftiHeader;
use ::nifti::writer::WriterOptions;
use ndarray::Array3;

use super::*;
use crate::series::volume::Content;

pub fn nifti(path: &Path, steps: [[f32; 4]; 3], values: &Array3<f32>) {
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
    assert_eq!((header.sform_code, header.qform_code, header.xyzt_units), (1, 1, 2));
    let away = series(5, |made| made.position[0] += 500.0);
    assert!(message(masks_of(&path, &open(away.path()).unwrap())).contains("marks nothing"));
}

/// The values and the place of a file as this program sees them: `shown` gives greys of a window.
fn corner(volume: &Volume) -> ([f64; 3], [f64; 3]) {
    // The array's first voxel, whichever way slices are shown.
    let Content::Nifti(_) = &volume.content else { panic!("no NIfTI") };
    let place = volume.geometry.as_ref().unwrap();
    let last = |axis: usize| f64::from(volume.size()[axis]) - 1.0;
    let count = volume.slices() - 1;
    let corners = [0, 1, 2, 3, 4, 5, 6, 7].map(|corner| {
        let [x, y] = [corner & 1, corner >> 1 & 1].map(|bit| bit as f64);
        let slice = if corner >> 2 == 1 { count } else { 0 };
        place.place([x * last(0), y * last(1)], slice).coords.into()
    });
    let least = corners
        .map(|c: [f64; 3]| c)
        .into_iter()
        .fold([f64::MAX; 3], |least, corner| [0, 1, 2].map(|axis| least[axis].min(corner[axis])));
    (least, volume.spacing().unwrap())
}

#[test]
fn places_and_values_are_those_of_itk_and_nibabel() {
    let expected = expected("nifti");
    for name in [
        "plain.nii",
        "members.nii.gz",
        "qfac.nii",
        "CAPITALS.NII.GZ",
        "unpacked.nii.gz",
        "metres.nii",
        "micrometres.nii",
        "big_endian.nii",
    ] {
        let volume = open(&fixture("nifti").join(name)).unwrap();
        let (least, spacing) = corner(&volume);
        let (origin, told) =
            (floats(&expected[name]["origin"]), floats(&expected[name]["spacing"]));
        // The sizes of the array; by the sign of each step its first voxel is the least corner or not.
        let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
        for axis in 0..3 {
            let side = [11.0, 9.0, 5.0][axis] * told[axis];
            let fits = near(least[axis], origin[axis]) || near(least[axis], origin[axis] - side);
            assert!(
                fits && near(spacing[axis], told[axis]),
                "{name}, {axis}: {least:?} {origin:?}"
            );
        }
        assert!(volume.warnings().is_empty(), "{name}: {:?}", volume.warnings());
    }
    let wide = Window::Values { centre: 360.0, width: 720.0 };
    for name in [
        "plain.nii",
        "nan_slope.nii",
        "members.nii.gz",
        "CAPITALS.NII.GZ",
        "unpacked.nii.gz",
        "big_endian.nii",
    ] {
        let options = VolumeOptions { window: wide, ..options() };
        let volume = Volume::open(&fixture("nifti").join(name), &options).unwrap();
        let mut values = floats(&expected[name]["values"]);
        let mut found: Vec<f64> = volume
            .range()
            .flat_map(|slice| {
                volume.frame(slice).unwrap().rgb().chunks_exact(3).map(|p| p[0]).collect::<Vec<_>>()
            })
            .map(f64::from)
            .collect();
        // All values are different: in order they must be the same.
        values.sort_by(f64::total_cmp);
        found.sort_by(f64::total_cmp);
        assert!(
            values.iter().zip(&found).all(|(v, g)| (v * 255.0 / 720.0 - g).abs() <= 1.0),
            "{name}"
        );
    }
}

#[test]
fn what_is_odd_about_a_nifti_file_is_told() {
    let warnings = |name: &str| open(&fixture("nifti").join(name)).unwrap().warnings().join("; ");
    let text = warnings("two_forms.nii");
    assert!(text.contains("up to 12.00 mm apart: the sform is taken"), "{text}");
    let (least, _) = corner(&open(&fixture("nifti/two_forms.nii")).unwrap());
    assert!((least[2] + 40.0).abs() < 1e-3, "{least:?}");
    assert!(warnings("nan_slope.nii").contains("scl_slope is no number"));
    assert!(warnings("no_form.nii").contains("no sform and no qform"));
    // By voxels only where one of them says no place.
    let volume = open(&fixture("nifti/no_form.nii")).unwrap();
    let marks = marks_of(&fixture("nifti/one.nii.gz"), &volume).unwrap();
    assert!(marks.warnings[0].contains("voxel by voxel"), "{:?}", marks.warnings);
    let voxels = expected("nifti")["one"]["voxels"].as_u64().unwrap() as usize;
    assert_eq!(marked_voxels(&marks.masks), voxels);
}

#[test]
fn labels_are_asked_for_and_soft_masks_are_cut_at_the_middle() {
    let told = expected("nifti");
    let volume = open(&fixture("nifti/plain.nii")).unwrap();
    let of = |name: &str, roi: Option<&str>, foreground| {
        open_masks(&fixture("nifti").join(name), &volume, roi, foreground)
    };
    for name in ["labels.nii.gz", "float_labels.nii.gz"] {
        let text = message(of(name, None, Foreground::AboveMiddle));
        assert!(
            text.contains("3 labels") && text.contains("--roi") && text.contains("1, 2, 3"),
            "{text}"
        );
        assert!(text.contains("--foreground any"), "{text}");
        let mut all = 0;
        for label in ["1", "2", "3"] {
            let marks = of(name, Some(label), Foreground::AboveMiddle).unwrap();
            assert_eq!(marked_voxels(&marks.masks) as u64, told["labels"][label].as_u64().unwrap());
            all += marked_voxels(&marks.masks);
        }
        assert_eq!(marked_voxels(&of(name, None, Foreground::AboveZero).unwrap().masks), all);
        let text = message(of(name, Some("7"), Foreground::AboveMiddle));
        assert!(text.contains("no voxel has the value 7") && text.contains("1, 2, 3"), "{text}");
    }
    let soft = of("soft.nii.gz", None, Foreground::AboveMiddle).unwrap();
    assert_eq!(marked_voxels(&soft.masks) as u64, told["soft"]["middle"].as_u64().unwrap());
    assert!(soft.warnings[0].contains("above their middle, 0.5"), "{:?}", soft.warnings);
    let any = of("soft.nii.gz", None, Foreground::AboveZero).unwrap();
    assert_eq!(marked_voxels(&any.masks) as u64, told["soft"]["any"].as_u64().unwrap());
    let text = message(of("plain.nii", None, Foreground::AboveMiddle));
    assert!(text.contains("719 labels") && text.contains("699 more"), "{text}");
}

#[test]
fn relatives_of_nifti_are_refused_by_name() {
    for (name, words) in [
        ("nifti2.nii", "NIfTI-2"),
        ("pair.hdr", "pair of"),
        ("pair.img", "pair of"),
        ("rgb.nii", "colours"),
        ("complex.nii", "complex numbers"),
        ("freesurfer.mgz", "FreeSurfer"),
        ("analyze.nii", "ANALYZE"),
    ] {
        let path = fixture("nifti").join(name);
        assert!(Volume::is_volume(&path), "{name}");
        let text = message(open(&path));
        assert!(text.contains(words) && text.contains(name), "{text}");
        let volume = open(&fixture("nifti/plain.nii")).unwrap();
        assert!(message(masks_of(&path, &volume)).contains(words));
    }
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
