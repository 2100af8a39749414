//! The archive of a commit, as the forge itself packs it.
//!
//! Sources: "Download a repository archive (tar)" of GitHub, which answers 302 to another host of its own; "Get
//! file archive" of GitLab (5 a minute at gitlab.com); `repoGetArchive` of Gitea's description; "Stream archive" of
//! Data Center; "Download archive" of Gogs' reference; "Items - List" of Azure DevOps.
//!
//! Bitbucket Cloud's is no part of its API and lies at bitbucket.org. "How to download repositories using the
//! Bitbucket Cloud API" of its support pages has it with a commit and by Basic, an API token with the e-mail address of
//! its account as the user. Of `Bearer` with access tokens no page tells: clients have used it for years
//! (ProboCI/probo#46, utopia-php/vcs#129), and others report that it is refused (jfrog/froggit-go#191). So it is sent,
//! and the refusal says what is sure.

use gristmill_model::CommitId;

use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use super::{AZURE_VERSION, Api, encoded};

/// Where Bitbucket Cloud's archives are, beside its API.
const BITBUCKET_API: &str = "https://api.bitbucket.org/2.0";
const BITBUCKET: &str = "https://bitbucket.org";

/// How an archive is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packed {
    /// A tar file in gzip, of one folder.
    Tar,
    /// A zip file, without a folder of its own.
    Zip,
}

impl Api {
    /// The call that brings the archive of a commit. It is made of the configuration alone: no
    /// address of a payload's or an answer's is in it (mistake 14). `bytes_max` bounds what is read.
    ///
    /// The answer may be a redirect to a host that the forge keeps its archives at. It may be followed without
    /// the secret headers: such an address carries its own short-lived permission.
    pub fn archive(&self, commit: CommitId, bytes_max: usize) -> Call {
        let path = match self.family {
            Family::Github => self.path(&format!("/tarball/{commit}")),
            Family::Gitlab => self.path(&format!("/repository/archive.tar.gz?sha={commit}")),
            Family::Gitea | Family::Gogs => self.path(&format!("/archive/{commit}.tar.gz")),
            Family::Bitbucket => {
                let (owner, name) = (encoded(self.repository.owner()), encoded(self.repository.name()));
                format!("/{owner}/{name}/get/{commit}.tar.gz")
            }
            // Without a prefix there would be no folder.
            Family::BitbucketServer => {
                self.path(&format!("/archive?at={commit}&format=tar.gz&prefix=source/"))
            }
            // Without `zipForUnix` neither links nor what may be executed are told from other files.
            Family::Azure => self.path(&format!(
                "/items?scopePath=/&recursionLevel=full&versionDescriptor.version={commit}&versionDescriptor.versionType=commit&$format=zip&zipForUnix=true&{AZURE_VERSION}"
            )),
        };
        let base = match self.base.as_str() {
            BITBUCKET_API => BITBUCKET,
            // The pages lie beside the API where both have one host.
            base if self.family == Family::Bitbucket => base.strip_suffix("/2.0").unwrap_or(base),
            base => base,
        };
        let mut call = self.call_to(Method::Get, format!("{base}{path}"));
        call.headers.retain(|header| header.name != "Accept");
        call.answer_bytes_max = bytes_max;
        call
    }

    /// How it comes.
    pub fn packed(&self) -> Packed {
        if self.family == Family::Azure { Packed::Zip } else { Packed::Tar }
    }

    /// What an answer to that call means that is no archive.
    ///
    /// # Errors
    /// [`ApiError`] for every status but 2xx, and for a page: who is not known is led to the one to sign in.
    pub fn archive_refusal(&self, answer: Answer) -> Result<(), ApiError> {
        let answer = self.accepted(Operation::Archive, answer)?;
        let is_page =
            answer.header("Content-Type").is_some_and(|kind| kind.trim_start().starts_with("text/html"));
        if is_page { Err(self.signed_out(Operation::Archive)) } else { Ok(()) }
    }
}
