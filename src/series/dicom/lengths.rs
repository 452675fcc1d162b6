use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::{Codec, TransferSyntax, TransferSyntaxIndex};
use dicom_object::FileMetaTable;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

/// Bytes before the four letters that begin the file's meta information.
const PREAMBLE: u64 = 128;

/// Whether no element, up to the pixels or of the `whole` file, says that it is longer than the file. The
/// reader takes memory for all of an element before it finds that the file ends earlier. What cannot be
/// followed is left to the reader.
pub fn fit(path: &Path, whole: bool) -> bool {
    let size = path.metadata().map_or(0, |file| file.len());
    let meta = || {
        let elements = from(path, PREAMBLE + 4)?;
        let plain = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN)?;
        walk(elements, plain, size, |tag| tag.group() > 2)
    };
    let rest = || {
        let mut file = from(path, PREAMBLE)?;
        let meta = FileMetaTable::from_reader(&mut file).ok()?;
        let syntax = TransferSyntaxRegistry.get(meta.transfer_syntax())?;
        // A packed file may hold more than its size.
        let packed = matches!(syntax.codec(), Codec::Dataset(_));
        walk(file, syntax, size, |tag| packed || !whole && tag == tags::PIXEL_DATA)
    };
    meta() != Some(false) && rest() != Some(false)
}

fn from(path: &Path, place: u64) -> Option<BufReader<File>> {
    let mut file = BufReader::new(File::open(path).ok()?);
    file.seek(SeekFrom::Start(place)).ok()?;
    Some(file)
}

/// Whether all elements that do not lie behind what is read have a length of at most `size`.
fn walk(
    file: BufReader<File>,
    syntax: &TransferSyntax,
    size: u64,
    behind: impl Fn(Tag) -> bool,
) -> Option<bool> {
    let mut elements = LazyDataSetReader::new_with_ts(file, syntax).ok()?;
    while let Some(token) = elements.advance() {
        let token = token.ok()?;
        match &token {
            LazyDataToken::ElementHeader(header) => {
                if behind(header.tag) {
                    break;
                }
                if header.len.get().is_some_and(|length| u64::from(length) > size) {
                    return Some(false);
                }
            }
            LazyDataToken::LazyItemValue { len, .. } if u64::from(*len) > size => {
                return Some(false);
            }
            LazyDataToken::PixelSequenceStart if behind(tags::PIXEL_DATA) => break,
            _ => {}
        }
        token.skip().ok()?;
    }
    Some(true)
}
