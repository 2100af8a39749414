//! Repositories whose objects are named by SHA-256, from the first look to the last blob.

mod common;

use common::{Setup, by_id, commit, limits, list_limits, remote, wanted};
use gristmill_git::{Entry, GitError, ObjectError, Reachability, WalkLimits};
use gristmill_model::{BlobId, ObjectFormat, ObjectId};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

#[tokio::test]
async fn a_sha256_repository_is_mirrored_and_read() {
    let repo = TestRepo::with_format("sha256");
    let first = repo.commit("main", &Changes::new().file("a", "1").file("b/c", "2").symlink("l", "a"));
    let second = repo.commit("main", &Changes::new().file("a", "3"));
    let tag = repo.annotated_tag("v1", &first);
    assert_eq!(first.len(), 64);
    let (setup, remote) = (Setup::new(), remote(&repo.url()));
    let refs = setup.git.ls_remote(&remote, list_limits()).await.expect("a list");
    assert_eq!(refs.refs[&common::git_ref("refs/heads/main")].commit, commit(&second));
    assert_eq!(refs.refs[&common::git_ref("refs/tags/v1")].commit, commit(&first));
    let mirror = setup.mirror().await;
    let fetch = async |wanted: &gristmill_git::Wanted| mirror.fetch(&remote, wanted, limits()).await;
    let main = "refs/heads/main";
    assert_eq!(fetch(&wanted(main, &second)).await.expect("fetched").reachability, Reachability::Tip);
    assert_eq!(fetch(&wanted(main, &first)).await.expect("fetched").reachability, Reachability::Ancestor);
    assert_eq!(fetch(&wanted("refs/tags/v1", &tag)).await.expect("a tag").commit, commit(&first));
    assert!(mirror.is_ancestor(commit(&first), commit(&second)).await.expect("an answer"));
    // Opening it again finds nothing broken.
    let mirror = setup.mirror().await;
    let damaged = std::fs::read_dir(setup.mirror_dir().join("damaged/objects/pack"));
    assert_eq!(damaged.into_iter().flatten().count(), 0, "nothing was thrown away");
    let objects = mirror.objects().expect("a reader");
    assert_eq!(objects.format(), ObjectFormat::Sha256);
    for id in [&first, &second] {
        let info = objects.commit(commit(id)).expect("a commit");
        let mut lines = Vec::new();
        objects
            .walk(info.tree, WalkLimits::default(), |path, entry| {
                lines.push((entry.mode().as_str().to_owned(), entry.id().to_string(), path.to_owned()));
                if let Entry::File { blob, .. } = entry {
                    let mut buffer = Vec::new();
                    objects.blob(blob, &mut buffer)?;
                    assert_eq!(buffer, repo.blob(&blob.0.to_string()));
                    let mut copied = Vec::new();
                    objects.copy_blob(blob, &mut copied)?;
                    assert_eq!(copied, buffer);
                }
                Ok::<(), ObjectError>(())
            })
            .expect("a tree");
        let expected: Vec<_> =
            repo.ls_tree(id).into_iter().map(|line| (line.mode, line.id, line.path)).collect();
        assert_eq!(lines, expected);
    }
    let sha1: ObjectId = "1".repeat(40).parse().expect("an id");
    let error = objects.blob_size(BlobId(sha1)).expect_err("of the other hash");
    assert!(matches!(error, ObjectError::Format(id) if id == sha1), "{error:?}");
    let missing: ObjectId = "1".repeat(64).parse().expect("an id");
    assert!(matches!(objects.peel(missing), Err(ObjectError::Missing(_))));
    mirror.maintain(std::time::Duration::from_secs(30)).await.expect("looked");
}

#[tokio::test]
async fn a_mistaken_hash_takes_no_mirror_along_but_a_changed_remote_does() {
    let old = TestRepo::new();
    let id = old.commit("main", &Changes::new().file("a", "1"));
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    mirror.fetch(&remote(&old.url()), &by_id(&id), limits()).await.expect("fetched");
    let error =
        mirror.fetch(&remote(&old.url()), &by_id(&"1".repeat(64)), limits()).await.expect_err("mistaken");
    assert!(matches!(error, GitError::ObjectFormat { .. }) && !error.is_transient(), "{error:?}");
    assert!(mirror.objects().expect("a reader").commit(commit(&id)).is_ok(), "nothing was lost");

    let new = TestRepo::with_format("sha256");
    let second = new.commit("main", &Changes::new().file("a", "1"));
    let fetched = mirror.fetch(&remote(&new.url()), &by_id(&second), limits()).await.expect("converted");
    assert_eq!(fetched.commit, commit(&second));
    assert!(mirror.objects().expect("a reader").commit(commit(&second)).is_ok());
    // A damaged one is made anew as what it was.
    std::fs::remove_dir_all(setup.repo_dir().join("refs")).expect("removed");
    let mirror = setup.mirror().await;
    mirror.fetch(&remote(&new.url()), &by_id(&second), limits()).await.expect("fetched again");
}

#[tokio::test]
async fn what_came_another_way_stands_in_for_its_commit() {
    for format in ["sha1", "sha256"] {
        let repo = TestRepo::with_format(format);
        let path = format!("b/\"q\\{}\n", "l".repeat(300));
        let changes =
            Changes::new().file("a", "1").executable(&path, "2").symlink("l", "a").file("empty", "");
        let id = commit(&repo.commit("main", &changes));
        let tree = repo.resolve("main^{tree}").expect("a tree");
        let setup = Setup::new();
        let mirror = setup.mirror().await;
        assert_eq!(mirror.imported(id).expect("an answer"), None);
        // The second time it is there already, and is replaced.
        for committed in [1_700_000_000_999, -5] {
            let import = mirror.import(limits()).await.expect("nobody else has it");
            let busy = mirror
                .import(gristmill_git::FetchLimits { lock_wait_max: std::time::Duration::ZERO, ..limits() });
            assert!(matches!(busy.await, Err(GitError::Locked { .. })));
            let mut stream = import.stream().expect("a file");
            let mut file = |path: &[u8], executable, content: &[u8]| {
                let size = content.len() as u64;
                stream.file(path, executable, size, |out| out.write_all(content)).expect("written");
            };
            file(b"empty", false, b"");
            file(path.as_bytes(), true, b"2");
            file(b"a", false, b"1");
            stream.symlink(b"l", b"a").expect("written");
            let at = gristmill_model::Timestamp(committed);
            let stand_in = import.finish(stream, id, at, "who it is").await.expect("imported");
            assert_eq!(mirror.imported(id).expect("an answer"), Some(stand_in));
            let found = mirror.objects().expect("a reader").commit(stand_in).expect("a commit");
            assert_eq!((found.tree.to_string(), found.summary.as_str()), (tree.clone(), "who it is"));
            assert_eq!((found.committed.0, found.parents), (committed.max(0) / 1000 * 1000, Vec::new()));
        }
    }
}
