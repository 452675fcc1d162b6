//! Weights files: which model they hold, and every tensor into its place.
//!
//! PyTorch files are read by a reader that knows no code, only tensors: what a pickle would execute
//! is refused or skipped, never run.

mod copies;
mod files;
mod names;
mod pickle;
mod pytorch;
mod safetensors;
mod values;
mod write;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::Dispatch;
use burn_store::{ApplyError, ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot};

use super::adapter::{Base, adapter_info, load_adapted};
use super::model::Model;
use super::{Architecture, Device, SamError};
use crate::quiet::quietly;

pub use copies::Copies;
pub use files::WeightsFormat;
pub(super) use files::{Contents, Tensors, read};
pub(super) use names::{to_ours, to_theirs, without_variant};
use values::Faults;
pub(super) use values::weights as check_values;
pub use write::Metadata;
use write::save_model;
pub(super) use write::{read_metadata, write};
pub(crate) use write::{save_native, tensors_of};

/// What is known of a weights file without loading it.
#[derive(Clone, Debug)]
pub struct WeightsInfo {
    /// How the file is laid out.
    pub format: WeightsFormat,
    /// The architecture that its tensors were recognised as.
    pub architecture: Architecture,
    /// Every tensor's name, shape and type.
    pub tensors: Vec<(String, Vec<usize>, String)>,
    /// Number of parameters.
    pub parameters: usize,
    /// What the file says of itself, of safetensors files: data, recipe, scores, licence.
    pub metadata: Metadata,
    /// The copies of the model that it holds.
    pub copies: Copies,
}

/// Recognises the architecture by the tensors that tell them apart.
pub(super) fn recognise(path: &Path, tensors: &Tensors) -> Result<Architecture, SamError> {
    let fail = |reason: &str| SamError::Unrecognised {
        path: path.to_path_buf(),
        reason: reason.to_owned(),
    };
    let shape = |name: &str| {
        tensors.get(name).or_else(|| tensors.get(&to_ours(name))).map(|t| t.shape.to_vec())
    };
    if let Some(stem) = shape("image_encoder.patch_embed.seq.0.c.weight") {
        return match stem.get(2) {
            Some(3) => Ok(Architecture::MobileSam),
            Some(1) => Ok(Architecture::LiteMedSam),
            _ => Err(fail("its TinyViT stem is of an unknown kind")),
        };
    }
    match shape("image_encoder.patch_embed.proj.weight").as_deref() {
        Some([768, ..]) => Ok(Architecture::VitB),
        Some([1024, ..]) => Ok(Architecture::VitL),
        Some([1280, ..]) => Ok(Architecture::VitH),
        Some(_) => Err(fail("its ViT is of an unknown width")),
        None => Err(fail("no image_encoder.patch_embed tensor")),
    }
}

/// What a file holds. Of several copies of the model `key` says which: where the file's dictionaries lead
/// to it, `"model"` or `"state_dict.ema"`.
///
/// # Errors
/// [`SamError::Read`] and [`SamError::Unrecognised`].
pub fn inspect(path: &Path, key: Option<&str>) -> Result<WeightsInfo, SamError> {
    let Contents { tensors, format, copies } = read(path, key)?;
    let metadata = read_metadata(path)?;
    let architecture = match adapter_info(path)? {
        Some(adapter) => adapter.architecture,
        None => recognise(path, &tensors)?,
    };
    let parameters = tensors.values().map(|t| t.shape.iter().product::<usize>()).sum();
    let tensors = tensors
        .iter()
        .map(|(name, t)| (to_theirs(name), t.shape.to_vec(), format!("{:?}", t.dtype)))
        .collect();
    Ok(WeightsInfo { format, architecture, tensors, parameters, metadata, copies })
}

/// How to read a weights file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The architecture, if the tensors are not to decide.
    pub architecture: Option<Architecture>,
    /// Which copy of the model, if the file holds several: where its dictionaries lead to it.
    pub checkpoint_key: Option<String>,
}

/// A model as it was read, its batch normalisations left as they are.
pub(crate) struct Loaded {
    pub model: Model<Dispatch>,
    pub architecture: Architecture,
    pub copies: Copies,
}

/// Reads a model, its batch normalisations left as they are: for training.
pub(crate) fn load_unfused(
    path: &Path,
    architecture: Option<Architecture>,
    device: &Device,
) -> Result<(Model<Dispatch>, Architecture), SamError> {
    let options = LoadOptions { architecture, checkpoint_key: None };
    let loaded = load(path, &options, device)?;
    Ok((loaded.model, loaded.architecture))
}

/// Reads a model, unfused.
pub(super) fn load(
    path: &Path,
    options: &LoadOptions,
    device: &Device,
) -> Result<Loaded, SamError> {
    let Contents { tensors, format, copies } = read(path, options.checkpoint_key.as_deref())?;
    if let Some(adapter) = adapter_info(path)? {
        return Err(SamError::Adapter {
            path: path.to_path_buf(),
            reason: format!("it is no whole model, and needs its base, {}", adapter.base_name()),
        });
    }
    let architecture = match options.architecture {
        Some(architecture) => architecture,
        None => recognise(path, &tensors)?,
    };
    let mut model = Model::for_tensors(architecture, tensors.keys(), device.inner());
    apply(path, architecture, &mut model, tensors, format)?;
    Ok(Loaded { model, architecture, copies })
}

/// Puts every tensor into its place.
pub(super) fn apply(
    path: &Path,
    architecture: Architecture,
    model: &mut Model<Dispatch>,
    tensors: Tensors,
    format: WeightsFormat,
) -> Result<(), SamError> {
    let fail = |reason: String| SamError::Read { path: path.to_path_buf(), reason };
    let shapes: HashMap<String, Vec<usize>> =
        tensors.iter().map(|(name, t)| (name.clone(), t.shape.to_vec())).collect();
    let faults = Faults::default();
    let snapshots: Vec<TensorSnapshot> = tensors
        .into_iter()
        .map(|(name, mut snapshot)| {
            snapshot.path_stack = Some(to_ours(&name).split('.').map(str::to_owned).collect());
            faults.watch(&name, snapshot)
        })
        .collect();
    let adapter: Option<Box<dyn burn_store::ModuleAdapter>> = match format {
        WeightsFormat::Native => None,
        _ => Some(Box::new(PyTorchToBurnAdapter)),
    };
    let result = quietly(|| model.apply(snapshots, None, adapter, true))
        .ok_or_else(|| fail("a tensor's data is damaged or cut off".to_owned()))?;
    if let Some(fault) = faults.first() {
        return Err(fail(fault));
    }

    let mut misshapen = Vec::new();
    for error in &result.errors {
        match error {
            ApplyError::ShapeMismatch { path: name, expected, found } => {
                let name = to_theirs(name);
                let (mut expected, mut found) = (expected.to_vec(), found.to_vec());
                // Burn keeps a linear layer's weight the other way round than PyTorch.
                if shapes.get(&name).is_some_and(|shape| *shape != found) {
                    expected.reverse();
                    found.reverse();
                }
                misshapen.push(format!("{name}: {found:?}, expected {expected:?}"));
            }
            other => return Err(fail(other.to_string())),
        }
    }
    let misshapen_names: Vec<&str> =
        misshapen.iter().filter_map(|text| text.split(':').next()).collect();
    let missing: Vec<String> = result
        .missing
        .iter()
        .map(|(name, _)| to_theirs(name))
        .filter(|name| !misshapen_names.contains(&name.as_str()))
        .collect();
    // Tensors that were applied under Burn's names for them also count as unused under PyTorch's.
    let applied: HashSet<String> = result.applied.iter().map(|name| to_theirs(name)).collect();
    let unexpected: Vec<String> = result
        .unused
        .iter()
        .map(|name| to_theirs(name))
        .filter(|name| !applied.contains(name) && !misshapen_names.contains(&name.as_str()))
        .collect();
    if missing.is_empty() && unexpected.is_empty() && misshapen.is_empty() {
        return Ok(());
    }
    Err(SamError::Mismatch {
        path: path.to_path_buf(),
        architecture,
        missing,
        unexpected,
        misshapen,
    })
}

/// Writes a model anew. A file that is to end in `.safetensors` gets PyTorch's names and layouts, what
/// the old file says of itself, and `metadata`; any other this program's own format, which loads
/// faster: no archive, tensors already in their layout, mapped into memory. `half` stores 16-bit
/// floats. `base` is what `from` changes if it is an adapter, which is then merged into it.
///
/// # Errors
/// Those of reading, and [`SamError::Write`].
pub fn convert(
    from: &Path,
    base: Option<&Base>,
    options: &LoadOptions,
    to: &Path,
    half: bool,
    metadata: &Metadata,
) -> Result<Architecture, SamError> {
    let portable = to.extension().is_some_and(|end| end == "safetensors");
    if !portable && !metadata.is_empty() {
        let reason = "only files named .safetensors hold metadata".to_owned();
        return Err(SamError::Write { path: to.to_path_buf(), reason });
    }
    let device = Device::open(super::DeviceChoice::Cpu)?;
    let (model, architecture) = match base {
        Some(base) => load_adapted(base, from, &device)?,
        None => {
            let loaded = load(from, options, &device)?;
            (loaded.model, loaded.architecture)
        }
    };
    if !portable {
        save_native(&model, architecture, to, half)?;
        return Ok(architecture);
    }
    let mut all = read_metadata(from)?;
    super::adapter::forget(&mut all);
    all.extend(metadata.clone());
    save_model(&model, architecture, to, half, &all)?;
    Ok(architecture)
}
