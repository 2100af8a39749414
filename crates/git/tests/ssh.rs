//! Repositories behind a real sshd: who is let in, whom we trust, and what nobody sees.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::sshd::{Sshd, has_ssh, key, odd_folder};
use common::{Setup, by_id, files_below, limits, list_limits, remote, wanted};
use gristmill_git::{
    DeployKey, Git, GitError, GitOptions, HostKeys, Mirror, Protocol, Reachability, Remote, SshAccess,
};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

fn setup() -> Setup {
    Setup::with_protocols(&[Protocol::Ssh])
}

/// Nothing of a key is left in a folder.
fn assert_no_key(folder: &Path) {
    for (path, content) in files_below(folder) {
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains("OPENSSH PRIVATE KEY"), "left behind in {}", path.display());
    }
}

#[tokio::test]
async fn a_repository_is_fetched_by_ssh_from_a_folder_of_any_name() {
    let key = key(1);
    let Some(sshd) = Sshd::start("a_repository_is_fetched_by_ssh", &key, "") else { return };
    let setup = setup();
    let odd = odd_folder(setup.folder.path());
    let mut options = GitOptions::new(odd.join("git"));
    options.protocols = vec![Protocol::Ssh];
    let git = Git::new(options).expect("a folder");
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let remote = sshd.remote(repo.path(), &key);
    let refs = git.ls_remote(&remote, list_limits()).await.expect("a list");
    assert_eq!(refs.refs.len(), 1);
    let mirror = Mirror::open_or_create(&git, odd.join("mirror")).await.expect("a mirror");
    let fetched = mirror.fetch(&remote, &wanted("refs/heads/main", &id), limits()).await.expect("fetched");
    assert_eq!(fetched.reachability, Reachability::Tip);
    assert_no_key(setup.folder.path());
    assert!(files_below(setup.folder.path()).iter().all(|(path, _)| !path.ends_with("canary")));
    let missing = sshd.remote(Path::new("/no/such/repository"), &key);
    let error = git.ls_remote(&missing, list_limits()).await.expect_err("missing");
    assert!(matches!(error, GitError::NotFound { .. }) && !error.is_transient(), "{error:?}");
    // What the commit's id names is asked for too, and a ref that is not there is told.
    let error = mirror.fetch(&remote, &by_id(&"1".repeat(40)), limits()).await.expect_err("unknown");
    assert!(matches!(error, GitError::CommitUnavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_wrong_key_is_told_from_a_wrong_server() {
    let right = key(1);
    let Some(sshd) = Sshd::start("a_wrong_key_is_told_from_a_wrong_server", &right, "") else { return };
    let setup = setup();
    let repo = TestRepo::new();
    repo.commit("main", &Changes::new().file("a", "1"));
    let ask = async |key: &DeployKey, host_keys: HostKeys| {
        let ssh = Some(SshAccess { key: key.clone(), host_keys });
        let remote = Remote { ssh, ..remote(&sshd.url(repo.path())) };
        setup.git.ls_remote(&remote, list_limits()).await
    };
    assert!(ask(&right, sshd.pin(&sshd.host_key)).await.is_ok());

    let error = ask(&key(2), sshd.pin(&sshd.host_key)).await.expect_err("a stranger's key");
    assert!(matches!(error, GitError::Auth { .. }) && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("deploy key"), "{error}");

    // The key of another server, and of one on another port of the same host.
    let port = HostKeys::parse(&format!("127.0.0.1 {}", sshd.host_key.public_line())).expect("a line");
    for (host_keys, expected) in [(HostKeys::default(), false), (port, false), (sshd.pin(&key(3)), true)] {
        let before = sshd.log();
        let error = ask(&right, host_keys).await.expect_err("not the server that is pinned");
        let GitError::HostKey { fingerprint, changed, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*fingerprint, format!("ssh-ed25519 {}", sshd.host_key.fingerprint()));
        assert_eq!(*changed, expected);
        assert!(!error.is_transient());
        let text = error.to_string();
        assert!(text.contains(fingerprint.as_str()) && text.contains("ssh-keyscan"), "{text}");
        // Neither key was shown to it.
        assert!(!sshd.log()[before.len()..].contains("Accepted"));
    }
    let error =
        setup.git.ls_remote(&remote(&sshd.url(repo.path())), list_limits()).await.expect_err("no key");
    assert!(matches!(error, GitError::NoKey { .. }) && !error.is_transient(), "{error:?}");
    assert_no_key(setup.folder.path());
}

#[tokio::test]
async fn a_servers_words_do_not_count_for_the_state_of_the_mirror() {
    let key = key(1);
    for script in [
        "echo 'fatal: bad object refs/heads/main' >&2; exit 128",
        "echo 'fatal: write error: No space left on device' >&2; exit 128",
        // More than 1 MiB, after which ssh is stopped.
        "head -c 3000000 /dev/zero >&2; exec git-upload-pack /no/such/repository",
    ] {
        let options = format!("command=\"{script}\"");
        let Some(sshd) = Sshd::start("a_servers_words_do_not_count", &key, &options) else { return };
        let setup = setup();
        let mirror = setup.mirror().await;
        let repo = TestRepo::new();
        let id = repo.commit("main", &Changes::new().file("a", "1"));
        let remote = sshd.remote(repo.path(), &key);
        let error = mirror.fetch(&remote, &wanted("refs/heads/main", &id), limits()).await.expect_err(script);
        assert!(
            matches!(error, GitError::Unreachable { .. } | GitError::NotFound { .. }),
            "{script}: {error:?}"
        );
        assert!(!setup.mirror_dir().join("damaged").exists(), "{script}");
        assert!(error.to_string().len() < 10_000);
    }
}

#[tokio::test]
async fn ssh_gets_our_configuration_and_nothing_else() {
    let setup = setup();
    let folder = setup.folder.path();
    let (script, seen) = (folder.join("ssh"), folder.join("seen"));
    let text = format!(
        "#!/bin/sh\n{{ printf '%s\\n' \"$@\"; echo ---; env; echo ---; cat config; echo ---; cat known_hosts; \
         echo ---; stat -c %a . key; }} > '{}'\nexit 1\n",
        seen.display()
    );
    common::script(&script, &text);
    let mut options = GitOptions::new(folder.join("git"));
    options.protocols = vec![Protocol::Ssh];
    options.ssh_program = script;
    options.env = vec![
        ("SSH_AUTH_SOCK".to_owned(), "/tmp/agent".into()),
        ("SSH_ASKPASS".to_owned(), "/bin/true".into()),
        ("GIT_SSH".to_owned(), "/bin/true".into()),
    ];
    let git = Git::new(options).expect("a folder");
    let ask = async |url: &str| {
        let ssh = Some(SshAccess { key: key(1), host_keys: HostKeys::default() });
        let remote = Remote { ssh, ..remote(url) };
        git.ls_remote(&remote, list_limits()).await.expect_err("the script fails");
        fs::read_to_string(&seen).expect("the script ran")
    };
    let text = ask("ssh://me@example.org:2222/a/b%20c.git").await;
    let parts: Vec<&str> = text.split("---\n").collect();
    let [args, env, config, known_hosts, modes] = parts[..] else { panic!("{text}") };
    assert_eq!(
        args,
        "-F\nconfig\n-o\nSendEnv=GIT_PROTOCOL\n-p\n2222\nme@example.org\ngit-upload-pack '/a/b c.git'\n"
    );
    for name in ["SSH_AUTH_SOCK", "SSH_ASKPASS", "GIT_SSH=", "DISPLAY"] {
        assert!(!env.contains(name), "{env}");
    }
    for line in [
        "BatchMode yes",
        "IdentitiesOnly yes",
        "IdentityAgent none",
        "StrictHostKeyChecking yes",
        "UserKnownHostsFile known_hosts",
        "GlobalKnownHostsFile none",
        "UpdateHostKeys no",
        "ForwardAgent no",
        "ClearAllForwardings yes",
        "ControlMaster no",
        "ProxyCommand none",
        "PermitLocalCommand no",
        "ConnectTimeout 30",
    ] {
        assert!(config.contains(&format!("    {line}\n")), "{line}");
    }
    assert_eq!((known_hosts, modes), ("", "700\n600\n"));
    let text = ask("git@github.com:acme/shop.git").await;
    assert!(text.starts_with(
        "-F\nconfig\n-o\nSendEnv=GIT_PROTOCOL\ngit@github.com\ngit-upload-pack 'acme/shop.git'\n"
    ));
    assert_eq!(
        text.matches("\ngithub.com ssh-ed25519 ").count() + text.matches("github.com ecdsa").count(),
        2
    );
}

#[tokio::test]
async fn ssh_itself_understands_our_configuration() {
    if !has_ssh("ssh_itself_understands_our_configuration") {
        return;
    }
    let setup = setup();
    let folder = setup.folder.path();
    // `ssh -G` prints what a configuration comes to. Our script hands it our file.
    let (script, seen) = (folder.join("ssh"), folder.join("seen"));
    let text = format!("#!/bin/sh\nssh -G \"$@\" > '{}' 2>&1\nexit 1\n", seen.display());
    common::script(&script, &text);
    let mut options = GitOptions::new(folder.join("git"));
    options.protocols = vec![Protocol::Ssh];
    options.ssh_program = script;
    let git = Git::new(options).expect("a folder");
    let ssh = Some(SshAccess { key: key(1), host_keys: HostKeys::default() });
    let remote = Remote { ssh, ..remote("example.org:a/b") };
    git.ls_remote(&remote, list_limits()).await.expect_err("the script fails");
    let text = fs::read_to_string(&seen).expect("the script ran");
    for line in [
        "user git",
        "hostname example.org",
        "batchmode yes",
        "identitiesonly yes",
        "identityagent none",
        "identityfile key",
        "stricthostkeychecking true",
        "userknownhostsfile known_hosts",
        "globalknownhostsfile none",
        "updatehostkeys false",
        "forwardagent no",
        "controlmaster false",
        "permitlocalcommand no",
        "preferredauthentications publickey",
        "connecttimeout 30",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!text.contains("proxycommand") && !text.contains("proxyjump"), "{text}");
}

/// Arguments and environments of all processes that work below `dir`.
fn processes(dir: &Path) -> Vec<Vec<u8>> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let of = |entry: fs::DirEntry| -> Option<Vec<u8>> {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        fs::read_link(entry.path().join("cwd")).ok().filter(|cwd| cwd.starts_with(dir))?;
        let mut text = fs::read(entry.path().join("cmdline")).ok()?;
        text.extend(fs::read(entry.path().join("environ")).unwrap_or_default());
        Some(text)
    };
    all.filter_map(of).collect()
}

/// A server that accepts and says nothing.
fn silent() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, format!("ssh://git@127.0.0.1:{port}/a/b"))
}

fn key_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let files = files_below(folder).into_iter();
    files
        .filter(|(path, content)| path.ends_with("key") && !content.is_empty())
        .map(|(path, _)| path)
        .collect()
}

#[tokio::test]
async fn the_key_is_seen_by_ssh_alone_and_goes_with_it() {
    if !has_ssh("the_key_is_seen_by_ssh_alone_and_goes_with_it") {
        return;
    }
    let setup = setup();
    let (_listener, url) = silent();
    let ssh = Some(SshAccess { key: key(1), host_keys: HostKeys::default() });
    let remote = Remote { ssh, ..remote(&url) };
    let (git, secret) =
        (setup.git.clone(), key(1).to_openssh().as_ref().lines().nth(2).expect("base64").to_owned());
    assert!(secret.len() > 20);
    let call = tokio::spawn(async move { git.ls_remote(&remote, list_limits()).await });
    let dir = setup.folder.path().canonicalize().expect("a real path");
    while !processes(&dir).iter().any(|text| text.starts_with(b"ssh\0")) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let [path] = &key_files(&dir)[..] else { panic!("one key is lent") };
    assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);
    for text in processes(&dir) {
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains(&secret) && !text.contains("PRIVATE KEY"), "{text}");
    }
    call.abort();
    assert!(call.await.expect_err("aborted").is_cancelled());
    assert_no_key(&dir);
}

/// Not a test by itself: the process that the next one kills.
#[tokio::test]
#[ignore = "run by the test below"]
async fn fetch_by_ssh_as_told() {
    let Ok(told) = fs::read_to_string("told") else { return };
    let [url, mirror, git] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
    let mut options = GitOptions::new(git);
    options.protocols = vec![Protocol::Ssh];
    let git = Git::new(options).expect("a folder");
    let mirror = Mirror::open_or_create(&git, mirror).await.expect("a mirror");
    let ssh = Some(SshAccess { key: key(1), host_keys: HostKeys::default() });
    let _ = mirror.fetch(&Remote { ssh, ..remote(url) }, &by_id(&"1".repeat(40)), limits()).await;
}

#[tokio::test]
async fn after_a_kill_the_next_start_removes_the_key() {
    if !has_ssh("after_a_kill_the_next_start_removes_the_key") {
        return;
    }
    let setup = setup();
    let (listener, url) = silent();
    let dir = setup.folder.path();
    let told = format!("{url}\n{}\n{}\n", setup.mirror_dir().display(), dir.join("git").display());
    fs::write(dir.join("told"), told).expect("written");
    let mut server = Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", "fetch_by_ssh_as_told"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test starts");
    let _connection = listener.accept().expect("ssh comes");
    assert_eq!(key_files(dir).len(), 1);
    let again = || {
        let mut options = GitOptions::new(dir.join("git"));
        options.protocols = vec![Protocol::Ssh, Protocol::File];
        Git::new(options).expect("a folder")
    };
    again();
    assert_eq!(key_files(dir).len(), 1, "its process lives");
    server.kill().expect("running");
    server.wait().expect("a child");
    let git = again();
    assert_no_key(dir);
    // Its ssh is ended by whoever needs the mirror next.
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let mirror = Mirror::open_or_create(&git, setup.mirror_dir()).await.expect("a mirror");
    mirror.fetch(&remote(&repo.url()), &by_id(&id), limits()).await.expect("the mirror is free");
}

#[test]
fn a_made_key_is_one_that_ssh_keygen_reads() {
    if !has_ssh("a_made_key_is_one_that_ssh_keygen_reads") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let made = DeployKey::generate(&[7; 32], "gristmill shop").expect("a key");
    let path = folder.path().join("key");
    fs::write(&path, made.to_openssh().as_ref()).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("only ours");
    let keygen = |args: &[&str]| {
        let output = Command::new("ssh-keygen").args(args).arg(&path).output().expect("ssh-keygen starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(keygen(&["-y", "-f"]), made.public_line());
    assert_eq!(keygen(&["-l", "-f"]), format!("256 {} gristmill shop (ED25519)", made.fingerprint()));
    let read = DeployKey::from_openssh(made.to_openssh().as_ref().as_bytes()).expect("a key");
    assert_eq!(read.public_line(), made.public_line());
    assert_eq!(format!("{made:?}"), format!("DeployKey({})", made.fingerprint()));
    assert_ne!(key(1).public_line(), key(2).public_line());
    // What ssh-keygen writes is read.
    fs::remove_file(&path).expect("removed");
    keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "other", "-f"]);
    let theirs = DeployKey::from_openssh(&fs::read(&path).expect("a key")).expect("a key");
    assert!(theirs.public_line().ends_with(" other"));
}
