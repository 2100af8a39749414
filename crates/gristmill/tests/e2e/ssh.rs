//! Repositories that are reached over ssh, through a real sshd.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Project, Server, wait_for};
use gristmill_testkit::{FakeGithub, TestRepo};
use serde_json::Value;

use crate::remote::descendants;
use crate::sshd::{Sshd, has_ssh, key, write_secret};
use crate::world::{BINARY, KEY, MAIN, PROJECT, SECRET, assert_equals_git, script};

/// A repository with one commit on `main`.
pub(crate) fn repository() -> (TestRepo, String) {
    let repo = TestRepo::new();
    let commit = repo.commit("main", &Changes::new().file("a", "one"));
    (repo, commit)
}

/// The project's keys, the current one first.
pub(crate) fn keys(server: &Server, name: &str) -> Vec<Value> {
    server.cli_json(&["project", "key", name])["keys"].as_array().expect("a list").clone()
}

/// The public half of the current one.
pub(crate) fn public(server: &Server, name: &str) -> String {
    keys(server, name)[0]["public"].as_str().expect("a line").to_owned()
}

/// Waits until the key leads to the commit.
pub(crate) fn wait_for_commit(server: &Server, repo: &TestRepo, commit: &str) {
    let published = || {
        let newest = server.store().versions_of(KEY).pop()?;
        (newest.commit == commit && newest.state == "published").then_some(())
    };
    assert!(wait_for(PATIENCE, published).is_some(), "{commit}\n{}", server.log());
    server.wait_until_idle();
    assert_equals_git(repo, commit, &server.store().public(KEY).expect("published"));
}

/// Waits until the last look failed so.
pub(crate) fn wait_for_look_error(server: &Server, text: &str) -> String {
    let found = wait_for(PATIENCE, || {
        let error = server.cli_json(&["project", "show", PROJECT])["look_error"].as_str()?.to_owned();
        error.contains(text).then_some(error)
    });
    found.unwrap_or_else(|| panic!("no look failed with `{text}`:\n{}", server.log()))
}

#[test]
fn a_project_is_fetched_over_ssh_with_the_key_that_is_made_for_it() {
    let Some(sshd) = Sshd::start("a_project_is_fetched_over_ssh") else { return };
    let (repo, first) = repository();
    let mut server = Server::start_with(BINARY, [sshd.pinned_project(PROJECT, repo.path())]);
    // It is there before anything was fetched, and the error says where to look.
    let public = public(&server, PROJECT);
    assert!(public.starts_with("ssh-ed25519 AAAA") && public.ends_with(" gristmill acme/shop"), "{public}");
    let error = wait_for_look_error(&server, "gristmill project key acme/shop");
    let fingerprint = keys(&server, PROJECT)[0]["fingerprint"].as_str().expect("a text").to_owned();
    assert!(error.contains(&fingerprint), "{error}");
    let told = server.cli_text(&["project", "key", PROJECT]);
    for part in ["Settings > Deploy keys > Add deploy key", &public, &fingerprint, "unticked"] {
        assert!(told.contains(part), "{told}");
    }
    // As docs/forges/bare.md says it.
    let path = repo.path().display();
    sshd.allow(&[&format!("command=\"git-upload-pack '{path}'\",restrict {public}")]);
    wait_for_commit(&server, &repo, &first);
    let all = keys(&server, PROJECT);
    assert_eq!((all.len(), &all[0]["state"]), (1, &Value::from("current")));
    assert!(all[0]["let_in"].as_str() > all[0]["refused"].as_str(), "{all:?}");
    let doctor = server.cli_text(&["doctor"]);
    let expected = format!("has 1 branches and tags, let in by the ssh key {fingerprint}");
    assert!(doctor.contains(&expected) && doctor.contains("ok       server key"), "{doctor}");
    // The same key after a start, and for the next commit.
    server.crash_and_restart();
    let second = repo.commit("main", &Changes::new().file("a", "two"));
    wait_for_commit(&server, &repo, &second);
    assert_eq!(keys(&server, PROJECT)[0]["fingerprint"], Value::from(fingerprint));
    server.expect_leftovers();
}

#[test]
fn a_server_that_nobody_knows_is_not_talked_to() {
    let Some(sshd) = Sshd::start("a_server_that_nobody_knows_is_not_talked_to") else { return };
    let (repo, _) = repository();
    let mut server = Server::new(BINARY);
    // Its key is pinned to another port.
    let elsewhere = format!("127.0.0.1 {}", sshd.host_key.public_line());
    for project in [
        sshd.project(PROJECT, repo.path()),
        sshd.project(PROJECT, repo.path()).with(&format!("host_keys = [\"{elsewhere}\"]")),
    ] {
        server.set_projects([project]);
        for command in [&["config", "validate"][..], &["serve"]] {
            let refused = server.cli(command);
            let error = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(2), "{error}");
            assert!(error.contains(&format!("ssh-keyscan -p {} 127.0.0.1", sshd.port)), "{error}");
        }
    }
    // Another key is pinned: the server changed it, or is another one.
    let pinned = format!("host_keys = [\"{}\"]", sshd.known_host(&key(3)));
    server.set_projects([sshd.project(PROJECT, repo.path()).with(&pinned)]);
    server.start();
    sshd.allow(&[&public(&server, PROJECT)]);
    let error = wait_for_look_error(&server, "another one is pinned");
    assert!(error.contains(&sshd.host_key.fingerprint()) && error.contains("ssh-keyscan"), "{error}");
    assert!(!sshd.log().contains("Accepted"), "no key was shown to it");
    // What it was asked for is not taken for a refusal of the key.
    assert_eq!(keys(&server, PROJECT)[0]["refused"], Value::Null);
    server.expect_leftovers();
}

#[test]
fn a_host_key_may_stand_in_a_file_which_is_followed() {
    let Some(sshd) = Sshd::start("a_host_key_may_stand_in_a_file_which_is_followed") else { return };
    let (repo, first) = repository();
    let mut server = Server::new(BINARY);
    let file = server.folder().join("known_hosts");
    std::fs::write(&file, sshd.known_host(&key(3))).expect("written");
    let project = sshd.project(PROJECT, repo.path()).with("host_keys = { file = \"known_hosts\" }");
    server.set_projects([project]);
    server.start();
    sshd.allow(&[&public(&server, PROJECT)]);
    wait_for_look_error(&server, "another one is pinned");
    std::fs::write(&file, format!("# by hand\n{}\n", sshd.known_host(&sshd.host_key))).expect("written");
    wait_for_commit(&server, &repo, &first);
    server.expect_leftovers();
}

#[test]
fn a_configured_key_is_used_and_none_is_made() {
    let Some(sshd) = Sshd::start("a_configured_key_is_used_and_none_is_made") else { return };
    let (repo, first) = repository();
    let mut server = Server::new(BINARY);
    let path = server.folder().join("machine-user");
    let project = sshd.pinned_project(PROJECT, repo.path()).with("ssh_key = { file = \"machine-user\" }");
    server.set_projects([project]);
    for (content, why) in
        [("rubbish", "not a private key"), (key(7).public_line().as_str(), "the private one is needed")]
    {
        write_secret(&path, content);
        let refused = server.cli(&["config", "validate"]);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && error.contains(why), "{error}");
    }
    write_secret(&path, key(7).to_openssh().as_ref());
    sshd.allow(&[&key(7).public_line()]);
    server.start();
    wait_for_commit(&server, &repo, &first);
    assert_eq!(server.store().number("SELECT count(*) FROM deploy_key"), 0);
    let shown = keys(&server, PROJECT);
    assert_eq!(
        (&shown[0]["state"], &shown[0]["public"]),
        (&"configured".into(), &key(7).public_line().into())
    );
    let refused = server.cli(&["project", "rotate-key", PROJECT]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("uses the configured key"));
    assert!(server.cli_text(&["doctor"]).contains(&key(7).fingerprint()));
    server.expect_leftovers();
}

/// What must be found nowhere: the private key as text, as the lines of its file, and its 32 bytes in some forms.
struct Canary(Vec<Vec<u8>>);

impl Canary {
    fn new(pem: &str, public_line: &str) -> Canary {
        let body: Vec<&str> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let decoded = STANDARD.decode(body.concat()).expect("base64");
        let public = public_line.split(' ').nth(1).expect("a key");
        let public = STANDARD.decode(public).expect("base64").split_off(19);
        assert_eq!(public.len(), 32);
        // The private half is stored as 64 bytes, the second 32 of which are the public half.
        let at = (0..decoded.len() - 31).rev().find(|at| decoded[*at..*at + 32] == public).expect("found");
        let seed = &decoded[at - 32..at];
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut forms = vec![b"OPENSSH PRIVATE KEY".to_vec(), seed.to_vec(), hex.into_bytes()];
        forms.push(STANDARD.encode(seed).trim_end_matches('=').as_bytes().to_vec());
        // The first two lines hold nothing but the kind and the public half.
        forms.extend(body.iter().skip(2).filter(|line| line.len() > 30).map(|line| line.as_bytes().to_vec()));
        assert!(forms.len() >= 6, "{}", forms.len());
        Canary(forms)
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
    }

    /// Fails where it is in a file below the folder; how many were read.
    fn search(&self, folder: &Path) -> usize {
        let mut read = 0;
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                read += self.search(&path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                assert!(!self.is_in(&bytes), "{}", path.display());
                read += 1;
            }
        }
        read
    }
}

/// The files that are lent to ssh.
fn lent(data: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(data.join("git")).into_iter().flatten().flatten();
    folders.map(|folder| folder.path().join("key")).filter(|key| key.exists()).collect()
}

#[test]
fn a_private_key_is_seen_by_ssh_alone_and_lies_sealed_on_the_disk() {
    if !has_ssh("a_private_key_is_seen_by_ssh_alone_and_lies_sealed_on_the_disk") {
        return;
    }
    // It accepts, and says nothing: ssh waits with the key in its hands.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let pin = format!("host_keys = [\"[127.0.0.1]:{port} {}\"]", key(3).public_line());
    let url = format!("ssh://git@127.0.0.1:{port}/acme/shop.git");
    let mut server = Server::new(BINARY);
    server.set_env("GRISTMILL_LOG", "trace");
    server.set_projects([Project::new(PROJECT, &url, "").without_secret().poll("1s").with(&pin)]);
    server.start();
    let public = public(&server, PROJECT);
    let read =
        || std::fs::read_to_string(lent(server.data()).pop()?).ok().filter(|text| text.ends_with("-----\n"));
    let pem = wait_for(PATIENCE, read).unwrap_or_else(|| panic!("no key is lent:\n{}", server.log()));
    let canary = Canary::new(&pem, &public);
    assert!(canary.is_in(pem.as_bytes()), "it would be found");
    let is_ssh = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| text.starts_with(b"ssh\0"))
    };
    let family =
        wait_for(PATIENCE, || Some(descendants(server.pid())).filter(|pids| pids.iter().any(is_ssh)));
    let mut seen = 0;
    for pid in family.expect("ssh is seen while it runs").into_iter().chain([server.pid()]) {
        for name in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            assert!(!canary.is_in(&text), "{}", String::from_utf8_lossy(&text));
            seen += usize::from(!text.is_empty());
        }
    }
    assert!(seen > 4, "{seen} texts of processes");
    // A rotation beside the server, whatever it prints.
    let mut told = server.cli(&["project", "rotate-key", PROJECT]).stdout;
    for args in [
        &["project", "key", PROJECT][..],
        &["project", "key", PROJECT, "--json"],
        &["project", "show", PROJECT, "--json"],
        &["config", "validate"],
    ] {
        told.extend(server.cli(args).stdout);
    }
    told.extend(server.log().into_bytes());
    assert!(!canary.is_in(&told), "in the log or in an answer");
    drop(listener);
    server.expect_leftovers();
    server.stop();
    assert_eq!(lent(server.data()), [] as [PathBuf; 0]);
    let dump = server.store().query("SELECT hex(sealed) || public_line FROM deploy_key").join("\n");
    assert!(dump.contains("ssh-ed25519") && !canary.is_in(dump.to_lowercase().as_bytes()), "{dump}");
    assert!(canary.search(server.folder()) > 5, "the database, its log and all else was searched");
}

#[test]
fn project_add_shows_the_key_with_and_without_a_server() {
    let mut server = Server::new(BINARY);
    server.set_projects([]);
    let add = |server: &Server, name: &str| {
        let git = format!("git@github.com:{name}.git");
        server.cli_text(&["project", "add", name, "--git", &git, "--branch", "main"])
    };
    let told = add(&server, "acme/one");
    let first = public(&server, "acme/one");
    assert!(told.contains(&first) && told.contains("Deploy keys"), "{told}");
    // Nobody is asked from here: the server finds another program of that name.
    let tools = tempfile::tempdir().expect("a folder");
    script(&tools.path().join("ssh"), "#!/bin/sh\nexit 255\n");
    server.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin", tools.path().display()));
    server.start();
    let told = add(&server, "acme/two");
    assert!(told.contains(&public(&server, "acme/two")), "{told}");
    assert_ne!(public(&server, "acme/two"), first);
    let https =
        server.cli_text(&["project", "add", "acme/three", "--git", "https://127.0.0.1:1/acme/three.git"]);
    assert!(!https.contains("ssh-ed25519"), "{https}");
    server.expect_leftovers();
}

#[test]
fn each_project_of_a_pattern_has_a_key_of_its_own() {
    let Some(sshd) = Sshd::start("each_project_of_a_pattern_has_a_key_of_its_own") else { return };
    let github = FakeGithub::start();
    let repositories = tempfile::tempdir().expect("a folder");
    let url = sshd.url(&repositories.path().join("{repo}.git"));
    let pin = format!("host_keys = [\"{}\"]", sshd.known_host(&sshd.host_key));
    let pattern = Project::new("acme/*", &url, SECRET).poll("1s").with("repository = \"acme/*\"").with(&pin);
    let mut server = Server::start_with(BINARY, [pattern]);
    let mut commits = Vec::new();
    for name in ["shop", "tool"] {
        let repo = github.create(&format!("acme/{name}"), SECRET);
        let link = repositories.path().join(format!("{name}.git"));
        std::os::unix::fs::symlink(repo.path(), link).expect("made");
        let commit = repo.commit_unreferenced(&[], &Changes::new().file("name", name));
        let deliveries = github.push(&format!("acme/{name}"), MAIN, Some(&commit));
        server.accept("acme/*", &deliveries[..1]);
        commits.push((format!("acme/{name}"), commit));
    }
    let publics: Vec<String> = commits
        .iter()
        .map(|(name, _)| {
            let made = || server.cli(&["project", "key", name]).status.success().then_some(());
            assert!(wait_for(PATIENCE, made).is_some(), "{name}:\n{}", server.log());
            public(&server, name)
        })
        .collect();
    assert!(publics[0].ends_with(" gristmill acme/shop") && publics[1].ends_with(" gristmill acme/tool"));
    sshd.allow(&[&publics[0], &publics[1]]);
    for (name, commit) in commits {
        let key = format!("{name}/main/{}.zip", name.replace('/', "_"));
        let published = || server.store().versions_of(&key).pop().filter(|newest| newest.commit == commit);
        assert!(wait_for(PATIENCE, published).is_some(), "{name}:\n{}", server.log());
    }
    // The keys stay what they are.
    server.crash_and_restart();
    assert_eq!(public(&server, "acme/shop"), publics[0]);
    server.expect_leftovers();
}
