//! Which keys two things would share: readers of such a key could not tell what they get.

use gristmill_model::NamePattern;
use gristmill_model::pattern::{Token, intersect};

/// Keys made of more pieces than this are not compared by example, only by yes or no.
const EXAMPLE_STEPS_MAX: usize = 1 << 22;

/// The keys that one template can make.
pub(super) struct Keys<T> {
    /// The pattern of the keys.
    pub(super) tokens: Vec<Token>,
    /// Who makes them.
    pub(super) owner: T,
}

/// Calls `found` for each pair that can make the same key.
///
/// Keys mostly begin with the repository's name. In the order of these beginnings, only neighbours of
/// which one's beginning continues the other's can meet, so that thousands of projects cost no square.
pub(super) fn pairs<'k, T>(keys: &'k [Keys<T>], mut found: impl FnMut(&'k Keys<T>, &'k Keys<T>)) {
    let mut order: Vec<(String, &Keys<T>)> =
        keys.iter().map(|keys| (fixed_start(&keys.tokens), keys)).collect();
    order.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (at, (start, left)) in order.iter().enumerate() {
        for (_, right) in order[at + 1..].iter().take_while(|(other, _)| other.starts_with(start.as_str())) {
            if intersect(&left.tokens, &right.tokens) {
                found(left, right);
            }
        }
    }
}

fn fixed_start(tokens: &[Token]) -> String {
    tokens.iter().map_while(|token| if let Token::Char(c) = token { Some(*c) } else { None }).collect()
}

/// A text that both patterns match, for people: `…` where anything may stand.
pub(super) fn example(left: &[Token], right: &[Token]) -> Option<String> {
    let width = right.len() + 1;
    let states = (left.len() + 1).checked_mul(width).filter(|states| *states <= EXAMPLE_STEPS_MAX)?;
    // How each state was reached: from which state, and with which character.
    let mut came: Vec<Option<(usize, Option<char>)>> = vec![None; states];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        let (i, j) = (at / width, at % width);
        let (l, r) = (left.get(i).copied(), right.get(j).copied());
        // What is pushed last is tried first: a character rather than nothing.
        let mut steps = Vec::new();
        if l.is_some_and(Token::is_wild) {
            steps.push((at + width, None));
        }
        if r.is_some_and(Token::is_wild) {
            steps.push((at + 1, None));
        }
        if let Some((l, r)) = l.zip(r).filter(|(l, r)| l.meets(*r)) {
            steps.push(match (l.is_wild(), r.is_wild()) {
                (true, true) => (at + width + 1, Some('…')),
                (true, false) => (at + 1, Some(stands_for(r))),
                (false, true) => (at + width, Some(stands_for(l))),
                (false, false) => (at + width + 1, Some(stands_for(if l == Token::One { r } else { l }))),
            });
        }
        for (to, c) in steps {
            if came[to].is_none() {
                came[to] = Some((at, c));
                open.push(to);
            }
        }
    }
    let mut text = Vec::new();
    let mut at = states - 1;
    while at > 0 {
        let (from, c) = came[at]?;
        text.extend(c);
        at = from;
    }
    Some(text.into_iter().rev().collect())
}

fn stands_for(token: Token) -> char {
    match token {
        Token::Char(c) => c,
        Token::One | Token::Within | Token::Any => 'x',
    }
}

/// Two different names, each matching one of the patterns, that are equal once their slashes are `_`.
pub(super) fn equal_when_flat(patterns: &[NamePattern]) -> bool {
    let globs: Vec<Vec<Token>> =
        patterns.iter().map(|pattern| gristmill_model::pattern::glob(pattern.as_str())).collect();
    globs.iter().enumerate().any(|(at, left)| globs[at..].iter().any(|right| flat_pair(left, right)))
}

/// Walks both patterns side by side over characters that are equal, or `/` against `_` at least once.
fn flat_pair(left: &[Token], right: &[Token]) -> bool {
    let width = right.len() + 1;
    let states = (left.len() + 1) * width;
    // Two states for each pair of positions: without and with a difference so far.
    let mut seen = vec![false; 2 * states];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        let (pair, differ) = (at / 2, at % 2);
        let (l, r) = (left.get(pair / width).copied(), right.get(pair % width).copied());
        let l_wild = l.is_some_and(Token::is_wild);
        let r_wild = r.is_some_and(Token::is_wild);
        if l_wild {
            open.push(2 * (pair + width) + differ);
        }
        if r_wild {
            open.push(2 * (pair + 1) + differ);
        }
        if let Some((l, r)) = l.zip(r) {
            let to = pair + usize::from(!l_wild) * width + usize::from(!r_wild);
            if l.meets(r) {
                open.push(2 * to + differ);
            }
            let takes = |token: Token, c: char| token.meets(Token::Char(c));
            if (takes(l, '/') && takes(r, '_')) || (takes(l, '_') && takes(r, '/')) {
                open.push(2 * to + 1);
            }
        }
    }
    seen[2 * states - 1]
}
