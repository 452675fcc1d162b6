//! What the constants of the weighed choice rest on. `P2SAM_CHOICE=DIR cargo test --release --lib
//! choice -- --nocapture` makes a short sequence of each annotated picture in DIR, which no training
//! has seen: the picture turned, zoomed, moved and lit otherwise, with the picture itself as the
//! reference. It prints every candidate's evidence and true Dice, a JSON line a picture, and at the
//! end the mean Dice of what each rule chooses. `P2SAM_CHOICE_WEIGHTS` names the weights.

use std::path::PathBuf;
use std::sync::Arc;

use rand_mt::Mt64;

use super::super::candidates::cascades;
use super::super::retrieval::{retrieve, support};
use super::super::{MethodConfig, Profile, Reference, Retrieval, Tracker, View};
use super::fixture::{cpu, mobile_weights};
use crate::dataset::pairs;
use crate::image::{Foreground, Frame, Mask};
use crate::metrics::dice;
use crate::sam::Sam;

/// How much a picture is changed, from not at all to as much as between two looks at an object.
const STRENGTHS: [f64; 5] = [0.35, 0.6, 0.8, 1.0, 1.0];

#[test]
fn rules_are_scored_on_changed_pictures() {
    let Some(folder) = std::env::var_os("P2SAM_CHOICE").map(PathBuf::from) else {
        println!("skipped: P2SAM_CHOICE names no folder of annotated pictures");
        return;
    };
    let weights = std::env::var_os("P2SAM_CHOICE_WEIGHTS").map(PathBuf::from);
    let Some(weights) = weights.or_else(mobile_weights) else { return };
    let sam = Sam::load(&weights, None, &cpu()).expect("weights of a model that takes any size");
    let sam = Arc::new(sam.with_trimmed_input(512).expect("a model that takes any size"));
    let config = Profile::Accurate.config();
    let mut random = Mt64::new(7);
    let (mut count, mut best, mut own) = (0u32, 0.0, 0.0);
    let mut chosen = Retrieval::ALL.map(|retrieval| (retrieval, 0.0));
    for sample in pairs(&folder, Foreground::AboveMiddle).expect("pictures and masks") {
        let (frame, annotation) = sample.read().expect("a picture with its mask");
        let reference = match Reference::new(&sam, &frame, &annotation, &config) {
            Ok(reference) => reference,
            Err(error) => {
                println!("left out {}: {error}", sample.name);
                continue;
            }
        };
        let tracker = Tracker::new(sam.clone(), reference.clone(), config.clone()).expect("good");
        for strength in STRENGTHS {
            let (picture, truth) = changed(&frame, &annotation.mask(), strength, &mut random);
            if truth.area() * 100 < truth.data().len() {
                continue;
            }
            let view = View::new(&sam, &picture).expect("the CPU works");
            let candidates = tracker.candidates(&view, None);
            let mut times = Default::default();
            let predictions = cascades(&sam, &view, &candidates, &config, &mut times);
            let (predictions, _) = predictions.expect("the CPU works");
            let scores: Vec<f64> = predictions
                .iter()
                .map(|p| view.logits.mask(p.logits.values()).expect("a mask"))
                .map(|mask| dice(&mask, &truth).expect("sizes agree"))
                .collect();
            let evidence = support(&view, &reference, &candidates, &predictions);
            let rows = candidates.iter().zip(&evidence).zip(&scores).map(|((c, e), dice)| {
                serde_json::json!({
                    "n": c.n, "own": c.is_own(), "predicted_iou": e.predicted_iou, "dice": dice,
                    "agreement": e.agreement, "farther": e.farther, "own_mask": e.own_mask,
                })
            });
            let rows: Vec<_> = rows.collect();
            let line = serde_json::json!({"picture": sample.name, "strength": strength, "candidates": rows});
            println!("{line}");
            for (retrieval, sum) in &mut chosen {
                let config = MethodConfig { retrieval: *retrieval, ..config.clone() };
                let (index, _) =
                    retrieve(&view, &reference, &candidates, &predictions, None, &config);
                *sum += scores[index];
            }
            count += 1;
            best += scores.iter().copied().fold(0.0, f64::max);
            own += scores.last().copied().unwrap_or(0.0);
        }
    }
    assert!(count > 0, "no picture could be used");
    for (name, sum) in chosen
        .map(|(retrieval, sum)| (retrieval.name(), sum))
        .into_iter()
        .chain([("own mask", own), ("best candidate", best)])
    {
        println!("{name:<16} mean Dice {:.4} over {count} pictures", sum / f64::from(count));
    }
}

/// A picture and its mask turned, zoomed and moved about the object and lit otherwise. What comes
/// from outside the picture is black.
fn changed(frame: &Frame, mask: &Mask, strength: f64, random: &mut Mt64) -> (Frame, Mask) {
    let mut spread = |most: f64| {
        ((random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) * most * strength
    };
    let (width, height) = (frame.width(), frame.height());
    let (sine, cosine) = spread(std::f64::consts::FRAC_PI_2).sin_cos();
    let (zoom, stretch) = (spread(0.55).exp(), spread(0.3).exp());
    let (across, down) = (spread(0.25) * f64::from(width), spread(0.25) * f64::from(height));
    let (gain, gamma) = (spread(0.35).exp(), spread(0.5).exp());
    let object = mask.bounding_box().expect("a reference marks something");
    let middle = |low: u32, high: u32| (f64::from(low) + f64::from(high)) / 2.0;
    let (cx, cy) = (middle(object.x0, object.x1), middle(object.y0, object.y1));
    let source = |x: u32, y: u32| {
        let (dx, dy) = (f64::from(x) - cx - across, f64::from(y) - cy - down);
        let x = cx + (cosine * dx - sine * dy) * zoom * stretch;
        let y = cy + (sine * dx + cosine * dy) * zoom / stretch;
        let inside = |v: f64, side: u32| (0.0..f64::from(side) - 0.5).contains(&v);
        (inside(x, width) && inside(y, height))
            .then(|| y.round() as usize * width as usize + x.round() as usize)
    };
    let light = |v: u8| ((f64::from(v) / 255.0).powf(gamma) * gain * 255.0) as u8;
    let places: Vec<Option<usize>> = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| source(x, y))
        .collect();
    let rgb = places
        .iter()
        .flat_map(|place| {
            place.map_or([0; 3], |place| [0, 1, 2].map(|c| light(frame.rgb()[place * 3 + c])))
        })
        .collect();
    let on = places.iter().map(|place| place.is_some_and(|place| mask.data()[place])).collect();
    (
        Frame::new(width, height, rgb).expect("sizes agree"),
        Mask::new(width, height, on).expect("sizes agree"),
    )
}
