//! Tar files of other programs are read.

use std::fs;
use std::path::Path;
use std::process::Command;

use gristmill_archive::{Limits, Packing, Summary, TarReader, extract_tar};

use crate::common::python;
use crate::git::Repository;

fn long(count: usize) -> String {
    "0123456789".chars().cycle().take(count).collect()
}

fn extracted(bytes: &[u8], packing: Packing, look: impl Fn(&Path)) -> Summary {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let summary = extract_tar(bytes, packing, &out, &Limits::default()).unwrap();
    look(&out);
    summary
}

/// With its global header, its own gzip, a folder on top, and names and targets too long for a header.
#[test]
fn git_archives_are_read() {
    let repository = Repository::new();
    let name = format!("{}/{}", long(160), long(120));
    let mut stream = "commit refs/heads/main\ncommitter A <a@b> 1112911993 +0200\ndata 0\n".to_owned();
    for (mode, path, content) in [
        ("100644", "a", "one"),
        ("100755", "dir/tool", "#!"),
        ("120000", "link", "dir/tool"),
        ("120000", "long link", &name),
        ("100644", &name, "two"),
    ] {
        stream += &format!("M {mode} inline {path}\ndata {}\n{content}\n", content.len());
    }
    stream += "M 160000 0123456789012345678901234567890123456789 module\n";
    repository.fed(&["fast-import", "--quiet"], stream.as_bytes());
    for (format, packing) in [("--format=tar", Packing::None), ("--format=tar.gz", Packing::Gzip)] {
        let bytes = repository.git(&["archive", format, "--prefix=top-1/", "main"]);
        let summary = extracted(&bytes, packing, |out| {
            assert_eq!(fs::read(out.join("top-1").join(&name)).unwrap(), b"two");
            assert_eq!(fs::read_link(out.join("top-1/long link")).unwrap(), Path::new(&name));
            assert!(out.join("top-1/module").is_dir());
        });
        assert_eq!(summary, Summary { files: 3, directories: 4, symlinks: 2, bytes: 8 });
        let mut tar = TarReader::new(bytes.as_slice(), packing, &Limits::default()).unwrap();
        assert_eq!(tar.comment(), None);
        let first = tar.next_entry().unwrap().unwrap();
        let commit = repository.git(&["rev-parse", "main"]);
        assert_eq!((tar.comment(), first.mtime()), (Some(commit.trim_ascii()), 1_112_911_993));
    }
}

#[test]
fn other_programs_archives_are_read() {
    let home = tempfile::tempdir().unwrap();
    let script = "
import io, sys, tarfile
for name, format in (('gnu', tarfile.GNU_FORMAT), ('pax', tarfile.PAX_FORMAT)):
    with tarfile.open(sys.argv[1] + '/' + name, 'w', format=format) as tar:
        for path in ('plain', 'p' * 200, 'd/' + 'q' * 150 + '\\u00e4'):
            info = tarfile.TarInfo(path)
            info.size, info.mtime, info.uname, info.uid = 3, 1.5, 'someone', 3000000
            tar.addfile(info, io.BytesIO(b'abc'))
        info = tarfile.TarInfo('link')
        info.type, info.linkname = tarfile.SYMTYPE, 'p' * 200
        tar.addfile(info)
";
    python(script, &[home.path()]);
    let expected = Summary { files: 3, directories: 1, symlinks: 1, bytes: 9 };
    for name in ["gnu", "pax"] {
        let bytes = fs::read(home.path().join(name)).unwrap();
        let summary = extracted(&bytes, Packing::None, |out| {
            assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new(&"p".repeat(200)));
            assert_eq!(fs::read(out.join(format!("d/{}\u{e4}", "q".repeat(150)))).unwrap(), b"abc");
        });
        assert_eq!(summary, expected, "{name}");
    }
    if Command::new("tar").arg("--version").output().is_err() {
        eprintln!("skipped: other_programs_archives_are_read: there is no tar");
        return;
    }
    let tree = home.path().join("tree");
    extracted(&fs::read(home.path().join("gnu")).unwrap(), Packing::None, |out| {
        fs::rename(out, &tree).unwrap();
        fs::create_dir(out).unwrap();
    });
    for format in ["gnu", "posix"] {
        let archive = home.path().join("x.tar.gz");
        let members = ["plain", "d", "link", &"p".repeat(200)];
        let done = Command::new("tar")
            .args(["-cz", "--format", format, "-f"])
            .arg(&archive)
            .arg("-C")
            .arg(&tree)
            .args(members)
            .status();
        assert!(done.unwrap().success());
        assert_eq!(extracted(&fs::read(&archive).unwrap(), Packing::Gzip, |_| ()), expected, "{format}");
    }
}
