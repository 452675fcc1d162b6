//! What the operator's page can see and do of a live run.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use p2sam::live::{Event, MAX_OBJECTS, ObjectId, Session, SharedModel, Statistics};
use p2sam::stream::live::{Hooks, LiveEvent, LiveStream, RecordOptions, RecordStats, SourceState};
use p2sam::web::{self, Preview};
use p2sam::{Annotation, Embedding, Frame, Mask, Sam, check_annotation};

/// Events that are remembered.
const EVENTS: usize = 50;
/// Pictures that are held for annotation, for several operators at a time.
const HELD: usize = 4;
/// How often the disk is asked for its free space.
const DISK_LOOK: Duration = Duration::from_secs(1);
/// How long the page's calls wait for the model's word on a new object.
const ANSWER_WAIT: Duration = Duration::from_secs(50);

/// A live run as its operator's page sees it.
pub struct Console {
    pub(super) session: Arc<Session>,
    pub(super) statistics: Arc<Statistics>,
    pub(super) model: Arc<SharedModel>,
    pub(super) record: Option<RecordOptions>,
    confirm_limit: Duration,
    /// `None` until there is one.
    stream: Mutex<Option<Weak<LiveStream>>>,
    pub(super) preview: Preview,
    previewing: AtomicBool,
    pub(super) next_frozen: AtomicU64,
    state: Mutex<State>,
    /// Free bytes of the disk for recordings; `u64::MAX` while they are not known.
    disk_free: Arc<AtomicU64>,
    answers: (crossbeam_channel::Sender<Answer>, crossbeam_channel::Receiver<Answer>),
}

/// What changes during a run.
#[derive(Default)]
pub(super) struct State {
    pub(super) source: web::SourceState,
    pub(super) size: (u32, u32),
    /// Why the source was lost last, while it is.
    lost_by: Option<String>,
    pub(super) model: web::ModelState,
    pub(super) events: VecDeque<web::Event>,
    /// The newest last.
    pub(super) held: VecDeque<Held>,
    pub(super) recording_since: Option<Instant>,
    unrecorded: Option<String>,
    /// Whether it was told that the model is too slow.
    pub(super) told_slow: bool,
}

/// The picture that the operator annotates.
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) frame: Arc<Frame>,
    /// Its embedding, and the model that made it: another one's is of no use.
    pub(super) embedding: Option<(Weak<Sam>, Arc<Embedding>)>,
    pub(super) proposal: Option<Mask>,
}

/// The model's word on a new object.
type Answer = (ObjectId, Result<(), String>);

impl Console {
    pub fn new(
        session: Arc<Session>,
        statistics: Arc<Statistics>,
        model: Arc<SharedModel>,
        record: Option<RecordOptions>,
        confirm_limit: Duration,
    ) -> Self {
        let disk_free = Arc::new(AtomicU64::new(u64::MAX));
        if let Some(options) = record.clone() {
            watch_disk(options, &disk_free);
        }
        Self {
            disk_free,
            session,
            statistics,
            model,
            record,
            confirm_limit,
            stream: Mutex::default(),
            preview: Preview::new(),
            previewing: AtomicBool::new(false),
            next_frozen: AtomicU64::new(1),
            state: Mutex::default(),
            answers: crossbeam_channel::bounded(2 * MAX_OBJECTS),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stream(&self) -> Option<Arc<LiveStream>> {
        self.running().ok()
    }

    /// The stream.
    ///
    /// # Errors
    /// In words, that there is none yet or no longer.
    pub(super) fn running(&self) -> Result<Arc<LiveStream>, String> {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = stream.as_ref().ok_or("the run is starting; try again in a moment")?;
        stream.upgrade().ok_or_else(|| "the run is ending".to_owned())
    }

    /// The running stream.
    pub fn attach(&self, stream: &Arc<LiveStream>) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(stream));
    }

    /// Lets go of the stream.
    pub fn detach(&self) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(Weak::new());
    }

    /// What the stream calls.
    pub fn hooks(self: &Arc<Self>) -> Hooks {
        // Weak: the stream's threads must not keep the run alive.
        let hold = Arc::downgrade(self);
        let (on_source, on_jpeg, on_event) = (hold.clone(), hold.clone(), hold);
        Hooks {
            on_source: Arc::new(move |state| {
                if let Some(console) = on_source.upgrade() {
                    console.source(&state);
                }
            }),
            on_jpeg: Arc::new(move |jpeg| {
                if let Some(console) = on_jpeg.upgrade() {
                    console.preview.publish(&jpeg);
                }
            }),
            on_event: Arc::new(move |event| {
                if let Some(console) = on_event.upgrade() {
                    match &event {
                        LiveEvent::RecordingStopped(reason) => {
                            let mut state = console.lock();
                            state.recording_since = None;
                            state.unrecorded = state.unrecorded.take().or(reason.clone());
                        }
                        LiveEvent::RecordingFailed { part, reason } => {
                            let reason = || format!("{part}: {reason}");
                            console.lock().unrecorded.get_or_insert_with(reason);
                        }
                        _ => {}
                    }
                    console.note(event.to_string());
                }
            }),
        }
    }

    fn source(&self, state: &SourceState) {
        {
            let mut inner = self.lock();
            // A source that is away for hours is not to fill the log and push all else off the page.
            let silent = match state {
                SourceState::Rebuilding { attempt, reason } => {
                    let known = inner.lost_by.as_ref() == Some(reason);
                    inner.lost_by = Some(reason.clone());
                    known && !attempt.is_power_of_two()
                }
                SourceState::Running { .. } => {
                    inner.lost_by = None;
                    false
                }
                _ => false,
            };
            inner.source = match state {
                SourceState::Starting => web::SourceState::Starting,
                SourceState::Running { width, height, .. } => {
                    inner.size = (*width, *height);
                    web::SourceState::Running
                }
                SourceState::Stalled => web::SourceState::Stalled,
                SourceState::Rebuilding { .. } => web::SourceState::Rebuilding,
                SourceState::Ended => web::SourceState::Ended,
            };
            if silent {
                return;
            }
        }
        self.note(state.to_string());
    }

    /// Tells and remembers an event. Its text holds no path and nothing of a patient.
    pub(super) fn note(&self, text: String) {
        let seconds = self.statistics.start().elapsed().as_secs_f64();
        tell!("{seconds:8.1} s  {text}");
        let mut state = self.lock();
        if state.events.len() == EVENTS {
            state.events.pop_front();
        }
        state.events.push_back(web::Event { seconds, text });
    }

    /// Notes what the last recording has lost.
    pub fn recorded(&self, stats: &RecordStats) {
        if stats.dropped > 0 || stats.lines_dropped > 0 {
            self.lock().unrecorded.get_or_insert_with(|| {
                format!(
                    "encoder or disk were too slow for {} frames and {} lines of results",
                    stats.dropped, stats.lines_dropped
                )
            });
        }
    }

    /// Free bytes of the disk for recordings, as far as they are known.
    pub(super) fn disk_free(&self) -> Option<u64> {
        Some(self.disk_free.load(Ordering::Relaxed)).filter(|free| *free != u64::MAX)
    }

    /// Why something was not recorded that should have been, if so.
    pub fn recording_failed(&self) -> Option<String> {
        self.lock().unrecorded.clone()
    }

    /// The last events, as texts.
    pub fn events(&self) -> Vec<String> {
        self.lock().events.iter().map(|e| format!("{:.1} s: {}", e.seconds, e.text)).collect()
    }

    /// Listens to the model's worker; the number is for `Session::unsubscribe`.
    pub fn listen(self: &Arc<Self>) -> u64 {
        let console = Arc::downgrade(self);
        self.session.subscribe(move |event| {
            if let Some(console) = console.upgrade() {
                console.model_event(event);
            }
        })
    }

    /// Notes that the model is loaded, once: the worker's own word may have come before anybody
    /// listened.
    pub fn loaded(&self) {
        let before = std::mem::replace(&mut self.lock().model, web::ModelState::Ready);
        if before != web::ModelState::Ready {
            self.note("the model is loaded".to_owned());
        }
    }

    fn model_event(&self, event: &Event) {
        let answer = |object, result| {
            // Nobody may be waiting.
            let _ = self.answers.0.try_send((object, result));
        };
        match event {
            Event::Ready => self.loaded(),
            Event::Result(result) => {
                self.statistics.result(result);
                let took = result.times.total();
                if took > self.confirm_limit && !std::mem::replace(&mut self.lock().told_slow, true)
                {
                    self.note(format!(
                        "the model takes {:.1} s for a result, longer than a mask is shown without \
                         one; choose the profile live, or a larger --confirm-limit",
                        took.as_secs_f64()
                    ));
                }
                if let Some(stream) =
                    self.stream().filter(|_| self.lock().recording_since.is_some())
                {
                    stream.record_line(super::report::line_of(result));
                }
            }
            Event::ObjectAdded(object) => {
                self.statistics.added(*object);
                self.note(format!("object {object} is followed"));
                answer(*object, Ok(()));
            }
            Event::ObjectRefused(object, reason) => {
                self.note(format!("object {object} cannot be followed: {reason}"));
                answer(*object, Err(reason.clone()));
            }
            Event::ObjectSuspended(object, reason) => {
                self.statistics.suspended(*object, reason);
                self.note(format!("object {object} is suspended: {reason}"));
            }
            Event::ObjectRemoved(object) => {
                self.statistics.removed(*object);
                self.note(format!("object {object} is no longer followed"));
            }
            Event::Restarted { reason, faults } => {
                self.lock().model = web::ModelState::Ready;
                self.note(format!("the model was restarted (fault {faults}): {reason}"));
            }
            Event::Failed(reason) => {
                self.lock().model = web::ModelState::Failed;
                self.note(format!("the model cannot be opened: {reason}"));
            }
        }
    }

    /// To be called now and then: encodes pictures for the page only while somebody looks.
    pub fn tick(&self) {
        let wanted = self.preview.watchers() > 0;
        if self.previewing.swap(wanted, Ordering::Relaxed) != wanted
            && let Some(stream) = self.stream()
            && let Err(error) = stream.set_preview(wanted)
        {
            self.note(format!("the page gets no pictures: {error}"));
        }
    }

    /// Starts recording; with `wait` also where there is no space now, as soon as there is some.
    ///
    /// # Errors
    /// In words.
    pub fn start_recording(&self, wait: bool) -> Result<(), String> {
        let options = self.record.clone().ok_or("start p2sam with --record-to to record")?;
        let stream = self.running()?;
        // What the one before has lost would else be forgotten.
        self.recorded(&stream.stats().record);
        let options = RecordOptions { wait, ..options };
        stream.start_recording(options).map_err(|e| e.to_string())?;
        self.lock().recording_since = Some(Instant::now());
        Ok(())
    }

    /// Holds a picture for annotation; of those that are held the oldest may go.
    pub(super) fn hold(&self, held: Held) {
        let mut state = self.lock();
        if state.held.len() == HELD {
            state.held.pop_front();
        }
        state.held.push_back(held);
    }

    pub(super) fn held<T>(
        &self,
        id: u64,
        read: impl FnOnce(&mut Held) -> Result<T, String>,
    ) -> Result<T, String> {
        match self.lock().held.iter_mut().find(|held| held.id == id) {
            Some(held) => read(held),
            None => Err("this picture is no longer held; freeze again".to_owned()),
        }
    }

    /// The held picture's embedding by this model: the first prompt pays for it.
    pub(super) fn embedding(&self, id: u64, sam: &Arc<Sam>) -> Result<Arc<Embedding>, String> {
        let (frame, known) =
            self.held(id, |held| Ok((Arc::clone(&held.frame), held.embedding.clone())))?;
        if let Some((_, known)) = known.filter(|(by, _)| by.as_ptr() == Arc::as_ptr(sam)) {
            return Ok(known);
        }
        let made = Arc::new(sam.encode(&frame).map_err(|e| e.to_string())?);
        self.held(id, |held| {
            held.embedding = Some((Arc::downgrade(sam), Arc::clone(&made)));
            Ok(())
        })?;
        Ok(made)
    }

    /// Hands an object to the model and waits for its word.
    pub(super) fn follow(
        &self,
        frame: &Frame,
        annotation: Annotation,
        object: Option<ObjectId>,
    ) -> Result<ObjectId, String> {
        check_annotation(frame, &annotation).map_err(|e| e.to_string())?;
        let known = self.statistics.objects();
        let free = (1..=MAX_OBJECTS as ObjectId).find(|id| !known.contains_key(id));
        let object = object.or(free).ok_or_else(|| {
            format!("{MAX_OBJECTS} objects are followed already; remove or replace one")
        })?;
        while self.answers.1.try_recv().is_ok() {}
        self.session.add(object, frame.clone(), annotation);
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            match self.answers.1.recv_deadline(deadline) {
                Ok((answered, result)) if answered == object => return result.map(|()| object),
                Ok(_) => {}
                Err(_) => return Err("the model is busy; the object may still be added".to_owned()),
            }
        }
    }
}

/// Asks the disk for its free space now and then, on a thread of its own: a disk that hangs must not
/// hang the page. Ends with the console.
fn watch_disk(options: RecordOptions, free: &Arc<AtomicU64>) {
    let free = Arc::downgrade(free);
    let look = move || {
        while let Some(free) = free.upgrade() {
            free.store(options.free_bytes().unwrap_or(u64::MAX), Ordering::Relaxed);
            drop(free);
            std::thread::sleep(DISK_LOOK);
        }
    };
    if let Err(e) = std::thread::Builder::new().name("live-disk".into()).spawn(look) {
        log::warn!("the disk's free space is not watched: {e}");
    }
}
