//! Which files make up the configuration, and their texts.

use std::io::Read;
use std::path::{Path, PathBuf};

use gristmill_model::Digest;

use super::error::{ConfigErrors, Place};
use super::{FILE_NAME, FILE_VARIABLE, Surroundings};

/// The folder beside the main file whose `*.toml` hold further projects.
const PROJECTS_FOLDER: &str = "projects.d";
/// The largest file read: about ten thousand projects.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The most files in `projects.d`.
const FILES_MAX: usize = 10_000;

/// The files of a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Files {
    /// What relative paths are relative to.
    pub(super) folder: PathBuf,
    /// Whether there is a main file; it is the first then.
    pub(super) has_main: bool,
    /// Path and content, the main file first, the others by name.
    pub(super) texts: Vec<(PathBuf, String)>,
}

/// The main file's path, and whether it must be there.
pub(super) struct Found {
    pub(super) path: PathBuf,
    named_by: Option<&'static str>,
}

/// Looks for the main file.
pub(super) fn find(path: Option<&Path>, around: &Surroundings) -> Found {
    if let Some(path) = path {
        return Found { path: around.folder.join(path), named_by: Some("--config") };
    }
    if let Some(path) = (around.env)(FILE_VARIABLE).filter(|path| !path.is_empty()) {
        return Found { path: around.folder.join(path), named_by: Some("$GRISTMILL_CONFIG") };
    }
    let here = around.folder.join(FILE_NAME);
    let path = if !here.exists() && around.system_file.exists() { around.system_file.clone() } else { here };
    Found { path, named_by: None }
}

impl Files {
    /// Reads the main file and those of `projects.d`.
    pub(super) fn read(path: Option<&Path>, around: &Surroundings) -> Result<Files, ConfigErrors> {
        let found = find(path, around);
        let folder = found.path.parent().unwrap_or(&around.folder).to_owned();
        let mut files = Files { folder, has_main: false, texts: Vec::new() };
        match (read(&found.path), found.named_by) {
            (Ok(text), _) => files.texts.push((found.path.clone(), text)),
            (Err(error), None) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            (Err(error), named_by) => {
                let by = named_by.map(|by| format!(" (named by {by})")).unwrap_or_default();
                return Err(unreadable(&found.path, &format!("cannot be read{by}: {error}")));
            }
        }
        files.has_main = true;
        files.read_more()?;
        Ok(files)
    }

    /// The same files with another main text.
    pub(super) fn with_main(path: &Path, text: String) -> Result<Files, ConfigErrors> {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut files = Files { folder, has_main: true, texts: vec![(path.to_owned(), text)] };
        files.read_more()?;
        Ok(files)
    }

    fn read_more(&mut self) -> Result<(), ConfigErrors> {
        let folder = self.folder.join(PROJECTS_FOLDER);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(&folder, &format!("cannot be listed: {error}"))),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path =
                entry.map_err(|error| unreadable(&folder, &format!("cannot be listed: {error}")))?.path();
            // Editors leave `.x.toml.swp` and `x.toml~`; Kubernetes leaves `..data`.
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension().is_some_and(|ending| ending == "toml") {
                paths.push(path);
            }
        }
        if paths.len() > FILES_MAX {
            return Err(unreadable(
                &folder,
                &format!("holds {} files; at most {FILES_MAX} are taken", paths.len()),
            ));
        }
        paths.sort();
        for path in paths {
            let text = read(&path).map_err(|error| unreadable(&path, &format!("cannot be read: {error}")))?;
            self.texts.push((path, text));
        }
        Ok(())
    }

    /// Differs where any file, or the set of files, differs.
    pub(super) fn digest(&self) -> Digest {
        Digest::of_parts(
            self.texts.iter().flat_map(|(path, text)| [path.as_os_str().as_encoded_bytes(), text.as_bytes()]),
        )
    }
}

fn unreadable(path: &Path, what: &str) -> ConfigErrors {
    ConfigErrors::one(Some(Place::file(path)), what)
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("it is larger than 8 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8 text"))
}
