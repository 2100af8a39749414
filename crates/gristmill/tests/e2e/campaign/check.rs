//! What must hold after a campaign.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gristmill_testkit::FakeGithub;
use gristmill_testkit::server::{Server, Store, Version, pause, sha256};

use super::sender::Sent;
use crate::world::{assert_equals_git, list, python};

/// Nothing may stand still for longer.
const STUCK: Duration = Duration::from_secs(30);

/// Checks each zip with another program.
const ZIPFILES: &str = r"
import sys, os, zipfile
n = 0
for folder, _, files in os.walk(sys.argv[1]):
    for name in files:
        if name.endswith('.zip'):
            assert zipfile.ZipFile(os.path.join(folder, name)).testzip() is None, name
            n += 1
print(n)
";

/// Waits until all is done; fails where nothing moves for [`STUCK`].
pub(super) fn wait_until_done(server: &Server, store: &Store) {
    let moved = || store.number("SELECT count(*) FROM job_attempt WHERE ended_ms IS NOT NULL");
    wait(server, || (store.left(), moved()));
}

/// The same for a database that this process must not open.
pub(super) fn wait_until_done_by_cli(server: &Server) {
    let open = |runs: &[serde_json::Value]| -> Vec<String> {
        let is_open = |run: &&serde_json::Value| {
            ["queued", "running", "received"].iter().any(|state| run["state"] == *state)
        };
        runs.iter().filter(is_open).map(ToString::to_string).collect()
    };
    wait(server, || {
        let runs = list(server, &["run", "list", "--limit", "60000"]);
        let deliveries = list(server, &["delivery", "list", "--limit", "60000"]);
        let left = [open(&runs), open(&deliveries)].concat();
        let count = i64::try_from(runs.len() + deliveries.len()).expect("few")
            - i64::try_from(left.len()).expect("few");
        (left, count)
    });
}

fn wait(server: &Server, look: impl Fn() -> (Vec<String>, i64)) {
    let (mut last, mut since) = (-1, Instant::now());
    loop {
        let (left, moved) = look();
        if left.is_empty() {
            return;
        }
        if moved != last {
            (last, since) = (moved, Instant::now());
        }
        assert!(since.elapsed() < STUCK, "stuck: {left:#?}\n{}\n{}", described(server), server.log());
        pause(Duration::from_millis(50));
    }
}

/// What the jobs of open runs went through.
fn described(server: &Server) -> String {
    let runs = list(server, &["run", "list", "--limit", "60000"]);
    let open = runs.iter().filter(|run| run["finished"].is_null()).take(3);
    open.map(|run| server.cli_text(&["run", "show", "--json", run["id"].as_str().expect("an id")])).collect()
}

fn key(project: &str, git_ref: &str) -> String {
    let branch = git_ref.strip_prefix("refs/heads/").expect("a branch");
    format!("{project}/{branch}/{}.zip", project.replace('/', "_"))
}

/// All promises, on the data of a server that has stopped.
pub(super) fn all(github: &FakeGithub, projects: &[&str], store: &Store, sent: &[Sent]) {
    assert_eq!(store.left(), Vec::<String>::new());
    nothing_accepted_is_lost(github, store, sent);
    nothing_is_published_twice(store);
    names_are_where_the_remote_is(github, projects, store);
    nothing_is_half(store);
}

fn nothing_accepted_is_lost(github: &FakeGithub, store: &Store, sent: &[Sent]) {
    let known: BTreeSet<String> =
        store.query("SELECT remote_id FROM delivery WHERE state <> 'received'").into_iter().collect();
    let lost: Vec<&Sent> = sent.iter().filter(|sent| !known.contains(&sent.id)).collect();
    assert!(lost.is_empty(), "{} of {} accepted deliveries are lost: {lost:#?}", lost.len(), sent.len());
    let bad = store.query(
        "SELECT id || ' ' || state || ' ' || coalesce(reason, '') FROM run WHERE state <> 'succeeded'",
    );
    assert_eq!(bad, Vec::<String>::new());
    let mut compared = BTreeSet::new();
    for sent in sent {
        let Some((git_ref, commit)) = &sent.pushed else { continue };
        if compared.insert((sent.project, git_ref, commit)) {
            let archive = store.artifact(&key(sent.project, git_ref), commit);
            assert_equals_git(&github.repository_handle(sent.project), commit, &archive);
        }
    }
    assert!(!compared.is_empty());
}

fn nothing_is_published_twice(store: &Store) {
    let twice = |sql: &str| assert_eq!(store.query(sql), Vec::<String>::new(), "{sql}");
    twice(
        "SELECT ref || ' ' || seq FROM run WHERE seq IS NOT NULL GROUP BY project_id, pipeline, ref, seq HAVING count(*) > 1",
    );
    twice("SELECT run_id FROM publication GROUP BY run_id HAVING count(*) > 1");
    twice("SELECT run_id FROM artifact GROUP BY run_id HAVING count(*) > 1");
    twice("SELECT key || ' ' || seq FROM publication GROUP BY key, seq HAVING count(*) > 1");
    one_version_a_move(store);
}

/// Where a key leads to one commit twice in a row, its ref was somewhere else in between: that commit's archive
/// came too late to be a version.
fn one_version_a_move(store: &Store) {
    let moves = store.query(
        "SELECT r.seq || ' ' || r.commit_id || ' ' || p.name || ' ' || r.ref FROM run r
         JOIN project p ON p.id = r.project_id WHERE r.seq IS NOT NULL",
    );
    let moves: Vec<(i64, String, String)> = moves
        .iter()
        .map(|line| {
            let mut words = line.split(' ');
            let mut word = || words.next().expect("four words").to_owned();
            let (seq, commit, project, git_ref) = (word(), word(), word(), word());
            (seq.parse().expect("a number"), commit, key(&project, &git_ref))
        })
        .collect();
    let mut last: BTreeMap<String, Version> = BTreeMap::new();
    for version in store.versions() {
        assert!(
            moves.contains(&(version.seq, version.commit.clone(), version.key.clone())),
            "{version:?} is of no move"
        );
        let Some(before) = last.insert(version.key.clone(), version.clone()) else { continue };
        let is_between = |(seq, commit, key): &&(i64, String, String)| {
            *key == version.key && *commit != version.commit && before.seq < *seq && *seq < version.seq
        };
        let is_new = before.commit != version.commit || moves.iter().any(|one| is_between(&one));
        assert!(is_new, "published twice: {before:?} {version:?}");
    }
}

fn names_are_where_the_remote_is(github: &FakeGithub, projects: &[&str], store: &Store) {
    let mut names = 0;
    for project in projects {
        let repo = github.repository_handle(project);
        let refs = repo.git(["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads"]);
        for line in String::from_utf8(refs).expect("ASCII").lines() {
            let (git_ref, tip) = line.split_once(' ').expect("a ref and its tip");
            let key = key(project, git_ref);
            let newest = store.versions_of(&key).pop().unwrap_or_else(|| panic!("{key} was never published"));
            assert_eq!((newest.commit.as_str(), newest.state.as_str()), (tip, "published"), "{key}");
            let shown = store.public(&key).unwrap_or_else(|| panic!("nothing is under {key}"));
            assert_eq!(sha256(&shown), newest.digest, "{key}");
            assert_equals_git(&repo, tip, &shown);
            names += 1;
        }
    }
    assert!(names > projects.len(), "{names}");
}

fn nothing_is_half(store: &Store) {
    for digest in store.query(&format!("SELECT DISTINCT {} FROM artifact", store.hex("digest"))) {
        store.blob(&digest);
    }
    let keys: BTreeSet<String> = store.versions().into_iter().map(|version| version.key).collect();
    let sound = python(ZIPFILES, &[&store.public_folder()]);
    assert_eq!(sound.trim(), keys.len().to_string(), "one sound file a key, and no other");
}

/// What a reader of the public files saw, as it went on.
pub(super) struct Watched(BTreeMap<String, Vec<String>>);

impl Watched {
    /// Reads all public files again and again.
    pub(super) fn until(over: &AtomicBool, store: &Store, projects: &[&str]) -> Watched {
        let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
        while !over.load(Ordering::Relaxed) {
            for project in projects {
                for branch in 0..super::BRANCHES {
                    let key = key(project, &format!("refs/heads/b{branch}"));
                    let Some(bytes) = store.public(&key) else {
                        assert!(!seen.contains_key(&key), "{key} was there and is gone");
                        continue;
                    };
                    let digest = sha256(&bytes);
                    let digests = seen.entry(key).or_default();
                    if digests.last() != Some(&digest) {
                        digests.push(digest);
                    }
                }
            }
            pause(Duration::from_millis(5));
        }
        Watched(seen)
    }

    /// Each was a whole version, and each later than the one before.
    pub(super) fn assert_only_whole_and_never_older(&self, store: &Store) {
        assert!(!self.0.is_empty(), "somebody read");
        for (key, seen) in &self.0 {
            let versions = store.versions_of(key);
            let mut later = versions.iter();
            for digest in seen {
                let found = later.any(|version| version.digest == *digest);
                assert!(
                    found,
                    "{key}: {digest} is no version, or came after a later one: {seen:?} {versions:#?}"
                );
            }
        }
    }
}
