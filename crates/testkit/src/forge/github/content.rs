//! GitHub's refs, commits and downloads: <https://docs.github.com/en/rest/git>, `/branches`, `/commits`,
//! `/repos/contents`.

use serde_json::{Value, json};

use super::super::delivery::uuid;
use super::super::facts::{Commit, RefLine, refs, short_ref};
use super::super::family::About;
use super::super::http::{Answer, Call};
use super::super::state::Repository;
use super::super::{Inner, archive};
use super::failed;
use super::routes::paged;

/// What lets anybody with the address download from a private repository, for a while.
fn download_token(forge: &Inner, repository: &Repository) -> String {
    uuid(&format!("download {} of {}", repository.id, forge.doors.downloads)).replace('-', "").to_uppercase()
}

pub(super) fn redirect(forge: &Inner, repository: &Repository, kind: &str, name: &[&str]) -> Answer {
    let asked = if name.is_empty() { "HEAD".to_owned() } else { name.join("/") };
    if Commit::find(&repository.repo, &asked).is_none() {
        return failed(404, "Not Found");
    }
    let format = if kind == "zipball" { "legacy.zip" } else { "legacy.tar.gz" };
    let door = forge.doors.downloads;
    let mut location = format!("http://{door}/{}/{format}/{asked}", repository.full_name);
    if forge.state().is_private {
        location.push_str(&format!("?token={}", download_token(forge, repository)));
    }
    Answer::redirect(302, location)
}

/// The server of the downloads: it knows no tokens but those in its addresses.
pub(super) fn codeload(forge: &Inner, call: &Call) -> Answer {
    let (method, parts) = call.route();
    let ("GET" | "HEAD", [owner, name, format @ ("legacy.zip" | "legacy.tar.gz"), asked @ ..]) =
        (method, parts.as_slice())
    else {
        return Answer::text(404, "404: Not Found");
    };
    let repository = forge.state().repositories.get(&format!("{owner}/{name}")).cloned();
    let Some(repository) = repository else { return Answer::text(404, "404: Not Found") };
    let is_private = forge.state().is_private;
    if is_private && call.query("token") != Some(download_token(forge, &repository).as_str()) {
        return Answer::text(404, "404: Not Found");
    }
    let Some(commit) = Commit::find(&repository.repo, &asked.join("/")) else {
        return Answer::text(404, "404: Not Found");
    };
    let folder = format!("{owner}-{name}-{}", &commit.id[..7]);
    let ending = format.trim_start_matches("legacy.");
    archive::answer(&repository.repo, &commit.id, ending, &folder, &format!("{folder}.{ending}"))
}

pub(super) fn read(call: &Call, repository: &Repository, about: &About, parts: &[&str]) -> Answer {
    let repo = &repository.repo;
    let api = format!("{}/repos/{}", about.api, about.full_name);
    let at = |id: &str| json!({ "sha": id, "url": format!("{api}/commits/{id}") });
    let git_ref = |line: &RefLine| {
        let object = json!({ "sha": line.object, "type": line.kind, "url": format!("{api}/git/{}s/{}", line.kind, line.object) });
        json!({ "ref": line.name, "node_id": "", "url": format!("{api}/git/{}", line.name), "object": object })
    };
    let found =
        |value: Option<Value>| value.map_or(failed(404, "Not Found"), |value| Answer::json(200, &value));
    match parts {
        ["branches"] => {
            let all = refs(repo, "refs/heads/").into_iter();
            let shown = |line: RefLine| json!({ "name": short_ref(&line.name), "commit": at(&line.commit), "protected": false });
            paged(call, all.map(shown).collect())
        }
        ["branches", name @ ..] => {
            let name = name.join("/");
            let commit = Commit::find(repo, &format!("refs/heads/{name}"));
            found(commit.map(
                |commit| json!({ "name": name, "commit": commit_json(&api, &commit), "protected": false }),
            ))
        }
        ["tags"] => {
            let all = refs(repo, "refs/tags/").into_iter();
            let shown = |line: RefLine| json!({ "name": short_ref(&line.name), "commit": at(&line.commit), "zipball_url": format!("{api}/zipball/{}", line.name), "tarball_url": format!("{api}/tarball/{}", line.name), "node_id": "" });
            paged(call, all.map(shown).collect())
        }
        ["git", "matching-refs", name @ ..] => {
            let prefix = format!("refs/{}", name.join("/"));
            let all = refs(repo, "refs/");
            paged(call, all.iter().filter(|line| line.name.starts_with(&prefix)).map(git_ref).collect())
        }
        ["git", "ref", name @ ..] => {
            let wanted = format!("refs/{}", name.join("/"));
            found(refs(repo, &wanted).iter().find(|line| line.name == wanted).map(git_ref))
        }
        ["git", "commits", id] => found(Commit::find(repo, id).map(|commit| {
            json!({
                "sha": commit.id,
                "tree": { "sha": commit.tree, "url": format!("{api}/git/trees/{}", commit.tree) },
                "parents": commit.parents.iter().map(|id| at(id)).collect::<Vec<_>>(),
                "message": commit.message,
            })
        })),
        ["commits", name @ ..] if !name.is_empty() => match Commit::find(repo, &name.join("/")) {
            Some(commit) => Answer::json(200, &commit_json(&api, &commit)),
            None => failed(422, &format!("No commit found for SHA: {}", name.join("/"))),
        },
        _ => failed(404, "Not Found"),
    }
}

fn commit_json(api: &str, commit: &Commit) -> Value {
    let person =
        |(name, email): &(String, String)| json!({ "name": name, "email": email, "date": commit.time });
    json!({
        "sha": commit.id,
        "commit": {
            "author": person(&commit.author),
            "committer": person(&commit.committer),
            "message": commit.message,
            "tree": { "sha": commit.tree, "url": format!("{api}/git/trees/{}", commit.tree) },
        },
        "parents": commit.parents.iter().map(|id| json!({ "sha": id })).collect::<Vec<_>>(),
        "url": format!("{api}/commits/{}", commit.id),
    })
}
