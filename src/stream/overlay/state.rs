use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_video::VideoFrameExt;
use gstreamer as gst;
use gstreamer_base as gst_base;
use gstreamer_video as gst_video;

use super::imp::CAT;
use super::settings::Settings;
use super::{OnShown, ShownFrame, messages};
use crate::image::{
    Annotation, Color, Foreground, Frame, ImageError, PlaneLayout, PlanesInfo, PlanesMut,
    draw_patch,
};
use crate::live::{
    Counters, Event, MAX_OBJECTS, ObjectId, Session, SharedModel, draw_mark, draw_notice,
};

/// The element's own state. Every lock is held for moments only, and by nothing that waits.
#[derive(Default)]
pub struct Overlay {
    pub(super) settings: Mutex<Settings>,
    pub(super) link: Mutex<Link>,
    pub(super) stream: Mutex<Stream>,
    on_shown: Mutex<Option<OnShown>>,
    notice: Mutex<String>,
    /// Held while a session is opened, but never while one is told of objects.
    pub(super) objects: Mutex<Objects>,
    frames: AtomicU64,
    pub(super) qos_events: AtomicU64,
    /// What sessions of earlier starts counted.
    before: Mutex<Counters>,
}

/// The session and who listens to it.
#[derive(Default)]
pub(super) struct Link {
    session: Option<Arc<Session>>,
    subscription: u64,
    /// Whether a program brought the session.
    pub(super) given: bool,
}

/// Objects added by signal, and whether they go to a session of the element's own.
#[derive(Default)]
pub(super) struct Objects {
    /// For when the element is started, or started again.
    added: BTreeMap<ObjectId, (Frame, Annotation)>,
    /// From start to stop.
    pub(super) running: bool,
}

/// What is known of the stream.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) color: Option<Color>,
    /// How long a frame is shown, if the caps tell.
    pub(super) frame_time: Option<Duration>,
    /// The last frame's time.
    pub(super) last: Option<Duration>,
    /// When the frame at hand came in.
    pub(super) arrived: Option<Instant>,
}

/// Between frames whose caps tell no rate.
const USUAL_FRAME_TIME: Duration = Duration::from_millis(40);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Overlay {
    pub(super) fn set_session(&self, session: Arc<Session>) {
        self.unlink(true);
        self.link(session, true);
    }

    pub(super) fn set_on_shown(&self, hook: Option<OnShown>) {
        *lock(&self.on_shown) = hook;
    }

    pub(super) fn set_gap_notice(&self, notice: &str) {
        notice.clone_into(&mut lock(&self.notice));
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        lock(&self.link).session.clone()
    }

    fn link(&self, session: Arc<Session>, given: bool) {
        let element = self.obj().downgrade();
        let subscription = session.subscribe(move |event| {
            if let Some(element) = element.upgrade() {
                element.imp().tell(event);
            }
        });
        let link = Link { session: Some(session), subscription, given };
        let old = std::mem::replace(&mut *lock(&self.link), link);
        self.leave(old);
    }

    /// Leaves the session; one of the element's own ends, which takes one step of the model at most.
    pub(super) fn unlink(&self, given_too: bool) {
        let old = {
            let mut link = lock(&self.link);
            if link.given && !given_too {
                return;
            }
            std::mem::take(&mut *link)
        };
        self.leave(old);
    }

    /// Waits for the model if the session ends with it: no lock may be held.
    fn leave(&self, old: Link) {
        let Some(session) = old.session else { return };
        session.unsubscribe(old.subscription);
        if !old.given {
            let mut sum = lock(&self.before);
            *sum = plus(*sum, session.counters());
        }
    }

    /// The element's session; if it has none, one with a model of its own. `objects` is the proof that
    /// nobody else opens one.
    fn open(&self, _objects: &mut Objects) -> std::io::Result<Arc<Session>> {
        if let Some(session) = self.session() {
            return Ok(session);
        }
        let (model, display) = {
            let settings = lock(&self.settings);
            (settings.model.clone(), settings.display())
        };
        let model = Arc::new(SharedModel::new(model));
        let session = Arc::new(Session::start(model.factory(), display)?);
        self.link(Arc::clone(&session), false);
        Ok(session)
    }

    /// Starts to follow the objects that are known, `own` as the first. Without any there is no model
    /// until one is added.
    pub(super) fn begin(&self, own: Option<(Frame, Annotation)>) -> std::io::Result<()> {
        let (session, known) = {
            let mut objects = lock(&self.objects);
            let mut known = objects.added.clone();
            known.extend(own.map(|own| (1, own)));
            // The model is loaded on its own thread; frames pass meanwhile.
            let session = if known.is_empty() { None } else { Some(self.open(&mut objects)?) };
            objects.running = true;
            (session, known)
        };
        for (object, (frame, annotation)) in known {
            if let Some(session) = &session {
                session.add(object, frame, annotation);
            }
        }
        Ok(())
    }

    /// On the worker's thread: no lock is held while others are told.
    fn tell(&self, event: &Event) {
        let element = self.obj();
        let post = lock(&self.settings).post_messages;
        let structure = match event {
            Event::Result(result) => {
                let structure = messages::of_result(result);
                element.emit_by_name::<()>("result", &[&structure]);
                Some(structure)
            }
            other => messages::of_event(other),
        };
        match event {
            Event::ObjectRefused(id, reason) | Event::ObjectSuspended(id, reason) => {
                gst::element_imp_warning!(
                    self,
                    gst::LibraryError::Settings,
                    ["object {id} cannot be followed: {reason}"]
                );
            }
            Event::Failed(reason) => {
                gst::element_imp_warning!(
                    self,
                    gst::LibraryError::Init,
                    ["the model cannot be started: {reason}"]
                );
            }
            Event::Restarted { reason, faults } => {
                gst::warning!(
                    CAT,
                    imp = self,
                    "the model was restarted (fault {faults}): {reason}"
                );
            }
            Event::Ready => gst::info!(CAT, imp = self, "the model is loaded"),
            Event::ObjectAdded(id) => gst::info!(CAT, imp = self, "object {id} is followed"),
            Event::ObjectRemoved(id) => {
                gst::info!(CAT, imp = self, "object {id} is no longer followed");
            }
            Event::Result(result) => gst::trace!(CAT, imp = self, "result of {}", result.number),
        }
        if let Some(structure) = structure.filter(|_| post) {
            let message = gst::message::Element::builder(structure).src(&*element);
            // Without a bus nobody listens.
            let _ = element.post_message(message.build());
        }
    }

    /// Follows one more object, from files. Whether they could be read; a message tells why not.
    pub(super) fn add_files(&self, id: u32, picture: &str, mask: &str) -> bool {
        let object = ObjectId::try_from(id).unwrap_or(0);
        let (frame, annotation) = match open_files(picture, mask) {
            Ok(opened) => opened,
            Err(reason) => {
                self.tell(&Event::ObjectRefused(object, reason));
                return false;
            }
        };
        let session = {
            let mut objects = lock(&self.objects);
            if (1..=MAX_OBJECTS).contains(&usize::from(object)) {
                objects.added.insert(object, (frame.clone(), annotation.clone()));
            }
            match self.session() {
                Some(session) => Ok(session),
                // It is added at the start.
                None if !objects.running => return true,
                None => self.open(&mut objects).map_err(|e| e.to_string()),
            }
        };
        match session {
            Ok(session) => session.add(object, frame, annotation),
            Err(reason) => self.tell(&Event::Failed(reason)),
        }
        true
    }

    pub(super) fn remove(&self, id: u32) {
        let Ok(object) = ObjectId::try_from(id) else { return };
        lock(&self.objects).added.remove(&object);
        if let Some(session) = self.session() {
            session.remove(object);
        }
    }

    pub(super) fn stats(&self) -> gst::Structure {
        let now = self.session().map(|session| session.counters()).unwrap_or_default();
        let sum = plus(*lock(&self.before), now);
        gst::Structure::builder("p2sam-stats")
            .field("frames", self.frames.load(Ordering::Relaxed))
            .field("offered", sum.offered)
            .field("replaced", sum.replaced)
            .field("results", sum.results)
            .field("faults", sum.faults)
            .field("qos-events", self.qos_events.load(Ordering::Relaxed))
            .build()
    }

    /// A frame's time, counted from the start: its running time, or a guess.
    fn time_of(&self, pts: Option<gst::ClockTime>) -> Duration {
        let segment = self.obj().segment();
        let running = pts.and_then(|pts| {
            segment
                .downcast_ref::<gst::ClockTime>()
                .and_then(|s| s.to_running_time(pts))
                .or(Some(pts))
        });
        let mut stream = lock(&self.stream);
        let step = stream.frame_time.unwrap_or(USUAL_FRAME_TIME);
        let time = match (running, stream.last) {
            (Some(time), _) => Duration::from_nanos(time.nseconds()),
            (None, Some(last)) => last.saturating_add(step),
            (None, None) => Duration::ZERO,
        };
        stream.last = Some(time);
        time
    }

    /// Draws on one frame.
    pub(super) fn draw(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<(), ImageError> {
        self.frames.fetch_add(1, Ordering::Relaxed);
        let flags = frame.buffer().flags();
        let gap = flags.contains(gst::BufferFlags::GAP);
        // A source that begins anew, if it is not the very start.
        let discont = flags.contains(gst::BufferFlags::DISCONT);
        let pts = self.time_of(frame.buffer().pts());
        let (arrived, color) = {
            let mut stream = lock(&self.stream);
            (stream.arrived.take(), stream.color)
        };
        let info = frame.info();
        let layout = match info.format() {
            gst_video::VideoFormat::Nv12 => PlaneLayout::Nv12,
            _ => PlaneLayout::I420,
        };
        let (width, height) = (info.width(), info.height());
        let color = color.unwrap_or_else(|| Color::usual(height));
        let stride = |plane: usize| {
            let stride = frame.plane_stride().get(plane).copied().unwrap_or(0);
            usize::try_from(stride).unwrap_or(0)
        };
        let strides =
            [stride(0), stride(1), if layout == PlaneLayout::I420 { stride(2) } else { 0 }];
        let info = PlanesInfo { layout, width, height, color, strides };
        let [y, cb, cr, _] = frame.planes_data_mut();
        let mut planes = PlanesMut::new(info, [y, cb, cr])?;

        if gap || discont {
            // What was shown belongs to pictures from before.
            if let Some(session) = self.session() {
                session.clear();
            }
        }
        if gap && flags.contains(gst::BufferFlags::DROPPABLE) {
            // A hitch: the last picture again, for the masks that were on it.
            return Ok(());
        }
        if gap {
            let notice = lock(&self.notice).clone();
            if !notice.is_empty() {
                draw_notice(&mut planes, &notice);
            }
            return Ok(());
        }
        let Some(session) = self.session() else { return Ok(()) };
        let (number, shown) = session.pass(pts, &planes.as_planes());
        let settings = lock(&self.settings).clone();
        for s in &shown {
            if let Some(patch) = &s.patch {
                draw_patch(&mut planes, patch, &settings.style_of(s.object), s.opacity);
            }
        }
        if settings.mark {
            draw_mark(&mut planes, &shown, |object| settings.color_of(object));
        }
        let hook = lock(&self.on_shown).clone();
        if let Some(hook) = hook {
            let added_delay = arrived.map(|at| at.elapsed()).unwrap_or_default();
            let source_number = frame.buffer().offset();
            let source_number = (source_number != u64::MAX).then_some(source_number);
            hook(&ShownFrame { number, source_number, pts, shown: &shown, added_delay });
        }
        Ok(())
    }
}

fn plus(a: Counters, b: Counters) -> Counters {
    Counters {
        offered: a.offered + b.offered,
        replaced: a.replaced + b.replaced,
        results: a.results + b.results,
        faults: a.faults + b.faults,
    }
}

/// Reads a picture and its mask; the error says what to do.
pub(super) fn open_files(picture: &str, mask: &str) -> Result<(Frame, Annotation), String> {
    if picture.is_empty() || mask.is_empty() {
        return Err("an object needs a picture file and a mask file; give both".to_owned());
    }
    let frame = Frame::open(Path::new(picture)).map_err(|e| format!("{e}; check the path"))?;
    let annotation = Annotation::open(Path::new(mask), Foreground::default())
        .map_err(|e| format!("{e}; check the path"))?;
    let (size, own) = ([frame.width(), frame.height()], [annotation.width(), annotation.height()]);
    if size != own {
        return Err(format!(
            "the mask {mask} has {} x {} pixels, the picture {picture} {} x {}; take the mask of \
             this picture",
            own[0], own[1], size[0], size[1]
        ));
    }
    Ok((frame, annotation))
}
