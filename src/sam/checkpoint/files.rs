//! Weights files on disk: what format they are, whether they are whole, what tensors they hold.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn_store::{BurnpackStore, ModuleStore, PytorchStore, SafetensorsStore, TensorSnapshot};

use super::names::{is_ignored, without_variant};
use super::strides::first_unordered;
use crate::quiet::quietly;
use crate::sam::SamError;

/// The file format of a weights file, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsFormat {
    /// PyTorch's `torch.save`: a zip archive.
    PyTorchArchive,
    /// The older plain form of `torch.save`.
    PyTorchLegacy,
    /// safetensors with PyTorch's names and layouts.
    Safetensors,
    /// Burn's own format, written by `p2sam weights convert`.
    Native,
}

/// Tensors by their published names.
pub type Tensors = BTreeMap<String, TensorSnapshot>;

/// The largest list of tensors read from a PyTorch archive; ViT-H's has a tenth of it. A hostile one
/// could nest as deeply as it is long.
const LONGEST_INDEX: u64 = 4 << 20;

/// Every tensor of a file by its published name, and the file's format. Call it on a thread with a
/// large stack: the reader of PyTorch files recurses as deeply as its input.
pub fn read(path: &Path) -> Result<(Tensors, WeightsFormat), SamError> {
    let fail = |reason: String| SamError::Read { path: path.to_path_buf(), reason };
    let format = format_of(path)?;
    let held = match format {
        WeightsFormat::PyTorchArchive => Some(check_archive(path).map_err(fail)?),
        WeightsFormat::PyTorchLegacy => Some(check_legacy(path).map_err(fail)?),
        // These readers check every tensor's bounds themselves.
        WeightsFormat::Safetensors | WeightsFormat::Native => None,
    };
    // The readers are third-party code over untrusted bytes: a panic there is a bad file.
    let tensors = quietly(|| match format {
        WeightsFormat::PyTorchArchive | WeightsFormat::PyTorchLegacy => {
            let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
            store.get_all_snapshots().cloned().map_err(|e| e.to_string())
        }
        WeightsFormat::Safetensors => {
            let mut store = SafetensorsStore::from_file(path).map_indices_contiguous(false);
            store.get_all_snapshots().cloned().map_err(|e| e.to_string())
        }
        WeightsFormat::Native => {
            let mut store = BurnpackStore::from_file(path).auto_extension(false);
            store.get_all_snapshots().cloned().map_err(|e| e.to_string())
        }
    })
    .unwrap_or_else(|| Err("the file is damaged".to_owned()))
    .map_err(fail)?;
    if tensors.is_empty() {
        return Err(fail("it holds no tensors".to_owned()));
    }
    if let Some(held) = held {
        check_length(held, &tensors).map_err(fail)?;
    }
    // Training programs wrap the model: "model.", "state_dict.", "module." and so on.
    let wrapped = tensors
        .keys()
        .find_map(|name| name.find("image_encoder.").map(|at| name[..at].to_owned()))
        .unwrap_or_default();
    let tensors = tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(&wrapped)?.to_owned(), tensor)))
        .map(|(name, tensor)| (without_variant(name), tensor))
        .filter(|(name, _)| !is_ignored(name))
        .collect();
    Ok((tensors, format))
}

fn format_of(path: &Path) -> Result<WeightsFormat, SamError> {
    let fail = |reason: String| SamError::Read { path: path.to_path_buf(), reason };
    let mut head = Vec::new();
    let file = File::open(path).map_err(|e| fail(e.to_string()))?;
    file.take(16).read_to_end(&mut head).map_err(|e| fail(e.to_string()))?;
    match head.as_slice() {
        [] => Err(fail("the file is empty".to_owned())),
        [b'P', b'K', 3, 4, ..] => Ok(WeightsFormat::PyTorchArchive),
        [0x80, 0x02, ..] => Ok(WeightsFormat::PyTorchLegacy),
        [_, _, _, _, _, _, _, _, b'{', ..] => Ok(WeightsFormat::Safetensors),
        [b'N', b'R', b'U', b'B', ..] => Ok(WeightsFormat::Native),
        _ => Err(fail(
            "neither a PyTorch checkpoint (.pt, .pth), nor safetensors, nor this program's own \
             format"
                .to_owned(),
        )),
    }
}

/// Reads every entry of a PyTorch archive once, which compares its checksum: the reader of tensors
/// takes damaged data for zeros. Returns the bytes of tensor data that it holds.
fn check_archive(path: &Path) -> Result<u64, String> {
    let cut = |e: &dyn std::fmt::Display| format!("the archive is damaged or cut off ({e})");
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut archive = zip::ZipArchive::new(file).map_err(|e| cut(&e))?;
    let mut held = 0u64;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| cut(&e))?;
        if entry.name().contains("/data/") {
            held = held.saturating_add(entry.size());
        }
        if entry.name().ends_with(".pkl") {
            if entry.size() > LONGEST_INDEX {
                return Err("its list of tensors is longer than any model's".to_owned());
            }
            let mut index = Vec::new();
            entry.take(LONGEST_INDEX).read_to_end(&mut index).map_err(|e| cut(&e))?;
            check_order(&index)?;
        } else {
            std::io::copy(&mut entry, &mut std::io::sink()).map_err(|e| cut(&e))?;
        }
    }
    Ok(held)
}

/// Looks at the list of tensors at the head of a file of the older form, which has no checksums.
/// Returns the file's length in bytes.
fn check_legacy(path: &Path) -> Result<u64, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let mut head = Vec::new();
    file.take(LONGEST_INDEX).read_to_end(&mut head).map_err(|e| e.to_string())?;
    check_order(&head)?;
    Ok(length)
}

/// Refuses tensors that the reader would mix up.
fn check_order(pickle: &[u8]) -> Result<(), String> {
    match first_unordered(pickle) {
        None => Ok(()),
        Some(sizes) => Err(format!(
            "a tensor of sizes {sizes:?} is not stored in the order of its dimensions \
             (channels last, or transposed); save the weights again with .contiguous()"
        )),
    }
}

/// Whether a PyTorch file holds as many bytes as its tensors need: the reader of tensors fills what
/// is missing with zeros.
fn check_length(held: u64, tensors: &Tensors) -> Result<(), String> {
    // Sizes come from the file, so that their product may be anything.
    let bytes = |t: &TensorSnapshot| {
        t.shape.iter().fold(t.dtype.size() as u64, |product, &n| product.saturating_mul(n as u64))
    };
    let needed = tensors.values().map(bytes).fold(0, u64::saturating_add);
    if held < needed {
        return Err(format!("its tensors need {needed} bytes and it holds {held}: it is cut off"));
    }
    Ok(())
}
