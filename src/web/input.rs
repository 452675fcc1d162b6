//! What clients send, bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::{Request, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::PagePrompt;
use super::reply::Refusal;
use crate::live::{MAX_OBJECTS, ObjectId};

const MAX_JSON: usize = 16 << 10;
const MAX_MASK: usize = 32 << 20;
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
    let text = read(request, MAX_JSON, JSON_TIME).await?;
    serde_json::from_slice(&text).map_err(|error| bad(format!("the JSON is wrong: {error}")))
}

async fn read(request: Request<Incoming>, limit: usize, time: Duration) -> Result<Bytes, Refusal> {
    let too_large =
        || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {limit} bytes are taken"));
    // What says that it is too long is not read at all.
    if request.body().size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), limit);
    match timeout(time, body.collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(bad("the request broke off")),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request came too slowly")),
    }
}

pub(super) async fn read_mask(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    expect_type(&request, "application/octet-stream")?;
    read(request, MAX_MASK, MASK_TIME).await
}
