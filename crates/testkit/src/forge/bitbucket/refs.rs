//! Bitbucket Cloud's refs, commits and downloads.

use serde_json::{Value, json};

use super::super::facts::{Commit, RefLine, refs, short_ref};
use super::super::family::About;
use super::super::http::{Answer, Call};
use super::super::state::{Grant, Repository};
use super::super::{Inner, archive};
use super::routes::paged;
use super::{failed, payload};

pub(super) fn answer(call: &Call, repository: &Repository, about: &About, parts: &[&str]) -> Answer {
    let repo = &repository.repo;
    let shown = |line: &RefLine| {
        let kind = if line.name.starts_with("refs/tags/") { "tag" } else { "branch" };
        let target = Commit::find(repo, &line.commit).map(|commit| payload::commit(about, &commit));
        json!({ "type": kind, "name": short_ref(&line.name), "target": target })
    };
    let list = |prefix: &str| -> Vec<Value> { refs(repo, prefix).iter().map(shown).collect() };
    match parts {
        ["refs"] => paged(call, [list("refs/heads/"), list("refs/tags/")].concat()),
        ["refs", "branches"] => paged(call, list("refs/heads/")),
        ["refs", "tags"] => paged(call, list("refs/tags/")),
        ["refs", kind @ ("branches" | "tags"), name @ ..] => {
            let folder = if *kind == "tags" { "tags" } else { "heads" };
            let wanted = format!("refs/{folder}/{}", name.join("/"));
            match refs(repo, &wanted).iter().find(|line| line.name == wanted) {
                Some(line) => Answer::json(200, &shown(line)),
                None => failed(404, "No such branch or tag"),
            }
        }
        // It tells no trees of commits.
        ["commit", name] => match Commit::find(repo, name) {
            Some(commit) => Answer::json(200, &payload::commit(about, &commit)),
            None => failed(404, &format!("Commit not found: {name}")),
        },
        _ => failed(404, "Resource not found"),
    }
}

/// `/acme/shop/get/<ref>.zip` among the pages.
pub(super) fn download(forge: &Inner, call: &Call) -> Answer {
    let (_, parts) = call.route();
    let [workspace, slug, "get", file @ ..] = parts.as_slice() else { return failed(404, "Not found") };
    let repository = match forge.admit_call(call, &format!("{workspace}/{slug}"), Grant::Read) {
        Ok(repository) => repository,
        Err(answer) => return answer,
    };
    let file = file.join("/");
    let found = archive::split_format(&file)
        .and_then(|(name, format)| Some((Commit::find(&repository.repo, name)?, format)));
    let Some((commit, format)) = found else { return failed(404, "Not found") };
    let folder = format!("{workspace}-{slug}-{}", &commit.id[..12]);
    archive::answer(&repository.repo, &commit.id, format, &folder, &format!("{folder}.{format}"))
}
