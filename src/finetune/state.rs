//! What a run needs to go on at the exact step, in one file that is written whole or not at all:
//! a line of JSON, the parameters, the optimiser's moments, the average of the parameters and LoRA's
//! matrices and their average if there are any, a checksum.

use std::io::Write;
use std::path::Path;

use burn::Dispatch;
use burn::module::Module;
use burn::optim::Optimizer;
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::average::Average;
use super::trainer::{AdamWOfLearner, Trainer};
use super::{FinetuneError, FinetuneOptions};
use crate::quiet::quietly;
use crate::sam::Training;

/// The first bytes of a state file.
const MAGIC: &[u8; 8] = b"P2SAMFT3";

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
    let learner =
        record(Recorder::<Training>::record(&recorder, trainer.learner.clone().into_record(), ()))?;
    let average = match &trainer.average {
        Some(average) => record(Recorder::<Dispatch>::record(
            &recorder,
            average.learner.clone().into_record(),
            (),
        ))?,
        None => Vec::new(),
    };
    let moments =
        record(Recorder::<Training>::record(&recorder, trainer.optimizer.to_record(), ()))?;
    crate::atomic::write(path, |file| {
        let mut hasher = Sha256::new();
        file.write_all(MAGIC)?;
        for part in [&head, &learner, &moments, &average] {
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
    learner: Vec<u8>,
    moments: Vec<u8>,
    average: Vec<u8>,
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
    let (Some(head), Some(learner), Some(moments), Some(average)) =
        (part(), part(), part(), part())
    else {
        return Err(damaged());
    };
    let progress = serde_json::from_slice(&head)
        .map_err(|e| fail(&format!("another version of this program wrote it ({e})")))?;
    Ok(Some(Saved { progress, learner, moments, average }))
}

impl Saved {
    /// Puts the saved parameters and moments into a trainer of the same model.
    pub fn restore(self, path: &Path, trainer: &mut Trainer) -> Result<(), FinetuneError> {
        let fail = |reason: String| FinetuneError::State { path: path.to_path_buf(), reason };
        let device = trainer.device().inner().clone();
        let recorder = Bytes::default();
        let (learner, optimizer) = (trainer.learner.clone(), trainer.optimizer.clone());
        let average = trainer.average.clone();
        // Burn's own readers panic at some kinds of wrong contents.
        let restored = quietly(|| {
            let record = Recorder::<Training>::load(&recorder, self.learner, &device)
                .map_err(|e| e.to_string())?;
            let learner = learner.load_record(record);
            let average = match (average, self.average) {
                (Some(average), bytes) if !bytes.is_empty() => {
                    let record = Recorder::<Dispatch>::load(&recorder, bytes, &device)
                        .map_err(|e| e.to_string())?;
                    let learner = average.learner.clone().load_record(record);
                    Some(Average { learner, ..average })
                }
                (None, bytes) if bytes.is_empty() => None,
                _ => return Err("it is of another kind of training".to_owned()),
            };
            let record = Recorder::<Training>::load(&recorder, self.moments, &device)
                .map_err(|e| e.to_string())?;
            let optimizer: AdamWOfLearner = optimizer.load_record(record);
            Ok::<_, String>((learner.marked(), optimizer, average))
        });
        let (learner, optimizer, average) = restored
            .unwrap_or_else(|| Err("it does not fit the model".to_owned()))
            .map_err(fail)?;
        trainer.learner = learner;
        trainer.optimizer = optimizer;
        trainer.average = average;
        Ok(())
    }
}
