//! Against Pillow: see tests/fixtures/make_sam.py and tests/fixtures/make_video.py.

mod files;
mod masks;

use sha2::{Digest, Sha256};

use super::*;

#[derive(serde::Deserialize)]
struct Case {
    picture: String,
    source: [u32; 2],
    source_sha256: String,
    long_side: u32,
    size: [u32; 2],
    sha256: String,
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fixtures' picture that is made by formula.
fn large() -> Frame {
    let (width, height) = (1500i64, 900i64);
    let tri = |t: i64| (t % 510 - 255).abs();
    let hash = |x: i64, y: i64, c: i64| {
        let mixed = (x * 73_856_093) ^ (y * 19_349_663) ^ (c * 83_492_791);
        mixed.rem_euclid(1 << 32) >> 13
    };
    let value = |x: i64, y: i64, c: i64| {
        let (a, b) = (tri(x * (3 + c) / 4 + y), tri(y * (5 - c) / 4 + 97 * c));
        ((a + b + hash(x / 8, y / 8, c) % 64) / 3) as u8
    };
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let rgb = rows.flat_map(|(x, y)| (0..3).map(move |c| value(x, y, c))).collect();
    Frame::new(width as u32, height as u32, rgb).expect("sizes agree")
}

#[test]
fn resizes_to_the_same_bytes_as_pillow() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sam");
    let text = std::fs::read_to_string(folder.join("resize.json")).expect("the fixture is there");
    let cases: Vec<Case> = serde_json::from_str(&text).expect("the fixture is JSON");
    assert_eq!(cases.len(), 15);
    for case in cases {
        let name = format!("{} to {}", case.picture, case.long_side);
        let frame = match case.picture.as_str() {
            "large" => large(),
            picture => Frame::open(&folder.join(format!("{picture}.png"))).expect("a picture"),
        };
        assert_eq!([frame.height(), frame.width()], case.source, "{name}");
        assert_eq!(hex_sha256(frame.rgb()), case.source_sha256, "the source of {name}");
        let letterbox = Letterbox::new(frame.width(), frame.height(), case.long_side);
        let [width, height] = letterbox.scaled();
        assert_eq!([height, width], case.size, "{name}");
        assert_eq!(hex_sha256(&resize_rgb(&frame, width, height)), case.sha256, "{name}");
    }
}
