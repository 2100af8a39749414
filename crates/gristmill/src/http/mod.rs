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
mod probes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::app::App;

/// Connections served at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 4096;
/// How long a client may take to send the head of a request, or leave a connection idle.
const HEAD_MAX: Duration = Duration::from_secs(15);
/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long requests may go on once the program is asked to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait before accepting again when the system has no room for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// All routes.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(hook::routes(&app))
        .merge(download::routes())
        .merge(pages::routes())
        .fallback(not_found)
        .with_state(app)
}

async fn not_found() -> Response {
    let body = serde_json::json!({ "error": "there is nothing under this path", "hint": "webhooks go to /hooks/<project>, archives are under /archive/<key>" });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// Serves until `stop` turns true; then requests under way may end.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (open, mut closed) = tokio::sync::mpsc::channel::<()>(1);
    while !*stop.borrow() {
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop, open) = (router.clone(), stop.clone(), open.clone());
                tokio::spawn(async move {
                    connection(stream, router, stop).await;
                    drop((permit, open));
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
    let _ = tokio::time::timeout(GRACE, closed.recv()).await;
}

async fn connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // Answers are small and whole: waiting for more to send only costs time.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(HEAD_BYTES_MAX);
    let serving = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
