//! Real payloads, recorded elsewhere: every one is understood, or ignored with a reason.
//!
//! They are not part of this repository. The folder that `GRISTMILL_PAYLOADS` names holds them.

use std::collections::BTreeMap;
use std::path::Path;

use gristmill_forge::{Forge, parse_unverified};
use gristmill_model::EventKind;

/// File, kind, repository, ref, before, after.
const GOLDEN: &str = "\
github-examples/create--payload ignored Codertocat/Hello-World#186853002 refs/tags/simple-tag - -
github-examples/create--with-description.payload ignored Codertocat/Hello-World#186853002 refs/tags/simple-tag - -
github-examples/create--with-installation.payload ignored Codertocat/Hello-World#186853002 refs/tags/simple-tag - -
github-examples/create--with-organization.payload ignored Codertocat/Hello-World#186853002 refs/tags/simple-tag - -
github-examples/delete--payload delete Codertocat/Hello-World#186853002 refs/tags/simple-tag - -
github-examples/delete--with-installation.payload delete Codertocat/Hello-World#186853002 refs/tags/simple-tag - -
github-examples/delete--with-organization.payload delete Codertocat/Hello-World#186853002 refs/tags/simple-tag - -
github-examples/ping--payload ping Octocoders/Hello-World#186853261 - - -
github-examples/ping--with-app_id.payload ping Octocoders/Hello-World#186853261 - - -
github-examples/ping--with-organization.payload ping - - - -
github-examples/push--1.payload delete Codertocat/Hello-World#186853002 refs/tags/simple-tag 6113728f27ae82c7b1a177c8d03f9e96e0adf246 -
github-examples/push--payload delete Codertocat/Hello-World#186853002 refs/tags/simple-tag 6113728f27ae82c7b1a177c8d03f9e96e0adf246 -
github-examples/push--with-installation.payload delete Codertocat/Hello-World#186853002 refs/tags/simple-tag 6113728f27ae82c7b1a177c8d03f9e96e0adf246 -
github-examples/push--with-new-branch.payload push Codertocat/Hello-World#186853002 refs/heads/master - 6113728f27ae82c7b1a177c8d03f9e96e0adf246
github-examples/push--with-no-username-committer.payload push Codertocat/Hello-World#186853002 refs/heads/master - 6113728f27ae82c7b1a177c8d03f9e96e0adf246
github-examples/push--with-organization.payload delete Codertocat/Hello-World#186853002 refs/tags/simple-tag 6113728f27ae82c7b1a177c8d03f9e96e0adf246 -
github-examples/release--created.payload ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--created.with-discussion-url.payload ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--created.with-installation.payload ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--deleted.payload ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--deleted.with-reactions.payload ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--edited.payload ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--edited.with-reactions.payload ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--prereleased.payload ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--prereleased.with-discussion-url.payload ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--published.payload release Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--published.with-discussion-url.payload release Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github-examples/release--released ignored Codertocat/Hello-World#186853002 refs/tags/0.0.1 - -
github/check-run ignored github/hello-world#526 - - -
github/check-suite ignored github/hello-world#526 - - -
github/code_scanning_alert ignored someorg/somerepo#89033 - - -
github/commit-comment ignored baxterthehacker/public-repo#35129377 - - -
github/create ignored baxterthehacker/public-repo#35129377 refs/tags/0.0.1 - -
github/delete delete baxterthehacker/public-repo#35129377 refs/tags/simple-tag - -
github/deploy_key ignored Codertocat/Hello-World#135493233 - - -
github/deployment ignored baxterthehacker/public-repo#35129377 - - -
github/deployment-status ignored baxterthehacker/public-repo#35129377 - - -
github/fork ignored baxterthehacker/public-repo#35129377 - - -
github/github-app-authorization ignored - - - -
github/gollum ignored baxterthehacker/public-repo#35129377 - - -
github/installation ignored - - - -
github/installation-repositories ignored - - - -
github/integration-installation ignored - - - -
github/integration-installation-repositories ignored - - - -
github/issue-comment ignored baxterthehacker/public-repo#35129377 - - -
github/issues ignored baxterthehacker/public-repo#35129377 - - -
github/label ignored baxterandthehackers/public-repo#67075329 - - -
github/member ignored baxterthehacker/public-repo#35129377 - - -
github/membership ignored - - - -
github/milestone ignored baxterandthehackers/public-repo#70275481 - - -
github/org-block ignored - - - -
github/organization ignored - - - -
github/page-build ignored baxterthehacker/public-repo#35129377 - - -
github/ping ping - - - -
github/project ignored baxterthehacker/public-repo#35129377 - - -
github/project-card ignored baxterthehacker/public-repo#35129377 - - -
github/project-column ignored baxterthehacker/public-repo#35129377 - - -
github/public ignored baxterthehacker/public-repo#35129377 - - -
github/pull-request ignored baxterthehacker/public-repo#35129377 - - -
github/pull-request-issue-comment ignored chhsia0/knative-route-demo#199540710 - - -
github/pull-request-review ignored baxterthehacker/public-repo#35129377 - - -
github/pull-request-review-comment ignored baxterthehacker/public-repo#35129377 - - -
github/push push binkkatal/sample_app#63933911 refs/heads/master 737d38c599c1b2991664dfc6155d6bf516fcce36 fd489864e7642b48eaad6e3f155c10e46810ec72
github/release release baxterthehacker/public-repo#35129377 refs/tags/0.0.1 - -
github/repository ignored baxterandthehackers/new-repository#27496774 - - -
github/repository-edited ignored baxterandthehackers/new-repository#27496774 - - -
github/repository-vulnerability-alert ignored - - - -
github/security-advisory ignored - - - -
github/status ignored baxterthehacker/public-repo#35129377 - - -
github/team ignored - - - -
github/team-add ignored baxterandthehackers/public-repo#35129393 - - -
github/watch ignored baxterthehacker/public-repo#35129377 - - -
github/workflow_dispatch ignored baxterthehacker/public-repo#35129377 - - -
github/workflow_job ignored baxterthehacker/public-repo#35129377 - - -
github/workflow_run ignored baxterthehacker/public-repo#35129377 - - -
";

/// `pull-request.json` and `push--with-organization.payload.json` are named after their events.
fn event_of(file: &str) -> String {
    file.split("--").next().unwrap_or(file).replace('-', "_")
}

fn told(name: &str, event: Option<&str>, body: &[u8]) -> String {
    let events =
        parse_unverified(Forge::Github, event, body).unwrap_or_else(|error| panic!("{name}: {error}"));
    let [event] = events.as_slice() else { panic!("{name}: {} events", events.len()) };
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
    format!("{name} {kind} {repository} {git_ref} {before} {after}")
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

#[test]
fn recorded_payloads_are_understood() {
    let Some(root) = std::env::var_os("GRISTMILL_PAYLOADS") else {
        println!("GRISTMILL_PAYLOADS is not set: no recorded payloads were read, nothing was compared");
        return;
    };
    let (mut named, mut unnamed) = (Vec::new(), Vec::new());
    for folder in ["github", "github-examples"] {
        for (file, body) in bodies(Path::new(&root), folder) {
            let name = format!("{folder}/{file}");
            named.push(told(&name, Some(&event_of(&file)), &body));
            unnamed.push(told(&name, None, &body));
        }
    }
    named.sort();
    unnamed.sort();
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(named, golden, "with the event's name");
    assert_eq!(unnamed, golden, "without the event's name");
}
