//! What must not stand in the repository: unfinished code, tests that never run, and names of machines.

use crate::{Text, assert_none, texts};

/// Code that is not done, by what it says of itself.
const UNFINISHED: [(&str, &str); 3] = [("todo", "!("), ("unimplemented", "!("), ("dbg", "!(")];

/// Paths of single machines and hosts of registries, in two parts each, so that this file has none of
/// them. Which registry is used is for whoever builds to say, in the settings of their own tools.
const MACHINES: [(&str, &str); 10] = [
    ("/wo", "rk/"),
    ("/fa", "rm/"),
    ("../sha", "red"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("crates.io", "-index"),
    ("pypi", ".org"),
    ("registry.npm", "js"),
    ("deb.debian", ".org"),
    ("archive.ubuntu", ".com"),
];

fn unfinished(text: &Text) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(text.content.lines()) {
        for (word, call) in UNFINISHED {
            if line.contains(&format!("{word}{call}")) {
                complaints.push(format!("{}:{number}: {}", text.path, line.trim()));
            }
        }
        // Some tests are the other process of the test beside them, and say so.
        let line = line.trim();
        let runs = line.starts_with("#[ignore = \"run by ") || line.starts_with("#[ignore = \"started by ");
        if line.starts_with("#[ignore") && !runs {
            complaints.push(format!("{}:{number}: a test that nothing runs: {line}", text.path));
        }
    }
    complaints
}

fn machines(text: &Text) -> Vec<String> {
    let name = text.path.rsplit('/').next().unwrap_or_default();
    // Lock files name the registry; that one script may know what lies beside the repository.
    if name == "Cargo.lock" || text.path == ".ci/run" {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(text.content.lines()) {
        for (start, end) in MACHINES {
            let needle = format!("{start}{end}");
            if line.contains(&needle) {
                complaints.push(format!("{}:{number}: `{needle}`", text.path));
            }
        }
    }
    complaints
}

#[test]
fn nothing_is_unfinished() {
    let texts = texts();
    let rust = texts.iter().filter(|text| text.path.ends_with(".rs"));
    assert_none(&rust.flat_map(unfinished).collect::<Vec<_>>());
}

#[test]
fn no_machine_is_named() {
    assert_none(&texts().iter().flat_map(machines).collect::<Vec<_>>());
}

#[test]
fn forbidden_words_are_found() {
    let text = |path: &str, content: &str| Text { path: path.to_owned(), content: content.to_owned() };
    for (word, call) in UNFINISHED {
        assert_eq!(unfinished(&text("a.rs", &format!("fine\n  {word}{call}\"x\")\n"))).len(), 1, "{word}");
    }
    let ignored = |attribute: &str| unfinished(&text("a.rs", &format!("    #[{attribute}]\n"))).len();
    assert_eq!(ignored("ignore"), 1);
    assert_eq!(ignored("ignore = \"flaky\""), 1);
    assert_eq!(ignored("ignore = \"run by the tests below\""), 0);
    assert_eq!(ignored("ignore = \"started by others as a process of its own\""), 0);
    for (start, end) in MACHINES {
        let line = format!("see {start}{end} there");
        assert_eq!(machines(&text("docs/a.md", &line)).len(), 1, "{line}");
        assert_eq!(machines(&text("fuzz/Cargo.lock", &line)).len(), 0, "{line}");
    }
    assert_eq!(machines(&text("a.md", "a network, a farm and work")).len(), 0);
}
