//! `p2sam prepare` as its users run it, on downloads that the tests make, and what reads the result.

#![cfg(feature = "gstreamer")]

mod common;

use std::path::{Path, PathBuf};

use common::dicom::{PLANTED, Roi, Slice, contours};
use common::*;
use image::{DynamicImage, GrayImage, Luma};
use p2sam::{
    DataSet, Foreground, Frame, Mask, SegmentationOptions, Split, TrainingData, Validation, Volume,
    VolumeOptions, pairs, write_segmentation,
};

/// As small a model as there is: the tests look at files, not at the method.
const QUICK: &str = "--weights polyp --profile fast --n 1 --input-side 128";
/// A frame of reference.
const SPACE: &str = "1.2.88";
/// Left, top, right and bottom of a tumour.
const TUMOUR: [u32; 4] = [60, 30, 89, 59];

/// A patient of a made download.
struct Patient {
    id: &'static str,
    /// The folder's name.
    folder: &'static str,
}

const FIRST: Patient = Patient { id: "PLANTED-ID-2", folder: "PLANTED-ID-2" };
const SECOND: Patient = Patient { id: "PLANTED-ID-10", folder: "PLANTED-ID-10" };

impl Patient {
    /// The folder of a visit's series, as TCIA calls them.
    fn series(&self, root: &Path, date: &str, series: &str) -> PathBuf {
        root.join("4D-Lung").join(self.folder).join(format!("{date}-NA")).join(series)
    }

    /// Writes the scene's three pictures as a CT with a structure set, and returns its folder.
    fn ct(&self, root: &Path, date: &str, description: &str, rois: &[Roi<'_>]) -> PathBuf {
        let study = format!("1.2.{date}.{}", self.id.len());
        let series = format!("{study}.{}", description.len());
        let folder = self.series(root, date, &format!("Series {description}"));
        for (number, frame) in scene().iter().enumerate() {
            let slice = Slice {
                modality: "CT",
                id: self.id,
                study: &study,
                date,
                series: &series,
                description,
                frame_of_reference: SPACE,
                number,
                // -160 to 240 HU are the window of soft tissue.
                values: frame.frame.rgb().chunks_exact(3).map(hounsfield).collect(),
                intercept: "-1000",
            };
            slice.write(&folder.join(format!("1-{}.dcm", number + 1)));
        }
        if !rois.is_empty() {
            let whose = [self.id, &study, date];
            let path = folder.with_file_name(format!("Contours {description}")).join("1-1.dcm");
            contours(&path, whose, &series, SPACE, rois);
        }
        folder
    }
}

fn hounsfield(pixel: &[u8]) -> u16 {
    (840 + u32::from(pixel[1]) * 400 / 255) as u16
}

fn tumour(name: &'static str, slices: &'static [usize]) -> Roi<'static> {
    Roi { name, corners: TUMOUR, slices }
}

/// Two patients of two visits, one of these with two phases of breath.
fn lung(root: &Path) {
    let lung = || Roi { name: "Lung_L", corners: [10, 10, 30, 30], slices: &[0, 1, 2] };
    FIRST.ct(root, "19990909", "Gated, 10.0%A", &[tumour("Tumor_c10", &[0]), lung()]);
    FIRST.ct(root, "19990909", "Gated, 0.0%A", &[lung(), tumour("Tumor_c00", &[0, 1])]);
    FIRST.ct(root, "19991010", "Gated, 0.0%A", &[tumour("Tumor_c00", &[0, 1, 2])]);
    SECOND.ct(root, "19990808", "CT", &[tumour("tumor", &[1])]);
    // A visit that nobody looked at.
    SECOND.ct(root, "19990909", "CT", &[]);
    SECOND.ct(root, "19991111", "CT", &[tumour("Tumor", &[1, 2])]);
}

/// Nothing of a patient is in a run's words and in what it left.
#[track_caller]
fn tells_nothing(run: &Run, left: &Path) {
    for word in PLANTED.into_iter().chain(["19991010", "1.2.19990909", "PLANTED"]) {
        for text in [&run.stdout, &run.stderr] {
            assert!(!text.contains(word), "'{word}' in {text}");
        }
        assert!(!holds(left, word), "'{word}' in {:?}", entries(left));
    }
}

fn files(folder: &Path, kind: &str) -> Vec<String> {
    let all = entries(&folder.join(kind));
    all.into_iter().filter(|name| !name.ends_with('/')).collect()
}

#[test]
fn a_download_of_dicom_is_prepared_and_scored_and_names_nobody() {
    let folder = folder();
    let folder = folder.path();
    lung(&folder.join("src"));
    let run = p2sam(folder, "prepare 4d-lung src data/lung");
    run.succeeds();
    let done = folder.join("data");
    tells_nothing(&run, &done);
    for words in ["2 of 2 prepared, 0 failures", "4, and 1 with nothing", "8 written"] {
        assert!(run.stdout.contains(words), "no '{words}' in {}", run.stdout);
    }
    let data = done.join("lung");
    let expected = [
        "001/1/000.png",
        "001/1/001.png",
        "001/2/000.png",
        "001/2/001.png",
        "001/2/002.png",
        "002/1/001.png",
        "002/3/001.png",
        "002/3/002.png",
    ];
    assert_eq!(files(&data, "images"), expected);
    assert_eq!(files(&data, "masks"), expected);
    let mask =
        Mask::open(&data.join("masks/001/2/002.png"), Foreground::AboveZero).expect("a mask");
    let found = mask.bounding_box().map(|b| [b.x0, b.y0, b.x1, b.y1]);
    assert_eq!((found, mask.area()), (Some(TUMOUR), 900));
    let slice = Frame::open(&data.join("images/001/2/002.png")).expect("a picture");
    for (now, before) in slice.rgb().chunks_exact(3).zip(scene()[2].frame.rgb().chunks_exact(3)) {
        assert!(now[0] == now[1] && now[0].abs_diff(before[1]) <= 2, "{now:?} of {before:?}");
    }

    // What was done is not done again.
    let again = p2sam(folder, "prepare 4d-lung src data/lung");
    assert!(again.succeeds().stdout.contains("done before"), "{}", again.stdout);
    let other = p2sam(folder, "prepare 4d-lung src data/lung --window lung");
    other.ends(1, &["holds results of another task (window)"]);

    // The scores by slice, visit and patient; the first visit is the reference.
    let _turn = model();
    let line = format!(
        "eval 4d-lung data/lung {QUICK} --method first-mask,p2sam --summary summary.json --jsonl \
         slices.jsonl --report page.html"
    );
    let run = p2sam(folder, &line);
    run.succeeds();
    let words = [
        "visit",
        "slices",
        "001/2",
        "002/3",
        "patient 001: Dice 1.000 of 1 visits",
        "Slice Dice",
        "Visit Dice",
        "Patient Dice",
    ];
    for word in words {
        assert!(run.stdout.contains(word), "no '{word}' in {}", run.stdout);
    }
    let summary = json(&folder.join("summary.json"));
    let patients = summary["methods"][0]["patients"].as_array().expect("patients");
    assert_eq!(patients.len(), 2);
    assert_eq!((&patients[1]["patient"], &patients[1]["slices"]), (&"002".into(), &2.into()));
    let slices = json_lines(&folder.join("slices.jsonl"));
    let pairs: Vec<_> = slices
        .iter()
        .filter(|line| line["method"] == "first-mask")
        .map(|line| (line["sequence"].as_str(), line["frame"].as_str(), line["reference"].as_str()))
        .map(|(a, b, c)| [a, b, c].map(|word| word.expect("a name")))
        .collect();
    // From the middle outwards: slice 1 of three with slice 1 of two.
    let expected = [
        ["001/2", "000", "000"],
        ["001/2", "001", "001"],
        ["001/2", "002", "001"],
        ["002/3", "001", "001"],
        ["002/3", "002", "001"],
    ];
    assert_eq!(pairs, expected);
    let page = std::fs::read_to_string(folder.join("page.html")).expect("a page");
    assert!(page.contains("<th>patient</th>") && page.contains("Patient Dice"));
}

#[test]
fn what_is_asked_to_be_kept_is_kept() {
    let folder = folder();
    let folder = folder.path();
    lung(&folder.join("src"));
    let line = "prepare 4d-lung src kept --keep-identifiers --phase *90.0%* --window lung --json";
    let run = p2sam(folder, line);
    run.ends(
        3,
        &[
            "patient PLANTED-ID-2: visit 1 of 2: 2 series",
            "'*90.0%*': 'Gated, 0.0%A', 'Gated, 10.0%A'",
        ],
    );
    assert_eq!(
        files(&folder.join("kept"), "masks"),
        [
            "PLANTED-ID-10/19990808/001.png",
            "PLANTED-ID-10/19991111/001.png",
            "PLANTED-ID-10/19991111/002.png"
        ]
    );
    let summary: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((&summary["patients"], &summary["prepared"]), (&2.into(), &1.into()));
}

#[test]
fn a_bad_patient_fails_alone_and_is_tried_again() {
    let folder = folder();
    let folder = folder.path();
    let src = folder.join("src");
    lung(&src);
    let patient = |id| Patient { id, folder: id };
    // Later numbers than those of the two good ones.
    let cut_off = patient("PLANTED-ID-21").ct(&src, "19990909", "CT", &[tumour("Tumor", &[0, 2])]);
    let headless = patient("PLANTED-ID-22").ct(&src, "19990909", "CT", &[tumour("Tumor", &[0])]);
    patient("PLANTED-ID-23").ct(&src, "19990909", "CT", &[tumour("Heart PLANTED-ID-23", &[0])]);
    patient("PLANTED-ID-24").ct(&src, "19990909", "CT", &[]);
    let elsewhere = patient("PLANTED-ID-25").ct(&src, "19990909", "CT", &[tumour("Tumor", &[0])]);
    let gap = patient("PLANTED-ID-26").ct(&src, "19990909", "CT", &[tumour("Tumor", &[0])]);
    let twice = [tumour("Tumor_a", &[0]), tumour("Tumor_b", &[1])];
    patient("PLANTED-ID-27").ct(&src, "19990909", "CT", &twice);
    let whole = std::fs::read(cut_off.join("1-3.dcm")).expect("readable");
    std::fs::write(cut_off.join("1-3.dcm"), &whole[..whole.len() - 5000]).expect("writable");
    std::fs::write(headless.join("1-3.dcm"), &whole[..100]).expect("writable");
    // Told by its place: the name is an identifier.
    std::fs::rename(gap.join("1-3.dcm"), gap.join("PLANTED-ID-26.dcm")).expect("renamed");
    std::fs::write(gap.join("PLANTED-ID-26.dcm"), &whole[..300]).expect("writable");
    let marks = elsewhere.with_file_name("Contours CT").join("1-1.dcm");
    let study = "1.2.19990909.13";
    contours(
        &marks,
        ["PLANTED-ID-25", study, "19990909"],
        &format!("{study}.2"),
        "1.2.99",
        &[tumour("Tumor", &[0])],
    );

    let run = p2sam(folder, "prepare 4d-lung src done");
    run.ends(
        3,
        &[
            "patient 003: …/1-3.dcm: not readable as DICOM",
            "patient 004: …/1-3.dcm: not readable as DICOM",
            "patient 005: …/1-1.dcm: marks nothing that is called 'Tumor_c00', 'Tumor*', 'GTV*'",
            "--roi: 1 (Heart …",
            "patient 006: no structure set and no segmentation",
            "patient 007: …/1-1.dcm: was drawn in another frame of reference",
            "patient 008: …/(file 3 of 3 in its folder): not readable as DICOM",
            "patient 009: …/1-1.dcm: 'Tumor*' is Tumor_a and Tumor_b",
        ],
    );
    assert!(run.stdout.contains("2 of 9 prepared, 7 failures"), "{}", run.stdout);
    tells_nothing(&run, &folder.join("done"));
    let before = files(&folder.join("done"), "images");
    assert_eq!(before.len(), 8, "{before:?}");

    // Mended, it is done; the others were done before.
    std::fs::write(cut_off.join("1-3.dcm"), &whole).expect("writable");
    let run = p2sam(folder, "prepare 4d-lung src done");
    run.ends(3, &["patient 004"]);
    assert!(!run.stderr.contains("failed: patient 003"), "{}", run.stderr);
    assert!(run.stdout.contains("2 written, 8 there before"), "{}", run.stdout);
    // One more patient would shift the numbers of the others.
    patient("PLANTED-ID-1").ct(&src, "19990909", "CT", &[tumour("Tumor", &[0])]);
    p2sam(folder, "prepare 4d-lung src done").ends(1, &["another task (input)"]);
}

#[test]
fn a_killed_run_goes_on() {
    let folder = folder();
    let folder = folder.path();
    lung(&folder.join("src"));
    p2sam(folder, "prepare 4d-lung src done").succeeds();
    // As it would have been left.
    let record = folder.join("done/job.json");
    let text = std::fs::read_to_string(&record).expect("a record");
    std::fs::write(&record, text.replace("\"done\"", "\"begun\"")).expect("writable");
    std::fs::write(folder.join("done/job.lock"), "").expect("writable");
    let whole = std::fs::read(folder.join("done/masks/002/3/001.png")).expect("a mask");
    std::fs::remove_file(folder.join("done/masks/002/3/001.png")).expect("removed");
    std::fs::write(folder.join("done/masks/002/3/.001.png.part-x"), "half").expect("writable");
    let run = p2sam(folder, "prepare 4d-lung src done");
    assert!(run.succeeds().stdout.contains("1 written, 7 there before"), "{}", run.stdout);
    assert_eq!(std::fs::read(folder.join("done/masks/002/3/001.png")).expect("a mask"), whole);
    let left = entries(&folder.join("done"));
    assert!(!left.iter().any(|name| name.contains(".part-") || name.contains("lock")), "{left:?}");
}

#[test]
fn a_full_disk_ends_the_run_and_leaves_no_half_file() {
    let folder = folder();
    let folder = folder.path();
    lung(&folder.join("src"));
    let run = p2sam_on_full_disk(folder, 4, "prepare 4d-lung src done");
    run.ends(1, &["cannot write done/images/001/1/000.png"]);
    let left = entries(&folder.join("done"));
    assert!(!left.iter().any(|name| name.contains("png")), "{left:?}");
    let run = p2sam(folder, "prepare 4d-lung src done");
    assert!(run.succeeds().stdout.contains("8 written, 0 there before"), "{}", run.stdout);
}

#[test]
fn slices_for_training_keep_patients_together() {
    let folder = folder();
    let folder = folder.path();
    let src = folder.join("src");
    for id in ["LUNG1-001", "LUNG1-002", "LUNG1-003"] {
        let patient = Patient { id, folder: id };
        let rois = [tumour("GTV-1", &[0, 1, 2]), tumour("GTV-2", &[0]), tumour("Lung-Left", &[1])];
        let marked = if id == "LUNG1-003" { &rois[..0] } else { &rois[..] };
        let ct = patient.ct(&src, "20060101", "", marked);
        let volume = Volume::open(&ct, &VolumeOptions::default()).expect("a volume");
        let mask = Mask::new(WIDTH, HEIGHT, (0..WIDTH * HEIGHT).map(|i| i < 500).collect());
        let masks = [None, Some(mask.expect("a mask")), None];
        let options = SegmentationOptions { label: "GTV-1".into(), keep_identifiers: true };
        let path = ct.with_file_name("seg.dcm");
        write_segmentation(&path, &volume, &masks, &options).expect("writable");
    }
    p2sam(folder, "prepare nsclc-radiomics src data").succeeds();
    let names = [
        "001_000.png",
        "001_001.png",
        "001_002.png",
        "002_000.png",
        "002_001.png",
        "002_002.png",
        "003_001.png",
    ];
    assert_eq!(files(&folder.join("data"), "images"), names);
    let area = |name: &str| {
        let path = folder.join("data/masks").join(name);
        Mask::open(&path, Foreground::AboveZero).expect("a mask").area()
    };
    // Contours come before segmentations.
    assert_eq!((area("001_001.png"), area("003_001.png")), (900, 500));
    let samples = pairs(&folder.join("data"), Foreground::AboveMiddle).expect("pairs");
    let set = DataSet { name: "data".to_owned(), samples, absent: Vec::new() };
    let by_patient =
        Split { patient_ends_at: Some("_".to_owned()), ..Split::new(Validation::Share(0.34)) };
    let split = TrainingData::new(vec![set], &by_patient, 0).expect("a split");
    let of = |image: &p2sam::TrainingImage| image.name[..3].to_owned();
    let held: Vec<String> = split.held_out.iter().map(of).collect();
    assert!(!held.is_empty() && !split.train.iter().any(|sample| held.contains(&of(sample))));
    // A pattern of one's own.
    p2sam(folder, "prepare nsclc-radiomics src other --roi gtv-2").ends(3, &["patient 003"]);
    assert_eq!(files(&folder.join("other"), "masks"), ["001_000.png", "002_000.png"]);
}

#[test]
fn pictures_and_masks_of_kvasir_and_cvc() {
    let folder = folder();
    let folder = folder.path();
    let write = |path: &str, picture: DynamicImage| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        picture.save(path).expect("writable");
    };
    let soft = |x: u32, y: u32| Luma([if (20..60).contains(&x) && y > 20 { 250 } else { 3 }]);
    let grey = DynamicImage::from(GrayImage::from_fn(WIDTH, HEIGHT, soft));
    let colour = scene()[0].frame.rgb().to_vec();
    let colour = image::RgbImage::from_raw(WIDTH, HEIGHT, colour).expect("a picture");
    for name in ["cju0", "cju1"] {
        write(&format!("kvasir/Kvasir-SEG/images/{name}.jpg"), colour.clone().into());
        let three = grey.to_rgb8().into();
        write(&format!("kvasir/Kvasir-SEG/masks/{name}.jpg"), three);
    }
    std::fs::write(folder.join("kvasir/Kvasir-SEG/kavsir_bboxes.json"), "{}").expect("writable");
    p2sam(folder, "prepare kvasir-seg kvasir k").succeeds();
    assert_eq!(files(&folder.join("k"), "images"), ["cju0.jpg", "cju1.jpg"]);
    let levels = image::open(folder.join("k/masks/cju1.png")).expect("a mask").into_luma8();
    assert!(levels.pixels().all(|level| [0, 255].contains(&level.0[0])));
    let area = levels.pixels().filter(|level| level.0[0] == 255).count();
    assert!(area.abs_diff(40 * 69) < 100, "{area}");
    let kept = [folder.join("k/images/cju0.jpg"), folder.join("kvasir/Kvasir-SEG/images/cju0.jpg")];
    let [now, before] = kept.map(|path| std::fs::read(path).expect("readable"));
    assert_eq!(now, before);

    // Sequences 1 and 2 end with frames 25 and 50.
    for number in 1..=50 {
        write(&format!("cvc/Original/{number}.tif"), colour.clone().into());
        write(&format!("cvc/Ground Truth/{number}.tif"), grey.clone());
    }
    p2sam(folder, "prepare cvc-clinicdb cvc c").succeeds();
    assert_eq!(files(&folder.join("c"), "masks").len(), 50);
    // The levels are those of the download.
    let levels = image::open(folder.join("c/masks/7.png")).expect("a mask").into_luma8();
    assert_eq!(levels, grey.to_luma8());
    let sequences = p2sam::Dataset::CvcClinicDb.read(&folder.join("c")).expect("a data set");
    let read: Vec<_> = sequences.iter().map(|s| (s.name.as_str(), s.scored())).collect();
    assert_eq!(read, [("1", 22), ("2", 22)]);

    // A damaged picture fails alone; what does not pair is told before anything is written.
    std::fs::write(folder.join("kvasir/Kvasir-SEG/masks/cju0.jpg"), "none").expect("writable");
    p2sam(folder, "prepare kvasir-seg kvasir k2").ends(3, &["picture cju0", "masks/cju0.jpg"]);
    assert_eq!(files(&folder.join("k2"), "masks"), ["cju1.png"]);
    std::fs::remove_file(folder.join("cvc/Ground Truth/7.tif")).expect("removed");
    p2sam(folder, "prepare cvc-clinicdb cvc c3").ends(1, &["the picture 7 has no mask"]);
    assert!(!folder.join("c3").exists());
}

#[test]
fn what_cannot_be_prepared_is_told_before_anything_is_written() {
    let folder = folder();
    let folder = folder.path();
    lung(&folder.join("src"));
    std::fs::create_dir_all(folder.join("empty")).expect("a folder");
    std::fs::create_dir_all(folder.join("mine")).expect("a folder");
    std::fs::write(folder.join("mine/notes.txt"), "mine").expect("writable");
    std::fs::create_dir_all(folder.join("pictures/one")).expect("a folder");
    picture_and_mask(&folder.join("pictures"));
    FIRST.ct(&folder.join("images only"), "19990909", "CT", &[]);
    std::fs::rename(folder.join("images only"), folder.join("unmarked")).expect("renamed");
    let before = entries(folder);
    for (line, words) in [
        ("4d-lung nowhere out", &["cannot read nowhere"][..]),
        ("4d-lung empty out", &["expected DICOM", "found 0 images in 0 series"]),
        ("4d-lung pictures out", &["found 0 images", "2 other files"]),
        ("4d-lung unmarked out", &["found 3 images in 1 series, 0 structure sets"]),
        ("kvasir-seg empty out", &["expected", "`images` and `masks`", "found nothing"]),
        ("cvc-clinicdb pictures out", &["found mask.png, one, picture.png"]),
        ("4d-lung src mine", &["mine holds notes.txt", "name another output"]),
        ("4d-lung src src/out", &["src/out lies in src"]),
        ("4d-lung src src", &["src lies in src"]),
        ("4d-lung src/4D-Lung src", &["src holds src/4D-Lung"]),
        ("4d-lung src mine/notes.txt", &["is a file"]),
        ("kvasir-seg pictures out --window lung", &["are for DICOM data sets"]),
        ("4d-lung src none --roi Liver", &["none of the 2 patients could be prepared"]),
    ] {
        p2sam(folder, &format!("prepare {line}")).ends(1, words);
    }
    for line in
        ["4d-lung src", "films src out", "4d-lung src out --window 3", "4d-lung s o --roi a["]
    {
        assert_eq!(p2sam(folder, &format!("prepare {line}")).code, Some(2), "{line}");
    }
    let after: Vec<String> =
        entries(folder).into_iter().filter(|name| !name.starts_with("none/")).collect();
    assert_eq!(after, before);
}
