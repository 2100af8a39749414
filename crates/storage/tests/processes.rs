//! Several processes over one folder. The children are this test program again, started with the
//! name of one ignored test and told the rest through their standard input.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gristmill_model::{Digest, ObjectKey};
use gristmill_storage::{ProjectError, PublicObject, Storage};

const CHILDREN: u64 = 3;
const ROUNDS: u64 = 40;
const KEY: &str = "acme/shop/main.zip";

fn key() -> ObjectKey {
    KEY.parse().unwrap()
}

fn open(root: &Path) -> Storage {
    Storage::open_folder(root).unwrap()
}

/// What version `seq` holds: told apart by reading any part of it.
fn content(seq: i64) -> String {
    format!("{seq}\n").repeat(2000)
}

fn version(seq: i64) -> PublicObject {
    let text = content(seq);
    PublicObject {
        seq,
        digest: Digest::of(text.as_bytes()),
        size: text.len() as u64,
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::new(),
    }
}

/// Which version a file is; fails unless it is whole.
fn seq_of(text: &str) -> i64 {
    let seq = text.lines().next().unwrap().parse().unwrap();
    assert!(text == content(seq), "half a version");
    seq
}

fn start(before: &str, test: &str, input: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", &format!("{before} exec \"$0\" --exact {test} --ignored"), program.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child
}

fn told() -> (PathBuf, u64) {
    let input = std::io::read_to_string(std::io::stdin()).unwrap();
    let (root, number) = input.split_once('\n').unwrap();
    (PathBuf::from(root), number.parse().unwrap())
}

fn seed(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A small generator of numbers that scatter: xorshift64.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Rises over the rounds, so that the key moves to the end, and scatters, so that many come late.
fn seq_in(round: u64, random: &mut u64) -> i64 {
    (round * 10 + next(random) % 100) as i64
}

#[tokio::test]
#[ignore = "started by others as a process of its own"]
async fn child_that_projects() {
    let (root, number) = told();
    let storage = open(&root);
    let mut random = seed(number);
    for round in 0..ROUNDS {
        let seq = seq_in(round, &mut random);
        storage.put_bytes(content(seq)).await.unwrap();
        match storage.project(&key(), &version(seq)).await {
            Ok(_) => {}
            Err(ProjectError::Older { current, .. }) => assert!(current > seq),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_never_goes_backwards_under_many_processes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("storage");
    let storage = open(&root);
    let children: Vec<Child> = (1..=CHILDREN)
        .map(|number| start("", "child_that_projects", &format!("{}\n{number}", root.display())))
        .collect();
    let highest = (1..=CHILDREN).flat_map(|number| {
        let mut random = seed(number);
        (0..ROUNDS).map(move |round| seq_in(round, &mut random))
    });
    let highest = highest.max().unwrap();

    let waiting = tokio::task::spawn_blocking(move || {
        children.into_iter().all(|mut child| child.wait().unwrap().success())
    });
    let (mut read_last, mut told_last, mut moves) = (-1, -1, 0);
    while !waiting.is_finished() {
        if let Ok(text) = std::fs::read_to_string(root.join("public").join(KEY)) {
            let seq = seq_of(&text);
            assert!(seq >= read_last, "{seq} after {read_last}");
            moves += u32::from(seq > read_last);
            read_last = seq;
        }
        if let Some(object) = storage.current(&key(), false).await.unwrap() {
            assert!(object.seq >= read_last.max(told_last), "{} after {read_last}, {told_last}", object.seq);
            told_last = object.seq;
        }
    }
    assert!(waiting.await.unwrap(), "a child failed");
    assert!(moves > 1, "nothing was seen moving");
    assert_eq!(seq_of(&std::fs::read_to_string(root.join("public").join(KEY)).unwrap()), highest);
    assert_eq!(storage.current(&key(), true).await.unwrap(), Some(version(highest)));
    let mut found = Vec::new();
    storage.verify(true, |finding| found.push(finding)).await.unwrap();
    assert_eq!(found, []);
}

#[tokio::test]
#[ignore = "started by others as a process of its own"]
async fn child_that_stages_and_waits() {
    let (root, _) = told();
    let mut staged = open(&root).stage().await.unwrap();
    staged.write_all(b"never finished").unwrap();
    staged.flush().unwrap();
    std::fs::write(root.join("ready"), "").unwrap();
    std::future::pending::<()>().await;
}

fn unfinished(root: &Path) -> usize {
    let sessions = std::fs::read_dir(root.join("tmp")).unwrap();
    sessions.map(|session| std::fs::read_dir(session.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn killed_process_leaves_nothing_past_the_next_open() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("storage");
    let mut child = start("", "child_that_stages_and_waits", &format!("{}\n0", root.display()));
    while !root.join("ready").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended early");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(open(&root));
    assert_eq!(unfinished(&root), 1, "a living process keeps its file");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(unfinished(&root), 1);
    drop(open(&root));
    assert_eq!(unfinished(&root), 0);
    assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
#[ignore = "started by others as a process of its own"]
async fn child_that_projects_once() {
    let (root, seq) = told();
    let storage = open(&root);
    storage.put_bytes(content(seq as i64)).await.unwrap();
    storage.project(&key(), &version(seq as i64)).await.unwrap();
}

#[test]
fn umask_does_not_matter_to_readers() {
    for umask in ["umask 077;", "umask 000;"] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("storage");
        let mut child = start(umask, "child_that_projects_once", &format!("{}\n7", root.display()));
        assert!(child.wait().unwrap().success());
        for (path, mode) in [
            ("", 0o755),
            ("public", 0o755),
            ("public/acme", 0o755),
            ("public/acme/shop", 0o755),
            ("public/acme/shop/main.zip", 0o444),
            ("blobs", 0o750),
            ("versions", 0o750),
            ("tmp", 0o700),
        ] {
            assert_eq!(root.join(path).metadata().unwrap().mode() & 0o7777, mode, "{umask} {path}");
        }
    }
}
