//! [`FakeAws`]: whoever hands out credentials at Amazon, as their documentation describes them: the Security Token
//! Service, the portal and the token endpoint of IAM Identity Center (SSO), the endpoint of a container, and the
//! metadata service of an instance (IMDSv2). All of them at one address.
//!
//! Who asks without what must be shown is refused. What was handed out, to whom and for which request, is written down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::forge::clock::{now_s, rfc3339};
use crate::wire::{Wire, answer};

/// What a container has to show.
pub const CONTAINER_TOKEN: &str = "Basic Y29udGFpbmVyOnRva2Vu";
/// The token of a session of SSO that counts.
pub const SSO_TOKEN: &str = "sso-access-token";
/// With what a new token of SSO is got.
pub const SSO_REFRESH_TOKEN: &str = "sso-refresh-token";
/// What an identity provider has given to the program.
pub const WEB_IDENTITY: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtaWxsIn0.";
/// The role of the instance.
pub const INSTANCE_ROLE: &str = "mill-instance";

/// What a session of IMDSv2 shows.
const INSTANCE_TOKEN: &str = "instance-session-token";
/// How long credentials last.
const LIFE_S: u64 = 3600;
/// The same of those that end at once: so soon that no client uses them for another call.
const SHORT_LIFE_S: u64 = 4;

/// A fake of them all. It stops when it is dropped.
#[derive(Debug)]
pub struct FakeAws {
    wire: Wire,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    grants: Vec<Grant>,
    short: usize,
}

/// Credentials that were handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// By which call: `AssumeRole`, `AssumeRoleWithWebIdentity`, `GetRoleCredentials`, `container`, `instance`.
    pub by: &'static str,
    /// Whose signature or token was shown: an access key's id, or the token itself.
    pub shown: String,
    /// What was asked for: parameters by their names, `path` for a container.
    pub asked: BTreeMap<String, String>,
    /// The id of the key.
    pub access_key: String,
    /// What goes with each call that is signed with it.
    pub session_token: String,
}

/// A request.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: BTreeMap<String, String>,
    head: &'a str,
    body: &'a [u8],
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

impl<'a> Request<'a> {
    fn read(head: &'a str, body: &'a [u8]) -> Request<'a> {
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request { method, path, query: pairs(query), head, body }
    }

    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value.trim())
    }
}

impl FakeAws {
    /// Starts one on a port of 127.0.0.1.
    pub fn start() -> FakeAws {
        FakeAws::start_at(([127, 0, 0, 1], 0).into())
    }

    /// Starts one at this very address.
    pub fn start_at(address: SocketAddr) -> FakeAws {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let wire = Wire::start_at(address, move |head: &str, body: &[u8]| {
            respond(&Request::read(head, body), &mut shared.lock().unwrap_or_else(PoisonError::into_inner))
        });
        FakeAws { wire, state }
    }

    /// `http://…`, without a slash at its end.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.wire.address())
    }

    /// So many of the next credentials end at once, the others after an hour.
    pub fn end_at_once(&self, count: usize) {
        self.state().short = count;
    }

    /// What was handed out, in that order.
    pub fn grants(&self) -> Vec<Grant> {
        self.state().grants.clone()
    }

    /// The heads of all requests.
    pub fn requests(&self) -> Vec<String> {
        self.wire.requests()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is handed out next.
struct Credentials {
    id: String,
    secret: String,
    token: String,
    ends_s: u64,
}

impl State {
    fn grant(&mut self, by: &'static str, shown: &str, asked: BTreeMap<String, String>) -> Credentials {
        let number = self.grants.len() + 1;
        let id = format!("ASIA{number:0>16}");
        // A base64 text with all that may stand in one.
        let token = format!("token+of/{by}/{number}==");
        let life_s = if self.short > 0 { SHORT_LIFE_S } else { LIFE_S };
        self.short = self.short.saturating_sub(1);
        let (shown, access_key, session_token) = (shown.to_owned(), id.clone(), token.clone());
        self.grants.push(Grant { by, shown, asked, access_key, session_token });
        Credentials { id, secret: format!("secret-{by}-{number}"), token, ends_s: now_s() + life_s }
    }
}

fn json_answer(status: &str, body: &Value) -> Vec<u8> {
    answer(status, &[("content-type", "application/json")], body.to_string().as_bytes())
}

fn respond(request: &Request<'_>, state: &mut State) -> Vec<u8> {
    match (request.method, request.path) {
        ("POST", "/") => sts(request, state),
        ("POST", "/token") => sso_token(request),
        ("GET", "/federation/credentials") => sso(request, state),
        (_, path) if path.starts_with("/latest/") => instance(request, state),
        ("GET", path) => {
            if request.header("authorization") != CONTAINER_TOKEN {
                return json_answer(
                    "401 Unauthorized",
                    &json!({ "code": "Unauthorized", "message": "no token" }),
                );
            }
            let asked = BTreeMap::from([("path".to_owned(), path.to_owned())]);
            let given = state.grant("container", CONTAINER_TOKEN, asked);
            json_answer(
                "200 OK",
                &json!({
                    "RoleArn": "arn:aws:iam::123456789012:role/mill-task", "AccessKeyId": given.id,
                    "SecretAccessKey": given.secret, "Token": given.token, "Expiration": rfc3339(given.ends_s),
                }),
            )
        }
        _ => answer("404 Not Found", &[], b""),
    }
}

/// AssumeRole and AssumeRoleWithWebIdentity: forms in, XML out. The second is not signed, its token says who asks.
fn sts(request: &Request<'_>, state: &mut State) -> Vec<u8> {
    let asked = pairs(&String::from_utf8_lossy(request.body));
    let signer = request.header("authorization").split_once("Credential=").map(|(_, rest)| rest);
    let signer = signer.and_then(|rest| rest.split_once('/')).map_or("", |(id, _)| id).to_owned();
    let (by, shown) = match asked.get("Action").map(String::as_str) {
        Some("AssumeRole") if signer.is_empty() => {
            return sts_refusal("403 Forbidden", "MissingAuthenticationToken");
        }
        Some("AssumeRole") => ("AssumeRole", signer),
        Some("AssumeRoleWithWebIdentity") => match asked.get("WebIdentityToken") {
            Some(token) if token == WEB_IDENTITY => ("AssumeRoleWithWebIdentity", token.clone()),
            _ => return sts_refusal("400 Bad Request", "InvalidIdentityToken"),
        },
        _ => return sts_refusal("400 Bad Request", "InvalidAction"),
    };
    let (role, session) = (asked.get("RoleArn").cloned(), asked.get("RoleSessionName").cloned());
    let (Some(role), Some(session)) = (role, session) else {
        return sts_refusal("400 Bad Request", "ValidationError");
    };
    let given = state.grant(by, &shown, asked);
    let name = role.rsplit('/').next().unwrap_or_default();
    let body = format!(
        "<{by}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{by}Result>\
         <AssumedRoleUser><AssumedRoleId>AROA123EXAMPLE123:{session}</AssumedRoleId>\
         <Arn>arn:aws:sts::123456789012:assumed-role/{name}/{session}</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials></{by}Result>\
         <ResponseMetadata><RequestId>fake</RequestId></ResponseMetadata></{by}Response>",
        given.id,
        given.secret,
        given.token,
        rfc3339(given.ends_s),
    );
    answer("200 OK", &[("content-type", "text/xml")], body.as_bytes())
}

fn sts_refusal(status: &str, code: &str) -> Vec<u8> {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>refused by the fake</Message></Error><RequestId>fake</RequestId></ErrorResponse>"
    );
    answer(status, &[("content-type", "text/xml")], body.as_bytes())
}

/// CreateToken of SSO OIDC: a new token for the one that refreshes.
fn sso_token(request: &Request<'_>) -> Vec<u8> {
    let asked: Value = serde_json::from_slice(request.body).unwrap_or_default();
    if asked["grantType"] != "refresh_token" || asked["refreshToken"] != SSO_REFRESH_TOKEN {
        return json_answer("400 Bad Request", &json!({ "error": "invalid_grant" }));
    }
    json_answer(
        "200 OK",
        &json!({
            "accessToken": SSO_TOKEN, "expiresIn": LIFE_S, "refreshToken": SSO_REFRESH_TOKEN, "tokenType": "Bearer",
        }),
    )
}

/// GetRoleCredentials of the portal.
fn sso(request: &Request<'_>, state: &mut State) -> Vec<u8> {
    if request.header("x-amz-sso_bearer_token") != SSO_TOKEN {
        let body =
            json!({ "__type": "UnauthorizedException", "message": "Session token not found or invalid" });
        return json_answer("401 Unauthorized", &body);
    }
    let given = state.grant("GetRoleCredentials", SSO_TOKEN, request.query.clone());
    let body = json!({ "roleCredentials": {
        "accessKeyId": given.id, "secretAccessKey": given.secret, "sessionToken": given.token,
        "expiration": given.ends_s * 1000,
    }});
    json_answer("200 OK", &body)
}

/// IMDSv2: a session first, with PUT, then what it is asked for.
fn instance(request: &Request<'_>, state: &mut State) -> Vec<u8> {
    const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
    if request.path == "/latest/api/token" {
        let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds");
        if request.method != "PUT" || ttl.parse::<u32>().is_err() {
            return answer("400 Bad Request", &[], b"");
        }
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", ttl)];
        return answer("200 OK", &headers, INSTANCE_TOKEN.as_bytes());
    }
    if request.header("x-aws-ec2-metadata-token") != INSTANCE_TOKEN {
        return answer("401 Unauthorized", &[], b"");
    }
    match request.path.strip_prefix(ROLES) {
        Some("") => answer("200 OK", &[], INSTANCE_ROLE.as_bytes()),
        Some(INSTANCE_ROLE) => {
            let asked = BTreeMap::from([("path".to_owned(), request.path.to_owned())]);
            let given = state.grant("instance", INSTANCE_TOKEN, asked);
            let body = json!({
                "Code": "Success", "LastUpdated": rfc3339(now_s()), "Type": "AWS-HMAC", "AccessKeyId": given.id,
                "SecretAccessKey": given.secret, "Token": given.token, "Expiration": rfc3339(given.ends_s),
            });
            json_answer("200 OK", &body)
        }
        _ => answer("404 Not Found", &[], b""),
    }
}
