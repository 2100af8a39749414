//! Which git is there, and which is needed.

use std::fmt;

/// The oldest git that has everything used here (`repack --geometric`, `GIT_CONFIG_GLOBAL`).
pub const VERSION_MIN: Version = Version { major: 2, minor: 34, patch: 0 };

/// The oldest git for [`MirrorKind::Partial`](crate::MirrorKind). An older one does not know `GIT_NO_LAZY_FETCH` unless
/// its distribution added it, and takes a commit that is missing for one that is no ancestor.
pub const PARTIAL_VERSION_MIN: Version = Version { major: 2, minor: 45, patch: 0 };

/// A git version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number; 0 where there is none.
    pub patch: u32,
}

impl Version {
    /// From the output of `git --version`, with whatever vendors put behind the numbers.
    pub(crate) fn parse(output: &str) -> Option<Version> {
        let text = output.strip_prefix("git version ")?;
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Version { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_vendors_additions() {
        for (text, expected) in [
            ("git version 2.47.3\n", Some((2, 47, 3))),
            ("git version 2.39.5 (Apple Git-154)\n", Some((2, 39, 5))),
            ("git version 2.45.1.windows.1", Some((2, 45, 1))),
            ("git version 3.0-rc1", Some((3, 0, 0))),
            ("git version 2.46", Some((2, 46, 0))),
            ("git version next", None),
            ("hg 6.1", None),
            ("", None),
        ] {
            let expected = expected.map(|(major, minor, patch)| Version { major, minor, patch });
            assert_eq!(Version::parse(text), expected, "{text}");
        }
        assert!(Version { major: 2, minor: 33, patch: 9 } < VERSION_MIN);
        assert!(Version { major: 3, minor: 0, patch: 0 } > VERSION_MIN);
    }
}
