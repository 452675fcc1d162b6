//! The element in a harness, with a made model: red pixels are the object.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;

use gstreamer_check::Harness;

use super::*;
use crate::image::{Annotation, Color, ColorMatrix, ColorRange, Frame, Mask, Yuv420};
use crate::live::*;

const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Red pixels are the object, after `wait` let the step pass.
fn red(wait: impl Fn() + Send + Sync + 'static) -> MakeSegmenter {
    let wait: Arc<dyn Fn() + Send + Sync> = Arc::new(wait);
    Box::new(move |_| Ok(Box::new(Red { wait: Arc::clone(&wait), objects: Vec::new() })))
}

struct Red {
    wait: Arc<dyn Fn() + Send + Sync>,
    objects: Vec<ObjectId>,
}

impl Segmenter for Red {
    fn step(
        &mut self,
        picture: &LivePicture,
        _: &dyn Fn(ObjectId) -> Option<Mask>,
    ) -> Result<LiveResult, SegmenterError> {
        (self.wait)();
        let frame = &picture.frame;
        let red = frame.rgb().chunks_exact(3).map(|p| p[0] > 150 && p[1] < 100 && p[2] < 100);
        let mask = Mask::new(frame.width(), frame.height(), red.collect());
        let mask = Arc::new(mask.unwrap());
        let found = |&object: &ObjectId| ObjectResult {
            object,
            state: State::Tracking,
            mask: Some(Arc::clone(&mask)),
            distance: Some(0.0),
            probability: Some(0.9),
            object_score: None,
            predicted_iou: 1.0,
            stability: 1.0,
        };
        let objects = self.objects.iter().map(found).collect();
        let (number, pts) = (picture.number, picture.pts);
        Ok(LiveResult { number, pts, objects, times: Default::default() })
    }

    fn add(&mut self, object: ObjectId, _: &Frame, _: &Annotation) -> Result<(), SegmenterError> {
        self.objects.push(object);
        Ok(())
    }

    fn remove(&mut self, object: ObjectId) {
        self.objects.retain(|o| *o != object);
    }
}

/// Grey with a red box in it.
fn picture(width: u32, height: u32) -> (Frame, Mask) {
    let on = (0..height).flat_map(|y| {
        (0..width).map(move |x| {
            (width / 4..width / 2).contains(&x) && (height / 3..height / 2).contains(&y)
        })
    });
    let mask = Mask::new(width, height, on.collect()).unwrap();
    let rgb = mask.data().iter().flat_map(|&on| if on { [220, 30, 30] } else { [90; 3] });
    (Frame::new(width, height, rgb.collect()).unwrap(), mask)
}

/// The element in a harness with a bus, and a session with one object if a model is given.
struct Rig {
    harness: Harness,
    element: P2samOverlay,
    bus: gst::Bus,
}

fn rig(make: Option<MakeSegmenter>, size: (u32, u32)) -> Rig {
    let element = P2samOverlay::new().unwrap();
    element.set_property("mark", false);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    if let Some(make) = make {
        let session = Session::start(make, DisplaySettings::default()).unwrap();
        let (frame, mask) = picture(size.0, size.1);
        session.add(1, frame, Annotation::from(&mask));
        element.set_session(Arc::new(session));
    }
    let harness = Harness::with_element(&element, Some("sink"), Some("src"));
    let mut rig = Rig { harness, element, bus };
    rig.caps(size);
    rig
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Messages hold the element, and the element holds the bus.
        self.bus.set_flushing(true);
    }
}

impl Rig {
    fn caps(&mut self, (width, height): (u32, u32)) {
        let caps = format!("video/x-raw,format=I420,width={width},height={height},framerate=25/1");
        self.harness.set_src_caps_str(&caps);
    }

    /// Pushes a picture and takes what comes out.
    fn pass(&mut self, (width, height): (u32, u32), pts: Option<u64>) -> gst::Buffer {
        let buffer = buffer(width, height, pts);
        assert_eq!(self.harness.push(buffer), Ok(gst::FlowSuccess::Ok));
        self.harness.try_pull().expect("each frame comes out at once")
    }

    /// Waits for a message of that name, and kind in the case of events.
    fn message(&self, name: &str, kind: &str) -> gst::Structure {
        loop {
            let message = self.bus.timed_pop(PATIENCE).expect("a message");
            if let gst::MessageView::Element(e) = message.view()
                && let Some(s) = e.structure()
                && s.name() == name
                && (kind.is_empty() || s.get::<&str>("kind") == Ok(kind))
            {
                return s.to_owned();
            }
        }
    }
}

fn bytes(width: u32, height: u32) -> Vec<u8> {
    let yuv = Yuv420::from_frame(&picture(width, height).0);
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height);
    let info = info.build().unwrap();
    let mut bytes = vec![0; info.size()];
    let rows = [height, yuv.chroma_height(), yuv.chroma_height()];
    let widths = [width, yuv.chroma_width(), yuv.chroma_width()];
    for (plane, data) in yuv.planes().into_iter().enumerate() {
        for y in 0..rows[plane] as usize {
            let to = info.offset()[plane] + y * info.stride()[plane] as usize;
            let row = &data[y * widths[plane] as usize..][..widths[plane] as usize];
            bytes[to..to + row.len()].copy_from_slice(row);
        }
    }
    bytes
}

fn buffer(width: u32, height: u32, pts: Option<u64>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(bytes(width, height));
    buffer.get_mut().unwrap().set_pts(pts.map(gst::ClockTime::from_mseconds));
    buffer
}

fn content(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().unwrap().to_vec()
}

#[test]
fn a_model_that_never_answers_delays_no_frame() {
    let (stay, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let mut rig = rig(Some(red(move || _ = gate.lock().unwrap().recv())), (64, 48));
    rig.message("p2sam-event", "object-added");
    for i in 0..300 {
        let out = rig.pass((64, 48), Some(i * 20));
        assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(i * 20)));
        assert_eq!(content(&out), bytes(64, 48), "nothing is known, so nothing is drawn");
    }
    let stats: gst::Structure = rig.element.property("stats");
    assert_eq!(stats.get::<u64>("frames"), Ok(300));
    // One is with the model, one waits.
    assert!(stats.get::<u64>("replaced").unwrap() >= 298);
    drop(stay);
}

#[test]
fn masks_are_drawn_and_told_and_nothing_else_changes() {
    for size in [(64, 48), (47, 33)] {
        let mut rig = rig(Some(red(|| ())), size);
        let told = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&told);
        rig.element.connect("result", false, move |values| {
            let s = values[1].get::<gst::Structure>().unwrap();
            count.fetch_add(s.get::<gst::List>("objects").unwrap().len() as u32, Ordering::SeqCst);
            None
        });
        rig.message("p2sam-event", "object-added");
        rig.pass(size, Some(0));
        let result = rig.message("p2sam-result", "");
        assert_eq!(result.get::<u64>("number"), Ok(0));
        assert_eq!(told.load(Ordering::SeqCst), 1);
        let list = result.get::<gst::List>("objects").unwrap();
        let object = list[0].get::<gst::Structure>().unwrap();
        assert_eq!(object.get::<&str>("state"), Ok("tracking"));
        assert!(object.get::<u64>("area").unwrap() > 0);

        let (before, after) = (bytes(size.0, size.1), content(&rig.pass(size, Some(20))));
        assert_ne!(before, after);
        let mask = picture(size.0, size.1).1;
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, size.0, size.1);
        let stride = info.build().unwrap().stride()[0] as usize;
        for (place, &on) in mask.data().iter().enumerate() {
            let at = place / size.0 as usize * stride + place % size.0 as usize;
            // Chroma smears a mask's edge by a pixel in what the model sees.
            let near = on
                || mask.data().get(place + 1) == Some(&true)
                || place > 0 && mask.data()[place - 1];
            let row = size.0 as usize;
            let below = mask.data().get(place + row) == Some(&true);
            let above = place >= row && mask.data()[place - row];
            assert!(near || below || above || before[at] == after[at]);
        }

        rig.element.emit_by_name::<()>("remove-object", &[&1u32]);
        assert_eq!(content(&rig.pass(size, Some(40))), before, "gone with the next frame");
    }
}

#[test]
fn a_panic_restarts_the_model_while_video_goes_on() {
    let steps = AtomicU32::new(0);
    let make = red(move || assert!(steps.fetch_add(1, Ordering::SeqCst) != 1, "made to fail"));
    let mut rig = rig(Some(make), (64, 48));
    rig.message("p2sam-event", "object-added");
    rig.pass((64, 48), Some(0));
    rig.message("p2sam-result", "");
    rig.pass((64, 48), Some(40));
    let restarted = rig.message("p2sam-event", "restarted");
    assert!(restarted.get::<&str>("reason").unwrap().contains("made to fail"));
    assert_eq!(restarted.get::<u32>("faults"), Ok(1));
    rig.pass((64, 48), Some(80));
    let result = rig.message("p2sam-result", "");
    assert_eq!(result.get::<gst::List>("objects").unwrap().len(), 1, "the object is kept");
}

#[test]
fn the_size_may_change_and_times_may_be_missing_or_jump() {
    let mut rig = rig(Some(red(|| ())), (64, 48));
    rig.message("p2sam-event", "object-added");
    let times = [Some(0), Some(40), None, None, Some(5000), Some(20), Some(20), None];
    for size in [(64, 48), (32, 24), (47, 33), (64, 48)] {
        rig.caps(size);
        for pts in times {
            let out = rig.pass(size, pts);
            assert_eq!(out.pts(), pts.map(gst::ClockTime::from_mseconds));
            assert_eq!(out.size(), bytes(size.0, size.1).len());
        }
        rig.message("p2sam-result", "");
    }
}

#[test]
fn short_buffers_pass_and_gaps_get_the_notice_alone() {
    let mut rig = rig(Some(red(|| ())), (64, 48));
    rig.message("p2sam-event", "object-added");
    rig.element.set_gap_notice("NO SIGNAL");
    let short = gst::Buffer::from_mut_slice(vec![7u8; 100]);
    assert_eq!(rig.harness.push(short), Ok(gst::FlowSuccess::Ok));
    assert_eq!(content(&rig.harness.try_pull().unwrap()), vec![7; 100]);
    let before: gst::Structure = rig.element.property("stats");
    let mut gap = buffer(64, 48, Some(40));
    gap.get_mut().unwrap().set_flags(gst::BufferFlags::GAP);
    rig.harness.push(gap).unwrap();
    let out = rig.harness.try_pull().unwrap();
    assert_ne!(content(&out), bytes(64, 48));
    assert!(out.flags().contains(gst::BufferFlags::GAP));
    let after: gst::Structure = rig.element.property("stats");
    assert_eq!(before.get::<u64>("offered"), after.get::<u64>("offered"));
}

#[test]
fn objects_come_and_go_while_running_and_too_many_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (frame, mask) = picture(64, 48);
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    frame.save_png(path("p.png").as_ref()).unwrap();
    mask.save_png(path("m.png").as_ref()).unwrap();
    let mut rig = rig(Some(red(|| ())), (64, 48));
    let add = |id: u32, picture: &str| {
        let parameters: [&dyn ToValue; 3] = [&id, &path(picture), &path("m.png")];
        rig.element.emit_by_name::<bool>("add-object", &parameters.map(|p| p as _))
    };
    assert!(add(2, "p.png"));
    rig.message("p2sam-event", "object-added");
    assert!(!add(3, "missing.png"));
    let refused = rig.message("p2sam-event", "object-refused");
    assert!(refused.get::<&str>("reason").unwrap().contains("missing.png"));
    add(9, "p.png");
    let refused = rig.message("p2sam-event", "object-refused");
    assert!(refused.get::<&str>("reason").unwrap().contains("1 to 8"));
    rig.element.emit_by_name::<()>("remove-object", &[&2u32]);
    assert_eq!(rig.message("p2sam-event", "object-removed").get::<u32>("id"), Ok(2));
    rig.pass((64, 48), Some(0));
    assert_eq!(rig.message("p2sam-result", "").get::<gst::List>("objects").unwrap().len(), 1);
}

#[test]
fn objects_that_are_added_at_once_share_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let (frame, mask) = picture(64, 48);
    let (frame_file, mask_file) = (folder.path().join("f.png"), folder.path().join("m.png"));
    frame.save_png(&frame_file).unwrap();
    mask.save_png(&mask_file).unwrap();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (frame_file, mask_file) = (text(&frame_file), text(&mask_file));
    let rig = rig(None, (64, 48));
    rig.element.set_property("weights", "polyp");
    rig.element.set_property("device", "cpu");
    rig.element.set_property("gate", false);
    let ready = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for id in 1..=4u32 {
            let (element, ready) = (&rig.element, &ready);
            let (frame_file, mask_file) = (&frame_file, &mask_file);
            scope.spawn(move || {
                ready.wait();
                let parameters: [&dyn ToValue; 3] = [&id, frame_file, mask_file];
                assert!(element.emit_by_name::<bool>("add-object", &parameters.map(|p| p as _)));
            });
        }
    });
    let mut followed: Vec<u32> =
        (0..4).map(|_| rig.message("p2sam-event", "object-added").get("id").unwrap()).collect();
    followed.sort_unstable();
    assert_eq!(followed, [1, 2, 3, 4], "of one session: others' would never be heard of");
}

#[test]
fn a_missing_reference_is_an_error_with_its_path() {
    let element = P2samOverlay::new().unwrap();
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    element.set_property("reference", "no-such-reference.png");
    element.set_property("mask", "no-such-mask.png");
    assert!(element.set_state(gst::State::Paused).is_err());
    let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    let words = format!("{} {:?}", error.error(), error.debug());
    assert!(words.contains("no-such-reference.png") && words.contains("check"), "{words}");
    element.set_state(gst::State::Null).unwrap();
}

#[test]
fn latency_is_not_added_and_qos_is_counted() {
    let mut rig = rig(Some(red(|| ())), (64, 48));
    rig.harness.set_upstream_latency(gst::ClockTime::from_mseconds(7));
    assert_eq!(rig.harness.query_latency(), Some(gst::ClockTime::from_mseconds(7)));
    rig.pass((64, 48), Some(0));
    let qos = gst::event::Qos::builder(gst::QOSType::Underflow, 2.0, 5_000_000i64);
    rig.harness.push_upstream_event(qos.timestamp(gst::ClockTime::SECOND).build());
    // Late or not, every frame passes.
    rig.pass((64, 48), Some(40));
    let stats: gst::Structure = rig.element.property("stats");
    assert_eq!(stats.get::<u64>("qos-events"), Ok(1));
}

#[test]
fn starts_and_stops_leave_nothing_behind() {
    let count = |what: &str| std::fs::read_dir(what).map_or(0, |entries| entries.count());
    // Of this test's own: others run beside it.
    let models = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok());
        names.filter(|name| name.trim() == "leak-test").count()
    };
    let cycle = || {
        let make: MakeSegmenter = Box::new(|_| {
            // The worker's thread, told apart from those of other tests.
            let _ = std::fs::write("/proc/thread-self/comm", "leak-test");
            Ok(Box::new(Red { wait: Arc::new(|| ()), objects: Vec::new() }))
        });
        let mut rig = rig(Some(make), (32, 24));
        rig.message("p2sam-event", "object-added");
        rig.pass((32, 24), Some(0));
        assert_eq!(models(), 1);
    };
    // A worker that is just telling its result to the element ends right after.
    let ended = || {
        for _ in 0..20_000 {
            if models() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("{} workers are left", models());
    };
    cycle();
    ended();
    let handles = count("/proc/self/fd");
    for _ in 0..50 {
        cycle();
        ended();
    }
    // Room for what other tests hold open at the moment.
    assert!(count("/proc/self/fd") < handles + 40);
}

#[test]
fn rgb_agrees_with_gstreamers() {
    gst::init().unwrap();
    let (width, height) = (46, 38);
    for matrix in [ColorMatrix::Bt601, ColorMatrix::Bt709] {
        for range in [ColorRange::Limited, ColorRange::Full] {
            let color = Color { matrix, range };
            // Waves in chroma, noise in luma.
            let mut data: Vec<u8> =
                (0..width * height).map(|i| (i * 7919 % 219 + 16) as u8).collect();
            for (fx, fy) in [(0.21, 0.13), (0.11, -0.17)] {
                for y in 0..height / 2 {
                    for x in 0..width / 2 {
                        let wave = (f64::from(x) * fx + f64::from(y) * fy).sin();
                        data.push((128.0 + 60.0 * wave) as u8);
                    }
                }
            }
            let ours = Yuv420::new(width, height, color, data.clone()).unwrap().to_frame();
            let colorimetry = crate::stream::convert::colorimetry(color);
            let (w, h) = (width as usize, height as usize);
            let input = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height)
                .colorimetry(&colorimetry)
                .stride(&[w as i32, w as i32 / 2, w as i32 / 2])
                .offset(&[0, w * h, w * h * 5 / 4])
                .size(w * h * 3 / 2)
                .build()
                .unwrap();
            let output = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height)
                .stride(&[w as i32 * 3])
                .offset(&[0])
                .size(w * h * 3)
                .build()
                .unwrap();
            let converter = gst_video::VideoConverter::new(&input, &output, None).unwrap();
            let from = gst_video::VideoFrame::from_buffer_readable(
                gst::Buffer::from_mut_slice(data),
                &input,
            )
            .unwrap();
            let to = gst::Buffer::with_size(output.size()).unwrap();
            let mut to = gst_video::VideoFrame::from_buffer_writable(to, &output).unwrap();
            converter.frame(&from, &mut to);
            let theirs = to.plane_data(0).unwrap();
            let off: Vec<u8> =
                ours.rgb().iter().zip(theirs).map(|(&a, &b)| a.abs_diff(b)).collect();
            let most = off.iter().max().copied().unwrap();
            let mean = off.iter().map(|&v| f64::from(v)).sum::<f64>() / off.len() as f64;
            // GStreamer computes this way in eight bits; ours is the nearer to the standard.
            assert!(most <= 8 && mean < 2.5, "{color:?}: {most} at most, {mean:.2} on average");
        }
    }
}
