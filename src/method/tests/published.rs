//! What the published implementation returned on real pictures, where they are at hand.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::{Reference, Tracker};
use super::config;
use super::fixture::mobile_sam;
use crate::image::{Annotation, Foreground, Frame, Mask};
use crate::metrics::{dice, iou};

#[derive(Deserialize)]
struct Row {
    reference: u32,
    frame: u32,
    points: Vec<[f64; 2]>,
    labels: Vec<u8>,
    distance: f64,
    dice: f64,
}

/// How this crate did on a row, compared.
struct Compared {
    ours: f64,
    theirs: f64,
    /// Largest distance of a point from its counterpart, in x or y.
    points_apart: f64,
    masks_iou: f64,
    distance_ratio: f64,
}

/// Follows every row of a golden file. `None` without the data or the weights.
fn compare(name: &str, most: usize) -> Option<Vec<Compared>> {
    let Some(data) = std::env::var_os("P2SAM_DATA").map(PathBuf::from) else {
        println!("skipped: P2SAM_DATA does not name the development data");
        return None;
    };
    let sam = mobile_sam()?;
    let (golden, pictures) = (data.join("../golden"), data.join("cvc-clinicdb"));
    let text = std::fs::read_to_string(golden.join(format!("{name}.json"))).expect("golden rows");
    let rows: Vec<Row> = serde_json::from_str(&text).expect("golden rows");
    let open =
        |index| Frame::open(&pictures.join(format!("images/{index:03}.png"))).expect("a picture");
    let truth = |index| pictures.join(format!("masks/{index:03}.png"));
    let settings = config(1..=most);
    let mut last: Option<(u32, Tracker)> = None;
    let follow = |row: &Row| {
        if last.as_ref().is_none_or(|(index, _)| *index != row.reference) {
            let annotation = Annotation::open(&truth(row.reference), Foreground::Threshold);
            let (frame, annotation) = (open(row.reference), annotation.expect("a mask"));
            let reference = Reference::new(&sam, &frame, &annotation, &settings).expect("good");
            let tracker = Tracker::new(sam.clone(), reference, settings.clone()).expect("good");
            last = Some((row.reference, tracker));
        }
        let (_, tracker) = last.as_mut().expect("just set");
        let track = tracker.step(&open(row.frame)).expect("the CPU works");
        let mask = |path: &Path| Mask::open(path, Foreground::AboveZero).expect("a mask");
        let their_mask = mask(&golden.join(format!("masks-{name}/{:03}.png", row.frame)));
        let labels = track.points.iter().map(|p| u8::from(p.positive));
        let points_apart = if labels.eq(row.labels.iter().copied()) {
            let pairs = track.points.iter().zip(&row.points);
            pairs
                .map(|(p, [x, y])| (f64::from(p.x) - x).abs().max((f64::from(p.y) - y).abs()))
                .fold(0.0, f64::max)
        } else {
            f64::INFINITY
        };
        let compared = Compared {
            ours: dice(&track.mask, &mask(&truth(row.frame))).expect("sizes agree"),
            theirs: row.dice,
            points_apart,
            masks_iou: iou(&track.mask, &their_mask).expect("sizes agree"),
            distance_ratio: track.distance.unwrap_or(f64::INFINITY) / row.distance,
        };
        println!(
            "{name}, frame {}: points {points_apart} px apart, IoU {:.4}, Dice {:.4} ({:.4}), \
             distance {:.4} times theirs",
            row.frame, compared.masks_iou, compared.ours, compared.theirs, compared.distance_ratio
        );
        compared
    };
    let compared: Vec<Compared> = rows.iter().map(follow).collect();
    assert_eq!(compared.len(), 28);
    Some(compared)
}

#[test]
fn one_part_gives_the_published_masks() {
    let Some(rows) = compare("n1", 1) else { return };
    let same = rows.iter().filter(|r| r.points_apart <= 1.0 && r.masks_iou >= 0.98).count();
    println!("{same} of {} masks are the published ones", rows.len());
    assert!(same >= 27, "{same} of {}", rows.len());
}

#[test]
fn up_to_five_parts_are_as_good_as_published() {
    let Some(rows) = compare("n1-5", 5) else { return };
    let count = rows.len() as f64;
    let ours = rows.iter().map(|r| r.ours).sum::<f64>() / count;
    let theirs = rows.iter().map(|r| r.theirs).sum::<f64>() / count;
    let as_near = rows.iter().filter(|r| r.distance_ratio <= 1.05).count();
    println!("mean Dice {ours:.4} ({theirs:.4}); {as_near} of {} as near", rows.len());
    assert!((ours - theirs).abs() <= 0.02, "mean Dice {ours:.4}, published {theirs:.4}");
    assert!(as_near >= 26, "{as_near} of {}", rows.len());
}
