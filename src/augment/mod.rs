//! Random changes of training images. `plain` is what most recipes do; `scopes` makes the images of one
//! hospital look like those of others: aspect, shape of the view, insets and text that scopes burn in,
//! colour, blur and compression. `absent` makes images without the object of those that show it.

mod absent;
mod degrade;
mod geometry;
mod light;
mod plain;
mod random;
mod scope;

use serde::{Deserialize, Serialize};

use crate::image::{Frame, ImageError, Mask};

pub use absent::{decoy, without_object};
pub use random::Random;

/// How training images are changed at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Not at all.
    None,
    /// Flips, crops, light and colour, blur, glints.
    #[default]
    Plain,
    /// These, wider, and what differs from one endoscope and hospital to the next.
    Scopes,
}

/// An image and its mask while they are changed.
#[derive(Clone, Debug, PartialEq)]
struct Annotated {
    width: usize,
    height: usize,
    /// `[row][column][channel]`.
    rgb: Vec<u8>,
    /// `[row][column]`.
    mask: Vec<bool>,
}

impl Annotated {
    fn new(frame: &Frame, mask: &Mask) -> Self {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        Self { width, height, rgb: frame.rgb().to_vec(), mask: mask.data().to_vec() }
    }

    fn finish(self) -> Result<(Frame, Mask), ImageError> {
        let (width, height) = (self.width as u32, self.height as u32);
        Ok((Frame::new(width, height, self.rgb)?, Mask::new(width, height, self.mask)?))
    }

    fn area(&self) -> usize {
        self.mask.iter().filter(|on| **on).count()
    }
}

/// The image changed. `side` is about how long it will be in the model's input, in pixels: nothing is
/// made much larger.
pub fn augment(
    kind: Augmentation,
    frame: &Frame,
    mask: &Mask,
    side: u32,
    random: &mut Random,
) -> Result<(Frame, Mask), ImageError> {
    match kind {
        Augmentation::None => Ok((frame.clone(), mask.clone())),
        Augmentation::Plain => plain::augment(frame, mask, random),
        Augmentation::Scopes => {
            let mut image = geometry::warped(&Annotated::new(frame, mask), side as usize, random);
            light::change(&mut image, random);
            scope::change(&mut image, random);
            degrade::change(&mut image, random);
            image.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image whose object is exactly where it is red.
    pub fn made() -> (Frame, Mask) {
        let on = |i: usize| (45..66).contains(&(i % 80)) && (20..37).contains(&(i / 80));
        let data: Vec<bool> = (0..80 * 60).map(on).collect();
        let rgb = data.iter().flat_map(|&on| if on { [230, 40, 40] } else { [60, 60, 200] });
        let frame = Frame::new(80, 60, rgb.collect()).expect("sizes agree");
        (frame, Mask::new(80, 60, data).expect("sizes agree"))
    }

    #[test]
    fn the_mask_goes_where_the_object_goes() {
        let (frame, mask) = made();
        for (kind, least) in [(Augmentation::Plain, 25), (Augmentation::Scopes, 20)] {
            let (mut sizes, mut close) = (std::collections::BTreeSet::new(), 0);
            for seed in 0..50 {
                let mut random = Random::at(seed, &[]);
                let (frame, mask) = augment(kind, &frame, &mask, 96, &mut random).expect("it fits");
                assert_eq!((frame.width(), frame.height()), (mask.width(), mask.height()));
                assert!(mask.area() > 0, "{kind:?} {seed}");
                // Colours, blurred edges, glints and overlays may hide some.
                let redder = |p: &[u8]| i32::from(p[0]) - i32::from(p[2]);
                let mean = |on: bool| {
                    let pixels = frame.rgb().chunks_exact(3).zip(mask.data());
                    let some: Vec<i32> =
                        pixels.filter(|(_, m)| **m == on).map(|(p, _)| redder(p)).collect();
                    some.iter().sum::<i32>() as f32 / some.len().max(1) as f32
                };
                close += usize::from(mean(true) > mean(false) + 20.0);
                sizes.insert((frame.width(), frame.height()));
            }
            assert!(
                sizes.len() > 20 && close > 50 - least / 4,
                "{kind:?}: {} {close}",
                sizes.len()
            );
        }
    }

    #[test]
    fn no_change_is_none_and_the_same_draw_is_the_same_change() {
        let (frame, mask) = made();
        let of = |kind, seed| {
            augment(kind, &frame, &mask, 64, &mut Random::at(seed, &[])).expect("it fits")
        };
        assert!(of(Augmentation::None, 3) == (frame.clone(), mask.clone()));
        assert!(of(Augmentation::Scopes, 3) == of(Augmentation::Scopes, 3));
        assert!(of(Augmentation::Scopes, 3) != of(Augmentation::Scopes, 4));
    }
}
