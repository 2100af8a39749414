//! `include_git`: what real git makes of an archive that somebody unpacked.

use std::path::Path;
use std::process::Command;

use gristmill_archive::Format;
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::Project;

use crate::world::{MAIN, PROJECT, World, python};

/// Unpacks as a user's program does, with modes and links, which Python's own function leaves out of zips.
const UNPACK: &str = r"
import sys, os, zipfile, tarfile
archive, folder = sys.argv[1:]
if archive.endswith('.zip'):
    z = zipfile.ZipFile(archive)
    for i in z.infolist():
        path, mode = os.path.join(folder, i.filename), i.external_attr >> 16
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if (mode & 0o170000) == 0o120000:
            os.symlink(z.read(i), path)
        elif not i.is_dir():
            open(path, 'wb').write(z.read(i))
            os.chmod(path, mode & 0o777)
else:
    tarfile.open(archive).extractall(folder)
";

/// An archive's folder, and git in it.
struct Unpacked(tempfile::TempDir);

impl Unpacked {
    fn new(name: &str, archive: &[u8]) -> Unpacked {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(name);
        std::fs::write(&file, archive).expect("written");
        let files = folder.path().join("files");
        std::fs::create_dir(&files).expect("made");
        python(UNPACK, &[&file, &files]);
        Unpacked(folder)
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("files")
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(args)
            .current_dir(self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }
}

/// Every file below a folder, with its path below it.
fn files(folder: &Path, below: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("a type").is_dir() {
            files(&entry.path(), below, found);
        } else {
            let name = entry.path().strip_prefix(below).expect("below").display().to_string();
            found.push((name, std::fs::read(entry.path()).expect("readable")));
        }
    }
    found.sort();
}

fn changes() -> Changes {
    Changes::new()
        .file("file.txt", "one")
        .executable("bin/run", "#!/bin/sh\n")
        .symlink("link", "bin/run")
        .file("x.gitkeep", "")
}

#[test]
fn an_unpacked_archive_is_a_clean_clone_without_credentials() {
    for format in [Format::Zip, Format::TarGz] {
        let lines = format!("include_git = true\nformat = \"{format}\"");
        let world = World::start(|project| project.pipeline(&lines));
        let first = world.commit(None, &changes());
        let second = world.commit(Some(&first), &Changes::new().file("file.txt", "two"));
        world.push_and_wait("refs/heads/feat/x", &second);
        let key = format!("acme/shop/feat/x/acme_shop.{format}");
        let store = world.server.store();
        let bytes = store.public(&key).unwrap_or_else(|| panic!("nothing\n{}", world.server.log()));
        let unpacked = Unpacked::new(&format!("a.{format}"), &bytes);
        assert_eq!(unpacked.git(&["status", "--porcelain", "--ignored"]), "");
        assert_eq!(unpacked.git(&["rev-parse", "HEAD", "feat/x", "origin/feat/x"]), [&*second; 3].join("\n"));
        assert_eq!(unpacked.git(&["symbolic-ref", "HEAD"]), "refs/heads/feat/x");
        assert_eq!(unpacked.git(&["log", "--format=%H"]), format!("{second}\n{first}"));
        unpacked.git(&["fsck", "--strict"]);
        let url = world.github.clone_url(PROJECT);
        let config = std::fs::read_to_string(unpacked.path().join(".git/config")).expect("a config");
        assert_eq!(
            config,
            format!(
                "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n[remote \"origin\"]\n\turl = \"{url}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch \"feat/x\"]\n\tremote = origin\n\tmerge = \"refs/heads/feat/x\"\n"
            )
        );
        let mut found = Vec::new();
        files(&unpacked.path().join(".git"), &unpacked.path(), &mut found);
        let data = world.server.folder().display().to_string();
        for (name, content) in &found {
            assert!(!name.contains("hooks") && !name.contains("logs"), "{name}");
            let has = content.windows(data.len()).any(|window| window == data.as_bytes());
            assert!(!has, "{name} names a folder of the server");
        }
        // The user goes on from here.
        let third = world.commit(Some(&second), &Changes::new().file("file.txt", "three"));
        world.push_and_wait("refs/heads/feat/x", &third);
        unpacked.git(&["fetch"]);
        assert_eq!(unpacked.git(&["rev-parse", "origin/feat/x"]), third);
        unpacked.git(&["merge", "--ff-only", "--quiet", "origin/feat/x"]);
        assert_eq!(unpacked.git(&["status", "--porcelain"]), "");
        assert!(leftovers(&world).is_empty(), "{:?}", leftovers(&world));
    }
}

/// Clones that were not taken away.
fn leftovers(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for mirror in std::fs::read_dir(world.server.data().join("mirrors")).expect("mirrors").flatten() {
        let entries = std::fs::read_dir(mirror.path()).expect("a mirror").flatten();
        found.extend(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }
    found.retain(|name| name.starts_with("clone-"));
    found
}

#[test]
fn a_tag_is_a_detached_head_and_each_commit_has_its_own_archive() {
    let world = World::start(|project| {
        project.pipeline("include_git = true\ntags = [\"v*\"]\nbranches = [\"main\"]")
    });
    let commit = world.commit(None, &changes());
    let tag = world.repo.annotated_tag("v1", &commit);
    world.repo.delete_ref("refs/tags/v1");
    world.push_and_wait("refs/tags/v1", &tag);
    let key = "acme/shop/tags/v1/acme_shop.zip";
    let bytes = world.server.store().public(key).unwrap_or_else(|| panic!("{:#?}", world.runs()));
    let unpacked = Unpacked::new("a.zip", &bytes);
    assert_eq!(unpacked.git(&["status", "--porcelain"]), "");
    assert_eq!(
        unpacked.git(&["rev-parse", "HEAD", "v1", "v1^{commit}"]),
        format!("{commit}\n{tag}\n{commit}")
    );
    assert_eq!(unpacked.git(&["describe"]), "v1");
    // An equal tree under another commit has another history.
    let again = world.commit(Some(&commit), &Changes::new());
    for (commit, count) in [(&commit, "1"), (&again, "2")] {
        world.push_and_wait(MAIN, commit);
        let bytes = world.server.store().public(crate::world::KEY).expect("published");
        let unpacked = Unpacked::new("a.zip", &bytes);
        assert_eq!(unpacked.git(&["rev-parse", "HEAD"]), *commit);
        assert_eq!(unpacked.git(&["rev-list", "--count", "HEAD"]), count);
        assert_eq!(unpacked.git(&["status", "--porcelain"]), "");
    }
}

#[test]
fn a_clone_has_the_object_format_of_its_repository_and_the_bounds_of_an_archive() {
    let repo = TestRepo::with_format("sha256");
    let commit = repo.commit("main", &changes());
    let mut world = World::prepare(|project| project);
    let project = || Project::new("acme/new", &repo.url(), "any secret").pipeline("include_git = true");
    world.server.set_projects([project().poll("1h")]);
    world.server.start();
    world.server.wait_until_idle();
    let bytes = world.server.store().public("acme/new/main/acme_new.zip").expect("published");
    let unpacked = Unpacked::new("a.zip", &bytes);
    assert_eq!(unpacked.git(&["rev-parse", "HEAD"]), commit);
    assert_eq!(unpacked.git(&["status", "--porcelain"]), "");
    world.server.stop();
    // The tree is small, its history is not.
    let noise: Vec<u8> =
        (0..3_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let large = repo.commit("main", &Changes::new().file("noise", noise));
    let small = repo.commit("main", &Changes::new().file("noise", "less"));
    assert_ne!(large, small);
    world.server.set_settings("[worker]\narchive_max = \"1MiB\"\n");
    world.server.start();
    world.server.cli_text(&["project", "trigger", "acme/new"]);
    world.server.wait_until_idle();
    let run = world.run_of(&small);
    assert_eq!(run["state"], "failed", "{run:#}");
    let reason = run["reason"].as_str().expect("a reason");
    assert!(reason.contains("the clone in bytes") && reason.contains("1048576"), "{reason}");
}
