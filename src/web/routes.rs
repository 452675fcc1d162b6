//! One function a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::guard::{Entry, Guard, parameter};
use super::input::{
    Accept, LARGE_BODIES, Nothing, Profile, Record, Remove, Segment, bad, check_object,
    check_prompt, read_json, read_mask,
};
use super::places::Place;
use super::reply::{Refusal, Reply, body, bytes, holding, json, logged_in, set_cookie};
use super::stream::Mjpeg;
use super::{Operator, preview, prometheus};
use crate::live::{MAX_OBJECTS, ObjectId};

/// Most clients of the stream.
pub(super) const MAX_STREAMS: usize = 16;
/// Most questions to the run that may be under way, so that a hanging one gathers no threads.
const MAX_CALLS: usize = 24;

/// How long a client waits for a quick answer, and for the model.
const QUICK: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_secs(60);

/// The page's script: one file for the browser, cut by subject here.
const SCRIPT: &str = concat!(
    include_str!("page/live.js"),
    include_str!("page/status.js"),
    include_str!("page/annotate.js"),
    include_str!("page/commands.js"),
);

/// What all connections share.
pub(super) struct App {
    operator: Arc<dyn Operator>,
    guard: Guard,
    streams: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    /// The model works for one request at a time.
    model: Arc<Semaphore>,
    /// Large bodies that may be in memory at a time.
    large: Arc<Semaphore>,
    requests: AtomicU64,
    refused: AtomicU64,
    stop: watch::Receiver<bool>,
}

type Answer = Result<Reply, Refusal>;

impl App {
    pub fn new(operator: Arc<dyn Operator>, guard: Guard, stop: watch::Receiver<bool>) -> Self {
        Self {
            operator,
            guard,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            model: Arc::new(Semaphore::new(1)),
            large: Arc::new(Semaphore::new(LARGE_BODIES)),
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            stop,
        }
    }

    /// Answers one request; whatever is wrong with it becomes an answer as well. Until that is sent,
    /// its connection has a place among those that are answered.
    pub async fn answer(
        &self,
        peer: IpAddr,
        place: &Arc<Place>,
        request: Request<Incoming>,
    ) -> Reply {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let Some(answered) = place.answer() else {
            let text = "too many requests are being answered: try again";
            self.refused.fetch_add(1, Ordering::Relaxed);
            let mut reply = Reply::from(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text));
            reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return reply;
        };
        holding(self.answered(peer, request).await, answered)
    }

    async fn answered(&self, peer: IpAddr, request: Request<Incoming>) -> Reply {
        let entry = self.guard.check(peer, request.method(), request.uri(), request.headers());
        let answer = match entry {
            Ok(Entry::Open(cookie)) => self.route(request).await.map(|mut reply| {
                if let Some(cookie) = cookie {
                    set_cookie(&mut reply, &cookie);
                }
                reply
            }),
            Ok(Entry::Login(cookie)) => Ok(logged_in(&cookie)),
            Ok(Entry::Stranger) => self.stranger(request).await,
            Err(refusal) => Err(refusal),
        };
        answer.unwrap_or_else(|refusal| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            log::debug!("web: {}: {}", refusal.status, refusal.text);
            refusal.into()
        })
    }

    /// Without the token there is a form for it, and whether all is well.
    async fn stranger(&self, request: Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/healthz" | "/page.css" | "/icon.svg" => self.route(request).await,
            "/" => {
                let mut reply = bytes("text/html; charset=utf-8", include_str!("page/login.html"));
                *reply.status_mut() = StatusCode::UNAUTHORIZED;
                Ok(reply)
            }
            _ => {
                let text = "log in: open the address with the token that p2sam has printed, or \
                            send 'Authorization: Bearer TOKEN'";
                let mut reply = Reply::from(Refusal::new(StatusCode::UNAUTHORIZED, text));
                let challenge = HeaderValue::from_static("Bearer");
                reply.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                Ok(reply)
            }
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let posts = *request.method() == Method::POST;
        match request.uri().path() {
            "/" if reads => Ok(bytes("text/html; charset=utf-8", include_str!("page/index.html"))),
            "/page.css" if reads => {
                Ok(bytes("text/css; charset=utf-8", include_str!("page/page.css")))
            }
            "/page.js" if reads => Ok(bytes("text/javascript; charset=utf-8", SCRIPT)),
            "/icon.svg" if reads => Ok(bytes("image/svg+xml", include_str!("page/icon.svg"))),
            "/stream.mjpeg" if reads => self.stream(),
            "/api/status" if reads => self.status().await,
            "/api/latency" if reads => json(&self.call(|run| run.latency()).await?),
            "/api/snapshot" if reads => self.snapshot().await,
            "/metrics" if reads => self.metrics().await,
            "/healthz" if reads => self.health().await,
            "/api/freeze" if posts => self.freeze(request).await,
            "/api/segment" if posts => self.segment(request).await,
            "/api/accept" if posts => self.accept(request).await,
            "/api/upload" if posts => self.upload(request).await,
            "/api/remove" if posts => {
                let Remove { object } = read_json(request).await?;
                self.done(move |run| run.remove(object)).await
            }
            "/api/profile" if posts => {
                let Profile { name } = read_json(request).await?;
                self.done(move |run| run.set_profile(&name)).await
            }
            "/api/record" if posts => {
                let Record { on } = read_json(request).await?;
                self.done(move |run| run.record(on)).await
            }
            "/" | "/page.css" | "/page.js" | "/icon.svg" | "/stream.mjpeg" | "/api/status"
            | "/api/latency" | "/api/snapshot" | "/metrics" | "/healthz" => Err(wrong("GET")),
            "/api/freeze" | "/api/segment" | "/api/accept" | "/api/upload" | "/api/remove"
            | "/api/profile" | "/api/record" => Err(wrong("POST")),
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this address")),
        }
    }

    fn stream(&self) -> Answer {
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let text = format!("{MAX_STREAMS} clients look already: close one");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        })?;
        let pictures = self.operator.preview().subscribe();
        let content_type = concat!("multipart/x-mixed-replace; boundary=", "p2sam-picture");
        debug_assert!(content_type.ends_with(preview::BOUNDARY));
        Ok(body(content_type, Mjpeg::new(pictures, self.stop.clone(), place)))
    }

    async fn status(&self) -> Answer {
        let status = self.call(|run| run.status()).await?;
        let server_ms = self.operator.preview().clock_ms();
        json(&json!({ "server_ms": server_ms, "max_objects": MAX_OBJECTS, "run": status }))
    }

    async fn snapshot(&self) -> Answer {
        let picture = self.done_with(|run| run.snapshot()).await?;
        let (kind, name) = if picture.starts_with(b"\x89PNG") {
            ("image/png", "attachment; filename=\"p2sam-snapshot.png\"")
        } else {
            ("image/jpeg", "attachment; filename=\"p2sam-snapshot.jpg\"")
        };
        let mut reply = bytes(kind, picture);
        reply.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
        Ok(reply)
    }

    async fn metrics(&self) -> Answer {
        let status = self.call(|run| run.status()).await?;
        let server = prometheus::Server {
            clients: self.operator.preview().watchers(),
            requests: self.requests.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        };
        let text = prometheus::exposition(&status, &server);
        Ok(bytes("text/plain; version=0.0.4; charset=utf-8", text))
    }

    async fn health(&self) -> Answer {
        self.call(|run| run.status())
            .await?
            .health()
            .map_err(|text| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))?;
        Ok(bytes("text/plain", "ok\n"))
    }

    async fn freeze(&self, request: Request<Incoming>) -> Answer {
        let Nothing {} = read_json(request).await?;
        let frozen = self.ask_model(|run| run.freeze()).await?;
        let mut reply = bytes("image/jpeg", frozen.jpeg);
        let headers = reply.headers_mut();
        headers.insert("x-frozen", HeaderValue::from(frozen.id));
        headers.insert("x-width", HeaderValue::from(frozen.width));
        headers.insert("x-height", HeaderValue::from(frozen.height));
        Ok(reply)
    }

    async fn segment(&self, request: Request<Incoming>) -> Answer {
        let Segment { frozen, prompt } = read_json(request).await?;
        check_prompt(&prompt)?;
        let proposal = self.ask_model(move |run| run.segment(frozen, &prompt)).await?;
        let mut reply = bytes("image/png", proposal.mask_png);
        let headers = reply.headers_mut();
        headers.insert("x-area", HeaderValue::from(proposal.area));
        if let Ok(iou) = HeaderValue::from_str(&format!("{:.4}", proposal.predicted_iou)) {
            headers.insert("x-predicted-iou", iou);
        }
        Ok(reply)
    }

    async fn accept(&self, request: Request<Incoming>) -> Answer {
        let Accept { frozen, object } = read_json(request).await?;
        check_object(object)?;
        let object = self.ask_model(move |run| run.accept(frozen, object)).await?;
        log::info!("web: object {object} accepted");
        json(&json!({ "object": object }))
    }

    async fn upload(&self, request: Request<Incoming>) -> Answer {
        let number = |name| parameter(request.uri(), name).map(str::parse::<u64>).transpose();
        let malformed = |_| bad("'frozen' and 'object' are to be numbers");
        let frozen = number("frozen").map_err(malformed)?;
        let object = number("object").map_err(malformed)?;
        let frozen = frozen.ok_or_else(|| bad("the address needs ?frozen=NUMBER"))?;
        let object = object.map(|object| ObjectId::try_from(object).unwrap_or(ObjectId::MAX));
        check_object(object)?;
        let mask = read_mask(request, &self.large).await?;
        let object = self.ask_model(move |run| run.upload(frozen, &mask.bytes, object)).await?;
        log::info!("web: object {object} uploaded");
        json(&json!({ "object": object }))
    }

    /// Does something quick that may fail.
    async fn done(
        &self,
        ask: impl FnOnce(&dyn Operator) -> Result<(), String> + Send + 'static,
    ) -> Answer {
        self.done_with(ask).await?;
        json(&json!({}))
    }

    async fn done_with<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Operator) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.call(ask).await?.map_err(|text| Refusal::new(StatusCode::CONFLICT, text))
    }

    /// Asks the run on a thread that may block.
    async fn call<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Operator) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask(&self.calls, QUICK, ask).await
    }

    async fn ask_model<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Operator) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Refusal> {
        let result = self.ask(&self.model, SLOW, ask).await?;
        result.map_err(|text| Refusal::new(StatusCode::CONFLICT, text))
    }

    /// The permit stays with the work, also when the client has gone.
    async fn ask<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        limit: Duration,
        ask: impl FnOnce(&dyn Operator) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let operator = Arc::clone(&self.operator);
        let permits = Arc::clone(permits);
        let work = async move {
            let permit = permits.acquire_owned().await.ok()?;
            let job = move || {
                let answer = ask(&*operator);
                drop(permit);
                answer
            };
            tokio::task::spawn_blocking(job).await.ok()
        };
        match timeout(limit, work).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                log::error!("web: the run failed to answer");
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error"))
            }
            Err(_) => {
                let text = format!("no answer within {} s: try again", limit.as_secs());
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))
            }
        }
    }
}

fn wrong(method: &str) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("use {method}"))
}
