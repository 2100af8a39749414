//! [`Place`]: which bucket, and how it is reached, from what the environment says.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use gristmill_model::AssetKeys;
use gristmill_storage::{Bucket, BucketAccess, BucketCredentials, BucketKeys, Proxies, Role, StorageUrl};

use super::sets::Sets;

/// What a role's owner sees in the logs.
const SESSION_NAME: &str = "s3-asset-manager";
/// How long a session of a role lasts; it is renewed.
const SESSION: Duration = Duration::from_secs(20 * 60);

/// Where assets are kept.
#[derive(Clone, Debug)]
pub struct Place {
    url: StorageUrl,
    prefix: String,
    /// How it is reached.
    pub access: BucketAccess,
    /// By what: told before the first call.
    pub by: String,
}

/// Asks for a variable; an empty one is none, as CI systems set what they do not know.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Place {
    /// Reads where `bucket` is: a name, `s3://bucket/prefix` or `file:folder`.
    ///
    /// # Errors
    ///
    /// Where it is none of these, or the prefix cannot be one.
    pub fn new(bucket: &str, prefix: &str, env: Env<'_>) -> anyhow::Result<Place> {
        let is_url = bucket.starts_with("s3:") || bucket.starts_with("file:");
        let url: StorageUrl = if is_url { bucket.parse() } else { format!("s3://{bucket}").parse() }?;
        let prefix = prefix.trim_matches('/');
        // The same rules as in a URL.
        let parsed = format!("s3://bucket/{prefix}").parse();
        let StorageUrl::S3 { prefix, .. } = parsed.map_err(|_| anyhow::anyhow!("`{prefix}` cannot be a prefix: parts are separated by single slashes, and none is `.` or `..`"))?
        else {
            unreachable!("it begins with s3:")
        };
        let own = if let StorageUrl::S3 { prefix, .. } = &url { prefix.as_str() } else { "" };
        let parts: Vec<&str> = [own, &prefix].into_iter().filter(|part| !part.is_empty()).collect();
        // A folder needs nothing of this, whatever the environment says.
        let is_bucket = matches!(url, StorageUrl::S3 { .. });
        let (access, by) = if is_bucket { access(env)? } else { Default::default() };
        Ok(Place { prefix: parts.join("/"), url, access, by })
    }

    /// The sets there. Nothing is asked yet.
    pub async fn open(&self) -> Sets {
        let bucket = Bucket::open(&self.url, &self.access).await;
        Sets::new(bucket, AssetKeys::new(&self.prefix), self.root())
    }

    /// What keys stand behind, for people.
    fn root(&self) -> String {
        match &self.url {
            StorageUrl::S3 { bucket, .. } => format!("s3://{bucket}/"),
            StorageUrl::File(path) => format!("file:{}/", path.display()),
        }
    }

    /// Whether it is a bucket, and no folder.
    pub fn is_bucket(&self) -> bool {
        matches!(self.url, StorageUrl::S3 { .. })
    }
}

/// The proxies that programs of any kind are told of, in either spelling. An empty variable is none.
/// One for everything that is of no kind known here, such as SOCKS, is an error where the bucket would be reached by it.
fn proxies(env: Env<'_>, is_https: bool) -> anyhow::Result<Proxies> {
    let first = |names: [&'static str; 4]| {
        names.into_iter().find_map(|name| Some((name, env(name).filter(|value| !value.is_empty())?)))
    };
    // Not repeated: there may be a password in it.
    let wrong = |name: &str| format!("{name} cannot be used");
    let mut proxies = Proxies::default();
    let is_for_all = |name: &str| name.eq_ignore_ascii_case("all_proxy");
    if let Some((name, address)) = first(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]) {
        match proxies.clone().for_https(&address) {
            Err(error) if is_https || !is_for_all(name) => return Err(error).with_context(|| wrong(name)),
            made => proxies = made.unwrap_or(proxies),
        }
    }
    if let Some((name, address)) = first(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]) {
        match proxies.clone().for_http(&address) {
            Err(error) if !is_https || !is_for_all(name) => return Err(error).with_context(|| wrong(name)),
            made => proxies = made.unwrap_or(proxies),
        }
    }
    let without = ["no_proxy", "NO_PROXY"].into_iter().find_map(|name| env(name).filter(|no| !no.is_empty()));
    Ok(proxies.without(&without.unwrap_or_default()))
}

/// The certificates that AWS's programs are told to trust.
fn certificates(path: &str) -> anyhow::Result<Vec<u8>> {
    let pem = std::fs::read(path).with_context(|| format!("AWS_CA_BUNDLE: reading {path}"))?;
    gristmill_outgoing::check_roots(&pem).with_context(|| format!("AWS_CA_BUNDLE: {path}"))?;
    Ok(pem)
}

/// How the bucket is reached: the variables of AWS's programs, `AWS_ROLE`, and proxies.
fn access(env: Env<'_>) -> anyhow::Result<(BucketAccess, String)> {
    let get = |name: &str| env(name).filter(|value| !value.is_empty());
    let endpoint = get("AWS_ENDPOINT_URL_S3").or_else(|| get("AWS_ENDPOINT_URL"));
    let role = get("AWS_ROLE");
    let keys = get("AWS_ACCESS_KEY_ID").zip(get("AWS_SECRET_ACCESS_KEY"));
    let token_file = get("AWS_WEB_IDENTITY_TOKEN_FILE").filter(|_| get("AWS_ROLE_ARN").is_none());
    let mut by = match &role {
        Some(role) => format!("Getting S3 client using assumed role: {role}"),
        None => "Getting S3 client using credentials in environment variables".to_owned(),
    };
    let (credentials, role) = match (keys, role, token_file) {
        (Some((id, secret)), role, _) => {
            (BucketCredentials::Keys(BucketKeys { id, secret, token: get("AWS_SESSION_TOKEN") }), role)
        }
        (None, Some(role_arn), Some(file)) => {
            let (token_file, session_name) = (PathBuf::from(file), SESSION_NAME.to_owned());
            by.push_str(", with a web identity");
            (BucketCredentials::WebIdentity { token_file, role_arn, session_name }, None)
        }
        (None, role, _) => (BucketCredentials::Found, role),
    };
    let role =
        role.map(|arn| (Role { arn, external_id: None, session_name: SESSION_NAME.to_owned() }, SESSION));
    let is_https = endpoint.as_ref().is_none_or(|endpoint| !endpoint.starts_with("http://"));
    let access = BucketAccess {
        region: get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")),
        path_style: endpoint.is_some(),
        endpoint,
        credentials,
        role,
        proxies: proxies(env, is_https)?,
        certificates: get("AWS_CA_BUNDLE").map(|path| certificates(&path)).transpose()?,
        ..BucketAccess::default()
    };
    Ok((access, by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bucket: &str, prefix: &str, env: &[(&str, &str)]) -> anyhow::Result<Place> {
        let find =
            |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Place::new(bucket, prefix, &find)
    }

    #[test]
    fn buckets_are_names_or_addresses() {
        for (bucket, prefix, root, within) in [
            ("name", "", "s3://name/", ""),
            ("s3://name/a/b/", "", "s3://name/", "a/b"),
            ("name", "/team/", "s3://name/", "team"),
            ("s3://name/a", "b/c", "s3://name/", "a/b/c"),
            ("file:/srv/assets", "x", "file:/srv/assets/", "x"),
        ] {
            let place = place(bucket, prefix, &[]).unwrap();
            assert_eq!((place.root().as_str(), place.prefix.as_str()), (root, within), "{bucket} {prefix}");
        }
        for (bucket, prefix) in
            [("a b", ""), ("ab", ""), ("name", "../x"), ("name", "a//b"), ("name", ".gristmill")]
        {
            assert!(place(bucket, prefix, &[]).is_err(), "{bucket} {prefix}");
        }
    }

    #[test]
    fn credentials_are_those_that_are_given_first() {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "word")];
        let with = |more: &[(&str, &str)]| place("name", "", &[&keys[..], more].concat()).unwrap().access;
        let session = |token: Option<&str>| {
            let token = token.map(str::to_owned);
            BucketCredentials::Keys(BucketKeys { id: "id".to_owned(), secret: "word".to_owned(), token })
        };
        assert_eq!(with(&[]).credentials, session(None));
        assert_eq!(with(&[("AWS_SESSION_TOKEN", "")]).credentials, session(None));
        assert_eq!(with(&[("AWS_SESSION_TOKEN", "t")]).credentials, session(Some("t")));
        let role = with(&[("AWS_ROLE", "arn:aws:iam::1:role/x")]).role.unwrap();
        assert_eq!((role.0.session_name.as_str(), role.1.as_secs()), ("s3-asset-manager", 1200));
        let web = [("AWS_ROLE", "arn:aws:iam::1:role/x"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")];
        let access = place("name", "", &web).unwrap().access;
        assert!(matches!(access.credentials, BucketCredentials::WebIdentity { .. }) && access.role.is_none());
        // With AWS's own variable for the role the token is for that one, which then takes ours.
        let both = [&web[..], &[("AWS_ROLE_ARN", "arn:aws:iam::1:role/y")]].concat();
        let access = place("name", "", &both).unwrap().access;
        assert!(access.credentials == BucketCredentials::Found && access.role.is_some());
        assert_eq!(place("name", "", &[]).unwrap().access, BucketAccess::default());
    }

    #[test]
    fn an_endpoint_has_its_buckets_in_the_path() {
        let of = |env: &[(&str, &str)]| place("name", "", env).unwrap().access;
        let access = of(&[("AWS_ENDPOINT_URL", "http://a"), ("AWS_DEFAULT_REGION", "r")]);
        assert_eq!((access.endpoint.as_deref(), access.path_style), (Some("http://a"), true));
        assert_eq!(access.region.as_deref(), Some("r"));
        let access = of(&[("AWS_ENDPOINT_URL", "http://a"), ("AWS_ENDPOINT_URL_S3", "http://b")]);
        assert_eq!(access.endpoint.as_deref(), Some("http://b"));
    }
}
