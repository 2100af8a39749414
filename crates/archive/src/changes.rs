//! Whether a push touches what a pipeline is made from: patterns over the paths that differ between two trees.
//! Judged from the trees, since the lists of paths that forges send are cut off.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// Patterns of one filter.
pub const PATTERNS_MAX: usize = 200;

/// Bytes of one pattern.
pub const PATTERN_BYTES_MAX: usize = 500;

/// Why patterns are no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// There are none that take paths in.
    #[error("paths needs a pattern that does not begin with `!`, such as \"services/api/**\"")]
    Empty,
    /// More than [`PATTERNS_MAX`].
    #[error("paths has {0} patterns; {PATTERNS_MAX} at most can be given")]
    TooMany(usize),
    /// One is empty, too long or not well formed.
    #[error("paths: {pattern:?} is no pattern: {reason}")]
    Pattern {
        /// The pattern, shortened.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A list of patterns. A path is in if a pattern takes it in and none with `!` in front takes it out, whatever
/// their order.
///
/// Patterns are of whole paths from the root of the tree: `*` and `?` stop at slashes, `**` does not, `[…]` and
/// `{a,b}` choose. One that ends in a slash means all below that folder. Case counts.
#[derive(Debug, Clone)]
pub struct PathFilter {
    taken_in: GlobSet,
    taken_out: GlobSet,
}

impl PathFilter {
    /// Compiles the patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, FilterError> {
        let patterns: Vec<&str> = patterns.into_iter().collect();
        if patterns.len() > PATTERNS_MAX {
            return Err(FilterError::TooMany(patterns.len()));
        }
        let (mut taken_in, mut taken_out) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        let mut is_empty = true;
        for pattern in patterns {
            match pattern.strip_prefix('!') {
                Some(pattern) => taken_out.add(compile(pattern)?),
                None => {
                    is_empty = false;
                    taken_in.add(compile(pattern)?)
                }
            };
        }
        if is_empty {
            return Err(FilterError::Empty);
        }
        Ok(Self { taken_in: build(&taken_in)?, taken_out: build(&taken_out)? })
    }

    /// Whether a path, as it stands in a tree, is in.
    pub fn is_match(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(path);
        self.taken_in.is_match(path) && !self.taken_out.is_match(path)
    }

    /// Whether the way from one tree to another touches what is in: a file, link or submodule that is in was
    /// added, was removed, or is another one now. A file that moves counts at both places. Folders by themselves
    /// say nothing, and where there was no tree before, everything is new.
    ///
    /// `before` and `after` give the path of each member but folders, and what tells its content and mode from
    /// others, in ascending order of the paths' bytes. They are read side by side and only as far as needed.
    pub fn is_touched<P, V>(
        &self,
        before: impl IntoIterator<Item = (P, V)>,
        after: impl IntoIterator<Item = (P, V)>,
    ) -> bool
    where
        P: AsRef<[u8]>,
        V: PartialEq,
    {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return false,
                (Some(_), None) => Less,
                (None, Some(_)) => Greater,
                (Some(old), Some(new)) => old.0.as_ref().cmp(new.0.as_ref()),
            };
            let old = if order == Greater { None } else { before.next() };
            let new = if order == Less { None } else { after.next() };
            let changed = match (&old, &new) {
                (Some(old), Some(new)) if order == Equal && old.1 == new.1 => None,
                (Some((path, _)), _) | (None, Some((path, _))) => Some(path),
                (None, None) => None,
            };
            if changed.is_some_and(|path| self.is_match(path.as_ref())) {
                return true;
            }
        }
    }
}

fn compile(pattern: &str) -> Result<Glob, FilterError> {
    let error = |reason: &str| FilterError::Pattern {
        pattern: pattern.chars().take(80).collect(),
        reason: reason.to_owned(),
    };
    if pattern.is_empty() {
        return Err(error("it is empty"));
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(error("it is longer than 500 bytes"));
    }
    if pattern.starts_with('/') || pattern.starts_with("./") {
        return Err(error("paths begin at the root of the tree, without a slash or dot"));
    }
    let below = if pattern.ends_with('/') { "**" } else { "" };
    GlobBuilder::new(&format!("{pattern}{below}"))
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|found| error(&found.kind().to_string()))
}

fn build(builder: &GlobSetBuilder) -> Result<GlobSet, FilterError> {
    builder.build().map_err(|found| FilterError::Pattern {
        pattern: found.glob().unwrap_or("the patterns together").chars().take(80).collect(),
        reason: found.kind().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], inside: &[&str], outside: &[&str]) {
        let filter = PathFilter::new(patterns.iter().copied()).expect("a filter");
        for path in inside {
            assert!(filter.is_match(path.as_bytes()), "{patterns:?} takes {path}");
        }
        for path in outside {
            assert!(!filter.is_match(path.as_bytes()), "{patterns:?} leaves {path}");
        }
    }

    #[test]
    fn patterns_are_of_whole_paths() {
        check(
            &["services/api/**"],
            &["services/api/a", "services/api/a/b"],
            &["services/api", "services/apis/a"],
        );
        check(
            &["services/api/"],
            &["services/api/a", "services/api/a/b"],
            &["services/api", "x/services/api/a"],
        );
        check(&["*.md"], &["README.md", ".md"], &["docs/README.md", "README.MD", "README.mdx"]);
        check(&["**/*.md"], &["README.md", "docs/x/README.md"], &["docs/md"]);
        check(
            &["go.mod", "cmd/*/main.go"],
            &["go.mod", "cmd/a/main.go"],
            &["cmd/main.go", "cmd/a/b/main.go"],
        );
        check(&["{a,b}/[xy]?"], &["a/x1", "b/yz"], &["c/x1", "a/z1", "a/x", "a/x/"]);
        check(&["**", "!docs/**", "!*.md"], &["a", "docs", "src/a.md"], &["docs/a", "a.md"]);
        check(&["!docs/keep", "docs/**"], &["docs/a"], &["docs/keep"]);
        check(&[r"a\*b", r"\!c"], &["a*b", "!c"], &["axb", "c"]);
        let filter = PathFilter::new(["d/*"]).expect("a filter");
        assert!(filter.is_match(b"d/\xff\n") && !filter.is_match(b"d/\xff/x"));
    }

    #[test]
    fn lists_that_are_no_filter_are_refused() {
        let new = |patterns: &[&str]| PathFilter::new(patterns.iter().copied()).map(|_| ());
        assert_eq!(new(&[]), Err(FilterError::Empty));
        assert_eq!(new(&["!a"]), Err(FilterError::Empty));
        assert_eq!(new(&["a"; PATTERNS_MAX]), Ok(()));
        assert_eq!(new(&["a"; PATTERNS_MAX + 1]), Err(FilterError::TooMany(PATTERNS_MAX + 1)));
        let longest = "a".repeat(PATTERN_BYTES_MAX);
        assert_eq!(new(&[&longest]), Ok(()));
        for pattern in ["", "!", "/a", "./a", "a[", "{a", "a[z-a]", &format!("{longest}a")] {
            let bare = pattern.strip_prefix('!').unwrap_or(pattern);
            match new(&["fine", pattern]) {
                Err(FilterError::Pattern { pattern, .. }) => assert_eq!(pattern, bare[..bare.len().min(80)]),
                other => panic!("{pattern:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_push_touches_what_differs_between_the_trees() {
        let touched = |before: &[(&str, u32)], after: &[(&str, u32)]| {
            let filter = PathFilter::new(["api/**", "!api/docs/**"]).expect("a filter");
            filter.is_touched(before.iter().copied(), after.iter().copied())
        };
        let base = &[("Makefile", 1), ("api/a", 2), ("api/docs/x", 3), ("web/b", 4)];
        assert!(!touched(base, base));
        assert!(!touched(&[], &[]));
        assert!(touched(&[], base), "the first push");
        assert!(touched(base, &[]));
        assert!(!touched(&[], &[("web/b", 4)]));
        assert!(!touched(base, &[("Makefile", 9), ("api/a", 2), ("api/docs/x", 9), ("web/c", 4)]));
        assert!(touched(base, &[("Makefile", 1), ("api/a", 9), ("api/docs/x", 3), ("web/b", 4)]));
        assert!(touched(base, &[("Makefile", 1), ("api/docs/x", 3), ("web/b", 4)]), "removed");
        assert!(touched(
            base,
            &[("Makefile", 1), ("api/a", 2), ("api/b", 5), ("api/docs/x", 3), ("web/b", 4)]
        ));
        assert!(
            touched(base, &[("Makefile", 1), ("api/docs/x", 3), ("web/a", 2), ("web/b", 4)]),
            "moved away"
        );
        assert!(touched(&[("a", 1), ("web", 2)], &[("api/a", 1), ("web", 2)]), "moved here");
        assert!(touched(&[("api/z", 1)], &[("a", 1), ("b", 1), ("c", 1)]));
        assert!(touched(&[("a", 1), ("b", 1), ("c", 1)], &[("api/z", 1)]));
    }
}
