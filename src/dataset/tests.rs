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
    for part in ["images/b has no mask", "images/c has no mask", "c.bmp and c.png have one stem"] {
        assert!(error.contains(part), "{error}");
    }
    let error = pairs(&dir.path().join("images"), Foreground::AboveZero).expect_err("no layout");
    assert!(error.to_string().contains("expected the folders"), "{error}");
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
