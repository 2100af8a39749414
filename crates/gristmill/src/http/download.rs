//! `GET /archive/{key}`: what is published, read through the server.
//!
//! | request | answer |
//! |---|---|
//! | `/archive/<key>` | the version that readers see now |
//! | `/archive/<key>?version=N` | one published version |
//! | `/archive/<key>@<full commit id>` | the archive of that commit, whether or not the name ever moved to it |
//! | `/archive/<key>?versions&before=N&limit=N` | the published versions as JSON, newest first |
//!
//! A key that itself ends in `@…` and exists goes first.

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gristmill_db::artifact::{self, Artifact};
use gristmill_db::publication::{self, Publication};
use gristmill_db::{DbError, Tx};
use gristmill_model::{CommitId, Digest, ObjectKey};
use gristmill_storage::{BlobReader, StorageError};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::access::{self, Reader};
use super::body::BlobBody;
use super::conditional::{Answer, answer};
use super::error::ApiError;
use super::names::{content_disposition, decode_path, split_commit};
use crate::app::App;
use crate::clock;
use crate::pipelines::archive::publish;

/// How many versions a list has where the client does not say.
const VERSIONS_DEFAULT: i64 = 100;
/// The most versions of one list.
const VERSIONS_MAX: i64 = 1000;
/// What does not stand in a header as it is. With `%` in it, decoding gives the text back.
const HEADER_TEXT: &AsciiSet = &CONTROLS.add(b'%');

const COMMIT: HeaderName = HeaderName::from_static("gristmill-commit");
const TREE: HeaderName = HeaderName::from_static("gristmill-tree");
const REF: HeaderName = HeaderName::from_static("gristmill-ref");
const VERSION: HeaderName = HeaderName::from_static("gristmill-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/archive/{*key}", get(archive))
}

#[derive(Debug, Default, Deserialize)]
struct Params {
    version: Option<String>,
    versions: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

impl Params {
    fn of(uri: &Uri) -> Result<Params, ApiError> {
        let parsed = Query::<Params>::try_from_uri(uri);
        let Query(params) = parsed.map_err(|_| ApiError::BadQuery("a name stands there twice"))?;
        if params.version.is_some() && params.versions.is_some() {
            return Err(ApiError::BadQuery("version and versions exclude one another"));
        }
        Ok(params)
    }

    fn number(text: Option<&str>, error: &'static str) -> Result<Option<i64>, ApiError> {
        text.map(|text| text.parse().map_err(|_| ApiError::BadQuery(error))).transpose()
    }

    /// Before which version, and how many.
    fn page(&self) -> Result<(i64, i64), ApiError> {
        let before = Params::number(self.before.as_deref(), "before is not a number")?;
        let limit = Params::number(self.limit.as_deref(), "limit is not a number")?;
        let limit = limit.unwrap_or(VERSIONS_DEFAULT);
        if !(1..=VERSIONS_MAX).contains(&limit) {
            return Err(ApiError::BadQuery("limit is not between 1 and 1000"));
        }
        Ok((before.unwrap_or(i64::MAX), limit))
    }
}

async fn archive(State(app): State<App>, request: Request) -> Response {
    let answered = handle(&app, request.method(), request.uri(), request.headers()).await;
    answered.unwrap_or_else(IntoResponse::into_response)
}

async fn handle(app: &App, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Response, ApiError> {
    // First of all, so that without a right nothing can be told apart.
    let reader = access::reader(app, headers).await?;
    let params = Params::of(uri)?;
    let path = uri.path().strip_prefix("/archive/").unwrap_or_default();
    let name = Name::parse(&decode_path(path).map_err(ApiError::BadPath)?)?;
    if params.versions.is_some() {
        return versions(app, reader, name, params.page()?).await;
    }
    let version = Params::number(params.version.as_deref(), "version is not a number")?;
    let found = app.db.read(move |tx| find(tx, &name, version)).await?;
    let missing = if version.is_some() { ApiError::NoVersion } else { ApiError::NoArchive };
    send(app, reader, method, headers, &found.ok_or(missing)?).await
}

/// What a path may mean: at least one of both.
struct Name {
    key: Option<ObjectKey>,
    commit: Option<(ObjectKey, CommitId)>,
}

impl Name {
    fn parse(text: &str) -> Result<Name, ApiError> {
        let key = text.parse::<ObjectKey>();
        let commit = split_commit(text);
        match (key, &commit) {
            (Err(fault), None) => Err(ApiError::BadPath(fault.to_string())),
            (key, _) => Ok(Name { key: key.ok(), commit }),
        }
    }
}

/// Something to be sent.
struct Found {
    key: ObjectKey,
    digest: Digest,
    size: u64,
    content_type: String,
    /// Names and values of the headers that say where it came from.
    origin: Vec<(HeaderName, String)>,
    /// Whether the name may lead to other bytes later.
    is_moving: bool,
}

impl Found {
    fn of_publication(publication: Publication, is_moving: bool) -> Found {
        let mut origin = vec![
            (COMMIT, publication.commit.to_string()),
            (REF, publication.git_ref.to_string()),
            (VERSION, publication.seq.to_string()),
        ];
        origin.extend(publication.metadata.get("tree").map(|tree| (TREE, tree.clone())));
        Found {
            key: publication.key,
            digest: publication.digest,
            size: u64::try_from(publication.size).unwrap_or(0),
            content_type: publication.content_type,
            origin,
            is_moving,
        }
    }

    fn of_artifact(artifact: Artifact) -> Found {
        Found {
            digest: artifact.digest,
            size: u64::try_from(artifact.size).unwrap_or(0),
            content_type: artifact.media_type,
            origin: vec![
                (COMMIT, artifact.commit.to_string()),
                (TREE, artifact.tree.to_string()),
                (REF, artifact.git_ref.to_string()),
            ],
            key: artifact.key,
            is_moving: false,
        }
    }
}

fn find(tx: &mut Tx<'_>, name: &Name, version: Option<i64>) -> Result<Option<Found>, DbError> {
    if let Some(key) = &name.key {
        let publication = match version {
            Some(version) => publication::at(tx, key, version)?,
            None => publish::visible(tx, key)?,
        };
        if let Some(publication) = publication {
            return Ok(Some(Found::of_publication(publication, version.is_none())));
        }
    }
    match (&name.commit, version) {
        (Some((key, commit)), None) => Ok(artifact::of_commit(tx, key, *commit)?.map(Found::of_artifact)),
        _ => Ok(None),
    }
}

async fn send(
    app: &App,
    reader: Reader,
    method: &Method,
    asked: &HeaderMap,
    found: &Found,
) -> Result<Response, ApiError> {
    let etag = format!("\"{}\"", found.digest.to_hex());
    let (first, end, status) = match answer(method, asked, &etag, found.size) {
        Answer::Whole => (0, found.size, StatusCode::OK),
        Answer::Part { first, last } => (first, last + 1, StatusCode::PARTIAL_CONTENT),
        Answer::NotModified => {
            let headers = common_headers(found, &etag, reader);
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        Answer::PreconditionFailed => return Err(ApiError::Precondition),
        Answer::RangeNotSatisfiable => return Err(ApiError::Range(found.size)),
    };
    let blob = open(app, found).await?;
    let mut headers = common_headers(found, &etag, reader);
    let content_type = HeaderValue::try_from(&found.content_type);
    let unknown = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(unknown));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - first));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_DISPOSITION, content_disposition(&found.key));
    let digest = format!("sha-256=:{}:", BASE64.encode(found.digest.as_bytes()));
    let digest = HeaderValue::try_from(digest).expect("base64 is ASCII");
    // RFC 9530: Repr-Digest is of the whole, Content-Digest of what is sent.
    if status == StatusCode::OK && method == Method::GET {
        headers.insert(CONTENT_DIGEST, digest.clone());
    }
    headers.insert(REPR_DIGEST, digest);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{}", end - 1, found.size);
        headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(range).expect("digits"));
    }
    let body =
        if method == Method::HEAD { Body::empty() } else { Body::new(BlobBody::new(blob, first, end)) };
    Ok((status, headers, body).into_response())
}

/// The headers of 200, 206 and 304.
fn common_headers(found: &Found, etag: &str, reader: Reader) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(header::ETAG, HeaderValue::try_from(etag).expect("hexadecimal digits"));
    headers.insert(header::CACHE_CONTROL, cache_control(reader, found.is_moving));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in &found.origin {
        let text = utf8_percent_encode(value, HEADER_TEXT).to_string();
        headers.insert(name, HeaderValue::try_from(text).expect("nothing but visible ASCII is left"));
    }
    headers
}

fn cache_control(reader: Reader, is_moving: bool) -> HeaderValue {
    HeaderValue::from_static(match (reader.is_anonymous, is_moving) {
        (true, true) => "no-cache",
        (false, true) => "private, no-cache",
        (true, false) => "public, max-age=31536000, immutable",
        (false, false) => "private, max-age=31536000, immutable",
    })
}

/// Opens the bytes. Where they are not what the database says, nothing is sent.
async fn open(app: &App, found: &Found) -> Result<BlobReader, ApiError> {
    let (digest, key) = (found.digest, &found.key);
    match app.storage.open_blob(&digest).await {
        Ok(blob) if blob.len() == found.size => Ok(blob),
        Ok(blob) => {
            let (expected, actual) = (found.size, blob.len());
            tracing::error!(%key, blob.digest = %digest, expected, actual, "a published blob has another size than recorded; run `gristmill doctor --verify`");
            Err(ApiError::BytesMissing)
        }
        Err(error @ StorageError::BlobMissing { .. }) => {
            tracing::error!(%key, %error, "a published blob is gone; run `gristmill doctor --verify`");
            Err(ApiError::BytesMissing)
        }
        Err(error) => {
            tracing::error!(%key, %error, "a published blob cannot be opened");
            Err(ApiError::Unavailable)
        }
    }
}

/// A version as the list shows it.
#[derive(Serialize)]
struct Version {
    version: i64,
    commit: String,
    tree: Option<String>,
    #[serde(rename = "ref")]
    git_ref: String,
    sha256: String,
    size: i64,
    published: Option<String>,
    run: String,
}

impl From<Publication> for Version {
    fn from(publication: Publication) -> Version {
        Version {
            version: publication.seq,
            commit: publication.commit.to_string(),
            tree: publication.metadata.get("tree").cloned(),
            git_ref: publication.git_ref.to_string(),
            sha256: publication.digest.to_hex(),
            size: publication.size,
            published: publication.published.map(clock::rfc3339),
            run: publication.run.to_string(),
        }
    }
}

async fn versions(app: &App, reader: Reader, name: Name, page: (i64, i64)) -> Result<Response, ApiError> {
    let key = name.key.ok_or(ApiError::NoArchive)?;
    let (before, limit) = page;
    let found = app.db.read(move |tx| {
        let exists = publish::visible(tx, &key)?.is_some();
        Ok(if exists { Some(publication::versions(tx, &key, before, limit)?) } else { None })
    });
    let found = found.await?.ok_or(ApiError::NoArchive)?;
    let list: Vec<Version> = found.into_iter().map(Version::from).collect();
    Ok(([(header::CACHE_CONTROL, cache_control(reader, true))], Json(list)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Result<Params, ApiError> {
        Params::of(&format!("/archive/a?{query}").parse().unwrap())
    }

    #[test]
    fn pages_of_versions() {
        for (query, page) in [
            ("versions", Ok((i64::MAX, 100))),
            ("versions&before=7&limit=1", Ok((7, 1))),
            ("versions&limit=1000", Ok((i64::MAX, 1000))),
            ("versions&limit=1001", Err(ApiError::BadQuery("limit is not between 1 and 1000"))),
            ("versions&limit=0", Err(ApiError::BadQuery("limit is not between 1 and 1000"))),
            ("versions&limit=x", Err(ApiError::BadQuery("limit is not a number"))),
            ("versions&before=", Err(ApiError::BadQuery("before is not a number"))),
        ] {
            let params = params(query).unwrap();
            assert!(params.versions.is_some());
            assert_eq!(params.page(), page, "{query}");
        }
        for query in ["version=1&versions", "version=1&version=2"] {
            assert!(matches!(params(query), Err(ApiError::BadQuery(_))), "{query}");
        }
    }

    #[test]
    fn caches() {
        for (is_anonymous, is_moving, expected) in [
            (true, true, "no-cache"),
            (false, true, "private, no-cache"),
            (true, false, "public, max-age=31536000, immutable"),
            (false, false, "private, max-age=31536000, immutable"),
        ] {
            assert_eq!(cache_control(Reader { is_anonymous }, is_moving), expected);
        }
    }

    #[test]
    fn what_no_header_takes_is_percent_encoded() {
        let found = Found {
            key: "a".parse().unwrap(),
            digest: Digest::of(b""),
            size: 0,
            content_type: String::new(),
            origin: vec![(REF, "refs/heads/größe 100%\u{7f}".to_owned())],
            is_moving: false,
        };
        let headers = common_headers(&found, "\"x\"", Reader { is_anonymous: true });
        assert_eq!(headers[REF], "refs/heads/gr%C3%B6%C3%9Fe 100%25%7F");
    }

    #[test]
    fn a_path_means_a_key_or_the_archive_of_a_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let name = Name::parse(&format!("a/b@{commit}")).unwrap();
        assert_eq!(name.key.unwrap().as_str(), format!("a/b@{commit}"));
        assert_eq!(name.commit.unwrap().0.as_str(), "a/b");
        let name = Name::parse("a/b").unwrap();
        assert!(name.key.is_some() && name.commit.is_none());
        let longest = "k".repeat(1024);
        let name = Name::parse(&format!("{longest}@{commit}")).unwrap();
        assert!(name.key.is_none() && name.commit.is_some());
        assert!(matches!(Name::parse("a//b"), Err(ApiError::BadPath(_))));
        assert!(matches!(Name::parse(&format!("{longest}k@{commit}")), Err(ApiError::BadPath(_))));
    }
}
