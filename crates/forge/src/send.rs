//! What a sender sends: for `webhook send`, the demo and tests.

use gristmill_model::Timestamp;

use crate::forge::Forge;
use crate::headers::HeaderName;
use crate::secret::Secret;
use crate::verify::UNNAMED;
use crate::{bare, bitbucket, generic, gitea, github, gitlab, token};

/// A delivery to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// As whom.
    pub forge: Forge,
    /// The event's name, for the forges that say it in a header.
    pub event: &'a str,
    /// The delivery's id, for the forges that say it in a header. A ULID for [`Forge::Bare`].
    pub delivery_id: &'a str,
    /// The present moment, where it is signed too.
    pub now: Timestamp,
    /// [`crate::Check::basic`].
    pub basic: bool,
    /// [`crate::Check::header`].
    pub header: Option<&'a HeaderName>,
}

impl Sending<'_> {
    /// The headers that the forge would send with `body`. `None` where only the forge itself can: the
    /// messages of Amazon SNS are signed with a key of theirs, and a malformed signing token signs nothing.
    pub fn headers(&self, secret: &Secret, body: &[u8]) -> Option<Vec<(String, String)>> {
        let mut headers = match self.forge {
            Forge::Codecommit => return None,
            Forge::Gitlab if secret.is_signing_token() => {
                gitlab::sign(secret, self.delivery_id, self.now, body)?.to_vec()
            }
            Forge::BitbucketServer if self.basic => vec![token::basic_header(secret)],
            _ => vec![sign(self.forge, secret, body)],
        };
        let names =
            [(self.forge.event_header(), self.event), (self.forge.delivery_header(), self.delivery_id)];
        for (name, value) in names {
            if !name.is_empty() && value != UNNAMED {
                headers.push((name, value.to_owned()));
            }
        }
        let mut headers: Vec<(String, String)> =
            headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if let (Forge::AzureDevops, Some(header)) = (self.forge, self.header) {
            headers[0] = (header.to_string(), generic::sign(secret).1);
        }
        Some(headers)
    }
}

/// Signs `body` as the forge would: the header's name and value. For the forges where one header does,
/// and where it depends on nothing but the body; [`Sending::headers`] is for all.
///
/// What only the forge itself can sign (CodeCommit) gets our own header, which no check of it asks for.
pub fn sign(forge: Forge, secret: &Secret, body: &[u8]) -> (&'static str, String) {
    match forge {
        Forge::Github => github::sign(secret, body),
        Forge::Gitlab => (gitlab::TOKEN, generic::sign(secret).1),
        Forge::Bitbucket | Forge::BitbucketServer => bitbucket::sign(secret, body),
        Forge::Gitea => gitea::sign(&gitea::GITEA, secret, body),
        Forge::Forgejo => gitea::sign(&gitea::FORGEJO, secret, body),
        Forge::Gogs => gitea::sign(&gitea::GOGS, secret, body),
        Forge::AzureDevops => token::basic_header(secret),
        Forge::Generic => generic::sign(secret),
        Forge::Bare | Forge::Codecommit => bare::sign(secret, body),
    }
}
