//! Where a repository's large files are asked for, and what lets us in there (docs/api/server-discovery.md of git-lfs).

use std::collections::BTreeMap;

use gristmill_git::{Host, LfsAnswer, RemoteUrl};
use gristmill_outgoing::{Url, Whose};
use serde::Deserialize;

/// The most headers of an action.
const HEADERS_MAX: usize = 32;
/// The longest header, its name and its value, in bytes.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// What an answer of git-lfs's says of an address.
#[derive(Deserialize)]
pub(super) struct Action {
    #[serde(default)]
    pub(super) href: String,
    pub(super) header: Option<BTreeMap<String, String>>,
}

impl Action {
    /// The headers that go there, which an honest server has one or two of.
    pub(super) fn headers(&mut self) -> Result<Vec<(String, String)>, &'static str> {
        let headers = self.header.take().unwrap_or_default();
        if headers.len() > HEADERS_MAX {
            return Err("the server wants more than 32 headers");
        }
        if headers.iter().any(|(name, value)| name.len() + value.len() > HEADER_BYTES_MAX) {
            return Err("the server wants a header of more than 16 KiB");
        }
        Ok(headers.into_iter().collect())
    }
}

/// Where the list of files is asked for.
pub(super) struct Door {
    pub(super) url: Url,
    /// Who says so.
    pub(super) whose: Whose,
    /// What lets us in. The values are secret.
    pub(super) headers: Vec<(String, String)>,
}

impl Door {
    /// That of an http or https address.
    pub(super) fn http(
        remote: &RemoteUrl,
        whose: Whose,
        authorization: Option<&str>,
    ) -> Result<Door, &'static str> {
        let headers = authorization.map(|value| ("authorization".to_owned(), value.to_owned()));
        Ok(Door { url: list(&guess(&remote.to_string()))?, whose, headers: headers.into_iter().collect() })
    }

    /// That which a server named over ssh. On its own host it is the operator's, at whatever port; where it leads to
    /// another, that is a stranger's word.
    pub(super) fn ssh(remote: &RemoteUrl, answer: &LfsAnswer) -> Result<Door, &'static str> {
        Door::answered(remote, answer.json())
    }

    fn answered(remote: &RemoteUrl, answer: &[u8]) -> Result<Door, &'static str> {
        let mut action: Action = serde_json::from_slice(answer)
            .map_err(|_| "what git-lfs-authenticate says over ssh is not the JSON that it should be")?;
        let host = remote.host().map(Host::to_string).unwrap_or_default();
        let base = match action.href.as_str() {
            "" => guess(&format!("https://{host}/{}", remote.path().trim_start_matches('/'))),
            href => href.trim_end_matches('/').to_owned(),
        };
        let url = list(&base)?;
        if !url.is_https() {
            return Err("the server leads from ssh to http, which is not private");
        }
        let own = list(&format!("https://{host}"))?;
        let whose = if url.host() == own.host() { Whose::Operators } else { Whose::Strangers };
        Ok(Door { url, whose, headers: action.headers()? })
    }
}

/// Where the large files of an address are, if nobody says.
fn guess(remote: &str) -> String {
    let remote = remote.trim_end_matches('/');
    format!("{remote}{}/info/lfs", if remote.ends_with(".git") { "" } else { ".git" })
}

fn list(base: &str) -> Result<Url, &'static str> {
    format!("{base}/objects/batch").parse().map_err(|_| "the address that is named for them is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ssh_servers_own_host_is_the_operators() {
        for (remote, href, expected) in [
            ("git@git.acme.org:a/b.git", "https://git.acme.org/a/b.git/info/lfs", Ok(Whose::Operators)),
            ("git@git.acme.org:a/b.git", "https://GIT.acme.org:8443/lfs/", Ok(Whose::Operators)),
            ("ssh://git@git.acme.org:2222/a/b", "https://git.acme.org/lfs", Ok(Whose::Operators)),
            ("ssh://git@10.0.0.7/a/b", "https://10.0.0.7/lfs", Ok(Whose::Operators)),
            ("ssh://git@10.0.0.7/a/b", "https://0xa000007/lfs", Ok(Whose::Operators)),
            ("ssh://git@[::1]:22/a/b", "https://[::1]:8443/lfs", Ok(Whose::Operators)),
            ("git@git.acme.org:a/b.git", "", Ok(Whose::Operators)),
            ("ssh://git@git.acme.org:2222/a/b", "", Ok(Whose::Operators)),
            ("git@git.acme.org:a/b", "https://lfs.acme.org/lfs", Err("Strangers")),
            ("git@git.acme.org:a/b", "https://git.acme.org.evil.example/lfs", Err("Strangers")),
            ("git@git.acme.org:a/b", "https://127.0.0.1/lfs", Err("Strangers")),
            ("git@git.acme.org:a/b", "http://git.acme.org/lfs", Err("the server leads from ssh to http")),
            ("git@git.acme.org:a/b", "http://169.254.169.254/", Err("the server leads from ssh to http")),
            ("git@git.acme.org:a/b", "file:///etc/passwd", Err("the address")),
            ("git@git.acme.org:a/b", "https://", Err("the address")),
        ] {
            let remote: RemoteUrl = remote.parse().expect("an address");
            let answer = serde_json::json!({ "href": href, "header": { "Authorization": "x" } }).to_string();
            match (Door::answered(&remote, answer.as_bytes()), expected) {
                (Ok(door), Ok(whose)) => {
                    assert_eq!(door.whose, whose, "{remote} {href}");
                    assert_eq!(door.headers, [("Authorization".to_owned(), "x".to_owned())]);
                    assert!(door.url.path().ends_with("/objects/batch"), "{:?}", door.url);
                }
                (Ok(door), Err(text)) => assert_eq!(format!("{:?}", door.whose), text, "{remote} {href}"),
                (Err(why), Err(text)) => assert!(why.starts_with(text), "{remote} {href}: {why}"),
                (Err(why), Ok(_)) => panic!("{remote} {href}: {why}"),
            }
        }
        let remote: RemoteUrl = "git@git.acme.org:a/b".parse().expect("an address");
        let Ok(door) = Door::answered(&remote, b"{}") else { panic!("it is guessed") };
        assert_eq!(door.url.as_str(), "https://git.acme.org/a/b.git/info/lfs/objects/batch");
        for (count, bytes, is_taken) in
            [(32, 1, true), (33, 1, false), (40_000, 1, false), (1, 16_000, true), (1, 17_000, false)]
        {
            let header: BTreeMap<String, String> =
                (0..count).map(|number| (format!("x-{number}"), "v".repeat(bytes))).collect();
            let answer = serde_json::json!({ "header": header }).to_string();
            assert_eq!(Door::answered(&remote, answer.as_bytes()).is_ok(), is_taken, "{count} of {bytes}");
        }
        for answer in ["", "no", "[]", "{\"href\": 1}", "{\"header\": {\"a\": 1}}"] {
            assert!(Door::answered(&remote, answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
