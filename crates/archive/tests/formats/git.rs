//! A repository made by git itself, with blobs and commits exactly as they are given.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) struct Repository {
    folder: tempfile::TempDir,
}

/// What a commit says.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) author: &'a str,
    pub(crate) committer: &'a str,
    pub(crate) encoding: Option<&'a str>,
    pub(crate) message: &'a [u8],
}

impl Default for Told<'_> {
    fn default() -> Self {
        Self {
            author: "A U Thor <author@example.com> 1112911993 +0200",
            committer: "C O Mitter <committer@example.com> 1112912053 -0730",
            encoding: None,
            message: b"The subject\n\nThe body.\n",
        }
    }
}

impl Repository {
    pub(crate) fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        repository.git(&["init", "-q", "-b", "main", "."]);
        repository
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(args).current_dir(self.folder.path());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
        command
    }

    pub(crate) fn git(&self, args: &[&str]) -> Vec<u8> {
        let done = self.command(args).output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    pub(crate) fn line(&self, args: &[&str]) -> String {
        String::from_utf8(self.git(args)).unwrap().trim_end().to_owned()
    }

    /// Gives git something to read.
    pub(crate) fn fed(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeding = std::thread::spawn(move || stdin.write_all(&input));
        let done = child.wait_with_output().unwrap();
        feeding.join().unwrap().unwrap();
        assert!(done.status.success(), "git {args:?}");
        done.stdout
    }

    /// Replaces the branch by a commit of just these files; its id.
    pub(crate) fn commit(&self, told: &Told<'_>, files: &[(&str, &[u8])]) -> String {
        let mut stream = b"commit refs/heads/main\n".to_vec();
        stream.extend(format!("author {}\ncommitter {}\n", told.author, told.committer).bytes());
        if let Some(encoding) = told.encoding {
            stream.extend(format!("encoding {encoding}\n").bytes());
        }
        let data = |stream: &mut Vec<u8>, bytes: &[u8]| {
            stream.extend(format!("data {}\n", bytes.len()).bytes());
            stream.extend([bytes, b"\n"].concat());
        };
        data(&mut stream, told.message);
        stream.extend(b"deleteall\n");
        for (path, content) in files {
            stream.extend(format!("M 100644 inline {path}\n").bytes());
            data(&mut stream, content);
        }
        self.fed(&["fast-import", "--quiet", "--force"], &stream);
        self.line(&["rev-parse", "refs/heads/main"])
    }
}
