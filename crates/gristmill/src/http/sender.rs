//! Who sent a webhook, and which project it is for.
//!
//! `/hooks/{name}` is for one project, or for all repositories of a pattern. `/gitpull` is the address of
//! the systems before, which projects opt in to: there, whose secret it is says which projects come into
//! question, and the verified payload says which of them it is for. Nothing is parsed that was not verified.

use std::net::IpAddr;
use std::slice;
use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use gristmill_db::delivery::{Body, NewDelivery};
use gristmill_forge::{Check, Forge, Headers, Outcome, Secret, Verified, VerifyError, sns_subscription_url};
use gristmill_model::{ProjectId, ProjectPattern, ProjectSpec, RepoPath};

use super::sns;
use crate::app::App;
use crate::live::{Hook, Live, Target};

/// Where a webhook was sent to.
#[derive(Clone, Debug)]
pub(super) enum Address {
    /// `/hooks/` and the name of a project or pattern.
    Named(String),
    /// `/gitpull`.
    Shared,
}

/// What a request turned out to be.
pub(super) enum Sent {
    /// A delivery, for a project.
    Delivery(To, NewDelivery),
    /// A forge tries whether anybody answers.
    Probe,
    /// A topic of SNS asks whether it may send: the address to visit first, and what the message is then.
    Confirm(String, Box<Sent>),
    /// Its sender is known, but nothing is done for what it tells of. A sender is never refused for that:
    /// forges stop sending to who refuses.
    Nobody(String),
}

/// Whom a delivery is for.
pub(super) enum To {
    /// A project.
    Project(ProjectId),
    /// A repository that a pattern covers, with the project it is or becomes.
    Pattern(Arc<ProjectPattern>, Box<ProjectSpec>),
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// The sender did not show that it is one.
    Verify(VerifyError),
    /// It did, but from an address that is not on the project's list.
    Address(String),
}

impl From<VerifyError> for Refused {
    fn from(error: VerifyError) -> Refused {
        Refused::Verify(error)
    }
}

/// A request whose body was read.
pub(super) struct Request<'a> {
    pub(super) headers: &'a HeaderMap,
    /// From where it came, where that is known.
    pub(super) client: Option<IpAddr>,
    pub(super) body: Bytes,
    /// The certificate that the message names, where it is one of SNS.
    pub(super) certificate: Option<&'a [u8]>,
}

/// Finds out who sent a request. `dummy` is a secret that nobody knows: an address that is nobody's costs the
/// same work and gets the same answer as a bad signature.
pub(super) fn identify(
    app: &App,
    dummy: &Secret,
    address: &Address,
    request: &Request<'_>,
) -> Result<Sent, Refused> {
    let live = app.live();
    let pairs = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let one = Identify { live: &live, request, headers: Headers::new(pairs), now: app.clock.now() };
    match address {
        Address::Named(name) => match live.hooks.get(name) {
            Some(hook) => one.named(hook),
            None => one.unknown(dummy),
        },
        Address::Shared => one.shared(dummy),
    }
}

struct Identify<'a> {
    live: &'a Live,
    request: &'a Request<'a>,
    headers: Headers<'a>,
    now: gristmill_model::Timestamp,
}

impl Identify<'_> {
    fn verify(&self, check: &Check<'_>) -> Result<Option<Verified>, VerifyError> {
        let check = Check { certificate: self.request.certificate, ..*check };
        match check.verify(&self.headers, self.request.body.clone())? {
            Outcome::Delivery(verified) => Ok(Some(verified)),
            Outcome::Probe => Ok(None),
        }
    }

    fn unknown(&self, dummy: &Secret) -> Result<Sent, Refused> {
        let check = Check::new(Forge::Github, slice::from_ref(dummy), self.now);
        match check.verify_dummy(&self.headers, self.request.body.clone())? {
            Outcome::Probe => Ok(Sent::Probe),
            Outcome::Delivery(_) => Err(VerifyError::Mismatch.into()),
        }
    }

    fn named(&self, hook: &Hook) -> Result<Sent, Refused> {
        let Some(verified) = self.verify(&hook.check(self.now))? else { return Ok(Sent::Probe) };
        self.check_address(hook)?;
        let sent = match &hook.target {
            Target::Project(id) => delivery(To::Project(*id), &verified),
            Target::Pattern(pattern) => self.of_pattern(pattern, &verified)?,
        };
        let url = sns_subscription_url(&verified);
        Ok(match url.filter(|url| hook.topic().is_some_and(|topic| sns::is_at(url, topic))) {
            Some(url) => Sent::Confirm(
                url,
                Box::new(match sent {
                    // Of a pattern: no repository's project could keep it.
                    Sent::Nobody(_) => {
                        Sent::Nobody("the subscription of a pattern's topic is confirmed".to_owned())
                    }
                    sent => sent,
                }),
            ),
            None => sent,
        })
    }

    /// A source list is an AND on top of the secret, and is looked at after it: who does not know the
    /// secret learns nothing of the list.
    fn check_address(&self, hook: &Hook) -> Result<(), Refused> {
        if hook.lets_in(self.request.client) {
            return Ok(());
        }
        let from = self.request.client.map_or("an unknown address".to_owned(), |client| client.to_string());
        Err(Refused::Address(from))
    }

    /// A repository that has a project of its own is that project's, if its secret was used.
    fn of_pattern(&self, pattern: &Arc<ProjectPattern>, verified: &Verified) -> Result<Sent, Refused> {
        let repository = match repository(verified) {
            Ok(repository) => repository,
            Err(reason) => return Ok(Sent::Nobody(reason)),
        };
        let forge = verified.forge();
        let own = self.live.projects_of(forge, &repository);
        if own.is_empty() {
            return Ok(match pattern.expand(&repository) {
                Some(spec) => delivery(To::Pattern(pattern.clone(), Box::new(spec)), verified),
                None => Sent::Nobody(format!("the pattern {} does not cover {repository}", pattern.name)),
            });
        }
        for hook in own.into_iter().flatten() {
            if let (Some(id), Ok(Some(_))) =
                (hook.project_of(forge, &repository), self.verify(&hook.check(self.now)))
            {
                self.check_address(hook)?;
                return Ok(delivery(To::Project(id), verified));
            }
        }
        Ok(Sent::Nobody(format!("{repository} has a project of its own, with another secret or none")))
    }

    fn shared(&self, dummy: &Secret) -> Result<Sent, Refused> {
        let (mut refused, mut nobody) = (None, None);
        for gate in &self.live.gitpull {
            match self.verify(&gate.check(self.now)) {
                // The same secret may have been configured in several places.
                Ok(Some(verified)) => match self.by_payload(&gate.names, &verified)? {
                    Sent::Nobody(reason) => nobody = Some(reason),
                    sent => return Ok(sent),
                },
                Ok(None) => return Ok(Sent::Probe),
                Err(error) => refused = Some(error),
            }
        }
        match (nobody, refused) {
            (Some(reason), _) => Ok(Sent::Nobody(reason)),
            (None, Some(error)) => Err(error.into()),
            (None, None) => self.unknown(dummy),
        }
    }

    /// Of the projects and patterns with that secret, the one that the payload names.
    fn by_payload(&self, names: &[String], verified: &Verified) -> Result<Sent, Refused> {
        let repository = match repository(verified) {
            Ok(repository) => repository,
            Err(reason) => return Ok(Sent::Nobody(reason)),
        };
        let hooks = || names.iter().filter_map(|name| self.live.hooks.get(name));
        for hook in hooks() {
            if let Some(id) = hook.project_of(verified.forge(), &repository) {
                self.check_address(hook)?;
                return Ok(delivery(To::Project(id), verified));
            }
        }
        for hook in hooks() {
            if let Target::Pattern(pattern) = &hook.target
                && pattern.expand(&repository).is_some()
            {
                self.check_address(hook)?;
                return self.of_pattern(pattern, verified);
            }
        }
        Ok(Sent::Nobody(format!("no project with this secret and `gitpull = true` is of {repository}")))
    }
}

/// From here on only the packed body is held.
fn delivery(to: To, verified: &Verified) -> Sent {
    let new = NewDelivery {
        remote_id: verified.delivery_id().to_owned(),
        id_stands_for: verified.id_stands_for(),
        event: verified.event().to_owned(),
        verifier: verified.verifier().to_string(),
        body: Body::pack(verified.body()),
    };
    Sent::Delivery(to, new)
}

/// The repository that a verified payload names, or why there is none.
fn repository(verified: &Verified) -> Result<RepoPath, String> {
    let events = gristmill_forge::parse(verified).map_err(|error| error.to_string())?;
    let named = events.iter().find_map(|event| event.repository.as_ref());
    let named = named.ok_or("the payload names no repository")?;
    named.full_name.parse::<RepoPath>().map_err(|error| error.to_string())
}
