use super::{Mask, PixelBox};

/// A mask cut to a box around its object: what moves, and what is drawn.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskPatch {
    area: PixelBox,
    on: Vec<bool>,
}

impl MaskPatch {
    /// Cuts a mask to its bounding box; `None` if it is empty.
    pub fn of(mask: &Mask) -> Option<Self> {
        let area = mask.bounding_box()?;
        let columns = area.x0 as usize..area.x1 as usize + 1;
        let mut on = Vec::new();
        let rows = mask.data().chunks_exact(mask.width() as usize);
        for row in rows.skip(area.y0 as usize).take((area.y1 - area.y0) as usize + 1) {
            on.extend_from_slice(row.get(columns.clone()).unwrap_or_default());
        }
        Some(Self { area, on })
    }

    /// Takes the pixels of a box, row by row, and cuts off the empty rows and columns at its sides.
    /// `None` if no pixel is on or their number is not the box's.
    pub fn new(area: PixelBox, on: Vec<bool>) -> Option<Self> {
        let width = area.x1.checked_sub(area.x0)? as usize + 1;
        let height = area.y1.checked_sub(area.y0)? as usize + 1;
        if width.checked_mul(height) != Some(on.len()) {
            return None;
        }
        let (mut left, mut right, mut rows) = (width, 0, None);
        for (y, row) in on.chunks_exact(width).enumerate() {
            let Some(first) = row.iter().position(|&on| on) else { continue };
            left = left.min(first);
            right = row.iter().rposition(|&on| on).unwrap_or(first).max(right);
            rows = Some((rows.map_or(y, |(top, _)| top), y));
        }
        let (top, bottom) = rows?;
        if (left, top, right, bottom) == (0, 0, width - 1, height - 1) {
            return Some(Self { area, on });
        }
        let cut = PixelBox {
            x0: area.x0 + left as u32,
            y0: area.y0 + top as u32,
            x1: area.x0 + right as u32,
            y1: area.y0 + bottom as u32,
        };
        let mut kept = Vec::with_capacity((right + 1 - left) * (bottom + 1 - top));
        for row in on.chunks_exact(width).skip(top).take(bottom + 1 - top) {
            kept.extend_from_slice(row.get(left..=right).unwrap_or_default());
        }
        Some(Self { area: cut, on: kept })
    }

    /// The box, in pixels of the whole picture.
    pub fn area(&self) -> PixelBox {
        self.area
    }

    /// The box's pixels, row by row: `true` where the object is.
    pub fn on(&self) -> &[bool] {
        &self.on
    }

    /// Width of the box in pixels, at least 1.
    pub fn width(&self) -> usize {
        (self.area.x1 - self.area.x0) as usize + 1
    }

    /// Height of the box in pixels, at least 1.
    pub fn height(&self) -> usize {
        (self.area.y1 - self.area.y0) as usize + 1
    }

    /// Whether a pixel of the whole picture belongs to the object. Any place may be asked for.
    pub fn contains(&self, x: i64, y: i64) -> bool {
        let (x, y) = (x - i64::from(self.area.x0), y - i64::from(self.area.y0));
        let (width, height) = (self.width(), self.height());
        (0..width as i64).contains(&x)
            && (0..height as i64).contains(&y)
            && self.on.get(y as usize * width + x as usize).copied().unwrap_or(false)
    }

    /// The mask of a whole picture. What of the box lies outside that picture is lost; `None` if a
    /// side of the picture is zero.
    pub fn to_mask(&self, width: u32, height: u32) -> Option<Mask> {
        let mut data = vec![false; width as usize * height as usize];
        let left = self.area.x0.min(width) as usize;
        let kept = self.width().min(width as usize - left);
        let rows = data.chunks_exact_mut((width as usize).max(1)).skip(self.area.y0 as usize);
        for (to, from) in rows.zip(self.on.chunks_exact(self.width())) {
            for (to, from) in to.iter_mut().skip(left).zip(from.iter().take(kept)) {
                *to = *from;
            }
        }
        Mask::new(width, height, data).ok()
    }
}

impl std::fmt::Debug for MaskPatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MaskPatch {:?}", self.area)
    }
}
