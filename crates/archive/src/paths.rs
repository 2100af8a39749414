//! Where a member may go: the rules for paths and symbolic links of every kind of archive.

use crate::fault::{LinkFault, PathFault};
use crate::limits::Limits;
use crate::name::check_member_name;

/// Checks a path below the destination: the rules of [`check_member_name`], and nothing that another system
/// would read as a separator or a drive.
pub(crate) fn check_path(path: &[u8], limits: &Limits) -> Result<(), PathFault> {
    if path.len() > limits.path_bytes_max {
        return Err(PathFault::TooLong { limit: limits.path_bytes_max });
    }
    check_member_name(path)?;
    if path.contains(&b'\\') {
        return Err(PathFault::Backslash);
    }
    let mut depth = 0;
    for component in path.split(|&byte| byte == b'/') {
        if has_drive(component) {
            return Err(PathFault::Drive);
        }
        depth += 1;
    }
    if depth > limits.depth_max {
        return Err(PathFault::TooDeep { limit: limits.depth_max });
    }
    Ok(())
}

/// Checks that a symbolic link at `path` stays inside the tree, whatever other links there are.
///
/// `..` may stand only at the start of the target. There it counts from the folder that the link is in, which
/// is a real one; what follows goes downwards, and if it meets another link, the same holds from there.
/// With `..` behind a name this would not hold: `a/..` leaves the tree where `a` is a link to `.`.
pub(crate) fn check_link(path: &[u8], target: &[u8], limits: &Limits) -> Result<(), LinkFault> {
    if target.is_empty() {
        return Err(LinkFault::Empty);
    }
    if target.len() > limits.path_bytes_max {
        return Err(LinkFault::TooLong { limit: limits.path_bytes_max });
    }
    if target.iter().any(|byte| matches!(byte, 0 | b'\\')) {
        return Err(LinkFault::BadByte);
    }
    if target[0] == b'/' || has_drive(target) {
        return Err(LinkFault::Absolute);
    }
    let mut folders_above = path.iter().filter(|&&byte| byte == b'/').count();
    let mut has_name = false;
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if has_name => return Err(LinkFault::ClimbsLate),
            b".." => folders_above = folders_above.checked_sub(1).ok_or(LinkFault::Climbs)?,
            _ => has_name = true,
        }
    }
    Ok(())
}

fn has_drive(path: &[u8]) -> bool {
    matches!(path, [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// The form of a path in which two that a case-folding file system takes for one are equal. Composed and
/// decomposed accents stay different: a file system that joins them refuses the second one by itself, since
/// files are only ever created anew.
pub(crate) fn folded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        if chunk.valid().is_ascii() {
            out.extend(chunk.valid().bytes().map(|byte| byte.to_ascii_lowercase()));
        } else {
            // Up and down again joins also what has several small forms, such as sigma.
            let chars = chunk.valid().chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
            let mut utf8 = [0; 4];
            chars.for_each(|c| out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()));
        }
        out.extend_from_slice(chunk.invalid());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NameError;

    fn limits() -> Limits {
        Limits { path_bytes_max: 20, depth_max: 4, ..Limits::default() }
    }

    #[test]
    fn paths_that_leave_the_tree_or_mean_another_on_some_system_are_refused() {
        let table: &[(&[u8], PathFault)] = &[
            (b"/etc/passwd", NameError::Absolute.into()),
            (b"../x", NameError::Dots.into()),
            (b"a/../../x", NameError::Dots.into()),
            (b"a//b", NameError::EmptyComponent.into()),
            (b"", NameError::Empty.into()),
            (b"a\0b", NameError::Nul.into()),
            (b"a/.GIT/config", NameError::DotGit.into()),
            (b"a\\b", PathFault::Backslash),
            (b"..\\x", PathFault::Backslash),
            (b"\\\\server\\share", PathFault::Backslash),
            (b"C:", PathFault::Drive),
            (b"c:x", PathFault::Drive),
            (b"a/z:/b", PathFault::Drive),
            (b"a/b/c/d/e", PathFault::TooDeep { limit: 4 }),
            (b"123456789012345678901", PathFault::TooLong { limit: 20 }),
        ];
        for (path, expected) in table {
            assert_eq!(check_path(path, &limits()), Err(*expected), "{}", path.escape_ascii());
        }
        for path in [&b"a/b/c/d"[..], b"12345678901234567890", b"1:/x", b"ab:c", b":", b"a", b"\xff\n"] {
            assert_eq!(check_path(path, &limits()), Ok(()), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn symbolic_links_stay_inside_the_tree() {
        let check = |path: &str, target: &[u8]| check_link(path.as_bytes(), target, &limits());
        assert_eq!(check("l", b""), Err(LinkFault::Empty));
        assert_eq!(check("l", b"123456789012345678901"), Err(LinkFault::TooLong { limit: 20 }));
        assert_eq!(check("l", b"12345678901234567890"), Ok(()));
        assert_eq!(check("l", b"a\0"), Err(LinkFault::BadByte));
        assert_eq!(check("l", b"..\\a"), Err(LinkFault::BadByte));
        assert_eq!(check("l", b"/"), Err(LinkFault::Absolute));
        assert_eq!(check("l", b"/etc/passwd"), Err(LinkFault::Absolute));
        assert_eq!(check("l", b"C:/x"), Err(LinkFault::Absolute));
        assert_eq!(check("l", b".."), Err(LinkFault::Climbs));
        assert_eq!(check("l", b"./../x"), Err(LinkFault::Climbs));
        assert_eq!(check("a/l", b"../.."), Err(LinkFault::Climbs));
        assert_eq!(check("a/l", b"..//.././x"), Err(LinkFault::Climbs));
        assert_eq!(check("l", b"a/.."), Err(LinkFault::ClimbsLate));
        assert_eq!(check("a/b/l", b"../x/../.."), Err(LinkFault::ClimbsLate));
        assert_eq!(check("a/l", b".."), Ok(()));
        assert_eq!(check("a/b/l", b"../.././x/y"), Ok(()));
        assert_eq!(check("l", b"."), Ok(()));
        assert_eq!(check("l", b"missing"), Ok(()));
        assert_eq!(check("l", b"...//..x/"), Ok(()));
    }

    #[test]
    fn folding_joins_what_some_file_system_joins() {
        let same = |a: &str, b: &str| folded(a.as_bytes()) == folded(b.as_bytes());
        assert!(same("README", "readme"));
        assert!(same("\u{c4}pfel/X", "\u{e4}pfel/x"));
        assert!(same("\u{212a}", "k"));
        assert!(same("\u{3c2}", "\u{3c3}"));
        assert!(same("stra\u{df}e", "STRASSE"));
        assert!(!same("a", "b"));
        assert_eq!(folded(b"A\xffB\xc3"), b"a\xffb\xc3");
        assert_eq!(folded("A\u{e9}".as_bytes()), "a\u{e9}".as_bytes());
        assert_eq!(folded(b""), b"");
    }
}
