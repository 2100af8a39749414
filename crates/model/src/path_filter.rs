//! [`PathFilter`]: which paths of a repository count; [`NameGlob`]: one part of such a pattern.
//!
//! A filter is patterns with white space between them. Each is parts with slashes between them, from the repository's
//! root:
//!
//! - `*`, `?`, `[a-z]`, `[!a-z]` within a part, where a dot at its beginning is a character like any other;
//! - `**` as a part: any number of folders, also none;
//! - a pattern that ends in plain text takes the file of that name, or the folder with all in it; with a slash or `**`
//!   at its end, only folders, with all in them; with a wildcard at its end, only files;
//! - `!` before a pattern takes out again what it matches, wherever it stands.

use std::fmt;
use std::str::FromStr;

/// The longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 16 << 10;

/// A pattern for one part of a path, as Python's `fnmatch` has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameGlob {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    /// This character.
    Is(char),
    /// `?`
    One,
    /// `*`
    Any,
    /// `[…]`: ranges, and whether it must be in none of them.
    Of(Vec<(char, char)>, bool),
}

impl NameGlob {
    /// Reads a pattern; every text is one.
    pub fn new(text: &str) -> NameGlob {
        let chars: Vec<char> = text.chars().collect();
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let piece = match chars[at] {
                '*' => Piece::Any,
                '?' => Piece::One,
                '[' => match set(&chars, at) {
                    Some((piece, end)) => {
                        at = end;
                        piece
                    }
                    // Without an end it is a bracket.
                    None => Piece::Is('['),
                },
                plain => Piece::Is(plain),
            };
            if piece != Piece::Any || pieces.last() != Some(&Piece::Any) {
                pieces.push(piece);
            }
            at += 1;
        }
        NameGlob { pieces }
    }

    /// Whether it is plain text, without a wildcard.
    pub fn is_plain(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Is(_)))
    }

    /// Whether a name matches, in time of at most its length times the pattern's.
    pub fn is_match(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut piece, mut at) = (0, 0);
        let mut back: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.pieces.get(piece) {
                Some(Piece::Any) => {
                    back = Some((piece, at));
                    piece += 1;
                }
                Some(one) if one.takes(name[at]) => {
                    piece += 1;
                    at += 1;
                }
                _ => {
                    let Some((star, from)) = back else { return false };
                    back = Some((star, from + 1));
                    piece = star + 1;
                    at = from + 1;
                }
            }
        }
        self.pieces[piece..].iter().all(|piece| *piece == Piece::Any)
    }
}

impl Piece {
    fn takes(&self, c: char) -> bool {
        match self {
            Piece::Is(own) => *own == c,
            Piece::One => true,
            Piece::Any => false,
            Piece::Of(ranges, is_not) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *is_not
            }
        }
    }
}

/// The set that begins at `[`, and where its `]` stands.
fn set(chars: &[char], start: usize) -> Option<(Piece, usize)> {
    let is_not = chars.get(start + 1) == Some(&'!');
    let first = start + 1 + usize::from(is_not);
    // A bracket that comes first is one of the characters.
    let end = first + 1 + chars.get(first + 1..)?.iter().position(|c| *c == ']')?;
    let inner = &chars[first..end];
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < inner.len() {
        if inner.get(at + 1) == Some(&'-') && at + 2 < inner.len() {
            ranges.push((inner[at], inner[at + 2]));
            at += 3;
        } else {
            ranges.push((inner[at], inner[at]));
            at += 1;
        }
    }
    Some((Piece::Of(ranges, is_not), end))
}

/// What a filter cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathFilterError {
    /// A part that leads elsewhere.
    #[error("filter `{0}`: a pattern begins at the repository's root and has no part `.`, `..` or empty")]
    Part(String),
    /// Nothing that takes anything in.
    #[error("filter `{0}`: it takes nothing in; expected patterns such as `lambdas/** lib/*.py`")]
    Nothing(String),
    /// Too much.
    #[error("filter `{0}`: it is longer than 16 KiB")]
    Long(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    /// `**`
    Folders,
    Name(NameGlob),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    parts: Vec<Part>,
    is_out: bool,
    /// Takes folders, with all in them.
    folders: bool,
    /// Takes files.
    files: bool,
}

/// Which paths count. See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathFilter {
    text: String,
    patterns: Vec<Pattern>,
}

/// How far the patterns have come in one folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Pattern and how many of its parts are behind.
    states: Vec<(usize, usize)>,
    /// The folder is taken in, and only what is taken out of it is of interest.
    is_in: bool,
}

/// What becomes of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// It does not count, nor does anything in it.
    Out,
    /// It counts, and where it is a folder all in it does.
    In,
    /// A folder of which some may count.
    Within(Progress),
}

impl FromStr for PathFilter {
    type Err = PathFilterError;

    fn from_str(text: &str) -> Result<PathFilter, PathFilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(PathFilterError::Long(crate::shorten(text)));
        }
        let patterns = text.split_whitespace().map(Pattern::parse).collect::<Result<Vec<_>, _>>()?;
        if patterns.iter().all(|pattern| pattern.is_out) {
            return Err(PathFilterError::Nothing(crate::shorten(text)));
        }
        Ok(PathFilter { text: text.to_owned(), patterns })
    }
}

impl fmt::Display for PathFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, PathFilterError> {
        let wrong = || PathFilterError::Part(crate::shorten(text));
        let (is_out, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let (rest, is_folder) = rest.strip_suffix('/').map_or((rest, false), |rest| (rest, true));
        let mut parts = Vec::new();
        for part in rest.split('/') {
            match part {
                "" | "." | ".." => return Err(wrong()),
                "**" if parts.last() == Some(&Part::Folders) => {}
                "**" => parts.push(Part::Folders),
                name => parts.push(Part::Name(NameGlob::new(name))),
            }
        }
        if parts.last() == Some(&Part::Folders) {
            parts.pop();
            return Ok(Pattern { parts, is_out, folders: true, files: false });
        }
        let is_plain = matches!(parts.last(), Some(Part::Name(name)) if name.is_plain());
        Ok(Pattern { parts, is_out, folders: is_folder || is_plain, files: !is_folder })
    }

    fn is_at_end(&self, behind: usize) -> bool {
        behind == self.parts.len()
    }
}

impl PathFilter {
    /// At the root.
    pub fn root(&self) -> Step {
        let mut states = Vec::new();
        for number in 0..self.patterns.len() {
            self.add(&mut states, number, 0);
        }
        self.folder(states, false)
    }

    /// Adds a state, and those that `**` leads to without a folder.
    fn add(&self, states: &mut Vec<(usize, usize)>, number: usize, behind: usize) {
        if states.contains(&(number, behind)) {
            return;
        }
        states.push((number, behind));
        if self.patterns[number].parts.get(behind) == Some(&Part::Folders) {
            self.add(states, number, behind + 1);
        }
    }

    /// The states behind one name.
    fn advance(&self, progress: &Progress, name: &str) -> Vec<(usize, usize)> {
        let mut states = Vec::new();
        for (number, behind) in &progress.states {
            match self.patterns[*number].parts.get(*behind) {
                Some(Part::Folders) => self.add(&mut states, *number, *behind),
                Some(Part::Name(glob)) if glob.is_match(name) => self.add(&mut states, *number, behind + 1),
                _ => {}
            }
        }
        states
    }

    fn is_hit(&self, states: &[(usize, usize)], is_out: bool, wanted: fn(&Pattern) -> bool) -> bool {
        states.iter().any(|(number, behind)| {
            let pattern = &self.patterns[*number];
            pattern.is_out == is_out && wanted(pattern) && pattern.is_at_end(*behind)
        })
    }

    fn folder(&self, mut states: Vec<(usize, usize)>, was_in: bool) -> Step {
        if self.is_hit(&states, true, |pattern| pattern.folders) {
            return Step::Out;
        }
        let is_in = was_in || self.is_hit(&states, false, |pattern| pattern.folders);
        states.retain(|(number, behind)| {
            let pattern = &self.patterns[*number];
            (pattern.is_out || !is_in) && !pattern.is_at_end(*behind)
        });
        match (states.is_empty(), is_in) {
            (true, true) => Step::In,
            (true, false) => Step::Out,
            (false, _) => Step::Within(Progress { states, is_in }),
        }
    }

    /// What becomes of an entry of a folder.
    pub fn step(&self, progress: &Progress, name: &str, is_folder: bool) -> Step {
        let states = self.advance(progress, name);
        if is_folder {
            return self.folder(states, progress.is_in);
        }
        let takes = |is_out| self.is_hit(&states, is_out, |pattern| pattern.files);
        if !takes(true) && (progress.is_in || takes(false)) { Step::In } else { Step::Out }
    }

    /// Whether a file counts, by its whole path.
    pub fn contains(&self, path: &str) -> bool {
        let mut at = self.root();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            match at {
                Step::Within(progress) => at = self.step(&progress, part, parts.peek().is_some()),
                done => return done == Step::In,
            }
        }
        at == Step::In
    }
}

#[cfg(test)]
mod tests;
