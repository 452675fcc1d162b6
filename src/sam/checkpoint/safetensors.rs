//! Tensors of safetensors files. The header is read once and values where it says that they lie, without
//! mapping the file: another program that shortens a mapped file ends this one.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use burn::module::ParamId;
use burn::tensor::{BoolStore, DType, TensorData};
use burn_store::{TensorSnapshot, TensorSnapshotError};
use safetensors::tensor::{Dtype, Metadata as Tensors, TensorInfo};

use super::files;

/// The longest header that is read, in bytes; ViT-H's has a seventieth of it.
pub const LONGEST_HEADER: u64 = 4 << 20;

/// The length of a file's header in bytes, which its first eight say, and whether it is short enough.
///
/// # Errors
/// In words.
pub fn header_length(head: [u8; 8]) -> Result<u64, String> {
    match u64::from_le_bytes(head) {
        length if length <= LONGEST_HEADER => Ok(length),
        length => Err(format!("its header of {length} bytes is longer than any model's")),
    }
}

/// Every tensor of a file.
///
/// # Errors
/// In words, for a header that is none or that does not fit the file, and for types that no weights have.
pub fn read_safetensors(path: &Path) -> Result<files::Tensors, String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let size = file.metadata().map_err(|e| e.to_string())?.len();
    let mut head = [0; 8];
    file.read_exact(&mut head).map_err(|_| "its header is cut off".to_owned())?;
    let length = header_length(head)?;
    let mut header = Vec::new();
    Read::by_ref(&mut file).take(length).read_to_end(&mut header).map_err(|e| e.to_string())?;
    if header.len() as u64 != length {
        return Err("its header is cut off".to_owned());
    }
    let header: Tensors =
        serde_json::from_slice(&header).map_err(|e| format!("its header is damaged: {e}"))?;
    let start = 8 + length;
    // The crate has checked that tensors lie one behind the other from 0 on.
    match start.checked_add(header.data_len() as u64) {
        Some(end) if end == size => {}
        Some(end) if end < size => {
            return Err(format!("it has {} bytes more than its header says", size - end));
        }
        _ => return Err("its tensors lie beyond its end: it is cut off".to_owned()),
    }
    let file = Rc::new(RefCell::new(file));
    let mut tensors = files::Tensors::new();
    for (name, info) in header.tensors() {
        let snapshot = snapshot(info, start, &file).map_err(|e| format!("tensor {name} {e}"))?;
        tensors.insert(name, snapshot);
    }
    Ok(tensors)
}

fn snapshot(
    info: &TensorInfo,
    start: u64,
    file: &Rc<RefCell<File>>,
) -> Result<TensorSnapshot, String> {
    let dtype = match info.dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U64 => DType::U64,
        Dtype::U32 => DType::U32,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool(BoolStore::Native),
        other => return Err(format!("holds {other:?}, which cannot be read")),
    };
    let (from, to) = info.data_offsets;
    let (file, shape) = (Rc::clone(file), info.shape.clone());
    let read = move || {
        let failed = |e: std::io::Error| TensorSnapshotError::IoError(e.to_string());
        let mut file = file.borrow_mut();
        let mut bytes = vec![0; to - from];
        file.seek(SeekFrom::Start(start + from as u64)).map_err(failed)?;
        file.read_exact(&mut bytes).map_err(failed)?;
        Ok(TensorData::from_bytes_vec(bytes, shape.clone(), dtype))
    };
    let (read, shape) = (Rc::new(read), info.shape.clone().into());
    Ok(TensorSnapshot::from_closure(read, dtype, shape, vec![], vec![], ParamId::new()))
}
