//! Commits, trees and blobs as git itself shows them; malformed ones are refused.

mod common;

use std::collections::BTreeSet;

use common::{Setup, by_id, commit, limits, remote};
use gristmill_git::{Entry, ObjectError, Objects, WalkLimits};
use gristmill_model::{BlobId, ObjectId, Timestamp, TreeId};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::{Changes, FIRST_COMMIT_S};

/// A reader of everything in `repo`, and what keeps it alive.
async fn mirrored(repo: &TestRepo, id: &str) -> (Setup, Objects) {
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    mirror.fetch(&remote(&repo.url()), &by_id(id), limits()).await.expect("fetched");
    let objects = mirror.objects().expect("a reader");
    (setup, objects)
}

/// A reader of a repository's own files, for objects that no fetch would bring.
async fn direct(repo: &TestRepo) -> (Setup, Objects) {
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    std::fs::remove_dir_all(setup.repo_dir().join("objects")).expect("removed");
    std::os::unix::fs::symlink(repo.path().join("objects"), setup.repo_dir().join("objects"))
        .expect("linked");
    let objects = mirror.objects().expect("a reader");
    (setup, objects)
}

fn walk(
    objects: &Objects,
    tree: TreeId,
    limits: WalkLimits,
) -> Result<Vec<(String, String, Vec<u8>)>, ObjectError> {
    let mut lines = Vec::new();
    objects.walk(tree, limits, |path, entry| {
        lines.push((entry.mode().as_str().to_owned(), entry.id().to_string(), path.to_owned()));
        Ok::<(), ObjectError>(())
    })?;
    Ok(lines)
}

#[tokio::test]
async fn a_tree_is_walked_as_git_lists_it() {
    let repo = TestRepo::new();
    let first = repo.commit("main", &Changes::new().file("a", "1"));
    let changes = Changes::new()
        .file("a.b", "x")
        .file("a/b", "y")
        .file("a-b", "z")
        .executable("bin/run", "#!/bin/sh\n")
        .symlink("link", "../else where")
        .submodule("sub/module", &first)
        .file("empty", "")
        .file("new\nline and \"quotes\" \\ back", "q")
        .file(b"latin-\xe9", "l")
        .file("päth/ünï", "u")
        .file("x".repeat(255), "long")
        .file(".gitignore", "i")
        .file(".gitmodules", "m")
        .remove("a");
    // `remove` comes last and would take a/b along, hence another commit for that.
    let second = repo.commit("main", &changes);
    let third = repo.commit("main", &Changes::new().file("a/b", "y").file("a0", "0"));
    let (_setup, objects) = mirrored(&repo, &third).await;
    for id in [&first, &second, &third] {
        let info = objects.commit(commit(id)).expect("a commit");
        let lines = walk(&objects, info.tree, WalkLimits::default()).expect("a tree");
        let expected: Vec<_> =
            repo.ls_tree(id).into_iter().map(|line| (line.mode, line.id, line.path)).collect();
        assert_eq!(lines, expected);
    }
    let info = objects.commit(commit(&second)).expect("a commit");
    assert_eq!(info.parents, [commit(&first)]);
    assert_eq!(info.summary, "Change number 2");
    assert_eq!(info.committed, Timestamp((i64::try_from(FIRST_COMMIT_S).expect("small") + 60) * 1000));
    let mut seen = BTreeSet::new();
    let tree = objects.commit(commit(&third)).expect("a commit").tree;
    objects
        .walk(tree, WalkLimits::default(), |_, entry| {
            seen.insert(match entry {
                Entry::File { executable, .. } => {
                    if executable {
                        "executable"
                    } else {
                        "file"
                    }
                }
                Entry::Symlink { .. } => "symlink",
                Entry::Folder { .. } => "folder",
                Entry::Submodule { .. } => "submodule",
            });
            Ok::<(), ObjectError>(())
        })
        .expect("a tree");
    assert_eq!(seen, BTreeSet::from(["executable", "file", "folder", "submodule", "symlink"]));
}

#[tokio::test]
async fn blobs_come_whole_in_every_way() {
    let repo = TestRepo::new();
    let large: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
    let id =
        repo.commit("main", &Changes::new().file("large", &large).file("empty", "").file("x", "text\r\n\0"));
    let (_setup, objects) = mirrored(&repo, &id).await;
    let mut buffer = b"left from before".to_vec();
    for line in repo.ls_tree(&id) {
        let blob = BlobId(line.id.parse().expect("an id"));
        let expected = repo.blob(&line.id);
        objects.blob(blob, &mut buffer).expect("a blob");
        assert_eq!(buffer, expected);
        assert_eq!(objects.blob_size(blob).expect("a blob"), expected.len() as u64);
        let mut copied = Vec::new();
        assert_eq!(objects.copy_blob(blob, &mut copied).expect("a blob"), expected.len() as u64);
        assert_eq!(copied, expected);
    }
    // A clone works in another thread.
    let clone = objects.clone();
    let info =
        std::thread::spawn(move || clone.commit(commit(&id))).join().expect("no panic").expect("a commit");
    assert_eq!(info.parents, []);
    let full = &mut [0u8; 10][..];
    let blob = BlobId(repo.resolve("main:large").expect("there").parse().expect("an id"));
    assert!(matches!(objects.copy_blob(blob, &mut &mut *full), Err(ObjectError::Copy { .. })));
}

#[tokio::test]
async fn a_wrong_id_says_what_is_wrong() {
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let (_setup, objects) = mirrored(&repo, &id).await;
    let info = objects.commit(commit(&id)).expect("a commit");
    let blob: ObjectId = repo.ls_tree(&id)[0].id.parse().expect("an id");
    let missing: ObjectId = "1".repeat(40).parse().expect("an id");
    let sha256: ObjectId = "1".repeat(64).parse().expect("an id");
    let mut buffer = Vec::new();
    let kind = |error: ObjectError| match error {
        ObjectError::Kind { found, expected, .. } => (found, expected),
        other => panic!("{other:?}"),
    };
    use gristmill_model::CommitId;
    assert_eq!(kind(objects.commit(CommitId(blob)).expect_err("a blob")), ("blob", "commit"));
    assert_eq!(kind(objects.blob(BlobId(info.tree.0), &mut buffer).expect_err("a tree")), ("tree", "blob"));
    assert_eq!(kind(objects.blob_size(BlobId(commit(&id).0)).expect_err("a commit")), ("commit", "blob"));
    assert_eq!(kind(objects.peel(blob).expect_err("a blob")), ("blob", "commit"));
    assert_eq!(
        kind(walk(&objects, TreeId(blob), WalkLimits::default()).expect_err("a blob")),
        ("blob", "tree")
    );
    for error in [
        objects.commit(CommitId(missing)).expect_err("missing"),
        objects.blob(BlobId(missing), &mut buffer).expect_err("missing"),
        objects.blob_size(BlobId(missing)).expect_err("missing"),
        objects.peel(missing).expect_err("missing"),
        objects.copy_blob(BlobId(missing), &mut Vec::new()).expect_err("missing"),
    ] {
        assert!(
            matches!(error, ObjectError::Missing(id) if id == missing) && error.is_transient(),
            "{error:?}"
        );
    }
    assert!(matches!(objects.peel(sha256), Err(ObjectError::Format(id)) if id == sha256));
}

/// Mode, name and id.
type TreeEntry<'a> = (&'a str, &'a [u8], &'a str);

/// A tree object's bytes.
fn tree_bytes(entries: &[TreeEntry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(id.parse::<ObjectId>().expect("an id").as_bytes());
    }
    bytes
}

#[tokio::test]
async fn trees_that_git_would_not_write_are_refused() {
    let repo = TestRepo::new();
    let blob = repo.raw_object("blob", b"x");
    let blob = blob.as_str();
    let empty = repo.raw_object("tree", b"");
    let empty = empty.as_str();
    let long = b"n".repeat(5000);
    let cases: &[(&[TreeEntry<'_>], Option<&str>)] = &[
        (&[], None),
        (&[("100644", b"a", blob), ("40000", b"b", empty)], None),
        (&[("100644", b"a", blob), ("100644", b"a.b", blob), ("40000", b"aa", empty)], None),
        (&[("100644", b"a-b", blob), ("40000", b"a", empty), ("100644", b"a0", blob)], None),
        // Modes of old versions, as git reads them.
        (&[("100664", b"a", blob), ("100775", b"b", blob), ("040000", b"c", empty)], None),
        (&[("100644", b".gitx", blob), ("100644", b"...", blob)], Some("order")),
        (&[("100644", b"...", blob), ("100644", b".gitx", blob)], None),
        (&[("100644", b"", blob)], Some("empty name")),
        (&[("100644", b".", blob)], Some("another folder")),
        (&[("40000", b"..", empty)], Some("another folder")),
        (&[("100644", b"a/b", blob)], Some("slash")),
        (&[("40000", b".git", empty)], Some("`.git`")),
        (&[("100644", b".GiT", blob)], Some("`.git`")),
        (&[("100644", b"a", blob), ("100644", b"a", blob)], Some("twice")),
        (&[("100644", b"b", blob), ("100644", b"a", blob)], Some("order")),
        (&[("40000", b"a", empty), ("100644", b"a-b", blob)], Some("order")),
        (&[("100644", b"a", blob), ("40000", b"a", empty)], Some("both")),
        (&[("100644", b"a", blob), ("100644", b"a.b", blob), ("40000", b"a", empty)], Some("both")),
        (&[("120000", b"a", blob), ("100644", b"a-", blob), ("40000", b"a", empty)], Some("both")),
        (&[("60000", b"a", blob)], Some("mode")),
        (&[("10644", b"a", blob)], Some("mode")),
        (&[("0", b"a", blob)], Some("mode")),
        (&[("100649", b"a", blob)], Some("cut off")),
        (&[("100644", &long, blob)], Some("bytes in a path")),
    ];
    let mut made = Vec::new();
    for (entries, fault) in cases {
        made.push((repo.raw_object("tree", &tree_bytes(entries)), *fault));
    }
    let whole = tree_bytes(&[("100644", b"a", blob)]);
    made.push((repo.raw_object("tree", &whole[..whole.len() - 1]), Some("cut off")));
    made.push((repo.raw_object("tree", b"100644"), Some("cut off")));
    let (_setup, objects) = direct(&repo).await;
    for (n, (id, fault)) in made.into_iter().enumerate() {
        let tree = TreeId(id.parse().expect("an id"));
        match (walk(&objects, tree, WalkLimits::default()), fault) {
            (Ok(_), None) => {}
            (Err(error), Some(fault)) => {
                assert!(error.to_string().contains(fault), "case {n}: {error}");
                assert!(!error.is_transient());
            }
            (result, fault) => panic!("case {n}: {result:?}, expected {fault:?}"),
        }
    }
    let modes = TreeId(
        repo.raw_object("tree", &tree_bytes(&[("100664", b"a", blob), ("100775", b"b", blob)]))
            .parse()
            .expect("an id"),
    );
    let modes: Vec<_> = walk(&objects, modes, WalkLimits::default())
        .expect("a tree")
        .into_iter()
        .map(|line| line.0)
        .collect();
    assert_eq!(modes, ["100644", "100755"]);
}

#[tokio::test]
async fn a_walk_has_limits_that_are_met_exactly() {
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("a/b/c/d", "1").file("e", "2"));
    // Ten entries that all name the tree below: 10^9 paths in nine small objects.
    let mut bomb = repo.raw_object("tree", &tree_bytes(&[("100644", b"x", &repo.raw_object("blob", b"x"))]));
    for _ in 0..9 {
        let names: Vec<Vec<u8>> = (0..10).map(|n| format!("{n}").into_bytes()).collect();
        let entries: Vec<_> = names.iter().map(|name| ("40000", name.as_slice(), bomb.as_str())).collect();
        bomb = repo.raw_object("tree", &tree_bytes(&entries));
    }
    let (_setup, objects) = direct(&repo).await;
    let tree = objects.commit(commit(&id)).expect("a commit").tree;
    let exact = WalkLimits { entries_max: 5, levels_max: 3, path_bytes_max: 7 };
    assert_eq!(walk(&objects, tree, exact).expect("within the limits").len(), 5);
    for (limits, what, max) in [
        (WalkLimits { entries_max: 4, ..exact }, "entries", 4),
        (WalkLimits { levels_max: 2, ..exact }, "levels", 2),
        (WalkLimits { path_bytes_max: 6, ..exact }, "bytes in a path", 6),
    ] {
        let error = walk(&objects, tree, limits).expect_err(what);
        let ObjectError::TreeTooLarge { id, what: found, max: limit } = error else { panic!("{error:?}") };
        assert_eq!((id, found, limit), (tree.0, what, max));
    }
    let bomb = TreeId(bomb.parse().expect("an id"));
    let limits = WalkLimits { entries_max: 1000, ..WalkLimits::default() };
    assert!(matches!(walk(&objects, bomb, limits), Err(ObjectError::TreeTooLarge { what: "entries", .. })));
    // The caller's own error ends a walk, and comes back.
    #[derive(Debug)]
    enum Stop {
        Here(usize),
        #[expect(dead_code, reason = "shown by Debug where the test fails")]
        Object(ObjectError),
    }
    impl From<ObjectError> for Stop {
        fn from(error: ObjectError) -> Stop {
            Stop::Object(error)
        }
    }
    let mut count = 0;
    let stopped = objects.walk(tree, WalkLimits::default(), |_, _| {
        count += 1;
        if count == 3 { Err(Stop::Here(count)) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(Stop::Here(3))), "{stopped:?}");
}

#[tokio::test]
async fn odd_commits_are_read_or_refused_but_never_panic() {
    let repo = TestRepo::new();
    let tree = repo.raw_object("tree", b"");
    let made = |text: String| repo.raw_object("commit", text.as_bytes());
    let person = "A <a@b> 1700000000 +0000";
    let good = made(format!("tree {tree}\nauthor {person}\ncommitter {person}\n\n \x1b[31mred\x07 \nmore\n"));
    let long = made(format!("tree {tree}\nauthor {person}\ncommitter {person}\n\n{}\n", "é".repeat(300)));
    let old = made(format!("tree {tree}\nauthor {person}\ncommitter A <a@b> -5 +0000\n\nx\n"));
    let empty = made(format!("tree {tree}\nauthor {person}\ncommitter {person}\n\n"));
    let bad = [
        made(String::new()),
        made("tree zz\n".to_owned()),
        made(format!("tree {tree}\n")),
        made(format!("tree {tree}\nparent x\nauthor {person}\ncommitter {person}\n\nx")),
    ];
    // Tags that lie on one another.
    let mut chain = vec![good.clone()];
    for n in 0..11 {
        let (target, kind) = (chain.last().expect("not empty"), if n == 0 { "commit" } else { "tag" });
        let text = format!("object {target}\ntype {kind}\ntag t{n}\ntagger {person}\n\nx\n");
        let id = repo.raw_object("tag", text.as_bytes());
        chain.push(id);
    }
    let broken_tag = repo.raw_object("tag", b"object x\n");
    let (_setup, objects) = direct(&repo).await;
    let summary = |id: &str| objects.commit(commit(id)).expect("a commit").summary;
    assert_eq!(summary(&good), "\u{fffd}[31mred\u{fffd}");
    assert_eq!(summary(&long), "é".repeat(200));
    assert_eq!(summary(&empty), "");
    assert_eq!(objects.commit(commit(&good)).expect("a commit").committed, Timestamp(1_700_000_000_000));
    assert!(objects.commit(commit(&old)).is_ok());
    for id in &bad {
        let error = objects.commit(commit(id)).expect_err("malformed");
        assert!(matches!(error, ObjectError::Malformed { .. }) && !error.is_transient(), "{error:?}");
    }
    let peel = |id: &str| objects.peel(id.parse().expect("an id"));
    assert_eq!(peel(&chain[10]).expect("ten tags"), commit(&good));
    assert!(matches!(peel(&chain[11]), Err(ObjectError::Malformed { .. })));
    assert!(matches!(peel(&broken_tag), Err(ObjectError::Malformed { .. })));
}
