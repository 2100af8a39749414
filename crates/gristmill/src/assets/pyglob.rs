//! The code hash of s3-asset-manager: MD5 over the contents of the files of the work tree that Python's
//! `glob.glob(pattern, recursive=True)` finds, pattern by pattern, each time sorted.
//!
//! What it does not see stays as it was, or an old cache would not be found: names, modes, hidden files, where one file
//! ends and the next begins. A file that two patterns find counts twice.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gristmill_model::{NameGlob, hex};
use md5::{Digest as _, Md5};

const BUFFER_BYTES: usize = 256 << 10;

/// The hash, and how many files were read.
///
/// # Errors
///
/// Where a file cannot be read.
pub(super) fn hash(root: &Path, filter: &str) -> anyhow::Result<(String, usize)> {
    let (mut hasher, mut files, mut buffer) = (Md5::new(), 0, vec![0; BUFFER_BYTES]);
    for pattern in filter.split(' ') {
        for path in find(root, pattern).iter().filter(|path| path.is_file()) {
            let failed = || format!("reading {}", path.display());
            let mut file = File::open(path).with_context(failed)?;
            loop {
                let read = file.read(&mut buffer).with_context(failed)?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
            }
            files += 1;
        }
    }
    Ok((hex::encode(&hasher.finalize()), files))
}

/// What a pattern finds, sorted as Python sorts texts.
fn find(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let parts: Vec<&str> = pattern.split('/').collect();
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        found = found.iter().flat_map(|folder| step(folder, part, is_last)).collect();
    }
    found.sort_by_cached_key(|path| code_points(path.as_os_str().as_bytes()));
    found
}

/// What one part of a pattern finds in a folder; before the last part only folders lead on.
fn step(folder: &Path, part: &str, is_last: bool) -> Vec<PathBuf> {
    if part == "**" {
        // Itself too, but with a slash behind it, which no file has.
        let mut found = if folder.is_dir() { vec![folder.to_owned()] } else { Vec::new() };
        below(folder, !is_last, &mut found);
        return found;
    }
    // A double slash, or one at the end.
    if part.is_empty() {
        return if folder.is_dir() { vec![folder.to_owned()] } else { Vec::new() };
    }
    if !part.contains(['*', '?', '[']) {
        let path = folder.join(part);
        return if path.symlink_metadata().is_ok() { vec![path] } else { Vec::new() };
    }
    let glob = NameGlob::new(part);
    let is_hidden = part.starts_with('.');
    let entries = entries(folder).into_iter().filter(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        (is_hidden || !name.starts_with('.')) && glob.is_match(&name) && (is_last || path.is_dir())
    });
    entries.collect()
}

/// All below a folder that is not hidden. Links to folders are followed, until the system says that they lead in circles.
fn below(folder: &Path, only_folders: bool, found: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        let is_hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
        let is_folder = path.is_dir();
        if is_hidden || only_folders && !is_folder {
            continue;
        }
        found.push(path.clone());
        if is_folder {
            below(&path, only_folders, found);
        }
    }
}

/// What cannot be read is empty, as it is there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Python's order: by code points, where bytes that are no UTF-8 stand at U+DC80 and behind.
fn code_points(bytes: &[u8]) -> Vec<u32> {
    let mut points = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        points.extend(chunk.valid().chars().map(u32::from));
        points.extend(chunk.invalid().iter().map(|byte| 0xdc00 + u32::from(*byte)));
    }
    points
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["lambdas/a/.x", "lambdas/b/c", "lib", ".github", "é"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        for (name, text) in [
            ("lambdas/a/m.py", "one\n"),
            ("lambdas/a/.hidden.py", "two\n"),
            ("lambdas/a/.x/y.py", "three\n"),
            ("lambdas/b/c/n.py", "four\n"),
            ("lambdas/b/o.js", "five\n"),
            ("lambdas/z", "six\n"),
            ("lib/p.py", "seven\n"),
            ("lib/[x].py", "eight\n"),
            (".github/q.yml", "nine\n"),
            ("é/\u{10000}", "ten\n"),
            ("é/\u{e000}", "eleven\n"),
            ("README", "twelve\n"),
        ] {
            std::fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink("../lib", at("lambdas/linked")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("lambdas/broken")).unwrap();
        folder
    }

    #[test]
    fn vectors() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("lambdas/a")).unwrap();
        std::fs::write(folder.path().join("lambdas/a/m.py"), "one\n").unwrap();
        let found = hash(folder.path(), "lambdas/**").unwrap();
        assert_eq!(found, ("5bbf5a52328e7439ae6e719dfe712200".to_owned(), 1));
        // What nothing is found for is the hash of nothing, whatever the code is.
        assert_eq!(
            hash(folder.path(), "none/**").unwrap(),
            ("d41d8cd98f00b204e9800998ecf8427e".to_owned(), 0)
        );
    }

    #[test]
    fn patterns_mean_what_they_mean_in_python() {
        let folder = tree();
        let script = "import glob, hashlib, os, sys\n\
            for p in sys.argv[2:]:\n\
            \x20   h = hashlib.md5()\n\
            \x20   n = 0\n\
            \x20   for part in p.split(' '):\n\
            \x20       for f in sorted(glob.glob(sys.argv[1] + '/' + part, recursive=True)):\n\
            \x20           if os.path.isfile(f):\n\
            \x20               h.update(open(f, 'rb').read())\n\
            \x20               n += 1\n\
            \x20   print(h.hexdigest(), n)\n";
        let patterns = [
            "**",
            "*",
            "lambdas/**",
            "lambdas/*",
            "lambdas/**/*.py",
            "**/*.py",
            "**/.*",
            "**/.*/*",
            ".*/**",
            "lambdas/*/*",
            "lambdas/?/*.[pj]*",
            "lib/[[]x].py",
            "lib/[!p]*",
            "lambdas/** lambdas/a/m.py",
            "lambdas/**  lib/**",
            "**/**",
            "**/**/*.py",
            "lambdas//z",
            "lambdas/z/",
            "lambdas/../lib/*",
            "README",
            "lambdas",
            "nothing",
            "",
            " ",
            "é/*",
            "lambdas/linked/*",
            "**/",
            "lambdas/***/*",
            "**.py",
            "lambdas/a/.*",
            "lambdas/[ab]/**",
            "[",
            "lambdas/a/m.py/**",
            "README/**",
        ];
        let output = Command::new("python3").arg("-c").arg(script).arg(folder.path()).args(patterns).output();
        let Ok(output) = output else {
            return gristmill_testkit::skip("pyglob", "python3 is not installed");
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), patterns.len());
        for (pattern, line) in patterns.iter().zip(text.lines()) {
            let (digest, files) = hash(folder.path(), pattern).unwrap();
            assert_eq!(format!("{digest} {files}"), line, "`{pattern}`");
        }
    }
}
