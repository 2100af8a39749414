//! Patterns over names: which refs a pipeline wants, and whether two patterns can name the same thing.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

use crate::git::GitRef;

/// One piece of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    /// This character.
    Char(char),
    /// Any one character.
    One,
    /// Any number of any characters.
    Any,
}

/// A text without wildcards.
pub fn literal(text: &str) -> Vec<Token> {
    text.chars().map(Token::Char).collect()
}

/// A glob, read generously: what it can match is a subset of what the tokens can match.
pub fn glob(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '[' => {
                chars.by_ref().find(|inside| *inside == ']');
                Token::One
            }
            '{' => {
                chars.by_ref().find(|inside| *inside == '}');
                Token::Any
            }
            '\\' => chars.next().map_or(Token::Char('\\'), Token::Char),
            other => Token::Char(other),
        });
    }
    tokens
}

/// Whether some text matches both patterns. Costs `left × right` steps.
pub fn intersect(left: &[Token], right: &[Token]) -> bool {
    // reachable[j]: some text matches the left tokens so far and the first j right tokens.
    let mut reachable = vec![false; right.len() + 1];
    reachable[0] = true;
    pass_any(&mut reachable, right);
    for token in left {
        let mut next = vec![false; right.len() + 1];
        if *token == Token::Any {
            let mut seen = false;
            for (slot, before) in next.iter_mut().zip(&reachable) {
                seen |= before;
                *slot = seen;
            }
        } else {
            for (j, other) in right.iter().enumerate() {
                next[j + 1] = reachable[j] && meet(*token, *other);
                // A right-hand wildcard may take this character and stay.
                if *other == Token::Any {
                    next[j] |= reachable[j];
                    next[j + 1] |= reachable[j];
                }
            }
            pass_any(&mut next, right);
        }
        reachable = next;
    }
    reachable[right.len()]
}

/// A wildcard may match nothing.
fn pass_any(reachable: &mut [bool], right: &[Token]) {
    for (j, token) in right.iter().enumerate() {
        if *token == Token::Any && reachable[j] {
            reachable[j + 1] = true;
        }
    }
}

fn meet(left: Token, right: Token) -> bool {
    match (left, right) {
        (Token::Char(a), Token::Char(b)) => a == b,
        _ => true,
    }
}

/// A pattern over branch or tag names: `*` stays within one part, `**` crosses slashes, `?`, `[abc]`, `{a,b}`.
#[derive(Clone)]
pub struct NamePattern {
    text: String,
    matcher: GlobMatcher,
}

/// The text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a pattern for branch or tag names: {why}")]
pub struct NamePatternError {
    pattern: String,
    why: String,
}

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 500;

impl NamePattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.matcher.is_match(name)
    }

    /// Whether the pattern is a plain name, which only that name matches.
    pub fn is_plain(&self) -> bool {
        !self.text.contains(['*', '?', '[', '{', '\\'])
    }
}

impl FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(text: &str) -> Result<NamePattern, NamePatternError> {
        let error = |why: String| NamePatternError { pattern: crate::shorten(text), why };
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return Err(error("it must have 1 to 500 bytes".to_owned()));
        }
        if text.starts_with("refs/") {
            return Err(error("leave `refs/heads/` and `refs/tags/` out".to_owned()));
        }
        let matcher = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|fault| error(fault.kind().to_string()))?
            .compile_matcher();
        Ok(NamePattern { text: text.to_owned(), matcher })
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &NamePattern) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

crate::serde_as_text!(NamePattern);

/// Which refs a pipeline wants.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct RefFilter {
    /// Patterns over branch names.
    pub branches: Vec<NamePattern>,
    /// Patterns over tag names.
    pub tags: Vec<NamePattern>,
}

impl RefFilter {
    /// Whether the ref is wanted.
    pub fn wants(&self, git_ref: &GitRef) -> bool {
        if let Some(branch) = git_ref.branch() {
            return self.branches.iter().any(|pattern| pattern.matches(branch));
        }
        git_ref.tag().is_some_and(|tag| self.tags.iter().any(|pattern| pattern.matches(tag)))
    }
}
