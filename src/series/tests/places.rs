use super::*;

fn images() -> Volume {
    open(&fixture("places/images")).unwrap()
}

#[test]
fn masks_lie_where_they_say() {
    let expected = expected("places");
    let nifti = open(&fixture("places/images.nii.gz")).unwrap();
    for volume in [images(), nifti] {
        for (name, told) in expected.as_object().unwrap() {
            let marks = marks_of(&fixture("places").join(name), &volume).unwrap();
            match told.get("masks") {
                Some(masks) => {
                    assert_masks(&marks.masks, &masks_of_runs(masks, volume.size()), name);
                }
                None => {
                    let voxels = told["voxels"].as_u64().unwrap() as usize;
                    assert_eq!(marked_voxels(&marks.masks), voxels, "{name}");
                }
            }
            let differs =
                marks.warnings.iter().any(|w| w.contains("takes the value of the nearest"));
            let other = ["coarse", "thin", "coronal", "oblique", "half"];
            assert_eq!(
                differs,
                other.iter().any(|o| name.starts_with(o)),
                "{name}: {:?}",
                marks.warnings
            );
        }
    }
    assert_eq!(expected.as_object().unwrap().len(), 20);
}

#[test]
fn a_segmentation_in_another_frame_of_reference_is_refused() {
    let text = message(masks_of(&fixture("places/other_frame.dcm"), &images()));
    assert!(text.contains("another frame of reference"), "{text}");
}

#[test]
fn a_segments_number_may_be_shared_by_all_frames() {
    let path = fixture("places/shared.dcm");
    let volume = images();
    let of = |roi| open_masks(&path, &volume, Some(roi), Foreground::AboveMiddle);
    assert_eq!(of("1").unwrap().masks, masks_of(&fixture("places/plain.dcm"), &volume).unwrap());
    let text = message(of("object2"));
    assert!(text.contains("marks nothing"), "{text}");
}

#[test]
fn planes_outside_the_images_are_counted() {
    let whole = fixture("places/images");
    let out = tempfile::tempdir().unwrap();
    for name in ["01.dcm", "02.dcm", "03.dcm"] {
        std::fs::copy(whole.join(name), out.path().join(name)).unwrap();
    }
    let volume = open(out.path()).unwrap();
    let marks = marks_of(&fixture("places/plain.dcm"), &volume).unwrap();
    let text = marks.warnings.join("; ");
    assert!(text.contains("2 of the 4 planes") && text.contains("none of the images"), "{text}");
}

#[test]
fn without_a_place_masks_go_by_references_or_by_voxels_and_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=6 {
        let name = format!("{number:02}.dcm");
        let mut object = dicom_object::open_file(fixture("places/images").join(&name)).unwrap();
        object.remove_element(tags::IMAGE_POSITION_PATIENT);
        object.write_to_file(folder.path().join(&name)).unwrap();
    }
    let volume = open(folder.path()).unwrap();
    assert!(volume.warnings()[0].contains("say no place"), "{:?}", volume.warnings());
    let expected = expected("places");
    let masks = masks_of_runs(&expected["plain.dcm"]["masks"], volume.size());
    let marks = marks_of(&fixture("places/plain.dcm"), &volume).unwrap();
    assert_masks(&marks.masks, &masks, "by reference");
    assert!(marks.warnings.iter().any(|w| w.contains("the images that they name")));
    // NIfTI: the array's first axis runs to the right, and it is taken as it is.
    let marks = marks_of(&fixture("places/all_flipped.nii.gz"), &volume).unwrap();
    assert!(marks.warnings.iter().any(|w| w.contains("voxel by voxel")), "{:?}", marks.warnings);
    let text = message(masks_of(&fixture("places/cropped.dcm"), &volume));
    assert!(text.contains("17 x 15 pixels, the images 40 x 36"), "{text}");
    let text = message(masks_of(&fixture("places/thin.nii.gz"), &volume));
    assert!(text.contains("60 x 52 x 21 voxels to be put on a volume of 40 x 36 x 6"), "{text}");
}
