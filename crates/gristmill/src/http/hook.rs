//! `POST /hooks/{project}`: verify, store durably, answer.
//!
//! The body is read within limits of size, time and the memory all bodies share; verified as the
//! project's configuration says; and stored. 2xx means that it is on the disk. A project that does not
//! exist, or has no webhook, costs the same work and gets the same answer as a bad signature.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use gristmill_db::DbError;
use gristmill_db::delivery::{self, Accepted, NewDelivery};
use gristmill_forge::{Forge, Headers, Secret, VerifyError, VerifyOptions, verify, verify_dummy};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;
use crate::fail;

/// How long a whole body may take.
const BODY_MAX: Duration = Duration::from_secs(30);
/// How long a client may send nothing of its body.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// What the shared memory of bodies is counted in.
const UNIT_BYTES: usize = 1024;
/// What senders are told to wait when the server cannot take a delivery now.
const RETRY_AFTER_SECONDS: &str = "30";
/// Bodies longer than this are hashed away from the threads that serve everybody.
const HASH_HERE_MAX: usize = 1 << 20;

/// What the routes share.
struct Hooks {
    app: App,
    /// Memory for bodies that are not stored yet.
    memory: Arc<Semaphore>,
    /// Verifies what belongs to no project, so that it takes as long.
    dummy: Secret,
}

/// The route.
pub fn routes(app: &App) -> Router<App> {
    let bytes = app.live().config.server.bodies_in_flight_bytes_max;
    let units = usize::try_from(bytes).unwrap_or(usize::MAX) / UNIT_BYTES;
    let memory = Arc::new(Semaphore::new(units.clamp(1, Semaphore::MAX_PERMITS)));
    let random = [app.db.random().to_ne_bytes(), app.db.random().to_ne_bytes()].concat();
    // A space is no secret; random bytes that are all blank would be, which does not happen.
    let dummy = Secret::new([random.as_slice(), b"x"].concat()).expect("not blank");
    let hooks = Arc::new(Hooks { app: app.clone(), memory, dummy });
    Router::new().route("/hooks/{*project}", post(move |path, request| receive(hooks, path, request)))
}

/// Why a delivery is not accepted.
#[derive(Debug)]
enum Refusal {
    TooLarge(u64),
    TooSlow,
    Broken,
    Busy(&'static str),
    /// One answer for bad signatures, unknown projects and projects without a webhook.
    Unverified,
    /// The sender has the secret but its request is not what the forge documents.
    Malformed(String),
    Conflict(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, hint) = match self {
            Refusal::TooLarge(max) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is longer than {max} bytes"),
                "server.body_max allows more",
            ),
            Refusal::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive".to_owned(), "send it again")
            }
            Refusal::Broken => {
                (StatusCode::BAD_REQUEST, "the body ended early or is not HTTP".to_owned(), "send it again")
            }
            Refusal::Busy(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_owned(), "send it again later"),
            Refusal::Unverified => (
                StatusCode::UNAUTHORIZED,
                "no webhook of this name has such a signature".to_owned(),
                "check the project's name in the URL and its secret at the forge",
            ),
            Refusal::Malformed(why) => {
                (StatusCode::BAD_REQUEST, why, "see the forge's documentation of webhooks")
            }
            Refusal::Conflict(id) => (
                StatusCode::CONFLICT,
                format!("delivery {id} came before under the same id with another body"),
                "a forge never does this: somebody else may have the secret",
            ),
        };
        let mut response =
            (status, Json(serde_json::json!({ "error": error, "hint": hint }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

async fn receive(hooks: Arc<Hooks>, Path(project): Path<String>, request: Request) -> Response {
    match accept(&hooks, &project, request).await {
        Ok(Accepted::New(id) | Accepted::Again(id)) => {
            (StatusCode::ACCEPTED, Json(serde_json::json!({ "delivery": id.to_string() }))).into_response()
        }
        Ok(Accepted::Conflict(id)) => {
            tracing::warn!(delivery.id = %id, project.name = project, "audit: another body came under the id of a stored delivery");
            Refusal::Conflict(id.to_string()).into_response()
        }
        Err(refusal) => {
            tracing::debug!(project.name = project, refusal = ?refusal, "a delivery was refused");
            refusal.into_response()
        }
    }
}

async fn accept(hooks: &Arc<Hooks>, project: &str, request: Request) -> Result<Accepted, Refusal> {
    let (head, body) = request.into_parts();
    let (body, _memory) = read_body(hooks, &head.headers, body).await?;
    let new = verify_as_configured(hooks, project, &head.headers, body).await?;
    let stored = hooks.app.db.transact(move |tx| delivery::accept(tx, &new)).await;
    fail::point("accept.stored");
    stored.map_err(|error: DbError| {
        tracing::error!(%error, "a verified delivery could not be stored; its sender was told to send it again");
        Refusal::Busy("the delivery cannot be stored now")
    })
}

/// Reads the body into memory, counted against what all bodies share as it arrives: a client that
/// announces much and sends little holds little.
async fn read_body(
    hooks: &Hooks,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), Refusal> {
    let max = hooks.app.live().config.server.body_bytes_max;
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(Refusal::TooLarge(max));
    }
    let mut memory = take_memory(hooks, 1)?;
    let mut bytes =
        Vec::with_capacity(usize::try_from(announced.unwrap_or(0)).unwrap_or(0).min(HASH_HERE_MAX));
    let reading = async {
        loop {
            let frame =
                tokio::time::timeout(SILENCE_MAX, body.frame()).await.map_err(|_| Refusal::TooSlow)?;
            let Some(frame) = frame else { return Ok(()) };
            let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
            if bytes.len() as u64 + data.len() as u64 > max {
                return Err(Refusal::TooLarge(max));
            }
            let units = (bytes.len() + data.len()).div_ceil(UNIT_BYTES);
            if units > memory.num_permits() {
                memory.merge(take_memory(hooks, units - memory.num_permits())?);
            }
            bytes.extend_from_slice(&data);
        }
    };
    tokio::time::timeout(BODY_MAX, reading).await.map_err(|_| Refusal::TooSlow)??;
    Ok((bytes, memory))
}

fn take_memory(hooks: &Hooks, units: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let taken = hooks.memory.clone().try_acquire_many_owned(units);
    taken.map_err(|_| Refusal::Busy("too many deliveries arrive at once"))
}

/// Verifies where the request is served: a body of the usual size is hashed and packed in microseconds. A
/// long one elsewhere, so that nobody waits for it.
async fn verify_as_configured(
    hooks: &Arc<Hooks>,
    project: &str,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<NewDelivery, Refusal> {
    let verified = if body.len() > HASH_HERE_MAX {
        let (hooks, project, headers) = (hooks.clone(), project.to_owned(), headers.clone());
        let verifying = move || verify_body(&hooks, &project, &headers, body);
        tokio::task::spawn_blocking(verifying).await.map_err(|_| Refusal::Busy("the program is stopping"))?
    } else {
        verify_body(hooks, project, headers, body)
    };
    verified.map_err(refusal)
}

fn verify_body(
    hooks: &Hooks,
    project: &str,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<NewDelivery, VerifyError> {
    let live = hooks.app.live();
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = Headers::new(pairs);
    match live.hooks.get(project) {
        Some(hook) => {
            let verified = verify(hook.forge, &headers, body.into(), &hook.secrets, hook.options)?;
            // From here on only the packed body is held.
            Ok(NewDelivery {
                project: hook.project,
                remote_id: verified.delivery_id().to_owned(),
                event: verified.event().to_owned(),
                verifier: verified.verifier().to_string(),
                body: delivery::Body::pack(verified.body()),
            })
        }
        None => {
            Err(verify_dummy(Forge::Github, &headers, body.into(), &hooks.dummy, VerifyOptions::default()))
        }
    }
}

fn refusal(error: VerifyError) -> Refusal {
    if error.is_authenticated() { Refusal::Malformed(error.to_string()) } else { Refusal::Unverified }
}
