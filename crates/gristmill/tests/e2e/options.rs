//! What an archive holds besides the tree as git has it.

mod attributes;
mod large;
mod large_ssh;
mod own_git;
mod partial;
mod paths;
mod submodules;

use std::collections::BTreeMap;
use std::io::Cursor;

use gristmill_archive::{Format, Kind, Limits, Packing, TarReader, ZipReader};

/// The members of an archive: by name, the mode as git has it and the content, a link's target for links.
pub(crate) type Members = BTreeMap<String, (&'static str, Vec<u8>)>;

fn mode(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "100644",
        Kind::Executable => "100755",
        Kind::Symlink => "120000",
        Kind::Directory => "160000",
    }
}

/// Reads an archive; folders count where they are empty in it.
pub(crate) fn members(format: Format, archive: &[u8]) -> Members {
    let mut members = if format == Format::Zip { of_zip(archive) } else { of_tar(format, archive) };
    let names: Vec<String> = members.keys().cloned().collect();
    members.retain(|name, (mode, _)| {
        let below = format!("{name}/");
        *mode != "160000" || !names.iter().any(|other| other.starts_with(&below))
    });
    members
}

/// The archives are our own, and what is in them compresses well.
fn limits() -> Limits {
    Limits { ratio_max: u64::MAX, ..Limits::default() }
}

fn of_zip(archive: &[u8]) -> Members {
    let mut zip = ZipReader::open(Cursor::new(archive), &limits()).expect("a zip");
    let mut members = Members::new();
    for number in 0..zip.entries().len() {
        let entry = &zip.entries()[number];
        let (name, mode) = (entry.name().to_vec(), mode(entry.kind()));
        let mut content = Vec::new();
        zip.copy(number, &mut content).expect("its content");
        members.insert(text(&name), (mode, content));
    }
    members
}

fn of_tar(format: Format, archive: &[u8]) -> Members {
    let packing = match format {
        Format::TarGz => Packing::Gzip,
        Format::TarZst => Packing::Zstd,
        _ => Packing::None,
    };
    let mut tar = TarReader::new(archive, packing, &limits()).expect("a tar");
    let mut members = Members::new();
    while let Some(entry) = tar.next_entry().expect("its entries") {
        let (name, mode) = (text(entry.name()), mode(entry.kind()));
        let mut content = entry.target().to_vec();
        tar.copy(&mut content).expect("its content");
        members.insert(name, (mode, content));
    }
    members
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).trim_end_matches('/').to_owned()
}

/// Asserts that two archives hold the same.
pub(crate) fn assert_equal(found: &Members, expected: &Members, what: &str) {
    let names = |members: &Members| members.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for (name, (mode, content)) in expected {
        let (found_mode, found_content) = &found[name];
        let shown = |content: &[u8]| content.escape_ascii().to_string();
        assert_eq!((found_mode, shown(found_content)), (mode, shown(content)), "{what}: {name}");
    }
}
