//! Decisions are written down in one form: what, why, and what follows.

use crate::{Text, assert_none, texts};

fn faults(text: &Text) -> Vec<String> {
    let mut faults = Vec::new();
    let name = text.path.trim_start_matches("docs/decisions/");
    let number: String = name.chars().take_while(char::is_ascii_digit).collect();
    if number.len() != 4 || !name[number.len()..].starts_with('-') || !name.ends_with(".md") {
        faults.push(format!("{}: the name is not NNNN-what-it-is-about.md", text.path));
    }
    if !text.content.starts_with(&format!("# {number}: ")) {
        faults.push(format!("{}: does not begin with `# {number}: `", text.path));
    }
    let headings: Vec<&str> = text.content.lines().filter(|line| line.starts_with("## ")).collect();
    if headings != ["## Decision", "## Why", "## Consequences"] {
        faults.push(format!("{}: the headings are {headings:?}, not Decision, Why, Consequences", text.path));
    }
    faults
}

#[test]
fn decisions_have_one_form_and_running_numbers() {
    let decisions: Vec<Text> =
        texts().into_iter().filter(|text| text.path.starts_with("docs/decisions/")).collect();
    let mut complaints: Vec<String> = decisions.iter().flat_map(faults).collect();
    for (number, text) in (1..).zip(&decisions) {
        if !text.path.starts_with(&format!("docs/decisions/{number:04}-")) {
            complaints.push(format!("{}: the next number is {number:04}", text.path));
        }
    }
    assert_none(&complaints);
}

#[test]
fn other_forms_are_found() {
    let good = "# 0001: x\n\n## Decision\n\n## Why\n\n## Consequences\n";
    let count = |path: &str, content: &str| {
        faults(&Text { path: format!("docs/decisions/{path}"), content: content.to_owned() }).len()
    };
    assert_eq!(count("0001-x.md", good), 0);
    assert_eq!(count("0001x.md", good), 1);
    assert_eq!(count("0001-x.txt", good), 1);
    assert_eq!(count("0002-x.md", good), 1);
    assert_eq!(count("0001-x.md", &good.replace("## Why", "## Because")), 1);
    assert_eq!(count("0001-x.md", &good.replace("## Why\n\n", "")), 1);
}
