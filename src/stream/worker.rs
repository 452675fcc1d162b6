use std::collections::BTreeMap;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Picture;
use crate::image::Mask;
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
    /// Starts the thread. `given` are the masks of frames that were annotated, by their place in the
    /// input: they are those frames' results. `is_timed` says whether presentation times are those of
    /// the camera, and not made up for a series of images.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn spawn(
        mut tracker: Tracker,
        given: BTreeMap<u64, Mask>,
        is_timed: bool,
    ) -> std::io::Result<Self> {
        let (pictures, incoming) = bounded::<Picture>(1);
        let (outgoing, results) = bounded(1);
        let thread = std::thread::Builder::new().name("tracker".to_owned()).spawn(move || {
            for picture in incoming {
                let time = is_timed.then_some(picture.pts);
                let track = match given.get(&picture.index) {
                    Some(mask) => tracker.step_annotated(&picture.frame, mask, time),
                    None => tracker.step_at(&picture.frame, time),
                };
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
