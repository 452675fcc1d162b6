//! Bad input: a clear error, the right exit code, nothing half-written.

#![cfg(feature = "gstreamer")]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use tempfile::TempDir;

/// What `track` writes here, all of it into one folder.
const OUT: &str = "-o out/overlay.mkv --coco out/masks.json --jsonl out/frames.jsonl \
                   --summary out/summary.json";
/// As few candidates as possible.
const QUICK: &str = "--n 1 --m 1";
/// Three noisy frames that need none of the others, some 24 kB each.
const NOISE: &str = "videotestsrc num-buffers=3 pattern=snow \
     ! video/x-raw,width=160,height=96,framerate=10/1 \
     ! x264enc key-int-max=1 tune=zerolatency ! h264parse";
/// Within the second of them.
const IN_THE_SECOND: usize = 40_000;

/// A folder with an empty `out` in it, a whole clip and a picture, and a mask that fits both.
fn place() -> TempDir {
    let dir = folder();
    std::fs::create_dir(dir.path().join("out")).expect("a folder");
    picture_and_mask(dir.path());
    dir
}

fn out(dir: &TempDir) -> Vec<String> {
    entries(&dir.path().join("out"))
}

/// The program ends with an error that says all of `words`, and leaves nothing.
#[track_caller]
fn refuses(dir: &TempDir, line: &str, words: &[&str]) {
    p2sam(dir.path(), line).ends(1, words);
    assert!(out(dir).is_empty(), "left behind: {:?}", out(dir));
}

#[track_caller]
fn refuses_input(dir: &TempDir, name: &str, words: &[&str]) {
    let words: Vec<&str> = [name].iter().chain(words).copied().collect();
    refuses(dir, &format!("track {name} --reference mask.png {OUT}"), &words);
}

// Files that hold no video.

#[test]
fn a_missing_file_is_told_by_name() {
    refuses_input(&place(), "nosuch.mp4", &["No such file", "check the name"]);
}

#[test]
fn an_empty_file_is_told() {
    let dir = place();
    std::fs::write(dir.path().join("empty.mp4"), b"").expect("writable");
    refuses_input(&dir, "empty.mp4", &["is empty"]);
}

#[test]
fn a_text_is_no_video() {
    let dir = place();
    std::fs::write(dir.path().join("letter.mp4"), "Dear reader,\n".repeat(100)).expect("writable");
    refuses_input(&dir, "letter.mp4", &["cannot be read as a video"]);
}

#[test]
fn an_archive_is_no_video() {
    let dir = place();
    let file = std::fs::File::create(dir.path().join("archive.mkv")).expect("writable");
    let mut archive = zip::ZipWriter::new(file);
    archive.start_file("a", zip::write::SimpleFileOptions::default()).expect("writable");
    archive.write_all(&[7; 5000]).expect("writable");
    archive.finish().expect("writable");
    refuses_input(&dir, "archive.mkv", &[]);
}

#[test]
fn noise_is_no_video() {
    let dir = place();
    let bytes: Vec<u8> =
        (0..20_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(dir.path().join("noise.mkv"), bytes).expect("writable");
    refuses_input(&dir, "noise.mkv", &["video"]);
}

#[test]
fn sound_alone_is_no_video() {
    let dir = place();
    let sound = "audiotestsrc num-buffers=20";
    launch(&dir.path().join("sound.ogg"), &format!("{sound} ! vorbisenc ! oggmux ! OUT"));
    launch(&dir.path().join("sound.wav"), &format!("{sound} ! wavenc ! OUT"));
    launch(&dir.path().join("sound.mkv"), &format!("{sound} ! vorbisenc ! matroskamux ! OUT"));
    for name in ["sound.ogg", "sound.wav", "sound.mkv"] {
        refuses_input(&dir, name, &["no video stream"]);
    }
}

#[test]
fn a_video_without_frames_is_told() {
    let dir = place();
    let nothing = "videotestsrc num-buffers=0 ! video/x-raw,width=160,height=96";
    launch(&dir.path().join("none.mkv"), &format!("{nothing} ! x264enc ! matroskamux ! OUT"));
    launch(&dir.path().join("none.avi"), &format!("{nothing} ! avimux ! OUT"));
    for name in ["none.mkv", "none.avi"] {
        refuses_input(&dir, name, &["cut short"]);
    }
}

#[test]
fn a_folder_is_no_device_to_read_from() {
    let dir = place();
    refuses_input(&dir, "/dev/null", &["no ordinary file"]);
}

#[test]
fn a_series_without_pictures_says_what_was_looked_for() {
    let dir = place();
    std::fs::create_dir(dir.path().join("bare")).expect("a folder");
    std::fs::write(dir.path().join("bare/notes.md"), "x").expect("writable");
    std::fs::write(dir.path().join("bare.txt"), "# no picture\n\n").expect("writable");
    refuses_input(&dir, "bare", &["no picture", "png"]);
    refuses_input(&dir, "bare.txt", &["no picture", "one path a line"]);
    refuses_input(&dir, "x*.png", &["no file matches"]);
}

#[test]
fn a_list_names_every_picture_that_is_missing() {
    let dir = place();
    std::fs::write(dir.path().join("list.txt"), "picture.png\na.png\nb.png\n").expect("writable");
    refuses_input(&dir, "list.txt", &["a.png", "b.png", "missing"]);
}

#[test]
fn a_broken_picture_is_told_by_name() {
    let dir = place();
    cut(&dir.path().join("picture.png"), &dir.path().join("cut.png"), 2000);
    refuses_input(&dir, "cut.png", &["cannot read the picture"]);
}

// Files that break off.

#[test]
fn a_video_cut_before_its_first_frame_is_told() {
    let dir = place();
    launch(&dir.path().join("whole.mkv"), &format!("{NOISE} ! matroskamux ! OUT"));
    cut(&dir.path().join("whole.mkv"), &dir.path().join("cut.mkv"), 2000);
    refuses_input(&dir, "cut.mkv", &["cut short"]);
}

#[test]
fn an_mp4_without_its_index_is_told() {
    let dir = place();
    launch(&dir.path().join("whole.mp4"), &format!("{NOISE} ! mp4mux ! OUT"));
    cut(&dir.path().join("whole.mp4"), &dir.path().join("cut.mp4"), IN_THE_SECOND);
    refuses_input(&dir, "cut.mp4", &["cut short"]);
}

/// Whatever was decoded stands in every output, and nothing else lies there.
#[track_caller]
fn whole_outputs(dir: &TempDir) -> usize {
    let names = ["frames.jsonl", "masks.json", "overlay.mkv", "summary.json"];
    assert_eq!(out(dir), names);
    let at = |name: &str| dir.path().join("out").join(name);
    let lines = json_lines(&at("frames.jsonl")).len();
    assert_eq!(frames(&at("overlay.mkv")).len(), lines);
    assert_eq!(json(&at("masks.json"))["images"].as_array().map(Vec::len), Some(lines));
    assert_eq!(json(&at("summary.json"))["frames_written"], lines);
    lines
}

#[track_caller]
fn follows_what_is_left(muxer: &str, extension: &str) {
    let _turn = model();
    let dir = place();
    let whole = dir.path().join(format!("whole.{extension}"));
    launch(&whole, &format!("{NOISE} ! {muxer} ! OUT"));
    let name = format!("cut.{extension}");
    cut(&whole, &dir.path().join(&name), IN_THE_SECOND);
    middle_mask(&dir.path().join("mask.png"), 160, 96);
    let run = p2sam(dir.path(), &format!("track {name} --reference mask.png {OUT} {QUICK}"));
    run.ends(3, &["warning", "cut short"]);
    assert!((1..3).contains(&whole_outputs(&dir)));
    let summary = json(&dir.path().join("out/summary.json"));
    assert_eq!(summary["complete"], false);
    assert!(!summary["problems"].as_array().expect("a list").is_empty());
}

#[test]
fn a_matroska_file_that_breaks_off_is_followed_to_there() {
    follows_what_is_left("matroskamux", "mkv");
}

#[test]
fn an_mp4_that_breaks_off_is_followed_to_there() {
    follows_what_is_left("mp4mux faststart=true", "mp4");
}

#[test]
fn a_recording_that_still_runs_is_followed_as_far_as_it_goes() {
    let _turn = model();
    let dir = place();
    let whole = dir.path().join("whole.mkv");
    launch(&whole, &format!("{NOISE} ! matroskamux streamable=true ! OUT"));
    let growing = dir.path().join("growing.mkv");
    cut(&whole, &growing, IN_THE_SECOND);
    middle_mask(&dir.path().join("mask.png"), 160, 96);
    let rest = std::fs::read(&whole).expect("readable").split_off(IN_THE_SECOND);
    let done = AtomicBool::new(false);
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            for piece in rest.chunks(100) {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                append(&growing, piece);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let run =
            p2sam(dir.path(), &format!("track growing.mkv --reference mask.png {OUT} {QUICK}"));
        done.store(true, Ordering::Relaxed);
        run
    });
    // Whether frames are missing depends on the moment; that they may be must be told.
    assert!(matches!(run.code, Some(0 | 3)), "{run:?}");
    assert!(run.stderr.contains("warning"), "{run:?}");
    assert!((1..=3).contains(&whole_outputs(&dir)));
}

// Masks that cannot be used.

#[test]
fn a_mask_of_another_size_may_be_resized() {
    let dir = place();
    middle_mask(&dir.path().join("small.png"), WIDTH / 2, HEIGHT / 2);
    let line = format!("track picture.png --reference small.png {OUT}");
    refuses(&dir, &line, &["small.png", "80 x 45", "160 x 90", "--resize-mask"]);
}

#[test]
fn a_missing_mask_is_told_by_name() {
    refuses(&place(), &format!("track picture.png --reference no.png {OUT}"), &["no.png"]);
}

#[test]
fn a_mask_that_is_no_picture_is_told_by_name() {
    let dir = place();
    std::fs::write(dir.path().join("text.png"), "no picture").expect("writable");
    let line = format!("track picture.png --reference text.png {OUT}");
    refuses(&dir, &line, &["text.png"]);
}

#[track_caller]
fn refuses_mask(on: impl Fn(u32, u32) -> bool, words: &[&str]) {
    let _turn = model();
    let dir = place();
    rectangle_mask(&dir.path().join("odd.png"), WIDTH, HEIGHT, on);
    let line = format!("track picture.png --reference odd.png {OUT}");
    refuses(&dir, &line, &[&["odd.png"], words].concat());
}

#[test]
fn an_empty_mask_is_refused() {
    refuses_mask(|_, _| false, &["empty"]);
}

#[test]
fn a_mask_of_everything_is_refused() {
    refuses_mask(|_, _| true, &["covers the whole picture", "--foreground"]);
}

#[test]
fn a_mask_that_leaves_no_background_is_refused_as_such() {
    // The one pixel beside the object lies between the middles of the patches.
    let all_but_one = |x, y| (x, y) != (2, 2);
    let _turn = model();
    let dir = place();
    rectangle_mask(&dir.path().join("odd.png"), WIDTH, HEIGHT, all_but_one);
    let line = format!("track picture.png --reference odd.png {OUT} --profile fast --n 1");
    refuses(&dir, &line, &["odd.png", "fills the frame", "around the object"]);
}

#[test]
fn a_mask_that_vanishes_at_the_patches_is_refused() {
    refuses_mask(|x, y| (x, y) == (52, 42), &["64 x 64", "larger"]);
}

#[test]
fn fewer_patches_than_parts_are_refused() {
    let _turn = model();
    let dir = place();
    rectangle_mask(&dir.path().join("odd.png"), WIDTH, HEIGHT, |x, y| {
        (50..56).contains(&x) && (40..46).contains(&y)
    });
    let line = format!("track picture.png --reference odd.png --n 30 {OUT}");
    refuses(&dir, &line, &["fewer parts"]);
}

// Points and boxes.

#[test]
fn points_and_boxes_outside_the_picture_are_refused() {
    let _turn = model();
    let dir = place();
    for prompt in ["--point 160,10", "--point 10,90", "--point 10,-1", "--box 10,10,161,20"] {
        let line = format!("track picture.png {prompt} {OUT}");
        refuses(&dir, &line, &["outside the picture", "160 x 90"]);
        let line = format!("annotate picture.png {prompt} -o out/mask.png");
        refuses(&dir, &line, &["outside the picture", "160 x 90"]);
    }
}

#[test]
fn points_beside_the_object_alone_are_refused() {
    let _turn = model();
    refuses(&place(), &format!("track picture.png --point -5,5 {OUT}"), &["on the object"]);
}

#[test]
fn nothing_to_follow_is_told() {
    let dir = place();
    refuses(&dir, &format!("track picture.png {OUT}"), &["--reference", "--point", "--box"]);
    refuses(&dir, "annotate picture.png -o out/mask.png", &["--point", "--box"]);
}

#[test]
fn nothing_to_write_is_told() {
    refuses(&place(), "track picture.png --reference mask.png", &["--masks", "--jsonl"]);
}

// Weights.

/// Weights that cannot be used are told by name, by everything that reads them.
#[track_caller]
fn refuses_weights(dir: &TempDir, name: &str, words: &[&str]) {
    let words: Vec<&str> = [name].iter().chain(words).copied().collect();
    for line in [
        format!("track picture.png --reference mask.png --weights {name} {OUT}"),
        format!("weights info {name}"),
        format!("weights convert {name} out/own.bpk"),
    ] {
        refuses(dir, &line, &words);
    }
}

/// Weights whose tensors are cut off are told by name, by everything that loads the model.
#[track_caller]
fn refuses_to_load(dir: &TempDir, name: &str, more: &str) {
    for line in [
        format!("track picture.png --reference mask.png --weights {name} {more} {OUT}"),
        format!("weights convert {name} out/own.bpk {more}"),
    ] {
        refuses(dir, &line, &[name]);
    }
}

#[test]
fn a_checkpoint_that_is_cut_short_is_refused() {
    let dir = place();
    let whole = checkpoint();
    for (name, bytes) in [("a.pt", 2), ("b.pt", 1000), ("c.pt", length(&whole) / 2)] {
        cut(&whole, &dir.path().join(name), bytes);
        refuses_weights(&dir, name, &["cannot read weights"]);
    }
}

#[test]
fn converted_weights_that_are_cut_short_are_refused() {
    let _turn = model();
    let dir = place();
    p2sam(dir.path(), "weights convert mobile-sam whole.bpk").succeeds();
    let whole = dir.path().join("whole.bpk");
    for (name, bytes) in [("a.bpk", 6), ("b.bpk", 3000), ("c.bpk", length(&whole) / 2)] {
        cut(&whole, &dir.path().join(name), bytes);
        refuses_to_load(&dir, name, "");
    }
}

#[test]
fn a_checkpoint_of_another_architecture_is_refused() {
    let _turn = model();
    let dir = place();
    std::fs::copy(checkpoint(), dir.path().join("other.pt")).expect("a copy");
    refuses_to_load(&dir, "other.pt", "--architecture lite-medsam");
}

/// A safetensors file with one tensor of zeros.
fn safetensors(path: &Path, tensor: &str, shape: [usize; 4]) {
    let bytes = shape.iter().product::<usize>() * 4;
    let head =
        format!(r#"{{"{tensor}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[0,{bytes}]}}}}"#);
    let mut file = (head.len() as u64).to_le_bytes().to_vec();
    file.extend(head.as_bytes());
    file.resize(file.len() + bytes, 0);
    std::fs::write(path, file).expect("writable");
}

#[test]
fn a_checkpoint_of_another_model_is_refused() {
    let dir = place();
    safetensors(&dir.path().join("other.safetensors"), "layer1.0.conv1.weight", [8, 8, 3, 3]);
    refuses_weights(&dir, "other.safetensors", &["no model that this program knows", "vit-b"]);
}

#[test]
fn a_checkpoint_with_a_part_of_the_model_is_refused() {
    let _turn = model();
    let dir = place();
    let stem = "image_encoder.patch_embed.seq.0.c.weight";
    safetensors(&dir.path().join("part.safetensors"), stem, [32, 3, 3, 3]);
    refuses_to_load(&dir, "part.safetensors", "");
}

#[test]
fn a_safetensors_file_that_is_cut_short_is_refused() {
    let dir = place();
    let whole = dir.path().join("whole.safetensors");
    safetensors(&whole, "image_encoder.patch_embed.proj.weight", [768, 3, 16, 16]);
    for (name, bytes) in [("a.safetensors", 40), ("b.safetensors", 5000)] {
        cut(&whole, &dir.path().join(name), bytes);
        refuses_weights(&dir, name, &["cannot read weights"]);
    }
    // A head that is longer than any file.
    std::fs::write(dir.path().join("c.safetensors"), b"\xff\xff\xff\xff\xff\xff\xff\x7f{}")
        .expect("writable");
    refuses_weights(&dir, "c.safetensors", &["cannot read weights"]);
}

#[test]
fn a_file_of_another_format_is_refused() {
    let dir = place();
    std::fs::write(dir.path().join("model.onnx"), b"\x08\x07\x12\x07pytorch").expect("writable");
    std::fs::write(dir.path().join("empty.pt"), b"").expect("writable");
    refuses_weights(&dir, "model.onnx", &["PyTorch", "safetensors"]);
    refuses_weights(&dir, "picture.png", &["PyTorch", "safetensors"]);
    refuses_weights(&dir, "empty.pt", &["empty"]);
}

#[test]
fn unknown_weights_are_told_with_the_known_ones() {
    let dir = place();
    refuses_weights(&dir, "no-such-model", &["mobile-sam", "lite-medsam"]);
    let line = format!("track picture.png --reference mask.png --weights sam-vit-h {OUT}");
    refuses(&dir, &line, &["sam_vit_h_4b8939.pth", "--weights FILE"]);
}

/// A pickle that makes a file as soon as Python's own reader sees it.
fn evil_pickle() -> Vec<u8> {
    let mut pickle = b"\x80\x02cposix\nsystem\n".to_vec();
    let order = b"touch executed";
    pickle.push(b'X');
    pickle.extend((order.len() as u32).to_le_bytes());
    pickle.extend(order);
    pickle.extend(b"\x85R.");
    pickle
}

#[test]
fn a_pickle_is_never_executed() {
    let dir = place();
    std::fs::write(dir.path().join("plain.pt"), evil_pickle()).expect("writable");
    let file = std::fs::File::create(dir.path().join("zipped.pt")).expect("writable");
    let mut archive = zip::ZipWriter::new(file);
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let pickle = evil_pickle();
    for (name, bytes) in
        [("m/data.pkl", pickle.as_slice()), ("m/version", b"3\n"), ("m/byteorder", b"little")]
    {
        archive.start_file(name, stored).expect("writable");
        archive.write_all(bytes).expect("writable");
    }
    archive.finish().expect("writable");
    for name in ["plain.pt", "zipped.pt"] {
        refuses_weights(&dir, name, &[]);
    }
    assert!(!dir.path().join("executed").exists(), "the pickle was executed");
}

#[test]
fn the_wrong_file_is_not_fetched() {
    let dir = place();
    std::fs::create_dir(dir.path().join("from")).expect("a folder");
    let wrong = dir.path().join("from/mobile_sam.pt");
    std::fs::write(&wrong, "not the weights").expect("writable");
    let fetch = || {
        let line = "weights fetch mobile-sam --from from";
        run(command(dir.path(), line.split_whitespace()).env("P2SAM_WEIGHTS", "out/weights"))
    };
    fetch().ends(1, &["mobile_sam.pt", "sha256", "6dbb90523a35330f"]);
    assert!(out(&dir).iter().all(|name| name == "weights/"), "left behind: {:?}", out(&dir));
    std::fs::remove_file(&wrong).expect("it was there");
    fetch().ends(1, &["from", "mobile_sam.pt"]);
}

#[test]
fn the_wrong_file_does_not_pass_verification() {
    let dir = place();
    let folder = dir.path().join("kept");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("mobile_sam.pt"), "not the weights").expect("writable");
    for line in ["weights verify", "weights verify mobile-sam"] {
        run(command(dir.path(), line.split_whitespace()).env("P2SAM_WEIGHTS", "kept"))
            .ends(1, &["kept/mobile_sam.pt", "sha256", "fetch it again"]);
    }
}

#[test]
fn weights_that_are_not_here_say_how_to_get_them() {
    let dir = place();
    let line = format!("track picture.png --reference mask.png {OUT}");
    run(installed(dir.path(), line.split_whitespace()).env("P2SAM_WEIGHTS", "nowhere"))
        .ends(1, &["nowhere", "p2sam weights fetch mobile-sam"]);
    assert!(out(&dir).is_empty(), "left behind: {:?}", out(&dir));
}

// Outputs that cannot be written.

/// An output that cannot be written is told although there are no weights: before they are looked
/// for.
#[track_caller]
fn refuses_before_any_work(dir: &TempDir, option: &str, name: &str) {
    let line = format!("track picture.png --reference mask.png {option} {name}");
    run(command(dir.path(), line.split_whitespace()).env("P2SAM_WEIGHTS", "nowhere"))
        .ends(1, &["cannot", name]);
    assert!(out(dir).is_empty(), "left behind: {:?}", out(dir));
}

#[test]
fn an_output_in_a_folder_that_is_not_there_is_told_before_any_work() {
    let dir = place();
    for (option, name) in [
        ("-o", "no/overlay.mkv"),
        ("--coco", "no/masks.json"),
        ("--jsonl", "no/frames.jsonl"),
        ("--masks", "picture.png/masks"),
    ] {
        refuses_before_any_work(&dir, option, name);
    }
}

#[test]
fn a_summary_in_a_folder_that_is_not_there_is_told_before_any_work() {
    refuses_before_any_work(&place(), "--summary", "no/summary.json");
}

#[test]
fn an_overlay_of_an_unknown_format_is_told() {
    let line = "track picture.png --reference mask.png -o out/overlay.gif";
    refuses(&place(), line, &["out/overlay.gif", ".mkv or .mp4"]);
}

#[test]
fn an_output_that_is_a_folder_is_told_before_any_work() {
    let dir = place();
    for output in ["--coco", "--jsonl", "--summary"] {
        refuses_before_any_work(&dir, output, "out");
    }
    refuses_before_any_work(&dir, "--masks", "mask.png");
}

#[test]
fn a_failed_run_leaves_no_folder_of_masks() {
    let dir = place();
    let line = "track picture.png --reference mask.png --masks out/masks --weights picture.png";
    refuses(&dir, line, &["picture.png"]);
}

/// An error of a disk that is full, with nothing left, and an older file as it was.
#[track_caller]
fn refuses_full_disk(line: &str, kilobytes: u32, name: &str) {
    let dir = place();
    let older = dir.path().join(name);
    std::fs::write(&older, "older").expect("writable");
    p2sam_on_full_disk(dir.path(), kilobytes, line).ends(1, &[name]);
    assert_eq!(std::fs::read(&older).expect("still there"), b"older");
    std::fs::remove_file(older).expect("still there");
    assert!(out(&dir).is_empty(), "left behind: {:?}", out(&dir));
}

#[test]
fn a_disk_that_fills_leaves_no_half_an_overlay() {
    let _turn = model();
    let line = format!("track picture.png --reference mask.png -o out/o.mkv {QUICK}");
    refuses_full_disk(&line, 1, "out/o.mkv");
}

#[test]
fn a_disk_that_fills_leaves_no_half_a_list() {
    let _turn = model();
    let line = format!("track picture.png --reference mask.png --jsonl out/f.jsonl {QUICK}");
    refuses_full_disk(&line, 0, "out/f.jsonl");
}

#[test]
fn a_disk_that_fills_leaves_no_half_a_mask() {
    let _turn = model();
    let line = "annotate picture.png --point 60,30 -o out/m.png";
    refuses_full_disk(line, 0, "out/m.png");
}

#[test]
fn a_disk_that_fills_leaves_no_masks() {
    let _turn = model();
    for folder in ["out/masks", "out/new/masks", "out"] {
        let dir = place();
        let line = format!("track picture.png --reference mask.png --masks {folder} {QUICK}");
        p2sam_on_full_disk(dir.path(), 0, &line).ends(1, &[folder]);
        assert!(out(&dir).is_empty(), "left behind: {:?}", out(&dir));
    }
}

#[test]
fn a_disk_that_fills_leaves_no_half_a_clip() {
    let line = "phantom -o . --size 160x90 --rate 10 --length 0.3 --lossless";
    let dir = place();
    p2sam_on_full_disk(dir.path(), 8, line).ends(1, &["clip.mkv"]);
    let names = entries(dir.path());
    assert!(!names.iter().any(|n| n.contains("clip.mkv") || n.contains(".part-")), "{names:?}");
}

#[test]
fn a_disk_that_fills_leaves_no_half_of_converted_weights() {
    let _turn = model();
    refuses_full_disk("weights convert mobile-sam out/own.bpk", 1000, "out/own.bpk");
}

#[test]
fn a_disk_that_fills_leaves_no_half_of_fetched_weights() {
    let dir = place();
    checkpoint();
    let line = format!("weights fetch --from {}", weights().display());
    let mut command = std::process::Command::new("bash");
    command
        .args(["-c", r#"ulimit -f 1000; trap "" XFSZ; exec "$@""#, "bash"])
        .arg(env!("CARGO_BIN_EXE_p2sam"))
        .args(line.split_whitespace())
        .current_dir(dir.path())
        .env("P2SAM_WEIGHTS", "out")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    run(&mut command).ends(1, &["mobile_sam.pt"]);
    assert!(out(&dir).is_empty(), "left behind: {:?}", out(&dir));
}

// Sizes.

#[track_caller]
fn follows_picture_of(width: u32, height: u32) {
    let _turn = model();
    let dir = place();
    tiles(width, height).save_png(&dir.path().join("tiles.png")).expect("writable");
    let line =
        format!("track tiles.png --reference-image picture.png --reference mask.png {OUT} {QUICK}");
    p2sam(dir.path(), &line).succeeds();
    assert_eq!(whole_outputs(&dir), 1);
    let overlay = frames(&dir.path().join("out/overlay.mkv"));
    assert_eq!((overlay[0].frame.width(), overlay[0].frame.height()), (width, height));
    let coco = json(&dir.path().join("out/masks.json"));
    assert_eq!([&coco["images"][0]["width"], &coco["images"][0]["height"]], [width, height]);
}

#[test]
fn a_picture_of_one_pixel_is_followed() {
    follows_picture_of(1, 1);
}

#[test]
fn a_picture_of_odd_sides_is_followed() {
    follows_picture_of(161, 91);
}

#[test]
fn a_picture_of_3840_by_2160_is_followed() {
    follows_picture_of(3840, 2160);
}

#[test]
fn a_reference_of_one_pixel_is_refused() {
    let _turn = model();
    let dir = place();
    tiles(1, 1).save_png(&dir.path().join("dot.png")).expect("writable");
    for (name, on) in [("on.png", true), ("off.png", false)] {
        rectangle_mask(&dir.path().join(name), 1, 1, |_, _| on);
        refuses(&dir, &format!("track dot.png --reference {name} {OUT}"), &["mask"]);
    }
}

#[test]
fn a_picture_too_small_for_mp4_is_told_before_any_work() {
    let dir = place();
    tiles(8, 8).save_png(&dir.path().join("small.png")).expect("writable");
    let line = "track small.png --reference-image picture.png --reference mask.png -o out/o.mp4";
    refuses(&dir, line, &["out/o.mp4", "16x16", ".mkv"]);
}

/// A raw H.264 stream whose second picture has another size than its first.
fn changing_video(dir: &TempDir) -> PathBuf {
    let video = dir.path().join("changing.h264");
    for (name, size) in [("a", "width=160,height=96"), ("b", "width=320,height=192")] {
        let path = dir.path().join(name);
        let line = format!(
            "videotestsrc num-buffers=1 ! video/x-raw,{size},framerate=10/1 ! x264enc \
             ! video/x-h264,stream-format=byte-stream ! OUT"
        );
        launch(&path, &line);
        let bytes = std::fs::read(&path).expect("readable");
        if !video.exists() {
            std::fs::write(&video, []).expect("writable");
        }
        append(&video, &bytes);
    }
    video
}

#[test]
fn an_overlay_of_a_size_that_changes_is_refused() {
    let _turn = model();
    let dir = place();
    changing_video(&dir);
    let line = format!(
        "track changing.h264 --reference-image picture.png --reference mask.png {OUT} {QUICK} \
         --masks out/masks"
    );
    refuses(&dir, &line, &["320x192", "160x96", "the size changes"]);
    // Nor in a folder of somebody else.
    std::fs::write(dir.path().join("out/000000.png"), "mine").expect("writable");
    let line = line.replace("out/masks", "out").replace("out.json", "out/masks.json");
    p2sam(dir.path(), &line).ends(1, &["the size changes"]);
    assert_eq!(out(&dir), ["000000.png"]);
    assert_eq!(std::fs::read(dir.path().join("out/000000.png")).expect("there"), b"mine");
}

#[test]
fn masks_follow_a_size_that_changes() {
    let _turn = model();
    let dir = place();
    std::fs::create_dir(dir.path().join("series")).expect("a folder");
    tiles(64, 48).save_png(&dir.path().join("series/1.png")).expect("writable");
    tiles(48, 64).save_png(&dir.path().join("series/2.png")).expect("writable");
    let line = format!(
        "track series --reference-image picture.png --reference mask.png --masks out {QUICK}"
    );
    p2sam(dir.path(), &line).succeeds();
    assert_eq!(out(&dir), ["1.png", "2.png"]);
    for (name, size) in [("1.png", (64, 48)), ("2.png", (48, 64))] {
        let file = dir.path().join("out").join(name);
        assert_eq!(image::image_dimensions(file).expect("a picture"), size);
    }
}
