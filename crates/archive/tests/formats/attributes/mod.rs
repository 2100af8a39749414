//! What git's attributes make of a tree, compared with git.

mod content;
mod rules;

use std::collections::BTreeMap;

use gristmill_archive::attributes::{Attributes, Commit, ConvertError, apply};
use gristmill_archive::{Limits, Packing, TarReader};

use crate::git::{Repository, Told};

fn rules_of(files: &[(&str, &[u8])]) -> Attributes {
    let rules = files.iter().filter_map(|(path, content)| {
        let folder = path.strip_suffix(".gitattributes")?;
        Some((folder.strip_suffix('/').unwrap_or(folder).as_bytes(), *content))
    });
    Attributes::new(rules).unwrap()
}

/// The members of `git archive`, read by our own reader.
fn by_git(repository: &Repository) -> BTreeMap<String, Vec<u8>> {
    let tar = repository.git(&["archive", "--format=tar", "main"]);
    let mut reader = TarReader::new(&tar[..], Packing::None, &Limits::default()).unwrap();
    let mut members = BTreeMap::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.copy(&mut content).unwrap();
        if entry.kind() == gristmill_archive::Kind::File {
            members.insert(String::from_utf8(entry.name().to_vec()).unwrap(), content);
        }
    }
    members
}

/// The same from the rules.
fn by_us(
    repository: &Repository,
    files: &[(&str, &[u8])],
) -> Result<BTreeMap<String, Vec<u8>>, ConvertError> {
    let rules = rules_of(files);
    let id = repository.line(&["rev-parse", "main"]);
    let object = repository.git(&["cat-file", "commit", &id]);
    let decoration = repository.line(&["log", "-1", "--format=%D", "main"]);
    let commit = Commit::new(&id, &object, 7, &decoration).unwrap();
    let mut members = BTreeMap::new();
    for (path, content) in files {
        let is_left_out =
            path.match_indices('/').any(|(at, _)| rules.of(&path.as_bytes()[..at], true).export_ignore);
        let attributes = rules.of(path.as_bytes(), false);
        if is_left_out || attributes.export_ignore {
            continue;
        }
        let blob = repository.line(&["rev-parse", &format!("main:{path}")]);
        let content = apply(content, &attributes, &blob, Some(&commit), 1 << 20)?;
        members.insert((*path).to_owned(), content.into_owned());
    }
    Ok(members)
}

#[track_caller]
fn check(repository: &Repository, told: &Told<'_>, files: &[(&str, &[u8])]) {
    repository.commit(told, files);
    let (git, we) = (by_git(repository), by_us(repository, files).unwrap());
    assert_eq!(git.keys().collect::<Vec<_>>(), we.keys().collect::<Vec<_>>());
    for (path, expected) in &git {
        assert_eq!(we[path].escape_ascii().to_string(), expected.escape_ascii().to_string(), "{path}");
    }
}
