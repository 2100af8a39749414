//! Submodules: which other repositories a commit names, read from its tree and its `.gitmodules`.
//!
//! Nothing is fetched here and nothing is ever checked out: the caller gets a list, decides what it wants, and fetches
//! each into a mirror of its own. The file is a stranger's. Git itself parses its syntax (`git config --blob`, which
//! follows no includes); what it says is checked here, and one bad entry refuses the whole file.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_model::{BlobId, CommitId};

use crate::error::{GitError, ObjectError};
use crate::limit::Limit;
use crate::mirror::Mirror;
use crate::program::Call;
use crate::protocol::Protocol;
use crate::url::RemoteUrl;
use crate::walk::{Entry, WalkLimits};

/// How long git may take to parse the file.
const PARSE_TIME_MAX: Duration = Duration::from_secs(30);

/// The longest name and the longest path taken, in bytes.
const NAME_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 4096;

/// Another repository that a commit names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submodule {
    /// What `.gitmodules` calls it; often its path.
    pub name: String,
    /// Where its content belongs in the tree, without `/` at either end.
    pub path: String,
    /// Where it lies; relative addresses are resolved already.
    pub url: RemoteUrl,
    /// What the tree pins it to.
    pub commit: CommitId,
}

/// What a commit says of submodules.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Submodules {
    /// In the order of their paths.
    pub modules: Vec<Submodule>,
    /// Paths of pinned commits that `.gitmodules` does not name, so nobody can say where they lie.
    pub unnamed: Vec<String>,
}

/// Bounds for submodules.
#[derive(Clone, Copy, Debug)]
pub struct SubmoduleLimits {
    /// How many a commit may have.
    pub modules_max: usize,
    /// How many levels of submodules within submodules.
    pub levels_max: usize,
    /// How large `.gitmodules` may be, in bytes.
    pub file_bytes_max: u64,
    /// For walking the tree.
    pub walk: WalkLimits,
}

impl Default for SubmoduleLimits {
    /// 200 submodules, 5 levels, 256 KiB.
    fn default() -> SubmoduleLimits {
        SubmoduleLimits {
            modules_max: 200,
            levels_max: 5,
            file_bytes_max: 256 * 1024,
            walk: WalkLimits::default(),
        }
    }
}

/// What one section says, before it is judged.
#[derive(Default)]
struct Section {
    path: Option<String>,
    url: Option<String>,
}

impl Mirror {
    /// The submodules of a commit in the mirror. `base` is the address the commit came from, which relative
    /// addresses are relative to. `level` is 0 for a project, 1 for its submodules, and so on.
    ///
    /// # Errors
    ///
    /// [`GitError::Submodules`] with the reason where the file is refused or the levels are too many,
    /// [`GitError::TooLarge`] beyond the other limits, and as [`crate::Objects::walk`].
    pub async fn submodules(
        &self,
        base: &RemoteUrl,
        commit: CommitId,
        level: usize,
        limits: SubmoduleLimits,
    ) -> Result<Submodules, GitError> {
        let (pinned, file) = self.pinned_commits(commit, limits)?;
        if pinned.is_empty() {
            return Ok(Submodules::default());
        }
        let refused = |why: String| GitError::Submodules { commit, why };
        if level >= limits.levels_max {
            return Err(refused(format!("they go deeper than {} levels", limits.levels_max)));
        }
        let sections = match file {
            Some(file) => parse(&self.config_lines(file, commit).await?, limits).map_err(refused)?,
            None => BTreeMap::new(),
        };
        let mut found = Submodules::default();
        let mut named: BTreeMap<String, (String, RemoteUrl)> = BTreeMap::new();
        for (name, section) in sections {
            let (path, url) = judge(section, base).map_err(|why| refused(format!("`{name}`: {why}")))?;
            if named.insert(path, (name.clone(), url)).is_some() {
                return Err(refused(format!("`{name}`: another submodule has the same path")));
            }
        }
        for (path, commit) in pinned {
            match named.remove(&path) {
                Some((name, url)) => found.modules.push(Submodule { name, path, url, commit }),
                None => found.unnamed.push(path),
            }
        }
        Ok(found)
    }

    /// The commits that the tree pins, by path, and the blob of `.gitmodules`.
    fn pinned_commits(
        &self,
        commit: CommitId,
        limits: SubmoduleLimits,
    ) -> Result<(BTreeMap<String, CommitId>, Option<BlobId>), GitError> {
        let refused = |why: &str| GitError::Submodules { commit, why: why.to_owned() };
        let objects = self.objects()?;
        let (mut pinned, mut file) = (BTreeMap::new(), None);
        let tree = objects.commit(commit)?.tree;
        objects.walk(tree, limits.walk, |path, entry| {
            match entry {
                Entry::Submodule { commit } => {
                    let path = std::str::from_utf8(path)
                        .map_err(|_| refused("a path that is not UTF-8 pins a submodule"))?;
                    check_path(path).map_err(refused)?;
                    pinned.insert(path.to_owned(), commit);
                }
                Entry::File { blob, .. } if path == b".gitmodules" => file = Some(blob),
                Entry::Symlink { .. } | Entry::Folder { .. } if path == b".gitmodules" => {
                    return Err(refused("`.gitmodules` is not a file"));
                }
                _ => {}
            }
            if pinned.len() > limits.modules_max {
                let max = u64::try_from(limits.modules_max).unwrap_or(u64::MAX);
                return Err(GitError::TooLarge { what: Limit::Submodules, max });
            }
            Ok(())
        })?;
        if let Some(blob) = file.filter(|_| !pinned.is_empty()) {
            let (id, bytes_max) = (blob.0, limits.file_bytes_max);
            let bytes = objects.blob_size(blob)?;
            if bytes > bytes_max {
                return Err(ObjectError::TooLarge { id, bytes, bytes_max }.into());
            }
        }
        Ok((pinned, file))
    }

    /// The file as git reads it: `key LF value NUL`, as often as it says something.
    async fn config_lines(&self, file: BlobId, commit: CommitId) -> Result<Vec<u8>, GitError> {
        let blob = format!("--blob={}", file.0);
        let call = Call {
            // What git writes may be longer than the file: each line repeats its section's name.
            stdout_bytes_max: 4 << 20,
            ..self.call(&["config", "--no-includes", "--null", &blob, "--list"], None, PARSE_TIME_MAX)
        };
        match self.git.run("config", call).await {
            Ok(finished) => Ok(finished.stdout),
            Err(GitError::Failed { detail, .. } | GitError::Damaged { detail, .. }) => {
                Err(GitError::Submodules { commit, why: format!("git cannot read it: {detail}") })
            }
            Err(error) => Err(error),
        }
    }
}

/// The sections by name, with what counts of them.
fn parse(output: &[u8], limits: SubmoduleLimits) -> Result<BTreeMap<String, Section>, String> {
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    for item in output.split(|byte| *byte == 0).filter(|item| !item.is_empty()) {
        let item = std::str::from_utf8(item).map_err(|_| "it is not UTF-8".to_owned())?;
        let (key, value) = item.split_once('\n').map_or((item, None), |(key, value)| (key, Some(value)));
        if key.starts_with("include.") || key.starts_with("includeif.") {
            return Err("it includes another file".to_owned());
        }
        // Git ignores what is not about submodules, and so do we.
        let Some((name, key)) = key.strip_prefix("submodule.").and_then(|rest| rest.rsplit_once('.')) else {
            continue;
        };
        let fault = |why: &str| format!("`{}`: {why}", name.escape_debug());
        check_name(name).map_err(fault)?;
        let section = sections.entry(name.to_owned()).or_default();
        let text = || value.map(str::to_owned).ok_or_else(|| fault(&format!("its {key} has no value")));
        let once = |slot: &mut Option<String>| match slot.replace(text()?) {
            None => Ok(()),
            Some(_) => Err(fault(&format!("its {key} is there twice"))),
        };
        match key {
            "path" => once(&mut section.path)?,
            "url" => once(&mut section.url)?,
            "update" => check_update(&text()?).map_err(fault)?,
            "branch" | "ignore" | "shallow" | "fetchrecursesubmodules" => {
                check_value(value.unwrap_or("true")).map_err(fault)?;
            }
            _ => {}
        }
        if sections.len() > limits.modules_max {
            return Err(format!("it names more than {} submodules", limits.modules_max));
        }
    }
    Ok(sections)
}

/// The path and the address of a section.
fn judge(section: Section, base: &RemoteUrl) -> Result<(String, RemoteUrl), String> {
    let path = section.path.ok_or("it has no path")?;
    check_path(&path)?;
    let text = section.url.ok_or("it has no url")?;
    let url = if text.starts_with("./") || text.starts_with("../") {
        base.join(&text).map_err(|error| error.to_string())?
    } else {
        text.parse::<RemoteUrl>().map_err(|error| error.to_string())?
    };
    // A stranger's file may not make us read repositories of this machine.
    if url.protocol() == Protocol::File && base.protocol() != Protocol::File {
        return Err("its url is a place on this machine".to_owned());
    }
    Ok((path, url))
}

/// As git refuses names that lead out of `.git/modules`, and those that programs take for options.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("its name is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return Err("its name has more than 255 bytes");
    }
    if name.starts_with('-') {
        return Err("its name begins with `-`, which programs take for an option");
    }
    if name.contains(char::is_control) {
        return Err("its name has a control character");
    }
    if name.starts_with('/') || name.split(['/', '\\']).any(|part| part == "..") {
        return Err("its name leads out of its folder");
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("its path is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("its path has more than 4096 bytes");
    }
    if path.starts_with('-') {
        return Err("its path begins with `-`, which programs take for an option");
    }
    if path.contains(char::is_control) || path.contains('\\') {
        return Err("its path has a control character or a backslash");
    }
    for part in path.split('/') {
        // Windows takes `.git.`, `.git ` and `git~1` for `.git`, and somebody may unpack an archive there.
        let plain = part.trim_end_matches(['.', ' ']).to_ascii_lowercase();
        if part.is_empty() || part == "." || part == ".." {
            return Err("its path is absolute or leads somewhere else");
        }
        if matches!(plain.as_str(), ".git" | "git~1") || plain.starts_with(".git:") {
            return Err("its path leads into a `.git`");
        }
    }
    Ok(())
}

fn check_update(value: &str) -> Result<(), &'static str> {
    match value {
        "checkout" | "rebase" | "merge" | "none" => Ok(()),
        _ if value.starts_with('!') => Err("its update is a command"),
        _ => Err("its update is none of checkout, rebase, merge and none"),
    }
}

fn check_value(value: &str) -> Result<(), &'static str> {
    if value.starts_with('-') {
        return Err("a value begins with `-`, which programs take for an option");
    }
    if value.contains(char::is_control) { Err("a value has a control character") } else { Ok(()) }
}
