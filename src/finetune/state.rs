//! What a run needs to go on at the exact step, in one file that is written whole or not at all:
//! a line of JSON, the parameters, the optimiser's moments, LoRA's matrices if there are any, a
//! checksum.

use std::io::Write;
use std::path::Path;

use burn::module::Module;
use burn::optim::Optimizer;
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::learner::Learner;
use super::trainer::{AdamWOfLearner, Trainer};
use super::{FinetuneError, FinetuneOptions};
use crate::quiet::quietly;
use crate::sam::Training;

/// The first bytes of a state file.
const MAGIC: &[u8; 8] = b"P2SAMFT2";

type Bytes = BinBytesRecorder<FullPrecisionSettings>;

/// How far a run has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The best score and the step that had it.
    pub best: Option<(f64, u64)>,
    /// Validations since then.
    pub worse: u64,
    /// Seconds spent.
    pub seconds: f64,
    /// What the run was begun with.
    pub options: FinetuneOptions,
    /// Checksum of the data.
    pub data: String,
    /// Checksum of the weights that training started from.
    pub weights: String,
    /// Whether the encoder's features came from a cache, which rounds them.
    #[serde(default)]
    pub cached: bool,
}

/// Writes a run's state.
pub fn save(path: &Path, progress: &Progress, trainer: &Trainer) -> Result<(), FinetuneError> {
    let fail = |e: String| FinetuneError::file(path, e);
    let head = serde_json::to_vec(progress).map_err(|e| fail(e.to_string()))?;
    let recorder = Bytes::default();
    let record = |bytes: Result<Vec<u8>, burn::record::RecorderError>| {
        bytes.map_err(|e| fail(e.to_string()))
    };
    let Learner { model, lora } = trainer.learner.clone();
    let model = record(Recorder::<Training>::record(&recorder, model.into_record(), ()))?;
    let lora = lora
        .map(|lora| record(Recorder::<Training>::record(&recorder, lora.into_record(), ())))
        .transpose()?;
    let moments =
        record(Recorder::<Training>::record(&recorder, trainer.optimizer.to_record(), ()))?;
    crate::atomic::write(path, |file| {
        let mut hasher = Sha256::new();
        file.write_all(MAGIC)?;
        for part in [&head, &model, &moments].into_iter().chain(&lora) {
            let length = (part.len() as u64).to_le_bytes();
            hasher.update(length);
            hasher.update(part);
            file.write_all(&length)?;
            file.write_all(part)?;
        }
        file.write_all(&hasher.finalize())
    })
    .map_err(|e| fail(e.to_string()))
}

/// A state file that is whole.
pub struct Saved {
    pub progress: Progress,
    model: Vec<u8>,
    moments: Vec<u8>,
    lora: Option<Vec<u8>>,
}

/// Reads a run's state; `None` if there is none.
pub fn read(path: &Path) -> Result<Option<Saved>, FinetuneError> {
    let fail =
        |reason: &str| FinetuneError::State { path: path.to_path_buf(), reason: reason.to_owned() };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(FinetuneError::file(path, e)),
    };
    let damaged = || fail("it is damaged or cut off");
    let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or_else(|| fail("it is no state file"))?;
    let (body, sum) = rest.split_at_checked(rest.len().saturating_sub(32)).ok_or_else(damaged)?;
    if Sha256::digest(body).as_slice() != sum {
        return Err(damaged());
    }
    let mut body = body;
    let mut part = || -> Option<Vec<u8>> {
        let (length, rest) = body.split_first_chunk::<8>()?;
        let (part, rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
        body = rest;
        Some(part.to_vec())
    };
    let (Some(head), Some(model), Some(moments)) = (part(), part(), part()) else {
        return Err(damaged());
    };
    let lora = part();
    let progress = serde_json::from_slice(&head)
        .map_err(|e| fail(&format!("another version of this program wrote it ({e})")))?;
    Ok(Some(Saved { progress, model, moments, lora }))
}

impl Saved {
    /// Puts the saved parameters and moments into a trainer of the same model.
    pub fn restore(self, path: &Path, trainer: &mut Trainer) -> Result<(), FinetuneError> {
        let fail = |reason: String| FinetuneError::State { path: path.to_path_buf(), reason };
        let device = trainer.device().inner().clone();
        let recorder = Bytes::default();
        let (learner, optimizer) = (trainer.learner.clone(), trainer.optimizer.clone());
        // Burn's own readers panic at some kinds of wrong contents.
        let restored = quietly(|| {
            let record = Recorder::<Training>::load(&recorder, self.model, &device)
                .map_err(|e| e.to_string())?;
            let model = learner.model.load_record(record);
            let lora = match (learner.lora, self.lora) {
                (Some(lora), Some(bytes)) => {
                    let record = Recorder::<Training>::load(&recorder, bytes, &device)
                        .map_err(|e| e.to_string())?;
                    Some(lora.load_record(record))
                }
                (None, None) => None,
                _ => return Err("it is of another kind of training".to_owned()),
            };
            let record = Recorder::<Training>::load(&recorder, self.moments, &device)
                .map_err(|e| e.to_string())?;
            let optimizer: AdamWOfLearner = optimizer.load_record(record);
            Ok::<_, String>((Learner { model, lora }.marked(), optimizer))
        });
        let (learner, optimizer) = restored
            .unwrap_or_else(|| Err("it does not fit the model".to_owned()))
            .map_err(fail)?;
        trainer.learner = learner;
        trainer.optimizer = optimizer;
        Ok(())
    }
}
