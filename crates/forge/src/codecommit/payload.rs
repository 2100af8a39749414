//! What CodeCommit puts into the messages: the records of a trigger, or an event of EventBridge.

use gristmill_model::{Event, EventKind, EventRepository};
use serde::Deserialize;

use crate::change::{self, Parts};
use crate::parse::{Object, ParseError, from_json};
use crate::text::shown;

const TRIGGER: &str = "CodeCommit trigger";
const STATE_CHANGE: &str = "CodeCommit Repository State Change";

/// The message around it, as far as it matters here: this was verified, or is only shown.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wrapped {
    #[serde(rename = "Type")]
    kind: String,
    message: String,
}

/// Which of the two it is.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "Records")]
    records: Option<Vec<Object<Record>>>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
}

#[derive(Deserialize)]
struct Record {
    codecommit: Object<References>,
    #[serde(rename = "eventSourceARN")]
    source_arn: String,
}

#[derive(Deserialize)]
struct References {
    references: Vec<Object<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "ref")]
    git_ref: String,
    commit: Option<String>,
    deleted: Option<bool>,
}

#[derive(Deserialize)]
struct StateChange {
    resources: Vec<String>,
    detail: Object<Detail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    event: String,
    repository_id: Option<String>,
    reference_full_name: Option<String>,
    commit_id: Option<String>,
    old_commit_id: Option<String>,
}

/// What a message of SNS tells of.
pub(crate) fn parse(json: &str) -> Result<Vec<Event>, ParseError> {
    let wrapped: Wrapped = from_json("SNS", json)?;
    match wrapped.kind.as_str() {
        "Notification" => notification(&wrapped.message),
        "SubscriptionConfirmation" => Ok(vec![Event {
            kind: EventKind::Ping,
            reason: None,
            ..Event::ignored("the topic asks whether it may send")
        }]),
        other => Ok(vec![Event::ignored(change::uninteresting(other))]),
    }
}

/// Anybody who may publish to the topic can write what is no JSON at all.
fn notification(message: &str) -> Result<Vec<Event>, ParseError> {
    let Ok(named) = from_json::<Named>(TRIGGER, message) else {
        return match from_json::<serde::de::IgnoredAny>(TRIGGER, message) {
            Err(ParseError::Json { .. }) => {
                Ok(vec![Event::ignored("the message is not JSON, so it is not CodeCommit's")])
            }
            _ => Err(from_json::<Named>(TRIGGER, message).err().expect("it was an error before")),
        };
    };
    if let Some(records) = named.records {
        return trigger(records);
    }
    match named.detail_type.as_deref() {
        Some(STATE_CHANGE) => Ok(vec![state_change(message)?]),
        Some(other) => Ok(vec![Event::ignored(change::uninteresting(other))]),
        None => {
            let reason = "the message is not CodeCommit's; expected `Records` or `detail-type`";
            Ok(vec![Event::ignored(reason)])
        }
    }
}

fn trigger(records: Vec<Object<Record>>) -> Result<Vec<Event>, ParseError> {
    let mut references = Vec::new();
    for (index, Object(record)) in records.into_iter().enumerate() {
        let repository = repository(&format!("Records[{index}].eventSourceARN"), &record.source_arn, None)?;
        references
            .extend(record.codecommit.0.references.into_iter().map(|found| (repository.clone(), found.0)));
    }
    change::each(references, None, |index, (repository, found)| {
        let field = |name| format!("references[{index}].{name}");
        let git_ref = change::git_ref(TRIGGER, &field("ref"), &found.git_ref)?;
        // What was made or moved has its new commit here; what was deleted may have the last one.
        let commit = change::commit(TRIGGER, &field("commit"), found.commit.as_deref())?;
        let deleted = found.deleted == Some(true);
        if commit.is_none() && !deleted {
            return Err(ParseError::shape(TRIGGER, &field("commit"), "missing field `commit`"));
        }
        Ok(change::moved(Some(repository), git_ref, None, commit.filter(|_| !deleted)))
    })
}

fn state_change(message: &str) -> Result<Event, ParseError> {
    let StateChange { resources, detail: Object(detail) } = from_json(STATE_CHANGE, message)?;
    let arn = resources.first().map(String::as_str).unwrap_or_default();
    let repository = Some(repository("resources[0]", arn, detail.repository_id)?);
    let deleted = match detail.event.as_str() {
        "referenceCreated" | "referenceUpdated" => false,
        "referenceDeleted" => true,
        other => return Ok(Event { repository, ..Event::ignored(change::uninteresting(other)) }),
    };
    let missing = |field| ParseError::shape(STATE_CHANGE, field, "the field is missing");
    let name = detail.reference_full_name.ok_or_else(|| missing("detail.referenceFullName"))?;
    let git_ref = change::git_ref(STATE_CHANGE, "detail.referenceFullName", &name)?;
    let before = change::commit(STATE_CHANGE, "detail.oldCommitId", detail.old_commit_id.as_deref())?;
    let after = change::commit(STATE_CHANGE, "detail.commitId", detail.commit_id.as_deref())?;
    if after.is_none() && !deleted {
        return Err(missing("detail.commitId"));
    }
    Ok(change::moved(repository, git_ref, before, after.filter(|_| !deleted)))
}

/// The repository of `arn:aws:codecommit:<region>:<account>:<name>`, called `<account>/<name>`: without
/// the account the name is one of many.
fn repository(field: &str, arn: &str, id: Option<String>) -> Result<EventRepository, ParseError> {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", _, "codecommit", _, account, name] = parts.as_slice() else {
        let problem = format!("`{}` is not the ARN of a repository of CodeCommit", shown(arn));
        return Err(ParseError::shape(TRIGGER, field, problem));
    };
    change::repository(TRIGGER, field, format!("{account}/{name}"), id, Parts::Two)
}
