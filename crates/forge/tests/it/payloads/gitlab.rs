//! What GitLab tells, and how.

use expect_test::expect;
use gristmill_forge::Forge;

use super::{check, moved};
use crate::{A, B, ZERO};

pub(super) fn gitlab(kind: &str, rest: &str) -> (&'static str, String) {
    let project = r#""project":{"id":42,"path_with_namespace":"acme/tools/shop"}"#;
    ("", format!(r#"{{{kind},{rest}{project}}}"#))
}

#[test]
fn mistake_04_gitlab_tells_of_pushes_tags_and_releases() {
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
fn rule_5_gitlabs_summary_of_a_push_builds_nothing_by_itself() {
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
            ignored acme/tools/shop#42 because the delivery tells of no change
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
