//! Reads git's messages (in the C locale) and says which [`GitError`] they mean.

use std::path::Path;

use gristmill_model::CommitId;

use crate::error::GitError;

/// What a command was about, for the error that tells of its failure.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) command: &'static str,
    /// The address without secrets; empty for commands that touch no remote.
    pub(crate) remote: &'a str,
    /// The mirror; empty for commands outside one.
    pub(crate) mirror: &'a Path,
    /// What was asked for by id.
    pub(crate) commit: Option<CommitId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Unreachable,
    Certificate,
    Auth,
    HostKey,
    Proxy,
    NotFound,
    Moved,
    NoSuchRef,
    CommitUnavailable,
    ObjectFormat,
    Protocol,
    Damaged,
    DiskFull,
    Unknown,
}

/// Searched in this order; the first message found decides. Specific ones come before those that git adds
/// to every failure ("the remote end hung up", "could not read from remote repository").
const MESSAGES: &[(&str, Fault)] = &[
    ("No space left on device", Fault::DiskFull),
    ("Disk quota exceeded", Fault::DiskFull),
    ("couldn't find remote ref", Fault::NoSuchRef),
    ("not our ref", Fault::CommitUnavailable),
    ("does not allow request for unadvertised object", Fault::CommitUnavailable),
    ("no such remote ref", Fault::CommitUnavailable),
    ("mismatched algorithms", Fault::ObjectFormat),
    ("unknown object format", Fault::ObjectFormat),
    ("returned error: 301", Fault::Moved),
    ("returned error: 302", Fault::Moved),
    ("returned error: 303", Fault::Moved),
    ("returned error: 307", Fault::Moved),
    ("returned error: 308", Fault::Moved),
    ("unable to update url base from redirection", Fault::Moved),
    ("407 from proxy", Fault::Proxy),
    ("returned error: 407", Fault::Proxy),
    ("Host key verification failed", Fault::HostKey),
    ("certificate", Fault::Certificate),
    ("Authentication failed", Fault::Auth),
    ("could not read Username", Fault::Auth),
    ("could not read Password", Fault::Auth),
    ("unable to get password", Fault::Auth),
    ("Permission denied (", Fault::Auth),
    ("Too many authentication failures", Fault::Auth),
    ("returned error: 401", Fault::Auth),
    ("returned error: 403", Fault::Auth),
    ("returned error: 404", Fault::NotFound),
    ("returned error: 410", Fault::NotFound),
    ("epository not found", Fault::NotFound),
    // GitLab.
    ("you were looking for could not be found", Fault::NotFound),
    ("' not found", Fault::NotFound),
    ("does not appear to be a git repository", Fault::NotFound),
    ("access denied or repository not exported", Fault::NotFound),
    ("no such repository", Fault::NotFound),
    ("does not exist", Fault::NotFound),
    ("detected dubious ownership", Fault::Auth),
    ("did not send all necessary objects", Fault::Damaged),
    ("is corrupt", Fault::Damaged),
    ("object corrupt or missing", Fault::Damaged),
    ("is empty", Fault::Damaged),
    ("bad object", Fault::Damaged),
    ("bad pack", Fault::Damaged),
    ("bad ref", Fault::Damaged),
    ("broken ref", Fault::Damaged),
    ("unable to read tree", Fault::Damaged),
    ("not a git repository", Fault::Damaged),
    ("cannot be accessed", Fault::Damaged),
    ("index file", Fault::Damaged),
    ("inflate:", Fault::Damaged),
    ("unresolved delta", Fault::Damaged),
    ("missing blob", Fault::Damaged),
    ("missing tree", Fault::Damaged),
    ("missing commit", Fault::Damaged),
    ("bad config", Fault::Damaged),
    ("invalid object", Fault::Damaged),
    ("not valid: is this a git repository", Fault::Protocol),
    ("valid git repository", Fault::Protocol),
    ("protocol error", Fault::Protocol),
    ("bad line length", Fault::Protocol),
    ("invalid server response", Fault::Protocol),
    ("unable to access", Fault::Unreachable),
    ("unable to look up", Fault::Unreachable),
    ("unable to connect", Fault::Unreachable),
    ("Connection refused", Fault::Unreachable),
    ("Connection reset", Fault::Unreachable),
    ("timed out", Fault::Unreachable),
    ("RPC failed", Fault::Unreachable),
    ("early EOF", Fault::Unreachable),
    ("unexpected disconnect", Fault::Unreachable),
    ("hung up", Fault::Unreachable),
    ("Could not read from remote repository", Fault::Unreachable),
    ("returned error: 5", Fault::Unreachable),
    ("returned error: 429", Fault::Unreachable),
    ("expected flush", Fault::Unreachable),
    ("remote error", Fault::Unreachable),
];

/// What the end of git's standard error means. Lines that the remote's server wrote for people (`remote: …`) are
/// left out: they may say anything. Nor does its word (`remote error: …`) count for the state of our files.
pub(crate) fn fault(stderr: &str) -> Fault {
    let ours: Vec<&str> = stderr.lines().filter(|line| !line.starts_with("remote: ")).collect();
    let meant = |line: &str, message: &str, fault: Fault| {
        let local = matches!(fault, Fault::Damaged | Fault::DiskFull);
        line.contains(message) && !(local && line.contains("remote error: "))
    };
    MESSAGES
        .iter()
        .find(|(message, fault)| ours.iter().any(|line| meant(line, message, *fault)))
        .map_or(Fault::Unknown, |(_, fault)| *fault)
}

/// What ssh said, apart from what is of no use in an error.
#[derive(Default)]
pub(crate) struct SshSaid {
    text: String,
    /// `<kind> SHA256:…` of the key that the server showed.
    host_key: Option<String>,
}

impl SshSaid {
    /// Splits the end of ssh's log into its messages and the server's key. With `LogLevel DEBUG1` ssh says
    /// `debug1: Server host key: ssh-ed25519 SHA256:…` before it decides about the key.
    pub(crate) fn new(log: &str) -> SshSaid {
        const CHATTER: &[&str] =
            &["debug1: ", "OpenSSH_", "Authenticated to ", "Transferred: sent ", "Bytes per second: "];
        let host_key = log.lines().find_map(|line| line.trim_end().strip_prefix("debug1: Server host key: "));
        let worth = |line: &&str| !line.is_empty() && !CHATTER.iter().any(|start| line.starts_with(start));
        // Some forges mark their own words, which are all that is left here besides ssh's.
        let plain = |line| str::trim_end_matches(line, ['\r', '\u{fffd}']).trim_start_matches("remote: ");
        let lines: Vec<&str> = log.lines().map(plain).filter(worth).collect();
        SshSaid {
            text: lines.join("\n"),
            host_key: host_key.map(|key| key.trim_end_matches('\u{fffd}').to_owned()),
        }
    }
}

/// The error for a command that ended with `status` after writing `detail`. `ssh` is empty for other transports.
pub(crate) fn failure(subject: Subject<'_>, status: &str, detail: String, ssh: &SshSaid) -> GitError {
    let remote = subject.remote.to_owned();
    // Without the address, whose words are not git's: a repository may be called `certificate`.
    let words = |text: &str| if remote.is_empty() { text.to_owned() } else { text.replace(&remote, "") };
    // A server's words say nothing of our files, and git itself only says that it could not read.
    let fault = match fault(&words(&ssh.text)) {
        Fault::Unknown | Fault::Damaged | Fault::DiskFull => fault(&words(&detail)),
        fault => fault,
    };
    let detail = if ssh.text.is_empty() { detail } else { format!("{}\n{detail}", ssh.text) };
    let failed = |detail| GitError::Failed { command: subject.command, status: status.to_owned(), detail };
    match (fault, subject.commit) {
        (Fault::DiskFull, _) => GitError::DiskFull { detail },
        (Fault::Damaged, _) if !subject.mirror.as_os_str().is_empty() => {
            GitError::Damaged { dir: subject.mirror.to_owned(), detail }
        }
        (Fault::CommitUnavailable | Fault::NoSuchRef, Some(commit)) => {
            GitError::CommitUnavailable { remote, commit, detail }
        }
        _ if remote.is_empty() => failed(detail),
        (Fault::Unreachable, _) => GitError::Unreachable { remote, detail },
        (Fault::Certificate, _) => GitError::Certificate { remote, detail },
        (Fault::Auth, _) => GitError::Auth { remote, detail },
        (Fault::HostKey, _) => {
            let fingerprint = ssh.host_key.clone().unwrap_or("of an unknown kind".to_owned());
            GitError::HostKey {
                remote,
                fingerprint,
                changed: ssh.text.contains("HOST IDENTIFICATION HAS CHANGED"),
            }
        }
        (Fault::Proxy, _) => GitError::Proxy { remote, detail },
        (Fault::NotFound, _) => GitError::NotFound { remote, detail },
        (Fault::Moved, _) => GitError::Moved { remote, detail },
        (Fault::ObjectFormat, _) => GitError::ObjectFormat { remote },
        (Fault::Protocol, _) => GitError::Protocol { remote, detail },
        (Fault::Unknown | Fault::Damaged | Fault::NoSuchRef | Fault::CommitUnavailable, _) => failed(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_git_are_understood() {
        for (stderr, expected) in [
            ("fatal: couldn't find remote ref refs/heads/x", Fault::NoSuchRef),
            ("fatal: remote error: upload-pack: not our ref 1111", Fault::CommitUnavailable),
            ("error: Server does not allow request for unadvertised object 1111", Fault::CommitUnavailable),
            ("fatal: mismatched algorithms: client sha1; server sha256", Fault::ObjectFormat),
            (
                "fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none",
                Fault::Certificate,
            ),
            (
                "fatal: unable to access 'https://x/': Received HTTP code 407 from proxy after CONNECT",
                Fault::Proxy,
            ),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 407", Fault::Proxy),
            ("fatal: unable to access 'https://x/': SSL certificate problem: expired", Fault::Certificate),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 301", Fault::Moved),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 308", Fault::Moved),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 403", Fault::Auth),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 404", Fault::NotFound),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 500",
                Fault::Unreachable,
            ),
            ("fatal: unable to access 'https://x/': Could not resolve host: x", Fault::Unreachable),
            ("error: RPC failed; curl 18 transfer closed\nfatal: early EOF", Fault::Unreachable),
            ("fatal: Authentication failed for 'https://x/'", Fault::Auth),
            ("fatal: could not read Username for 'https://x': terminal prompts disabled", Fault::Auth),
            ("remote: Repository not found.\nfatal: repository 'https://x/' not found", Fault::NotFound),
            ("fatal: remote error: access denied or repository not exported: /x", Fault::NotFound),
            (
                "fatal: '/x' does not appear to be a git repository\nfatal: Could not read from",
                Fault::NotFound,
            ),
            ("fatal: write error: No space left on device", Fault::DiskFull),
            ("error: object file objects/ab/cd is empty", Fault::Damaged),
            ("fatal: bad object refs/gristmill/1111", Fault::Damaged),
            ("error: index file objects/pack/x.idx is too small", Fault::Damaged),
            ("fatal: protocol error: bad line length character: <htm", Fault::Protocol),
            ("fatal: https://x/ not valid: is this a git repository?", Fault::Protocol),
            (
                "remote: No space left on device\nfatal: the remote end hung up unexpectedly",
                Fault::Unreachable,
            ),
            ("fatal: remote error: upload-pack: object file x is corrupt", Fault::Unreachable),
            ("fatal: remote error: No space left on device", Fault::Unreachable),
            ("fatal: something new", Fault::Unknown),
            ("", Fault::Unknown),
        ] {
            assert_eq!(fault(stderr), expected, "{stderr}");
        }
    }

    #[test]
    fn an_error_fits_what_the_command_was_about() {
        let commit: CommitId = "1".repeat(40).parse().expect("an id");
        let subject = Subject {
            command: "fetch",
            remote: "https://x/a",
            mirror: Path::new("/m"),
            commit: Some(commit),
        };
        let error = |subject, detail: &str| {
            failure(subject, "exit status: 128", detail.to_owned(), &SshSaid::default())
        };
        let by_id = error(subject, "fatal: couldn't find remote ref 1111");
        assert!(matches!(by_id, GitError::CommitUnavailable { commit: found, .. } if found == commit));
        let by_ref =
            error(Subject { commit: None, ..subject }, "fatal: couldn't find remote ref refs/heads/x");
        assert!(matches!(by_ref, GitError::Failed { command: "fetch", .. }));
        assert!(
            matches!(error(subject, "fatal: bad object x"), GitError::Damaged { dir, .. } if dir == Path::new("/m"))
        );
        let outside = Subject { mirror: Path::new(""), ..subject };
        assert!(matches!(error(outside, "fatal: bad object x"), GitError::Failed { .. }));
        assert!(
            matches!(error(subject, "Connection refused"), GitError::Unreachable { remote, .. } if remote == "https://x/a")
        );
        let named = Subject { remote: "https://x/certificate", ..subject };
        let named = error(named, "fatal: unable to access 'https://x/certificate/': Connection refused");
        assert!(matches!(named, GitError::Unreachable { .. }));
        let local = Subject { remote: "", ..subject };
        assert!(matches!(error(local, "Connection refused"), GitError::Failed { .. }));
        assert!(matches!(error(local, "No space left on device"), GitError::DiskFull { .. }));
        assert!(matches!(error(subject, "certificate"), GitError::Certificate { .. }));
        assert!(matches!(error(subject, "protocol error"), GitError::Protocol { .. }));
        let unknown = error(subject, "what?");
        assert_eq!(unknown.to_string(), "git fetch failed (exit status: 128): what?");
        assert!(unknown.is_transient());
    }

    #[test]
    fn what_ssh_says_is_told_from_what_git_says() {
        let commit: CommitId = "1".repeat(40).parse().expect("an id");
        let git = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights";
        let of = |log: &str| {
            let subject = Subject {
                command: "fetch",
                remote: "git@x.org:a",
                mirror: Path::new("/m"),
                commit: Some(commit),
            };
            failure(subject, "exit status: 128", git.to_owned(), &SshSaid::new(log))
        };
        let key = "debug1: Connecting to x.org\ndebug1: Server host key: ssh-ed25519 SHA256:abc\r\n";
        let failed = "Host key verification failed.\r\n";
        let unknown = of(&format!("{key}No ED25519 host key is known for x.org\r\n{failed}"));
        assert!(
            matches!(&unknown, GitError::HostKey { fingerprint, changed: false, .. } if fingerprint == "ssh-ed25519 SHA256:abc"),
            "{unknown:?}"
        );
        let changed = of(&format!("{key}@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\r\n{failed}"));
        assert!(matches!(changed, GitError::HostKey { changed: true, .. }), "{changed:?}");
        let auth = of("debug1: Trying private key: key\ngit@x.org: Permission denied (publickey).\r\n");
        let GitError::Auth { detail, .. } = &auth else { panic!("{auth:?}") };
        assert_eq!(*detail, format!("git@x.org: Permission denied (publickey).\n{git}"));
        for log in [
            "ERROR: Repository not found.\n",
            "remote: \nremote: ERROR: The project you were looking for could not be found or you don't have permission to view it.\n",
        ] {
            assert!(matches!(of(log), GitError::NotFound { .. }), "{log}");
        }
        assert!(matches!(of("fatal: git upload-pack: not our ref 1\n"), GitError::CommitUnavailable { .. }));
        for log in [
            "",
            "fatal: bad object x\n",
            "No space left on device\n",
            "ssh: connect to host x.org port 22: Connection refused\n",
        ] {
            assert!(matches!(of(log), GitError::Unreachable { .. }), "{log}");
        }
    }
}
