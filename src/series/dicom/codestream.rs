//! What compressed frames say of themselves, where the decoder goes by the file's header alone: how many bits
//! a value takes once it is unpacked, and which colours. What the values mean (stored bits, sign) is the
//! header's to say, as pydicom and GDCM have it.

use dicom_core::value::{C, PixelFragmentSequence, Value};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use dicom_pixeldata::PixelDecoder;

use super::elements::{integer, short, text};
use crate::memory::free_memory;
use crate::quiet::quietly;

const JPEG_2000: [&str; 4] =
    [uids::JPEG2000_LOSSLESS, uids::JPEG2000, uids::JPEG2000MC_LOSSLESS, uids::JPEG2000MC];
/// A byte of a deflated frame holds no more than 1032.
const DEFLATED: u64 = 1032;

/// What an unpacked frame's colours are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Grey, or red, green and blue.
    Plain,
    /// A level, a blue and a red (YBR_FULL).
    Ybr,
}

/// What matters of a JPEG 2000 stream.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Jpeg2000 {
    bits: u16,
    /// Values of a pixel.
    samples: u16,
    /// Whether the decoder makes red, green and blue of it.
    transformed: bool,
}

/// Makes a file's header such that the decoder unpacks what its frames hold: bits and signs, and the colours
/// of JPEG streams without a marker. Elements that the decoder need not read are left out. The error says
/// what is not read.
pub fn adapt(object: &mut DefaultDicomObject) -> Result<Colours, String> {
    let aside: [Tag; 10] = [
        tags::WINDOW_CENTER,
        tags::WINDOW_WIDTH,
        tags::VOILUT_FUNCTION,
        tags::VOILUT_SEQUENCE,
        tags::MODALITY_LUT_SEQUENCE,
        tags::RESCALE_SLOPE,
        tags::RESCALE_INTERCEPT,
        tags::RESCALE_TYPE,
        tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
        tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    ];
    for tag in aside {
        object.remove_element(tag);
    }
    let syntax = object.meta().transfer_syntax().trim_end_matches('\0').to_owned();
    let kind = text(object, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
    let Some(Value::PixelSequence(pixels)) = object.get(tags::PIXEL_DATA).map(|e| e.value()) else {
        return Ok(Colours::Plain);
    };
    let first = pixels.fragments().first().cloned().unwrap_or_default();
    if JPEG_2000.contains(&syntax.as_str()) {
        let stream = jpeg_2000(&first).ok_or("its frames are no JPEG 2000 streams")?;
        if stream.bits > 16 {
            return Err(format!("JPEG 2000 of {} bits is not read", stream.bits));
        }
        layout(object, stream.bits);
        let ybr = stream.samples == 3 && !stream.transformed && kind.starts_with("YBR_FULL");
        return Ok(if ybr { Colours::Ybr } else { Colours::Plain });
    }
    if is_jpeg(&syntax) {
        let stream = jpeg(&first).ok_or("its frames are no JPEG streams")?;
        if stream.bits > 8 && !stream.lossless {
            return Err(format!("{}-bit JPEG is not read; save it lossless", stream.bits));
        }
        if stream.samples == 3 && stream.is_rgb(&kind) {
            let named: C<Vec<u8>> =
                pixels.fragments().iter().map(|fragment| named_rgb(fragment)).collect();
            let table = pixels.offset_table().to_vec();
            let pixels = PixelFragmentSequence::new(table, named);
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
        }
        layout(object, stream.bits);
        return Ok(Colours::Plain);
    }
    let runs = syntax == uids::RLE_LOSSLESS && kind.starts_with("YBR_FULL");
    Ok(if runs { Colours::Ybr } else { Colours::Plain })
}

fn is_jpeg(syntax: &str) -> bool {
    let number = syntax.strip_prefix("1.2.840.10008.1.2.4.");
    number.and_then(|number| number.parse().ok()).is_some_and(|n: u32| (50..=70).contains(&n))
}

/// Values of so many bits take one byte or two once they are unpacked.
fn layout(object: &mut InMemDicomObject, bits: u16) {
    let allocated = if bits <= 8 { 8 } else { 16 };
    let told = integer(object, tags::BITS_STORED).and_then(|bits| u16::try_from(bits).ok());
    let stored = told.unwrap_or(bits).clamp(1, allocated);
    object.put(short(tags::BITS_ALLOCATED, allocated));
    object.put(short(tags::BITS_STORED, stored));
    object.put(short(tags::HIGH_BIT, stored - 1));
}

/// The bytes of a compressed frame.
pub fn unpacked(object: &DefaultDicomObject, frame: u32) -> Option<Vec<u8>> {
    if object.meta().transfer_syntax().starts_with("1.2.840.10008.1.2.8") {
        let Some(Value::PixelSequence(pixels)) = object.get(tags::PIXEL_DATA).map(|e| e.value())
        else {
            return None;
        };
        let packed = pixels.fragments().get(frame as usize)?.len() as u64;
        if free_memory().is_some_and(|free| packed.saturating_mul(DEFLATED) > free) {
            return None;
        }
    }
    let decoded = quietly(|| object.decode_pixel_data_frame(frame).map(|d| d.into_data()).ok());
    decoded.flatten()
}

/// ISO 15444-1 annex A: SIZ follows the start of the stream; COD says whether colours were transformed.
fn jpeg_2000(bytes: &[u8]) -> Option<Jpeg2000> {
    if !bytes.starts_with(&[0xff, 0x4f, 0xff, 0x51]) {
        return None;
    }
    let samples = u16::from_be_bytes([*bytes.get(40)?, *bytes.get(41)?]);
    let size = *bytes.get(42)?;
    let mut transformed = false;
    let mut at = 2;
    while let Some([0xff, marker, high, low]) = bytes.get(at..at + 4) {
        // The first tile.
        if *marker == 0x90 {
            break;
        }
        if *marker == 0x52 {
            transformed = *bytes.get(at + 8)? != 0;
        }
        at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
    }
    Some(Jpeg2000 { bits: u16::from(size & 0x7f) + 1, samples, transformed })
}

/// What matters of a JPEG stream.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Jpeg {
    bits: u16,
    samples: u8,
    lossless: bool,
    /// Where the numbers of its components are, in the frame's header.
    ids: [u8; 3],
    jfif: bool,
    /// What the Adobe marker says of the colours.
    adobe: Option<u8>,
}

impl Jpeg {
    /// Whether it holds red, green and blue, although the decoder would take it for YCbCr: by its Adobe
    /// marker, or, if it has no marker at all, by what the file calls its colours.
    fn is_rgb(&self, kind: &str) -> bool {
        let known = matches!(&self.ids, b"RGB" | b"rgb");
        !known && (self.adobe == Some(0) || self.adobe.is_none() && !self.jfif && kind == "RGB")
    }
}

/// Segments before the scan (ISO 10918-1 annex B): marker and place of what follows its length.
fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, usize, usize)> {
    let mut at = if bytes.starts_with(&[0xff, 0xd8]) { 2 } else { bytes.len() };
    std::iter::from_fn(move || {
        loop {
            let [0xff, marker] = bytes.get(at..at + 2)? else { return None };
            // Bytes that fill up.
            if *marker == 0xff {
                at += 1;
                continue;
            }
            let length = u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]);
            let (start, end) = (at + 4, at + 2 + usize::from(length));
            bytes.get(start..end)?;
            at = end;
            return Some((*marker, start, end));
        }
    })
}

fn jpeg(bytes: &[u8]) -> Option<Jpeg> {
    let (mut jfif, mut adobe) = (false, None);
    for (marker, start, end) in segments(bytes) {
        let body = &bytes[start..end];
        match marker {
            0xe0 if body.starts_with(b"JFIF") => jfif = true,
            0xee if body.starts_with(b"Adobe") => adobe = body.get(11).copied(),
            // SOF0 to SOF15 without DHT, JPG and DAC.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let id = |index: usize| body.get(6 + 3 * index).copied().unwrap_or_default();
                return Some(Jpeg {
                    bits: (*body.first()?).into(),
                    samples: *body.get(5)?,
                    lossless: matches!(marker, 0xc3 | 0xc7 | 0xcb | 0xcf),
                    ids: [id(0), id(1), id(2)],
                    jfif,
                    adobe,
                });
            }
            _ => {}
        }
    }
    None
}

/// A stream whose three components are called R, G and B, by which the decoder tells that they are
/// (jpeg-decoder 0.3 takes components 1, 2 and 3 for YCbCr whatever an Adobe marker says).
fn named_rgb(fragment: &[u8]) -> Vec<u8> {
    let mut bytes = fragment.to_vec();
    let Some(ids) = jpeg(fragment).map(|jpeg| jpeg.ids) else { return bytes };
    let name = |id: u8| ids.iter().position(|own| *own == id).map(|index| b"RGB"[index]);
    let mut rename = |at: usize| {
        if let Some(byte) = bytes.get_mut(at)
            && let Some(name) = name(*byte)
        {
            *byte = name;
        }
    };
    let places: Vec<(u8, usize, usize)> = segments(fragment).collect();
    for (marker, start, _) in places {
        match marker {
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                (0..3).for_each(|index| rename(start + 6 + 3 * index));
            }
            // The first scan; in a stream of several the others follow its data.
            0xda => break,
            _ => {}
        }
    }
    scans(fragment).for_each(|start| {
        let count = usize::from(fragment.get(start).copied().unwrap_or_default()).min(3);
        (0..count).for_each(|index| rename(start + 1 + 2 * index));
    });
    bytes
}

/// Where the headers of scans begin, behind their length.
fn scans(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let found = bytes.windows(2).enumerate().filter(|(_, two)| *two == [0xff, 0xda]);
    found.map(|(at, _)| at + 4)
}
