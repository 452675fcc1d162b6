//! Answers, each with the headers that keep a browser from doing more than it should.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// What every request gets.
pub(super) type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Only what this server sends may be loaded, run or shown, and nobody may frame the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A request that is refused or has failed, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub text: String,
}

impl Refusal {
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let body = serde_json::json!({ "error": refusal.text }).to_string();
        let mut reply = bytes("application/json", body);
        *reply.status_mut() = refusal.status;
        if refusal.status == StatusCode::TOO_MANY_REQUESTS {
            reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        reply
    }
}

/// Bytes of a known type.
pub(super) fn bytes(content_type: &'static str, bytes: impl Into<Bytes>) -> Reply {
    body(content_type, Full::new(bytes.into()))
}

/// Any body of a known type.
pub(super) fn body<B>(content_type: &'static str, body: B) -> Reply
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let mut reply = Response::new(body.boxed_unsync());
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    harden(reply.headers_mut());
    reply
}

/// A body that holds something until it is sent or dropped.
pub(super) struct Holding<T> {
    body: UnsyncBoxBody<Bytes, Infallible>,
    _held: T,
}

/// The same answer; `held` is dropped with its end.
pub(super) fn holding<T: Send + Unpin + 'static>(reply: Reply, held: T) -> Reply {
    reply.map(|body| Holding { body, _held: held }.boxed_unsync())
}

impl<T: Unpin> Body for Holding<T> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Reply, Refusal> {
    let text = serde_json::to_vec(value).map_err(|error| {
        log::error!("web: an answer cannot be written as JSON: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    })?;
    Ok(bytes("application/json", text))
}

/// To the page, with the cookie that logs in.
pub(super) fn logged_in(cookie: &str) -> Reply {
    let mut reply = bytes("text/plain", Bytes::new());
    *reply.status_mut() = StatusCode::SEE_OTHER;
    reply.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
    set_cookie(&mut reply, cookie);
    reply
}

pub(super) fn set_cookie(reply: &mut Reply, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        reply.headers_mut().insert(header::SET_COOKIE, value);
    }
}

fn harden(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
