use crate::image::{Frame, MaskPatch};
use crate::simd::vectorised;

/// Longest side of the small picture in pixels.
const LONG_SIDE: u32 = 320;
/// Largest side of a box: sums of so many bytes fit 16 bits.
const LARGEST_BOX: u32 = 256;
/// Most levels of the pyramid, the small picture included.
const LEVELS: usize = 4;
/// Luma up to which nothing can be seen; video's black is 16.
const BLACK: u8 = 24;
/// Shortest side that is halved again, in pixels.
const SHORTEST: usize = 20;

/// One size of a grey picture.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Row by row, `width * height` values.
    pub(super) data: Vec<u8>,
}

impl Level {
    /// Means of 2 x 2 pixels. An odd last row or column is left out.
    fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut data = Vec::with_capacity(width * height);
        for rows in self.data.chunks_exact(self.width * 2) {
            let (upper, lower) = rows.split_at(self.width);
            data.extend(upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(|(u, l)| {
                let sum: u16 = u.iter().chain(l).map(|&v| u16::from(v)).sum();
                ((sum + 2) / 4) as u8
            }));
        }
        Self { width, height, data }
    }
}

/// A small grey picture with its pyramid, to estimate motion on. It knows the size of the picture
/// that it was made of.
#[derive(Clone, Debug)]
pub struct GreyPicture {
    width: u32,
    height: u32,
    reduction: u32,
    levels: Vec<Level>,
}

impl GreyPicture {
    /// How many of the small picture's pixels lie in a mask and are not black.
    pub fn visible(&self, patch: &MaskPatch) -> usize {
        let Some(level) = self.levels.first() else { return 0 };
        let side = self.reduction as usize;
        let rows = level.data.chunks_exact(level.width.max(1)).enumerate();
        // Only the rows and columns that the mask's box reaches.
        let area = patch.area();
        let (top, bottom) = (area.y0 as usize / side, area.y1 as usize / side);
        let (left, right) = (area.x0 as usize / side, area.x1 as usize / side);
        let centre = |cell: usize| (cell * side + side / 2) as i64;
        rows.skip(top)
            .take(bottom + 1 - top)
            .map(|(y, row)| {
                let cells = row.iter().enumerate().skip(left).take(right + 1 - left);
                let seen = |&(x, &level): &(usize, &u8)| {
                    level > BLACK && patch.contains(centre(x), centre(y))
                };
                cells.filter(seen).count()
            })
            .sum()
    }

    /// Shrinks a luma plane by means of square boxes. Rows that the plane lacks are black.
    ///
    /// `stride` is the distance of two rows in bytes, `width` and `height` are in pixels.
    pub fn of_luma(luma: &[u8], stride: usize, width: u32, height: u32) -> Self {
        let reduction =
            width.max(height).div_ceil(LONG_SIDE).min(width.min(height)).clamp(1, LARGEST_BOX);
        let side = reduction as usize;
        let small_width = width as usize / side;
        let small_height = height as usize / side;
        let mut data = Vec::with_capacity(small_width * small_height);
        let mut sums = vec![0u16; small_width * side];
        for y in 0..small_height {
            sums.fill(0);
            for row in y * side..(y + 1) * side {
                let start = row.saturating_mul(stride);
                let row = luma.get(start..).unwrap_or_default();
                vectorised(
                    #[inline(always)]
                    || {
                        for (sum, &value) in sums.iter_mut().zip(row) {
                            *sum += u16::from(value);
                        }
                    },
                );
            }
            box_means(&sums, side, &mut data);
        }
        let mut levels = Vec::new();
        if !data.is_empty() {
            levels.push(Level { width: small_width, height: small_height, data });
        }
        while let Some(last) = levels.last()
            && levels.len() < LEVELS
            && last.width.min(last.height) >= 2 * SHORTEST
        {
            let next = last.halved();
            levels.push(next);
        }
        Self { width, height, reduction, levels }
    }

    /// The same of an RGB picture (luma weights of BT.601).
    pub fn of_frame(frame: &Frame) -> Self {
        let luma: Vec<u8> = frame
            .rgb()
            .chunks_exact(3)
            .map(|p| {
                let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
                ((77 * r + 150 * g + 29 * b) >> 8) as u8
            })
            .collect();
        Self::of_luma(&luma, frame.width() as usize, frame.width(), frame.height())
    }

    /// Width of the whole picture in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height of the whole picture in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Memory that the pixels take.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.data.len()).sum()
    }

    /// The pyramid, largest first; empty if the whole picture is.
    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Side of the box that became one pixel.
    pub(super) fn reduction(&self) -> u32 {
        self.reduction
    }
}

/// Appends the means of boxes, given the sums of their columns.
fn box_means(sums: &[u16], side: usize, to: &mut Vec<u8>) {
    let pixels = (side * side) as u32;
    // A product with the reciprocal is exact enough for a mean of bytes, and much faster.
    let reciprocal = (1u64 << 32).div_ceil(u64::from(pixels));
    let mean = |sums: &[u16]| {
        let sum: u32 = sums.iter().map(|&sum| u32::from(sum)).sum();
        ((u64::from(sum + pixels / 2) * reciprocal) >> 32).min(255) as u8
    };
    match side {
        // A known length lets the compiler unroll: this one is that of 1920 columns.
        6 => to.extend(sums.as_chunks::<6>().0.iter().map(|sums| mean(sums))),
        _ => to.extend(sums.chunks_exact(side).map(mean)),
    }
}
