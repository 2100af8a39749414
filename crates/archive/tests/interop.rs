//! Zip files that other programs write.

mod common;

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::python;
use gristmill_archive::{Kind, Limits};

#[test]
fn what_pythons_zipfile_writes_is_read() {
    let home = tempfile::tempdir().unwrap();
    let theirs = home.path().join("theirs.zip");
    python(
        r"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('a/text', 'text ' * 100)
    with z.open('wide', 'w', force_zip64=True) as f: f.write(b'x' * 1000)
    z.comment = b'0123456789abcdef'
",
        &[&theirs],
    );
    assert_eq!(extracted(&fs::read(&theirs).unwrap(), &home.path().join("one")), ["a/text", "wide"]);
    let unseekable = home.path().join("unseekable.zip");
    python(
        r"
import sys, zipfile
class Pipe:
    def __init__(self, f): self.f = f
    def write(self, b): return self.f.write(b)
    def flush(self): self.f.flush()
with open(sys.argv[1], 'wb') as f:
    with zipfile.ZipFile(Pipe(f), 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('with a descriptor', 'text ' * 100)
        with z.open('and wide', 'w', force_zip64=True) as g: g.write(b'x' * 1000)
",
        &[&unseekable],
    );
    let names = extracted(&fs::read(&unseekable).unwrap(), &home.path().join("two"));
    assert_eq!(names, ["with a descriptor", "and wide"]);
}

#[test]
fn what_git_archive_writes_is_read_with_modes_and_links() {
    let home = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let mut command = Command::new("git");
        command.current_dir(home.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").args(identity).args(args);
        let done = command.output().expect("git is installed");
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    fs::create_dir(home.path().join("dir")).unwrap();
    fs::write(home.path().join("dir/text"), b"text ".repeat(100)).unwrap();
    fs::write(home.path().join("tool"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(home.path().join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("dir/text", home.path().join("link")).unwrap();
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "first"]);
    let archive = git(&["archive", "--format=zip", "HEAD"]);
    let entries = gristmill_archive::list(Cursor::new(&archive), &Limits::default()).unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.name(), entry.kind())).collect();
    let expected: [(&[u8], Kind); 4] = [
        (b"dir/", Kind::Directory),
        (b"dir/text", Kind::File),
        (b"link", Kind::Symlink),
        (b"tool", Kind::Executable),
    ];
    assert_eq!(seen, expected);
    let out = home.path().join("out");
    gristmill_archive::extract_zip(Cursor::new(&archive), &out, &Limits::default()).unwrap();
    assert_eq!(fs::read(out.join("link")).unwrap(), b"text ".repeat(100));
}

fn extracted(archive: &[u8], destination: &Path) -> Vec<String> {
    gristmill_archive::extract_zip(Cursor::new(archive), destination, &Limits::default()).expect("extracted");
    let entries = gristmill_archive::list(Cursor::new(archive), &Limits::default()).expect("listed");
    let names = entries.iter().map(|entry| String::from_utf8_lossy(entry.name()).into_owned());
    names.inspect(|name| assert!(fs::metadata(destination.join(name)).is_ok(), "{name}")).collect()
}
