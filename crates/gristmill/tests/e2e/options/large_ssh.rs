//! `lfs` over ssh: the server says where large files are, and is believed as far as it is the operator's.

use std::path::Path;

use gristmill_archive::Format;
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Server, sha256, wait_for};
use gristmill_testkit::wire::{self, Wire};
use serde_json::{Value, json};

use super::large::pointer;
use super::members;
use crate::ssh::public;
use crate::sshd::Sshd;
use crate::world::{BINARY, KEY, PROJECT, list};

const CONTENT: &[u8] = b"a large file over ssh";
/// What lets us in, by the word of the ssh server.
const PASS: &str = "RemoteAuth ssh-Canary";

/// The batch interface and what it names (docs/api/batch.md of git-lfs), for those who have the pass. Downloads are
/// said to lie on `elsewhere`.
fn store(elsewhere: Option<String>) -> Wire {
    Wire::start_tls(move |head, body| {
        let ours =
            head.lines().any(|line| line.to_ascii_lowercase().starts_with("authorization: remoteauth "));
        if !ours {
            return wire::answer("401 Unauthorized", &[], b"");
        }
        if head.starts_with("GET /large ") {
            return wire::answer("200 OK", &[], CONTENT);
        }
        let here =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
        let server = elsewhere.clone().unwrap_or_else(|| format!("https://{}", here.expect("a host")));
        let mut asked: Value = serde_json::from_slice(body).expect("JSON");
        for object in asked["objects"].as_array_mut().expect("objects") {
            object["actions"] = json!({ "download": { "href": format!("{server}/large") } });
        }
        wire::answer("200 OK", &[], asked.to_string().as_bytes())
    })
}

/// Lets the project in, to git and to what `answer` says of large files (docs/api/server-discovery.md of git-lfs).
fn let_in(server: &Server, sshd: &Sshd, repo: &Path, answer: &Value) {
    let (said, script) = (server.folder().join("answer"), server.folder().join("let-in.sh"));
    std::fs::write(&said, answer.to_string()).expect("written");
    let text = format!(
        "case $SSH_ORIGINAL_COMMAND in\n'git-lfs-authenticate {0} download') cat {1} ;;\n*) exec git-upload-pack '{0}' ;;\nesac\n",
        repo.display(),
        said.display()
    );
    std::fs::write(&script, text).expect("written");
    let line = format!("command=\"sh {}\",restrict {}", script.display(), public(server, PROJECT));
    sshd.allow(&[&line]);
}

/// The run of a commit, once it has ended.
fn ended(server: &Server, commit: &str) -> Value {
    let run = wait_for(PATIENCE, || {
        let runs = list(server, &["run", "list"]);
        let is_it = |run: &&Value| {
            run["commit"] == commit && (run["state"] == "succeeded" || run["state"] == "failed")
        };
        runs.iter().find(is_it).cloned()
    });
    run.unwrap_or_else(|| panic!("the run of {commit} does not end:\n{}", server.log()))
}

#[test]
fn over_ssh_large_files_come_from_the_servers_own_host_and_from_no_private_address_else() {
    let Some(sshd) = Sshd::start("over_ssh_large_files_come_from_the_servers_own_host") else { return };
    let repo = TestRepo::new();
    let mut server = Server::new(BINARY);
    let roots = server.folder().join("roots.pem");
    std::fs::write(&roots, wire::ROOT).expect("written");
    server.set_env("SSL_CERT_FILE", roots.to_str().expect("a path"));
    server.set_projects([sshd.pinned_project(PROJECT, repo.path()).pipeline("lfs = true")]);
    server.start();
    let answer =
        |href: String| json!({ "href": href, "header": { "Authorization": PASS }, "expires_in": 600 });
    // By a name of this machine, which is another host than the ssh server's.
    let (other, own) = (store(None), store(None));
    let elsewhere = format!("https://localhost:{}", other.address().port());
    let leading = store(Some(elsewhere.clone()));
    let cleartext = Wire::start(|_, _| wire::answer("200 OK", &[], b"{}"));
    let answers = [
        (format!("{elsewhere}/info/lfs"), Some("localhost is not connected to")),
        (format!("https://{}/info/lfs", leading.address()), Some("localhost is not connected to")),
        (format!("http://{}/info/lfs", cleartext.address()), Some("leads from ssh to http")),
        (format!("https://{}/acme/shop.git/info/lfs", own.address()), None),
    ];
    for (number, (href, refused)) in answers.into_iter().enumerate() {
        let_in(&server, &sshd, repo.path(), &answer(href));
        let commit = repo
            .commit("main", &Changes::new().file("a.bin", pointer(CONTENT)).file("n", number.to_string()));
        let run = ended(&server, &commit);
        let reason = run["reason"].as_str().unwrap_or_default();
        match refused {
            Some(why) => assert!(run["state"] == "failed" && reason.contains(why), "{run:#}"),
            None => assert_eq!(run["state"], "succeeded", "{run:#}\n{}", server.log()),
        }
        assert!(!run.to_string().contains("ssh-Canary"));
    }
    assert_eq!((other.connections(), cleartext.connections()), (0, 0));
    assert_eq!((leading.connections(), own.connections()), (1, 2));
    let bytes = server.store().public(KEY).expect("published");
    let found = members(Format::Zip, &bytes);
    assert_eq!(sha256(&found["a.bin"].1), sha256(CONTENT));
    server.expect_leftovers();
}
