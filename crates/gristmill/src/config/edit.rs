//! [`add_project`]: a further `[[project]]` in the file, with everything else in it left as it is.

use std::io::Write;
use std::path::{Path, PathBuf};

use gristmill_model::hex;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};

use super::files::Files;
use super::{Config, ConfigErrors, SecretSource, Surroundings};
use crate::folders;

/// A project to add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewProject {
    /// Its name.
    pub name: String,
    /// Where git fetches from.
    pub git: String,
    /// Which forge sends its webhooks.
    pub forge: String,
    /// The repository's name at the forge, where neither `git` nor `name` tells it.
    pub repository: Option<String>,
    /// Patterns of the branches to build. Without these and `tags`, all branches are.
    pub branches: Vec<String>,
    /// Patterns of the tags to build.
    pub tags: Vec<String>,
    /// The key's template, or a preset's name; the usual preset where there is none.
    pub key: Option<String>,
    /// The template for tags.
    pub tag_key: Option<String>,
    /// A file that holds the webhook's secret already; without one, a secret is made.
    pub secret_file: Option<PathBuf>,
    /// A file with the keys of the ssh server, where they are not known.
    pub host_keys_file: Option<PathBuf>,
    /// CodeCommit: the topic of SNS, instead of a secret.
    pub topic: Option<String>,
    /// Where the forge's token is.
    pub token: Option<TokenFrom>,
    /// The user that goes with the token.
    pub username: Option<String>,
    /// The address of the forge's API, where it does not follow from `git`.
    pub api: Option<String>,
}

/// Where a forge's token is. `Debug` does not show one that was given.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenFrom {
    /// In the environment of whoever runs the server.
    Env(String),
    /// In a file.
    File(PathBuf),
    /// It was given, and is to be kept in a file beside the webhook's secret.
    Given(String),
}

impl std::fmt::Debug for TokenFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TokenFrom::Env(name) => write!(f, "Env({name})"),
            TokenFrom::File(path) => write!(f, "File({})", path.display()),
            TokenFrom::Given(_) => f.write_str("Given(…)"),
        }
    }
}

/// What was added, and what the forge must be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Added {
    /// The configuration file.
    pub file: PathBuf,
    /// Whether the file is new.
    pub file_is_new: bool,
    /// The file that holds the secret, which goes into the forge's "Secret" field; with a topic there is none.
    pub secret_file: Option<PathBuf>,
    /// Whether the secret was made now.
    pub secret_is_new: bool,
    /// Where the forge's token is, where one was given.
    pub token: Option<SecretSource>,
    /// The path of the payload URL, behind the server's own URL.
    pub hook_path: String,
    /// The configuration with the project in it.
    pub config: Config,
}

/// Why no project was added. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// There is a project of that name.
    #[error("project `{name}` is already configured in {place}; choose another name, or edit it there")]
    Duplicate {
        /// The name.
        name: String,
        /// Where it is.
        place: super::Place,
    },
    /// The file was wrong before anything was added.
    #[error("the configuration must be right before a project is added:\n{0}")]
    Before(ConfigErrors),
    /// The file would be wrong with the project in it.
    #[error(
        "the project was not added, because the configuration would be wrong (lines are those of the new file):\n{0}"
    )]
    After(ConfigErrors),
    /// `project` is there, but not as a list of `[[project]]`.
    #[error("{}: `project` is not a list of [[project]] tables; write it so, then add the project again", .0.display())]
    Shape(PathBuf),
    /// Somebody else changed the file.
    #[error("{} was changed meanwhile, so nothing was added; run this again", .0.display())]
    Changed(PathBuf),
    /// The file or the secret could not be read or written.
    #[error("{}: {what}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The operating system gave no randomness.
    #[error("no secret could be made, because the system gave no randomness: {0}")]
    Random(getrandom::Error),
}

/// Adds the project to the configuration file at `path`, and makes its secret.
///
/// The file is made where there is none. Its comments, order and permissions stay. The new text is
/// checked before it takes the old one's place in one step.
pub fn add_project(path: &Path, new: &NewProject, around: &Surroundings) -> Result<Added, AddError> {
    prepare_project(path, new, around)?.write()
}

/// A project that is ready to be added: its secret is made, and the configuration with it is checked. Where it is
/// dropped, what was made for it goes away again, and the configuration is as it was.
#[derive(Debug)]
pub struct Prepared {
    added: Added,
    /// The file as it was.
    old: String,
    text: String,
    made: Vec<PathBuf>,
}

impl Prepared {
    /// What will have been added.
    pub fn added(&self) -> &Added {
        &self.added
    }

    /// Adds it.
    pub fn write(mut self) -> Result<Added, AddError> {
        let path = &self.added.file;
        // The forge may have taken its time, and somebody else may have edited the file.
        if read(path)?.0 != self.old {
            return Err(AddError::Changed(path.clone()));
        }
        replace(path, &self.text).map_err(|error| file_error(path, "cannot be written", error))?;
        self.made.clear();
        Ok(self.added.clone())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        for path in &self.made {
            // Nobody knows the secret yet; it would only be in the way of the next try.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The first half of [`add_project`]: everything but the configuration file itself is there.
pub fn prepare_project(path: &Path, new: &NewProject, around: &Surroundings) -> Result<Prepared, AddError> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| around.folder.join(path));
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let (old, file_is_new) = read(&path)?;
    let before = check(&path, old.clone(), around).map_err(AddError::Before)?;
    if let Some(same) =
        before.projects.iter().chain(&before.patterns).find(|project| project.name() == new.name)
    {
        return Err(AddError::Duplicate { name: new.name.clone(), place: same.place.clone() });
    }
    std::fs::create_dir_all(&folder).map_err(|error| file_error(&folder, "cannot be made", error))?;
    let (secret_file, secret_is_new) = match &new.secret_file {
        Some(file) => (Some(around.folder.join(file)), false),
        None if new.topic.is_some() => (None, false),
        None => (Some(keep_secret(&folder, &new.name, "secret", &random_text()?)?), true),
    };
    let added = Added {
        file: path.clone(),
        file_is_new,
        secret_file: secret_file.clone(),
        secret_is_new,
        token: None,
        hook_path: format!("/hooks/{}", new.name),
        config: before,
    };
    let made = secret_file.iter().filter(|_| secret_is_new).cloned().collect();
    let mut prepared = Prepared { added, old: old.clone(), text: String::new(), made };
    prepared.added.token = match &new.token {
        None => None,
        Some(TokenFrom::Env(name)) => Some(SecretSource::Env(name.clone())),
        Some(TokenFrom::File(file)) => Some(SecretSource::File(around.folder.join(file))),
        Some(TokenFrom::Given(token)) => {
            let file = keep_secret(&folder, &new.name, "token", token)?;
            prepared.made.push(file.clone());
            Some(SecretSource::File(file))
        }
    };
    let token = prepared.added.token.as_ref().map(|source| match source {
        SecretSource::Env(name) => ("env", name.clone()),
        SecretSource::File(file) => ("file", relative(file, &folder)),
    });
    let files = Paths {
        secret: secret_file.as_ref().map(|file| relative(file, &folder)),
        host_keys: new.host_keys_file.as_ref().map(|file| relative(&around.folder.join(file), &folder)),
        token,
    };
    prepared.text = text(&path, &old, new, files)?;
    prepared.added.config = check(&path, prepared.text.clone(), around).map_err(AddError::After)?;
    Ok(prepared)
}

fn file_error(path: &Path, what: &'static str, error: std::io::Error) -> AddError {
    AddError::File { path: path.to_owned(), what, error }
}

fn read(path: &Path) -> Result<(String, bool), AddError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((text, false)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((String::new(), true)),
        Err(error) => Err(file_error(path, "cannot be read", error)),
    }
}

fn check(path: &Path, text: String, around: &Surroundings) -> Result<Config, ConfigErrors> {
    Config::from_files(&Files::with_main(path, text)?, around)
}

/// Relative to the configuration's folder where it lies below, so that the folder can be moved.
fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// Files of the project, as they stand in the configuration.
struct Paths {
    secret: Option<String>,
    host_keys: Option<String>,
    /// With `env` or `file` before it.
    token: Option<(&'static str, String)>,
}

fn place(key: &str, found: String) -> Item {
    let mut table = InlineTable::new();
    table.insert(key, found.into());
    value(table)
}

fn text(path: &Path, old: &str, new: &NewProject, files: Paths) -> Result<String, AddError> {
    let shape = || AddError::Shape(path.to_owned());
    let mut document: DocumentMut = old.parse().map_err(|_| shape())?;
    let mut project = Table::new();
    project["name"] = value(&new.name);
    project["git"] = value(&new.git);
    project["forge"] = value(&new.forge);
    if let Some(repository) = &new.repository {
        project["repository"] = value(repository);
    }
    if let Some(topic) = &new.topic {
        project["topic"] = value(topic);
    }
    if let Some(secret) = files.secret {
        project["secret"] = place("file", secret);
    }
    if let Some(host_keys) = files.host_keys {
        project["host_keys"] = place("file", host_keys);
    }
    if let Some((key, found)) = files.token {
        project["token"] = place(key, found);
    }
    for (key, found) in [("username", &new.username), ("api", &new.api)] {
        if let Some(found) = found {
            project[key] = value(found);
        }
    }
    let mut pipelines = ArrayOfTables::new();
    pipelines.push(pipeline(new));
    project["pipeline"] = Item::ArrayOfTables(pipelines);
    if !old.trim().is_empty() {
        project.decor_mut().set_prefix("\n");
    }
    let projects = document.entry("project").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    projects.as_array_of_tables_mut().ok_or_else(shape)?.push(project);
    Ok(document.to_string())
}

fn pipeline(new: &NewProject) -> Table {
    let mut pipeline = Table::new();
    pipeline["kind"] = value("archive");
    let list = |patterns: &[String]| patterns.iter().collect::<toml_edit::Array>();
    if !new.branches.is_empty() {
        pipeline["branches"] = value(list(&new.branches));
    }
    if !new.tags.is_empty() {
        pipeline["tags"] = value(list(&new.tags));
    }
    for (name, key) in [("key", &new.key), ("tag_key", &new.tag_key)] {
        if let Some(key) = key {
            pipeline[name] = value(key);
        }
    }
    pipeline
}

/// 32 random bytes, as hexadecimal digits.
fn random_text() -> Result<String, AddError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(AddError::Random)?;
    Ok(hex::encode(&bytes))
}

/// Writes a secret to a file that only its owner can read. One that is there already is never overwritten.
fn keep_secret(folder: &Path, name: &str, ending: &str, secret: &str) -> Result<PathBuf, AddError> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let secrets = folder.join("secrets");
    if !secrets.is_dir() {
        let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&secrets);
        made.map_err(|error| file_error(&secrets, "cannot be made", error))?;
    }
    let path = secrets.join(format!("{}.{ending}", name.replace('/', "_").replace('*', "all")));
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(format!("{secret}\n").as_bytes())?;
        folders::leave_to_owner(&file, &secrets)?;
        file.sync_all()?;
        std::fs::File::open(&secrets)?.sync_all()
    };
    write().map_err(|error| {
        let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
        let what = if exists {
            "a secret is there already and is not overwritten; name it as the project's secret file, or remove it"
        } else {
            "cannot be written"
        };
        file_error(&path, what, error)
    })?;
    Ok(path)
}

/// Puts the text in the file's place: whole or not at all, with the old file's permissions.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".gristmill-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    let mode = match path.metadata() {
        Ok(metadata) => metadata.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    file.as_file().set_permissions(mode)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}
