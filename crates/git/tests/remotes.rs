//! Asking remotes: refs, tokens, faults, limits.

mod common;

use std::time::{Duration, Instant};

use common::{Setup, commit, git_ref, list_limits, remote, remote_with_token};
use gristmill_git::{GitError, ListLimits, Protocol, RemoteRef, VERSION_MIN};
use gristmill_testkit::forge::Fault;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::{FakeGithub, TestRepo};

#[tokio::test]
async fn the_program_tells_its_version() {
    assert!(Setup::new().git.version().await.expect("git is installed") >= VERSION_MIN);
    let missing = Setup::with(|options| options.program = "/no/such/git".into());
    assert!(matches!(missing.git.version().await, Err(GitError::Program { .. })));
    let other = Setup::with(|options| options.program = "/bin/true".into());
    assert!(matches!(other.git.version().await, Err(GitError::Version { found: None })));
    let failing = Setup::with(|options| options.program = "/bin/false".into());
    assert!(matches!(failing.git.version().await, Err(GitError::Version { found: None })));
}

#[tokio::test]
async fn branches_and_tags_are_listed_and_nothing_else() {
    let repo = TestRepo::new();
    let first = repo.commit("main", &Changes::new().file("a", "1"));
    let second = repo.commit("feature/x", &Changes::new().file("b", "2"));
    repo.tag("light", &first);
    let tag = repo.annotated_tag("v1", &second);
    let tag_of_tag = repo.annotated_tag("v1-signed", &tag);
    repo.set_ref("refs/pull/1/head", &second);
    repo.set_ref("refs/heads/refs/heads/main", &second);
    let setup = Setup::new();
    let remote = remote(&repo.url());
    let refs = setup.git.ls_remote(&remote, list_limits()).await.expect("a list");
    let found: Vec<_> =
        refs.refs.iter().map(|(name, at)| (name.as_str(), at.id.to_string(), at.commit)).collect();
    assert_eq!(
        found,
        [
            ("refs/heads/feature/x", second.clone(), commit(&second)),
            ("refs/heads/main", first.clone(), commit(&first)),
            ("refs/heads/refs/heads/main", second.clone(), commit(&second)),
            ("refs/tags/light", first.clone(), commit(&first)),
            ("refs/tags/v1", tag.clone(), commit(&second)),
            ("refs/tags/v1-signed", tag_of_tag, commit(&second)),
        ]
    );
    assert_eq!(refs.refs_skipped, 0);

    for (name, expected) in [
        ("refs/heads/main", Some((first.as_str(), first.as_str()))),
        ("refs/tags/v1", Some((tag.as_str(), second.as_str()))),
        ("refs/pull/1/head", Some((second.as_str(), second.as_str()))),
        ("refs/heads/mai", None),
        ("refs/heads/gone", None),
    ] {
        let found = setup.git.remote_ref(&remote, &git_ref(name), list_limits()).await.expect("an answer");
        let expected =
            expected.map(|(id, at)| RemoteRef { id: id.parse().expect("an id"), commit: commit(at) });
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(
        setup.git.remote_head(&remote, list_limits()).await.expect("an answer"),
        Some(git_ref("refs/heads/main"))
    );
    repo.set_ref("HEAD", &first);
    assert_eq!(setup.git.remote_head(&remote, list_limits()).await.expect("an answer"), None);
}

#[tokio::test]
async fn an_empty_repository_has_no_refs() {
    let repo = TestRepo::new();
    let setup = Setup::new();
    let refs = setup.git.ls_remote(&remote(&repo.url()), list_limits()).await.expect("a list");
    assert_eq!(refs.refs.len(), 0);
    assert_eq!(setup.git.remote_head(&remote(&repo.url()), list_limits()).await.expect("an answer"), None);
}

#[tokio::test]
async fn a_huge_list_is_refused_at_its_limits() {
    let repo = TestRepo::new();
    let first = repo.commit("main", &Changes::new());
    repo.many_branches(999, &first);
    let setup = Setup::new();
    let list = |refs_max, bytes_max| {
        let limits = ListLimits { refs_max, bytes_max, ..list_limits() };
        let (git, remote) = (setup.git.clone(), remote(&repo.url()));
        async move { git.ls_remote(&remote, limits).await }
    };
    assert_eq!(list(1000, 1 << 20).await.expect("within the limits").refs.len(), 1000);
    let error = list(999, 1 << 20).await.expect_err("one ref too many");
    assert!(matches!(error, GitError::TooLarge { max: 999, .. }) && !error.is_transient(), "{error}");
    let error = list(1000, 10_000).await.expect_err("too many bytes");
    assert!(matches!(error, GitError::TooLarge { max: 10_000, .. }), "{error}");
}

#[tokio::test]
async fn a_hash_that_the_remote_does_not_use_is_told() {
    let repo = TestRepo::with_format("sha256");
    repo.commit("main", &Changes::new().file("a", "1"));
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    let wanted = common::wanted("refs/heads/main", &"1".repeat(40));
    let error = mirror.fetch(&remote(&repo.url()), &wanted, common::limits()).await.expect_err("SHA-256");
    assert!(matches!(error, GitError::ObjectFormat { .. }) && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("SHA-256"), "{error}");
}

#[tokio::test]
async fn what_is_not_allowed_is_not_asked() {
    let setup = Setup::with_protocols(&[Protocol::Https]);
    for (url, hint) in [
        ("ssh://git@example.org/a/b", "allow it"),
        ("git@example.org:a/b", "allow it"),
        ("git://example.org/a/b", "allow it"),
        ("/srv/git/a", "allow it"),
        ("http://example.org/a/b", "not encrypted"),
    ] {
        let error = setup.git.ls_remote(&remote(url), list_limits()).await.expect_err(url);
        assert!(matches!(error, GitError::NotAllowed { .. }) && !error.is_transient(), "{error:?}");
        assert!(error.to_string().contains(hint), "{error}");
    }
    assert!(setup.git.check(&remote("http://127.0.0.1:1/a")).is_ok());
    assert!(setup.git.check(&remote("https://example.org/a")).is_ok());
    assert!(Setup::with_protocols(&[]).git.check(&remote("http://127.0.0.1:1/a")).is_err());
    assert!(Setup::with_protocols(&[Protocol::Http]).git.check(&remote("http://example.org/a")).is_ok());
    assert!(Setup::with_protocols(&[Protocol::Ssh]).git.check(&remote("ssh://example.org/a")).is_ok());
}

#[tokio::test]
async fn failures_are_told_apart() {
    let forge = FakeGithub::start();
    forge.create("acme/shop", "secret").commit("main", &Changes::new());
    let setup = Setup::with_protocols(&[Protocol::Https, Protocol::File, Protocol::Git]);
    let url = forge.clone_url("acme/shop");
    let ask = |url: String| {
        let git = setup.git.clone();
        async move { git.ls_remote(&remote(&url), list_limits()).await.expect_err("a failure") }
    };
    for (fault, name, transient) in [
        (Fault::Status(500), "Unreachable", true),
        (Fault::Status(503), "Unreachable", true),
        (Fault::Status(429), "Unreachable", true),
        (Fault::Status(403), "Auth", false),
        (Fault::Status(404), "NotFound", false),
        (Fault::Refuse, "Unreachable", true),
        (Fault::Redirect("http://127.0.0.1:9/x".to_owned()), "Moved", false),
    ] {
        forge.set_fault(fault.clone());
        let error = ask(url.clone()).await;
        assert!(format!("{error:?}").starts_with(name), "{fault:?}: {error:?}");
        assert_eq!(error.is_transient(), transient, "{fault:?}");
        assert!(error.to_string().contains("acme/shop"), "{error}");
    }
    forge.set_fault(Fault::None);
    for (url, name, transient) in [
        (forge.clone_url("acme/none"), "NotFound", false),
        ("/no/such/repository".to_owned(), "NotFound", false),
        (setup.folder.path().display().to_string(), "NotFound", false),
        ("http://127.0.0.1:1/a/b".to_owned(), "Unreachable", true),
        ("git://127.0.0.1:1/a/b".to_owned(), "Unreachable", true),
        ("https://no-such-host.invalid/a/b".to_owned(), "Unreachable", true),
    ] {
        let error = ask(url.clone()).await;
        assert!(format!("{error:?}").starts_with(name), "{url}: {error:?}");
        assert_eq!(error.is_transient(), transient, "{url}");
    }
}

#[tokio::test]
async fn a_remote_that_hangs_costs_the_time_limit() {
    let forge = FakeGithub::start();
    forge.create("acme/shop", "secret");
    forge.set_fault(Fault::Hang);
    let limits = ListLimits { time_max: Duration::from_millis(500), ..ListLimits::default() };
    let start = Instant::now();
    let error = Setup::new()
        .git
        .ls_remote(&remote(&forge.clone_url("acme/shop")), limits)
        .await
        .expect_err("no answer");
    assert!(
        matches!(error, GitError::Timeout { command: "ls-remote", .. }) && error.is_transient(),
        "{error:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_token_opens_what_is_closed() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let token = "tok/en+with:odd@signs";
    forge.require_token(Some(token));
    let setup = Setup::new();
    let url = forge.clone_url("acme/shop");
    let refs = setup.git.ls_remote(&remote_with_token(&url, token), list_limits()).await.expect("let in");
    assert_eq!(refs.refs[&git_ref("refs/heads/main")].commit, commit(&id));
    let mirror = setup.mirror().await;
    let wanted = common::wanted("refs/heads/main", &id);
    mirror.fetch(&remote_with_token(&url, token), &wanted, common::limits()).await.expect("let in");

    for refused in [remote(&url), remote_with_token(&url, "wrong-token")] {
        let error = setup.git.ls_remote(&refused, list_limits()).await.expect_err("not let in");
        assert!(matches!(error, GitError::Auth { .. }) && !error.is_transient(), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("wrong-token"), "{text}");
    }
}

/// Ends the daemon and the process that git starts it through.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).expect("the daemon runs");
        self.0.wait().expect("a child");
    }
}

#[tokio::test]
async fn the_git_protocol_works_where_it_is_allowed() {
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let lost = repo.commit_unreferenced(&[], &Changes::new().file("a", "2"));
    // The daemon cannot choose a port itself.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let mut command = std::process::Command::new("git");
    command
        .args(["daemon", "--export-all", "--listen=127.0.0.1", "--reuseaddr", &format!("--port={port}")])
        .arg(format!("--base-path={}", repo.path().parent().expect("a folder").display()))
        .stderr(std::process::Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let _daemon = Daemon(command.spawn().expect("git starts"));
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let remote_at = |name: &str| remote(&format!("git://127.0.0.1:{port}/{name}"));
    let setup = Setup::with_protocols(&[Protocol::Git]);
    let mirror = setup.mirror().await;
    let fetched =
        mirror.fetch(&remote_at("repo.git"), &common::wanted("refs/heads/main", &id), common::limits()).await;
    assert_eq!(fetched.expect("fetched").commit, commit(&id));
    assert!(mirror.fetch(&remote_at("repo.git"), &common::by_id(&lost), common::limits()).await.is_ok());
    let error =
        setup.git.ls_remote(&remote_at("none.git"), list_limits()).await.expect_err("no such repository");
    assert!(matches!(error, GitError::NotFound { .. }), "{error:?}");
}
