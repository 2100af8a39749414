//! Which crate may know which, and what each manifest must say.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::{assert_none, paths, read};

/// What one of our crates may depend on.
struct Rule {
    name: &'static str,
    /// In the program.
    normal: &'static [&'static str],
    /// In its tests.
    dev: &'static [&'static str],
}

/// `model` knows nobody, the crates of the middle know `model` and never one another, the program knows
/// all of them. `archive` and `outgoing` are libraries of their own and do not even know `model`. What only tests need is
/// never in the program.
const RULES: &[Rule] = &[
    Rule { name: "gristmill-model", normal: &[], dev: &[TESTKIT] },
    Rule { name: "gristmill-archive", normal: &[], dev: &[TESTKIT] },
    Rule { name: "gristmill-forge", normal: &[MODEL], dev: &[TESTKIT] },
    Rule { name: "gristmill-git", normal: &[MODEL], dev: &[TESTKIT] },
    Rule { name: "gristmill-db", normal: &[MODEL], dev: &[TESTKIT] },
    Rule { name: "gristmill-storage", normal: &[MODEL], dev: &[TESTKIT] },
    Rule { name: "gristmill-outgoing", normal: &[], dev: &[TESTKIT] },
    Rule {
        name: "gristmill",
        normal: &[
            MODEL,
            "gristmill-archive",
            "gristmill-db",
            "gristmill-forge",
            "gristmill-git",
            "gristmill-outgoing",
            "gristmill-storage",
        ],
        dev: &[TESTKIT, "gristmill-lossfs"],
    },
    Rule { name: TESTKIT, normal: &[MODEL], dev: &[] },
    Rule { name: "gristmill-lossfs", normal: &[], dev: &[TESTKIT] },
    // Measures the program beside others, and parts of it by themselves. Nobody knows it.
    Rule {
        name: "gristmill-bench",
        normal: &[
            "gristmill",
            MODEL,
            "gristmill-archive",
            "gristmill-db",
            "gristmill-forge",
            "gristmill-git",
            "gristmill-storage",
            TESTKIT,
        ],
        dev: &[],
    },
];

const MODEL: &str = "gristmill-model";
const TESTKIT: &str = "gristmill-testkit";

/// The manifests of the workspace's members. The fuzz targets are workspaces of their own.
fn manifests() -> Vec<(String, Table)> {
    let member = |path: &String| {
        let parts: Vec<&str> = path.split('/').collect();
        matches!(parts.as_slice(), ["crates", _, "Cargo.toml"] | ["bench", "Cargo.toml"])
    };
    let parse = |path: String| {
        let table = read(&path).parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        (path, table)
    };
    paths().into_iter().filter(member).map(parse).collect()
}

/// The tables of dependencies in a manifest, those for single platforms too, and whether they are for
/// tests only.
fn dependency_tables(manifest: &Table) -> Vec<(bool, &Table)> {
    let mut places = vec![manifest];
    if let Some(Value::Table(targets)) = manifest.get("target") {
        places.extend(targets.values().filter_map(Value::as_table));
    }
    let mut tables = Vec::new();
    for place in places {
        for (name, is_dev) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            tables.extend(place.get(name).and_then(Value::as_table).map(|table| (is_dev, table)));
        }
    }
    tables
}

/// The package behind a dependency, which may have been given another name. `shared` are the
/// dependencies of the workspace.
fn package<'a>(name: &'a str, value: &'a Value, shared: &'a Table) -> &'a str {
    let renamed = |value: &'a Value| value.get("package").and_then(Value::as_str);
    let inherited = || shared.get(name).and_then(renamed);
    renamed(value).or_else(inherited).unwrap_or(name)
}

fn forbidden_edges(manifest: &Table, shared: &Table, rules: &[Rule]) -> Vec<String> {
    let name = manifest["package"]["name"].as_str().unwrap();
    let Some(rule) = rules.iter().find(|rule| rule.name == name) else {
        return vec![format!(
            "{name} is new: say in RULES whom it may know, and in docs/decisions/0001 why it is"
        )];
    };
    let mut complaints = Vec::new();
    for (is_dev, table) in dependency_tables(manifest) {
        for (key, value) in table {
            let other = package(key, value, shared);
            let is_ours = other == "gristmill" || other.starts_with("gristmill-");
            let allowed = rule.normal.contains(&other) || (is_dev && rule.dev.contains(&other));
            if is_ours && !allowed {
                let how = if is_dev { "even in its tests" } else { "" };
                complaints.push(format!("{name} may not know {other} {how}").trim_end().to_owned());
            }
        }
    }
    complaints
}

fn workspace() -> Table {
    let root: Table = read("Cargo.toml").parse().unwrap();
    root["workspace"].as_table().unwrap().clone()
}

#[test]
fn crates_know_only_whom_they_may() {
    let workspace = workspace();
    let shared = workspace["dependencies"].as_table().unwrap();
    let manifests = manifests();
    assert_none(
        &manifests
            .iter()
            .flat_map(|(_, manifest)| forbidden_edges(manifest, shared, RULES))
            .collect::<Vec<_>>(),
    );
    let names: Vec<&str> =
        manifests.iter().filter_map(|(_, manifest)| manifest["package"]["name"].as_str()).collect();
    for rule in RULES {
        assert!(names.contains(&rule.name), "RULES speaks of {}, which is not there", rule.name);
    }
}

#[test]
fn forbidden_edges_are_found_wherever_they_are_written() {
    let shared: Table = "disguise = { path = \"x\", package = \"gristmill-db\" }".parse().unwrap();
    let complaints = |name: &str, lines: &str| {
        let manifest = format!("[package]\nname = \"{name}\"\n{lines}\n").parse().unwrap();
        forbidden_edges(&manifest, &shared, RULES)
    };
    let none: [String; 0] = [];
    for (name, lines) in [
        ("gristmill-git", "[dependencies]\ngristmill-model.workspace = true\nserde = \"1\""),
        ("gristmill-git", "[dev-dependencies]\ngristmill-testkit.workspace = true"),
        ("gristmill", "[dependencies]\ngristmill-git.workspace = true\ngristmill-archive.workspace = true"),
    ] {
        assert_eq!(complaints(name, lines), none, "{name} {lines}");
    }
    for (name, lines, other) in [
        ("gristmill-git", "[dependencies]\ngristmill-db.workspace = true", "gristmill-db"),
        ("gristmill-git", "[dependencies]\ngristmill-testkit.workspace = true", "gristmill-testkit"),
        ("gristmill-git", "[build-dependencies]\ngristmill-storage = { path = \"x\" }", "gristmill-storage"),
        ("gristmill-db", "[target.'cfg(unix)'.dependencies]\ngristmill-git = \"1\"", "gristmill-git"),
        ("gristmill-forge", "[dependencies]\nother = { path = \"x\", package = \"gristmill\" }", "gristmill"),
        ("gristmill-storage", "[dependencies]\ndisguise.workspace = true", "gristmill-db"),
        ("gristmill-archive", "[dependencies]\ngristmill-model.workspace = true", "gristmill-model"),
        ("gristmill", "[dependencies]\ngristmill-lossfs = { path = \"x\" }", "gristmill-lossfs"),
    ] {
        assert_eq!(complaints(name, lines), [format!("{name} may not know {other}")], "{lines}");
    }
    let in_tests = complaints("gristmill-git", "[dev-dependencies]\ngristmill-db.workspace = true");
    assert_eq!(in_tests, ["gristmill-git may not know gristmill-db even in its tests"]);
    assert_eq!(complaints("gristmill-new", "").len(), 1);
}

#[test]
fn libraries_do_not_know_what_the_program_decides() {
    // What reads the environment, prints or sets logging up is the program's: a library with one of
    // these would decide for its callers.
    let not_in_libraries = ["clap", "anyhow", "tracing-subscriber", "axum"];
    let libraries = ["model", "archive", "forge", "git", "db", "outgoing", "storage"];
    let mut complaints = Vec::new();
    for (path, manifest) in manifests() {
        let of = |library: &&str| path == format!("crates/{library}/Cargo.toml");
        if !libraries.iter().any(of) {
            continue;
        }
        let normal = dependency_tables(&manifest).into_iter().filter(|(is_dev, _)| !is_dev);
        for name in normal.flat_map(|(_, table)| table.keys()) {
            if not_in_libraries.contains(&name.as_str()) {
                complaints.push(format!("{path} depends on {name}"));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn manifests_inherit_lints_licence_and_versions() {
    let mut complaints = Vec::new();
    for (path, manifest) in manifests() {
        let inherits = |value: Option<&Value>| {
            value.and_then(|value| value.get("workspace")) == Some(&Value::Boolean(true))
        };
        if !inherits(manifest.get("lints")) {
            complaints.push(format!("{path} has no `[lints] workspace = true`"));
        }
        let package = &manifest["package"];
        for key in ["version", "edition", "rust-version", "license"] {
            if !inherits(package.get(key)) {
                complaints.push(format!("{path} has no `{key}.workspace = true`"));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn shared_dependencies_are_used() {
    let workspace = workspace();
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    for (_, manifest) in manifests() {
        for name in dependency_tables(&manifest).iter().flat_map(|(_, table)| table.keys()) {
            *used.entry(name.clone()).or_default() += 1;
        }
    }
    let unused: Vec<String> = workspace["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .filter(|name| !used.contains_key(*name))
        .map(|name| format!("{name} stands in [workspace.dependencies], but no crate uses it"))
        .collect();
    assert_none(&unused);
}
