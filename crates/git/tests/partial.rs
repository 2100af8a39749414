//! Partial mirrors: what comes, what stays away, and that nothing else is different.

mod common;

use std::time::Duration;

use common::history::{MAIN, VERSION_BYTES, blobs_of, bring, contents, history, mirror, noise, objects};
use common::sshd::{Sshd, key};
use common::{Setup, commit, limits, remote, wanted};
use gristmill_git::{CloneLimits, GitError, Mirror, MirrorKind, Protocol, Reachability, Remote};
use gristmill_testkit::repo::Changes;
use gristmill_testkit::{FakeGithub, TestRepo};

/// What every test of a way to a server looks at: `remote` is where `repo` is served.
async fn check_way(setup: &Setup, repo: &TestRepo, remote: &Remote) {
    let ids = history(repo);
    let full = Mirror::open_or_create(&setup.git, setup.folder.path().join("full")).await.expect("a mirror");
    full.fetch(remote, &wanted(MAIN, &ids[19]), limits()).await.expect("fetched");
    let mirror = mirror(setup, MirrorKind::Partial).await;
    assert_eq!(bring(&mirror, remote, &ids[19]).await.expect("brought"), 4);
    assert_eq!(mirror.kind(), MirrorKind::Partial);
    let dir = setup.repo_dir();
    assert_eq!(objects(&dir, "commit").len(), 20, "the whole history");
    assert_eq!(objects(&dir, "blob"), blobs_of(repo, &ids[19]), "no content of an older commit");
    assert_eq!(objects(&setup.folder.path().join("full/repo.git"), "blob").len(), 20 + 4);
    assert!(full.bytes() > 20 * VERSION_BYTES as u64, "{} bytes", full.bytes());
    assert!(mirror.bytes() < 2 * VERSION_BYTES as u64, "{} bytes", mirror.bytes());
    // The rest is as in a full one.
    assert_eq!(contents(&mirror, &ids[19]).expect("whole"), contents(&full, &ids[19]).expect("whole"));
    let older = mirror.fetch(remote, &wanted(MAIN, &ids[5]), limits()).await.expect("fetched");
    assert_eq!(older.reachability, Reachability::Ancestor);
    assert_eq!(
        mirror.fill(remote, commit(&ids[5]), limits()).await.expect("filled"),
        2,
        "`big` and `number`"
    );
    assert_eq!(contents(&mirror, &ids[5]).expect("whole"), contents(&full, &ids[5]).expect("whole"));
    let lost = repo.commit_onto("main", Some(&ids[5]), &Changes::new().file("big", noise(99)));
    let forced = mirror.fetch(remote, &wanted(MAIN, &ids[18]), limits()).await.expect("fetched");
    assert_eq!(forced.reachability, Reachability::Unreachable);
    assert_eq!(bring(&mirror, remote, &lost).await.expect("brought"), 1);
    assert!(!mirror.is_ancestor(commit(&ids[18]), commit(&lost)).await.expect("an answer"));
    assert_eq!(objects(&dir, "blob").len(), 4 + 2 + 1);
    // All is here: nobody is asked.
    let nobody = common::remote("/no/such/repository");
    assert_eq!(bring(&mirror, &nobody, &lost).await.expect("here"), 0);
}

#[tokio::test]
async fn old_contents_stay_away_from_a_repository_on_this_machine() {
    for format in ["sha1", "sha256"] {
        let repo = TestRepo::with_format(format);
        check_way(&Setup::new(), &repo, &remote(&repo.url())).await;
    }
}

#[tokio::test]
async fn old_contents_stay_away_over_http() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    check_way(&Setup::new(), &repo, &remote(&forge.clone_url("acme/shop"))).await;
}

#[tokio::test]
async fn old_contents_stay_away_over_ssh() {
    let key = key(1);
    let Some(sshd) = Sshd::start("old_contents_stay_away_over_ssh", &key, "") else { return };
    let repo = TestRepo::new();
    let setup = Setup::with_protocols(&[Protocol::Ssh, Protocol::File]);
    check_way(&setup, &repo, &sshd.remote(repo.path(), &key)).await;
}

#[tokio::test]
async fn version_0_of_the_protocol_needs_a_setting_of_the_server() {
    let key = key(1);
    let folder = tempfile::tempdir().expect("a folder");
    let text = "#!/bin/sh\nunset GIT_PROTOCOL\neval \"$SSH_ORIGINAL_COMMAND\"\n";
    let old = common::script(&folder.path().join("old"), text);
    let options = format!("command=\"{}\"", old.display());
    let Some(sshd) = Sshd::start("version_0_of_the_protocol", &key, &options) else { return };
    let repo = TestRepo::new();
    let ids = history(&repo);
    let setup = Setup::with_protocols(&[Protocol::Ssh]);
    let remote = sshd.remote(repo.path(), &key);
    let mirror = mirror(&setup, MirrorKind::Partial).await;
    let error = bring(&mirror, &remote, &ids[19]).await.expect_err("not by id");
    assert!(matches!(error, GitError::ContentUnavailable { .. }) && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("clone = \"full\""), "{error}");

    let repo = TestRepo::new();
    repo.git(["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let setup = Setup::with_protocols(&[Protocol::Ssh, Protocol::File]);
    check_way(&setup, &repo, &sshd.remote(repo.path(), &key)).await;
}

#[tokio::test]
async fn a_server_without_filters_gives_a_full_mirror() {
    for is_http in [false, true] {
        let forge = FakeGithub::start();
        let repo = forge.create("acme/shop", "secret");
        let ids = history(&repo);
        repo.git(["config", "uploadpack.allowFilter", "false"]);
        let remote = remote(&if is_http { forge.clone_url("acme/shop") } else { repo.url() });
        let setup = Setup::new();
        let mirror = mirror(&setup, MirrorKind::Partial).await;
        assert_eq!(
            bring(&mirror, &remote, &ids[19]).await.expect("brought"),
            0,
            "nothing is left to ask for"
        );
        assert_eq!(mirror.kind(), MirrorKind::Full);
        assert_eq!(objects(&setup.repo_dir(), "blob").len(), 20 + 4);
        assert!(!has_promises(&setup));
        // It stays so where the server learns of filters.
        repo.git(["config", "uploadpack.allowFilter", "true"]);
        let next = repo.commit("main", &Changes::new().file("big", noise(99)));
        assert_eq!(bring(&mirror, &remote, &next).await.expect("brought"), 0);
        assert!(contents(&mirror, &next).is_ok());
    }
}

#[tokio::test]
async fn a_server_that_forgets_filters_still_gives_contents_by_id() {
    let repo = TestRepo::new();
    let ids = history(&repo);
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = mirror(&setup, MirrorKind::Partial).await;
    bring(&mirror, &remote, &ids[19]).await.expect("brought");
    repo.git(["config", "uploadpack.allowFilter", "false"]);
    assert_eq!(bring(&mirror, &remote, &ids[3]).await.expect("brought"), 2);
    assert_eq!(mirror.kind(), MirrorKind::Partial, "older contents are missing as before");
    assert!(contents(&mirror, &ids[3]).is_ok());
}

fn has_promises(setup: &Setup) -> bool {
    let files = common::files_below(&setup.repo_dir().join("objects/pack"));
    files.iter().any(|(path, _)| path.extension().is_some_and(|ending| ending == "promisor"))
}

#[tokio::test]
async fn a_mirror_becomes_full_where_it_is_and_stays_full() {
    let repo = TestRepo::new();
    let ids = history(&repo);
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let partial = mirror(&setup, MirrorKind::Partial).await;
    bring(&partial, &remote, &ids[19]).await.expect("brought");
    // Pinned already, and yet not enough.
    let full = mirror(&setup, MirrorKind::Full).await;
    full.fetch(&remote, &wanted(MAIN, &ids[19]), limits()).await.expect("fetched");
    assert_eq!((full.kind(), has_promises(&setup)), (MirrorKind::Full, false));
    assert_eq!(objects(&setup.repo_dir(), "blob").len(), 20 + 4);
    assert!(!setup.mirror_dir().join("damaged").exists(), "a sound mirror is not kept twice");
    let own = CloneLimits { time_max: Duration::from_secs(30), bytes_max: 10 << 20 };
    let clone =
        full.own_clone(&remote.url, &common::git_ref(MAIN), commit(&ids[19]), own).await.expect("a clone");
    assert!(!clone.files().is_empty());

    let next = repo.commit("main", &Changes::new().file("big", noise(99)));
    let again = repo.commit("main", &Changes::new().file("big", noise(98)));
    assert_eq!(bring(&partial, &remote, &again).await.expect("brought"), 0);
    assert_eq!(partial.kind(), MirrorKind::Full, "a full one serves as well");
    assert!(contents(&partial, &next).is_ok());
}

#[tokio::test]
async fn what_was_imported_keeps_no_mirror_from_being_partial() {
    let repo = TestRepo::new();
    let ids = history(&repo);
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = mirror(&setup, MirrorKind::Partial).await;
    let import = mirror.import(limits()).await.expect("free");
    let mut stream = import.stream().expect("a place");
    stream.file(b"a", false, 1, |out| std::io::Write::write_all(out, b"x")).expect("written");
    let stand_in = import
        .finish(stream, commit(&ids[0]), gristmill_model::Timestamp(0), "imported")
        .await
        .expect("imported");
    assert_eq!(bring(&mirror, &remote, &ids[19]).await.expect("brought"), 4);
    assert_eq!(mirror.kind(), MirrorKind::Partial);
    assert_eq!(mirror.imported(commit(&ids[0])).expect("read"), Some(stand_in));
}

#[tokio::test]
async fn joining_packs_brings_nothing_and_loses_nothing() {
    let repo = TestRepo::new();
    repo.git(["config", "uploadpack.allowFilter", "true"]);
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = mirror(&setup, MirrorKind::Partial).await;
    for round in 0..2 {
        for number in 0..11 {
            // Two commits at once: the contents of the first are never wanted.
            repo.commit("main", &Changes::new().file("a", noise(1000 + round * 100 + number)));
            let id = repo.commit("main", &Changes::new().file("a", noise(round * 100 + number)));
            bring(&mirror, &remote, &id).await.expect("brought");
        }
        let dir = setup.repo_dir();
        let before = [objects(&dir, "commit"), objects(&dir, "tree"), objects(&dir, "blob")];
        let joined = mirror.maintain(Duration::from_secs(30)).await.expect("joined");
        assert!(joined.packs_before > 20 && joined.packs_after < 5, "{joined:?}");
        let after = [objects(&dir, "commit"), objects(&dir, "tree"), objects(&dir, "blob")];
        assert_eq!(before, after);
        assert_eq!(
            before.map(|found| found.len()),
            [22, 22, 11].map(|n| n * (usize::try_from(round).expect("small") + 1))
        );
        let files = common::files_below(&dir.join("objects/pack"));
        let ending =
            |ending| files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == ending)).count();
        assert_eq!(ending("pack"), ending("promisor"), "all are marked");
    }
}
