//! [`Verifier`]: the ways in which a sender shows who it is.

use std::fmt;
use std::str::FromStr;

use crate::text;

/// How the sender showed that it knows a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verifier {
    /// GitHub's `X-Hub-Signature-256`.
    GithubHmacSha256,
    /// GitHub's legacy `X-Hub-Signature`, for projects that opted in.
    GithubHmacSha1,
    /// GitLab's secret token, `X-Gitlab-Token`. Nothing of the request is signed.
    GitlabToken,
    /// GitLab's signing token, by the Standard Webhooks specification.
    GitlabSigningToken,
    /// Bitbucket's `X-Hub-Signature`, of the Cloud and of servers.
    BitbucketHmacSha256,
    /// The bare digits of an HMAC-SHA256, as Gitea, Forgejo and Gogs send them.
    GiteaHmacSha256,
    /// A password, by HTTP's Basic scheme. Nothing of the request is signed.
    Basic,
    /// A token in a header that the project names. Nothing of the request is signed.
    CustomHeader,
    /// Amazon SNS, signature version 1: RSA with SHA-1.
    SnsRsaSha1,
    /// Amazon SNS, signature version 2: RSA with SHA-256.
    SnsRsaSha256,
    /// A token in `X-Git-Token`. Nothing of the request is signed.
    GitToken,
    /// Our own `X-Gristmill-Signature-256`.
    GristmillHmacSha256,
}

/// The text names no verifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a verifier; expected one of: {known}", known = Verifier::ALL.map(Verifier::name).join(", "))]
pub struct UnknownVerifier(String);

impl Verifier {
    const ALL: [Verifier; 12] = [
        Verifier::GithubHmacSha256,
        Verifier::GithubHmacSha1,
        Verifier::GitlabToken,
        Verifier::GitlabSigningToken,
        Verifier::BitbucketHmacSha256,
        Verifier::GiteaHmacSha256,
        Verifier::Basic,
        Verifier::CustomHeader,
        Verifier::SnsRsaSha1,
        Verifier::SnsRsaSha256,
        Verifier::GitToken,
        Verifier::GristmillHmacSha256,
    ];

    /// The name that is stored with a delivery.
    pub const fn name(self) -> &'static str {
        match self {
            Verifier::GithubHmacSha256 => "github-hmac-sha256",
            Verifier::GithubHmacSha1 => "github-hmac-sha1",
            Verifier::GitlabToken => "gitlab-token",
            Verifier::GitlabSigningToken => "gitlab-signing-token",
            Verifier::BitbucketHmacSha256 => "bitbucket-hmac-sha256",
            Verifier::GiteaHmacSha256 => "gitea-hmac-sha256",
            Verifier::Basic => "basic",
            Verifier::CustomHeader => "custom-header",
            Verifier::SnsRsaSha1 => "sns-rsa-sha1",
            Verifier::SnsRsaSha256 => "sns-rsa-sha256",
            Verifier::GitToken => "git-token",
            Verifier::GristmillHmacSha256 => "gristmill-hmac-sha256",
        }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Verifier {
    type Err = UnknownVerifier;

    fn from_str(name: &str) -> Result<Verifier, UnknownVerifier> {
        let found = Verifier::ALL.into_iter().find(|verifier| verifier.name() == name);
        found.ok_or_else(|| UnknownVerifier(text::shown(name)))
    }
}
