//! What the overlay adds to the way of a picture: `cargo bench --bench overlay -- [SECONDS]`. A
//! source of 1080p at 50 frames a second, live, beside a made model that keeps every core busy;
//! then the cost of drawing alone.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use p2sam::live::{
    DisplaySettings, Event, LivePicture, LiveResult, MakeSegmenter, ObjectId, ObjectResult,
    Segmenter, SegmenterError, Session, State, give_way,
};
use p2sam::{
    Annotation, Color, Frame, Mask, MaskPatch, OverlayStyle, P2samOverlay, PlaneLayout, PlanesInfo,
    PlanesMut, draw_patch,
};

const WIDTH: u32 = 1920;
const HEIGHT: u32 = 1080;

/// Computes nothing on all cores for its time, and finds a disc of 600 pixels.
struct Busy {
    mask: Arc<Mask>,
    step: Duration,
}

fn spin(until: Instant) {
    let mut x = 1.0001f64;
    while Instant::now() < until {
        for _ in 0..2000 {
            x = std::hint::black_box(x * 1.000_000_1);
        }
    }
}

impl Segmenter for Busy {
    fn step(
        &mut self,
        picture: &LivePicture,
        _: &dyn Fn(ObjectId) -> Option<Mask>,
    ) -> Result<LiveResult, SegmenterError> {
        let until = Instant::now() + self.step;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for _ in 1..cores {
                scope.spawn(move || {
                    give_way();
                    spin(until);
                });
            }
            spin(until);
        });
        let found = ObjectResult {
            object: 1,
            state: State::Tracking,
            mask: Some(Arc::clone(&self.mask)),
            distance: Some(0.0),
            probability: None,
            object_score: None,
            predicted_iou: 1.0,
            stability: 1.0,
        };
        let (number, pts) = (picture.number, picture.pts);
        Ok(LiveResult { number, pts, objects: vec![found], times: Default::default() })
    }

    fn add(&mut self, _: ObjectId, _: &Frame, _: &Annotation) -> Result<(), SegmenterError> {
        Ok(())
    }

    fn remove(&mut self, _: ObjectId) {}
}

fn disc() -> Mask {
    let on = (0..HEIGHT)
        .flat_map(|y| (0..WIDTH).map(move |x| x.abs_diff(960).pow(2) + y.abs_diff(540).pow(2)))
        .map(|d| d < 300 * 300);
    Mask::new(WIDTH, HEIGHT, on.collect()).expect("sizes agree")
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| {
        let place = ((times.len().max(1) - 1) as f64 * share) as usize;
        times.get(place).map_or(0.0, |t| t.as_secs_f64() * 1e3)
    };
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0))
}

/// Runs a live source through the element; the delay is taken between its two pads.
fn live(format: &str, seconds: u64, step: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let mask = Arc::new(disc());
    let shape = Arc::clone(&mask);
    let make: MakeSegmenter =
        Box::new(move |_| Ok(Box::new(Busy { mask: Arc::clone(&shape), step })));
    let settings = DisplaySettings { age_limit: Duration::from_secs(1), ..Default::default() };
    let session = Arc::new(Session::start(make, settings)?);
    session.subscribe(|event| {
        if let Event::Failed(reason) = event {
            eprintln!("{reason}");
        }
    });
    let picture = Frame::new(WIDTH, HEIGHT, vec![0; (WIDTH * HEIGHT * 3) as usize])?;
    session.add(1, picture, Annotation::from(&*mask));

    let overlay = P2samOverlay::new()?;
    overlay.set_session(Arc::clone(&session));
    let inside: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let times = Arc::clone(&inside);
    overlay.set_on_shown(Some(Arc::new(move |frame| {
        if let Ok(mut times) = times.lock() {
            times.push(frame.added_delay);
        }
    })));
    let between: Arc<Mutex<(Option<Instant>, Vec<Duration>)>> = Arc::default();
    let (came, went) = (Arc::clone(&between), Arc::clone(&between));
    if let Some(pad) = overlay.static_pad("sink") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            came.lock().expect("no panic").0 = Some(Instant::now());
            gst::PadProbeReturn::Ok
        });
    }
    if let Some(pad) = overlay.static_pad("src") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let mut state = went.lock().expect("no panic");
            if let Some(at) = state.0.take() {
                state.1.push(at.elapsed());
            }
            gst::PadProbeReturn::Ok
        });
    }

    let pipeline = gst::Pipeline::new();
    // One picture again and again, so that the source itself costs a copy only.
    let source = gst::parse::bin_from_description(
        &format!(
            "videotestsrc num-buffers=1 pattern=snow ! video/x-raw,format={format},width={WIDTH},\
             height={HEIGHT},framerate=50/1 ! imagefreeze is-live=true ! \
             video/x-raw,framerate=50/1 ! identity"
        ),
        true,
    )?;
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).build()?;
    pipeline.add_many([source.upcast_ref(), overlay.upcast_ref(), &sink])?;
    gst::Element::link_many([source.upcast_ref(), overlay.upcast_ref(), &sink])?;
    pipeline.set_state(gst::State::Playing)?;
    std::thread::sleep(Duration::from_secs(seconds));
    pipeline.set_state(gst::State::Null)?;
    let counters = session.counters();
    let take = |times: &Mutex<Vec<Duration>>| times.lock().map(|t| t.clone()).unwrap_or_default();
    let inside = take(&inside);
    println!("{format}, {} frames in {seconds} s, {counters:?}", inside.len());
    println!("  in the element    {}", percentiles(inside));
    let between = between.lock().map(|state| state.1.clone()).unwrap_or_default();
    println!("  between its pads  {}", percentiles(between));
    Ok(())
}

/// One mask of 600 pixels in a picture that lies in memory.
fn drawing(layout: PlaneLayout) -> Result<(), Box<dyn std::error::Error>> {
    let info = PlanesInfo::packed(layout, WIDTH, HEIGHT, Color::usual(HEIGHT));
    let mut planes = layout.plane_sizes(WIDTH, HEIGHT).map(|(row, rows)| vec![128u8; row * rows]);
    let [y, cb, cr] = &mut planes;
    let mut canvas = PlanesMut::new(info, [y, cb, cr])?;
    let patch = MaskPatch::of(&disc()).ok_or("empty")?;
    let mut times = Vec::new();
    for _ in 0..500 {
        let start = Instant::now();
        draw_patch(&mut canvas, &patch, &OverlayStyle::default(), 0.9);
        times.push(start.elapsed());
    }
    println!("draw_patch, {layout:?}, 600 x 600: {}", percentiles(times));
    let mut frame = canvas.as_planes().to_frame();
    let mut times = Vec::new();
    for _ in 0..30 {
        let start = Instant::now();
        canvas.as_planes().convert_into(&mut frame);
        times.push(start.elapsed());
    }
    println!("to RGB, {layout:?}: {}", percentiles(times));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(20);
    for layout in [PlaneLayout::I420, PlaneLayout::Nv12] {
        drawing(layout)?;
    }
    for format in ["I420", "NV12"] {
        live(format, seconds, Duration::from_millis(400))?;
    }
    Ok(())
}
