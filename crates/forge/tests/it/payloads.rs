//! Payloads of our own, for what the recorded ones lack: every forge's ways to tell of a change.

use expect_test::{Expect, expect};
use gristmill_forge::Forge;

use crate::{A, B, ZERO, parsed_as};

#[track_caller]
fn check(forge: Forge, bodies: &[(&str, String)], expected: Expect) {
    let told: String = bodies
        .iter()
        .map(|(event, body)| {
            let told = parsed_as(forge, Some(event).filter(|event| !event.is_empty()).copied(), body);
            assert!(!told.trim_end().replace('\n', "").contains(char::is_control), "{told:?}");
            assert!(told.lines().all(|line| line.chars().count() <= 400), "{told}");
            told
        })
        .collect();
    expected.assert_eq(&told);
}

fn gitlab(kind: &str, rest: &str) -> (&'static str, String) {
    let project = r#""project":{"id":42,"path_with_namespace":"acme/tools/shop"}"#;
    ("", format!(r#"{{{kind},{rest}{project}}}"#))
}

fn moved(git_ref: &str, before: &str, after: &str) -> String {
    format!(r#""ref":"{git_ref}","before":"{before}","after":"{after}","#)
}

#[test]
fn gitlab_tells_of_pushes_tags_and_releases() {
    let (kind, name) =
        (|kind: &str| format!(r#""object_kind":"{kind}""#), |name: &str| format!(r#""event_name":"{name}""#));
    check(
        Forge::Gitlab,
        &[
            gitlab(&kind("push"), &moved("refs/heads/main", A, B)),
            gitlab(&kind("push"), &moved("refs/heads/main", ZERO, B)),
            gitlab(&kind("push"), &moved("refs/heads/main", A, ZERO)),
            gitlab(&name("push"), &format!(r#"{}"project_id":7,"#, moved("refs/heads/main", A, B))),
            gitlab(&kind("tag_push"), &moved("refs/tags/v1", ZERO, B)),
            gitlab(&name("tag_push"), &moved("refs/tags/v1", A, ZERO)),
            gitlab(&format!("{},{}", kind("push"), name("tag_push")), &moved("refs/heads/x", A, B)),
            gitlab(&kind("release"), r#""action":"create","tag":"v1","#),
            gitlab(&kind("release"), r#""action":"update","tag":"v1","#),
            gitlab(&kind("release"), r#""action":"delete","tag":"v1","#),
            gitlab(&kind("merge_request"), ""),
        ],
        expect![[r#"
            push acme/tools/shop#42 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            push acme/tools/shop#42 refs/heads/main after=bbbbbbbbbbbb
            delete acme/tools/shop#42 refs/heads/main before=aaaaaaaaaaaa
            push acme/tools/shop#7 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            tag acme/tools/shop#42 refs/tags/v1 after=bbbbbbbbbbbb
            delete acme/tools/shop#42 refs/tags/v1 before=aaaaaaaaaaaa
            push acme/tools/shop#42 refs/heads/x before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            release acme/tools/shop#42 refs/tags/v1
            ignored acme/tools/shop#42 refs/tags/v1 because a release that was `update` builds nothing; one that is `create` does
            ignored acme/tools/shop#42 refs/tags/v1 because a release that was `delete` builds nothing; one that is `create` does
            ignored acme/tools/shop#42 because nothing is built from `merge_request` events
        "#]],
    );
}

#[test]
fn gitlab_system_hooks_sum_up() {
    let changes = format!(
        r#""changes":[{{{}"x":1}},{{{}"x":1}},{{{}"x":1}}],"#,
        moved("refs/heads/main", A, B),
        moved("refs/tags/v1", ZERO, B),
        moved("refs/keep/x", ZERO, B)
    );
    check(
        Forge::Gitlab,
        &[
            gitlab(r#""event_name":"repository_update""#, &changes),
            gitlab(r#""event_name":"repository_update""#, r#""changes":[],"#),
            ("", r#"{"event_name":"project_create","path_with_namespace":"a/b","project_id":3}"#.to_owned()),
            ("", r#"{"event_name":"user_create"}"#.to_owned()),
        ],
        expect![[r#"
            ignored acme/tools/shop#42 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb because `repository_update` only makes the remote be looked at; what it finds there is built
            ignored acme/tools/shop#42 refs/tags/v1 after=bbbbbbbbbbbb because `repository_update` only makes the remote be looked at; what it finds there is built
            ignored acme/tools/shop#42 refs/keep/x after=bbbbbbbbbbbb because `refs/keep/x` is neither a branch nor a tag
            ignored because the delivery tells of no change
            ignored a/b#3 because nothing is built from `project_create` events
            ignored because nothing is built from `user_create` events
        "#]],
    );
}

#[test]
fn gitlab_bodies_that_are_not_documented() {
    check(
        Forge::Gitlab,
        &[
            gitlab(r#""object_kind":"push""#, r#""ref":"refs/heads/x","#),
            gitlab(r#""object_kind":"push""#, &moved("main", A, B)),
            gitlab(r#""object_kind":"push""#, &moved("refs/heads/x", A, "x")),
            gitlab(
                r#""object_kind":"push""#,
                &format!(r#""before":null,"ref":"refs/heads/x","after":"{B}","#),
            ),
            gitlab(r#""object_kind":"release""#, r#""action":"create","tag":"a b","#),
            gitlab(r#""event_name":"repository_update""#, r#""changes":[{"ref":"main"}],"#),
            gitlab(r#""object_kind":7"#, ""),
            ("", "{}".to_owned()),
            ("", "[]".to_owned()),
            ("", "{".to_owned()),
            ("Push Hook", r#"{"object_kind":"push","project":{"path_with_namespace":"one"}}"#.to_owned()),
            (
                "Push Hook",
                format!(
                    r#"{{"object_kind":"push",{}"project":{{"path_with_namespace":"one"}}}}"#,
                    moved("refs/heads/x", A, B)
                ),
            ),
        ],
        expect![[r#"
            error: the body is not a documented `push` event: missing field `after` at line 1 column 103 (at `.`)
            error: the body is not a documented `push` event: `main` is not a ref name: a full name begins with `refs/` (at `ref`)
            error: the body is not a documented `push` event: `x` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `after`)
            push acme/tools/shop#42 refs/heads/x after=bbbbbbbbbbbb
            error: the body is not a documented `release` event: `refs/tags/a b` is not a ref name: it has a space, a control character or one of `~^:?*[\` (at `tag`)
            error: the body is not a documented `repository_update` event: `main` is not a ref name: a full name begins with `refs/` (at `changes[0].ref`)
            ignored acme/tools/shop#42 because the body names no event; expected `object_kind` or `event_name`
            ignored because the body names no event; expected `object_kind` or `event_name`
            ignored because the body names no event; expected `object_kind` or `event_name`
            error: the body is not JSON: EOF while parsing an object at line 1 column 1
            error: the body is not a documented `push` event: missing field `ref` at line 1 column 62 (at `.`)
            error: the body is not a documented `push` event: `one` is not a repository; expected `group/name`, with more slashes for nested groups (at `project.path_with_namespace`)
        "#]],
    );
}

fn bitbucket(changes: &str) -> (&'static str, String) {
    let repository =
        r#""repository":{"uuid":"{673a6070-3421-46c9-9d48-90745f7bfe8e}","full_name":"acme/shop"}"#;
    ("repo:push", format!(r#"{{"push":{{"changes":[{changes}]}},{repository}}}"#))
}

fn side(kind: &str, name: &str, hash: &str) -> String {
    format!(r#"{{"type":"{kind}","name":"{name}","target":{{"hash":"{hash}"}}}}"#)
}

fn change(old: &str, new: &str) -> String {
    format!(r#"{{"old":{old},"new":{new}}}"#)
}

#[test]
fn bitbucket_tells_of_several_changes_each_possibly_a_delete() {
    let all = [
        change(&side("branch", "main", A), &side("branch", "main", B)),
        change("null", &side("branch", "feature/x", B)),
        change(&side("branch", "old", A), "null"),
        change("null", &side("tag", "v1", B)),
        change(&side("tag", "v0", A), "null"),
        change("null", &side("named_branch", "hg", B)),
        change("null", "null"),
    ];
    check(
        Forge::Bitbucket,
        &[bitbucket(&all.join(",")), bitbucket("")],
        expect![[r#"
        push acme/shop#{673a6070-3421-46c9-9d48-90745f7bfe8e} refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
        push acme/shop#{673a6070-3421-46c9-9d48-90745f7bfe8e} refs/heads/feature/x after=bbbbbbbbbbbb
        delete acme/shop#{673a6070-3421-46c9-9d48-90745f7bfe8e} refs/heads/old before=aaaaaaaaaaaa
        tag acme/shop#{673a6070-3421-46c9-9d48-90745f7bfe8e} refs/tags/v1 after=bbbbbbbbbbbb
        delete acme/shop#{673a6070-3421-46c9-9d48-90745f7bfe8e} refs/tags/v0 before=aaaaaaaaaaaa
        ignored acme/shop#{673a6070-3421-46c9-9d48-90745f7bfe8e} because a `named_branch` is neither a branch nor a tag
        ignored acme/shop#{673a6070-3421-46c9-9d48-90745f7bfe8e} because a change has neither `old` nor `new`: it tells of no ref
        ignored because the delivery tells of no change
    "#]],
    );
    let unnamed = parsed_as(Forge::Bitbucket, None, bitbucket(&all.join(",")).1);
    assert_eq!(unnamed, parsed_as(Forge::Bitbucket, Some("repo:push"), bitbucket(&all.join(",")).1));
}

#[test]
fn bitbucket_bodies_that_are_not_documented() {
    check(
        Forge::Bitbucket,
        &[
            bitbucket(&change("null", &side("branch", "a b", B))),
            bitbucket(&change(&side("branch", "a..b", A), "null")),
            bitbucket(&change("null", &side("branch", "x", "123"))),
            bitbucket(&change(&side("branch", "x", "123"), &side("branch", "x", B))),
            bitbucket("{}"),
            bitbucket("7"),
            ("repo:push", "{}".to_owned()),
            ("pullrequest:created", "{}".to_owned()),
            ("pullrequest:created", "7".to_owned()),
            ("", r#"{"actor":1}"#.to_owned()),
            ("repo:push", bitbucket("").1.replace("acme/shop", "shop")),
            ("repo:push", bitbucket("").1.replace("{673a6070", "{ 673a6070")),
        ],
        expect![[r#"
            error: the body is not a documented `repo:push` event: `refs/heads/a b` is not a ref name: it has a space, a control character or one of `~^:?*[\` (at `push.changes[0].new.name`)
            error: the body is not a documented `repo:push` event: `refs/heads/a..b` is not a ref name: it may not end with `.` or contain `..` or `@{` (at `push.changes[0].old.name`)
            error: the body is not a documented `repo:push` event: `123` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `push.changes[0].new.target.hash`)
            error: the body is not a documented `repo:push` event: `123` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `push.changes[0].old.target.hash`)
            ignored acme/shop#{673a6070-3421-46c9-9d48-90745f7bfe8e} because a change has neither `old` nor `new`: it tells of no ref
            error: the body is not a documented `repo:push` event: invalid type: integer `7`, expected an object at line 1 column 21 (at `push.changes[0]`)
            error: the body is not a documented `repo:push` event: missing field `repository` at line 1 column 2 (at `.`)
            ignored because nothing is built from `pullrequest:created` events
            ignored because nothing is built from `pullrequest:created` events
            ignored because the body is of no event that moves a ref; its fields are: actor
            error: the body is not a documented `repo:push` event: `shop` is not a repository; expected `owner/name` (at `repository.full_name`)
            error: the body is not a documented `repo:push` event: `{ 673a6070-3421-46c9-9d48-90745f7bfe8e}` is not the id of a repository (at `repository.full_name`)
        "#]],
    );
}

fn server(event: &str, changes: &str) -> String {
    let repository = r#""repository":{"slug":"shop","id":84,"project":{"key":"ACME"}}"#;
    format!(r#"{{"eventKey":"{event}",{repository},"changes":[{changes}]}}"#)
}

fn server_change(git_ref: &str, from: &str, to: &str) -> String {
    format!(r#"{{"refId":"{git_ref}","fromHash":"{from}","toHash":"{to}","type":"UPDATE"}}"#)
}

#[test]
fn bitbucket_server_tells_of_several_changes() {
    let all = [
        server_change("refs/heads/main", A, B),
        server_change("refs/heads/new", ZERO, B),
        server_change("refs/heads/old", A, ZERO),
        server_change("refs/tags/v1", ZERO, B),
        server_change("refs/pull-requests/1/from", A, B),
    ]
    .join(",");
    check(
        Forge::BitbucketServer,
        &[
            ("repo:refs_changed", server("", &all)),
            ("repo:refs_changed", server("", "")),
            ("", server("pr:opened", "")),
            ("", server("diagnostics:ping", "")),
            ("diagnostics:ping", r#"{"test":true}"#.to_owned()),
            ("", r#"{"test":true}"#.to_owned()),
            ("", r#"{"eventKey":7}"#.to_owned()),
            ("repo:refs_changed", server("", &server_change("main", A, B))),
            ("repo:refs_changed", server("", &server_change("refs/heads/x", "1", B))),
            ("repo:refs_changed", server("", &server_change("refs/heads/x", A, "1"))),
            ("repo:refs_changed", server("", "").replace("ACME", "A/B")),
        ],
        expect![[r#"
            push ACME/shop#84 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            push ACME/shop#84 refs/heads/new after=bbbbbbbbbbbb
            delete ACME/shop#84 refs/heads/old before=aaaaaaaaaaaa
            tag ACME/shop#84 refs/tags/v1 after=bbbbbbbbbbbb
            ignored ACME/shop#84 refs/pull-requests/1/from before=aaaaaaaaaaaa after=bbbbbbbbbbbb because `refs/pull-requests/1/from` is neither a branch nor a tag
            ignored because the delivery tells of no change
            ignored ACME/shop#84 because nothing is built from `pr:opened` events
            ping ACME/shop#84
            ping
            ignored because the body names no event; expected `eventKey`
            ignored because the body names no event; expected `eventKey`
            error: the body is not a documented `repo:refs_changed` event: `main` is not a ref name: a full name begins with `refs/` (at `changes[0].refId`)
            error: the body is not a documented `repo:refs_changed` event: `1` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `changes[0].fromHash`)
            error: the body is not a documented `repo:refs_changed` event: `1` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `changes[0].toHash`)
            error: the body is not a documented `repo:refs_changed` event: `A/B/shop` is not a repository; expected `owner/name` (at `repository.slug`)
        "#]],
    );
    assert_eq!(
        parsed_as(Forge::BitbucketServer, None, server("repo:refs_changed", &all)),
        parsed_as(Forge::BitbucketServer, Some("repo:refs_changed"), server("", &all))
    );
}

#[test]
fn mistake_11_a_projects_key_tells_repositories_of_one_name_apart() {
    let body = server("", &server_change("refs/heads/main", A, B));
    let other = body.replace("ACME", "~ann");
    check(
        Forge::BitbucketServer,
        &[("repo:refs_changed", body), ("repo:refs_changed", other)],
        expect![[r#"
            push ACME/shop#84 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            push ~ann/shop#84 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
        "#]],
    );
}

fn gitea(fields: &str) -> String {
    format!(r#"{{{fields},"repository":{{"id":42,"full_name":"acme/shop"}}}}"#)
}

#[test]
fn gitea_and_its_family_tell_what_github_tells() {
    let bodies = [
        ("push", gitea(moved("refs/heads/main", A, B).trim_end_matches(','))),
        ("push", gitea(moved("refs/heads/main", A, ZERO).trim_end_matches(','))),
        ("push", gitea(moved("refs/tags/v1", ZERO, B).trim_end_matches(','))),
        ("create", gitea(r#""ref":"feature/x","ref_type":"branch","sha":"1""#)),
        ("create", gitea(r#""ref":"v1","ref_type":"tag","default_branch":"main""#)),
        ("create", gitea(r#""ref":"refs/heads/feature/x","ref_type":"branch""#)),
        ("create", gitea(r#""ref":"refs/tags/v1","ref_type":"branch""#)),
        ("delete", gitea(r#""ref":"refs/tags/v1","ref_type":"tag","pusher_type":"user""#)),
        ("delete", gitea(r#""ref":"v1","ref_type":"tag","pusher_type":"user""#)),
        ("release", gitea(r#""action":"published","release":{"tag_name":"v1"}"#)),
        ("release", gitea(r#""action":"updated","release":{"tag_name":"v1"}"#)),
        ("package", gitea(r#""action":"created""#)),
    ];
    check(
        Forge::Gitea,
        &bodies,
        expect![[r#"
        push acme/shop#42 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
        delete acme/shop#42 refs/heads/main before=aaaaaaaaaaaa
        tag acme/shop#42 refs/tags/v1 after=bbbbbbbbbbbb
        ignored acme/shop#42 refs/heads/feature/x because `create` only makes the remote be looked at; what it finds there is built
        ignored acme/shop#42 refs/tags/v1 because `create` only makes the remote be looked at; what it finds there is built
        ignored acme/shop#42 refs/heads/feature/x because `create` only makes the remote be looked at; what it finds there is built
        ignored acme/shop#42 refs/heads/refs/tags/v1 because `create` only makes the remote be looked at; what it finds there is built
        delete acme/shop#42 refs/tags/v1
        delete acme/shop#42 refs/tags/v1
        release acme/shop#42 refs/tags/v1
        ignored acme/shop#42 refs/tags/v1 because a release that was `updated` builds nothing; one that is `published` does
        ignored acme/shop#42 because nothing is built from `package` events
    "#]],
    );
    for (event, body) in &bodies {
        let told = parsed_as(Forge::Gitea, Some(event), body);
        for forge in [Forge::Forgejo, Forge::Gogs] {
            assert_eq!(parsed_as(forge, Some(event), body), told);
        }
        if *event != "package" {
            assert_eq!(parsed_as(Forge::Gogs, None, body), told, "{body}");
            assert_eq!(parsed_as(Forge::Generic, None, body), told, "{body}");
        }
    }
    check(
        Forge::Forgejo,
        &[("", gitea(r#""action":"created""#)), ("", "[]".to_owned()), ("", gitea(r#""release":1"#))],
        expect![[r#"
            ignored acme/shop#42 because the body is of no event that moves a ref; its fields are: action, repository
            error: the body is not a documented `webhook` event: invalid type: sequence, expected an object at line 1 column 0 (at `.`)
            ignored acme/shop#42 because the body is of no event that moves a ref; its fields are: release, repository
        "#]],
    );
}

fn azure(updates: &str) -> (&'static str, String) {
    let repository = r#""repository":{"id":"278d5cd2","name":"Web Shop","project":{"name":"Acme Tools"}}"#;
    (
        "",
        format!(
            r#"{{"eventType":"git.push","id":"e","resource":{{"refUpdates":[{updates}],{repository}}}}}"#
        ),
    )
}

fn update(name: &str, old: &str, new: &str) -> String {
    format!(r#"{{"name":"{name}","oldObjectId":"{old}","newObjectId":"{new}"}}"#)
}

#[test]
fn azure_tells_of_several_changes() {
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
            ignored because the delivery tells of no change
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
fn codecommit_tells_by_triggers_and_by_events() {
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

#[test]
fn a_generic_sender_may_send_any_forges_body() {
    for (forge, body) in [
        (Forge::Github, crate::push_body("refs/heads/main", A, B)),
        (Forge::Gitlab, gitlab(r#""object_kind":"push""#, &moved("refs/heads/main", A, B)).1),
        (Forge::Gitlab, gitlab(r#""event_name":"tag_push""#, &moved("refs/tags/v1", A, B)).1),
        (Forge::Bitbucket, bitbucket(&change("null", &side("tag", "v1", B))).1),
        (Forge::BitbucketServer, server("repo:refs_changed", &server_change("refs/heads/main", A, B))),
        (Forge::AzureDevops, azure(&update("refs/heads/main", A, B)).1),
        (Forge::Bare, format!(r#"{{"repository":"shop","lines":["{A} {B} refs/heads/main"]}}"#)),
    ] {
        let told = parsed_as(forge, None, &body);
        assert!(told.contains(" refs/"), "{told}");
        assert_eq!(parsed_as(Forge::Generic, None, &body), told);
        assert_eq!(parsed_as(Forge::Generic, Some("unnamed"), &body), told);
    }
    check(
        Forge::Generic,
        &[("", "{}".to_owned()), ("", "no".to_owned())],
        expect![[r#"
        ignored because the body is of no event that moves a ref; its fields are: 
        error: the body is not JSON: expected ident at line 1 column 2
    "#]],
    );
}
