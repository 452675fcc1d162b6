//! The headers of a data set's elements, read as other programs read them: values of kind UN by what the
//! dictionary says, sequences within them as implicit value representations, and what is declared explicit
//! by what it is.

use std::cell::{Cell, RefCell};
use std::io::{Error as IoError, ErrorKind, Read, Result as IoResult};

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::header::{DataElementHeader, SequenceItemHeader};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_encoding::decode::explicit_be::ExplicitVRBigEndianDecoder;
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;
use dicom_encoding::decode::implicit_le::StandardImplicitVRLittleEndianDecoder;
use dicom_encoding::decode::{DecodeFrom, Error, Result};

/// What comes at or after this tag in a data set is pixels.
pub const PIXELS: Tag = Tag(0x7fe0, 0x0000);

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
}

/// A source that knows how much was read of it.
pub struct Counted<R> {
    inner: R,
    pub position: u64,
}

impl<R> Counted<R> {
    pub fn new(inner: R, position: u64) -> Self {
        Self { inner, position }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let count = self.inner.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A sequence that is being read.
struct Open {
    /// Where it ends, if it said how long it is.
    end: Option<u64>,
    encoding: Encoding,
}

/// Reads the headers of elements.
pub struct Decoder {
    encoding: Encoding,
    /// The longest value that there can be.
    longest: u64,
    /// Whether reading ends before the pixels.
    head: bool,
    /// Whether text is read as bytes, for those whose character set the reader does not know.
    bytes: bool,
    open: RefCell<Vec<Open>>,
    stopped: Cell<Option<u64>>,
    last: Cell<Option<(Tag, u64)>>,
}

impl Decoder {
    pub fn new(encoding: Encoding, longest: u64, head: bool, bytes: bool) -> Self {
        let open = RefCell::new(Vec::new());
        let (stopped, last) = (Cell::new(None), Cell::new(None));
        Self { encoding, longest, head, bytes, open, stopped, last }
    }

    fn header<R: Read>(&self, source: &mut Counted<R>) -> Result<DataElementHeader> {
        self.close_finished(source.position);
        let encoding = self.open.borrow().last().map_or(self.encoding, |open| open.encoding);
        let start = source.position;
        let (header, _) = match encoding {
            Encoding::ImplicitLittle => {
                StandardImplicitVRLittleEndianDecoder::default().decode_header(source)?
            }
            Encoding::ExplicitLittle => {
                ExplicitVRLittleEndianDecoder::default().decode_header(source)?
            }
            Encoding::ExplicitBig => ExplicitVRBigEndianDecoder::default().decode_header(source)?,
        };
        let DataElementHeader { tag, vr, len } = header;
        // Of every element, whatever its tag: the reader asks for so much memory before it reads.
        if len.get().is_some_and(|length| u64::from(length) > self.longest) {
            return Err(ended(ErrorKind::InvalidData));
        }
        if tag.group() == 0xfffe {
            return Ok(header);
        }
        self.last.set(Some((tag, start)));
        if self.head && tag >= PIXELS && self.open.borrow().is_empty() {
            self.stopped.set(Some(start));
            // The reader of data sets takes the end of its source for the end of the data set.
            return Err(ended(ErrorKind::UnexpectedEof));
        }
        let known = || {
            let entry = StandardDataDictionary.by_tag(tag);
            entry.filter(|_| tag.group() % 2 == 0).map(|entry| entry.vr().relaxed())
        };
        // PS3.5, 6.2.2: what is UN was written by somebody who did not know it, as implicit.
        let unknown = vr == VR::UN && encoding == Encoding::ExplicitLittle;
        let vr = match vr {
            VR::UN if unknown => known().unwrap_or(VR::UN),
            other => other,
        };
        let pixels = tag == tags::PIXEL_DATA;
        if (vr == VR::SQ || len.is_undefined()) && !pixels {
            let inner = if unknown { Encoding::ImplicitLittle } else { encoding };
            let end = len.get().map(|length| source.position + u64::from(length));
            self.open.borrow_mut().push(Open { end, encoding: inner });
            return Ok(DataElementHeader { tag, vr: VR::SQ, len });
        }
        if pixels && len.is_undefined() {
            self.open.borrow_mut().push(Open { end: None, encoding });
        }
        let text = matches!(vr, VR::PN | VR::LO | VR::SH | VR::ST | VR::LT | VR::UC | VR::UT);
        let vr = if self.bytes && text { VR::UN } else { vr };
        Ok(DataElementHeader { tag, vr, len })
    }

    /// Sequences that said how long they are end without an element.
    fn close_finished(&self, position: u64) {
        let mut open = self.open.borrow_mut();
        while open.last().is_some_and(|last| last.end.is_some_and(|end| end <= position)) {
            open.pop();
        }
    }

    /// Where the pixels begin, if reading ended there.
    pub fn stopped(&self) -> Option<u64> {
        self.stopped.get()
    }

    /// The element that was read last, and where it begins.
    pub fn last(&self) -> Option<(Tag, u64)> {
        self.last.get()
    }
}

fn ended(kind: ErrorKind) -> Error {
    Error::ReadHeaderTag { backtrace: None, source: IoError::from(kind) }
}

impl<R: Read> DecodeFrom<Counted<R>> for Decoder {
    fn decode_header(&self, source: &mut Counted<R>) -> Result<(DataElementHeader, usize)> {
        let start = source.position;
        let header = self.header(source)?;
        Ok((header, (source.position - start) as usize))
    }

    fn decode_item_header(&self, source: &mut Counted<R>) -> Result<SequenceItemHeader> {
        self.close_finished(source.position);
        let big = self.encoding == Encoding::ExplicitBig;
        let header = match big {
            true => ExplicitVRBigEndianDecoder::default().decode_item_header(source)?,
            false => ExplicitVRLittleEndianDecoder::default().decode_item_header(source)?,
        };
        match header {
            SequenceItemHeader::SequenceDelimiter => drop(self.open.borrow_mut().pop()),
            SequenceItemHeader::Item { len }
                if len.get().is_some_and(|length| u64::from(length) > self.longest) =>
            {
                return Err(ended(ErrorKind::InvalidData));
            }
            _ => {}
        }
        Ok(header)
    }

    fn decode_tag(&self, source: &mut Counted<R>) -> Result<Tag> {
        match self.encoding {
            Encoding::ExplicitBig => ExplicitVRBigEndianDecoder::default().decode_tag(source),
            _ => ExplicitVRLittleEndianDecoder::default().decode_tag(source),
        }
    }
}
