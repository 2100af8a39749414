//! A mirror's files: making one, telling a broken one, removing what a killed git left behind.
//!
//! Everything here that writes is called with the mirror's lock held.

use std::fs;
use std::io;
use std::path::Path;

use gristmill_model::{ObjectFormat, ObjectId};

use crate::error::GitError;

/// What our repositories' files contain. Written by hand: `git init` would take templates, and newer versions
/// other formats. Version 0 means SHA-1 names and refs as files, which is what is read here.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";
/// The same for SHA-256 names, an extension that only version 1 may have (gitrepository-layout(5)).
const CONFIG_SHA256: &str = "[core]\n\trepositoryformatversion = 1\n\tfilemode = true\n\tbare = true\n\
    [extensions]\n\tobjectformat = sha256\n";
const HEAD: &str = "ref: refs/heads/none\n";

/// How deep folders under `refs` are looked into.
const REF_LEVELS_MAX: usize = 4;

/// Why a repository cannot be used as it is; `None` where it looks right.
pub(crate) fn looks_broken(repo: &Path) -> Option<&'static str> {
    let holds =
        |name: &str, content: &str| fs::read(repo.join(name)).is_ok_and(|found| found == content.as_bytes());
    if !repo.exists() {
        Some("it does not exist")
    } else if !holds("HEAD", HEAD) {
        Some("its HEAD is not what we wrote")
    } else if !holds("config", CONFIG) && !holds("config", CONFIG_SHA256) {
        Some("its config is not what we wrote")
    } else if !repo.join("objects/pack").is_dir() {
        Some("its objects are missing")
    } else if !repo.join("refs").is_dir() {
        Some("its refs are missing")
    } else if repo.join("objects/info/alternates").exists() || repo.join("shallow").exists() {
        Some("it borrows objects or history")
    } else {
        None
    }
}

/// The text of a repository's `config`.
pub(crate) fn config(format: ObjectFormat) -> &'static str {
    match format {
        ObjectFormat::Sha1 => CONFIG,
        ObjectFormat::Sha256 => CONFIG_SHA256,
    }
}

/// By which hash a repository's objects are named; SHA-1 where it is broken or missing.
pub(crate) fn format(repo: &Path) -> ObjectFormat {
    match fs::read(repo.join("config")) {
        Ok(found) if found == CONFIG_SHA256.as_bytes() => ObjectFormat::Sha256,
        _ => ObjectFormat::Sha1,
    }
}

/// Moves `repo` aside, where there is one, and makes an empty repository in its place.
pub(crate) fn make_anew(dir: &Path, repo: &Path, format: ObjectFormat) -> Result<(), GitError> {
    let aside = dir.join("damaged");
    let new = dir.join("new.git");
    for leftover in [&aside, &new] {
        remove_tree(leftover).map_err(|error| GitError::io("remove", leftover, error))?;
    }
    make_at(&new, format)?;
    match fs::rename(repo, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(GitError::io("move aside", repo, error));
        }
        _ => {}
    }
    fs::rename(&new, repo).map_err(|error| GitError::io("put in place", repo, error))
}

/// Makes an empty repository at `repo`, in place of what is there.
pub(crate) fn make_at(repo: &Path, format: ObjectFormat) -> Result<(), GitError> {
    let make = || {
        remove_tree(repo)?;
        for folder in ["objects/info", "objects/pack", "refs/gristmill", "refs/gristmill-tip", "refs/heads"] {
            fs::create_dir_all(repo.join(folder))?;
        }
        fs::write(repo.join("config"), config(format))?;
        fs::write(repo.join("HEAD"), HEAD)
    };
    make().map_err(|error| GitError::io("make", repo, error))
}

pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes locks and half-written files. Nobody else can be at work: git holds our lock while it runs.
pub(crate) fn tidy(repo: &Path) -> Result<(), GitError> {
    let done = || {
        remove_where(repo, &|name, _| name.ends_with(".lock"))?;
        remove_locks(&repo.join("refs"), REF_LEVELS_MAX)?;
        remove_where(&repo.join("objects/info"), &|name, _| name.ends_with(".lock"))?;
        let pack = repo.join("objects/pack");
        remove_where(&pack, &|name, path| {
            // `.keep` marks a pack that a fetch was just taking in. A pack without an index is not usable yet.
            name.starts_with("tmp_")
                || name.starts_with(".tmp-")
                || name.ends_with(".keep")
                || name.ends_with(".lock")
                || (name.ends_with(".pack") && !path.with_extension("idx").exists())
        })?;
        let objects = repo.join("objects");
        for entry in fs::read_dir(&objects)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("tmp_objdir-") {
                remove_tree(&entry.path())?;
            } else if name.len() == 2 {
                remove_where(&entry.path(), &|name, _| name.starts_with("tmp_obj_"))?;
            }
        }
        Ok(())
    };
    done().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            GitError::Damaged { dir: repo.to_owned(), detail: "a folder of the mirror is missing".to_owned() }
        }
        _ => GitError::io("tidy up", repo, error),
    })
}

fn remove_where(dir: &Path, unwanted: &dyn Fn(&str, &Path) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if unwanted(&entry.file_name().to_string_lossy(), &path) && !entry.file_type()?.is_dir() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn remove_locks(dir: &Path, levels: usize) -> io::Result<()> {
    remove_where(dir, &|name, _| name.ends_with(".lock"))?;
    if levels > 0 {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                remove_locks(&entry.path(), levels - 1)?;
            }
        }
    }
    Ok(())
}

/// What a ref points at, from its file or from `packed-refs`; `None` where there is none.
pub(crate) fn read_ref(repo: &Path, name: &str) -> Result<Option<ObjectId>, GitError> {
    let damaged =
        || GitError::Damaged { dir: repo.to_owned(), detail: format!("{name} is not an object id") };
    let path = repo.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => return text.trim_end().parse().map(Some).map_err(|_| damaged()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(damaged()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(GitError::io("read", &path, error));
        }
        Err(_) => {}
    }
    let path = repo.join("packed-refs");
    let packed = match fs::read(&path) {
        Ok(packed) => packed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(GitError::io("read", &path, error)),
    };
    for line in packed.split(|byte| *byte == b'\n') {
        if let Some((id, found)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '))
            && found == name
        {
            return id.parse().map(Some).map_err(|_| damaged());
        }
    }
    Ok(None)
}

/// How many packs there are.
pub(crate) fn count_packs(repo: &Path) -> Result<usize, GitError> {
    count(&repo.join("objects/pack"), ".pack")
}

/// How many pins are files of their own.
pub(crate) fn count_loose_pins(repo: &Path) -> Result<usize, GitError> {
    let in_folder = |name: &str| match count(&repo.join(name), "") {
        // Packing refs removes folders that became empty.
        Err(GitError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(0),
        counted => counted,
    };
    Ok(in_folder("refs/gristmill")? + in_folder("refs/gristmill-import")?)
}

fn count(dir: &Path, ending: &str) -> Result<usize, GitError> {
    let entries = fs::read_dir(dir).map_err(|error| GitError::io("read", dir, error))?;
    Ok(entries.flatten().filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count())
}

/// The bytes in packs, finished or not. What cannot be read counts as nothing: this only bounds growth.
pub(crate) fn pack_bytes(repo: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(repo.join("objects/pack")) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}
