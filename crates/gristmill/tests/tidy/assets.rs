//! `docs/assets.md`, `docs/migrating/s3-asset-manager.md` and the help of `gristmill asset`: what they name exists, nothing
//! is left out, and who reads them needs to know nothing of a server.

use std::collections::BTreeSet;

use crate::migrating::{Row, quoted, rows};
use crate::{assert_none, read, texts};

const PAGE: &str = "docs/migrating/s3-asset-manager.md";

/// Everything that s3-asset-manager lets be set, and all by which it is called or read.
const ORIGINAL: [&str; 16] = [
    "PACKAGE_ASSETS_BUCKET",
    "GIT_REPO_PATH",
    "PACKAGE_DIRECTORY",
    "CODE_HASH_FIND_FILTER",
    "AWS_ROLE",
    "AWS_DEFAULT_REGION",
    "check",
    "upload",
    ".found",
    ".commit-hash",
    ".code-hash",
    "artifacts/<commit>/<file>",
    "cache/<code-hash>/<file>",
    "commit-hash",
    "package-hash",
    "code-hash",
];

/// What is of the server, and has no place where there is none.
const OF_THE_SERVER: [&str; 10] = [
    "webhook",
    "gristmill serve",
    "gristmill.toml",
    "delivery",
    "deliveries",
    "worker",
    "[[project]]",
    "database",
    "--config",
    "--log",
];

/// The sources in which a name must stand to mean something: the command line's and those of assets.
fn sources() -> String {
    let is_source = |path: &str| {
        path.starts_with("crates/gristmill/src/assets/")
            || path.starts_with("crates/gristmill/src/cli/asset")
            || path == "crates/model/src/asset.rs"
    };
    texts().into_iter().filter(|text| is_source(&text.path)).map(|text| text.content).collect()
}

fn exists(name: &str, sources: &str) -> bool {
    if let Some(words) = name.strip_prefix("gristmill ") {
        let mut command = gristmill::cli::command();
        return words.split(' ').all(|word| {
            let found = command.find_subcommand(word).cloned();
            found.map(|found| command = found).is_some()
        });
    }
    // Of a key that part is looked for that is the same for all.
    let name = name.split(['<', '=']).next().unwrap_or(name);
    let name = name.strip_prefix("--").unwrap_or(name).trim_end_matches('/');
    let field = name.replace('-', "_");
    !name.is_empty()
        && (sources.contains(&format!("\"{name}"))
            || sources.contains(&format!("{{}}{name}"))
            || sources.contains(&format!(" {field}: ")))
}

fn broken(rows: &[Row], sources: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for row in rows {
        if row.here == "dropped" && row.why.is_empty() {
            complaints.push(format!("{} is dropped without a reason", row.there));
        }
        let names = quoted(&row.here).chain(quoted(&row.why).filter(|name| name.starts_with("--")));
        let missing = names.filter(|name| !exists(name, sources));
        complaints.extend(missing.map(|name| format!("`{name}`, for {}, is not there", row.there)));
    }
    complaints
}

#[test]
fn what_the_page_for_s3_asset_manager_names_exists() {
    let rows = rows(&read(PAGE));
    assert!(rows.len() >= 20, "{} rows were read", rows.len());
    assert_none(&broken(&rows, &sources()));
}

#[test]
fn the_page_for_s3_asset_manager_leaves_nothing_out() {
    let rows = rows(&read(PAGE));
    let told: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(&row.there)).collect();
    let missing = ORIGINAL.iter().filter(|name| !told.contains(**name));
    assert_none(&missing.map(|name| format!("`{name}` is not told")).collect::<Vec<_>>());
}

#[test]
fn each_number_has_a_test_that_bears_it() {
    let page = read(PAGE);
    let numbers = page.lines().filter_map(|line| line.split_once(". ")?.0.parse::<u32>().ok());
    let (_, list) = page.split_once("## Wrong there, right here").unwrap();
    let tests = read("crates/gristmill/tests/assets/right_here.rs");
    let count = list
        .lines()
        .filter(|line| line.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok()))
        .count();
    assert_eq!(count, 12);
    let missing = numbers.filter(|number| !tests.contains(&format!("fn number_{number}_")));
    assert_none(&missing.map(|number| format!("{number}. has no test")).collect::<Vec<_>>());
}

#[test]
fn every_variable_and_option_of_assets_is_documented() {
    let document = read("docs/assets.md");
    let asset = gristmill::cli::command().find_subcommand("asset").unwrap().clone();
    let mut missing = Vec::new();
    for command in asset.get_subcommands() {
        for argument in command.get_arguments() {
            let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            if let Some(name) = variable.filter(|name| !document.contains(&format!("`{name}`"))) {
                missing.push(format!("{name} is not told"));
            }
            let option = argument.get_long().filter(|_| argument.get_env().is_none());
            if let Some(name) = option.filter(|name| !document.contains(&format!("--{name}"))) {
                missing.push(format!("--{name} is not told"));
            }
        }
    }
    assert_none(&missing);
}

fn of_the_server(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    OF_THE_SERVER.iter().filter(|word| text.contains(**word)).map(|word| format!("`{word}`")).collect()
}

#[test]
fn who_reads_of_assets_reads_of_no_server() {
    assert_none(&of_the_server(&read("docs/assets.md")));
    assert_none(&of_the_server(&read(PAGE)));
    let mut all = gristmill::cli::command();
    // As it is when somebody asks for help: with the options of all commands.
    all.build();
    let asset = all.find_subcommand_mut("asset").unwrap();
    assert_none(&of_the_server(&asset.render_long_help().to_string().replace("without a server", "")));
    for name in ["check", "upload", "get", "list", "gc", "resource"] {
        let help = asset.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        assert!(help.len() > 200 && help.contains("--json"), "{help}");
        assert_none(&of_the_server(&help));
    }
    assert_eq!(of_the_server("Webhooks are a Database."), ["`webhook`", "`database`"]);
}

#[test]
fn promises_that_are_not_kept_are_found() {
    let page = "| there | here | why |\n|---|---|---|\n\
        | `a` | `PACKAGE_BASKET` | |\n| `b` | dropped | |\n| `c` | `gristmill asset sell` | |\n\
        | `d` | `treasures/<x>` | |\n| `e` | `.found` | with `--no-such-thing` |\n| `f` | `cache/<x>` | `--force` |\n";
    let found = broken(&rows(page), &sources());
    assert_eq!(found.len(), 5, "{found:#?}");
}
