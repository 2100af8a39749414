//! The archive of a commit, as the forge itself packs it.
//!
//! Sources: "Download a repository archive (tar)" of GitHub, which answers 302 to another host of its own; "Get
//! file archive" of GitLab (5 a minute at gitlab.com); `repoGetArchive` of Gitea's description; "Download a
//! repository archive from Bitbucket Cloud" of its support pages, which is no part of the API and lies at
//! bitbucket.org; "Stream archive" of Data Center.

use gristmill_model::CommitId;

use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use super::{Api, encoded};

/// Where Bitbucket Cloud's archives are, beside its API.
const BITBUCKET_API: &str = "https://api.bitbucket.org/2.0";
const BITBUCKET: &str = "https://bitbucket.org";

impl Api {
    /// The call that brings a commit as a `.tar.gz` of one folder. It is made of the configuration alone: no
    /// address of a payload's or an answer's is in it (mistake 14). `bytes_max` bounds what is read.
    ///
    /// The answer may be a redirect to a host that the forge keeps its archives at. It may be followed without
    /// the secret headers: such an address carries its own short-lived permission.
    pub fn archive(&self, commit: CommitId, bytes_max: usize) -> Call {
        let path = match self.family {
            Family::Github => self.path(&format!("/tarball/{commit}")),
            Family::Gitlab => self.path(&format!("/repository/archive.tar.gz?sha={commit}")),
            Family::Gitea => self.path(&format!("/archive/{commit}.tar.gz")),
            Family::Bitbucket => {
                let (owner, name) = (encoded(self.repository.owner()), encoded(self.repository.name()));
                format!("/{owner}/{name}/get/{commit}.tar.gz")
            }
            // Without a prefix there would be no folder.
            Family::BitbucketServer => {
                self.path(&format!("/archive?at={commit}&format=tar.gz&prefix=source/"))
            }
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

    /// What an answer to that call means that is no archive.
    ///
    /// # Errors
    /// [`ApiError`] for every status but 2xx.
    pub fn archive_refusal(&self, answer: Answer) -> Result<(), ApiError> {
        self.accepted(Operation::Content, answer).map(drop)
    }
}
