//! The model on a thread of its own, which is started anew after every fault.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::mailbox::{Mailbox, Offered};
use super::worker::Worker;
use super::{LiveResult, MAX_OBJECTS, ObjectId, Segmenter};
use crate::image::{Annotation, Frame, Mask, Planes};

/// Makes a segmenter. Called on the worker's thread at its start and after each fault, with the
/// number of faults so far, so that it may choose the CPU after a fault of the GPU.
pub type MakeSegmenter = Box<dyn FnMut(u32) -> Result<Box<dyn Segmenter>, String> + Send>;

/// What the worker tells. It does so on its own thread, except for a refusal that is known at once,
/// which comes on the caller's.
#[derive(Clone, Debug)]
pub enum Event {
    /// The model is loaded.
    Ready,
    /// A picture was searched.
    Result(Arc<LiveResult>),
    /// An object is followed from now on.
    ObjectAdded(ObjectId),
    /// An object cannot be followed, in words. An older one of its number is still followed.
    ObjectRefused(ObjectId, String),
    /// An object is not followed for the time being, in words: it is of no use with the model's
    /// present settings, or the model has failed on it again and again. It is tried again when the
    /// settings change.
    ObjectSuspended(ObjectId, String),
    /// An object is no longer followed.
    ObjectRemoved(ObjectId),
    /// The model failed and was made anew, with all objects.
    Restarted {
        /// Why it failed, in words.
        reason: String,
        /// Faults since the start.
        faults: u32,
    },
    /// The model cannot be made, in words. It is tried again, ever more rarely.
    Failed(String),
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Pictures offered while there was something to look for.
    pub offered: u64,
    /// Of those, pictures that a newer one replaced before the model was free.
    pub replaced: u64,
    /// Pictures searched.
    pub results: u64,
    /// Faults of the model: panics, errors, and failures to make it.
    pub faults: u64,
}

/// Commands that may wait for the worker.
const QUEUE: usize = 2 * MAX_OBJECTS;

/// What the handle and the worker share.
pub(super) struct Shared {
    pub(super) mailbox: Mailbox,
    pub(super) stop: AtomicBool,
    /// The model is to be made anew, with other settings.
    pub(super) renew: AtomicBool,
    /// Whether any object is followed or waits to be.
    pub(super) wanted: AtomicBool,
    /// How often an object of each number was removed, so that a result that was on its way does
    /// not bring it back.
    pub(super) removals: [AtomicU32; MAX_OBJECTS + 1],
    /// When the engine was started.
    started: Instant,
    /// Nanoseconds from the start up to which the worker has surely no time for a picture: what comes
    /// before would be replaced, and is not even copied.
    busy_until: AtomicU64,
    offered: AtomicU64,
    replaced: AtomicU64,
    pub(super) results: AtomicU64,
    pub(super) faults: AtomicU64,
}

impl Shared {
    /// The worker has no time for pictures from now on, for so long; zero ends it.
    pub(super) fn busy_for(&self, time: Duration) {
        let until = if time.is_zero() { time } else { self.started.elapsed() + time };
        self.busy_until.store(until.as_nanos() as u64, Ordering::Relaxed);
    }

    fn is_busy(&self) -> bool {
        (self.started.elapsed().as_nanos() as u64) < self.busy_until.load(Ordering::Relaxed)
    }
}

/// An order to the worker.
pub(super) enum Command {
    Add(Reference),
    Remove(ObjectId),
}

/// What an object is known by.
pub(super) struct Reference {
    pub(super) object: ObjectId,
    pub(super) picture: Frame,
    pub(super) annotation: Annotation,
    /// [`Shared::removals`] when it was added.
    pub(super) removals: u32,
    pub(super) standing: Standing,
    /// How often in a row the model failed on it.
    pub(super) failures: u32,
}

/// How an object stands with the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Whether it can be followed was not yet told.
    New,
    /// It is followed.
    Followed,
    /// It is left out.
    Suspended,
}

pub(super) type OnEvent = dyn Fn(Event) + Send + Sync;
pub(super) type Prior = dyn Fn(ObjectId, u64) -> Option<Mask> + Send;

/// The model's worker. No call waits for the model, except for [`Engine::stop`].
pub struct Engine {
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
    on_event: Arc<OnEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the worker. The model is made on its thread. `prior` tells where an object's last mask
    /// has moved to in the picture of a number.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(
        make: MakeSegmenter,
        on_event: impl Fn(Event) + Send + Sync + 'static,
        prior: impl Fn(ObjectId, u64) -> Option<Mask> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (commands, orders): (_, Receiver<Command>) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            mailbox: Mailbox::new(),
            stop: AtomicBool::new(false),
            renew: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            removals: Default::default(),
            started: Instant::now(),
            busy_until: AtomicU64::new(0),
            offered: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            results: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        });
        let on_event: Arc<OnEvent> = Arc::new(on_event);
        let worker =
            Worker::new(Arc::clone(&shared), orders, make, Arc::clone(&on_event), Box::new(prior));
        let thread = std::thread::Builder::new()
            .name("p2sam-model".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self { shared, commands, on_event, thread: Some(thread) })
    }

    /// Offers a picture. It is copied, and replaces one that still waits, unless it would surely be
    /// replaced itself.
    pub fn offer(&self, number: u64, pts: Duration, picture: &Planes<'_>) {
        if !self.shared.wanted.load(Ordering::Relaxed) {
            return;
        }
        self.shared.offered.fetch_add(1, Ordering::Relaxed);
        if self.shared.is_busy() {
            self.shared.replaced.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.shared.mailbox.offer(number, pts, picture) {
            Offered::Waits => {}
            Offered::Replaced | Offered::TurnedAway => {
                self.shared.replaced.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.wake();
    }

    /// Adds an object, or replaces the one of that number. An event tells what came of it.
    pub fn add(&self, object: ObjectId, picture: Frame, annotation: Annotation) {
        let Some(removals) = self.shared.removals.get(usize::from(object)).filter(|_| object > 0)
        else {
            let reason = format!(
                "there is no object {object}: up to {MAX_OBJECTS} are followed at once, numbered 1 \
                 to {MAX_OBJECTS}; replace or remove one of them"
            );
            (self.on_event)(Event::ObjectRefused(object, reason));
            return;
        };
        let removals = removals.load(Ordering::Acquire);
        let (standing, failures) = (Standing::New, 0);
        let reference = Reference { object, picture, annotation, removals, standing, failures };
        self.send(object, Command::Add(reference));
    }

    /// Removes an object. None of its masks comes any more.
    pub fn remove(&self, object: ObjectId) {
        if let Some(removals) = self.shared.removals.get(usize::from(object)) {
            removals.fetch_add(1, Ordering::AcqRel);
            self.send(object, Command::Remove(object));
        }
    }

    fn send(&self, object: ObjectId, command: Command) {
        match self.commands.try_send(command) {
            Ok(()) => self.wake(),
            Err(TrySendError::Full(Command::Add(_)) | TrySendError::Disconnected(_)) => {
                let reason = "the model is busy with other objects or is being restarted; try \
                              again in a moment";
                (self.on_event)(Event::ObjectRefused(object, reason.to_owned()));
            }
            // The count of removals tells the worker all the same.
            Err(TrySendError::Full(Command::Remove(_))) => self.wake(),
        }
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Makes the model anew, with all objects, as soon as the step in work is done.
    pub fn renew(&self) {
        self.shared.renew.store(true, Ordering::Release);
        self.wake();
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            offered: of(&self.shared.offered),
            replaced: of(&self.shared.replaced),
            results: of(&self.shared.results),
            faults: of(&self.shared.faults),
        }
    }

    /// Ends the worker and waits for it: one step of the model at most. Not to be called on a
    /// streaming thread. Dropping does the same.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        let Some(thread) = self.thread.take() else { return };
        // A listener of the worker's events may hold the engine's last owner.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.counters()).finish()
    }
}

/// How much nicer the model's threads are than others.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lets the calling thread yield to the display's threads: on Linux its nice value becomes 10, so that
/// it gets about a tenth of a core that another thread wants, and all of one that none does. For every
/// thread that computes the model. Where the system refuses, nothing changes, and a line of the log
/// says so.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(e) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        log::warn!("a thread of the model does not yield to the display: {e}");
    }
}
