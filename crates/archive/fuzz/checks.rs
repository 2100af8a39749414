//! What must hold for any input. Run by the fuzz targets, and by `tests/hostile.rs` on seeded input.

use std::collections::HashSet;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use gristmill_archive::attributes::{Attributes, Commit, apply};
use gristmill_archive::{
    ArchiveWriter, Compressor, ExtractError, FileEntry, FileMode, Format, Index, Kind, Limits, Packing,
    Summary, TarReader, WriteError, ZipReader, ZipWriter, check_member_name, extract_tar, extract_zip,
};

/// Small, so that hostile input meets them.
pub(crate) fn limits() -> Limits {
    Limits { files_max: 200, bytes_total_max: 4 << 20, file_bytes_max: 3 << 20, ..Limits::default() }
}

/// Extracts any bytes. Whatever they are: no panic, nothing beside the destination, no link that leads out,
/// no more than the limits allow, and nothing at all after an error. Returns whether they were extracted.
pub(crate) fn extract(bytes: &[u8]) -> bool {
    extract_by(|out| extract_zip(Cursor::new(bytes), out, &limits()))
}

/// The same for tar files, bare and compressed.
pub(crate) fn extract_any_tar(bytes: &[u8]) -> bool {
    let as_is = [Packing::None, Packing::Gzip, Packing::Zstd]
        .map(|packing| extract_by(|out| extract_tar(bytes, packing, out, &limits())));
    as_is.contains(&true)
}

fn extract_by(run: impl FnOnce(&Path) -> Result<Summary, ExtractError>) -> bool {
    let home = tempfile::tempdir().expect("a temporary folder");
    let out = home.path().join("out");
    let done = run(&out);
    let beside: Vec<_> =
        fs::read_dir(home.path()).expect("readable").map(|e| e.expect("readable").file_name()).collect();
    match &done {
        Ok(summary) => {
            assert_eq!(beside, ["out"]);
            let mut seen = Seen::default();
            walk(&out, &out.canonicalize().expect("it was made"), &mut seen);
            assert_eq!(seen.bytes, summary.bytes);
            assert_eq!(seen.nodes, summary.files + summary.directories + summary.symlinks);
            assert!(seen.nodes <= limits().files_max && seen.bytes <= limits().bytes_total_max);
        }
        Err(error) => {
            assert!(beside.is_empty(), "left behind: {beside:?}");
            assert!(error.to_string().len() < 2000);
        }
    }
    done.is_ok()
}

#[derive(Default)]
struct Seen {
    nodes: u64,
    bytes: u64,
}

fn walk(folder: &Path, root: &Path, seen: &mut Seen) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        seen.nodes += 1;
        let name = path.file_name().expect("a name").to_string_lossy().to_lowercase();
        assert_ne!(name, ".git");
        if metadata.is_symlink() {
            if let Ok(target) = path.canonicalize() {
                assert!(target.starts_with(root), "{} leads to {}", path.display(), target.display());
            }
        } else if metadata.is_dir() {
            walk(&path, root, seen);
        } else {
            assert!(metadata.is_file());
            seen.bytes += metadata.len();
        }
    }
}

/// Decodes any bytes as an index. What can be decoded encodes to the same bytes, and all its keys are found.
/// Returns whether it could.
pub(crate) fn index(bytes: &[u8]) -> bool {
    let Ok(index) = Index::decode(bytes) else { return false };
    assert_eq!(index.encode(), bytes);
    assert_eq!(index.iter().count(), index.len());
    for (key, located) in index.iter() {
        assert_eq!(index.get(key), Some(located));
        assert!(located.end() <= index.archive_len());
    }
    true
}

/// A member made from arbitrary bytes.
struct Made {
    name: Vec<u8>,
    kind: Kind,
    content: Vec<u8>,
}

/// Takes members from arbitrary bytes until these end.
fn members(mut bytes: &[u8]) -> Vec<Made> {
    let mut made = Vec::new();
    while made.len() < 100 {
        let mut head = [0; 4];
        if bytes.read_exact(&mut head).is_err() {
            break;
        }
        let mut take = |count: u8| {
            let mut taken = Vec::new();
            bytes.by_ref().take(count.into()).read_to_end(&mut taken).expect("memory can be read");
            taken
        };
        let name = take(head[1] % 24);
        let content = take(head[2]).repeat(usize::from(head[3] % 40));
        let kind = match head[0] % 8 {
            0 => Kind::Symlink,
            1 => Kind::Directory,
            2 | 3 => Kind::Executable,
            _ => Kind::File,
        };
        made.push(Made { name, kind, content });
    }
    made
}

/// Writes members made from any bytes, reads them back, and extracts them where names and links allow it.
/// Returns how many there were.
pub(crate) fn round_trip(bytes: &[u8]) -> usize {
    let mut zip = ZipWriter::new(Vec::new());
    let mut kept = Vec::new();
    for member in members(bytes) {
        let Made { name, kind, content } = &member;
        let mode = if *kind == Kind::Executable { FileMode::Executable } else { FileMode::Regular };
        let entry =
            FileEntry { name, mode, key: Some(&content[..content.len().min(64)]).filter(|k| !k.is_empty()) };
        let written = match kind {
            Kind::Symlink => zip.symlink(name, content),
            Kind::Directory => zip.directory(name),
            Kind::File | Kind::Executable => zip.streamed(&entry, content.len() as u64, &mut &content[..]),
        };
        match written {
            Ok(()) => kept.push(member),
            Err(WriteError::Name { fault, .. }) => assert_eq!(check_member_name(name), Err(fault)),
            Err(WriteError::Duplicate(_) | WriteError::FileAndFolder(_)) => {
                assert!(clashes(&kept, &member), "{}", name.escape_ascii());
            }
            Err(other) => panic!("{other}"),
        }
    }
    let done = zip.finish().expect("memory can be written");
    assert!(index(&done.index.encode()));
    let mut reader = ZipReader::open(Cursor::new(&done.inner), &Limits::default()).expect("our own archive");
    assert_eq!(reader.entries().len(), kept.len());
    for (number, member) in kept.iter().enumerate() {
        let entry = &reader.entries()[number];
        assert_eq!(entry.name().strip_suffix(b"/").unwrap_or(entry.name()), member.name);
        assert_eq!(entry.kind(), member.kind);
        let mut content = Vec::new();
        reader.copy(number, &mut content).expect("our own content");
        assert!(member.kind == Kind::Directory || content == member.content);
    }
    extract(&done.inner);
    for (format, packing) in
        [(Format::Tar, Packing::None), (Format::TarGz, Packing::Gzip), (Format::TarZst, Packing::Zstd)]
    {
        round_trip_tar(&kept, format, packing);
    }
    kept.len()
}

/// The same members through a tar file, which takes all that a zip takes, but for odd targets of links.
fn round_trip_tar(members: &[Made], format: Format, packing: Packing) {
    let mut tar = ArchiveWriter::new(format, Vec::new()).expect("there is memory");
    let mut kept = Vec::new();
    for member in members {
        let Made { name, kind, content } = member;
        let mode = if *kind == Kind::Executable { FileMode::Executable } else { FileMode::Regular };
        let entry = FileEntry { name, mode, key: None };
        let written = match kind {
            Kind::Symlink => tar.symlink(name, content),
            Kind::Directory => tar.directory(name),
            Kind::File | Kind::Executable => tar.file(&entry, content, &mut Compressor::new()),
        };
        match written {
            Ok(()) => kept.push(member),
            Err(WriteError::SymlinkTarget(_)) => assert!(content.is_empty() || content.contains(&0)),
            Err(other) => panic!("{other}"),
        }
    }
    let done = tar.finish().expect("memory can be written");
    let limits = Limits { ratio_max: u64::MAX, ..Limits::default() };
    let mut reader = TarReader::new(&done.inner[..], packing, &limits).expect("there is memory");
    for member in kept {
        let entry = reader.next_entry().expect("our own archive").expect("it was written");
        assert_eq!((entry.name(), entry.kind()), (&member.name[..], member.kind));
        let mut content = Vec::new();
        reader.copy(&mut content).expect("our own content");
        match member.kind {
            Kind::Symlink => assert_eq!(entry.target(), member.content),
            Kind::Directory => assert!(content.is_empty()),
            Kind::File | Kind::Executable => assert_eq!(content, member.content),
        }
    }
    assert_eq!(reader.next_entry().expect("our own archive"), None);
    extract_any_tar(&done.inner);
}

/// Whether a name is taken, or is a file and a folder at once; by the plainest way there is.
fn clashes(kept: &[Made], new: &Made) -> bool {
    let folders: HashSet<&[u8]> = kept.iter().flat_map(|member| above(&member.name)).collect();
    let is_file = |name: &[u8]| kept.iter().any(|other| other.name == name && other.kind != Kind::Directory);
    kept.iter().any(|other| other.name == new.name)
        || above(&new.name).any(is_file)
        || (new.kind != Kind::Directory && folders.contains(&new.name[..]))
}

fn above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..name.len()).filter(|&at| name[at] == b'/').map(|at| &name[..at])
}

/// Takes any bytes, cut at their zeros, as a tree's rules, those of a folder, a commit, and a file: no panic, no
/// more than is allowed, and nothing changes where nothing is said. Returns whether the file was changed.
pub(crate) fn attributes(bytes: &[u8]) -> bool {
    const BYTES_MAX: usize = 2000;
    let mut parts = bytes.splitn(4, |&byte| byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (root, folder, commit, content) = (next(), next(), next(), next());
    let Ok(rules) = Attributes::new([(&b""[..], root), (b"dir", folder)]) else { return false };
    let id = "0123456789012345678901234567890123456789";
    let commit = Commit::new(id, commit, 7, "main").ok();
    let mut is_changed = false;
    for path in [&b"a"[..], b"dir/a.c", b"dir/sub/a", b"\xff"] {
        rules.of(path, true);
        let found = rules.of(path, false);
        if let Ok(converted) = apply(content, &found, id, commit.as_ref(), BYTES_MAX) {
            assert!(found.is_changed() || converted == content);
            assert!(converted == content || converted.len() <= BYTES_MAX);
            is_changed |= converted != content;
        }
    }
    is_changed
}
