//! Strangers' words: five hundred of them, wherever a stranger or a mistaken operator may put words. None runs a
//! command, none writes a file outside, and each is refused with a reason.
//!
//! Each word tries to make a file whose name begins with `owned`. A second `PATH` entry would be too late to see
//! what a shell does, so it is the files that are looked for: in the folders of the test and where the server runs.

use std::collections::BTreeMap;
use std::path::Path;

use gristmill_testkit::FakeGithub;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{Project, Server};
use serde_json::{Value, json};

use crate::world::{MAIN, PROJECT, SECRET, World, list, project};

/// How many of each kind there are at least.
const EACH: usize = 100;

/// What a shell, an option parser, a path or a template might fall for. `M` becomes the file to make.
const WORDS: [&str; 26] = [
    "$(touch M)",
    "`touch M`",
    ";touch M;",
    "|touch M",
    "&&touch M",
    "\ntouch M\n",
    "'; touch M; '",
    "\"; touch M; \"",
    "${IFS}touch${IFS}M",
    "--upload-pack=touch M",
    "-oProxyCommand=touch M",
    "-c core.sshCommand='touch M'",
    "--output=M",
    "--template=M",
    "ext::sh -c touch% M",
    "fd::17/M",
    "../../../../M",
    "..%2f..%2f..%2fM",
    "..\\..\\M",
    "/M",
    "%00M",
    "\u{202e}M",
    "M.lock",
    "{owner}/{M}",
    "~root/M",
    "a\u{7f}M",
];

/// `count` different texts from the words and the templates, in which `W` is the word. Files are numbered.
fn texts(folder: &Path, templates: &[&str], count: usize) -> Vec<String> {
    let mark = |number: usize| format!("{}/owned-{number}", folder.display());
    let pairs = templates.iter().flat_map(|template| WORDS.iter().map(move |word| (template, word)));
    let found: Vec<String> = pairs
        .enumerate()
        .map(|(number, (template, word))| template.replace('W', &word.replace('M', &mark(number))))
        .take(count)
        .collect();
    assert_eq!(found.len(), count, "there are more words than templates make");
    found
}

/// Files that a word made.
fn owned(folders: &[&Path]) -> Vec<String> {
    let mut found = Vec::new();
    let mut left: Vec<_> = folders.iter().map(|folder| folder.to_path_buf()).collect();
    while let Some(folder) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().contains("owned") {
                found.push(entry.path().display().to_string());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            }
        }
    }
    found
}

/// Neither in the folders of the test nor where everybody may write.
fn assert_nothing_is_owned(server: &Server, marks: &Path) {
    let here = std::env::current_dir().expect("a folder");
    assert_eq!(owned(&[server.folder(), marks, &here]), [""; 0]);
    for folder in ["/", "/tmp", "/var/tmp", "/root"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        assert!(!names.iter().any(|name| name.contains("owned")), "{folder}: {names:?}");
    }
}

#[test]
fn a_hundred_hostile_refs_do_nothing_and_each_has_its_reason() {
    let mut world = World::prepare(|project| {
        project.pipeline("branches = [\"**\"]\ntags = [\"**\"]\nkey = \"{ref}.zip\"")
    });
    let marks = tempfile::tempdir().expect("a folder");
    world.server.start();
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    let templates = ["refs/heads/W", "refs/tags/W", "W", "refs/heads/aW", "refs/W"];
    let refs = texts(marks.path(), &templates, EACH);
    let mut ids = BTreeMap::new();
    for (number, name) in refs.iter().enumerate() {
        let after = format!("{:040x}", 0xbad_0000 + number);
        let payload = json!({
            "ref": name, "before": "0".repeat(40), "after": after, "deleted": false,
            "repository": { "id": world.github.repository_id(PROJECT), "full_name": PROJECT },
        });
        let delivery = world.github.delivery(PROJECT, "push", &payload);
        ids.insert(world.server.accept(PROJECT, [&delivery]).remove(0), (name, after));
    }
    world.server.wait_until_idle();
    let runs = world.runs();
    for (id, (name, after)) in ids {
        let shown = world.server.cli_json(&["delivery", "show", &id]);
        let refused = |value: &Value, field: &str| value[field].as_str().is_some_and(|why| why.len() > 10);
        // A name that git allows is looked for at the remote, which does not have it.
        let failed = runs.iter().find(|run| run["commit"] == after.as_str());
        match failed {
            Some(run) => assert!(run["state"] == "failed" && refused(run, "error"), "{name}: {run:#}"),
            None => assert!(shown["state"] == "ignored" && refused(&shown, "reason"), "{name}: {shown:#}"),
        }
    }
    assert_eq!(world.server.store().versions().len(), 1, "only what was there before");
    assert_nothing_is_owned(&world.server, marks.path());
}

#[test]
fn a_hundred_hostile_names_of_repositories_make_no_project() {
    let github = FakeGithub::start();
    github.create("acme/shop", SECRET);
    github.create("other/shop", SECRET);
    let mut server = Server::new(crate::world::BINARY);
    let all = format!("http://{}/acme/{{repo}}.git", github.address());
    server.set_projects([
        Project::new("acme/*", &all, SECRET).with("repository = \"acme/*\"").with("gitpull = true"),
        project(&github, "other/shop").with("gitpull = true").with("repository = \"other/shop\""),
    ]);
    server.start();
    let marks = tempfile::tempdir().expect("a folder");
    let names = texts(marks.path(), &["acme/W", "W/shop", "W", "acme/shop/W", "acme/aW"], EACH);
    for (number, name) in names.iter().enumerate() {
        let payload = json!({
            "ref": MAIN, "before": "0".repeat(40), "after": format!("{:040x}", 0xbad_0000 + number),
            "repository": { "id": 7_000 + number, "full_name": name },
        });
        let delivery = github.delivery("acme/shop", "push", &payload);
        for address in ["/hooks/acme/*", "/gitpull", "/hooks/other/shop"] {
            let reply = delivery.deliver(&server.url(address)).expect("an answer");
            let body: Value = serde_json::from_str(&reply.body).expect("JSON");
            let why = body["ignored"].as_str().or(body["error"].as_str());
            // A project's own hook stores what it cannot read, for people to see.
            let stored = address == "/hooks/other/shop" && body["delivery"].is_string();
            assert!(stored || why.is_some_and(|why| why.len() > 10), "{address} {name}: {}", reply.body);
            assert!([202, 400].contains(&reply.status), "{address} {name}: {} {}", reply.status, reply.body);
        }
    }
    server.wait_until_idle();
    for delivery in list(&server, &["delivery", "list", "--limit", "1000"]) {
        assert!(delivery["state"] == "ignored", "{delivery:#}");
        assert!(delivery["reason"].as_str().is_some_and(|why| why.len() > 10), "{delivery:#}");
    }
    let projects: Vec<Value> = list(&server, &["project", "list"]);
    assert_eq!(projects.len(), 1, "{projects:#?}");
    assert_eq!(server.store().number("SELECT count(*) FROM run"), 0);
    assert_nothing_is_owned(&server, marks.path());
}

/// Writes the configuration and has the program judge it: its words where it refuses, `None` where it does not.
fn judged(server: &Server, text: &str) -> Option<String> {
    let path = server.folder().join("hostile.toml");
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("UTF-8");
    let output = server.cli(&["--config", path, "config", "validate"]);
    let words =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!words.contains("panicked"), "{words}");
    match output.status.code() {
        Some(0) => None,
        Some(2) => Some(words),
        other => panic!("{other:?}: {words}\n{text}"),
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[test]
fn a_hundred_hostile_addresses_are_refused_where_they_are_configured() {
    let server = Server::new(crate::world::BINARY);
    let marks = tempfile::tempdir().expect("a folder");
    let templates = [
        "W",
        "https://W/acme/shop.git",
        "https://git.example.org:W/shop.git",
        "ssh://W@host/shop",
        "git@W:shop.git",
    ];
    for url in texts(marks.path(), &templates, EACH) {
        // An absolute path is an address; that nothing is there is found when it is looked at.
        if url.starts_with('/') && !url.contains("..") {
            continue;
        }
        let text = format!(
            "[[project]]\nname = \"acme/shop\"\nrepository = \"acme/shop\"\ngit = {}\n[[project.pipeline]]\nkind = \"archive\"\n",
            quoted(&url)
        );
        let words = judged(&server, &text).unwrap_or_else(|| panic!("{url} is taken"));
        assert!(words.contains("`git`"), "{url}: {words}");
    }
    assert_nothing_is_owned(&server, marks.path());
}

/// Settings, each with a value that must be refused: `W` is the word.
const SETTINGS: [(&str, &str); 5] = [
    (
        "name",
        "[[project]]\nname = W\ngit = \"https://example.org/a/b.git\"\n[[project.pipeline]]\nkind = \"archive\"\n",
    ),
    (
        "repository",
        "[[project]]\nname = \"a/b\"\nrepository = W\ngit = \"https://example.org/a/b.git\"\n[[project.pipeline]]\nkind = \"archive\"\n",
    ),
    (
        "allow_from",
        "[[project]]\nname = \"a/b\"\nallow_from = [W]\ngit = \"https://example.org/a/b.git\"\n[[project.pipeline]]\nkind = \"archive\"\n",
    ),
    ("listen", "[server]\nlisten = W\n"),
    (
        "schedule",
        "[[project]]\nname = \"a/b\"\ngit = \"https://example.org/a/b.git\"\n[[project.pipeline]]\nkind = \"archive\"\nschedule = W\n",
    ),
];

#[test]
fn a_hundred_hostile_configurations_are_refused_with_the_setting_named() {
    let server = Server::new(crate::world::BINARY);
    let marks = tempfile::tempdir().expect("a folder");
    let words = texts(marks.path(), &["W"], WORDS.len());
    let mut tried = 0;
    for (setting, text) in SETTINGS {
        for word in &words {
            let text = text.replacen('W', &quoted(word), 1);
            let said = judged(&server, &text).unwrap_or_else(|| panic!("{setting} = {word} is taken"));
            assert!(said.contains(setting), "{setting} = {word}: {said}");
            tried += 1;
        }
    }
    assert!(tried >= EACH, "{tried}");
    assert_nothing_is_owned(&server, marks.path());
}

#[test]
fn a_hundred_hostile_submodule_files_are_refused_and_no_server_is_asked() {
    let asked = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    asked.set_nonblocking(true).expect("set");
    let inside = format!("http://{}/lib.git", asked.local_addr().expect("its address"));
    let mut world = World::prepare(|project| project.pipeline("submodules = true").with("jobs_max = 16"));
    let marks = tempfile::tempdir().expect("a folder");
    let templates = [
        format!("[submodule \"W\"]\n\tpath = lib\n\turl = {inside}\n"),
        format!("[submodule \"lib\"]\n\tpath = W\n\turl = {inside}\n"),
        "[submodule \"lib\"]\n\tpath = lib\n\turl = W\n".to_owned(),
        format!(
            "[submodule \"lib\"]\n\tpath = lib\n\turl = {inside}\n\tupdate = !W\n[include]\n\tpath = W\n"
        ),
    ];
    let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
    let pinned = "c".repeat(40);
    let mut commits = BTreeMap::new();
    for (number, file) in texts(marks.path(), &templates, EACH).into_iter().enumerate() {
        let changes = Changes::new().file(".gitmodules", &file).submodule("lib", &pinned);
        let commit = world.repo.commit_unreferenced(&[], &changes);
        world.repo.set_ref(&format!("refs/heads/b{number}"), &commit);
        commits.insert(commit, file);
    }
    world.server.start();
    world.server.cli_text(&["project", "trigger", PROJECT]);
    world.server.wait_until_idle_for(std::time::Duration::from_secs(300));
    let runs = world.runs();
    assert_eq!(commits.len(), EACH);
    for (commit, file) in &commits {
        let run = runs.iter().find(|run| run["commit"] == commit.as_str());
        let run = run.unwrap_or_else(|| panic!("no run for {file}\n{}", world.server.log()));
        let why = run["reason"].as_str().unwrap_or_default();
        assert!(run["state"] == "failed" && why.len() > 10, "{file}: {run:#}");
    }
    assert!(world.server.store().versions().is_empty());
    let error = asked.accept().expect_err("nobody may ask a server in here");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_nothing_is_owned(&world.server, marks.path());
}
