//! Canary secrets through two hundred runs: none is found in a log, the database, a file of the data folder, what
//! commands and pages show, an error, or the arguments and environments of the processes that are started.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use gristmill_testkit::server::{Server, pause};

use crate::senders::senders;
use crate::world::{BINARY, MAIN, PROJECT, World, project};

/// How long processes are left unwatched. Git and its helpers live for some milliseconds each.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(1);

/// Secrets to look for, in every form in which one might leak.
#[derive(Clone)]
pub(crate) struct Canaries(Vec<(String, Vec<Vec<u8>>)>);

impl Canaries {
    /// `secrets` by what they are for.
    pub(crate) fn new(secrets: &[(&str, &str)]) -> Canaries {
        Canaries(secrets.iter().map(|(what, secret)| ((*what).to_owned(), forms(secret))).collect())
    }

    /// What of them is in `bytes`.
    pub(crate) fn found(&self, bytes: &[u8]) -> Vec<&str> {
        let is_in = |form: &Vec<u8>| memchr::memmem::find(bytes, form).is_some();
        let found = self.0.iter().filter(|(_, forms)| forms.iter().any(is_in));
        found.map(|(what, _)| what.as_str()).collect()
    }

    #[track_caller]
    fn assert_none(&self, place: &str, bytes: &[u8]) {
        let found = self.found(bytes);
        assert!(found.is_empty(), "{place} has {found:?}:\n{}", String::from_utf8_lossy(bytes));
    }
}

/// Plain, reversed in no way: as it is, percent-encoded, hexadecimal, and in base64 at each of its three offsets.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let some: String = bytes
        .iter()
        .map(|byte| match byte {
            b if b.is_ascii_alphanumeric() => char::from(*b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        bytes.to_vec(),
        some.to_lowercase().into_bytes(),
        some.into_bytes(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
    ];
    for offset in 0..3 {
        let text = [&b"\0\0"[..offset], bytes].concat();
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&text);
            // What the neighbours of the secret have a part in may be anything.
            let (from, to) = ((offset * 4).div_ceil(3), text.len() * 4 / 3);
            forms.push(encoded.as_bytes()[from..to].to_vec());
        }
    }
    forms
}

#[test]
fn canaries_are_found_in_every_form() {
    let secret = "c@nary/with+odd?bytes";
    let canaries = Canaries::new(&[("it", secret)]);
    let found = |text: String| !canaries.found(text.as_bytes()).is_empty();
    assert!(found(format!("https://x:{secret}@host")));
    assert!(found("a=c%40nary%2Fwith%2Bodd%3Fbytes&b".to_owned()));
    for user in ["a", "ab", "abc"] {
        assert!(found(format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))));
        assert!(found(URL_SAFE_NO_PAD.encode(format!("{user}:{secret}!"))));
    }
    assert!(!found("c@nary/with+odd".to_owned()));
}

/// Looks at the arguments and environments of all that a process starts, as long as it lives.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(usize, Vec<String>)>>,
}

impl Watch {
    pub(crate) fn start(server: u32, canaries: Canaries) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut seen, mut leaks) = (BTreeSet::new(), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let program = fs::read_link(format!("/proc/{server}/exe"));
                for process in below(server) {
                    // For a moment a new process is a copy of the server, with what the server was given.
                    let is_copy = fs::read_link(format!("/proc/{process}/exe"))
                        .is_ok_and(|exe| program.as_ref().is_ok_and(|program| *program == exe));
                    if is_copy {
                        continue;
                    }
                    // The arguments of a process change when it becomes another program.
                    let argv = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
                    if !seen.insert((process, argv.clone())) {
                        continue;
                    }
                    for (what, bytes) in [
                        ("environ", fs::read(format!("/proc/{process}/environ")).unwrap_or_default()),
                        ("cmdline", argv),
                    ] {
                        for found in canaries.found(&bytes) {
                            leaks.push(format!("{what} has {found}: {}", String::from_utf8_lossy(&bytes)));
                        }
                    }
                }
                pause(LOOK_AGAIN);
            }
            (seen.len(), leaks)
        });
        Watch { stop, thread: Some(thread) }
    }

    /// Ends it. How many processes it saw.
    #[track_caller]
    pub(crate) fn finish(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (seen, leaks) = self.thread.take().expect("not ended yet").join().expect("it does not panic");
        assert!(leaks.is_empty(), "{leaks:#?}");
        seen
    }
}

/// The processes below one, at any depth, without it.
fn below(root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut left = vec![root];
    while let Some(process) = left.pop() {
        let tasks =
            fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().filter_map(Result::ok);
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_ascii_whitespace().filter_map(|child| child.parse().ok()) {
                found.push(child);
                left.push(child);
            }
        }
    }
    found
}

/// All files below a folder.
fn files(folder: &Path, each: &mut impl FnMut(&Path, Vec<u8>)) {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&path, each);
        } else if let Ok(bytes) = fs::read(&path) {
            each(&path, bytes);
        }
    }
}

/// Everywhere where people, programs and disks may see something. Stops the server: while git runs, a key or a token is
/// lent to it in a file that only it may read, and of those none may be left.
pub(crate) fn assert_nowhere(server: &mut Server, canaries: &Canaries, project: &str) {
    seen_by_people(server, canaries, project);
    server.stop();
    canaries.assert_none("the log", server.log().as_bytes());
    files(server.data(), &mut |path, bytes| {
        // What seals is kept in a file of its own; see the documentation.
        if path.file_name().is_none_or(|name| name != "server.key") {
            canaries.assert_none(&path.display().to_string(), &bytes);
        }
    });
}

fn seen_by_people(server: &Server, canaries: &Canaries, project: &str) {
    let mut commands: Vec<Vec<String>> = [
        &["project", "list"][..],
        &["project", "show", project],
        &["run", "list", "--limit", "1000"],
        &["delivery", "list", "--limit", "1000"],
        &["token", "list"],
        &["config", "validate"],
        &["doctor"],
    ]
    .iter()
    .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
    .collect();
    let of = |noun: &str| -> Vec<String> {
        let all = server.cli_json(&[noun, "list", "--limit", "1000"]);
        let ids =
            all.as_array().expect("a list").iter().map(|one| one["id"].as_str().expect("an id").to_owned());
        ids.collect()
    };
    for run in of("run").into_iter().take(5) {
        commands.push(vec!["run".into(), "show".into(), run.clone()]);
        commands.push(vec!["run".into(), "logs".into(), run]);
    }
    for delivery in of("delivery").into_iter().take(5) {
        commands.push(vec!["delivery".into(), "show".into(), delivery]);
    }
    for words in commands {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = server.cli(&words);
        canaries.assert_none(&format!("{words:?}"), &[output.stdout, output.stderr].concat());
    }
    for page in ["/", "/metrics", "/healthz", "/readyz", "/runs", "/deliveries", "/projects"] {
        let request = format!("GET {page} HTTP/1.1\r\nHost: mill\r\nConnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(server.address().expect("it runs")).expect("a connection");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        canaries.assert_none(page, &answer);
    }
}

/// Pushes of each sender: thirteen ways to sign make more than two hundred runs.
const PUSHES: usize = 16;

#[test]
fn canaries_are_nowhere_after_two_hundred_runs_of_all_senders() {
    let (hook, token) = ("hook+canary/5b2f?9e1d", "token~canary/77c1=e0a4");
    let signing = format!("whsec_{}", STANDARD.encode(hook));
    let mut world = World::prepare(|project| project);
    world.server.expect_leftovers();
    world.github.require_token(Some(token));
    let canaries = Canaries::new(&[
        ("the hook's secret", hook),
        ("the signing token", &signing),
        ("the git token", token),
    ]);
    let (mut runs, mut processes) = (0, 0);
    let nobody = "1".repeat(40);
    for way in 0..senders(&nobody, "").len() {
        let sender =
            |commit: &str, number: usize| senders(commit, &format!("event-{number}")).swap_remove(way);
        let mut server = Server::new(BINARY);
        server.set_env("SIGNING_TOKEN", &signing);
        server.set_env("GIT_TOKEN", token);
        let mut shop = project(&world.github, PROJECT).poll("off").with("token = { env = \"GIT_TOKEN\" }");
        shop = shop.secret(hook);
        server.set_projects([sender(&nobody, 0).shape(shop)]);
        server.start();
        let watch = Watch::start(server.pid(), canaries.clone());
        let secret = if sender(&nobody, 0).is_signing() { signing.as_str() } else { hook };
        let mut parent = None;
        for number in 0..PUSHES {
            let commit = world.text(parent.as_deref(), &format!("{way} {number}"));
            world.repo.set_ref(MAIN, &commit);
            // Some find that they are not let in: errors must not tell either.
            world.github.require_token(Some(if number == PUSHES / 2 { "another token" } else { token }));
            let id = format!("01ARZ3NDEKTSV4RRFFQ69G5{number:03}");
            let sender = sender(&commit, number);
            let refused = sender.post(&server, &secret.replace(['c', 'a'], "b"), &id);
            assert!(refused.starts_with("HTTP/1.1 401 "), "{}: {refused}", sender.who());
            let taken = sender.post(&server, secret, &id);
            assert!(taken.starts_with("HTTP/1.1 202 "), "{}: {taken}", sender.who());
            canaries.assert_none("an answer", (refused + &taken).as_bytes());
            if number == PUSHES / 2 {
                server.wait_for_log("cannot be looked at");
                world.github.require_token(Some(token));
            }
            parent = Some(commit);
        }
        server.wait_until_idle();
        runs += server.store().number("SELECT count(*) FROM run");
        processes += watch.finish();
        assert_nowhere(&mut server, &canaries, PROJECT);
    }
    assert!(runs >= 200, "{runs} runs");
    assert!(processes >= 200, "{processes} processes were seen");
}
