//! What the operator's page can see and do of a live run.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use p2sam::live::{Event, MAX_OBJECTS, ObjectId, Session, SharedModel, Statistics, object_color};
use p2sam::stream::live::{Hooks, LiveEvent, LiveStream, RecordOptions, SourceState};
use p2sam::web::{self, Frozen, LatencyPoint, Operator, PagePrompt, Preview, Proposal, Status};
use p2sam::{
    Annotation, Embedding, Foreground, Frame, Mask, OverlayStyle, PointPrompt, Profile, Sam,
    check_annotation, draw_patch,
};

/// Events that are remembered.
const EVENTS: usize = 50;
/// How long the page's calls wait for a picture.
const PICTURE_WAIT: Duration = Duration::from_secs(2);
/// How long the page's calls wait for the model's word on a new object.
const ANSWER_WAIT: Duration = Duration::from_secs(50);

/// A live run as its operator's page sees it.
pub struct Console {
    session: Arc<Session>,
    statistics: Arc<Statistics>,
    model: Arc<SharedModel>,
    record: Option<RecordOptions>,
    stream: Mutex<Weak<LiveStream>>,
    preview: Preview,
    previewing: AtomicBool,
    next_frozen: AtomicU64,
    state: Mutex<State>,
    answers: (crossbeam_channel::Sender<Answer>, crossbeam_channel::Receiver<Answer>),
}

#[derive(Default)]
struct State {
    source: web::SourceState,
    size: (u32, u32),
    model: web::ModelState,
    events: VecDeque<web::Event>,
    held: Option<Held>,
    recording_since: Option<Instant>,
}

/// The picture that the operator annotates.
struct Held {
    id: u64,
    frame: Arc<Frame>,
    embedding: Option<Arc<Embedding>>,
    proposal: Option<Mask>,
}

/// The model's word on a new object.
type Answer = (ObjectId, Result<(), String>);

impl Console {
    pub fn new(
        session: Arc<Session>,
        statistics: Arc<Statistics>,
        model: Arc<SharedModel>,
        record: Option<RecordOptions>,
    ) -> Self {
        Self {
            session,
            statistics,
            model,
            record,
            stream: Mutex::default(),
            preview: Preview::new(),
            previewing: AtomicBool::new(false),
            next_frozen: AtomicU64::new(1),
            state: Mutex::default(),
            answers: crossbeam_channel::bounded(2 * MAX_OBJECTS),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self) -> Option<Arc<LiveStream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The running stream.
    pub fn attach(&self, stream: &Arc<LiveStream>) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(stream);
    }

    /// Lets go of the stream.
    pub fn detach(&self) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Weak::new();
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
                    if matches!(event, LiveEvent::RecordingStopped(_)) {
                        console.lock().recording_since = None;
                    }
                    console.note(event.to_string());
                }
            }),
        }
    }

    fn source(&self, state: &SourceState) {
        {
            let mut inner = self.lock();
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
        }
        self.note(state.to_string());
    }

    /// Tells and remembers an event. Its text holds no path and nothing of a patient.
    fn note(&self, text: String) {
        let seconds = self.statistics.start().elapsed().as_secs_f64();
        eprintln!("{seconds:8.1} s  {text}");
        let mut state = self.lock();
        if state.events.len() == EVENTS {
            state.events.pop_front();
        }
        state.events.push_back(web::Event { seconds, text });
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

    fn model_event(&self, event: &Event) {
        let answer = |object, result| {
            // Nobody may be waiting.
            let _ = self.answers.0.try_send((object, result));
        };
        match event {
            Event::Ready => {
                self.lock().model = web::ModelState::Ready;
                self.note("the model is loaded".to_owned());
            }
            Event::Result(result) => {
                self.statistics.result(result);
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

    /// Starts recording.
    ///
    /// # Errors
    /// In words.
    pub fn start_recording(&self) -> Result<(), String> {
        let options = self.record.clone().ok_or("start p2sam with --record-to to record")?;
        let stream = self.stream().ok_or("the run is ending")?;
        stream.start_recording(options).map_err(|e| e.to_string())?;
        self.lock().recording_since = Some(Instant::now());
        Ok(())
    }

    fn held<T>(
        &self,
        id: u64,
        read: impl FnOnce(&mut Held) -> Result<T, String>,
    ) -> Result<T, String> {
        match self.lock().held.as_mut().filter(|held| held.id == id) {
            Some(held) => read(held),
            None => Err("this picture is no longer held; freeze again".to_owned()),
        }
    }

    /// The held picture's embedding: the first prompt pays for it.
    fn embedding(&self, id: u64, sam: &Sam) -> Result<Arc<Embedding>, String> {
        let (frame, known) =
            self.held(id, |held| Ok((Arc::clone(&held.frame), held.embedding.clone())))?;
        if let Some(known) = known {
            return Ok(known);
        }
        let made = Arc::new(sam.encode(&frame).map_err(|e| e.to_string())?);
        self.held(id, |held| {
            held.embedding = Some(Arc::clone(&made));
            Ok(())
        })?;
        Ok(made)
    }

    /// Hands an object to the model and waits for its word.
    fn follow(
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

impl Operator for Console {
    fn status(&self) -> Status {
        let stats = self.stream().map(|stream| stream.stats()).unwrap_or_default();
        let summary = self.statistics.summary();
        let counters = self.session.counters();
        let settings = self.model.settings();
        let state = self.lock();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let count = |name, help, value| web::Counter { name, help, value };
        Status {
            source: web::SourceStatus {
                state: state.source,
                width: state.size.0 as usize,
                height: state.size.1 as usize,
                fps: self.statistics.frame_rate(),
                age_ms: self.statistics.since_frame().map(ms),
            },
            model: web::ModelStatus {
                state: state.model,
                device: self.model.sam().map(|sam| sam.device().to_string()).unwrap_or_default(),
                results_per_second: self.statistics.result_rate(),
            },
            profile: settings.profile,
            profiles: Profile::ALL.iter().map(|p| p.name().to_owned()).collect(),
            objects: self
                .statistics
                .objects()
                .into_iter()
                .map(|(id, now)| web::ObjectStatus {
                    id,
                    state: now.result.as_ref().map(|r| r.state).unwrap_or_default(),
                    age_ms: now.age.map(ms),
                    distance: now.result.as_ref().map(|r| r.distance),
                    limit: now.result.as_ref().and_then(|r| r.limit),
                    predicted_iou: now.result.as_ref().map(|r| r.predicted_iou),
                    color: object_color(id),
                })
                .collect(),
            recording: web::RecordingStatus {
                available: self.record.is_some(),
                on: stats.recording,
                seconds: state.recording_since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
                dropped: stats.record.dropped,
            },
            delay_ms_p50: (summary.frames > 0).then(|| summary.added_delay.at(0.5)),
            delay_ms_p99: (summary.frames > 0).then(|| summary.added_delay.at(0.99)),
            disk_free_bytes: self.record.as_ref().and_then(|r| r.free_bytes()),
            counters: vec![
                count("frames_in", "Frames that the source delivered.", stats.frames_in),
                count("frames_shown", "Frames that left the overlay.", stats.frames_shown),
                count("frames_dropped", "Frames replaced by newer ones.", stats.frames_dropped),
                count("frames_marked", "Frames with a mask drawn.", summary.frames_marked),
                count("source_rebuilds", "Times the source was opened anew.", stats.rebuilds),
                count("source_warnings", "Warnings of the source.", stats.source_warnings),
                count("sink_drops", "Frames that sinks were too slow for.", stats.sink_drops),
                count("results", "Results of the model.", counters.results),
                count(
                    "replaced",
                    "Pictures replaced before the model was free.",
                    counters.replaced,
                ),
                count("model_faults", "Faults of the model.", counters.faults),
                count("record_frames", "Frames recorded.", stats.record.frames),
                count(
                    "record_dropped",
                    "Frames that the disk was too slow for.",
                    stats.record.dropped,
                ),
            ],
            events: state.events.iter().cloned().collect(),
        }
    }

    fn latency(&self) -> Vec<LatencyPoint> {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let point = |p: p2sam::live::ResultPoint| LatencyPoint {
            seconds_ago: p.at.elapsed().as_secs_f64(),
            result_ms: ms(p.took),
            mask_age_ms: p.oldest_shown.map(ms),
        };
        self.statistics.results().into_iter().map(point).collect()
    }

    fn preview(&self) -> &Preview {
        &self.preview
    }

    fn freeze(&self) -> Result<Frozen, String> {
        let (frame, _) = self.session.capture(PICTURE_WAIT).ok_or("there is no picture now")?;
        let id = self.next_frozen.fetch_add(1, Ordering::Relaxed);
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let jpeg = encoded(&frame, image::ImageFormat::Jpeg)?;
        let frame = Arc::new(frame);
        self.lock().held = Some(Held { id, frame, embedding: None, proposal: None });
        Ok(Frozen { id, width, height, jpeg })
    }

    fn segment(&self, frozen: u64, prompt: &PagePrompt) -> Result<Proposal, String> {
        let sam = self.model.sam().ok_or("the model is being loaded; try again in a moment")?;
        let (width, height) =
            self.held(frozen, |held| Ok((held.frame.width(), held.frame.height())))?;
        let inside = |x: f32, y: f32| {
            (0.0..=width as f32).contains(&x) && (0.0..=height as f32).contains(&y)
        };
        let corners = prompt.rect.iter().flat_map(|b| [(b[0], b[1]), (b[2], b[3])]);
        if !prompt.points.iter().map(|p| (p.x, p.y)).chain(corners).all(|(x, y)| inside(x, y)) {
            return Err("a point or the box lies outside of the picture".to_owned());
        }
        let embedding = self.embedding(frozen, &sam)?;
        let points: Vec<PointPrompt> = prompt
            .points
            .iter()
            .map(|p| PointPrompt { x: p.x, y: p.y, positive: p.positive })
            .collect();
        let (mask, predicted_iou) =
            sam.segment(&embedding, &points, prompt.rect).map_err(|e| e.to_string())?;
        if mask.area() == 0 {
            return Err("the model sees no object there; mark more points, or a box".to_owned());
        }
        let grey: Vec<u8> = mask.data().iter().map(|&on| u8::from(on) * 255).collect();
        let grey = image::GrayImage::from_raw(width, height, grey).ok_or("the mask has no size")?;
        let mut mask_png = Cursor::new(Vec::new());
        grey.write_to(&mut mask_png, image::ImageFormat::Png).map_err(|e| e.to_string())?;
        let area = mask.area();
        self.held(frozen, |held| {
            held.proposal = Some(mask);
            Ok(())
        })?;
        Ok(Proposal { mask_png: mask_png.into_inner(), predicted_iou, area })
    }

    fn accept(&self, frozen: u64, object: Option<ObjectId>) -> Result<ObjectId, String> {
        let (frame, mask) = self.held(frozen, |held| {
            let mask = held.proposal.clone().ok_or("mark the object first")?;
            Ok((Arc::clone(&held.frame), mask))
        })?;
        self.follow(&frame, Annotation::from(&mask), object)
    }

    fn upload(
        &self,
        frozen: u64,
        mask_png: &[u8],
        object: Option<ObjectId>,
    ) -> Result<ObjectId, String> {
        let frame = self.held(frozen, |held| Ok(Arc::clone(&held.frame)))?;
        let size = (frame.width(), frame.height());
        let annotation = Annotation::from_png(mask_png, size, Foreground::default())
            .map_err(|e| e.to_string())?;
        self.follow(&frame, annotation, object)
    }

    fn remove(&self, object: ObjectId) -> Result<(), String> {
        if !self.statistics.objects().contains_key(&object) {
            return Err(format!("there is no object {object}"));
        }
        self.session.remove(object);
        self.statistics.removed(object);
        Ok(())
    }

    fn set_profile(&self, name: &str) -> Result<(), String> {
        let profile: Profile = name.parse().map_err(|e: p2sam::MethodError| e.to_string())?;
        let mut settings = self.model.settings();
        if settings.profile == profile.name() {
            return Ok(());
        }
        settings.profile = profile.name().to_owned();
        // A size that was asked for belongs to the profile it was asked for with.
        settings.input_side = None;
        self.model.set(settings);
        self.lock().model = web::ModelState::Loading;
        self.lock().held = None;
        self.session.renew();
        self.note(format!("profile {}", profile.name()));
        Ok(())
    }

    fn record(&self, on: bool) -> Result<(), String> {
        if on {
            return self.start_recording();
        }
        let stream = self.stream().ok_or("the run is ending")?;
        stream.stop_recording();
        self.lock().recording_since = None;
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<u8>, String> {
        let (mut frame, shown) =
            self.session.capture(PICTURE_WAIT).ok_or("there is no picture now")?;
        for s in &shown {
            if let Some(patch) = &s.patch {
                let style =
                    OverlayStyle { color: object_color(s.object), ..OverlayStyle::default() };
                draw_patch(&mut frame, patch, &style, s.opacity);
            }
        }
        encoded(&frame, image::ImageFormat::Png)
    }
}

fn encoded(frame: &Frame, format: image::ImageFormat) -> Result<Vec<u8>, String> {
    let rgb = image::RgbImage::from_raw(frame.width(), frame.height(), frame.rgb().to_vec());
    let mut bytes = Cursor::new(Vec::new());
    rgb.ok_or("the picture has no size")?
        .write_to(&mut bytes, format)
        .map_err(|e| e.to_string())?;
    Ok(bytes.into_inner())
}
