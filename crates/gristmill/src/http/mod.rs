//! The HTTP server: connections with limits, and the routes.

pub mod access;
mod body;
mod conditional;
pub mod download;
pub mod error;
pub mod hook;
mod html;
mod names;
pub mod pages;
pub mod peer;
mod probes;
mod readers;
mod sender;
mod sns;
mod stall;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::util::MapRequest;

use crate::app::App;
use peer::Peer;
use stall::{StallLimits, Unstalled};

/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long to wait before accepting again when the system has no room for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How much a client must take within [`Limits::stall`] of what waits for it.
const STALL_BYTES_MIN: usize = 16 << 10;

/// What bounds the server. Webhooks must find room whatever readers do, so that the answers for
/// readers, and the clients that do not read, are far fewer than the connections.
#[derive(Clone, Debug)]
struct Limits {
    /// Connections served at once; more wait in the system's queue.
    connections: usize,
    /// How long a client may take to send the head of a request, or leave a connection idle.
    head: Duration,
    /// Answers under way at once that are for readers.
    readers: usize,
    /// Clients waited for at once that do not read what they asked for.
    stalled: usize,
    /// How long each of these is waited for.
    stall: Duration,
    /// How long requests may go on once the program is asked to stop.
    grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            head: Duration::from_secs(15),
            readers: 256,
            stalled: 1024,
            stall: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// All routes.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(hook::routes(&app))
        .merge(download::routes())
        .merge(pages::routes())
        .fallback(not_found)
        .with_state(app)
}

/// What a worker answers: whether it is up and ready.
pub fn probes_alone(app: App) -> Router {
    probes::health().with_state(app)
}

async fn not_found() -> Response {
    let body = serde_json::json!({ "error": "there is nothing under this path", "hint": "webhooks go to /hooks/<project>, archives are under /archive/<key>" });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// Serves until `stop` turns true; then requests under way may end.
pub async fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    serve_within(listener, router, stop, Limits::default()).await;
}

async fn serve_within(
    listener: TcpListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
    limits: Limits,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let stall = StallLimits {
        time: limits.stall,
        bytes_min: STALL_BYTES_MIN,
        places: Arc::new(Semaphore::new(limits.stalled)),
    };
    let router = readers::limit(router, limits.readers);
    let (open, mut closed) = tokio::sync::mpsc::channel::<()>(1);
    while !*stop.borrow() {
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let (router, stop, open) = (router.clone(), stop.clone(), open.clone());
                let stall = stall.clone();
                tokio::spawn(async move {
                    connection(stream, peer, stall, limits.head, router, stop).await;
                    drop((place, open));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop((listener, open));
    // Ends when the last connection has dropped its sender.
    let _ = tokio::time::timeout(limits.grace, closed.recv()).await;
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let place = room.clone().acquire_owned().await.expect("nobody closes the semaphore");
    let (stream, address) = listener.accept().await?;
    Ok((stream, Peer(address.ip()), place))
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    stall: StallLimits,
    head_max: Duration,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    // Answers are small and whole: waiting for more to send only costs time.
    if stream.set_nodelay(true).and_then(|()| stall::hold_little(&stream)).is_err() {
        return;
    }
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_max).max_buf_size(HEAD_BYTES_MAX);
    let io = TokioIo::new(Unstalled::new(stream, stall));
    let router = MapRequest::new(router, move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    });
    let serving = http.serve_connection(io, TowerToHyperService::new(router));
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        _ = stop.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}
