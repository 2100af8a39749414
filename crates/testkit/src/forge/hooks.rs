//! Webhooks: which deliveries follow from what, and what became of them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::delivery::{Delivery, Ledger, Reply, uuid};
use super::facts::Change;
use super::family::Notice;
use super::state::{Attempt, Hook, Repository};
use super::{FakeForge, Inner, clock};

impl Inner {
    /// A hook that is in no repository yet.
    pub(super) fn new_hook(&self, url: &str, secret: Option<&str>, events: &[&str]) -> Hook {
        let id = self.new_id();
        Hook {
            id,
            uuid: uuid(&format!("hook {id} of {}", self.doors.web)),
            url: url.to_owned(),
            secret: secret.map(str::to_owned),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            is_active: true,
            settings: json!({}),
            created_s: clock::now_s(),
            attempts: Vec::new(),
        }
    }

    /// Makes the deliveries of notices to all hooks that ask for them, and writes them down as attempts.
    pub(super) fn notify(self: &Arc<Self>, repository: &Repository, notices: &[Notice]) -> Vec<Delivery> {
        let mut made = Vec::new();
        for hook in repository.hooks.iter().filter(|hook| hook.is_active) {
            let is_asked = |notice: &&Notice| {
                let all = hook.events.iter().any(|event| event == "*");
                all || notice.asked_as.is_empty() || hook.events.iter().any(|event| event == notice.asked_as)
            };
            made.extend(
                notices.iter().filter(is_asked).map(|notice| self.deliver_to(repository, hook, notice)),
            );
        }
        self.send_if_asked(&made);
        made
    }

    /// One delivery to one hook.
    pub(super) fn deliver_to(
        self: &Arc<Self>,
        repository: &Repository,
        hook: &Hook,
        notice: &Notice,
    ) -> Delivery {
        let number = {
            let mut state = self.state();
            state.deliveries_made += 1;
            state.deliveries_made
        };
        let shape = self.family.shape();
        let id = uuid(&format!("{} {} {number}", self.folder.path().display(), self.doors.web));
        let mut body = notice.body.clone();
        shape.stamp(&mut body, &id, hook);
        let mut delivery = Delivery {
            event: hook.setting("event").as_str().unwrap_or(&notice.event).to_owned(),
            id,
            signature: String::new(),
            body: body.to_string().into_bytes(),
            url: hook.url.clone(),
            family: self.family,
            hook: hook.id,
            hook_uuid: hook.uuid.clone(),
            user: hook.setting("user").as_str().unwrap_or("fixture").to_owned(),
            extra: extra_headers(hook.setting("headers").as_str().unwrap_or_default()),
            at_s: clock::now_s(),
            instance: format!("http://{}", self.doors.web),
            ledger: Ledger::default(),
        };
        if let Some(secret) = &hook.secret {
            delivery.signature = shape.sign(secret, &delivery);
        }
        self.attempt(&repository.full_name, delivery, false)
    }

    /// Writes down that a delivery is to be tried, and gives it its number.
    fn attempt(self: &Arc<Self>, full_name: &str, mut delivery: Delivery, is_again: bool) -> Delivery {
        let id = self.new_id();
        delivery.ledger = Ledger { forge: Arc::downgrade(self), attempt: id };
        let attempt = Attempt { id, delivery, at_s: clock::now_s(), is_again, reply: None };
        let delivery = attempt.delivery.clone();
        self.change(full_name, |repository| {
            let hook = repository.hooks.iter_mut().find(|hook| hook.id == delivery.hook);
            hook.into_iter().for_each(|hook| hook.attempts.push(Arc::new(attempt.clone())));
        });
        delivery
    }

    /// Tries a delivery once more, as the forge's API was asked to. `false` where there is no such attempt.
    pub(super) fn try_again(self: &Arc<Self>, full_name: &str, hook: &str, attempt: &str) -> bool {
        let found = self.repository(full_name).hook(hook).and_then(|hook| {
            let found = hook.attempts.iter().find(|one| one.id.to_string() == attempt);
            found.map(|attempt| attempt.delivery.clone())
        });
        let Some(delivery) = found else { return false };
        let again = self.attempt(full_name, delivery, true);
        self.send_later(again);
        true
    }

    /// Sends what the API caused, or keeps it for the test to take.
    pub(super) fn send_later(self: &Arc<Self>, delivery: Delivery) {
        let mut state = self.state();
        if state.is_sending {
            std::thread::spawn(move || delivery.deliver(&delivery.url));
        } else {
            state.outbox.push(delivery);
        }
    }

    fn send_if_asked(&self, deliveries: &[Delivery]) {
        if self.state().is_sending {
            for delivery in deliveries {
                // What fails is written down by not being written down as delivered.
                let _ = delivery.deliver(&delivery.url);
            }
        }
    }

    /// Writes down what a receiver answered.
    pub(super) fn arrived(&self, attempt: u64, reply: &Reply) {
        let mut state = self.state();
        let hooks = state.repositories.values_mut().flat_map(|repository| &mut repository.hooks);
        let mut attempts = hooks.flat_map(|hook| &mut hook.attempts);
        if let Some(attempt) = attempts.find(|one| one.id == attempt && one.reply.is_none()) {
            Arc::make_mut(attempt).reply = Some(reply.clone());
        }
    }
}

/// `Name: value`, a line each.
fn extra_headers(lines: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    lines.lines().filter_map(line).collect()
}

impl FakeForge {
    /// Adds a webhook that asks for everything, as a person does by clicking.
    pub fn add_hook(&self, full_name: &str, url: &str, secret: Option<&str>) -> Hook {
        let events = self.inner.family.shape().all_events();
        let hook = self.inner.new_hook(url, secret, events);
        self.inner.change(full_name, |repository| repository.hooks.push(hook.clone()));
        hook
    }

    /// Adds a webhook of an organisation or group, for everything in all repositories that it has by now.
    pub fn add_owner_hook(&self, owner: &str, url: &str, secret: &str) -> Hook {
        let mut hook = self.inner.new_hook(url, Some(secret), self.inner.family.shape().all_events());
        hook.settings = json!({ "of_owner": true });
        let mut state = self.inner.state();
        let is_of = |name: &str| name.rsplit_once('/').is_some_and(|(of, _)| of == owner);
        let all = state.repositories.iter_mut().filter(|(name, _)| is_of(name));
        all.for_each(|(_, repository)| repository.hooks.push(hook.clone()));
        hook
    }

    /// Adds a hook of GitLab's administrators, which gets the pushes of all repositories: here, of this one. Its
    /// events are called otherwise.
    pub fn add_system_hook(&self, full_name: &str, url: &str, secret: &str) -> Hook {
        let mut hook = self.inner.new_hook(url, Some(secret), &["push_events", "tag_push_events"]);
        hook.settings = json!({ "event": "System Hook" });
        self.inner.change(full_name, |repository| repository.hooks.push(hook.clone()));
        hook
    }

    /// From now on webhooks are posted to their addresses: those of a push before [`FakeForge::push`] returns, those
    /// that the API causes as soon as it has answered.
    pub fn send_by_itself(&self, is_sending: bool) {
        self.inner.state().is_sending = is_sending;
    }

    /// The deliveries that requests to the API caused since this was last asked: pings of new hooks, redeliveries.
    pub fn take_outbox(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.inner.state().outbox)
    }

    /// The deliveries of a repository that nobody took so far, oldest first.
    pub fn undelivered(&self, full_name: &str) -> Vec<Delivery> {
        let hooks = self.inner.repository(full_name).hooks;
        let mut failed: Vec<Arc<Attempt>> = hooks.into_iter().flat_map(|hook| hook.attempts).collect();
        failed.retain(|attempt| !attempt.is_delivered());
        failed.sort_by_key(|attempt| attempt.id);
        failed.into_iter().map(|attempt| attempt.delivery.clone()).collect()
    }

    /// Moves a ref to an object of the repository (or removes it, with `None`), and returns what the forge would
    /// send. Nothing where the ref is there already.
    pub fn push(&self, full_name: &str, git_ref: &str, target: Option<&str>) -> Vec<Delivery> {
        self.push_all(full_name, &[(git_ref, target)])
    }

    /// Moves several refs in one push.
    pub fn push_all(&self, full_name: &str, moves: &[(&str, Option<&str>)]) -> Vec<Delivery> {
        let repository = self.inner.repository(full_name);
        let mut changes = Vec::new();
        for (git_ref, target) in moves {
            let before = repository.repo.resolve(git_ref);
            if before.as_deref() != *target {
                changes.push(Change::look(&repository.repo, git_ref, before, *target));
            }
        }
        if changes.is_empty() {
            return Vec::new();
        }
        for change in &changes {
            match &change.after {
                Some(target) => repository.repo.set_ref(&change.git_ref, target),
                None => repository.repo.delete_ref(&change.git_ref),
            }
        }
        let notices = self.inner.family.shape().pushed(&self.inner.about(&repository), &changes);
        self.inner.notify(&repository, &notices)
    }

    /// What the forge sends to try the first hook of a repository, for the forges that do.
    pub fn ping(&self, full_name: &str) -> Delivery {
        let repository = self.inner.repository(full_name);
        let hook = repository.hooks.first().expect("a hook");
        let notice = self.inner.family.shape().tried(&self.inner.about(&repository), hook);
        self.inner.deliver_to(&repository, hook, &notice.expect("a forge that tries its hooks"))
    }

    /// What the forge sends for a release of `tag`, to the first hook; `action` is `published`, `created`, `edited` …
    pub fn release(&self, full_name: &str, tag: &str, action: &str) -> Delivery {
        let repository = self.inner.repository(full_name);
        let commit = repository.repo.resolve(&format!("refs/tags/{tag}^{{commit}}"));
        let about = self.inner.about(&repository);
        let notice = self.inner.family.shape().released(&about, tag, action, commit.as_deref());
        let hook = repository.hooks.first().expect("a hook");
        self.inner.deliver_to(&repository, hook, &notice.expect("a forge with releases"))
    }

    /// A delivery of any event and payload to the first hook, signed with its secret and with an id of its own.
    pub fn delivery(&self, full_name: &str, event: &str, payload: &Value) -> Delivery {
        let repository = self.inner.repository(full_name);
        let hook = repository.hooks.first().expect("a hook");
        self.inner.deliver_to(&repository, hook, &Notice::new(event, "", payload.clone()))
    }
}
