//! `$Format:…$`, as git's `format_subst` and `format_commit_item` expand it.

use super::commit::{Commit, Person};
use super::convert::ConvertError;
use super::date::{Form, format};

/// The content with all `$Format:…$` expanded; none where there are none.
pub(super) fn content(
    content: &[u8],
    commit: &Commit<'_>,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, ConvertError> {
    let mut out = Vec::new();
    let mut rest = content;
    let mut is_changed = false;
    while let Some((before, format, after)) = next_format(rest) {
        if !is_changed {
            commit.check_encoding()?;
        }
        out.extend_from_slice(before);
        expand(format, commit, &mut out, bytes_max)?;
        rest = after;
        is_changed = true;
    }
    out.extend_from_slice(rest);
    if out.len() > bytes_max {
        return Err(ConvertError::TooLarge { limit: bytes_max });
    }
    Ok(is_changed.then_some(out))
}

/// What stands before, inside and behind the next one.
fn next_format(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    const START: &[u8] = b"$Format:";
    let start = bytes.windows(START.len()).position(|window| window == START)?;
    let inside = &bytes[start + START.len()..];
    let end = inside.iter().position(|&byte| byte == b'$')?;
    Some((&bytes[..start], &inside[..end], &inside[end + 1..]))
}

fn expand(
    format: &[u8],
    commit: &Commit<'_>,
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), ConvertError> {
    // For git this is a C string.
    let mut rest = format.split(|&byte| byte == 0).next().unwrap_or_default();
    while let Some(percent) = rest.iter().position(|&byte| byte == b'%') {
        out.extend_from_slice(&rest[..percent]);
        rest = &rest[percent + 1..];
        let taken = item(rest, commit, out)?;
        rest = &rest[taken..];
        if taken == 0 {
            // No placeholder, or a percent sign that stands for itself.
            out.push(b'%');
            rest = rest.strip_prefix(b"%").unwrap_or(rest);
        }
        if out.len() > bytes_max {
            return Err(ConvertError::TooLarge { limit: bytes_max });
        }
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Expands what follows a percent sign, with what may stand between; how many bytes of the format it was.
fn item(rest: &[u8], commit: &Commit<'_>, out: &mut Vec<u8>) -> Result<usize, ConvertError> {
    let Some(magic @ (b'+' | b'-' | b' ')) = rest.first() else { return one(rest, commit, out) };
    let start = out.len();
    let taken = one(&rest[1..], commit, out)?;
    if out.len() > start {
        match magic {
            b'+' => out.insert(start, b'\n'),
            b' ' => out.insert(start, b' '),
            _ => {}
        }
    } else if *magic == b'-' {
        while out.last() == Some(&b'\n') {
            out.pop();
        }
    }
    Ok(taken + 1)
}

/// Expands one placeholder; 0 if git knows none that starts so.
fn one(rest: &[u8], commit: &Commit<'_>, out: &mut Vec<u8>) -> Result<usize, ConvertError> {
    let short = |id: &str| id.get(..commit.abbrev).unwrap_or(id).to_owned();
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok(1)
    };
    match rest.first() {
        Some(b'n') => put(b"\n"),
        Some(b'H') => put(commit.id.as_bytes()),
        Some(b'h') => put(short(commit.id).as_bytes()),
        Some(b'T') => put(commit.tree.as_bytes()),
        Some(b't') => put(short(commit.tree).as_bytes()),
        Some(b'P') => put(commit.parents.join(" ").as_bytes()),
        Some(b'p') => put(commit.parents.iter().map(|id| short(id)).collect::<Vec<_>>().join(" ").as_bytes()),
        Some(b'D') => put(commit.decoration.as_bytes()),
        Some(b'd') if commit.decoration.is_empty() => Ok(1),
        Some(b'd') => put(format!(" ({})", commit.decoration).as_bytes()),
        Some(b'e') => put(commit.encoding),
        Some(b's') => put(&commit.subject),
        Some(b'f') => put(&commit.file_name),
        Some(b'b') => put(commit.body),
        Some(b'B') => put(commit.message),
        Some(b'x') => Ok(hex(&rest[1..]).map_or(0, |byte| {
            out.push(byte);
            3
        })),
        Some(b'a') => person(rest, &commit.author, out),
        Some(b'c') => person(rest, &commit.committer, out),
        Some(b'C' | b'w' | b'<' | b'>' | b'g' | b'G' | b'N' | b'S' | b'm') => Err(unsupported(rest)),
        Some(b'(') if [&b"(describe"[..], b"(trailers", b"(decorate"].iter().any(|f| rest.starts_with(f)) => {
            Err(unsupported(rest))
        }
        _ => Ok(0),
    }
}

fn unsupported(rest: &[u8]) -> ConvertError {
    ConvertError::Placeholder(format!("%{}", rest[..rest.len().min(20)].escape_ascii()))
}

fn person(rest: &[u8], person: &Person<'_>, out: &mut Vec<u8>) -> Result<usize, ConvertError> {
    let Some(&part) = rest.get(1) else { return Ok(0) };
    let form = match part {
        b'N' | b'E' | b'L' | b'r' | b'h' => return Err(unsupported(rest)),
        b'n' | b'e' | b'l' | b't' => None,
        b'd' => Some(Form::Normal),
        b'D' => Some(Form::Rfc2822),
        b'i' => Some(Form::Iso),
        b'I' => Some(Form::IsoStrict),
        b's' => Some(Form::Short),
        _ => return Ok(0),
    };
    match (part, form, person.time) {
        (b'n', ..) => out.extend_from_slice(person.name),
        (b'e', ..) => out.extend_from_slice(person.email),
        (b'l', ..) => {
            out.extend_from_slice(person.email.split(|&byte| byte == b'@').next().unwrap_or_default());
        }
        (_, Some(form), Some((seconds, zone))) => {
            out.extend_from_slice(format(seconds, zone, form).as_bytes());
        }
        (_, None, Some((seconds, _))) => out.extend_from_slice(seconds.to_string().as_bytes()),
        // A damaged line has no date; some of the placeholders are then taken for none.
        (b'I' | b's', _, None) => return Ok(0),
        (_, _, None) => {}
    }
    let is_unknown = !person.is_whole && matches!(part, b'l');
    Ok(if is_unknown { 0 } else { 2 })
}

/// The byte of two hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}
