//! Who is let in.

use super::*;

#[test]
fn beyond_loopback_a_token_is_needed_and_a_short_one_refused() {
    let any = "0.0.0.0:0".parse().unwrap();
    let start = |token: Option<&str>| {
        WebServer::start(any, token.map(str::to_owned), Double::new(Duration::ZERO))
    };
    assert!(matches!(start(None), Err(WebError::NeedsToken(_))));
    assert!(matches!(start(Some("short")), Err(WebError::ShortToken(5))));
    let server = start(Some(TOKEN)).unwrap();
    let taken =
        WebServer::start(server.addr(), Some(TOKEN.to_owned()), Double::new(Duration::ZERO));
    assert!(matches!(taken, Err(WebError::Listen { .. })));
}

#[test]
fn with_a_token_nothing_but_health_and_the_form_is_open() {
    let (server, _run) = server(Some(TOKEN));
    for path in ["/api/status", "/metrics", "/stream.mjpeg", "/page.js", "/api/snapshot", "/nope"] {
        assert_eq!(get(&server, path).status, 401, "{path}");
    }
    assert_eq!(post(&server, "/api/freeze", "{}").status, 401);
    assert_eq!(get(&server, "/healthz").status, 200);
    let form = get(&server, "/");
    assert!(form.status == 401 && form.text().contains("name=\"token\""));
    assert!(!form.text().contains(TOKEN));
}

#[test]
fn the_token_opens_as_bearer_and_as_login_whose_cookie_opens_too() {
    let (server, _run) = server(Some(TOKEN));
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(request(&server, "GET /metrics", &bearer, b"").status, 200);
    let login = get(&server, &format!("/?token={}", TOKEN.replace(' ', "%20")));
    assert_eq!(login.status, 303);
    assert!(login.head.contains("location: /\r\n"));
    let cookie = login.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict") && !cookie.contains(TOKEN));
    let cookie = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(request(&server, "GET /api/status", &cookie, b"").status, 200);
    let wrong = cookie.replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(request(&server, "GET /api/status", &wrong, b"").status, 401);
}

/// The cookie that an answer sets, as a header that shows it.
fn cookie_of(answer: &Got) -> String {
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
}

#[test]
fn sessions_are_random_and_end_with_the_server() {
    let login = format!("/?token={}", TOKEN.replace(' ', "+"));
    let (first, _run) = server(Some(TOKEN));
    let (one, other) = (cookie_of(&get(&first, &login)), cookie_of(&get(&first, &login)));
    assert_ne!(one, other);
    for cookie in [&one, &other] {
        let value = cookie.trim_end().rsplit_once('=').unwrap().1;
        assert_eq!(value.len(), 32, "128 random bits: {cookie}");
        assert_eq!(request(&first, "GET /api/status", cookie, b"").status, 200);
    }
    let (second, _run) = server(Some(TOKEN));
    let port = |server: &WebServer| server.addr().port().to_string();
    let stale = one.replace(&port(&first), &port(&second));
    assert_eq!(request(&second, "GET /api/status", &stale, b"").status, 401);
}

#[test]
fn a_flood_from_an_address_silences_neither_its_open_pages_nor_health() {
    for token in [None, Some(TOKEN)] {
        let (server, _run) = server(token);
        let query = token.map(|token| format!("?token={}", token.replace(' ', "+")));
        let page = get(&server, &format!("/{}", query.unwrap_or_default()));
        let cookie = cookie_of(&page);
        let mut stream = connect(&server);
        let one = format!("GET /icon.svg HTTP/1.1\r\nHost: {}\r\n\r\n", server.addr());
        let mut reading = stream.try_clone().unwrap();
        let flood = std::thread::spawn(move || stream.write_all(one.repeat(1500).as_bytes()));
        let mut got = Vec::new();
        let mut piece = [0; 1 << 16];
        let seen = |got: &[u8]| got.windows(12).any(|part| part == b"HTTP/1.1 429");
        while !seen(&got) {
            let count = reading.read(&mut piece).unwrap();
            got.extend_from_slice(&piece[..count]);
        }
        assert_eq!(request(&server, "GET /api/status", &cookie, b"").status, 200);
        assert_eq!(get(&server, "/healthz").status, 200);
        if token.is_some() {
            let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
            assert_eq!(request(&server, "GET /metrics", &bearer, b"").status, 200);
        }
        drop(reading);
        let _ = flood.join().unwrap();
    }
}

#[test]
fn a_session_has_a_limit_too() {
    let (server, _run) = server(None);
    let cookie = cookie_of(&get(&server, "/"));
    let mut stream = connect(&server);
    let one = format!("GET /icon.svg HTTP/1.1\r\nHost: {}\r\n{cookie}\r\n", server.addr());
    let mut all = one.repeat(599);
    all.push_str(&one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    let mut reading = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || stream.write_all(all.as_bytes()));
    let mut text = String::new();
    reading.read_to_string(&mut text).unwrap();
    sender.join().unwrap().unwrap();
    assert!(text.contains("HTTP/1.1 429"));
}

#[test]
fn guessing_the_token_is_slowed_down_even_when_it_is_right_at_last() {
    let (server, _run) = server(Some(TOKEN));
    let guess = |token: &str| {
        request(&server, "GET /metrics", &format!("Authorization: Bearer {token}\r\n"), b"").status
    };
    let answers: Vec<u16> = (0..14).map(|n| guess(&format!("guess {n}"))).collect();
    assert_eq!(answers[..10], [401; 10]);
    assert_eq!(answers[13], 429);
    assert_eq!(guess(TOKEN), 429);
}

#[test]
fn a_flood_of_requests_is_slowed_down() {
    let (server, _run) = server(None);
    let mut stream = connect(&server);
    let one = format!("GET /icon.svg HTTP/1.1\r\nHost: {}\r\n\r\n", server.addr());
    let mut all = one.repeat(499);
    all.push_str(&one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    let mut reading = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || stream.write_all(all.as_bytes()));
    let mut text = String::new();
    reading.read_to_string(&mut text).unwrap();
    sender.join().unwrap().unwrap();
    assert!(text.matches("HTTP/1.1 200").count() >= 300);
    assert!(text.matches("HTTP/1.1 429").count() > 50);
}

#[test]
fn only_hosts_that_name_this_server_are_answered() {
    let (server, _run) = server(None);
    let port = server.addr().port();
    let with = |host: &str| {
        let text = format!("GET /icon.svg HTTP/1.1\r\nConnection: close\r\n{host}\r\n");
        raw(&server, text.as_bytes()).unwrap().status
    };
    for good in ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]"] {
        assert_eq!(with(&format!("Host: {good}:{port}\r\n")), 200, "{good}");
    }
    // A tunnel may give it another port.
    assert_eq!(with("Host: localhost:9999\r\n"), 200);
    for bad in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7"] {
        assert_eq!(with(&format!("Host: {bad}:{port}\r\n")), 421, "{bad}");
    }
    for malformed in ["", "Host: \r\n", "Host: [::1\r\n", "Host: localhost:x\r\n"] {
        assert_eq!(with(malformed), 400, "{malformed}");
    }
    assert_eq!(with(&format!("Host: localhost:{port}\r\nHost: evil.example\r\n")), 400);
    let proxy = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(&server, proxy.as_bytes()).unwrap().status, 400);
}

#[test]
fn requests_from_other_sites_are_refused() {
    let (server, _run) = server(None);
    let host = server.addr();
    let remove =
        |headers: &str| request(&server, "POST /api/record", headers, br#"{"on":true}"#).status;
    assert_eq!(remove(JSON), 200);
    let own = format!("{JSON}Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(remove(&own), 200);
    for foreign in ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        assert_eq!(remove(&format!("{JSON}{foreign}\r\n")), 403, "{foreign}");
    }
    assert_eq!(remove(&format!("{JSON}Sec-Fetch-Site: same-site\r\n")), 403);
    assert_eq!(remove("Content-Type: application/json\r\n"), 403, "without our header");
    let form = "Content-Type: text/plain\r\nX-P2SAM: 1\r\n";
    assert_eq!(remove(form), 415);
    // Another site's page may link here, but not show the picture.
    let image = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n";
    assert_eq!(request(&server, "GET /api/snapshot", image, b"").status, 403);
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
    assert_eq!(request(&server, "GET /", link, b"").status, 200);
}

#[test]
fn every_answer_forbids_framing_caching_and_foreign_content() {
    let (server, _run) = server(None);
    for path in ["/", "/page.js", "/api/status", "/healthz", "/nope", "/metrics"] {
        let head = get(&server, path).head.to_ascii_lowercase();
        for needed in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(needed), "{path} lacks {needed}");
        }
        assert!(!head.contains("access-control-allow"));
    }
    let page = get(&server, "/").text();
    assert!(!page.contains("style=") && !page.contains("onclick") && !page.contains("http"));
}
