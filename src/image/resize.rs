//! Resizing of 8-bit pictures exactly as Pillow's `BILINEAR` filter does it: a triangle filter that
//! widens when a picture shrinks, columns first, weights in fixed point, 8 bits between the passes.
//! The published code resizes with it, and the model sees single grey levels.

use rayon::prelude::*;

use super::Frame;

/// Bits after the binary point of a weight: 32, less 8 of the value and 2 of headroom.
const PRECISION: u32 = 22;

/// For each output position, the first input position and its fixed-point weights.
struct Weights {
    taps: Vec<(usize, Vec<i32>)>,
}

impl Weights {
    fn new(from: u32, to: u32) -> Self {
        let scale = f64::from(from) / f64::from(to);
        let support = scale.max(1.0);
        let taps = (0..to)
            .map(|index| {
                let centre = (f64::from(index) + 0.5) * scale;
                let first = (centre - support + 0.5).max(0.0) as usize;
                let end = ((centre + support + 0.5) as usize).min(from as usize);
                let raw: Vec<f64> = (first..end)
                    .map(|x| (1.0 - ((x as f64 - centre + 0.5) / support).abs()).max(0.0))
                    .collect();
                let sum: f64 = raw.iter().sum();
                let one = f64::from(1u32 << PRECISION);
                let fixed = raw.iter().map(|w| (w / sum * one + 0.5) as i32).collect();
                (first, fixed)
            })
            .collect();
        Self { taps }
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

/// The picture's RGB bytes at another size, `width * height * 3` of them.
pub fn resize_rgb(frame: &Frame, width: u32, height: u32) -> Vec<u8> {
    let columns = if width == frame.width() {
        frame.rgb().to_vec()
    } else {
        let weights = Weights::new(frame.width(), width);
        let from_stride = frame.width() as usize * 3;
        let to_stride = width as usize * 3;
        let mut out = vec![0; to_stride * frame.height() as usize];
        out.par_chunks_exact_mut(to_stride)
            .zip(frame.rgb().par_chunks_exact(from_stride))
            .for_each(|(to, from)| {
                for (pixel, (first, taps)) in to.chunks_exact_mut(3).zip(&weights.taps) {
                    let mut sum = [HALF; 3];
                    for (source, &weight) in from[first * 3..].chunks_exact(3).zip(taps) {
                        for channel in 0..3 {
                            sum[channel] += i32::from(source[channel]) * weight;
                        }
                    }
                    pixel.copy_from_slice(&sum.map(to_byte));
                }
            });
        out
    };
    if height == frame.height() {
        return columns;
    }
    let weights = Weights::new(frame.height(), height);
    let stride = width as usize * 3;
    let mut out = vec![0; stride * height as usize];
    out.par_chunks_exact_mut(stride).zip(&weights.taps).for_each(|(to, (first, taps))| {
        let mut sums = vec![HALF; stride];
        for (line, &weight) in columns[first * stride..].chunks_exact(stride).zip(taps) {
            for (sum, &value) in sums.iter_mut().zip(line) {
                *sum += i32::from(value) * weight;
            }
        }
        for (byte, &sum) in to.iter_mut().zip(&sums) {
            *byte = to_byte(sum);
        }
    });
    out
}
