//! What one live run is made of: the display's masks and the model that finds them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::mailbox::Letter;
use super::{Counters, Display, DisplaySettings, Engine, Event, MakeSegmenter, ObjectId, Shown};
use crate::image::{Annotation, Frame, Planes};
use crate::motion::GreyPicture;

type Listener = dyn Fn(&Event) + Send + Sync;

/// A picture that passed, and what is drawn on it; one copy for all who asked.
type Captured = Arc<(Letter, Vec<Shown>)>;

/// Those who wait for the next picture, each with a number.
#[derive(Default)]
struct Askers {
    next: u64,
    all: Vec<(u64, SyncSender<Captured>)>,
}

/// Who is told of the model's events.
#[derive(Default)]
struct Listeners {
    next: AtomicU64,
    all: RwLock<Vec<(u64, Arc<Listener>)>>,
}

impl Listeners {
    fn tell(&self, event: &Event) {
        // Listeners are called without the lock: they may come and go meanwhile.
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, listener) in all {
            listener(event);
        }
    }
}

/// Display and model of one live run, for its whole length: they outlive faults of the source and of
/// the model. The streaming thread passes each picture through it and never waits.
pub struct Session {
    display: Arc<Display>,
    engine: Engine,
    listeners: Arc<Listeners>,
    frames: AtomicU64,
    /// Held for moments only.
    askers: Mutex<Askers>,
}

impl Session {
    /// Starts the model's worker.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(make: MakeSegmenter, settings: DisplaySettings) -> std::io::Result<Self> {
        let display = Arc::new(Display::new(settings));
        let listeners = Arc::new(Listeners::default());
        let (shown, told, moved) =
            (Arc::clone(&display), Arc::clone(&listeners), Arc::clone(&display));
        let on_event = move |event: Event| {
            match &event {
                Event::Result(result) => shown.result(result),
                Event::ObjectRemoved(object) | Event::ObjectSuspended(object, _) => {
                    shown.remove(*object);
                }
                _ => {}
            }
            told.tell(&event);
        };
        let prior = move |object, number| moved.moved_to(object, number);
        let engine = Engine::start(make, on_event, prior)?;
        Ok(Self { display, engine, listeners, frames: AtomicU64::new(0), askers: Mutex::default() })
    }

    /// Calls a listener for every event, on the worker's thread, until its number is given to
    /// [`Session::unsubscribe`].
    pub fn subscribe(&self, listener: impl Fn(&Event) + Send + Sync + 'static) -> u64 {
        let number = self.listeners.next.fetch_add(1, Ordering::Relaxed);
        let mut all = self.listeners.all.write().unwrap_or_else(PoisonError::into_inner);
        all.push((number, Arc::new(listener)));
        number
    }

    /// Takes a listener away.
    pub fn unsubscribe(&self, number: u64) {
        let mut all = self.listeners.all.write().unwrap_or_else(PoisonError::into_inner);
        let gone = all.iter().position(|(n, _)| *n == number).map(|at| all.swap_remove(at));
        drop(all);
        // What the listener holds is dropped without the lock.
        drop(gone);
    }

    /// A picture on its way to the display, not drawn on yet: its number, and what to draw on it.
    /// The model may get a copy of it.
    pub fn pass(&self, pts: Duration, picture: &Planes<'_>) -> (u64, Vec<Shown>) {
        let number = self.frames.fetch_add(1, Ordering::Relaxed);
        let info = picture.info();
        let [stride, ..] = info.strides;
        let grey = GreyPicture::of_luma(picture.luma(), stride, info.width, info.height);
        let shown = self.display.frame(number, pts, grey);
        self.engine.offer(number, pts, picture);
        // Should an asker hold the lock, the next picture is as good.
        let askers = self.askers.try_lock().map(|mut askers| std::mem::take(&mut askers.all));
        let askers = askers.unwrap_or_default();
        if !askers.is_empty() {
            let captured = Arc::new((Letter::of(number, pts, picture), shown.clone()));
            for (_, asker) in askers {
                let _ = asker.try_send(Arc::clone(&captured));
            }
        }
        (number, shown)
    }

    /// Adds an object or replaces the one of that number. An event tells what came of it.
    pub fn add(&self, object: ObjectId, picture: Frame, annotation: Annotation) {
        self.engine.add(object, picture, annotation);
    }

    /// Removes an object; its mask is gone from the next frame on.
    pub fn remove(&self, object: ObjectId) {
        self.engine.remove(object);
        self.display.remove(object);
    }

    /// Makes the model anew, with all objects: its settings have changed.
    pub fn renew(&self) {
        self.engine.renew();
    }

    /// The next picture that passes, as RGB, and what is drawn on it; `None` if none passes in time.
    /// All who ask at a time get the same one. The streaming thread copies it; the colours are
    /// converted here.
    pub fn capture(&self, timeout: Duration) -> Option<(Frame, Vec<Shown>)> {
        let (picture, captured) = sync_channel(1);
        let asker = {
            let mut askers = self.askers();
            let asker = askers.next;
            askers.next = asker.wrapping_add(1);
            askers.all.push((asker, picture));
            asker
        };
        let Ok(captured) = captured.recv_timeout(timeout) else {
            self.askers().all.retain(|(other, _)| *other != asker);
            return None;
        };
        let (letter, shown) = &*captured;
        let mut frame = Frame::new(1, 1, vec![0; 3]).ok()?;
        letter.convert_into(&mut frame).ok()?;
        Some((frame, shown.clone()))
    }

    fn askers(&self) -> MutexGuard<'_, Askers> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is shown, but not the objects: for a source that starts anew.
    pub fn clear(&self) {
        self.display.clear();
    }

    /// Frames passed.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// What the model's worker did so far.
    pub fn counters(&self) -> Counters {
        self.engine.counters()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("frames", &self.frames())
            .field("engine", &self.engine)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Color, PlaneLayout, PlanesInfo};

    #[test]
    fn all_who_ask_at_a_time_get_the_next_picture() {
        let make: MakeSegmenter = Box::new(|_| Err("there is no model".to_owned()));
        let session = Session::start(make, DisplaySettings::default()).unwrap();
        let pass = |number: u64| {
            let info = PlanesInfo::packed(PlaneLayout::Nv12, 4, 2, Color::usual(2));
            let planes = Planes::new(info, [&[90; 8], &[128; 4], &[]]).unwrap();
            session.pass(Duration::from_millis(number * 40), &planes);
        };
        std::thread::scope(|scope| {
            let ask = || session.capture(Duration::from_secs(20));
            let asked: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
            while session.askers().all.len() < 12 {
                std::thread::yield_now();
            }
            pass(0);
            let frames: Vec<_> = asked.into_iter().map(|one| one.join().unwrap()).collect();
            let (first, _) = frames[0].as_ref().expect("a picture");
            assert_eq!((first.width(), first.height()), (4, 2));
            for frame in &frames {
                assert_eq!(frame.as_ref().expect("a picture").0.rgb(), first.rgb());
            }
        });
        // Who asks in vain leaves nothing behind.
        assert!(session.capture(Duration::from_millis(20)).is_none());
        assert!(session.askers().all.is_empty());
    }
}
