use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> NamePattern {
    text.parse().unwrap()
}

/// Whether the tokens match the text, by trying everything.
fn tokens_match(tokens: &[Token], text: &[char]) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return text.is_empty() };
    let one_is = |fits: &dyn Fn(char) -> bool| text.first().is_some_and(|c| fits(*c));
    match token {
        Token::Char(c) => one_is(&|other| other == *c) && tokens_match(rest, &text[1..]),
        Token::One => !text.is_empty() && tokens_match(rest, &text[1..]),
        Token::Within => {
            tokens_match(rest, text) || (one_is(&|c| c != '/') && tokens_match(tokens, &text[1..]))
        }
        Token::Any => tokens_match(rest, text) || (!text.is_empty() && tokens_match(tokens, &text[1..])),
    }
}

/// Every text of at most `length` characters of `a`, `b` and `/`.
fn texts(length: usize) -> Vec<Vec<char>> {
    let mut all = vec![Vec::new()];
    let mut from = 0;
    for _ in 0..length {
        let until = all.len();
        for at in from..until {
            for c in ['a', 'b', '/'] {
                let mut text = all[at].clone();
                text.push(c);
                all.push(text);
            }
        }
        from = until;
    }
    all
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        2 => prop_oneof![Just('a'), Just('b'), Just('/')].prop_map(Token::Char),
        1 => Just(Token::One),
        1 => Just(Token::Within),
        1 => Just(Token::Any),
    ]
}

fn tokens() -> impl Strategy<Value = Vec<Token>> {
    prop::collection::vec(token(), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Of two patterns of at most three tokens, a shortest common text has at most six characters.
    #[test]
    fn intersect_is_what_trying_every_text_finds(left in tokens(), right in tokens()) {
        let common = texts(6).iter().any(|text| tokens_match(&left, text) && tokens_match(&right, text));
        prop_assert_eq!(intersect(&left, &right), common);
        prop_assert_eq!(intersect(&right, &left), common);
    }

    /// The collision check may be wary, never blind: what a glob matches, its tokens match.
    #[test]
    fn tokens_match_whatever_the_glob_matches(
        text in "(a|b|/|\\*|\\*\\*|\\*\\*/|/\\*\\*/|\\?|\\[ab\\]|\\[!\\]a\\]|\\{a,b/\\}|\\{a,\\{b,\\[\\}\\]\\}\\}|\\\\\\*|,){1,5}",
        names in prop::collection::vec("[ab/*,}\\]]{0,6}", 20),
    ) {
        let Ok(pattern) = text.parse::<NamePattern>() else { return Ok(()) };
        let tokens = glob(&text);
        for name in names {
            if pattern.matches(&name) {
                prop_assert!(intersect(&tokens, &literal(&name)), "{text} matches {name}");
            }
        }
    }
}

#[test]
fn intersections_by_hand() {
    let meets = |left: &str, right: &str| {
        let (left, right) = (glob(left), glob(right));
        let answer = intersect(&left, &right);
        assert_eq!(intersect(&right, &left), answer);
        answer
    };
    for (left, right) in [
        ("", ""),
        ("", "*"),
        ("", "**"),
        ("a", "a"),
        ("a", "?"),
        ("?", "?"),
        ("a", "*"),
        ("a/b", "**"),
        ("a/b", "a/*"),
        ("*", "**"),
        ("*a", "a*"),
        ("a*b", "*ab*"),
        ("**/x", "x"),
        ("a/**/b", "a/b"),
        ("v*", "*.0"),
        ("a?c", "abc"),
        ("*/*", "a/b"),
        ("a/**", "**/b"),
        ("[ab]", "b"),
        ("{a,b/c}", "b/c"),
        ("a\\*", "a*"),
        ("***", "a/b"),
    ] {
        assert!(meets(left, right), "{left} {right}");
    }
    for (left, right) in [
        ("", "a"),
        ("a", ""),
        ("", "?"),
        ("a", "b"),
        ("a", "aa"),
        ("a", "a?"),
        ("a*", "b*"),
        ("*a", "*b"),
        ("*", "a/b"),
        ("*/*", "a"),
        ("release/*", "main"),
        ("a/*", "a/b/c"),
        ("v?", "v"),
        ("?", "ab"),
        ("a\\*", "ab"),
        ("*/*", "*"),
    ] {
        assert!(!meets(left, right), "{left} {right}");
    }
}

#[test]
fn globs_become_tokens() {
    use Token::{Any, Char, One, Within};
    for (text, tokens) in [
        ("", vec![]),
        ("a/b", vec![Char('a'), Char('/'), Char('b')]),
        ("*", vec![Within]),
        ("**", vec![Any]),
        ("***", vec![Any, Within]),
        ("****", vec![Any, Any]),
        ("**/a", vec![Any, Char('a')]),
        ("**//a", vec![Any, Char('/'), Char('a')]),
        ("a/**", vec![Char('a'), Char('/'), Any]),
        ("*a*", vec![Within, Char('a'), Within]),
        ("?", vec![One]),
        ("[ab]c", vec![One, Char('c')]),
        ("[!ab]c", vec![One, Char('c')]),
        ("[^]]c", vec![One, Char('c')]),
        ("[]a]c", vec![One, Char('c')]),
        ("[!]a]c", vec![One, Char('c')]),
        ("[\\]c", vec![One, Char('c')]),
        ("{a,b}c", vec![Any, Char('c')]),
        ("{a,{b,c}d}e", vec![Any, Char('e')]),
        ("{a,[}]}e", vec![Any, Char('e')]),
        ("{a\\},b}e", vec![Any, Char('e')]),
        ("{a\\{,b}e", vec![Any, Char('e')]),
        ("\\*a", vec![Char('*'), Char('a')]),
        ("a\\", vec![Char('a'), Char('\\')]),
        ("a,b", vec![Char('a'), Char(','), Char('b')]),
    ] {
        assert_eq!(glob(text), tokens, "{text}");
    }
    assert_eq!(literal("a*"), [Char('a'), Char('*')]);
}

#[test]
fn tokens_know_what_they_stand_for() {
    use Token::{Any, Char, One, Within};
    assert_eq!([Char('a'), One, Within, Any].map(Token::is_wild), [false, false, true, true]);
    for (left, right, meets) in [
        (Char('a'), Char('a'), true),
        (Char('a'), Char('b'), false),
        (One, Char('/'), true),
        (One, One, true),
        (Within, Char('a'), true),
        (Within, Char('/'), false),
        (Within, One, true),
        (Any, Char('/'), true),
        (Any, Within, true),
    ] {
        assert_eq!(left.meets(right), meets, "{left:?} {right:?}");
        assert_eq!(right.meets(left), meets, "{right:?} {left:?}");
    }
}

#[test]
fn patterns_over_names() {
    for (text, yes, no) in [
        ("main", &["main"][..], &["Main", "mainx", "xmain", "main/x", ""][..]),
        ("*", &["main", "a.b", ""], &["a/b"]),
        ("**", &["main", "a/b", "a/b/c"], &[]),
        ("release/*", &["release/1", "release/"], &["release", "release/1/2", "x/release/1"]),
        ("release/**", &["release/1", "release/1/2"], &["release", "other/1"]),
        ("**/fix", &["fix", "a/fix", "a/b/fix"], &["fixx", "a/xfix"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]),
        ("v?.?", &["v1.2"], &["v1.", "v10.2", "v//2"]),
        ("v[0-9]", &["v1"], &["va", "v10"]),
        ("v[!0-9]", &["va"], &["v1"]),
        ("{main,next}", &["main", "next"], &["main,next", "mainnext"]),
        ("a\\*", &["a*"], &["ab", "a"]),
        ("a,b", &["a,b"], &["a", "b"]),
    ] {
        let pattern = pattern(text);
        for name in yes {
            assert!(pattern.matches(name), "{text} {name}");
        }
        for name in no {
            assert!(!pattern.matches(name), "{text} {name}");
        }
    }
}

#[test]
fn plain_patterns_are_names() {
    for (text, plain) in [
        ("main", true),
        ("a/b.c-d_e,f]", true),
        ("*", false),
        ("a?", false),
        ("[a]", false),
        ("{a}", false),
        ("a\\b", false),
    ] {
        assert_eq!(pattern(text).is_plain(), plain, "{text}");
    }
}

#[test]
fn patterns_that_cannot_be_read() {
    let why = |text: &str| text.parse::<NamePattern>().unwrap_err().to_string();
    assert_eq!(why(""), "`` is not a pattern for branch or tag names: it must have 1 to 500 bytes");
    assert!("p".repeat(500).parse::<NamePattern>().is_ok());
    assert!(why(&"p".repeat(501)).ends_with("it must have 1 to 500 bytes"));
    assert!(why("refs/heads/main").ends_with("leave `refs/heads/` and `refs/tags/` out"));
    for text in ["[", "{a", "a}", "[z-a]", "a\\"] {
        assert!(
            why(text).starts_with(&format!("`{text}` is not a pattern for branch or tag names: ")),
            "{text}"
        );
    }
}

#[test]
fn patterns_are_kept_as_written() {
    let one = pattern("release/*");
    assert_eq!((one.as_str(), one.to_string().as_str()), ("release/*", "release/*"));
    assert_eq!(format!("{one:?}"), "release/*");
    assert_eq!(one, pattern("release/*"));
    assert_ne!(one, pattern("release/**"));
    assert_eq!(serde_json::to_string(&one).unwrap(), "\"release/*\"");
    assert_eq!(serde_json::from_str::<NamePattern>("\"release/*\"").unwrap(), one);
    assert!(serde_json::from_str::<NamePattern>("\"\"").is_err());
}

#[test]
fn filters_tell_branches_from_tags() {
    let filter = RefFilter { branches: vec![pattern("main"), pattern("r/*")], tags: vec![pattern("v*")] };
    for (name, wanted) in [
        ("refs/heads/main", true),
        ("refs/heads/r/1", true),
        ("refs/heads/v1", false),
        ("refs/tags/v1", true),
        ("refs/tags/main", false),
        ("refs/notes/v1", false),
        ("refs/pull/main", false),
    ] {
        assert_eq!(filter.wants(&name.parse().unwrap()), wanted, "{name}");
    }
    assert!(!RefFilter::default().wants(&"refs/heads/main".parse().unwrap()));
}
