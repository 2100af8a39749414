//! What lets us in by http: a program that knows the token, and a proxy on the way.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::sshd::odd_folder;
use common::{Setup, files_below, limits, list_limits, remote, script, wanted};
use gristmill_git::{CredentialHelper, GitError, Proxy, Remote};
use gristmill_testkit::FakeGithub;
use gristmill_testkit::repo::Changes;

const TOKEN: &str = "ghp_Canary/7+token";
const PASSWORD: &str = "pr0xy/Canary";

/// A helper in a folder of an odd name, with odd arguments. It notes what it is asked in `asked`.
fn helper(folder: &Path, token: &str) -> CredentialHelper {
    let folder = odd_folder(folder);
    let program = script(
        &folder.join("helper"),
        "#!/bin/sh\n{ printf '%s|' \"$@\"; echo; env | sort; cat; echo ---; } >> \"$ASKED\"\n\
         [ \"$3\" = get ] && printf 'username=me\\npassword=%s\\n' \"$TOKEN\"\nexit 0\n",
    );
    let command = vec![program.into(), "a b".into(), "$(touch canary);".into()];
    let env = vec![("ASKED".into(), folder.join("asked").into()), ("TOKEN".into(), token.into())];
    CredentialHelper::new(command, env).expect("a helper")
}

fn asked(folder: &Path) -> String {
    fs::read_to_string(odd_folder(folder).join("asked")).expect("it was asked")
}

#[tokio::test]
async fn a_helper_is_asked_without_a_shell_and_told_of_a_refusal() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    forge.require_token(Some(TOKEN));
    let (setup, tools) = (Setup::new(), tempfile::tempdir().expect("a folder"));
    let plain = remote(&forge.clone_url("acme/shop"));
    let with = |token: &str| Remote { helper: Some(helper(tools.path(), token)), ..plain.clone() };
    let mirror = setup.mirror().await;
    mirror.fetch(&with(TOKEN), &wanted("refs/heads/main", &id), limits()).await.expect("let in");
    let text = asked(tools.path());
    let host = forge.address();
    assert!(text.starts_with("a b|$(touch canary);|get|\n"), "{text}");
    assert!(text.contains(&format!("protocol=http\nhost={host}\npath=acme/shop")), "{text}");
    for name in ["GIT_", "LD_", "CARGO"] {
        assert!(!text.lines().any(|line| line.starts_with(name)), "{text}");
    }
    assert!(!text.contains("erase"));

    let remote = with("wrong-Canary");
    let error = setup.git.ls_remote(&remote, list_limits()).await.expect_err("refused");
    assert!(matches!(error, GitError::Auth { .. }), "{error:?}");
    assert!(!format!("{error} {error:?} {remote:?}").contains("Canary"), "{error:?} {remote:?}");
    let text = asked(tools.path());
    assert!(text.contains("a b|$(touch canary);|erase|\n"), "{text}");
    assert!(text.contains("username=me\npassword=wrong-Canary\n"), "{text}");
    for folder in [setup.folder.path(), tools.path()] {
        assert!(files_below(folder).iter().all(|(path, _)| !path.ends_with("canary")));
    }
    for (path, content) in files_below(setup.folder.path()) {
        assert!(!String::from_utf8_lossy(&content).contains(TOKEN), "left behind in {path:?}");
    }
}

#[tokio::test]
async fn a_helper_that_fails_says_why_but_not_what_it_wrote() {
    let (setup, tools) = (Setup::new(), tempfile::tempdir().expect("a folder"));
    for (text, why) in [
        ("#!/bin/sh\necho secret-Canary >&2; exit 3\n", "ended with"),
        ("#!/bin/sh\necho password=secret-Canary\n", "no username"),
        ("#!/bin/sh\nexit 0\n", "no username"),
        ("#!/bin/sh\nhead -c 100000 /dev/zero\n", "64 KiB"),
        ("no program", "cannot be started"),
    ] {
        let program = script(&tools.path().join("helper"), text);
        let helper = CredentialHelper::new(vec![program.into()], Vec::new()).expect("a helper");
        let remote = Remote { helper: Some(helper), ..remote("http://127.0.0.1:1/a/b") };
        let error = setup.git.ls_remote(&remote, list_limits()).await.expect_err(why);
        assert!(matches!(error, GitError::Helper { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(why) && !text.contains("Canary"), "{text}");
    }
    let many = vec!["x".to_owned(); 65];
    for command in [
        &[][..],
        &["".to_owned()],
        &["-x".to_owned()],
        &["./helper".to_owned()],
        &["../helper".to_owned()],
        &["bin/helper".to_owned()],
        &["/bin/a\0b".to_owned()],
        &["/bin/a".to_owned(), "b\0c".to_owned()],
        &many,
    ] {
        let command = command.iter().map(Into::into).collect();
        assert!(CredentialHelper::new(command, Vec::new()).is_none());
    }
    for env in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
        let env = vec![(env.0.into(), env.1.into())];
        assert!(CredentialHelper::new(vec!["helper".into()], env).is_none());
    }
}

/// A proxy that wants `me` and the password. It notes first lines of requests.
fn proxy_server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is no fault of the proxy.
            let _ = relay(stream, &notes);
        }
    });
    (address, seen)
}

/// Hands one request on, where it has base64 of `me:pr0xy/Canary`.
fn relay(mut client: TcpStream, notes: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut first, mut head, mut allowed) = (String::new(), String::new(), false);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        allowed |= line.trim_end().eq_ignore_ascii_case("Proxy-Authorization: Basic bWU6cHIweHkvQ2FuYXJ5");
        if !line.to_ascii_lowercase().starts_with("proxy-")
            && !line.to_ascii_lowercase().starts_with("connection")
        {
            head.push_str(&line);
        }
    }
    notes.lock().expect("not poisoned").push(first.trim_end().to_owned());
    if !allowed {
        return client.write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"p\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let rest = first.split_once("http://").map(|(_, rest)| rest).unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or_default();
    let method = first.split(' ').next().unwrap_or_default();
    let mut server = TcpStream::connect(host)?;
    write!(server, "{method} /{}\r\n{head}Connection: close\r\n\r\n", path.trim_end())?;
    let mut back = (server.try_clone()?, client.try_clone()?);
    let answer = std::thread::spawn(move || {
        let _ = std::io::copy(&mut back.0, &mut back.1);
        let _ = back.1.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut reader, &mut server);
    let _ = answer.join();
    Ok(())
}

#[tokio::test]
async fn a_proxy_is_used_and_its_password_is_seen_by_nobody() {
    let forge = FakeGithub::start();
    let id = forge.create("acme/shop", "secret").commit("main", &Changes::new().file("a", "1"));
    let remote = remote(&forge.clone_url("acme/shop"));
    let (address, seen) = proxy_server();
    let count = || seen.lock().expect("not poisoned").len();
    let proxy = |password: &str| -> Proxy {
        format!("http://me:{}@{address}", password.replace('/', "%2F")).parse().expect("a proxy")
    };
    let setup = Setup::with(|options| options.proxy = Some(proxy(PASSWORD)));
    let mirror = setup.mirror().await;
    mirror.fetch(&remote, &wanted("refs/heads/main", &id), limits()).await.expect("through the proxy");
    assert!(count() > 0);
    let line = seen.lock().expect("not poisoned")[0].clone();
    assert!(line.starts_with(&format!("GET http://{}/acme/shop", forge.address())), "{line}");

    let refused = Setup::with(|options| options.proxy = Some(proxy("wrong/Canary")));
    let error = refused.git.ls_remote(&remote, list_limits()).await.expect_err("refused");
    assert!(matches!(error, GitError::Proxy { .. }) && !error.is_transient(), "{error:?}");
    assert!(!format!("{error:?} {:?}", refused.git).contains("Canary"), "{error:?} {:?}", refused.git);

    let before = count();
    let direct = Setup::with(|options| {
        options.proxy = Some(proxy("wrong").without("example.org,127.0.0.1").expect("a list"));
        // What the environment says does not count beside it.
        options.env = vec![("http_proxy".to_owned(), "http://127.0.0.1:1".into())];
    });
    direct.git.ls_remote(&remote, list_limits()).await.expect("without the proxy");
    assert_eq!(count(), before);
    for folder in [&setup, &refused, &direct] {
        for (path, content) in files_below(folder.folder.path()) {
            assert!(!String::from_utf8_lossy(&content).contains("Canary"), "left behind in {path:?}");
        }
    }
}

#[tokio::test]
async fn a_proxys_password_is_neither_in_arguments_nor_in_the_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let seen = folder.path().join("seen");
    let text = format!(
        "#!/bin/sh\n{{ env; printf '%s\\n' \"$@\"; }} > '{0}'\ncat \"$GIT_CONFIG_GLOBAL\" > '{0}.config'\n\
         echo \"fatal: http://me:pr0xy%2FCanary@proxy and http://x:envCanary@other\" >&2\nexit 1\n",
        seen.display()
    );
    let git = script(&folder.path().join("git"), &text);
    let setup = Setup::with(|options| {
        options.program = git;
        options.proxy = Some("socks5h://me:pr0xy%2FCanary@proxy.example.org:1080".parse().expect("a proxy"));
        options.env = vec![("https_proxy".to_owned(), "http://x:envCanary@other.example.org".into())];
    });
    let error =
        setup.git.ls_remote(&remote("https://x.org/a"), list_limits()).await.expect_err("the script fails");
    assert!(!format!("{error} {error:?}").contains("Canary"), "{error:?}");
    let text = fs::read_to_string(&seen).expect("the script ran");
    assert!(!text.contains("Canary") && !text.contains("https_proxy"), "{text}");
    let config = fs::read_to_string(folder.path().join("seen.config")).expect("a file of ours");
    assert_eq!(config, "[http]\n\tproxy = \"socks5h://me:pr0xy%2FCanary@proxy.example.org:1080\"\n");
}
