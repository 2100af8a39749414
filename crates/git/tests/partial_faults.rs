//! Partial mirrors that are damaged, limited or refused something.

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use common::history::{MAIN, blobs_of, bring, contents, history, mirror, noise, objects};
use common::{Setup, by_id, commit, limits, remote, wanted};
use gristmill_git::{FetchLimits, GitError, MirrorKind, ObjectError};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

#[tokio::test]
async fn a_damaged_one_is_made_anew_as_it_was_and_lost_contents_are_asked_for_again() {
    let repo = TestRepo::new();
    let ids = history(&repo);
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let packs = setup.repo_dir().join("objects/pack");
    let damages: &[(&str, &dyn Fn())] = &[
        ("no configuration", &|| std::fs::remove_file(setup.repo_dir().join("config")).expect("removed")),
        ("packs gone", &|| {
            std::fs::remove_dir_all(&packs).expect("removed");
            std::fs::create_dir(&packs).expect("made");
        }),
        ("an unknown remote", &|| {
            let text = std::fs::read_to_string(setup.repo_dir().join("config")).expect("a config");
            let text = format!("{text}[remote \"gristmill\"]\n\turl = /elsewhere\n");
            std::fs::write(setup.repo_dir().join("config"), text).expect("written");
        }),
        ("marks gone", &|| {
            for (path, _) in common::files_below(&packs) {
                if path.extension().is_some_and(|ending| ending == "promisor") {
                    std::fs::remove_file(path).expect("removed");
                }
            }
        }),
    ];
    for (number, (what, damage)) in damages.iter().enumerate() {
        bring(&mirror(&setup, MirrorKind::Partial).await, &remote, &ids[number]).await.expect("brought");
        damage();
        let mirror = mirror(&setup, MirrorKind::Partial).await;
        bring(&mirror, &remote, &ids[19 - number]).await.expect(what);
        assert_eq!(mirror.kind(), MirrorKind::Partial, "{what}");
        assert!(contents(&mirror, &ids[19 - number]).is_ok(), "{what}");
        assert!(objects(&setup.repo_dir(), "blob").len() < 20, "{what}");
    }
    // The newest pack has contents alone. Without it the commit is here still, and only they are asked for.
    let mirror = mirror(&setup, MirrorKind::Partial).await;
    let before = common::files_below(&packs).into_iter().map(|(path, _)| path).collect::<BTreeSet<_>>();
    let id = repo.commit("main", &Changes::new().file("big", noise(99)));
    mirror.fetch(&remote, &wanted(MAIN, &id), limits()).await.expect("fetched");
    let fetched = common::files_below(&packs).into_iter().map(|(path, _)| path).collect::<BTreeSet<_>>();
    assert!(matches!(contents(&mirror, &id), Err(ObjectError::Missing(_))));
    assert_eq!(mirror.fill(&remote, commit(&id), limits()).await.expect("filled"), 1);
    for (path, _) in common::files_below(&packs).iter().filter(|(path, _)| !fetched.contains(path)) {
        std::fs::remove_file(path).expect("removed");
    }
    assert!(fetched.len() > before.len());
    assert_eq!(bring(&mirror, &remote, &id).await.expect("brought again"), 1);
    assert!(contents(&mirror, &id).is_ok());
}

#[tokio::test]
async fn a_content_that_is_not_given_out_is_an_error_and_no_reason_to_begin_anew() {
    let repo = TestRepo::new();
    let ids = history(&repo);
    let other = TestRepo::new();
    history(&other);
    let only_here = repo.commit("main", &Changes::new().file("secret", "only here"));
    let setup = Setup::new();
    let mirror = mirror(&setup, MirrorKind::Partial).await;
    bring(&mirror, &remote(&repo.url()), &ids[19]).await.expect("brought");
    mirror.fetch(&remote(&repo.url()), &by_id(&only_here), limits()).await.expect("fetched");
    let error =
        mirror.fill(&remote(&other.url()), commit(&only_here), limits()).await.expect_err("not there");
    assert!(matches!(error, GitError::ContentUnavailable { .. }) && !error.is_transient(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&only_here) && text.contains("not our ref") && text.contains("full"), "{text}");
    assert!(contents(&mirror, &ids[19]).is_ok(), "nothing was lost");
    assert_eq!(mirror.fill(&remote(&repo.url()), commit(&only_here), limits()).await.expect("filled"), 1);
}

/// A repository that is a partial clone itself fetches what it lacks when it is asked for it, by what its own
/// configuration says.
#[tokio::test]
async fn a_repository_that_lacks_a_content_itself_runs_nothing_to_get_it() {
    let repo = TestRepo::new();
    let ids = history(&repo);
    let trapped = TestRepo::new();
    history(&trapped);
    let only_here = repo.commit("main", &Changes::new().file("secret", "only here"));
    let setup = Setup::new();
    let canary = setup.folder.path().join("canary");
    let text = format!("#!/bin/sh\ntouch '{}'\n", canary.display());
    let trap = common::script(&setup.folder.path().join("trap"), &text).display().to_string();
    for (key, value) in [
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", &repo.url()),
        ("remote.origin.uploadpack", &trap),
    ] {
        trapped.git(["config", key, value]);
    }
    let mirror = mirror(&setup, MirrorKind::Partial).await;
    bring(&mirror, &remote(&repo.url()), &ids[19]).await.expect("brought");
    mirror.fetch(&remote(&repo.url()), &by_id(&only_here), limits()).await.expect("fetched");
    let error =
        mirror.fill(&remote(&trapped.url()), commit(&only_here), limits()).await.expect_err("not there");
    assert!(matches!(error, GitError::ContentUnavailable { .. }), "{error:?}");
    assert!(!canary.exists(), "it ran something");
    // The trap does work.
    let missing = blobs_of(&repo, &only_here).difference(&blobs_of(&repo, &ids[19])).next().cloned();
    let asked = Command::new("git")
        .args(["--git-dir", &trapped.path().display().to_string(), "cat-file", "-e"])
        .arg(missing.expect("a content"))
        .output()
        .expect("git starts");
    assert!(!asked.status.success() && canary.exists());
}

#[tokio::test]
async fn contents_count_for_the_limits() {
    let repo = TestRepo::new();
    let ids = history(&repo);
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = mirror(&setup, MirrorKind::Partial).await;
    mirror.fetch(&remote, &wanted(MAIN, &ids[19]), limits()).await.expect("fetched");
    let small = FetchLimits { mirror_bytes_max: mirror.bytes() - 1, ..limits() };
    let error = mirror.fill(&remote, commit(&ids[19]), small).await.expect_err("too large");
    assert!(matches!(error, GitError::TooLarge { max, .. } if max == small.mirror_bytes_max), "{error:?}");
    let short = FetchLimits { time_max: Duration::ZERO, ..limits() };
    let error = mirror.fill(&remote, commit(&ids[19]), short).await.expect_err("no time");
    assert!(matches!(error, GitError::Timeout { command: "fetch", .. }), "{error:?}");
    assert_eq!(mirror.fill(&remote, commit(&ids[19]), limits()).await.expect("filled"), 4);
}

/// More than one request's worth of ids, which are on no command line.
#[tokio::test]
async fn many_contents_come_in_several_requests() {
    let repo = TestRepo::new();
    repo.git(["config", "uploadpack.allowFilter", "true"]);
    let number = 20_001;
    let changes = (0..number)
        .fold(Changes::new(), |changes, n| changes.file(format!("{}/{n}", n % 100), format!("{n}")));
    let id = repo.commit("main", &changes);
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = mirror(&setup, MirrorKind::Partial).await;
    assert_eq!(bring(&mirror, &remote, &id).await.expect("brought"), number);
    assert_eq!(objects(&setup.repo_dir(), "blob").len(), number);
    let packs = common::files_below(&setup.repo_dir().join("objects/pack"));
    assert_eq!(packs.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "pack")).count(), 1 + 2);
}
