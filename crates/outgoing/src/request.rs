//! [`Request`] and [`Response`].

use std::fmt;
use std::time::Duration;

use ureq::http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
    RANGE, TE, TRANSFER_ENCODING, UPGRADE,
};
use ureq::http::{HeaderMap, Method};

use crate::error::Error;
use crate::url::Url;

/// What an answer in memory may have where the request does not say.
const BODY_BYTES_MAX: u64 = 4 << 20;

/// How long a call may take where the request does not say.
const TOTAL: Duration = Duration::from_secs(60);

/// Who wrote the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The operator, in the configuration. It may lie in a private network.
    Operators,
    /// Anybody else: a repository, a payload, an answer.
    Strangers,
}

/// A request. What it shows (`Debug`) has neither the query nor the values of secret headers nor the body.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) whose: Whose,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) follow: u8,
    pub(crate) total: Duration,
    pub(crate) body_bytes_max: u64,
}

/// A header that cannot be sent. Its value is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the header `{name}` cannot be sent: its name or value has forbidden characters, it is not for callers to set, or there are too many"
)]
pub struct HeaderError {
    name: String,
}

impl Request {
    /// A request that follows no redirect, takes a minute at most, and an answer of 4 MiB at most.
    pub fn new(method: Method, url: Url, whose: Whose) -> Request {
        Request {
            method,
            url,
            whose,
            headers: HeaderMap::new(),
            body: Vec::new(),
            follow: 0,
            total: TOTAL,
            body_bytes_max: BODY_BYTES_MAX,
        }
    }

    /// A GET.
    pub fn get(url: Url, whose: Whose) -> Request {
        Request::new(Method::GET, url, whose)
    }

    /// With a header that may be shown.
    ///
    /// # Errors
    ///
    /// [`HeaderError`].
    pub fn header(self, name: &str, value: &str) -> Result<Request, HeaderError> {
        self.with(name, value, false)
    }

    /// With a header whose value is secret.
    ///
    /// # Errors
    ///
    /// [`HeaderError`].
    pub fn secret(self, name: &str, value: &str) -> Result<Request, HeaderError> {
        self.with(name, value, true)
    }

    fn with(mut self, name: &str, value: &str, is_secret: bool) -> Result<Request, HeaderError> {
        let refused = || HeaderError { name: name.escape_debug().to_string() };
        let (Ok(header), Ok(mut value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
            return Err(refused());
        };
        let not_for_callers =
            [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, TE, UPGRADE, COOKIE, PROXY_AUTHORIZATION];
        if not_for_callers.contains(&header) {
            return Err(refused());
        }
        value.set_sensitive(is_secret);
        // A map takes some ten thousands of them, and would panic at more.
        self.headers.try_append(header, value).map_err(|_| refused())?;
        Ok(self)
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Request {
        self.body = body;
        self
    }

    /// Follows up to `max` redirects of a GET or HEAD. Where one leads to another origin, that is a stranger's URL,
    /// and only `Accept` and `Range` go there. No redirect leads from https to http.
    #[must_use]
    pub fn follow(mut self, max: u8) -> Request {
        self.follow = max;
        self
    }

    /// How long all of it may take, with redirects and the body.
    #[must_use]
    pub fn total(mut self, total: Duration) -> Request {
        self.total = total;
        self
    }

    /// How large the answer's body may be, in bytes.
    #[must_use]
    pub fn body_bytes_max(mut self, max: u64) -> Request {
        self.body_bytes_max = max;
        self
    }

    /// Makes it the request that a redirect to `url` asks for.
    pub(crate) fn redirect_to(&mut self, url: Url) {
        if url.origin() != self.url.origin() {
            self.whose = Whose::Strangers;
            let all = std::mem::take(&mut self.headers);
            let harmless =
                all.iter().filter(|(name, value)| [ACCEPT, RANGE].contains(name) && !value.is_sensitive());
            self.headers = harmless.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        self.url = url;
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url)
            .field("whose", &self.whose)
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An answer, whatever its status. Its `Debug` has no header and no body.
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) body_bytes: u64,
    pub(crate) url: Url,
}

impl Response {
    /// The status, such as 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the same call may be answered better later: 408, 425, 429 and 5xx but 501 and 505.
    pub fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 506..=599)
    }

    /// A header's value, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body. After a download that succeeded it is empty; after one that did not, it is the beginning of what
    /// the server says about it.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// How many bytes of body were taken, in memory or written.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Who answered, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where a redirect that was not followed leads.
    ///
    /// # Errors
    ///
    /// [`Error::Location`] where that is no address.
    pub fn redirect(&self) -> Option<Result<Url, Error>> {
        redirect(self.status, &self.headers, &self.url)
    }
}

/// Where an answer redirects to, if it does.
pub(crate) fn redirect(status: u16, headers: &HeaderMap, from: &Url) -> Option<Result<Url, Error>> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = headers.get(LOCATION)?;
    let invalid = |why| Error::Location { host: from.host().to_string(), why };
    let location = location.to_str().map_err(|_| invalid(crate::UrlError::Characters));
    Some(location.and_then(|location| from.join(location).map_err(invalid)))
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("url", &self.url)
            .field("body_bytes", &self.body_bytes)
            .finish_non_exhaustive()
    }
}
