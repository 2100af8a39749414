//! Compares an archive with git itself, member by member: names, modes and content as `git ls-tree` and
//! `git cat-file` give them. Shares no code with what makes archives but the reader of zip files.

use std::collections::BTreeMap;
use std::io::{BufReader, Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use gristmill_archive::{Kind, Limits, ZipReader};

/// What `git rev-parse --local-env-vars` lists, of all versions of git: variables that would lead git to
/// another repository than the one it is started in, as hooks and `git worktree` set them.
const LOCAL_VARIABLES: [&str; 17] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Git, to be started in a folder of the caller's choice, whatever repository this program is called in.
pub(crate) fn git_command() -> Command {
    let mut command = Command::new("git");
    for name in LOCAL_VARIABLES {
        command.env_remove(name);
    }
    command
}

/// What git says stands under a path.
struct Listed {
    mode: String,
    id: String,
}

/// How many members are equal, or what differs first.
pub fn against_git(repository: &Path, commit: &str, archive: &[u8]) -> anyhow::Result<usize> {
    let mut listed = list(repository, commit)?;
    let count = listed.len();
    // The archive is our own, and may be as large as the repository.
    let limits = Limits {
        files_max: u64::MAX,
        bytes_total_max: u64::MAX,
        file_bytes_max: u64::MAX,
        ratio_max: u64::MAX,
        ..Limits::default()
    };
    let mut git = CatFile::start(repository)?;
    let mut zip = ZipReader::open(Cursor::new(archive), &limits)?;
    for number in 0..zip.entries().len() {
        let entry = &zip.entries()[number];
        let kind = entry.kind();
        let name = entry.name().strip_suffix(b"/").unwrap_or(entry.name()).to_vec();
        let shown = String::from_utf8_lossy(&name).into_owned();
        let expected =
            listed.remove(&name).with_context(|| format!("{shown} is in the archive, not in git"))?;
        let mode = match kind {
            Kind::File => "100644",
            Kind::Executable => "100755",
            Kind::Symlink => "120000",
            Kind::Directory => "160000",
        };
        ensure!(mode == expected.mode, "{shown} has mode {mode}, git says {}", expected.mode);
        if kind != Kind::Directory {
            let mut content = Vec::new();
            zip.copy(number, &mut content)?;
            ensure!(content == git.blob(&expected.id)?, "{shown} has other content than in git");
        }
    }
    if let Some(name) = listed.keys().next() {
        bail!("{} is in git, not in the archive", String::from_utf8_lossy(name));
    }
    Ok(count)
}

fn list(repository: &Path, commit: &str) -> anyhow::Result<BTreeMap<Vec<u8>, Listed>> {
    let output = git_command()
        .current_dir(repository)
        .args(["ls-tree", "-r", "-z", "--full-tree", "--", commit])
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "git ls-tree failed");
    let mut listed = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let tab = line.iter().position(|byte| *byte == b'\t').context("git ls-tree wrote no tab")?;
        let head = std::str::from_utf8(&line[..tab])?;
        let mut words = head.split(' ');
        let (mode, id) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
        listed.insert(line[tab + 1..].to_vec(), Listed { mode: mode.to_owned(), id: id.to_owned() });
    }
    Ok(listed)
}

/// A running `git cat-file --batch`.
struct CatFile {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl CatFile {
    fn start(repository: &Path) -> anyhow::Result<CatFile> {
        let mut child = git_command()
            .current_dir(repository)
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().context("piped above")?);
        Ok(CatFile { child, answers })
    }

    fn blob(&mut self, id: &str) -> anyhow::Result<Vec<u8>> {
        use std::io::BufRead as _;
        let stdin = self.child.stdin.as_mut().context("piped above")?;
        writeln!(stdin, "{id}")?;
        stdin.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let size: usize = line
            .trim()
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .with_context(|| format!("git says: {line}"))?;
        let mut content = vec![0; size + 1];
        self.answers.read_exact(&mut content)?;
        content.truncate(size);
        Ok(content)
    }
}

impl Drop for CatFile {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends at the end of its input; nobody is left to hear of a failure.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_leads_git_elsewhere() {
        let output = git_command().args(["rev-parse", "--local-env-vars"]).output().unwrap();
        assert!(output.status.success());
        let listed = String::from_utf8(output.stdout).unwrap();
        assert!(listed.lines().count() > 10, "{listed}");
        let command = git_command();
        let removed: Vec<&str> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        for name in listed.lines() {
            assert!(removed.contains(&name), "{name}");
        }
    }
}
