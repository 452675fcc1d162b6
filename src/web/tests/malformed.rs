//! Requests that no browser sends. The server must answer or close, and go on.

use std::time::Instant;

use super::*;

fn alive(server: &WebServer) {
    assert_eq!(get(server, "/healthz").status, 200);
}

#[test]
fn garbage_is_refused_and_the_server_goes_on() {
    let (server, _run) = server(None);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for length in [1, 2, 7, 64, 1000, 40_000] {
        let garbage: Vec<u8> = (0..length)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.to_le_bytes()[0]
            })
            .chain(*b"\r\n\r\n")
            .collect();
        if let Some(got) = raw(&server, &garbage) {
            assert_eq!(got.status / 100, 4);
        }
    }
    for text in [
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n broken: fold\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        if let Some(got) = raw(&server, text.as_bytes()) {
            assert_eq!(got.status / 100, 4, "{text}");
        }
    }
    alive(&server);
}

#[test]
fn huge_heads_and_wrong_lengths_are_refused() {
    let (server, _run) = server(None);
    let status = |text: String| raw(&server, text.as_bytes()).map(|got| got.status);
    let long = "a".repeat(100_000);
    let head = "Host: localhost\r\nConnection: close\r\n";
    let huge = format!("GET / HTTP/1.1\r\n{head}X: {long}\r\n\r\n");
    assert!(matches!(status(huge), None | Some(431)));
    assert!(matches!(
        status(format!("GET /{long} HTTP/1.1\r\n{head}\r\n")),
        None | Some(414 | 431)
    ));
    let many: String = (0..500).map(|n| format!("X{n}: 1\r\n")).collect();
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{head}{many}\r\n")), Some(431));
    for length in ["-1", "1e3", "99999999999999999999999", "5, 6", "0x10", ""] {
        let text = format!(
            "POST /api/record HTTP/1.1\r\n{head}{JSON}Content-Length: {length}\r\n\r\n{{}}"
        );
        assert!(matches!(status(text), None | Some(400)), "{length}");
    }
    let both = format!(
        "POST /api/record HTTP/1.1\r\n{head}{JSON}Content-Length: 3\r\n\
         Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    );
    assert!(matches!(status(both), None | Some(400)));
    alive(&server);
}

#[test]
fn bodies_are_bounded_by_what_they_say_and_by_what_they_are() {
    let (server, _run) = server(None);
    let json = |size: usize| format!("{{\"name\":\"{}\"}}", "n".repeat(size));
    assert_eq!(post(&server, "/api/profile", &json(20_000)).status, 413);
    assert_eq!(post(&server, "/api/profile", &json(10_000)).status, 409);
    let head = "POST /api/profile HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000)).repeat(3);
    let chunked = format!("{head}{JSON}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    // The refusal may be lost when the server closes on unread bytes.
    let got = raw(&server, chunked.as_bytes());
    assert!(got.is_none_or(|got| got.status == 413));
    let octets = "Content-Type: application/octet-stream\r\nX-P2SAM: 1\r\n";
    let upload = |path: &str, size: usize| {
        request(&server, &format!("POST {path}"), octets, &vec![0; size]).status
    };
    assert_eq!(upload("/api/upload?frozen=1", 1 << 20), 409, "read, but no picture");
    for path in ["/api/upload", "/api/upload?frozen=x", "/api/upload?frozen=1&object=99"] {
        assert_eq!(upload(path, 8), 400, "{path}");
    }
    let promised = format!(
        "POST /api/upload?frozen=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{octets}\
         Content-Length: 50000000\r\n\r\n"
    );
    assert_eq!(raw(&server, promised.as_bytes()).map(|got| got.status), Some(413));
    alive(&server);
}

#[test]
fn wrong_json_says_what_is_wrong() {
    let (server, _run) = server(None);
    let deep = "[".repeat(10_000);
    for json in [
        "",
        "{",
        "null",
        deep.as_str(),
        r#"{"frozen":-1,"prompt":{}}"#,
        r#"{"frozen":1,"prompt":{"points":[]}}"#,
        r#"{"frozen":1,"prompt":{"points":[{"x":1e999,"y":0,"positive":true}]}}"#,
        r#"{"frozen":1,"prompt":{"points":[{"x":1e39,"y":0,"positive":true}]}}"#,
        r#"{"frozen":1,"prompt":{"points":[{"x":1,"y":0,"positive":false}]}}"#,
        r#"{"frozen":1,"prompt":{"box":[9,9,1,1]}}"#,
        r#"{"frozen":1,"prompt":{"box":[0,0,1,1],"more":1}}"#,
    ] {
        let got = post(&server, "/api/segment", json);
        assert_eq!(got.status, 400, "{json}");
        assert!(got.text().contains("error"));
    }
    for object in ["0", "9", "256", "-1", "\"1\""] {
        let json = format!("{{\"frozen\":1,\"object\":{object}}}");
        assert_eq!(post(&server, "/api/accept", &json).status, 400, "{object}");
    }
    alive(&server);
}

#[test]
fn no_file_can_be_reached() {
    let (server, _run) = server(None);
    for path in [
        "/../Cargo.toml",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/page/../page.js",
        "/page.js/..",
        "/./page.js",
        "/page.js%00",
        "/\\etc\\passwd",
        "/src/web/mod.rs",
    ] {
        let got = get(&server, path);
        assert!(matches!(got.status, 400 | 404), "{path}: {}", got.status);
    }
    assert_eq!(request(&server, "DELETE /api/status", JSON, b"").status, 405);
    assert_eq!(get(&server, "/api/freeze").status, 405);
}

#[test]
fn half_a_request_is_cut_after_a_while() {
    let (server, _run) = server(None);
    let start = Instant::now();
    let halves = [
        "GET / HTTP/1.1\r\nHost: loc".to_owned(),
        String::new(),
        format!(
            "POST /api/record HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{JSON}\
             Content-Length: 9\r\n\r\n{{"
        ),
    ];
    std::thread::scope(|scope| {
        for half in &halves {
            scope.spawn(|| raw(&server, half.as_bytes()));
        }
    });
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    alive(&server);
}
