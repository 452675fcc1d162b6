use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::engine::{Command, OnEvent, Prior, Reference, Shared, Standing, give_way};
use super::{Event, LivePicture, MakeSegmenter, ObjectId, Segmenter, SegmenterError};
use crate::image::Frame;

/// The wait after a first fault; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait after a fault.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A model that lasted this long starts again with [`FIRST_WAIT`].
const SOUND: Duration = Duration::from_secs(10);
/// Times in a row that the model may fail on one object until it goes on without it.
const PATIENCE: u32 = 3;
/// The wait for other settings after something gave up for them.
const SETTLE: Duration = Duration::from_millis(2);

/// The worker's side of the engine.
pub(super) struct Worker {
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    make: MakeSegmenter,
    on_event: Arc<OnEvent>,
    prior: Box<Prior>,
    /// Objects that the model accepted; they survive it.
    references: Vec<Reference>,
    /// Used again from picture to picture.
    picture: Option<LivePicture>,
    /// How long the model's last step took.
    step_time: Duration,
    faults: u32,
    /// Faults since a model was last sound.
    in_a_row: u32,
}

/// For each object, why it is left out, if it is.
type Refusals = Vec<Option<String>>;

/// A model at work.
struct Running {
    segmenter: Box<dyn Segmenter>,
    since: Instant,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: Receiver<Command>,
        make: MakeSegmenter,
        on_event: Arc<OnEvent>,
        prior: Box<Prior>,
    ) -> Self {
        let (references, picture) = (Vec::new(), None);
        Self {
            shared,
            commands,
            make,
            on_event,
            prior,
            references,
            picture,
            step_time: Duration::ZERO,
            faults: 0,
            in_a_row: 0,
        }
    }

    /// Until the engine is stopped.
    pub(super) fn run(mut self) {
        give_way();
        let mut running: Option<Running> = None;
        // Why the last model failed, until there is a new one.
        let mut failed: Option<String> = None;
        while !self.stopped() {
            let outcome = match running.as_mut() {
                None => self.open().map(|(opened, refusals)| {
                    running = Some(opened);
                    self.tell(match failed.take() {
                        None => Event::Ready,
                        Some(reason) => Event::Restarted { reason, faults: self.faults },
                    });
                    self.settle(refusals);
                }),
                Some(running) => self.turn(running.segmenter.as_mut()),
            };
            if self.shared.renew.swap(false, Ordering::AcqRel) {
                // An outcome that gave up for it is no fault.
                let _ = guarded(|| drop(running.take()));
                // With other settings an object may be of use again.
                self.references.iter_mut().for_each(|r| r.failures = 0);
                continue;
            }
            let reason = match outcome {
                Ok(()) => continue,
                Err(SegmenterError::Stopped) => {
                    // The word that asks for it is on its way.
                    std::thread::park_timeout(SETTLE);
                    continue;
                }
                Err(error) => error.to_string(),
            };
            let (lasted, opened) = match running.take() {
                Some(Running { segmenter, since }) => {
                    // A device's library may panic once more on its way out.
                    let _ = guarded(|| drop(segmenter));
                    (since.elapsed(), true)
                }
                None => (Duration::ZERO, false),
            };
            self.fault(&reason, lasted);
            if opened {
                failed = Some(reason);
            } else {
                failed.get_or_insert_with(|| reason.clone());
                self.tell(Event::Failed(reason));
            }
            self.wait_after_fault();
        }
        let _ = guarded(|| drop(running));
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// Makes a model and gives it all objects. One that is of no use, or that the model fails on again
    /// and again, does not take the model from the others.
    fn open(&mut self) -> Result<(Running, Refusals), SegmenterError> {
        let (make, faults) = (&mut self.make, self.faults);
        let made = guarded(|| make(faults)).and_then(|made| made);
        let mut segmenter =
            made.map_err(|reason| SegmenterError::Failed { object: None, reason })?;
        self.forget_removed();
        let mut refusals = Vec::with_capacity(self.references.len());
        for r in &mut self.references {
            refusals.push(if r.failures >= PATIENCE {
                Some("the model fails on it again and again".to_owned())
            } else {
                match give(segmenter.as_mut(), r) {
                    Ok(()) => None,
                    Err(SegmenterError::Unusable(reason)) => Some(reason),
                    Err(SegmenterError::Stopped) => return Err(SegmenterError::Stopped),
                    Err(error) => {
                        r.failures += 1;
                        return Err(error);
                    }
                }
            });
        }
        Ok((Running { segmenter, since: Instant::now() }, refusals))
    }

    /// Tells which objects a new model follows, as far as that has changed.
    fn settle(&mut self, refusals: Refusals) {
        let mut events = Vec::new();
        let mut refusals = refusals.into_iter();
        self.references.retain_mut(|r| {
            let (object, before) = (r.object, r.standing);
            let refusal = refusals.next().flatten();
            r.standing = if refusal.is_none() { Standing::Followed } else { Standing::Suspended };
            match (before, refusal) {
                (Standing::New, Some(reason)) => {
                    events.push(Event::ObjectRefused(object, reason));
                    return false;
                }
                (Standing::Followed, Some(reason)) => {
                    log::warn!("object {object} is suspended: {reason}");
                    events.push(Event::ObjectSuspended(object, reason));
                }
                (Standing::New | Standing::Suspended, None) => {
                    events.push(Event::ObjectAdded(object));
                }
                (Standing::Followed, None) | (Standing::Suspended, Some(_)) => {}
            }
            true
        });
        self.note_wanted();
        events.into_iter().for_each(|event| self.tell(event));
    }

    /// Whether any object is followed.
    fn follows(&self) -> bool {
        self.references.iter().any(|r| r.standing == Standing::Followed)
    }

    fn note_wanted(&self) {
        self.shared.wanted.store(self.follows(), Ordering::Relaxed);
    }

    /// One command, or else one picture, or else a wait for either.
    fn turn(&mut self, segmenter: &mut dyn Segmenter) -> Result<(), SegmenterError> {
        match self.commands.try_recv() {
            Ok(command) => self.command(segmenter, command),
            Err(_) => match self.receive() {
                Some(()) => self.step(segmenter),
                None => {
                    std::thread::park();
                    Ok(())
                }
            },
        }
    }

    fn command(
        &mut self,
        segmenter: &mut dyn Segmenter,
        command: Command,
    ) -> Result<(), SegmenterError> {
        self.shared.wanted.store(true, Ordering::Relaxed);
        let outcome = match command {
            Command::Remove(object) => {
                let before = self.references.len();
                self.references.retain(|r| r.object != object);
                let removed = guarded(|| segmenter.remove(object));
                if self.references.len() < before {
                    self.tell(Event::ObjectRemoved(object));
                }
                removed.map_err(|reason| SegmenterError::Failed { object: None, reason })
            }
            Command::Add(reference) => self.add(segmenter, reference),
        };
        self.note_wanted();
        outcome
    }

    fn add(
        &mut self,
        segmenter: &mut dyn Segmenter,
        mut r: Reference,
    ) -> Result<(), SegmenterError> {
        let object = r.object;
        match guarded(|| segmenter.add(object, &r.picture, &r.annotation)) {
            Ok(Ok(())) => {
                r.standing = Standing::Followed;
                self.references.retain(|known| known.object != object);
                self.references.push(r);
                self.tell(Event::ObjectAdded(object));
                Ok(())
            }
            // The model with the other settings says what becomes of it.
            Ok(Err(SegmenterError::Stopped)) => {
                self.references.retain(|known| known.object != object);
                self.references.push(r);
                Ok(())
            }
            Ok(Err(error)) => {
                self.tell(Event::ObjectRefused(object, error.to_string()));
                Ok(())
            }
            Err(panic) => {
                let reason = format!("the model failed on it: {panic}");
                self.tell(Event::ObjectRefused(object, reason));
                Err(SegmenterError::Failed { object: Some(object), reason: panic })
            }
        }
    }

    /// Takes the newest picture in, if there is one.
    fn receive(&mut self) -> Option<()> {
        let picture = &mut self.picture;
        let received = self.shared.mailbox.take(|letter| {
            let (number, pts) = letter.stamp();
            let mut next = picture.take().or_else(|| {
                let frame = Frame::new(1, 1, vec![0; 3]).ok()?;
                Some(LivePicture { number, pts, frame })
            })?;
            (next.number, next.pts) = (number, pts);
            letter.convert_into(&mut next.frame).ok()?;
            *picture = Some(next);
            Some(())
        });
        received.flatten()
    }

    fn step(&mut self, segmenter: &mut dyn Segmenter) -> Result<(), SegmenterError> {
        let Some(picture) = &self.picture else { return Ok(()) };
        if !self.follows() {
            return Ok(());
        }
        let prior = |object: ObjectId| (self.prior)(object, picture.number);
        // The pictures of the last quarter suffice: the newest of them is the next one.
        self.shared.busy_for(self.step_time * 3 / 4);
        let begun = Instant::now();
        let failed = |reason| SegmenterError::Failed { object: None, reason };
        let outcome = guarded(|| segmenter.step(picture, &prior)).map_err(failed);
        self.step_time = begun.elapsed();
        self.shared.busy_for(Duration::ZERO);
        let outcome = outcome.and_then(|step| step);
        for r in self.references.iter_mut().filter(|r| r.standing == Standing::Followed) {
            match &outcome {
                Ok(_) => r.failures = 0,
                Err(SegmenterError::Failed { object: Some(object), .. }) if *object == r.object => {
                    r.failures += 1;
                }
                Err(_) => {}
            }
        }
        let mut result = outcome?;
        let current = |object: ObjectId| {
            self.references.iter().any(|r| r.object == object && self.is_current(r))
        };
        result.objects.retain(|found| current(found.object));
        self.shared.results.fetch_add(1, Ordering::Relaxed);
        self.tell(Event::Result(Arc::new(result)));
        // A removal that found the queue full left only its count.
        for object in self.forget_removed() {
            guarded(|| segmenter.remove(object)).map_err(failed)?;
            self.tell(Event::ObjectRemoved(object));
        }
        Ok(())
    }

    /// Whether it was not removed since it was added.
    fn is_current(&self, r: &Reference) -> bool {
        let removals = self.shared.removals.get(usize::from(r.object));
        removals.is_some_and(|count| count.load(Ordering::Acquire) == r.removals)
    }

    fn forget_removed(&mut self) -> Vec<ObjectId> {
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.references).into_iter().partition(|r| self.is_current(r));
        self.references = kept;
        self.note_wanted();
        gone.into_iter().map(|r| r.object).collect()
    }

    fn fault(&mut self, reason: &str, lasted: Duration) {
        self.in_a_row = if lasted >= SOUND { 1 } else { self.in_a_row.saturating_add(1) };
        self.faults = self.faults.saturating_add(1);
        self.shared.faults.fetch_add(1, Ordering::Relaxed);
        log::warn!("the model failed (fault {}): {reason}; it is started anew", self.faults);
    }

    fn wait_after_fault(&self) {
        let doublings = self.in_a_row.saturating_sub(1).min(16);
        let end = Instant::now() + (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT);
        while !self.stopped() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
    }

    fn tell(&self, event: Event) {
        if let Err(panic) = guarded(|| (self.on_event)(event)) {
            log::error!("a listener to the model's results failed: {panic}");
        }
    }
}

/// Gives an object to a model; a panic is a failure.
fn give(segmenter: &mut dyn Segmenter, r: &Reference) -> Result<(), SegmenterError> {
    guarded(|| segmenter.add(r.object, &r.picture, &r.annotation))
        .unwrap_or_else(|reason| Err(SegmenterError::Failed { object: Some(r.object), reason }))
}

/// Runs code that may panic; the error is the panic's words.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic: Box<dyn Any + Send>| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("it panicked: {}", words.unwrap_or("no words were left"))
    })
}
