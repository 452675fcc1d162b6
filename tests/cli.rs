//! The program as its users run it. Videos, masks and weights are real; nothing but the program's
//! own files and the weights that `make test` fetches is needed.

#![cfg(feature = "gstreamer")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::*;
use p2sam::{Foreground, Frame, Mask, dice};
use serde_json::Value;

/// Times of the uneven clip in milliseconds.
const UNEVEN: [u64; 3] = [0, 70, 200];
/// All that `track` can write.
const ALL: &str = "-o overlay.mkv --masks masks --coco masks.json --jsonl frames.jsonl \
                   --summary summary.json";
/// As few candidates as possible: the tests look at files, not at the method.
const QUICK: &str = "--n 1 --m 1";

fn mask(path: &Path) -> Mask {
    Mask::open(path, Foreground::AboveZero).expect("a mask")
}

/// An empty folder that lasts as long as the tests.
fn shared(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// One run over an uneven clip that writes everything; many tests look at what it left.
fn whole_run() -> &'static (PathBuf, Run) {
    static WHOLE: OnceLock<(PathBuf, Run)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let _turn = model();
        let folder = shared("cli-whole-run");
        clip(&folder.join("clip.mkv"), &UNEVEN, None);
        std::fs::create_dir(folder.join("truth")).expect("a folder");
        for (index, frame) in scene().iter().enumerate() {
            frame.mask.save_png(&folder.join(format!("truth/{index:06}.png"))).expect("writable");
        }
        let line = format!(
            "track clip.mkv --reference truth/000000.png --truth truth {ALL} {QUICK} --thickness 1"
        );
        let run = p2sam(&folder, &line);
        run.succeeds();
        (folder, run)
    })
}

/// The mask that the first picture gets with its own mask as the reference. The program finds no
/// other program here, Python least of all.
fn plain_mask() -> &'static Mask {
    static PLAIN: OnceLock<Mask> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let _turn = model();
        let folder = shared("cli-plain-mask");
        picture_and_mask(&folder);
        let line = format!("track picture.png --reference mask.png --masks masks {QUICK}");
        let nowhere = folder.join("nowhere");
        run(command(&folder, line.split_whitespace()).env("PATH", nowhere)).succeeds();
        mask(&folder.join("masks/picture.png"))
    })
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[track_caller]
fn has_keys(value: &Value, names: &str) {
    for name in names.split_whitespace() {
        assert!(keys(value).contains(&name), "no {name} in {:?}", keys(value));
    }
}

const SUMMARY_KEYS: &str = "program input width height weights architecture device profile \
     frames_decoded frames_written frames_expected complete problems interrupted seconds \
     frames_per_second latency peak_memory";

#[test]
fn every_output_holds_every_frame() {
    let (folder, run) = whole_run();
    assert_eq!(frames(&folder.join("overlay.mkv")).len(), 3);
    assert_eq!(entries(&folder.join("masks")), ["000000.png", "000001.png", "000002.png"]);
    assert_eq!(json(&folder.join("masks.json"))["images"].as_array().map(Vec::len), Some(3));
    assert_eq!(json_lines(&folder.join("frames.jsonl")).len(), 3);
    let summary = json(&folder.join("summary.json"));
    assert_eq!(summary["frames_decoded"], 3);
    assert_eq!(summary["frames_written"], 3);
    assert_eq!(summary["complete"], true);
    assert!(run.stdout.contains("overlay.mkv"), "{}", run.stdout);
}

#[test]
fn a_finished_run_leaves_no_temporary_files() {
    let (folder, _) = whole_run();
    let hidden: Vec<String> =
        entries(folder).into_iter().filter(|name| name.contains(".part-")).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

#[test]
fn an_overlay_of_an_uneven_video_keeps_its_times() {
    let (folder, _) = whole_run();
    let overlay = frames(&folder.join("overlay.mkv"));
    for (frame, time) in overlay.iter().zip(UNEVEN) {
        let time = Duration::from_millis(time);
        assert!(frame.pts.abs_diff(time) <= Duration::from_millis(1), "{:?}", frame.pts);
    }
}

#[test]
fn json_lines_ascend_and_tell_the_times_of_the_input() {
    let (folder, _) = whole_run();
    let lines = json_lines(&folder.join("frames.jsonl"));
    for (index, (line, time)) in lines.iter().zip(UNEVEN).enumerate() {
        assert_eq!(line["index"], index);
        let said = line["time"].as_f64().expect("a number");
        assert!((said - time as f64 / 1e3).abs() <= 0.001, "{said}");
    }
}

#[test]
fn json_lines_agree_with_the_masks() {
    let (folder, _) = whole_run();
    for (index, line) in json_lines(&folder.join("frames.jsonl")).iter().enumerate() {
        has_keys(line, "area bounding_box n m points distance predicted_iou dice milliseconds");
        let mask = mask(&folder.join(format!("masks/{index:06}.png")));
        let area = mask.bounding_box().expect("the polyp is found");
        assert_eq!(line["area"], mask.area());
        assert_eq!(line["bounding_box"], serde_json::to_value(area).expect("JSON"));
        let found = dice(&mask, &scene()[index].mask).expect("one size");
        assert!((line["dice"].as_f64().expect("a number") - found).abs() < 1e-9);
    }
}

#[test]
fn the_polyp_is_followed() {
    let (folder, _) = whole_run();
    let scores = &json(&folder.join("summary.json"))["scores"];
    assert_eq!(scores["frames_present"], 3);
    assert!(scores["mean_dice"].as_f64() > Some(0.7), "{scores}");
}

#[test]
fn the_summary_has_its_documented_keys() {
    let (folder, _) = whole_run();
    let summary = json(&folder.join("summary.json"));
    has_keys(&summary, SUMMARY_KEYS);
    has_keys(&summary["latency"], "total preprocess encode prompts decode retrieval");
    has_keys(&summary["latency"]["total"], "p50 p90 p95 p99 max mean");
    assert_eq!(summary["input"], "clip.mkv");
    assert_eq!(summary["architecture"], "mobile-sam");
    assert_eq!([&summary["width"], &summary["height"]], [WIDTH, HEIGHT]);
}

/// COCO's compressed run lengths, decoded apart from the program's own encoder.
fn decode_rle(rle: &Value) -> Mask {
    let side = |i: usize| rle["size"][i].as_u64().expect("a number") as usize;
    let (height, width) = (side(0), side(1));
    let mut bytes = rle["counts"].as_str().expect("text").bytes();
    let mut runs: Vec<i64> = Vec::new();
    while let Some(mut byte) = bytes.next() {
        let (mut value, mut shift) = (0i64, 0);
        loop {
            let group = i64::from(byte - b'0');
            value |= (group & 31) << shift;
            shift += 5;
            if group & 32 == 0 {
                if group & 16 != 0 {
                    value |= -1 << shift;
                }
                break;
            }
            byte = bytes.next().expect("a group follows");
        }
        if runs.len() > 2 {
            value += runs[runs.len() - 2];
        }
        runs.push(value);
    }
    let columns: Vec<bool> = runs
        .iter()
        .enumerate()
        .flat_map(|(i, &run)| std::iter::repeat_n(i % 2 == 1, run as usize))
        .collect();
    assert_eq!(columns.len(), width * height, "the runs fill the picture");
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| x * height + y));
    Mask::new(width as u32, height as u32, rows.map(|at| columns[at]).collect()).expect("a mask")
}

#[test]
fn coco_masks_are_exactly_the_mask_pictures() {
    let (folder, _) = whole_run();
    let coco = json(&folder.join("masks.json"));
    has_keys(&coco, "info licenses categories images annotations");
    let annotations = coco["annotations"].as_array().expect("a list");
    assert_eq!(annotations.len(), 3);
    for annotation in annotations {
        let index = annotation["image_id"].as_u64().expect("a number");
        let mask = mask(&folder.join(format!("masks/{index:06}.png")));
        let area = mask.bounding_box().expect("the polyp is found");
        assert_eq!(decode_rle(&annotation["segmentation"]), mask);
        assert_eq!(annotation["area"], mask.area());
        assert_eq!(annotation["category_id"], coco["categories"][0]["id"]);
        let sides = [area.x1 - area.x0 + 1, area.y1 - area.y0 + 1];
        assert_eq!(annotation["bbox"], serde_json::json!([area.x0, area.y0, sides[0], sides[1]]));
    }
}

#[test]
fn pycocotools_reads_the_coco_file() {
    let python = |code: &str| {
        let mut command = std::process::Command::new("python3");
        command.args(["-c", code]).current_dir(&whole_run().0).output()
    };
    if !python("import pycocotools").is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: pycocotools is not installed");
        return;
    }
    let code = "from pycocotools.coco import COCO\n\
                c = COCO('masks.json')\n\
                print([int(c.annToMask(a).sum()) for a in c.loadAnns(c.getAnnIds())])";
    let output = python(code).expect("python runs");
    let areas: Vec<usize> =
        (0..3).map(|i| mask(&whole_run().0.join(format!("masks/{i:06}.png"))).area()).collect();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("{areas:?}")), "{said}");
}

/// Mean difference of two pictures' values over the pixels that `chosen` names.
fn difference(a: &Frame, b: &Frame, chosen: impl Fn(u32, u32) -> bool) -> f64 {
    let (mut sum, mut count) = (0u64, 0u64);
    let places = (0..a.height()).flat_map(|y| (0..a.width()).map(move |x| (x, y)));
    let values = a.rgb().chunks_exact(3).zip(b.rgb().chunks_exact(3));
    for ((x, y), (a, b)) in places.zip(values) {
        if chosen(x, y) {
            sum += a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum::<u64>();
            count += 3;
        }
    }
    assert!(count > 0, "no pixel to compare");
    sum as f64 / count as f64
}

#[test]
fn the_overlay_differs_from_the_input_only_around_the_mask() {
    let (folder, _) = whole_run();
    let pairs =
        frames(&folder.join("clip.mkv")).into_iter().zip(frames(&folder.join("overlay.mkv")));
    for (index, (before, after)) in pairs.enumerate() {
        let mask = mask(&folder.join(format!("masks/{index:06}.png")));
        let on = |x: u32, y: u32| mask.data()[(y * WIDTH + x) as usize];
        let area = mask.bounding_box().expect("the polyp is found");
        let near = |x: u32, y: u32| {
            (area.x0.saturating_sub(16)..=area.x1 + 16).contains(&x)
                && (area.y0.saturating_sub(16)..=area.y1 + 16).contains(&y)
        };
        let far = difference(&before.frame, &after.frame, |x, y| !near(x, y));
        let marked = difference(&before.frame, &after.frame, on);
        assert!(far < 3.0, "frame {index}: {far} far from the mask");
        assert!(marked > 5.0 * far, "frame {index}: {marked} on the mask, {far} far from it");
    }
}

#[test]
fn an_mp4_becomes_an_mp4_with_the_same_times() {
    let _turn = model();
    let dir = folder();
    clip(&dir.path().join("clip.mp4"), &[0, 100], Some((10, 1)));
    scene()[0].mask.save_png(&dir.path().join("mask.png")).expect("writable");
    let line = format!("track clip.mp4 --reference mask.png -o overlay.mp4 {QUICK}");
    p2sam(dir.path(), &line).succeeds();
    let before = frames(&dir.path().join("clip.mp4"));
    let after = frames(&dir.path().join("overlay.mp4"));
    assert_eq!((before.len(), after.len()), (2, 2));
    for (before, after) in before.iter().zip(&after) {
        assert!(before.pts.abs_diff(after.pts) <= Duration::from_millis(1));
        assert_eq!((after.frame.width(), after.frame.height()), (WIDTH, HEIGHT));
    }
}

#[test]
fn a_folder_of_pictures_gives_masks_of_the_same_names() {
    let _turn = model();
    let dir = folder();
    let pictures = dir.path().join("pictures");
    std::fs::create_dir(&pictures).expect("a folder");
    scene()[0].frame.save_png(&pictures.join("slice2.png")).expect("writable");
    scene()[1].frame.save_png(&pictures.join("slice10.png")).expect("writable");
    scene()[0].mask.save_png(&dir.path().join("mask.png")).expect("writable");
    let line = format!("track pictures --reference mask.png --image-rate 5 {ALL} {QUICK}");
    p2sam(dir.path(), &line).succeeds();
    assert_eq!(entries(&dir.path().join("masks")), ["slice10.png", "slice2.png"]);
    let lines = json_lines(&dir.path().join("frames.jsonl"));
    let said: Vec<_> = lines.iter().map(|l| (l["file"].clone(), l["time"].as_f64())).collect();
    let expected = [("pictures/slice2.png", 0.0), ("pictures/slice10.png", 0.2)];
    assert_eq!(said, expected.map(|(file, time)| (Value::from(file), Some(time))));
    let coco = json(&dir.path().join("masks.json"));
    assert_eq!(coco["images"][1]["file_name"], "pictures/slice10.png");
    let overlay = frames(&dir.path().join("overlay.mkv"));
    assert_eq!(overlay[1].pts, Duration::from_millis(200));
}

#[test]
fn a_pattern_and_a_mask_of_zeros_and_ones_give_the_same_mask() {
    let expected = plain_mask();
    let _turn = model();
    let dir = folder();
    picture_and_mask(dir.path());
    let ones: Vec<u8> = scene()[0].mask.data().iter().map(|&on| u8::from(on)).collect();
    image::GrayImage::from_raw(WIDTH, HEIGHT, ones)
        .expect("one size")
        .save(dir.path().join("ones.png"))
        .expect("writable");
    let line = format!("track pict*.png --reference ones.png --foreground any --masks o {QUICK}");
    p2sam(dir.path(), &line).succeeds();
    assert_eq!(mask(&dir.path().join("o/picture.png")), *expected);
}

#[test]
fn a_list_and_a_resized_mask_give_the_same_mask_and_json_on_standard_output() {
    let expected = plain_mask();
    let _turn = model();
    let dir = folder();
    picture_and_mask(dir.path());
    std::fs::write(dir.path().join("list.txt"), "# one\npicture.png\n").expect("writable");
    let large = scene()[0].mask.resized(2 * WIDTH, 2 * HEIGHT).expect("a size");
    large.save_png(&dir.path().join("large.png")).expect("writable");
    let line =
        format!("track list.txt --reference large.png --resize-mask --masks o --json {QUICK}");
    let run = p2sam(dir.path(), &line);
    run.succeeds();
    assert_eq!(mask(&dir.path().join("o/picture.png")), *expected);
    let summary: Value = serde_json::from_str(&run.stdout).expect("standard output is JSON");
    has_keys(&summary, SUMMARY_KEYS);
    assert_eq!(summary["frames_written"], 1);
}

#[test]
fn weights_say_where_they_come_from() {
    let _turn = model();
    let dir = folder();
    p2sam(
        dir.path(),
        "weights convert mobile-sam own.safetensors --half --metadata licence=Apache-2.0",
    )
    .succeeds();
    let said = p2sam(dir.path(), "weights info own.safetensors").succeeds().stdout.clone();
    assert!(said.contains("licence:      Apache-2.0") && said.contains("Safetensors"), "{said}");
}

#[test]
fn converted_weights_give_the_same_mask() {
    let expected = plain_mask();
    let _turn = model();
    let dir = folder();
    picture_and_mask(dir.path());
    p2sam(dir.path(), "weights convert mobile-sam own.bpk").succeeds();
    assert!(p2sam(dir.path(), "weights info own.bpk").succeeds().stdout.contains("Native"));
    let line =
        format!("track picture.png --reference mask.png --weights own.bpk --masks o {QUICK}");
    p2sam(dir.path(), &line).succeeds();
    assert_eq!(mask(&dir.path().join("o/picture.png")), *expected);
}

#[test]
fn a_reference_picture_may_come_from_elsewhere() {
    let _turn = model();
    let dir = folder();
    picture_and_mask(dir.path());
    scene()[1].frame.save_png(&dir.path().join("next.png")).expect("writable");
    let line = format!(
        "track next.png --reference-image picture.png --reference mask.png --masks o {QUICK}"
    );
    p2sam(dir.path(), &line).succeeds();
    let found = mask(&dir.path().join("o/next.png"));
    assert!(dice(&found, &scene()[1].mask) > Some(0.6));
}

/// The true masks of the two pictures of [`two_pictures`] beside their folder.
fn two_masks(folder: &Path) {
    for index in 0..2 {
        scene()[index].mask.save_png(&folder.join(format!("{index}.png"))).expect("writable");
    }
}

#[test]
fn several_annotated_pictures_pair_with_their_masks_in_order() {
    let _turn = model();
    let dir = folder();
    two_pictures(dir.path());
    two_masks(dir.path());
    let follow = |pictures: [&str; 2], masks: &str| {
        let [one, two] = pictures;
        let line = format!(
            "track two {one} {two} --reference 0.png --reference 1.png --masks {masks} \
             --summary {masks}.json {QUICK}"
        );
        p2sam(dir.path(), &line).succeeds();
        let found = |index| mask(&dir.path().join(format!("{masks}/{index}.png")));
        (json(&dir.path().join(format!("{masks}.json"))), [found(0), found(1)])
    };
    let (summary, found) = follow(["--reference-frame 0", "--reference-frame 0.04s"], "frames");
    assert_eq!(summary["reference"], "frame 0 at 0.000 s, frame 1 at 0.040 s");
    assert_eq!(summary["mask"], "0.png, 1.png");
    for (index, found) in found.iter().enumerate() {
        assert!(dice(found, &scene()[index].mask) > Some(0.6), "picture {index}");
    }
    let images = ["--reference-image two/0.png", "--reference-image two/1.png"];
    let (summary, again) = follow(images, "images");
    assert_eq!(summary["reference"], "two/0.png, two/1.png");
    assert!(again == found, "the same pictures give the same masks");
}

#[test]
fn annotated_pictures_that_do_not_pair_are_told_before_anything_is_read() {
    let dir = folder();
    let (masks, frames) = ("--reference a.png --reference b.png", "--reference-frame 0");
    for (references, told) in [
        (masks.to_owned(), "masks (2) and annotated pictures (1)"),
        (format!("{masks} --reference-image c.png"), "one --reference-image or one"),
        (format!("--reference a.png {frames} {frames}"), "masks (1) and annotated pictures (2)"),
        (format!("--point 1,1 {frames} {frames}"), "one --reference for every picture"),
    ] {
        let line = format!("track clip.mkv {references} --masks o");
        p2sam(dir.path(), &line).ends(1, &[told]);
    }
    let line = format!("annotate clip.mkv {frames} {frames} --point 1,1 -o m.png");
    p2sam(dir.path(), &line).ends(1, &["one picture is annotated at a time, and 2 are given"]);
    assert!(entries(dir.path()).is_empty());
}

#[test]
fn settings_of_the_method_are_told_in_the_summary() {
    let _turn = model();
    let dir = folder();
    picture_and_mask(dir.path());
    let line = format!(
        "track picture.png --reference mask.png --profile accurate --retrieval predicted-iou \
         --passes 1 --normalised on --own-mask off --temporal on --json {QUICK}"
    );
    let run = p2sam(dir.path(), &line);
    let summary: Value = serde_json::from_str(&run.succeeds().stdout).expect("JSON");
    assert_eq!(summary["profile"], "accurate");
    let expected = serde_json::json!({
        "retrieval": "predicted-iou", "passes": "1", "normalised": "on", "own_mask": "off",
        "temporal": "on", "padding": "off",
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&summary["settings"][name], value, "{name}");
    }
}

#[test]
fn an_evaluation_does_not_go_on_with_other_settings() {
    let _turn = model();
    let dir = folder();
    for (index, shown) in scene().iter().take(2).enumerate() {
        for folder in ["set/images", "set/masks"] {
            std::fs::create_dir_all(dir.path().join(folder)).expect("a folder");
        }
        let path = |folder| dir.path().join(format!("set/{folder}/{index}.png"));
        shown.frame.save_png(&path("images")).expect("writable");
        shown.mask.save_png(&path("masks")).expect("writable");
    }
    let run = |more: &str| {
        let line = format!("eval sequence set --out results {QUICK} --passes 2 {more}");
        p2sam(dir.path(), &line)
    };
    run("").succeeds();
    run("").succeeds();
    for (other, told) in [
        ("--retrieval centroid", "retrieval emd there, centroid now"),
        ("--normalised on", "normalised off there, on now"),
        ("--own-mask on", "own_mask off there, on now"),
        ("--padding off", "padding on there, off now"),
        ("--temporal on", "temporal off there, on now"),
    ] {
        run(other).ends(1, &[told, "another folder"]);
    }
}

/// The middle of the polyp on a picture of the scene.
fn polyp_at(index: usize) -> [u32; 4] {
    let area = scene()[index].mask.bounding_box().expect("the polyp is in view");
    [area.x0, area.y0, area.x1, area.y1]
}

#[test]
fn points_say_what_to_follow() {
    let _turn = model();
    let dir = folder();
    picture_and_mask(dir.path());
    let [x0, y0, x1, y1] = polyp_at(0);
    let (x, y) = ((x0 + x1) / 2, (y0 + y1) / 2);
    let line = format!("track picture.png --point {x},{y} --point -4,4 --masks o {QUICK}");
    p2sam(dir.path(), &line).succeeds();
    let found = mask(&dir.path().join("o/picture.png"));
    assert!(dice(&found, &scene()[0].mask) > Some(0.6));
}

/// Two pictures as a series at 25 a second.
fn two_pictures(folder: &Path) {
    std::fs::create_dir(folder.join("two")).expect("a folder");
    for index in 0..2 {
        let path = folder.join(format!("two/{index}.png"));
        scene()[index].frame.save_png(&path).expect("writable");
    }
}

/// Annotates a frame with a box, and returns the mask and the picture over which it was drawn.
fn annotate_second_picture(place: &str) -> (Mask, Frame) {
    let _turn = model();
    let dir = folder();
    two_pictures(dir.path());
    let [x0, y0, x1, y1] = polyp_at(1);
    let line = format!(
        "annotate two --reference-frame {place} --box {x0},{y0},{x1},{y1} -o mask.png \
         --overlay look.png"
    );
    p2sam(dir.path(), &line).succeeds();
    assert_eq!(entries(dir.path()), ["look.png", "mask.png", "two/", "two/0.png", "two/1.png"]);
    let look = Frame::open(&dir.path().join("look.png")).expect("a picture");
    (mask(&dir.path().join("mask.png")), look)
}

#[test]
fn a_box_on_a_frame_given_by_number_annotates_that_frame() {
    let (mask, look) = annotate_second_picture("1");
    assert!(dice(&mask, &scene()[1].mask) > Some(0.7));
    let border = |_, y| y == 0 || y == HEIGHT - 1;
    assert!(difference(&look, &scene()[1].frame, border) == 0.0);
    assert!(difference(&look, &scene()[0].frame, border) > 0.0);
}

#[test]
fn a_time_means_the_frame_that_is_shown_then() {
    let (mask, look) = annotate_second_picture("0.05s");
    assert!(dice(&mask, &scene()[1].mask) > Some(0.7));
    let border = |_, y| y == 0 || y == HEIGHT - 1;
    assert!(difference(&look, &scene()[1].frame, border) == 0.0);
}

#[test]
fn a_reference_frame_beyond_the_end_is_an_error_that_tells_how_many_there_are() {
    let dir = folder();
    two_pictures(dir.path());
    for place in ["2", "7.5s"] {
        let line = format!("annotate two --reference-frame {place} --point 5,5 -o mask.png");
        p2sam(dir.path(), &line).ends(1, &["two", "2 frames"]);
    }
}

#[test]
fn ctrl_c_finishes_the_files_that_were_begun() {
    let _turn = model();
    let dir = folder();
    let times: Vec<u64> = (0..60).map(|i| i * 100).collect();
    clip(&dir.path().join("clip.mkv"), &times, Some((10, 1)));
    scene()[0].mask.save_png(&dir.path().join("mask.png")).expect("writable");
    let line = format!("track clip.mkv --reference mask.png {ALL} {QUICK}");
    let child = command(dir.path(), line.split_whitespace()).spawn().expect("the program starts");
    let start = Instant::now();
    // Masks get their folder once all are there.
    while !entries(dir.path()).iter().any(|name| name.ends_with("/000000.png")) {
        assert!(start.elapsed() < Duration::from_secs(200), "no mask appears");
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(child.id(), "-INT");
    finish(child).ends(130, &["stopp"]);
    let written = json_lines(&dir.path().join("frames.jsonl")).len();
    assert!((1..60).contains(&written), "{written} frames");
    assert_eq!(frames(&dir.path().join("overlay.mkv")).len(), written);
    assert_eq!(entries(&dir.path().join("masks")).len(), written);
    let summary = json(&dir.path().join("summary.json"));
    assert_eq!(summary["frames_written"], written);
    assert_eq!((&summary["interrupted"], &summary["complete"]), (&true.into(), &false.into()));
    let coco = json(&dir.path().join("masks.json"));
    assert_eq!(coco["images"].as_array().map(Vec::len), Some(written));
    assert!(!entries(dir.path()).iter().any(|name| name.contains(".part-")));
}

#[test]
fn ctrl_c_before_the_first_frame_leaves_nothing() {
    let _turn = model();
    let dir = folder();
    picture_and_mask(dir.path());
    let line = format!("track picture.png --reference mask.png -o overlay.mkv {QUICK}");
    let child = command(dir.path(), line.split_whitespace()).spawn().expect("the program starts");
    let start = Instant::now();
    while !entries(dir.path()).iter().any(|name| name.contains(".part-")) {
        assert!(start.elapsed() < Duration::from_secs(60), "no file is begun");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(50));
    signal(child.id(), "-INT");
    finish(child).ends(130, &["stopp"]);
    assert_eq!(entries(dir.path()), ["mask.png", "picture.png"]);
}

/// As small a model as there is.
const SMALL: &str = "--weights polyp --profile fast --n 1 --input-side 128";

/// A small file whose values FFmpeg and Pillow were asked for: tests/fixtures/make_video.py.
fn fixture(folder: &Path, name: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/video").join(name);
    std::fs::copy(from, folder.join(name)).expect("the fixture is there");
}

#[test]
fn one_of_several_tracks_is_chosen() {
    let _turn = model();
    let dir = folder();
    fixture(dir.path(), "two.mkv");
    middle_mask(&dir.path().join("mask.png"), 64, 48);
    middle_mask(&dir.path().join("small.png"), 32, 32);
    let track =
        |more: &str| p2sam(dir.path(), &format!("track two.mkv {SMALL} --summary s.json {more}"));
    track("--reference mask.png").ends(0, &["2 video tracks", "track 1 was taken"]);
    let summary = json(&dir.path().join("s.json"));
    assert_eq!((&summary["width"], &summary["frames_written"]), (&64.into(), &6.into()));
    track("--reference small.png --track 0").ends(0, &["track 0 was taken"]);
    assert_eq!(json(&dir.path().join("s.json"))["width"], 32);
    track("--reference mask.png --track 2").ends(1, &["no video track 2", "64x48"]);
    scene()[0].frame.save_png(&dir.path().join("picture.png")).expect("writable");
    let line = format!("track picture.png --reference mask.png --track 0 --json {SMALL}");
    p2sam(dir.path(), &line).ends(1, &["--track", "picture.png"]);
}

#[test]
fn one_object_of_a_label_mask_is_chosen() {
    let _turn = model();
    let dir = folder();
    for name in ["plain.mp4", "mask-labels.png", "mask-palette.png"] {
        fixture(dir.path(), name);
    }
    let track = |mask: &str, more: &[&str]| {
        let line = format!("track plain.mp4 --reference {mask} {SMALL} --summary s.json");
        let words = line.split_whitespace().chain(more.iter().copied());
        run(&mut command(dir.path(), words))
    };
    track("mask-labels.png", &[]).ends(1, &["5 (576 pixels)", "255 (192 pixels)", "--object"]);
    track("mask-labels.png", &["--object", "5"]).succeeds();
    track("mask-labels.png", &["--object", "7"]).ends(1, &["no object of value 7"]);
    track("mask-labels.png", &["--object", "polyp"]).ends(1, &["no names"]);
    track("mask-labels.png", &["--foreground", "any"]).succeeds();
    track("mask-labels.png", &["--foreground", "any", "--object", "5"]).ends(2, &["--object"]);
    track("mask-palette.png", &["--object", "#008000"]).succeeds();
    track("mask-palette.png", &["--object", "#00800"]).ends(2, &["no colour"]);
    track("mask-palette.png", &["--object", "1", "--object", "2"])
        .ends(1, &["2 times for 1 masks"]);
}

#[test]
fn a_mask_that_is_turned_by_a_quarter_is_not_squashed() {
    let dir = folder();
    fixture(dir.path(), "plain.mp4");
    middle_mask(&dir.path().join("mask.png"), 48, 64);
    let line = format!("track plain.mp4 --reference mask.png {SMALL} --resize-mask --json");
    p2sam(dir.path(), &line).ends(1, &["48 x 64", "turned by a quarter"]);
}

/// Nothing that the program reads is overwritten by what it writes.
#[track_caller]
fn refuses_to_overwrite(line: &str) {
    let dir = folder();
    picture_and_mask(dir.path());
    clip(&dir.path().join("clip.mkv"), &[0], Some((10, 1)));
    let state = || -> Vec<Vec<u8>> {
        let names = ["clip.mkv", "picture.png", "mask.png"];
        names.map(|name| std::fs::read(dir.path().join(name)).expect("readable")).into()
    };
    let before = state();
    let run = p2sam(dir.path(), line);
    assert!(state() == before, "an input was overwritten: {run:?}");
    assert!(matches!(run.code, Some(1 | 2)), "{run:?}");
}

#[test]
fn an_overlay_does_not_overwrite_the_video() {
    refuses_to_overwrite("track clip.mkv --reference mask.png -o ./clip.mkv");
}

#[test]
fn an_annotation_does_not_overwrite_the_video() {
    let _turn = model();
    refuses_to_overwrite("annotate clip.mkv --point 60,30 -o clip.mkv");
}

#[test]
fn the_picture_of_an_annotation_does_not_overwrite_the_input() {
    let _turn = model();
    refuses_to_overwrite("annotate picture.png --point 60,30 -o m.png --overlay picture.png");
}

#[test]
fn masks_do_not_overwrite_the_pictures() {
    let _turn = model();
    refuses_to_overwrite("track picture.png --reference mask.png --masks .");
}

#[test]
fn an_output_does_not_overwrite_the_reference_mask() {
    let _turn = model();
    refuses_to_overwrite("track picture.png --reference mask.png --n 1 --summary mask.png");
}

#[test]
fn two_outputs_of_one_name_are_refused() {
    let _turn = model();
    let dir = folder();
    picture_and_mask(dir.path());
    let line = "track picture.png --reference mask.png --n 1 --coco out.json --jsonl ./out.json";
    let run = p2sam(dir.path(), line);
    assert!(matches!(run.code, Some(1 | 2)), "{run:?}");
    assert_eq!(entries(dir.path()), ["mask.png", "picture.png"]);
}

#[test]
fn every_command_explains_itself() {
    let dir = folder();
    let weights = ["list", "fetch", "verify", "info", "convert"].map(|c| format!("weights {c}"));
    let commands =
        ["", "track", "annotate", "bench", "bench compare", "phantom", "weights", "completions"];
    for command in commands.map(str::to_owned).into_iter().chain(weights) {
        let run = p2sam(dir.path(), &format!("{command} --help"));
        assert!(run.succeeds().stdout.contains("Usage:"), "{command}: {}", run.stdout);
    }
    let version = p2sam(dir.path(), "--version");
    assert!(version.succeeds().stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_printed_for_every_shell() {
    let dir = folder();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = p2sam(dir.path(), &format!("completions {shell}"));
        assert!(run.succeeds().stdout.contains("annotate"), "{shell}");
    }
}

#[test]
fn wrong_arguments_are_told_apart_from_other_errors() {
    let dir = folder();
    for line in [
        "follow",
        "track",
        "track in.mkv --n five",
        "track in.mkv --passes 4 --reference m.png",
        "track in.mkv --retrieval nearest --reference m.png",
        "track in.mkv --own-mask maybe --reference m.png",
        "track in.mkv --reference-frame -1 --point 1,1",
        "track in.mkv --reference m.png --point 1,1 -o o.mkv",
        "track in.mkv --reference m.png --reference-frame 1 --reference-image p.png -o o.mkv",
        "track in.mkv --box 9,9,1,1 -o o.mkv",
        "track in.mkv --color blue --reference m.png -o o.mkv",
        "track in.mkv --opacity 2 --reference m.png -o o.mkv",
        "track in.mkv --image-rate 0 --reference m.png -o o.mkv",
        "phantom -o p --size 12",
        "completions cmd.exe",
    ] {
        p2sam(dir.path(), line).ends(2, &["--help"]);
    }
    assert!(entries(dir.path()).is_empty());
}

#[test]
fn weights_are_listed_and_looked_into() {
    checkpoint();
    let dir = folder();
    let list = p2sam(dir.path(), "weights list");
    for name in ["mobile-sam", "lite-medsam", "sam-vit-b", "sam-vit-l", "sam-vit-h"] {
        assert!(list.succeeds().stdout.contains(name), "{}", list.stdout);
    }
    let info = p2sam(dir.path(), "weights info mobile-sam --tensors");
    for word in ["mobile-sam", "PyTorch", "6dbb90523a35330f", "mask_decoder.iou_token.weight"] {
        assert!(info.succeeds().stdout.contains(word), "no {word} in {}", info.stdout);
    }
    let verified = p2sam(dir.path(), "weights verify mobile-sam");
    assert!(verified.succeeds().stdout.contains("mobile-sam: whole"));
}

#[test]
fn weights_are_fetched_from_a_folder_once() {
    let from = checkpoint();
    let dir = folder();
    let fetch = |from: &Path| {
        let mut command = command(dir.path(), ["weights", "fetch", "mobile-sam", "--from"]);
        run(command.arg(from).env("P2SAM_WEIGHTS", "here").env("PATH", "nowhere"))
    };
    fetch(from.parent().expect("a folder")).succeeds();
    let file = dir.path().join("here/mobile_sam.pt");
    let time = || std::fs::metadata(&file).and_then(|data| data.modified()).expect("fetched");
    let before = time();
    fetch(&dir.path().join("no-such-folder")).succeeds();
    assert_eq!(time(), before, "the file that was there stays");
    assert_eq!(entries(dir.path()), ["here/", "here/mobile_sam.pt"]);
}

/// What lies in the current folder may be anybody's: neither a file of a catalog's name nor a folder of
/// weights with a catalog is used.
#[test]
fn weights_come_with_the_program_and_not_from_the_current_folder() {
    let dir = folder();
    let (trap, data) = (dir.path().join("weights"), ".installed/.local/share/p2sam/weights");
    std::fs::create_dir(&trap).expect("writable");
    let shipped = weights().join("polyp.safetensors");
    std::fs::copy(weights().join("catalog.toml"), trap.join("catalog.toml")).expect("writable");
    std::fs::copy(&shipped, trap.join("polyp.safetensors")).expect("writable");
    std::fs::copy(&shipped, dir.path().join("polyp")).expect("writable");
    let p2sam = |line: &str| run(&mut installed(dir.path(), line.split_whitespace()));
    let missing = p2sam("weights info polyp");
    missing.ends(1, &["'polyp'", data, "weights list"]);
    // A path is taken as it is.
    p2sam("weights info ./polyp").succeeds();

    let share = dir.path().join(".installed/share/p2sam/weights");
    std::fs::create_dir_all(&share).expect("writable");
    std::fs::copy(&shipped, share.join("polyp.safetensors")).expect("writable");
    let info = p2sam("weights info polyp");
    assert!(info.succeeds().stdout.contains(".installed/share/p2sam"), "{}", info.stdout);
    let list = p2sam("weights list").succeeds().stdout.clone();
    let found = list.lines().skip_while(|line| !line.starts_with("polyp")).nth(1);
    assert!(found.is_some_and(|line| line.contains("share/p2sam/weights/polyp")), "{list}");

    // One byte of a tensor.
    let mut bytes = std::fs::read(&shipped).expect("readable");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(share.join("polyp.safetensors"), bytes).expect("writable");
    p2sam("weights info polyp").ends(1, &["polyp.safetensors", "sha256"]);
}

/// Weights that are no numbers gave empty masks and exit code 0.
#[test]
fn weights_that_are_no_numbers_follow_nothing() {
    let dir = folder();
    picture_and_mask(dir.path());
    let mut bytes = std::fs::read(weights().join("polyp.safetensors")).expect("readable");
    let end = bytes.len();
    bytes[end - 64..].fill(0xff);
    std::fs::write(dir.path().join("damaged.safetensors"), bytes).expect("writable");
    let line = "track picture.png --reference mask.png --weights damaged.safetensors --masks out";
    p2sam(dir.path(), line).ends(1, &["damaged.safetensors", "tensor ", "no number"]);
    assert!(!dir.path().join("out").exists());
}

fn phantom(seed: u64) -> (tempfile::TempDir, Vec<Vec<u8>>) {
    let dir = folder();
    let line = format!("phantom -o p --seed {seed} --size 64x48 --rate 10 --length 0.5 --images");
    p2sam(dir.path(), &line).succeeds();
    let file = |name: &str| std::fs::read(dir.path().join("p").join(name)).expect("readable");
    let names = (0..5).flat_map(|i| [format!("masks/{i:06}.png"), format!("images/{i:06}.png")]);
    let files = names.map(|name| file(&name)).chain([file("truth.csv")]).collect();
    (dir, files)
}

#[test]
fn a_phantom_is_the_same_for_the_same_seed_only() {
    let (_one, first) = phantom(5);
    assert_eq!(phantom(5).1, first);
    assert_ne!(phantom(6).1, first);
}

#[test]
fn a_phantom_has_as_many_frames_as_it_has_masks() {
    let (dir, _) = phantom(3);
    let clip = frames(&dir.path().join("p/clip.mkv"));
    assert_eq!(clip.len(), 5);
    assert_eq!(clip[4].pts, Duration::from_millis(400));
    let table = std::fs::read_to_string(dir.path().join("p/truth.csv")).expect("readable");
    let areas: Vec<&str> = table.lines().skip(1).filter_map(|l| l.rsplit(',').next()).collect();
    for (index, area) in areas.iter().enumerate() {
        let mask = mask(&dir.path().join(format!("p/masks/{index:06}.png")));
        assert_eq!(mask.area().to_string(), *area);
    }
    assert_eq!(areas.len(), 5);
}
