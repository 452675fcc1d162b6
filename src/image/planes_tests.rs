//! Drawing on planes with strides.

use super::*;

/// A noise that is the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 12345u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn blob(width: u32, height: u32, on: impl Fn(u32, u32) -> bool) -> Mask {
    let data = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| on(x, y));
    Mask::new(width, height, data.collect()).unwrap()
}

/// Draws on noise and checks every byte: gaps between rows, luma outside the mask, and chroma of
/// squares that are not all covered stay; and something is drawn.
fn check(layout: PlaneLayout, width: u32, height: u32, mask: &Mask, style: &OverlayStyle) {
    let sizes = layout.plane_sizes(width, height);
    let strides = [sizes[0].0 + 5, sizes[1].0 + 3, sizes[2].0 + 7];
    let color = Color::usual(height);
    let info = PlanesInfo { layout, width, height, color, strides };
    // The last row ends without its gap.
    let lengths: Vec<usize> = (0..3)
        .map(|p| if sizes[p].1 == 0 { 0 } else { strides[p] * (sizes[p].1 - 1) + sizes[p].0 })
        .collect();
    let before: Vec<Vec<u8>> = lengths.iter().map(|&length| noise(length)).collect();
    let mut after = before.clone();
    let [y, cb, cr] = &mut after[..] else { unreachable!() };
    let mut planes = PlanesMut::new(info, [y, cb, cr]).unwrap();
    draw_mask(&mut planes, mask, style);

    let on = |x: usize, y: usize| mask.data()[y * width as usize + x];
    let mut drawn = 0;
    for plane in 0..3 {
        for (place, (old, new)) in before[plane].iter().zip(&after[plane]).enumerate() {
            let (row, column) = (place / strides[plane], place % strides[plane]);
            let may_change = column < sizes[plane].0
                && match (plane, layout) {
                    (0, _) => on(column, row),
                    (_, layout) => {
                        let cx = if layout == PlaneLayout::Nv12 { column / 2 } else { column };
                        let xs = cx * 2..(cx * 2 + 2).min(width as usize);
                        let ys = row * 2..(row * 2 + 2).min(height as usize);
                        ys.into_iter().all(|y| xs.clone().all(|x| on(x, y)))
                    }
                };
            assert!(may_change || old == new, "{layout:?} plane {plane} at {column}, {row}");
            drawn += usize::from(old != new);
        }
    }
    assert_eq!(drawn > 0, mask.area() > 0);
}

#[test]
fn only_covered_pixels_change() {
    let styles = [
        OverlayStyle::default(),
        OverlayStyle { thickness: 0, opacity: 0.5, ..OverlayStyle::default() },
        OverlayStyle { thickness: 1, opacity: 0.0, ..OverlayStyle::default() },
    ];
    for layout in [PlaneLayout::I420, PlaneLayout::Nv12] {
        for (width, height) in [(64, 48), (33, 17), (1, 1), (2, 1), (1, 7)] {
            for style in &styles {
                check(layout, width, height, &blob(width, height, |_, _| true), style);
                check(layout, width, height, &blob(width, height, |_, _| false), style);
                let disc = |x: u32, y: u32| x.abs_diff(11).pow(2) + y.abs_diff(7).pow(2) < 37;
                check(layout, width, height, &blob(width, height, disc), style);
                let dots = |x: u32, y: u32| x % 3 == 1 || y % 5 == 2;
                check(layout, width, height, &blob(width, height, dots), style);
            }
        }
    }
}

#[test]
fn both_layouts_get_the_same_colours() {
    let (width, height) = (31, 21);
    let mask = blob(width, height, |x, y| x + y > 9 && x < 28);
    let data = noise(Yuv420::bytes(width, height));
    let mut i420 = Yuv420::new(width, height, Color::usual(height), data).unwrap();
    let [y, cb, cr] = i420.planes();
    let mut luma = y.to_vec();
    let mut pairs: Vec<u8> = cb.iter().zip(cr).flat_map(|(&cb, &cr)| [cb, cr]).collect();
    let info = PlanesInfo::packed(PlaneLayout::Nv12, width, height, i420.color());
    let mut nv12 = PlanesMut::new(info, [&mut luma, &mut pairs, &mut []]).unwrap();
    draw_mask(&mut nv12, &mask, &OverlayStyle::default());
    draw_mask(&mut i420, &mask, &OverlayStyle::default());
    assert_eq!(nv12.as_planes().to_frame(), i420.to_frame());
}

#[test]
fn short_planes_are_refused() {
    let info = PlanesInfo::packed(PlaneLayout::I420, 5, 3, Color::usual(3));
    let bytes = [0u8; 64];
    assert!(Planes::new(info, [&bytes[..15], &bytes[..6], &bytes[..6]]).is_ok());
    assert!(Planes::new(info, [&bytes[..14], &bytes[..6], &bytes[..6]]).is_err());
    assert!(Planes::new(info, [&bytes[..15], &bytes[..6], &bytes[..5]]).is_err());
    let narrow = PlanesInfo { strides: [4, 3, 3], ..info };
    assert!(Planes::new(narrow, [&bytes; 3]).is_err());
    let huge = PlanesInfo { strides: [usize::MAX, 3, 3], ..info };
    assert!(Planes::new(huge, [&bytes; 3]).is_err());
    let empty = PlanesInfo::packed(PlaneLayout::I420, 0, 3, Color::usual(3));
    assert!(Planes::new(empty, [&bytes; 3]).is_err());
}

#[test]
fn colours_come_back() {
    for matrix in [ColorMatrix::Bt601, ColorMatrix::Bt709] {
        for range in [ColorRange::Limited, ColorRange::Full] {
            let color = Color { matrix, range };
            for rgb in
                [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [180, 90, 70]]
            {
                let [y, cb, cr] = color.encode(rgb);
                let info = PlanesInfo::packed(PlaneLayout::I420, 3, 3, color);
                let frame = Planes::new(info, [&[y; 9], &[cb; 4], &[cr; 4]]).unwrap().to_frame();
                for pixel in frame.rgb().chunks_exact(3) {
                    let off = pixel.iter().zip(rgb).map(|(&a, b)| a.abs_diff(b)).max();
                    assert!(off <= Some(2), "{color:?} {rgb:?} became {pixel:?}");
                }
            }
        }
    }
}

#[test]
fn strength_fades_the_whole_mask() {
    let mask = blob(20, 15, |x, y| (4..=12).contains(&x) && (3..=9).contains(&y));
    let patch = MaskPatch::of(&mask).unwrap();
    let grey = Frame::new(20, 15, vec![90; 900]).unwrap();
    let level = |strength: f32, x: usize| {
        let mut drawn = grey.clone();
        let style = OverlayStyle { color: [0, 255, 0], thickness: 2, opacity: 0.5 };
        draw_patch(&mut drawn, &patch, &style, strength);
        drawn.rgb()[(6 * 20 + x) * 3 + 1]
    };
    assert_eq!([level(1.0, 4), level(1.0, 8)], [255, 173]);
    assert_eq!([level(0.5, 4), level(0.5, 8)], [173, 131]);
    assert_eq!([level(0.0, 4), level(0.0, 8), level(f32::NAN, 4)], [90, 90, 90]);
    // A patch of another picture draws nothing.
    let mut small = Frame::new(8, 8, vec![90; 192]).unwrap();
    draw_patch(&mut small, &patch, &OverlayStyle::default(), 1.0);
    assert!(small.rgb().iter().all(|&v| v == 90));
}
