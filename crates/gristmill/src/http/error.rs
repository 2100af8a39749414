//! [`ApiError`]: why a request is not answered as asked. One table says code, sentence and hint; what
//! happened inside goes to the log and never to the client.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use gristmill_db::DbError;

/// What browsers and programs may show a token by.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"gristmill\", Bearer");
/// How long clients are told to wait where what is wrong may pass.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("10");

/// Why a request is not answered as asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ApiError {
    /// The path cannot be the name of anything; why.
    BadPath(String),
    /// A part of the query is not what it should be; which.
    BadQuery(&'static str),
    /// No token, or none that counts. The same answer whatever was asked for.
    Unauthorized,
    /// Nothing is published under the key.
    NoArchive,
    /// The key has no such version, or no archive of such a commit.
    NoVersion,
    /// There is no such run, or no such job in it.
    NoRun,
    /// The client wanted the archive only as long as it is another one than it is.
    Precondition,
    /// The range begins behind the end of so many bytes.
    Range(u64),
    /// The bytes are not in the storage, though the database says so.
    BytesMissing,
    /// The database or the storage does not answer.
    Unavailable,
}

impl ApiError {
    /// The table: status, sentence, hint.
    fn row(&self) -> (StatusCode, String, &'static str) {
        let (status, error, hint) = match self {
            ApiError::BadPath(why) => {
                return (
                    StatusCode::BAD_REQUEST,
                    format!("the path is not a key: {why}"),
                    "percent-encode the key as UTF-8, part by part",
                );
            }
            ApiError::BadQuery(which) => {
                return (
                    StatusCode::BAD_REQUEST,
                    format!("the query is not understood: {which}"),
                    "use ?version=N for one version, ?versions&before=N&limit=N for a list",
                );
            }
            ApiError::Range(size) => {
                return (
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    format!("the range begins behind the end; there are {size} bytes"),
                    "ask for a range within Content-Range, or for the whole",
                );
            }
            ApiError::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "reading here needs a token",
                "send `Authorization: Bearer gm_…`, or the token as the password of any user; `gristmill token create` makes one",
            ),
            ApiError::NoArchive => (
                StatusCode::NOT_FOUND,
                "nothing is published under this key",
                "a key looks like octocat/hello/main/octocat_hello.zip, as `gristmill project show` tells; one commit's archive is <key>@<full commit id>",
            ),
            ApiError::NoVersion => (
                StatusCode::NOT_FOUND,
                "the key has no such version",
                "<key>?versions lists those that it has",
            ),
            ApiError::NoRun => {
                (StatusCode::NOT_FOUND, "there is no such run", "the start page lists the newest runs")
            }
            ApiError::Precondition => (
                StatusCode::PRECONDITION_FAILED,
                "the archive is another one than If-Match names",
                "ask without If-Match, or for ?version=N",
            ),
            ApiError::BytesMissing => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the archive is recorded, but its bytes cannot be read from the storage",
                "the operator finds out more with `gristmill doctor --verify` and in the log",
            ),
            ApiError::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "this cannot be answered now",
                "try again in a moment; the server's log says why",
            ),
        };
        (status, error.to_owned(), hint)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error, hint) = self.row();
        let body = Json(serde_json::json!({ "error": error, "hint": hint }));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match self {
            ApiError::Unauthorized => drop(headers.insert(header::WWW_AUTHENTICATE, CHALLENGE)),
            ApiError::BytesMissing | ApiError::Unavailable => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            ApiError::Range(size) => {
                let value = HeaderValue::try_from(format!("bytes */{size}")).expect("digits");
                headers.insert(header::CONTENT_RANGE, value);
            }
            _ => {}
        }
        response
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> ApiError {
        tracing::error!(%error, "a request could not be answered: the database failed");
        ApiError::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_status_and_its_headers() {
        for (error, status, extra) in [
            (ApiError::BadPath("x".to_owned()), 400, None),
            (ApiError::BadQuery("x"), 400, None),
            (
                ApiError::Unauthorized,
                401,
                Some((header::WWW_AUTHENTICATE, "Basic realm=\"gristmill\", Bearer")),
            ),
            (ApiError::NoArchive, 404, None),
            (ApiError::NoVersion, 404, None),
            (ApiError::NoRun, 404, None),
            (ApiError::Precondition, 412, None),
            (ApiError::Range(7), 416, Some((header::CONTENT_RANGE, "bytes */7"))),
            (ApiError::BytesMissing, 503, Some((header::RETRY_AFTER, "10"))),
            (ApiError::Unavailable, 503, Some((header::RETRY_AFTER, "10"))),
        ] {
            let shown = format!("{error:?}");
            let response = error.into_response();
            assert_eq!(response.status().as_u16(), status, "{shown}");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
            let special = [header::WWW_AUTHENTICATE, header::CONTENT_RANGE, header::RETRY_AFTER];
            let found: Vec<_> = special
                .into_iter()
                .filter_map(|name| Some((name.clone(), response.headers().get(name)?.to_str().unwrap())))
                .collect();
            assert_eq!(found, Vec::from_iter(extra), "{shown}");
        }
    }

    #[test]
    fn what_happened_inside_is_not_told() {
        let error = ApiError::from(DbError::Sql("secret column".to_owned()));
        assert_eq!(error, ApiError::Unavailable);
        assert!(!error.row().1.contains("secret"));
    }
}
