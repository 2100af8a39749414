//! [`Import`]: content that came another way than by git becomes objects of a mirror.
//!
//! Of such a commit only the files are known, not the commit object that its id is the hash of. So a commit of our
//! own stands in for it: it has the tree that the files make, no parents, and its message says whose place it takes.
//! `refs/gristmill-import/<id>` leads from the true commit's id to it. What reads trees and blobs works with it as
//! with any other; nothing that was fetched by git is mixed up with it.
//!
//! The objects are written by `git fast-import`. What it reads is made here, with every length counted and every path
//! quoted (git-fast-import(1)).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write};

use gristmill_model::{CommitId, Timestamp};

use crate::error::GitError;
use crate::mirror::{FetchLimits, Mirror};
use crate::program::Call;
use crate::repair;

/// Blobs above this many bytes go to the pack as they come; smaller ones are held in memory for a moment.
const STREAMED_ABOVE: &str = "--big-file-threshold=16m";

/// The ref that leads to the commit that stands in.
fn ref_name(commit: CommitId) -> String {
    format!("refs/gristmill-import/{commit}")
}

/// A mirror that content is being put into. Nobody else writes to it meanwhile.
#[derive(Debug)]
pub struct Import<'a> {
    mirror: &'a Mirror,
    lock: File,
    limits: FetchLimits,
}

/// The files of a commit, in the form that `git fast-import` reads. It lies in a file without a name.
#[derive(Debug)]
pub struct ImportStream {
    out: BufWriter<File>,
    /// Where each blob goes: its mark is its place, from 1 on.
    places: Vec<u8>,
    blobs: u64,
}

impl Mirror {
    /// The commit that stands in for `commit`, where its content was imported and can be read.
    ///
    /// # Errors
    ///
    /// [`GitError::Io`].
    pub fn imported(&self, commit: CommitId) -> Result<Option<CommitId>, GitError> {
        let found = repair::read_ref(&self.repo, &ref_name(commit))?.map(CommitId);
        let objects = self.objects()?;
        // A ref without its commit, as a power cut may leave it: importing again puts that right.
        Ok(found.filter(|stand_in| objects.commit(*stand_in).is_ok()))
    }

    /// Takes the mirror for an import.
    ///
    /// # Errors
    ///
    /// [`GitError::Locked`] where somebody else has it, [`GitError::Io`].
    pub async fn import(&self, limits: FetchLimits) -> Result<Import<'_>, GitError> {
        let lock = self.lock(limits.lock_wait_max).await?;
        Ok(Import { mirror: self, lock, limits })
    }
}

impl Import<'_> {
    /// A place for the files.
    ///
    /// # Errors
    ///
    /// [`GitError::Io`] where no file can be made in the mirror's folder.
    pub fn stream(&self) -> Result<ImportStream, GitError> {
        Ok(ImportStream { out: BufWriter::new(self.file()?), places: Vec::new(), blobs: 0 })
    }

    /// A file without a name in the mirror's folder. It goes with whoever has it open.
    ///
    /// # Errors
    ///
    /// [`GitError::Io`].
    pub fn file(&self) -> Result<File, GitError> {
        let dir = self.mirror.dir();
        tempfile::tempfile_in(dir).map_err(|error| GitError::io("make a file in", dir, error))
    }

    /// Puts the files into the mirror and makes the commit that stands in for `commit`. Its date is `committed`, never
    /// before 1970. An earlier one for the same commit is replaced.
    ///
    /// # Errors
    ///
    /// [`GitError::Failed`] where git does not take them, [`GitError::TooLarge`], [`GitError::Timeout`],
    /// [`GitError::Io`].
    pub async fn finish(
        self,
        stream: ImportStream,
        commit: CommitId,
        committed: Timestamp,
        message: &str,
    ) -> Result<CommitId, GitError> {
        let (mirror, repo) = (self.mirror, &self.mirror.repo);
        if repair::format(repo) != commit.0.format() {
            // Whoever gave this content out has such a commit now; what is here can be had again.
            mirror.replace(commit.0.format(), mirror.kind())?;
        }
        repair::tidy(repo)?;
        let name = ref_name(commit);
        let input = stream.end(&name, committed, message);
        let input = input.map_err(|error| GitError::io("write a file in", mirror.dir(), error))?;
        let args = ["fast-import", "--quiet", "--force", "--done", STREAMED_ABOVE].map(OsString::from);
        let call = Call {
            mirror: Some(repo),
            lock: Some(&self.lock),
            input: Some(input),
            ..Call::new(args.into(), self.limits.time_max, 64 << 10)
        };
        let bytes_max = self.limits.mirror_bytes_max;
        let within = || repair::pack_bytes(repo) <= bytes_max;
        match mirror.git.run_watched("fast-import", call, within).await {
            Ok(_) => mirror.join_in_a_burst(&self.lock).await,
            Err(GitError::TooLarge { what, .. }) => {
                return Err(GitError::TooLarge { what, max: bytes_max });
            }
            Err(error) => return Err(error),
        }
        mirror.imported(commit)?.ok_or_else(|| GitError::Damaged {
            dir: mirror.dir().to_owned(),
            detail: "what was imported is not there".to_owned(),
        })
    }
}

impl ImportStream {
    /// Adds a file of `size` bytes, which `content` writes, and no more or less. The path was checked by the caller:
    /// relative, without empty parts, `.`, `..` and git's own folder, each one once.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written, or `content` fails.
    pub fn file<E: From<io::Error>>(
        &mut self,
        path: &[u8],
        executable: bool,
        size: u64,
        content: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        self.blob(size, content)?;
        self.place(if executable { "100755" } else { "100644" }, path);
        Ok(())
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> io::Result<()> {
        self.blob(target.len() as u64, |out| out.write_all(target))?;
        self.place("120000", path);
        Ok(())
    }

    fn blob<E: From<io::Error>>(
        &mut self,
        size: u64,
        content: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        self.blobs += 1;
        write!(self.out, "blob\nmark :{}\ndata {size}\n", self.blobs)?;
        let mut counted = Counted { out: &mut self.out, left: size };
        content(&mut counted)?;
        if counted.left > 0 {
            return Err(
                io::Error::new(io::ErrorKind::UnexpectedEof, "a content is shorter than its size").into()
            );
        }
        self.out.write_all(b"\n")?;
        Ok(())
    }

    fn place(&mut self, mode: &str, path: &[u8]) {
        self.places.extend(format!("M {mode} :{} ", self.blobs).into_bytes());
        quote(path, &mut self.places);
        self.places.push(b'\n');
    }

    /// The whole of it, to be read from its beginning.
    fn end(mut self, name: &str, committed: Timestamp, message: &str) -> io::Result<File> {
        let seconds = committed.0.div_euclid(1000).max(0);
        write!(self.out, "commit {name}\ncommitter Gristmill <> {seconds} +0000\n")?;
        write!(self.out, "data {}\n{message}\ndeleteall\n", message.len())?;
        self.out.write_all(&self.places)?;
        self.out.write_all(b"done\n")?;
        let mut file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

/// Takes as many bytes as were announced.
struct Counted<'a> {
    out: &'a mut BufWriter<File>,
    left: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let fits = u64::try_from(piece.len()).is_ok_and(|bytes| bytes <= self.left);
        if !fits {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a content is longer than its size"));
        }
        let written = self.out.write(piece)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A path in double quotes, with octal numbers for all but plain bytes: no byte of it can end the line.
fn quote(path: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in path {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\') {
            out.push(byte);
        } else {
            out.extend(format!("\\{byte:03o}").into_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_of_a_path_ends_it() {
        for (path, expected) in [
            (b"a/b-c.txt".as_slice(), r#""a/b-c.txt""#),
            (b"two words", r#""two\040words""#),
            (b"\"\\\n\r\0\xff", r#""\042\134\012\015\000\377""#),
            (b"", r#""""#),
        ] {
            let mut quoted = Vec::new();
            quote(path, &mut quoted);
            assert_eq!(String::from_utf8_lossy(&quoted), expected);
        }
    }

    #[test]
    fn a_content_is_as_long_as_was_said() {
        let file = || tempfile::tempfile().expect("a file");
        for (content, fits) in [("ab", false), ("abc", true), ("abcd", false)] {
            let mut stream = ImportStream { out: BufWriter::new(file()), places: Vec::new(), blobs: 0 };
            let written = stream.file("p".as_bytes(), false, 3, |out| out.write_all(content.as_bytes()));
            assert_eq!(written.is_ok(), fits, "{content}");
        }
    }
}
