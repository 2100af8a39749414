//! The parts of a commit's message.

/// The text from its first line that is not blank.
pub(super) fn skip_blank_lines(mut text: &[u8]) -> &[u8] {
    while let Some(end) = text.iter().position(|&byte| byte == b'\n') {
        if !text[..end].trim_ascii().is_empty() {
            break;
        }
        text = &text[end + 1..];
    }
    if text.trim_ascii().is_empty() { &[] } else { text }
}

/// The first paragraph in one line, and what follows it.
pub(super) fn subject(message: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut rest = skip_blank_lines(message);
    let mut out = Vec::new();
    for line in rest.split_inclusive(|&byte| byte == b'\n') {
        rest = &rest[line.len()..];
        let text = line.trim_ascii_end();
        if text.is_empty() {
            break;
        }
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(text);
    }
    (out, rest)
}

/// The first line as a part of a file name: letters, digits, dots and underscores, with a dash for the rest.
pub(super) fn sanitized(message: &[u8]) -> Vec<u8> {
    let line = message.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut out: Vec<u8> = Vec::new();
    // Nothing at the start becomes a dash.
    let mut has_gap = false;
    for &byte in line {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' {
            if std::mem::take(&mut has_gap) && !out.is_empty() {
                out.push(b'-');
            } else if byte == b'.' && out.last() == Some(&b'.') {
                continue;
            }
            out.push(byte);
        } else {
            has_gap = true;
        }
    }
    while matches!(out.last(), Some(b'.' | b'-')) {
        out.pop();
    }
    out
}
