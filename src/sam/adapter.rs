//! Adapters: what fine-tuning changed of a model, in a small file that names the model it belongs to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::Dispatch;
use burn::module::ParamId;
use burn::tensor::TensorData;
use burn_store::TensorSnapshot;

use super::checkpoint::{
    Metadata, Tensors, WeightsFormat, apply, check_values, read, read_metadata, recognise,
    tensors_of, to_ours, write,
};
use super::lora::Lora;
use super::{Architecture, Device, Model, OBJECT_SCORE, SamError};

/// The version of the form of the file.
const VERSION: &str = "1";
const KIND: &str = "p2sam.adapter";
const BASE: &str = "base_sha256";
const BASE_FILE: &str = "base_file";
const ARCHITECTURE: &str = "architecture";
const LORA_A: &str = ".lora_a";
const LORA_B: &str = ".lora_b";

/// A weights file that an adapter changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The file.
    pub path: PathBuf,
    /// Its sha256, in hexadecimal.
    pub sha256: String,
}

/// What an adapter says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// The sha256 of the weights file that it changes, in hexadecimal.
    pub base_sha256: String,
    /// The architecture of both.
    pub architecture: Architecture,
    /// All that its header says: data, recipe, scores, licence.
    pub metadata: Metadata,
}

/// What a file says of itself as an adapter; nothing if it is none.
///
/// # Errors
/// [`SamError::Read`] for a damaged header, [`SamError::Adapter`] for one of another version or
/// without a base.
pub fn adapter_info(path: &Path) -> Result<Option<AdapterInfo>, SamError> {
    let metadata = read_metadata(path)?;
    let Some(version) = metadata.get(KIND) else { return Ok(None) };
    let fail = |reason: String| SamError::Adapter { path: path.to_path_buf(), reason };
    if version != VERSION {
        return Err(fail(format!("it is of version {version}, this program knows {VERSION}")));
    }
    let of = |name: &str| metadata.get(name).cloned().ok_or_else(|| fail(format!("no {name}")));
    let architecture = of(ARCHITECTURE)?.parse().map_err(|e: SamError| fail(e.to_string()))?;
    Ok(Some(AdapterInfo { base_sha256: of(BASE)?, architecture, metadata }))
}

impl AdapterInfo {
    /// The base's file name as it was when the adapter was made. It comes from the adapter: no path.
    pub fn base_file(&self) -> Option<&str> {
        Path::new(self.metadata.get(BASE_FILE)?).file_name()?.to_str()
    }

    /// The base as messages call it.
    pub fn base_name(&self) -> String {
        let sha256 = &self.base_sha256;
        match self.base_file() {
            Some(file) => format!("{file} of sha256 {sha256}"),
            None => format!("the weights of sha256 {sha256}"),
        }
    }
}

/// Drops what makes an adapter of a file that says so.
pub(super) fn forget(metadata: &mut Metadata) {
    metadata.remove(KIND);
}

/// Writes an adapter for a weights file: whole tensors under their published names in PyTorch's
/// layouts, and LoRA's matrices. `half` stores 16-bit floats.
///
/// # Errors
/// [`SamError::Write`].
pub fn save_adapter(
    path: &Path,
    architecture: Architecture,
    base: &Base,
    mut tensors: BTreeMap<String, TensorData>,
    lora: Option<&Lora<Dispatch>>,
    half: bool,
    metadata: &Metadata,
) -> Result<(), SamError> {
    for (name, b, a) in lora.map(Lora::matrices).unwrap_or_default() {
        tensors.insert(format!("{name}{LORA_A}"), a);
        tensors.insert(format!("{name}{LORA_B}"), b);
    }
    let mut metadata = metadata.clone();
    let file = base.path.file_name().unwrap_or_default().to_string_lossy();
    for (name, text) in [
        (KIND, VERSION),
        (BASE, &base.sha256),
        (BASE_FILE, &file),
        (ARCHITECTURE, architecture.name()),
    ] {
        metadata.insert(name.to_owned(), text.to_owned());
    }
    write(path, tensors, half, &metadata)
}

/// Reads a base model and merges an adapter into it, unfused.
///
/// # Errors
/// Those of reading weights, and [`SamError::Adapter`] for another base or architecture, tensors that
/// do not fit, and values that are no numbers.
pub fn load_adapted(
    base: &Base,
    adapter: &Path,
    device: &Device,
) -> Result<(Model<Dispatch>, Architecture), SamError> {
    let fail = |reason: String| SamError::Adapter { path: adapter.to_path_buf(), reason };
    let changes = read(adapter, None)?.tensors;
    let info = adapter_info(adapter)?.ok_or_else(|| fail("it is no adapter".to_owned()))?;
    if info.base_sha256 != base.sha256 {
        return Err(fail(format!(
            "it changes {}, and {} has {}; give it its own base",
            info.base_name(),
            base.path.display(),
            base.sha256
        )));
    }
    let base_file = read(&base.path, None)?;
    let (mut tensors, mut format) = (base_file.tensors, base_file.format);
    let found = recognise(&base.path, &tensors)?;
    if found != info.architecture {
        return Err(fail(format!(
            "it changes {} weights, and {} holds {found}",
            info.architecture,
            base.path.display()
        )));
    }
    // An adapter's tensors are laid out as PyTorch does.
    if format == WeightsFormat::Native {
        let mut model = Model::for_tensors(found, tensors.keys(), device.inner());
        apply(&base.path, found, &mut model, tensors, format)?;
        tensors = snapshots(tensors_of(&model).map_err(fail)?);
        format = WeightsFormat::Safetensors;
    }
    merge(&mut tensors, changes).map_err(fail)?;
    let mut model = Model::for_tensors(found, tensors.keys(), device.inner());
    apply(&base.path, found, &mut model, tensors, format)?;
    Ok((model, found))
}

fn snapshots(tensors: BTreeMap<String, TensorData>) -> Tensors {
    let snapshot = |data| TensorSnapshot::from_data(data, vec![], vec![], ParamId::new());
    tensors.into_iter().map(|(name, data)| (name, snapshot(data))).collect()
}

/// Puts an adapter's tensors into a base's.
fn merge(base: &mut Tensors, changes: Tensors) -> Result<(), String> {
    // A base may bear the published names or this program's own.
    let keys: BTreeMap<String, String> =
        base.keys().map(|name| (to_ours(name), name.clone())).collect();
    let key = |name: &str| {
        keys.get(&to_ours(name)).cloned().ok_or_else(|| format!("its base has no tensor {name}"))
    };
    for (name, snapshot) in &changes {
        if name.ends_with(LORA_B) {
            continue;
        }
        if name.starts_with(OBJECT_SCORE) {
            // Learnt beside the base, which may have none.
            let data = TensorData::new(values(name, snapshot)?, snapshot.shape.to_vec());
            let snapshot = TensorSnapshot::from_data(data, vec![], vec![], ParamId::new());
            base.insert(name.clone(), snapshot);
            continue;
        }
        let layer = name.strip_suffix(LORA_A);
        let key = key(layer.unwrap_or(name))?;
        let Some(old) = base.get(&key) else { continue };
        let shape = old.shape.to_vec();
        let new = match layer {
            None if snapshot.shape.to_vec() != shape => {
                return Err(format!("{name}: {:?}, its base has {shape:?}", snapshot.shape));
            }
            None => values(name, snapshot)?,
            Some(layer) => {
                let second = format!("{layer}{LORA_B}");
                let b = changes.get(&second).ok_or_else(|| format!("no tensor {second}"))?;
                let (&[out, into], &[rank, a_in], &[b_out, b_rank]) =
                    (&shape[..], &snapshot.shape.to_vec()[..], &b.shape.to_vec()[..])
                else {
                    return Err(format!("{layer}: LoRA changes matrices only"));
                };
                if (a_in, b_out, b_rank) != (into, out, rank) {
                    return Err(format!(
                        "{layer}: matrices {:?} and {:?} for a weight {shape:?}",
                        b.shape, snapshot.shape
                    ));
                }
                let (a, b) = (values(name, snapshot)?, values(&second, b)?);
                let mut weight = values(&key, old)?;
                for (row, b) in
                    weight.chunks_exact_mut(into.max(1)).zip(b.chunks_exact(rank.max(1)))
                {
                    for (factor, a) in b.iter().zip(a.chunks_exact(into.max(1))) {
                        row.iter_mut().zip(a).for_each(|(w, a)| *w += factor * a);
                    }
                }
                weight
            }
        };
        let data = TensorData::new(new, shape);
        base.insert(key, TensorSnapshot::from_data(data, vec![], vec![], ParamId::new()));
    }
    for name in changes.keys().filter_map(|name| name.strip_suffix(LORA_B)) {
        if !changes.contains_key(&format!("{name}{LORA_A}")) {
            return Err(format!("no tensor {name}{LORA_A}"));
        }
    }
    Ok(())
}

/// A tensor's values, all of them numbers.
fn values(name: &str, snapshot: &TensorSnapshot) -> Result<Vec<f32>, String> {
    let data = snapshot.to_data().map_err(|e| format!("{name}: {e}"))?;
    let data = check_values(name, data).map_err(|e| format!("{name}: {e}"))?;
    data.into_vec::<f32>().map_err(|e| format!("{name}: {e:?}"))
}
