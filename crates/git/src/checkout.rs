//! [`Checkout`]: a repository in which somebody works, as CI has it: with files, an index, and settings that are not ours.
//!
//! It is only read, in this process. Nothing that its configuration names is run, so that it does not matter whose it
//! is: the check behind `safe.directory` is not needed.
//!
//! Work trees of `git worktree`, submodules, shallow and partial clones and such with alternates are followed. What
//! cannot be read says why.

mod index;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use gristmill_model::{CommitId, ObjectFormat, ObjectId};

use crate::error::GitError;
use crate::objects::Objects;

pub use index::Changed;

/// The longest chain of refs that name refs.
const SYMBOLIC_MAX: usize = 5;
/// Folders within folders below `refs`.
const REF_LEVELS_MAX: usize = 20;

/// A repository with a work tree.
#[derive(Clone, Debug)]
pub struct Checkout {
    work_tree: PathBuf,
    /// What belongs to this work tree: `HEAD`, the index.
    git_dir: PathBuf,
    /// What all work trees share: objects, refs, settings.
    common_dir: PathBuf,
    format: ObjectFormat,
    /// Whether the file system tells who may execute a file.
    has_modes: bool,
}

/// Why a repository cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckoutError {
    /// No such folder.
    #[error("there is no folder {}", .0.display())]
    Missing(PathBuf),
    /// A folder without a repository.
    #[error(
        "{} is not the root of a git repository: there is no `.git` in it; name the folder that was cloned into",
        .0.display()
    )]
    NotARepository(PathBuf),
    /// A repository without files.
    #[error("{} is a bare repository; a clone with files is needed", .0.display())]
    Bare(PathBuf),
    /// `.git` leads nowhere.
    #[error(
        "{}: its `.git` names {}, which is not there; where a work tree or a submodule is mounted, the repository it belongs to must be mounted at the same place",
        .work_tree.display(), .git_dir.display()
    )]
    Elsewhere {
        /// The folder.
        work_tree: PathBuf,
        /// What it names.
        git_dir: PathBuf,
    },
    /// Refs in the newer form.
    #[error(
        "{} keeps its refs in the form `reftable`, which is not read here; clone with `--ref-format=files`",
        .0.display()
    )]
    Reftable(PathBuf),
    /// Nothing was committed.
    #[error("{} has no commit yet", .0.display())]
    NoCommit(PathBuf),
    /// Something that git would not have written.
    #[error("{} is damaged: {why}", .dir.display())]
    Damaged {
        /// Where.
        dir: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// Its objects cannot be opened.
    #[error(transparent)]
    Objects(#[from] GitError),
}

/// What is read of a repository's settings.
#[derive(Debug, Default)]
struct Settings {
    format: Option<String>,
    refs: Option<String>,
    has_modes: Option<String>,
    is_bare: Option<String>,
}

impl Settings {
    fn read(common_dir: &Path) -> Result<Settings, CheckoutError> {
        let mut found = Settings::default();
        let Some(text) = read_text(&common_dir.join("config"))? else { return Ok(found) };
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.split(']').next().unwrap_or_default().trim().to_lowercase();
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, "true"));
            let value = value.trim().trim_matches('"').to_lowercase();
            match (section.as_str(), key.trim().to_lowercase().as_str()) {
                ("extensions", "objectformat") => found.format = Some(value),
                ("extensions", "refstorage") => found.refs = Some(value),
                ("core", "filemode") => found.has_modes = Some(value),
                ("core", "bare") => found.is_bare = Some(value),
                _ => {}
            }
        }
        Ok(found)
    }
}

impl Checkout {
    /// Opens the repository whose root is this folder.
    ///
    /// # Errors
    ///
    /// What is not there, is not such a repository, or is of a form that is not read here.
    pub fn open(folder: &Path) -> Result<Checkout, CheckoutError> {
        let work_tree = folder.to_owned();
        if !work_tree.is_dir() {
            return Err(CheckoutError::Missing(work_tree));
        }
        let git_dir = git_dir(&work_tree)?;
        let common_dir = match read_text(&git_dir.join("commondir"))? {
            Some(text) => git_dir.join(text.trim_end_matches('\n')),
            None => git_dir.clone(),
        };
        if !common_dir.join("objects").is_dir() {
            return Err(CheckoutError::Elsewhere { work_tree, git_dir: common_dir });
        }
        let settings = Settings::read(&common_dir)?;
        if settings.refs.is_some_and(|refs| refs != "files") {
            return Err(CheckoutError::Reftable(work_tree));
        }
        if settings.is_bare.is_some_and(|is| is == "true") && git_dir == common_dir {
            return Err(CheckoutError::Bare(work_tree));
        }
        let format = match settings.format.as_deref() {
            None | Some("sha1") => ObjectFormat::Sha1,
            Some("sha256") => ObjectFormat::Sha256,
            Some(other) => {
                let why = format!("its objects have the format `{other}`; known are sha1 and sha256");
                return Err(CheckoutError::Damaged { dir: work_tree, why });
            }
        };
        let has_modes = settings.has_modes.is_none_or(|has| has != "false");
        Ok(Checkout { work_tree, git_dir, common_dir, format, has_modes })
    }

    /// The folder with the files.
    pub fn work_tree(&self) -> &Path {
        &self.work_tree
    }

    /// The commit that is checked out.
    ///
    /// # Errors
    ///
    /// [`CheckoutError::NoCommit`] where there is none yet.
    pub fn head(&self) -> Result<CommitId, CheckoutError> {
        let mut name = "HEAD".to_owned();
        for _ in 0..SYMBOLIC_MAX {
            let dir = if name == "HEAD" { &self.git_dir } else { &self.common_dir };
            let Some(text) = read_text(&dir.join(&name))? else {
                let packed = self.packed()?.remove(&name);
                return packed.map(CommitId).ok_or(CheckoutError::NoCommit(self.work_tree.clone()));
            };
            match text.trim_end().strip_prefix("ref:").map(str::trim) {
                Some(next) if next.starts_with("refs/") && !next.contains("..") => next.clone_into(&mut name),
                Some(_) => return Err(self.damaged(&name)),
                None => return text.trim_end().parse().map_err(|_| self.damaged(&name)),
            }
        }
        Err(self.damaged("HEAD"))
    }

    /// All refs, and what each points at: a commit, or a tag's object.
    ///
    /// # Errors
    ///
    /// Where they cannot be read.
    pub fn refs(&self) -> Result<BTreeMap<String, ObjectId>, CheckoutError> {
        let mut found = self.packed()?;
        self.loose("refs", 0, &mut found)?;
        Ok(found)
    }

    /// A reader of its objects.
    ///
    /// # Errors
    ///
    /// Where they cannot be opened.
    pub fn objects(&self) -> Result<Objects, CheckoutError> {
        Ok(Objects::of_checkout(&self.common_dir, self.format)?)
    }

    fn damaged(&self, name: &str) -> CheckoutError {
        CheckoutError::Damaged { dir: self.git_dir.clone(), why: format!("`{name}` names no commit") }
    }

    fn packed(&self) -> Result<BTreeMap<String, ObjectId>, CheckoutError> {
        let text = read_text(&self.common_dir.join("packed-refs"))?.unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with(['#', '^']));
        let pair = |line: &str| {
            let (id, name) = line.split_once(' ')?;
            Some((name.to_owned(), id.parse().ok()?))
        };
        Ok(lines.filter_map(pair).collect())
    }

    fn loose(
        &self,
        folder: &str,
        level: usize,
        found: &mut BTreeMap<String, ObjectId>,
    ) -> Result<(), CheckoutError> {
        let dir = self.common_dir.join(folder);
        let failed = |source| CheckoutError::Io { path: dir.clone(), source };
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = format!("{folder}/{name}");
            if entry.file_type().map_err(failed)?.is_dir() {
                if level < REF_LEVELS_MAX {
                    self.loose(&name, level + 1, found)?;
                }
            } else if let Some(id) = read_text(&entry.path())?.and_then(|text| text.trim_end().parse().ok()) {
                found.insert(name, id);
            }
        }
        Ok(())
    }
}

/// The repository's own folder: `.git`, or what the file of that name says.
fn git_dir(work_tree: &Path) -> Result<PathBuf, CheckoutError> {
    let dot_git = work_tree.join(".git");
    if dot_git.is_dir() {
        return Ok(dot_git);
    }
    let Some(text) = read_text(&dot_git)? else {
        let is_bare = work_tree.join("HEAD").is_file() && work_tree.join("objects").is_dir();
        let folder = work_tree.to_owned();
        return Err(if is_bare {
            CheckoutError::Bare(folder)
        } else {
            CheckoutError::NotARepository(folder)
        });
    };
    let Some(named) = text.strip_prefix("gitdir:").map(str::trim) else {
        return Err(CheckoutError::NotARepository(work_tree.to_owned()));
    };
    let git_dir = work_tree.join(named);
    if git_dir.join("HEAD").is_file() {
        Ok(git_dir)
    } else {
        Err(CheckoutError::Elsewhere { work_tree: work_tree.to_owned(), git_dir })
    }
}

/// A small file; `None` where there is none.
fn read_text(path: &Path) -> Result<Option<String>, CheckoutError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(CheckoutError::Io { path: path.to_owned(), source }),
    }
}
