//! A commit as placeholders need it.

use super::convert::ConvertError;
use super::message::{sanitized, skip_blank_lines, subject};

/// Why bytes are no commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object has no tree, author and committer in this order, or its id is none: it is no commit")]
pub struct CommitError;

/// What `$Format:…$` can say of a commit, from the object as git stores it.
///
/// Known placeholders are `%H %h %T %t %P %p`; `%an %ae %al %ad %aD %at %ai %aI %as` and the same with `c`;
/// `%s %f %b %B %e %d %D %n %% %xNN`; and `+`, `-` or a space behind the percent sign. What git would take from
/// elsewhere is refused: the mailmap (`%aN`), the time of day (`%ar`, `%ah`), notes (`%N`), signatures (`%G?`),
/// reflogs (`%g…`), `%S`, `%m`, colours (`%C…`), columns (`%<`, `%>`, `%w`) and the functions in brackets, such
/// as `%(describe)`. Everything else is no placeholder and stays, as with git.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    pub(super) id: &'a str,
    pub(super) abbrev: usize,
    pub(super) decoration: &'a str,
    pub(super) tree: &'a str,
    pub(super) parents: Vec<&'a str>,
    pub(super) author: Person<'a>,
    pub(super) committer: Person<'a>,
    /// The header `encoding`; empty without one.
    pub(super) encoding: &'a [u8],
    /// Everything behind the headers.
    pub(super) message: &'a [u8],
    /// The first paragraph in one line.
    pub(super) subject: Vec<u8>,
    /// The first line as a part of a file name.
    pub(super) file_name: Vec<u8>,
    /// What follows the first paragraph.
    pub(super) body: &'a [u8],
}

impl<'a> Commit<'a> {
    /// Reads a commit object's content.
    ///
    /// `id` is its id in hexadecimal digits; `abbrev` is to how many digits ids are cut (git starts at 7 and
    /// takes more the more objects there are, so this follows from the repository and not from the commit);
    /// `decoration` is what `%D` says: the names of the refs at the commit, such as `HEAD -> main, tag: v1`.
    pub fn new(
        id: &'a str,
        object: &'a [u8],
        abbrev: usize,
        decoration: &'a str,
    ) -> Result<Self, CommitError> {
        let split = object.windows(2).position(|pair| pair == b"\n\n");
        let (headers, message) = match split {
            Some(at) => (&object[..at], &object[at + 2..]),
            None => (object.strip_suffix(b"\n").unwrap_or(object), &b""[..]),
        };
        let mut lines = headers.split(|&byte| byte == b'\n');
        let id_after = |line: Option<&'a [u8]>, key: &[u8]| {
            let id = line?.strip_prefix(key)?;
            str::from_utf8(id).ok().filter(|id| is_id(id))
        };
        if !is_id(id) {
            return Err(CommitError);
        }
        let tree = id_after(lines.next(), b"tree ").ok_or(CommitError)?;
        let mut parents = Vec::new();
        let mut line = lines.next();
        while let Some(parent) = id_after(line, b"parent ") {
            parents.push(parent);
            line = lines.next();
        }
        let person = |line: Option<&'a [u8]>, key: &[u8]| {
            line.and_then(|line| line.strip_prefix(key)).map(Person::new).ok_or(CommitError)
        };
        let author = person(line, b"author ")?;
        let committer = person(lines.next(), b"committer ")?;
        let encoding = lines.find_map(|line| line.strip_prefix(b"encoding ")).unwrap_or_default();
        // Taken apart once: a file may ask for it any number of times.
        let (subject, rest) = subject(message);
        let file_name = sanitized(skip_blank_lines(message));
        let body = skip_blank_lines(rest);
        Ok(Self {
            id,
            abbrev,
            decoration,
            tree,
            parents,
            author,
            committer,
            encoding,
            message,
            subject,
            file_name,
            body,
        })
    }

    /// The message, if placeholders can show it: git shows it in UTF-8.
    pub(super) fn check_encoding(&self) -> Result<(), ConvertError> {
        let is_plain = self.encoding.is_empty()
            || self.encoding.eq_ignore_ascii_case(b"utf-8")
            || self.encoding.eq_ignore_ascii_case(b"utf8")
            || [self.message, self.author.name, self.author.email, self.committer.name, self.committer.email]
                .iter()
                .all(|part| part.is_ascii());
        if is_plain {
            return Ok(());
        }
        let name = String::from_utf8_lossy(&self.encoding[..self.encoding.len().min(40)]);
        Err(ConvertError::MessageEncoding(name.into_owned()))
    }
}

/// Forty hexadecimal digits, or 64.
fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `Name <email> seconds zone`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person<'a> {
    pub(super) name: &'a [u8],
    pub(super) email: &'a [u8],
    /// Seconds since 1970 and the zone as it is written, such as 130 for `+0130`; none if damaged.
    pub(super) time: Option<(u64, i32)>,
    /// False where there are no angle brackets: then git shows nothing at all.
    pub(super) is_whole: bool,
}

impl<'a> Person<'a> {
    fn new(line: &'a [u8]) -> Self {
        let damaged = Self { name: b"", email: b"", time: None, is_whole: false };
        let Some(open) = line.iter().position(|&byte| byte == b'<') else { return damaged };
        let Some(length) = line[open..].iter().position(|&byte| byte == b'>') else { return damaged };
        let close = line.iter().rposition(|&byte| byte == b'>').expect("there is one");
        Self {
            name: line[..open].trim_ascii(),
            email: line[open + 1..open + length].trim_ascii(),
            time: time(&line[close + 1..]),
            is_whole: true,
        }
    }
}

fn time(text: &[u8]) -> Option<(u64, i32)> {
    let text = str::from_utf8(text).ok()?.trim_ascii();
    let (seconds, zone) = text.split_once(' ')?;
    let digits = zone.trim_ascii_start().strip_prefix(['+', '-'])?;
    let is_plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(digits) || !is_plain(seconds) {
        return None;
    }
    let zone: i32 = digits.parse::<i32>().ok()? * if zone.contains('-') { -1 } else { 1 };
    Some((seconds.parse().ok()?, zone))
}
