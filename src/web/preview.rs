//! The newest picture for browsers.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

/// What stands between two parts of the MJPEG stream.
pub(super) const BOUNDARY: &str = "p2sam-picture";

/// Holds the newest JPEG for all clients of the stream. A newer one replaces it; nothing queues and
/// publishing never waits.
#[derive(Debug)]
pub struct Preview {
    newest: watch::Sender<Bytes>,
    started: Instant,
}

impl Default for Preview {
    fn default() -> Self {
        Self { newest: watch::Sender::new(Bytes::new()), started: Instant::now() }
    }
}

impl Preview {
    /// Without a picture.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many clients look. While it is 0, no picture needs to be encoded.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.newest.receiver_count()
    }

    /// Gives every client a new JPEG.
    pub fn publish(&self, jpeg: &[u8]) {
        // One part of the stream, made once for all clients. The boundary that ends it goes with
        // it, because browsers show a picture only when they have seen its end.
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Server-Ms: {}\r\n\r\n",
            jpeg.len(),
            self.clock_ms()
        );
        let mut part = Vec::with_capacity(head.len() + jpeg.len() + BOUNDARY.len() + 6);
        part.extend_from_slice(head.as_bytes());
        part.extend_from_slice(jpeg);
        part.extend_from_slice(format!("\r\n--{BOUNDARY}\r\n").as_bytes());
        self.newest.send_replace(Bytes::from(part));
    }

    /// Milliseconds on the clock of the parts' `X-Server-Ms`.
    pub(super) fn clock_ms(&self) -> u128 {
        self.started.elapsed().as_millis()
    }

    /// Parts published from now on; one from before might be hours old.
    pub(super) fn subscribe(&self) -> watch::Receiver<Bytes> {
        self.newest.subscribe()
    }
}
