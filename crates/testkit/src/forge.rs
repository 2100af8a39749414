//! [`FakeGithub`]: a forge with state. It holds repositories, serves them over smart HTTP (by `git http-backend`)
//! and makes the deliveries that GitHub would send, signed.
//!
//! Nothing is sent by itself: a test gets the deliveries of a push in a list and decides which of them arrive,
//! in which order, and how often.

mod payload;
mod serve;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::repo::TestRepo;

/// The id of a ref that is not there, as payloads have it.
pub const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// The numeric id of the first repository; each further one has the next.
const FIRST_REPOSITORY_ID: u64 = 701_000_001;

/// A fake GitHub on 127.0.0.1. It stops when it is dropped.
#[derive(Debug)]
pub struct FakeGithub {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    folder: TempDir,
    /// Dropping it ends the server.
    _stop: serve::Stop,
}

/// How the server misbehaves towards git.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// Answers each request with this status.
    Status(u16),
    /// Takes requests and never answers.
    Hang,
    /// Closes connections before it answers.
    Refuse,
    /// Sends at most about so many bytes a second.
    Slow(u32),
    /// Sends everybody to another server: what stands here and the path.
    Redirect(String),
}

/// A request that git made, as the server saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenRequest {
    /// Path and query.
    pub target: String,
    /// The `Authorization` header, where one was sent.
    pub authorization: Option<String>,
}

/// Guarded by one mutex, never held while git runs for a client.
#[derive(Debug, Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    token: Option<String>,
    fault: Fault,
    requests: Vec<SeenRequest>,
    repositories_made: u64,
    deliveries_made: u64,
}

#[derive(Clone, Debug)]
struct Repository {
    id: u64,
    secret: String,
    repo: Arc<TestRepo>,
}

/// One webhook, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// `X-GitHub-Event`.
    pub event: String,
    /// `X-GitHub-Delivery`.
    pub id: String,
    /// `X-Hub-Signature-256`.
    pub signature: String,
    /// The JSON payload, as it is signed.
    pub body: Vec<u8>,
}

/// The answer to a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

impl FakeGithub {
    /// Starts the server on a free port.
    pub fn start() -> FakeGithub {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = Arc::new(Mutex::new(State::default()));
        let (address, stop) = serve::start(folder.path().to_owned(), Arc::clone(&state));
        FakeGithub { state, address, folder, _stop: stop }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    fn repository(&self, full_name: &str) -> Repository {
        self.state().repositories.get(full_name).expect("a repository that was made before").clone()
    }

    /// Makes an empty repository, `owner/name`, whose hook has this secret. Returns the repository to work in;
    /// refs that are moved there directly are moves that no hook tells of.
    ///
    /// A name that exists already is deleted and made again: same name, other id.
    pub fn create(&self, full_name: &str, secret: &str) -> Arc<TestRepo> {
        let mut state = self.state();
        let id = FIRST_REPOSITORY_ID + state.repositories_made;
        state.repositories_made += 1;
        let path = self.path(full_name);
        if path.exists() {
            std::fs::remove_dir_all(&path).expect("the old repository can be removed");
        }
        let repo = Arc::new(TestRepo::at(path));
        // As GitHub: every object may be asked for by its id.
        repo.git(["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let repository = Repository { id, secret: secret.to_owned(), repo: Arc::clone(&repo) };
        state.repositories.insert(full_name.to_owned(), repository);
        repo
    }

    /// The repository of that name, which was made before.
    pub fn repository_handle(&self, full_name: &str) -> Arc<TestRepo> {
        self.repository(full_name).repo
    }

    fn path(&self, full_name: &str) -> PathBuf {
        self.folder.path().join(format!("{full_name}.git"))
    }

    /// Where git finds a repository, whether it exists or not.
    pub fn clone_url(&self, full_name: &str) -> String {
        format!("http://{}/{full_name}.git", self.address)
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The forge's own number for a repository.
    pub fn repository_id(&self, full_name: &str) -> u64 {
        self.repository(full_name).id
    }

    /// From now on git must send this token as its Basic password; `None` lets everybody in.
    pub fn require_token(&self, token: Option<&str>) {
        self.state().token = token.map(str::to_owned);
    }

    /// From now on the server misbehaves like this.
    pub fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// All requests that git made so far.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.state().requests.clone()
    }

    /// Moves a ref to an object of the repository (or removes it, with `None`), and returns what GitHub would send:
    /// `push`, and `create` or `delete` beside it where the ref is new or gone. Nothing where the ref is there
    /// already.
    pub fn push(&self, full_name: &str, git_ref: &str, target: Option<&str>) -> Vec<Delivery> {
        let repository = self.repository(full_name);
        let before = repository.repo.resolve(git_ref);
        if before.as_deref() == target {
            return Vec::new();
        }
        let change = payload::Change {
            full_name,
            repository: &repository,
            git_ref,
            before: before.as_deref(),
            after: target,
            host: self.address,
        };
        // Which commits are new can only be told before the ref moves.
        let push = payload::push(&change);
        match target {
            Some(target) => repository.repo.set_ref(git_ref, target),
            None => repository.repo.delete_ref(git_ref),
        }
        let mut deliveries = vec![self.delivery(full_name, "push", &push)];
        match (&before, target) {
            (None, _) => deliveries.push(self.delivery(full_name, "create", &payload::create(&change))),
            (_, None) => deliveries.push(self.delivery(full_name, "delete", &payload::delete(&change))),
            _ => {}
        }
        deliveries
    }

    /// What GitHub sends when a hook is made.
    pub fn ping(&self, full_name: &str) -> Delivery {
        let repository = self.repository(full_name);
        self.delivery(full_name, "ping", &payload::ping(full_name, &repository, self.address))
    }

    /// What GitHub sends for a release of `tag`; `action` is `published`, `created`, `edited` …
    pub fn release(&self, full_name: &str, tag: &str, action: &str) -> Delivery {
        let repository = self.repository(full_name);
        let payload = payload::release(full_name, &repository, self.address, tag, action);
        self.delivery(full_name, "release", &payload)
    }

    /// A delivery of any event and payload, signed with the repository's secret and with an id of its own.
    pub fn delivery(&self, full_name: &str, event: &str, payload: &serde_json::Value) -> Delivery {
        let secret = self.repository(full_name).secret;
        let number = {
            let mut state = self.state();
            state.deliveries_made += 1;
            state.deliveries_made
        };
        let id = uuid(&format!("{} {} {number}", self.folder.path().display(), self.address));
        let body = payload.to_string().into_bytes();
        Delivery { event: event.to_owned(), id, signature: sign(&secret, &body), body }
    }
}

impl Delivery {
    /// The headers that GitHub sends with it.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Accept", "*/*".to_owned()),
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "GitHub-Hookshot/5a1d3c9".to_owned()),
            ("X-GitHub-Delivery", self.id.clone()),
            ("X-GitHub-Event", self.event.clone()),
            ("X-GitHub-Hook-ID", "310000001".to_owned()),
            ("X-GitHub-Hook-Installation-Target-ID", FIRST_REPOSITORY_ID.to_string()),
            ("X-GitHub-Hook-Installation-Target-Type", "repository".to_owned()),
            ("X-Hub-Signature-256", self.signature.clone()),
        ]
    }

    /// The same delivery with a signature by another secret.
    #[must_use]
    pub fn signed_with(&self, secret: &str) -> Delivery {
        Delivery { signature: sign(secret, &self.body), ..self.clone() }
    }

    /// Another delivery with the same body: what GitHub sends when somebody makes the same change again.
    #[must_use]
    pub fn with_id(&self, id: &str) -> Delivery {
        Delivery { id: id.to_owned(), ..self.clone() }
    }

    /// The same id and signature with another body.
    #[must_use]
    pub fn with_body(&self, body: impl Into<Vec<u8>>) -> Delivery {
        Delivery { body: body.into(), ..self.clone() }
    }

    /// Sends it and waits for the answer, for at most 30 seconds. An error is a connection that failed.
    ///
    /// # Errors
    ///
    /// Where no answer came, in words.
    pub fn deliver(&self, url: &str) -> Result<Reply, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let mut request = agent.post(url);
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let mut response = request.send(&self.body[..]).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
        Ok(Reply { status, body })
    }
}

/// `X-Hub-Signature-256` for a body.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    format!("sha256={}", hex(&mac.finalize().into_bytes()))
}

/// Random-looking, and the same for the same text.
fn uuid(text: &str) -> String {
    let digest = hex(&Sha256::digest(text.as_bytes()));
    format!(
        "{}-{}-4{}-a{}-{}",
        &digest[..8],
        &digest[8..12],
        &digest[13..16],
        &digest[17..20],
        &digest[20..32]
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
