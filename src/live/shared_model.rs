use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{MakeSegmenter, ModelSettings, SamSegmenter, Segmenter};
use crate::sam::Sam;

/// The model of a live run: what it is opened with, and a handle on the one that is open, so that a
/// held picture can be segmented while the run goes on.
#[derive(Debug)]
pub struct SharedModel {
    /// Counts the settings. What is being made with older ones gives up.
    version: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: ModelSettings,
    sam: Option<Arc<Sam>>,
    /// Opened before the worker asked for it.
    ready: Option<SamSegmenter>,
}

impl SharedModel {
    /// Nothing is opened yet.
    pub fn new(settings: ModelSettings) -> Self {
        let inner = Inner { settings, sam: None, ready: None };
        Self { version: AtomicU64::new(0), inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the model now, so that what can never work is told at once; the worker takes it over.
    ///
    /// # Errors
    /// As [`SamSegmenter::open`].
    pub fn open(self: &Arc<Self>) -> Result<(), String> {
        let segmenter = self.make(0)?;
        self.lock().ready = Some(segmenter);
        Ok(())
    }

    fn make(self: &Arc<Self>, faults: u32) -> Result<SamSegmenter, String> {
        let version = self.version.load(Ordering::Acquire);
        let segmenter = SamSegmenter::open(&self.settings(), faults)?;
        self.lock().sam = Some(Arc::clone(segmenter.sam()));
        let shared = Arc::clone(self);
        Ok(segmenter.while_wanted(move || shared.version.load(Ordering::Acquire) == version))
    }

    /// What opens the model on the worker's thread.
    pub fn factory(self: &Arc<Self>) -> MakeSegmenter {
        let shared = Arc::clone(self);
        Box::new(move |faults| {
            // One model at a time: two may not fit into a GPU's memory.
            let (ready, before) = {
                let mut inner = shared.lock();
                (inner.ready.take(), inner.sam.take())
            };
            if let Some(ready) = ready {
                shared.lock().sam = before;
                return Ok(Box::new(ready) as Box<dyn Segmenter>);
            }
            drop(before);
            Ok(Box::new(shared.make(faults)?) as Box<dyn Segmenter>)
        })
    }

    /// What the model is opened with.
    pub fn settings(&self) -> ModelSettings {
        self.lock().settings.clone()
    }

    /// Changes what the next model is opened with; `Session::renew` then opens it.
    pub fn set(&self, settings: ModelSettings) {
        self.lock().settings = settings;
        self.give_up();
    }

    /// Lets what takes long, such as learning an object, give up: the run is ending.
    pub fn give_up(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The open model, if there is one.
    pub fn sam(&self) -> Option<Arc<Sam>> {
        self.lock().sam.clone()
    }
}
