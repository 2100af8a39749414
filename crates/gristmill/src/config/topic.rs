//! `topic`: what a project of CodeCommit has instead of a secret.

use gristmill_forge::{Forge, TopicArn};
use gristmill_model::{PatternName, REPO_PLACEHOLDER, RepoPath};

use super::reader::Section;

/// Reads it. CodeCommit needs one, and nobody else has one.
pub(super) fn read(section: &mut Section<'_>, forge: Option<Forge>) -> Option<TopicArn> {
    let field = section.get("topic");
    if forge? != Forge::Codecommit {
        if let Some(field) = field {
            field.error("`topic` is for `forge = \"codecommit\"` only; leave it out");
        }
        return None;
    }
    if let Some(secret) = section.get("secret") {
        secret.error("CodeCommit has no `secret`: Amazon SNS signs its messages, and `topic` says whose are taken; leave it out");
    }
    if let Some(gitpull) = section.get("gitpull").filter(|field| field.bool() == Some(true)) {
        gitpull.error("`gitpull` tells projects apart by their secrets, and CodeCommit has none; leave it out and let the topic send to /hooks/<project>");
    }
    match field {
        Some(field) => {
            field.parsed("the ARN of a topic, such as \"arn:aws:sns:eu-west-1:123456789012:pushes\"")
        }
        None => {
            section.error("CodeCommit tells of pushes through a topic of Amazon SNS; add `topic = \"arn:aws:sns:…\"`, and see docs/forges/codecommit.md");
            None
        }
    }
}

/// The repository's name in payloads, `<account>/<name>`, where the URL is one of CodeCommit's: the URL has no account,
/// but the topic has one, nearly always the same. Where it is another, `repository` says so.
///
/// `None` where the file says it, or this is no such name: then it is found as for every forge.
pub(super) fn repository(
    section: &mut Section<'_>,
    topic: Option<&TopicArn>,
    git: Option<&str>,
) -> Option<String> {
    if section.get("repository").is_some() {
        return None;
    }
    let git = git?;
    let account = topic?.as_str().split(':').nth(4)?;
    let (_, name) = git.split_once("/v1/repos/")?;
    let is_theirs = git.strip_prefix("https://git-codecommit.").is_some() && !name.contains('/');
    let name = if name == REPO_PLACEHOLDER { "*" } else { name.trim_end_matches(".git") };
    let found = format!("{account}/{name}");
    let is_one = found.parse::<RepoPath>().is_ok() || found.parse::<PatternName>().is_ok();
    (is_theirs && is_one).then_some(found)
}
