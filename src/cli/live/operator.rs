//! What the operator's page asks of the [`Console`].

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use p2sam::live::{ObjectId, object_color};
use p2sam::web::{self, Frozen, LatencyPoint, Operator, PagePrompt, Preview, Proposal, Status};
use p2sam::{Annotation, Foreground, Frame, OverlayStyle, PointPrompt, Profile, draw_patch};

use super::console::{Console, Held};

/// How long the page's calls wait for a picture.
const PICTURE_WAIT: Duration = Duration::from_secs(2);

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
                    state: now.state,
                    age_ms: now.age.map(ms),
                    seen_ms: now.result_age.map(ms),
                    distance: now.result.as_ref().and_then(|r| r.distance),
                    probability: now.result.as_ref().and_then(|r| r.probability),
                    predicted_iou: now.result.as_ref().map(|r| r.predicted_iou),
                    color: object_color(id),
                    suspended: now.suspended,
                })
                .collect(),
            recording: web::RecordingStatus {
                available: self.record.is_some(),
                on: stats.recording,
                seconds: state.recording_since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
                dropped: stats.record.dropped,
                lines_dropped: stats.record.lines_dropped,
                problem: stats.record.problem.filter(|_| stats.recording),
            },
            delay_ms_p50: (summary.frames > 0).then(|| summary.added_delay.at(0.5)),
            delay_ms_p99: (summary.frames > 0).then(|| summary.added_delay.at(0.99)),
            disk_free_bytes: self.disk_free(),
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
                count("record_lines", "Lines of results recorded.", stats.record.lines),
                count("record_frames", "Frames recorded.", stats.record.frames),
                count("record_dropped", "Frames that were not recorded.", stats.record.dropped),
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
        self.hold(Held { id, frame, embedding: None, proposal: None });
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
        self.lock().told_slow = false;
        self.session.renew();
        self.note(format!("profile {}", profile.name()));
        Ok(())
    }

    fn record(&self, on: bool) -> Result<(), String> {
        if on {
            return self.start_recording(false);
        }
        let stream = self.running()?;
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
