use super::Mask;

/// Most pixels of a mask that is decoded.
const LARGEST: usize = 1 << 28;

/// A mask in COCO's run-length encoding: runs of off and on in turn, beginning with off, column by
/// column; as the compressed text that COCO files hold.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CocoRle {
    /// Height and width in pixels, in this order.
    pub size: [u32; 2],
    /// The runs: each as the difference from the one before the last (from the fourth on), in
    /// groups of five bits with a sixth that says whether more follow, as characters from '0' on.
    pub counts: String,
}

impl CocoRle {
    /// Encodes a mask.
    pub fn new(mask: &Mask) -> Self {
        let (width, height) = (mask.width() as usize, mask.height() as usize);
        let mut runs: Vec<i64> = Vec::new();
        let (mut last, mut length) = (false, 0);
        for x in 0..width {
            for on in mask.data()[x..].iter().step_by(width) {
                if *on != last {
                    runs.push(length);
                    (last, length) = (*on, 0);
                }
                length += 1;
            }
        }
        runs.push(length);

        let mut counts = String::new();
        for (index, &run) in runs.iter().enumerate() {
            let mut rest = if index > 2 { run - runs[index - 2] } else { run };
            loop {
                let group = (rest & 0x1f) as u8;
                rest >>= 5;
                // The group's top bit is the sign once nothing else is left.
                let done = if group & 0x10 == 0 { rest == 0 } else { rest == -1 };
                counts.push(char::from(48 + (group | if done { 0 } else { 0x20 })));
                if done {
                    break;
                }
            }
        }
        Self { size: [height as u32, width as u32], counts }
    }

    /// The mask again. `None` if the text is no such encoding, or of another size than it says.
    pub fn mask(&self) -> Option<Mask> {
        let [height, width] = self.size;
        let (rows, columns) = (height as usize, width as usize);
        let pixels = rows.checked_mul(columns)?;
        let mut runs: Vec<i64> = Vec::new();
        let (mut run, mut shift) = (0i64, 0u32);
        for byte in self.counts.bytes() {
            let group = i64::from(byte.checked_sub(48).filter(|group| *group < 64)?);
            run |= (group & 0x1f) << shift;
            shift += 5;
            if group & 0x20 != 0 {
                if shift > 40 {
                    return None;
                }
                continue;
            }
            if group & 0x10 != 0 {
                run -= 1 << shift;
            }
            let before = if runs.len() > 2 { runs.get(runs.len() - 2).copied() } else { None };
            runs.push(run.checked_add(before.unwrap_or(0))?);
            (run, shift) = (0, 0);
        }
        // A few characters may promise any size.
        let sum = runs.iter().try_fold(0i64, |sum, run| sum.checked_add(*run))?;
        if pixels > LARGEST || sum != i64::try_from(pixels).ok()? {
            return None;
        }
        let mut data = vec![false; pixels];
        let mut place = 0usize;
        for (index, run) in runs.into_iter().enumerate() {
            let end = place.checked_add(usize::try_from(run).ok()?).filter(|end| *end <= pixels)?;
            if index % 2 == 1 {
                for column_major in place..end {
                    let (x, y) = (column_major / rows, column_major % rows);
                    *data.get_mut(y * columns + x)? = true;
                }
            }
            place = end;
        }
        if place != pixels {
            return None;
        }
        Mask::new(width, height, data).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(width: u32, height: u32, on: impl Fn(u32, u32) -> bool) -> CocoRle {
        let data = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let data = data.map(|(x, y)| on(x, y)).collect();
        CocoRle::new(&Mask::new(width, height, data).expect("sizes agree"))
    }

    /// A text of some characters takes no gigabytes.
    #[test]
    fn enormous_sizes_are_refused() {
        for (size, counts) in [
            ([1 << 16, 1 << 16], "PPPPPP4"),
            ([u32::MAX; 2], "0"),
            ([1 << 16, 1 << 16], "0"),
            ([0, 0], "0"),
        ] {
            assert_eq!(CocoRle { size, counts: counts.to_owned() }.mask(), None, "{size:?}");
        }
    }

    /// Values that pycocotools 2.0 gave: see tests/fixtures/make_rle.py.
    #[test]
    fn agrees_with_pycocotools() {
        let fixture = include_str!("../../tests/fixtures/rle.json");
        let cases: Vec<serde_json::Value> =
            serde_json::from_str(fixture).expect("the fixture is JSON");
        for case in cases {
            let side = |i: usize| case["size"][i].as_u64().expect("a number") as u32;
            let formula = case["formula"].as_str().expect("a name");
            let (height, width) = (side(0), side(1));
            let rle = encode(width, height, |x, y| match formula {
                "empty" => false,
                "full" => true,
                "checker" => (x + y) % 2 == 1,
                "disc" => {
                    let (dx, dy) = (2 * x as i64 - width as i64, 2 * y as i64 - height as i64);
                    dx * dx + dy * dy < (height as i64) * (height as i64) / 2
                }
                other => panic!("unknown formula {other}"),
            });
            assert_eq!(rle.counts, case["counts"].as_str().expect("text"), "{formula}");
            assert_eq!(rle.mask().map(|mask| CocoRle::new(&mask)), Some(rle), "{formula}");
        }
    }
}
