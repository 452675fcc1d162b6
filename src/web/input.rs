//! What clients send, bounded in size and time.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{Request, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::PagePrompt;
use super::reply::Refusal;
use crate::live::{MAX_OBJECTS, ObjectId};

const MAX_JSON: usize = 16 << 10;
const MAX_MASK: usize = 32 << 20;
/// A body of more bytes is large, and few of them are read at a time: all bodies together take 64
/// (connections) x 1 MiB + 2 x 32 MiB at most. Masks have some kilobytes.
const LARGE: usize = 1 << 20;
pub(super) const LARGE_BODIES: usize = 2;
/// A body that comes more slowly than this, in bytes a second, is cut after a while, and one that
/// pauses for so long.
const SLOWEST: f64 = 65_536.0;
const SLOW_TIME: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 5 });
/// Far more than a person clicks.
const MAX_POINTS: usize = 64;
const JSON_TIME: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });
const MASK_TIME: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    pub frozen: u64,
    pub prompt: PagePrompt,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accept {
    pub frozen: u64,
    #[serde(default)]
    pub object: Option<ObjectId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remove {
    pub object: ObjectId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub on: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

pub(super) fn bad(text: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, text)
}

pub(super) fn check_object(object: Option<ObjectId>) -> Result<(), Refusal> {
    match object {
        Some(object) if !(1..=MAX_OBJECTS).contains(&usize::from(object)) => {
            Err(bad(format!("objects have numbers from 1 to {MAX_OBJECTS}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_prompt(prompt: &PagePrompt) -> Result<(), Refusal> {
    if prompt.points.len() > MAX_POINTS {
        return Err(bad(format!("at most {MAX_POINTS} points can be used")));
    }
    if prompt.rect.is_none() && !prompt.points.iter().any(|point| point.positive) {
        return Err(bad("a positive point or a box is needed"));
    }
    let mut numbers = prompt.points.iter().flat_map(|point| [point.x, point.y]);
    let finite = numbers.all(f32::is_finite);
    let rect = prompt.rect.is_none_or(|[left, top, right, bottom]| left < right && top < bottom);
    if finite && rect {
        Ok(())
    } else {
        Err(bad("points are to be finite and boxes left, top, right, bottom"))
    }
}

fn expect_type(request: &Request<Incoming>, expected: &str) -> Result<(), Refusal> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = given.and_then(|value| value.split(';').next()).unwrap_or_default();
    if kind.trim().eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let text = format!("the content type is to be {expected}");
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}

pub(super) async fn read_json<T: DeserializeOwned>(
    request: Request<Incoming>,
) -> Result<T, Refusal> {
    expect_type(&request, "application/json")?;
    // So few bytes are never large.
    let none = Arc::new(Semaphore::new(0));
    let text = read(request, MAX_JSON, JSON_TIME, &none).await?.bytes;
    serde_json::from_slice(&text).map_err(|error| bad(format!("the JSON is wrong: {error}")))
}

/// What was sent, and for a large body the right to hold it in memory.
pub(super) struct Sent {
    pub bytes: Vec<u8>,
    _large: Option<OwnedSemaphorePermit>,
}

/// Reads a body of at most `limit` bytes within `time`, and not too slowly.
async fn read(
    request: Request<Incoming>,
    limit: usize,
    time: Duration,
    large: &Arc<Semaphore>,
) -> Result<Sent, Refusal> {
    let too_large =
        || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {limit} bytes are taken"));
    let too_slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request came too slowly");
    // What says that it is too long is not read at all.
    if request.body().size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let start = Instant::now();
    let mut last = start;
    let mut body = request.into_body();
    let mut sent = Sent { bytes: Vec::new(), _large: None };
    loop {
        let earned = Duration::from_secs_f64(sent.bytes.len() as f64 / SLOWEST);
        let deadline = (start + (SLOW_TIME + earned).min(time)).min(last + SLOW_TIME);
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| too_slow())?;
        let Some(frame) = frame else { return Ok(sent) };
        let frame = frame.map_err(|_| bad("the request broke off"))?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        let length = sent.bytes.len().saturating_add(data.len());
        if length > limit {
            return Err(too_large());
        }
        if length > LARGE && sent._large.is_none() {
            let permit = Arc::clone(large).try_acquire_owned().map_err(|_| {
                let text = "other large files are being sent: try again in a moment";
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
            })?;
            sent._large = Some(permit);
        }
        sent.bytes.extend_from_slice(&data);
        last = Instant::now();
    }
}

pub(super) async fn read_mask(
    request: Request<Incoming>,
    large: &Arc<Semaphore>,
) -> Result<Sent, Refusal> {
    expect_type(&request, "application/octet-stream")?;
    read(request, MAX_MASK, MASK_TIME, large).await
}
