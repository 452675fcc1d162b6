//! Borrowed views of YUV 4:2:0 pictures, wherever their planes lie.

use super::draw::mix;
use super::{Canvas, Color, Coverage, Frame, ImageError};
use crate::simd::vectorised;

/// How the chroma of a YUV 4:2:0 picture is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaneLayout {
    /// Three planes: Y, Cb, Cr.
    I420,
    /// Two planes: Y, and Cb and Cr in turn. The third plane is empty.
    Nv12,
}

impl PlaneLayout {
    /// Bytes in a row and rows of each plane of a picture of this size in pixels.
    pub fn plane_sizes(self, width: u32, height: u32) -> [(usize, usize); 3] {
        let [luma, (cw, ch), _] = super::yuv::plane_sizes(width, height);
        match self {
            Self::I420 => [luma, (cw, ch), (cw, ch)],
            Self::Nv12 => [luma, (cw * 2, ch), (0, 0)],
        }
    }
}

/// Size, layout and colours of a picture, and the distances in bytes between its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanesInfo {
    /// Where the chroma lies.
    pub layout: PlaneLayout,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What the bytes mean.
    pub color: Color,
    /// From the start of a row to the start of the next, in bytes, for each plane.
    pub strides: [usize; 3],
}

impl PlanesInfo {
    /// A picture whose rows lie one after the other without gaps.
    pub fn packed(layout: PlaneLayout, width: u32, height: u32, color: Color) -> Self {
        let strides = layout.plane_sizes(width, height).map(|(row, _)| row);
        Self { layout, width, height, color, strides }
    }

    /// Whether planes of these lengths in bytes hold all rows.
    fn check(&self, lengths: [usize; 3]) -> Result<(), ImageError> {
        let (width, height) = (self.width, self.height);
        let sizes = self.layout.plane_sizes(width, height);
        for (((row, rows), stride), len) in sizes.into_iter().zip(self.strides).zip(lengths) {
            // The last row may end before its stride does.
            let needed = rows.checked_sub(1).map_or(Some(0), |gaps| {
                stride.checked_mul(gaps).and_then(|bytes| bytes.checked_add(row))
            });
            if stride < row || needed.is_none_or(|needed| len < needed) {
                return Err(ImageError::Size { width, height, len });
            }
        }
        if width == 0 || height == 0 {
            return Err(ImageError::Size { width, height, len: 0 });
        }
        Ok(())
    }
}

/// A YUV 4:2:0 picture to read.
#[derive(Clone, Copy)]
pub struct Planes<'a> {
    info: PlanesInfo,
    planes: [&'a [u8]; 3],
}

/// A YUV 4:2:0 picture to draw on, in place.
pub struct PlanesMut<'a> {
    info: PlanesInfo,
    planes: [&'a mut [u8]; 3],
}

impl<'a> Planes<'a> {
    /// Takes the planes as the layout says.
    ///
    /// # Errors
    /// [`ImageError::Size`] if a side is zero or a plane is shorter than its rows.
    pub fn new(info: PlanesInfo, planes: [&'a [u8]; 3]) -> Result<Self, ImageError> {
        info.check(planes.map(<[u8]>::len))?;
        Ok(Self { info, planes })
    }

    /// Takes planes that are known to hold all rows.
    pub(super) fn of_whole(info: PlanesInfo, planes: [&'a [u8]; 3]) -> Self {
        Self { info, planes }
    }

    /// Size, layout and colours.
    pub fn info(&self) -> &PlanesInfo {
        &self.info
    }

    /// The luma plane, rows `strides[0]` apart.
    pub fn luma(&self) -> &'a [u8] {
        self.planes[0]
    }

    /// The rows of a plane without what lies between them.
    pub fn rows(&self, plane: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let sizes = self.info.layout.plane_sizes(self.info.width, self.info.height);
        let (row, rows) = sizes.get(plane).copied().unwrap_or_default();
        let stride = self.info.strides.get(plane).copied().unwrap_or_default().max(1);
        let bytes = self.planes.get(plane).copied().unwrap_or_default();
        bytes.chunks(stride).take(rows).map(move |chunk| &chunk[..row.min(chunk.len())])
    }

    /// Copies all rows of all planes without gaps, into memory that is used again.
    pub fn pack_into(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        for plane in 0..3 {
            self.rows(plane).for_each(|row| bytes.extend_from_slice(row));
        }
    }

    /// The picture as RGB.
    pub fn to_frame(&self) -> Frame {
        let pixels = self.info.width as usize * self.info.height as usize;
        let mut rgb = vec![0; pixels * 3];
        self.write_rgb(&mut rgb);
        Frame::from_parts(self.info.width, self.info.height, rgb)
    }

    /// The picture as RGB in a frame whose memory is used again if the sizes agree.
    pub fn convert_into(&self, frame: &mut Frame) {
        if [frame.width(), frame.height()] == [self.info.width, self.info.height] {
            self.write_rgb(frame.rgb_mut());
        } else {
            *frame = self.to_frame();
        }
    }

    /// Each pixel takes the chroma of its square as it is, as GStreamer's converter does without a
    /// chroma site.
    fn write_rgb(&self, rgb: &mut [u8]) {
        let decoder = self.info.color.decoder();
        let width = self.info.width as usize;
        let twice = |row| [row, row];
        let (pairs, singles) = (self.rows(1).flat_map(twice), self.rows(2).flat_map(twice));
        let rows = rgb.chunks_exact_mut(width * 3).zip(self.rows(0));
        match self.info.layout {
            PlaneLayout::I420 => {
                for ((out, luma), (cb, cr)) in rows.zip(pairs.zip(singles)) {
                    decoder.row(out, luma, cb.iter().zip(cr).map(|(&cb, &cr)| [cb, cr]));
                }
            }
            PlaneLayout::Nv12 => {
                for ((out, luma), pairs) in rows.zip(pairs) {
                    let (pairs, _) = pairs.as_chunks::<2>();
                    decoder.row(out, luma, pairs.iter().copied());
                }
            }
        }
    }
}

impl<'a> PlanesMut<'a> {
    /// Takes the planes as the layout says.
    ///
    /// # Errors
    /// [`ImageError::Size`] if a side is zero or a plane is shorter than its rows.
    pub fn new(info: PlanesInfo, planes: [&'a mut [u8]; 3]) -> Result<Self, ImageError> {
        info.check([planes[0].len(), planes[1].len(), planes[2].len()])?;
        Ok(Self { info, planes })
    }

    /// Takes planes that are known to hold all rows.
    pub(super) fn of_whole(info: PlanesInfo, planes: [&'a mut [u8]; 3]) -> Self {
        Self { info, planes }
    }

    /// Size, layout and colours.
    pub fn info(&self) -> &PlanesInfo {
        &self.info
    }

    /// The same picture to read.
    pub fn as_planes(&self) -> Planes<'_> {
        let [y, cb, cr] = &self.planes;
        Planes { info: self.info, planes: [y, cb, cr] }
    }
}

impl Canvas for PlanesMut<'_> {
    fn size(&self) -> [u32; 2] {
        [self.info.width, self.info.height]
    }

    /// Chroma is blended where all pixels of its square that lie in the picture are covered, with
    /// their mean: a pixel that is not covered keeps its colour.
    fn blend(&mut self, coverage: &Coverage, color: [u8; 3]) {
        let [luma_color, cb_color, cr_color] = self.info.color.encode(color);
        let area = coverage.area();
        if area.x1 >= self.info.width || area.y1 >= self.info.height {
            return;
        }
        let strides = self.info.strides;
        let [luma, cb, cr] = &mut self.planes;
        for y in area.y0..=area.y1 {
            let row = &mut luma[y as usize * strides[0] + area.x0 as usize..];
            mix_row(row, luma_color, coverage.row(y));
        }

        let mut squares = Squares::new(coverage, self.info.width, self.info.height);
        let first = area.x0 as usize / 2;
        for cy in area.y0 / 2..=area.y1 / 2 {
            let alphas = squares.row(coverage, cy);
            match self.info.layout {
                PlaneLayout::I420 => {
                    for (plane, stride, color) in
                        [(&mut *cb, strides[1], cb_color), (&mut *cr, strides[2], cr_color)]
                    {
                        mix_row(&mut plane[cy as usize * stride + first..], color, alphas);
                    }
                }
                PlaneLayout::Nv12 => {
                    let row = &mut cb[cy as usize * strides[1] + first * 2..];
                    for (pair, &alpha) in row.chunks_exact_mut(2).zip(alphas) {
                        pair[0] = mix(pair[0], cb_color, alpha);
                        pair[1] = mix(pair[1], cr_color, alpha);
                    }
                }
            }
        }
    }
}

/// Blends a colour's value into a row as far as it is covered.
fn mix_row(row: &mut [u8], color: u8, alphas: &[u8]) {
    vectorised(
        #[inline(always)]
        || {
            for (value, &alpha) in row.iter_mut().zip(alphas) {
                *value = mix(*value, color, alpha);
            }
        },
    );
}

/// The coverage of chroma's squares of 2 x 2 pixels, row by row.
struct Squares {
    /// Column of the coverage's first pixel within its square.
    lead: usize,
    /// Whether the last square has one column only.
    single: bool,
    /// Rows of the picture.
    height: u32,
    upper: Vec<u8>,
    lower: Vec<u8>,
    alphas: Vec<u8>,
}

impl Squares {
    fn new(coverage: &Coverage, width: u32, height: u32) -> Self {
        let area = coverage.area();
        let squares = (area.x1 / 2 - area.x0 / 2 + 1) as usize;
        Self {
            lead: (area.x0 % 2) as usize,
            single: area.x1.is_multiple_of(2) && area.x1 + 1 == width,
            height,
            upper: vec![0; squares * 2],
            lower: vec![0; squares * 2],
            alphas: vec![0; squares],
        }
    }

    /// The mean coverage of each square in the chroma row, 0 where a pixel of it is not covered.
    fn row(&mut self, coverage: &Coverage, cy: u32) -> &[u8] {
        let (lead, single) = (self.lead, self.single);
        let area = coverage.area();
        let fill = |line: &mut [u8], y: u32| {
            if !(area.y0..=area.y1).contains(&y) {
                line.fill(0);
                return;
            }
            let row = coverage.row(y);
            line[lead..lead + row.len()].copy_from_slice(row);
            // At the picture's odd edge the pixel stands for its missing neighbour.
            if let (true, [.., last, beyond]) = (single, line) {
                *beyond = *last;
            }
        };
        fill(&mut self.upper, cy * 2);
        // The same at the bottom.
        fill(&mut self.lower, (cy * 2 + 1).min(self.height - 1));
        let (upper, lower) = (self.upper.as_chunks::<2>().0, self.lower.as_chunks::<2>().0);
        vectorised(
            #[inline(always)]
            || {
                for (alpha, (upper, lower)) in self.alphas.iter_mut().zip(upper.iter().zip(lower)) {
                    // Two pixels as the halves of one number: no shuffling of bytes.
                    let (upper, lower) = (u16::from_le_bytes(*upper), u16::from_le_bytes(*lower));
                    let [a, b, c, d] = [upper & 255, upper >> 8, lower & 255, lower >> 8];
                    let whole = a.min(b).min(c.min(d)) > 0;
                    *alpha = if whole { ((a + b + c + d + 2) >> 2) as u8 } else { 0 };
                }
            },
        );
        &self.alphas
    }
}

impl std::fmt::Debug for Planes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Planes").field(&self.info).finish()
    }
}

impl std::fmt::Debug for PlanesMut<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PlanesMut").field(&self.info).finish()
    }
}
