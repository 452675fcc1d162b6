use std::sync::Arc;
use std::time::Duration;

use super::history::{History, Passed};
use super::{Display, DisplaySettings, LiveResult, MAX_OBJECTS, ObjectResult, Shown};
use crate::image::{Mask, MaskPatch};
use crate::method::{StageTimes, State};
use crate::motion::GreyPicture;

const SIZE: [u32; 2] = [320, 240];
const FRAME: Duration = Duration::from_millis(20);

/// A texture that repeats nowhere near, moved to the right by some pixels.
fn textured(shift: i64, seed: u64) -> GreyPicture {
    bordered(shift, seed, i64::from(SIZE[0]))
}

/// The same behind a black border from a column on, as an endoscope's view has it.
fn bordered(shift: i64, seed: u64, border: i64) -> GreyPicture {
    let cell = |x: i64, y: i64| {
        let mut hash = (x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
            ^ seed.wrapping_mul(0x1656_67B1_9E37_79F9);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((hash >> 32) & 0xFF) as f64
    };
    let value = |x: i64, y: i64| {
        let (u, v) = (x as f64 / 9.0, y as f64 / 9.0);
        let (i, j) = (u.floor() as i64, v.floor() as i64);
        let (fx, fy) = (u - u.floor(), v - v.floor());
        let upper = cell(i, j) * (1.0 - fx) + cell(i + 1, j) * fx;
        let lower = cell(i, j + 1) * (1.0 - fx) + cell(i + 1, j + 1) * fx;
        (upper * (1.0 - fy) + lower * fy) as u8
    };
    let places = (0..i64::from(SIZE[1])).flat_map(|y| (0..i64::from(SIZE[0])).map(move |x| (x, y)));
    let luma: Vec<u8> =
        places.map(|(x, y)| if x < border { value(x - shift, y) } else { 16 }).collect();
    GreyPicture::of_luma(&luma, SIZE[0] as usize, SIZE[0], SIZE[1])
}

fn flat() -> GreyPicture {
    GreyPicture::of_luma(&[70; 320 * 240], 320, 320, 240)
}

/// A square of 60 pixels whose left column is given.
fn square(left: u32) -> Mask {
    let on = |x: u32, y: u32| (left..left + 60).contains(&x) && (90..150).contains(&y);
    let places = (0..SIZE[1]).flat_map(|y| (0..SIZE[0]).map(move |x| (x, y)));
    Mask::new(SIZE[0], SIZE[1], places.map(|(x, y)| on(x, y)).collect()).expect("sizes agree")
}

fn found(number: u64, object: u8, state: State, mask: Option<Mask>) -> LiveResult {
    LiveResult {
        number,
        pts: FRAME * number as u32,
        objects: vec![ObjectResult {
            object,
            state,
            mask: mask.map(Arc::new),
            distance: Some(0.0),
            probability: None,
            object_score: None,
            predicted_iou: 1.0,
            stability: 1.0,
        }],
        times: StageTimes::default(),
    }
}

fn tracked(number: u64) -> LiveResult {
    found(number, 1, State::Tracking, Some(square(100)))
}

fn pass(display: &Display, number: u64, grey: GreyPicture) -> Vec<Shown> {
    display.frame(number, FRAME * number as u32, grey)
}

fn left(shown: &[Shown]) -> Option<u32> {
    shown.first()?.patch.as_ref().map(|patch| patch.area().x0)
}

/// A display that shows the square of frame 0 in that frame.
fn showing(settings: DisplaySettings) -> Display {
    let display = Display::new(settings);
    pass(&display, 0, textured(0, 1));
    display.result(&tracked(0));
    display
}

#[test]
fn a_mask_moves_with_the_picture_and_does_not_age() {
    let display = showing(DisplaySettings::default());
    for number in 1..30 {
        let shown = pass(&display, number, textured(number as i64 * 3, 1));
        let expected = 100 + number as u32 * 3;
        assert!(left(&shown).is_some_and(|x| x.abs_diff(expected) <= 1), "{shown:?}");
        assert_eq!((shown[0].age, shown[0].opacity), (Duration::ZERO, 1.0));
        assert_eq!(shown[0].result_age, FRAME * number as u32);
    }
    for (number, expected) in [(0, 100), (15, 145), (29, 187), (30, 187)] {
        let mask = display.moved_to(1, number).expect("known");
        let area = mask.bounding_box().expect("not empty");
        assert!(area.x0.abs_diff(expected) <= 1, "{number}: {area:?}");
    }
    assert!(display.moved_to(2, 15).is_none());
}

#[test]
fn a_late_result_lands_where_the_object_is_now() {
    let display = Display::new(DisplaySettings::default());
    for number in 0..70 {
        assert!(pass(&display, number, textured(number as i64, 1)).is_empty());
    }
    display.result(&tracked(2));
    let shown = pass(&display, 70, textured(70, 1));
    assert!(left(&shown).is_some_and(|x| x.abs_diff(168) <= 2), "{shown:?}");
    assert_eq!(shown[0].age, Duration::ZERO);
    assert_eq!(shown[0].result_age, FRAME * 68);
    // Between two hops of the way, too.
    let area = display.moved_to(1, 33).and_then(|mask| mask.bounding_box()).expect("known");
    assert!(area.x0.abs_diff(131) <= 2, "{area:?}");
}

#[test]
fn without_trust_a_mask_stays_fades_and_is_gone_for_good() {
    let display = showing(DisplaySettings::default());
    let mut last = 1.1;
    for number in 1..=6 {
        let shown = pass(&display, number, textured(0, 99));
        assert_eq!(left(&shown), Some(100));
        assert_eq!(shown[0].age, FRAME * number as u32);
        assert!(shown[0].opacity < last);
        last = shown[0].opacity;
    }
    // Good motion again does not bring it back; nor is it known where it is.
    for number in 7..10 {
        assert_eq!(left(&pass(&display, number, textured(0, 99))), None);
    }
    assert!(display.moved_to(1, 9).is_none());
    display.result(&tracked(9));
    assert_eq!(left(&pass(&display, 10, textured(0, 99))), Some(100));
}

#[test]
fn a_result_from_before_a_cut_is_old_when_it_arrives() {
    let display = Display::new(DisplaySettings::default());
    for number in 0..20 {
        pass(&display, number, textured(0, if number < 5 { 1 } else { 2 }));
    }
    display.result(&tracked(3));
    assert_eq!(left(&pass(&display, 20, textured(0, 2))), None);
}

#[test]
fn no_mask_outlives_the_confirm_limit() {
    let settings = DisplaySettings { confirm_limit: FRAME * 10, ..DisplaySettings::default() };
    let display = showing(settings);
    for number in 1..=10 {
        assert_eq!(left(&pass(&display, number, textured(0, 1))), Some(100));
    }
    assert_eq!(left(&pass(&display, 11, textured(0, 1))), None);
}

#[test]
fn without_warping_a_mask_is_held_until_the_age_limit() {
    let display = showing(DisplaySettings { warp: false, ..DisplaySettings::default() });
    for number in 1..=6 {
        let shown = pass(&display, number, textured(number as i64 * 3, 1));
        assert_eq!((left(&shown), shown[0].age), (Some(100), FRAME * number as u32));
    }
    assert_eq!(left(&pass(&display, 7, textured(21, 1))), None);
}

#[test]
fn states_take_the_mask_away_at_once_or_let_it_fade() {
    for state in [State::Lost, State::Searching] {
        let display = showing(DisplaySettings::default());
        assert!(left(&pass(&display, 1, textured(0, 1))).is_some());
        display.result(&found(1, 1, state, Some(square(100))));
        let shown = pass(&display, 2, textured(0, 1));
        assert_eq!((left(&shown), shown[0].state), (None, state));
    }
    let display = showing(DisplaySettings::default());
    pass(&display, 1, textured(3, 1));
    for number in 2..=7 {
        // A second doubt does not make the mask young again.
        display.result(&found(number - 1, 1, State::Uncertain, None));
        let shown = pass(&display, number, textured(number as i64 * 3, 1));
        assert!(left(&shown).is_some_and(|x| x.abs_diff(100 + number as u32 * 3) <= 1));
        assert!(shown[0].opacity < 1.0);
    }
    assert_eq!(left(&pass(&display, 8, textured(24, 1))), None);
}

#[test]
fn a_mask_that_left_the_picture_is_gone() {
    let display = Display::new(DisplaySettings::default());
    pass(&display, 0, textured(0, 1));
    display.result(&found(0, 1, State::Tracking, Some(square(250))));
    let mut gone = false;
    for number in 1..30 {
        let here = left(&pass(&display, number, textured(number as i64 * 4, 1)));
        gone |= here.is_none();
        assert!(!(gone && here.is_some()), "came back in frame {number}");
    }
    assert!(gone);
}

#[test]
fn a_mask_that_went_behind_the_view_s_border_is_gone() {
    let display = Display::new(DisplaySettings::default());
    pass(&display, 0, bordered(0, 1, 200));
    display.result(&tracked(0));
    let mut gone = None;
    for number in 1..40 {
        let shown = pass(&display, number, bordered(number as i64 * 3, 1, 200));
        if left(&shown).is_none() {
            gone = gone.or(Some(number));
        } else {
            // It did not fade: it was trusted until it was behind the border.
            assert_eq!((gone, shown[0].age), (None, Duration::ZERO), "{number}");
        }
    }
    // 9 of its 60 columns, 15 %, are left to be seen after 30 frames.
    assert!(gone.is_some_and(|number| (27..=34).contains(&number)), "{gone:?}");
}

#[test]
fn times_that_jump_back_or_repeat_show_nothing_stale() {
    let display = showing(DisplaySettings::default());
    pass(&display, 1, textured(0, 1));
    assert!(display.frame(2, Duration::from_millis(19), textured(0, 1)).is_empty());
    // A result of before the jump has nothing to do with what is shown now.
    display.result(&tracked(1));
    assert!(display.frame(3, FRAME * 2, textured(0, 1)).is_empty());

    let display = showing(DisplaySettings::default());
    let stuck = |number| display.frame(number, FRAME, textured(0, 1));
    assert!((1..10).all(|number| left(&stuck(number)).is_some()));
    assert!((10..99).all(|number| left(&stuck(number)).is_none()));

    let display = showing(DisplaySettings::default());
    assert!(left(&pass(&display, 1, textured(0, 9))).is_some());
    assert_eq!(left(&display.frame(2, FRAME, textured(0, 9))), None);

    let display = showing(DisplaySettings::default());
    assert!(left(&display.frame(1, Duration::MAX, textured(0, 1))).is_none());
    assert!(display.frame(0, Duration::ZERO, textured(0, 1)).is_empty());
}

#[test]
fn another_size_and_clearing_forget_everything() {
    let display = showing(DisplaySettings::default());
    let small = GreyPicture::of_luma(&[70; 80 * 60], 80, 80, 60);
    assert!(pass(&display, 1, small.clone()).is_empty());
    // A mask of the size before cannot be drawn on this one.
    display.result(&tracked(1));
    assert_eq!(left(&pass(&display, 2, small)), None);

    let display = showing(DisplaySettings::default());
    display.clear();
    display.result(&tracked(0));
    assert!(pass(&display, 1, textured(0, 1)).is_empty());
}

#[test]
fn a_removed_object_stays_away_until_it_is_found_in_a_later_frame() {
    let display = showing(DisplaySettings::default());
    pass(&display, 1, textured(0, 1));
    display.remove(1);
    display.result(&tracked(1));
    assert!(pass(&display, 2, textured(0, 1)).is_empty());
    display.result(&tracked(2));
    assert_eq!(left(&pass(&display, 3, textured(0, 1))), Some(100));
    display.remove(200);
}

#[test]
fn objects_are_bounded_and_unknown_numbers_are_ignored() {
    let display = Display::new(DisplaySettings::default());
    pass(&display, 0, flat());
    for object in 0..=u8::MAX {
        display.result(&found(0, object, State::Tracking, Some(square(100))));
    }
    let shown = pass(&display, 1, flat());
    assert_eq!(shown.len(), MAX_OBJECTS);
    assert!(shown.iter().map(|shown| shown.object).eq(1..=8));
}

#[test]
fn the_history_is_bounded_in_pictures_time_and_bytes() {
    let push = |history: &mut History, number: u64, pts: Duration, grey: &GreyPicture| {
        history.push(Arc::new(Passed { number, pts, grey: grey.clone() }));
    };
    let small = flat();
    let mut history = History::default();
    for number in 0..1000 {
        push(&mut history, number, Duration::from_millis(number), &small);
    }
    assert_eq!(history.held(), (256, 256 * small.bytes()));
    push(&mut history, 1000, Duration::from_secs(60), &small);
    assert_eq!(history.held(), (1, small.bytes()));
    // A picture of an odd shape is not reduced much.
    let large = GreyPicture::of_luma(&[], 0, 2_000_000, 1);
    for number in 1001..1101 {
        push(&mut history, number, Duration::from_secs(60), &large);
    }
    assert!(history.held().1 <= 32 << 20);
}

#[test]
fn patches_are_cut_and_put_back() {
    let mask = square(100);
    let patch = MaskPatch::of(&mask).expect("not empty");
    assert_eq!(patch.to_mask(SIZE[0], SIZE[1]), Some(mask));
    assert_eq!(patch.on().len(), 3600);
    assert_eq!(patch.to_mask(110, 100).map(|mask| mask.area()), Some(100));
    assert_eq!(patch.to_mask(20, 20).map(|mask| mask.area()), Some(0));
    assert_eq!(patch.to_mask(0, 20), None);
    let empty = Mask::new(3, 2, vec![false; 6]).expect("sizes agree");
    assert!(MaskPatch::of(&empty).is_none());
}
