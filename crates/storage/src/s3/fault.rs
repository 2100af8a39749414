//! [`Fault`]: what the server answered, sorted by what is done next.

use std::fmt::Display;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::error::StorageError;

/// No region's name is longer.
const REGION_CHARS_MAX: usize = 40;

/// How much of a server's sentence an error repeats.
const SAID_CHARS_MAX: usize = 300;

/// Words that stand in what a server repeats of a signed request. A sentence with one is not shown.
const NEVER_SHOWN: [&str; 5] = ["Signature", "Credential=", "X-Amz-", "x-amz-security", "AWSAccessKeyId"];

/// The code, of our own making, of a call that was not made for want of credentials.
const NO_CREDENTIALS: &str = "NoCredentials";

/// A call that failed.
#[derive(Debug)]
pub(super) struct Fault {
    /// HTTP's status; none where no whole answer came.
    status: Option<u16>,
    code: String,
    said: String,
    /// The call may have had its effect.
    unsure: bool,
    timeout: bool,
    /// The region that the server says the bucket is in.
    region: Option<String>,
    /// The key's newest version is a delete marker.
    pub(super) delete_marker: bool,
}

impl<E> From<SdkError<E, HttpResponse>> for Fault
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Fault {
        let response = error.raw_response();
        let status = response.map(|response| response.status().as_u16());
        let header =
            |name: &str| response.and_then(|response| response.headers().get(name)).map(str::to_owned);
        let delete_marker = header("x-amz-delete-marker").as_deref() == Some("true");
        let code = error.code().map(str::to_owned);
        let timeout = matches!(&error, SdkError::TimeoutError(_))
            || matches!(&error, SdkError::DispatchFailure(failure) if failure.is_timeout());
        if let Some(why) = lacks_credentials(&error) {
            return Fault { code: NO_CREDENTIALS.to_owned(), ..Fault::wrong(shown(&causes(why))) };
        }
        // A 200 may hold an error, or be cut off: S3 answers long calls before it knows how they end.
        let unsure = match &error {
            SdkError::ConstructionFailure(_) => false,
            SdkError::ServiceError(_) => status.is_some_and(|status| !(300..500).contains(&status)),
            _ => true,
        };
        let said = match (&error, error.message()) {
            (_, Some(message)) => message.to_owned(),
            (SdkError::ServiceError(_), None) if !unsure => String::new(),
            _ => DisplayErrorContext(&error).to_string(),
        };
        let code = code.unwrap_or_default();
        let region =
            header("x-amz-bucket-region").or_else(|| expected_region(&said)).filter(|it| is_region(it));
        Fault { status, code, said: shown(&said), unsure, timeout, region, delete_marker }
    }
}

/// Why there were no credentials to sign the call with, where that is what failed.
fn lacks_credentials<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a CredentialsError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// What is said of missing credentials, from the outermost cause to the innermost. The SDK's own sentence for a source
/// that is not configured is left out: each source says it.
fn causes(error: &CredentialsError) -> String {
    const NOT_CONFIGURED: &str = "the credential provider was not enabled";
    let mut said = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        said.push(
            error.to_string().replace(&format!("{NOT_CONFIGURED}: "), "").replace(NOT_CONFIGURED, "none"),
        );
        cause = error.source();
    }
    said.retain(|said| said != "none");
    said.dedup();
    said.join(": ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The region in S3's and MinIO's sentence for a request that was signed for another one: `… expecting 'eu-west-2'`.
fn expected_region(said: &str) -> Option<String> {
    said.split_once("expecting '")?.1.split_once('\'').map(|(region, _)| region.to_owned())
}

/// Whether it can be a region: it becomes a part of a host's name.
fn is_region(text: &str) -> bool {
    (1..=REGION_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A sentence of the server as an error may repeat it.
fn shown(said: &str) -> String {
    if NEVER_SHOWN.iter().any(|word| said.contains(word)) {
        return String::new();
    }
    let clean = said.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(SAID_CHARS_MAX).collect::<String>().trim().to_owned()
}

impl Fault {
    /// A fault of our own making: the answer is not what was asked for.
    pub(super) fn wrong(said: impl Into<String>) -> Fault {
        let (status, code) = (None, "UnexpectedAnswer".to_owned());
        Fault {
            status,
            code,
            said: said.into(),
            unsure: false,
            timeout: false,
            region: None,
            delete_marker: false,
        }
    }

    /// An answer whose end did not come.
    pub(super) fn cut_off(said: &dyn Display) -> Fault {
        Fault { unsure: true, code: "CutOff".to_owned(), ..Fault::wrong(shown(&said.to_string())) }
    }

    /// The object, version or upload is not there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.code.as_str(), "NoSuchKey" | "NoSuchVersion" | "NoSuchUpload")
            || self.status == Some(404) && !self.is_no_bucket()
    }

    pub(super) fn is_no_bucket(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    /// A condition of the call did not hold.
    pub(super) fn is_condition(&self) -> bool {
        self.status == Some(412)
            || matches!(self.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
    }

    /// The call may have had its effect: look before it is made again.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// The server says that it worked, in words that cannot be read or with an error within.
    pub(super) fn is_odd_success(&self) -> bool {
        self.status.is_some_and(|status| status < 300)
    }

    /// What was sent did not arrive as it was sent, or it was refused as such.
    pub(super) fn is_bad_request(&self) -> bool {
        self.status == Some(400)
    }

    /// The server does not know the call, or not in this form.
    pub(super) fn is_unknown_call(&self) -> bool {
        matches!(self.status, Some(400 | 405 | 501))
            || matches!(self.code.as_str(), "NotImplemented" | "MethodNotAllowed")
    }

    /// The bucket to be made is ours already.
    pub(super) fn is_ours_already(&self) -> bool {
        self.code == "BucketAlreadyOwnedByYou"
    }

    pub(super) fn is_denied(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status, Some(301 | 307 | 308))
            || matches!(self.code.as_str(), "PermanentRedirect" | "AuthorizationHeaderMalformed")
    }

    /// Where the bucket is, if it is not where it was asked for.
    pub(super) fn region(&self) -> Option<&str> {
        self.region.as_deref().filter(|_| self.is_redirect() || self.status == Some(400))
    }

    /// Whether the same call may work later.
    pub(super) fn may_pass(&self) -> bool {
        match self.status {
            // Rights and keys are given and rotated while we run; clocks are set.
            Some(401 | 403 | 408 | 409 | 412 | 416 | 429) => true,
            Some(501) => false,
            Some(status) if status >= 500 => true,
            Some(_) if self.may_be_expired() => true,
            Some(_) => {
                self.unsure
                    || matches!(
                        self.code.as_str(),
                        "ExpiredToken"
                            | "TokenRefreshRequired"
                            | "RequestTimeTooSkewed"
                            | "RequestTimeout"
                            | "SlowDown"
                            | "Throttling"
                            | "BadDigest"
                    )
            }
            // Who gives credentials may answer later, and files are put right.
            None => self.unsure || self.code == NO_CREDENTIALS,
        }
    }

    /// Whether a condition did not hold, and not that somebody else writes at this moment.
    pub(super) fn is_precondition(&self) -> bool {
        self.status == Some(412)
    }

    /// Whether it may be that the credentials have expired: S3 says 400 then, and to a HEAD no word besides.
    fn may_be_expired(&self) -> bool {
        self.status == Some(400) && self.code.is_empty()
    }

    /// The same for who knows nothing of a server of ours and its settings.
    pub(super) fn told_plainly(mut self, doing: impl Display) -> StorageError {
        // What the SDK shows of its own values helps nobody.
        if let Some((said, _)) = self.said.split_once(" (DispatchFailure") {
            self.said = said.to_owned();
        }
        let remedy = match (self.code.as_str(), self.status) {
            (NO_CREDENTIALS, _) => {
                "no credentials were found that work; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
            }
            ("NoSuchBucket", _) => "there is no such bucket; make it, or correct its name",
            ("AccessDenied", _) | (_, Some(401 | 403)) if !self.is_key_refused() => {
                "access is denied; let these credentials list, read and write the bucket"
            }
            _ if self.is_redirect() => "the bucket is in another region; set AWS_REGION to it",
            _ => self.remedy(),
        };
        let why = self.shown_with(remedy);
        let may_pass = self.may_pass();
        StorageError::Server { doing: doing.to_string(), why, may_pass }
    }

    /// The key itself is not taken, rather than what it may do.
    fn is_key_refused(&self) -> bool {
        let codes = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "ExpiredToken"];
        codes.contains(&self.code.as_str())
    }

    /// The fault as a caller sees it.
    pub(super) fn told(self, doing: impl Display) -> StorageError {
        let doing = doing.to_string();
        if self.status == Some(507) || matches!(self.code.as_str(), "QuotaExceeded" | "XMinioStorageFull") {
            let source = io::Error::new(io::ErrorKind::QuotaExceeded, self.said);
            return StorageError::Full { doing, source };
        }
        let may_pass = self.may_pass();
        StorageError::Server { doing, why: self.to_string(), may_pass }
    }

    /// What to do about it.
    fn remedy(&self) -> &'static str {
        match (self.code.as_str(), self.status) {
            ("NoSuchBucket", _) => "there is no such bucket; `gristmill doctor --create-bucket` makes it",
            ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "UnrecognizedClientException", _) => {
                "the server does not take these credentials; check the key, and that it is for this endpoint"
            }
            (NO_CREDENTIALS, _) => {
                "there are no credentials to sign with; docs/storage.md says where they are looked for"
            }
            ("BucketAlreadyExists", _) => "another account has a bucket of this name; choose another name",
            _ if self.may_be_expired() => "the server does not say why; the credentials may have expired",
            ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => {
                "the credentials have expired; renew the session, or give credentials that renew themselves"
            }
            ("RequestTimeTooSkewed", _) => "the clocks disagree; set this machine's clock",
            ("AccessDenied", _) | (_, Some(401 | 403)) => {
                "access is denied; allow what `gristmill doctor --policy` prints, and check expected_bucket_owner"
            }
            ("SlowDown" | "Throttling" | "ServiceUnavailable", _) | (_, Some(429 | 503)) => {
                "the server is overloaded; it is tried again later"
            }
            _ if self.is_redirect() => "the bucket is in another region; set `region` in [storage]",
            ("UnexpectedAnswer", _) => "the server's answer is not what was asked for",
            (_, Some(501)) => "the server does not know this call",
            (_, Some(500..)) => "the server failed; it is tried again later",
            ("CutOff", _) => "the answer was cut off; it is tried again later",
            (_, None) if self.timeout => "no answer came in time; check the network and the endpoint",
            (_, None) => {
                "the server or the credentials cannot be reached; check endpoint, network and credentials"
            }
            _ => "the server refused it",
        }
    }
}

impl Fault {
    fn shown_with(&self, remedy: &str) -> String {
        let status = self.status.map(|status| status.to_string());
        let parts = [status.unwrap_or_default(), self.code.clone(), self.said.clone()];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { remedy.to_owned() } else { format!("{remedy} ({})", parts.join(": ")) }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown_with(self.remedy()))
    }
}
