//! Large files: pointers in a tree, what is here of them, and what an ssh server says of the others.

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::sshd::{Sshd, key};
use common::{Setup, by_id, commit, limits, remote};
use gristmill_git::{
    GitError, LfsLimits, LfsOid, LfsPointer, Mirror, ObjectError, PointerFault, Protocol, WalkLimits,
};
use gristmill_model::Digest;
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

const URL: &str = "https://git.example.org/acme/shop.git";

fn pointer(content: &[u8]) -> LfsPointer {
    let oid = LfsOid::from_hex(&Digest::of(content).to_hex()).expect("a digest");
    LfsPointer { oid, size: content.len() as u64 }
}

/// Puts a file that should be what the pointer says.
fn put(mirror: &Mirror, pointer: LfsPointer, content: &[u8]) -> Result<(), GitError> {
    let mut incoming = mirror.put_lfs(pointer).expect("a way in");
    incoming.write_all(content).expect("written");
    incoming.keep(&remote(URL))
}

/// How many are here, and which are missing.
async fn held(mirror: &Mirror, pointers: &[LfsPointer]) -> (usize, Vec<LfsPointer>) {
    let held = mirror.held_lfs(&remote(URL), pointers, LfsLimits::default()).await;
    let (objects, missing) = held.expect("looked");
    (objects.len(), missing)
}

/// Where a large file lies.
fn place(setup: &Setup, pointer: LfsPointer) -> PathBuf {
    let hex = pointer.oid.to_string();
    setup.mirror_dir().join("lfs/objects").join(&hex[..2]).join(&hex[2..4]).join(&hex)
}

#[tokio::test]
async fn large_files_of_a_commit_are_found_kept_and_checked() {
    let setup = Setup::with_protocols(&[Protocol::Https, Protocol::File]);
    let (large, other) = (b"large \0 file".repeat(10_000), b"another".to_vec());
    let repo = TestRepo::new();
    let changes = Changes::new()
        .file("a/large.bin", pointer(&large).to_text())
        .file("again.bin", pointer(&large).to_text())
        .executable("other", pointer(&other).to_text())
        .symlink("link", pointer(b"no").to_text())
        .file("plain", "version of something else\n")
        .file(".gitattributes", "* -filter\n");
    let id = repo.commit("main", &changes);
    let mirror = setup.mirror().await;
    mirror.fetch(&remote(&repo.url()), &by_id(&id), limits()).await.expect("fetched");
    let objects = mirror.objects().expect("a reader");
    let tree = objects.commit(commit(&id)).expect("a commit").tree;
    let found = objects.lfs_pointers(tree, WalkLimits::default(), 3).expect("pointers");
    let paths: Vec<_> = found.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect();
    assert_eq!(paths, ["a/large.bin", "again.bin", "other"]);
    let error = objects.lfs_pointers(tree, WalkLimits::default(), 2).expect_err("one too many");
    assert!(matches!(error, GitError::TooLarge { max: 2, .. }), "{error:?}");
    let pointers: Vec<LfsPointer> = found.into_iter().map(|(_, pointer)| pointer).collect();
    assert_eq!(held(&mirror, &pointers).await.0, 0);
    for content in [&large, &other] {
        put(&mirror, pointer(content), content).expect("kept");
    }
    let (objects, missing) =
        mirror.held_lfs(&remote(URL), &pointers, LfsLimits::default()).await.expect("looked");
    assert_eq!((objects.len(), missing), (2, Vec::new()));
    for content in [&large, &other] {
        let mut read = Vec::new();
        let mut file = objects.open(pointer(content).oid).expect("opened").expect("among the pointers");
        file.read_to_end(&mut read).expect("read");
        assert_eq!(&read, content);
    }
    assert!(objects.open(pointer(b"x").oid).expect("no error").is_none());
    // What is damaged here is missing, and can be brought again.
    let file = place(&setup, pointer(&other));
    fs::write(&file, b"anothex").expect("written");
    assert_eq!(held(&mirror, &pointers).await, (1, vec![pointer(&other)]));
    put(&mirror, pointer(&other), &other).expect("kept");
    assert_eq!(held(&mirror, &pointers).await, (2, Vec::new()));
    // A pointer that lies of the size takes no good file along.
    for size in [0, 6, 8] {
        let lie = LfsPointer { size, ..pointer(&other) };
        let error = mirror.held_lfs(&remote(URL), &[lie], LfsLimits::default()).await.expect_err("a lie");
        let is_told = matches!(&error, GitError::LfsObject { detail, .. } if detail.contains("7 bytes"));
        assert!(is_told, "{error:?}");
        assert_eq!(held(&mirror, &pointers).await, (2, Vec::new()));
    }
}

#[tokio::test]
async fn what_is_something_else_or_too_much_is_told() {
    let setup = Setup::with_protocols(&[Protocol::Https]);
    let mirror = setup.mirror().await;
    for content in [&b"a lie, too"[..], b"the truth and more", b""] {
        let error = put(&mirror, pointer(b"the truth"), content).expect_err("something else");
        assert!(matches!(error, GitError::LfsObject { .. }), "{error:?}");
        assert_eq!(held(&mirror, &[pointer(b"the truth")]).await.0, 0);
    }
    let ask = async |pointers: &[LfsPointer], limits| {
        let held = mirror.held_lfs(&remote(URL), pointers, limits).await;
        held.map(|(objects, missing)| (objects.len(), missing.len()))
    };
    let pointers = [pointer(b"12345"), pointer(b"123"), pointer(b"12345")];
    let exact = LfsLimits { objects_max: 2, object_bytes_max: 5, bytes_max: 8 };
    for (limits, max) in [
        (LfsLimits { objects_max: 1, ..exact }, 1),
        (LfsLimits { object_bytes_max: 4, ..exact }, 4),
        (LfsLimits { bytes_max: 7, ..exact }, 7),
    ] {
        let result = ask(&pointers, limits).await;
        assert!(matches!(result, Err(GitError::TooLarge { max: found, .. }) if found == max), "{result:?}");
    }
    let two = [pointers[0], LfsPointer { size: 4, ..pointers[0] }];
    assert!(matches!(ask(&two, LfsLimits::default()).await, Err(GitError::LfsObject { .. })));
    assert_eq!(ask(&[], exact).await.expect("nothing"), (0, 0));
    assert_eq!(ask(&pointers, exact).await.expect("looked"), (0, 2));
}

#[tokio::test]
async fn an_ssh_server_is_asked_one_thing_and_only_where_it_is_known() {
    let test = "an_ssh_server_is_asked_one_thing_and_only_where_it_is_known";
    let key = key(1);
    let setup = Setup::with_protocols(&[Protocol::Ssh]);
    let (asked, said) = (setup.folder.path().join("asked"), setup.folder.path().join("said"));
    let options =
        format!("command=\"echo $SSH_ORIGINAL_COMMAND >> {}; . {}\"", asked.display(), said.display());
    let Some(sshd) = Sshd::start(test, &key, &options) else { return };
    let path = Path::new("/acme/shop.git");
    let remote = sshd.remote(path, &key);
    let ask = async |script: &str, remote, seconds| {
        fs::write(&said, script).expect("written");
        setup.git.lfs_authenticate(remote, Duration::from_secs(seconds)).await
    };
    let answer = ask("echo '{\"href\": \"https://secret.example/\"}'", &remote, 60).await.expect("an answer");
    assert_eq!(answer.json(), b"{\"href\": \"https://secret.example/\"}\n");
    assert!(!format!("{answer:?}").contains("secret"));
    assert_eq!(
        fs::read_to_string(&asked).expect("it was asked"),
        "git-lfs-authenticate /acme/shop.git download\n"
    );
    let error = ask("echo 'no such thing' >&2; exit 127", &remote, 60).await.expect_err("it has none");
    let is_told = matches!(&error, GitError::Failed { detail, .. } if detail.contains("no such thing"));
    assert!(is_told, "{error:?}");
    let flood = ask("while :; do echo flood; done", &remote, 60).await.expect_err("too much");
    assert!(matches!(flood, GitError::Protocol { .. }), "{flood:?}");
    let late = ask("exec sleep 600", &remote, 1).await.expect_err("too late");
    assert!(matches!(late, GitError::Timeout { .. }), "{late:?}");
    let stranger = sshd.remote(path, &common::sshd::key(2));
    let error = ask("echo {}", &stranger, 60).await.expect_err("nobody it knows");
    assert!(matches!(error, GitError::Auth { .. }), "{error:?}");
    let mut other = sshd.remote(path, &key);
    other.ssh.as_mut().expect("ssh").host_keys = sshd.pin(&common::sshd::key(3));
    let error = ask("echo {}", &other, 60).await.expect_err("nobody we know");
    assert!(matches!(error, GitError::HostKey { changed: true, .. }), "{error:?}");
    let error = setup.git.lfs_authenticate(&common::remote(URL), Duration::ZERO).await.expect_err("not ssh");
    assert!(matches!(error, GitError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn pointers_are_read_strictly() {
    let version = "version https://git-lfs.github.com/spec/v1\n";
    let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
    let good = format!("{version}oid sha256:{oid}\nsize 12345\n");
    let read = |text: &str| LfsPointer::parse(text.as_bytes());
    assert_eq!(read(&good).expect("a pointer").expect("a good one").to_text(), good);
    for text in
        ["", "version", "Version https://git-lfs.github.com/spec/v1\n", "\n", " version", "version x\n"]
    {
        assert_eq!(read(text), None, "{text:?}");
    }
    assert_eq!(read(&format!("{good}{}", "x".repeat(1024))), None, "too long for a pointer");
    use PointerFault::{Extension, Lines, Oid, Old, Size};
    let with = |rest: &str| format!("{version}{rest}");
    for (text, fault) in [
        (with(""), Lines),
        (with(&format!("oid sha256:{oid}\n")), Lines),
        (with(&format!("oid sha256:{oid}\nsize 1")), Lines),
        (with(&format!("oid sha256:{oid}\r\nsize 1\r\n")), Oid),
        (with(&format!("oid sha256:{oid}\nsize 1\r\n")), Size),
        (with(&format!("size 1\noid sha256:{oid}\n")), Lines),
        (with(&format!("oid  sha256:{oid}\nsize 1\n")), Oid),
        (with(&format!("oid sha256:{oid}\nsize 1\nx y\n")), Size),
        (with(&format!("oid sha256:{oid} \nsize 1\n")), Oid),
        (with(&format!("oid sha256:{}\nsize 1\n", oid.to_uppercase())), Oid),
        (with(&format!("oid sha256:{}\nsize 1\n", &oid[1..])), Oid),
        (with(&format!("oid sha256:../../{}\nsize 1\n", &oid[6..])), Oid),
        (with(&format!("oid sha1:{oid}\nsize 1\n")), Oid),
        (with(&format!("oid {oid}\nsize 1\n")), Oid),
        (with(&format!("oid sha256:{oid}\nsize -1\n")), Size),
        (with(&format!("oid sha256:{oid}\nsize +1\n")), Size),
        (with(&format!("oid sha256:{oid}\nsize 01\n")), Size),
        (with(&format!("oid sha256:{oid}\nsize \n")), Size),
        (with(&format!("oid sha256:{oid}\nsize 1 \n")), Size),
        (with(&format!("oid sha256:{oid}\nsize 9223372036854775808\n")), Size),
        (with(&format!("oid sha256:{oid}\nsize 99999999999999999999\n")), Size),
        (with(&format!("ext-0-x sha256:{oid}\noid sha256:{oid}\nsize 1\n")), Extension),
        (format!("version https://hawser.github.com/spec/v1\noid sha256:{oid}\nsize 1\n"), Old),
        (format!("version http://git-media.io/v/2\noid sha256:{oid}\nsize 1\n"), Old),
    ] {
        assert_eq!(read(&text), Some(Err(fault)), "{text:?}");
    }
    // In a tree, what begins like a pointer and is none is an error, not a file.
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("bad", with("oid x\n")).file("good", &good));
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    mirror.fetch(&remote(&repo.url()), &by_id(&id), limits()).await.expect("fetched");
    let objects = mirror.objects().expect("a reader");
    let tree = objects.commit(commit(&id)).expect("a commit").tree;
    let error = objects.lfs_pointers(tree, WalkLimits::default(), 10).expect_err("a bad one");
    assert!(matches!(error, GitError::Object(ObjectError::Malformed { .. })), "{error:?}");
}
