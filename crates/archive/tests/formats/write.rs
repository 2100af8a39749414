//! The bytes of tar files, and what other programs make of them.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;

use gristmill_archive::{
    ArchiveWriter, Compressor, FileEntry, FileMode, Finished, Format, Kind, Limits, NameError, Packing,
    SYMLINK_BYTES_MAX, Summary, TarReader, TarWriter, WriteError, ZipWriter, extract,
};

use crate::common::{file, python};

const TARS: [Format; 3] = [Format::Tar, Format::TarGz, Format::TarZst];

fn packing(format: Format) -> Packing {
    match format {
        Format::Zip => panic!("not a tar file"),
        Format::Tar => Packing::None,
        Format::TarGz => Packing::Gzip,
        Format::TarZst => Packing::Zstd,
    }
}

fn long(count: usize) -> Vec<u8> {
    b"0123456789".iter().copied().cycle().take(count).collect()
}

/// Names and targets at all the borders, contents around a block, and enough of it for several gzip blocks.
fn write(format: Format) -> Finished<Vec<u8>> {
    let mut archive = ArchiveWriter::new(format, Vec::new()).unwrap();
    let mut compressor = Compressor::new();
    let tool = FileEntry { name: b"tool", mode: FileMode::Executable, key: None };
    archive.file(&tool, b"#!/bin/sh\n", &mut compressor).unwrap();
    for size in [0, 1, 511, 512, 513, 1024] {
        let name = format!("sizes/{size}");
        archive.file(&file(name.as_bytes()), &long(size), &mut compressor).unwrap();
    }
    for length in [99, 100, 101, 200] {
        let name = long(length);
        archive.streamed(&file(&name), 3, &mut &b"abc"[..]).unwrap();
        archive.symlink(format!("link{length}").as_bytes(), &name).unwrap();
    }
    archive.file(&file(&[&long(155)[..], b"/", &long(100)].concat()), b"split", &mut compressor).unwrap();
    archive.file(&file(&[&long(156)[..], b"/", &long(100)].concat()), b"pax", &mut compressor).unwrap();
    archive.file(&file("\u{e4}\n".as_bytes()), b"odd", &mut compressor).unwrap();
    archive.directory(b"module").unwrap();
    archive.directory(&[b"deep/".as_slice(), &long(120)].concat()).unwrap();
    let large: Vec<u8> = (0..1_700_000_u32).map(|at| (at.wrapping_mul(at) >> 9) as u8).collect();
    archive.file(&file(b"large"), &large, &mut compressor).unwrap();
    archive.finish().unwrap()
}

fn hash(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_are_pinned() {
    // Whoever must change one of these must raise the version of the format.
    let found: Vec<String> = TARS
        .iter()
        .map(|&format| {
            let done = write(format);
            assert_eq!((done.len, done.entries), (done.inner.len() as u64, 21));
            assert_eq!((done.index.len(), done.index.archive_len()), (0, done.len));
            assert!(write(format).inner == done.inner, "{format}: written twice");
            format!("{format}/{} {} {}", format.version(), done.len, &hash(&done.inner)[..16])
        })
        .collect();
    expect_test::expect![[r#"
        tar/1 1725952 7d802c690a5788c4
        tar.gz/1 1519778 0cc25a2df2822973
        tar.zst/1 62460 84b63dacb3e9852e"#]]
    .assert_eq(&found.join("\n"));
}

#[test]
fn formats_have_names_and_types_of_their_own() {
    let table = [
        (Format::Zip, "zip", "application/zip"),
        (Format::Tar, "tar", "application/x-tar"),
        (Format::TarGz, "tar.gz", "application/gzip"),
        (Format::TarZst, "tar.zst", "application/zstd"),
    ];
    assert_eq!(table.map(|row| row.0), Format::ALL);
    for (format, extension, media_type) in table {
        assert_eq!((format.extension(), format.media_type()), (extension, media_type));
        assert_eq!((format.to_string().as_str(), format.version()), (extension, 1));
        assert_eq!(Format::from_extension(extension), Some(format));
    }
    for other in ["", "tgz", "ZIP", "tar.xz", ".tar"] {
        assert_eq!(Format::from_extension(other), None);
    }
}

#[test]
fn a_zip_through_the_common_writer_is_the_same_zip() {
    let mut direct = ZipWriter::new(Vec::new());
    let content = long(5000);
    direct.streamed(&file(b"a/b"), 5000, &mut &content[..]).unwrap();
    direct.symlink(b"link", b"a/b").unwrap();
    direct.directory(b"module").unwrap();
    let mut common = ArchiveWriter::new(Format::Zip, Vec::new()).unwrap();
    common.file(&file(b"a/b"), &content, &mut Compressor::new()).unwrap();
    common.symlink(b"link", b"a/b").unwrap();
    common.directory(b"module").unwrap();
    assert_eq!(common.finish().unwrap().inner, direct.finish().unwrap().inner);
}

/// Path, type, mode, size, target and content hash of what tar and Python make of it.
const LISTING: &str = r#"
import hashlib, sys, tarfile
with tarfile.open(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "r:*") as tar:
    for m in tar:
        content = hashlib.sha256(tar.extractfile(m).read()).hexdigest()[:8] if m.isfile() else "-"
        kind = "f" if m.isfile() else "l" if m.issym() else "d" if m.isdir() else "?"
        print(m.name.encode(errors="surrogateescape").hex(), kind, oct(m.mode), m.uid, m.gid, repr(m.uname), m.mtime, m.size,
              m.linkname.encode(errors="surrogateescape").hex(), content)
"#;

fn ours(bytes: &[u8], packing: Packing) -> String {
    let mut reader = TarReader::new(bytes, packing, &Limits::default()).unwrap();
    let mut out = String::new();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.copy(&mut content).unwrap();
        assert_eq!(content.len() as u64, entry.size());
        let (kind, mode) = match entry.kind() {
            Kind::File => ('f', "0o644"),
            Kind::Executable => ('f', "0o755"),
            Kind::Symlink => ('l', "0o777"),
            Kind::Directory => ('d', "0o755"),
        };
        let content = if kind == 'f' { hash(&content)[..8].to_owned() } else { "-".to_owned() };
        let (name, target) = (hex(entry.name()), hex(entry.target()));
        out += &format!("{name} {kind} {mode} 0 0 '' 315532800 {} {target} {content}\n", entry.size());
    }
    assert!(reader.next_entry().unwrap().is_none(), "the end stays the end");
    out
}

#[test]
fn python_reads_what_was_written() {
    let home = tempfile::tempdir().unwrap();
    for format in [Format::Tar, Format::TarGz] {
        let bytes = write(format).inner;
        let path = home.path().join(format.extension());
        fs::write(&path, &bytes).unwrap();
        assert_eq!(python(LISTING, &[&path]), ours(&bytes, packing(format)), "{format}");
    }
    let plain = write(Format::Tar).inner;
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(&write(Format::TarGz).inner[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain);
    assert!(zstd::stream::decode_all(&write(Format::TarZst).inner[..]).unwrap() == plain);
}

/// GNU tar lists and extracts it without a word.
#[test]
fn gnu_tar_agrees() {
    let home = tempfile::tempdir().unwrap();
    let archive = home.path().join("x.tar.gz");
    fs::write(&archive, write(Format::TarGz).inner).unwrap();
    let there = home.path().join("theirs");
    fs::create_dir(&there).unwrap();
    let done = Command::new("tar").args(["-xzf"]).arg(&archive).arg("-C").arg(&there).output();
    let Ok(done) = done else {
        eprintln!("skipped: gnu_tar_agrees: there is no tar");
        return;
    };
    assert!(done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    let here = home.path().join("ours");
    for format in TARS {
        let bytes = write(format).inner;
        let summary = extract(format, io::Cursor::new(bytes), &here, &Limits::default()).unwrap();
        assert_eq!(summary, Summary { files: 15, directories: 6, symlinks: 4, bytes: 1_702_594 });
        let same =
            Command::new("diff").arg("-r").arg("--no-dereference").args([&there, &here]).status().unwrap();
        assert!(same.success(), "{format}");
        assert_eq!(mode(&here.join("tool")) & 0o700, 0o700);
        fs::remove_dir_all(&here).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode()
}

#[test]
fn names_that_are_not_utf8_are_said_to_be_bytes() {
    let name = [&long(150)[..], b"\xff\xfe"].concat();
    let mut tar = TarWriter::plain(Vec::new());
    tar.file(&file(&name), b"x").unwrap();
    tar.symlink(b"short\xff", &name).unwrap();
    tar.symlink(b"both", b"short\xff").unwrap();
    let bytes = tar.finish().unwrap().inner;
    assert_eq!(bytes.windows(21).filter(|part| part == b"21 hdrcharset=BINARY\n").count(), 2);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("x.tar");
    fs::write(&path, &bytes).unwrap();
    assert_eq!(python(LISTING, &[&path]), ours(&bytes, Packing::None));
}

#[test]
fn refused_members_leave_the_archive_as_it_was() {
    let mut tar = TarWriter::plain(Vec::new());
    tar.file(&file(b"a"), b"1").unwrap();
    let mut refused = |name: &[u8], target: Option<&[u8]>| {
        match target {
            Some(target) => tar.symlink(name, target),
            None => tar.file(&file(name), b""),
        }
        .unwrap_err()
    };
    assert!(matches!(refused(b"../x", None), WriteError::Name { fault: NameError::Dots, .. }));
    assert!(matches!(refused(b".git/x", None), WriteError::Name { fault: NameError::DotGit, .. }));
    assert!(matches!(refused(b"a", None), WriteError::Duplicate(name) if name == "a"));
    assert!(matches!(refused(b"a/b", None), WriteError::FileAndFolder(name) if name == "a/b"));
    assert!(matches!(refused(b"l", Some(b"")), WriteError::SymlinkTarget(name) if name == "l"));
    assert!(matches!(refused(b"l", Some(b"a\0b")), WriteError::SymlinkTarget(name) if name == "l"));
    let long = vec![b'x'; SYMLINK_BYTES_MAX + 1];
    assert!(matches!(refused(b"l", Some(&long)), WriteError::SymlinkTooLong(name) if name == "l"));
    tar.symlink(b"l", &long[1..]).unwrap();
    tar.directory(b"d").unwrap();
    let bytes = tar.finish().unwrap();
    assert_eq!(bytes.entries, 3);
    assert_eq!(ours(&bytes.inner, Packing::None).lines().count(), 3);
}

#[test]
fn readers_that_give_too_much_or_too_little_break_the_archive() {
    for (given, found) in [(4, 4), (6, 6), (60, 6)] {
        let mut tar = TarWriter::plain(Vec::new());
        let error = tar.streamed(&file(b"a"), 5, &mut &vec![1; given][..]).unwrap_err();
        assert!(
            matches!(&error, WriteError::Length { expected: 5, found: f, .. } if *f == found),
            "{given}: {error:?}"
        );
        assert!(matches!(tar.file(&file(b"b"), b""), Err(WriteError::Broken)));
        assert!(matches!(tar.finish(), Err(WriteError::Broken)));
    }
}

/// Takes so many bytes, then fails.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn errors_of_writing_arrive_in_every_format() {
    let mut state = 7_u64;
    let noise: Vec<u8> = (0..4_000_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .collect();
    for format in Format::ALL {
        for room in [0, 5, 700_000, 3_999_000] {
            let mut archive = ArchiveWriter::new(format, Full(room)).unwrap();
            let written = archive
                .streamed(&file(b"a"), noise.len() as u64, &mut &noise[..])
                .and_then(|()| archive.finish().map(|_| ()));
            match written {
                Err(WriteError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
                other => panic!("{format} {room}: {other:?}"),
            }
        }
    }
}

#[test]
fn mistake_07_the_repositorys_own_git_is_taken_only_where_the_caller_says_so() {
    for format in Format::ALL {
        let mut archive = ArchiveWriter::new(format, Vec::new()).unwrap();
        let mut compressor = Compressor::new();
        let mut put = |archive: &mut ArchiveWriter<Vec<u8>>, name: &[u8]| {
            let written = archive.file(&file(name), b"x", &mut compressor);
            match written {
                Ok(()) => true,
                Err(WriteError::Name { fault: NameError::DotGit, .. }) => false,
                Err(other) => panic!("{format} {}: {other}", name.escape_ascii()),
            }
        };
        assert!(put(&mut archive, b".github/x") && !put(&mut archive, b".git/config"));
        archive.take_own_git();
        assert!(put(&mut archive, b".git/config") && put(&mut archive, b".git/refs/heads/main"));
        for name in [&b".git"[..], b".GIT/x", b"git~1/x", b"a/.git/x", b".git/.git/x", b".git/modules/.Git/x"]
        {
            assert!(!put(&mut archive, name), "{format} {}", name.escape_ascii());
        }
        assert_eq!(archive.finish().unwrap().entries, 3);
    }
}
