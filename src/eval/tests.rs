use super::*;
use crate::dataset::{Sequence, Target};
use crate::image::{CocoRle, Mask};
use crate::metrics::Overlap;

/// A result whose mask covers `found` of a row of 10 pixels, of which the first 5 are the object.
pub(super) fn frame(name: &str, found: usize, distance: f64) -> FrameResult {
    let row =
        |count: usize| Mask::new(10, 1, (0..10).map(|x| x < count).collect()).expect("a mask");
    let overlap = Overlap::of(&row(found), &row(5)).expect("sizes agree");
    FrameResult {
        frame: name.to_owned(),
        reference: "0".to_owned(),
        scored: true,
        dice: overlap.dice(),
        iou: overlap.iou(),
        boundary_f: 1.0,
        overlap,
        n: 2,
        m: 1,
        points: Vec::new(),
        distance: Some(distance),
        predicted_iou: 0.9,
        stability: 0.9,
        state: None,
        probability: None,
        object_score: None,
        found_dice: overlap.dice(),
        time: None,
        milliseconds: 5.0,
        mask: CocoRle::new(&row(found)),
    }
}

fn result(method: &str, sequence: &str, group: &str, found: &[usize]) -> SequenceResult {
    let frames = found.iter().enumerate().map(|(i, &f)| frame(&i.to_string(), f, 1.0)).collect();
    SequenceResult {
        method: method.to_owned(),
        sequence: sequence.to_owned(),
        group: group.to_owned(),
        data: "d".to_owned(),
        frames,
        problems: Vec::new(),
    }
}

fn settings(value: &str) -> Settings {
    Settings([("n".to_owned(), value.to_owned())].into())
}

fn total(summary: &EvalSummary, name: &str) -> f64 {
    let totals = &summary.methods[0].totals;
    totals.iter().find(|total| total.name == name).expect("the total").value
}

#[test]
fn image_dice_is_a_mean_of_frames_and_video_dice_of_sequences() {
    let mut long = result("p2sam", "1", "1", &[5, 5, 5]);
    long.frames.push(FrameResult { scored: false, ..frame("9", 0, 1.0) });
    let results = [long, result("p2sam", "2", "2", &[0])];
    let summary = summarise(&settings("1"), Measure::Dice, &results, Vec::new());
    assert_eq!(total(&summary, "Image Dice"), 0.75);
    assert_eq!(total(&summary, "Video Dice"), 0.5);
    assert_eq!(summary.methods[0].frames, 4);
    assert_eq!(summary.methods[0].failures[0].sequence, "2");
    assert_eq!(summary.methods[0].sequences[0].chosen, [(2, 3)]);
}

#[test]
fn a_patient_counts_once_however_many_visits_there_are() {
    let results = [
        result("p2sam", "a/2", "a", &[5, 5]),
        result("p2sam", "a/3", "a", &[5]),
        result("p2sam", "b/2", "b", &[0]),
    ];
    let summary = summarise(&settings("1"), Measure::Stacks, &results, Vec::new());
    assert_eq!(total(&summary, "Slice Dice"), 0.75);
    assert_eq!(total(&summary, "Visit Dice"), 2.0 / 3.0);
    assert_eq!(total(&summary, "Patient Dice"), 0.5);
    let of = |patient: &str, visits, slices, dice| PatientScore {
        patient: patient.to_owned(),
        visits,
        slices,
        dice,
        slice_dice: dice,
    };
    assert_eq!(summary.methods[0].patients, [of("a", 2, 3, 1.0), of("b", 1, 1, 0.0)]);
    let page = crate::report::eval_page(&summary, &results, &[]).expect("a page");
    for word in ["Patient Dice", "<th>patient</th>", "<th>visit</th>", "<th>slices</th>"] {
        assert!(page.contains(word), "no {word} in {page}");
    }
}

#[test]
fn a_patient_of_one_later_visit_is_no_video() {
    let results = [result("p2sam", "a/2", "a", &[5, 0, 0]), result("p2sam", "b/2", "b", &[5])];
    let summary = summarise(&settings("1"), Measure::Stacks, &results, Vec::new());
    let names: Vec<_> = summary.methods[0].totals.iter().map(|total| total.name).collect();
    assert_eq!(names, ["Visit Dice", "Slice Dice", "Patient Dice"]);
    assert_eq!(summary.methods[0].patients[0].slice_dice, 1.0 / 3.0);
}

#[test]
fn perseg_scores_are_ratios_of_sums() {
    let results = [result("p2sam", "cat", "cat", &[5, 0]), result("p2sam", "dog", "dog", &[10])];
    let summary = summarise(&settings("1"), Measure::Sums, &results, Vec::new());
    assert_eq!(total(&summary, "mIoU"), 0.5);
    assert_eq!(total(&summary, "mAcc"), 0.75);
}

#[test]
fn davis_scores_are_means_of_sequence_means() {
    let results = [result("p2sam", "a", "a", &[5, 0]), result("p2sam", "b", "b", &[5])];
    let summary = summarise(&settings("1"), Measure::Contours, &results, Vec::new());
    assert_eq!(total(&summary, "J"), 0.75);
    assert_eq!(total(&summary, "F"), 1.0);
    assert_eq!(total(&summary, "J&F"), 0.875);
}

#[test]
fn methods_are_compared_on_the_same_sequences() {
    let of = |method: &str, found: usize| {
        ["1", "2", "3"].map(|sequence| result(method, sequence, sequence, &[found]))
    };
    let results = [of("direct", 0), of("p2sam", 5)].concat();
    let summary = summarise(&settings("1"), Measure::Dice, &results, Vec::new());
    assert!(summary.methods[0].difference.is_none());
    let difference = summary.methods[1].difference.as_ref().expect("a difference");
    assert_eq!((difference.value, difference.interval), (1.0, Some([1.0, 1.0])));
}

#[test]
fn a_distance_that_tells_good_from_bad_is_called_so() {
    let mut one = result("p2sam", "1", "1", &[]);
    one.frames = (0..10).map(|i| frame(&i.to_string(), 5 - i / 2, i as f64)).collect();
    let summary = summarise(&settings("1"), Measure::Dice, &[one], Vec::new());
    let reliability = summary.methods[0].reliability.as_ref().expect("distances");
    assert!(reliability.spearman.expect("they vary") < -0.9);
    assert_eq!(reliability.separation, Some(1.0));
    assert_eq!(reliability.bins.len(), 5);
}

#[test]
fn the_spread_over_references_is_told() {
    let mut one = result("p2sam", "1", "1", &[]);
    for (reference, found) in [("0", 5), ("1", 0), ("2", 5)] {
        for picture in ["3", "4"] {
            let frame = frame(picture, found, 1.0);
            one.frames.push(FrameResult { reference: reference.to_owned(), ..frame });
        }
    }
    one.frames.sort_by(|a, b| a.frame.cmp(&b.frame));
    let summary = summarise(&settings("1"), Measure::Dice, &[one], Vec::new());
    let spread = summary.methods[0].sequences[0].spread.as_ref().expect("three references");
    assert_eq!(spread.quantiles, [0.0, 1.0, 1.0]);
    assert_eq!(spread.references.last().map(|r| r.0.as_str()), Some("1"));
}

#[test]
fn a_folder_gives_back_what_it_was_given_and_refuses_other_settings() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), &settings("1")).expect("a new folder");
    let sequence = Sequence {
        name: "p/1".to_owned(),
        group: "p".to_owned(),
        samples: vec![],
        targets: vec![],
        times: vec![],
    };
    let given = result("p2sam", "p/1", "p", &[5, 3]);
    store.put(&given).expect("written");
    let store = Store::open(dir.path(), &settings("1")).expect("the same settings");
    assert_eq!(store.get("p2sam", &sequence, "d").expect("readable"), Some(given.clone()));
    assert_eq!(store.get("direct", &sequence, "d").expect("readable"), None);
    assert!(matches!(store.get("p2sam", &sequence, "e"), Err(EvalError::Changed { .. })));
    let error = Store::open(dir.path(), &settings("2")).expect_err("other settings").to_string();
    assert!(error.contains("n 1 there, 2 now"), "{error}");
    std::fs::write(dir.path().join("p2sam/.x.json.part-1"), b"half").expect("written");
    let (read, results) = Store::read(dir.path()).expect("readable");
    assert_eq!((read, results), (settings("1"), vec![given]));
    std::fs::write(dir.path().join("p2sam/p%2F1.json"), b"{").expect("written");
    assert!(matches!(Store::read(dir.path()), Err(EvalError::File { .. })));
}

#[test]
fn a_changed_file_changes_the_digest() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes).expect("written");
    write("a.png", b"1");
    write("b.png", b"2");
    let sample = crate::dataset::Sample {
        name: "a".to_owned(),
        image: path("a.png"),
        mask: path("b.png"),
        foreground: crate::image::Foreground::AboveZero,
    };
    let mut sequence = Sequence::after("s", vec![sample], 0);
    let before = digest(&sequence).expect("files");
    assert_eq!(digest(&sequence).expect("files"), before);
    // Of the same length.
    write("b.png", b"3");
    assert_ne!(digest(&sequence).expect("files"), before);
    write("b.png", b"22");
    let longer = digest(&sequence).expect("files");
    sequence.targets.push(Target { sample: 0, reference: 0, scored: true });
    assert_ne!(digest(&sequence).expect("files"), longer);
    std::fs::remove_file(path("b.png")).expect("removed");
    assert!(digest(&sequence).is_err());
}

#[test]
fn a_page_is_whole_and_text_in_it_is_no_markup() {
    let results = [result("p2sam", "<b>1", "<b>1", &[5, 0])];
    let summary = summarise(&settings("1"), Measure::Dice, &results, vec!["a < b".to_owned()]);
    let page = crate::report::eval_page(&summary, &results, &[]).expect("a page");
    assert!(page.contains("&lt;b&gt;1") && !page.contains("<b>1"), "{page}");
    assert!(page.contains("a &lt; b") && page.contains("<svg") && page.ends_with("</html>"));
    assert!(!page.contains("src=\"http") && !page.contains("<script"));
}

#[test]
fn an_ablation_changes_one_thing_at_a_time() {
    let config = crate::method::MethodConfig::default();
    let entries = ablation(&config);
    assert_eq!((entries[0].name.as_str(), &entries[0].config), (UNCHANGED, &config));
    for (index, entry) in entries.iter().enumerate().skip(1) {
        assert_ne!(entry.config, config, "{}", entry.name);
        entry.config.validate().expect("usable settings");
        assert!(
            entries[..index].iter().all(|other| other.config != entry.config),
            "{}",
            entry.name
        );
    }
}
