//! Wide colours and high dynamic range (ITU-R BT.2100) as ordinary video (BT.709).
//!
//! Values become light by the electro-optical transfer function of BT.2100, colours of BT.2020 those
//! of BT.709, and the reference white of BT.2408 (203 cd/m2) is shown at 0.85 of white's light: all
//! below 0.6 of it keeps its light, the rest is pressed together towards white.

use std::sync::OnceLock;

use gstreamer_video as gst_video;
use rayon::prelude::*;

use crate::Frame;

/// Light of reference white in cd/m2 (BT.2408).
const WHITE: f32 = 203.0;
/// Largest light of PQ, and of the display that HLG is shown on, in cd/m2 (BT.2100).
const PQ_PEAK: f32 = 10_000.0;
const HLG_PEAK: f32 = 1_000.0;
/// Up to here light stays as it is, as a part of reference white.
const KNEE: f32 = 0.6;
/// From the primaries of BT.2020 to those of BT.709 (BT.2087).
const TO_709: [[f32; 3]; 3] = [
    [1.660_49, -0.587_641, -0.072_85],
    [-0.124_55, 1.132_9, -0.008_349],
    [-0.018_151, -0.100_579, 1.118_73],
];

/// How values become light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// Perceptual quantiser (SMPTE ST 2084).
    Pq,
    /// Hybrid log-gamma.
    Hlg,
    /// Ordinary video in wide colours.
    Gamma,
}

impl Transfer {
    /// Of a colour description; `None` for ordinary colours.
    pub(super) fn of(colorimetry: &gst_video::VideoColorimetry) -> Option<Self> {
        let is_wide = colorimetry.primaries() == gst_video::VideoColorPrimaries::Bt2020;
        match colorimetry.transfer() {
            gst_video::VideoTransferFunction::Smpte2084 => Some(Self::Pq),
            gst_video::VideoTransferFunction::AribStdB67 => Some(Self::Hlg),
            _ => is_wide.then_some(Self::Gamma),
        }
    }

    /// In words, what is done to the frames.
    pub(super) fn words(self) -> String {
        let (name, how) = match self {
            Self::Pq => ("HDR (PQ)", ", and lights brighter than white are pressed together"),
            Self::Hlg => ("HDR (HLG)", ", and lights brighter than white are pressed together"),
            Self::Gamma => ("in the wide colours of BT.2020", ""),
        };
        format!("the video is {name}: it was converted to BT.709{how}")
    }

    /// RGB values of 16 bits, with something before each three, as a frame. `None` if the number of
    /// values does not fit.
    pub(super) fn frame(self, width: u32, height: u32, argb: &[u16]) -> Option<Frame> {
        let light = self.table();
        let mut rgb = vec![0; width as usize * height as usize * 3];
        let (pixels, _) = argb.as_chunks::<4>();
        if pixels.len() * 3 != rgb.len() {
            return None;
        }
        rgb.par_chunks_mut(3 * 4096).zip(pixels.par_chunks(4096)).for_each(|(out, pixels)| {
            for (out, [_, rgb @ ..]) in out.chunks_exact_mut(3).zip(pixels) {
                let wide = self.displayed(rgb.map(|value| light[usize::from(value)]));
                let narrow =
                    TO_709.map(|row| row.iter().zip(wide).map(|(k, v)| k * v).sum::<f32>());
                let top = narrow.into_iter().fold(0.0, f32::max);
                let scale = if self == Self::Gamma { 1.0 } else { pressed(top) };
                out.copy_from_slice(&narrow.map(|value| coded(value * scale)));
            }
        });
        Frame::new(width, height, rgb).ok()
    }

    /// Light as a part of reference white for each value of 16 bits; of HLG that of the scene.
    fn table(self) -> &'static [f32] {
        static TABLES: [OnceLock<Vec<f32>>; 3] = [const { OnceLock::new() }; 3];
        TABLES[self as usize].get_or_init(|| {
            (0..=u16::MAX).map(|value| self.light(f32::from(value) / f32::from(u16::MAX))).collect()
        })
    }

    fn light(self, value: f32) -> f32 {
        match self {
            Self::Pq => {
                let (m1, m2) = (2610.0 / 16384.0, 2523.0 / 4096.0 * 128.0);
                let (c1, c2, c3) =
                    (3424.0 / 4096.0, 2413.0 / 4096.0 * 32.0, 2392.0 / 4096.0 * 32.0);
                let root = value.powf(1.0 / m2);
                ((root - c1).max(0.0) / (c2 - c3 * root)).powf(1.0 / m1) * PQ_PEAK / WHITE
            }
            Self::Hlg => {
                let (a, b, c) = (0.178_832_77, 0.284_668_92, 0.559_910_7);
                if value <= 0.5 {
                    value * value / 3.0
                } else {
                    (((value - c) / a).exp() + b) / 12.0
                }
            }
            // BT.1886.
            Self::Gamma => value.powf(2.4),
        }
    }

    /// The light of a display.
    fn displayed(self, scene: [f32; 3]) -> [f32; 3] {
        if self != Self::Hlg {
            return scene;
        }
        let luminance = 0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2];
        scene.map(|value| luminance.max(0.0).powf(0.2) * value * HLG_PEAK / WHITE)
    }
}

/// By what a colour's light is multiplied if its largest part is this.
fn pressed(top: f32) -> f32 {
    if top <= KNEE {
        return 1.0;
    }
    let room = 1.0 - KNEE;
    (KNEE + room * (1.0 - (-(top - KNEE) / room).exp())) / top
}

/// Light as a byte of video (BT.1886).
fn coded(light: f32) -> u8 {
    (light.clamp(0.0, 1.0).powf(1.0 / 2.4) * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grey of so many cd/m2 (or of a value) as the byte that is shown.
    fn shown(transfer: Transfer, value: f32) -> u8 {
        let value = (value * 65535.0).round() as u16;
        let frame = transfer.frame(1, 1, &[0, value, value, value]).unwrap();
        assert!(frame.rgb().iter().all(|v| v.abs_diff(frame.rgb()[0]) <= 1), "{:?}", frame.rgb());
        frame.rgb()[1]
    }

    #[test]
    fn known_levels_of_bt2408_are_where_ordinary_video_has_them() {
        // BT.2408, table 1: PQ 0.58 and HLG 0.75 are 203 cd/m2, PQ 0.38 and HLG 0.38 are 26.
        let white = (0.6f32 + 0.4 * (1.0 - (-1.0f32).exp())).powf(1.0 / 2.4) * 255.0;
        for (transfer, value) in [(Transfer::Pq, 0.5807), (Transfer::Hlg, 0.75)] {
            assert!((f32::from(shown(transfer, value)) - white).abs() < 2.0, "{transfer:?}");
        }
        // 18 % grey: 26 cd/m2 of 203 are 0.128, which is 0.425 of an ordinary display's values.
        for (transfer, value) in [(Transfer::Pq, 0.3796), (Transfer::Hlg, 0.38)] {
            let byte = shown(transfer, value);
            assert!(byte.abs_diff(108) <= 3, "{transfer:?}: {byte}");
        }
        assert_eq!(shown(Transfer::Pq, 0.0), 0);
        assert_eq!(shown(Transfer::Pq, 1.0), 255);
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|v| shown(Transfer::Gamma, v)), [0, 64, 128, 255]);
    }

    #[test]
    fn wide_primaries_become_those_of_bt709() {
        // BT.709's red in BT.2020 is 0.6274, 0.0691, 0.0164 of light.
        let light = [0.6274f32, 0.0691, 0.0164];
        let values = light.map(|v| (v.powf(1.0 / 2.4) * 65535.0).round() as u16);
        let frame = Transfer::Gamma.frame(1, 1, &[0, values[0], values[1], values[2]]).unwrap();
        let [red, green, blue] = [frame.rgb()[0], frame.rgb()[1], frame.rgb()[2]];
        assert!(red >= 254 && green <= 12 && blue <= 12, "{red} {green} {blue}");
    }
}
