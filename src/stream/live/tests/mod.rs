//! Everything is made with GStreamer or plain sockets, so that the tests need nothing else.

mod launch;
mod process;
mod recording;
mod sinks;
mod source;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::*;
use crate::image::{Color, Yuv420};
use crate::stream::elements::{init, make};

/// What a run told.
#[derive(Clone, Default)]
struct Told {
    states: Arc<Mutex<Vec<SourceState>>>,
    events: Arc<Mutex<Vec<LiveEvent>>>,
    jpegs: Arc<Mutex<Vec<Arc<[u8]>>>>,
}

impl Told {
    fn hooks(&self) -> Hooks {
        let (a, b, c) = (self.clone(), self.clone(), self.clone());
        Hooks {
            on_source: Arc::new(move |state| a.states.lock().unwrap().push(state)),
            on_event: Arc::new(move |event| b.events.lock().unwrap().push(event)),
            on_jpeg: Arc::new(move |jpeg| c.jpegs.lock().unwrap().push(jpeg)),
        }
    }

    fn state(&self, wanted: impl Fn(&SourceState) -> bool) -> usize {
        self.states.lock().unwrap().iter().filter(|state| wanted(state)).count()
    }

    fn event(&self, wanted: impl Fn(&LiveEvent) -> bool) -> usize {
        self.events.lock().unwrap().iter().filter(|event| wanted(event)).count()
    }

    fn starts(&self) -> usize {
        self.state(|state| matches!(state, SourceState::Running { .. }))
    }

    fn all(&self) -> String {
        format!("{:?} {:?}", self.states.lock().unwrap(), self.events.lock().unwrap())
    }
}

/// A run with everything that passes its overlay.
struct Run {
    stream: LiveStream,
    told: Told,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A buffer at the overlay.
#[derive(Clone, Copy, Debug)]
struct Seen {
    pts: u64,
    repeat: bool,
    discont: bool,
    first_byte: u8,
}

impl Run {
    fn start(options: LiveOptions) -> Self {
        let _ = init();
        Self::with(options, make("identity").unwrap())
    }

    fn source(source: SourceSpec) -> Self {
        Self::start(LiveOptions::new(source, vec![SinkSpec::None]))
    }

    fn with(options: LiveOptions, overlay: gst::Element) -> Self {
        let told = Told::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seeing = Arc::clone(&seen);
        let pad = overlay.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(gst::PadProbeData::Buffer(buffer)) = &info.data else { unreachable!() };
            seeing.lock().unwrap().push(Seen {
                pts: buffer.pts().unwrap().nseconds(),
                repeat: buffer.flags().contains(gst::BufferFlags::GAP),
                discont: buffer.flags().contains(gst::BufferFlags::DISCONT),
                first_byte: buffer.map_readable().unwrap()[0],
            });
            gst::PadProbeReturn::Ok
        });
        let stream = LiveStream::start(options, overlay, told.hooks()).unwrap();
        Self { stream, told, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            let late = start.elapsed() > Duration::from_secs(15);
            assert!(!late, "{what}: {:?} {}", self.stream.stats(), self.told.all());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn frames(&self, more: u64) {
        let at = self.stream.stats().frames_in + more;
        self.wait("frames", |run| run.stream.stats().frames_in >= at);
    }

    /// Times at the overlay strictly increase, whatever happened.
    fn assert_times(&self) {
        let seen = self.seen();
        assert!(seen.windows(2).all(|pair| pair[0].pts < pair[1].pts), "{seen:?}");
    }
}

fn test_source(options: &str) -> SourceSpec {
    format!("test:ball?{options}").parse().unwrap()
}

/// Grey pictures; each tells its number by its level.
fn grey(width: u32, height: u32, number: u64) -> Yuv420 {
    let mut data = vec![128; Yuv420::bytes(width, height)];
    data[..(width * height) as usize].fill(40 + (number % 100) as u8);
    Yuv420::new(width, height, Color::usual(height), data).unwrap()
}

/// A launch source from text.
fn launch_source(text: &str) -> SourceSpec {
    SourceSpec::Launch(LaunchFile::parse(Path::new("test.launch"), text).unwrap())
}

/// Runs a launch line to its end.
fn make_file(line: &str) {
    init().unwrap();
    let pipeline = gst::parse::launch(line).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let limit = gst::ClockTime::from_seconds(20);
    let message = pipeline.bus().unwrap().timed_pop_filtered(limit, &kinds).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
}

/// A video of `frames` frames at 25 a second.
fn video(folder: &Path, name: &str, frames: u32) -> PathBuf {
    let path = folder.join(name);
    let mux = if name.ends_with("ts") { "mpegtsmux" } else { "matroskamux" };
    make_file(&format!(
        "videotestsrc num-buffers={frames} pattern=ball ! video/x-raw,format=I420,width=64,\
         height=48,framerate=25/1 ! x264enc key-int-max=5 tune=zerolatency ! {mux} ! filesink \
         location={}",
        path.display()
    ));
    path
}

/// Sends a file to every client, at 25 chunks a second, until it is dropped.
struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    port: u16,
}

impl Server {
    /// `stall_after` chunks it sends no more, but stays connected.
    fn start(file: &Path, port: u16, stall_after: Option<usize>) -> Self {
        let bytes = std::fs::read(file).unwrap();
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", port)) {
                Ok(listener) => break listener,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut clients: Vec<(TcpStream, usize)> = Vec::new();
            let chunk = (bytes.len() / 100).max(188);
            while !stopping.load(Ordering::Relaxed) {
                if let Ok((client, _)) = listener.accept() {
                    clients.push((client, 0));
                }
                for (client, sent) in &mut clients {
                    if stall_after.is_some_and(|limit| *sent >= limit) {
                        continue;
                    }
                    let at = (*sent * chunk) % bytes.len();
                    let _ = client.write_all(&bytes[at..(at + chunk).min(bytes.len())]);
                    *sent += 1;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, thread: Some(thread), port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}
