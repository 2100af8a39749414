//! What both kinds of Bitbucket tell.

use expect_test::expect;
use gristmill_forge::Forge;

use super::check;
use crate::{A, B, ZERO, parsed_as};

pub(super) fn bitbucket(changes: &str) -> (&'static str, String) {
    let repository =
        r#""repository":{"uuid":"{673a6070-3421-46c9-9d48-90745f7bfe8e}","full_name":"acme/shop"}"#;
    ("repo:push", format!(r#"{{"push":{{"changes":[{changes}]}},{repository}}}"#))
}

pub(super) fn side(kind: &str, name: &str, hash: &str) -> String {
    format!(r#"{{"type":"{kind}","name":"{name}","target":{{"hash":"{hash}"}}}}"#)
}

pub(super) fn change(old: &str, new: &str) -> String {
    format!(r#"{{"old":{old},"new":{new}}}"#)
}

#[test]
fn mistake_06_bitbucket_tells_of_several_changes_each_possibly_a_delete() {
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
            ignored acme/shop#{673a6070-3421-46c9-9d48-90745f7bfe8e} because the delivery tells of no change
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

pub(super) fn server(event: &str, changes: &str) -> String {
    let repository = r#""repository":{"slug":"shop","id":84,"project":{"key":"ACME"}}"#;
    format!(r#"{{"eventKey":"{event}",{repository},"changes":[{changes}]}}"#)
}

pub(super) fn server_change(git_ref: &str, from: &str, to: &str) -> String {
    format!(r#"{{"refId":"{git_ref}","fromHash":"{from}","toHash":"{to}","type":"UPDATE"}}"#)
}

#[test]
fn mistake_06_bitbucket_server_tells_of_several_changes() {
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
            ignored ACME/shop#84 because the delivery tells of no change
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
