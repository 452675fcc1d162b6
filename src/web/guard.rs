//! Who may ask: the peer's rate, the `Host` header, the page a request comes from, the token.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, StatusCode, Uri};
use sha2::{Digest, Sha256};

use super::rate::{Limit, RateLimit};
use super::reply::Refusal;

/// What a page of ours sends with every request that changes something. Another site's page cannot
/// send it without asking first, and is never answered.
pub(super) const OWN_HEADER: &str = "x-p2sam";

/// An open page asks about four times a second; several may share one address.
const REQUESTS: Limit = Limit { burst: 300.0, per_second: 80.0 };
/// Guesses of the token.
const GUESSES: Limit = Limit { burst: 10.0, per_second: 0.2 };

type Hash = [u8; 32];

/// Decides on each request.
pub(super) struct Guard {
    bound: SocketAddr,
    /// This machine's name, lower case, if it is reachable by more than loopback.
    name: Option<String>,
    /// Hash of the token.
    token: Option<Hash>,
    cookie_name: String,
    cookie_value: String,
    requests: RateLimit,
    guesses: RateLimit,
}

/// How a request fares.
pub(super) enum Entry {
    /// It may do all.
    Open,
    /// It brought the token in its address: this cookie lets it in from now on.
    Login(String),
    /// It has shown no token.
    Stranger,
}

impl Guard {
    /// For a server at `bound`.
    pub fn new(bound: SocketAddr, token: Option<&str>) -> Self {
        let name = (!bound.ip().is_loopback()).then(machine_name).flatten();
        let secret = token.map(|token| hash(b"p2sam cookie ", token.as_bytes()));
        let cookie_value =
            secret.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            bound,
            name,
            token: token.map(|token| hash(b"", token.as_bytes())),
            // Cookies are shared by all ports of a host.
            cookie_name: format!("p2sam_{}", bound.port()),
            cookie_value,
            requests: RateLimit::new(REQUESTS),
            guesses: RateLimit::new(GUESSES),
        }
    }

    /// Refuses what is too often, misdirected or comes from another site, then looks for the token.
    pub fn check(
        &self,
        peer: IpAddr,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Entry, Refusal> {
        if !self.requests.allow(peer, Instant::now()) {
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many requests"));
        }
        let host = self.host(uri, headers)?;
        own_site(method, host, headers)?;
        self.entry(peer, uri, headers)
    }

    /// The `Host` header, if it names this server. A name that someone else's DNS has pointed here
    /// is refused: its pages would count as the same site.
    fn host<'a>(&self, uri: &Uri, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
        let bad = |text| Refusal::new(StatusCode::BAD_REQUEST, text);
        if uri.authority().is_some() {
            return Err(bad("this is no proxy: send the path alone"));
        }
        let host =
            only(headers, &header::HOST).ok_or_else(|| bad("exactly one Host header is needed"))?;
        let name = host_name(host).ok_or_else(|| bad("the Host header is malformed"))?;
        let known = match name.parse::<IpAddr>() {
            // Addresses cannot be pointed elsewhere by DNS.
            Ok(ip) => ip.is_loopback() || self.bound.ip().is_unspecified() || ip == self.bound.ip(),
            Err(_) => {
                name == "localhost"
                    || self.name.as_ref().is_some_and(|own| {
                        name == *own || name.strip_suffix(".local") == Some(own.as_str())
                    })
            }
        };
        if known {
            return Ok(host);
        }
        let text = "unknown Host: use the address that p2sam was started with";
        Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, text))
    }

    fn entry(&self, peer: IpAddr, uri: &Uri, headers: &HeaderMap) -> Result<Entry, Refusal> {
        if self.token.is_none() {
            return Ok(Entry::Open);
        }
        if self.has_cookie(headers) {
            return Ok(Entry::Open);
        }
        let bearer = only(headers, &header::AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim().to_owned());
        if let Some(token) = bearer {
            return self.guess(peer, token.as_bytes()).map(|()| Entry::Open);
        }
        if uri.path() == "/"
            && let Some(token) = parameter(uri, "token")
        {
            self.guess(peer, &percent_decoded(token))?;
            let cookie = format!(
                "{}={}; Path=/; HttpOnly; SameSite=Strict",
                self.cookie_name, self.cookie_value
            );
            return Ok(Entry::Login(cookie));
        }
        Ok(Entry::Stranger)
    }

    /// Compares a token. A peer with too many wrong ones must wait, even with the right one.
    fn guess(&self, peer: IpAddr, token: &[u8]) -> Result<(), Refusal> {
        if !self.guesses.has(peer, Instant::now()) {
            let text = "too many wrong tokens: wait some seconds";
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, text));
        }
        if self.token.is_some_and(|own| same(&own, &hash(b"", token))) {
            return Ok(());
        }
        self.guesses.allow(peer, Instant::now());
        log::warn!("web: a wrong token from {peer}");
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "wrong token"))
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie_name)
            .map(|(_, value)| value);
        values.any(|value| {
            same(&hash(b"", self.cookie_value.as_bytes()), &hash(b"", value.as_bytes()))
        })
    }
}

/// Refuses what another site's page has caused. Programs that are no browsers send no origin.
fn own_site(method: &Method, host: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let foreign = || Refusal::new(StatusCode::FORBIDDEN, "requests from other sites are refused");
    let text = |name: &'static str| {
        headers.get(HeaderName::from_static(name)).map(|value| value.to_str().unwrap_or("?"))
    };
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let follows_a_link = reads && text("sec-fetch-mode") == Some("navigate");
    match text("sec-fetch-site") {
        None | Some("same-origin") => {}
        Some("none") if reads => {}
        Some(_) if follows_a_link => {}
        Some(_) => return Err(foreign()),
    }
    if let Some(origin) = text("origin") {
        let from = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if !from.is_some_and(|from| from.eq_ignore_ascii_case(host)) {
            return Err(foreign());
        }
    }
    if !reads && !headers.contains_key(OWN_HEADER) {
        let text = "the header 'X-P2SAM: 1' is needed";
        return Err(Refusal::new(StatusCode::FORBIDDEN, text));
    }
    Ok(())
}

/// The value of a header that occurs once and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The host's name or address, lower case, without its port.
fn host_name(host: &str) -> Option<String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let digits = match port.strip_prefix(':') {
        Some(digits) => digits,
        None if port.is_empty() => "",
        None => return None,
    };
    let valid = !name.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
}

/// A parameter of the address, as it is written there.
pub(super) fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            decoded.push(high << 4 | low);
            rest = rest.get(3..).unwrap_or_default();
        } else {
            decoded.push(if *first == b'+' { b' ' } else { *first });
            rest = tail;
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn hash(purpose: &[u8], text: &[u8]) -> Hash {
    Sha256::new().chain_update(purpose).chain_update(text).finalize().into()
}

/// Takes the same time wherever two hashes differ.
fn same(a: &Hash, b: &Hash) -> bool {
    a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn machine_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}
