//! The server as clients meet it: through sockets, well-behaved or not.

mod access;
mod clients;
mod double;
mod malformed;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::live::{MAX_OBJECTS, ObjectId, State};
use double::Double;

const TOKEN: &str = "a token of enough bytes";
const JSON: &str = "Content-Type: application/json\r\nX-P2SAM: 1\r\n";

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn server(token: Option<&str>) -> (WebServer, Arc<Double>) {
    let run = Double::new(Duration::ZERO);
    let operator: Arc<dyn Operator> = run.clone();
    (WebServer::start(loopback(), token.map(str::to_owned), operator).unwrap(), run)
}

/// An answer: its status, its head and its body.
struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn connect(server: &WebServer) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream
}

/// What comes back for raw bytes until the server closes; `None` if it closes without a word.
fn raw(server: &WebServer, bytes: &[u8]) -> Option<Got> {
    let mut stream = connect(server);
    // The server may refuse and close while more is being sent.
    let _ = stream.write_all(bytes);
    let mut got = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        got.extend_from_slice(&piece[..count]);
    }
    let end = got.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&got[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Got { status, head, body: got[end + 4..].to_vec() })
}

/// One request with a right Host that asks to close afterwards; `headers` end with line breaks.
fn request(server: &WebServer, line: &str, headers: &str, body: &[u8]) -> Got {
    let host = format!("Host: {}\r\n", server.addr());
    let length = format!("Content-Length: {}\r\n", body.len());
    let length = if line.starts_with("POST") { length.as_str() } else { "" };
    let head = format!("{line} HTTP/1.1\r\n{host}Connection: close\r\n{length}{headers}\r\n");
    raw(server, &[head.as_bytes(), body].concat()).expect("an answer")
}

fn get(server: &WebServer, path: &str) -> Got {
    request(server, &format!("GET {path}"), "", b"")
}

fn post(server: &WebServer, path: &str, json: &str) -> Got {
    request(server, &format!("POST {path}"), JSON, json.as_bytes())
}

#[test]
fn an_operator_freezes_marks_accepts_and_removes() {
    let (server, _run) = server(None);
    assert!(get(&server, "/").text().contains("not a medical device"));
    let frozen = post(&server, "/api/freeze", "{}");
    assert!(frozen.head.contains("x-frozen: 1") && frozen.body.starts_with(&[0xff, 0xd8]));
    let early = post(&server, "/api/accept", r#"{"frozen":1}"#);
    assert_eq!(early.status, 409, "{}", early.text());
    let prompt =
        r#"{"frozen":1,"prompt":{"points":[{"x":510,"y":180,"positive":true}],"box":null}}"#;
    let proposal = post(&server, "/api/segment", prompt);
    assert!(proposal.body.starts_with(b"\x89PNG") && proposal.head.contains("x-area: 6"));
    assert_eq!(post(&server, "/api/accept", r#"{"frozen":1}"#).text(), r#"{"object":1}"#);
    assert!(get(&server, "/api/status").text().contains(r#""state":"tracking""#));
    let metrics = get(&server, "/metrics").text();
    assert!(metrics.contains("p2sam_object_state{object=\"1\",state=\"tracking\"} 1\n"));
    assert_eq!(post(&server, "/api/remove", r#"{"object":1}"#).status, 200);
    let gone = post(&server, "/api/remove", r#"{"object":1}"#);
    assert_eq!((gone.status, gone.text().as_str()), (409, r#"{"error":"there is no object 1"}"#));
    assert_eq!(get(&server, "/api/latency").status, 200);
    assert_eq!(post(&server, "/api/profile", r#"{"name":"video"}"#).status, 200);
    assert_eq!(post(&server, "/api/record", r#"{"on":true}"#).status, 200);
    assert!(get(&server, "/api/snapshot").head.contains("attachment"));
}

#[test]
fn health_says_what_is_wrong() {
    let (server, run) = server(None);
    assert_eq!(get(&server, "/healthz").status, 200);
    run.stalled.store(true, std::sync::atomic::Ordering::Relaxed);
    let ill = get(&server, "/healthz");
    assert_eq!(ill.status, 503);
    assert!(ill.text().contains("the source gives no pictures"));
}

#[test]
fn every_metric_has_one_help_and_one_type_before_its_samples() {
    let (server, _run) = server(None);
    let text = get(&server, "/metrics").text();
    let mut known = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap();
            assert!(!known.contains(&name), "{name} twice");
            known.push(name);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(known.last(), Some(&name));
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(known.len() > 10);
}
