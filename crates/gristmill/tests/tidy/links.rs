//! Links between documents lead somewhere.

use std::collections::HashMap;

use crate::{Text, assert_none, paths, texts};

/// A Markdown text without what stands in code.
fn prose(markdown: &str) -> String {
    let mut prose = String::new();
    let mut in_code = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            for (at, piece) in line.split('`').enumerate() {
                prose.push_str(if at % 2 == 0 { piece } else { "code" });
            }
        }
        prose.push('\n');
    }
    prose
}

/// The targets of `[text](target)`, with their lines.
fn targets(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(prose(markdown).lines()) {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            found.push((number, target.to_owned()));
        }
    }
    found
}

/// The names under which headings can be linked to, as the forges make them.
fn anchors(markdown: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        if !in_code && line.starts_with('#') {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let heading: String = line.trim_start_matches('#').trim().chars().filter(kept).collect();
            found.push(heading.to_lowercase().replace(' ', "-"));
        }
    }
    found
}

/// `a/b.md` and `../c.md` → `c.md`; `None` where it leads out of the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn broken(documents: &[Text], paths: &[String]) -> Vec<String> {
    let by_path: HashMap<&str, &Text> = documents.iter().map(|text| (text.path.as_str(), text)).collect();
    let is_there = |path: &str| {
        paths.iter().any(|known| known == path || known.starts_with(&format!("{path}/"))) || path.is_empty()
    };
    let mut complaints = Vec::new();
    for text in documents {
        for (line, target) in targets(&text.content) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { Some(text.path.clone()) } else { resolve(&text.path, file) };
            let Some(path) = path.filter(|path| is_there(path)) else {
                complaints.push(format!("{}:{line}: `{target}` leads nowhere", text.path));
                continue;
            };
            let document = by_path.get(path.as_str());
            if !anchor.is_empty()
                && !document.is_some_and(|it| anchors(&it.content).contains(&anchor.to_owned()))
            {
                complaints.push(format!("{}:{line}: `{target}` names no heading", text.path));
            }
        }
    }
    complaints
}

fn documents() -> Vec<Text> {
    texts().into_iter().filter(|text| text.path.ends_with(".md")).collect()
}

#[test]
fn links_lead_somewhere() {
    assert_none(&broken(&documents(), &paths()));
}

#[test]
fn broken_links_are_found() {
    let text = |path: &str, content: &str| Text { path: path.to_owned(), content: content.to_owned() };
    let other = "# Other\n## Two `words`, here\n```\n# no heading\n```\n";
    let broken_in = |content: &str| {
        let documents = [text("docs/a.md", content), text("docs/b.md", other), text("top.md", "")];
        let paths: Vec<String> = documents.iter().map(|text| text.path.clone()).collect();
        broken(&documents, &paths).len()
    };
    for (content, count) in [
        ("[b](b.md) and [top](../top.md), [folder](../docs)", 0),
        ("[b](b.md#other) [b](b.md#two-words-here)", 0),
        ("# Here\n[here](#here)", 0),
        ("[away](https://example.org/x.md) [mail](mailto:x@example.org)", 0),
        ("`[code](nowhere.md)`\n```\n[code](nowhere.md)\n```", 0),
        ("[gone](c.md)", 1),
        ("[top](top.md)", 1),
        ("[out](../../x.md)", 1),
        ("[b](b.md#nothing) [a](#nothing)", 2),
        ("[b](b.md#no-heading)", 1),
        ("[b](b.md) [gone](c.md \"title\")", 1),
    ] {
        assert_eq!(broken_in(content), count, "{content}");
    }
}

/// `docs/decisions/0002` in a comment means a file.
#[test]
fn decisions_that_are_named_are_there() {
    let paths = paths();
    let mut complaints = Vec::new();
    for text in texts() {
        for rest in text.content.split("docs/decisions/").skip(1) {
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let is_there = paths.iter().any(|path| path.starts_with(&format!("docs/decisions/{number}-")));
            if number.len() == 4 && !is_there {
                complaints.push(format!("{} names docs/decisions/{number}, which is not there", text.path));
            }
        }
    }
    assert_none(&complaints);
}
