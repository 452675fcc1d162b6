//! The MJPEG stream: `multipart/x-mixed-replace`, the newest picture for each client.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::preview::BOUNDARY;
use super::server::stopped;

/// One client's place in the stream.
struct Feed {
    pictures: watch::Receiver<Bytes>,
    stop: watch::Receiver<bool>,
    /// Frees the place when the client is gone.
    _place: OwnedSemaphorePermit,
}

impl Feed {
    /// Waits for a picture newer than the last; `None` when the server stops.
    async fn next(mut self) -> Option<(Self, Bytes)> {
        tokio::select! {
            changed = self.pictures.changed() => changed.ok()?,
            () = stopped(&mut self.stop) => return None,
        }
        let part = self.pictures.borrow_and_update().clone();
        Some((self, part))
    }
}

/// The body of one client's answer. Hyper asks for the next part only when the one before is in the
/// socket's buffer, so a slow client skips pictures.
pub(super) struct Mjpeg {
    opening: Option<Bytes>,
    /// `None` after the end.
    next: Option<Next>,
}

type Next = Pin<Box<dyn Future<Output = Option<(Feed, Bytes)>> + Send>>;

impl Mjpeg {
    pub fn new(
        pictures: watch::Receiver<Bytes>,
        stop: watch::Receiver<bool>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let feed = Feed { pictures, stop, _place: place };
        Self {
            opening: Some(Bytes::from(format!("--{BOUNDARY}\r\n"))),
            next: Some(Box::pin(feed.next())),
        }
    }
}

impl Body for Mjpeg {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(opening) = self.opening.take() {
            return Poll::Ready(Some(Ok(Frame::data(opening))));
        }
        let Some(next) = self.next.as_mut() else { return Poll::Ready(None) };
        let taken = ready!(next.as_mut().poll(cx));
        Poll::Ready(match taken {
            Some((feed, part)) => {
                self.next = Some(Box::pin(feed.next()));
                Some(Ok(Frame::data(part)))
            }
            None => {
                self.next = None;
                None
            }
        })
    }
}
