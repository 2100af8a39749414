//! How long things may be: what fits on a few screens is read, what does not is scrolled past.

use crate::{Text, assert_none, texts};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const README_LINES_MAX: usize = 120;
const ARCHITECTURE_LINES_MAX: usize = 150;
const DECISION_LINES_MAX: usize = 40;

/// Files that may be longer: up to how long, and why.
const LONGER: &[(&str, usize, &str)] = &[
    (
        "crates/archive/tests/write.rs",
        420,
        "what other programs read in an archive, one check after the other",
    ),
    ("crates/gristmill/tests/sim/worker.rs", 540, "one simulated worker: everything that can befall a job"),
    (
        "crates/lossfs/src/fuse.rs",
        420,
        "one trait of the FUSE protocol, whose operations cannot be split over files",
    ),
    ("crates/lossfs/tests/mounted.rs", 520, "each operation of a mounted file system, by the same helpers"),
    (
        "crates/storage/tests/conformance/contract.rs",
        440,
        "one list of what every storage must do, whichever backend it has",
    ),
];

/// Functions that may be longer: where, which, up to how long, and why.
const LONGER_FUNCTIONS: &[(&str, &str, usize, &str)] = &[
    (
        "crates/gristmill/src/config/tests/accepted.rs",
        "every_setting_of_the_server",
        81,
        "all settings, and what is read of them, one a line",
    ),
    (
        "crates/git/tests/urls.rs",
        "hostile_and_mistaken_addresses_are_refused",
        80,
        "a table of addresses, one a line",
    ),
    ("crates/lossfs/src/model_tests/model.rs", "try_apply", 75, "one arm for each operation of the model"),
];

fn too_long(texts: &[Text], exceptions: &[(&str, usize, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for text in texts {
        let lines = text.content.lines().count();
        let exception = exceptions.iter().find(|(path, ..)| *path == text.path);
        let max = match (text.path.as_str(), exception) {
            (_, Some((_, max, _))) => *max,
            ("README.md", _) => README_LINES_MAX,
            ("ARCHITECTURE.md", _) => ARCHITECTURE_LINES_MAX,
            (path, _) if path.starts_with("docs/decisions/") => DECISION_LINES_MAX,
            (path, _) if path.ends_with(".rs") => FILE_LINES_MAX,
            _ => continue,
        };
        if lines > max {
            complaints.push(format!("{} has {lines} lines; at most {max} are meant to be", text.path));
        }
        if exception.is_some() && lines <= FILE_LINES_MAX {
            complaints.push(format!("{} has {lines} lines and needs no exception any more", text.path));
        }
    }
    for (path, ..) in exceptions {
        if !texts.iter().any(|text| text.path == *path) {
            complaints.push(format!("{path} has an exception, but is not there"));
        }
    }
    complaints
}

#[test]
fn files_are_short() {
    assert_none(&too_long(&texts(), LONGER));
}

#[test]
fn exceptions_have_reasons() {
    for (path, max, reason) in LONGER {
        assert!(reason.split(' ').count() >= 5, "{path}: say why it is longer, not only `{reason}`");
        assert!(*max > FILE_LINES_MAX, "{path}");
    }
}

#[test]
fn what_is_too_long_is_found() {
    let text = |path: &str, lines: usize| Text { path: path.to_owned(), content: "x\n".repeat(lines) };
    let exceptions = [("long.rs", 500, "its reason")];
    let complaints = |texts: &[Text]| too_long(texts, &exceptions).len();
    for (path, max) in [
        ("a.rs", 400),
        ("long.rs", 500),
        ("README.md", 120),
        ("ARCHITECTURE.md", 150),
        ("docs/decisions/0001-x.md", 40),
    ] {
        let others = || text("long.rs", 450);
        let all = |lines: usize| {
            if path == "long.rs" { vec![text(path, lines)] } else { vec![others(), text(path, lines)] }
        };
        assert_eq!(complaints(&all(max)), 0, "{path}");
        assert_eq!(complaints(&all(max + 1)), 1, "{path}");
    }
    assert_eq!(complaints(&[text("long.rs", 400)]), 1, "needs no exception");
    assert_eq!(complaints(&[text("a.rs", 1)]), 1, "the exception's file is gone");
    assert_eq!(complaints(&[text("long.rs", 401), text("notes.txt", 10_000)]), 0);
}

/// The functions of a formatted file, with how many lines of code are between their braces: without blank
/// lines and lines of comment, as clippy's `too_many_lines` counts.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let lines: Vec<&str> = code.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        // A declaration without a body, or a body in the same line.
        let opens = |line: &&str| line.ends_with('{') || line.ends_with(';') || line.ends_with('}');
        let Some(start) = (at..lines.len()).find(|at| opens(&lines[*at])) else { continue };
        if !lines[start].ends_with('{') {
            continue;
        }
        let end = format!("{indent}}}");
        let body = lines[start + 1..].iter().take_while(|line| **line != end);
        let is_code = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        found.push((name.to_owned(), body.filter(is_code).count()));
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start();
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "] {
        words = words.strip_prefix(word).unwrap_or(words);
    }
    // Functions that a macro writes have its brackets around them, not their own.
    words.strip_prefix("fn ")?.split(['(', '<']).next().filter(|name| !name.starts_with('$'))
}

fn long_functions(texts: &[Text], exceptions: &[(&str, &str, usize, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut needed = Vec::new();
    for text in texts.iter().filter(|text| text.path.ends_with(".rs")) {
        for (name, lines) in functions(&text.content) {
            let exception = exceptions.iter().find(|(path, of, ..)| (*path, *of) == (&text.path, &name));
            if lines > exception.map_or(FUNCTION_LINES_MAX, |(_, _, max, _)| *max) {
                complaints.push(format!("{}: {name} has {lines} lines", text.path));
            }
            needed.extend(exception.filter(|_| lines > FUNCTION_LINES_MAX));
        }
    }
    for exception in exceptions.iter().filter(|exception| !needed.contains(exception)) {
        complaints.push(format!("{}: {} needs no exception any more", exception.0, exception.1));
    }
    complaints
}

#[test]
fn functions_are_short() {
    assert_none(&long_functions(&texts(), LONGER_FUNCTIONS));
    for (path, name, _, reason) in LONGER_FUNCTIONS {
        assert!(reason.split(' ').count() >= 5, "{path}: say why {name} is longer, not only `{reason}`");
    }
}

#[test]
fn long_functions_are_found() {
    let code = |lines: usize| {
        let body = "        call();\n".repeat(lines);
        format!(
            "impl A {{\n    /// Says.\n    pub(crate) async fn long<T>(\n        a: T,\n    ) -> T {{\n        // Why.\n\n{body}    }}\n}}\nfn short() {{}}\ntrait B {{\n    fn none(&self);\n}}\n"
        )
    };
    assert_eq!(functions(&code(3)), [("long".to_owned(), 3)]);
    let text = |lines: usize| [Text { path: "a.rs".to_owned(), content: code(lines) }];
    assert_eq!(long_functions(&text(70), &[]).len(), 0);
    assert_eq!(long_functions(&text(71), &[]), ["a.rs: long has 71 lines"]);
    let exception = [("a.rs", "long", 75, "its reason")];
    assert_eq!(long_functions(&text(75), &exception).len(), 0);
    assert_eq!(long_functions(&text(76), &exception).len(), 1);
    assert_eq!(long_functions(&text(70), &exception).len(), 1, "needs no exception");
}
