//! `p2sam eval` as its users run it, on data sets of three drawn pictures that the tests make.

#![cfg(feature = "gstreamer")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::*;
use p2sam::{Foreground, Mask};
use serde_json::Value;

/// As small a model as there is: the tests look at files, not at the method.
const QUICK: &str = "--profile live --gate off --n 1 --input-side 256";

/// Writes the scene's three pictures and masks into folders.
fn pictures(images: &Path, masks: &Path) {
    for folder in [images, masks] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    for (index, frame) in scene().iter().enumerate() {
        let name = format!("{index:03}.png");
        frame.frame.save_png(&images.join(&name)).expect("writable");
        frame.mask.save_png(&masks.join(&name)).expect("writable");
    }
}

/// A data set `data` of sequences with these names.
fn sequences(folder: &Path, names: &[&str]) {
    for name in names {
        let of = |kind: &str| folder.join("data").join(kind).join(name);
        pictures(&of("images"), &of("masks"));
    }
}

/// Without what differs from run to run.
fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.remove("milliseconds");
            map.values_mut().for_each(|inner| *inner = without_times(inner.take()));
        }
        Value::Array(list) => {
            list.iter_mut().for_each(|inner| *inner = without_times(inner.take()))
        }
        _ => {}
    }
    value
}

/// One run over two sequences by two methods that writes everything; many tests look at what it left.
fn whole_run() -> &'static (PathBuf, Run) {
    static WHOLE: OnceLock<(PathBuf, Run)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let _turn = model();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("eval-whole-run");
        let _ = std::fs::remove_dir_all(&folder);
        sequences(&folder, &["a", "b"]);
        let line = format!(
            "eval sequence data {QUICK} --method p2sam,first-mask --out out --jsonl frames.jsonl \
             --summary summary.json --report page.html --masks drawn --vis sheets"
        );
        let run = p2sam(&folder, &line);
        run.succeeds();
        let left = entries(&folder);
        assert!(!left.iter().any(|name| name.contains(".part-")), "{left:?}");
        (folder, run)
    })
}

#[test]
fn everything_asked_for_is_written_whole() {
    let (folder, run) = whole_run();
    for word in ["p2sam", "first-mask", "Video Dice", "95 %", "rank correlation", "worst"] {
        assert!(run.stdout.contains(word), "no '{word}' in {}", run.stdout);
    }
    let lines = json_lines(&folder.join("frames.jsonl"));
    assert_eq!(lines.len(), 8, "2 methods, 2 sequences, 2 pictures after the reference");
    let summary = json(&folder.join("summary.json"));
    assert_eq!(summary["methods"].as_array().map(Vec::len), Some(2));
    assert_eq!(summary["methods"][0]["frames"], 4);
    assert_eq!(summary["problems"], serde_json::json!([]));
    let page = std::fs::read_to_string(folder.join("page.html")).expect("readable");
    assert!(page.ends_with("</html>") && page.contains("data:image/jpeg;base64,"));
    let expected = ["a/", "a/001.png", "a/002.png", "b/", "b/001.png", "b/002.png"];
    for method in ["p2sam", "first-mask"] {
        assert_eq!(entries(&folder.join("drawn").join(method)), expected);
        assert_eq!(entries(&folder.join("sheets").join(method)), ["a.jpg", "b.jpg"]);
    }
}

#[test]
fn lines_masks_and_scores_agree() {
    let (folder, _) = whole_run();
    for line in json_lines(&folder.join("frames.jsonl")) {
        let text = |key: &str| line[key].as_str().expect("a name").to_owned();
        let [method, sequence, frame] = ["method", "sequence", "frame"].map(text);
        let read = |path: PathBuf| Mask::open(&path, Foreground::AboveZero).expect("a mask");
        let drawn = read(folder.join(format!("drawn/{method}/{sequence}/{frame}.png")));
        let truth = read(folder.join(format!("data/masks/{sequence}/{frame}.png")));
        let dice = p2sam::dice(&drawn, &truth).expect("one size");
        assert!((line["dice"].as_f64().expect("a score") - dice).abs() < 1e-9, "{line}");
        if method == "first-mask" {
            let first = read(folder.join(format!("data/masks/{sequence}/000.png")));
            assert_eq!(drawn.data(), first.data());
        }
    }
}

#[test]
fn a_second_run_computes_nothing() {
    let (folder, first) = whole_run();
    let _turn = model();
    let line = format!(
        "eval sequence data {QUICK} --method p2sam,first-mask --out out --jsonl again.jsonl"
    );
    let second = p2sam(folder, &line);
    // The times a picture are those of the first run: nothing was run anew.
    assert_eq!(second.succeeds().stdout, first.stdout);
    let lines = |name: &str| json_lines(&folder.join(name));
    assert_eq!(lines("again.jsonl"), lines("frames.jsonl"));
}

#[test]
fn a_folder_of_other_settings_is_refused() {
    let (folder, _) = whole_run();
    let _turn = model();
    let line = format!("eval sequence data {QUICK} --m 2 --out out");
    p2sam(folder, &line).ends(1, &["out holds results of other settings", "name another folder"]);
}

#[test]
fn changed_data_are_noticed_even_if_no_length_changes() {
    let _turn = model();
    let dir = folder();
    sequences(dir.path(), &["a"]);
    // A format without compression keeps its length.
    let picture = dir.path().join("data/images/a/001");
    let mut bytes = format!("P6\n{WIDTH} {HEIGHT}\n255\n").into_bytes();
    bytes.extend_from_slice(scene()[1].frame.rgb());
    std::fs::remove_file(picture.with_extension("png")).expect("removed");
    std::fs::write(picture.with_extension("ppm"), &bytes).expect("writable");
    let line = format!("eval sequence data {QUICK} --method first-mask --out out");
    p2sam(dir.path(), &line).succeeds();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 64;
    std::fs::write(picture.with_extension("ppm"), &bytes).expect("writable");
    p2sam(dir.path(), &line).ends(1, &["out/first-mask/a.json", "other pictures or masks"]);
}

#[test]
fn two_shards_merged_are_one_run() {
    let (folder, _) = whole_run();
    let _turn = model();
    for shard in ["1", "2"] {
        let line = format!(
            "eval sequence data {QUICK} --method p2sam,first-mask --shard {shard}/2 --out part{shard}"
        );
        p2sam(folder, &line).succeeds();
    }
    let merged = "eval sequence data --merge part1 part2 --summary merged.json";
    p2sam(folder, merged).succeeds();
    let [one, two] = ["summary.json", "merged.json"].map(|name| json(&folder.join(name)));
    assert_eq!(without_times(one), without_times(two));
    let half = p2sam(folder, "eval sequence data --merge part1");
    half.ends(3, &["p2sam has no result of the sequences b"]);
    p2sam(folder, "eval davis2016 data --merge part1").ends(1, &["these are results of sequence"]);
    p2sam(folder, "eval sequence data --merge nowhere").ends(1, &["nowhere/settings.json"]);
}

#[test]
fn ctrl_c_keeps_what_is_done_and_the_next_run_goes_on() {
    let _turn = model();
    let dir = folder();
    let names: Vec<String> = (0..12).map(|index| format!("s{index:02}")).collect();
    sequences(dir.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let line = format!("eval sequence data {QUICK} --out out --summary summary.json");
    let child = command(dir.path(), line.split_whitespace()).spawn().expect("the program starts");
    let first = dir.path().join("out/p2sam/s00.json");
    let start = Instant::now();
    while !first.exists() {
        assert!(start.elapsed() < Duration::from_secs(200), "no sequence is finished");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(child.id(), "-INT");
    finish(child).ends(130, &["stopping", "p2sam has no result of the sequences", "s11"]);
    let done = || -> Vec<(String, Vec<u8>)> {
        let folder = dir.path().join("out/p2sam");
        let read = |name: String| {
            let bytes = std::fs::read(folder.join(&name)).expect("readable");
            (name, bytes)
        };
        entries(&folder).into_iter().map(read).collect()
    };
    let before = done();
    assert!((1..12).contains(&before.len()), "{} sequences", before.len());
    let told = json(&dir.path().join("summary.json"));
    assert_eq!(told["methods"][0]["sequences"].as_array().map(Vec::len), Some(before.len()));
    p2sam(dir.path(), &line).succeeds();
    let after = done();
    assert_eq!(after.len(), 12);
    assert_eq!(after[..before.len()], before, "what was done was done again");
}

#[test]
fn every_reference_is_tried_and_the_spread_told() {
    let _turn = model();
    let dir = folder();
    sequences(dir.path(), &["a"]);
    let line = format!("eval sequence data {QUICK} --method first-mask --reference all");
    let run = p2sam(dir.path(), &format!("{line} --summary summary.json"));
    assert!(run.succeeds().stdout.contains("by reference: worst"), "{}", run.stdout);
    let spread = &json(&dir.path().join("summary.json"))["methods"][0]["sequences"][0]["spread"];
    let mut names: Vec<_> =
        spread["references"].as_array().expect("a list").iter().map(|r| r[0].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["000", "001", "002"]);
    let masks = p2sam(dir.path(), &format!("{line} --masks drawn"));
    masks.ends(1, &["--masks needs one reference a picture"]);
    assert!(!dir.path().join("drawn").exists() && masks.stdout.is_empty());
}

/// What is wrong with a data set is told at once, before a model is loaded.
#[track_caller]
fn refuses(dataset: &str, layout: [&str; 2], break_it: impl Fn(&Path, &Path), words: &[&str]) {
    let dir = folder();
    let [images, masks] = layout.map(|path| dir.path().join("data").join(path));
    pictures(&images, &masks);
    break_it(&images, &masks);
    let line = format!("eval {dataset} data --weights nowhere.pt --out out --summary summary.json");
    p2sam(dir.path(), &line).ends(1, words);
    assert_eq!(entries(dir.path()).iter().filter(|name| !name.starts_with("data")).count(), 0);
}

/// A mask of another size, and a picture that is none.
fn other_size_and_no_picture(images: &Path, masks: &Path) {
    middle_mask(&masks.join("001.png"), 8, 8);
    std::fs::write(images.join("002.png"), b"no picture").expect("writable");
}

const BOTH: [&str; 3] =
    ["2 problems", "001: the mask is 8 x 8 pixels and the picture 160 x 90", "002: cannot read"];

#[test]
fn unusable_files_of_every_layout_are_listed_at_once() {
    for (dataset, images, masks) in [
        ("sequence", "images", "masks"),
        ("perseg", "Images/cup", "Annotations/cup"),
        ("kvasir-seg", "images", "masks"),
        ("davis2016", "JPEGImages/480p/dog", "Annotations/480p/dog"),
        ("davis2017", "JPEGImages/480p/dog", "Annotations/480p/dog"),
    ] {
        refuses(dataset, [images, masks], other_size_and_no_picture, &BOTH);
    }
    let all_references = "sequence --reference all";
    refuses(all_references, ["images", "masks"], other_size_and_no_picture, &BOTH);
}

#[test]
fn unpaired_files_of_every_layout_are_listed_at_once() {
    let unpaired = |images: &Path, masks: &Path| {
        std::fs::remove_file(masks.join("001.png")).expect("removed");
        std::fs::rename(images.join("002.png"), images.join("more.png")).expect("renamed");
    };
    let words = ["picture", "001 has no mask", "more has no mask", "002 has no picture"];
    for (dataset, images, masks) in [
        ("sequence", "images/a", "masks/a"),
        ("cvc-clinicdb", "Original", "Ground Truth"),
        ("perseg", "Images/cup", "Annotations/cup"),
        ("4d-lung", "image/100/2001", "label/100/2001"),
        ("kvasir-seg", "images", "masks"),
        ("davis2016", "JPEGImages/480p/dog", "Annotations/480p/dog"),
        ("davis2017", "JPEGImages/dog", "Annotations/dog"),
    ] {
        refuses(dataset, [images, masks], unpaired, &words);
    }
}

#[test]
fn layouts_are_told_apart() {
    let nothing = |_: &Path, _: &Path| {};
    let published = ["Original", "Ground Truth"];
    // Frames 0 to 2 of a set that is cut at its frames' numbers from 1 on.
    let words = ["000 is no frame number", "sequence 1 lacks the frames 3 4"];
    refuses("cvc-clinicdb", published, nothing, &words);
    refuses("4d-lung", ["image", "label"], nothing, &["no picture in it at FOLDER/FOLDER/*"]);
    refuses("kvasir-seg", ["images/a", "masks/a"], nothing, &["no picture in it at *"]);
    refuses("sequence", ["pictures", "masks"], nothing, &["expected two folders", "`images`"]);
    let damaged = |_: &Path, masks: &Path| {
        for name in ["000.png", "002.png"] {
            std::fs::write(masks.join(name), b"no picture").expect("writable");
        }
    };
    let words = ["2 problems", "2001/000.png", "2001/002.png"];
    refuses("4d-lung", ["image/100/2001", "label/100/2001"], damaged, &words);
    let empty = |_: &Path, masks: &Path| {
        rectangle_mask(&masks.join("000.png"), WIDTH, HEIGHT, |_, _| false);
    };
    refuses("davis2016", ["images/a", "masks/a"], empty, &["its mask is empty"]);
}

#[test]
fn arguments_that_cannot_be_meant_are_refused() {
    let dir = folder();
    sequences(dir.path(), &["a", "b"]);
    for line in [
        "eval",
        "eval films data",
        "eval sequence data --method guess",
        "eval sequence data --shard 3/2",
        "eval sequence data --limit-frames 0",
        "eval sequence data --reference 2..1",
        "eval sequence data --merge out --shard 1/2",
        "eval sequence data --ablate a.md --method direct",
    ] {
        assert_eq!(p2sam(dir.path(), line).code, Some(2), "{line}");
    }
    for (line, word) in [
        ("eval sequence nowhere", "no such folder"),
        ("eval sequence data --sequences a,c", "no sequence c in data: it has a, b"),
        ("eval sequence data --shard 3/3", "no sequence is left"),
        ("eval sequence data --reference 9", "none of its 3 pictures"),
        ("eval sequence data --report no/page.html", "the folder no does not exist"),
        ("eval sequence data --ablate no/table.md", "the folder no does not exist"),
        ("eval sequence data --report x --summary ./x", "written twice"),
        ("eval sequence data --masks data/masks", "holds files of the data set"),
        ("eval sequence data --vis data/images/a/000.png", "is a file"),
    ] {
        p2sam(dir.path(), line).ends(1, &[word]);
    }
    assert_eq!(entries(dir.path()).iter().filter(|name| !name.starts_with("data/")).count(), 0);
}
