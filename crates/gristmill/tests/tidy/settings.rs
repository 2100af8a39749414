//! `docs/configure.md` tells every setting that the program knows, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gristmill::config::{Config, Surroundings};

use crate::read;

/// A configuration with an unknown key in each table: the complaints list the known ones.
const ASKING: &str = r#"
unknown = 1
[server]
unknown = 1
[database]
unknown = 1
[storage]
unknown = 1
[worker]
unknown = 1
[network]
unknown = 1
[[project]]
unknown = 1
secret = { unknown = 1 }
[[project.pipeline]]
unknown = 1
keep = { unknown = 1 }
"#;

fn surroundings(folder: &Path) -> Surroundings {
    let mut around = Surroundings::new(folder.to_owned(), |_| Some("a-value".to_owned()));
    around.system_file = folder.join("none");
    around
}

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gristmill.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), &surroundings(folder.path())).map_err(|errors| errors.to_string())
}

/// The keys that the program knows, by table.
pub(crate) fn known() -> BTreeMap<String, BTreeSet<String>> {
    let complaints = load(ASKING).expect_err("unknown keys are errors");
    let mut known = BTreeMap::new();
    for line in complaints.lines() {
        let Some((start, keys)) = line.split_once(" Known keys: ") else { continue };
        let (_, table) = start.split_once("unknown key `unknown` in ").unwrap();
        let table = table.split("; did you mean").next().unwrap().trim_end_matches('.');
        known.insert(table.to_owned(), keys.split(", ").map(str::to_owned).collect());
    }
    known
}

/// The keys of the document's tables: the first cells of the rows, by the heading above.
fn documented(markdown: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut heading = String::new();
    for line in markdown.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            text.trim_matches('`').clone_into(&mut heading);
        }
        if let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            found.entry(heading.clone()).or_default().insert(key.to_owned());
        }
    }
    found
}

#[test]
fn every_setting_is_documented_and_no_other() {
    let known = known();
    assert_eq!(known.len(), 10, "{:?}", known.keys());
    let documented = documented(&read("docs/configure.md"));
    for (table, mut keys) in known {
        if table == "the file" {
            // The tables themselves have headings of their own.
            for name in ["server", "database", "storage", "worker", "network", "project"] {
                assert!(keys.remove(name), "{name}");
            }
        }
        if table == "[[project]]" {
            assert!(keys.remove("pipeline"));
        }
        assert_eq!(documented.get(&table).cloned().unwrap_or_default(), keys, "under `## {table}`");
    }
}

#[test]
fn examples_in_the_documents_are_taken() {
    let mut examples = 0;
    for document in ["docs/configure.md", "docs/install.md"] {
        for block in read(document).split("```toml\n").skip(1) {
            let example = block.split("```").next().unwrap();
            examples += 1;
            match load(example) {
                Ok(config) => assert!(config.warnings.is_empty(), "{document}: {:?}", config.warnings),
                Err(errors) => panic!("{document}: {errors}\n{example}"),
            }
        }
    }
    assert!(examples >= 2, "{examples}");
}
