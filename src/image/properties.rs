//! What holds for any picture's size and any mask.

use proptest::prelude::*;

use super::{CocoRle, Letterbox, Mask, MaskPatch, PixelBox};
use crate::properties::cases;

fn masks(most: u32) -> impl Strategy<Value = Mask> {
    (1..=most, 1..=most).prop_flat_map(|(width, height)| {
        let pixels = (width * height) as usize;
        // Noise, and runs of any length.
        let noise = prop::collection::vec(any::<bool>(), pixels);
        let runs = prop::collection::vec(0..pixels, 0..6).prop_map(move |mut ends| {
            ends.sort_unstable();
            (0..pixels).map(|at| ends.iter().filter(|end| **end <= at).count() % 2 == 1).collect()
        });
        prop_oneof![noise, runs]
            .prop_map(move |data: Vec<bool>| Mask::new(width, height, data).expect("as many"))
    })
}

fn letterboxes(most: u32) -> impl Strategy<Value = Letterbox> {
    let side = prop::sample::select(vec![256u32, 384, 512, 1024]);
    (1..=most, 1..=most, side, any::<bool>()).prop_map(|(width, height, side, trimmed)| {
        let letterbox = Letterbox::new(width, height, side);
        if trimmed { letterbox.trimmed(32) } else { letterbox }
    })
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_mask_is_its_runs(mask in masks(40)) {
        let rle = CocoRle::new(&mask);
        prop_assert_eq!(rle.size, [mask.height(), mask.width()]);
        prop_assert_eq!(rle.mask(), Some(mask));
    }

    #[test]
    fn any_text_is_runs_or_none(width in 0u32..9, height in 0u32..9, counts in "[!-~]{0,12}|[0-o]{0,12}") {
        let rle = CocoRle { size: [height, width], counts };
        if let Some(mask) = rle.mask() {
            prop_assert_eq!((mask.width(), mask.height()), (width, height));
            prop_assert_eq!(CocoRle::new(&mask).mask(), Some(mask));
        }
    }

    #[test]
    fn a_mask_is_its_patch(mask in masks(24), dx in -3i64..30, dy in -3i64..30) {
        let (width, height) = (mask.width(), mask.height());
        let on = |x: i64, y: i64| {
            let inside = (0..i64::from(width)).contains(&x) && (0..i64::from(height)).contains(&y);
            inside && mask.data()[(y * i64::from(width) + x) as usize]
        };
        let Some(patch) = MaskPatch::of(&mask) else {
            prop_assert_eq!(mask.area(), 0);
            return Ok(());
        };
        prop_assert_eq!(Some(patch.area()), mask.bounding_box());
        prop_assert_eq!(patch.contains(dx, dy), on(dx, dy));
        prop_assert_eq!(patch.to_mask(width, height), Some(mask.clone()));
        // The same from the whole picture as its box, and within a picture of another size.
        let all = PixelBox { x0: 0, y0: 0, x1: width - 1, y1: height - 1 };
        prop_assert_eq!(MaskPatch::new(all, mask.data().to_vec()), Some(patch.clone()));
        let (other_width, other_height) = (dx.unsigned_abs() as u32 + 1, dy.unsigned_abs() as u32 + 1);
        let other = patch.to_mask(other_width, other_height).expect("no side is zero");
        for (at, found) in other.data().iter().enumerate() {
            let (x, y) = (at as u32 % other_width, at as u32 / other_width);
            prop_assert_eq!(*found, on(x.into(), y.into()));
        }
    }

    #[test]
    fn places_go_to_the_input_and_back(letterbox in letterboxes(5000), x in 0.0f64..1.0, y in 0.0f64..1.0) {
        let ([width, height], scaled) = (letterbox.original(), letterbox.scaled());
        let place = [x * f64::from(width), y * f64::from(height)];
        let there = letterbox.to_input(place[0] as f32, place[1] as f32);
        for axis in 0..2 {
            let (side, length) = (f64::from(scaled[axis]), f64::from(letterbox.original()[axis]));
            let (at, place) = (f64::from(there[axis]), place[axis]);
            prop_assert!((0.0..=side * (1.0 + 1e-6)).contains(&at), "{at} of {side}");
            prop_assert!((at * length / side - place).abs() <= 1e-6 * length, "{place}: {at}");
            prop_assert!(scaled[axis] <= letterbox.canvas()[axis]);
            prop_assert!(letterbox.canvas()[axis] <= letterbox.side());
        }
        // The longer side fills the input, and the other keeps the shape to half a pixel.
        prop_assert_eq!(scaled[0].max(scaled[1]), letterbox.side());
        let factor = f64::from(letterbox.side()) / f64::from(width.max(height));
        let short = f64::from(width.min(height)) * factor;
        let found = f64::from(scaled[0].min(scaled[1]));
        prop_assert!((found - short).abs() <= 0.5 + 1e-9 || found == 1.0, "{found}, not {short}");
    }
}

proptest! {
    #![proptest_config(cases(40))]

    /// A hill on the map, at the place in the input where a point of the picture lies, has its top at that
    /// point of the picture.
    #[test]
    fn maps_come_back_to_where_they_were_made(
        letterbox in letterboxes(300), x in 0.0f32..1.0, y in 0.0f32..1.0,
    ) {
        let (original, scaled) = (letterbox.original(), letterbox.scaled());
        let map = letterbox.canvas().map(|side| side as usize / 4);
        let place = [x * original[0] as f32, y * original[1] as f32];
        let at = letterbox.to_input(place[0], place[1]).map(|at| at / 4.0 - 0.5);
        let hill = |column: usize, row: usize| {
            -((column as f32 - at[0]).powi(2) + (row as f32 - at[1]).powi(2))
        };
        let values: Vec<f32> =
            (0..map[0] * map[1]).map(|cell| hill(cell % map[0], cell / map[0])).collect();
        let restore = letterbox.restore(map, 1);
        let top = restore.arg_max(&values);
        for axis in 0..2 {
            // Half a cell of the map and a pixel; beyond the middle of the outermost cells all is level.
            let cell = 4.0 * original[axis] as f32 / scaled[axis] as f32;
            let apart = (top[axis] as f32 + 0.5 - place[axis]).abs();
            prop_assert!(apart <= cell + 1.0, "{top:?} for {place:?}, a cell has {cell}");
        }
        // What is above a level is one box, and the mask's own.
        let level = -4.0;
        let raised: Vec<f32> = values.iter().map(|value| value - level).collect();
        let mask = restore.mask(&raised).expect("the picture's size");
        prop_assert_eq!(mask.bounding_box(), restore.bounding_box(&raised));
    }
}
