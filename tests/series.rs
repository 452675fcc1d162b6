//! `p2sam track` on volumes as its users run it: a DICOM series and one annotated slice become a DICOM
//! segmentation, a NIfTI file, a page and figures; and nobody's name is in any of them.
//!
//! `tests/series/check_seg.py` lets a reader from packages judge the segmentation.

#![cfg(feature = "gstreamer")]

mod common;

use std::path::Path;

use common::dicom::{PLANTED, Slice};
use common::*;
use p2sam::{Foreground, Mask, Volume, VolumeOptions, marked_voxels, open_masks};

/// As small a model as there is: the tests look at files, not at the method.
const QUICK: &str = "--weights polyp --profile fast --n 1 --input-side 128";

/// The scene's frames as slices of an MR series in a folder.
fn visit(folder: &Path, name: &str, series: &str) {
    for (number, frame) in scene().iter().enumerate() {
        let slice = Slice {
            modality: "MR",
            id: PLANTED[1],
            study: "1.2.77",
            date: PLANTED[3],
            series,
            description: "",
            frame_of_reference: "1.2.88",
            number,
            values: frame.frame.rgb().chunks_exact(3).map(|p| u16::from(p[1]) * 4).collect(),
            intercept: "0",
        };
        slice.write(&folder.join(name).join(format!("{series}.{number}.dcm")));
    }
}

fn masks(folder: &Path, mask: &str, volume: &str) -> Vec<Option<Mask>> {
    let volume = Volume::open(&folder.join(volume), &VolumeOptions::default()).expect("a volume");
    open_masks(&folder.join(mask), &volume, None, Foreground::AboveZero).expect("masks").masks
}

#[test]
fn one_annotated_slice_becomes_a_segmentation_that_names_nobody() {
    let _turn = model();
    let folder = folder();
    let folder = folder.path();
    visit(folder, "visit1", "1.2.3");
    scene()[0].mask.save_png(&folder.join("mask.png")).expect("writable");
    std::fs::create_dir(folder.join("out")).expect("a folder");
    let line = format!(
        "track visit1 --reference mask.png {QUICK} --seg out/seg.dcm --nifti out/mask.nii.gz --page \
         out/page.html --masks out/masks --coco out/coco.json --jsonl out/slices.jsonl --summary \
         out/summary.json"
    );
    let run = p2sam(folder, &line);
    run.succeeds();
    assert!(run.stdout.contains(" ml on "), "{}", run.stdout);
    for planted in PLANTED {
        assert!(!holds(&folder.join("out"), planted), "{planted}");
        assert!(!run.stdout.contains(planted) && !run.stderr.contains(planted));
    }
    // Names of DICOM files, which often are identifiers, are in no table.
    for name in ["out/coco.json", "out/slices.jsonl", "out/summary.json", "out/page.html"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("text");
        assert!(!text.contains("1.2.3.") && !text.contains("1.2.77"), "{name}");
    }
    let found = masks(folder, "out/seg.dcm", "visit1");
    assert_eq!(masks(folder, "out/mask.nii.gz", "visit1"), found);
    let summary = json(&folder.join("out/summary.json"));
    assert_eq!(summary["volume"]["voxels"], marked_voxels(&found));
    let millilitres = summary["volume"]["millilitres"].as_f64().expect("a number");
    assert!((millilitres - 0.003 * marked_voxels(&found) as f64).abs() < 1e-6);

    // The next visit, from the segmentation of the first; upwards and downwards.
    visit(folder, "visit2", "1.2.4");
    let line = format!(
        "track visit2 --reference-image visit1 --reference out/seg.dcm {QUICK} --propagate --seg \
         out/next.dcm --json --truth out/seg.dcm"
    );
    let run = p2sam(folder, &line);
    run.succeeds();
    let summary: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(summary["settings"]["temporal"], "on");
    assert_eq!(summary["volume"]["reference_millilitres"], millilitres);
    assert!(summary["volume"]["change_percent"].is_number());
    assert!(summary["volume"]["dice"].as_f64().expect("a number") > 0.3);

    // What was asked to be kept is kept.
    let line = format!(
        "track visit1 --reference mask.png {QUICK} --seg kept.dcm --keep-identifiers --slices 0..1"
    );
    p2sam(folder, &line).succeeds();
    assert!(holds(folder, "Planted^Name"));
    assert!(masks(folder, "kept.dcm", "visit1")[2].is_none());
}

#[test]
fn what_cannot_be_followed_is_told_before_anything_is_written() {
    let folder = folder();
    let folder = folder.path();
    visit(folder, "visit1", "1.2.3");
    scene()[0].mask.save_png(&folder.join("mask.png")).expect("writable");
    let fails = |line: &str, words: &[&str]| {
        p2sam(folder, &format!("track {line}")).ends(1, words);
    };
    fails("visit1 --reference mask.png", &["--seg"]);
    fails("visit1 --reference mask.png --reference-frame 9 --seg s.dcm", &["slices 0 to 2"]);
    fails("visit1 --reference mask.png --reference-frame 1.5s --seg s.dcm", &["no times"]);
    fails("visit1 --reference mask.png --slices 1..7 --seg s.dcm", &["slices 0 to 2"]);
    fails("visit1 --reference visit1 --seg s.dcm", &["no DICOM segmentation"]);
    fails("mask.png --reference mask.png --seg s.dcm", &["--seg is for volumes"]);
    std::fs::copy(folder.join("visit1/1.2.3.1.dcm"), folder.join("cut.dcm")).expect("a copy");
    cut(&folder.join("cut.dcm"), &folder.join("cut2.dcm"), 300);
    fails("cut2.dcm --reference mask.png --seg s.dcm", &["cut2.dcm"]);
    std::fs::remove_file(folder.join("visit1/1.2.3.1.dcm")).expect("removed");
    visit(folder, "visit2", "1.2.3");
    std::fs::rename(folder.join("visit2"), folder.join("visit1/more")).expect("moved");
    // Copies of the same images are left out, and what was missing is there.
    let _turn = model();
    let line = format!("track visit1 --reference mask.png {QUICK} --nifti m.nii");
    let run = p2sam(folder, &line);
    run.succeeds();
    assert!(run.stderr.contains("is a copy of another file"), "{}", run.stderr);
    assert!(!folder.join("s.dcm").exists());
}
