//! [`FakeForge`]: a forge with state. It holds repositories, webhooks, deploy keys and statuses, serves git over
//! smart HTTP (by `git http-backend`) and over ssh (by a real `sshd`), answers requests to its API, and makes the
//! deliveries that the real one would send, signed.
//!
//! Nothing is sent by itself, unless [`FakeForge::send_by_itself`] was called: a test gets the deliveries of a push in
//! a list and decides which of them arrive, in which order, and how often. What did not arrive is what the forge's own
//! list of deliveries has as failed.
//!
//! [`FakeGithub`] is the one of most tests. Each [`Family`] is written from its forge's documentation, and knows
//! nothing of the program's own reading of it.

mod archive;
mod azure;
mod bitbucket;
mod bitbucket_server;
mod cgi;
pub(crate) mod clock;
mod delivery;
mod facts;
mod family;
mod fault;
mod generic;
mod gitea;
mod github;
mod gitlab;
mod hooks;
mod http;
mod serve;
mod sshd;
mod state;

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tempfile::TempDir;

pub use delivery::{Delivery, Reply, sign};
pub use facts::NO_COMMIT;
pub use family::Family;
pub use fault::{Fault, Part};
pub use serve::{Door, SeenRequest};
pub use sshd::Ssh;
pub use state::{CommitStatus, DeployKey, Grant, Hook};

use crate::repo::TestRepo;
use serve::Doors;
use state::{Repository, State, Token};

/// A fake forge on 127.0.0.1. It stops when it is dropped.
#[derive(Debug)]
pub struct FakeForge {
    inner: Arc<Inner>,
    /// Dropping it ends the server.
    _stop: serve::Stop,
}

/// A fake GitHub. See [`FakeForge`].
#[derive(Debug)]
pub struct FakeGithub(FakeForge);

/// What the server's thread and the test share.
#[derive(Debug)]
pub(crate) struct Inner {
    family: Family,
    folder: TempDir,
    doors: Doors,
    state: Mutex<State>,
    ssh: OnceLock<Ssh>,
}

impl FakeGithub {
    /// Starts the server on a free port.
    pub fn start() -> FakeGithub {
        FakeGithub(FakeForge::start(Family::Github))
    }
}

impl Deref for FakeGithub {
    type Target = FakeForge;

    fn deref(&self) -> &FakeForge {
        &self.0
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    fn repository(&self, full_name: &str) -> Repository {
        self.state().repository(full_name).clone()
    }

    /// The API's address, without a slash at its end.
    fn api_url(&self) -> String {
        let shape = self.family.shape();
        if shape.has_api_door() {
            format!("http://{}", self.doors.api)
        } else {
            format!("http://{}{}", self.doors.web, shape.api_prefix())
        }
    }

    /// As the forge writes it while there is no ssh.
    fn ssh_url(&self, full_name: &str) -> String {
        let (user, port) = self.ssh.get().map_or(("git", 22), |ssh| (ssh.user(), ssh.port()));
        format!("ssh://{user}@127.0.0.1:{port}{}", self.family.shape().ssh_path(full_name))
    }
}

impl FakeForge {
    /// Starts the server on free ports.
    pub fn start(family: Family) -> FakeForge {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (listeners, doors) = serve::listen();
        let state = Mutex::new(State::default());
        let inner = Arc::new(Inner { family, folder, doors, state, ssh: OnceLock::new() });
        let stop = serve::start(listeners, Arc::clone(&inner));
        FakeForge { inner, _stop: stop }
    }

    /// Whom it plays.
    pub fn family(&self) -> Family {
        self.inner.family
    }

    /// Makes an empty repository, `owner/name`, with a webhook for everything that has this secret. Returns the
    /// repository to work in; refs that are moved there directly are moves that no hook tells of.
    ///
    /// A name that exists already is deleted and made again: same name, other id.
    pub fn create(&self, full_name: &str, secret: &str) -> Arc<TestRepo> {
        let repo = self.create_bare(full_name);
        let events = self.inner.family.shape().all_events();
        let hook = self.inner.new_hook("http://127.0.0.1/", Some(secret), events);
        self.inner.change(full_name, |repository| repository.hooks.push(hook));
        repo
    }

    /// The same without a webhook: what `project add` finds.
    pub fn create_bare(&self, full_name: &str) -> Arc<TestRepo> {
        let mut state = self.inner.state();
        if let Some(old) = state.repositories.remove(full_name) {
            std::fs::remove_dir_all(old.repo.path()).expect("the old repository can be removed");
        }
        let id = state.new_repository_id();
        let repo = Arc::new(TestRepo::at(self.inner.folder.path().join(format!("{id}.git"))));
        // As the forges: every object may be asked for by its id.
        repo.git(["config", "uploadpack.allowAnySHA1InWant", "true"]);
        repo.git(["config", "uploadpack.allowFilter", "true"]);
        let repository = Repository {
            id,
            full_name: full_name.to_owned(),
            repo: Arc::clone(&repo),
            hooks: Vec::new(),
            keys: Vec::new(),
            statuses: Vec::new(),
        };
        state.repositories.insert(full_name.to_owned(), repository);
        repo
    }

    /// Gives a repository another name. It keeps its number; who asks git or GitHub's API for the old name is sent on
    /// to the new one, as long as no other repository takes it.
    pub fn rename(&self, old: &str, new: &str) {
        let mut state = self.inner.state();
        let mut repository = state.repositories.remove(old).expect("a repository that was made before");
        repository.full_name = new.to_owned();
        state.repositories.insert(new.to_owned(), repository);
        state.moved.insert(old.to_owned(), new.to_owned());
    }

    /// The repository of that name, which was made before.
    pub fn repository_handle(&self, full_name: &str) -> Arc<TestRepo> {
        self.inner.repository(full_name).repo
    }

    /// Where git finds a repository, whether it exists or not.
    pub fn clone_url(&self, full_name: &str) -> String {
        let path = self.inner.family.shape().clone_path(full_name);
        format!("http://{}{path}", self.inner.doors.web)
    }

    /// Where the server listens: git, pages, and the API where it has no address of its own.
    pub fn address(&self) -> std::net::SocketAddr {
        self.inner.doors.web
    }

    /// The API's address, without a slash at its end. GitHub's is at the root of an address of its own; the one of
    /// Enterprise Server is [`FakeForge::address`] and `/api/v3`.
    pub fn api_url(&self) -> String {
        self.inner.api_url()
    }

    /// The forge's own number for a repository.
    pub fn repository_id(&self, full_name: &str) -> u64 {
        self.inner.repository(full_name).id
    }

    /// From now on only this token opens anything, and it opens everything; `None` lets everybody see everything.
    /// Git must send it as its Basic password.
    pub fn require_token(&self, token: Option<&str>) {
        let mut state = self.inner.state();
        state.tokens.clear();
        state.is_private = token.is_some();
        if let Some(token) = token {
            state.tokens.insert(token.to_owned(), Token { grant: Grant::Admin, only: None });
        }
    }

    /// A further token, for these repositories, or for all where none is named.
    pub fn add_token(&self, token: &str, grant: Grant, only: &[&str]) {
        let only = (!only.is_empty()).then(|| only.iter().map(|name| (*name).to_owned()).collect());
        self.inner.state().tokens.insert(token.to_owned(), Token { grant, only });
    }

    /// Takes a token away.
    pub fn revoke_token(&self, token: &str) {
        self.inner.state().tokens.remove(token);
    }

    /// Whether repositories are only for tokens.
    pub fn set_private(&self, is_private: bool) {
        self.inner.state().is_private = is_private;
    }

    /// From now on the server misbehaves like this towards git.
    pub fn set_fault(&self, fault: Fault) {
        self.set_fault_of(Part::Git, fault);
    }

    /// From now on a part of the server misbehaves like this.
    pub fn set_fault_of(&self, part: Part, fault: Fault) {
        self.inner.state().faults.insert(part, fault);
    }

    /// Where downloads are, where they have an address of their own.
    pub fn downloads_url(&self) -> String {
        format!("http://{}", self.inner.doors.downloads)
    }

    /// All requests so far, to all doors.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.inner.state().requests.clone()
    }

    /// The webhooks of a repository.
    pub fn hooks(&self, full_name: &str) -> Vec<Hook> {
        self.inner.repository(full_name).hooks
    }

    /// The deploy keys of a repository.
    pub fn keys(&self, full_name: &str) -> Vec<DeployKey> {
        self.inner.repository(full_name).keys
    }

    /// Adds a deploy key that may only fetch, as a person does by clicking: kind and base64, with or without a comment.
    pub fn add_key(&self, full_name: &str, title: &str, key: &str) {
        let key = state::public_key(key).expect("a public key in OpenSSH's format");
        self.inner.add_key(full_name, title, key, true);
    }

    /// All statuses that were set in a repository, oldest first.
    pub fn statuses(&self, full_name: &str) -> Vec<CommitStatus> {
        self.inner.repository(full_name).statuses
    }

    /// Starts git over ssh for the deploy keys, if it was not started before. `None`, said loudly, where there is no
    /// sshd.
    pub fn ssh(&self, test: &str) -> Option<&Ssh> {
        if self.inner.ssh.get().is_none() {
            let started = Ssh::start(test)?;
            // Somebody else may have been quicker; then theirs it is.
            let _ = self.inner.ssh.set(started);
            self.inner.write_keys();
        }
        self.inner.ssh.get()
    }

    /// Where git finds a repository over ssh, once [`FakeForge::ssh`] has started it.
    pub fn ssh_url(&self, full_name: &str) -> String {
        self.inner.ssh_url(full_name)
    }
}
