//! `POST /hooks/{project}` and the [`OLD_ADDRESSES`]: verify, store durably, answer.
//!
//! The body is read within limits of size, time and the memory all bodies share; verified as the
//! project's configuration says; and stored. 2xx means that it is on the disk. A project that does not
//! exist, or has no webhook, costs the same work and gets the same answer as a bad signature.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use gristmill_db::delivery::{self, Accepted, NewDelivery};
use gristmill_db::{DbError, Tx, project};
use gristmill_forge::{Headers, Secret};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::peer::Peer;
use super::sender::{self, Address, Refused, Sent, To};
use super::sns::Sns;
use crate::app::App;
use crate::fail;
use crate::live::PROJECTS_OF_PATTERN_MAX;

/// How long a whole body may take.
const BODY_MAX: Duration = Duration::from_secs(30);
/// How long a client may send nothing of its body.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// What the shared memory of bodies is counted in.
const UNIT_BYTES: usize = 1024;
/// How long storing a delivery may take: forges wait for ten seconds.
const STORE_MAX: Duration = Duration::from_secs(8);
/// What senders are told to wait when the server cannot take a delivery now.
const RETRY_AFTER_SECONDS: &str = "30";
/// Bodies longer than this are hashed away from the threads that serve everybody.
const HASH_HERE_MAX: usize = 1 << 20;

/// The addresses that git2s3 had for the webhooks of all repositories, with and without the name of its stage, which
/// its own domain names had in their paths too.
pub const OLD_ADDRESSES: [&str; 4] = ["/gitpull", "/Prod/gitpull", "/zipdl", "/Prod/zipdl"];

/// What the routes share.
struct Hooks {
    app: App,
    /// Memory for bodies that are not stored yet.
    memory: Arc<Semaphore>,
    /// Verifies what belongs to no project, so that it takes as long.
    dummy: Secret,
    sns: Sns,
}

/// The route.
pub fn routes(app: &App) -> Router<App> {
    let bytes = app.live().config.server.bodies_in_flight_bytes_max;
    let units = usize::try_from(bytes).unwrap_or(usize::MAX) / UNIT_BYTES;
    let memory = Arc::new(Semaphore::new(units.clamp(1, Semaphore::MAX_PERMITS)));
    let random = [app.db.random().to_ne_bytes(), app.db.random().to_ne_bytes()].concat();
    // A space is no secret; random bytes that are all blank would be, which does not happen.
    let dummy = Secret::new([random.as_slice(), b"x"].concat()).expect("not blank");
    let sns = Sns::new(app.outgoing.clone());
    let hooks = Arc::new(Hooks { app: app.clone(), memory, dummy, sns });
    let shared = hooks.clone();
    let named = async move |Path(name): Path<String>, request: Request| {
        receive(hooks, Address::Named(name), request).await
    };
    let old = post(async move |request: Request| receive(shared, Address::Shared, request).await);
    let named = Router::new().route("/hooks/{*project}", post(named));
    OLD_ADDRESSES.into_iter().fold(named, |router, address| router.route(address, old.clone()))
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

async fn receive(hooks: Arc<Hooks>, address: Address, request: Request) -> Response {
    match accept(&hooks, &address, request).await {
        Ok(Answer::Stored(Accepted::New(id) | Accepted::Again(id))) => {
            (StatusCode::ACCEPTED, Json(serde_json::json!({ "delivery": id.to_string() }))).into_response()
        }
        Ok(Answer::Stored(Accepted::Conflict(id))) => {
            tracing::warn!(delivery.id = %id, ?address, "audit: another body came under the id of a stored delivery");
            Refusal::Conflict(id.to_string()).into_response()
        }
        Ok(Answer::Probe) => (StatusCode::OK, Json(serde_json::json!({ "ok": true }))).into_response(),
        Ok(Answer::Ignored(reason)) => {
            tracing::info!(?address, reason, "a verified delivery is for nobody here and was not kept");
            (StatusCode::ACCEPTED, Json(serde_json::json!({ "ignored": reason }))).into_response()
        }
        Err(refusal) => {
            tracing::debug!(?address, ?refusal, "a delivery was refused");
            refusal.into_response()
        }
    }
}

/// What a request that is not refused is answered with.
enum Answer {
    Stored(Accepted),
    Probe,
    Ignored(String),
}

async fn accept(hooks: &Arc<Hooks>, address: &Address, request: Request) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    let (body, _memory) = read_body(hooks, &head.headers, body).await?;
    let proxies = hooks.app.live();
    let peer = head.extensions.get::<Peer>();
    let client = peer.and_then(|peer| peer.client(&head.headers, &proxies.config.server.trusted_proxies));
    let body: Bytes = body.into();
    let certificate = certificate(hooks, address, &head.headers, client, &body).await?;
    let sent = identify_sender(hooks, address, head.headers, client, body, certificate).await?;
    let (to, new) = match confirmed(hooks, sent).await? {
        Sent::Delivery(to, new) => (to, new),
        Sent::Nobody(reason) => return Ok(Answer::Ignored(reason)),
        Sent::Probe | Sent::Confirm(..) => return Ok(Answer::Probe),
    };
    let storing = hooks.app.db.transact(move |tx| store(tx, &to, &new));
    // Stored after that, it is known when it is sent again.
    let stored = tokio::time::timeout(STORE_MAX, storing).await;
    fail::point("accept.stored");
    stored.unwrap_or(Err(DbError::Busy)).map_err(|error: DbError| {
        tracing::error!(%error, "a verified delivery could not be stored; its sender was told to send it again");
        Refusal::Busy("the delivery cannot be stored now")
    })
}

/// The certificate that a message of SNS is to be verified with. The call is bounded, and made before the message is
/// looked at further: meanwhile it holds nothing but its memory. `None` leaves it unverified: nothing is fetched for who
/// is not on the list, and nothing read of a body longer than any that SNS sends here, which is 256 KiB ("Publishing
/// large messages" in its guide: larger ones go to no https address).
async fn certificate(
    hooks: &Hooks,
    address: &Address,
    headers: &HeaderMap,
    client: Option<IpAddr>,
    body: &[u8],
) -> Result<Option<Arc<[u8]>>, Refusal> {
    let Address::Named(name) = address else { return Ok(None) };
    let live = hooks.app.live();
    let Some((hook, topic)) = live.hooks.get(name).and_then(|hook| Some((hook, hook.topic()?))) else {
        return Ok(None);
    };
    if body.len() > HASH_HERE_MAX || !hook.lets_in(client) {
        return Ok(None);
    }
    let headers = Headers::new(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    let found = hooks.sns.certificate(topic, &headers, body, hooks.app.clock.now()).await;
    found.map_err(|_| Refusal::Busy("the certificate of the message cannot be fetched now"))
}

/// Confirms the subscription that a verified message asks for. Only then is the message answered with 2xx: SNS sends
/// it again until it is.
async fn confirmed(hooks: &Hooks, sent: Sent) -> Result<Sent, Refusal> {
    let Sent::Confirm(url, sent) = sent else { return Ok(sent) };
    let confirmed = hooks.sns.confirm(&url).await;
    confirmed.map(|()| *sent).map_err(|_| Refusal::Busy("the subscription cannot be confirmed now"))
}

/// Stores a delivery; the first one of a repository that a pattern covers makes its project.
fn store(tx: &mut Tx<'_>, to: &To, new: &NewDelivery) -> Result<Answer, DbError> {
    let project = match to {
        To::Project(id) => *id,
        To::Pattern(pattern, spec) => {
            match project::of_pattern(tx, spec, &pattern.name, PROJECTS_OF_PATTERN_MAX)? {
                Some(id) => id,
                None => {
                    return Ok(Answer::Ignored(format!(
                        "the pattern {} has {PROJECTS_OF_PATTERN_MAX} projects, which is the most",
                        pattern.name
                    )));
                }
            }
        }
    };
    delivery::accept(tx, project, new).map(Answer::Stored)
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
async fn identify_sender(
    hooks: &Arc<Hooks>,
    address: &Address,
    headers: HeaderMap,
    client: Option<IpAddr>,
    body: Bytes,
    certificate: Option<Arc<[u8]>>,
) -> Result<Sent, Refusal> {
    let is_long = body.len() > HASH_HERE_MAX;
    let (this, address) = (hooks.clone(), address.clone());
    let identify = move || {
        let request =
            sender::Request { headers: &headers, client, body, certificate: certificate.as_deref() };
        sender::identify(&this.app, &this.dummy, &address, &request)
    };
    let sent = if is_long {
        tokio::task::spawn_blocking(identify).await.map_err(|_| Refusal::Busy("the program is stopping"))?
    } else {
        identify()
    };
    sent.map_err(|refused| match refused {
        Refused::Verify(error) if error.is_authenticated() => Refusal::Malformed(error.to_string()),
        Refused::Verify(_) => Refusal::Unverified,
        Refused::Address(from) => {
            tracing::warn!(
                from,
                "audit: a signed delivery came from an address that is not on the project's list"
            );
            Refusal::Unverified
        }
    })
}
