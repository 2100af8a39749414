//! What is killed in the middle of its work leaves a mirror that works.

mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Setup, by_id, commit, git_ref, limits, remote, wanted};
use gristmill_git::{
    CloneLimits, FetchLimits, GitError, LfsLimits, LfsOid, LfsPointer, Mirror, Reachability,
};
use gristmill_testkit::forge::Fault;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::{FakeGithub, TestRepo};

/// A commit with content that takes a slow remote a while.
fn filled(forge: &FakeGithub) -> String {
    let mut changes = Changes::new();
    for number in 0..200u32 {
        let text: String = (0..200u32)
            .map(|n| format!("{:x}", n.wrapping_mul(number).wrapping_mul(2_654_435_761)))
            .collect();
        changes = changes.file(format!("file-{number}"), text);
    }
    forge.create("acme/shop", "secret").commit("main", &changes)
}

fn half_a_pack(setup: &Setup) -> bool {
    let pack = setup.repo_dir().join("objects/pack");
    std::fs::read_dir(pack).into_iter().flatten().flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with("tmp_")
            && entry.metadata().is_ok_and(|found| found.len() > 0)
    })
}

#[tokio::test]
async fn after_a_git_that_was_killed_the_next_fetch_works() {
    for moment_ms in [0, 40, 150] {
        let forge = FakeGithub::start();
        let id = filled(&forge);
        forge.set_fault(Fault::Slow(20_000));
        let setup = Setup::new();
        let mirror = setup.mirror().await;
        let (remote, wanted) = (remote(&forge.clone_url("acme/shop")), wanted("refs/heads/main", &id));
        let fetch = tokio::spawn({
            let (mirror, remote, wanted) = (mirror.clone(), remote.clone(), wanted.clone());
            async move { mirror.fetch(&remote, &wanted, limits()).await }
        });
        while !half_a_pack(&setup) {
            assert!(!fetch.is_finished());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(moment_ms)).await;
        // The dropped future kills the group with SIGKILL.
        fetch.abort();
        assert!(fetch.await.expect_err("aborted").is_cancelled());
        forge.set_fault(Fault::None);
        let fetched = mirror.fetch(&remote, &wanted, limits()).await.expect("works again");
        assert_eq!(fetched.reachability, Reachability::Tip);
        assert!(!half_a_pack(&setup), "nothing is left of the first");
        assert!(!setup.mirror_dir().join("damaged").exists(), "nothing was made anew");
    }
}

/// Not a test by itself: the process that the next one kills. It finds what to do in its working directory.
#[tokio::test]
#[ignore = "run by the tests below"]
async fn fetch_as_told_by_the_working_directory() {
    let Ok(told) = std::fs::read_to_string("told") else { return };
    let [url, id, mirror, git] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
    let git = gristmill_git::Git::new(gristmill_git::GitOptions::new(git)).expect("a folder");
    let mirror = Mirror::open_or_create(&git, mirror).await.expect("a mirror");
    let _ = mirror.fetch(&remote(url), &wanted("refs/heads/main", id), limits()).await;
}

fn start_server(setup: &Setup, dir: &Path, url: &str, id: &str) -> std::process::Child {
    let git = setup.folder.path().join("git-of-the-killed");
    let told = format!("{url}\n{id}\n{}\n{}\n", setup.mirror_dir().display(), git.display());
    std::fs::write(dir.join("told"), told).expect("written");
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", "fetch_as_told_by_the_working_directory"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test starts")
}

/// Whether the lock can be had this moment.
async fn is_free(mirror: &Mirror, url: &str) -> bool {
    let now = FetchLimits { lock_wait_max: Duration::ZERO, time_max: Duration::from_millis(1), ..limits() };
    let result = mirror.fetch(&remote(url), &wanted("refs/heads/main", &"1".repeat(40)), now).await;
    !matches!(result, Err(GitError::Locked { .. }))
}

#[tokio::test]
async fn after_a_server_that_was_killed_its_git_does_not_stand_in_the_way() {
    for fault in [Fault::Slow(20_000), Fault::Hang] {
        let forge = FakeGithub::start();
        let id = filled(&forge);
        let url = forge.clone_url("acme/shop");
        forge.set_fault(fault.clone());
        let setup = Setup::new();
        let mirror = setup.mirror().await;
        let dir = tempfile::tempdir().expect("a folder");
        let mut server = start_server(&setup, dir.path(), &url, &id);
        while forge.requests().is_empty() || (fault != Fault::Hang && !half_a_pack(&setup)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(!is_free(&mirror, &url).await, "its server runs");
        server.kill().expect("running");
        server.wait().expect("a child");
        forge.set_fault(Fault::None);
        let start = Instant::now();
        let fetched = mirror.fetch(&remote(&url), &wanted("refs/heads/main", &id), limits()).await;
        assert_eq!(fetched.expect("works again").reachability, Reachability::Tip, "{fault:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{fault:?}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn clones_and_large_files_of_a_killed_process_are_removed_and_half_of_one_is_none() {
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    let remote = remote(&repo.url());
    mirror.fetch(&remote, &by_id(&id), limits()).await.expect("fetched");
    let dir = setup.mirror_dir();
    // In a container each start has the number of the one before.
    let pid = std::process::id();
    let (clone, file) = (dir.join(format!("clone-{pid}-dead")), dir.join(format!("lfs/incoming-{pid}-dead")));
    std::fs::create_dir_all(clone.join("objects")).expect("made");
    std::fs::create_dir_all(dir.join("lfs")).expect("made");
    std::fs::write(&file, "half").expect("written");
    let bounds = CloneLimits { time_max: Duration::from_secs(30), bytes_max: 1 << 20 };
    // A name that means something in a configuration file.
    let odd = git_ref("refs/heads/a\"b#;c");
    let made = mirror.own_clone(&remote.url, &odd, commit(&id), bounds).await.expect("a clone");
    assert!(!clone.exists());
    let config = made.files().iter().find(|file| file.name == b"config").expect("a config");
    let told = Command::new("git")
        .args(["config", "--file"])
        .arg(&config.path)
        .args(["--get", "branch.a\"b#;c.merge"])
        .output()
        .expect("git");
    assert_eq!(String::from_utf8_lossy(&told.stdout), "refs/heads/a\"b#;c\n");
    let place = config.path.parent().expect("a folder").to_owned();
    let other = mirror.own_clone(&remote.url, &odd, commit(&id), bounds).await.expect("another clone");
    assert!(
        config.path.is_file() && other.files()[0].path.is_file(),
        "neither takes the other for a dead one's"
    );
    drop(made);
    assert!(!place.exists(), "it goes with its value");

    let oid = LfsOid::from_hex(&gristmill_model::Digest::of(b"whole").to_hex()).expect("a digest");
    let pointer = LfsPointer { oid, size: 5 };
    let missing = async || mirror.held_lfs(&remote, &[pointer], LfsLimits::default()).await.expect("read").1;
    for content in [&b"whol"[..], b"wholf", b"whole!"] {
        let mut incoming = mirror.put_lfs(pointer).expect("a way in");
        assert!(!file.exists());
        incoming.write_all(content).expect("written");
        let error = incoming.keep(&remote).expect_err("something else");
        assert!(matches!(error, GitError::LfsObject { .. }), "{error:?}");
        assert_eq!(missing().await, [pointer]);
    }
    let mut incoming = mirror.put_lfs(pointer).expect("a way in");
    drop(mirror.put_lfs(pointer).expect("another way in"));
    incoming.write_all(b"whole").expect("written");
    incoming.keep(&remote).expect("kept");
    assert_eq!(missing().await, []);
    assert_eq!(std::fs::read_dir(dir.join("lfs")).expect("a folder").count(), 1, "objects alone");
}
