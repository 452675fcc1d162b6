//! Many clients, of which some never read, and the server's end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;

const PICTURE: usize = 400_000;

fn stream_of(server: &WebServer) -> TcpStream {
    let mut stream = connect(server);
    let text = format!("GET /stream.mjpeg HTTP/1.1\r\nHost: {}\r\n\r\n", server.addr());
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// Resident memory in bytes.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn wait_for(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "{what} takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Parts that arrive within a while.
fn parts(stream: &mut TcpStream, time: Duration) -> usize {
    let start = Instant::now();
    let mut piece = vec![0; 1 << 16];
    let (mut count, mut rest) = (0, Vec::new());
    while start.elapsed() < time {
        let Ok(read @ 1..) = stream.read(&mut piece) else { break };
        rest.extend_from_slice(&piece[..read]);
        let needle = b"X-Server-Ms";
        count += rest.windows(needle.len()).filter(|window| window == needle).count();
        rest.drain(..rest.len().saturating_sub(needle.len() - 1));
    }
    count
}

#[test]
fn five_clients_that_never_read_cost_the_five_that_read_nothing() {
    let (server, run) = server(None);
    let stop = Arc::new(AtomicBool::new(false));
    let asleep = run.pictures();
    assert_eq!(asleep, 0, "nothing is made while nobody looks");
    let lazy: Vec<TcpStream> = (0..5).map(|_| stream_of(&server)).collect();
    let mut keen: Vec<TcpStream> = (0..5).map(|_| stream_of(&server)).collect();
    wait_for("ten clients", 5, || run.preview().watchers() == 10);
    let player = run.play(20.0, PICTURE, &stop);
    let read = |keen: &mut Vec<TcpStream>, seconds| {
        std::thread::scope(|scope| {
            let readers: Vec<_> = keen
                .iter_mut()
                .map(|one| scope.spawn(move || parts(one, Duration::from_secs(seconds))))
                .collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).min().unwrap()
        })
    };
    read(&mut keen, 1);
    let (before, made) = (memory(), run.pictures());
    let least = read(&mut keen, 2) as u64;
    let grown = memory().saturating_sub(before);
    let made = run.pictures() - made;
    assert!(least * 10 >= made * 7, "{least} of {made} pictures");
    assert!(grown < 16 << 20, "{grown} bytes more after {made} pictures of {PICTURE}");
    wait_for("cutting those who never read", 8, || {
        read(&mut keen, 1);
        run.preview().watchers() <= 5
    });
    assert!(read(&mut keen, 1) > 0, "the others go on");
    stop.store(true, Ordering::Relaxed);
    player.join().unwrap();
    drop(lazy);
}

#[test]
fn the_seventeenth_client_is_refused_and_places_are_freed() {
    let (server, run) = server(None);
    let mut all: Vec<TcpStream> = (0..16).map(|_| stream_of(&server)).collect();
    wait_for("sixteen clients", 5, || run.preview().watchers() == 16);
    assert_eq!(get(&server, "/stream.mjpeg").status, 503);
    all.truncate(15);
    wait_for("a free place", 5, || run.preview().watchers() == 15);
    all.push(stream_of(&server));
    wait_for("the place taken", 5, || run.preview().watchers() == 16);
}

#[test]
fn too_many_connections_are_closed_and_others_served_again_later() {
    let (server, _run) = server(None);
    let idle: Vec<TcpStream> = (0..80).map(|_| connect(&server)).collect();
    let mut last = &idle[79];
    assert_eq!(last.read(&mut [0]).unwrap_or(0), 0, "closed at once");
    drop(idle);
    wait_for("a free connection", 5, || {
        let text = format!("GET /healthz HTTP/1.0\r\nHost: {}\r\n\r\n", server.addr());
        raw(&server, text.as_bytes()).is_some_and(|got| got.status == 200)
    });
}

#[test]
fn it_stops_at_once_with_clients_connected() {
    let (server, run) = server(None);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| stream_of(&server)).collect();
    let _half = connect(&server).write_all(b"GET / HTTP/1.1\r\n");
    wait_for("the clients", 5, || run.preview().watchers() == 4);
    let (addr, start) = (server.addr(), Instant::now());
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(run.preview().watchers(), 0);
    for stream in &mut streams {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "the stream's end is told");
    }
    assert!(TcpStream::connect(addr).is_err());
}
