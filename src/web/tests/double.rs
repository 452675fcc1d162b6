//! A live run without camera or model: a disc that circles in a made picture. Also used by
//! `examples/web_page.rs`.

use std::f32::consts::TAU;
use std::io::Cursor;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use super::{
    Counter, Event, Frozen, LatencyPoint, MAX_OBJECTS, ModelState, ModelStatus, ObjectId,
    ObjectStatus, Operator, PagePrompt, Preview, Proposal, RecordingStatus, SourceState,
    SourceStatus, State, Status,
};

pub const WIDTH: u32 = 640;
pub const HEIGHT: u32 = 360;
const RADIUS: f32 = 46.0;
const COLORS: [[u8; 3]; 4] = [[79, 209, 165], [242, 185, 75], [108, 184, 255], [230, 120, 220]];

type Point = (f32, f32);

/// The made run.
pub struct Double {
    preview: Preview,
    started: Instant,
    /// Pictures do not move and the source says that it has stalled.
    pub stalled: AtomicBool,
    /// How long a segmentation takes.
    pub delay: Duration,
    pictures: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Number, where the disc was, and the newest proposal.
    frozen: Option<(u64, Point, Option<GrayImage>)>,
    count: u64,
    objects: Vec<ObjectId>,
    profile: usize,
    recording: Option<Instant>,
    events: Vec<Event>,
}

const PROFILES: [&str; 3] = ["paper", "video", "live"];

impl Double {
    pub fn new(delay: Duration) -> Arc<Self> {
        Arc::new(Self {
            preview: Preview::new(),
            started: Instant::now(),
            stalled: AtomicBool::new(false),
            delay,
            pictures: AtomicU64::new(0),
            held: Mutex::default(),
        })
    }

    /// Publishes pictures until `stop`, each padded to at least `bytes`.
    pub fn play(
        self: &Arc<Self>,
        fps: f64,
        bytes: usize,
        stop: &Arc<AtomicBool>,
    ) -> JoinHandle<()> {
        let (double, stop) = (Arc::clone(self), Arc::clone(stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if double.preview.watchers() > 0 && !double.stalled.load(Ordering::Relaxed) {
                    let mut jpeg = encode(&double.picture(true));
                    jpeg.resize(jpeg.len().max(bytes), 0);
                    double.preview.publish(&jpeg);
                    double.pictures.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_secs_f64(1.0 / fps));
            }
        })
    }

    /// How many pictures were made.
    pub fn pictures(&self) -> u64 {
        self.pictures.load(Ordering::Relaxed)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disc(&self) -> Point {
        let turn = TAU * self.started.elapsed().as_secs_f32() / 12.0;
        (320.0 + 190.0 * turn.cos(), 180.0 + 90.0 * turn.sin())
    }

    fn tell(&self, text: impl Into<String>) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.held().events.push(Event { seconds, text: text.into() });
    }

    fn picture(&self, overlay: bool) -> RgbImage {
        let objects = self.held().objects.clone();
        let disc = self.disc();
        RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
            let (fx, fy) = (x as f32, y as f32);
            let from = (fx - disc.0).hypot(fy - disc.1);
            if overlay
                && let Some(place) = objects
                    .iter()
                    .position(|id| (from - RADIUS - 4.0 - 6.0 * (f32::from(*id) - 1.0)).abs() < 2.5)
            {
                return Rgb(COLORS[usize::from(objects[place] - 1) % COLORS.len()]);
            }
            let fold = 14.0 * ((fx / 37.0).sin() + (fy / 29.0 + fx / 90.0).cos());
            let light = 1.0 - ((fx - 320.0).hypot(fy - 180.0) / 520.0);
            let base = if from < RADIUS { [226.0, 128.0, 112.0] } else { [168.0, 74.0, 62.0] };
            Rgb(base.map(|level: f32| ((level + fold) * light).clamp(0.0, 255.0) as u8))
        })
    }

    fn follow(&self, object: Option<ObjectId>) -> Result<ObjectId, String> {
        let id = {
            let mut held = self.held();
            let free = (1..=MAX_OBJECTS as ObjectId).find(|id| !held.objects.contains(id));
            let id = object.or(free).ok_or("all numbers are taken: replace or remove an object")?;
            if !held.objects.contains(&id) {
                held.objects.push(id);
                held.objects.sort_unstable();
            }
            held.frozen = None;
            id
        };
        self.tell(format!("object {id} is followed"));
        Ok(id)
    }
}

fn encode(picture: &RgbImage) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Jpeg).unwrap();
    file.into_inner()
}

impl Operator for Double {
    fn status(&self) -> Status {
        let seconds = self.started.elapsed().as_secs_f64();
        let stalled = self.stalled.load(Ordering::Relaxed);
        let held = self.held();
        let object = |id: &ObjectId| ObjectStatus {
            id: *id,
            state: if seconds % 20.0 < 17.0 { State::Tracking } else { State::Uncertain },
            age_ms: Some(60.0 + 40.0 * (seconds * 3.0).sin()),
            seen_ms: Some(400.0),
            distance: Some(0.11),
            probability: Some(0.97),
            predicted_iou: Some(0.93),
            color: COLORS[usize::from(*id - 1) % COLORS.len()],
            suspended: None,
        };
        Status {
            source: SourceStatus {
                state: if stalled { SourceState::Stalled } else { SourceState::Running },
                width: WIDTH as usize,
                height: HEIGHT as usize,
                fps: 25.0,
                age_ms: Some(if stalled { 4000.0 } else { 20.0 }),
            },
            model: ModelStatus {
                state: ModelState::Ready,
                device: "CPU".to_owned(),
                results_per_second: 9.7,
            },
            profile: PROFILES[held.profile].to_owned(),
            profiles: PROFILES.map(str::to_owned).to_vec(),
            objects: held.objects.iter().map(object).collect(),
            recording: RecordingStatus {
                available: true,
                on: held.recording.is_some(),
                seconds: held.recording.map_or(0.0, |since| since.elapsed().as_secs_f64()),
                ..RecordingStatus::default()
            },
            delay_ms_p50: Some(0.42),
            delay_ms_p99: Some(1.9),
            disk_free_bytes: Some(61_200_000_000),
            counters: vec![Counter {
                name: "pictures",
                help: "Pictures made for the page.",
                value: self.pictures(),
            }],
            events: held.events.clone(),
        }
    }

    fn latency(&self) -> Vec<LatencyPoint> {
        let seconds = self.started.elapsed().as_secs_f64();
        let point = |n: u32| {
            let seconds_ago = 60.0 - f64::from(n) / 5.0;
            let at = seconds - seconds_ago;
            LatencyPoint {
                seconds_ago,
                result_ms: 92.0 + 12.0 * (at * 1.7).sin(),
                mask_age_ms: (at % 25.0 > 4.0).then(|| 70.0 + 30.0 * (at * 0.9).cos()),
            }
        };
        (0..300).map(point).filter(|point| point.seconds_ago < seconds).collect()
    }

    fn preview(&self) -> &Preview {
        &self.preview
    }

    fn freeze(&self) -> Result<Frozen, String> {
        let jpeg = encode(&self.picture(false));
        let disc = self.disc();
        let mut held = self.held();
        held.count += 1;
        held.frozen = Some((held.count, disc, None));
        Ok(Frozen { id: held.count, width: WIDTH as usize, height: HEIGHT as usize, jpeg })
    }

    fn segment(&self, frozen: u64, prompt: &PagePrompt) -> Result<Proposal, String> {
        std::thread::sleep(self.delay);
        let mut held = self.held();
        let (_, disc, newest) = held
            .frozen
            .as_mut()
            .filter(|(id, ..)| *id == frozen)
            .ok_or("that picture is no longer held: freeze again")?;
        let within = |x: f32, y: f32, of: Point, radius: f32| (x - of.0).hypot(y - of.1) < radius;
        // What is meant: the disc where a point or the box touches it, else what is around it.
        let (mut centers, box_center) =
            (Vec::new(), prompt.rect.map(|[l, t, r, b]| ((l + r) / 2.0, (t + b) / 2.0)));
        let positive = prompt.points.iter().filter(|point| point.positive);
        for at in positive.map(|point| (point.x, point.y)).chain(box_center) {
            let on_disc = within(at.0, at.1, *disc, RADIUS);
            centers.push(if on_disc { (*disc, RADIUS) } else { (at, 30.0) });
        }
        let mask = GrayImage::from_fn(WIDTH, HEIGHT, |x, y| {
            let (x, y) = (x as f32, y as f32);
            let inside = centers.iter().any(|(center, radius)| within(x, y, *center, *radius));
            let mut negative = prompt.points.iter().filter(|point| !point.positive);
            let outside = negative.any(|point| within(x, y, (point.x, point.y), 20.0));
            Luma([if inside && !outside { 255 } else { 0 }])
        });
        let area = mask.pixels().filter(|pixel| pixel.0[0] > 0).count();
        let mut file = Cursor::new(Vec::new());
        mask.write_to(&mut file, ImageFormat::Png).map_err(|error| error.to_string())?;
        *newest = Some(mask);
        Ok(Proposal { mask_png: file.into_inner(), predicted_iou: 0.93, area })
    }

    fn accept(&self, frozen: u64, object: Option<ObjectId>) -> Result<ObjectId, String> {
        let proposed = matches!(&self.held().frozen, Some((id, _, Some(_))) if *id == frozen);
        if !proposed {
            return Err("there is no proposal for that picture: mark the object first".to_owned());
        }
        self.follow(object)
    }

    fn upload(
        &self,
        _frozen: u64,
        mask_png: &[u8],
        object: Option<ObjectId>,
    ) -> Result<ObjectId, String> {
        let mask = image::load_from_memory_with_format(mask_png, ImageFormat::Png)
            .map_err(|_| "the file is no PNG picture")?;
        if (mask.width(), mask.height()) != (WIDTH, HEIGHT) {
            return Err(format!("the mask is to have {WIDTH} x {HEIGHT} pixels"));
        }
        self.follow(object)
    }

    fn remove(&self, object: ObjectId) -> Result<(), String> {
        let mut held = self.held();
        let count = held.objects.len();
        held.objects.retain(|id| *id != object);
        let removed = held.objects.len() < count;
        drop(held);
        if !removed {
            return Err(format!("there is no object {object}"));
        }
        self.tell(format!("object {object} removed"));
        Ok(())
    }

    fn set_profile(&self, name: &str) -> Result<(), String> {
        let place = PROFILES.iter().position(|profile| *profile == name);
        self.held().profile = place.ok_or("there is no profile of that name")?;
        self.tell(format!("profile {name}"));
        Ok(())
    }

    fn record(&self, on: bool) -> Result<(), String> {
        self.held().recording = on.then(Instant::now);
        self.tell(if on { "recording" } else { "recording stopped" });
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<u8>, String> {
        Ok(encode(&self.picture(true)))
    }
}
