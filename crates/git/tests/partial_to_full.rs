//! Partial mirrors that become full ones, and what somebody else may do to them meanwhile.

mod common;

use std::time::Duration;

use common::history::{MAIN, bring, contents, history, mirror, noise, objects};
use common::sshd::{Sshd, key};
use common::{Setup, by_id, commit, git_ref, limits, remote, wanted};
use gristmill_git::{CloneLimits, GitError, MirrorKind, Protocol, Reachability};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

fn has_promises(setup: &Setup) -> bool {
    let files = common::files_below(&setup.repo_dir().join("objects/pack"));
    files.iter().any(|(path, _)| path.extension().is_some_and(|ending| ending == "promisor"))
}

/// Takes everything out of a repository that no ref leads to.
fn prune(repo: &TestRepo) {
    repo.git(["reflog", "expire", "--expire=now", "--all"]);
    repo.git(["gc", "--quiet", "--prune=now"]);
}

/// The mirror of somebody who has fetched `lost` from a repository that has forgotten it by now; all commits' ids.
async fn with_lost(setup: &Setup, repo: &TestRepo) -> (Vec<String>, String) {
    let ids = history(repo);
    let remote = remote(&repo.url());
    let partial = mirror(setup, MirrorKind::Partial).await;
    // Contents that only commits before it had are in no other history, and not here.
    for number in [50, 51] {
        repo.commit("side", &Changes::new().file("big", noise(number)));
    }
    let lost = repo.commit("side", &Changes::new().file("big", noise(52)));
    let side = wanted("refs/heads/side", &lost);
    partial.fetch(&remote, &side, limits()).await.expect("fetched");
    assert_eq!(partial.fill(&remote, commit(&lost), limits()).await.expect("filled"), 1);
    bring(&partial, &remote, &ids[19]).await.expect("brought");
    repo.git(["update-ref", "-d", "refs/heads/side"]);
    prune(repo);
    (ids, lost)
}

#[tokio::test]
async fn nothing_is_lost_where_the_remote_is_not_reached_or_has_lost_a_commit() {
    let (repo, setup) = (TestRepo::new(), Setup::new());
    let (ids, lost) = with_lost(&setup, &repo).await;
    let remote = remote(&repo.url());
    let (partial, full) = (mirror(&setup, MirrorKind::Partial).await, mirror(&setup, MirrorKind::Full).await);
    let nobody = common::remote("file:///no/such/repository");
    full.fetch(&nobody, &wanted(MAIN, &ids[19]), limits()).await.expect_err("nobody there");
    assert_eq!(full.kind(), MirrorKind::Partial);
    for id in [&lost, &ids[19]] {
        assert_eq!(bring(&partial, &nobody, id).await.expect("still here"), 0);
        assert!(contents(&partial, id).is_ok());
    }

    let fetched = full.fetch(&remote, &wanted(MAIN, &ids[18]), limits()).await.expect("fetched");
    assert_eq!(fetched.reachability, Reachability::Ancestor);
    assert_eq!((full.kind(), has_promises(&setup)), (MirrorKind::Full, false));
    assert_eq!(objects(&setup.repo_dir(), "blob").len(), 20 + 4 + 1, "all of main, one of side");
    // The run that had fetched it goes on, without anybody.
    assert_eq!(bring(&partial, &nobody, &lost).await.expect("still here"), 0);
    assert!(contents(&partial, &lost).is_ok());
    // Its history is not here, so who needs that is told, and nothing else goes.
    let error = full.fetch(&remote, &by_id(&lost), limits()).await.expect_err("lost");
    assert!(matches!(error, GitError::CommitUnavailable { .. }), "{error:?}");
    full.fetch(&nobody, &wanted(MAIN, &ids[19]), limits()).await.expect("pinned");
    let own = CloneLimits { time_max: Duration::from_secs(30), bytes_max: 10 << 20 };
    full.own_clone(&remote.url, &git_ref(MAIN), commit(&ids[19]), own).await.expect("a whole history");
    // A content that only the lost history had comes with whoever has it next.
    let next = repo.commit("main", &Changes::new().file("big", noise(50)));
    full.fetch(&remote, &wanted(MAIN, &next), limits()).await.expect("fetched");
    assert!(contents(&full, &next).is_ok());
    assert!(!setup.mirror_dir().join("damaged").exists());
    for _ in 0..21 {
        let id = repo.commit("main", &Changes::new().file("a", &*noise(7)).file("b", "b"));
        full.fetch(&remote, &wanted(MAIN, &id), limits()).await.expect("fetched");
        repo.commit("main", &Changes::new().file("a", "a"));
    }
    assert!(full.maintain(Duration::from_secs(30)).await.expect("joined").packs_after < 5);
    assert!(contents(&partial, &lost).is_ok() && contents(&full, &next).is_ok());
}

#[tokio::test]
async fn another_branch_is_fetched_again_once_its_history_is_needed() {
    let (repo, setup) = (TestRepo::new(), Setup::new());
    let ids = history(&repo);
    let remote = remote(&repo.url());
    let side = repo.commit_onto("side", Some(&ids[10]), &Changes::new().file("big", noise(50)));
    let tip = repo.commit("side", &Changes::new().file("big", noise(51)));
    let partial = mirror(&setup, MirrorKind::Partial).await;
    partial.fetch(&remote, &wanted("refs/heads/side", &tip), limits()).await.expect("fetched");
    let full = mirror(&setup, MirrorKind::Full).await;
    full.fetch(&remote, &wanted(MAIN, &ids[19]), limits()).await.expect("fetched");
    // Not filled before: a full mirror brings it without marks.
    assert!(contents(&full, &tip).is_err());
    let fetched = partial.fetch(&remote, &wanted("refs/heads/side", &tip), limits()).await.expect("held");
    assert_eq!(fetched.reachability, Reachability::NotAsked);
    assert_eq!(partial.fill(&remote, commit(&tip), limits()).await.expect("filled"), 1);
    assert_eq!((full.kind(), has_promises(&setup)), (MirrorKind::Full, false));
    assert!(contents(&full, &tip).is_ok() && contents(&full, &side).is_err());
    let fetched = full.fetch(&remote, &wanted("refs/heads/side", &tip), limits()).await.expect("fetched");
    assert_eq!(fetched.reachability, Reachability::Tip);
    assert!(contents(&full, &side).is_ok(), "the history too");
    assert_eq!(objects(&setup.repo_dir(), "blob").len(), 20 + 4 + 2);
}

#[tokio::test]
async fn who_needs_no_history_leaves_a_partial_mirror_as_it_is() {
    let (repo, setup) = (TestRepo::new(), Setup::new());
    let ids = history(&repo);
    let remote = remote(&repo.url());
    // Opened before there was anything.
    let module = setup.mirror().await.without_history();
    bring(&mirror(&setup, MirrorKind::Partial).await, &remote, &ids[3]).await.expect("brought");
    assert_eq!(bring(&module, &remote, &ids[19]).await.expect("brought"), 2);
    assert_eq!((module.kind(), objects(&setup.repo_dir(), "blob").len()), (MirrorKind::Partial, 4 + 2));
    assert!(contents(&module, &ids[19]).is_ok() && contents(&module, &ids[3]).is_ok());
    let other = Setup::new();
    let module = other.mirror().await.without_history();
    assert_eq!(bring(&module, &remote, &ids[19]).await.expect("brought"), 0);
    assert_eq!(module.kind(), MirrorKind::Full, "a new one begins as ever");
}

#[tokio::test]
async fn a_reader_does_not_throw_away_what_it_has_not_read() {
    for kind in [MirrorKind::Full, MirrorKind::Partial] {
        let (repo, setup) = (TestRepo::new(), Setup::new());
        let ids = history(&repo);
        let remote = remote(&repo.url());
        let [reader, other] = [mirror(&setup, kind).await, mirror(&setup, kind).await];
        bring(&reader, &remote, &ids[0]).await.expect("brought");
        for id in &ids[1..3] {
            // The number of a folder that was removed is given out again.
            assert!(mirror(&setup, kind).await.rebuild().await.expect("a new one"));
            bring(&other, &remote, id).await.expect("brought");
            assert!(!reader.rebuild().await.expect("looked"), "not the one that it had");
            assert!(contents(&other, id).is_ok());
        }
        // Whoever makes one has it.
        let mine = mirror(&setup, kind).await;
        assert!(mine.rebuild().await.expect("a new one") && mine.clone().rebuild().await.expect("again"));
    }
}

#[tokio::test]
async fn a_full_mirror_that_lacks_contents_gets_them_without_marks_or_is_damaged() {
    let (repo, setup) = (TestRepo::new(), Setup::new());
    let ids = history(&repo);
    let partial = mirror(&setup, MirrorKind::Partial).await;
    partial.fetch(&remote(&repo.url()), &wanted(MAIN, &ids[19]), limits()).await.expect("fetched");
    // As somebody else's server was believed.
    let config = setup.repo_dir().join("config");
    let text = std::fs::read_to_string(&config).expect("a config");
    std::fs::write(&config, text.replace("[gristmill]\n\tpartial = true\n", "")).expect("written");
    for (path, _) in common::files_below(&setup.repo_dir().join("objects/pack")) {
        if path.extension().is_some_and(|ending| ending == "promisor") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    assert_eq!(partial.kind(), MirrorKind::Full);
    let other = TestRepo::new();
    let error = partial.fill(&remote(&other.url()), commit(&ids[19]), limits()).await.expect_err("not there");
    assert!(matches!(error, GitError::Damaged { .. }) && error.is_transient(), "{error:?}");
    assert_eq!(partial.fill(&remote(&repo.url()), commit(&ids[19]), limits()).await.expect("filled"), 4);
    assert!(contents(&partial, &ids[19]).is_ok() && !has_promises(&setup));
}

/// It says nothing of filters, so git itself says that it knows none.
#[tokio::test]
async fn a_server_that_says_it_does_not_filter_and_does_is_not_believed() {
    let key = key(1);
    let folder = tempfile::tempdir().expect("a folder");
    let text = "#!/bin/sh\nexec \"$@\" --filter=blob:none\n";
    let packs = common::script(&folder.path().join("packs"), text);
    let text = format!(
        "#!/bin/sh\nexport GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=uploadpack.packObjectsHook\n\
         export GIT_CONFIG_VALUE_0='{}'\neval \"$SSH_ORIGINAL_COMMAND\"\n",
        packs.display()
    );
    let liar = common::script(&folder.path().join("liar"), &text);
    let options = format!("command=\"{}\"", liar.display());
    let Some(sshd) = Sshd::start("a_server_that_says_it_does_not_filter", &key, &options) else { return };
    let repo = TestRepo::new();
    let ids = history(&repo);
    repo.git(["config", "uploadpack.allowFilter", "false"]);
    let setup = Setup::with_protocols(&[Protocol::Ssh]);
    let remote = sshd.remote(repo.path(), &key);
    let partial = mirror(&setup, MirrorKind::Partial).await;
    assert_eq!(bring(&partial, &remote, &ids[19]).await.expect("brought"), 4);
    assert_eq!(partial.kind(), MirrorKind::Partial);
    assert!(contents(&partial, &ids[19]).is_ok());
    assert_eq!(bring(&partial, &remote, &ids[3]).await.expect("brought"), 2);
    // Nor does it make a full one of it.
    let full = mirror(&setup, MirrorKind::Full).await;
    let error = full.fetch(&remote, &wanted(MAIN, &ids[19]), limits()).await.expect_err("not all");
    assert!(matches!(error, GitError::Protocol { .. }) && error.is_transient(), "{error:?}");
    assert_eq!((full.kind(), contents(&partial, &ids[19]).is_ok()), (MirrorKind::Partial, true));
}

#[tokio::test]
async fn a_git_that_is_too_old_is_refused_for_partial_mirrors_alone() {
    let repo = TestRepo::new();
    let ids = history(&repo);
    let remote = remote(&repo.url());
    let folder = tempfile::tempdir().expect("a folder");
    let git = |version: &str| {
        let last = "for last; do :; done";
        let text = format!(
            "#!/bin/sh\n{last}\n[ \"$last\" = --version ] && echo git version {version} && exit\nexec git \"$@\"\n"
        );
        common::script(&folder.path().join(version), &text)
    };
    for (version, is_enough) in [("2.39.5", false), ("2.44.4", false), ("2.45.0", true)] {
        let setup = Setup::with(|options| options.program = git(version));
        let partial = mirror(&setup, MirrorKind::Partial).await;
        let brought = bring(&partial, &remote, &ids[19]).await;
        assert_eq!(brought.is_ok(), is_enough, "{version}");
        if let Err(error) = brought {
            assert!(matches!(error, GitError::PartialVersion { .. }) && !error.is_transient(), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("2.45.0") && text.contains(version) && text.contains("full"), "{text}");
            bring(&mirror(&setup, MirrorKind::Full).await, &remote, &ids[19]).await.expect("full ones do");
        }
    }
    // One that was made by a newer git.
    let setup = Setup::new();
    bring(&mirror(&setup, MirrorKind::Partial).await, &remote, &ids[19]).await.expect("brought");
    let older = Setup::with(|options| options.program = git("2.44.0"));
    for kind in [MirrorKind::Full, MirrorKind::Partial] {
        let opened = gristmill_git::Mirror::open_or_create(&older.git, setup.mirror_dir()).await;
        let error = bring(&opened.expect("a mirror").of_kind(kind), &remote, &ids[18]).await;
        assert!(matches!(error, Err(GitError::PartialVersion { .. })), "{kind:?} {error:?}");
    }
}
