//! Sockets, limits and threads.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Operator;
use super::guard::Guard;
use super::places::{Place, Places};
use super::routes::App;
use super::stall::StallGuard;

/// Shorter tokens could be guessed.
const MIN_TOKEN: usize = 16;
/// Bytes that the kernel may hold for a client: a few pictures, so that a slow one sees late
/// pictures for a moment only.
const SEND_BUFFER: u32 = 256 << 10;
/// Headers may have this many bytes, and this much of an answer is buffered before the next
/// picture is asked for.
const BUFFER: usize = 16 << 10;
/// How long a head, or silence between two requests, may last; tests need not wait that long.
const HEADER_TIME: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });
/// How long a client may read nothing of what is sent to it.
const STALL_TIME: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });
/// How long requests under way may still take when the server stops.
const GRACE: Duration = Duration::from_secs(1);

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Anyone in the network could look.
    #[error("{0} can be reached from other machines: give a token, or use 127.0.0.1")]
    NeedsToken(SocketAddr),
    /// The token could be guessed.
    #[error("the token for the page has {0} bytes: use at least {MIN_TOKEN}")]
    ShortToken(usize),
    /// The address cannot be used.
    #[error("cannot listen on {addr}: {error}; is it in use, or not of this machine?")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's word.
        error: std::io::Error,
    },
    /// No threads.
    #[error("cannot start the page's threads: {0}")]
    Threads(std::io::Error),
}

/// The running page. Dropping it stops it: clients are cut, threads end. Not to be dropped on one
/// of its own threads, that is from within an [`Operator`]'s function.
#[derive(Debug)]
pub struct WebServer {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    accepts: Option<tokio::task::JoinHandle<()>>,
}

impl WebServer {
    /// Serves the page at `addr`; port 0 takes any that is free. Any address but loopback needs a
    /// token of 16 bytes or more; loopback may have one. It is plain HTTP: who can read along in the
    /// network sees picture and token.
    ///
    /// # Errors
    /// If the token is missing or short, or the address cannot be used.
    pub fn start(
        addr: SocketAddr,
        token: Option<String>,
        operator: Arc<dyn Operator>,
    ) -> Result<Self, WebError> {
        match &token {
            None if !addr.ip().is_loopback() => return Err(WebError::NeedsToken(addr)),
            Some(token) if token.len() < MIN_TOKEN => {
                return Err(WebError::ShortToken(token.len()));
            }
            _ => {}
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(8)
            .thread_name("p2sam-web")
            .enable_io()
            .enable_time()
            .build()
            .map_err(WebError::Threads)?;
        let bound = {
            let _inside = runtime.enter();
            listen(addr).and_then(|listener| Ok((listener.local_addr()?, listener)))
        };
        let (bound, listener) = bound.map_err(|error| WebError::Listen { addr, error })?;
        let (stop, stopped) = watch::channel(false);
        let guard = Guard::new(bound, token.as_deref());
        let app = Arc::new(App::new(operator, guard, stopped.clone()));
        let accepts = runtime.spawn(accept(listener, app, stopped));
        Ok(Self { addr: bound, stop, runtime: Some(runtime), accepts: Some(accepts) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let (Some(runtime), Some(accepts)) = (self.runtime.take(), self.accepts.take()) else {
            return;
        };
        if runtime.block_on(accepts).is_err() {
            log::error!("web: the server ended early");
        }
        // A hanging question to the run must not hang its end.
        runtime.shutdown_timeout(GRACE);
    }
}

/// Ends when the server is to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart need not wait for the old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(addr)?;
    socket.listen(128)
}

/// Takes connections until the stop, then lets requests under way finish.
async fn accept(listener: TcpListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Places::default());
    let mut connections = JoinSet::new();
    loop {
        // Meanwhile others wait in the system's queue.
        tokio::select! {
            () = places.room() => {}
            () = stopped(&mut stop) => break,
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (app, stop) = (Arc::clone(&app), stop.clone());
                connections.spawn(serve(stream, peer.ip(), places.enter(), app, stop));
            }
            Err(error) => {
                // Most likely there are no file handles left; others may free some.
                log::warn!("web: cannot take a connection: {error}");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Whoever is still there is cut when the set is dropped.
    let _ = timeout(GRACE, all).await;
}

async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    place: Arc<Place>,
    app: Arc<App>,
    mut stop: watch::Receiver<bool>,
) {
    // Without it the end of a picture waits for the next one.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let answering = Arc::clone(&place);
    let service = service_fn(move |request| {
        let (app, place) = (Arc::clone(&app), Arc::clone(&answering));
        async move { Ok::<_, Infallible>(app.answer(peer, &place, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(BUFFER)
        .max_headers(64)
        .serve_connection(TokioIo::new(StallGuard::new(stream, STALL_TIME)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = place.cut() => {
            log::debug!("web: a connection without a request is cut for others");
            return;
        }
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!("web: a connection ended: {error}");
    }
}
