//! [`HostKeys`]: which server is the one we mean.
//!
//! A server's key is pinned or the server is not talked to; nobody is asked and nothing is learned on the way.
//! Known are the keys that large forges publish. All others are given as lines of a `known_hosts` file
//! (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). Three things of that format are refused because a pin would not be one:
//! markers (`@cert-authority` trusts whoever signs, `@revoked` pins nothing), patterns (`*`, `?`, `!`) and hashed
//! names, which cannot be compared with an address.

use std::fmt;

use ssh_key::{HashAlg, PublicKey};

use crate::remote::Host;
use crate::url::RemoteUrl;

/// How much text is read.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The longest line, in bytes: an RSA key of 16384 bits has 2800.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// How many names may share a key.
const NAMES_MAX: usize = 20;

/// RSA keys below this are refused, as OpenSSH's `RequiredRSASize` and NIST SP 800-131A have it.
const RSA_BITS_MIN: u32 = 2048;

/// ssh's own port.
const SSH_PORT: u16 = 22;

/// Servers' public keys.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HostKeys {
    keys: Vec<HostKey>,
}

#[derive(Clone, PartialEq, Eq)]
struct HostKey {
    /// `name` or `[name]:port`, in lower case.
    names: Vec<String>,
    key: PublicKey,
}

/// Why a line of host keys was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the ssh host keys: {why}")]
pub struct HostKeyError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub why: &'static str,
}

/// Names, and the keys that they publish. Checked by their fingerprints in the tests of this file against:
/// GitHub: docs.github.com, "GitHub's SSH key fingerprints" (which lists the lines themselves).
/// GitLab: docs.gitlab.com, "GitLab.com settings", SSH host keys fingerprints.
/// Bitbucket: Atlassian's notice of 2023-05-15 of its new ECDSA and Ed25519 keys. Its RSA key is left out.
/// Codeberg: docs.codeberg.org, "Verifying you're connected to Codeberg using SSH fingerprints".
/// Azure DevOps: Microsoft's "Use SSH key authentication", which shows the fingerprint; it has an RSA key alone.
/// For ssh on port 443 GitHub documents `ssh.github.com` and GitLab `altssh.gitlab.com`. That the keys are the same
/// there could not be checked in their documentation; where they are not, we refuse. Of sourcehut's keys no
/// documentation could be had, so it is not listed.
const PUBLISHED: &[(&str, &[&str])] = &[
    (
        "github.com,[ssh.github.com]:443",
        &[
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=",
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQCj7ndNxQowgcQnjshcLrqPEiiphnt+VTTvDP6mHBL9j1aNUkY4Ue1gvwnGLVlOhGeYrnZaMgRK6+PKCUXaDbC7qtbW8gIkhL7aGCsOr/C56SJMy/BCZfxd1nWzAOxSDPgVsmerOBYfNqltV9/hWCqBywINIR+5dIg6JTJ72pcEpEjcYgXkE2YEFXV1JHnsKgbLWNlhScqb2UmyRkQyytRLtL+38TGxkxCflmO+5Z8CSSNY7GidjMIZ7Q4zMjA2n1nGrlTDkzwDCsw+wqFPGQA179cnfGWOWRVruj16z6XyvxvjJwbz0wQZ75XK5tKSb7FNyeIEs4TT4jk+S4dhPeAUC5y+bDYirYgM4GC7uEnztnZyaVWQ7B381AK4Qdrwt51ZqExKbQpTUNn+EjqoTwvqNj4kqx5QUCI0ThS/YkOxJCXmPUWZbhjpCg56i+2aB6CmK2JGhn57K5mj0MNdBXA4/WnwH6XoPWJzK5Nyu2zB3nAZp+S5hpQs+p1vN1/wsjk=",
        ],
    ),
    (
        "gitlab.com,[altssh.gitlab.com]:443",
        &[
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf",
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFSMqzJeV9rUzU4kWitGjeR4PWSa29SPqJ1fVkhtj3Hw9xjLVXVYrU9QlYWrOLXBpQ6KWjbjTDTdDkoohFzgbEY=",
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCsj2bNKTBSpIYDEGk9KxsGh3mySTRgMtXL583qmBpzeQ+jqCMRgBqB98u3z++J1sKlXHWfM9dyhSevkMwSbhoR8XIq/U0tCNyokEi/ueaBMCvbcTHhO7FcwzY92WK4Yt0aGROY5qX2UKSeOvuP4D6TPqKF1onrSzH9bx9XUf2lEdWT/ia1NEKjunUqu1xOB/StKDHMoX4/OKyIzuS0q/T1zOATthvasJFoPrAjkohTyaDUz2LN5JoH839hViyEG82yB+MjcFV5MU3N1l1QL3cVUCh93xSaua1N85qivl+siMkPGbO5xR/En4iEY6K2XPASUEMaieWVNTRCtJ4S8H+9",
        ],
    ),
    (
        "bitbucket.org",
        &[
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIazEu89wgQZ4bqs3d63QSMzYVa0MuJ2e2gKTKqu+UUO",
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBPIQmuzMBuKdWeF4+a2sjSSpBK0iqitSQ+5BM9KhpexuGt20JpTVM7u5BDZngncgrqDMbWdxMWWOGtZ9UgbqgZE=",
        ],
    ),
    ("codeberg.org", &["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIVIC02vnjFyL+I4RHfvIGNtOgJMe769VTF1VR4EB3ZB"]),
    (
        "ssh.dev.azure.com,vs-ssh.visualstudio.com",
        &[
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7Hr1oTWqNqOlzGJOfGJ4NakVyIzf1rXYd4d7wo6jBlkLvCA4odBlL0mDUyZ0/QUfTTqeu+tm22gOsv+VrVTMk6vwRU75gY/y9ut5Mb3bR5BV58dKXyq9A9UeB5Cakehn5Zgm6x1mKoVyf+FFn26iYqXJRgzIZZcZ5V6hrE0Qg39kZm4az48o0AUbf6Sp4SLdvnuMa2sVNwHBboS7EJkm57XQPVU3/QpyNLHbWDdzwtrlS+ez30S3AdYhLKEOxAG8weOnyrtLJAUen9mTkol8oII1edf7mWWbWVf0nBmly21+nZcmCTISQBtdcyPaEno7fFQMDD26/s0lfKob4Kw8H",
        ],
    ),
];

impl HostKeys {
    /// The keys that GitHub, GitLab.com, Bitbucket, Codeberg and Azure DevOps publish.
    pub fn published() -> HostKeys {
        let line =
            |names: &str, key: &&str| parse_line(&format!("{names} {key}")).expect("checked by a test");
        HostKeys {
            keys: PUBLISHED
                .iter()
                .flat_map(|(names, keys)| keys.iter().map(|key| line(names, key)))
                .collect(),
        }
    }

    /// Reads lines of a `known_hosts` file, as `ssh-keyscan` prints them. Empty lines and comments are left out.
    ///
    /// # Errors
    ///
    /// The first line that is not a plain pin of one key to named servers.
    pub fn parse(text: &str) -> Result<HostKeys, HostKeyError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(HostKeyError { line: 1, why: "the text has more than 64 KiB" });
        }
        let mut keys = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                keys.push(parse_line(line).map_err(|why| HostKeyError { line: n + 1, why })?);
            }
        }
        Ok(HostKeys { keys })
    }

    /// Whether any key is pinned to the server of this address.
    pub fn knows(&self, url: &RemoteUrl) -> bool {
        pinned_name(url).is_some_and(|name| self.keys.iter().any(|key| key.names.contains(&name)))
    }

    /// `SHA256:…` of each key that is pinned to the server of this address.
    pub fn fingerprints(&self, url: &RemoteUrl) -> Vec<String> {
        self.for_server(url).map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect()
    }

    fn for_server(&self, url: &RemoteUrl) -> impl Iterator<Item = &PublicKey> {
        let name = pinned_name(url);
        let named = move |key: &&HostKey| name.as_ref().is_some_and(|name| key.names.contains(name));
        self.keys.iter().filter(named).map(|key| &key.key)
    }

    /// The `known_hosts` file for one server: what is pinned to it here, or what it publishes.
    pub(crate) fn file_for(&self, url: &RemoteUrl) -> String {
        let Some(name) = pinned_name(url) else { return String::new() };
        let published = HostKeys::published();
        let keys = if self.knows(url) { self } else { &published };
        let lines = keys.for_server(url).filter_map(|key| key.to_openssh().ok());
        lines.map(|key| format!("{name} {key}\n")).collect()
    }
}

/// What ssh looks a server up by: the port counts where it is not ssh's own.
fn pinned_name(url: &RemoteUrl) -> Option<String> {
    let name = match url.host()? {
        Host::Name(name) => name.clone(),
        Host::V6(address) => address.to_string(),
    };
    Some(match url.port() {
        None | Some(SSH_PORT) => name,
        Some(port) => format!("[{name}]:{port}"),
    })
}

fn parse_line(line: &str) -> Result<HostKey, &'static str> {
    if line.len() > LINE_BYTES_MAX {
        return Err("it has more than 8 KiB");
    }
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err("it has a control character");
    }
    if line.starts_with('@') {
        return Err("markers are not taken (a certificate authority is no pin); give the server's own key");
    }
    if line.starts_with('|') {
        return Err("its name is hashed and cannot be compared; write it plainly (`ssh-keyscan` without -H)");
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(names), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) else {
        return Err("expected `name kind key`, as `ssh-keyscan` prints it");
    };
    let names = names.split(',').map(parse_name).collect::<Result<Vec<_>, _>>()?;
    if names.len() > NAMES_MAX {
        return Err("more than 20 names share a key");
    }
    let key = PublicKey::from_openssh(&format!("{kind} {key}"))
        .map_err(|_| "its key is not a public key in OpenSSH's format, or not of the kind that it says")?;
    check_kind(&key)?;
    Ok(HostKey { names, key })
}

fn check_kind(key: &PublicKey) -> Result<(), &'static str> {
    use ssh_key::public::KeyData;
    match key.key_data() {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) => Ok(()),
        KeyData::Rsa(rsa) if rsa.key_size() < RSA_BITS_MIN => Err("its RSA key has less than 2048 bits"),
        KeyData::Rsa(_) => Ok(()),
        _ => Err("its key is of a kind that is not taken; ed25519, ecdsa and rsa are"),
    }
}

/// `name` or `[name]:port`.
fn parse_name(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "a name is not `host` or `[host]:port`; patterns with `*`, `?` or `!` are not taken";
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once("]:").ok_or(WRONG)?;
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = Some(port).filter(|_| digits).and_then(|port| port.parse::<u16>().ok());
            (host, Some(port.filter(|port| *port != 0).ok_or(WRONG)?))
        }
        None => (text, None),
    };
    let is_name = |host: &str| {
        !host.is_empty()
            && host.len() <= 253
            && !host.starts_with(['-', '.'])
            && host.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let host = match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => address.to_string(),
        Err(_) if is_name(host) => host.to_ascii_lowercase(),
        Err(_) => return Err(WRONG),
    };
    Ok(match port {
        None | Some(SSH_PORT) => host,
        Some(port) => format!("[{host}]:{port}"),
    })
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |key: &HostKey| (key.names.clone(), key.key.fingerprint(HashAlg::Sha256).to_string());
        f.debug_map().entries(self.keys.iter().map(shown)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_keys_have_the_fingerprints_that_forges_document() {
        let published = HostKeys::published();
        for (url, fingerprints) in [
            (
                "git@github.com:a/b",
                &[
                    "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
                    "SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
                    "SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s",
                ][..],
            ),
            (
                "ssh://git@altssh.gitlab.com:443/a/b",
                &[
                    "SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8",
                    "SHA256:HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw",
                    "SHA256:ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ",
                ],
            ),
            (
                "git@bitbucket.org:a/b",
                &[
                    "SHA256:ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM",
                    "SHA256:FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0",
                ],
            ),
            ("git@codeberg.org:a/b", &["SHA256:mIlxA9k46MmM6qdJOdMnAQpzGxF4WIVVL+fj+wZbw0g"]),
            ("git@ssh.dev.azure.com:v3/a/b/c", &["SHA256:ohD8VZEXGWo6Ez8GSEJQ9WpafgLFsOfLOtGGQCQo6Og"]),
            ("git@ssh.github.com:a/b", &[]),
            ("git@example.org:a/b", &[]),
        ] {
            assert_eq!(published.fingerprints(&url.parse().expect(url)), fingerprints, "{url}");
        }
    }

    #[test]
    fn own_lines_count_instead_of_published_ones() {
        let key = PUBLISHED[0].1[0];
        let own = HostKeys::parse(&format!("# mine\n\nGitLab.com,[h.example.org]:2222 {key} a comment\n"))
            .expect("good lines");
        let file = |url: &str| own.file_for(&url.parse().expect(url));
        assert_eq!(file("git@gitlab.com:a/b"), format!("gitlab.com {key}\n"));
        assert_eq!(file("ssh://git@h.example.org:2222/a"), format!("[h.example.org]:2222 {key}\n"));
        assert_eq!(file("ssh://git@h.example.org/a"), "");
        assert_eq!(file("git@github.com:a/b").lines().count(), 3);
        assert_eq!(file("/srv/a"), "");
        assert!(format!("{own:?}").contains("SHA256:+DiY3"));
    }
}
