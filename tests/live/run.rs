//! A live run of the program, as it goes on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use p2sam::VideoReader;
use serde_json::Value;

use crate::common::*;

/// Nothing that a test waits for may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A model that is quick, whatever it finds, of weights that are part of the repository.
pub const QUICK: &str = "--weights polyp --profile live --input-side 128";

/// Waits until no other test runs a live run: cores suffice for one at a time.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks again and again until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The program while it runs; one that is left behind is killed.
pub struct Live {
    child: Option<Child>,
    pid: u32,
    told: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Live {
    /// Starts `p2sam live` with arguments as on a command line without quotes.
    pub fn start(folder: &Path, line: &str) -> Self {
        let words = std::iter::once("live").chain(line.split_whitespace());
        let mut child = command(folder, words).spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("standard error");
        let told = Arc::new(Mutex::new(String::new()));
        let telling = Arc::clone(&told);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let Ok(line) = line else { return };
                let mut told = telling.lock().unwrap_or_else(PoisonError::into_inner);
                told.push_str(&String::from_utf8_lossy(&line));
                told.push('\n');
            }
        });
        Self { pid: child.id(), child: Some(child), told, reader: Some(reader) }
    }

    /// What it has told on standard error until now.
    pub fn told(&self) -> String {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has told of something, and returns that line.
    #[track_caller]
    pub fn tells(&self, words: &str) -> String {
        let line = || self.told().lines().find(|line| line.contains(words)).map(str::to_owned);
        until(&format!("'{words}' after: {}", self.told()), line)
    }

    /// The operator's page, once its address is told.
    #[track_caller]
    pub fn page(&self) -> Page {
        let line = self.tells("the operator's page is at http://");
        let addr = line.rsplit_once("http://").expect("an address").1.trim_end_matches('/');
        Page(addr.parse().expect("an address"))
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        signal(self.pid, name);
    }

    /// Waits for its end.
    pub fn end(mut self) -> Run {
        let mut run = finish(self.child.take().expect("ended once"));
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        run.stderr = self.told();
        assert!(!run.stderr.contains("panicked"), "the program panicked: {}", run.stderr);
        run
    }

    /// Sends a signal and waits for the end, which comes within seconds.
    pub fn stop(self, name: &str) -> Run {
        self.signal(name);
        let start = Instant::now();
        let run = self.end();
        assert!(start.elapsed() < Duration::from_secs(20), "slow: {:?}", start.elapsed());
        run
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The operator's page of a run.
#[derive(Clone, Copy)]
pub struct Page(pub SocketAddr);

/// An answer of the page.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

impl Page {
    pub fn connect(self) -> TcpStream {
        let stream = TcpStream::connect(self.0).expect("the page is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream
    }

    /// Sends bytes and reads all that comes back until the page closes the connection.
    pub fn raw(self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // Both ends may close early.
        let _ = stream.write_all(bytes);
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        got
    }

    /// One request; `headers` end with line breaks.
    #[track_caller]
    pub fn ask(self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let (host, length) = (self.0, body.len());
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        );
        let got = self.raw(&[head.as_bytes(), body].concat());
        let end = got.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8_lossy(&got[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { status, head, body: got[end + 4..].to_vec() }
    }

    #[track_caller]
    pub fn get(self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", b"")
    }

    /// As the page itself posts.
    #[track_caller]
    pub fn post(self, path: &str, body: &Value) -> Answer {
        let headers = "Content-Type: application/json\r\nX-P2SAM: 1\r\n";
        self.ask(&format!("POST {path}"), headers, body.to_string().as_bytes())
    }

    /// The run's status, once `fits` it.
    #[track_caller]
    pub fn status(self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            std::thread::sleep(Duration::from_millis(80));
            Some(self.get("/api/status").json()["run"].take()).filter(&fits)
        })
    }

    /// Waits for more frames of the source.
    #[track_caller]
    pub fn frames(self, more: u64) {
        let now = count(&self.status("frames", |_| true), "frames_in");
        self.status("more frames", |status| count(status, "frames_in") >= now + more);
    }
}

/// A counter of a run's status.
#[track_caller]
pub fn count(status: &Value, name: &str) -> u64 {
    let counters = status["counters"].as_array().expect("counters");
    let counter = counters.iter().find(|counter| counter["name"] == name);
    counter.expect(name)["value"].as_u64().expect("a number")
}

/// The recorded videos of a folder, in order.
pub fn videos(folder: &Path) -> Vec<PathBuf> {
    let names = entries(folder).into_iter().filter(|name| name.ends_with(".mkv"));
    names.map(|name| folder.join(name)).collect()
}

/// Frames of a video up to where it breaks off, and the time of the last.
#[track_caller]
pub fn readable(path: &Path) -> (usize, Duration) {
    let mut reader = VideoReader::open(path).expect("a video");
    let (mut frames, mut last) = (0, Duration::ZERO);
    while let Ok(Some(picture)) = reader.next_picture() {
        (frames, last) = (frames + 1, picture.pts);
    }
    (frames, last)
}

/// What is recorded as `case` is whole: both videos, every line of results, and which video starts
/// when.
#[track_caller]
pub fn whole_recording(folder: &Path) {
    let videos = videos(folder);
    assert_eq!(videos.len(), 2, "{videos:?}");
    for path in &videos {
        assert!(!frames(path).is_empty(), "{}", path.display());
    }
    let lines = json_lines(&folder.join("case-results.jsonl"));
    let segments = lines.iter().filter(|line| line["segment"].is_string()).count();
    assert_eq!(segments, videos.len(), "{lines:?}");
}

/// Whether programs that are started here ignore SIGINT until they ask for it.
pub fn ctrl_c_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit 0 is signal 1.
    ignored.is_some_and(|mask| mask & 0b10 != 0)
}
