use super::*;
use crate::series::dicom::elements;

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

#[test]
fn files_are_read_as_they_are() {
    let expected = expected("files");
    let mut seen = 0;
    for (name, told) in expected.as_object().unwrap() {
        let Some(stored) = told.get("stored").and_then(|stored| stored.as_f64()) else { continue };
        let volume = open(&fixture("files").join(format!("{name}.dcm"))).unwrap();
        let geometry = volume.place().unwrap_or_else(|| panic!("{name}: no place"));
        let (place, position) = (geometry.origins()[0], floats(&told["position"]));
        assert!(place.iter().zip(&position).all(|(a, b)| close(*a, *b)), "{name}: {place:?}");
        let spacing = floats(&told["spacing"]);
        let own = volume.spacing().unwrap();
        assert!(close(own[0], spacing[1]) && close(own[1], spacing[0]), "{name}: {own:?}");
        // Rescaled by 2 and -1000 and seen through a window of 4000 about 1000.
        let options = VolumeOptions {
            window: Window::Values { centre: 1000.0, width: 4000.0 },
            ..VolumeOptions::default()
        };
        let volume = Volume::open(volume.path(), &options).unwrap();
        let grey = 255.0 * (2.0 * stored - 1000.0 + 1000.0) / 4000.0;
        assert!((f64::from(level(&volume, 0)) - grey).abs() <= 1.0, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn a_series_of_unknown_kinds_goes_by_place_in_its_own_window() {
    let volume = Volume::open(&fixture("files/unknown"), &VolumeOptions::default()).unwrap();
    assert!(volume.warnings().is_empty(), "{:?}", volume.warnings());
    assert!(close(volume.spacing().unwrap()[2], 2.5));
    // All are beyond soft tissue's window, which is a CT's; by the raw values they would not be so.
    assert!(volume.range().all(|slice| level(&volume, slice) == 255));
    let volume = open(&fixture("files/unknown")).unwrap();
    let wide = Window::Values { centre: 1500.0, width: 1000.0 };
    let volume = Volume::open(volume.path(), &VolumeOptions { window: wide, ..options() }).unwrap();
    let levels: Vec<u8> = volume.range().map(|slice| level(&volume, slice)).collect();
    assert!(levels.is_sorted() && levels[0] < levels[3], "{levels:?}");
}

#[test]
fn values_that_cannot_be_read_are_errors() {
    for name in ["commas", "two_numbers"] {
        let text = message(open(&fixture("files").join(format!("{name}.dcm"))));
        assert!(text.contains("ImagePositionPatient (0020,0032)"), "{text}");
        assert!(text.contains("cannot be read") && !text.contains("10"), "{text}");
    }
    let folder = series(3, |_| {});
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let mut object = dicom_object::open_file(&path).unwrap();
        object.put(put(tags::WINDOW_CENTER, VR::DS, "40,5"));
        object.put(put(tags::WINDOW_WIDTH, VR::DS, "400"));
        object.write_to_file(&path).unwrap();
    }
    let volume = open(folder.path()).unwrap();
    assert!(volume.warnings()[0].contains("WindowCenter (0028,1050) of 3 of 3 slices"));
}

#[test]
fn only_the_chosen_series_must_be_a_volume() {
    let study = fixture("files/study");
    let text = message(open(&study));
    assert!(
        text.contains("3 series") && text.contains("2 slices of 24 x 16 and of other sizes"),
        "{text}"
    );
    let chosen =
        |number| Volume::open(&study, &VolumeOptions { series: Some(number), ..options() });
    assert_eq!(chosen(3).unwrap().slices(), 3);
    assert!(message(chosen(1)).contains("another direction"));
    assert!(message(chosen(2)).contains("20 x 16 pixels"));
}

#[test]
fn frames_of_one_file_are_compared_with_each_other() {
    let text = message(open(&fixture("files/two_stacks.dcm")));
    assert!(
        text.contains("frame 4 lies in another direction") && text.contains("several stacks"),
        "{text}"
    );
    let text = message(open(&fixture("files/four_dimensions.dcm")));
    assert!(text.contains("frame 1 and frame 4 lie in one place"), "{text}");
    assert!(text.contains("each slice 2 times") && !text.contains("one folder each"), "{text}");
    let volume = open(&fixture("files/enhanced.dcm")).unwrap();
    assert_eq!((volume.slices(), volume.warnings().len()), (3, 0));
}

#[test]
fn nuclear_medicine_lies_by_its_detector() {
    let told = expected("files")["nuclear"].clone();
    let volume = open(&fixture("files/nuclear.dcm")).unwrap();
    let heights: Vec<f64> = volume.place().unwrap().origins().iter().map(|o| o.z).collect();
    assert!(heights.iter().zip(floats(&told["heights"])).all(|(a, b)| close(*a, b)), "{heights:?}");
    let wide = Window::Values { centre: 200.0, width: 400.0 };
    let volume = Volume::open(volume.path(), &VolumeOptions { window: wide, ..options() }).unwrap();
    for (slice, stored) in floats(&told["stored"]).into_iter().enumerate() {
        assert!((f64::from(level(&volume, slice)) - 255.0 * stored / 400.0).abs() <= 1.0);
    }
    assert!(volume.voxel_millilitres(0).is_some());
}

#[test]
fn names_in_several_character_sets_stay_the_same_in_a_segmentation() {
    let expected = expected("files");
    for name in ["japanese", "korean", "chinese", "cyrillic"] {
        let volume = open(&fixture("files").join(format!("{name}.dcm"))).unwrap();
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("seg.dcm");
        write_segmentation(&path, &volume, &rectangles(&volume, &[0]), &segmentation(true))
            .unwrap();
        let object = dicom_object::open_file(&path).unwrap();
        let found = elements::text(&object, tags::PATIENT_NAME).unwrap();
        assert_eq!(found, expected[name]["name"].as_str().unwrap());
        assert_eq!(elements::text(&object, tags::SPECIFIC_CHARACTER_SET).unwrap(), "ISO_IR 192");
    }
}

#[test]
fn without_a_place_and_a_number_files_go_by_their_names_and_it_is_told() {
    let wide = Window::Values { centre: 2000.0, width: 4000.0 };
    let options = VolumeOptions { window: wide, ..options() };
    let volume = Volume::open(&fixture("files/names"), &options).unwrap();
    let text = volume.warnings().join("; ");
    assert!(text.contains("no place") && text.contains("names of their files"), "{text}");
    // 1, 2 and 10.
    let levels: Vec<u8> = volume.range().map(|slice| level(&volume, slice)).collect();
    assert!(levels.is_sorted(), "{levels:?}");
    assert!(volume.spacing().is_none());
}

#[test]
fn a_segmentation_has_a_frame_of_reference_even_if_its_images_have_none() {
    let volume = open(&fixture("files/no_frame_of_reference")).unwrap();
    let masks = rectangles(&volume, &[1]);
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("seg.dcm");
    let note = write_segmentation(&path, &volume, &masks, &segmentation(false)).unwrap().unwrap();
    assert!(note.contains("no frame of reference"), "{note}");
    let object = dicom_object::open_file(&path).unwrap();
    let frame = elements::text(&object, tags::FRAME_OF_REFERENCE_UID).unwrap();
    assert!(frame.starts_with("2.25."));
    drop(object);
    assert_eq!(masks_of(&path, &volume).unwrap(), masks);
    // The same for all segmentations of the series.
    write_segmentation(&path, &volume, &rectangles(&volume, &[2]), &segmentation(false)).unwrap();
    let object = dicom_object::open_file(&path).unwrap();
    assert_eq!(elements::text(&object, tags::FRAME_OF_REFERENCE_UID), Some(frame));
}

#[test]
fn a_file_that_is_cut_off_says_where() {
    let bytes = std::fs::read(fixture("files/plain.dcm")).unwrap();
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("cut.dcm");
    std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    let text = message(open(&path).and_then(|volume| volume.frame(0)));
    assert!(text.contains("cut.dcm") && text.contains("(7FE0,0010)"), "{text}");
    std::fs::write(&path, b"\0not DICOM at all").unwrap();
    let text = message(Volume::of_files(&[path], &options()));
    assert!(text.contains("does not begin as such a file does"), "{text}");
}
