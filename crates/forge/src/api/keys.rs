//! Deploy keys, read-only: ours is the one with exactly our key material.
//!
//! Sources: "REST API endpoints for deploy keys" of GitHub; "Deploy keys API" of GitLab; `repoListKeys`,
//! `repoCreateKey` and `repoDeleteKey` of Gitea's description; "Deployments", deploy keys, of Bitbucket Cloud
//! (they can only read); "SSH access keys" of Data Center, under `/rest/keys/1.0`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use super::read::{Id, Line};
use super::{Api, Ensured, encoded};
use crate::parse::Object;

/// A deploy key as the forge lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeployKey {
    /// The forge's id.
    pub id: String,
    /// What it is called there.
    pub title: String,
    /// The public key, as OpenSSH writes it; some forges leave its comment out.
    pub key: String,
    /// Whether it can only read.
    pub read_only: bool,
}

/// The deploy key that shall be there.
#[derive(Clone, Copy, Debug)]
pub struct NewKey<'a> {
    /// What it shall be called.
    pub title: &'a str,
    /// The public key in one line, as OpenSSH writes it: `ssh-ed25519 AAAA…`.
    pub key: &'a str,
}

/// One shape for all; Data Center has the key within a permission.
#[derive(Deserialize)]
struct Listed {
    id: Option<Id>,
    title: Option<Line>,
    /// Of both Bitbuckets.
    label: Option<Line>,
    key: Option<Text>,
    /// Of GitHub and Gitea.
    read_only: Option<bool>,
    /// Of GitLab.
    can_push: Option<bool>,
    /// Of Data Center: `REPO_READ` or `REPO_WRITE`.
    permission: Option<Line>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Line(Line),
    Within(Object<Within>),
}

/// Data Center's key.
#[derive(Deserialize)]
struct Within {
    id: Id,
    text: Line,
    label: Option<Line>,
}

impl Api {
    /// All deploy keys of the repository.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn keys<E: From<ApiError>>(
        &self,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Vec<DeployKey>, E> {
        let listed: Vec<Listed> = self.list(Operation::Keys, &self.keys_path(), carry)?;
        Ok(listed.into_iter().map(|key| self.read_key(key)).collect::<Result<_, ApiError>>()?)
    }

    /// Sees to it that the key is there and can only read. One that may write is taken away and added anew.
    ///
    /// # Errors
    /// [`ApiError`]. GitHub refuses a key that is in use at another repository.
    pub fn ensure_key<E: From<ApiError>>(
        &self,
        wanted: &NewKey<'_>,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Ensured, E> {
        let material = material(wanted.key).ok_or_else(|| ApiError::Input {
            problem: "the deploy key is not one line of OpenSSH's form; expected such as `ssh-ed25519 AAAA…`"
                .to_owned(),
        })?;
        let ours = self.keys(carry)?.into_iter().find(|key| self::material(&key.key) == Some(material));
        if let Some(found) = &ours {
            if found.read_only {
                return Ok(Ensured { id: found.id.clone(), made: false });
            }
            self.delete_key(&found.id, carry)?;
        }
        let call = self.call_with(Method::Post, &self.keys_path(), &self.key_body(wanted));
        let answer = self.ask(Operation::Keys, call, carry)?;
        let made = self.read_key(self.object(&answer)?)?;
        Ok(Ensured { id: made.id, made: ours.is_none() })
    }

    /// Takes the key away. Whether it was there.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn delete_key<E: From<ApiError>, C: FnMut(Call) -> Result<Answer, E>>(
        &self,
        id: &str,
        carry: &mut C,
    ) -> Result<bool, E> {
        let is_there = |carry: &mut C| Ok(self.keys(carry)?.iter().any(|key| key.id == id));
        let path = format!("{}/{}", self.keys_path(), encoded(id));
        self.remove(Operation::Keys, &path, is_there, carry)
    }

    fn keys_path(&self) -> String {
        match self.family {
            Family::Github | Family::Gitea | Family::Gogs | Family::Azure => self.path("/keys"),
            Family::Gitlab => self.path("/deploy_keys"),
            Family::Bitbucket => self.path("/deploy-keys"),
            Family::BitbucketServer => self.path("/ssh").replacen("/api/", "/keys/", 1),
        }
    }

    fn read_key(&self, listed: Listed) -> Result<DeployKey, ApiError> {
        let missing = |field: &str| self.shape(field, "the deploy key has none");
        let read_only = match self.family {
            Family::Github | Family::Gitea | Family::Gogs | Family::Azure => listed.read_only == Some(true),
            // Told of a key in a list; of one just made, older versions leave it out.
            Family::Gitlab => listed.can_push != Some(true),
            Family::Bitbucket => true,
            Family::BitbucketServer => listed.permission.is_some_and(|line| line.0 == "REPO_READ"),
        };
        let (id, key, label) = match listed.key.ok_or_else(|| missing("key"))? {
            Text::Line(line) => {
                (listed.id.ok_or_else(|| missing("id"))?, line, listed.title.or(listed.label))
            }
            Text::Within(Object(within)) => (within.id, within.text, within.label),
        };
        Ok(DeployKey { id: id.0, title: label.map(|line| line.0).unwrap_or_default(), key: key.0, read_only })
    }

    fn key_body(&self, wanted: &NewKey<'_>) -> Value {
        let NewKey { title, key } = *wanted;
        match self.family {
            Family::Github | Family::Gitea | Family::Gogs | Family::Azure => {
                json!({ "title": title, "key": key, "read_only": true })
            }
            Family::Gitlab => json!({ "title": title, "key": key, "can_push": false }),
            Family::Bitbucket => json!({ "label": title, "key": key }),
            Family::BitbucketServer => {
                json!({ "key": { "text": key, "label": title }, "permission": "REPO_READ" })
            }
        }
    }
}

/// What makes two keys one: algorithm and public half, without the comment.
fn material(key: &str) -> Option<(&str, &str)> {
    if key.contains(char::is_control) {
        return None;
    }
    let mut words = key.split_ascii_whitespace();
    let (algorithm, half) = (words.next()?, words.next()?);
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    half.chars().all(base64).then_some((algorithm, half))
}
