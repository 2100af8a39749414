//! What hostile tar files would do, and why each is refused.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gristmill_archive::{
    EntryFault, ExtractError, FileMode, Format, Kind, Limits, LinkFault, NameError, Packing, PathFault,
    Summary, TarEntryFault, TarFault, TarReader, TarWriter, extract, extract_tar,
};

use crate::common::tar::{Block, end, gnu_long, gzip, pax, tar};
use crate::common::{a, file, zip};

/// Extracts into a new folder and checks that an error leaves nothing at all.
fn extract_as(bytes: &[u8], packing: Packing, limits: &Limits) -> Result<Summary, ExtractError> {
    let home = tempfile::tempdir().unwrap();
    let done = extract_tar(bytes, packing, &home.path().join("out"), limits);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), usize::from(done.is_ok()));
    done
}

#[track_caller]
fn refused_whole(bytes: &[u8], packing: Packing, expected: TarFault) {
    match extract_as(bytes, packing, &Limits::default()) {
        Err(ExtractError::Tar(found)) => assert_eq!(found, expected),
        other => panic!("expected {expected:?}, found {other:?}"),
    }
}

#[track_caller]
fn refused(parts: &[Vec<u8>], expected: impl Into<EntryFault>) {
    refused_with(parts, &Limits::default(), expected);
}

#[track_caller]
fn refused_with(parts: &[Vec<u8>], limits: &Limits, expected: impl Into<EntryFault>) {
    match extract_as(&tar(parts), Packing::None, limits) {
        Err(ExtractError::Member { fault, .. }) => assert_eq!(fault, expected.into()),
        other => panic!("expected {:?}, found {other:?}", expected.into()),
    }
}

fn plain(name: &[u8]) -> Vec<u8> {
    Block::file(name, b"x").bytes()
}

fn link(name: &[u8], target: &[u8]) -> Vec<u8> {
    Block::link(name, target).bytes()
}

fn folder(name: &[u8]) -> Vec<u8> {
    Block::folder(name).bytes()
}

#[test]
fn files_folders_and_links_arrive_with_their_modes() {
    let parts = [
        pax(b'g', &[(b"comment", b"0123456789012345678901234567890123456789")]),
        folder(b"dir/"),
        Block::file(b"dir/tool", b"#!").with(|block| block.mode = b"0104755\0").bytes(),
        Block::file(b"public", b"w").with(|block| block.mode = b"   666 \0").bytes(),
        Block::file(b"old", b"o").with(|block| block.kind = 0).bytes(),
        Block::file(b"gnu", b"g").with(|block| block.magic = b"ustar  \0").bytes(),
        Block::file(b"name", b"p").with(|block| block.prefix = b"dir/sub").bytes(),
        folder(b"empty"),
        link(b"dir/link", b"../old"),
        pax(b'x', &[(b"path", b"from pax"), (b"mtime", b"1.5")]),
        Block::file(b"cut", b"12345").bytes(),
        gnu_long(b'L', b"long name\0"),
        gnu_long(b'K', b"old"),
        link(b"cut", b"cut"),
        pax(b'x', &[(b"linkpath", b"gnu")]),
        link(b"pax link", b"cut"),
    ];
    for zeros in [0, 512, 9 * 1024, 1 << 20] {
        let bytes = [tar(&parts), vec![0; zeros]].concat();
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        let done = extract_tar(&bytes[..], Packing::None, &out, &Limits::default()).unwrap();
        assert_eq!(done, Summary { files: 6, directories: 3, symlinks: 3, bytes: 11 });
        let mode = |name: &str| fs::metadata(out.join(name)).unwrap().permissions().mode();
        assert_eq!(mode("dir/tool") & 0o7700, 0o700, "setuid is dropped");
        assert_eq!(mode("public") & 0o7722, 0o600, "nobody else may write");
        assert_eq!(fs::read(out.join("dir/sub/name")).unwrap(), b"p");
        assert_eq!(fs::read(out.join("from pax")).unwrap(), b"12345");
        assert!(out.join("empty").is_dir());
        for (name, target) in [("dir/link", "../old"), ("long name", "old"), ("pax link", "gnu")] {
            assert_eq!(fs::read_link(out.join(name)).unwrap(), Path::new(target));
        }
    }
}

#[test]
fn paths_that_leave_the_tree_are_refused_wherever_they_stand() {
    let table: &[(&[u8], PathFault)] = &[
        (b"/etc/x", NameError::Absolute.into()),
        (b"../x", NameError::Dots.into()),
        (b"./x", NameError::Dots.into()),
        (b"d/../../x", NameError::Dots.into()),
        (b"d//x", NameError::EmptyComponent.into()),
        (b"d\\..\\x", PathFault::Backslash),
        (b"C:x", PathFault::Drive),
        (b".git/hooks/post-checkout", NameError::DotGit.into()),
        (b"d/.Git/config", NameError::DotGit.into()),
        (b"GIT~1/config", NameError::DotGit.into()),
    ];
    for (name, expected) in table {
        refused(&[plain(name)], *expected);
        refused(&[pax(b'x', &[(b"path", name)]), plain(b"fine")], *expected);
        refused(&[gnu_long(b'L', name), plain(b"fine")], *expected);
        refused(&[folder(&[name, &b"/"[..]].concat())], *expected);
        refused(&[link(name, b"x")], *expected);
    }
    refused(&[plain(b"")], PathFault::from(NameError::Empty));
    refused(&[folder(b"/")], PathFault::from(NameError::Empty));
    refused(&[folder(b"d//")], PathFault::from(NameError::EmptyComponent));
    refused(&[pax(b'x', &[(b"path", b"a\0b")]), plain(b"fine")], PathFault::from(NameError::Nul));
    refused(
        &[Block::file(b"x", b"").with(|block| block.prefix = b"..").bytes()],
        PathFault::from(NameError::Dots),
    );
    let tight = Limits { path_bytes_max: 9, depth_max: 2, ..Limits::default() };
    refused_with(&[plain(b"0123456789")], &tight, PathFault::TooLong { limit: 9 });
    refused_with(&[plain(b"a/b/c")], &tight, PathFault::TooDeep { limit: 2 });
}

#[test]
fn names_that_collide_are_refused() {
    refused(&[plain(b"a"), plain(b"a")], PathFault::Duplicate);
    refused(&[plain(b"a"), pax(b'x', &[(b"path", b"a")]), plain(b"b")], PathFault::Duplicate);
    refused(&[folder(b"a/"), folder(b"a")], PathFault::Duplicate);
    refused(&[plain(b"a"), plain(b"A")], PathFault::CaseClash);
    refused(&[plain(b"d/x"), plain(b"D/y")], PathFault::CaseClash);
    refused(&[plain(b"a"), plain(b"a/b")], PathFault::FileAndFolder);
    refused(&[link(b"d", b"."), plain(b"d/x")], PathFault::FileAndFolder);
    refused(&[link(b"d", b"."), folder(b"d/")], PathFault::FileAndFolder);
}

#[test]
fn links_that_lead_out_are_refused_wherever_the_target_stands() {
    for (target, expected) in [
        (&b"/etc/passwd"[..], LinkFault::Absolute),
        (b"../x", LinkFault::Climbs),
        (b"a/../..", LinkFault::ClimbsLate),
        (b"..\\x", LinkFault::BadByte),
    ] {
        refused(&[link(b"l", target)], expected);
        refused(&[pax(b'x', &[(b"linkpath", target)]), link(b"l", b"fine")], expected);
        refused(&[gnu_long(b'K', target), link(b"l", b"fine")], expected);
    }
    refused(&[link(b"l", b"")], LinkFault::Empty);
    refused(&[pax(b'x', &[(b"linkpath", b"a\0b")]), link(b"l", b"fine")], LinkFault::BadByte);
}

#[test]
fn whatever_git_does_not_know_is_refused() {
    let of_kind = |kind: u8| [Block::file(b"a", b"").with(|block| block.kind = kind).bytes()];
    refused(&of_kind(b'1'), TarEntryFault::HardLink);
    for kind in [b'3', b'4', b'6'] {
        refused(&of_kind(kind), TarEntryFault::Device);
    }
    refused(&of_kind(b'S'), TarEntryFault::Sparse);
    for kind in [b'7', b'A', b'D', b'M', b'N', b'V', b'X', 0xff, b' '] {
        refused(&of_kind(kind), TarEntryFault::Type(kind));
    }
    refused(&[plain(b"a/")], EntryFault::KindMismatch);
    refused(&[Block::file(b"a/", b"").with(|block| block.kind = 0).bytes()], EntryFault::KindMismatch);
    refused(
        &[Block::file(b"a/", b"x").with(|block| block.kind = b'5').bytes()],
        EntryFault::FolderWithContent,
    );
    refused(
        &[Block::file(b"a", b"x").with(|block| block.kind = b'2').bytes()],
        TarEntryFault::LinkWithContent,
    );
}

#[test]
fn what_two_programs_would_read_in_two_ways_is_refused() {
    let size =
        |value: &[u8], content: &[u8]| [pax(b'x', &[(b"size", value)]), Block::file(b"a", content).bytes()];
    assert_eq!(extract_as(&tar(&size(b"5", b"12345")), Packing::None, &Limits::default()).unwrap().bytes, 5);
    refused(&size(b"4", b"12345"), TarEntryFault::SizesDisagree);
    refused(&size(b"0", b"12345"), TarEntryFault::SizesDisagree);
    refused(&size(b"1024", b""), TarEntryFault::SizesDisagree);
    refused(&size(b"8589934591", b""), TarEntryFault::SizesDisagree);
    refused(&size(b"8589934592", b""), EntryFault::TooLarge { limit: 2 << 30 });
    refused(&[gnu_long(b'L', b"x"), pax(b'x', &[(b"path", b"y")]), plain(b"a")], TarEntryFault::NamedTwice);
    refused(
        &[gnu_long(b'K', b"x"), pax(b'x', &[(b"linkpath", b"x")]), link(b"a", b"b")],
        TarEntryFault::NamedTwice,
    );
    refused(&[Block::file(b"a", b"x").with(|block| block.padding = 1).bytes()], TarEntryFault::Padding);
    refused(
        &[Block::file(b"a", b"").with(|block| block.size = Some(b"0000000000x\0")).bytes()],
        TarEntryFault::Number("size"),
    );
    refused(
        &[Block::file(b"a", b"").with(|block| block.mode = b"000064x\0").bytes()],
        TarEntryFault::Number("mode"),
    );
    let whole =
        |parts: &[Vec<u8>], reason| refused_whole(&tar(parts), Packing::None, TarFault::Extended(reason));
    whole(&[pax(b'x', &[(b"path", b"x"), (b"path", b"y")]), plain(b"a")], "it says one thing twice");
    whole(&[pax(b'x', &[]), pax(b'x', &[]), plain(b"a")], "there are two for one member");
    whole(
        &[gnu_long(b'L', b"x"), gnu_long(b'L', b"y"), plain(b"a")],
        "there are two long names for one member",
    );
    whole(&[gnu_long(b'L', b"x\0y"), plain(b"a")], "a long name holds a NUL byte");
    whole(&[plain(b"a"), pax(b'x', &[(b"path", b"x")])], "no member follows it");
    whole(&[pax(b'x', &[]), pax(b'g', &[]), plain(b"a")], "no member follows it");
    whole(&[pax(b'g', &[]), pax(b'g', &[]), plain(b"a")], "there is more than one for all members");
    whole(&[pax(b'g', &[(b"path", b"x")]), plain(b"a")], "it names or sizes all members at once");
    whole(&[pax(b'x', &[(b"GNU.sparse.major", b"1")]), plain(b"a")], "it is one of a sparse file");
    whole(&[pax(b'x', &[(b"SCHILY.realsize", b"1")]), plain(b"a")], "it has an unknown key");
    let sized = Block::file(b"p", b"")
        .with(|block| (block.kind, block.size) = (b'x', Some(b"1234567890z\0")))
        .bytes();
    whole(&[sized, plain(b"a")], "the size is no number");
}

#[test]
fn extended_headers_are_held_in_bounds() {
    let comment = |length: usize| pax(b'x', &[(b"comment", &vec![b'c'; length])]);
    let rest = b"262144 comment=\n".len();
    let fits = tar(&[comment((256 << 10) - rest), plain(b"a")]);
    assert_eq!(extract_as(&fits, Packing::None, &Limits::default()).unwrap().files, 1);
    let beyond = tar(&[comment((256 << 10) - rest + 1), plain(b"a")]);
    refused_whole(&beyond, Packing::None, TarFault::ExtendedTooLarge);
    refused_whole(&tar(&[gnu_long(b'L', &vec![b'n'; 300_000])]), Packing::None, TarFault::ExtendedTooLarge);
}

#[test]
fn a_file_that_is_no_tar_file_or_cut_off_or_goes_on_is_refused() {
    let good = tar(&[plain(b"a"), plain(b"b")]);
    assert_eq!(good.len(), 6 * 512);
    for cut in 0..good.len() {
        refused_whole(&good[..cut], Packing::None, TarFault::NoEnd);
    }
    let lone = [&good[..5 * 512], &plain(b"c")[..], &end()].concat();
    refused_whole(&lone, Packing::None, TarFault::NoEnd);
    refused_whole(&[&good[..], b"\x01"].concat(), Packing::None, TarFault::TrailingBytes);
    refused_whole(&[&good[..], &good[..]].concat(), Packing::None, TarFault::TrailingBytes);
    refused_whole(&[&good[..], &vec![0; (1 << 20) + 1]].concat(), Packing::None, TarFault::TrailingBytes);
    refused_whole(&zip(&[a()]).repeat(8), Packing::None, TarFault::NoHeader { block: 0 });
    for at in [0, 100, 148, 156, 257, 300, 511] {
        let mut changed = good.clone();
        changed[1024 + at] ^= 1;
        refused_whole(&changed, Packing::None, TarFault::NoHeader { block: 2 });
    }
    let unmarked = Block::file(b"a", b"").with(|block| block.magic = b"\0\0\0\0\0\0\0\0").bytes();
    refused_whole(&tar(&[unmarked]), Packing::None, TarFault::NoHeader { block: 0 });
}

fn packed() -> [(Packing, Vec<u8>); 2] {
    let bytes = tar(&[Block::file(b"a", &b"content ".repeat(3000)).bytes()]);
    [(Packing::Gzip, gzip(&bytes)), (Packing::Zstd, zstd::stream::encode_all(&bytes[..], 3).unwrap())]
}

#[test]
fn damaged_streams_are_refused() {
    for (packing, good) in packed() {
        assert_eq!(extract_as(&good, packing, &Limits::default()).unwrap().bytes, 24_000);
        for cut in 1..good.len() {
            refused_whole(&good[..cut], packing, TarFault::Damaged);
        }
        refused_whole(&[&good[..], b"\0"].concat(), packing, TarFault::SecondStream);
        refused_whole(&good.repeat(2), packing, TarFault::SecondStream);
        refused_whole(&tar(&[plain(b"a")]), packing, TarFault::Damaged);
    }
    let [(_, mut gzip), (_, mut zstd)] = packed();
    // The checksum before the length; the fourth byte of the frame's own.
    let at = gzip.len() - 8;
    gzip[at] ^= 1;
    refused_whole(&gzip, Packing::Gzip, TarFault::Damaged);
    zstd[3] ^= 1;
    refused_whole(&zstd, Packing::Zstd, TarFault::Damaged);
    let long_window = {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(26).unwrap();
        io::copy(&mut io::repeat(0).take(70 << 20), &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    refused_whole(&long_window, Packing::Zstd, TarFault::Damaged);
}

#[test]
fn bombs_are_stopped_on_their_way() {
    let zeros = vec![0; 3 << 20];
    let bytes = tar(&[Block::file(b"a", &zeros).bytes()]);
    let packed =
        [(Packing::Gzip, gzip(&bytes)), (Packing::Zstd, zstd::stream::encode_all(&bytes[..], 3).unwrap())];
    for (packing, bytes) in packed {
        let error = extract_as(&bytes, packing, &Limits::default()).unwrap_err();
        assert!(matches!(error, ExtractError::TotalRatio { limit: 200 }), "{packing:?}: {error:?}");
        let limits = Limits { ratio_max: 1_000_000, ..Limits::default() };
        assert_eq!(extract_as(&bytes, packing, &limits).unwrap().bytes, 3 << 20);
    }
    let three = [b"a", b"b", b"c"].map(|name| Block::file(name, &[0; 1000]).bytes());
    let check = |limits: Limits| extract_as(&tar(&three), Packing::None, &limits);
    let limits = Limits { files_max: 3, bytes_total_max: 3000, file_bytes_max: 1000, ..Limits::default() };
    assert_eq!(check(limits.clone()).unwrap().files, 3);
    let error = check(Limits { files_max: 2, ..limits.clone() }).unwrap_err();
    assert!(matches!(error, ExtractError::TooManyFiles { limit: 2 }), "{error:?}");
    let error = check(Limits { bytes_total_max: 2999, ..limits.clone() }).unwrap_err();
    assert!(matches!(error, ExtractError::TotalTooLarge { limit: 2999 }), "{error:?}");
    let limits = Limits { file_bytes_max: 999, ..limits };
    refused_with(&three, &limits, EntryFault::TooLarge { limit: 999 });
}

#[test]
fn the_reader_alone_keeps_the_limits_too() {
    let two = tar(&[plain(b"a"), plain(b"b")]);
    let limits = Limits { files_max: 1, ..Limits::default() };
    let mut reader = TarReader::new(&two[..], Packing::None, &limits).unwrap();
    assert_eq!(reader.next_entry().unwrap().unwrap().name(), b"a");
    assert!(matches!(reader.next_entry(), Err(ExtractError::TooManyFiles { limit: 1 })));
    let limits = Limits { bytes_total_max: 1, ..Limits::default() };
    let mut reader = TarReader::new(&two[..], Packing::None, &limits).unwrap();
    reader.next_entry().unwrap().unwrap();
    assert!(matches!(reader.next_entry(), Err(ExtractError::TotalTooLarge { limit: 1 })));
}

/// Fails after its bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            count => Ok(count),
        }
    }
}

#[test]
fn errors_of_reading_are_not_taken_for_damage() {
    let bytes = tar(&[plain(b"a")]);
    let mut cases = packed().to_vec();
    cases.push((Packing::None, bytes));
    for (packing, bytes) in cases {
        for length in [0, 10, bytes.len() - 1, bytes.len()] {
            let home = tempfile::tempdir().unwrap();
            let reader = Failing(&bytes[..length]);
            match extract_tar(reader, packing, &home.path().join("out"), &Limits::default()) {
                Err(ExtractError::Read(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
                other => panic!("{packing:?} {length}: {other:?}"),
            }
        }
    }
}

#[test]
fn archives_of_another_format_are_refused() {
    let mut files = vec![(Format::Zip, zip(&[a()]))];
    let mut tar = TarWriter::plain(Vec::new());
    let entry = gristmill_archive::FileEntry { mode: FileMode::Executable, ..file(b"a") };
    tar.file(&entry, b"x").unwrap();
    let bytes = tar.finish().unwrap().inner;
    files.push((Format::TarGz, gzip(&bytes)));
    files.push((Format::TarZst, zstd::stream::encode_all(&bytes[..], 3).unwrap()));
    files.push((Format::Tar, bytes));
    for (is, bytes) in &files {
        for taken_for in Format::ALL {
            let home = tempfile::tempdir().unwrap();
            let out = home.path().join("out");
            let done = extract(taken_for, io::Cursor::new(bytes), &out, &Limits::default());
            assert_eq!(done.is_ok(), *is == taken_for, "{is} as {taken_for}: {done:?}");
        }
    }
    let mut reader = TarReader::new(&files[3].1[..], Packing::None, &Limits::default()).unwrap();
    assert_eq!(reader.next_entry().unwrap().unwrap().kind(), Kind::Executable);
}
