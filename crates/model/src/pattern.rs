//! Patterns over names: which refs a pipeline wants, and whether two patterns can name the same thing.

use std::fmt;
use std::iter::Peekable;
use std::str::{Chars, FromStr};

use globset::{GlobBuilder, GlobMatcher};

use crate::git::GitRef;

/// One piece of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    /// This character.
    Char(char),
    /// Any one character.
    One,
    /// Any number of characters other than `/`.
    Within,
    /// Any number of any characters.
    Any,
}

impl Token {
    /// Whether the token stands for any number of characters.
    pub fn is_wild(self) -> bool {
        matches!(self, Token::Within | Token::Any)
    }

    /// Whether the token can stand for what `other`, a single character, can.
    pub fn meets(self, other: Token) -> bool {
        match (self, other) {
            (Token::Char(a), Token::Char(b)) => a == b,
            (Token::Within, Token::Char(c)) | (Token::Char(c), Token::Within) => c != '/',
            _ => true,
        }
    }
}

/// A text without wildcards.
pub fn literal(text: &str) -> Vec<Token> {
    text.chars().map(Token::Char).collect()
}

/// A glob that [`NamePattern`] takes, read generously: what it can match is a subset of what the tokens can match.
pub fn glob(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // `**/x` matches `x` too: the slash belongs to what may be missing.
                chars.next_if_eq(&'/');
                Token::Any
            }
            '*' => Token::Within,
            '?' => Token::One,
            '[' => {
                skip_class(&mut chars);
                Token::One
            }
            '{' => {
                skip_alternates(&mut chars);
                Token::Any
            }
            '\\' => chars.next().map_or(Token::Char('\\'), Token::Char),
            other => Token::Char(other),
        });
    }
    tokens
}

/// Passes over the rest of `[…]`: a `]` in the first place is one of the characters, a backslash too.
fn skip_class(chars: &mut Peekable<Chars<'_>>) {
    chars.next_if(|c| matches!(c, '!' | '^'));
    chars.next();
    chars.find(|c| *c == ']');
}

/// Passes over the rest of `{…}`, in which braces nest.
fn skip_alternates(chars: &mut Peekable<Chars<'_>>) {
    let mut open = 1;
    while let Some(c) = chars.next() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            '[' => skip_class(chars),
            '\\' => {
                chars.next();
            }
            _ => {}
        }
        if open == 0 {
            return;
        }
    }
}

/// Whether some text matches both patterns. Costs `left × right` steps.
pub fn intersect(left: &[Token], right: &[Token]) -> bool {
    // row[j]: some text matches both the left tokens passed so far and the first j right tokens.
    let mut row = vec![false; right.len() + 1];
    row[0] = true;
    for i in 0..=left.len() {
        let mut next = vec![false; right.len() + 1];
        for j in 0..=right.len() {
            if !row[j] {
                continue;
            }
            let (l, r) = (left.get(i).copied(), right.get(j).copied());
            let (l_wild, r_wild) = (l.is_some_and(Token::is_wild), r.is_some_and(Token::is_wild));
            let meet = l.zip(r).is_some_and(|(l, r)| l.meets(r));
            // A wildcard ends, or takes the other side's character and stays.
            next[j] |= l_wild || (r_wild && meet);
            if j < right.len() {
                row[j + 1] |= r_wild || (l_wild && meet);
                next[j + 1] |= meet && !l_wild && !r_wild;
            }
        }
        if i == left.len() {
            break;
        }
        row = next;
    }
    row[right.len()]
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

#[cfg(test)]
mod tests;
