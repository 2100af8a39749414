//! What is written: the same bytes from the same members, and what Python's zipfile reads from them.

mod common;

use std::fs;
use std::io::{self, Cursor, Read};
use std::iter;

use common::{bytes, file, python};
use gristmill_archive::{
    Compressor, FileEntry, FileMode, IN_MEMORY_MAX, KEY_BYTES_MAX, Limits, Member, Method, NAME_BYTES_MAX,
    NameError, SYMLINK_BYTES_MAX, WriteError, ZipReader, ZipWriter, compress,
};

/// Prints one line for each member: name, mode, attributes, method, flags, versions, time, content.
const DESCRIBE: &str = r"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as z:
    assert z.testzip() is None
    for i in z.infolist():
        raw = i.orig_filename.encode('utf-8' if i.flag_bits & 0x800 else 'cp437')
        print(raw.hex(), oct(i.external_attr >> 16), i.external_attr & 0xffff, i.compress_type,
              hex(i.flag_bits), i.create_system, i.create_version, i.extract_version,
              '%d-%d-%d %d:%d:%d' % i.date_time, i.internal_attr, i.extra.hex(), i.comment.hex(),
              z.read(i).hex()[:40])
";

fn described(archive: &[u8]) -> String {
    let home = tempfile::tempdir().expect("a temporary folder");
    let path = home.path().join("a.zip");
    fs::write(&path, archive).expect("written");
    python(DESCRIBE, &[&path])
}

#[test]
fn python_reads_modes_links_and_odd_names() {
    let mut zip = ZipWriter::new(Vec::new());
    let mut compressor = Compressor::new();
    let text = b"text ".repeat(100);
    zip.member(&file(b"dir/text"), &compress(&text, &mut compressor)).unwrap();
    zip.member(
        &FileEntry { name: b"tool", mode: FileMode::Executable, key: None },
        &compress(b"#!", &mut compressor),
    )
    .unwrap();
    zip.symlink(b"link", b"dir/\xff").unwrap();
    zip.directory(b"module").unwrap();
    let longest = [b'n'; 255];
    let odd: [&[u8]; 5] = [b"new\nline", b"back\\slash", b"\xff\xfe", "\u{1f980}".as_bytes(), &longest];
    for name in odd {
        zip.streamed(&file(name), 0, &mut io::empty()).unwrap();
    }
    let done = zip.finish().unwrap();
    assert_eq!(done.entries, 9);
    expect_test::expect![[r#"
        6469722f74657874 0o100644 0 8 0x0 3 45 20 1980-1-1 0:0:0 0   7465787420746578742074657874207465787420
        746f6f6c 0o100755 0 0 0x0 3 45 20 1980-1-1 0:0:0 0   2321
        6c696e6b 0o120777 0 0 0x0 3 45 20 1980-1-1 0:0:0 0   6469722fff
        6d6f64756c652f 0o40755 16 0 0x0 3 45 20 1980-1-1 0:0:0 0   
        6e65770a6c696e65 0o100644 0 0 0x0 3 45 20 1980-1-1 0:0:0 0   
        6261636b5c736c617368 0o100644 0 0 0x0 3 45 20 1980-1-1 0:0:0 0   
        fffe 0o100644 0 0 0x0 3 45 20 1980-1-1 0:0:0 0   
        f09fa680 0o100644 0 0 0x800 3 45 20 1980-1-1 0:0:0 0   
        6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e 0o100644 0 0 0x0 3 45 20 1980-1-1 0:0:0 0   
    "#]].assert_eq(&described(&bytes(done)));
}

#[test]
fn an_archive_without_members_is_an_end_record() {
    let done = ZipWriter::new(Vec::new()).finish().unwrap();
    assert_eq!((done.entries, done.index.len(), done.index.is_empty()), (0, 0, true));
    let expected: Vec<u8> = [&b"PK\x05\x06"[..], &[0; 18]].concat();
    assert_eq!(bytes(done), expected);
    assert_eq!(described(&expected), "");
}

/// An archive of all kinds of members.
fn sample() -> Vec<u8> {
    let mut zip = ZipWriter::new(Vec::new());
    let mut compressor = Compressor::new();
    let text: Vec<u8> = (0..5000_u32).flat_map(|n| format!("{} ", n * n % 977).into_bytes()).collect();
    zip.member(&file(b"a/text"), &compress(&text, &mut compressor)).expect("written");
    zip.streamed(&file("\u{e9}".as_bytes()), 3, &mut &b"raw"[..]).expect("written");
    zip.symlink(b"link", b"a/text").expect("written");
    zip.directory(b"sub").expect("written");
    let large = IN_MEMORY_MAX + 1;
    let tool = FileEntry { name: b"tool", mode: FileMode::Executable, key: None };
    zip.streamed(&tool, large, &mut io::repeat(b'x').take(large)).expect("written");
    bytes(zip.finish().expect("written"))
}

#[test]
fn mistake_12_archives_are_reproducible_and_compressed() {
    let one = sample();
    assert_eq!(one, sample(), "no time, no randomness, no order of a hash map");
    assert!(one.len() < 50_000, "{} bytes for 32 MiB of content", one.len());
    let described = described(&one);
    assert!(described.lines().all(|line| line.contains(" 1980-1-1 0:0:0 ")), "{described}");
}

#[test]
fn format_version_1_has_exactly_these_bytes() {
    use sha2::{Digest, Sha256};
    assert_eq!(gristmill_archive::FORMAT_VERSION, 1);
    let digest = Sha256::digest(sample()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // If this changes, by a new version of a compressor for one, FORMAT_VERSION must rise with it.
    expect_test::expect!["79a9c5ae8bff223b6fbf4278f1b2c6299eb508472ed4822c4a07ce5d3823b91f"]
        .assert_eq(&digest);
}

#[test]
fn only_what_gets_smaller_is_deflated() {
    let mut compressor = Compressor::new();
    let mut check = |content: &[u8], method: Method| {
        let member = compress(content, &mut compressor);
        assert_eq!(member.method, method, "{}", content.escape_ascii());
        assert_eq!(member.size, content.len() as u64);
        assert_eq!(member.crc32, crc32fast::hash(content));
        assert_eq!(member.info().compressed, member.data.len() as u64);
        assert_eq!(gristmill_archive::verify(&member), Ok(()));
        if method == Method::Stored {
            assert_eq!(*member.data, *content);
        } else {
            assert!(member.data.len() < content.len());
            assert_eq!(*member.data, *compress_alone(content));
        }
        assert_eq!(member.clone().into_owned(), member);
    };
    check(b"", Method::Stored);
    check(b"a", Method::Stored);
    check(b"abcdefgh", Method::Stored);
    check(&[b'a'; 100], Method::Deflated);
    check(&[b'a'; 100_000], Method::Deflated);
    check(&[b'a'; 50], Method::Deflated);
    // The boundary: a run behind noise, longer and longer, until deflate saves something.
    let noisy = |run: usize| -> Vec<u8> {
        let next = |n: &u32| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let noise = iter::successors(Some(1_u32), next).map(|n| (n >> 24) as u8).take(400);
        noise.chain(iter::repeat_n(b'a', run)).collect()
    };
    let saved = |run: usize| noisy(run).len() as i64 - compress_alone(&noisy(run)).len() as i64;
    let equal = (0..300).find(|&run| saved(run) == 0).expect("some content is as long deflated");
    check(&noisy(equal), Method::Stored);
    let smaller = (0..300).find(|&run| saved(run) == 1).expect("some content is shorter by one byte");
    check(&noisy(smaller), Method::Deflated);
}

fn compress_alone(content: &[u8]) -> Vec<u8> {
    let level = libdeflater::CompressionLvl::new(6).expect("a level");
    let mut out = vec![0; 1000 + content.len()];
    let count = libdeflater::Compressor::new(level).deflate_compress(content, &mut out).expect("room");
    out.truncate(count);
    out
}

/// Gives its bytes in pieces of uneven size.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(1 + self.0.len() % 7919);
        self.0.read(&mut buffer[..count])
    }
}

#[test]
fn equal_content_gives_equal_bytes_on_every_way_in() {
    for size in [IN_MEMORY_MAX, IN_MEMORY_MAX + 1] {
        let mut content = vec![b'x'; size as usize];
        (0..size as usize).step_by(50_000).for_each(|at| content[at] = (at / 7) as u8);
        let entry = FileEntry { key: Some(b"key"), ..file(b"name") };
        let write = |put: &dyn Fn(&mut ZipWriter<Vec<u8>>)| {
            let mut zip = ZipWriter::new(Vec::new());
            put(&mut zip);
            let done = zip.finish().unwrap();
            (done.inner, done.index)
        };
        let (fresh, index) =
            write(&|zip| zip.member(&entry, &compress(&content, &mut Compressor::new())).unwrap());
        let streamed = write(&|zip| zip.streamed(&entry, size, &mut &content[..]).unwrap());
        assert!(streamed == (fresh.clone(), index.clone()), "{size}: streamed");
        let trickled = write(&|zip| zip.streamed(&entry, size, &mut Trickle(&content)).unwrap());
        assert!(trickled == streamed, "{size}: in small pieces");
        let located = index.get(b"key").unwrap();
        let raw = &fresh[located.offset as usize..located.end() as usize];
        let copied = write(&|zip| {
            let begins = zip.member_from(&entry, &located.info, &mut Trickle(raw)).unwrap();
            assert_eq!(begins, located.offset);
        });
        assert!(copied == streamed, "{size}: copied from a reader");
        let info = located.info;
        let member = Member { method: info.method, crc32: info.crc32, size, data: raw.into() };
        assert_eq!(gristmill_archive::verify(&member), Ok(()));
        let copied = write(&|zip| zip.member(&entry, &member).unwrap());
        assert!(copied == streamed, "{size}: copied from memory");
        let mut reader =
            ZipReader::open(Cursor::new(&fresh), &Limits { ratio_max: 2000, ..Limits::default() });
        let reader = reader.as_mut().unwrap();
        let mut out = Vec::new();
        reader.copy(0, &mut out).unwrap();
        assert!(out == content, "{size}: read back");
        // Bit 3 of the flags: a descriptor follows, exactly above the threshold.
        assert_eq!(fresh[6], if size > IN_MEMORY_MAX { 8 } else { 0 });
    }
}

#[test]
fn names_that_cannot_be_members_are_refused_and_the_rest_goes_on() {
    let mut zip = ZipWriter::new(Vec::new());
    let mut put = |name: &[u8]| zip.streamed(&file(name), 1, &mut &b"x"[..]);
    put(b"file").unwrap();
    put(b"folder/file").unwrap();
    for (name, expected) in [
        (&b"a/../b"[..], NameError::Dots),
        (b".git/config", NameError::DotGit),
        (b"/x", NameError::Absolute),
        (b"", NameError::Empty),
    ] {
        assert!(matches!(put(name), Err(WriteError::Name { fault, .. }) if fault == expected));
    }
    assert!(matches!(put(b"file"), Err(WriteError::Duplicate(name)) if name == "file"));
    assert!(matches!(put(b"folder"), Err(WriteError::FileAndFolder(name)) if name == "folder"));
    assert!(matches!(put(b"file/x"), Err(WriteError::FileAndFolder(name)) if name == "file/x"));
    put(b"FILE").unwrap();
    assert!(matches!(zip.symlink(b"..", b"x"), Err(WriteError::Name { fault: NameError::Dots, .. })));
    assert!(matches!(zip.symlink(b"file", b"x"), Err(WriteError::Duplicate(_))));
    assert!(matches!(zip.directory(b"file"), Err(WriteError::FileAndFolder(_))));
    assert!(matches!(zip.directory(b"d/"), Err(WriteError::Name { fault: NameError::EmptyComponent, .. })));
    zip.directory(b"folder").unwrap();
    assert!(matches!(zip.directory(b"folder"), Err(WriteError::Duplicate(_))));
    let done = zip.finish().unwrap();
    assert_eq!(done.entries, 4);
    let described = described(&bytes(done));
    assert_eq!(described.lines().count(), 4);
}

#[test]
fn names_and_targets_may_be_as_long_as_the_header_allows() {
    let mut zip = ZipWriter::new(Vec::new());
    let longest = vec![b'n'; NAME_BYTES_MAX];
    zip.streamed(&file(&longest), 0, &mut io::empty()).unwrap();
    zip.directory(&vec![b'd'; NAME_BYTES_MAX - 1]).unwrap();
    let too_long = |result| matches!(result, Err(WriteError::Name { fault: NameError::TooLong, .. }));
    assert!(too_long(zip.directory(&vec![b'e'; NAME_BYTES_MAX])));
    assert!(too_long(zip.streamed(&file(&vec![b'e'; NAME_BYTES_MAX + 1]), 0, &mut io::empty())));
    zip.symlink(b"link", &vec![b't'; SYMLINK_BYTES_MAX]).unwrap();
    let refused = zip.symlink(b"other", &vec![b't'; SYMLINK_BYTES_MAX + 1]);
    assert!(matches!(refused, Err(WriteError::SymlinkTooLong(name)) if name == "other"));
    zip.symlink(b"empty", b"").unwrap();
    let described = described(&bytes(zip.finish().unwrap()));
    let lengths: Vec<_> = described.lines().map(|line| line.split(' ').next().unwrap().len() / 2).collect();
    assert_eq!(lengths, [NAME_BYTES_MAX, NAME_BYTES_MAX, 4, 5]);
}

#[test]
fn keys_have_1_to_64_bytes() {
    let mut zip = ZipWriter::new(Vec::new());
    let mut put = |name: &[u8], key: &[u8]| {
        zip.streamed(&FileEntry { key: Some(key), ..file(name) }, 1, &mut &b"x"[..])
    };
    assert!(matches!(put(b"a", b""), Err(WriteError::Key(0))));
    assert!(matches!(put(b"a", &[1; KEY_BYTES_MAX + 1]), Err(WriteError::Key(65))));
    put(b"a", &[1; KEY_BYTES_MAX]).unwrap();
    put(b"b", &[1]).unwrap();
    let index = zip.finish().unwrap().index;
    assert_eq!(index.len(), 2);
}

#[test]
fn readers_must_give_exactly_what_was_said() {
    let large = IN_MEMORY_MAX + 1;
    for size in [0, 3, IN_MEMORY_MAX, large] {
        let give = |count: u64| {
            let mut zip = ZipWriter::new(Vec::new());
            let result = zip.streamed(&file(b"a/b"), size, &mut io::repeat(b'x').take(count));
            (result, zip)
        };
        let length = |result: Result<(), WriteError>| match result {
            Err(WriteError::Length { name, expected, found }) => (name, expected, found),
            other => panic!("{other:?}"),
        };
        if size > 0 {
            assert_eq!(length(give(size - 1).0), ("a/b".into(), size, size - 1));
        }
        let (result, mut zip) = give(size + 100);
        assert_eq!(length(result), ("a/b".into(), size, size + 1), "no more is read than needed");
        // Half a large member is in the archive, which can no longer be finished; of a small one nothing is.
        let later = zip.symlink(b"later", b"x");
        if size == large {
            assert!(matches!(later, Err(WriteError::Broken)));
            assert!(matches!(zip.finish(), Err(WriteError::Broken)));
        } else {
            assert_eq!(zip.finish().unwrap().entries, 1);
        }
    }
}

#[test]
fn a_copy_that_ends_early_breaks_the_archive() {
    let content = b"text ".repeat(100);
    let mut compressor = Compressor::new();
    let member = compress(&content, &mut compressor);
    let info = member.info();
    let mut zip = ZipWriter::new(Vec::new());
    let mut more = Cursor::new([&member.data[..], b"next"].concat());
    zip.member_from(&file(b"a"), &info, &mut more).unwrap();
    assert_eq!(more.position(), info.compressed, "what follows is left to the next one");
    let mut short = &member.data[1..];
    let (expected, found) = match zip.member_from(&file(b"b"), &info, &mut short) {
        Err(WriteError::Length { expected, found, .. }) => (expected, found),
        other => panic!("{other:?}"),
    };
    assert_eq!((expected, found), (info.compressed, info.compressed - 1));
    assert!(matches!(zip.finish(), Err(WriteError::Broken)));
}

#[test]
fn raw_bytes_that_break_the_rules_of_the_format_are_refused() {
    let large = IN_MEMORY_MAX + 1;
    let stored = |size: u64, len: usize| (Method::Stored, size, len);
    let deflated = |size: u64, len: usize| (Method::Deflated, size, len);
    let put = |(method, size, len): (Method, u64, usize)| {
        let mut zip = ZipWriter::new(io::sink());
        let data = vec![0; len];
        let result = zip.member(&file(b"a"), &Member { method, crc32: 0, size, data: data.into() });
        assert!(zip.finish().is_ok(), "a refused member breaks nothing");
        result
    };
    for good in [
        stored(0, 0),
        stored(5, 5),
        stored(IN_MEMORY_MAX, IN_MEMORY_MAX as usize),
        deflated(5, 4),
        deflated(IN_MEMORY_MAX, IN_MEMORY_MAX as usize - 1),
        deflated(large, 10),
        deflated(large, (large + (large >> 10) + 64) as usize),
    ] {
        assert!(put(good).is_ok(), "{good:?}");
    }
    for bad in [
        stored(5, 4),
        stored(4, 5),
        stored(large, large as usize),
        deflated(5, 5),
        deflated(0, 0),
        deflated(0, 2),
        deflated(IN_MEMORY_MAX, IN_MEMORY_MAX as usize),
        deflated(large, (large + (large >> 10) + 65) as usize),
    ] {
        assert!(matches!(put(bad), Err(WriteError::NotCanonical(_))), "{bad:?}");
    }
}

/// Takes so many bytes, then fails.
struct Full(usize);

impl io::Write for Full {
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
fn a_full_disk_is_an_error_and_never_a_short_archive() {
    let noise: Vec<u8> =
        (0..300_000_u64).map(|n| (n.wrapping_mul(n).wrapping_mul(0x9E37_79B9) >> 13) as u8).collect();
    let write = |room: usize| -> Result<u64, WriteError> {
        let mut zip = ZipWriter::new(Full(room));
        let mut compressor = Compressor::new();
        for name in [b"a", b"b", b"c"] {
            zip.member(&file(name), &compress(&noise, &mut compressor))?;
        }
        Ok(zip.finish()?.len)
    };
    let len = write(usize::MAX).unwrap() as usize;
    assert_eq!(write(len).unwrap(), len as u64);
    for room in [0, 1, 1000, 250_000, 300_100, 600_000, len - 100, len - 1] {
        match write(room) {
            Err(WriteError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            other => panic!("{room}: {other:?}"),
        }
    }
}

#[test]
fn errors_say_what_happened() {
    let mut zip = ZipWriter::new(io::sink());
    let shown = |result: Result<(), WriteError>| result.unwrap_err().to_string();
    expect_test::expect!["a/../b: a component of the path is `.` or `..`"]
        .assert_eq(&shown(zip.symlink(b"a/../b", b"x")));
    expect_test::expect!["a: the reader gave 2 bytes, 1 were expected"].assert_eq(&shown(zip.streamed(
        &file(b"a"),
        1,
        &mut &b"xyz"[..],
    )));
}
