//! How many answers for readers are under way at once, so that they leave room for webhooks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hook::OLD_ADDRESSES;

/// What readers are told to wait when there are too many.
const RETRY_AFTER_SECONDS: &str = "5";

/// At most `max` answers at once to requests that are neither webhooks nor probes; more get 503.
pub(super) fn limit(router: Router, max: usize) -> Router {
    let places = Arc::new(Semaphore::new(max));
    router.layer(from_fn(move |request, next| answer(places.clone(), request, next)))
}

async fn answer(places: Arc<Semaphore>, request: Request, next: Next) -> Response {
    if is_unbounded(request.uri().path()) {
        return next.run(request).await;
    }
    let Ok(place) = places.try_acquire_owned() else { return busy() };
    next.run(request).await.map(|body| Body::new(Held { body, _place: place }))
}

/// Deliveries have limits of their own; and who watches the server must not take it for dead when it
/// has much to send.
fn is_unbounded(path: &str) -> bool {
    path.starts_with("/hooks/") || OLD_ADDRESSES.contains(&path) || path == "/healthz" || path == "/readyz"
}

fn busy() -> Response {
    let body =
        serde_json::json!({ "error": "too many requests are being answered", "hint": "ask again later" });
    let retry_after = [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)];
    (StatusCode::SERVICE_UNAVAILABLE, retry_after, Json(body)).into_response()
}

/// A body that gives its place back once it is sent, or nobody wants it any more.
struct Held {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
