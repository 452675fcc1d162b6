//! Weights files on disk: what format they are, whether they are whole, what tensors they hold.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn_store::{BurnpackStore, ModuleStore, TensorSnapshot};

use super::copies::{Copies, choose};
use super::names::{is_ignored, without_variant};
use super::pytorch::{read_archive, read_plain};
use super::safetensors::read_safetensors;
use crate::quiet::quietly;
use crate::sam::SamError;
use crate::sam::preprocess::{MEAN, STD};

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

/// The longest list of tensors of this program's own format that is read, in bytes.
const LONGEST_LIST: u32 = 4 << 20;

/// What a weights file holds.
pub struct Contents {
    /// Of the copy of the model that was taken.
    pub tensors: Tensors,
    pub format: WeightsFormat,
    pub copies: Copies,
}

/// Every tensor of a file by its published name, and the file's format. Of several copies of the model
/// `key` says which.
pub fn read(path: &Path, key: Option<&str>) -> Result<Contents, SamError> {
    let fail = |reason: String| SamError::Read { path: path.to_path_buf(), reason };
    let format = format_of(path)?;
    let (tensors, copies) = match format {
        WeightsFormat::PyTorchArchive => read_archive(path, key),
        WeightsFormat::PyTorchLegacy => read_plain(path, key),
        WeightsFormat::Safetensors => read_safetensors(path).and_then(|all| choose(all, key)),
        WeightsFormat::Native => read_native(path).and_then(|all| choose(all, key)),
    }
    .map_err(fail)?;
    if tensors.is_empty() {
        return Err(fail("it holds no tensors".to_owned()));
    }
    let mut tensors: Tensors = tensors
        .into_iter()
        .map(|(name, tensor)| (without_variant(name), tensor))
        .filter(|(name, _)| !is_ignored(name))
        .collect();
    check_pixel_statistics(&mut tensors).map_err(fail)?;
    Ok(Contents { tensors, format, copies })
}

/// Takes away the mean and deviation of pixels, which a model that was saved as an object brings along. They
/// are to be this program's own.
fn check_pixel_statistics(tensors: &mut Tensors) -> Result<(), String> {
    for (name, own) in [("pixel_mean", MEAN), ("pixel_std", STD)] {
        let Some(tensor) = tensors.remove(name) else { continue };
        let data = tensor.to_data().map_err(|e| format!("{name}: {e}"))?;
        let found: Vec<f32> = data.convert::<f32>().into_vec().map_err(|e| format!("{e:?}"))?;
        let same =
            found.len() == own.len() && found.iter().zip(own).all(|(a, b)| (a - b).abs() < 1e-3);
        if !same {
            return Err(format!(
                "its pixels are normalised with a {name} of {found:?}, and this program's is {own:?}"
            ));
        }
    }
    Ok(())
}

/// Reads this program's own format.
fn read_native(path: &Path) -> Result<Tensors, String> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    file.take(10).read_to_end(&mut head).map_err(|e| e.to_string())?;
    if let [.., a, b, c, d] = head[..]
        && u32::from_le_bytes([a, b, c, d]) > LONGEST_LIST
    {
        return Err("its list of tensors is longer than any model's".to_owned());
    }
    // The reader is third-party code over untrusted bytes: a panic there is a bad file.
    quietly(|| {
        let mut store = BurnpackStore::from_file(path).auto_extension(false);
        store.get_all_snapshots().cloned().map_err(|e| e.to_string())
    })
    .unwrap_or_else(|| Err("the file is damaged".to_owned()))
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
