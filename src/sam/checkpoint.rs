//! Weights files: which model they hold, and every tensor into its place.
//!
//! PyTorch files are read by a reader that knows no code, only tensors: what a pickle would execute
//! is refused or skipped, never run.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use burn::Dispatch;
use burn::tensor::DType;
use burn_store::{
    ApplyError, BurnpackStore, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, PytorchStore,
    SafetensorsStore, TensorSnapshot,
};

use super::model::Model;
use super::{Architecture, Device, SamError};

/// The file format of a weights file, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsFormat {
    /// PyTorch's `torch.save`, a zip archive or the older plain form.
    PyTorch,
    /// safetensors with PyTorch's names and layouts.
    Safetensors,
    /// Burn's own format, written by `p2sam weights convert`.
    Native,
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
}

/// Tensors that published checkpoints carry and the model does not use: TinyViT's classifier and
/// the step counters of batch normalisation.
fn is_ignored(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
        || name.starts_with("image_encoder.head.")
        || name.starts_with("image_encoder.norm_head.")
        || name.ends_with("attention_bias_idxs")
}

/// Published names of sequential layers to the names of this crate's fields.
const RENAMES: [(&str, &str); 18] = [
    ("image_encoder.neck.0.", "image_encoder.neck.conv1."),
    ("image_encoder.neck.1.", "image_encoder.neck.norm1."),
    ("image_encoder.neck.2.", "image_encoder.neck.conv2."),
    ("image_encoder.neck.3.", "image_encoder.neck.norm2."),
    ("image_encoder.patch_embed.seq.0.", "image_encoder.patch_embed.conv1."),
    ("image_encoder.patch_embed.seq.2.", "image_encoder.patch_embed.conv2."),
    ("image_encoder.layers.0.", "image_encoder.stage0."),
    ("image_encoder.layers.1.", "image_encoder.stages.0."),
    ("image_encoder.layers.2.", "image_encoder.stages.1."),
    ("image_encoder.layers.3.", "image_encoder.stages.2."),
    ("prompt_encoder.mask_downscaling.0.", "prompt_encoder.mask_downscaling.conv1."),
    ("prompt_encoder.mask_downscaling.1.", "prompt_encoder.mask_downscaling.norm1."),
    ("prompt_encoder.mask_downscaling.3.", "prompt_encoder.mask_downscaling.conv2."),
    ("prompt_encoder.mask_downscaling.4.", "prompt_encoder.mask_downscaling.norm2."),
    ("prompt_encoder.mask_downscaling.6.", "prompt_encoder.mask_downscaling.conv3."),
    ("mask_decoder.output_upscaling.0.", "mask_decoder.output_upscaling.conv1."),
    ("mask_decoder.output_upscaling.1.", "mask_decoder.output_upscaling.norm."),
    ("mask_decoder.output_upscaling.3.", "mask_decoder.output_upscaling.conv2."),
];

/// A published name to this crate's.
fn to_ours(name: &str) -> String {
    RENAMES
        .iter()
        .find_map(|(theirs, ours)| name.strip_prefix(theirs).map(|rest| format!("{ours}{rest}")))
        .unwrap_or_else(|| name.to_owned())
}

/// This crate's name to the published one, for messages.
fn to_theirs(name: &str) -> String {
    let name = match name.rsplit_once('.') {
        Some((path, "gamma")) => format!("{path}.weight"),
        Some((path, "beta")) => format!("{path}.bias"),
        _ => name.to_owned(),
    };
    RENAMES
        .iter()
        .find_map(|(theirs, ours)| name.strip_prefix(ours).map(|rest| format!("{theirs}{rest}")))
        .unwrap_or(name)
}

type Tensors = BTreeMap<String, TensorSnapshot>;

/// Every tensor of a file by its published name, and the file's format.
fn read(path: &Path) -> Result<(Tensors, WeightsFormat), SamError> {
    let fail = |reason: String| SamError::Read { path: path.to_path_buf(), reason };
    let format = format_of(path)?;
    // The readers are third-party code over untrusted bytes: a panic there is a bad file.
    let tensors = quietly(|| match format {
        WeightsFormat::PyTorch => {
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
    // Training programs wrap the model: "model.", "state_dict.", "module." and so on.
    let wrapped = tensors
        .keys()
        .find_map(|name| name.find("image_encoder.").map(|at| name[..at].to_owned()))
        .unwrap_or_default();
    let tensors = tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(&wrapped)?.to_owned(), tensor)))
        .filter(|(name, _)| !is_ignored(name))
        .collect();
    Ok((tensors, format))
}

/// Runs third-party code; `None` if it panicked. The message stays off the user's terminal.
fn quietly<T>(run: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    std::panic::set_hook(hook);
    result.ok()
}

fn format_of(path: &Path) -> Result<WeightsFormat, SamError> {
    use std::io::Read;
    let fail = |reason: String| SamError::Read { path: path.to_path_buf(), reason };
    let mut head = [0u8; 16];
    let mut file = std::fs::File::open(path).map_err(|e| fail(e.to_string()))?;
    let mut filled = 0;
    while filled < head.len() {
        match file.read(&mut head[filled..]).map_err(|e| fail(e.to_string()))? {
            0 => break,
            count => filled += count,
        }
    }
    let head = &head[..filled];
    match head {
        [] => Err(fail("the file is empty".to_owned())),
        [b'P', b'K', 3, 4, ..] | [0x80, 0x02, ..] => Ok(WeightsFormat::PyTorch),
        [_, _, _, _, _, _, _, _, b'{', ..] => Ok(WeightsFormat::Safetensors),
        [b'N', b'R', b'U', b'B', ..] | [b'B', b'U', b'R', b'N', ..] => Ok(WeightsFormat::Native),
        _ => Err(fail(
            "neither a PyTorch checkpoint (.pt, .pth), nor safetensors, nor this program's own \
             format"
                .to_owned(),
        )),
    }
}

/// Recognises the architecture by the tensors that tell them apart.
fn recognise(path: &Path, tensors: &Tensors) -> Result<Architecture, SamError> {
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
    let (tensors, format) = read(path)?;
    let architecture = recognise(path, &tensors)?;
    let parameters = tensors.values().map(|t| t.shape.iter().product::<usize>()).sum();
    let tensors = tensors
        .iter()
        .map(|(name, t)| (to_theirs(name), t.shape.to_vec(), format!("{:?}", t.dtype)))
        .collect();
    Ok(WeightsInfo { format, architecture, tensors, parameters })
}

/// Reads a model. `architecture` overrides what the tensors look like.
pub(super) fn load(
    path: &Path,
    architecture: Option<Architecture>,
    device: &Device,
) -> Result<(Model<Dispatch>, Architecture), SamError> {
    let (tensors, format) = read(path)?;
    let architecture = match architecture {
        Some(architecture) => architecture,
        None => recognise(path, &tensors)?,
    };
    let mut model = Model::new(architecture, None, device.inner());
    apply(path, architecture, &mut model, tensors, format)?;
    Ok((model.fused(), architecture))
}

/// Puts every tensor into its place.
fn apply(
    path: &Path,
    architecture: Architecture,
    model: &mut Model<Dispatch>,
    tensors: Tensors,
    format: WeightsFormat,
) -> Result<(), SamError> {
    let fail = |reason: String| SamError::Read { path: path.to_path_buf(), reason };
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
            ApplyError::ShapeMismatch { path: name, expected, found } => misshapen.push(format!(
                "{}: {:?}, expected {:?}",
                to_theirs(name),
                found.to_vec(),
                expected.to_vec()
            )),
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

/// Writes a model in this program's own format, which loads faster: no archive, tensors already in
/// their layout, mapped into memory. `half` stores 16-bit floats.
///
/// # Errors
/// Those of reading, and [`SamError::Write`].
pub fn convert(
    from: &Path,
    architecture: Option<Architecture>,
    to: &Path,
    half: bool,
) -> Result<Architecture, SamError> {
    let fail = |reason: String| SamError::Write { path: to.to_path_buf(), reason };
    let (tensors, format) = read(from)?;
    let architecture = match architecture {
        Some(architecture) => architecture,
        None => recognise(from, &tensors)?,
    };
    let device = Device::open(super::DeviceChoice::Cpu)?;
    let mut model = Model::new(architecture, None, device.inner());
    apply(from, architecture, &mut model, tensors, format)?;

    let temporary = crate::atomic::temporary_beside(to).map_err(|e| fail(e.to_string()))?;
    let mut store = BurnpackStore::from_file(temporary.path())
        .auto_extension(false)
        .overwrite(true)
        .metadata("architecture", architecture.name());
    if half {
        store = store.with_to_adapter(burn_store::HalfPrecisionAdapter::new());
    }
    model.save_into(&mut store).map_err(|e| fail(e.to_string()))?;
    crate::atomic::publish(temporary, to).map_err(|e| fail(e.to_string()))?;
    Ok(architecture)
}
