//! What lets git in by http: a program that knows the token, and a proxy on the way.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use gristmill_testkit::server::{PATIENCE, Server, wait_for};

use crate::sshd::write_secret;
use crate::world::{KEY, MAIN, PROJECT, World, project, script};

const TOKEN: &str = "ghp_Canary+Helper/7";
const PASSWORD: &str = "pr0xy-Canary";

#[test]
fn a_credential_helper_knows_the_token() {
    let mut world = World::prepare(|project| project);
    let folder = world.server.folder().to_owned();
    let path = folder.join("helper");
    script(
        &path,
        &format!(
            "#!/bin/sh\n{{ printf '%s|' \"$@\"; echo; env; cat; }} >> '{0}/asked'\n\
             [ \"$3\" = get ] && printf 'username=me\\npassword={TOKEN}\\n'\nexit 0\n",
            folder.display()
        ),
    );
    let line = format!("credential_helper = [\"{}\", \"a b\", \"$(touch canary);\"]", path.display());
    world.server.set_projects([project(&world.github, PROJECT).with(&line)]);
    world.server.set_env("ANOTHER_SECRET", "hunter2-Canary");
    world.server.set_env("AWS_PROFILE", "mill");
    world.github.require_token(Some(TOKEN));
    world.server.start();
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    world.assert_public(KEY, &commit);
    let asked = std::fs::read_to_string(folder.join("asked")).expect("it was asked");
    assert!(asked.starts_with("a b|$(touch canary);|get|\n"), "{asked}");
    assert!(asked.contains("\nAWS_PROFILE=mill\n") && asked.contains("\nHOME="), "{asked}");
    assert!(!asked.contains("hunter2"), "{asked}");
    assert!(!folder.join("canary").exists() && !world.server.log().contains(TOKEN));
}

/// A proxy that wants `me` and the password. It notes the first lines of requests that it handed on.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let notes = Arc::clone(&notes);
            // A client that goes away is no fault of the proxy.
            std::thread::spawn(move || drop(relay(stream, &notes)));
        }
    });
    (address, seen)
}

/// Hands one request on, where it has base64 of `me:pr0xy-Canary`.
fn relay(mut client: TcpStream, notes: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut first, mut head, mut length, mut allowed) = (String::new(), String::new(), 0, false);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a number");
        }
        if lower.starts_with("proxy-") {
            allowed |= line.trim_end() == "Proxy-Authorization: Basic bWU6cHIweHktQ2FuYXJ5";
        } else if !lower.starts_with("connection:") {
            head += &line;
        }
    }
    if !allowed {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(refusal.as_bytes());
    }
    notes.lock().expect("no panic").push(first.trim_end().to_owned());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split(' ');
    let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap_or_default();
    let mut server = TcpStream::connect(host)?;
    write!(server, "{method} /{path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    std::io::copy(&mut server, &mut client).map(drop)
}

#[test]
fn git_goes_through_the_configured_proxy() {
    let mut world = World::prepare(|project| project);
    let (address, seen) = proxy();
    write_secret(&world.server.folder().join("proxy"), &format!("http://me:{PASSWORD}@{address}\n"));
    let network = |rest: &str| format!("[network]\nproxy = {{ file = \"proxy\" }}\n{rest}");
    world.server.set_settings(&network(""));
    // What the environment says does not count beside it.
    world.server.set_env("http_proxy", "http://127.0.0.1:1");
    world.server.start();
    let first = world.text(None, "one");
    world.push_and_wait(MAIN, &first);
    world.assert_public(KEY, &first);
    let count = || seen.lock().expect("no panic").len();
    assert!(count() >= 2, "a look and a fetch");
    assert!(seen.lock().expect("no panic")[0].contains("/acme/shop"), "{seen:?}");
    assert!(!world.server.log().contains(PASSWORD));
    // What `no_proxy` names is reached directly; it counts from the next start on.
    world.server.stop();
    world.server.set_settings(&network("no_proxy = [\"127.0.0.0/8\", \"127.0.0.1\"]\n"));
    world.server.start();
    let before = count();
    let second = world.text(Some(&first), "two");
    world.push_and_wait(MAIN, &second);
    world.assert_public(KEY, &second);
    assert_eq!(count(), before);
}

#[test]
fn without_a_configured_proxy_the_environment_counts() {
    let mut world = World::prepare(|project| project);
    let (address, seen) = proxy();
    world.server.set_env("http_proxy", &format!("http://me:{PASSWORD}@{address}"));
    world.server.start();
    let first = world.text(None, "one");
    world.push_and_wait(MAIN, &first);
    assert!(seen.lock().expect("no panic").len() >= 2);
}

#[test]
fn a_proxy_that_lets_nobody_through_is_told_without_its_password() {
    let mut world = World::prepare(|project| project);
    let (address, _) = proxy();
    let config = |value: &str| format!("[network]\nproxy = {value}\n");
    let refusal =
        |server: &Server| String::from_utf8_lossy(&server.cli(&["config", "validate"]).stderr).into_owned();
    world.server.set_settings(&config(&format!("\"http://me:{PASSWORD}@{address}\"")));
    let told = refusal(&world.server);
    assert!(told.contains("`proxy` has a user or a password in it") && !told.contains(PASSWORD), "{told}");
    write_secret(&world.server.folder().join("proxy"), &format!("gopher://me:{PASSWORD}@{address}"));
    world.server.set_settings(&config("{ file = \"proxy\" }"));
    let told = refusal(&world.server);
    assert!(told.contains("the proxy is not written as") && !told.contains(PASSWORD), "{told}");
    world.server.set_settings(&config(&format!("\"http://{address}\"")));
    world.server.start();
    let first = world.text(None, "one");
    world.push(MAIN, &first);
    let refused = || world.server.log().contains("the proxy did not let us through").then_some(());
    assert!(wait_for(PATIENCE, refused).is_some(), "{}", world.server.log());
    world.server.expect_leftovers();
}
