use super::*;

/// Grey levels of a window of all values, of a file's only slice.
fn greys(name: &str, window: Window) -> Vec<u8> {
    let options = VolumeOptions { window, ..VolumeOptions::default() };
    let volume = Volume::open(&fixture("greys").join(name), &options).unwrap();
    volume.frame(0).unwrap().rgb().chunks_exact(3).map(|pixel| pixel[0]).collect()
}

#[test]
fn greys_are_those_of_the_values_that_others_read() {
    let expected = expected("greys");
    let mut seen = 0;
    for (name, told) in expected.as_object().unwrap() {
        let Some(values) = told.get("values").map(floats) else { continue };
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let window = Window::Values { centre: (low + high) / 2.0, width: high - low };
        let grey = |value: &f64| (255.0 * (value - low) / (high - low)).round() as i32;
        let found = greys(name, window);
        assert_eq!(found.len(), values.len(), "{name}");
        for (found, value) in found.iter().zip(&values) {
            assert!((i32::from(*found) - grey(value)).abs() <= 1, "{name}: {found}, {value}");
        }
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn the_files_window_and_its_function_count() {
    let expected = expected("greys");
    for name in ["linear.dcm", "linear_narrow.dcm", "linear_exact.dcm", "sigmoid.dcm"] {
        let told = floats(&expected[name]["greys"]);
        let found = greys(name, Window::File);
        for (found, told) in found.iter().zip(&told) {
            assert!((f64::from(*found) - told).abs() <= 1.0, "{name}: {found}, {told}");
        }
        assert!(found.contains(&0) && found.contains(&255) || name == "sigmoid.dcm", "{name}");
    }
}

#[test]
fn activities_are_windowed_as_the_same_values_in_nifti() {
    let values: Vec<f32> =
        floats(&expected("greys")["pet.dcm"]["values"]).iter().map(|v| *v as f32).collect();
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("pet.nii");
    // The array's first axis runs to the left, so that no row is turned round.
    let array = ndarray::Array3::from_shape_fn((24, 16, 1), |(x, y, _)| values[24 * y + x]);
    let steps = [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    super::nifti::nifti(&path, steps, &array);
    let volume = Volume::open(&path, &VolumeOptions::default()).unwrap();
    let frame = volume.frame(0).unwrap();
    let of_nifti: Vec<u8> = frame.rgb().chunks_exact(3).map(|pixel| pixel[0]).collect();
    let found = greys("pet.dcm", Window::File);
    let apart = found.iter().zip(&of_nifti).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(apart <= Some(1), "{apart:?}");
    let white = found.iter().filter(|level| **level == 255).count();
    assert!(white < found.len() / 50, "{white}");
}

#[test]
fn jpeg_of_red_green_and_blue_without_a_marker_is_no_ycbcr() {
    let expected = expected("greys");
    for name in ["rgb_no_marker.dcm", "rgb_adobe.dcm"] {
        let volume = open(&fixture("greys").join(name)).unwrap();
        let frame = volume.frame(0).unwrap();
        for (column, told) in
            [4, 12, 20].into_iter().zip(expected[name]["colours"].as_array().unwrap())
        {
            let at = 3 * (8 * 24 + column);
            for (found, told) in frame.rgb()[at..at + 3].iter().zip(floats(told)) {
                assert!((f64::from(*found) - told).abs() <= 3.0, "{name}: {found}, {told}");
            }
        }
    }
}

#[test]
fn what_is_not_decoded_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = Made::new(0).write(folder.path());
    let mut object = dicom_object::open_file(&path).unwrap();
    // A JPEG stream's first bytes: 12 bits, no lossless process.
    let stream = [0xff, 0xd8, 0xff, 0xc1, 0, 11, 12, 0, 16, 0, 20, 1, 1, 0x11, 0, 0];
    let pixels = dicom_core::value::PixelFragmentSequence::new_fragments(vec![stream.to_vec()]);
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
    object.update_meta(|meta| meta.transfer_syntax = uids::JPEG_EXTENDED12_BIT.into());
    object.write_to_file(&path).unwrap();
    let text = message(open(&path).unwrap().frame(0));
    assert!(text.contains("12-bit JPEG is not read"), "{text}");
    for (bits, samples, words) in [(32, 3, "colours of 32 bits"), (64, 1, "1 values of 64 bits")] {
        let path = Made::new(0).write(folder.path());
        let mut object = dicom_object::open_file(&path).unwrap();
        object.put(short(tags::BITS_ALLOCATED, bits));
        object.put(short(tags::BITS_STORED, bits));
        object.put(short(tags::HIGH_BIT, bits - 1));
        object.put(short(tags::SAMPLES_PER_PIXEL, samples));
        object.write_to_file(&path).unwrap();
        let text = message(open(&path).unwrap().frame(0));
        assert!(text.contains(words), "{text}");
    }
}
