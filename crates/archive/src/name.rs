//! Which names a member may have.

/// A zip header holds the length of a name in 16 bits.
pub const NAME_BYTES_MAX: usize = u16::MAX as usize;

/// Why a name cannot stand in an archive. A git tree made by hand can hold any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no bytes.
    #[error("the name is empty")]
    Empty,
    /// The name is longer than [`NAME_BYTES_MAX`].
    #[error("the name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// The name holds a NUL byte, at which many programs would cut it off.
    #[error("the name holds a NUL byte")]
    Nul,
    /// The name starts with a slash.
    #[error("the name is an absolute path")]
    Absolute,
    /// Two slashes in a row, or one at the end.
    #[error("a component of the path is empty")]
    EmptyComponent,
    /// A component is `.` or `..`.
    #[error("a component of the path is `.` or `..`")]
    Dots,
    /// A component that some file system takes for git's own folder, see [`is_dot_git`].
    #[error("a component of the path stands for git's own folder, `.git`")]
    DotGit,
}

/// Checks the path of a member: relative, of plain components separated by single slashes, and without
/// git's own folder. Directories are named without a slash at the end.
///
/// Backslashes, colons, control characters and bytes that are not UTF-8 are allowed here, since a git tree
/// on a unix system may hold them; extraction is stricter.
pub fn check_member_name(name: &[u8]) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if name.contains(&0) {
        return Err(NameError::Nul);
    }
    if name[0] == b'/' {
        return Err(NameError::Absolute);
    }
    name.split(|&byte| byte == b'/').try_for_each(check_component)
}

fn check_component(component: &[u8]) -> Result<(), NameError> {
    match component {
        b"" => Err(NameError::EmptyComponent),
        b"." | b".." => Err(NameError::Dots),
        _ if is_dot_git(component) => Err(NameError::DotGit),
        _ => Ok(()),
    }
}

/// Whether one component of a path is taken for `.git` by some file system, by the rules of git's own
/// `fsck` (`hasDotgit`): in any case; NTFS's short name `git~1`; with spaces and dots at its end, a
/// stream (`.git::$INDEX_ALLOCATION`) or a backslash after it; and with the characters that HFS+ ignores.
///
/// `.github`, `.gitignore` and `x.git` are other names.
pub fn is_dot_git(component: &[u8]) -> bool {
    is_ntfs_dot_git(component) || is_hfs_dot_git(component)
}

fn is_ntfs_dot_git(component: &[u8]) -> bool {
    [&b".git"[..], b"git~1"].iter().any(|known| {
        component.split_at_checked(known.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(known)
                && match rest.iter().find(|byte| !matches!(byte, b'.' | b' ')) {
                    None => true,
                    Some(next) => matches!(next, b'\\' | b':'),
                }
        })
    })
}

fn is_hfs_dot_git(component: &[u8]) -> bool {
    // Bytes that are not UTF-8 become percent sequences on HFS+, never `.git`.
    let Ok(text) = str::from_utf8(component) else { return false };
    let mut seen = text.chars().filter(|&c| !is_ignored_by_hfs(c));
    ['.', 'g', 'i', 't'].iter().all(|known| seen.next().is_some_and(|c| c.eq_ignore_ascii_case(known)))
        && seen.next().is_none()
}

fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Characters of a name that an error shows.
const SHOWN_CHARS_MAX: usize = 120;

/// A name for an error: short, and without characters that a terminal obeys.
pub(crate) fn shown(name: &[u8]) -> String {
    // Four bytes a character at most; the rest of a name of 64 KiB need not be decoded.
    let start = &name[..name.len().min(4 * (SHOWN_CHARS_MAX + 1))];
    let text = String::from_utf8_lossy(start);
    let mut chars = text.chars().map(|c| if is_harmful(c) { char::REPLACEMENT_CHARACTER } else { c });
    let mut out: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// Control characters, and those that change the direction of writing.
fn is_harmful(c: char) -> bool {
    c.is_control() || is_ignored_by_hfs(c) || matches!(c, '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_members_are_refused_by_reason() {
        let long = vec![b'a'; NAME_BYTES_MAX + 1];
        let table: &[(&[u8], NameError)] = &[
            (b"", NameError::Empty),
            (&long, NameError::TooLong),
            (b"a\0b", NameError::Nul),
            (b"\0", NameError::Nul),
            (b"/", NameError::Absolute),
            (b"/etc/passwd", NameError::Absolute),
            (b"a//b", NameError::EmptyComponent),
            (b"a/", NameError::EmptyComponent),
            (b".", NameError::Dots),
            (b"..", NameError::Dots),
            (b"a/./b", NameError::Dots),
            (b"a/../b", NameError::Dots),
            (b"../b", NameError::Dots),
            (b"a/..", NameError::Dots),
            (b".git", NameError::DotGit),
            (b".git/config", NameError::DotGit),
            (b"vendor/.GiT/hooks/post-checkout", NameError::DotGit),
        ];
        for (name, expected) in table {
            assert_eq!(check_member_name(name), Err(*expected), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn odd_names_that_git_allows_are_members() {
        let longest = vec![b'a'; NAME_BYTES_MAX];
        let table: &[&[u8]] = &[
            b"a",
            &longest,
            b"...",
            b"..a/b..",
            b"a b/ ",
            b"new\nline",
            b"back\\slash",
            b"C:/x",
            b"\xff\xfe",
            "\u{1f980}.rs".as_bytes(),
            b"-rf",
            b"a:b",
        ];
        for name in table {
            assert_eq!(check_member_name(name), Ok(()), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn mistake_07_only_the_repositorys_own_git_is_left_out() {
        for own in [
            &b".git"[..],
            b".GIT",
            b".Git",
            b"git~1",
            b"GIT~1",
            b".git ",
            b".git.",
            b".git. . ",
            b"git~1 .",
            b".git::$INDEX_ALLOCATION",
            b".git:x",
            b".git .:x",
            b".git\\x",
            b"git~1\\x",
            ".g\u{200c}it".as_bytes(),
            ".git\u{200f}".as_bytes(),
            "\u{202a}.git".as_bytes(),
            ".gi\u{202e}T".as_bytes(),
            ".\u{206a}git".as_bytes(),
            ".git\u{206f}".as_bytes(),
            "\u{feff}.GIT".as_bytes(),
        ] {
            assert!(is_dot_git(own), "{}", own.escape_ascii());
        }
        for other in [
            &b".github"[..],
            b".gitignore",
            b".gitattributes",
            b".gitmodules",
            b"x.gitkeep",
            b".gitkeep",
            b"src.git.txt",
            b"repo.git",
            b"git",
            b"git~2",
            b"git~11",
            b"xgit~1",
            b".gi",
            b".g",
            b".",
            b"",
            b"..git",
            b".git.x",
            b".git x:",
            b".git\xff",
            b"\xff.git",
            ".git\u{200b}".as_bytes(),
            ".git\u{2010}".as_bytes(),
            ".git\u{2029}".as_bytes(),
            ".git\u{202f}".as_bytes(),
            ".git\u{2069}".as_bytes(),
            ".git\u{2070}".as_bytes(),
            ".\u{200c}github".as_bytes(),
            "\u{200c}".as_bytes(),
        ] {
            assert!(!is_dot_git(other), "{}", other.escape_ascii());
        }
        for name in [&b".github/workflows/ci.yml"[..], b".gitignore", b"a/x.gitkeep", b"src.git.txt"] {
            assert_eq!(check_member_name(name), Ok(()));
        }
    }
}
