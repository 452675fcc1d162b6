use std::sync::{Arc, Mutex, PoisonError};

use super::{MakeSegmenter, ModelSettings, SamSegmenter, Segmenter};
use crate::sam::Sam;

/// The model of a live run: what it is opened with, and a handle on the one that is open, so that a
/// held picture can be segmented while the run goes on.
#[derive(Debug)]
pub struct SharedModel {
    settings: Mutex<ModelSettings>,
    open: Mutex<Option<Arc<Sam>>>,
}

impl SharedModel {
    /// Nothing is opened yet.
    pub fn new(settings: ModelSettings) -> Self {
        Self { settings: Mutex::new(settings), open: Mutex::new(None) }
    }

    /// What opens the model on the worker's thread.
    pub fn factory(self: &Arc<Self>) -> MakeSegmenter {
        let shared = Arc::clone(self);
        Box::new(move |faults| {
            // One model at a time: two may not fit into a GPU's memory.
            shared.put(None);
            let segmenter = SamSegmenter::open(&shared.settings(), faults)?;
            shared.put(Some(Arc::clone(segmenter.sam())));
            Ok(Box::new(segmenter) as Box<dyn Segmenter>)
        })
    }

    fn put(&self, sam: Option<Arc<Sam>>) {
        let before = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *open, sam)
        };
        drop(before);
    }

    /// What the model is opened with.
    pub fn settings(&self) -> ModelSettings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what the next model is opened with.
    pub fn set(&self, settings: ModelSettings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// The open model, if there is one.
    pub fn sam(&self) -> Option<Arc<Sam>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
