use super::*;

#[test]
fn contours_enclose_what_others_drew_them_of() {
    let expected = expected("contours");
    for (name, told) in expected.as_object().unwrap() {
        let images = told["images"].as_str().unwrap();
        let volume = open(&fixture("contours").join(images)).unwrap();
        let path = fixture("contours").join(format!("{name}.dcm"));
        let roi = (name == "japanese").then_some("腫瘍");
        let marks = open_masks(&path, &volume, roi, Foreground::AboveMiddle).unwrap();
        assert_masks(&marks.masks, &masks_of_runs(&told["masks"], volume.size()), name);
        if let Some(told) = told.get("millilitres") {
            let found = volume.millilitres(&marks.masks).unwrap();
            assert!((found - told.as_f64().unwrap()).abs() < 1e-6, "{found} ml, {told}");
        }
    }
    assert!(expected.as_object().unwrap().len() >= 13);
}

#[test]
fn what_is_left_out_of_contours_is_counted() {
    let warnings = |name: &str, images: &str| {
        let volume = open(&fixture("contours").join(images)).unwrap();
        marks_of(&fixture("contours").join(name), &volume).unwrap().warnings.join("; ")
    };
    let text = warnings("left_out.dcm", "images");
    for words in [
        "contours left out, of 8",
        "2 have fewer than three points",
        "2 are points or open lines",
        "1 do not lie in the plane of a slice",
        "1 lie above or below all slices",
        "1 lie beside the images",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(warnings("nested.dcm", "images").contains("1 contours lie within others"));
    assert_eq!(warnings("twice.dcm", "images"), "");
    assert_eq!(warnings("xor.dcm", "images"), "");
    let text = warnings("finer.dcm", "images");
    assert!(text.contains("4 lie between slices, where others are nearer"), "{text}");
    assert!(text.contains("0.25 mm from the planes of the slices"), "{text}");
    let text = warnings("of_the_whole_series.dcm", "one_image");
    assert!(text.contains("3 lie above or below all slices"), "{text}");
}

#[test]
fn contours_in_another_frame_of_reference_are_refused() {
    let volume = open(&fixture("contours/images")).unwrap();
    let text = message(masks_of(&fixture("contours/other_frame.dcm"), &volume));
    assert!(text.contains("another frame of reference"), "{text}");
}

#[test]
fn contours_that_lie_elsewhere_than_their_images_are_refused() {
    let volume = open(&fixture("contours/uneven")).unwrap();
    let text = message(masks_of(&fixture("contours/rt_utils_uneven.dcm"), &volume));
    assert!(text.contains("lie elsewhere than the images that they name"), "{text}");
}

#[test]
fn uneven_slices_are_read_and_a_missing_one_is_told() {
    let volume = open(&fixture("contours/uneven")).unwrap();
    let text = volume.warnings().join("; ");
    assert!(
        text.contains("5 of 3.00 mm, 4 of 6.00 mm") && text.contains("tilted by 11.3"),
        "{text}"
    );
    // The head CT of 14 slices of 4 mm and 14 of 7, with a small step between.
    let step = |number: usize| match number {
        0..14 => 4.0 * number as f64,
        14.. => 52.0 + 1.08 + 7.0 * (number - 14) as f64,
    };
    let folder = series(28, |made| made.position[2] = step(made.number));
    let volume = open(folder.path()).unwrap();
    let text = volume.warnings().join("; ");
    assert!(text.contains("13 of 4.00 mm, 1 of 1.08 mm, 13 of 7.00 mm"), "{text}");
    assert!((volume.voxel_millilitres(20).unwrap() - 0.4 * 7.0 / 1000.0).abs() < 1e-9);
    assert!((volume.voxel_millilitres(13).unwrap() - 0.4 * 2.54 / 1000.0).abs() < 1e-9);
    let missing = series(6, |made| {
        if made.number == 5 {
            made.position[2] += 2.5;
        }
    });
    assert!(message(open(missing.path())).contains("1 slice is missing"));
}

#[test]
fn masks_of_tilted_and_uneven_slices_are_straight_in_nifti_and_come_back() {
    let volume = open(&fixture("contours/uneven")).unwrap();
    let masks = masks_of(&fixture("contours/on_uneven.dcm"), &volume).unwrap();
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("mask.nii.gz");
    let note = write_nifti(&path, &volume, &masks).unwrap().unwrap();
    assert!(note.contains("64 x 74 x 14 voxels of 0.700 x 0.800 x 3.000 mm"), "{note}");
    let header = ::nifti::NiftiHeader::from_file(&path).unwrap();
    assert_eq!((header.sform_code, header.qform_code), (1, 1));
    // Right angles, in both forms.
    let (sform, qform) = (header.sform_affine::<f64>(), header.qform_affine::<f64>());
    assert!((sform - qform).abs().max() < 1e-4);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let column = |axis| sform.fixed_view::<3, 1>(0, axis).into_owned();
        assert!(column(a).dot(&column(b)).abs() < 1e-6);
    }
    assert_masks(&masks_of(&path, &volume).unwrap(), &masks, "read back");
    let seg = out.path().join("seg.dcm");
    assert_eq!(write_segmentation(&seg, &volume, &masks, &segmentation(false)).unwrap(), None);
    let marks = marks_of(&seg, &volume).unwrap();
    assert_masks(&marks.masks, &masks, "segmentation");
    assert!(marks.warnings.is_empty(), "{:?}", marks.warnings);
}
