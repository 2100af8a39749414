//! What a fake forge remembers, and who may see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::delivery::{Delivery, Reply};
use super::fault::{Fault, Part};
use super::http::Call;
use super::{Inner, SeenRequest};
use crate::repo::TestRepo;

/// The numeric id of the first repository; each further one has the next.
const FIRST_REPOSITORY_ID: u64 = 701_000_001;

/// The first id of anything else: hooks, keys, statuses, deliveries.
const FIRST_ID: u64 = 310_000_001;

/// Guarded by one mutex, never held while git runs for a client.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) repositories: BTreeMap<String, Repository>,
    /// Names that repositories had before, and those they have now.
    pub(super) moved: BTreeMap<String, String>,
    pub(super) tokens: BTreeMap<String, Token>,
    /// Whether only tokens see anything.
    pub(super) is_private: bool,
    pub(super) faults: BTreeMap<Part, Fault>,
    pub(super) requests: Vec<SeenRequest>,
    pub(super) repositories_made: u64,
    pub(super) deliveries_made: u64,
    pub(super) ids_made: u64,
    /// Whether webhooks are really posted.
    pub(super) is_sending: bool,
    /// Deliveries that the API caused and nobody has taken yet.
    pub(super) outbox: Vec<Delivery>,
}

impl State {
    pub(super) fn new_repository_id(&mut self) -> u64 {
        self.repositories_made += 1;
        FIRST_REPOSITORY_ID + self.repositories_made - 1
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.ids_made += 1;
        FIRST_ID + self.ids_made - 1
    }

    pub(super) fn repository(&mut self, full_name: &str) -> &mut Repository {
        self.repositories.get_mut(full_name).expect("a repository that was made before")
    }
}

/// A repository of the forge.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) full_name: String,
    pub(super) repo: Arc<TestRepo>,
    pub(super) hooks: Vec<Hook>,
    pub(super) keys: Vec<DeployKey>,
    pub(super) statuses: Vec<CommitStatus>,
}

impl Repository {
    /// What stands behind the last slash.
    pub(super) fn name(&self) -> &str {
        self.full_name.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn hook(&self, id: &str) -> Option<&Hook> {
        self.own_hooks().find(|hook| hook.has_id(id))
    }

    /// Those that are not its organisation's or group's.
    pub(super) fn own_hooks(&self) -> impl Iterator<Item = &Hook> {
        self.hooks.iter().filter(|hook| !hook.is_owners())
    }
}

/// A webhook of a repository.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its number.
    pub id: u64,
    /// Its id at the forges that name hooks by one: a UUID without braces.
    pub uuid: String,
    /// Where it is posted to.
    pub url: String,
    /// What its deliveries are signed with.
    pub secret: Option<String>,
    /// The events it is sent for, in the forge's own words.
    pub events: Vec<String>,
    /// Whether it is sent at all.
    pub is_active: bool,
    /// Further settings as they were made: names, descriptions, whether certificates are checked.
    pub settings: Value,
    /// When it was made, in seconds since 1970.
    pub created_s: u64,
    /// Shared: a repository is cloned for each look at it.
    pub(super) attempts: Vec<Arc<Attempt>>,
}

impl Hook {
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.id.to_string() == id || self.uuid == id.trim_start_matches('{').trim_end_matches('}')
    }

    /// Whether it is an organisation's or a group's: each of its repositories has it then, with what was sent for it.
    pub(super) fn is_owners(&self) -> bool {
        self.settings["of_owner"] == true
    }

    pub(super) fn setting(&self, name: &str) -> &Value {
        &self.settings[name]
    }
}

/// One try to deliver something. Where there is no reply, it has failed.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) id: u64,
    pub(super) delivery: Delivery,
    pub(super) at_s: u64,
    pub(super) is_again: bool,
    pub(super) reply: Option<Reply>,
}

impl Attempt {
    pub(super) fn is_delivered(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| (200..300).contains(&reply.status))
    }
}

/// A deploy key of a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeployKey {
    /// Its number.
    pub id: u64,
    /// Title or label.
    pub title: String,
    /// Kind and base64, without a comment.
    pub key: String,
    /// Whether it may only fetch.
    pub is_read_only: bool,
    /// When it was made, in seconds since 1970.
    pub created_s: u64,
}

/// A status of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitStatus {
    /// Its number.
    pub id: u64,
    /// The commit.
    pub commit: String,
    /// The state, in the forge's own words.
    pub state: String,
    /// Context, name or key: what tells the statuses of one commit apart.
    pub context: String,
    /// The text beside it; empty for none.
    pub description: String,
    /// The link behind it; empty for none.
    pub url: String,
    /// When it was made, in seconds since 1970.
    pub created_s: u64,
}

/// What a token may do; each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Grant {
    /// See and fetch.
    Read,
    /// Set statuses.
    Write,
    /// Webhooks and deploy keys.
    Admin,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) grant: Grant,
    /// The repositories it is for; `None` for all.
    pub(super) only: Option<Vec<String>>,
}

/// Why somebody is not let in. Each forge says it in its own words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// A token that was never made.
    BadToken,
    /// No token came, where one is needed.
    NoToken,
    /// There is no such repository, or none that this token sees.
    Unseen,
    /// The token may see it, but not do this.
    Forbidden(Grant),
}

impl Inner {
    /// Whether somebody with this token, or none, may do a thing with a repository. Names are matched as forges do,
    /// whatever their case.
    pub(super) fn admit(
        &self,
        token: Option<&str>,
        full_name: &str,
        need: Grant,
    ) -> Result<Repository, Refusal> {
        let state = self.state();
        let known = match token {
            Some(token) => Some(state.tokens.get(token).ok_or(Refusal::BadToken)?),
            None => None,
        };
        let found = state.repositories.iter().find(|(name, _)| name.eq_ignore_ascii_case(full_name));
        let sees =
            |token: &Token| token.only.as_ref().is_none_or(|only| only.iter().any(|one| one == full_name));
        match (found, known) {
            (Some((_, repository)), Some(token))
                if sees(token) || (!state.is_private && need == Grant::Read) =>
            {
                if token.grant < need || !sees(token) && need > Grant::Read {
                    return Err(Refusal::Forbidden(need));
                }
                Ok(repository.clone())
            }
            (Some((_, repository)), None) if !state.is_private => match need {
                Grant::Read => Ok(repository.clone()),
                Grant::Write | Grant::Admin => Err(Refusal::NoToken),
            },
            (_, None) if need > Grant::Read => Err(Refusal::NoToken),
            _ => Err(Refusal::Unseen),
        }
    }

    /// The same for a request to the API.
    pub(super) fn admit_call(
        &self,
        call: &Call,
        full_name: &str,
        need: Grant,
    ) -> Result<Repository, super::http::Answer> {
        let shape = self.family.shape();
        let token = shape.token(call);
        self.admit(token.as_deref(), full_name, need).map_err(|why| shape.refused(why, call))
    }

    /// The webhooks of an organisation or group, with what was sent of all its repositories, and one of these. A token
    /// that is for some repositories alone is not for their owner.
    pub(super) fn admit_owner(
        &self,
        call: &Call,
        owner: &str,
    ) -> Result<(Repository, Vec<Hook>), super::http::Answer> {
        let shape = self.family.shape();
        let token = shape.token(call);
        let is_of = |repository: &&Repository| {
            repository.full_name.rsplit_once('/').is_some_and(|(of, _)| of.eq_ignore_ascii_case(owner))
        };
        let first = self.state().repositories.values().find(is_of).map(|one| one.full_name.clone());
        let repository = self.admit(token.as_deref(), first.as_deref().unwrap_or_default(), Grant::Admin);
        let repository = repository.map_err(|why| shape.refused(why, call))?;
        let state = self.state();
        if token.and_then(|token| state.tokens.get(&token)).is_none_or(|token| token.only.is_some()) {
            return Err(shape.refused(Refusal::Forbidden(Grant::Admin), call));
        }
        let mut hooks: Vec<Hook> = Vec::new();
        let all = state.repositories.values().filter(is_of).flat_map(|repository| &repository.hooks);
        for hook in all.filter(|hook| hook.is_owners()) {
            match hooks.iter_mut().find(|known| known.id == hook.id) {
                Some(known) => known.attempts.extend(hook.attempts.clone()),
                None => hooks.push(hook.clone()),
            }
        }
        hooks.iter_mut().for_each(|hook| hook.attempts.sort_by_key(|attempt| attempt.id));
        Ok((repository, hooks))
    }

    /// Changes a repository that was found before. `None` where it is gone meanwhile.
    pub(super) fn change<T>(&self, full_name: &str, change: impl FnOnce(&mut Repository) -> T) -> Option<T> {
        self.state().repositories.get_mut(full_name).map(change)
    }

    pub(super) fn new_id(&self) -> u64 {
        self.state().new_id()
    }

    /// Where a key is registered already, in any repository.
    pub(super) fn owner_of_key(&self, key: &str) -> Option<(String, DeployKey)> {
        let state = self.state();
        let mut all = state.repositories.iter().flat_map(|(name, repository)| {
            repository.keys.iter().map(move |key| (name.clone(), key.clone()))
        });
        all.find(|(_, known)| known.key == key)
    }
}

/// Kind and base64 of a public key in OpenSSH's one-line format, without its comment. `None` where it is none.
pub(super) fn public_key(line: &str) -> Option<String> {
    use base64::Engine as _;
    let mut words = line.split_whitespace();
    let (kind, text) = (words.next()?, words.next()?);
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let is_same = bytes.get(4..4 + length)? == kind.as_bytes();
    (is_same && bytes.len() > 4 + length).then(|| format!("{kind} {text}"))
}

/// What the APIs of all forges do in the same way.
impl Inner {
    /// Adds a hook that the API made, and tries it where the forge does that.
    pub(super) fn add_new_hook(self: &Arc<Self>, repository: &Repository, hook: &Hook) {
        self.change(&repository.full_name, |repository| repository.hooks.push(hook.clone()));
        if self.family.shape().tries_new_hooks() {
            self.try_hook(repository, hook);
        }
    }

    /// Sends what tries a hook, where the forge has that. `false` where it has not.
    pub(super) fn try_hook(self: &Arc<Self>, repository: &Repository, hook: &Hook) -> bool {
        let Some(notice) = self.family.shape().tried(&self.about(repository), hook) else { return false };
        let delivery = self.deliver_to(repository, hook, &notice);
        self.send_later(delivery);
        true
    }

    pub(super) fn remove_hook(&self, full_name: &str, id: u64) {
        self.change(full_name, |repository| repository.hooks.retain(|hook| hook.id != id));
    }

    pub(super) fn put_hook(&self, full_name: &str, changed: &Hook) {
        self.change(full_name, |repository| {
            let found = repository.hooks.iter_mut().find(|hook| hook.id == changed.id);
            found.into_iter().for_each(|hook| *hook = changed.clone());
        });
    }

    pub(super) fn add_key(&self, full_name: &str, title: &str, key: String, is_read_only: bool) -> DeployKey {
        let created_s = super::clock::now_s();
        let key = DeployKey { id: self.new_id(), title: title.to_owned(), key, is_read_only, created_s };
        self.change(full_name, |repository| repository.keys.push(key.clone()));
        self.write_keys();
        key
    }

    pub(super) fn remove_key(&self, full_name: &str, id: u64) {
        self.change(full_name, |repository| repository.keys.retain(|key| key.id != id));
        self.write_keys();
    }
}
