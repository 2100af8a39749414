//! A GitHub push of 7.6 kB, and many signed variants of it, made before anything is measured.
//!
//! Every request has its own delivery id and its own pushed commit, so its own signature. Only what follows the
//! first mention of the commit is hashed anew: HMAC continues from the state after the common start.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The project that the benchmarks configure.
pub(crate) const REPOSITORY: &str = "bench/repo";
/// The secret of its hook.
pub(crate) const SECRET: &str = "a-secret-of-the-benchmarks-0123456789";
/// Size of the body: that of an ordinary push.
pub(crate) const BODY_BYTES: usize = 7_600;

/// Stands for the pushed commit until a request is made.
const COMMIT: &str = "cccccccccccccccccccccccccccccccccccccccc";
/// Stands where the ref was before.
const BEFORE: &str = "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0";
const DELIVERY: &str = "dddddddd-dddd-4ddd-8ddd-dddddddddddd";
const SIGNATURE: &str = "5555555555555555555555555555555555555555555555555555555555555555";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Lower-case hex of an HMAC-SHA256.
pub(crate) type Signature = [u8; 64];

/// One request with the places where variants differ.
pub(crate) struct Template {
    request: Vec<u8>,
    body_at: usize,
    delivery_at: usize,
    signature_at: usize,
    commits_at: Vec<usize>,
    /// The HMAC after the part of the body that all variants share.
    common: Hmac<Sha256>,
}

/// Signatures of the variants `first ..`.
pub(crate) struct Signed {
    pub(crate) first: u64,
    pub(crate) signatures: Vec<Signature>,
}

impl Template {
    /// A push to the hook at `path`.
    pub(crate) fn new(path: &str) -> Self {
        let body = push_body();
        let mut request = head(path, body.len()).into_bytes();
        let body_at = request.len();
        request.extend_from_slice(body.as_bytes());
        let text = String::from_utf8_lossy(&request).into_owned();
        let find = |what| text.find(what).expect("the template holds each placeholder");
        let commits_at: Vec<usize> = text.match_indices(COMMIT).map(|(at, _)| at).collect();
        let mut common = hmac();
        common.update(&request[body_at..commits_at[0]]);
        Self {
            body_at,
            delivery_at: find(DELIVERY),
            signature_at: find(SIGNATURE),
            commits_at,
            common,
            request,
        }
    }

    /// Signs the variants `first .. first + count`.
    pub(crate) fn sign(&self, first: u64, count: usize) -> Signed {
        let from = self.commits_at[0];
        let mut rest = self.request[from..].to_vec();
        let sign_one = |n| {
            let commit = commit(n);
            for at in &self.commits_at {
                rest[at - from..at - from + commit.len()].copy_from_slice(&commit);
            }
            let mut mac = self.common.clone();
            mac.update(&rest);
            hex(&mac.finalize().into_bytes())
        };
        Signed { first, signatures: (first..).take(count).map(sign_one).collect() }
    }

    /// Makes `request` the variant `n`; what it held must be empty or another variant of this template.
    pub(crate) fn write(&self, request: &mut Vec<u8>, n: u64, signature: &Signature) {
        if request.len() != self.request.len() {
            request.clone_from(&self.request);
        }
        let commit = commit(n);
        for &at in &self.commits_at {
            request[at..at + commit.len()].copy_from_slice(&commit);
        }
        let digits_at = self.delivery_at + DELIVERY.len() - 12;
        request[digits_at..digits_at + 12].copy_from_slice(&digits(n));
        request[self.signature_at..self.signature_at + 64].copy_from_slice(signature);
    }

    /// The variant `n`, signed.
    pub(crate) fn request(&self, n: u64) -> Vec<u8> {
        let mut request = Vec::new();
        self.write(&mut request, n, &self.sign(n, 1).signatures[0]);
        request
    }

    /// Where the body of every variant begins.
    pub(crate) fn head_len(&self) -> usize {
        self.body_at
    }
}

/// A signed push to `path` that moves `main` from one commit to another.
pub(crate) fn push(path: &str, before: &str, after: &str, delivery: &str) -> Vec<u8> {
    let body = push_body().replace(COMMIT, after).replace(BEFORE, before);
    let head =
        head(path, body.len()).replace(DELIVERY, delivery).replace(SIGNATURE, &sign_body(body.as_bytes()));
    [head, body].concat().into_bytes()
}

/// The delivery id of the variant `n`.
pub(crate) fn delivery_id(n: u64) -> String {
    let tail = digits(n);
    format!("{}{}", &DELIVERY[..DELIVERY.len() - 12], std::str::from_utf8(&tail).expect("hex digits"))
}

/// Signs any body with the secret of the benchmarks.
pub(crate) fn sign_body(body: &[u8]) -> String {
    let mut mac = hmac();
    mac.update(body);
    String::from_utf8_lossy(&hex(&mac.finalize().into_bytes())).into_owned()
}

fn hmac() -> Hmac<Sha256> {
    Hmac::new_from_slice(SECRET.as_bytes()).expect("HMAC takes keys of any length")
}

/// A commit id that holds `n`.
fn commit(n: u64) -> [u8; 40] {
    let mut commit = *b"c0ffee5eed5eed5eed5eed5eed5e000000000000";
    commit[28..].copy_from_slice(&digits(n));
    commit
}

/// The lowest 48 bits of `n` as hex.
fn digits(n: u64) -> [u8; 12] {
    std::array::from_fn(|i| HEX[(n >> (4 * (11 - i)) & 15) as usize])
}

fn hex(bytes: &[u8]) -> Signature {
    std::array::from_fn(|i| {
        let byte = bytes[i / 2];
        HEX[usize::from(if i % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

/// The head of a request as GitHub sends it.
fn head(path: &str, body_len: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: GitHub-Hookshot/bench\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Hook-ID: 420000001\r\n\
         X-GitHub-Hook-Installation-Target-ID: 1296269\r\n\
         X-GitHub-Hook-Installation-Target-Type: repository\r\nX-GitHub-Delivery: {DELIVERY}\r\n\
         X-Hub-Signature-256: sha256={SIGNATURE}\r\nContent-Length: {body_len}\r\n\r\n"
    )
}

/// A push of two commits to `main`, padded to [`BODY_BYTES`]; everything that names the new commit stands last.
fn push_body() -> String {
    let short = push_body_padded(0);
    let body = push_body_padded(BODY_BYTES - short.len());
    assert_eq!(body.len(), BODY_BYTES, "the padding fills the body exactly");
    body
}

fn push_body_padded(padding: usize) -> String {
    let last = commit_object(COMMIT, "Grind finer");
    let members = [
        ("ref", json!("refs/heads/main")),
        ("before", json!(BEFORE)),
        ("base_ref", Value::Null),
        ("compare", json!("https://github.com/bench/repo/compare/b0b0b0b0b0b0...main")),
        ("created", json!(false)),
        ("deleted", json!(false)),
        ("forced", json!(false)),
        ("pusher", json!({ "name": "miller", "email": "miller@example.org" })),
        ("sender", account("miller", 583_231)),
        ("repository", repository()),
        ("commits", json!([commit_object(BEFORE, &"x".repeat(padding)), last])),
        ("head_commit", last),
        ("after", json!(COMMIT)),
    ];
    let text: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", text.join(","))
}

fn commit_object(id: &str, message: &str) -> Value {
    let person = json!({ "name": "Miller", "email": "miller@example.org", "username": "miller" });
    json!({
        "id": id, "tree_id": "7eee7eee7eee7eee7eee7eee7eee7eee7eee7eee", "distinct": true,
        "message": message, "timestamp": "2025-03-01T12:00:00+01:00", "url": format!("https://github.com/bench/repo/commit/{id}"),
        "author": person, "committer": person,
        "added": ["src/stone.rs"], "removed": [], "modified": ["README.md", "src/lib.rs"],
    })
}

fn account(login: &str, id: u64) -> Value {
    let api = format!("https://api.github.com/users/{login}");
    json!({
        "login": login, "id": id, "node_id": "MDQ6VXNlcjU4MzIzMQ==", "type": "User", "site_admin": false,
        "url": api, "html_url": format!("https://github.com/{login}"), "gravatar_id": "",
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"),
        "followers_url": format!("{api}/followers"), "gists_url": format!("{api}/gists{{/gist_id}}"),
        "repos_url": format!("{api}/repos"), "events_url": format!("{api}/events{{/privacy}}"),
    })
}

fn repository() -> Value {
    let api = "https://api.github.com/repos/bench/repo";
    let mut repository = json!({
        "id": 1_296_269, "node_id": "MDEwOlJlcG9zaXRvcnkxMjk2MjY5", "name": "repo", "full_name": REPOSITORY,
        "private": false, "owner": account("bench", 1), "html_url": "https://github.com/bench/repo",
        "description": "A repository that only benchmarks push to", "fork": false, "url": "https://github.com/bench/repo",
        "git_url": "git://github.com/bench/repo.git", "ssh_url": "git@github.com:bench/repo.git",
        "clone_url": "https://github.com/bench/repo.git", "default_branch": "main", "master_branch": "main",
        "created_at": 1_700_000_000, "updated_at": "2025-03-01T11:00:00Z", "pushed_at": 1_740_826_800,
        "size": 108, "language": "Rust", "archived": false, "disabled": false, "visibility": "public",
    });
    let parts = "forks keys teams hooks events assignees branches tags blobs statuses languages stargazers \
                 contributors subscribers subscription commits comments contents compare merges archive downloads \
                 issues pulls milestones notifications labels releases deployments";
    for part in parts.split_whitespace() {
        repository[format!("{part}_url")] = json!(format!("{api}/{part}{{/sha}}"));
    }
    repository
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_is_a_push_of_the_promised_size_with_its_own_names() {
        let template = Template::new("/hooks/bench/repo");
        for n in [0, 1, 0xfeed_beef] {
            let body = template.request(n).split_off(template.head_len());
            assert_eq!(body.len(), BODY_BYTES);
            let push: Value = serde_json::from_slice(&body).unwrap();
            let id = format!("c0ffee5eed5eed5eed5eed5eed5e{n:012x}");
            assert_eq!(push["after"], id);
            assert_eq!(push["head_commit"]["id"], id);
            assert_eq!(push["commits"][1]["id"], id);
            assert_eq!(push["repository"]["full_name"], "bench/repo");
            let request = String::from_utf8(template.request(n)).unwrap();
            assert!(request.contains(&format!("X-GitHub-Delivery: {}\r\n", delivery_id(n))));
            assert!(request.contains(&format!("sha256={}\r\n", sign_body(&body))));
            assert!(request.contains("Content-Length: 7600\r\n"));
        }
        assert_eq!(delivery_id(255), "dddddddd-dddd-4ddd-8ddd-0000000000ff");
    }

    #[test]
    fn a_push_of_named_commits_is_signed() {
        let (before, after) = ("1".repeat(40), "2".repeat(40));
        let request = String::from_utf8(push("/hooks/x", &before, &after, "some-id")).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let json: Value = serde_json::from_str(body).unwrap();
        assert_eq!((&json["before"], &json["after"]), (&json!(before), &json!(after)));
        assert_eq!(json["head_commit"]["id"], json!(after));
        assert!(head.contains("X-GitHub-Delivery: some-id\r\n"));
        assert!(head.contains(&format!("sha256={}", sign_body(body.as_bytes()))));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }

    #[test]
    fn a_reused_buffer_holds_the_same_as_a_new_one() {
        let template = Template::new("/hooks/bench/repo");
        let signed = template.sign(7, 2);
        let mut buffer = Vec::new();
        template.write(&mut buffer, 7, &signed.signatures[0]);
        template.write(&mut buffer, 8, &signed.signatures[1]);
        assert_eq!(buffer, template.request(8));
        assert_ne!(buffer, template.request(7));
    }

    #[test]
    fn the_signature_is_that_of_rfc_2104() {
        // openssl dgst -sha256 -hmac a-secret-of-the-benchmarks-0123456789 (of the five letters, no newline)
        assert_eq!(sign_body(b"grist"), "016b943b1cacc5da5a43484151b44a5f8a25b6321ef73b3d94d9376465b49e9d");
    }
}
