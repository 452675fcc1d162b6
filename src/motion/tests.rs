use super::*;
use crate::image::{Frame, Mask, MaskPatch, PixelBox};

const SIZE: [u32; 2] = [640, 400];

/// A smooth texture without repetition: value noise of three sizes.
fn texture(x: f64, y: f64, seed: u64) -> f64 {
    let corner = |x: i64, y: i64, octave: u64| {
        let mut hash = (x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
            ^ (seed * 8 + octave).wrapping_mul(0x1656_67B1_9E37_79F9);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((hash >> 32) & 0xFFFF) as f64 / 65535.0
    };
    let mut sum = 0.0;
    for (octave, (cell, height)) in [(48.0, 80.0), (21.0, 50.0), (11.0, 40.0)].iter().enumerate() {
        let (u, v) = (x / cell, y / cell);
        let (fx, fy) = (u - u.floor(), v - v.floor());
        let (fx, fy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
        let at = |dx, dy| corner(u.floor() as i64 + dx, v.floor() as i64 + dy, octave as u64);
        let upper = at(0, 0) + (at(1, 0) - at(0, 0)) * fx;
        let lower = at(0, 1) + (at(1, 1) - at(0, 1)) * fx;
        sum += height * (upper + (lower - upper) * fy);
    }
    sum + 30.0
}

/// The texture after a map, its grey levels changed by a function.
fn picture(affine: &Affine, seed: u64, level: impl Fn(f64) -> f64) -> GreyPicture {
    let back = affine.inverse().expect("invertible");
    let mut luma = Vec::new();
    for y in 0..SIZE[1] {
        for x in 0..SIZE[0] {
            let [u, v] = back.apply([f64::from(x), f64::from(y)]);
            luma.push(level(texture(u, v, seed)).clamp(0.0, 255.0) as u8);
        }
    }
    GreyPicture::of_luma(&luma, SIZE[0] as usize, SIZE[0], SIZE[1])
}

fn disc(x: f64, y: f64, radius: f64) -> MaskPatch {
    let on = |px: u32, py: u32| (f64::from(px) - x).hypot(f64::from(py) - y) < radius;
    let data = (0..SIZE[1]).flat_map(|y| (0..SIZE[0]).map(move |x| (x, y)));
    let mask = Mask::new(SIZE[0], SIZE[1], data.map(|(x, y)| on(x, y)).collect());
    MaskPatch::of(&mask.expect("sizes agree")).expect("not empty")
}

/// Turn in degrees, scale, shift, about the middle of the object.
fn map(turn: f64, scale: f64, shift: [f64; 2]) -> Affine {
    let (sin, cos) = turn.to_radians().sin_cos();
    let (a, b) = (scale * cos, scale * sin);
    Affine([
        [a, -b, 320.0 - a * 320.0 + b * 200.0 + shift[0]],
        [b, a, 200.0 - b * 320.0 - a * 200.0 + shift[1]],
    ])
}

/// Largest distance within the object between where two maps take it, in pixels.
fn apart(one: &Affine, other: &Affine, object: &MaskPatch) -> f64 {
    let area = object.area();
    let corners = [[area.x0, area.y0], [area.x1, area.y0], [area.x0, area.y1], [area.x1, area.y1]];
    let far = |corner: [u32; 2]| {
        let [[a, b], [c, d]] = [one, other].map(|map| map.apply(corner.map(f64::from)));
        (a - c).hypot(b - d)
    };
    corners.map(far).into_iter().fold(0.0, f64::max)
}

#[test]
fn known_motions_are_found_within_a_pixel() {
    let object = disc(320.0, 200.0, 90.0);
    let before = picture(&Affine::IDENTITY, 1, |v| v);
    let stretched = Affine([[1.05, 0.02, -12.0], [0.0, 0.97, 9.0]]);
    let motions = [
        Affine::IDENTITY,
        map(0.0, 1.0, [0.7, -0.4]),
        map(0.0, 1.0, [31.0, -18.0]),
        map(6.0, 1.0, [4.0, 5.0]),
        map(-3.0, 1.07, [-9.0, 2.0]),
        map(0.0, 0.93, [0.0, 0.0]),
        stretched,
    ];
    for truth in motions {
        let motion = estimate(&before, &picture(&truth, 1, |v| v), &object);
        assert!(motion.trusted(), "{truth:?}: {motion:?}");
        let off = apart(&motion.affine, &truth, &object);
        assert!(off < 1.0, "{truth:?}: off by {off}");
    }
}

#[test]
fn a_change_of_light_is_no_motion_and_keeps_trust() {
    let object = disc(320.0, 200.0, 90.0);
    let before = picture(&Affine::IDENTITY, 1, |v| v);
    let truth = map(2.0, 1.02, [8.0, 3.0]);
    let lights: [fn(f64) -> f64; 3] = [|v| v + 25.0, |v| v * 0.65, |v| (v - 100.0) * 1.2 + 110.0];
    for light in lights {
        let motion = estimate(&before, &picture(&truth, 1, light), &object);
        assert!(motion.trusted(), "{motion:?}");
        assert!(apart(&motion.affine, &truth, &object) < 1.0);
    }
}

#[test]
fn another_shot_is_not_trusted() {
    let object = disc(320.0, 200.0, 90.0);
    for seed in 1..9 {
        let before = picture(&Affine::IDENTITY, seed, |v| v);
        let after = picture(&Affine::IDENTITY, seed + 1, |v| v);
        let motion = estimate(&before, &after, &object);
        assert!(!motion.trusted(), "{seed}: {motion:?}");
    }
}

#[test]
fn nothing_to_hold_on_to_is_not_trusted() {
    let object = disc(320.0, 200.0, 90.0);
    let flat = picture(&Affine::IDENTITY, 1, |_| 90.0);
    let textured = picture(&Affine::IDENTITY, 1, |v| v);
    for (from, to) in [(&flat, &flat), (&flat, &textured), (&textured, &flat)] {
        assert_eq!(estimate(from, to, &object).trust, 0.0);
    }
    // Edges along one direction do not tell how far things moved along them.
    let luma: Vec<u8> =
        (0..SIZE[1]).flat_map(|_| (0..SIZE[0]).map(|x| ((x / 20) % 2 * 120) as u8 + 40)).collect();
    let striped = GreyPicture::of_luma(&luma, SIZE[0] as usize, SIZE[0], SIZE[1]);
    assert_eq!(estimate(&striped, &striped, &object).trust, 0.0);
}

#[test]
fn an_object_that_moves_across_the_picture_is_followed_not_the_picture() {
    let object = disc(320.0, 200.0, 70.0);
    let before = picture(&Affine::IDENTITY, 1, |v| v);
    let (own, other) = (map(0.0, 1.0, [14.0, 6.0]), map(0.0, 1.0, [-8.0, 0.0]));
    let backs = [own, other].map(|map| map.inverse().expect("invertible"));
    let mut luma = Vec::new();
    for y in 0..SIZE[1] {
        for x in 0..SIZE[0] {
            let place = [f64::from(x), f64::from(y)];
            let [u, v] = backs[0].apply(place);
            let on = object.contains(u.round() as i64, v.round() as i64);
            let [u, v] = if on { [u, v] } else { backs[1].apply(place) };
            luma.push(texture(u, v, 1).clamp(0.0, 255.0) as u8);
        }
    }
    let after = GreyPicture::of_luma(&luma, SIZE[0] as usize, SIZE[0], SIZE[1]);
    let motion = estimate(&before, &after, &object);
    assert!(motion.trusted(), "{motion:?}");
    assert!(apart(&motion.affine, &own, &object) < 2.0, "{motion:?}");
}

#[test]
fn any_size_and_any_length_of_plane_is_survived() {
    let whole = PixelBox { x0: 0, y0: 0, x1: 4, y1: 4 };
    let object = MaskPatch::new(whole, vec![true; 25]).expect("not empty");
    for (width, height) in [(0, 0), (1, 1), (7, 3), (4000, 2), (33, 4000), (1921, 1081)] {
        for luma in [vec![], vec![9; 100], vec![9; 1921 * 1081]] {
            for stride in [0, 5, width as usize, usize::MAX] {
                let grey = GreyPicture::of_luma(&luma, stride, width, height);
                assert!(grey.bytes() < 1 << 18);
                assert_eq!(estimate(&grey, &grey, &object).trust, 0.0);
            }
        }
    }
    let (one, other) = (picture(&Affine::IDENTITY, 1, |v| v), GreyPicture::of_luma(&[], 9, 9, 9));
    assert_eq!(estimate(&one, &other, &object).trust, 0.0);
}

#[test]
fn grey_pictures_are_the_means_of_boxes() {
    let (width, height) = (1925u32, 1083u32);
    let luma: Vec<u8> =
        (0..width * height).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let grey = GreyPicture::of_luma(&luma, width as usize, width, height);
    let side = grey.reduction() as usize;
    let level = &grey.levels()[0];
    assert_eq!((side, level.width, level.height), (7, 275, 154));
    for (x, y) in [(0, 0), (274, 153), (100, 70)] {
        let sum: u32 = (0..side * side)
            .map(|i| luma[(y * side + i / side) * width as usize + x * side + i % side])
            .map(u32::from)
            .sum();
        let mean = (f64::from(sum) / (side * side) as f64).round() as u8;
        assert_eq!(level.data[y * level.width + x], mean);
    }
    let white = Frame::new(40, 30, vec![255; 3600]).expect("sizes agree");
    assert!(GreyPicture::of_frame(&white).levels()[0].data.iter().all(|&v| v == 255));
}

/// The same by definition: a pixel is on if the source's pixel nearest to where it came from is.
fn plainly_warped(patch: &MaskPatch, affine: &Affine) -> Mask {
    let back = affine.inverse().expect("invertible");
    let mut data = Vec::new();
    for y in 0..SIZE[1] {
        for x in 0..SIZE[0] {
            let [u, v] = back.apply([f64::from(x), f64::from(y)]);
            data.push(patch.contains((u + 0.5).floor() as i64, (v + 0.5).floor() as i64));
        }
    }
    Mask::new(SIZE[0], SIZE[1], data).expect("sizes agree")
}

#[test]
fn warped_masks_are_those_of_the_plain_definition() {
    let maps = [
        Affine::IDENTITY,
        map(0.0, 1.0, [13.0, -7.0]),
        map(0.0, 1.0, [-250.5, 120.25]),
        map(1.5, 1.02, [4.0, 9.0]),
        map(-2.0, 0.97, [0.0, 9.0]),
        map(33.0, 1.3, [40.0, 9.0]),
        map(-120.0, 0.4, [0.3, 0.7]),
        Affine([[-1.0, 0.2, 600.0], [0.1, 0.9, 3.0]]),
    ];
    for object in [disc(320.0, 200.0, 90.0), disc(10.0, 10.0, 30.0), disc(5.0, 390.0, 0.5)] {
        for map in maps {
            let plain = plainly_warped(&object, &map);
            let warped = warp(&object, &map, SIZE[0], SIZE[1]);
            let Some(warped) = warped else {
                assert_eq!(plain.area(), 0, "{map:?}");
                continue;
            };
            assert_eq!(Some(warped.area()), plain.bounding_box());
            let whole = warped.to_mask(SIZE[0], SIZE[1]).expect("sides are not zero");
            let different = whole.data().iter().zip(plain.data()).filter(|(a, b)| a != b).count();
            // Places midway between two pixels may be rounded either way.
            assert!(different * 500 <= plain.area(), "{different} of {} for {map:?}", plain.area());
        }
    }
}

#[test]
fn masks_that_leave_the_picture_or_collapse_are_gone() {
    let object = disc(320.0, 200.0, 90.0);
    for shift in [[411.0, 0.0], [-411.0, 0.0], [0.0, 291.0], [0.0, -291.0], [1e300, 0.0]] {
        assert_eq!(warp(&object, &map(0.0, 1.0, shift), SIZE[0], SIZE[1]), None);
    }
    for [a, b, c] in [[0.0; 3], [f64::NAN, 0.0, 0.0], [1e-8, 0.0, 0.0], [1e9, 1.0, f64::INFINITY]] {
        assert_eq!(warp(&object, &Affine([[a, b, c], [b, a, c]]), SIZE[0], SIZE[1]), None);
    }
    assert!(warp(&object, &Affine::IDENTITY, 0, 0).is_none());
}

#[test]
fn maps_undo_and_follow_each_other() {
    let (one, other) = (map(20.0, 1.2, [3.0, 4.0]), map(-50.0, 0.8, [1.0, -9.0]));
    let back = one.then(&other).inverse().expect("invertible");
    let place = back.apply(other.apply(one.apply([17.0, 31.0])));
    assert!((place[0] - 17.0).abs() < 1e-9 && (place[1] - 31.0).abs() < 1e-9);
    assert_eq!(Affine([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]).inverse(), None);
}
