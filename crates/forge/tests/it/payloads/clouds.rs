//! What Azure DevOps and AWS CodeCommit tell.

use expect_test::expect;
use gristmill_forge::Forge;

use super::check;
use crate::{A, B, ZERO};

pub(super) fn azure(updates: &str) -> (&'static str, String) {
    let repository = r#""repository":{"id":"278d5cd2","name":"Web Shop","project":{"name":"Acme Tools"}}"#;
    (
        "",
        format!(
            r#"{{"eventType":"git.push","id":"e","resource":{{"refUpdates":[{updates}],{repository}}}}}"#
        ),
    )
}

pub(super) fn update(name: &str, old: &str, new: &str) -> String {
    format!(r#"{{"name":"{name}","oldObjectId":"{old}","newObjectId":"{new}"}}"#)
}

#[test]
fn mistake_06_azure_tells_of_several_changes() {
    let all = [
        update("refs/heads/main", A, B),
        update("refs/heads/new", ZERO, B),
        update("refs/heads/old", A, ZERO),
        update("refs/tags/v1", ZERO, B),
        update("refs/pull/1/merge", A, B),
    ]
    .join(",");
    check(
        Forge::AzureDevops,
        &[
            azure(&all),
            azure(""),
            azure(&update("main", A, B)),
            azure(&update("refs/heads/x", "1", B)),
            azure(&update("refs/heads/x", A, "1")),
            azure("{}"),
            ("", azure("").1.replace("Web Shop", "a/b")),
            ("", azure("").1.replace("git.push", "git.pullrequest.created")),
            ("", r#"{"eventType":"build.complete","resource":7}"#.to_owned()),
            ("git.push", "{}".to_owned()),
            ("", r#"{"eventType":7}"#.to_owned()),
            ("", "no".to_owned()),
        ],
        expect![[r#"
            push Acme Tools/Web Shop#278d5cd2 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            push Acme Tools/Web Shop#278d5cd2 refs/heads/new after=bbbbbbbbbbbb
            delete Acme Tools/Web Shop#278d5cd2 refs/heads/old before=aaaaaaaaaaaa
            tag Acme Tools/Web Shop#278d5cd2 refs/tags/v1 after=bbbbbbbbbbbb
            ignored Acme Tools/Web Shop#278d5cd2 refs/pull/1/merge before=aaaaaaaaaaaa after=bbbbbbbbbbbb because `refs/pull/1/merge` is neither a branch nor a tag
            ignored Acme Tools/Web Shop#278d5cd2 because the delivery tells of no change
            error: the body is not a documented `git.push` event: `main` is not a ref name: a full name begins with `refs/` (at `resource.refUpdates[0].name`)
            error: the body is not a documented `git.push` event: `1` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `resource.refUpdates[0].oldObjectId`)
            error: the body is not a documented `git.push` event: `1` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `resource.refUpdates[0].newObjectId`)
            error: the body is not a documented `git.push` event: missing field `name` at line 1 column 61 (at `resource.refUpdates[0]`)
            error: the body is not a documented `git.push` event: `Acme Tools/a/b` is not a repository; expected `project/name` (at `resource.repository.name`)
            ignored Acme Tools/Web Shop#278d5cd2 because nothing is built from `git.pullrequest.created` events
            ignored because nothing is built from `build.complete` events
            ignored because the body names no event; expected `eventType`
            ignored because the body names no event; expected `eventType`
            error: the body is not JSON: expected ident at line 1 column 2
        "#]],
    );
}

fn sns(message: &str) -> (&'static str, String) {
    let message = serde_json::to_string(message).unwrap();
    ("Notification", format!(r#"{{"Type":"Notification","Message":{message}}}"#))
}

fn records(references: &str) -> (&'static str, String) {
    sns(&format!(
        r#"{{"Records":[{{"codecommit":{{"references":[{references}]}},"eventSourceARN":"arn:aws:codecommit:eu-west-1:123456789012:shop"}}]}}"#
    ))
}

fn state(event: &str, rest: &str) -> (&'static str, String) {
    sns(&format!(
        r#"{{"detail-type":"CodeCommit Repository State Change","resources":["arn:aws:codecommit:eu-west-1:123456789012:shop"],"detail":{{"event":"{event}","repositoryId":"12345678-1234"{rest}}}}}"#
    ))
}

#[test]
fn mistake_06_codecommit_tells_by_triggers_and_by_events() {
    let named = format!(r#","referenceFullName":"refs/heads/main","commitId":"{B}""#);
    check(
        Forge::Codecommit,
        &[
            records(&format!(
                r#"{{"commit":"{A}","ref":"refs/heads/main"}},{{"commit":"{B}","ref":"refs/tags/v1","created":true}},{{"commit":"{B}","ref":"refs/heads/old","deleted":true}},{{"ref":"refs/heads/older","deleted":true}}"#
            )),
            records(""),
            state("referenceCreated", &named),
            state("referenceUpdated", &format!(r#"{named},"oldCommitId":"{A}""#)),
            state("referenceDeleted", &format!(r#","referenceFullName":"refs/tags/v1","oldCommitId":"{A}""#)),
            state("unreferencedMergeCommitCreated", ""),
            sns(r#"{"detail-type":"CodeCommit Pull Request State Change"}"#),
        ],
        expect![[r#"
            push 123456789012/shop#? refs/heads/main after=aaaaaaaaaaaa
            tag 123456789012/shop#? refs/tags/v1 after=bbbbbbbbbbbb
            delete 123456789012/shop#? refs/heads/old
            delete 123456789012/shop#? refs/heads/older
            ignored because the delivery tells of no change
            push 123456789012/shop#12345678-1234 refs/heads/main after=bbbbbbbbbbbb
            push 123456789012/shop#12345678-1234 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            delete 123456789012/shop#12345678-1234 refs/tags/v1 before=aaaaaaaaaaaa
            ignored 123456789012/shop#12345678-1234 because nothing is built from `unreferencedMergeCommitCreated` events
            ignored because nothing is built from `CodeCommit Pull Request State Change` events
        "#]],
    );
}

#[test]
fn codecommit_messages_that_are_not_documented() {
    check(
        Forge::Codecommit,
        &[
            sns("hello"),
            sns("{}"),
            sns("[]"),
            sns(r#"{"Records":7}"#),
            records(r#"{"ref":"refs/heads/x"}"#),
            records(r#"{"ref":"x","commit":"1"}"#),
            records(r#"{"ref":"refs/heads/x","commit":"1"}"#),
            ("", records("").1.replace("aws:codecommit", "aws:s3")),
            ("", records("").1.replace("12:shop", "12:a/b")),
            state("referenceUpdated", r#","referenceFullName":"refs/heads/main""#),
            state("referenceUpdated", &format!(r#","commitId":"{B}""#)),
            state("referenceUpdated", r#","referenceFullName":"refs/heads/main","oldCommitId":"1""#),
            ("", state("referenceUpdated", "").1.replace("aws:codecommit", "aws:s3")),
            ("", r#"{"Type":"SubscriptionConfirmation","Message":"m"}"#.to_owned()),
            ("", r#"{"Type":"Other","Message":"m"}"#.to_owned()),
            ("", "{}".to_owned()),
        ],
        expect![[r#"
            ignored because the message is not JSON, so it is not CodeCommit's
            ignored because the message is not CodeCommit's; expected `Records` or `detail-type`
            error: the body is not a documented `CodeCommit trigger` event: invalid type: sequence, expected an object at line 1 column 0 (at `.`)
            error: the body is not a documented `CodeCommit trigger` event: invalid type: integer `7`, expected a sequence at line 1 column 12 (at `Records`)
            error: the body is not a documented `CodeCommit trigger` event: missing field `commit` (at `references[0].commit`)
            error: the body is not a documented `CodeCommit trigger` event: `x` is not a ref name: a full name begins with `refs/` (at `references[0].ref`)
            error: the body is not a documented `CodeCommit trigger` event: `1` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `references[0].commit`)
            error: the body is not a documented `CodeCommit trigger` event: `arn:aws:s3:eu-west-1:123456789012:shop` is not the ARN of a repository of CodeCommit (at `Records[0].eventSourceARN`)
            error: the body is not a documented `CodeCommit trigger` event: `123456789012/a/b` is not a repository; expected `owner/name` (at `Records[0].eventSourceARN`)
            error: the body is not a documented `CodeCommit Repository State Change` event: the field is missing (at `detail.commitId`)
            error: the body is not a documented `CodeCommit Repository State Change` event: the field is missing (at `detail.referenceFullName`)
            error: the body is not a documented `CodeCommit Repository State Change` event: `1` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `detail.oldCommitId`)
            error: the body is not a documented `CodeCommit trigger` event: `arn:aws:s3:eu-west-1:123456789012:shop` is not the ARN of a repository of CodeCommit (at `resources[0]`)
            ping
            ignored because nothing is built from `Other` events
            error: the body is not a documented `SNS` event: missing field `Type` at line 1 column 2 (at `.`)
        "#]],
    );
}
