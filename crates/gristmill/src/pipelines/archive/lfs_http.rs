//! Large files, asked for by ourselves: git-lfs's batch interface (docs/api/batch.md and
//! docs/api/basic-transfers.md of git-lfs).
//!
//! Not by git-lfs, because it goes round the gate where a server leads it to an address of this machine. What the
//! project's own server is and what it gets is the operator's word; where its answers lead is a stranger's, unless
//! that is the same server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gristmill_git::{LfsPointer, Mirror, Remote};
use gristmill_model::PublicReason;
use gristmill_outgoing::{Client, Error, Method, Request, Response, Url, Whose};
use serde::Deserialize;

use super::door::{Action, Door};
use super::public;
use crate::worker::step::{Step, StepError};

/// How many files are asked for at once; git-lfs's own number.
const BATCH_OBJECTS: usize = 100;
/// How many redirects of a download are followed.
const REDIRECTS_MAX: u8 = 3;
/// The media type of questions and answers.
const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";

#[derive(Deserialize)]
struct Answer {
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    actions: Option<Actions>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Actions {
    download: Option<Action>,
}

#[derive(Deserialize)]
struct Refused {
    code: i64,
    #[serde(default)]
    message: String,
}

/// Where large files are had, and what lets us in there.
pub(super) struct Server<'a> {
    pub(super) step: &'a Step,
    pub(super) mirror: &'a Mirror,
    pub(super) remote: &'a Remote,
    pub(super) door: Door,
    /// When all of them must be here.
    pub(super) end: Instant,
}

impl Server<'_> {
    /// Brings the files into the mirror. Blocks.
    pub(super) fn bring(&self, missing: &[LfsPointer]) -> Result<(), StepError> {
        let client = &self.step.app.outgoing;
        for batch in missing.chunks(BATCH_OBJECTS) {
            let mut actions = self.ask(client, batch)?;
            for pointer in batch {
                let action = actions.remove(&pointer.oid.to_string());
                let action = action.ok_or_else(|| self.fault(pointer, "the server says nothing of it"))?;
                self.download(client, *pointer, action)?;
            }
        }
        Ok(())
    }

    fn ask(&self, client: &Client, batch: &[LfsPointer]) -> Result<BTreeMap<String, Action>, StepError> {
        let objects: Vec<_> = batch
            .iter()
            .map(|pointer| serde_json::json!({ "oid": pointer.oid.to_string(), "size": pointer.size }))
            .collect();
        let question = serde_json::json!({ "operation": "download", "transfers": ["basic"], "objects": objects, "hash_algo": "sha256" });
        let request = Request::new(Method::POST, self.door.url.clone(), self.door.whose)
            .header("accept", MEDIA_TYPE)
            .and_then(|request| request.header("content-type", MEDIA_TYPE))
            .map_err(StepError::fail)?
            .total(self.left()?)
            .body(question.to_string().into_bytes());
        let request = self.authorized(request)?;
        let response = client.call(&request).map_err(|error| self.failed(&error))?;
        if !response.is_success() {
            return Err(self.refused(&response, "the list of large files"));
        }
        let answer: Result<Answer, _> = serde_json::from_slice(response.body());
        let answer = answer
            .ok()
            .filter(|answer| answer.transfer.as_deref().unwrap_or("basic") == "basic")
            .ok_or_else(|| self.broken("its answer is none of git-lfs's batch interface"))?;
        let mut actions = BTreeMap::new();
        for object in answer.objects {
            let pointer = batch.iter().find(|pointer| pointer.oid.to_string() == object.oid);
            let Some(pointer) = pointer else { continue };
            if let Some(refused) = object.error {
                let message: String = refused.message.chars().filter(|c| !c.is_control()).take(200).collect();
                let fault = self.fault(pointer, &format!("the server says {} {message}", refused.code));
                // As with HTTP: what the server cannot do now, and too many questions.
                let passes = matches!(refused.code, 408 | 429 | 500..=599);
                return Err(StepError::when(passes, fault).told(public::of_large_file(refused.code)));
            }
            let download = object.actions.and_then(|actions| actions.download);
            actions.extend(download.map(|action| (object.oid, action)));
        }
        Ok(actions)
    }

    fn download(&self, client: &Client, pointer: LfsPointer, mut action: Action) -> Result<(), StepError> {
        let url: Url = action.href.parse().map_err(|_| self.fault(&pointer, "its address is none"))?;
        let is_same = url.origin() == self.door.url.origin();
        let whose = if is_same { self.door.whose } else { Whose::Strangers };
        if self.door.url.is_https() && !url.is_https() {
            return Err(self.fault(&pointer, "the server leads from https to http"));
        }
        let mut request = Request::get(url, whose);
        let mut is_authorized = false;
        for (name, value) in action.headers().map_err(|why| self.fault(&pointer, why))? {
            is_authorized |= name.eq_ignore_ascii_case("authorization");
            request =
                request.secret(&name, &value).map_err(|error| self.fault(&pointer, &error.to_string()))?;
        }
        if is_same && !is_authorized {
            request = self.authorized(request)?;
        }
        let request = request.follow(REDIRECTS_MAX).total(self.left()?).body_bytes_max(pointer.size);
        let mut incoming = self.mirror.put_lfs(pointer).map_err(StepError::retry)?;
        let response = client
            .download(&request, &mut incoming, &self.step.stop_flag())
            .map_err(|error| self.failed(&error))?;
        if !response.is_success() {
            return Err(self.refused(&response, &format!("the large file {}", pointer.oid)));
        }
        incoming.keep(self.remote).map_err(StepError::retry)
    }

    fn authorized(&self, request: Request) -> Result<Request, StepError> {
        let mut headers = self.door.headers.iter();
        headers
            .try_fold(request, |request, (name, value)| request.secret(name, value))
            .map_err(StepError::fail)
    }

    /// How long what is asked for next may take.
    fn left(&self) -> Result<Duration, StepError> {
        if self.step.is_stopped() {
            return Err(StepError::retry("the program stops, or the run was cancelled"));
        }
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => {
                let what = "they take longer than worker.git_timeout, all of them together";
                Err(self.broken(what).told(PublicReason::TooSlow))
            }
            false => Ok(left),
        }
    }

    fn failed(&self, error: &Error) -> StepError {
        let what = format!("large files of {} cannot be had: {error}", self.remote.url);
        StepError::when(error.is_transient(), what).told(public::of_large_file_call(error))
    }

    fn refused(&self, response: &Response, what: &str) -> StepError {
        let reason = format!(
            "{} answers {} when asked for {what}; expected 200, so look whether the token may read it and git-lfs is on there",
            self.remote.url,
            response.status()
        );
        let why = public::of_large_file(response.status().into());
        StepError::when(response.is_transient(), reason).told(why)
    }

    fn broken(&self, what: &str) -> StepError {
        StepError::retry(format!("large files of {} cannot be had: {what}", self.remote.url))
    }

    fn fault(&self, pointer: &LfsPointer, what: &str) -> StepError {
        StepError::fail(format!(
            "the large file {} of {} cannot be had: {what}",
            pointer.oid, self.remote.url
        ))
        .told(PublicReason::LargeFileRefused)
    }
}
