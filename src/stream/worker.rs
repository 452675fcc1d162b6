use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Picture;
use crate::method::{MethodError, Track, Tracker};

/// The tracker on a thread of its own, so that reading and writing go on while the model works.
/// Pictures wait in a queue of one and results in another: nothing is lost and memory is bounded.
#[derive(Debug)]
pub struct Worker {
    /// `None` once no more pictures will come.
    pictures: Option<Sender<Picture>>,
    results: Receiver<(Picture, Result<Track, MethodError>)>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn spawn(mut tracker: Tracker) -> std::io::Result<Self> {
        let (pictures, incoming) = bounded::<Picture>(1);
        let (outgoing, results) = bounded(1);
        let thread = std::thread::Builder::new().name("tracker".to_owned()).spawn(move || {
            for picture in incoming {
                let track = tracker.step(&picture.frame);
                if outgoing.send((picture, track)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { pictures: Some(pictures), results, thread: Some(thread) })
    }

    /// Hands a picture over, waiting for room. Returns whether the worker still runs.
    pub fn submit(&self, picture: Picture) -> bool {
        self.pictures.as_ref().is_some_and(|pictures| pictures.send(picture).is_ok())
    }

    /// Says that no more pictures will come.
    pub fn close(&mut self) {
        self.pictures = None;
    }

    /// The next result in the order of submission; `None` after the last, or if the worker died.
    pub fn result(&self) -> Option<(Picture, Result<Track, MethodError>)> {
        self.results.recv().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
        // A worker that waits to hand over a result sees its receiver gone.
        let (_, nobody) = bounded(0);
        self.results = nobody;
        if let Some(thread) = self.thread.take() {
            // A panic has already been reported on standard error.
            let _ = thread.join();
        }
    }
}
