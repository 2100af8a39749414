//! A blob's content as `git archive` puts it into an archive: identifier, ends of lines, encoding, commit, in
//! this order (git's `convert_to_working_tree`, then `format_subst`).

use std::borrow::Cow;

use super::commit::Commit;
use super::expand;
use super::rules::{Eol, PathAttributes};

/// Why a content cannot be made as git makes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// More bytes than the caller allows: a short placeholder can stand for a long message.
    #[error("the converted content is larger than {limit} bytes")]
    TooLarge {
        /// What was allowed.
        limit: usize,
    },
    /// An encoding that is not made here.
    #[error(
        "working-tree-encoding={0:?} is not supported; UTF-16, UTF-32 (with LE, BE, or -BOM) and ISO-8859-1 are"
    )]
    Encoding(String),
    /// A placeholder that git knows and we do not, so that leaving it would give other bytes than git's.
    #[error(
        "export-subst: the placeholder {0:?} is not supported; docs of `attributes::Commit` name those that are"
    )]
    Placeholder(String),
    /// The commit's message is neither UTF-8 nor plain ASCII.
    #[error("export-subst: the commit's message is in the encoding {0:?}; only UTF-8 is supported")]
    MessageEncoding(String),
}

/// Converts the content of a file. Symbolic links are never converted, nor is a tree without a commit given
/// placeholders: then `commit` is none. `blob` is the blob's id in hexadecimal digits, for `$Id$`.
pub fn apply<'a>(
    content: &'a [u8],
    attributes: &PathAttributes,
    blob: &str,
    commit: Option<&Commit<'_>>,
    bytes_max: usize,
) -> Result<Cow<'a, [u8]>, ConvertError> {
    let mut content = Cow::Borrowed(content);
    if attributes.ident
        && let Some(expanded) = with_ident(&content, blob)
    {
        content = bounded(expanded, bytes_max)?.into();
    }
    if let Some(converted) = with_crlf(&content, attributes.eol) {
        content = bounded(converted, bytes_max)?.into();
    }
    if let Some(name) = &attributes.encoding
        && let Some(encoded) = encode(&content, name)?
    {
        content = bounded(encoded, bytes_max)?.into();
    }
    if attributes.export_subst
        && let Some(commit) = commit
        && let Some(expanded) = expand::content(&content, commit, bytes_max)?
    {
        content = expanded.into();
    }
    Ok(content)
}

fn bounded(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, ConvertError> {
    if bytes.len() > limit { Err(ConvertError::TooLarge { limit }) } else { Ok(bytes) }
}

/// `$Id$` and `$Id: something$` with the blob's id. None where there is neither.
fn with_ident(content: &[u8], blob: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = content;
    let mut is_changed = false;
    while let Some(dollar) = rest.iter().position(|&byte| byte == b'$') {
        let (before, after) = rest.split_at(dollar + 1);
        out.extend_from_slice(before);
        rest = after;
        let Some(id) = rest.strip_prefix(b"Id") else { continue };
        match id.first() {
            Some(b'$') => rest = &id[1..],
            Some(b':') => {
                // Without another dollar anywhere there is no further keyword.
                let Some(end) = id.iter().position(|&byte| byte == b'$') else { break };
                let inside = &id[1..end];
                // A space that is neither the first byte nor the last: an identifier of another system.
                let space = inside.iter().skip(1).position(|&byte| byte == b' ').map(|at| at + 1);
                if inside.contains(&b'\n') || space.is_some_and(|at| at + 1 < inside.len()) {
                    continue;
                }
                rest = &id[end + 1..];
            }
            _ => continue,
        }
        out.extend_from_slice(format!("Id: {blob} $").as_bytes());
        is_changed = true;
    }
    out.extend_from_slice(rest);
    is_changed.then_some(out)
}

/// What git counts in a content to decide whether it is text (`gather_stats`).
#[derive(Debug, Default)]
struct Counts {
    lone_cr: usize,
    lone_lf: usize,
    crlf: usize,
    printable: usize,
    nul: usize,
    other: usize,
}

impl Counts {
    fn of(content: &[u8]) -> Self {
        let mut counts = Self::default();
        let mut bytes = content.iter().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\r' if bytes.next_if_eq(&&b'\n').is_some() => counts.crlf += 1,
                b'\r' => counts.lone_cr += 1,
                b'\n' => counts.lone_lf += 1,
                b'\x08' | b'\t' | b'\x1b' | b'\x0c' => counts.printable += 1,
                0 => (counts.nul, counts.other) = (counts.nul + 1, counts.other + 1),
                ..32 | 127 => counts.other += 1,
                _ => counts.printable += 1,
            }
        }
        // The mark at the end of a DOS file.
        if content.last() == Some(&0x1a) {
            counts.other -= 1;
        }
        counts
    }

    fn is_binary(&self) -> bool {
        self.lone_cr > 0 || self.nul > 0 || self.printable >> 7 < self.other
    }
}

/// CR before each LF that has none. None where nothing changes.
fn with_crlf(content: &[u8], eol: Eol) -> Option<Vec<u8>> {
    if eol == Eol::AsIs {
        return None;
    }
    let counts = Counts::of(content);
    if counts.lone_lf == 0 || (eol == Eol::AutoCrLf && (counts.crlf > 0 || counts.is_binary())) {
        return None;
    }
    let mut out = Vec::with_capacity(content.len() + counts.lone_lf);
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) if !text.ends_with(b"\r") => {
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(line),
        }
    }
    Some(out)
}

/// How wide a unit of an encoding is, which end comes first, and whether a mark says so.
#[derive(Debug, Clone, Copy)]
enum Encoding {
    Wide { bytes: usize, is_big: bool, has_mark: bool },
    Latin1,
}

impl Encoding {
    /// By the names that git and iconv take; without a byte order it is little-endian with a mark, as glibc's
    /// iconv has it.
    fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        if matches!(name.as_str(), "ISO-8859-1" | "ISO8859-1" | "LATIN1") {
            return Some(Self::Latin1);
        }
        let tail = name.strip_prefix("UTF-").or_else(|| name.strip_prefix("UTF"))?;
        let (bytes, order) = match tail.split_at_checked(2)? {
            ("16", order) => (2, order),
            ("32", order) => (4, order),
            _ => return None,
        };
        let (is_big, has_mark) = match order {
            "" => (false, true),
            "LE" => (false, false),
            "BE" => (true, false),
            "LE-BOM" if bytes == 2 => (false, true),
            "BE-BOM" if bytes == 2 => (true, true),
            _ => return None,
        };
        Some(Self::Wide { bytes, is_big, has_mark })
    }
}

/// The content in another encoding. None where it stays as it is: git leaves what it cannot encode.
fn encode(content: &[u8], name: &str) -> Result<Option<Vec<u8>>, ConvertError> {
    if content.is_empty() {
        return Ok(None);
    }
    let encoding =
        Encoding::named(name).ok_or_else(|| ConvertError::Encoding(name.chars().take(40).collect()))?;
    let Ok(text) = str::from_utf8(content) else { return Ok(None) };
    Ok(match encoding {
        Encoding::Latin1 => text.chars().map(|c| u8::try_from(c).ok()).collect(),
        Encoding::Wide { bytes, is_big, has_mark } => {
            let mut out = Vec::with_capacity((text.len() + 1) * bytes);
            let mut put = |unit: u32| {
                if is_big {
                    out.extend_from_slice(&unit.to_be_bytes()[4 - bytes..]);
                } else {
                    out.extend_from_slice(&unit.to_le_bytes()[..bytes]);
                }
            };
            if has_mark {
                put(0xfeff);
            }
            if bytes == 2 {
                text.encode_utf16().for_each(|unit| put(unit.into()));
            } else {
                text.chars().for_each(|c| put(c.into()));
            }
            Some(out)
        }
    })
}
