//! The formats of archives, as other programs read them.

use std::path::Path;
use std::process::Command;

use gristmill_archive::Format;
use gristmill_testkit::repo::Changes;

use crate::world::{MAIN, World, python};

/// The id of the tree that git makes of what lies in a folder.
fn tree_of(repo: &Path, folder: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .arg("--git-dir")
            .arg(repo)
            .arg("--work-tree")
            .arg(folder)
            .args(["-c", "core.autocrlf=false", "-c", "core.fileMode=true", "-c", "core.symlinks=true"])
            .args(args)
            .env("GIT_INDEX_FILE", folder.with_extension("index"))
            .output()
            .expect("git");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    git(&["add", "--all", "--force"]);
    git(&["write-tree"])
}

/// Unpacks an archive with a program that users have; Zstandard with our own reader, for not all have one.
fn unpack(format: Format, archive: &Path, folder: &Path) {
    if format == Format::TarZst {
        let file = std::fs::File::open(archive).expect("the archive");
        gristmill_archive::extract(format, file, folder, &Default::default()).expect("unpacked");
        return;
    }
    let program = "import sys, shutil; shutil.unpack_archive(sys.argv[1], sys.argv[2])";
    if format == Format::Zip {
        // Python's unpacker knows neither modes nor links of zips; `content.rs` looks at those.
        return;
    }
    python(program, &[archive, folder]);
}

#[test]
fn each_format_holds_what_git_has_under_a_key_that_says_so() {
    for format in Format::ALL {
        let world = World::start(|project| project.pipeline(&format!("format = \"{format}\"")));
        let long = format!("{}/{}", "a".repeat(90), "b".repeat(120));
        let changes = Changes::new()
            .file("file.txt", "one")
            .file(&long, "a long name")
            .file("\u{e9}t\u{e9}.txt", "an odd one")
            .file("empty", "")
            .executable("bin/run", "#!/bin/sh\n")
            .symlink("link", "bin/run");
        let commit = world.commit(None, &changes);
        world.push_and_wait(MAIN, &commit);
        let key = format!("acme/shop/main/acme_shop.{format}");
        let store = world.server.store();
        let bytes =
            store.public(&key).unwrap_or_else(|| panic!("nothing under {key}\n{}", world.server.log()));
        let folder = tempfile::tempdir().expect("a folder");
        let (archive, unpacked) = (folder.path().join(format!("a.{format}")), folder.path().join("unpacked"));
        std::fs::write(&archive, &bytes).expect("written");
        std::fs::create_dir(&unpacked).expect("made");
        unpack(format, &archive, &unpacked);
        if format == Format::Zip {
            world.assert_public(&key, &commit);
            continue;
        }
        let tree = world.repo.resolve(&format!("{commit}^{{tree}}")).expect("a tree");
        assert_eq!(tree_of(world.repo.path(), &unpacked), tree, "{format}");
        // Readers are told what it is, and an equal tree has equal bytes.
        let run = world.run_of(&commit);
        let shown = world.server.cli_json(&["run", "show", run["id"].as_str().expect("an id")]);
        assert_eq!(shown["artifacts"][0]["media_type"], format.media_type(), "{format}");
        let again = world.repo.commit_unreferenced(std::slice::from_ref(&commit), &Changes::new());
        world.push_and_wait(MAIN, &again);
        assert_eq!(store.versions_of(&key).len(), 2, "{format}: the name moved");
        assert_eq!(store.public(&key).expect("still there"), bytes, "{format}");
    }
}
