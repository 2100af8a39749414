//! Real payloads, recorded elsewhere: every one is understood, or ignored with a reason.
//!
//! They are not part of this repository. The folder that `GRISTMILL_PAYLOADS` names holds them; what
//! each of them tells of stands in `recorded.golden`: file, kind, repository, ref, before, after, reason.

use std::collections::BTreeMap;
use std::path::Path;

use gristmill_forge::{Forge, parse_unverified};
use gristmill_model::{Event, EventKind};

const GOLDEN: &str = include_str!("recorded.golden");

/// Makes the event's name of the file's.
type EventOf = fn(&str) -> String;

/// Folders, who sent what is in them, and how the event's name is made of a file's.
const FOLDERS: [(&str, Forge, EventOf); 8] = [
    ("azuredevops", Forge::AzureDevops, str::to_owned),
    ("bitbucket", Forge::Bitbucket, bitbucket),
    ("bitbucket-server", Forge::BitbucketServer, bitbucket_server),
    ("gitea", Forge::Gitea, gitea),
    ("github", Forge::Github, github),
    ("github-examples", Forge::Github, github),
    ("gitlab", Forge::Gitlab, str::to_owned),
    ("gogs", Forge::Gogs, gitea),
];

/// `pull-request.json` and `push--with-organization.payload.json` are named after their events.
fn github(file: &str) -> String {
    file.split("--").next().unwrap_or(file).replace('-', "_")
}

fn gitea(file: &str) -> String {
    file.trim_end_matches("-event").replace('-', "_")
}

fn bitbucket(file: &str) -> String {
    match file.strip_prefix("pull-request-") {
        Some(rest) => format!("pullrequest:{}", rest.replace('-', "_")),
        None => file.replacen('-', ":", 1).replace('-', "_"),
    }
}

/// Only this one matters: the others are ignored by whatever name.
fn bitbucket_server(file: &str) -> String {
    if file == "repo-refs-changed" { "repo:refs_changed".to_owned() } else { file.replace('-', ":") }
}

fn told(name: &str, forge: Forge, event: Option<&str>, body: &[u8]) -> Vec<String> {
    let events = parse_unverified(forge, event, body).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!events.is_empty(), "{name}");
    events.iter().map(|event| line(name, event)).collect()
}

fn line(name: &str, event: &Event) -> String {
    assert_eq!(event.reason.is_some(), event.kind == EventKind::Ignored, "{name}");
    let repository = event
        .repository
        .as_ref()
        .map(|found| format!("{}#{}", found.full_name, found.id.as_deref().unwrap_or("?")));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let (kind, git_ref) =
        (format!("{:?}", event.kind).to_lowercase(), event.git_ref.as_ref().map(ToString::to_string));
    let (before, after) = (event.before.map(|id| id.to_string()), event.after.map(|id| id.to_string()));
    let [repository, git_ref, before, after] = [repository, git_ref, before, after].map(or_none);
    let reason = event.reason.as_ref().map(|reason| format!(" because {reason}")).unwrap_or_default();
    format!("{name} {kind} {repository} {git_ref} {before} {after}{reason}")
}

/// Every `.json` of the folder by its name without that ending.
fn bodies(root: &Path, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let files =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some("json".as_ref()));
    files
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

/// Without the event's name the reason is another one, or none can be given.
fn without_reason(line: &str) -> &str {
    line.split(" because ").next().unwrap_or(line)
}

#[test]
fn recorded_payloads_are_understood() {
    let Some(root) = std::env::var_os("GRISTMILL_PAYLOADS") else {
        println!(
            "skipped: recorded_payloads_are_understood: GRISTMILL_PAYLOADS names no folder with payloads"
        );
        return;
    };
    let (mut named, mut unnamed, mut generic) = (Vec::new(), Vec::new(), Vec::new());
    for (folder, forge, event_of) in FOLDERS {
        for (file, body) in bodies(Path::new(&root), folder) {
            let name = format!("{folder}/{file}");
            named.extend(told(&name, forge, Some(&event_of(&file)), &body));
            unnamed.extend(told(&name, forge, None, &body));
            generic.extend(told(&name, Forge::Generic, None, &body));
        }
    }
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(named, golden, "with the event's name");
    // This one's body has nothing that tells it from the opposite. The remote is looked at for both.
    let unclear = "gogs/delete-event ignored user/repo#? refs/heads/obsolete-branch - -";
    let expected: Vec<&str> = golden
        .iter()
        .map(|line| if line.starts_with("gogs/delete-event ") { unclear } else { without_reason(line) })
        .collect();
    for (how, found) in [("without the event's name", unnamed), ("without the forge's name", generic)] {
        let found: Vec<&str> = found.iter().map(|line| without_reason(line)).collect();
        assert_eq!(found, expected, "{how}");
    }
}
