//! What a file marks on a volume, as JSON: for every slice of the volume the lengths of runs of 0 and 1 in
//! turns, row by row, or null. `tests/interop` compares it with what other programs wrote.
//!
//! cargo run --release --example masks -- VOLUME MASKS [ROI]

use std::path::Path;

use p2sam::{Foreground, Mask, Volume, VolumeOptions, open_masks};

fn runs(mask: &Mask) -> Vec<usize> {
    let mut runs = vec![0];
    let mut marked = false;
    for on in mask.data() {
        if *on != marked {
            runs.push(0);
            marked = *on;
        }
        if let Some(last) = runs.last_mut() {
            *last += 1;
        }
    }
    runs
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (volume, masks, roi) = match arguments.as_slice() {
        [volume, masks] => (volume, masks, None),
        [volume, masks, roi] => (volume, masks, Some(roi.as_str())),
        _ => return Err("usage: masks VOLUME MASKS [ROI]".into()),
    };
    let volume = Volume::open(Path::new(volume), &VolumeOptions::default())?;
    let marks = open_masks(Path::new(masks), &volume, roi, Foreground::default())?;
    let slices: Vec<_> = marks.masks.iter().map(|mask| mask.as_ref().map(runs)).collect();
    let told = serde_json::json!({
        "size": volume.size(),
        "slices": slices,
        "millilitres": volume.millilitres(&marks.masks),
        "warnings": volume.warnings().iter().chain(&marks.warnings).collect::<Vec<_>>(),
    });
    println!("{told}");
    Ok(())
}
