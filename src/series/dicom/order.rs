//! Whether slices make a volume, in which order, and where it lies.

use nalgebra::Vector3;

use super::elements::Unreadable;
use super::header::{Header, Slice};
use crate::series::SeriesError;
use crate::series::geometry::Geometry;

/// Distances that differ by less are the same, as a share.
const SAME: f64 = 0.1;
/// Slices that are less than this apart lie in the same place, mm.
const APART: f64 = 1e-2;

/// Slices by their place, and where the volume lies; `None` for pictures without a place, which go by
/// their numbers, or else by the names of their files.
pub fn ordered(
    header: &Header,
    slices: Vec<Slice>,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Slice>, Option<Geometry>), SeriesError> {
    let mut slices = without_copies(slices, warnings);
    check_same(&slices)?;
    doubts(&slices, warnings);
    let placed = slices.iter().filter(|slice| slice.position.is_some()).count();
    let first = &slices[0];
    let (Some(orientation), Some(spacing), 1..) = (first.orientation, first.spacing, placed) else {
        let numbered = slices.iter().all(|slice| slice.number.is_some());
        if numbered {
            slices.sort_by_key(|slice| (slice.number, slice.frame));
        }
        let by = match (slices.len(), numbered) {
            (1, _) => "",
            (_, true) => ": slices go by their instance numbers",
            (_, false) => ": slices go by the names of their files",
        };
        warnings.push(format!(
            "the images say no place in the patient (position, orientation and size of pixels){by}; \
             there are no millilitres, and masks fit by pixels only"
        ));
        return Ok((slices, None));
    };
    let along = Vector3::new(orientation[0], orientation[1], orientation[2]);
    let down = Vector3::new(orientation[3], orientation[4], orientation[5]);
    let unusable = (along.norm() - 1.0).abs() > 1e-2
        || (down.norm() - 1.0).abs() > 1e-2
        || along.dot(&down).abs() > 1e-2;
    if unusable {
        return Err(wrong(&slices[0], "its directions are not perpendicular unit vectors"));
    }
    let normal = along.cross(&down).normalize();
    let mut by_place = Vec::with_capacity(slices.len());
    for slice in slices {
        let Some(position) = slice.position else {
            return Err(wrong(&slice, "has no place, unlike other slices of its series"));
        };
        let position = Vector3::from(position);
        by_place.push((position.dot(&normal), position, slice));
    }
    by_place.sort_by(|a, b| a.0.total_cmp(&b.0));
    check_gaps(&by_place, warnings)?;
    check_line(&by_place, spacing, normal, warnings)?;
    let origins = by_place.iter().map(|(_, position, _)| *position).collect();
    let steps = [along * spacing[1], down * spacing[0]];
    let geometry = Geometry::new(steps, origins, header.thickness.unwrap_or(1.0))
        .ok_or_else(|| wrong(&by_place[0].2, "its place makes no sense"))?;
    let slices = by_place.into_iter().map(|(_, _, slice)| slice).collect();
    Ok((slices, Some(geometry)))
}

type Placed = (f64, Vector3<f64>, Slice);

fn wrong(slice: &Slice, reason: &str) -> SeriesError {
    let reason = format!("{}{reason}", slice.name());
    SeriesError::Geometry { path: slice.path.clone(), reason }
}

/// Files that were copied twice into a folder.
fn without_copies(slices: Vec<Slice>, warnings: &mut Vec<String>) -> Vec<Slice> {
    let mut seen = std::collections::HashSet::new();
    let mut kept = Vec::with_capacity(slices.len());
    for slice in slices {
        if slice.sop_instance.is_empty() || seen.insert((slice.sop_instance.clone(), slice.frame)) {
            kept.push(slice);
        } else if slice.frame == 0 {
            warnings.push(format!("{} is a copy of another file; left out", slice.path.display()));
        }
    }
    kept
}

/// Whether all slices have the same size, directions and size of pixels, and say so readably.
fn check_same(slices: &[Slice]) -> Result<(), SeriesError> {
    let first = &slices[0];
    for slice in slices {
        if let Some(element) = slice.unreadable.first() {
            let reason = format!("has {element}, but its value cannot be read");
            return Err(wrong(slice, &reason));
        }
        if slice.size != first.size {
            let ([columns, rows], [c, r]) = (slice.size, first.size);
            let reason = format!(
                "has {columns} x {rows} pixels, and the slices of its series before it {c} x {r}"
            );
            return Err(wrong(slice, &reason));
        }
        let turned = match (slice.orientation, first.orientation) {
            (Some(own), Some(first)) => own.iter().zip(&first).any(|(a, b)| (a - b).abs() > 1e-3),
            (None, None) => false,
            _ => true,
        };
        if turned {
            let reason = match slice.frames {
                1 => {
                    "lies in another direction than the slices of its series before it (a localiser?); \
                     move it to a folder of its own"
                }
                _ => {
                    "lies in another direction than the frames before it: the file holds several \
                     stacks; save each as a file of its own"
                }
            };
            return Err(wrong(slice, reason));
        }
        let spaced = match (slice.spacing, first.spacing) {
            (Some(own), Some(first)) => {
                own.iter().zip(&first).any(|(a, b)| (a - b).abs() > 1e-3 * b)
            }
            (None, None) => false,
            _ => true,
        };
        if spaced {
            let reason = "has pixels of another size than those of its series before it";
            return Err(wrong(slice, reason));
        }
    }
    Ok(())
}

/// Elements that cannot be read, and without which there is less to go by.
fn doubts(slices: &[Slice], warnings: &mut Vec<String>) {
    let mut all: Vec<Unreadable> = slices.iter().flat_map(|s| &s.doubtful).copied().collect();
    all.sort();
    all.dedup();
    for element in all {
        let count = slices.iter().filter(|slice| slice.doubtful.contains(&element)).count();
        warnings.push(format!(
            "{element} of {count} of {} slices has no usable value and is not used",
            slices.len()
        ));
    }
}

/// Whether none is missing and none is double. Distances that change for good are told.
fn check_gaps(slices: &[Placed], warnings: &mut Vec<String>) -> Result<(), SeriesError> {
    let gaps: Vec<f64> = slices.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    for (pair, gap) in slices.windows(2).zip(&gaps) {
        if *gap < APART {
            return Err(double(slices, &pair[0].2, &pair[1].2));
        }
    }
    for (index, gap) in gaps.iter().enumerate() {
        let beside = [index.checked_sub(1), Some(index + 1)].map(|i| gaps.get(i?).copied());
        let largest = beside.into_iter().flatten().fold(0.0, f64::max);
        if largest > 0.0 && *gap > 1.5 * largest {
            let (before, slice) = (&slices[index].2, &slices[index + 1].2);
            let missing = ((gap / largest).round() as i64 - 1).max(1);
            let slices = if missing == 1 { "slice is" } else { "slices are" };
            let reason = format!(
                "{missing} {slices} missing between it and {}{}: {gap:.2} mm, beside them \
                 {largest:.2} mm",
                before.name(),
                before.path.display()
            );
            return Err(wrong(slice, &reason));
        }
    }
    // Runs of the same distance.
    let mut runs: Vec<(f64, usize)> = Vec::new();
    for gap in &gaps {
        match runs.last_mut() {
            Some((own, count)) if (gap - *own).abs() <= SAME * *own => *count += 1,
            _ => runs.push((*gap, 1)),
        }
    }
    if runs.len() > 1 {
        let mut words: Vec<String> =
            runs.iter().map(|(gap, count)| format!("{count} of {gap:.2} mm")).collect();
        if words.len() > 6 {
            words.truncate(6);
            words.push("and others".into());
        }
        warnings.push(format!(
            "the distances between slices differ: {}; each slice counts where it lies and with its own \
             share of the volume",
            words.join(", ")
        ));
    }
    Ok(())
}

/// Two slices lie in one place.
fn double(slices: &[Placed], one: &Slice, other: &Slice) -> SeriesError {
    if one.path != other.path {
        let reason = format!(
            "lies where {}{} lies; a series of several phases or echoes must be split, one folder each",
            one.name(),
            one.path.display()
        );
        return wrong(other, &reason);
    }
    let times = slices.iter().filter(|slice| slice.0 - slices[0].0 < APART).count();
    let reason = format!(
        "and frame {} lie in one place: the file holds each slice {} times (times, phases or echoes: \
         4-D), and a volume holds it once; save one of them as a file of its own",
        other.frame + 1,
        times.max(2)
    );
    wrong(one, &reason)
}

/// Whether the slices lie behind each other on a line.
fn check_line(
    slices: &[Placed],
    spacing: [f64; 2],
    normal: Vector3<f64>,
    warnings: &mut Vec<String>,
) -> Result<(), SeriesError> {
    let (first, last) = (&slices[0], &slices[slices.len() - 1]);
    let Some(along) = (last.1 - first.1).try_normalize(f64::MIN_POSITIVE) else { return Ok(()) };
    let pixel = spacing[0].min(spacing[1]);
    let per_millimetre = along / along.dot(&normal);
    let mut aside = 0.0_f64;
    for (place, position, slice) in slices {
        let expected = first.1 + per_millimetre * (place - first.0);
        let away = (position - expected).norm();
        if away > pixel {
            return Err(wrong(
                slice,
                &format!("lies {away:.1} mm beside the line of the other slices"),
            ));
        }
        aside = aside.max(away);
    }
    if aside > 0.1 * pixel {
        warnings.push(format!(
            "slices lie up to {aside:.2} mm beside the line from the first to the last; each counts where \
             it lies"
        ));
    }
    let tilt = along.dot(&normal).clamp(-1.0, 1.0).acos().to_degrees();
    if tilt > 0.5 {
        warnings.push(format!(
            "the slices are shifted against each other, as of a gantry tilted by {tilt:.1} degrees; \
             they are followed one by one, and DICOM segmentations keep the shift"
        ));
    }
    Ok(())
}
