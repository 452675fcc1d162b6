use std::path::Path;

use super::*;
use crate::image::Mask;

fn write(path: &Path, width: u32, on: bool) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let mask = Mask::new(width, 2, vec![on; width as usize * 2]).expect("sizes agree");
    mask.save_png(path).expect("written");
}

#[test]
fn pairs_come_in_natural_order_with_their_masks() {
    let dir = tempfile::tempdir().expect("a folder");
    for stem in ["a10", "a2", "b"] {
        write(&dir.path().join(format!("images/{stem}.png")), 3, true);
        write(&dir.path().join(format!("masks/{stem}.png")), 3, true);
    }
    let samples = pairs(dir.path(), Foreground::AboveZero).expect("a data set");
    let names: Vec<_> = samples.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a2", "a10", "b"]);
    assert_eq!(samples[0].read().expect("readable").1.mask().area(), 6);
}

#[test]
fn all_that_is_wrong_is_listed_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["images/a.png", "images/b.png", "images/c.png", "images/c.bmp", "masks/a.png"] {
        write(&dir.path().join(name), 3, true);
    }
    let error = pairs(dir.path(), Foreground::AboveZero).expect_err("incomplete").to_string();
    for part in
        ["the picture b has no mask", "the picture c has no mask", "c.bmp and c.png have one stem"]
    {
        assert!(error.contains(part), "{error}");
    }
    let error = pairs(&dir.path().join("images"), Foreground::AboveZero).expect_err("no layout");
    assert!(error.to_string().contains("expected two folders"), "{error}");
}

#[test]
fn a_mask_of_another_size_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    write(&dir.path().join("images/a.png"), 3, true);
    write(&dir.path().join("masks/a.png"), 4, true);
    let samples = pairs(dir.path(), Foreground::AboveZero).expect("a data set");
    let error = samples[0].read().expect_err("sizes differ").to_string();
    assert!(error.contains("4 x 2 pixels and the picture 3 x 2"), "{error}");
}

/// Makes a data set of pictures and masks, 3 x 2 pixels, at these places.
fn made(images: &str, masks: &str, names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for name in names {
        let half = Mask::new(3, 2, vec![true, false, true, false, false, false]).expect("a mask");
        for root in [images, masks] {
            let path = dir.path().join(root).join(format!("{name}.png"));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            half.save_png(&path).expect("written");
        }
    }
    dir
}

fn frame_numbers(first: usize, last: usize) -> Vec<String> {
    (first..=last).map(|number| number.to_string()).collect()
}

#[test]
fn cvc_is_cut_at_the_published_frames_and_scored_from_the_fourth() {
    let names = frame_numbers(1, 67);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let dir = made("Original", "Ground Truth", &names);
    let sequences = Dataset::CvcClinicDb.read(dir.path()).expect("a data set");
    let lengths: Vec<_> = sequences.iter().map(|s| (s.name.as_str(), s.samples.len())).collect();
    assert_eq!(lengths, [("1", 25), ("2", 25), ("3", 17)]);
    let second = &sequences[1];
    assert_eq!((second.samples[0].name.as_str(), second.scored()), ("26", 22));
    assert_eq!(second.targets[0], Target { sample: 3, reference: 2, scored: true });
    check(dir.path(), &sequences).expect("all is readable");
}

#[test]
fn cvc_by_video_and_with_frames_missing() {
    let dir = made(
        "image",
        "label",
        &["video_0001/0001", "video_0001/0002", "video_0001/0003", "video_0001/0004"],
    );
    let sequences = Dataset::CvcClinicDb.read(dir.path()).expect("a data set");
    assert_eq!((sequences[0].name.as_str(), sequences[0].scored()), ("video_0001", 1));
    let dir = made("images", "masks", &["1", "2", "4", "x", "613"]);
    let error = Dataset::CvcClinicDb.read(dir.path()).expect_err("frames are missing").to_string();
    for part in
        ["x is no frame number", "613 is no frame number", "sequence 1 lacks the frames 3 5"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn perseg_objects_come_from_folders_or_names() {
    for names in [
        ["red_cat/00", "red_cat/01", "dog/00", "dog/01"],
        ["red_cat_00", "red_cat_01", "dog_00", "dog_01"],
    ] {
        let dir = made("Images", "Annotations", &names);
        let mut sequences = Dataset::PerSeg.read(dir.path()).expect("a data set");
        sequences.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<_> = sequences.iter().map(|s| (s.name.as_str(), s.scored())).collect();
        assert_eq!(names, [("dog", 1), ("red_cat", 1)]);
    }
}

#[test]
fn slices_are_paired_from_the_middle_outwards() {
    let slices = |visit: &str, count: usize| -> Vec<String> {
        (0..count).map(|slice| format!("p1/{visit}/{slice:03}")).collect()
    };
    let names = [slices("2001", 3), slices("2002", 7), slices("2003", 2)].concat();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let dir = made("image", "label", &names);
    let sequences = Dataset::FourDLung.read(dir.path()).expect("a data set");
    let pairs: Vec<Vec<usize>> =
        sequences.iter().map(|s| s.targets.iter().map(|t| t.reference).collect()).collect();
    // The middles, 3 of 7 and 1 of 2, go with slice 1 of the first visit's 3.
    assert_eq!(pairs, [vec![0, 0, 0, 1, 2, 2, 2], vec![0, 1]]);
    assert!(sequences.iter().all(|s| s.group == "p1" && s.targets[0].sample == 3));
    assert!(sequences[0].clone().refer_to(&(0..=0)).is_err());
}

#[test]
fn davis_follows_its_list_and_leaves_the_last_frame_out() {
    let names = ["a/00000", "a/00001", "a/00002", "b/00000", "b/00001", "b/00002"];
    let dir = made("JPEGImages/480p", "Annotations/480p", &names);
    let list = dir.path().join("ImageSets/2016");
    std::fs::create_dir_all(&list).expect("made");
    std::fs::write(list.join("val.txt"), "b\n").expect("written");
    let sequences = Dataset::Davis2016.read(dir.path()).expect("a data set");
    assert_eq!(sequences.len(), 1);
    let flags: Vec<_> = sequences[0].targets.iter().map(|t| (t.sample, t.scored)).collect();
    assert_eq!((sequences[0].name.as_str(), flags), ("b", vec![(1, true), (2, false)]));
    std::fs::write(list.join("val.txt"), "b\nc\n").expect("written");
    let error = Dataset::Davis2016.read(dir.path()).expect_err("c is missing").to_string();
    assert!(error.contains("the video c of"), "{error}");
}

#[test]
fn each_colour_of_the_first_frame_is_an_object() {
    let dir = made("JPEGImages", "Annotations", &["v/00000", "v/00001", "v/00002"]);
    let (red, green) = ([128, 0, 0], [0, 128, 0]);
    for name in ["00000", "00001", "00002"] {
        let pixels = [green, red, red, [0; 3], [0; 3], green].concat();
        let frame = Frame::new(3, 2, pixels).expect("sizes agree");
        frame.save_png(&dir.path().join(format!("Annotations/v/{name}.png"))).expect("written");
    }
    let sequences = Dataset::Davis2017.read(dir.path()).expect("a data set");
    let names: Vec<_> = sequences.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["v/1", "v/2"]);
    let mask = |index: usize| sequences[index].samples[1].read().expect("readable").1.mask();
    assert_eq!(mask(0).data(), [false, true, true, false, false, false]);
    assert_eq!(mask(1).data(), [true, false, false, false, false, true]);
    let merged = Dataset::Davis2016.read(dir.path()).expect("a data set");
    assert_eq!(merged[0].samples[0].read().expect("readable").1.mask().area(), 4);
}

#[test]
fn every_other_picture_is_segmented_by_each_reference() {
    let dir = made("images", "masks", &["0", "1", "2", "3"]);
    let mut sequence = Dataset::Sequence.read(dir.path()).expect("a data set").remove(0);
    write(&dir.path().join("masks/1.png"), 3, false);
    sequence.refer_to(&(0..=9)).expect("references");
    let pairs: Vec<_> = sequence.targets.iter().map(|t| (t.sample, t.reference)).collect();
    // Picture 1 has no object any more; the published run segments the pictures 1 to 3.
    assert_eq!(pairs, [(1, 0), (1, 2), (1, 3), (2, 0), (2, 3), (3, 0), (3, 2)]);
    sequence.limit(2);
    assert_eq!(sequence.targets.len(), 5);
    assert!(sequence.refer_to(&(7..=9)).is_err());
}

#[test]
fn every_unusable_file_is_told_before_anything_runs() {
    let dir = made("images", "masks", &["0", "1", "2", "3"]);
    let sequences = Dataset::Sequence.read(dir.path()).expect("a data set");
    write(&dir.path().join("masks/0.png"), 3, true);
    write(&dir.path().join("masks/1.png"), 4, true);
    std::fs::write(dir.path().join("images/3.png"), b"no picture").expect("written");
    let error = check(dir.path(), &sequences).expect_err("three are bad").to_string();
    for part in [
        "3 problems",
        "0: it is a reference and its mask covers",
        "1: the mask is 4 x 2",
        "3: cannot read",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
