//! Rules about the repository itself: who may know whom, licences, sizes, words and documents.
//!
//! Each rule is a function from texts to complaints, so that a test beside it can show what it catches.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod assets;
mod decisions;
mod edges;
mod licences;
mod links;
mod migrating;
mod migrations;
mod settings;
mod sizes;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the repository.
struct Text {
    /// From the repository's root, with `/`.
    path: String,
    content: String,
}

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    let full = root().join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The paths of all files that belong to the repository: those git tracks, and new ones that it would.
/// Where there is no git repository (an unpacked source archive), all but what builds leave behind.
fn paths() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut found: Vec<String> = match listed {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8(output.stdout).expect("the repository's paths are UTF-8");
            text.split_terminator('\0').map(str::to_owned).collect()
        }
        _ => {
            let mut found = Vec::new();
            walk(&root(), "", &mut found);
            found
        }
    };
    // A file that is deleted but not yet committed is still listed.
    found.retain(|path| root().join(path).is_file());
    found.sort();
    found.dedup();
    assert!(found.len() > 50, "only {} files were found in {}", found.len(), root().display());
    found
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_dir() {
            if !matches!(name.as_str(), ".git" | "target" | "gristmill-data" | "mutants.out") {
                walk(&entry.path(), &format!("{path}/"), found);
            }
        } else {
            found.push(path);
        }
    }
}

/// All files that are text.
fn texts() -> Vec<Text> {
    let read = |path: String| {
        let content = std::fs::read(root().join(&path)).ok()?;
        Some(Text { path, content: String::from_utf8(content).ok()? })
    };
    paths().into_iter().filter_map(read).collect()
}

/// Fails with every complaint on a line of its own.
#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
