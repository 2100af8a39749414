//! The payloads of the fakes have the fields that recorded ones have, with values of the same kinds.

use std::path::Path;

use gristmill_testkit::FakeForge;
use gristmill_testkit::forge::{Delivery, Family};
use gristmill_testkit::repo::Changes;
use serde_json::Value;

use crate::api::NAME;

/// Names the folder with the recorded payloads.
const FOLDER_VARIABLE: &str = "GRISTMILL_PAYLOADS";

/// What there is only for hooks of apps, and only for projects of persons.
const BESIDE: &[&str] = &["hook.app_id is missing", "project.owner is missing"];

/// Where ours lacks a field of the recorded one, or has a value of another kind. `null` is of every kind.
fn differences(recorded: &Value, ours: &Value, at: &str, found: &mut Vec<String>) {
    match (recorded, ours) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(fields), Value::Object(own)) => {
            for (name, value) in fields {
                match own.get(name) {
                    Some(own) => differences(value, own, &format!("{at}.{name}"), found),
                    None => found.push(format!("{at}.{name} is missing")),
                }
            }
        }
        (Value::Array(items), Value::Array(own)) => {
            if let (Some(item), Some(own)) = (items.first(), own.first()) {
                differences(item, own, &format!("{at}[]"), found);
            }
        }
        (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_)) => {}
        _ => found.push(format!("{at} is of another kind: {ours}")),
    }
}

/// What one push that makes a branch sends, another that moves it, and one that removes it.
fn pushes(forge: &FakeForge) -> [Vec<Delivery>; 4] {
    let repo = forge.create(NAME, "hush");
    let one = repo.commit_unreferenced(&[], &Changes::new().file("a", "1"));
    let two = repo.commit_unreferenced(std::slice::from_ref(&one), &Changes::new().file("b", "1"));
    let made = forge.push(NAME, "refs/heads/main", Some(&one));
    let moved = forge.push(NAME, "refs/heads/main", Some(&two));
    let tagged = forge.push(NAME, "refs/tags/v1", Some(&one));
    let gone = forge.push(NAME, "refs/heads/main", None);
    [made, moved, tagged, gone]
}

#[test]
fn the_fields_are_those_of_recorded_payloads() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else {
        let why = format!("{FOLDER_VARIABLE} names no folder with recorded payloads");
        gristmill_testkit::skip("the_fields_are_those_of_recorded_payloads", &why);
        return;
    };
    let mut found = Vec::new();
    let mut compare = |file: &str, deliveries: &[Delivery], event: &str| {
        let path = Path::new(&folder).join(file);
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let recorded: Value = serde_json::from_slice(&text).expect("JSON");
        let ours = deliveries.iter().find(|delivery| delivery.event == event);
        let ours = ours.unwrap_or_else(|| panic!("no {event} for {file}"));
        let ours: Value = serde_json::from_slice(&ours.body).expect("JSON");
        differences(&recorded, &ours, file, &mut found);
    };
    for (family, folder) in [(Family::Gitea, "gitea"), (Family::Gogs, "gogs"), (Family::Github, "github")] {
        let forge = FakeForge::start(family);
        let [made, moved, _, gone] = pushes(&forge);
        let ending = if family == Family::Github { ".json" } else { "-event.json" };
        compare(&format!("{folder}/push{ending}"), &moved, "push");
        compare(&format!("{folder}/create{ending}"), &made, "create");
        compare(&format!("{folder}/delete{ending}"), &gone, "delete");
        let release = forge.release(NAME, "v1", "published");
        compare(&format!("{folder}/release{ending}"), &[release], "release");
    }
    let forge = FakeForge::start(Family::Github);
    forge.create(NAME, "hush");
    compare("github/ping.json", &[forge.ping(NAME)], "ping");
    let forge = FakeForge::start(Family::Gitlab);
    let [_, moved, tagged, _] = pushes(&forge);
    compare("gitlab/push-event.json", &moved, "Push Hook");
    compare("gitlab/tag-event.json", &tagged, "Tag Push Hook");
    compare("gitlab/release-event.json", &[forge.release(NAME, "v1", "create")], "Release Hook");
    for (family, file, event) in [
        (Family::Bitbucket, "bitbucket/repo-push.json", "repo:push"),
        (Family::BitbucketServer, "bitbucket-server/repo-refs-changed.json", "repo:refs_changed"),
        (Family::AzureDevops, "azuredevops/git.push.json", "git.push"),
    ] {
        compare(file, &pushes(&FakeForge::start(family))[1], event);
    }
    found.retain(|one| !BESIDE.iter().any(|beside| one.ends_with(beside)));
    assert_eq!(found, Vec::<String>::new());
}
