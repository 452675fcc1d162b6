//! Who may ask: the rate of the peer or session, the `Host` header, the page a request comes from, the
//! token.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::rate::{Limit, RateLimit, network};
use super::reply::Refusal;

/// What a page of ours sends with every request that changes something. Another site's page cannot
/// send it without asking first, and is never answered.
pub(super) const OWN_HEADER: &str = "x-p2sam";

/// An open page asks about four times a second. Of those who show no session, several may share one
/// address.
const REQUESTS: Limit = Limit { burst: 300.0, per_second: 80.0 };
/// Questions for health, which no flood of other requests may silence.
const PROBES: Limit = Limit { burst: 30.0, per_second: 10.0 };
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
    requests: RateLimit<IpAddr>,
    probes: RateLimit<IpAddr>,
    guesses: RateLimit<IpAddr>,
    /// Browsers that were let in, by the hash of their cookie's random value.
    sessions: RateLimit<Hash>,
    /// Programs that show the token with each request.
    programs: RateLimit<IpAddr>,
}

/// How a request fares.
pub(super) enum Entry {
    /// It may do all. A page that is asked for takes the cookie along, if there is one.
    Open(Option<String>),
    /// It brought the token in its address: this cookie lets it in from now on.
    Login(String),
    /// It has shown no token.
    Stranger,
}

impl Guard {
    /// For a server at `bound`.
    pub fn new(bound: SocketAddr, token: Option<&str>) -> Self {
        let name = (!bound.ip().is_loopback()).then(machine_name).flatten();
        Self {
            bound,
            name,
            token: token.map(|token| hash(token.as_bytes())),
            // Cookies are shared by all ports of a host.
            cookie_name: format!("p2sam_{}", bound.port()),
            requests: RateLimit::new(REQUESTS),
            probes: RateLimit::new(PROBES),
            guesses: RateLimit::new(GUESSES),
            sessions: RateLimit::new(REQUESTS),
            programs: RateLimit::new(REQUESTS),
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
        let (peer, now) = (network(peer), Instant::now());
        let bearer = bearer(headers);
        // Who has shown who they are do not share a flood's fate, wherever it comes from.
        let session = self.session(headers, now);
        let allowed = match session {
            Some(allowed) => allowed,
            None if bearer.is_some_and(|token| self.is_token(token.as_bytes())) => {
                self.programs.allow(peer, now)
            }
            None if uri.path() == "/healthz" => self.probes.allow(peer, now),
            None => self.requests.allow(peer, now),
        };
        if !allowed {
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many requests"));
        }
        let host = self.host(uri, headers)?;
        own_site(method, host, headers)?;
        if session.is_some() {
            return Ok(Entry::Open(None));
        }
        self.entry(peer, uri, bearer)
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

    /// Lets in who has no session.
    fn entry(&self, peer: IpAddr, uri: &Uri, bearer: Option<&str>) -> Result<Entry, Refusal> {
        if self.token.is_none() {
            let cookie = (uri.path() == "/").then(|| self.new_session()).transpose()?;
            return Ok(Entry::Open(cookie));
        }
        if let Some(token) = bearer {
            return self.guess(peer, token.as_bytes()).map(|()| Entry::Open(None));
        }
        if uri.path() == "/"
            && let Some(token) = parameter(uri, "token")
        {
            self.guess(peer, &form_decoded(token))?;
            return Ok(Entry::Login(self.new_session()?));
        }
        Ok(Entry::Stranger)
    }

    /// Compares a token. A peer with too many wrong ones must wait, even with the right one.
    fn guess(&self, peer: IpAddr, token: &[u8]) -> Result<(), Refusal> {
        if !self.guesses.has(peer, Instant::now()) {
            let text = "too many wrong tokens: wait some seconds";
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, text));
        }
        if self.is_token(token) {
            return Ok(());
        }
        self.guesses.allow(peer, Instant::now());
        log::warn!("web: a wrong token from {peer}");
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "wrong token"))
    }

    /// Takes the same time wherever the two differ.
    fn is_token(&self, token: &[u8]) -> bool {
        self.token.is_some_and(|own| own.ct_eq(&hash(token)).into())
    }

    /// The cookie of a new session: a random number that only the browser knows. Here its hash is
    /// kept; looking it up tells nothing of the number.
    fn new_session(&self) -> Result<String, Refusal> {
        let mut number = [0; 16];
        getrandom::fill(&mut number).map_err(|error| {
            log::error!("web: the system gives no random numbers: {error}");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        })?;
        let value: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
        self.sessions.allow(hash(value.as_bytes()), Instant::now());
        Ok(format!("{}={value}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name))
    }

    /// Whether the session that a request shows may ask now; `None` if it shows none.
    fn session(&self, headers: &HeaderMap, now: Instant) -> Option<bool> {
        let cookies =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie_name)
            .map(|(_, value)| value);
        values.find_map(|value| self.sessions.allow_known(hash(value.as_bytes()), now))
    }
}

/// The token of an `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    only(headers, &header::AUTHORIZATION)
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
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

/// A value as a form writes it.
fn form_decoded(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

fn hash(text: &[u8]) -> Hash {
    Sha256::digest(text).into()
}

fn machine_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}
