//! What hostile zip files would do to a folder, and what becomes of it.

mod common;

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use common::{
    FILE, FOLDER, LINK, Part, a, b, deflate, extract, extract_with, refused_member, refused_with, zip,
};
use gristmill_archive::{
    ContentFault, EntryFault, ExtractError, Kind, Limits, LinkFault, NameError, PathFault, Summary,
    ZipReader, extract_zip, list,
};

#[test]
fn files_folders_and_links_arrive_with_their_modes() {
    let bytes = zip(&[
        Part::stored(b"dir/sub/file", FILE, b"one"),
        Part::stored(b"dir/tool", 0o104_755, b"#!/bin/sh\n"),
        Part::stored(b"dir/", FOLDER, b""),
        Part::stored(b"empty/", FOLDER, b""),
        Part::stored(b"dir/link", LINK, b"../b"),
        Part::stored(b"dangling", LINK, b"no/such"),
        Part::stored(b"public", 0o100_666, b"w"),
        Part::stored(b"no type", 0o755, b"x"),
        Part::stored(b"from dos/", 0, b"").with(|part| part.made_by = 20),
        Part::stored(b"dos", 0o120_777, b"not a link").with(|part| part.made_by = 20),
        Part::stored(b"mac", LINK, b"b").with(|part| part.made_by = 19 << 8),
        b(),
        Part::stored(b"none", FILE, b""),
        Part::raw(b"nothing", FILE, 8, &deflate(b""), 0, 0),
    ]);
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let done = extract_zip(Cursor::new(&bytes), &out, &Limits::default()).unwrap();
    assert_eq!(done, Summary { files: 8, directories: 4, symlinks: 3, bytes: 3 + 10 + 1 + 1 + 10 + 260 });
    let mode = |name: &str| fs::symlink_metadata(out.join(name)).unwrap().mode();
    assert_eq!(fs::read(out.join("dir/sub/file")).unwrap(), b"one");
    assert_eq!(fs::read(out.join("b")).unwrap(), b"content of b ".repeat(20));
    assert_eq!(fs::read(out.join("none")).unwrap(), b"");
    assert_eq!(fs::read(out.join("nothing")).unwrap(), b"");
    assert_eq!(mode("dir/sub/file") & 0o7733, 0o600);
    assert_eq!(mode("dir/tool") & 0o7700, 0o700, "setuid is dropped");
    assert_eq!(mode("no type") & 0o7700, 0o700);
    assert_eq!(mode("public") & 0o7722, 0o600, "nobody else may write");
    assert_eq!(mode("empty") & 0o170_000, 0o040_000);
    assert_eq!(mode("from dos") & 0o170_000, 0o040_000);
    assert_eq!(fs::read(out.join("dos")).unwrap(), b"not a link");
    assert_eq!(mode("dos") & 0o170_000, 0o100_000);
    assert_eq!(fs::read_link(out.join("dir/link")).unwrap(), Path::new("../b"));
    assert_eq!(fs::read_link(out.join("dangling")).unwrap(), Path::new("no/such"));
    assert_eq!(fs::read_link(out.join("mac")).unwrap(), Path::new("b"));
}

#[test]
fn the_tree_gets_the_permissions_of_any_new_folder() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    extract_zip(Cursor::new(zip(&[a()])), &out, &Limits::default()).unwrap();
    let beside = home.path().join("beside");
    fs::create_dir(&beside).unwrap();
    let ours = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(ours, fs::metadata(&beside).unwrap().permissions().mode() & !0o022);
}

#[test]
fn the_destination_is_new_or_an_empty_folder() {
    let home = tempfile::tempdir().unwrap();
    let bytes = zip(&[a()]);
    let try_at = |path: &Path| extract_zip(Cursor::new(&bytes), path, &Limits::default());
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    symlink(&empty, home.path().join("link")).unwrap();
    fs::write(home.path().join("file"), b"").unwrap();
    for taken in
        [home.path(), &home.path().join("link"), &home.path().join("file"), Path::new("/"), &empty.join("..")]
    {
        let error = try_at(taken).unwrap_err();
        assert!(matches!(&error, ExtractError::Destination(path) if path == taken), "{taken:?}: {error:?}");
    }
    assert_eq!(try_at(&empty).unwrap().files, 1);
    assert_eq!(fs::read(empty.join("a")).unwrap(), b"content of a");
    let missing = home.path().join("missing/out");
    assert!(matches!(try_at(&missing), Err(ExtractError::Write { .. })));
    let below_file = home.path().join("file/out");
    assert!(matches!(try_at(&below_file), Err(ExtractError::Write { path, .. }) if path == below_file));
}

#[test]
fn a_stage_left_by_a_killed_process_is_no_obstacle() {
    let home = tempfile::tempdir().unwrap();
    for number in 0..400 {
        fs::create_dir(home.path().join(format!(".extracting-{}-{number}", std::process::id()))).unwrap();
    }
    let done = extract_zip(Cursor::new(zip(&[a()])), &home.path().join("out"), &Limits::default());
    assert_eq!(done.unwrap().files, 1);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 401);
}

#[test]
fn paths_that_leave_the_tree_are_refused() {
    let named = |name: &[u8]| zip(&[a(), Part::stored(name, FILE, b"x")]);
    let table: &[(&[u8], PathFault)] = &[
        (b"/etc/x", NameError::Absolute.into()),
        (b"../x", NameError::Dots.into()),
        (b"d/../../x", NameError::Dots.into()),
        (b"..", NameError::Dots.into()),
        (b"d//x", NameError::EmptyComponent.into()),
        (b"", NameError::Empty.into()),
        (b"x\0.txt", NameError::Nul.into()),
        (b"d\\..\\x", PathFault::Backslash),
        (b"C:x", PathFault::Drive),
        (b".git/hooks/post-checkout", NameError::DotGit.into()),
        (b"d/.Git/config", NameError::DotGit.into()),
        (b"GIT~1/config", NameError::DotGit.into()),
    ];
    for (name, expected) in table {
        refused_member(&named(name), *expected);
    }
    refused_member(&zip(&[Part::stored(b"../d/", FOLDER, b"")]), PathFault::from(NameError::Dots));
    refused_member(&zip(&[Part::stored(b"/", FOLDER, b"")]), PathFault::from(NameError::Empty));
    refused_member(&zip(&[Part::stored(b"d//", FOLDER, b"")]), PathFault::from(NameError::EmptyComponent));
}

#[test]
fn names_that_collide_are_refused() {
    let both = |one: Part, other: Part| zip(&[one, other]);
    let plain = |name: &[u8]| Part::stored(name, FILE, b"x");
    let folder = |name: &[u8]| Part::stored(name, FOLDER, b"");
    refused_member(&both(plain(b"a"), plain(b"a")), PathFault::Duplicate);
    refused_member(&both(folder(b"a/"), folder(b"a/")), PathFault::Duplicate);
    refused_member(&both(plain(b"a"), plain(b"A")), PathFault::CaseClash);
    refused_member(&both(plain("d/\u{e4}".as_bytes()), plain("d/\u{c4}".as_bytes())), PathFault::CaseClash);
    refused_member(&both(plain(b"d/x"), plain(b"D/y")), PathFault::CaseClash);
    refused_member(&both(plain(b"a"), plain(b"a/b")), PathFault::FileAndFolder);
    refused_member(&both(plain(b"a/b"), plain(b"a")), PathFault::FileAndFolder);
    refused_member(&both(folder(b"a/"), plain(b"a")), PathFault::FileAndFolder);
}

#[test]
fn nothing_is_written_through_a_symbolic_link() {
    let linked = |name: &[u8], target: &[u8]| Part::stored(name, LINK, target);
    let behind = zip(&[linked(b"d", b"."), Part::stored(b"d/x", FILE, b"x")]);
    refused_member(&behind, PathFault::FileAndFolder);
    let folder_behind = zip(&[linked(b"d", b"."), Part::stored(b"d/", FOLDER, b"")]);
    refused_member(&folder_behind, PathFault::FileAndFolder);
    for (name, target, expected) in [
        (&b"l"[..], &b"/etc"[..], LinkFault::Absolute),
        (b"l", b"..", LinkFault::Climbs),
        (b"d/l", b"../../x", LinkFault::Climbs),
        (b"d/l", b"x/..", LinkFault::ClimbsLate),
        (b"l", b"", LinkFault::Empty),
        (b"l", b"a\0b", LinkFault::BadByte),
    ] {
        refused_member(&zip(&[linked(name, target)]), expected);
    }
    let chain = zip(&[linked(b"here", b"."), linked(b"out", b"here/../..")]);
    refused_member(&chain, LinkFault::ClimbsLate);
    let limits = Limits { path_bytes_max: 10, ..Limits::default() };
    assert!(extract_with(&zip(&[linked(b"l", b"1234567890")]), &limits).is_ok());
    refused_with(&zip(&[linked(b"l", b"12345678901")]), &limits, LinkFault::TooLong { limit: 10 });
    refused_with(&zip(&[linked(b"l", &[b'x'; 300_000])]), &limits, LinkFault::TooLong { limit: 10 });
    let deflated = Part::raw(b"l", LINK, 8, &deflate(&[b'x'; 200]), crc32fast::hash(&[b'x'; 200]), 200);
    assert_eq!(extract(&zip(&[deflated])).unwrap().symlinks, 1);
}

#[test]
fn devices_pipes_and_sockets_are_refused() {
    for mode in [0o010_644, 0o020_644, 0o060_644, 0o140_644, 0o170_644, 0o030_000] {
        refused_member(&zip(&[Part::stored(b"x", mode, b"")]), EntryFault::Special(mode));
    }
    for (name, mode) in [(&b"x"[..], FOLDER), (b"x/", FILE), (b"x/", LINK)] {
        refused_member(&zip(&[Part::stored(name, mode, b"")]), EntryFault::KindMismatch);
    }
    refused_member(&zip(&[Part::stored(b"x/", FOLDER, b"y")]), EntryFault::FolderWithContent);
    refused_member(&zip(&[Part::stored(b"x/", 0, b"y")]), EntryFault::FolderWithContent);
    let odd = Part::raw(b"x/", FOLDER, 8, &deflate(b""), 0, 0);
    assert_eq!(extract(&zip(std::slice::from_ref(&odd))).unwrap().directories, 1);
    let lying = odd.with(|part| part.data.fill(0xff));
    refused_member(&zip(&[lying]), ContentFault::BadDeflate);
}

#[test]
fn limits_hold_at_the_boundary() {
    let bytes = zip(&[Part::stored(b"d/e/a", FILE, b"12345"), Part::deflated(b"d/b", &[b'x'; 95])]);
    let at = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        extract_with(&bytes, &limits)
    };
    assert!(at(|limits| limits.files_max = 4).is_ok());
    assert!(matches!(at(|limits| limits.files_max = 3), Err(ExtractError::TooManyFiles { limit: 3 })));
    assert!(matches!(at(|limits| limits.files_max = 1), Err(ExtractError::TooManyFiles { limit: 1 })));
    assert!(at(|limits| limits.bytes_total_max = 100).is_ok());
    let total = at(|limits| limits.bytes_total_max = 99);
    assert!(matches!(total, Err(ExtractError::TotalTooLarge { limit: 99 })));
    let limits = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    assert!(at(|limits| limits.file_bytes_max = 95).is_ok());
    refused_with(&bytes, &limits(|limits| limits.file_bytes_max = 94), EntryFault::TooLarge { limit: 94 });
    assert!(at(|limits| limits.path_bytes_max = 5).is_ok());
    refused_with(&bytes, &limits(|limits| limits.path_bytes_max = 4), PathFault::TooLong { limit: 4 });
    assert!(at(|limits| limits.depth_max = 3).is_ok());
    refused_with(&bytes, &limits(|limits| limits.depth_max = 2), PathFault::TooDeep { limit: 2 });
}

#[test]
fn bombs_are_refused_before_they_are_unpacked() {
    let content = vec![0; 3 << 20];
    let bomb = zip(&[Part::deflated(b"zeros", &content)]);
    refused_member(&bomb, EntryFault::Ratio { limit: 200 });
    let generous = Limits { ratio_max: 1100, ..Limits::default() };
    assert_eq!(extract_with(&bomb, &generous).unwrap().bytes, 3 << 20);
    // Each member of 1 MiB is free of the ratio, all together are not.
    let part = Part::deflated(b"zeros", &content[..1 << 20]);
    let numbered = |number: u32| {
        let name = number.to_string().into_bytes();
        part.clone().with(|part| (part.name, part.local_name) = (name.clone(), name.clone()))
    };
    assert!(extract(&zip(&[numbered(1)])).is_ok());
    let many = zip(&(0..20).map(numbered).collect::<Vec<_>>());
    assert!(matches!(extract(&many), Err(ExtractError::TotalRatio { limit: 200 })));
    // A stated size that is too small does not help.
    let lying = Part::deflated(b"zeros", &content).with(|part| {
        (part.size, part.local_size) = (1000, 1000);
    });
    match extract(&zip(&[lying])) {
        Err(ExtractError::Member {
            fault: EntryFault::Content(ContentFault::Size { expected, found }),
            ..
        }) => {
            assert_eq!(expected, 1000);
            assert!(found <= 64 << 10, "stopped after the first piece");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_name_the_member_without_control_characters() {
    let shown = |name: &[u8]| extract(&zip(&[Part::stored(name, 0o020_644, b"")])).unwrap_err().to_string();
    let tail = ": it is neither file, folder nor symbolic link, but has the unix mode 20644";
    assert_eq!(shown(b"dir/dev"), format!("dir/dev{tail}"));
    assert_eq!(shown(b"a\x1b[31m\nb"), format!("a\u{fffd}[31m\u{fffd}b{tail}"));
    assert_eq!(
        shown("\u{202e}cod.\u{2066}\u{200f}x".as_bytes()),
        format!("\u{fffd}cod.\u{fffd}\u{fffd}x{tail}")
    );
    assert_eq!(shown(b"a\xffb"), format!("a\u{fffd}b{tail}"));
    assert_eq!(shown(&[b'x'; 120]), format!("{}{tail}", "x".repeat(120)));
    assert_eq!(shown(&[b'x'; 121]), format!("{}\u{2026}{tail}", "x".repeat(120)));
    assert_eq!(shown(&[b'x'; 60_000]), format!("{}\u{2026}{tail}", "x".repeat(120)));
    assert_eq!(shown("\u{1f980}".repeat(120).as_bytes()), format!("{}{tail}", "\u{1f980}".repeat(120)));
}

#[test]
fn listing_and_copying_do_not_judge_names() {
    let bytes = zip(&[
        b(),
        Part::stored(b"x\\y", FILE, b"odd"),
        Part::stored(b"X\\Y", LINK, b"/etc/passwd"),
        Part::stored(b"sub/", FOLDER, b""),
        Part::stored(b"tool", 0o100_755, b"t"),
    ]);
    let entries = list(Cursor::new(&bytes), &Limits::default()).unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.name(), entry.kind(), entry.info().size)).collect();
    let expected: &[(&[u8], Kind, u64)] = &[
        (b"b", Kind::File, 260),
        (b"x\\y", Kind::File, 3),
        (b"X\\Y", Kind::Symlink, 11),
        (b"sub/", Kind::Directory, 0),
        (b"tool", Kind::Executable, 1),
    ];
    assert_eq!(seen, expected);
    let at = entries[1].data_offset() as usize;
    assert_eq!(&bytes[at..at + 3], b"odd");
    let mut zip = ZipReader::open(Cursor::new(&bytes), &Limits::default()).unwrap();
    assert_eq!(zip.entries(), entries);
    let mut copy = |number| {
        let mut out = Vec::new();
        zip.copy(number, &mut out).map(|()| out)
    };
    assert_eq!(copy(2).unwrap(), b"/etc/passwd");
    assert_eq!(copy(0).unwrap(), b"content of b ".repeat(20));
    assert_eq!(copy(4).unwrap(), b"t");
    let mut full = [0; 2];
    let error = zip.copy(1, &mut &mut full[..]).unwrap_err();
    assert!(matches!(error, ExtractError::Write { .. }), "{error:?}");
}
