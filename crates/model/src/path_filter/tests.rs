use super::*;

#[test]
fn names_match_as_fnmatch_has_them() {
    for (pattern, yes, no) in [
        ("a.py", &["a.py"][..], &["a.pyc", "b.py", "A.py", ""][..]),
        ("*.py", &["a.py", ".py", "a.b.py"], &["a.pyc", "py"]),
        ("*", &["", "a", ".a"], &[]),
        ("?", &["a", "é"], &["", "ab"]),
        ("a*b*c", &["abc", "axxbyyc", "abbcc"], &["ab", "acb"]),
        ("**x", &["x", "ax"], &["xa"]),
        ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
        ("[!a-c]x", &["dx", "!x"], &["ax"]),
        ("[]]x", &["]x"], &["x"]),
        ("[!]]x", &["ax"], &["]x"]),
        ("[a-]x", &["ax", "-x"], &["bx"]),
        ("[ax", &["[ax"], &["ax"]),
        ("[]", &["[]"], &["]"]),
        ("[c-a]", &[], &["a", "b", "c"]),
    ] {
        let glob = NameGlob::new(pattern);
        yes.iter().for_each(|name| assert!(glob.is_match(name), "{pattern} {name}"));
        no.iter().for_each(|name| assert!(!glob.is_match(name), "{pattern} {name}"));
    }
    assert!(NameGlob::new("a.py").is_plain() && !NameGlob::new("a?").is_plain());
    let hostile = NameGlob::new(&"*a".repeat(100));
    assert!(!hostile.is_match(&"a".repeat(99)) && hostile.is_match(&"a".repeat(5000)));
}

#[test]
fn filters_take_in_and_out() {
    for (filter, yes, no) in [
        ("**", &["a", ".a", "a/b/c", "a/.b"][..], &[][..]),
        ("lambdas/**", &["lambdas/a", "lambdas/.x/b"], &["lambdas", "a", "lambdasx/a", "x/lambdas/a"]),
        ("lambdas", &["lambdas", "lambdas/a/b"], &["lambdasx", "x/lambdas"]),
        ("/lambdas/", &["lambdas/a/b"], &["lambdas"]),
        ("*.py", &["a.py", ".py"], &["x/a.py", "d.py/x"]),
        ("**/*.py", &["a.py", "x/a.py", "x/y/.py"], &["a.js", "x.py/a"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b", "a/x/b/c"], &["b", "a/x", "x/a/b"]),
        ("a/*/", &["a/x/y"], &["a/x", "b/x/y"]),
        ("a/** !a/b", &["a/x", "a/c/b"], &["a/b", "a/b/c", "x"]),
        ("!**/*.md **", &["a", "x/a.py"], &["a.md", "x/y/b.md"]),
        ("a a/** a/x.py", &["a/x.py", "a"], &["b"]),
        ("src/**/test*/** !**/*.snap", &["src/tests/a", "src/x/test/b/c"], &["src/tests/a.snap", "src/a"]),
        ("a/**/**/b", &["a/b"], &[]),
    ] {
        let parsed: PathFilter = filter.parse().unwrap();
        yes.iter().for_each(|path| assert!(parsed.contains(path), "{filter}: {path}"));
        no.iter().for_each(|path| assert!(!parsed.contains(path), "{filter}: {path}"));
        assert_eq!(parsed.to_string(), filter);
    }
}

#[test]
fn folders_are_taken_whole_where_nothing_is_taken_out() {
    let at = |filter: &str, path: &[&str]| {
        let filter: PathFilter = filter.parse().unwrap();
        path.iter().fold(filter.root(), |at, name| match at {
            Step::Within(progress) => filter.step(&progress, name, true),
            done => done,
        })
    };
    let is_within = |step: Step| matches!(step, Step::Within(_));
    assert_eq!(at("**", &[]), Step::In);
    assert!(is_within(at("lambdas/**", &[])));
    for filter in ["lambdas/**", "lambdas", "lambdas/", "lambdas/** lambdas/*.py", "lambdas/** !other/**"] {
        assert_eq!(at(filter, &["lambdas"]), Step::In, "{filter}");
    }
    assert_eq!(at("lambdas/**", &["other"]), Step::Out);
    assert_eq!(at("lambdas/*.py", &["lambdas", "x"]), Step::Out);
    assert!(is_within(at("lambdas/** !**/*.md", &["lambdas", "x"])));
    assert_eq!(at("lambdas/** !lambdas/a", &["lambdas", "a"]), Step::Out);
    assert_eq!(at("lambdas/** !lambdas/a", &["lambdas", "b"]), Step::In);
}

#[test]
fn refusals_say_what_to_write() {
    for filter in ["a//b", "../a", "./a", "a/..", "/", "!", "//a"] {
        assert!(matches!(filter.parse::<PathFilter>(), Err(PathFilterError::Part(_))), "{filter}");
    }
    for filter in ["", "  ", "!a"] {
        assert!(matches!(filter.parse::<PathFilter>(), Err(PathFilterError::Nothing(_))), "{filter}");
    }
    assert!(matches!("a".repeat(20_000).parse::<PathFilter>(), Err(PathFilterError::Long(_))));
}
