//! Mirrors bring exact commits, keep them, and survive what happens to them.

mod common;

use std::time::{Duration, Instant, UNIX_EPOCH};

use common::{Setup, by_id, commit, limits, remote, wanted};
use gristmill_git::{FetchLimits, Fetched, GitError, Maintained, Mirror, Reachability, Wanted};
use gristmill_testkit::forge::Fault;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::{FakeGithub, TestRepo};

fn brought(id: &str, reachability: Reachability) -> Fetched {
    Fetched { commit: commit(id), reachability }
}

#[tokio::test]
async fn a_commit_is_brought_by_its_ref_and_stands_to_it() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    let first = repo.commit("main", &Changes::new().file("a", "1"));
    let second = repo.commit("main", &Changes::new().file("a", "2"));
    let (setup, remote) = (Setup::new(), remote(&forge.clone_url("acme/shop")));
    let mirror = setup.mirror().await;
    let fetch = async |wanted: &Wanted| mirror.fetch(&remote, wanted, limits()).await;

    let main = "refs/heads/main";
    assert_eq!(fetch(&wanted(main, &second)).await.expect("fetched"), brought(&second, Reachability::Tip));
    assert_eq!(fetch(&wanted(main, &first)).await.expect("fetched"), brought(&first, Reachability::Ancestor));
    let asked = forge.requests().len();
    assert_eq!(fetch(&wanted(main, &first)).await.expect("here"), brought(&first, Reachability::NotAsked));
    assert_eq!(fetch(&wanted(main, &second)).await.expect("here"), brought(&second, Reachability::NotAsked));
    assert_eq!(forge.requests().len(), asked, "nobody is asked for what is here");

    assert!(mirror.is_ancestor(commit(&first), commit(&second)).await.expect("both are here"));
    assert!(mirror.is_ancestor(commit(&first), commit(&first)).await.expect("itself"));
    assert!(!mirror.is_ancestor(commit(&second), commit(&first)).await.expect("both are here"));
    let missing = mirror.is_ancestor(commit(&"1".repeat(40)), commit(&first)).await.expect_err("missing");
    assert!(matches!(missing, GitError::Damaged { .. }), "{missing:?}");
}

#[tokio::test]
async fn a_commit_that_was_pushed_away_is_brought_by_id() {
    let repo = TestRepo::new();
    let first = repo.commit("main", &Changes::new().file("a", "1"));
    let lost = repo.commit("main", &Changes::new().file("a", "2"));
    let other = repo.commit_onto("main", Some(&first), &Changes::new().file("a", "3"));
    let gone = repo.commit("gone", &Changes::new().file("b", "1"));
    repo.delete_ref("refs/heads/gone");
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = setup.mirror().await;
    let fetch = async |wanted: &Wanted| mirror.fetch(&remote, wanted, limits()).await;
    let main = "refs/heads/main";
    assert_eq!(fetch(&wanted(main, &lost)).await.expect("by id"), brought(&lost, Reachability::Unreachable));
    assert_eq!(fetch(&wanted(main, &other)).await.expect("by ref"), brought(&other, Reachability::Tip));
    let result = fetch(&wanted("refs/heads/gone", &gone)).await.expect("by id");
    assert_eq!(result, brought(&gone, Reachability::RefGone));
    let unreferenced = repo.commit_unreferenced(&[], &Changes::new().file("c", "1"));
    let result = fetch(&by_id(&unreferenced)).await.expect("by id");
    assert_eq!(result, brought(&unreferenced, Reachability::NotAsked));

    let never = "1".repeat(40);
    for wanted in [by_id(&never), wanted(main, &never), wanted("refs/heads/gone", &never)] {
        let error = fetch(&wanted).await.expect_err("it does not exist");
        assert!(
            matches!(&error, GitError::CommitUnavailable { commit: id, .. } if *id == commit(&never)),
            "{error:?}"
        );
        assert!(!error.is_transient());
    }
    // What was pinned stays although no remote ref leads to it, also after everything was joined.
    mirror.maintain(Duration::from_secs(30)).await.expect("tidied");
    assert_eq!(
        mirror.objects().expect("a reader").commit(commit(&lost)).expect("kept").summary,
        "Change number 2"
    );
}

#[tokio::test]
async fn a_branch_may_become_a_folder_of_branches() {
    let repo = TestRepo::new();
    let first = repo.commit("a", &Changes::new().file("a", "1"));
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = setup.mirror().await;
    mirror.fetch(&remote, &wanted("refs/heads/a", &first), limits()).await.expect("fetched");
    repo.delete_ref("refs/heads/a");
    let second = repo.commit("a/b", &Changes::new().file("a", "2"));
    let result = mirror.fetch(&remote, &wanted("refs/heads/a/b", &second), limits()).await.expect("fetched");
    assert_eq!(result, brought(&second, Reachability::Tip));
}

#[tokio::test]
async fn tags_lead_to_commits() {
    let repo = TestRepo::new();
    let first = repo.commit("main", &Changes::new().file("a", "1"));
    let second = repo.commit("main", &Changes::new().file("a", "2"));
    let tag = repo.annotated_tag("v1", &first);
    let tag_of_tag = repo.annotated_tag("v1-signed", &tag);
    let blob = repo.ls_tree(&first)[0].id.clone();
    let tag_of_blob = repo.annotated_tag("blob", &blob);
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = setup.mirror().await;
    let fetch = async |wanted: &Wanted| mirror.fetch(&remote, wanted, limits()).await;
    // GitHub sends the tag object's id; others send the commit's.
    assert_eq!(
        fetch(&wanted("refs/tags/v1", &tag)).await.expect("a tag"),
        brought(&first, Reachability::Tip)
    );
    let result = fetch(&wanted("refs/tags/v1-signed", &tag_of_tag)).await.expect("a tag of a tag");
    assert_eq!(result, brought(&first, Reachability::Tip));
    // The commit was pinned along with the tag.
    assert_eq!(fetch(&by_id(&first)).await.expect("here"), brought(&first, Reachability::NotAsked));
    assert_eq!(fetch(&by_id(&tag)).await.expect("here"), brought(&first, Reachability::NotAsked));

    let setup = Setup::new();
    let mirror = setup.mirror().await;
    let fetch = async |wanted: &Wanted| mirror.fetch(&remote, wanted, limits()).await;
    assert_eq!(
        fetch(&wanted("refs/tags/v1", &first)).await.expect("its commit"),
        brought(&first, Reachability::Tip)
    );
    let result = fetch(&wanted("refs/tags/v1", &second)).await.expect("another commit");
    assert_eq!(result, brought(&second, Reachability::Unreachable));
    for (wanted, kind) in [(by_id(&blob), "blob"), (wanted("refs/tags/blob", &tag_of_blob), "blob")] {
        for _ in 0..2 {
            let error = fetch(&wanted).await.expect_err("not a commit");
            assert!(
                matches!(&error, GitError::NotACommit { kind: found, .. } if *found == kind),
                "{error:?}"
            );
            assert!(!error.is_transient());
        }
    }
    let pins = std::fs::read_dir(setup.repo_dir().join("refs/gristmill")).expect("pins").count();
    assert_eq!(pins, 2, "what is no commit is not kept");
}

#[tokio::test]
async fn each_fetch_is_one_pack_and_many_are_joined() {
    let repo = TestRepo::new();
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = setup.mirror().await;
    let mut last = String::new();
    for number in 0..20 {
        last = repo.commit("main", &Changes::new().file("a", format!("{number}")));
        mirror.fetch(&remote, &wanted("refs/heads/main", &last), limits()).await.expect("fetched");
    }
    let maintain = || mirror.maintain(Duration::from_secs(30));
    assert_eq!(maintain().await.expect("looked"), Maintained { packs_before: 20, packs_after: 20 });
    last = repo.commit("main", &Changes::new().file("a", format!("{last} and more")));
    mirror.fetch(&remote, &wanted("refs/heads/main", &last), limits()).await.expect("fetched");
    let done = maintain().await.expect("joined");
    assert_eq!(done.packs_before, 21);
    assert!(done.packs_after < 5, "{done:?}");
    assert!(mirror.objects().expect("a reader").commit(commit(&last)).is_ok());
}

/// While many pushes are queued no idle moment comes.
#[tokio::test]
async fn a_burst_joins_packs_by_itself() {
    let repo = TestRepo::new();
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let mirror = setup.mirror().await;
    let (mut all, mut readers) = (Vec::new(), Vec::new());
    for number in 0..205 {
        all.push(repo.commit("main", &Changes::new().file("a", format!("{number}"))));
        mirror.fetch(&remote, &wanted("refs/heads/main", &all[number]), limits()).await.expect("fetched");
        if number == 85 {
            // Begins when there are few packs, and reads after many came and went.
            readers.push(mirror.objects().expect("a reader"));
            // It opens all indices for this, and not yet the packs.
            assert!(readers[0].commit(commit(&"1".repeat(40))).is_err());
        }
    }
    assert!(mirror.maintain(Duration::from_secs(30)).await.expect("looked").packs_before < 80);
    readers.push(mirror.objects().expect("a reader"));
    for (reader, one) in readers.iter().flat_map(|reader| all.iter().map(move |one| (reader, one))) {
        reader.commit(commit(one)).expect("it is there");
    }
}

#[tokio::test]
async fn many_pins_are_packed_and_still_found() {
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    mirror.fetch(&remote(&repo.url()), &wanted("refs/heads/main", &id), limits()).await.expect("fetched");
    let pins = setup.repo_dir().join("refs/gristmill");
    for number in 0..200 {
        std::fs::write(pins.join(format!("{number:040}")), format!("{id}\n")).expect("a pin");
    }
    mirror.maintain(Duration::from_secs(30)).await.expect("packed");
    assert!(!pins.join(&id).exists(), "the pin is in packed-refs now");
    repo.delete_ref("refs/heads/main");
    let here = mirror.fetch(&remote("/no/such/repository"), &by_id(&id), limits()).await.expect("pinned");
    assert_eq!(here, brought(&id, Reachability::NotAsked));
}

#[tokio::test]
async fn a_mirror_in_use_is_waited_for_with_patience_that_ends() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    forge.set_fault(Fault::Hang);
    let remote = remote(&forge.clone_url("acme/shop"));
    let busy = tokio::spawn({
        let (mirror, remote, wanted) = (mirror.clone(), remote.clone(), wanted("refs/heads/main", &id));
        async move { mirror.fetch(&remote, &wanted, limits()).await }
    });
    while forge.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let again = Mirror::open_or_create(&setup.git, setup.mirror_dir()).await.expect("opening needs no lock");
    let impatient = FetchLimits { lock_wait_max: Duration::from_millis(100), ..limits() };
    let error = again.fetch(&remote, &by_id(&id), impatient).await.expect_err("in use");
    assert!(matches!(error, GitError::Locked { .. }) && error.is_transient(), "{error:?}");
    // Whoever gives up frees the mirror.
    busy.abort();
    forge.set_fault(Fault::None);
    let result = again.fetch(&remote, &by_id(&id), limits()).await.expect("free again");
    assert_eq!(result.commit, commit(&id));
}

#[tokio::test]
async fn a_fetch_ends_with_its_time() {
    let forge = FakeGithub::start();
    let id = forge.create("acme/shop", "secret").commit("main", &Changes::new());
    forge.set_fault(Fault::Hang);
    let setup = Setup::new();
    let short = FetchLimits { time_max: Duration::from_millis(300), ..limits() };
    let start = Instant::now();
    let remote = remote(&forge.clone_url("acme/shop"));
    let error = setup.mirror().await.fetch(&remote, &by_id(&id), short).await.expect_err("no answer");
    assert!(matches!(error, GitError::Timeout { command: "fetch", .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_repository_larger_than_allowed_is_stopped() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    // Bytes that do not compress.
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(3_000_000)
    .collect();
    let id = repo.commit("main", &Changes::new().file("noise", noise));
    forge.set_fault(Fault::Slow(400_000));
    let setup = Setup::new();
    let small = FetchLimits { mirror_bytes_max: 100_000, ..limits() };
    let remote = remote(&forge.clone_url("acme/shop"));
    let error = setup.mirror().await.fetch(&remote, &by_id(&id), small).await.expect_err("too large");
    assert!(matches!(error, GitError::TooLarge { max: 100_000, .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_mirror_is_made_anew() {
    let repo = TestRepo::new();
    let first = repo.commit("main", &Changes::new().file("a", "1"));
    let setup = Setup::new();
    let (remote, repo_dir) = (remote(&repo.url()), setup.repo_dir());
    let fill = async || {
        let mirror = setup.mirror().await;
        let fetched =
            mirror.fetch(&remote, &wanted("refs/heads/main", &first), limits()).await.expect("fetched");
        assert_eq!(fetched.commit, commit(&first));
        assert!(mirror.objects().expect("a reader").commit(commit(&first)).is_ok());
        mirror
    };
    let damages: &[(&str, &dyn Fn())] = &[
        ("no HEAD", &|| std::fs::remove_file(repo_dir.join("HEAD")).expect("removed")),
        ("an empty HEAD", &|| std::fs::write(repo_dir.join("HEAD"), "").expect("written")),
        ("no objects", &|| std::fs::remove_dir_all(repo_dir.join("objects")).expect("removed")),
        ("no refs", &|| std::fs::remove_dir_all(repo_dir.join("refs")).expect("removed")),
        ("another config", &|| {
            std::fs::write(repo_dir.join("config"), "[core]\n\tbare = true\n").expect("written");
        }),
        ("borrowed objects", &|| {
            std::fs::write(repo_dir.join("objects/info/alternates"), "/x\n").expect("written");
        }),
        ("a shallow history", &|| std::fs::write(repo_dir.join("shallow"), "").expect("written")),
        ("nothing at all", &|| std::fs::remove_dir_all(&repo_dir).expect("removed")),
        ("a file in its place", &|| {
            std::fs::remove_dir_all(&repo_dir).expect("removed");
            std::fs::write(&repo_dir, "x").expect("written");
        }),
    ];
    for (what, damage) in damages {
        fill().await;
        damage();
        fill().await;
        assert!(repo_dir.join("objects/pack").is_dir(), "{what}");
    }
    // Damage that only a fetch meets.
    let second = repo.commit("main", &Changes::new().file("a", "2"));
    let hidden: &[(&str, &dyn Fn())] = &[
        ("an empty pin", &|| {
            std::fs::write(repo_dir.join("refs/gristmill").join(&first), "").expect("written");
        }),
        ("a pack cut short", &|| {
            for (path, content) in common::files_below(&repo_dir.join("objects/pack")) {
                if path.extension().is_some_and(|ending| ending == "pack" || ending == "idx") {
                    std::fs::remove_file(&path).expect("removed");
                    std::fs::write(&path, &content[..content.len() / 2]).expect("written");
                }
            }
        }),
        ("packs gone", &|| {
            std::fs::remove_dir_all(repo_dir.join("objects/pack")).expect("removed");
            std::fs::create_dir(repo_dir.join("objects/pack")).expect("made");
        }),
    ];
    for (what, damage) in hidden {
        let mirror = fill().await;
        damage();
        let result = mirror.fetch(&remote, &wanted("refs/heads/main", &second), limits()).await;
        assert_eq!(result.expect(what).commit, commit(&second), "{what}");
        assert!(setup.mirror_dir().join("damaged").exists(), "{what}");
        mirror.rebuild().await.expect("a new one");
    }
}

#[tokio::test]
async fn what_a_killed_git_left_is_removed() {
    let repo = TestRepo::new();
    let first = repo.commit("main", &Changes::new().file("a", "1"));
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    let repo_dir = setup.repo_dir();
    let tip = format!("refs/gristmill-tip/{}.lock", gristmill_model::Digest::of(b"refs/heads/main").to_hex());
    let pin = format!("refs/gristmill/{first}.lock");
    let left = [
        "packed-refs.lock",
        "shallow.lock",
        &pin,
        &tip,
        "objects/info/commit-graph.lock",
        "objects/pack/tmp_pack_abc",
        "objects/pack/.tmp-1-pack-x.pack",
        "objects/pack/pack-1.keep",
        "objects/pack/pack-2.pack",
        "objects/ab/tmp_obj_x",
        "objects/tmp_objdir-incoming-x/y",
    ];
    for name in left {
        let path = repo_dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, "").expect("written");
    }
    mirror.fetch(&remote(&repo.url()), &wanted("refs/heads/main", &first), limits()).await.expect("fetched");
    for name in left {
        assert!(!repo_dir.join(name).exists(), "{name}");
    }
    // A whole pack stays.
    assert_eq!(mirror.objects().expect("a reader").commit(commit(&first)).expect("here").parents, []);
    mirror
        .fetch(&remote(&repo.url()), &by_id(&repo.commit("x", &Changes::new())), limits())
        .await
        .expect("fetched");
    assert!(mirror.objects().expect("a reader").commit(commit(&first)).is_ok());
}

#[tokio::test]
async fn only_mirrors_that_nobody_used_for_long_are_removed() {
    let setup = Setup::new();
    let dir = setup.mirror_dir();
    let age = |days: u64| {
        let file = std::fs::File::options().write(true).open(dir.join("used")).expect("noted");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(days * 86_400)).expect("set");
    };
    let before = UNIX_EPOCH + Duration::from_secs(100 * 86_400);
    let mirror = setup.mirror().await;
    assert!(!Mirror::remove_unused(&dir, before).await.expect("looked"), "nobody noted when it was used");
    age(99);
    let lock = std::fs::File::open(dir.join("lock")).expect("a lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let held = Mirror::remove_unused(&dir, before).await;
    assert!(matches!(held, Err(GitError::Locked { .. })) && dir.exists(), "{held:?}");
    drop(lock);
    // A process that another test starts at this moment has the lock too, until it is another program.
    let remove = async || loop {
        match Mirror::remove_unused(&dir, before).await {
            Err(GitError::Locked { .. }) => tokio::task::yield_now().await,
            done => return done,
        }
    };
    mirror.used().expect("noted");
    assert!(!remove().await.expect("looked"), "it was used just now");
    age(100);
    assert!(!remove().await.expect("looked"), "it was used just then");
    age(99);
    assert!(remove().await.expect("removed") && !dir.exists());
    assert!(setup.mirror().await.objects().is_ok(), "it is made anew");
}
