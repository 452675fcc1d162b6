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
fn a_hundred_unfinished_requests_leave_the_operator_all_answers() {
    let (server, run) = server(None);
    let stop = AtomicBool::new(false);
    let held = stream_of(&server);
    wait_for("the picture's client", 5, || run.preview().watchers() == 1);
    std::thread::scope(|scope| {
        for n in 0..100 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                // Half a head, again as soon as it is cut.
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = connect(server);
                    let _ = stream.write_all(&b"GET /api/status HTTP/1.1\r\nHost: localhost"[..n / 3]);
                    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                    while matches!(stream.read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
                        && !stop.load(Ordering::Relaxed)
                    {}
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let start = Instant::now();
            assert_eq!(get(&server, "/api/status").status, 200);
            slowest = slowest.max(start.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        assert!(slowest < Duration::from_secs(8), "{slowest:?}");
    });
    assert_eq!(run.preview().watchers(), 1, "who looks is not cut for them");
    drop(held);
}

#[test]
fn uploads_that_never_end_hold_little_memory_and_are_cut() {
    let (server, _run) = server(None);
    let head = format!(
        "POST /api/upload?frozen=1 HTTP/1.1\r\nHost: {}\r\nX-P2SAM: 1\r\nContent-Type: \
         application/octet-stream\r\nContent-Length: 33000000\r\n\r\n",
        server.addr()
    );
    let before = memory();
    let start = Instant::now();
    let most = std::sync::Mutex::new(0);
    let answers: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..20)
            .map(|_| {
                let (server, head, most) = (&server, &head, &most);
                scope.spawn(move || {
                    let mut stream = connect(server);
                    stream.write_all(head.as_bytes()).unwrap();
                    // All but the end; what is refused may be cut on the way.
                    let piece = vec![7; 1 << 20];
                    for _ in 0..31 {
                        if stream.write_all(&piece).is_err() {
                            break;
                        }
                    }
                    let mut most = most.lock().unwrap();
                    *most = memory().max(*most);
                    drop(most);
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer);
                    answer
                })
            })
            .collect();
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
    let grown = most.into_inner().unwrap().saturating_sub(before);
    assert!(grown < 160 << 20, "{} MB for 20 uploads of 32 MB", grown >> 20);
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    let refused = |answer: &&Vec<u8>| answer.windows(3).any(|part| part == b"503");
    assert!(answers.iter().filter(refused).count() > 0, "all are told or cut");
    assert_eq!(get(&server, "/healthz").status, 200);
    // What is small goes through meanwhile and afterwards.
    let octets = "Content-Type: application/octet-stream\r\nX-P2SAM: 1\r\n";
    assert_eq!(request(&server, "POST /api/upload?frozen=1", octets, &[0; 9]).status, 409);
}

#[test]
fn a_body_that_drips_is_cut_long_before_its_time() {
    let (server, _run) = server(None);
    let mut stream = connect(&server);
    let head = format!(
        "POST /api/upload?frozen=1 HTTP/1.1\r\nHost: {}\r\nX-P2SAM: 1\r\nContent-Type: \
         application/octet-stream\r\nContent-Length: 900000\r\n\r\n",
        server.addr()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let start = Instant::now();
    let mut reading = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut first = [0; 12];
        reading.read_exact(&mut first).map(|()| first)
    });
    while !answer.is_finished() && stream.write_all(&[1; 100]).is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(&answer.join().unwrap().unwrap(), b"HTTP/1.1 408");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
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
