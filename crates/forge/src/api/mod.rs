//! The forges' HTTP APIs without IO: what is asked, and what the answers mean.
//!
//! [`Api`] knows one repository at one forge. Each of its operations makes one or more [`Call`]s, hands each to
//! a function of the caller's that carries it over and brings the [`Answer`] back, and gives a typed result:
//!
//! ```
//! # use gristmill_forge::api::{Answer, Api, ApiBase, ApiError, Call};
//! # use gristmill_forge::Forge;
//! let base = ApiBase::derived(Forge::Github, "https://github.com/acme/shop.git", "acme/shop")?;
//! let api = Api::new(Forge::Github, base, None, "acme/shop".parse().expect("a name"))?;
//! let mut carry = |call: Call| -> Result<Answer, ApiError> {
//!     assert_eq!(call.url, "https://api.github.com/repos/acme/shop");
//!     let body = br#"{"id":42,"full_name":"acme/shop","default_branch":"main","private":true}"#.to_vec();
//!     Ok(Answer { status: 200, headers: Vec::new(), body })
//! };
//! assert_eq!(api.repository(&mut carry)?.id, "42");
//! # Ok::<(), ApiError>(())
//! ```
//!
//! What holds for all of them:
//!
//! - Scheme, host and port of every call are the configuration's ([`ApiBase`]). Of answers only names, ids and
//!   page numbers go into an address, each as one encoded segment or value; addresses in answers are never
//!   called. That is mistake 14 of the archive contract's list, for all calls.
//! - Answers are bounded: [`Call::answer_bytes_max`] each, and a number of pages for a list.
//! - What a token must be allowed to do stands in the errors, and is [`Api::needed`].
//! - No secret is in an error or in what `Debug` shows.
//!
//! One file is one kind of thing at the forge, with each forge's way to it and the page of the forge's
//! documentation that it is from. Families: GitHub (and Enterprise Server), GitLab, Gitea (and Forgejo),
//! Bitbucket Cloud, Bitbucket Data Center; of Gogs and Azure DevOps refs and content alone, see [`Api::can`]. The
//! others have no API that is spoken here: [`ApiError::NoApi`].

mod archive;
mod base;
mod call;
mod deliveries;
mod error;
mod family;
mod hooks;
mod keys;
mod limits;
mod read;
mod refs;
mod repository;
mod status;
mod tree;

use gristmill_model::RepoPath;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::archive::Packed;
pub use self::base::ApiBase;
pub use self::call::{Answer, Call, Credential, CredentialError, Header, Method};
pub use self::deliveries::{Delivery, MissedDeliveries, Place, UnsignedPayload};
pub use self::error::ApiError;
pub use self::family::Operation;
pub use self::hooks::{Hook, HooksOf, NewHook};
pub use self::keys::{DeployKey, NewKey};
pub use self::limits::Wait;
pub use self::refs::RefTip;
pub use self::repository::Repository;
pub use self::status::{CommitStatus, StatusState};
pub use self::tree::{Root, Told, Tree};

use self::call::ANSWER_BYTES_MAX;
use self::family::Family;
use crate::forge::Forge;
use crate::parse::Object;

/// The most pages of a list that are read. At a hundred entries a page that is more refs than any look needs.
const PAGES_MAX: usize = 200;
/// The largest answer that has a whole list, in bytes: some thousands of branches at half a kilobyte each.
const UNPAGED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The version of Azure DevOps' API that is spoken, which every call must name. `zipForUnix` is of this one.
const AZURE_VERSION: &str = "api-version=7.1";

/// What a segment of a path or a value of a query may hold as it is (RFC 3986, "unreserved").
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` as one segment of a path or one value of a query.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// One repository at one forge.
#[derive(Clone, Debug)]
pub struct Api {
    forge: Forge,
    family: Family,
    base: ApiBase,
    credential: Option<Credential>,
    repository: RepoPath,
}

/// Whether something was made or was there already and is now as wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ensured {
    /// Its id at the forge.
    pub id: String,
    /// Whether it was not there before.
    pub made: bool,
}

impl Api {
    /// The repository called `repository` at the forge whose API lies at `base`. Without a `credential` only
    /// what everybody may see is seen.
    ///
    /// # Errors
    /// [`ApiError::NoApi`] for forges without one; [`ApiError::Input`] where the forge knows no such names.
    pub fn new(
        forge: Forge,
        base: ApiBase,
        credential: Option<Credential>,
        repository: RepoPath,
    ) -> Result<Api, ApiError> {
        let family = Family::of(forge)?;
        if family != Family::Gitlab && repository.owner().contains('/') {
            let problem = format!(
                "`{repository}` has more than two parts, which no repository at {forge} has; expected owner/name"
            );
            return Err(ApiError::Input { problem });
        }
        Ok(Api { forge, family, base, credential, repository })
    }

    /// Which forge.
    pub fn forge(&self) -> Forge {
        self.forge
    }

    /// Where its API lies.
    pub fn base(&self) -> &ApiBase {
        &self.base
    }

    /// Whether this is spoken here. Refs and content are, of every forge that has an API.
    pub fn can(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Content | Operation::Archive) || self.family.is_managed()
    }

    fn check(&self, operation: Operation) -> Result<(), ApiError> {
        if self.can(operation) { Ok(()) } else { Err(ApiError::NoApi { forge: self.forge }) }
    }

    /// What the token must be allowed to do for an operation, in the forge's own words.
    pub fn needed(&self, operation: Operation) -> &'static str {
        family::needed(self.family, operation)
    }

    /// The path of the repository, and what lies `below` it.
    fn path(&self, below: &str) -> String {
        let (owner, name) = (encoded(self.repository.owner()), encoded(self.repository.name()));
        match self.family {
            Family::Github | Family::Gitea | Family::Gogs => format!("/repos/{owner}/{name}{below}"),
            Family::Gitlab => format!("/projects/{}{below}", encoded(self.repository.as_str())),
            Family::Bitbucket => format!("/repositories/{owner}/{name}{below}"),
            Family::BitbucketServer => format!("/api/1.0/projects/{owner}/repos/{name}{below}"),
            Family::Azure => format!("/{owner}/_apis/git/repositories/{name}{below}"),
        }
    }

    /// A call to a path below the API's address.
    fn call(&self, method: Method, path: &str) -> Call {
        self.call_to(method, format!("{}{path}", self.base))
    }

    /// A call to an address that the configuration alone has made.
    fn call_to(&self, method: Method, url: String) -> Call {
        let mut headers = Vec::new();
        match self.family {
            // Both from "Getting started with the REST API"; without a user agent GitHub refuses.
            Family::Github => {
                headers.push(Header::plain("Accept", "application/vnd.github+json"));
                headers.push(Header::plain("X-GitHub-Api-Version", "2022-11-28"));
            }
            _ => headers.push(Header::plain("Accept", "application/json")),
        }
        headers.push(Header::plain("User-Agent", "gristmill"));
        headers.extend(self.credential.as_ref().map(|credential| credential.header(self.family)));
        Call { method, url, headers, body: None, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    /// The same with a body.
    fn call_with<T: Serialize>(&self, method: Method, path: &str, body: &T) -> Call {
        let mut call = self.call(method, path);
        call.headers.push(Header::plain("Content-Type", "application/json"));
        call.body = Some(serde_json::to_vec(body).expect("texts and booleans under names are JSON"));
        call
    }

    /// Carries one call over; a status that is no success is an error.
    fn ask<E: From<ApiError>>(
        &self,
        operation: Operation,
        call: Call,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Answer, E> {
        self.check(operation)?;
        let answer = carry(call)?;
        Ok(self.accepted(operation, answer)?)
    }

    /// Takes away what lies at `path`. An answer that it is not there may also mean that the token may not know
    /// of it, so then `is_there` looks. Whether it was there.
    fn remove<E: From<ApiError>, C: FnMut(Call) -> Result<Answer, E>>(
        &self,
        operation: Operation,
        path: &str,
        is_there: impl FnOnce(&mut C) -> Result<bool, E>,
        carry: &mut C,
    ) -> Result<bool, E> {
        self.check(operation)?;
        let answer = carry(self.call(Method::Delete, path))?;
        match self.accepted(operation, answer) {
            Ok(_) => Ok(true),
            Err(refusal @ ApiError::NotFound { .. }) => {
                if is_there(carry)? {
                    Err(refusal.into())
                } else {
                    Ok(false)
                }
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// All entries of the list at `path`.
    fn list<T: DeserializeOwned, E: From<ApiError>>(
        &self,
        operation: Operation,
        path: &str,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Vec<T>, E> {
        let mut found = Vec::new();
        let mut at = Some(if self.family == Family::BitbucketServer { 0 } else { 1 });
        for _ in 0..PAGES_MAX {
            let Some(page) = at else { return Ok(found) };
            let mut call = self.call(Method::Get, &self.page(path, page));
            if self.family == Family::Gogs {
                call.answer_bytes_max = UNPAGED_BYTES_MAX;
            }
            let answer = self.ask(operation, call, carry)?;
            at = self.read_page(&answer, page, &mut found)?;
        }
        if at.is_none() {
            return Ok(found);
        }
        Err(ApiError::TooMany { forge: self.forge, pages: PAGES_MAX }.into())
    }

    /// The address of one page. Sources: as at [`read::goes_on`]; "Pagination" of Bitbucket Cloud (`pagelen`,
    /// `page`) and of Data Center (`limit`, `start`). Gitea allows 50 a page as it comes.
    fn page(&self, path: &str, page: u64) -> String {
        let joint = if path.contains('?') { '&' } else { '?' };
        match self.family {
            Family::Github | Family::Gitlab => format!("{path}{joint}per_page=100&page={page}"),
            Family::Gitea => format!("{path}{joint}limit=50&page={page}"),
            Family::Bitbucket => format!("{path}{joint}pagelen=100&page={page}"),
            Family::BitbucketServer => format!("{path}{joint}limit=100&start={page}"),
            // Gogs has no pages of these; Azure DevOps' go by tokens, see `refs`.
            Family::Gogs | Family::Azure => path.to_owned(),
        }
    }

    /// Adds a page's entries to `found`; says which page is next.
    fn read_page<T: DeserializeOwned>(
        &self,
        answer: &Answer,
        page: u64,
        found: &mut Vec<T>,
    ) -> Result<Option<u64>, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", bound = "T: DeserializeOwned")]
        struct Wrapped<T> {
            values: Vec<Object<T>>,
            /// Of Bitbucket Cloud: an address, which only says that there is one.
            next: Option<String>,
            is_last_page: Option<bool>,
            next_page_start: Option<u64>,
        }
        let before = found.len();
        let next = match self.family {
            Family::Github | Family::Gitlab | Family::Gitea => {
                found.extend(self.json::<Vec<Object<T>>>(answer)?.into_iter().map(|entry| entry.0));
                read::goes_on(self.family, answer, found.len()).then_some(page + 1)
            }
            Family::Gogs | Family::Azure => {
                found.extend(self.json::<Vec<Object<T>>>(answer)?.into_iter().map(|entry| entry.0));
                None
            }
            Family::Bitbucket => {
                let wrapped: Wrapped<T> = self.object(answer)?;
                found.extend(wrapped.values.into_iter().map(|entry| entry.0));
                wrapped.next.map(|_| page + 1)
            }
            Family::BitbucketServer => {
                let wrapped: Wrapped<T> = self.object(answer)?;
                found.extend(wrapped.values.into_iter().map(|entry| entry.0));
                // A page that leads back would never end.
                let next = wrapped.next_page_start.filter(|next| *next > page);
                if wrapped.is_last_page == Some(false) { next } else { None }
            }
        };
        Ok(next.filter(|_| found.len() > before))
    }
}
