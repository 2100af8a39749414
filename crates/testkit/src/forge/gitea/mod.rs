//! Gitea, Forgejo and Gogs: one family of servers with one API, by <https://docs.gitea.com/api/>,
//! <https://docs.gitea.com/usage/webhooks> and Gogs' <https://github.com/gogs/docs-api>.

mod payload;
mod routes;
mod statuses;

use std::sync::Arc;

use super::Inner;
use super::delivery::{Delivery, hex_mac, read_basic};
use super::facts::Change;
use super::family::{About, Family, Notice, Shape};
use super::http::{Answer, Call};
use super::state::{Hook, Refusal};

/// What tells the servers of this family apart.
pub(super) struct Gitea {
    pub(super) family: Family,
    /// What the headers of its webhooks begin with: its own first, then those of its ancestors.
    brands: &'static [Brand],
    /// The type of its webhooks.
    pub(super) hook_type: &'static str,
    /// Page sizes: the default and the most. `None` where there are no pages.
    pub(super) per_page: Option<(usize, usize)>,
}

struct Brand {
    event: &'static str,
    event_type: &'static str,
    delivery: &'static str,
    signature: &'static str,
    /// `sha256=<hex>` instead of the bare hexadecimal digits.
    is_prefixed: bool,
}

const fn brand(names: [&'static str; 4], is_prefixed: bool) -> Brand {
    let [event, event_type, delivery, signature] = names;
    Brand { event, event_type, delivery, signature, is_prefixed }
}

const OF_FORGEJO: Brand =
    brand(["X-Forgejo-Event", "X-Forgejo-Event-Type", "X-Forgejo-Delivery", "X-Forgejo-Signature"], false);
const OF_GITEA: Brand =
    brand(["X-Gitea-Event", "X-Gitea-Event-Type", "X-Gitea-Delivery", "X-Gitea-Signature"], false);
const OF_GOGS: Brand =
    brand(["X-Gogs-Event", "X-Gogs-Event-Type", "X-Gogs-Delivery", "X-Gogs-Signature"], false);
const OF_GITHUB: Brand =
    brand(["X-GitHub-Event", "X-GitHub-Event-Type", "X-GitHub-Delivery", "X-Hub-Signature-256"], true);

pub(super) const GITEA: Gitea = Gitea {
    family: Family::Gitea,
    brands: &[OF_GITEA, OF_GOGS, OF_GITHUB],
    hook_type: "gitea",
    per_page: Some((30, 50)),
};

pub(super) const FORGEJO: Gitea = Gitea {
    family: Family::Forgejo,
    brands: &[OF_FORGEJO, OF_GITEA, OF_GOGS, OF_GITHUB],
    hook_type: "forgejo",
    per_page: Some((30, 50)),
};

/// It knows no pages of hooks and keys, no statuses, and no events of a release but its being published.
pub(super) const GOGS: Gitea =
    Gitea { family: Family::Gogs, brands: &[OF_GOGS], hook_type: "gogs", per_page: None };

impl Gitea {
    pub(super) fn is_gogs(&self) -> bool {
        self.family == Family::Gogs
    }
}

impl Shape for Gitea {
    fn clone_path(&self, full_name: &str) -> String {
        format!("/{full_name}.git")
    }

    fn api_prefix(&self) -> &'static str {
        "/api/v1"
    }

    fn is_download(&self, path: &str) -> bool {
        path.split('/').nth(3) == Some("archive")
    }

    fn api(&self, forge: &Arc<Inner>, call: &Call) -> Answer {
        routes::answer(self, forge, call)
    }

    fn download(&self, forge: &Arc<Inner>, call: &Call) -> Answer {
        routes::page_download(forge, call)
    }

    fn token(&self, call: &Call) -> Option<String> {
        let header = call.header("authorization")?;
        let (scheme, token) = header.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("basic") && !self.is_gogs() {
            return Some(read_basic(header).map(|(_, password)| password).unwrap_or_default());
        }
        let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !self.is_gogs();
        let is_known = scheme.eq_ignore_ascii_case("token") || is_bearer;
        Some(if is_known { token.trim().to_owned() } else { String::new() })
    }

    fn refused(&self, why: Refusal, call: &Call) -> Answer {
        let (status, message) = match why {
            Refusal::BadToken => (401, "user does not exist [uid: 0, name: ]"),
            Refusal::NoToken => (401, "token is required"),
            Refusal::Unseen => (404, "The target couldn't be found."),
            Refusal::Forbidden(_) => (403, "token does not have at least one of required scope(s)"),
        };
        routes::failed(call, status, message)
    }

    fn all_events(&self) -> &'static [&'static str] {
        &["push", "create", "delete", "release"]
    }

    /// A branch that is made comes as `create` and `push`; one that is deleted as `delete` alone; a tag as `push` too,
    /// but for Gogs.
    fn pushed(&self, about: &About, changes: &[Change]) -> Vec<Notice> {
        let mut notices = Vec::new();
        for change in changes {
            let is_gone = change.after.is_none();
            let create = || Notice::new("create", "create", payload::create(self, about, change));
            if change.before.is_none() && !change.is_tag() {
                notices.push(create());
            }
            let is_pushed = if change.is_tag() { !self.is_gogs() } else { !is_gone };
            if is_pushed {
                notices.push(Notice::new("push", "push", payload::push(self, about, change)));
            }
            if change.before.is_none() && change.is_tag() {
                notices.push(create());
            }
            if is_gone {
                notices.push(Notice::new("delete", "delete", payload::delete(self, about, change)));
            }
        }
        notices
    }

    fn released(&self, about: &About, tag: &str, action: &str, _commit: Option<&str>) -> Option<Notice> {
        Some(Notice::new("release", "release", payload::release(self, about, tag, action)))
    }

    fn tried(&self, _about: &About, _hook: &Hook) -> Option<Notice> {
        // A test is a push of what is there: see `routes`.
        None
    }

    fn sign(&self, secret: &str, delivery: &Delivery) -> String {
        hex_mac(secret.as_bytes(), &[&delivery.body])
    }

    fn headers(&self, delivery: &Delivery) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "Go-http-client/1.1".to_owned()),
        ];
        for brand in self.brands {
            let prefix = if brand.is_prefixed && !delivery.signature.is_empty() { "sha256=" } else { "" };
            headers.push((brand.event, delivery.event.clone()));
            headers.push((brand.delivery, delivery.id.clone()));
            headers.push((brand.signature, format!("{prefix}{}", delivery.signature)));
            if !self.is_gogs() {
                headers.push((brand.event_type, delivery.event.clone()));
            }
        }
        headers
    }
}
