//! `docs/migrating`: what the pages promise to those who come from another system exists here.

use std::collections::BTreeSet;

use gristmill::http::hook::OLD_ADDRESSES;
use gristmill_model::KeyTemplate;
use gristmill_model::key::KEY_PRESETS;

use crate::{Text, assert_none, read, settings, texts};

/// Everything that git2s3's templates of 2017 and of 2020 let be set, and all that they told.
const GIT2S3: [&str; 25] = [
    "AllowedIps",
    "ApiSecret",
    "CustomDomainName",
    "CustomDomainNameCNAME",
    "ExcludeGit",
    "GitPullWebHookApi",
    "GitToken",
    "OauthKey",
    "OauthSecret",
    "OutputBucketName",
    "PublicSSHKey",
    "QSS3BucketName",
    "QSS3BucketRegion",
    "QSS3KeyPrefix",
    "ScmHostnameOverride",
    "SubnetIds",
    "VPCCidrRange",
    "VPCId",
    "X-Git-Token",
    "X-Gitlab-Token",
    "X-Hub-Signature",
    "ZipDownloadWebHookApi",
    "/Prod/gitpull",
    "/gitpull",
    "/zipdl",
];

/// A row of a table of three columns: what was there, what is here, why.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) there: String,
    pub(crate) here: String,
    pub(crate) why: String,
}

/// The rows of all tables that have these three columns.
pub(crate) fn rows(markdown: &str) -> Vec<Row> {
    let mut found = Vec::new();
    let mut is_table = false;
    for line in markdown.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells[..] {
            ["there", "here", "why"] => is_table = true,
            [there, here, why] if is_table && line.starts_with('|') => {
                if !there.starts_with("---") {
                    found.push(Row { there: there.into(), here: here.into(), why: why.into() });
                }
            }
            _ => is_table = false,
        }
    }
    found
}

/// What stands between backticks.
pub(crate) fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// `table.key` → whether there is such a setting; `None` where it is none of that form.
fn is_setting(name: &str) -> Option<bool> {
    let (table, key) = name.split_once('.')?;
    let table = match table {
        "project" => "[[project]]".to_owned(),
        "pipeline" => "[[project.pipeline]]".to_owned(),
        "server" | "storage" | "database" | "worker" | "network" => format!("[{table}]"),
        _ => return None,
    };
    Some(settings::known().get(&table).is_some_and(|keys| keys.contains(key)))
}

/// `gristmill a b` → whether there is such a command.
fn is_command(words: &str) -> bool {
    let mut command = gristmill::cli::command();
    words.split(' ').all(|word| {
        let found = command.find_subcommand(word).cloned();
        found.map(|found| command = found).is_some()
    })
}

/// Whether the library that verifies asks for a header of that name.
fn is_header(name: &str, sources: &[Text]) -> bool {
    let literal = format!("\"{}\"", name.to_lowercase());
    sources.iter().any(|text| text.content.to_lowercase().contains(&literal))
}

/// Whether a name in the middle column means something here.
fn exists(name: &str, sources: &[Text]) -> bool {
    if let Some(is_there) = is_setting(name) {
        return is_there;
    }
    if let Some(words) = name.strip_prefix("gristmill ") {
        return is_command(words);
    }
    if let Some(route) = name.strip_prefix("POST ") {
        return OLD_ADDRESSES.contains(&route);
    }
    if name.starts_with("X-") {
        return is_header(name, sources);
    }
    if name.contains('{') {
        return name.parse::<KeyTemplate>().is_ok();
    }
    KEY_PRESETS.iter().any(|(known, _)| *known == name)
}

/// Parts of a page that are promised and are not there.
fn broken(page: &str, rows: &[Row], sources: &[Text]) -> Vec<String> {
    let mut complaints = Vec::new();
    for row in rows {
        let names: Vec<&str> = quoted(&row.here).collect();
        let is_named = quoted(&row.there).any(|name| GIT2S3.contains(&name));
        if row.here == "dropped" && row.why.is_empty() {
            complaints.push(format!("{page}: {} is dropped without a reason", row.there));
        } else if row.here != "dropped" && is_named && names.is_empty() {
            complaints.push(format!("{page}: {} leads to nothing that could be checked", row.there));
        }
        let missing = names.iter().filter(|name| !exists(name, sources));
        complaints.extend(missing.map(|name| format!("{page}: `{name}`, for {}, is not there", row.there)));
        // The reasons name settings too.
        let settings = quoted(&row.why).filter(|name| is_setting(name) == Some(false));
        complaints.extend(settings.map(|name| format!("{page}: there is no setting `{name}`")));
    }
    complaints
}

fn sources() -> Vec<Text> {
    texts().into_iter().filter(|text| text.path.starts_with("crates/forge/src/")).collect()
}

#[test]
fn what_the_page_for_git2s3_names_exists() {
    let rows = rows(&read("docs/migrating/git2s3.md"));
    assert!(rows.len() > 40, "{} rows were read", rows.len());
    assert_none(&broken("git2s3.md", &rows, &sources()));
}

#[test]
fn the_page_for_git2s3_leaves_nothing_out() {
    let rows = rows(&read("docs/migrating/git2s3.md"));
    let told: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(&row.there)).collect();
    let missing: Vec<String> = GIT2S3
        .iter()
        .filter(|name| !told.contains(**name))
        .map(|name| format!("`{name}` is not told"))
        .collect();
    assert_none(&missing);
}

#[test]
fn promises_that_are_not_kept_are_found() {
    let page = "| there | here | why |\n|---|---|---|\n\
        | `a` | `project.secrets` | |\n| `b` | dropped | |\n| `c` | `gristmill project sell` | |\n\
        | `d` | `POST /gitpush` | |\n| `e` | `git3s3` | `server.lisen` |\n| `VPCId` | something | |\n\
        | `g` | `X-Nobody` | |\n| `h` | `{owner}/{nothing}` | |\n\
        | `i` | `project.secret` | fine |\n\n| other | table |\n|---|---|\n| `x` | `y` |\n";
    let found = broken("page", &rows(page), &sources());
    assert_eq!(found.len(), 9, "{found:#?}");
}
