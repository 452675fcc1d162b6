//! Nothing is left of the operator's page when it stops. A process of its own, so that no other
//! test's threads and files are counted.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use p2sam::live::{MAX_OBJECTS, ObjectId, State};
use p2sam::web::*;

#[allow(dead_code, reason = "shared with the room's own tests")]
#[path = "../src/web/tests/double.rs"]
mod double;

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

fn cycle(run: &Arc<double::Double>) {
    let operator: Arc<dyn Operator> = run.clone();
    let server = WebServer::start("127.0.0.1:0".parse().unwrap(), None, operator).unwrap();
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stream
    };
    let _clients = [ask("/stream.mjpeg"), ask("/api/status"), ask("/")];
    drop(server);
}

#[test]
fn twenty_starts_and_stops_leave_no_thread_and_no_file() {
    let run = double::Double::new(Duration::ZERO);
    let now = || (count("/proc/self/task"), count("/proc/self/fd"));
    cycle(&run);
    let before = now();
    for _ in 0..20 {
        cycle(&run);
    }
    // A thread that has been joined may still be listed for a moment.
    for _ in 0..100 {
        if now() == before {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(now(), before, "threads and file handles");
    assert_eq!(Arc::strong_count(&run), 1);
}
