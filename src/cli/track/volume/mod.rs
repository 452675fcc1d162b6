//! `p2sam track` on volumes: slice by slice, each with the annotated slice that serves it.

mod args;
mod walk;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use indicatif::ProgressBar;
use p2sam::{
    Accuracy, EndReport, Frame, FrameRecord, ImageSeries, Latencies, Mask, Pairing, References,
    Sam, SegmentationOptions, SeriesError, Summary, Track, Volume, VolumeSummary, dice,
    free_memory, marked_voxels, open_masks, volume_page, write_nifti, write_segmentation,
};

use super::super::outputs::{Inputs, Outputs, write_text};
use super::{Run, TrackArgs, interrupt, summarise};
use args::PairArg;
pub use args::VolumeArgs;
use walk::Walk;

/// Whether the input is a volume, or a stack of pictures with a stack of masks.
pub fn is_volume(args: &TrackArgs) -> bool {
    if Volume::is_volume(&args.input) {
        return true;
    }
    // What plays is followed in the order of time.
    if args.input.is_file() && !ImageSeries::is_series(&args.input) {
        return false;
    }
    let Ok((masks, images, _)) = args.reference.of_volume() else { return false };
    images.is_some_and(|path| path.is_dir() || Volume::is_volume(path))
        || masks.is_some_and(|path| path.is_dir() || Volume::is_volume(path))
}

/// What is annotated.
struct Annotated {
    /// The volume, if it is not the input.
    volume: Option<Volume>,
    masks: Vec<Option<Mask>>,
    place: String,
    /// What is worth knowing of the masks.
    warnings: Vec<String>,
}

/// Follows the object through one volume and writes what is asked for.
pub fn track(
    args: &TrackArgs,
    load: impl FnOnce() -> anyhow::Result<Arc<Sam>>,
    bar: impl FnOnce(Option<u64>) -> ProgressBar,
) -> anyhow::Result<Summary> {
    let wanted = &args.volume;
    let config = args.config();
    config.validate()?;
    let target = Volume::open(&args.input, &wanted.options(wanted.series))?;
    if wanted.seg.is_some() && !target.is_dicom() {
        bail!("--seg needs a DICOM series as its input; --nifti writes the masks of other volumes");
    }
    let range = wanted.slices.as_ref().map_or(target.range(), |slices| slices.0.clone());
    if range.end > target.slices() {
        bail!("the volume has slices 0 to {}", target.slices() - 1);
    }
    // A mask a slice is kept, and for a NIfTI file once more.
    let [width, height] = target.size().map(u64::from);
    let needed = width * height * range.len() as u64 * 2;
    if let Some(free) = free_memory().filter(|free| needed > *free) {
        return Err(SeriesError::Memory { path: args.input.clone(), needed, free }.into());
    }
    let mut annotated = annotated(args, &target)?;
    let mut warnings = annotated.warnings.clone();
    let truth = match &args.truth {
        Some(path) => {
            let roi = wanted.roi.as_deref();
            let marks = open_masks(path, &target, roi, args.reference.foreground())?;
            warnings.extend(
                marks.warnings.iter().map(|warning| format!("{}: {warning}", path.display())),
            );
            Some(within(marks.masks, &range))
        }
        None => None,
    };
    let files: Vec<&Path> = wanted.listed().map(|(_, path)| path).collect();
    args.outputs.check(&args.inputs().collect::<Vec<_>>(), &files)?;
    let inputs = Inputs {
        pictures: target.pictures().to_vec(),
        others: args.inputs().map(PathBuf::from).collect(),
        truth: args.truth.clone(),
    };
    let outputs = Outputs::create(&args.outputs, &target.info(), &inputs)?;

    let sam = load()?;
    let of = annotated.volume.as_ref().unwrap_or(&target);
    if annotated.masks.is_empty() {
        let (_, _, slice) = args.reference.of_volume()?;
        let mask = args.reference.prompted(&sam, &slice_frame(of, slice)?)?;
        annotated.masks = vec![None; of.slices()];
        annotated.masks[slice] = Some(mask);
    }
    let mut references = References::new(of, &annotated.masks);
    let go_on = || !interrupt::requested();
    let pairing = match wanted.pair {
        PairArg::Nearest => Pairing::Nearest,
        PairArg::Middle => Pairing::Middle,
    };
    let pairs = references.serve(&target, range.clone(), pairing, &sam, &config, &go_on)?;
    let presence = args.method.presence(&sam)?;
    let mut walk = Walk {
        sam: &sam,
        target: &target,
        references: &references,
        pairs: &pairs,
        config: &config,
        presence,
        own: annotated.volume.is_none().then_some(&annotated.masks[..]),
        bar: bar(Some(range.len() as u64)),
        tracks: range.clone().map(|_| None).collect(),
        start: range.start,
    };
    let start = Instant::now();
    walk.all(wanted.propagate)?;
    walk.bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let tracks: Vec<Track> = walk.tracks.into_iter().flatten().collect();
    let complete = tracks.len() == range.len();
    let mut run = Run {
        report: EndReport {
            decoded: tracks.len() as u64,
            expected: Some(range.len() as u64),
            warnings: all_warnings(&target, of, &references, warnings),
            ..EndReport::default()
        },
        size: (target.size()[0], target.size()[1]),
        written: 0,
        interrupted: interrupt::requested() && !complete,
        seconds,
        latency: Latencies::new(),
        scores: None,
        volume: None,
    };
    // A volume is whole or not at all: of one that was stopped nothing is written.
    if complete {
        let before = comparable(&target, of, &annotated.masks, &range);
        write_all(args, &target, &range, tracks, truth.as_deref(), outputs, &mut run, |masks| {
            volume_summary(&target, masks, before, pairs, truth.as_deref())
        })?;
    }
    summarise(args, &sam, annotated.place, presence, run)
}

/// Reads the masks and finds the volume that they belong to.
fn annotated(args: &TrackArgs, target: &Volume) -> anyhow::Result<Annotated> {
    let wanted = &args.volume;
    let (masks, images, slice) = args.reference.of_volume()?;
    args.reference.check()?;
    let options = wanted.options(wanted.reference_series);
    // A folder with a DICOM series and what is marked on it is both.
    let images = images.or(masks.filter(|path| path.is_dir() && Volume::is_volume(path)));
    let volume = match images.filter(|path| *path != args.input) {
        None => None,
        Some(path) => match Volume::open(path, &options) {
            Ok(volume) => Some(volume),
            Err(SeriesError::Nothing { .. }) if Some(path) == masks => None,
            Err(error) => return Err(error.into()),
        },
    };
    let of = volume.as_ref().unwrap_or(target);
    let name = of.path().display();
    let Some(path) = masks else {
        return Ok(Annotated {
            place: format!("slice {slice} of {name}"),
            volume,
            masks: Vec::new(),
            warnings: Vec::new(),
        });
    };
    let single = path.is_file() && !Volume::is_volume(path);
    if !single {
        let marks = open_masks(path, of, wanted.roi.as_deref(), args.reference.foreground())?;
        let marked = marks.masks.iter().filter(|mask| mask.is_some()).count();
        let place = format!("{marked} slices of {name}");
        let warnings =
            marks.warnings.iter().map(|warning| format!("{}: {warning}", path.display()));
        let warnings = warnings.collect();
        return Ok(Annotated { place, volume, masks: marks.masks, warnings });
    }
    let mask = Mask::open(path, args.reference.foreground())?;
    let size = [mask.width(), mask.height()];
    if size != of.size() {
        let [width, height] = of.size();
        bail!(
            "{} is {} x {} pixels, and the slices {width} x {height}",
            path.display(),
            size[0],
            size[1]
        );
    }
    slice_frame(of, slice)?;
    let mut masks = vec![None; of.slices()];
    masks[slice] = Some(mask);
    let place = format!("slice {slice} of {name}");
    Ok(Annotated { place, volume, masks, warnings: Vec::new() })
}

fn slice_frame(volume: &Volume, slice: usize) -> anyhow::Result<Frame> {
    if slice >= volume.slices() {
        bail!("--reference-frame {slice}: the volume has slices 0 to {}", volume.slices() - 1);
    }
    Ok(volume.frame(slice)?)
}

/// Masks of other slices than those in the range do not count.
fn within(masks: Vec<Option<Mask>>, range: &Range<usize>) -> Vec<Option<Mask>> {
    let inside = |(slice, mask)| if range.contains(&slice) { mask } else { None };
    masks.into_iter().enumerate().map(inside).collect()
}

/// What the reference marks where the target was looked at, in millilitres. Of a part of the target it is
/// what lies in the same places; `None` if the two have no places in common.
fn comparable(
    target: &Volume,
    of: &Volume,
    annotated: &[Option<Mask>],
    range: &Range<usize>,
) -> Option<f64> {
    // A single annotated slice has no volume to compare with.
    if annotated.iter().flatten().count() < 2 {
        return None;
    }
    if *range == target.range() {
        return of.millilitres(annotated);
    }
    let (from, to) = (range.start as f64 - 0.5, range.end as f64 - 0.5);
    let inside = |slice: usize| (from..to).contains(&of.place_in(slice, target));
    let masks: Vec<Option<Mask>> = annotated
        .iter()
        .enumerate()
        .map(|(slice, mask)| mask.clone().filter(|_| inside(slice)))
        .collect();
    of.millilitres(&masks).filter(|_| of.shares_frame_of_reference(target))
}

fn all_warnings(
    target: &Volume,
    of: &Volume,
    references: &References,
    masks: Vec<String>,
) -> Vec<String> {
    let mut warnings = target.warnings().to_vec();
    if of.path() != target.path() {
        warnings.extend_from_slice(of.warnings());
    }
    warnings.extend(masks);
    let small = references.too_small().len();
    if small > 0 {
        warnings.push(format!("{small} annotated slices are marked too small to be references"));
    }
    warnings
}

#[allow(clippy::too_many_arguments)]
fn write_all(
    args: &TrackArgs,
    target: &Volume,
    range: &Range<usize>,
    tracks: Vec<Track>,
    truth: Option<&[Option<Mask>]>,
    mut outputs: Outputs,
    run: &mut Run,
    summary: impl FnOnce(&[Option<Mask>]) -> VolumeSummary,
) -> anyhow::Result<()> {
    let mut accuracy = Accuracy::default();
    let mut masks: Vec<Option<Mask>> = vec![None; target.slices()];
    for (slice, track) in range.clone().zip(tracks) {
        let picture = target.picture(slice)?;
        let mut record =
            FrameRecord::new(picture.index, picture.pts, picture.path.as_deref(), &track);
        if let Some(truth) = truth {
            let found = track.mask.area();
            record.dice = match &truth[slice] {
                Some(truth) => dice(&track.mask, truth),
                None => Some(if found == 0 { 1.0 } else { 0.0 }),
            };
            accuracy.record(record.dice.unwrap_or(0.0), truth[slice].is_some(), found > 0);
        }
        outputs.write(&picture, &track, &record)?;
        run.latency.record(&track.times);
        masks[slice] = Some(track.mask).filter(|mask| mask.area() > 0);
    }
    run.written = outputs.finish()?;
    run.scores = truth.map(|_| accuracy.scores());
    let wanted = &args.volume;
    let summary = summary(&masks);
    if let Some(path) = &wanted.nifti {
        run.report.warnings.extend(write_nifti(path, target, &masks)?);
    }
    if let Some(path) = &wanted.seg {
        let options = SegmentationOptions {
            label: wanted.label.clone(),
            keep_identifiers: wanted.keep_identifiers,
        };
        run.report.warnings.extend(write_segmentation(path, target, &masks, &options)?);
    }
    if let Some(path) = &wanted.page {
        write_text(path, &volume_page(&summary, &masks, |slice| target.frame(slice))?)?;
    }
    run.volume = Some(summary);
    Ok(())
}

fn volume_summary(
    target: &Volume,
    masks: &[Option<Mask>],
    reference: Option<f64>,
    references: Vec<usize>,
    truth: Option<&[Option<Mask>]>,
) -> VolumeSummary {
    let found = target.millilitres(masks);
    let change = found.zip(reference).filter(|(_, before)| *before > 0.0);
    VolumeSummary {
        slices: target.slices(),
        marked_slices: masks.iter().flatten().count(),
        voxels: marked_voxels(masks),
        spacing: target.spacing(),
        millilitres: found,
        reference_millilitres: reference,
        change_percent: change.map(|(now, before)| 100.0 * (now / before - 1.0)),
        references,
        dice: truth.map(|truth| {
            let both: usize = masks
                .iter()
                .zip(truth)
                .filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)))
                .map(|(a, b)| a.data().iter().zip(b.data()).filter(|(a, b)| **a && **b).count())
                .sum();
            2.0 * both as f64 / (marked_voxels(masks) + marked_voxels(truth)).max(1) as f64
        }),
    }
}

/// Prints what came of a volume.
pub fn say_of(volume: &VolumeSummary) {
    let (marked, all) = (volume.marked_slices, volume.slices);
    match volume.millilitres {
        Some(millilitres) => {
            let change = volume.change_percent.map(|c| format!(", {c:+.1} %")).unwrap_or_default();
            say!("object    {millilitres:.2} ml on {marked} of {all} slices{change}");
        }
        None => say!("object    {} voxels on {marked} of {all} slices", volume.voxels),
    }
    if let Some(dice) = volume.dice {
        say!("volume    Dice {dice:.3} of all voxels");
    }
}
