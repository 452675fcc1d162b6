//! Weights files: which model they hold, and every tensor into its place.
//!
//! PyTorch files are read by a reader that knows no code, only tensors: what a pickle would execute
//! is refused or skipped, never run.

mod files;
mod names;
mod strides;
mod write;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::Dispatch;
use burn::tensor::DType;
use burn_store::{ApplyError, ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot};

use super::adapter::{Base, adapter_info, load_adapted};
use super::model::Model;
use super::{Architecture, Device, SamError};
use crate::quiet::quietly;

pub use files::WeightsFormat;
pub(super) use files::{Tensors, read};
pub(super) use names::{to_ours, to_theirs, without_variant};
pub use write::Metadata;
use write::save_model;
pub(super) use write::{read_metadata, write};
pub(crate) use write::{save_native, tensors_of};

/// Stack of the thread that reads a file, in bytes: enough for the deepest nesting that a list of
/// tensors of the allowed length can have. Only what is used of it is ever taken.
const STACK: usize = 1 << 30;

/// Runs a reading function on a thread of its own.
pub(super) fn on_large_stack<T: Send>(
    path: &Path,
    run: impl FnOnce() -> Result<T, SamError> + Send,
) -> Result<T, SamError> {
    let fail =
        |reason: &str| SamError::Read { path: path.to_path_buf(), reason: reason.to_owned() };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("weights".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, run)
            .map_err(|e| fail(&e.to_string()))?
            .join()
            .unwrap_or_else(|_| Err(fail("the file is damaged")))
    })
}

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

/// What a file holds.
///
/// # Errors
/// [`SamError::Read`] and [`SamError::Unrecognised`].
pub fn inspect(path: &Path) -> Result<WeightsInfo, SamError> {
    on_large_stack(path, || inspect_here(path))
}

fn inspect_here(path: &Path) -> Result<WeightsInfo, SamError> {
    let (tensors, format) = read(path)?;
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
    Ok(WeightsInfo { format, architecture, tensors, parameters, metadata })
}

/// Reads a model for inference. `architecture` overrides what the tensors look like.
pub(super) fn load(
    path: &Path,
    architecture: Option<Architecture>,
    device: &Device,
) -> Result<(Model<Dispatch>, Architecture), SamError> {
    let (model, architecture) = load_unfused(path, architecture, device)?;
    Ok((model.fused(), architecture))
}

/// Reads a model, its batch normalisations left as they are: for training.
pub(crate) fn load_unfused(
    path: &Path,
    architecture: Option<Architecture>,
    device: &Device,
) -> Result<(Model<Dispatch>, Architecture), SamError> {
    on_large_stack(path, || load_here(path, architecture, device))
}

fn load_here(
    path: &Path,
    architecture: Option<Architecture>,
    device: &Device,
) -> Result<(Model<Dispatch>, Architecture), SamError> {
    let (tensors, format) = read(path)?;
    if let Some(adapter) = adapter_info(path)? {
        return Err(SamError::Adapter {
            path: path.to_path_buf(),
            reason: format!("it is no whole model, and needs its base, {}", adapter.base_name()),
        });
    }
    let architecture = match architecture {
        Some(architecture) => architecture,
        None => recognise(path, &tensors)?,
    };
    let mut model = Model::for_tensors(architecture, tensors.keys(), device.inner());
    apply(path, architecture, &mut model, tensors, format)?;
    Ok((model, architecture))
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
    let snapshots: Vec<TensorSnapshot> = tensors
        .into_iter()
        .map(|(name, mut snapshot)| {
            snapshot.path_stack = Some(to_ours(&name).split('.').map(str::to_owned).collect());
            if snapshot.dtype == DType::F32 { snapshot } else { as_f32(snapshot) }
        })
        .collect();
    let adapter: Option<Box<dyn burn_store::ModuleAdapter>> = match format {
        WeightsFormat::Native => None,
        _ => Some(Box::new(PyTorchToBurnAdapter)),
    };
    let result = quietly(|| model.apply(snapshots, None, adapter, true))
        .ok_or_else(|| fail("a tensor's data is damaged or cut off".to_owned()))?;

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

/// Half precision on disk, single precision in memory.
fn as_f32(snapshot: TensorSnapshot) -> TensorSnapshot {
    let data = snapshot.clone_data_fn();
    TensorSnapshot::from_closure(
        std::rc::Rc::new(move || Ok(data()?.convert::<f32>())),
        DType::F32,
        snapshot.shape.clone(),
        snapshot.path_stack.clone().unwrap_or_default(),
        snapshot.container_stack.clone().unwrap_or_default(),
        snapshot.tensor_id.unwrap_or_default(),
    )
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
    architecture: Option<Architecture>,
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
        None => load_unfused(from, architecture, &device)?,
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
