//! Models and adapters as safetensors, with what is known of them in the header.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use burn::Dispatch;
use burn::tensor::{DType, TensorData, f16};
use burn_store::{BurnToPyTorchAdapter, BurnpackStore, HalfPrecisionAdapter, ModuleSnapshot};
use safetensors::tensor::{Dtype, TensorView};

use super::names::{is_ignored, to_theirs};
use super::safetensors::header_length;
use crate::sam::{Architecture, Model, SamError};

/// What a file says of itself: names to texts.
pub type Metadata = BTreeMap<String, String>;

/// Where a header holds metadata.
const METADATA: &str = "__metadata__";

/// A model's tensors under their published names, in PyTorch's layouts.
pub fn tensors_of(model: &Model<Dispatch>) -> Result<BTreeMap<String, TensorData>, String> {
    model
        .collect(None, Some(Box::new(BurnToPyTorchAdapter)), true)
        .into_iter()
        .map(|snapshot| {
            let name = to_theirs(&snapshot.full_path());
            Ok((name, snapshot.to_data().map_err(|e| format!("{e:?}"))?))
        })
        .filter(|found| found.as_ref().is_ok_and(|(name, _)| !is_ignored(name)) || found.is_err())
        .collect()
}

/// Writes a model, unfused, with PyTorch's names and layouts: a file that [`crate::Sam::load`] and
/// PyTorch read. `half` stores 16-bit floats.
///
/// # Errors
/// [`SamError::Write`].
pub fn save_model(
    model: &Model<Dispatch>,
    architecture: Architecture,
    path: &Path,
    half: bool,
    metadata: &Metadata,
) -> Result<(), SamError> {
    let tensors =
        tensors_of(model).map_err(|reason| SamError::Write { path: path.to_path_buf(), reason })?;
    let mut metadata = metadata.clone();
    metadata.insert("architecture".to_owned(), architecture.name().to_owned());
    write(path, tensors, half, &metadata)
}

/// Writes a model, unfused, in this program's own format. `half` stores 16-bit floats.
///
/// # Errors
/// [`SamError::Write`].
pub fn save_native(
    model: &Model<Dispatch>,
    architecture: Architecture,
    path: &Path,
    half: bool,
) -> Result<(), SamError> {
    let fail = |reason: String| SamError::Write { path: path.to_path_buf(), reason };
    let temporary = crate::atomic::temporary_beside(path).map_err(|e| fail(e.to_string()))?;
    let mut store = BurnpackStore::from_file(temporary.path())
        .auto_extension(false)
        .overwrite(true)
        .metadata("architecture", architecture.name());
    if half {
        store = store.with_to_adapter(HalfPrecisionAdapter::new());
    }
    model.save_into(&mut store).map_err(|e| fail(e.to_string()))?;
    crate::atomic::publish(temporary, path).map_err(|e| fail(e.to_string()))
}

/// Writes tensors and metadata, whole or not at all.
pub fn write(
    path: &Path,
    tensors: BTreeMap<String, TensorData>,
    half: bool,
    metadata: &Metadata,
) -> Result<(), SamError> {
    let fail = |reason: String| SamError::Write { path: path.to_path_buf(), reason };
    let tensors: Vec<(String, TensorData)> = tensors
        .into_iter()
        .map(|(name, data)| {
            let data = if half { data.convert::<f16>() } else { data.convert::<f32>() };
            if data.iter::<f32>().all(f32::is_finite) {
                return Ok((name, data));
            }
            Err(fail(format!("{name} holds values that are no numbers, or too large for 16 bits")))
        })
        .collect::<Result<_, _>>()?;
    let views = tensors
        .iter()
        .map(|(name, data)| {
            let dtype = if data.dtype == DType::F16 { Dtype::F16 } else { Dtype::F32 };
            let view = TensorView::new(dtype, data.shape.to_vec(), &data.bytes);
            Ok((name.as_str(), view.map_err(|e| fail(e.to_string()))?))
        })
        .collect::<Result<Vec<_>, SamError>>()?;
    let bytes = safetensors::serialize(views, None).map_err(|e| fail(e.to_string()))?;
    let (head, data) = with_metadata(&bytes, metadata).map_err(fail)?;
    crate::atomic::write(path, |file| {
        file.write_all(&(head.len() as u64).to_le_bytes())?;
        file.write_all(&head)?;
        file.write_all(data)
    })
    .map_err(|e| fail(e.to_string()))
}

/// The header of a safetensors file with metadata in it, and the file's data. The crate would write
/// metadata in another order every time: the same model shall be the same file.
fn with_metadata<'a>(bytes: &'a [u8], metadata: &Metadata) -> Result<(Vec<u8>, &'a [u8]), String> {
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or("no header")?;
    let (head, data) =
        rest.split_at_checked(u64::from_le_bytes(*length) as usize).ok_or("no header")?;
    let mut head: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(head).map_err(|e| e.to_string())?;
    head.insert(METADATA.to_owned(), serde_json::json!(metadata));
    let mut head = serde_json::to_vec(&head).map_err(|e| e.to_string())?;
    // Data are aligned.
    head.resize(head.len().next_multiple_of(8), b' ');
    Ok((head, data))
}

/// The part of a safetensors file's header that is no list of tensors.
#[derive(serde::Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: Metadata,
}

/// What a safetensors file says of itself; nothing for other formats.
///
/// # Errors
/// [`SamError::Read`] for a header that is longer than any model's, or no header.
pub fn read_metadata(path: &Path) -> Result<Metadata, SamError> {
    let fail = |reason: String| SamError::Read { path: path.to_path_buf(), reason };
    let mut file = File::open(path).map_err(|e| fail(e.to_string()))?;
    let mut head = Vec::new();
    Read::by_ref(&mut file).take(9).read_to_end(&mut head).map_err(|e| fail(e.to_string()))?;
    let [a, b, c, d, e, f, g, h, b'{'] = head[..] else { return Ok(Metadata::new()) };
    let length = header_length([a, b, c, d, e, f, g, h]).map_err(fail)?;
    let mut text = vec![b'{'];
    file.take(length.saturating_sub(1)).read_to_end(&mut text).map_err(|e| fail(e.to_string()))?;
    let header: Header =
        serde_json::from_slice(&text).map_err(|e| fail(format!("its header is damaged: {e}")))?;
    Ok(header.metadata)
}
