//! The engine with made segmenters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::image::{Annotation, Color, Frame, Mask, PlaneLayout, Planes, PlanesInfo};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the test lets happen with an object as it is added.
type OnAdd = Arc<dyn Fn(ObjectId) -> Result<(), SegmenterError> + Send + Sync>;

/// A segmenter that does as the test's functions say on each step, and finds every object.
struct Made {
    objects: Vec<ObjectId>,
    on_step: Arc<dyn Fn(u64) -> Result<(), String> + Send + Sync>,
    on_add: OnAdd,
}

fn failed(object: Option<ObjectId>, reason: impl ToString) -> SegmenterError {
    SegmenterError::Failed { object, reason: reason.to_string() }
}

impl Segmenter for Made {
    fn step(
        &mut self,
        picture: &LivePicture,
        _: &dyn Fn(ObjectId) -> Option<Mask>,
    ) -> Result<LiveResult, SegmenterError> {
        let bad = |reason: String| match reason.strip_prefix("object ") {
            Some(object) => failed(object.parse().ok(), &reason),
            None => failed(None, &reason),
        };
        (self.on_step)(picture.number).map_err(bad)?;
        let (width, height) = (picture.frame.width(), picture.frame.height());
        let mask = Mask::new(width, height, vec![true; (width * height) as usize]);
        let mask = Arc::new(mask.map_err(|e| failed(None, e))?);
        let found = |&object: &ObjectId| ObjectResult {
            object,
            state: State::Tracking,
            mask: Some(Arc::clone(&mask)),
            distance: Some(0.0),
            probability: None,
            object_score: None,
            predicted_iou: 1.0,
            stability: 1.0,
        };
        Ok(LiveResult {
            number: picture.number,
            pts: picture.pts,
            objects: self.objects.iter().map(found).collect(),
            times: Default::default(),
        })
    }

    fn add(
        &mut self,
        object: ObjectId,
        _: &Frame,
        annotation: &Annotation,
    ) -> Result<(), SegmenterError> {
        if annotation.mask().area() == 0 {
            return Err(SegmenterError::Unusable("nothing is marked".to_owned()));
        }
        (self.on_add)(object)?;
        self.objects.retain(|o| *o != object);
        self.objects.push(object);
        Ok(())
    }

    fn remove(&mut self, object: ObjectId) {
        self.objects.retain(|o| *o != object);
    }
}

fn start(on_step: impl Fn(u64) -> Result<(), String> + Send + Sync + 'static) -> Run {
    start_with(on_step, |_| Ok(()))
}

fn start_with(
    on_step: impl Fn(u64) -> Result<(), String> + Send + Sync + 'static,
    may_start: impl Fn(u32) -> Result<(), String> + Send + 'static,
) -> Run {
    start_all(on_step, may_start, |_| Ok(()))
}

fn start_all(
    on_step: impl Fn(u64) -> Result<(), String> + Send + Sync + 'static,
    may_start: impl Fn(u32) -> Result<(), String> + Send + 'static,
    on_add: impl Fn(ObjectId) -> Result<(), SegmenterError> + Send + Sync + 'static,
) -> Run {
    let on_step: Arc<dyn Fn(u64) -> Result<(), String> + Send + Sync> = Arc::new(on_step);
    let on_add: OnAdd = Arc::new(on_add);
    let make: MakeSegmenter = Box::new(move |faults| {
        may_start(faults)?;
        let (on_step, on_add) = (Arc::clone(&on_step), Arc::clone(&on_add));
        Ok(Box::new(Made { objects: Vec::new(), on_step, on_add }))
    });
    let (tell, events) = channel();
    let tell = Mutex::new(tell);
    let on_event = move |event| _ = tell.lock().unwrap().send(event);
    let engine = Engine::start(make, on_event, |_, _| None).unwrap();
    Run { engine, events, next: 0.into() }
}

struct Run {
    engine: Engine,
    events: Receiver<Event>,
    next: std::cell::Cell<u64>,
}

impl Run {
    fn add(&self, object: ObjectId, on: bool) {
        let picture = Frame::new(2, 2, vec![0; 12]).unwrap();
        let mask = Mask::new(2, 2, vec![on; 4]).unwrap();
        self.engine.add(object, picture, Annotation::from(&mask));
    }

    fn offer(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        let info = PlanesInfo::packed(PlaneLayout::Nv12, 4, 2, Color::usual(2));
        let planes = Planes::new(info, [&[9; 8], &[9; 4], &[]]).unwrap();
        self.engine.offer(number, Duration::from_millis(number * 40), &planes);
        number
    }

    /// Events until one that fits, without results unless it is one.
    fn until(&self, fits: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("an event");
            if fits(&event) {
                return event;
            }
        }
    }

    /// Offers pictures until a result comes.
    fn result(&self) -> Arc<LiveResult> {
        for _ in 0..1000 {
            self.offer();
            if let Ok(Event::Result(result)) = self.events.recv_timeout(Duration::from_millis(20)) {
                return result;
            }
        }
        panic!("no result came");
    }
}

fn objects(result: &LiveResult) -> Vec<ObjectId> {
    result.objects.iter().map(|o| o.object).collect()
}

#[test]
fn objects_survive_panics_and_errors() {
    // The mailbox may skip any picture, so the steps are counted.
    let steps = AtomicU64::new(0);
    let run = start(move |_| match steps.fetch_add(1, Ordering::SeqCst) {
        3 => panic!("made to fail"),
        6 => Err("device lost".to_owned()),
        _ => Ok(()),
    });
    run.add(2, true);
    run.add(5, true);
    run.until(|e| matches!(e, Event::ObjectAdded(5)));
    let mut restarts = Vec::new();
    let mut last = Vec::new();
    for _ in 0..100_000 {
        if restarts.len() == 2 && !last.is_empty() {
            break;
        }
        run.offer();
        match run.events.recv_timeout(Duration::from_millis(50)) {
            Ok(Event::Restarted { reason, faults }) => {
                restarts.push((reason, faults));
                last.clear();
            }
            Ok(Event::Result(result)) => last = objects(&result),
            _ => {}
        }
    }
    assert!(restarts[0].0.contains("made to fail") && restarts[0].1 == 1, "{restarts:?}");
    assert!(restarts[1].0.contains("device lost") && restarts[1].1 == 2, "{restarts:?}");
    assert_eq!(last, [2, 5]);
    assert_eq!(run.engine.counters().faults, 2);
}

#[test]
fn a_model_that_cannot_start_is_tried_again_with_the_count_of_faults() {
    let run = start_with(
        |_| Ok(()),
        |faults| if faults < 2 { Err("no such device".to_owned()) } else { Ok(()) },
    );
    run.add(1, true);
    run.until(|e| matches!(e, Event::Failed(reason) if reason == "no such device"));
    run.until(|e| matches!(e, Event::Failed(_)));
    run.until(|e| matches!(e, Event::Restarted { faults: 2, .. }));
    run.until(|e| matches!(e, Event::ObjectAdded(1)));
    assert_eq!(objects(&run.result()), [1]);
}

#[test]
fn newer_pictures_replace_older_ones_and_all_are_counted() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let run =
        start(move |_| gate.lock().unwrap().recv_timeout(PATIENCE).map_err(|e| e.to_string()));
    run.offer();
    assert_eq!(run.engine.counters().offered, 0, "nothing is looked for yet");
    run.add(1, true);
    run.until(|e| matches!(e, Event::ObjectAdded(1)));
    for _ in 0..200 {
        run.offer();
    }
    let last = run.offer();
    for _ in 0..3 {
        let _ = go.send(());
    }
    let newest = |e: &Event| matches!(e, Event::Result(r) if r.number == last);
    run.until(newest);
    let counters = run.engine.counters();
    assert_eq!(counters.offered, 201);
    assert_eq!(counters.replaced + counters.results, 201);
    assert!((1..=2).contains(&counters.results));
}

#[test]
fn refusals_say_why_and_leave_the_older_object() {
    let run = start(|_| Ok(()));
    for object in 1..=8 {
        run.add(object, true);
    }
    run.until(|e| matches!(e, Event::ObjectAdded(8)));
    for object in [0, 9, 255] {
        run.add(object, true);
        let refused = run.until(|e| matches!(e, Event::ObjectRefused(..)));
        assert!(
            matches!(refused, Event::ObjectRefused(o, why) if o == object && why.contains("8"))
        );
    }
    run.add(3, false);
    let refused = run.until(|e| matches!(e, Event::ObjectRefused(..)));
    assert!(matches!(refused, Event::ObjectRefused(3, why) if why == "nothing is marked"));
    assert_eq!(run.result().objects.len(), 8);
    run.engine.remove(3);
    run.until(|e| matches!(e, Event::ObjectRemoved(3)));
    assert_eq!(objects(&run.result()), [1, 2, 4, 5, 6, 7, 8]);
}

#[test]
fn an_object_that_other_settings_cannot_use_is_suspended_alone_and_comes_back() {
    let small_fails = Arc::new(AtomicU64::new(0));
    let flag = Arc::clone(&small_fails);
    let run = start_all(
        |_| Ok(()),
        |_| Ok(()),
        move |object| match flag.load(Ordering::SeqCst) {
            1 if object == 1 => Err(SegmenterError::Unusable("too small".to_owned())),
            _ => Ok(()),
        },
    );
    run.add(1, true);
    run.add(2, true);
    run.until(|e| matches!(e, Event::ObjectAdded(2)));
    small_fails.store(1, Ordering::SeqCst);
    run.engine.renew();
    let event = run.until(|e| matches!(e, Event::ObjectSuspended(..)));
    assert!(matches!(event, Event::ObjectSuspended(1, why) if why == "too small"));
    // What was on its way may still hold both.
    while objects(&run.result()) != [2] {}
    small_fails.store(0, Ordering::SeqCst);
    run.engine.renew();
    run.until(|e| matches!(e, Event::ObjectAdded(1)));
    while objects(&run.result()) != [1, 2] {}
    assert_eq!(run.engine.counters().faults, 0, "the model itself never failed");
    // Suspended objects are removed as any other.
    small_fails.store(1, Ordering::SeqCst);
    run.engine.renew();
    run.until(|e| matches!(e, Event::ObjectSuspended(1, _)));
    run.engine.remove(1);
    run.until(|e| matches!(e, Event::ObjectRemoved(1)));
}

#[test]
fn an_object_that_the_model_fails_on_again_and_again_does_not_take_it_from_the_others() {
    let learnt = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&learnt);
    // It panics when the object is learnt again, then when it is looked for.
    for at_step in [false, true] {
        learnt.store(0, Ordering::SeqCst);
        let counted = Arc::clone(&counted);
        let began = AtomicU64::new(0);
        let run = start_all(
            move |_| match began.fetch_add(1, Ordering::SeqCst) {
                0 => Err("device lost".to_owned()),
                1..=3 if at_step => Err("object 1".to_owned()),
                _ => Ok(()),
            },
            |_| Ok(()),
            move |object| {
                let times = if object == 1 { counted.fetch_add(1, Ordering::SeqCst) } else { 0 };
                assert!(at_step || times == 0, "this panic belongs to the test");
                Ok(())
            },
        );
        run.add(1, true);
        run.add(2, true);
        run.until(|e| matches!(e, Event::ObjectAdded(2)));
        let suspended = loop {
            run.offer();
            if let Ok(Event::ObjectSuspended(object, why)) =
                run.events.recv_timeout(Duration::from_millis(20))
            {
                break (object, why);
            }
        };
        assert_eq!(suspended.0, 1);
        assert!(suspended.1.contains("again and again"), "{suspended:?}");
        learnt.store(0, Ordering::SeqCst);
        assert_eq!(objects(&run.result()), [2]);
        assert_eq!(run.engine.counters().faults, 4, "the first, and three of the object");
    }
}

#[test]
fn what_gives_up_for_other_settings_is_learnt_with_them() {
    let tries = AtomicU64::new(0);
    let run = start_all(
        |_| Ok(()),
        |_| Ok(()),
        move |_| match tries.fetch_add(1, Ordering::SeqCst) {
            0 => Err(SegmenterError::Stopped),
            _ => Ok(()),
        },
    );
    run.until(|e| matches!(e, Event::Ready));
    run.add(4, true);
    std::thread::sleep(Duration::from_millis(50));
    run.engine.renew();
    run.until(|e| matches!(e, Event::ObjectAdded(4)));
    assert_eq!(objects(&run.result()), [4]);
    assert_eq!(run.engine.counters().faults, 0);
}

#[test]
fn a_result_on_its_way_does_not_bring_a_removed_object_back() {
    let (go, gate) = channel::<()>();
    let (begin, began) = channel::<()>();
    let (gate, begin) = (Mutex::new(gate), Mutex::new(begin));
    let run = start(move |_| {
        let _ = begin.lock().unwrap().send(());
        gate.lock().unwrap().recv_timeout(PATIENCE).map_err(|e| e.to_string())
    });
    run.add(1, true);
    run.add(2, true);
    run.until(|e| matches!(e, Event::ObjectAdded(2)));
    run.offer();
    began.recv_timeout(PATIENCE).unwrap();
    run.engine.remove(1);
    go.send(()).unwrap();
    let result = run.until(|e| matches!(e, Event::Result(_)));
    assert!(matches!(result, Event::Result(r) if objects(&r) == [2]));
    run.until(|e| matches!(e, Event::ObjectRemoved(1)));
}

#[test]
fn an_engine_ends_from_its_own_listener_and_during_a_wait() {
    let run = start_with(|_| Ok(()), |_| Err("never".to_owned()));
    run.until(|e| matches!(e, Event::Failed(_)));
    run.engine.stop();

    let holder: Arc<Mutex<Option<Engine>>> = Arc::default();
    let (tell, told) = channel();
    let (inner, tell) = (Arc::clone(&holder), Mutex::new(tell));
    let make: MakeSegmenter = Box::new(|_| {
        let (on_step, on_add) = (Arc::new(|_| Ok(())), Arc::new(|_| Ok(())));
        Ok(Box::new(Made { objects: Vec::new(), on_step, on_add }))
    });
    let (put, ready) = channel::<()>();
    let ready = Mutex::new(ready);
    let on_event = move |_| {
        let _ = ready.lock().unwrap().recv_timeout(PATIENCE);
        drop(inner.lock().unwrap().take());
        let _ = tell.lock().unwrap().send(());
    };
    let engine = Engine::start(make, on_event, |_, _| None).unwrap();
    *holder.lock().unwrap() = Some(engine);
    put.send(()).unwrap();
    told.recv_timeout(PATIENCE).expect("no thread waits for itself");
}

#[test]
fn the_mark_stays_in_its_box_and_is_legible() {
    let shown = |object, state, age| Shown {
        object,
        state,
        patch: None,
        opacity: 1.0,
        age: Duration::from_millis(age),
        result_age: Duration::from_millis(age),
    };
    for (width, height) in [(640, 480), (1920, 1080), (41, 31), (1, 1)] {
        let mut frame =
            Frame::new(width, height, vec![100; (width * height * 3) as usize]).unwrap();
        draw_mark(&mut frame, &[], object_color);
        assert!(frame.rgb().iter().all(|&v| v == 100), "nothing to tell");
        let all = [shown(1, State::Tracking, 40), shown(2, State::Lost, 0)];
        draw_mark(&mut frame, &all, object_color);
        let changed: Vec<(u32, u32)> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .filter(|(x, y)| frame.rgb()[((y * width + x) * 3) as usize..][..3] != [100; 3])
            .collect();
        let right = changed.iter().map(|p| p.0).max().unwrap() + 1;
        let bottom = changed.iter().map(|p| p.1).max().unwrap() + 1;
        // A whole box: everything in it changed.
        assert_eq!(changed.len() as u32, right * bottom);
        if height >= 480 {
            assert!(right < width / 3 && bottom < height / 6, "{right} x {bottom}");
            let white = frame.rgb().chunks_exact(3).filter(|p| p[0] == 235).count();
            assert!(white > 200, "{white}");
        }
    }
}
