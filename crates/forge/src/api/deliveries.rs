//! Deliveries that the forge sent and nobody took.
//!
//! | forge | what its API tells | for how long |
//! |---|---|---|
//! | GitHub | each attempt: id, guid, event, moment, status, repository; headers and payload one by one | 3 days; Enterprise Server 7 |
//! | GitLab, since 17.3 | each attempt with its request; no moment | 7 days |
//! | others | nothing | |
//!
//! Sources: "REST API endpoints for repository webhooks" and those for organization webhooks (deliveries), and
//! "Redelivering webhooks", of GitHub and of Enterprise Server; "Project webhooks API" and "Group webhooks API" (events) of GitLab, and its source for what a failed attempt has as its status
//! (`internal error`), the 20 entries a page, requests that were too large to keep (`oversize`), and which statuses may be
//! asked for. GitHub has a filter too, `status=failure`, which means 400 to 599: an attempt that nobody answered has none
//! of these, so there all are listed.
//!
//! What is fetched so is signed by nobody: [`UnsignedPayload`].

use std::fmt;

use bytes::Bytes;
use gristmill_model::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use super::hooks::HooksOf;
use super::read::{self, Id, Line, moment};
use super::{Api, encoded};
use crate::gitlab;
use crate::parse::Object;

/// The largest payload that is read, in bytes; GitHub sends none above 25 MB.
const PAYLOAD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most pages of attempts that are read at one look.
const PAGES_MAX: usize = 5;
/// What is asked for of GitLab's attempts: all that were not taken. `server_failure` has those that nobody answered;
/// redirects are in no category, and a webhook follows none.
const GITLAB_FAILURES: &str = "client_failure,server_failure,301,302,303,307,308";

/// A payload as the forge's API tells of it: fetched over a connection that the token opened, but **not signed**
/// with the webhook's secret. It is a hint like any payload, and a weaker one: whoever may write to the
/// forge's records could have changed it. Nothing makes a [`crate::Verified`] of it.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsignedPayload(Bytes);

/// It holds names and addresses of people.
impl fmt::Debug for UnsignedPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnsignedPayload({} bytes)", self.0.len())
    }
}

impl UnsignedPayload {
    /// The JSON, written anew: it is not byte by byte what was sent, so no signature fits it. For
    /// [`crate::parse_unverified`].
    pub fn json(&self) -> &Bytes {
        &self.0
    }
}

/// A delivery of which no attempt was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The id of its newest attempt, for [`Api::payload`].
    pub id: String,
    /// The delivery's id as its header has it: the same for all attempts, and the one that it would be stored by.
    pub guid: String,
    /// The event's name as its header has it. Empty where it was not told.
    pub event: String,
    /// When the newest attempt was made, where it is told.
    pub delivered_at: Option<Timestamp>,
    /// What we or something between answered. None where nobody did.
    pub status: Option<u16>,
    /// The forge's own id of the repository, where the list tells it: GitHub's does.
    pub repository_id: Option<String>,
    /// GitLab tells it at once.
    pub payload: Option<UnsignedPayload>,
}

/// Where a list of attempts goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place(Next);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Next {
    /// Attempts that come meanwhile move the others to later pages: some may be told of twice, none is left out.
    Page(usize),
    Cursor(String),
}

impl Next {
    fn query(&self) -> String {
        match self {
            Next::Page(page) => format!("&page={page}"),
            Next::Cursor(cursor) => format!("&cursor={}", encoded(cursor)),
        }
    }
}

/// What was found at one look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MissedDeliveries {
    /// The newest first.
    pub deliveries: Vec<Delivery>,
    /// Where the older ones begin that were not looked at; None where there are none.
    pub rest: Option<Place>,
}

/// GitHub's attempt in a list.
#[derive(Deserialize)]
struct Attempt {
    id: Id,
    guid: Id,
    delivered_at: Option<Line>,
    event: Option<Line>,
    status_code: Option<i64>,
    repository_id: Option<Id>,
}

/// GitHub's attempt by itself.
#[derive(Deserialize)]
struct Detail {
    request: Option<Object<Request>>,
}

#[derive(Deserialize)]
struct Request {
    payload: Option<Value>,
}

/// GitLab's attempt.
#[derive(Deserialize)]
struct Logged {
    id: Id,
    /// Names and values; anything but texts among them is not ours.
    request_headers: Option<Value>,
    request_data: Option<Value>,
    /// A number in a text, or words.
    response_status: Option<Line>,
}

impl Api {
    /// The deliveries of a webhook of which no attempt was answered with 2xx, as far as the forge still has them
    /// and, where it tells moments, none older than `since`: the newest, or those from the `rest` of another look on.
    ///
    /// # Errors
    /// [`ApiError`]. [`ApiError::Unsupported`] where the forge keeps none.
    pub fn missed_deliveries<E: From<ApiError>>(
        &self,
        of: HooksOf,
        hook_id: &str,
        since: Timestamp,
        rest: Option<Place>,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<MissedDeliveries, E> {
        let list = match self.family {
            Family::Github => format!("{}/deliveries?per_page=100", self.hook_path_of(of, hook_id)?),
            Family::Gitlab => {
                let hook = self.hook_path_of(of, hook_id)?;
                format!("{hook}/events?per_page=20&status={GITLAB_FAILURES}")
            }
            _ => return Err(self.no_deliveries().into()),
        };
        let (mut attempts, mut place) = (Vec::new(), rest.map(|place| place.0));
        for _ in 0..PAGES_MAX {
            let query = place.as_ref().map(Next::query).unwrap_or_default();
            let mut call = self.call(Method::Get, &format!("{list}{query}"));
            call.answer_bytes_max = PAYLOAD_BYTES_MAX;
            let answer = self.ask(operation(of), call, carry)?;
            let of_page = self.read_attempts(&answer)?;
            let is_old = |attempt: &Delivery| attempt.delivered_at.is_some_and(|at| at < since);
            // GitLab's may hold some that are none to us, and say themselves whether they are the last.
            let is_empty = of_page.is_empty() && self.family == Family::Github;
            let is_last = is_empty || of_page.iter().any(is_old);
            attempts.extend(of_page);
            place = self.next_place(&answer, place, attempts.len()).filter(|_| !is_last);
            if place.is_none() {
                break;
            }
        }
        attempts.retain(|attempt| attempt.delivered_at.is_none_or(|at| at >= since));
        Ok(MissedDeliveries { deliveries: missed(attempts), rest: place.map(Place) })
    }

    /// The payload of a delivery. None where the forge did not keep it.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn payload<E: From<ApiError>>(
        &self,
        of: HooksOf,
        hook_id: &str,
        delivery: &Delivery,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Option<UnsignedPayload>, E> {
        if self.family != Family::Github {
            return Ok(delivery.payload.clone());
        }
        let path = format!("{}/deliveries/{}", self.hook_path_of(of, hook_id)?, encoded(&delivery.id));
        let mut call = self.call(Method::Get, &path);
        call.answer_bytes_max = PAYLOAD_BYTES_MAX;
        let answer = self.ask(operation(of), call, carry)?;
        let detail: Detail = self.object(&answer)?;
        Ok(detail.request.and_then(|request| unsigned(request.0.payload)))
    }

    pub(super) fn no_deliveries(&self) -> ApiError {
        self.unsupported(
            "it keeps no deliveries that its API would tell of; what was missed is found by polling",
        )
    }

    fn next_place(&self, answer: &Answer, place: Option<Next>, taken: usize) -> Option<Next> {
        if self.family == Family::Gitlab {
            let page = if let Some(Next::Page(page)) = place { page } else { 1 };
            return read::goes_on(self.family, answer, taken).then_some(Next::Page(page + 1));
        }
        // Of the next page's address only the cursor is taken.
        let (_, query) = answer.header("Link").and_then(read::next_link)?.split_once('?')?;
        let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor="))?;
        let decoded = percent_encoding::percent_decode_str(cursor).decode_utf8().ok()?;
        Some(Next::Cursor(decoded.into_owned()))
    }

    fn read_attempts(&self, answer: &Answer) -> Result<Vec<Delivery>, ApiError> {
        if self.family == Family::Gitlab {
            let logged: Vec<Object<Logged>> = self.json(answer)?;
            return Ok(logged.into_iter().filter_map(|one| of_gitlab(one.0)).collect());
        }
        let attempts: Vec<Object<Attempt>> = self.json(answer)?;
        let read = |Object(attempt): Object<Attempt>| Delivery {
            id: attempt.id.0,
            guid: attempt.guid.0,
            event: attempt.event.map(|line| line.0).unwrap_or_default(),
            delivered_at: attempt.delivered_at.and_then(|line| moment(&line.0)),
            // Where nobody answered it is 0, or a code of GitHub's own making.
            status: attempt.status_code.and_then(|code| u16::try_from(code).ok()).filter(|code| *code > 0),
            repository_id: attempt.repository_id.map(|id| id.0),
            payload: None,
        };
        Ok(attempts.into_iter().map(read).collect())
    }
}

fn operation(of: HooksOf) -> Operation {
    match of {
        HooksOf::Repository => Operation::Deliveries,
        HooksOf::Owner => Operation::OwnerHooks,
    }
}

/// None where it has no id that it would be stored by: such a thing cannot be told from another.
fn of_gitlab(logged: Logged) -> Option<Delivery> {
    let headers = logged.request_headers.unwrap_or_default();
    let header = |name: &str| {
        let found = headers.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        found
            .1
            .as_str()
            .filter(|text| text.len() <= 200 && text.bytes().all(|c| c.is_ascii_graphic() || c == b' '))
    };
    let guid = gitlab::DELIVERY_HEADERS.into_iter().find_map(header)?.to_owned();
    Some(Delivery {
        id: logged.id.0,
        guid,
        event: header(gitlab::EVENT_HEADER).unwrap_or_default().to_owned(),
        delivered_at: None,
        status: logged.response_status.and_then(|line| line.0.parse().ok()),
        repository_id: None,
        payload: unsigned(logged.request_data),
    })
}

/// What was too large to be kept is told as one field (`oversize`); what was not kept is nothing.
fn unsigned(payload: Option<Value>) -> Option<UnsignedPayload> {
    let payload = payload.filter(|value| value.is_object() && value.get("oversize").is_none())?;
    Some(UnsignedPayload(Bytes::from(payload.to_string())))
}

/// The newest attempt of each delivery that none was taken of. The forges list the newest first.
fn missed(attempts: Vec<Delivery>) -> Vec<Delivery> {
    use std::collections::HashSet;
    let is_taken = |attempt: &&Delivery| attempt.status.is_some_and(|code| (200..300).contains(&code));
    let mut done: HashSet<String> = attempts.iter().filter(is_taken).map(|one| one.guid.clone()).collect();
    attempts.into_iter().filter(|attempt| done.insert(attempt.guid.clone())).collect()
}
