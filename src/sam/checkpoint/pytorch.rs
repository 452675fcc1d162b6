//! Tensors of the files that `torch.save` writes: zip archives, and the older plain form.
//!
//! Own code where `burn-store` has a reader, which copies whatever a pickle takes out of its memo (burn
//! 5120), fills what a file lacks with zeros and takes every tensor as row-major.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use burn::module::ParamId;
use burn::tensor::TensorData;
use burn_store::{TensorSnapshot, TensorSnapshotError};
use zip::CompressionMethod::Stored;
use zip::ZipArchive;

use super::copies::{Copies, choose};
use super::pickle::{Machine, Place};

/// The longest list of tensors that is read, in bytes; ViT-H's has a tenth of it.
const LONGEST_INDEX: u64 = 4 << 20;

/// The largest tensor that is read, in bytes, and the largest storage that is held in memory; ViT-H's
/// largest has 26 MB. Tensors that are parts of one storage may lie in a larger one that is not packed.
const LARGEST: u64 = 256 << 20;

/// Pickles before the list of tensors in the older form: magic number, version, system.
const BEFORE: usize = 3;

/// Tensors by their names in the chosen copy of the model.
type Found = (BTreeMap<String, TensorSnapshot>, Copies);

/// Where a file has its storages.
enum Source {
    Archive {
        archive: ZipArchive<BufReader<File>>,
        /// The same file.
        file: File,
        /// What comes before `data/0`.
        folder: String,
        /// The storage read last, if it is small.
        kept: Option<(String, Vec<u8>)>,
        /// Large storages whose checksum was compared.
        whole: HashSet<String>,
    },
    /// Place of every storage, in bytes.
    Plain { file: File, storages: BTreeMap<String, u64> },
}

/// Reads an archive's list of tensors. Values are read when they are asked for, and their checksums
/// compared then.
pub fn read_archive(path: &Path, key: Option<&str>) -> Result<Found, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| cut(&e))?;
    let names: Vec<&str> = archive.file_names().collect();
    if names.iter().any(|name| name.ends_with("/constants.pkl") || *name == "constants.pkl") {
        return Err("it is a TorchScript program; in Python, save its state_dict()".to_owned());
    }
    let is_index = |name: &&&str| name.ends_with("/data.pkl") || **name == "data.pkl";
    let mut indices = names.iter().filter(is_index);
    let folder = match (indices.next(), indices.next()) {
        (Some(name), None) => name.trim_end_matches("data.pkl").to_owned(),
        (None, _) => return Err("it is a zip archive without a list of tensors".to_owned()),
        _ => return Err("it is a zip archive with several lists of tensors".to_owned()),
    };
    let order = small(&mut archive, &format!("{folder}byteorder"), 16)?;
    if order.is_some_and(|order| order.trim_ascii() == b"big") {
        return Err(BIG_ENDIAN.to_owned());
    }
    let index = small(&mut archive, &format!("{folder}data.pkl"), LONGEST_INDEX)?;
    let index = index.ok_or("it is a zip archive without a list of tensors")?;
    let mut machine = Machine::new(&index);
    machine.run()?;
    let (places, copies) = choose(machine.tensors()?, key)?;
    for (name, place) in &places {
        let member = archive.by_name(&format!("{folder}data/{}", place.storage));
        let (held, packed) = member.map_or((0, false), |m| (m.size(), m.compression() != Stored));
        check(name, place, held)?;
        if packed && held > LARGEST {
            return Err(format!("tensor {name} lies in a packed storage larger than any model's"));
        }
    }
    let file = File::open(path).map_err(|e| e.to_string())?;
    let whole = HashSet::new();
    let source = Source::Archive { archive, file, folder, kept: None, whole };
    Ok((snapshots(places, source), copies))
}

/// Reads the list of tensors of a file in the older form, which has no checksums.
pub fn read_plain(path: &Path, key: Option<&str>) -> Result<Found, String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let mut head = Vec::new();
    Read::by_ref(&mut file)
        .take(LONGEST_INDEX)
        .read_to_end(&mut head)
        .map_err(|e| e.to_string())?;
    let mut machine = Machine::new(&head);
    let mut little = None;
    for _ in 0..BEFORE {
        machine.run()?;
        little = machine.flag("little_endian").or(little);
    }
    match little {
        Some(0) => return Err(BIG_ENDIAN.to_owned()),
        Some(_) => {}
        None => return Err("it is a pickle, and none that torch.save wrote".to_owned()),
    }
    machine.run()?;
    let (places, copies) = choose(machine.tensors()?, key)?;
    let sizes = machine.storages();
    machine.run()?;
    let names = machine.texts().ok_or("it has no list of storages")?;
    let mut storages = BTreeMap::new();
    let mut at = machine.position() as u64;
    for name in names {
        let bytes = *sizes.get(name).ok_or("its lists of tensors and of storages do not agree")?;
        // Before its values a storage says how many they are.
        at = at.saturating_add(8);
        storages.insert(name.to_owned(), at);
        at = at.saturating_add(bytes);
    }
    for (name, place) in &places {
        let start = storages.get(place.storage).copied().unwrap_or(length);
        check(name, place, place.bytes.min(length.saturating_sub(start)))?;
    }
    Ok((snapshots(places, Source::Plain { file, storages }), copies))
}

const BIG_ENDIAN: &str = "it was written on a big-endian machine; save it again on a usual one";

fn cut(error: &dyn std::fmt::Display) -> String {
    format!("the archive is damaged or cut off ({error})")
}

/// A member of an archive that has at most so many bytes, if it is there.
fn small(
    archive: &mut ZipArchive<BufReader<File>>,
    name: &str,
    longest: u64,
) -> Result<Option<Vec<u8>>, String> {
    let member = match archive.by_name(name) {
        Ok(member) => member,
        Err(zip::result::ZipError::FileNotFound) => return Ok(None),
        Err(error) => return Err(cut(&error)),
    };
    let mut bytes = Vec::new();
    member.take(longest + 1).read_to_end(&mut bytes).map_err(|e| cut(&e))?;
    if bytes.len() as u64 > longest {
        return Err(format!("its {name} is longer than any model's"));
    }
    Ok(Some(bytes))
}

/// Whether a tensor lies within the bytes that its storage has in the file.
fn check(name: &str, place: &Place, held: u64) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("tensor {name} {what}"));
    if held != place.bytes {
        return wrong(&format!(
            "needs {} bytes and the file has {held}: it is cut off",
            place.bytes
        ));
    }
    let values = place.bytes / place.dtype.size() as u64;
    match (count(place), last(place)) {
        (Some(0), _) => Ok(()),
        (Some(count), Some(last)) if last < values && count <= values => {
            let span = (last - place.offset as u64 + 1) * place.dtype.size() as u64;
            if span <= LARGEST { Ok(()) } else { wrong("is larger than any model's") }
        }
        (Some(_), Some(last)) if last < values => {
            wrong("repeats its values (it was expanded); save it again with .contiguous()")
        }
        _ => wrong("lies outside of its storage"),
    }
}

/// How many values a tensor has.
fn count(place: &Place) -> Option<u64> {
    place.sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64))
}

/// Where in its storage the last of a tensor's values lies.
fn last(place: &Place) -> Option<u64> {
    let mut steps = place.sizes.iter().zip(&place.strides);
    steps.try_fold(place.offset as u64, |at, (&size, &stride)| {
        at.checked_add((size as u64).saturating_sub(1).checked_mul(stride as u64)?)
    })
}

fn snapshots(places: BTreeMap<String, Place>, source: Source) -> BTreeMap<String, TensorSnapshot> {
    let source = Rc::new(RefCell::new(source));
    let snapshot = |(name, place): (String, Place)| {
        let (dtype, each) = (place.dtype, place.dtype.size() as u64);
        // Both were checked against the storage's length.
        let span = match (count(&place), last(&place)) {
            (Some(1..), Some(last)) => place.offset as u64 * each..(last + 1) * each,
            _ => 0..0,
        };
        let (storage, sizes, strides) = (place.storage.to_owned(), place.sizes, place.strides);
        let (source, shape) = (Rc::clone(&source), sizes.clone());
        let read = move || {
            let failed = |reason: String| TensorSnapshotError::IoError(reason);
            let span = source.borrow_mut().read(&storage, span.clone()).map_err(failed)?;
            let values = in_order(span, each as usize, &sizes, &strides);
            let values = values.ok_or_else(|| failed("the file has changed".to_owned()))?;
            Ok(TensorData::from_bytes_vec(values, sizes.clone(), dtype))
        };
        let (read, id) = (Rc::new(read), ParamId::new());
        (name, TensorSnapshot::from_closure(read, dtype, shape.into(), vec![], vec![], id))
    };
    places.into_iter().map(snapshot).collect()
}

impl Source {
    /// A part of a storage. The checksum of a whole one is compared before any part of it is given.
    fn read(&mut self, storage: &str, range: Range<u64>) -> Result<Vec<u8>, String> {
        let (file, start) = match self {
            Self::Archive { archive, file, folder, kept, whole } => {
                let name = format!("{folder}data/{storage}");
                if kept.as_ref().is_none_or(|(kept, _)| kept != storage) {
                    let mut member = archive.by_name(&name).map_err(|e| cut(&e))?;
                    let size = member.size();
                    if size <= LARGEST {
                        let mut bytes = Vec::with_capacity(size as usize);
                        member.take(size + 1).read_to_end(&mut bytes).map_err(|e| cut(&e))?;
                        if bytes.len() as u64 != size {
                            return Err(cut(&"another size than it says"));
                        }
                        *kept = Some((storage.to_owned(), bytes));
                    } else {
                        if !whole.contains(storage) {
                            std::io::copy(&mut member, &mut std::io::sink())
                                .map_err(|e| cut(&e))?;
                            whole.insert(storage.to_owned());
                        }
                        let start = member.data_start().ok_or("the archive is damaged")?;
                        return part(file, start, range);
                    }
                }
                let bytes = kept.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
                let part = bytes.get(range.start as usize..range.end as usize);
                return part.map(<[u8]>::to_vec).ok_or_else(|| cut(&"too short"));
            }
            Self::Plain { file, storages } => {
                (file, *storages.get(storage).ok_or("its storage is not there")?)
            }
        };
        part(file, start, range)
    }
}

/// A part of a file, counted from `start`.
fn part(file: &mut File, start: u64, range: Range<u64>) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
    file.seek(SeekFrom::Start(start.saturating_add(range.start))).map_err(|e| e.to_string())?;
    file.read_exact(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// A tensor's values in the order of its dimensions, whatever their order in the file: channels last or
/// transposed. `each` is a value's size in bytes.
fn in_order(span: Vec<u8>, each: usize, sizes: &[usize], strides: &[usize]) -> Option<Vec<u8>> {
    if sizes.contains(&0) {
        return Some(Vec::new());
    }
    let count: usize = sizes.iter().product();
    let mut row_major = 1;
    let is_row_major = sizes.iter().zip(strides).rev().all(|(&size, &stride)| {
        let right = size <= 1 || stride == row_major;
        row_major *= size;
        right
    });
    if is_row_major {
        return (span.len() == count * each).then_some(span);
    }
    let mut values = Vec::with_capacity(count * each);
    let mut index = vec![0usize; sizes.len()];
    let mut at = 0;
    for _ in 0..count {
        values.extend_from_slice(span.get(at * each..(at + 1) * each)?);
        for ((index, &size), &stride) in index.iter_mut().zip(sizes).zip(strides).rev() {
            *index += 1;
            at += stride;
            if *index < size {
                break;
            }
            at -= stride * *index;
            *index = 0;
        }
    }
    Some(values)
}
