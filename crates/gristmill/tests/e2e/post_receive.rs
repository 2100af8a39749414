//! A bare repository on this machine, whose hook tells of pushes by `gristmill webhook send`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use gristmill_forge::{Check, Forge, Headers, Outcome, Secret};
use gristmill_model::Clock as _;
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{Project, Server};

use crate::world::{BINARY, KEY, MAIN, PROJECT, SECRET, assert_equals_git};

/// A repository whose hook posts to `url`, and a server with its project.
fn prepare(shape: impl FnOnce(Project) -> Project) -> (TestRepo, Server) {
    let repo = TestRepo::new();
    let mut server = Server::new(BINARY);
    let project = Project::new(PROJECT, &repo.url(), SECRET).with("forge = \"bare\"");
    server.set_projects([shape(project)]);
    (repo, server)
}

fn set_hook(repo: &TestRepo, url: &str, secret: &str) {
    let secret_file = repo.path().join("secret");
    std::fs::write(&secret_file, format!("{secret}\n")).expect("written");
    let hook = repo.path().join("hooks/post-receive");
    std::fs::create_dir_all(hook.parent().expect("a folder")).expect("made");
    let script = format!(
        "#!/bin/sh\nexec '{BINARY}' webhook send --url '{url}' --secret-file '{}'\n",
        secret_file.display()
    );
    std::fs::write(&hook, script).expect("written");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Pushes refs from one repository to another, as a person would.
fn push(from: &TestRepo, to: &TestRepo, refs: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(from.path()).args(["push", "--force", &to.url()]).args(refs);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().expect("git");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_push_to_a_bare_repository_is_told_by_its_hook() {
    let (repo, mut server) = prepare(|project| project.pipeline("branches = [\"main\"]\ntags = [\"v*\"]"));
    server.start();
    set_hook(&repo, &server.url("/hooks/acme/shop"), SECRET);
    let work = TestRepo::new();
    let commit = work.commit("main", &Changes::new().file("a", "1"));
    work.tag("v1", &commit);
    let said = push(&work, &repo, &[MAIN, "refs/tags/v1"]);
    assert!(said.contains("remote: delivery 01"), "{said}");
    server.wait_until_idle();
    for key in [KEY, "acme/shop/tags/v1/acme_shop.zip"] {
        let bytes = server.store().public(key).unwrap_or_else(|| panic!("{key}\n{}", server.log()));
        assert_equals_git(&repo, &commit, &bytes);
    }
    assert_eq!(server.store().number("SELECT count(*) FROM delivery"), 1, "one call for both refs");
    let said = push(&work, &repo, &[":refs/tags/v1"]);
    assert!(said.contains("remote: delivery 01"), "{said}");
    server.wait_until_idle();
    assert_eq!(server.store().number("SELECT count(*) FROM run"), 2, "mistake 5: a delete builds nothing");
}

#[test]
fn a_hook_with_another_secret_is_refused_and_the_push_stands() {
    let (repo, mut server) = prepare(|project| project);
    server.start();
    set_hook(&repo, &server.url("/hooks/acme/shop"), "another secret");
    let work = TestRepo::new();
    let commit = work.commit("main", &Changes::new().file("a", "1"));
    let said = push(&work, &repo, &[MAIN]);
    assert!(said.contains("the server answered 401") && said.contains("the next look finds it"), "{said}");
    assert!(!said.contains("trying again"), "{said}");
    assert_eq!(repo.resolve(MAIN), Some(commit));
    assert_eq!(server.store().number("SELECT count(*) FROM delivery"), 0);
}

/// Calls the program as the hook does.
fn send(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["webhook", "send"]).args(args).env("GRISTMILL_HOOK_SECRET", SECRET);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("its output")
}

/// Answers one request; what was asked: the headers and the body.
fn answer(listener: &TcpListener, status: &str) -> (Vec<(String, String)>, Vec<u8>) {
    let (stream, _) = listener.accept().expect("a connection");
    let mut reader = BufReader::new(stream);
    let mut headers = Vec::new();
    let mut line = String::new();
    reader.read_line(&mut line).expect("a request");
    assert_eq!(line, "POST /hooks/acme/shop HTTP/1.1\r\n");
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.expect("a length").1.parse().expect("a number")];
    reader.read_exact(&mut body).expect("a body");
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    reader.get_mut().write_all(text.as_bytes()).expect("sent");
    (headers, body)
}

#[test]
fn rule_6_what_is_sent_again_is_the_same_delivery() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hooks/acme/shop", listener.local_addr().expect("its address"));
    let line = format!("{} {} {MAIN}\n", "0".repeat(40), "b".repeat(40));
    let sender = std::thread::spawn(move || send(&["--url", &url, "--patience", "60"], &line));
    // Asked to come again at once, it does not spin.
    let first = answer(&listener, "503 Service Unavailable\r\nRetry-After: 0");
    let second = answer(&listener, "502 Bad Gateway");
    let third = answer(&listener, "202 Accepted");
    let output = sender.join().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    for (headers, body) in [&first, &second, &third] {
        let headers = Headers::new(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        let secrets = [Secret::new(SECRET).expect("a secret")];
        let check = Check::new(Forge::Bare, &secrets, gristmill::clock::SystemClock.now());
        let Outcome::Delivery(verified) = check.verify(&headers, body.clone().into()).expect("signed") else {
            panic!("a probe");
        };
        let id = first.0.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-gristmill-delivery"));
        assert_eq!(verified.delivery_id(), id.expect("an id").1);
        assert_eq!(body, &first.1);
    }
}

#[test]
fn what_cannot_be_sent_is_said() {
    let good = format!("{} {} {MAIN}\n", "0".repeat(40), "b".repeat(40));
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let nobody = format!("http://{closed}/hooks/acme/shop");
    for (args, input, expected) in [
        (&["--url", "http://127.0.0.1:1/hooks/acme/shop"][..], "", "standard input has no line"),
        (&["--url", "http://127.0.0.1:1/hooks/acme/shop"], "a b\n", "line 1 of standard input is malformed"),
        (&["--url", "http://127.0.0.1:1/elsewhere"], &good, "--url has no project behind /hooks/"),
        (&["--url", "ftp://127.0.0.1/hooks/a"], &good, "--url"),
        (&["--url", "http://127.0.0.1:1/hooks/a b"], &good, "--url"),
        (&["--url", &nobody, "--patience", "0"], &good, "the push is not told; the next look finds it"),
        (&["--url", &nobody, "--secret-file", "/nowhere/secret"], &good, "/nowhere/secret cannot be opened"),
    ] {
        let output = send(args, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{args:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}
