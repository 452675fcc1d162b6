use nalgebra::Vector3;

use super::Slice;
use super::header::Header;
use crate::series::SeriesError;
use crate::series::geometry::Geometry;

/// Slices by their place, and where the volume lies; `None` for pictures without a place, which go by
/// their numbers.
pub fn ordered(
    header: &Header,
    slices: Vec<Slice>,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Slice>, Option<Geometry>), SeriesError> {
    let mut slices = without_copies(slices, warnings);
    let placed = slices.iter().filter(|slice| slice.position.is_some()).count();
    let (Some(orientation), Some(spacing), 1..) = (header.orientation, header.spacing, placed)
    else {
        if slices.iter().all(|slice| slice.number.is_some()) {
            slices.sort_by_key(|slice| (slice.number, slice.frame));
        }
        return Ok((slices, None));
    };
    let along = Vector3::new(orientation[0], orientation[1], orientation[2]);
    let down = Vector3::new(orientation[3], orientation[4], orientation[5]);
    let wrong =
        |slice: &Slice, reason: String| SeriesError::Geometry { path: slice.path.clone(), reason };
    let unusable = (along.norm() - 1.0).abs() > 1e-2
        || (down.norm() - 1.0).abs() > 1e-2
        || along.dot(&down).abs() > 1e-2;
    if unusable {
        return Err(wrong(&slices[0], "its directions are not perpendicular unit vectors".into()));
    }
    let normal = along.cross(&down).normalize();
    let mut by_place = Vec::with_capacity(slices.len());
    for slice in slices {
        let Some(position) = slice.position else {
            return Err(wrong(&slice, "has no place, unlike other slices of its series".into()));
        };
        let position = Vector3::from(position);
        by_place.push((position.dot(&normal), position, slice));
    }
    by_place.sort_by(|a, b| a.0.total_cmp(&b.0));
    let step = check_gaps(&by_place, normal, header, warnings)?;
    check_line(&by_place, step, spacing, normal, warnings)?;
    let geometry = Geometry::of_steps(by_place[0].1, [along * spacing[1], down * spacing[0], step]);
    let slices = by_place.into_iter().map(|(_, _, slice)| slice).collect();
    Ok((slices, geometry))
}

type Placed = (f64, Vector3<f64>, Slice);

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

/// The step from slice to slice, if none is missing and none is double.
fn check_gaps(
    slices: &[Placed],
    normal: Vector3<f64>,
    header: &Header,
    warnings: &mut Vec<String>,
) -> Result<Vector3<f64>, SeriesError> {
    let Some(last) = slices.len().checked_sub(1).filter(|last| *last > 0) else {
        return Ok(normal * header.thickness.unwrap_or(1.0));
    };
    let mut gaps: Vec<f64> = slices.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    for (pair, gap) in slices.windows(2).zip(&gaps) {
        if *gap < 1e-2 {
            return Err(SeriesError::Geometry {
                path: pair[1].2.path.clone(),
                reason: format!(
                    "lies where {} lies; a series of several phases or echoes must be split, one \
                     folder each",
                    pair[0].2.path.display()
                ),
            });
        }
    }
    let mut sorted = gaps.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    for (pair, gap) in slices.windows(2).zip(&gaps) {
        if *gap > 1.5 * median {
            let missing = ((gap / median).round() as i64 - 1).max(1);
            return Err(SeriesError::Geometry {
                path: pair[1].2.path.clone(),
                reason: format!(
                    "{missing} slices are missing between it and {}: {gap:.2} mm, elsewhere \
                     {median:.2} mm",
                    pair[0].2.path.display()
                ),
            });
        }
    }
    gaps.retain(|gap| (gap - median).abs() > 0.05 * median);
    if !gaps.is_empty() {
        warnings.push(format!(
            "{} of {last} distances between slices differ from {median:.2} mm; volumes use their mean",
            gaps.len()
        ));
    }
    Ok((slices[last].1 - slices[0].1) / last as f64)
}

/// Whether the slices lie behind each other on a line.
fn check_line(
    slices: &[Placed],
    step: Vector3<f64>,
    spacing: [f64; 2],
    normal: Vector3<f64>,
    warnings: &mut Vec<String>,
) -> Result<(), SeriesError> {
    let pixel = spacing[0].min(spacing[1]);
    let per_millimetre = step / step.dot(&normal);
    for (place, position, slice) in slices {
        let expected = slices[0].1 + per_millimetre * (place - slices[0].0);
        let away = (position - expected).norm();
        if away > pixel {
            return Err(SeriesError::Geometry {
                path: slice.path.clone(),
                reason: format!("lies {away:.1} mm beside the line of the other slices"),
            });
        }
    }
    let tilt = (step.dot(&normal) / step.norm()).clamp(-1.0, 1.0).acos().to_degrees();
    if tilt > 0.5 {
        warnings.push(format!(
            "the slices are shifted against each other, as of a gantry tilted by {tilt:.1} degrees; \
             they are followed one by one, and files of masks keep the shift"
        ));
    }
    Ok(())
}
