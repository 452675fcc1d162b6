use super::corners::corners;
use super::fit::{Fit, Pair, fit};
use super::flow::follow;
use super::{Affine, GreyPicture};
use crate::image::MaskPatch;

/// Points that are followed for one object.
pub(super) const POINTS: usize = 60;
/// What the word of a point beside the object counts. One amid it counts 1; near the outline both
/// sides share the window, and the other side may move differently.
const BESIDE: f64 = 0.02;
/// Number of points that must agree for full trust.
const ENOUGH: f64 = 10.0;
/// Residual at which trust is halved, in small pixels.
const HALVED_AT: f64 = 0.8;
/// Least trust that a mask is moved with.
const TRUSTED: f32 = 0.2;
/// Largest change of size between two pictures, as a factor or its reciprocal.
const LARGEST_SCALE: f64 = 1.35;
/// Largest turn, as its sine.
const LARGEST_TURN: f64 = 0.35;
/// Largest shift, as a share of the picture's longer side.
const LARGEST_SHIFT: f64 = 0.3;

/// How an object moved from one picture to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// Where each place of the first picture is in the second, in pixels of the whole picture.
    pub affine: Affine,
    /// How far that may be believed: 0 (not at all) to 1.
    pub trust: f32,
}

impl Motion {
    /// Nothing is known.
    const UNKNOWN: Self = Self { affine: Affine::IDENTITY, trust: 0.0 };

    /// Whether a mask may be moved with it.
    pub fn trusted(&self) -> bool {
        self.trust >= TRUSTED
    }
}

/// Estimates how an object moved between two pictures of one size, from corners on it and a little
/// around it. The trust is 0 if the sizes differ, if there is nothing to hold on to, or if the
/// pictures do not belong together.
pub fn estimate(from: &GreyPicture, to: &GreyPicture, object: &MaskPatch) -> Motion {
    estimate_with(from, to, object, POINTS)
}

/// The same with about `count` points.
pub(crate) fn estimate_with(
    from: &GreyPicture,
    to: &GreyPicture,
    object: &MaskPatch,
    count: usize,
) -> Motion {
    if [from.width(), from.height()] != [to.width(), to.height()] {
        return Motion::UNKNOWN;
    }
    let corners = corners(from, object, count);
    let mut asked = 0.0;
    let mut pairs = Vec::with_capacity(corners.len());
    for corner in corners {
        let weight = BESIDE + (1.0 - BESIDE) * corner.share * corner.share;
        asked += weight;
        if let Some(to) = follow(from.levels(), to.levels(), corner.place) {
            pairs.push(Pair { from: corner.place.map(f64::from), to: to.map(f64::from), weight });
        }
    }
    let Some(found) = fit(&pairs) else { return Motion::UNKNOWN };
    let survived = pairs.iter().map(|pair| pair.weight).sum::<f64>() / asked;
    let affine = whole(&found.affine, from.reduction());
    if !plausible(&affine, object, from) {
        return Motion::UNKNOWN;
    }
    Motion { affine, trust: trust(&found, survived) }
}

/// A map of small pixels as one of the whole picture's.
fn whole(small: &Affine, reduction: u32) -> Affine {
    let scale = f64::from(reduction);
    let shift = (scale - 1.0) * 0.5;
    let shrink = Affine([[1.0 / scale, 0.0, -shift / scale], [0.0, 1.0 / scale, -shift / scale]]);
    let grow = Affine([[scale, 0.0, shift], [0.0, scale, shift]]);
    shrink.then(small).then(&grow)
}

fn trust(found: &Fit, survived: f64) -> f32 {
    let enough = (found.agreeing as f64 / ENOUGH).min(1.0);
    let tight = 1.0 / (1.0 + (found.residual / HALVED_AT).powi(2));
    ((found.share * survived).sqrt() * enough * tight).clamp(0.0, 1.0) as f32
}

/// Whether an object could have moved so between two pictures of a video.
fn plausible(affine: &Affine, object: &MaskPatch, picture: &GreyPicture) -> bool {
    let [[a, b, _], [c, d, _]] = affine.0;
    // Scale and turn of the similarity nearest to the map, and what is left of it: its shear.
    let (cosine, sine) = ((a + d) * 0.5, (c - b) * 0.5);
    let scale = cosine.hypot(sine);
    let shear = ((a - d) * 0.5).hypot((b + c) * 0.5);
    let area = object.area();
    let centre = [
        (f64::from(area.x0) + f64::from(area.x1)) * 0.5,
        (f64::from(area.y0) + f64::from(area.y1)) * 0.5,
    ];
    let moved = affine.apply(centre);
    let shift = (moved[0] - centre[0]).hypot(moved[1] - centre[1]);
    let longest = f64::from(picture.width().max(picture.height()));
    (1.0 / LARGEST_SCALE..LARGEST_SCALE).contains(&scale)
        && cosine > 0.0
        && sine.abs() < LARGEST_TURN * scale
        && shear < 0.25 * scale
        && shift < LARGEST_SHIFT * longest
}
