//! Assets as a resource type of Concourse: `check` tells which commits have some, `in` brings them, `out` keeps them.
//!
//! Each reads one JSON object and writes one; see Concourse's "Implementing a Resource Type".

use std::path::Path;

use anyhow::{Context as _, ensure};
use gristmill_model::{AssetSet, AssetState};
use gristmill_storage::Listed;
use serde::{Deserialize, Serialize};

use super::get::Get;
use super::place::{Env, Place};
use super::sets::Sets;
use super::upload::{Progress, Upload};
use super::{Tell, check};

/// The most commits that are told at once.
const VERSIONS_MAX: usize = 1000;

/// What Concourse gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    source: Source,
    #[serde(default)]
    version: Option<Version>,
    #[serde(default)]
    params: Params,
}

/// A commit that has assets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    commit: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    bucket: String,
    #[serde(default)]
    prefix: String,
    region: Option<String>,
    endpoint: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    role: Option<String>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({})", self.bucket)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// `in`: one file.
    file: Option<String>,
    /// `in`: nothing is brought, such as after `out`.
    skip_download: bool,
    /// `out`: the folder with the files.
    packages: Option<String>,
    /// `out`: the repository whose commit it is, where no `check` has noted one in the folder.
    repository: Option<String>,
    recursive: bool,
    force: bool,
}

/// What `in` and `out` answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Answer {
    version: Version,
    metadata: Vec<Field>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Field {
    name: String,
    value: String,
}

fn field(name: &str, value: impl Into<String>) -> Field {
    Field { name: name.to_owned(), value: value.into() }
}

impl Request {
    /// Reads what stands on standard input. An error does not repeat it: it has credentials.
    ///
    /// # Errors
    ///
    /// Where it is none.
    pub fn parse(json: &str) -> anyhow::Result<Request> {
        serde_json::from_str(json).map_err(|error| {
            let known = "source: bucket, prefix, region, endpoint, access_key_id, secret_access_key, session_token, role; params: file, skip_download, packages, repository, recursive, force";
            let (line, column) = (error.line(), error.column());
            anyhow::anyhow!("the resource's request cannot be read (line {line}, column {column}); known are {known}")
        })
    }

    fn place(&self, env: Env<'_>) -> anyhow::Result<Place> {
        let source = &self.source;
        let own = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => source.access_key_id.clone(),
            "AWS_SECRET_ACCESS_KEY" => source.secret_access_key.clone(),
            "AWS_SESSION_TOKEN" => source.session_token.clone(),
            "AWS_REGION" => source.region.clone(),
            "AWS_ROLE" => source.role.clone(),
            "AWS_ENDPOINT_URL_S3" => source.endpoint.clone(),
            _ => None,
        };
        Place::new(&source.bucket, &source.prefix, &|name| own(name).or_else(|| env(name)))
    }

    /// The commits with complete sets since the one that Concourse knows, oldest first; without one, the newest.
    ///
    /// # Errors
    ///
    /// Where the bucket cannot be asked.
    pub async fn check(&self, env: Env<'_>) -> anyhow::Result<Vec<Version>> {
        let sets = self.place(env)?.open().await;
        let prefix = sets.keys.manifests();
        let mut manifests: Vec<(String, Listed)> = sets
            .bucket
            .list(&prefix)
            .await?
            .into_iter()
            .filter_map(|listed| {
                let commit = listed.key.strip_prefix(&prefix)?.strip_suffix(".json")?.to_owned();
                (!commit.contains('/')).then_some((commit, listed))
            })
            .collect();
        manifests.sort_by(|one, other| (one.1.modified, &one.0).cmp(&(other.1.modified, &other.0)));
        let known = self
            .version
            .as_ref()
            .and_then(|version| manifests.iter().position(|(commit, _)| *commit == version.commit));
        let newest_only = known.is_none();
        let mut found = Vec::new();
        for (commit, listed) in manifests[known.unwrap_or(0)..].iter().rev() {
            if is_complete(&sets, listed).await? {
                found.push(Version { commit: commit.clone() });
            }
            if newest_only && !found.is_empty() || found.len() >= VERSIONS_MAX {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }

    /// Brings the assets of the version into a folder.
    ///
    /// # Errors
    ///
    /// Where there are none, or they cannot be brought.
    pub async fn bring(&self, into: &Path, env: Env<'_>, tell: Tell<'_>) -> anyhow::Result<Answer> {
        let version = self.version.clone().context("`in` needs a version")?;
        let mut metadata = Vec::new();
        if !self.params.skip_download {
            let sets = self.place(env)?.open().await;
            let get =
                Get { commit: version.commit.clone(), file: self.params.file.clone(), into: into.to_owned() };
            let got = get.run(&sets, tell).await?;
            metadata.extend(got.files.iter().map(|(path, _, digest)| field(path, digest.to_string())));
        }
        std::fs::write(into.join(check::COMMIT_FILE), &version.commit)
            .with_context(|| format!("writing to {}", into.display()))?;
        Ok(Answer { version, metadata })
    }

    /// Keeps the files of a folder below `sources`.
    ///
    /// # Errors
    ///
    /// As `upload`.
    pub async fn keep(&self, sources: &Path, env: Env<'_>, tell: Tell<'_>) -> anyhow::Result<Answer> {
        let packages =
            self.params.packages.as_deref().context("`out` needs the parameter `packages`, a folder")?;
        let packages = sources.join(packages);
        ensure!(packages.is_dir(), "there is no folder {}", packages.display());
        if let Some(repository) = &self.params.repository {
            let (_, commit) = check::open(&sources.join(repository))?;
            std::fs::write(packages.join(check::COMMIT_FILE), commit.to_string())
                .with_context(|| format!("writing to {}", packages.display()))?;
        }
        if super::upload::is_found(&packages) {
            let commit = std::fs::read_to_string(packages.join(check::COMMIT_FILE))
                .with_context(|| format!("{} has no {}", packages.display(), check::COMMIT_FILE))?;
            let version = Version { commit: commit.trim().to_owned() };
            return Ok(Answer { version, metadata: vec![field("uploaded", "nothing, it was found")] });
        }
        let upload = Upload { packages, recursive: self.params.recursive, force: self.params.force };
        let done = upload.run(&self.place(env)?, &Progress::default(), tell).await?;
        let commit = done.commit.to_string();
        let metadata = vec![field("files", done.files.to_string()), field("bytes", done.bytes.to_string())];
        Ok(Answer { version: Version { commit }, metadata })
    }
}

async fn is_complete(sets: &Sets, manifest: &Listed) -> anyhow::Result<bool> {
    let got = sets.bucket.get(&manifest.key).await?;
    let set = got.and_then(|(bytes, _)| AssetSet::parse(&bytes));
    Ok(set.is_some_and(|set| set.state == AssetState::Complete))
}
