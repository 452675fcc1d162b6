use super::*;

fn small(seed: u64) -> PhantomOptions {
    PhantomOptions { seed, width: 96, height: 64, frames: 40, ..Default::default() }
}

fn phantom(options: PhantomOptions) -> Phantom {
    Phantom::new(options).expect("the options are good")
}

fn render(phantom: &Phantom, index: u32) -> PhantomFrame {
    phantom.render(index).expect("the frame renders")
}

#[test]
fn the_same_options_give_the_same_pixels() {
    let (a, b) = (phantom(small(3)), phantom(small(3)));
    // In another order: no frame depends on the ones before it.
    let later = render(&b, 17);
    let first = render(&b, 0);
    assert_eq!(render(&a, 0), first);
    assert_eq!(render(&a, 17), later);
    assert_ne!(first.frame, later.frame);
}

#[test]
fn seeds_give_different_clips() {
    let (a, b) = (render(&phantom(small(1)), 0), render(&phantom(small(2)), 0));
    assert_ne!(a.frame, b.frame);
    assert_ne!(a.mask, b.mask);
}

#[test]
fn the_polyp_is_seen_leaves_once_and_returns() {
    for difficulty in [Difficulty::Easy, Difficulty::Normal, Difficulty::Hard] {
        for seed in 1..4 {
            let options = PhantomOptions { difficulty, frames: 50, ..small(seed) };
            let clip = phantom(options.clone());
            let frames: Vec<PhantomFrame> = (0..50).map(|i| render(&clip, i)).collect();
            let share = frames[0].mask.area() as f64 / f64::from(options.width * options.height);
            assert!(share >= 0.03, "{options:?}: {share}");
            let present: Vec<bool> = frames.iter().map(|f| f.present).collect();
            for f in &frames {
                assert_eq!(f.present, f.mask.area() > 0);
                assert_eq!((f.mask.width(), f.mask.height()), (96, 64));
                assert_eq!((f.frame.width(), f.frame.height()), (96, 64));
            }
            let absent = present.iter().filter(|&&p| !p).count();
            assert!((5..=12).contains(&absent), "{options:?}: {absent} of 50");
            let changes = present.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(changes == 2 && present[0] && present[49], "{options:?}: {present:?}");
        }
    }
}

#[test]
fn a_long_clip_repeats_its_cycle_and_starts_again() {
    let options = PhantomOptions { frames: 600, difficulty: Difficulty::Easy, ..small(5) };
    let clip = phantom(options);
    let start = render(&clip, 0);
    // 24 seconds are two cycles of 12.
    assert_eq!(start.mask, render(&clip, 300).mask);
    assert_eq!(start.mask, render(&clip, 600).mask);
    assert!(!render(&clip, 150).present && !render(&clip, 450).present);
    assert!(render(&clip, u32::MAX).frame.width() == 96);
}

#[test]
fn pixels_of_the_mask_are_redder_than_the_wall_around() {
    let clip = phantom(PhantomOptions { width: 160, height: 120, ..small(4) });
    let shot = render(&clip, 0);
    let bounds = shot.mask.bounding_box().expect("the polyp is in view");
    // Red over green in the polyp and in a frame of its own size around it.
    let (mut inside, mut outside) = ((0u64, 0u64), (0u64, 0u64));
    for y in bounds.y0.saturating_sub(6)..(bounds.y1 + 7).min(120) {
        for x in bounds.x0.saturating_sub(6)..(bounds.x1 + 7).min(160) {
            let i = (y * 160 + x) as usize;
            let rgb = &shot.frame.rgb()[i * 3..i * 3 + 3];
            let sum = if shot.mask.data()[i] { &mut inside } else { &mut outside };
            sum.0 += u64::from(rgb[0]);
            sum.1 += u64::from(rgb[1]);
        }
    }
    let ratio = |(red, green): (u64, u64)| red as f64 / green as f64;
    assert!(ratio(inside) > 1.12 * ratio(outside), "{} {}", ratio(inside), ratio(outside));
}

#[test]
fn the_mask_is_one_piece_without_holes_in_its_rows() {
    // The polyp is nearly convex and nothing stands before it, so each row has few runs.
    let shot = render(&phantom(PhantomOptions { width: 200, height: 150, ..small(6) }), 0);
    for row in shot.mask.data().chunks_exact(200) {
        let starts = row.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        assert!(starts <= 2, "{starts}");
    }
}

#[test]
fn masks_of_two_sizes_agree() {
    // The same rays but four times as many: the coarse mask is the fine one at its pixel centres,
    // up to the pixels that the outline runs through.
    let coarse = render(&phantom(PhantomOptions { width: 128, height: 96, ..small(7) }), 5).mask;
    let fine = render(&phantom(PhantomOptions { width: 256, height: 192, ..small(7) }), 5).mask;
    let fine = fine.resized(128, 96).expect("the size is good");
    let differ = coarse.data().iter().zip(fine.data()).filter(|(a, b)| a != b).count();
    assert!(differ * 20 < coarse.area(), "{differ} of {}", coarse.area());
}

#[test]
fn any_size_works() {
    for (width, height) in [(33, 17), (16, 16), (17, 65), (16, 300)] {
        let clip = phantom(PhantomOptions { width, height, ..small(8) });
        let shot = render(&clip, 0);
        assert_eq!((shot.frame.width(), shot.frame.height()), (width, height));
        assert!(shot.present);
    }
    let one = phantom(PhantomOptions { frames: 1, frames_per_second: 1e-300, ..small(9) });
    assert!(render(&one, 0).present && render(&one, 7).present);
}

#[test]
fn bad_options_are_errors() {
    let bad = |options: PhantomOptions| Phantom::new(options).expect_err("the options are bad");
    for (width, height) in [(15, 64), (64, 0), (8193, 64)] {
        assert!(matches!(
            bad(PhantomOptions { width, height, ..small(1) }),
            PhantomError::Size { .. }
        ));
    }
    assert!(matches!(bad(PhantomOptions { frames: 0, ..small(1) }), PhantomError::Length));
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = bad(PhantomOptions { frames_per_second: rate, ..small(1) });
        assert!(matches!(error, PhantomError::Rate(_)));
    }
}

#[test]
fn the_arithmetic_is_near_the_library_s() {
    for i in -200..200 {
        let x = i as f32 * 0.173;
        assert!((math::sin(x) - x.sin()).abs() < 1e-4, "sin {x}");
        assert!((math::cos(x) - x.cos()).abs() < 1e-4, "cos {x}");
        assert!((math::bell(x) - (-x * x).exp()).abs() < 1e-3, "bell {x}");
        let (s, c) = x.sin_cos();
        let turn = (math::angle_of(s, c) - s.atan2(c)).abs();
        assert!(turn < 1e-3 || (turn - std::f32::consts::TAU).abs() < 1e-3, "angle {x}");
    }
}
