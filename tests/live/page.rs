//! The operator's page on a real run.

use std::io::Write;

use serde_json::json;

use crate::common::*;
use crate::run::*;

/// A run that shows one picture of the polyp over and over and follows it, with its page.
fn start(folder: &tempfile::TempDir, more: &str) -> (Live, Page) {
    picture_and_mask(folder.path());
    std::fs::create_dir(folder.path().join("pictures")).expect("a folder");
    for name in ["a.png", "b.png"] {
        let to = folder.path().join("pictures").join(name);
        std::fs::copy(folder.path().join("picture.png"), to).expect("writable");
    }
    let line = format!(
        "--source file:pictures?loop&fps=10 --sink none --reference-image picture.png \
         --reference mask.png {QUICK} --web 127.0.0.1:0 {more}"
    );
    let live = Live::start(folder.path(), &line);
    let page = live.page();
    (live, page)
}

/// Waits until all is well.
fn healthy(page: Page) {
    until("all is well", || {
        let health = page.get("/healthz");
        assert!([200, 503].contains(&health.status), "{health:?}");
        (health.status == 200).then_some(())
    });
}

#[test]
fn an_operator_adds_removes_and_records_over_http() {
    let _turn = turn();
    let dir = folder();
    let (live, page) = start(&dir, "--record-to case --min-free 0");
    healthy(page);
    live.tells("the model is loaded");
    live.tells("object 1 is followed");

    let frozen = page.post("/api/freeze", &json!({}));
    assert_eq!(frozen.status, 200, "{}", frozen.text());
    assert!(frozen.body.starts_with(&[0xff, 0xd8]), "no JPEG");
    for header in ["x-frozen: 1", "x-width: 160", "x-height: 90"] {
        assert!(frozen.head.contains(header), "{}", frozen.head);
    }
    let place = scene()[0].mask.bounding_box().expect("the polyp");
    let (left, top) = (place.x0, place.y0);
    let (right, bottom) = (place.x1, place.y1);
    let prompt = json!({
        "points": [{ "x": (left + right) / 2, "y": (top + bottom) / 2, "positive": true }],
        "box": [left, top, right, bottom],
    });
    let proposal = page.post("/api/segment", &json!({ "frozen": 1, "prompt": prompt }));
    assert!(proposal.body.starts_with(b"\x89PNG"), "{}", proposal.text());
    let accepted = page.post("/api/accept", &json!({ "frozen": 1 }));
    assert_eq!((accepted.status, accepted.text().as_str()), (200, r#"{"object":2}"#));
    let status = page.status("two results", |status| {
        let objects = status["objects"].as_array().expect("objects");
        objects.len() == 2 && objects.iter().all(|object| object["distance"].is_number())
    });
    assert_eq!((&status["objects"][0]["id"], &status["objects"][1]["id"]), (&1.into(), &2.into()));

    assert_eq!(page.post("/api/remove", &json!({ "object": 1 })).status, 200);
    let status = page.status("one object", |status| {
        status["objects"].as_array().is_some_and(|objects| objects.len() == 1)
    });
    assert_eq!(status["objects"][0]["id"], 2);

    for on in [true, false] {
        let answer = page.post("/api/record", &json!({ "on": on }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        page.status("the recording", |status| status["recording"]["on"] == on);
        page.frames(10);
    }
    whole_recording(dir.path());
    live.stop("-INT").ends(130, &["object 2 is followed", "object 1 is no longer followed"]);
}

#[test]
fn nothing_that_a_client_sends_or_leaves_unread_stops_the_run() {
    let _turn = turn();
    let dir = folder();
    let (live, page) = start(&dir, "");
    healthy(page);

    let foreign = "Content-Type: application/json\r\nX-P2SAM: 1\r\nOrigin: http://evil.example\r\n";
    assert_eq!(page.ask("POST /api/freeze", foreign, b"{}").status, 403);
    assert_eq!(page.ask("GET /api/status", "Origin: http://evil.example\r\n", b"").status, 403);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(page.ask("POST /api/freeze", form, b"a=b").status, 403);

    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n\r\n",
        b"POST /api/freeze HTTP/1.1\r\nHost: localhost\r\nContent-Length: -4\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        &[b'a'; 100_000],
    ] {
        let got = page.raw(bytes);
        let got = String::from_utf8_lossy(&got);
        assert!(got.is_empty() || got.starts_with("HTTP/1.1 4"), "{got}");
    }
    for (path, body) in [
        ("/api/segment", json!({ "frozen": 77, "prompt": { "box": [1, 1, 9, 9] } })),
        ("/api/segment", json!({ "frozen": 1, "prompt": {} })),
        ("/api/accept", json!({ "frozen": 77 })),
        ("/api/remove", json!({ "object": 7 })),
        ("/api/profile", json!({ "name": "nosuch" })),
        ("/api/record", json!({ "on": true })),
        ("/api/freeze", json!([1, 2])),
    ] {
        let answer = page.post(path, &body);
        assert!([400, 409].contains(&answer.status), "{path} {body}: {answer:?}");
        assert!(answer.json()["error"].is_string(), "{path} {body}: {}", answer.text());
    }

    // Half a request and half of those who look: none of them reads.
    let mut half = page.connect();
    half.write_all(b"POST /api/freeze HTTP/1.1\r\nHost: local").expect("sent");
    let deaf: Vec<_> = (0..10)
        .map(|_| {
            let mut client = page.connect();
            let request = format!("GET /stream.mjpeg HTTP/1.1\r\nHost: {}\r\n\r\n", page.0);
            client.write_all(request.as_bytes()).expect("sent");
            client
        })
        .collect();
    page.frames(30);
    let status = page.status("the object is still looked at", |status| {
        status["objects"][0]["distance"].is_number()
    });
    assert_eq!((count(&status, "frames_dropped"), count(&status, "model_faults")), (0, 0));
    healthy(page);
    // They are still connected: the end does not wait for them.
    live.stop("-TERM").ends(130, &["stopping"]);
    drop((half, deaf));
}
