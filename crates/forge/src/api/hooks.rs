//! Webhooks: ours is the one with exactly our address.
//!
//! Sources: "REST API endpoints for repository webhooks" of GitHub; "Project webhooks API" of GitLab; the
//! description of its API that every Gitea and Forgejo serves at `/api/swagger` (`repoListHooks`,
//! `repoCreateHook`, `repoDeleteHook`); "Webhooks" of Bitbucket Cloud's REST API; "Repository webhooks" (`Create
//! webhook`) of Data Center's.
//!
//! What cannot be read back is a hook's secret, so ours is always written again. Gitea's way to change a hook
//! left the secret as it was in older versions (seen in its source), so there a new one takes the old one's place.

use std::str;

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use super::read::{Id, Line};
use super::{Api, Ensured, encoded};
use crate::forge::Forge;
use crate::parse::Object;
use crate::secret::Secret;

/// Whose webhooks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HooksOf {
    /// The repository's own.
    Repository,
    /// Those of the organisation or group that it lies in, which tell of all that is there.
    Owner,
}

/// A webhook as the forge lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// The forge's id.
    pub id: String,
    /// Where it posts to.
    pub url: String,
    /// Whether it is switched on.
    pub active: bool,
}

/// The webhook that shall be there.
#[derive(Clone, Copy, Debug)]
pub struct NewHook<'a> {
    /// Where it shall post to.
    pub url: &'a str,
    /// What it shall sign with or send along.
    pub secret: &'a Secret,
}

/// What hooks are called where they have a name or a description.
const HOOK_NAME: &str = "Gristmill";

/// One shape for all: GitHub and Gitea have the address in `config`, the others beside the id.
#[derive(Deserialize)]
struct Listed {
    id: Option<Id>,
    uuid: Option<Id>,
    url: Option<Line>,
    config: Option<Object<Config>>,
    active: Option<bool>,
    /// GitLab's word: `executable`, or why it is not.
    alert_status: Option<Line>,
}

#[derive(Deserialize)]
struct Config {
    url: Option<Line>,
}

impl Api {
    /// All webhooks of the repository.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn hooks<E: From<ApiError>>(
        &self,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Vec<Hook>, E> {
        let listed: Vec<Listed> = self.list(Operation::Hooks, &self.hooks_path(), carry)?;
        Ok(listed.into_iter().map(|hook| self.read_hook(hook)).collect::<Result<_, ApiError>>()?)
    }

    /// All webhooks of the organisation or group that the repository lies in.
    ///
    /// # Errors
    /// [`ApiError`]: [`ApiError::NotFound`] also where a person has the repository,
    /// [`ApiError::Unsupported`] where the forge keeps no deliveries of theirs.
    pub fn owner_hooks<E: From<ApiError>>(
        &self,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Vec<Hook>, E> {
        let path = self.owner_hooks_path()?;
        let listed: Vec<Listed> = self.list(Operation::OwnerHooks, &path, carry)?;
        Ok(listed.into_iter().map(|hook| self.read_hook(hook)).collect::<Result<_, ApiError>>()?)
    }

    /// Sources: "REST API endpoints for organization webhooks" of GitHub, "Group webhooks API" of GitLab.
    fn owner_hooks_path(&self) -> Result<String, ApiError> {
        let owner = encoded(self.repository.owner());
        match self.family {
            Family::Github => Ok(format!("/orgs/{owner}/hooks")),
            Family::Gitlab => Ok(format!("/groups/{owner}/hooks")),
            _ => Err(self.no_deliveries()),
        }
    }

    /// Sees to it that the webhook is there, once: with JSON, checked certificates (Bitbucket Cloud checks them
    /// unless told otherwise) and the events that refs move by. One that is there already gets this secret and is switched on; further ones of the same address go.
    ///
    /// # Errors
    /// [`ApiError`]. [`ApiError::Unsupported`] for a signing token of GitLab's, which its API does not take.
    pub fn ensure_hook<E: From<ApiError>>(
        &self,
        wanted: &NewHook<'_>,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Ensured, E> {
        let body = self.hook_body(wanted)?;
        let mut ours =
            self.hooks(carry)?.into_iter().filter(|hook| hook.url == wanted.url).map(|hook| hook.id);
        let first = ours.next();
        let (id, mut spare) = match (&first, self.family) {
            (Some(old), Family::Gitea) => (self.make_hook(&body, carry)?, vec![old.clone()]),
            (Some(id), family) => {
                let method = if family == Family::Github { Method::Patch } else { Method::Put };
                let call = self.call_with(method, &self.hook_path(id), &body);
                self.ask(Operation::Hooks, call, carry)?;
                (id.clone(), Vec::new())
            }
            (None, _) => (self.make_hook(&body, carry)?, Vec::new()),
        };
        spare.extend(ours);
        for id in spare {
            self.delete_hook(&id, carry)?;
        }
        Ok(Ensured { id, made: first.is_none() })
    }

    /// Takes the webhook away. Whether it was there.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn delete_hook<E: From<ApiError>, C: FnMut(Call) -> Result<Answer, E>>(
        &self,
        id: &str,
        carry: &mut C,
    ) -> Result<bool, E> {
        let is_there = |carry: &mut C| Ok(self.hooks(carry)?.iter().any(|hook| hook.id == id));
        self.remove(Operation::Hooks, &self.hook_path(id), is_there, carry)
    }

    fn make_hook<E: From<ApiError>>(
        &self,
        body: &Value,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<String, E> {
        let call = self.call_with(Method::Post, &self.hooks_path(), body);
        let answer = self.ask(Operation::Hooks, call, carry)?;
        Ok(self.hook_id(self.object(&answer)?)?)
    }

    fn hooks_path(&self) -> String {
        self.path(if self.family == Family::BitbucketServer { "/webhooks" } else { "/hooks" })
    }

    fn hook_path(&self, id: &str) -> String {
        format!("{}/{}", self.hooks_path(), encoded(id))
    }

    pub(super) fn hook_path_of(&self, of: HooksOf, id: &str) -> Result<String, ApiError> {
        match of {
            HooksOf::Repository => Ok(self.hook_path(id)),
            HooksOf::Owner => Ok(format!("{}/{}", self.owner_hooks_path()?, encoded(id))),
        }
    }

    fn hook_id(&self, hook: Listed) -> Result<String, ApiError> {
        let id = if self.family == Family::Bitbucket { hook.uuid } else { hook.id };
        id.map(|id| id.0).ok_or_else(|| self.shape("id", "the webhook has none"))
    }

    fn read_hook(&self, mut hook: Listed) -> Result<Hook, ApiError> {
        let configured = hook.config.take().and_then(|config| config.0.url);
        let active =
            hook.alert_status.take().map_or(hook.active != Some(false), |status| status.0 == "executable");
        // Some forges list services that are configured by other fields than an address.
        let url = match self.family {
            Family::Github | Family::Gitea | Family::Gogs | Family::Azure => configured,
            _ => hook.url.take(),
        };
        Ok(Hook { url: url.map(|url| url.0).unwrap_or_default(), active, id: self.hook_id(hook)? })
    }

    /// Which events: those that move refs, and releases. Where the making and the deleting of a ref are events of
    /// their own they come too: they only make the remote be looked at. Bitbucket has one event for all of it.
    fn hook_body(&self, wanted: &NewHook<'_>) -> Result<Value, ApiError> {
        let url = wanted.url;
        let secret = str::from_utf8(wanted.secret.as_bytes()).map_err(|_| ApiError::Input {
            problem: "the webhook's secret is no text, so it cannot be sent to the forge; use one of letters and digits"
                .to_owned(),
        })?;
        if self.family == Family::Gitlab && wanted.secret.is_signing_token() {
            return Err(self.unsupported(
                "its API takes a secret token, not a signing token (`whsec_…`); use another secret, or enter this one by hand",
            ));
        }
        let events = ["push", "create", "delete", "release"];
        Ok(match self.family {
            // `web` is the only name. "0" is to check certificates.
            Family::Github => json!({
                "name": "web", "active": true, "events": events,
                "config": { "url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0" },
            }),
            Family::Gitlab => json!({
                "url": url, "token": secret, "enable_ssl_verification": true,
                "push_events": true, "tag_push_events": true, "releases_events": true,
            }),
            Family::Gitea | Family::Gogs | Family::Azure => json!({
                "type": if self.forge == Forge::Forgejo { "forgejo" } else { "gitea" },
                "active": true, "events": events,
                "config": { "url": url, "content_type": "json", "secret": secret },
            }),
            Family::Bitbucket => json!({
                "description": HOOK_NAME, "url": url, "active": true, "events": ["repo:push"], "secret": secret,
            }),
            Family::BitbucketServer => json!({
                "name": HOOK_NAME, "url": url, "active": true, "events": ["repo:refs_changed"],
                "configuration": { "secret": secret }, "sslVerificationRequired": true,
            }),
        })
    }
}
