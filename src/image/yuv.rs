use super::{Frame, ImageError, PlaneLayout, Planes, PlanesInfo, PlanesMut};

/// Which weights turn RGB into luma and chroma.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum ColorMatrix {
    /// ITU-R BT.601: standard definition and JPEG.
    Bt601,
    /// ITU-R BT.709: high definition.
    Bt709,
}

/// Which byte values black and white have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum ColorRange {
    /// Luma 16..=235, chroma 16..=240, as most video has it.
    Limited,
    /// 0..=255, as JPEG has it.
    Full,
}

/// How the bytes of a [`Yuv420`] mean colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Color {
    /// RGB weights.
    pub matrix: ColorMatrix,
    /// Value range.
    pub range: ColorRange,
}

/// Bits behind the point in the integer colour arithmetic.
const SHIFT: u32 = 16;

impl Color {
    /// What a video without a colour description means by custom: BT.709 above standard definition
    /// (576 rows), else BT.601, limited range.
    pub fn usual(height: u32) -> Self {
        let matrix = if height > 576 { ColorMatrix::Bt709 } else { ColorMatrix::Bt601 };
        Self { matrix, range: ColorRange::Limited }
    }

    /// The bytes Y, Cb, Cr of an RGB colour.
    pub fn encode(self, rgb: [u8; 3]) -> [u8; 3] {
        let weights = self.weights();
        [weights.apply(0, rgb), weights.apply(1, rgb), weights.apply(2, rgb)]
    }

    /// The way from Y, Cb, Cr back to RGB.
    pub(super) fn decoder(self) -> Decoder {
        let (kr, kb) = self.luma_weights();
        let kg = 1.0 - kr - kb;
        let (luma, chroma, black) = match self.range {
            ColorRange::Limited => (255.0 / 219.0, 255.0 / 224.0, 16),
            ColorRange::Full => (1.0, 1.0, 0),
        };
        let fixed = |k: f64| (k * f64::from(1 << SHIFT)).round() as i32;
        Decoder {
            black,
            luma: fixed(luma),
            red: fixed(2.0 * (1.0 - kr) * chroma),
            green: [
                fixed(-2.0 * (1.0 - kb) * kb / kg * chroma),
                fixed(-2.0 * (1.0 - kr) * kr / kg * chroma),
            ],
            blue: fixed(2.0 * (1.0 - kb) * chroma),
        }
    }

    /// The parts of red and blue in luma.
    fn luma_weights(self) -> (f64, f64) {
        match self.matrix {
            ColorMatrix::Bt601 => (0.299, 0.114),
            ColorMatrix::Bt709 => (0.2126, 0.0722),
        }
    }

    /// The colour's arithmetic in integers of [`SHIFT`] bits behind the point.
    fn weights(self) -> Weights {
        let (kr, kb) = self.luma_weights();
        let (luma, chroma, black) = match self.range {
            ColorRange::Limited => (219.0 / 255.0, 224.0 / 255.0, 16),
            ColorRange::Full => (1.0, 1.0, 0),
        };
        let (y, kg) = ([kr, 1.0 - kr - kb, kb], 1.0 - kr - kb);
        let cb = [-kr, -kg, 1.0 - kb].map(|k| k * chroma / (2.0 * (1.0 - kb)));
        let cr = [1.0 - kr, -kg, -kb].map(|k| k * chroma / (2.0 * (1.0 - kr)));
        let fixed = |v: [f64; 3]| v.map(|k| (k * f64::from(1 << SHIFT)).round() as i32);
        Weights {
            rows: [fixed(y.map(|k| k * luma)), fixed(cb), fixed(cr)],
            zero: [black, 128, 128],
        }
    }
}

/// Rows of the RGB to YCbCr matrix and the values they start from.
struct Weights {
    rows: [[i32; 3]; 3],
    zero: [i32; 3],
}

impl Weights {
    fn apply(&self, row: usize, [r, g, b]: [u8; 3]) -> u8 {
        let [kr, kg, kb] = self.rows[row];
        let sum = kr * i32::from(r) + kg * i32::from(g) + kb * i32::from(b);
        (((self.zero[row] << SHIFT) + sum + (1 << (SHIFT - 1))) >> SHIFT).clamp(0, 255) as u8
    }
}

/// The matrix from YCbCr to RGB, in integers of [`SHIFT`] bits behind the point.
#[derive(Clone, Copy)]
pub(super) struct Decoder {
    black: i32,
    luma: i32,
    red: i32,
    /// Parts of Cb and Cr.
    green: [i32; 2],
    blue: i32,
}

impl Decoder {
    /// Writes a row as RGB; a pair of Cb and Cr is for two pixels.
    pub(super) fn row(self, rgb: &mut [u8], luma: &[u8], chroma: impl Iterator<Item = [u8; 2]>) {
        let byte = |sum: i32| (sum >> SHIFT).clamp(0, 255) as u8;
        let pixels = rgb.chunks_mut(6).zip(luma.chunks(2));
        for ((pixels, luma), pair) in pixels.zip(chroma) {
            let [cb, cr] = pair.map(|value| i32::from(value) - 128);
            let (red, blue) = (self.red * cr, self.blue * cb);
            let green = self.green[0] * cb + self.green[1] * cr;
            for (pixel, &y) in pixels.chunks_exact_mut(3).zip(luma) {
                let y = (i32::from(y) - self.black) * self.luma + (1 << (SHIFT - 1));
                pixel.copy_from_slice(&[byte(y + red), byte(y + green), byte(y + blue)]);
            }
        }
    }
}

/// A picture in planar YUV 4:2:0 with 8 bits (I420): a luma value for each pixel and one pair of
/// chroma values for each square of four. Rows lie one after the other without gaps, so a plane's
/// stride is its width.
#[derive(Clone, PartialEq, Eq)]
pub struct Yuv420 {
    width: u32,
    height: u32,
    color: Color,
    data: Vec<u8>,
}

impl Yuv420 {
    /// Takes the three planes Y, Cb, Cr one after the other: [`Yuv420::bytes`] bytes.
    ///
    /// # Errors
    /// [`ImageError::Size`] if a side is zero or the number of bytes does not match.
    pub fn new(width: u32, height: u32, color: Color, data: Vec<u8>) -> Result<Self, ImageError> {
        if width == 0 || height == 0 || data.len() != Self::bytes(width, height) {
            return Err(ImageError::Size { width, height, len: data.len() });
        }
        Ok(Self { width, height, color, data })
    }

    /// Bytes that a picture of this size in pixels takes.
    pub fn bytes(width: u32, height: u32) -> usize {
        let [(w, h), (cw, ch), _] = plane_sizes(width, height);
        w * h + 2 * cw * ch
    }

    /// Converts RGB in the [usual colours](Color::usual); each chroma value is the mean of its
    /// square.
    pub fn from_frame(frame: &Frame) -> Self {
        let (width, height) = (frame.width(), frame.height());
        let color = Color::usual(height);
        let weights = color.weights();
        let mut data = Vec::with_capacity(Self::bytes(width, height));
        let (pixels, _) = frame.rgb().as_chunks::<3>();
        data.extend(pixels.iter().map(|&p| weights.apply(0, p)));

        let (w, h) = (width as usize, height as usize);
        let mut cr = Vec::with_capacity(data.len() / 4);
        for y in (0..h).step_by(2) {
            // At an odd side the last row or column stands for its missing neighbour.
            let upper = &pixels[y * w..][..w];
            let lower = &pixels[(y + 1).min(h - 1) * w..][..w];
            for x in (0..w).step_by(2) {
                let right = (x + 1).min(w - 1);
                let square = [upper[x], upper[right], lower[x], lower[right]];
                let mean = std::array::from_fn(|c| {
                    ((square.iter().map(|p| u16::from(p[c])).sum::<u16>() + 2) >> 2) as u8
                });
                data.push(weights.apply(1, mean));
                cr.push(weights.apply(2, mean));
            }
        }
        data.extend_from_slice(&cr);
        Self { width, height, color, data }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Width of a chroma plane: half the width, rounded up.
    pub fn chroma_width(&self) -> u32 {
        self.width.div_ceil(2)
    }

    /// Height of a chroma plane: half the height, rounded up.
    pub fn chroma_height(&self) -> u32 {
        self.height.div_ceil(2)
    }

    /// What the bytes mean.
    pub fn color(&self) -> Color {
        self.color
    }

    /// The planes Y, Cb, Cr one after the other.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The planes Y, Cb, Cr.
    pub fn planes(&self) -> [&[u8]; 3] {
        let [(w, h), (cw, ch), _] = plane_sizes(self.width, self.height);
        let (y, chroma) = self.data.split_at(w * h);
        let (cb, cr) = chroma.split_at(cw * ch);
        [y, cb, cr]
    }

    /// The planes Y, Cb, Cr, to draw on.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let [(w, h), (cw, ch), _] = plane_sizes(self.width, self.height);
        let (y, chroma) = self.data.split_at_mut(w * h);
        let (cb, cr) = chroma.split_at_mut(cw * ch);
        [y, cb, cr]
    }

    /// A view of the picture.
    pub fn view(&self) -> Planes<'_> {
        let info = PlanesInfo::packed(PlaneLayout::I420, self.width, self.height, self.color);
        Planes::of_whole(info, self.planes())
    }

    /// A view of the picture, to draw on.
    pub fn view_mut(&mut self) -> PlanesMut<'_> {
        let info = PlanesInfo::packed(PlaneLayout::I420, self.width, self.height, self.color);
        PlanesMut::of_whole(info, self.planes_mut())
    }

    /// The picture as RGB.
    pub fn to_frame(&self) -> Frame {
        self.view().to_frame()
    }

    /// Turns full range into limited range.
    #[cfg(feature = "gstreamer")]
    #[allow(dead_code)]
    pub(crate) fn limit(&mut self) {
        if self.color.range == ColorRange::Limited {
            return;
        }
        self.color.range = ColorRange::Limited;
        // For 255 steps of the full range, `steps` of the limited one, rounded.
        let scale = |v: u8, steps: u32| ((u32::from(v) * steps * 2 + 255) / 510) as u8;
        let [y, cb, cr] = self.planes_mut();
        y.iter_mut().for_each(|v| *v = 16 + scale(*v, 219));
        cb.iter_mut().chain(cr).for_each(|v| *v = 16 + scale(*v, 224));
    }

    /// The bytes, to hand them on without a copy.
    #[cfg(feature = "gstreamer")]
    #[allow(dead_code)]
    pub(crate) fn into_data(self) -> Vec<u8> {
        self.data
    }
}

impl std::fmt::Debug for Yuv420 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Yuv420 {}x{} {:?}", self.width, self.height, self.color)
    }
}

/// Width and height of the planes Y, Cb, Cr.
pub(crate) fn plane_sizes(width: u32, height: u32) -> [(usize, usize); 3] {
    let chroma = (width.div_ceil(2) as usize, height.div_ceil(2) as usize);
    [(width as usize, height as usize), chroma, chroma]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colours_have_their_standard_codes() {
        let sd = Color { matrix: ColorMatrix::Bt601, range: ColorRange::Limited };
        assert_eq!(sd.encode([0, 0, 0]), [16, 128, 128]);
        assert_eq!(sd.encode([255, 255, 255]), [235, 128, 128]);
        assert_eq!(sd.encode([255, 0, 0]), [81, 90, 240]);
        let hd = Color { matrix: ColorMatrix::Bt709, range: ColorRange::Limited };
        assert_eq!(hd.encode([255, 0, 0]), [63, 102, 240]);
        assert_eq!(hd.encode([0, 255, 0]), [173, 42, 26]);
        let jpeg = Color { matrix: ColorMatrix::Bt601, range: ColorRange::Full };
        assert_eq!(jpeg.encode([255, 255, 255]), [255, 128, 128]);
        assert_eq!(jpeg.encode([0, 0, 255]), [29, 255, 107]);
    }

    #[test]
    fn odd_sides_round_the_chroma_up() {
        for (w, h) in [(1, 1), (33, 17), (2, 3)] {
            let frame = Frame::new(w, h, [200, 40, 40].repeat((w * h) as usize)).unwrap();
            let yuv = Yuv420::from_frame(&frame);
            let [y, cb, cr] = yuv.planes();
            assert_eq!(y.len(), (w * h) as usize);
            assert_eq!(cb.len(), (w.div_ceil(2) * h.div_ceil(2)) as usize);
            assert_eq!(cb.len(), cr.len());
            let [ey, ecb, ecr] = yuv.color().encode([200, 40, 40]);
            assert!(y.iter().all(|&v| v == ey));
            assert!(cb.iter().all(|&v| v == ecb) && cr.iter().all(|&v| v == ecr));
        }
    }
}
