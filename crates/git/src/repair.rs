//! A mirror's files: making one, telling a broken one, removing what a killed git left behind.
//!
//! Everything here that writes is called with the mirror's lock held.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use gristmill_model::{ObjectFormat, ObjectId};

use crate::error::GitError;
use crate::partial::MirrorKind;

/// What our repositories' files contain. Written by hand: `git init` would take templates, and newer versions
/// other formats. Version 0 means SHA-1 names and refs as files, which is what is read here.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";
/// The same for SHA-256 names, an extension that only version 1 may have (gitrepository-layout(5)).
const CONFIG_SHA256: &str = "[core]\n\trepositoryformatversion = 1\n\tfilemode = true\n\tbare = true\n\
    [extensions]\n\tobjectformat = sha256\n";
/// What says in a configuration that the mirror is a partial one. Git itself does not know it, and no remote is named: a
/// git that misses an object has nobody to ask.
const PARTIAL: &str = "[gristmill]\n\tpartial = true\n";
const HEAD: &str = "ref: refs/heads/none\n";

/// Tells a repository from those that lay in its place before it. The numbers of files do not: they are given out again.
const GENERATION: &str = "generation";

/// Where a repository lies that was replaced.
const ASIDE: &str = "damaged";

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
    } else if read_config(repo).is_none() {
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
fn config(format: ObjectFormat, kind: MirrorKind) -> String {
    let config = match format {
        ObjectFormat::Sha1 => CONFIG,
        ObjectFormat::Sha256 => CONFIG_SHA256,
    };
    match kind {
        MirrorKind::Full => config.to_owned(),
        MirrorKind::Partial => format!("{config}{PARTIAL}"),
    }
}

/// What a repository's `config` says; `None` where it is not one that we write.
fn read_config(repo: &Path) -> Option<(ObjectFormat, MirrorKind)> {
    let found = fs::read_to_string(repo.join("config")).ok()?;
    let formats = [ObjectFormat::Sha1, ObjectFormat::Sha256];
    let mut ours =
        formats.into_iter().flat_map(|format| [(format, MirrorKind::Full), (format, MirrorKind::Partial)]);
    ours.find(|(format, kind)| config(*format, *kind) == found)
}

/// By which hash a repository's objects are named; SHA-1 where it is broken or missing.
pub(crate) fn format(repo: &Path) -> ObjectFormat {
    read_config(repo).map_or(ObjectFormat::Sha1, |(format, _)| format)
}

/// Whether it has the whole history; said of one that is broken or missing too.
pub(crate) fn kind(repo: &Path) -> MirrorKind {
    read_config(repo).map_or(MirrorKind::Full, |(_, kind)| kind)
}

/// Notes what the repository is from now on.
pub(crate) fn set_kind(repo: &Path, kind: MirrorKind) -> Result<(), GitError> {
    let (path, new) = (repo.join("config"), repo.join("config.lock"));
    fs::write(&new, config(format(repo), kind)).map_err(|error| GitError::io("write", &new, error))?;
    fs::rename(&new, &path).map_err(|error| GitError::io("put in place", &path, error))?;
    match kind {
        MirrorKind::Partial => promise(repo),
        MirrorKind::Full => remove_where(&repo.join("objects/pack"), &|name, _| name.ends_with(".promisor"))
            .map_err(|error| GitError::io("tidy up", repo, error)),
    }
}

/// Marks all packs of a partial mirror: what they refer to and is not here, the remote has.
pub(crate) fn promise(repo: &Path) -> Result<(), GitError> {
    let pack = repo.join("objects/pack");
    let mark = || {
        for entry in fs::read_dir(&pack)? {
            let mark = entry?.path();
            if mark.extension().is_some_and(|ending| ending == "pack") {
                File::options().create(true).append(true).open(mark.with_extension("promisor"))?;
            }
        }
        Ok(())
    };
    mark().map_err(|error| GitError::io("mark packs in", &pack, error))
}

/// Whether anything was ever fetched into it; content that was imported does not count.
pub(crate) fn was_fetched(repo: &Path) -> Result<bool, GitError> {
    const FOLDERS: [&str; 2] = ["refs/gristmill", "refs/gristmill-tip"];
    for folder in FOLDERS {
        if count_files(repo, folder)? > 0 {
            return Ok(true);
        }
    }
    let path = repo.join("packed-refs");
    match fs::read_to_string(&path) {
        Ok(packed) => Ok(FOLDERS.iter().any(|folder| packed.contains(&format!(" {folder}/")))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(GitError::io("read", &path, error)),
    }
}

/// Moves `repo` aside, where there is one, and makes an empty repository in its place.
pub(crate) fn make_anew(
    dir: &Path,
    repo: &Path,
    format: ObjectFormat,
    kind: MirrorKind,
) -> Result<(), GitError> {
    let aside = dir.join(ASIDE);
    let new = dir.join("new.git");
    for leftover in [&aside, &new] {
        remove_tree(leftover).map_err(|error| GitError::io("remove", leftover, error))?;
    }
    make_at(&new, format, kind)?;
    match fs::rename(repo, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(GitError::io("move aside", repo, error));
        }
        _ => {}
    }
    fs::rename(&new, repo).map_err(|error| GitError::io("put in place", repo, error))
}

/// Which of the repositories it is that lie or lay at this place one after another; 0 where nothing says so.
pub(crate) fn generation(repo: &Path) -> u64 {
    let found = fs::read_to_string(repo.join(GENERATION)).ok();
    found.and_then(|text| u64::from_str_radix(&text, 16).ok()).unwrap_or(0)
}

fn new_generation() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has randomness after it has started");
    u64::from_ne_bytes(bytes)
}

/// Makes an empty repository at `repo`, in place of what is there.
fn make_at(repo: &Path, format: ObjectFormat, kind: MirrorKind) -> Result<(), GitError> {
    let make = || {
        remove_tree(repo)?;
        for folder in ["objects/info", "objects/pack", "refs/gristmill", "refs/gristmill-tip", "refs/heads"] {
            fs::create_dir_all(repo.join(folder))?;
        }
        fs::write(repo.join("config"), config(format, kind))?;
        fs::write(repo.join(GENERATION), format!("{:016x}", new_generation()))?;
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
    Ok(count_files(repo, "refs/gristmill")? + count_files(repo, "refs/gristmill-import")?)
}

fn count_files(repo: &Path, folder: &str) -> Result<usize, GitError> {
    match count(&repo.join(folder), "") {
        // Packing refs removes folders that became empty.
        Err(GitError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(0),
        counted => counted,
    }
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
