//! Which attributes a path has.

use std::path::PathBuf;

use gix_attributes::search::{MetadataCollection, Outcome};
use gix_attributes::{Search, StateRef};
use gix_glob::pattern::Case;

use crate::name::shown;

/// Bytes of all the `.gitattributes` of a tree.
pub const RULE_BYTES_MAX: usize = 1 << 20;

/// Lines with rules in all the `.gitattributes` of a tree, and a quarter of the patterns and attributes on them.
/// Each path may be compared with each line.
pub const RULES_MAX: usize = 5000;

const WORDS_MAX: usize = 4 * RULES_MAX;

/// Runs of two and more stars in one line. Each doubles what it costs at worst to compare a path with it, in our
/// library as in git.
const DOUBLE_STARS_MAX: usize = 8;

/// Longer lines are passed over, as git does it (`ATTR_MAX_LINE_LENGTH`).
const LINE_BYTES_MAX: usize = 2048;

/// The one macro that git knows by itself.
const BUILT_IN: &[u8] = b"[attr]binary -diff -merge -text";

/// What is asked of each path, in the order in which the answers come.
const ASKED: [&str; 7] =
    ["export-ignore", "export-subst", "text", "crlf", "eol", "ident", "working-tree-encoding"];

/// Why a tree's rules are not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// More than [`RULE_BYTES_MAX`].
    #[error(
        "the tree's .gitattributes files have more than {RULE_BYTES_MAX} bytes together; use attributes = \"raw\""
    )]
    TooLarge,
    /// More than [`RULES_MAX`] lines, or four times as many patterns and attributes.
    #[error(
        "the tree's .gitattributes files have more than {RULES_MAX} rules together, \
         or {WORDS_MAX} patterns and attributes; use attributes = \"raw\""
    )]
    TooMany,
    /// A line would cost too much to compare with paths.
    #[error("a .gitattributes file has a line with more than {DOUBLE_STARS_MAX} times `**`: {0}")]
    Pattern(String),
}

/// How lines end in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Eol {
    /// As they are in the blob.
    AsIs,
    /// CR and LF, whatever the content is.
    CrLf,
    /// CR and LF, if the content looks like text and holds no CR.
    AutoCrLf,
}

/// What git's attributes say of one path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathAttributes {
    /// It is left out, with all that is below it.
    pub export_ignore: bool,
    /// `$Format:…$` in it is expanded.
    pub export_subst: bool,
    /// How its lines end.
    pub eol: Eol,
    /// `$Id$` in it is expanded to the blob's id.
    pub ident: bool,
    /// The encoding that it gets, as it is written in the rules; none for UTF-8.
    pub encoding: Option<Box<str>>,
}

impl PathAttributes {
    /// Whether the content may be another than the blob's.
    pub fn is_changed(&self) -> bool {
        self.export_subst || self.ident || self.eol != Eol::AsIs || self.encoding.is_some()
    }
}

/// The rules of a tree.
pub struct Attributes {
    search: Search,
    names: MetadataCollection,
}

impl Attributes {
    /// Rules from the tree's `.gitattributes` files: the folder of each, without a slash at its end and empty for
    /// the root, and its content. Their order does not matter. Files only: git does not follow a
    /// `.gitattributes` that is a symbolic link.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, AttributesError> {
        let mut files: Vec<_> = files.into_iter().collect();
        // What is nearer to the path wins: it comes last.
        files.sort_by_key(|(folder, _)| (folder.iter().filter(|&&byte| byte == b'/').count(), folder.len()));
        let mut rules = Self { search: Search::default(), names: MetadataCollection::default() };
        rules.add(b"", BUILT_IN);
        let mut cost = Cost::default();
        for (folder, content) in files {
            cost.bytes = cost.bytes.saturating_add(content.len());
            if cost.bytes > RULE_BYTES_MAX {
                return Err(AttributesError::TooLarge);
            }
            let content = usable(content, &mut cost)?;
            rules.add(folder, &content);
        }
        Ok(rules)
    }

    fn add(&mut self, folder: &[u8], content: &[u8]) {
        use std::os::unix::ffi::OsStringExt;
        let path = |parts: &[&[u8]]| PathBuf::from(std::ffi::OsString::from_vec(parts.concat()));
        let source =
            if folder.is_empty() { path(&[b".gitattributes"]) } else { path(&[folder, b"/.gitattributes"]) };
        // Macros are known in the root alone.
        let is_root = folder.is_empty();
        self.search
            .add_patterns_buffer(content, source, Some(&PathBuf::new()), &mut self.names, is_root)
            .expect("the source lies below the root of the tree");
    }

    /// What holds for a path of the tree: a folder, or anything else. Of a folder only
    /// [`PathAttributes::export_ignore`] matters, which holds for all below it; git asks for a submodule as for
    /// a folder. The path is a relative one.
    pub fn of(&self, path: &[u8], is_folder: bool) -> PathAttributes {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let mut outcome = Outcome::default();
        outcome.initialize_with_selection(&self.names, ASKED);
        self.search.pattern_matching_relative_path(
            path.into(),
            Case::Sensitive,
            Some(is_folder),
            &mut outcome,
        );
        let mut states = outcome.iter_selected().map(|found| found.assignment.state);
        let mut next = || states.next().unwrap_or(StateRef::Unspecified);
        let (export_ignore, export_subst) = (next(), next());
        let (text, crlf, eol, ident, encoding) = (next(), next(), next(), next(), next());
        PathAttributes {
            export_ignore: export_ignore == StateRef::Set,
            export_subst: export_subst == StateRef::Set,
            eol: line_ends(text, crlf, eol),
            ident: ident == StateRef::Set,
            encoding: value(encoding).filter(|name| !name.is_empty() && !is_utf8(name)).map(Into::into),
        }
    }
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attributes").field("files", &self.search.num_pattern_lists()).finish()
    }
}

/// What all files take together.
#[derive(Debug, Default)]
struct Cost {
    bytes: usize,
    rules: usize,
    words: usize,
}

impl Cost {
    fn add(&mut self, rule: &[u8]) -> Result<(), AttributesError> {
        self.rules += 1;
        self.words += rule.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty()).count();
        if self.rules > RULES_MAX || self.words > WORDS_MAX {
            return Err(AttributesError::TooMany);
        }
        let runs = rule.chunk_by(|left, right| left == right).filter(|run| run.starts_with(b"**")).count();
        if runs > DOUBLE_STARS_MAX {
            return Err(AttributesError::Pattern(shown(rule)));
        }
        Ok(())
    }
}

/// What git reads of such a file out of a tree: nothing behind a NUL byte, and no line that is too long. A mark
/// of its encoding belongs to the first line, though git passes it over in files on the disk: hence the empty
/// line, behind which nobody looks for one.
fn usable(content: &[u8], cost: &mut Cost) -> Result<Vec<u8>, AttributesError> {
    let end = content.iter().position(|&byte| byte == 0).unwrap_or(content.len());
    let mut usable = Vec::new();
    for line in content[..end].split(|&byte| byte == b'\n').filter(|line| line.len() < LINE_BYTES_MAX) {
        let start = line.iter().position(|byte| !is_blank(*byte)).unwrap_or(line.len());
        if matches!(line.get(start), None | Some(b'#')) {
            continue;
        }
        cost.add(line)?;
        usable.extend_from_slice(b"\n");
        usable.extend_from_slice(line);
    }
    Ok(usable)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// `text` or its older name `crlf`, and `eol`, as git's `convert_attrs` combines them where nothing is
/// configured and lines end with LF by themselves.
fn line_ends(text: StateRef<'_>, crlf: StateRef<'_>, eol: StateRef<'_>) -> Eol {
    #[derive(PartialEq)]
    enum Text {
        Undefined,
        Yes,
        No,
        Input,
        Auto,
    }
    let read = |state: StateRef<'_>| match state {
        StateRef::Set => Text::Yes,
        StateRef::Unset => Text::No,
        _ => match value(state) {
            Some("input") => Text::Input,
            Some("auto") => Text::Auto,
            _ => Text::Undefined,
        },
    };
    let text = match read(text) {
        Text::Undefined => read(crlf),
        defined => defined,
    };
    match (text, value(eol)) {
        (Text::No, _) => Eol::AsIs,
        (Text::Auto, Some("crlf")) => Eol::AutoCrLf,
        (_, Some("crlf")) => Eol::CrLf,
        _ => Eol::AsIs,
    }
}

fn value(state: StateRef<'_>) -> Option<&str> {
    match state {
        StateRef::Value(value) => str::from_utf8(value.as_bstr()).ok(),
        _ => None,
    }
}

fn is_utf8(name: &str) -> bool {
    name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8")
}
