//! Opening DICOM files: such as PS3.10 has them, and such as they are.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use dicom_core::dictionary::DataDictionary;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_encoding::Endianness;
use dicom_encoding::decode::basic::BasicDecoder;
use dicom_encoding::text::SpecificCharacterSet;
use dicom_encoding::transfer_syntax::{Codec, TransferSyntaxIndex};
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use dicom_parser::StatefulDecoder;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::charset;
use super::decoding::{Counted, Decoder, Encoding};
use crate::memory::free_memory;
use crate::quiet::quietly;
use crate::series::SeriesError;

/// Bytes that are looked at to tell a DICOM file from another one.
const START: usize = 1024;
/// A byte of a packed file holds no more than 1032.
const PACKING: u64 = 1032;
/// Longest value of the meta information that is kept.
const LONGEST: u32 = 1024;
/// Explicit VR Big Endian, which the standard has retired and archives still hold.
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// A file that was opened.
pub struct Opened {
    pub object: DefaultDicomObject,
    /// Where its pixels begin, if only what lies before them was read.
    pub pixels: Option<u64>,
}

/// A whole file, if there is memory for it.
pub fn open(path: &Path) -> Result<DefaultDicomObject, SeriesError> {
    check_memory(path)?;
    Ok(read(path, false)?.object)
}

/// A file up to its pixels.
pub fn head(path: &Path) -> Result<DefaultDicomObject, SeriesError> {
    Ok(read(path, true)?.object)
}

/// Whether a file fits into memory.
pub fn check_memory(path: &Path) -> Result<(), SeriesError> {
    let read = |source| SeriesError::Read { path: path.to_path_buf(), source };
    let needed = std::fs::metadata(path).map_err(read)?.len();
    match free_memory().filter(|free| needed > *free) {
        Some(free) => Err(SeriesError::Memory { path: path.to_path_buf(), needed, free }),
        None => Ok(()),
    }
}

/// Whether a file is DICOM: four letters after 128 bytes (PS3.10), or, without them, elements from the
/// first byte on.
pub fn is_file(path: &Path) -> bool {
    let other = ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "mp4", "mkv", "avi", "mov"];
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if other.contains(&extension.as_str()) {
        return false;
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START as u64).read_to_end(&mut start));
    read.is_ok() && first_element(&start).is_some()
}

/// Where the first element begins.
fn first_element(start: &[u8]) -> Option<u64> {
    match start {
        _ if start.get(128..132) == Some(b"DICM") => Some(132),
        _ if start.starts_with(b"DICM") && are_elements(&start[4..]) => Some(4),
        _ if are_elements(start) => Some(0),
        _ => None,
    }
}

/// Whether bytes are the first two elements of a file: of group 2 or 8, known ones, in order, short.
fn are_elements(bytes: &[u8]) -> bool {
    let mut at = 0;
    let mut before = None;
    for _ in 0..2 {
        let Some((tag, header, length)) = element(&bytes[at..]) else { return false };
        let known = StandardDataDictionary.by_tag(tag).is_some() || tag.element() == 0;
        let first = before.is_none() && !matches!(tag.group(), 2 | 8);
        if first || !known || tag.group() > 0x10 || before >= Some(tag) || length > 256 {
            return false;
        }
        before = Some(tag);
        at += header + length as usize;
        if at >= bytes.len() {
            return false;
        }
    }
    true
}

/// Tag, length of the header and length of the value of an element in little endian, whether it names its
/// kind or not.
fn element(bytes: &[u8]) -> Option<(Tag, usize, u32)> {
    let short = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let tag = Tag(short(0)?, short(2)?);
    match kind(bytes) {
        None => Some((tag, 8, long(4)?)),
        Some(vr) if is_long(vr) => Some((tag, 12, long(8)?)),
        Some(_) => Some((tag, 8, short(6)?.into())),
    }
}

/// The kind that an element names.
fn kind(bytes: &[u8]) -> Option<VR> {
    VR::from_binary([*bytes.get(4)?, *bytes.get(5)?])
}

/// Kinds whose length takes four bytes behind two that are reserved.
fn is_long(vr: VR) -> bool {
    use VR::*;
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

/// What the meta information says, as far as it matters.
#[derive(Default)]
struct Meta {
    syntax: Option<String>,
    class: String,
    instance: String,
}

/// Reads the meta information, whatever it says of its own length, and stops at the data set.
fn meta(file: &mut BufReader<File>) -> io::Result<Meta> {
    let mut meta = Meta::default();
    loop {
        let start = file.stream_position()?;
        let mut header = [0; 12];
        let count = read_up_to(file, &mut header)?;
        let Some((tag, header, length)) = element(&header[..count]) else {
            file.seek(SeekFrom::Start(start))?;
            return Ok(meta);
        };
        if tag.group() != 2 {
            file.seek(SeekFrom::Start(start))?;
            return Ok(meta);
        }
        file.seek(SeekFrom::Start(start + header as u64))?;
        if length <= LONGEST {
            let mut value = vec![0; length as usize];
            file.read_exact(&mut value)?;
            let text = || {
                let text = String::from_utf8_lossy(&value);
                text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned()
            };
            match tag {
                tags::TRANSFER_SYNTAX_UID => meta.syntax = Some(text()).filter(|t| !t.is_empty()),
                tags::MEDIA_STORAGE_SOP_CLASS_UID => meta.class = text(),
                tags::MEDIA_STORAGE_SOP_INSTANCE_UID => meta.instance = text(),
                _ => {}
            }
        } else {
            file.seek_relative(length.into())?;
        }
    }
}

fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read(&mut buffer[count..])? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

/// Reads a file, as a whole or up to its pixels. Reasons of the reader are not passed on: they may hold
/// values of the file.
pub fn read(path: &Path, head: bool) -> Result<Opened, SeriesError> {
    let opened = read_as(path, head, false)?;
    match charset::is_extended(&opened.object) {
        // Again, with text as bytes.
        true => {
            let Opened { object, pixels } = read_as(path, head, true)?;
            Ok(Opened { object: charset::decoded(object), pixels })
        }
        false => Ok(opened),
    }
}

fn read_as(path: &Path, head: bool, bytes: bool) -> Result<Opened, SeriesError> {
    let failed = |source| SeriesError::Read { path: path.to_path_buf(), source };
    let wrong = |reason: String| SeriesError::file(path, reason);
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut start = vec![0; START];
    let count = read_up_to(&mut file, &mut start).map_err(failed)?;
    start.truncate(count);
    let first = first_element(&start).ok_or_else(|| {
        wrong("not readable as DICOM: it does not begin as such a file does".into())
    })?;
    let mut file = BufReader::new(file);
    file.seek(SeekFrom::Start(first)).map_err(failed)?;
    let cut = |_| wrong("not readable as DICOM: its meta information is cut off or damaged".into());
    let meta = meta(&mut file).map_err(cut)?;
    let offset = file.stream_position().map_err(failed)?;
    let registered = meta.syntax.as_deref().and_then(|syntax| TransferSyntaxRegistry.get(syntax));
    // A packed data set begins with anything.
    let packed = registered.and_then(|syntax| match syntax.codec() {
        Codec::Dataset(codec) => Some(codec.as_ref()),
        _ => None,
    });
    let longest = if packed.is_some() { size.saturating_mul(PACKING) } else { size };
    let mut source: Box<dyn Read> = Box::new(file);
    match packed {
        Some(Some(codec)) => source = codec.adapt_reader(source),
        Some(None) => {
            return Err(wrong("its data set is packed in a way that is not read".into()));
        }
        None => {}
    }
    let mut probe = [0; 8];
    let count = read_up_to(&mut source, &mut probe).map_err(failed)?;
    let (encoding, syntax) = encoding(meta.syntax.as_deref(), &probe[..count]);
    let source = Counted::new(io::Cursor::new(probe[..count].to_vec()).chain(source), offset);
    let decoder = Decoder::new(encoding, longest, head, bytes);
    let endianness = match encoding {
        Encoding::ExplicitBig => Endianness::Big,
        _ => Endianness::Little,
    };
    let object = quietly(|| {
        let (basic, text) = (BasicDecoder::new(endianness), SpecificCharacterSet::default());
        InMemDicomObject::read_dataset(StatefulDecoder::new(source, &decoder, basic, text)).ok()
    });
    let object = object.flatten().filter(|object| object.tags().next().is_some());
    let object = object.ok_or_else(|| {
        let place = match decoder.last() {
            Some((Tag(group, element), at)) => {
                format!(" at element ({group:04X},{element:04X}), byte {at}")
            }
            None => String::new(),
        };
        wrong(format!("not readable as DICOM: it is cut off or damaged{place}"))
    })?;
    let table = FileMetaTableBuilder::new()
        .transfer_syntax(syntax)
        .media_storage_sop_class_uid(meta.class)
        .media_storage_sop_instance_uid(meta.instance)
        .build()
        .map_err(|_| wrong("not readable as DICOM: no transfer syntax".into()))?;
    Ok(Opened { object: object.with_exact_meta(table), pixels: decoder.stopped() })
}

/// How a data set that begins so is written, and its transfer syntax. Files say one thing and are another;
/// files without meta information say nothing.
fn encoding(declared: Option<&str>, start: &[u8]) -> (Encoding, String) {
    let big = |bytes: &[u8]| bytes.len() >= 2 && bytes[0] == 0 && bytes[1] > 0;
    let found = match kind(start) {
        _ if declared == Some(BIG_ENDIAN) || declared.is_none() && big(start) => {
            Encoding::ExplicitBig
        }
        Some(_) => Encoding::ExplicitLittle,
        None => Encoding::ImplicitLittle,
    };
    let plain = match found {
        Encoding::ExplicitBig => BIG_ENDIAN,
        Encoding::ExplicitLittle => uids::EXPLICIT_VR_LITTLE_ENDIAN,
        Encoding::ImplicitLittle => uids::IMPLICIT_VR_LITTLE_ENDIAN,
    };
    let unpacked = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
    match declared.filter(|declared| !unpacked.contains(declared)) {
        Some(syntax) => (found, syntax.to_owned()),
        None => (found, plain.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_like_elements_is_dicom_and_text_is_not() {
        let explicit = b"\x08\0\x05\0CS\x0a\0ISO_IR 100\x08\0\x08\0CS\x04\0ABCD\x08\0";
        let implicit = b"\x08\0\0\0\x04\0\0\0\x10\0\0\0\x08\0\x05\0\x0a\0\0\0ISO_IR 100\x08\0";
        assert_eq!([first_element(explicit), first_element(implicit)], [Some(0); 2]);
        let mut letters = b"DICM".to_vec();
        letters.extend(explicit);
        assert_eq!(first_element(&letters), Some(4));
        let mut whole = vec![0; 128];
        whole.extend(b"DICM");
        assert_eq!(first_element(&whole), Some(132));
        for other in
            [b"\x08\0".as_slice(), b"", &[0; 200], &[8; 200], b"{\"patient\": 3}", b"RIFF...."]
        {
            assert_eq!(first_element(other), None);
        }
        // In the wrong order.
        let swapped = b"\x08\0\x08\0CS\x04\0ABCD\x08\0\x05\0CS\x0a\0ISO_IR 100\x08\0";
        assert_eq!(first_element(swapped), None);
    }
}
